//! CreatePartitions, key 37, v0–3: adds partitions to topics; keys then map to other partitions than before.
//! v2 flexible · v3 throttling quota. Rules: broker_state::topics.

use broker_state::topics::{Command, PartitionCreation, PartitionIncrease, Reply};
use wire::create_partitions::{Request, Response, Topic, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::CreatePartitions, 0, 3);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let command = Command::CreatePartitions {
        topics: request.topics.iter().map(increase).collect(),
        validate_only: request.validate_only,
    };
    let results = match connection.core.controller.ask(command).await {
        Some(Reply::PartitionsCreated(created)) => created.into_iter().map(respond).collect(),
        _ => request.topics.iter().map(unavailable).collect(),
    };
    Response {
        results,
        ..Response::default()
    }
}

fn increase(topic: &Topic<'_>) -> PartitionIncrease {
    let assignments = topic.assignments.as_ref();
    PartitionIncrease {
        name: topic.name.to_owned(),
        partitions: topic.count,
        assignments: assignments
            .map(|assignments| assignments.iter().map(|a| a.broker_ids.clone()).collect()),
    }
}

fn respond(creation: PartitionCreation) -> TopicResult<'static> {
    let refusal = creation.result.err();
    TopicResult {
        name: creation.name.into(),
        error_code: refusal
            .as_ref()
            .map_or(ErrorCode::None, |refusal| refusal.error)
            .code(),
        error_message: refusal.map(|refusal| refusal.message.into()),
    }
}

fn unavailable(topic: &Topic<'_>) -> TopicResult<'static> {
    TopicResult {
        name: topic.name.to_owned().into(),
        error_code: ErrorCode::NotController.code(),
        error_message: Some("the broker is stopping".into()),
    }
}
