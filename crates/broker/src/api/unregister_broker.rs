//! UnregisterBroker, key 64, v0: takes a broker that is gone out of the cluster (KIP-500). The one broker is there as long as
//! it answers, and no other was ever registered.

use wire::unregister_broker::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::UnregisterBroker, 0, 0);

pub async fn handle(connection: &Connection, request: Request, _: &Call<'_>) -> Response<'static> {
    let id = request.broker_id;
    let (error, message) = match id {
        _ if id == connection.core.node_id => (
            ErrorCode::InvalidRequest,
            format!("Broker ID {id} is this broker, the only one, and cannot be unregistered"),
        ),
        _ => (
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {id} is not currently registered"),
        ),
    };
    Response {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..Response::default()
    }
}
