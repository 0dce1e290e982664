//! ListGroups, key 16, v0–5: the groups that this broker coordinates.
//! v3 flexible · v4 states, and a filter by them (KIP-518) · v5 types, and a filter by them (KIP-848).

use broker_state::groups::{Command, ListFilter, Reply};
use wire::list_groups::{ListedGroup, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ListGroups, 0, 5);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let filter = ListFilter {
        states: owned(&request.states_filter),
        types: owned(&request.types_filter),
    };
    let Some(Reply::List(groups)) = connection.core.coordinator.ask(Command::List(filter)).await
    else {
        return Response {
            error_code: ErrorCode::CoordinatorNotAvailable.code(),
            ..Response::default()
        };
    };
    let groups = groups.into_iter().map(|group| ListedGroup {
        group_id: group.group.as_str().to_owned().into(),
        protocol_type: group.protocol_type.into(),
        group_state: group.state.name().into(),
        group_type: group.group_type.name().into(),
    });
    Response {
        groups: groups.collect(),
        ..Response::default()
    }
}
