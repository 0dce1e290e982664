//! `MessagesController`, reading: the newest or oldest messages of a topic, and how many there are (L-08, L-09).
//!
//! Both look without taking: no group, no cursor, nothing is kept between two calls.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use client::offsets::OffsetQuery;
use client::{ClientError, ErrorKind, FetchLimits, Isolation, Position, Record};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::inventory::{self, TopicFacts, is_internal};
use super::refusal::Refusal;
use super::request::{NameInPath, Parameters};
use super::stored::text;
use super::topics::{backend_of, not_found_in};
use super::{milliseconds, publish};
use crate::Gateway;
use crate::backend::Backend;

/// How many messages one answer may have, and has unless asked for another number.
const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 10;
/// How much one answer reads at most.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How often the view of the newest messages reaches further back because there were holes in it.
const MOST_LOOKS: u32 = 8;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(publish::publish))
        .routes(routes!(browse))
        .routes(routes!(stats))
}

/// Messages of a topic, the oldest of them first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::MessageList)]
pub struct MessageList {
    source: &'static str,
    topic_name: String,
    /// How many are in this answer.
    message_count: usize,
    messages: Vec<StoredMessage>,
    limit: usize,
    offset: End,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::StoredMessage)]
pub struct StoredMessage {
    key: Option<String>,
    value: Option<String>,
    partition: i32,
    offset: i64,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

/// Which end of a topic is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = legacy::End)]
pub enum End {
    Latest,
    Earliest,
}

/// The newest or the oldest messages of a topic, without consuming them
#[utoipa::path(
    get,
    path = "/api/messages/topic/{topicName}",
    tag = "MessagesController",
    operation_id = "legacyBrowseMessages",
    params(
        ("topicName" = String, Path, description = "Case-sensitive"),
        ("source" = Option<String>, Query, description = "`inmemory` or `kafka`; the embedded broker where there is one"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 10"),
        ("offset" = Option<String>, Query, description = "`latest` (default) or `earliest`"),
    ),
    responses((status = 200, description = "Messages, the oldest of them first", body = MessageList), Refusal)
)]
async fn browse(
    State(gateway): State<Gateway>,
    NameInPath(topic): NameInPath,
    parameters: Parameters,
) -> Result<Json<MessageList>, Refusal> {
    let backend = match parameters.source()? {
        Some(source) => backend_of(&gateway, source)?,
        None => gateway.backends().primary(),
    };
    let limit = limit_of(parameters.get("limit"))?;
    let end = end_of(parameters.get("offset"))?;
    if is_internal(&topic) {
        return Err(not_found_in(backend.source(), &topic));
    }
    let found = match end {
        End::Latest => newest(backend, &topic, limit).await,
        End::Earliest => oldest(backend, &topic, limit).await,
    };
    let messages = found.map_err(|error| match error.kind() {
        ErrorKind::NotFound => not_found_in(backend.source(), &topic),
        _ => Refusal::from(error),
    })?;
    Ok(Json(MessageList {
        source: backend.source().title(),
        topic_name: topic,
        message_count: messages.len(),
        messages,
        limit,
        offset: end,
    }))
}

fn limit_of(text: Option<&str>) -> Result<usize, Refusal> {
    let Some(text) = text else {
        return Ok(DEFAULT_LIMIT);
    };
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let message = format!("The field limit must be between 1 and {MAX_LIMIT}.");
        Refusal::invalid("limit", message)
    })
}

fn end_of(text: Option<&str>) -> Result<End, Refusal> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("latest") => Ok(End::Latest),
        Some("earliest") => Ok(End::Earliest),
        Some(_) => Err(Refusal::bad_request(
            "Invalid offset. Use 'latest' or 'earliest'",
        )),
    }
}

