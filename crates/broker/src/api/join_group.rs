//! JoinGroup, key 11, v0–9: enters a classic group or its next generation; answered when the join phase ends.
//! v1 rebalance timeout · v4 two-step member id (KIP-394) · v5 group instance id (KIP-345) · v6 flexible
//! · v7 protocol type answered · v8 reason (KIP-800) · v9 skip assignment (KIP-814). Rules: broker_state::groups::classic.

use std::time::Duration;

use broker_state::groups::{Command, JoinGroup, JoinReply, Protocol, Reply};
use wire::join_group::{Member, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::entropy;

pub const API: Api = Api::all(ApiKey::JoinGroup, 0, 9);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let version = call.header.api_version;
    let Some(entropy) = entropy::uuid() else {
        return refused(ErrorCode::CoordinatorNotAvailable);
    };
    let client_id = call.header.client_id.unwrap_or_default();
    let prefix = request.group_instance_id.unwrap_or(client_id);
    let rebalance_timeout = if version == 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let command = Command::Join(JoinGroup {
        group: request.group_id.into(),
        member_id: request.member_id.into(),
        instance_id: request.group_instance_id.map(Into::into),
        client_id: client_id.to_owned(),
        client_host: format!("/{}", connection.peer.ip().to_canonical()),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(rebalance_timeout),
        protocol_type: request.protocol_type.to_owned(),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| Protocol {
                name: protocol.name.to_owned(),
                metadata: protocol.metadata.into(),
            })
            .collect(),
        reason: request.reason.map(str::to_owned),
        supports_member_id_required: version >= 4,
        supports_skip_assignment: version >= 9,
        new_member_id: format!("{prefix}-{}", entropy::hyphenated(entropy)).into(),
    });
    match connection.core.coordinator.ask(command).await {
        Some(Reply::Join(reply)) => respond(reply, version),
        _ => refused(ErrorCode::CoordinatorNotAvailable),
    }
}

fn respond(reply: JoinReply, version: i16) -> Response<'static> {
    // Before version 7 the wire has no null for a protocol.
    let protocol_name = reply.protocol.or_else(|| (version < 7).then(String::new));
    let members = reply.members.into_iter().map(|member| Member {
        member_id: member.member_id.as_str().to_owned().into(),
        group_instance_id: member.instance_id.map(|id| id.as_str().to_owned().into()),
        metadata: member.metadata.to_vec().into(),
    });
    Response {
        error_code: reply.error.code(),
        generation_id: reply.generation.0,
        protocol_type: reply.protocol_type.map(Into::into),
        protocol_name: protocol_name.map(Into::into),
        leader: reply.leader.as_str().to_owned().into(),
        skip_assignment: reply.skip_assignment,
        member_id: reply.member_id.as_str().to_owned().into(),
        members: members.collect(),
        ..Response::default()
    }
}

fn refused(error: ErrorCode) -> Response<'static> {
    Response {
        error_code: error.code(),
        protocol_name: Some("".into()),
        ..Response::default()
    }
}

/// A negative time-out is none at all; the machine refuses it.
fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}
