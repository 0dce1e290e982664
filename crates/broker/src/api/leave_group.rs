//! LeaveGroup, key 13, v0–5: takes members out of a classic group.
//! v3 several members, by instance id too (KIP-345) · v4 flexible · v5 reason (KIP-800). Rules: broker_state::groups::classic.

use broker_state::groups::{Command, LeaveGroup, MemberIdentity, Reply};
use wire::leave_group::{MemberResponse, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::LeaveGroup, 0, 5);

/// Since this version several members leave at once, each with its own error.
const BATCHED: i16 = 3;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let is_batched = call.header.api_version >= BATCHED;
    let members = if is_batched {
        let identity = |member: &wire::leave_group::MemberIdentity<'_>| MemberIdentity {
            member_id: member.member_id.into(),
            instance_id: member.group_instance_id.map(Into::into),
        };
        request.members.iter().map(identity).collect()
    } else {
        vec![MemberIdentity {
            member_id: request.member_id.into(),
            instance_id: None,
        }]
    };
    let command = Command::Leave(LeaveGroup {
        group: request.group_id.into(),
        members,
    });
    let Some(Reply::Leave(reply)) = connection.core.coordinator.ask(command).await else {
        return Response {
            error_code: ErrorCode::CoordinatorNotAvailable.code(),
            ..Response::default()
        };
    };
    if !is_batched {
        let only = reply
            .members
            .first()
            .map_or(ErrorCode::None, |(_, error)| *error);
        let error = if reply.error == ErrorCode::None {
            only
        } else {
            reply.error
        };
        return Response {
            error_code: error.code(),
            ..Response::default()
        };
    }
    let members = reply
        .members
        .into_iter()
        .map(|(member, error)| MemberResponse {
            member_id: member.member_id.as_str().to_owned().into(),
            group_instance_id: member.instance_id.map(|id| id.as_str().to_owned().into()),
            error_code: error.code(),
        });
    Response {
        error_code: reply.error.code(),
        members: members.collect(),
        ..Response::default()
    }
}
