//! IncrementalAlterConfigs, key 44, v0–1: sets, removes, appends to and subtracts from single settings (KIP-339).
//! v1 flexible. Rules: broker_state::topics.

use broker_state::topics::{Command, ConfigChange, ConfigOperation, ConfigResource, Reply};
use wire::incremental_alter_configs::{Request, Resource, ResourceResponse, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::IncrementalAlterConfigs, 0, 1);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let command = Command::IncrementalAlterConfigs {
        resources: request.resources.iter().map(change).collect(),
        validate_only: request.validate_only,
    };
    let respond =
        |resource: ConfigResource, error: ErrorCode, message: Option<String>| ResourceResponse {
            error_code: error.code(),
            error_message: message.map(Into::into),
            resource_type: resource.resource_type,
            resource_name: resource.name.into(),
        };
    let responses = match connection.core.controller.ask(command).await {
        Some(Reply::ConfigsAltered(altered)) => altered
            .into_iter()
            .map(|altered| match altered.result {
                Ok(()) => respond(altered.resource, ErrorCode::None, None),
                Err(refusal) => respond(altered.resource, refusal.error, Some(refusal.message)),
            })
            .collect(),
        _ => {
            let unavailable = |r: &Resource<'_>| {
                respond(
                    resource(r),
                    ErrorCode::NotController,
                    Some("the broker is stopping".to_owned()),
                )
            };
            request.resources.iter().map(unavailable).collect()
        }
    };
    Response {
        responses,
        ..Response::default()
    }
}

fn resource(resource: &Resource<'_>) -> ConfigResource {
    ConfigResource {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_owned(),
    }
}

fn change(wanted: &Resource<'_>) -> ConfigChange {
    let operations = wanted.configs.iter().map(|config| ConfigOperation {
        name: config.name.to_owned(),
        operation: config.config_operation,
        value: config.value.map(str::to_owned),
    });
    ConfigChange {
        resource: resource(wanted),
        operations: operations.collect(),
    }
}
