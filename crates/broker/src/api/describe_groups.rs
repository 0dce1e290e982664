//! DescribeGroups, key 15, v0–6: state, members and assignment of classic groups.
//! v3 authorized operations · v4 group instance id · v5 flexible · v6 GROUP_ID_NOT_FOUND for unknown groups (KIP-1043).

use broker_state::groups::{Command, DescribedGroup, Reply};
use wire::describe_groups::{Group, Member, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeGroups, 0, 6);

/// Without access control everybody may do everything: a bit per operation that a group knows
/// (read 3, delete 6, describe 8, describe configs 10, alter configs 11).
const ALL_GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
const NO_OPERATIONS: i32 = i32::MIN;

pub async fn handle(
    connection: &Connection,
    mut request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    // Naming a group often must not make a small request's answer large.
    request.groups.sort_unstable();
    request.groups.dedup();
    let operations = authorized_operations(request.include_authorized_operations);
    let command = Command::Describe(request.groups.iter().map(|group| (*group).into()).collect());
    let groups = match connection.core.coordinator.ask(command).await {
        Some(Reply::Describe(groups)) => groups
            .into_iter()
            .map(|group| describe(group, operations, call.header.api_version))
            .collect(),
        _ => request
            .groups
            .iter()
            .map(|group| unavailable(group))
            .collect(),
    };
    Response {
        groups,
        ..Response::default()
    }
}

/// What the client may do with a group, where it wants to know.
pub fn authorized_operations(is_wanted: bool) -> i32 {
    if is_wanted {
        ALL_GROUP_OPERATIONS
    } else {
        NO_OPERATIONS
    }
}

fn describe(group: DescribedGroup, operations: i32, version: i16) -> Group<'static> {
    let is_unknown = group.error == ErrorCode::GroupIdNotFound;
    let error = if is_unknown && version < 6 {
        ErrorCode::None
    } else {
        group.error
    };
    let members = group.members.into_iter().map(|member| Member {
        member_id: member.member_id.as_str().to_owned().into(),
        group_instance_id: member.instance_id.map(|id| id.as_str().to_owned().into()),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: member.metadata.to_vec().into(),
        member_assignment: member.assignment.to_vec().into(),
    });
    Group {
        error_code: error.code(),
        error_message: is_unknown.then(|| format!("group {} is not known", group.group).into()),
        group_id: group.group.as_str().to_owned().into(),
        group_state: group.state.name().into(),
        protocol_type: group.protocol_type.into(),
        protocol_data: group.protocol.into(),
        members: members.collect(),
        authorized_operations: operations,
    }
}

fn unavailable(group: &str) -> Group<'static> {
    Group {
        error_code: ErrorCode::CoordinatorNotAvailable.code(),
        group_id: group.to_owned().into(),
        ..Default::default()
    }
}
