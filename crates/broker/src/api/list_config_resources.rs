//! ListConfigResources, key 74, v0–1: names of what has a configuration (KIP-1000, KIP-1142).
//! v0 client-metrics subscriptions · v1 every type.

use broker_state::topics::ConfigResource as Type;
use wire::list_config_resources::{ConfigResource, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ListConfigResources, 0, 1);

const TYPES: [i8; 4] = [Type::GROUP, Type::CLIENT_METRICS, Type::BROKER, Type::TOPIC];

pub async fn handle(
    connection: &Connection,
    request: Request,
    call: &Call<'_>,
) -> Response<'static> {
    let wanted = match (call.header.api_version, request.resource_types.as_slice()) {
        (0, _) => vec![Type::CLIENT_METRICS],
        (_, []) => TYPES.to_vec(),
        // Loggers have no levels that can be set here, so there are none to list.
        (_, types) if types.iter().all(|wanted| is_known(*wanted)) => types.to_vec(),
        _ => {
            return Response {
                error_code: ErrorCode::UnsupportedVersion.code(),
                ..Response::default()
            };
        }
    };
    let image = connection.core.image();
    let node_id = connection.core.node_id;
    let listed = TYPES.into_iter().filter(|known| wanted.contains(known));
    Response {
        config_resources: listed
            .flat_map(|known| resources(&image, node_id, known))
            .collect(),
        ..Response::default()
    }
}

fn is_known(resource_type: i8) -> bool {
    TYPES.contains(&resource_type) || resource_type == Type::BROKER_LOGGER
}

fn resources(
    image: &ClusterImage,
    node_id: i32,
    resource_type: i8,
) -> Vec<ConfigResource<'static>> {
    let names: Vec<String> = match resource_type {
        Type::GROUP => image.group_configs().names().map(str::to_owned).collect(),
        Type::CLIENT_METRICS => image.subscriptions().names().map(str::to_owned).collect(),
        Type::BROKER => vec![node_id.to_string()],
        _ => image
            .topics()
            .iter()
            .map(|topic| topic.name.to_string())
            .collect(),
    };
    let resource = |name: String| ConfigResource {
        resource_name: name.into(),
        resource_type,
    };
    names.into_iter().map(resource).collect()
}
