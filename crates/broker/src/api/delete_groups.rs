//! DeleteGroups, key 42, v0–2: deletes groups without members, and their offsets.
//! v2 flexible. Rules: broker_state::groups.

use broker_state::groups::{Command, Reply};
use wire::delete_groups::{GroupResult, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DeleteGroups, 0, 2);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let command = Command::DeleteGroups(
        request
            .groups_names
            .iter()
            .map(|group| (*group).into())
            .collect(),
    );
    let result = |group: String, error: ErrorCode| GroupResult {
        group_id: group.into(),
        error_code: error.code(),
        error_message: None,
    };
    let results = match connection.core.coordinator.ask(command).await {
        Some(Reply::DeleteGroups(results)) => results
            .into_iter()
            .map(|(group, error)| result(group.as_str().to_owned(), error))
            .collect(),
        _ => request
            .groups_names
            .iter()
            .map(|group| result((*group).to_owned(), ErrorCode::CoordinatorNotAvailable))
            .collect(),
    };
    Response {
        results,
        ..Response::default()
    }
}