/// The first `limit` messages by time among the first of each partition.
async fn oldest(
    backend: &Backend,
    topic: &str,
    limit: usize,
) -> Result<Vec<StoredMessage>, ClientError> {
    let reader = backend.reader();
    let starts = reader.offsets(topic, OffsetQuery::Earliest).await?;
    let ends = reader.offsets(topic, OffsetQuery::Latest).await?;
    let mut messages = read(backend, topic, &starts, &ends, limit).await?;
    messages.sort_by_key(|message| (message.timestamp, message.partition, message.offset));
    messages.truncate(limit);
    Ok(messages)
}

/// The last `limit` messages by time among the last of each partition.
///
/// Offsets have holes (compaction, transactions), so the look back grows until there are enough or the start is reached.
async fn newest(
    backend: &Backend,
    topic: &str,
    limit: usize,
) -> Result<Vec<StoredMessage>, ClientError> {
    let reader = backend.reader();
    let starts = reader.offsets(topic, OffsetQuery::Earliest).await?;
    let ends = reader.offsets(topic, OffsetQuery::Latest).await?;
    let mut messages = Vec::new();
    for look in 0..MOST_LOOKS {
        let back = i64::try_from(limit).unwrap_or(i64::MAX) << (2 * look);
        let from = look_back(&starts, &ends, back);
        messages = read(backend, topic, &from, &ends, usize::MAX).await?;
        if messages.len() >= limit || from == starts {
            break;
        }
    }
    messages.sort_by_key(|message| Reverse((message.timestamp, message.partition, message.offset)));
    messages.truncate(limit);
    messages.reverse();
    Ok(messages)
}

type Offsets = BTreeMap<i32, i64>;

fn look_back(starts: &Offsets, ends: &Offsets, back: i64) -> Offsets {
    let from = starts.iter().map(|(partition, start)| {
        let end = ends.get(partition).copied().unwrap_or(*start);
        (*partition, end.saturating_sub(back).max(*start))
    });
    from.collect()
}

/// Reads each partition from its start to its end, or until it gave `limit` messages, within [`MAX_BYTES`] for all of it.
async fn read(
    backend: &Backend,
    topic: &str,
    starts: &Offsets,
    ends: &Offsets,
    limit: usize,
) -> Result<Vec<StoredMessage>, ClientError> {
    let mut positions = starts.clone();
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    let mut messages = Vec::new();
    let mut room = MAX_BYTES;
    loop {
        let from: Vec<Position> = positions
            .iter()
            .filter(|(partition, offset)| ends.get(partition).is_some_and(|end| *offset < end))
            .filter(|(partition, _)| counts.get(partition).is_none_or(|count| *count < limit))
            .map(|(partition, offset)| Position {
                partition: *partition,
                offset: *offset,
            })
            .collect();
        if from.is_empty() || room == 0 {
            return Ok(messages);
        }
        let limits = FetchLimits {
            max_bytes: room,
            max_wait: Duration::ZERO,
            min_bytes: 1,
            isolation: Isolation::ReadCommitted,
        };
        let mut moved = false;
        for fetched in backend.reader().fetch(topic, &from, limits).await? {
            let partition = fetched.partition;
            let position = positions.entry(partition).or_default();
            moved |= fetched.next_offset > *position;
            *position = fetched.next_offset.max(*position);
            for record in &fetched.records {
                room = room.saturating_sub(size_of(record));
                let count = counts.entry(partition).or_default();
                if *count < limit {
                    *count += 1;
                    messages.push(stored_message(partition, record));
                }
            }
        }
        // An open transaction, a partition without a leader: what cannot be read now is left out.
        if !moved {
            return Ok(messages);
        }
    }
}

fn size_of(record: &Record) -> usize {
    let key = record.key.as_ref().map_or(0, |key| key.len());
    key + record.value.as_ref().map_or(0, |value| value.len()) + 1
}

fn stored_message(partition: i32, record: &Record) -> StoredMessage {
    StoredMessage {
        key: record.key.as_deref().map(text),
        value: record.value.as_deref().map(text),
        partition,
        offset: record.offset,
        timestamp: milliseconds(
            Timestamp::from_millisecond(record.timestamp_ms).unwrap_or_default(),
        ),
    }
}

