//! CreatePartitions, key 37, v0–3: adds partitions to topics; keys then map to other partitions than before.
//! v2 flexible · v3 throttling quota. Rules: broker_state::topics.

use broker_state::topics::{Command, PartitionCreation, PartitionIncrease, Reply};
use wire::create_partitions::{Request, Response, Topic, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;
use crate::throttle::QUOTA_EXCEEDED;

pub const API: Api = Api::all(ApiKey::CreatePartitions, 0, 3);

/// Since this version a quota on changes refuses (KIP-599).
const STRICT_QUOTA: i16 = 3;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let permits = connection.take_permits(&call.header, STRICT_QUOTA, |image| {
        request
            .topics
            .iter()
            .map(|topic| added(image, topic))
            .collect()
    });
    let (granted, throttled) = permits.split(&request.topics);
    let command = Command::CreatePartitions {
        topics: granted.iter().copied().map(increase).collect(),
        validate_only: request.validate_only,
    };
    let mut results: Vec<TopicResult<'static>> = match connection.core.controller.ask(command).await
    {
        Some(Reply::PartitionsCreated(created)) => created.into_iter().map(respond).collect(),
        _ => granted.into_iter().map(unavailable).collect(),
    };
    results.extend(
        throttled
            .into_iter()
            .map(|topic| refused(topic, QUOTA_EXCEEDED)),
    );
    Response {
        results,
        throttle_time_ms: permits.throttle_time_ms,
    }
}

/// How many partitions a topic would get in addition.
fn added(image: &ClusterImage, wanted: &Topic<'_>) -> i32 {
    let present = image
        .topic(wanted.name)
        .map_or(0, |topic| topic.partitions.len());
    wanted.count.saturating_sub(present as i32).max(0)
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
    refused(topic, (ErrorCode::NotController, super::CANNOT_CHANGE))
}

fn refused(topic: &Topic<'_>, (error, message): (ErrorCode, &'static str)) -> TopicResult<'static> {
    TopicResult {
        name: topic.name.to_owned().into(),
        error_code: error.code(),
        error_message: Some(message.into()),
    }
}
