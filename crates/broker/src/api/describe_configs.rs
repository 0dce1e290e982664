//! DescribeConfigs, key 32, v1–4: every setting of topics and of the broker, its value and where that comes from.
//! v3 types and documentation · v4 flexible. The table of settings is broker_state::configs.

use std::collections::HashSet;

use broker_state::configs::{ConfigEntry, ConfigSynonym};
use broker_state::topics::ConfigResource;
use wire::describe_configs::{ConfigsResult, Request, Resource, ResourceConfig, Response, Synonym};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::controller::{ConfigDescription, ConfigQuery};

pub const API: Api = Api::all(ApiKey::DescribeConfigs, 1, 4);

pub async fn handle(
    connection: &Connection,
    mut request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    // Naming a resource often must not make a small request's answer large.
    let mut seen = HashSet::new();
    request
        .resources
        .retain(|resource| seen.insert((resource.resource_type, resource.resource_name)));
    let queries = request.resources.iter().map(query).collect();
    let described = connection.core.controller.describe_configs(queries).await;
    let results = if described.len() == request.resources.len() {
        let with = (request.include_synonyms, request.include_documentation);
        request
            .resources
            .iter()
            .zip(described)
            .map(|(resource, description)| respond(resource, description, with))
            .collect()
    } else {
        request.resources.iter().map(unavailable).collect()
    };
    Response {
        results,
        ..Response::default()
    }
}

fn query(resource: &Resource<'_>) -> ConfigQuery {
    let keys = resource.configuration_keys.as_ref();
    ConfigQuery {
        resource: ConfigResource {
            resource_type: resource.resource_type,
            name: resource.resource_name.to_owned(),
        },
        keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
    }
}

fn respond(
    resource: &Resource<'_>,
    description: ConfigDescription,
    (synonyms, documentation): (bool, bool),
) -> ConfigsResult<'static> {
    let mut result = ConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_owned().into(),
        ..Default::default()
    };
    match description {
        Ok(entries) => {
            result.configs = entries
                .into_iter()
                .map(|entry| config(entry, synonyms, documentation))
                .collect()
        }
        Err(refusal) => {
            result.error_code = refusal.error.code();
            result.error_message = Some(refusal.message.into());
        }
    }
    result
}

fn config(entry: ConfigEntry, synonyms: bool, documentation: bool) -> ResourceConfig<'static> {
    let synonym = |synonym: ConfigSynonym| Synonym {
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: synonym.source.id(),
    };
    ResourceConfig {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.is_read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.is_sensitive,
        synonyms: if synonyms {
            entry.synonyms.into_iter().map(synonym).collect()
        } else {
            Vec::new()
        },
        config_type: entry.kind.id(),
        documentation: documentation.then(|| entry.documentation.into()),
    }
}

fn unavailable(resource: &Resource<'_>) -> ConfigsResult<'static> {
    ConfigsResult {
        error_code: ErrorCode::NotController.code(),
        error_message: Some("the broker is stopping".into()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.to_owned().into(),
        ..Default::default()
    }
}