/// How many messages there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::MessageStats)]
pub struct MessageStats {
    mode: &'static str,
    /// By name: a topic that is on both sides counts once, with the messages of the side that consumers read.
    total_topics: usize,
    total_messages: i64,
    topic_stats: Vec<TopicStats>,
    /// Null when this backend is not used.
    in_memory: Option<SideStats>,
    kafka: Option<SideStats>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TopicStats)]
pub struct TopicStats {
    topic_name: String,
    message_count: i64,
}

/// One side's numbers, or why they are missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::SideStats)]
pub struct SideStats {
    total_topics: usize,
    total_messages: i64,
    topics: Vec<TopicStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How many messages each topic holds
#[utoipa::path(
    get,
    path = "/api/messages/stats",
    tag = "MessagesController",
    operation_id = "legacyMessageStats",
    responses((status = 200, description = "Counts by topic and side", body = MessageStats), Refusal)
)]
async fn stats(State(gateway): State<Gateway>) -> Result<Json<MessageStats>, Refusal> {
    let backends = gateway.backends();
    let (in_memory, kafka) = tokio::join!(
        side_stats(&gateway, backends.in_memory()),
        side_stats(&gateway, backends.kafka())
    );
    let (in_memory, kafka) = (in_memory?, kafka?);
    let mut by_name: BTreeMap<String, i64> = BTreeMap::new();
    for side in [&kafka, &in_memory].into_iter().flatten() {
        let counts = side.topics.iter();
        by_name.extend(counts.map(|topic| (topic.topic_name.clone(), topic.message_count)));
    }
    let topic_stats = by_name
        .into_iter()
        .map(|(topic_name, message_count)| TopicStats {
            topic_name,
            message_count,
        });
    let topic_stats: Vec<TopicStats> = topic_stats.collect();
    Ok(Json(MessageStats {
        mode: backends.mode().title(),
        total_topics: topic_stats.len(),
        total_messages: topic_stats.iter().map(|topic| topic.message_count).sum(),
        topic_stats,
        in_memory,
        kafka,
    }))
}

/// The primary backend's failure is the call's; the other side's is told beside what there is.
async fn side_stats(
    gateway: &Gateway,
    backend: Option<&Backend>,
) -> Result<Option<SideStats>, Refusal> {
    let Some(backend) = backend else {
        return Ok(None);
    };
    let is_primary = backend.source() == gateway.backends().primary().source();
    match inventory::all(backend, gateway.registry().await?).await {
        Ok(facts) => Ok(Some(SideStats::of(&facts))),
        Err(error) if is_primary => Err(error),
        Err(error) => Ok(Some(SideStats {
            error: Some(error.text()),
            ..SideStats::of(&[])
        })),
    }
}

impl SideStats {
    fn of(facts: &[TopicFacts]) -> SideStats {
        let topics = facts.iter().map(|fact| TopicStats {
            topic_name: fact.topic.name.clone(),
            message_count: fact.message_count,
        });
        SideStats {
            total_topics: facts.len(),
            total_messages: facts.iter().map(|fact| fact.message_count).sum(),
            topics: topics.collect(),
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_back_ends_at_the_start_of_the_log() {
        let starts = BTreeMap::from([(0, 5), (1, 0), (2, 40)]);
        let ends = BTreeMap::from([(0, 9), (1, 100), (2, 40)]);
        let expected = BTreeMap::from([(0, 5), (1, 90), (2, 40)]);
        assert_eq!(look_back(&starts, &ends, 10), expected);
    }

    #[test]
    fn limits_and_ends_are_checked() {
        // L-08
        assert_eq!(limit_of(None).ok(), Some(10));
        assert_eq!(limit_of(Some("1000")).ok(), Some(1_000));
        for wrong in ["0", "-1", "1001", "x"] {
            assert!(limit_of(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(end_of(Some("EARLIEST")).ok(), Some(End::Earliest));
        assert!(end_of(Some("7")).is_err());
    }
}
