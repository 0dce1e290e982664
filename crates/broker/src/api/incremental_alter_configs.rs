//! IncrementalAlterConfigs, key 44, v0–1: sets, removes, appends to and subtracts from single settings (KIP-339).
//! v1 flexible. Rules: broker_state::topics.

use broker_state::topics::{Command, ConfigChange, ConfigOperation, ConfigResource};
use wire::ApiKey;
use wire::incremental_alter_configs::{Request, Resource, ResourceResponse, Response};

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
    let resources = request.resources.iter().map(resource).collect();
    let altered = super::alter_configs::alter(connection, command, resources).await;
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
