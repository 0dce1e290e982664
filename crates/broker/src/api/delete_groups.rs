//! DeleteGroups, key 42, v0–2: deletes groups without members, and their offsets.
//! v2 flexible. Rules: broker_state::groups.

use broker_state::groups::{Command, GroupId, Reply};
use broker_state::share_partitions::Command as PartitionsCommand;
use wire::delete_groups::{GroupResult, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::core::Core;

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
        Some(Reply::DeleteGroups(results)) => forget_shared(&connection.core, results)
            .await
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

/// Forgets what deleted groups have done as share groups; there is nothing of most.
async fn forget_shared(
    core: &Core,
    results: Vec<(GroupId, ErrorCode)>,
) -> Vec<(GroupId, ErrorCode)> {
    let deleted = results
        .iter()
        .filter(|(_, error)| *error == ErrorCode::None);
    for (group, _) in deleted {
        core.share_sessions.lock().close_group(group);
        let group = group.clone();
        let topics = None;
        let command = PartitionsCommand::Delete { group, topics };
        // Should the broker end before it is done, the next start does it.
        let _ = core.share.ask(command).await;
    }
    results
}
