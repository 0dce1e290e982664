//! CreateTopics, key 19, v2–7: creates topics; they are durable and open before the answer.
//! v4 -1 for the broker's defaults (KIP-464) · v5 flexible, settings in the answer (KIP-525) · v6 throttling quota · v7 topic ids. Rules: broker_state::topics.

use broker_state::configs::ConfigEntry;
use broker_state::topics::{Assignment, Command, ConfigResource, NewTopic, Reply, TopicCreation};
use wire::create_topics::{CreatableTopic, Request, Response, TopicConfig, TopicResult};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::connection::Connection;
use crate::controller::ConfigQuery;
use crate::entropy;
use crate::throttle::QUOTA_EXCEEDED;

pub const API: Api = Api::all(ApiKey::CreateTopics, 2, 7);

/// Since this version a quota on changes refuses (KIP-599).
const STRICT_QUOTA: i16 = 6;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let permits = connection.take_permits(&call.header, STRICT_QUOTA, |_| {
        request.topics.iter().map(partitions).collect()
    });
    let (granted, throttled) = permits.split(&request.topics);
    let topics: Option<Vec<NewTopic>> = granted.iter().copied().map(new_topic).collect();
    let answer = match topics {
        Some(topics) => {
            let command = Command::CreateTopics {
                topics,
                validate_only: request.validate_only,
            };
            connection.core.controller.ask(command).await
        }
        None => None,
    };
    let mut topics: Vec<TopicResult<'static>> = match answer {
        Some(Reply::TopicsCreated(created)) => respond_all(connection, created).await,
        _ => granted
            .into_iter()
            .map(|topic| refused(topic.name, ErrorCode::NotController, super::CANNOT_CHANGE))
            .collect(),
    };
    let (error, message) = QUOTA_EXCEEDED;
    topics.extend(
        throttled
            .iter()
            .map(|topic| refused(topic.name, error, message)),
    );
    Response {
        topics,
        throttle_time_ms: permits.throttle_time_ms,
    }
}

/// How many partitions a topic is to have; negative for the broker's default.
fn partitions(topic: &CreatableTopic<'_>) -> i32 {
    match topic.assignments.len() {
        0 => topic.num_partitions,
        assigned => i32::try_from(assigned).unwrap_or(i32::MAX),
    }
}

fn new_topic(topic: &CreatableTopic<'_>) -> Option<NewTopic> {
    let assignments = topic.assignments.iter();
    Some(NewTopic {
        name: topic.name.to_owned(),
        id: Uuid(entropy::uuid()?),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments
            .map(|a| Assignment {
                partition: a.partition_index,
                brokers: a.broker_ids.clone(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (config.name.to_owned(), config.value.map(str::to_owned)))
            .collect(),
    })
}

/// Every topic with all its settings; a topic that was only checked has none yet.
async fn respond_all(
    connection: &Connection,
    created: Vec<TopicCreation>,
) -> Vec<TopicResult<'static>> {
    let query = |creation: &TopicCreation| ConfigQuery {
        resource: ConfigResource {
            resource_type: ConfigResource::TOPIC,
            name: creation.name.clone(),
        },
        keys: None,
    };
    let described = connection
        .core
        .controller
        .describe_configs(created.iter().map(query).collect())
        .await;
    let entries = described
        .into_iter()
        .map(Result::unwrap_or_default)
        .chain(std::iter::repeat_with(Vec::new));
    created
        .into_iter()
        .zip(entries)
        .map(|(creation, entries)| respond(creation, entries))
        .collect()
}

fn respond(creation: TopicCreation, entries: Vec<ConfigEntry>) -> TopicResult<'static> {
    let created = match creation.result {
        Ok(created) => created,
        Err(refusal) => return refused(&creation.name, refusal.error, &refusal.message),
    };
    let configs = entries.into_iter().map(|entry| TopicConfig {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.is_read_only,
        config_source: entry.source.id(),
        is_sensitive: entry.is_sensitive,
    });
    TopicResult {
        name: creation.name.into(),
        topic_id: created.id,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

fn refused(name: &str, error: ErrorCode, message: &str) -> TopicResult<'static> {
    TopicResult {
        name: name.to_owned().into(),
        error_code: error.code(),
        error_message: Some(message.to_owned().into()),
        ..Default::default()
    }
}
