//! AlterConfigs, key 33, v0–2: replaces all settings of topics and of the broker; older clients know only this.
//! v2 flexible. Rules: broker_state::topics.

use broker_state::topics::{Command, ConfigAlteration, ConfigReplacement, ConfigResource, Reply};
use wire::alter_configs::{Request, Resource, ResourceResponse, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::AlterConfigs, 0, 2);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let command = Command::AlterConfigs {
        resources: request.resources.iter().map(replacement).collect(),
        validate_only: request.validate_only,
    };
    let resources = request.resources.iter().map(resource).collect();
    let altered = alter(connection, command, resources).await;
    let responses = altered.into_iter().map(|altered| ResourceResponse {
        error_code: altered.error.code(),
        error_message: altered.message.map(Into::into),
        resource_type: altered.resource.resource_type,
        resource_name: altered.resource.name.into(),
    });
    Response {
        responses: responses.collect(),
        ..Response::default()
    }
}

/// What became of the settings of one resource.
pub struct Altered {
    pub resource: ConfigResource,
    pub error: ErrorCode,
    pub message: Option<String>,
}

/// Has the controller change settings, in whichever of the two ways `command` says.
pub async fn alter(
    connection: &Connection,
    command: Command,
    resources: Vec<ConfigResource>,
) -> Vec<Altered> {
    match connection.core.controller.ask(command).await {
        Some(Reply::ConfigsAltered(altered)) => altered
            .into_iter()
            .map(|ConfigAlteration { resource, result }| match result {
                Ok(()) => Altered {
                    resource,
                    error: ErrorCode::None,
                    message: None,
                },
                Err(refusal) => Altered {
                    resource,
                    error: refusal.error,
                    message: Some(refusal.message),
                },
            })
            .collect(),
        _ => {
            let message = || Some(super::CANNOT_CHANGE.to_owned());
            let error = ErrorCode::NotController;
            resources
                .into_iter()
                .map(|resource| Altered {
                    resource,
                    error,
                    message: message(),
                })
                .collect()
        }
    }
}

fn resource(resource: &Resource<'_>) -> ConfigResource {
    ConfigResource {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_owned(),
    }
}

fn replacement(wanted: &Resource<'_>) -> ConfigReplacement {
    let entries = wanted
        .configs
        .iter()
        .map(|config| (config.name.to_owned(), config.value.map(str::to_owned)));
    ConfigReplacement {
        resource: resource(wanted),
        entries: entries.collect(),
    }
}
