//! DescribeCluster, key 60, v0–2: the cluster's id and its one broker, at the address by which the client reached it.
//! v1 endpoint type (KIP-919) · v2 fenced brokers.

use wire::describe_cluster::{Broker, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeCluster, 0, 2);

/// Brokers rather than controllers (KIP-919).
const BROKER_ENDPOINTS: i8 = 1;
const CONTROLLER_ENDPOINTS: i8 = 2;
/// "Not asked for".
const NO_OPERATIONS: i32 = i32::MIN;

pub async fn handle(
    connection: &Connection,
    request: Request,
    call: &Call<'_>,
) -> Response<'static> {
    let endpoint_type = match call.header.api_version {
        0 => BROKER_ENDPOINTS,
        _ => request.endpoint_type,
    };
    if let Some((error, message)) = refuse(endpoint_type) {
        return Response {
            error_code: error.code(),
            error_message: Some(message.into()),
            ..Response::default()
        };
    }
    let (host, port) = connection.core.address_for(connection.local);
    let broker = Broker {
        broker_id: connection.core.node_id,
        host: host.into(),
        port: i32::from(port),
        ..Default::default()
    };
    Response {
        endpoint_type: BROKER_ENDPOINTS,
        cluster_id: connection.core.cluster_id.clone().into(),
        controller_id: connection.core.node_id,
        brokers: vec![broker],
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            NO_OPERATIONS
        },
        ..Response::default()
    }
}

/// What is not a broker's endpoint is not here.
fn refuse(endpoint_type: i8) -> Option<(ErrorCode, String)> {
    match endpoint_type {
        BROKER_ENDPOINTS => None,
        CONTROLLER_ENDPOINTS => Some((
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                .to_owned(),
        )),
        other => Some((
            ErrorCode::UnsupportedEndpointType,
            format!("Unsupported endpoint type {other}"),
        )),
    }
}

/// Without access control everybody may do everything: a bit per operation that a cluster knows
/// (create 5, alter 7, describe 8, cluster action 9, describe configs 10, alter configs 11, idempotent write 12).
pub const ALL_CLUSTER_OPERATIONS: i32 =
    1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
