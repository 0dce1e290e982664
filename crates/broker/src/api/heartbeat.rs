//! Heartbeat, key 12, v0–4: keeps a classic-group member alive and tells it to rejoin.
//! v1 throttle · v3 group instance id (KIP-345) · v4 flexible. Rules: broker_state::groups::classic.

use broker_state::groups::{Command, Generation, Heartbeat, Reply};
use wire::heartbeat::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::Heartbeat, 0, 4);

pub async fn handle(connection: &Connection, request: Request<'_>, _: &Call<'_>) -> Response {
    let command = Command::Heartbeat(Heartbeat {
        group: request.group_id.into(),
        member_id: request.member_id.into(),
        instance_id: request.group_instance_id.map(Into::into),
        generation: Generation(request.generation_id),
    });
    let error = match connection.core.coordinator.ask(command).await {
        Some(Reply::Heartbeat(error)) => error,
        _ => ErrorCode::CoordinatorNotAvailable,
    };
    Response {
        error_code: error.code(),
        ..Response::default()
    }
}
