//! DeleteTopics, key 20, v1–6: deletes topics, their records and the offsets that groups have in them.
//! v4 flexible · v5 error messages, throttling quota · v6 by id. Rules: broker_state::topics.

use broker_state::topics::{Command, Reply, TopicDeletion, TopicRef};
use wire::delete_topics::{Request, Response, TopicResult};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;
use crate::throttle::QUOTA_EXCEEDED;

pub const API: Api = Api::all(ApiKey::DeleteTopics, 1, 6);

/// Since this version topics can be named by their ids.
const BY_ID: i16 = 6;
/// Since this version a quota on changes refuses (KIP-599).
const STRICT_QUOTA: i16 = 5;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let topics: Vec<TopicRef> = if call.header.api_version >= BY_ID {
        let topic = |topic: &wire::delete_topics::TopicState<'_>| TopicRef {
            name: topic.name.map(str::to_owned),
            id: topic.topic_id,
        };
        request.topics.iter().map(topic).collect()
    } else {
        request
            .topic_names
            .iter()
            .map(|name| TopicRef {
                name: Some((*name).to_owned()),
                id: Uuid::ZERO,
            })
            .collect()
    };
    let permits = connection.take_permits(&call.header, STRICT_QUOTA, |image| {
        topics
            .iter()
            .map(|topic| partitions(image, topic))
            .collect()
    });
    let (topics, throttled) = permits.split(topics);
    let command = Command::DeleteTopics {
        topics: topics.clone(),
    };
    let mut responses: Vec<TopicResult<'static>> =
        match connection.core.controller.ask(command).await {
            Some(Reply::TopicsDeleted(deleted)) => deleted.into_iter().map(respond).collect(),
            _ => topics.into_iter().map(unavailable).collect(),
        };
    responses.extend(
        throttled
            .into_iter()
            .map(|topic| refused(topic, QUOTA_EXCEEDED)),
    );
    Response {
        responses,
        throttle_time_ms: permits.throttle_time_ms,
    }
}

/// How many partitions go with a topic; none with one that is not there.
fn partitions(image: &ClusterImage, topic: &TopicRef) -> i32 {
    let found = match &topic.name {
        Some(name) => image.topic(name),
        None => image.topic_by_id(topic.id),
    };
    found.map_or(0, |topic| topic.partitions.len() as i32)
}

fn respond(deletion: TopicDeletion) -> TopicResult<'static> {
    let refusal = deletion.result.err();
    TopicResult {
        name: deletion.name.map(Into::into),
        topic_id: deletion.id,
        error_code: refusal
            .as_ref()
            .map_or(ErrorCode::None, |refusal| refusal.error)
            .code(),
        error_message: refusal.map(|refusal| refusal.message.into()),
    }
}

fn unavailable(topic: TopicRef) -> TopicResult<'static> {
    refused(topic, (ErrorCode::NotController, super::CANNOT_CHANGE))
}

fn refused(topic: TopicRef, (error, message): (ErrorCode, &'static str)) -> TopicResult<'static> {
    TopicResult {
        name: topic.name.map(Into::into),
        topic_id: topic.id,
        error_code: error.code(),
        error_message: Some(message.into()),
    }
}
