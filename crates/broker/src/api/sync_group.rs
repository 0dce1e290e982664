//! SyncGroup, key 14, v0–5: the leader hands out the assignment, each member gets its own.
//! v1 throttle · v3 group instance id (KIP-345) · v4 flexible · v5 protocol type and name (KIP-559). Rules: broker_state::groups::classic.

use broker_state::groups::{Command, Generation, Reply, SyncGroup};
use wire::sync_group::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::SyncGroup, 0, 5);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let assignments = request.assignments.iter();
    let command = Command::Sync(SyncGroup {
        group: request.group_id.into(),
        member_id: request.member_id.into(),
        instance_id: request.group_instance_id.map(Into::into),
        generation: Generation(request.generation_id),
        protocol_type: request.protocol_type.map(str::to_owned),
        protocol: request.protocol_name.map(str::to_owned),
        assignments: assignments
            .map(|a| (a.member_id.into(), a.assignment.into()))
            .collect(),
    });
    match connection.core.coordinator.ask(command).await {
        Some(Reply::Sync(reply)) => Response {
            error_code: reply.error.code(),
            protocol_type: reply.protocol_type.map(Into::into),
            protocol_name: reply.protocol.map(Into::into),
            assignment: reply.assignment.to_vec().into(),
            ..Response::default()
        },
        _ => Response {
            error_code: ErrorCode::CoordinatorNotAvailable.code(),
            ..Response::default()
        },
    }
}
