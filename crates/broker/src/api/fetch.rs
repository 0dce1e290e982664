//! Fetch, key 1, v4–18: reads record batches, waiting for them if asked to.
//! v4 isolation · v7 sessions (KIP-227) · v9 leader epoch · v11 rack · v12 flexible · v13 topic ids · v15 replica state · v18 high watermark.
//! The first batch is whole even if it is larger than the limit (KIP-74); records are empty rather than null, which librdkafka refuses.

use std::sync::Arc;
use std::time::Duration;

use broker_state::fetch_sessions::{
    FetchContext, FetchPartition, FetchSessionRequest, FetchTopic, PartitionFetch, PartitionOutcome,
};
use broker_state::quotas::QuotaKey;
use broker_state::step::Millis;
use log::Isolation;
use wire::fetch::{AbortedTransaction, PartitionData, Request, Response, TopicResponse};
use wire::{ApiKey, ErrorCode, Records, Segment};

use super::{Answer, Api, Call, check_version};
use crate::cluster::ClusterImage;
use crate::connection::Connection;
use crate::entropy;
use crate::partition::Partition;
use crate::throttle::timed;

pub(super) mod read;

use read::{Bounds, Read, ReadAll, Wanted, read_all};

pub const API: Api = Api::all(ApiKey::Fetch, 4, 18);

/// Since this version topics are named by their ids.
const BY_ID: i16 = 13;
/// The longest that a fetch is held, whatever the client asks.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const READ_COMMITTED: i8 = 1;

/// Reads the request, waits, and encodes the answer with its records in place.
///
/// # Errors
/// A sentence for the log, when the request cannot be read.
pub async fn answer(connection: &Connection, call: &Call<'_>) -> Result<Answer, String> {
    let version = call.header.api_version;
    check_version(&API, version)?;
    let request = Request::decode(&mut call.body.clone(), version)
        .map_err(|error| format!("Fetch v{version}: {error}"))?;
    let core = &connection.core;
    let client_id = call.header.client_id;
    let is_limited = is_limited(connection);
    let mut bounds = bounds(&request, core.limits.fetch_bytes);
    if let Some(most) = connection.most_at_once(QuotaKey::ConsumerByteRate, client_id) {
        bounds.max_bytes = bounds.max_bytes.min(most);
    }
    let begun = core
        .fetch_sessions
        .lock()
        .begin(session_request(request, version), Millis(core.now_ms()));
    let context = match begun {
        Ok(context) => context,
        Err(error) => {
            return Ok(encode(
                call,
                &Response {
                    error_code: error.code(),
                    ..Response::default()
                },
                None,
            ));
        }
    };
    let image = core.image();
    let wanted: Vec<Wanted> = context
        .partitions
        .iter()
        .map(|(partition, fetch)| find(&image, partition, fetch))
        .collect();
    let (read, spent) = timed(is_limited, read_all(core, &wanted, &bounds)).await;
    let ReadAll { reads, memory } = read;
    let mut charged = Charged::default();
    if is_limited {
        charged = charge(connection, client_id, &reads, spent);
        if charged.held_ms > 0 && !charged.is_sent {
            return Ok(encode(call, &throttled(&context, charged.held_ms), None));
        }
    }
    let outcomes: Vec<PartitionOutcome> = reads.iter().map(outcome).collect();
    let entropy = entropy::bytes().map_or(0, |bytes| {
        u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
    });
    let answer =
        core.fetch_sessions
            .lock()
            .finish(&context, &outcomes, Millis(core.now_ms()), entropy);
    let mut response = Response {
        throttle_time_ms: charged.held_ms,
        error_code: answer.error.code(),
        session_id: answer.session_id,
        ..Response::default()
    };
    if answer.error == ErrorCode::None {
        response.responses = respond(&context, reads, &answer.included);
    }
    Ok(encode(call, &response, memory))
}

/// Whether anybody has a quota that a fetch counts against.
fn is_limited(connection: &Connection) -> bool {
    connection.core.cluster.peek(|image| {
        let keys = [QuotaKey::ConsumerByteRate, QuotaKey::RequestPercentage];
        keys.into_iter().any(|key| image.quotas().limits(key))
    })
}

/// What a client with a quota was charged for its answer.
#[derive(Default)]
struct Charged {
    /// For how many milliseconds it is held back.
    held_ms: i32,
    /// Whether it gets the answer all the same.
    is_sent: bool,
}

/// Charges a client for what was read. When it is held back, what was read is not sent and its bytes do not count; but
/// what is more than its quota ever allows at once (the first batch is whole, KIP-74) is sent first and waited for
/// afterwards, or the client would never get it.
fn charge(
    connection: &Connection,
    client_id: Option<&str>,
    reads: &[Read],
    spent: Duration,
) -> Charged {
    let key = QuotaKey::ConsumerByteRate;
    let of_time = connection.charge_time(client_id, spent);
    let parts = reads.iter().flat_map(|read| &read.records);
    let bytes: usize = parts.map(|part| part.len()).sum();
    let most = connection.most_at_once(key, client_id);
    let is_sent = most.is_some_and(|most| bytes as u64 > most);
    let of_bytes = connection.charge(key, client_id, bytes as f64);
    let held_ms = of_bytes.max(of_time);
    if held_ms > 0 && !is_sent {
        connection.refund(key, client_id, bytes as f64);
    }
    Charged { held_ms, is_sent }
}

/// The answer to a client that is held back: nothing, and the session goes on as if it had not asked.
fn throttled(context: &FetchContext, throttle_time_ms: i32) -> Response<'static> {
    Response {
        throttle_time_ms,
        session_id: context.session_id(),
        ..Response::default()
    }
}

fn encode(
    call: &Call<'_>,
    response: &Response<'_>,
    memory: Option<tokio::sync::OwnedSemaphorePermit>,
) -> Answer {
    let (version, correlation_id) = (call.header.api_version, call.header.correlation_id);
    Answer::with_memory(
        wire::encode_response(ApiKey::Fetch, version, correlation_id, response),
        memory,
    )
}

fn bounds(request: &Request<'_>, most: usize) -> Bounds {
    let positive = |value: i32| u64::try_from(value).unwrap_or(0);
    Bounds {
        max_wait: Duration::from_millis(positive(request.max_wait_ms)).min(LONGEST_WAIT),
        min_bytes: positive(request.min_bytes),
        max_bytes: positive(request.max_bytes).min(most as u64),
        isolation: match request.isolation_level {
            READ_COMMITTED => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        },
    }
}

fn session_request(request: Request<'_>, version: i16) -> FetchSessionRequest {
    let by_id = version >= BY_ID;
    let name = |name: &str, id: wire::Uuid| {
        if by_id {
            FetchTopic::Id(id)
        } else {
            FetchTopic::Name(Arc::from(name))
        }
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let topic_name = name(topic.topic, topic.topic_id);
        for wanted in &topic.partitions {
            let fetch = PartitionFetch {
                fetch_offset: wanted.fetch_offset,
                partition_max_bytes: wanted.partition_max_bytes,
                current_leader_epoch: wanted.current_leader_epoch,
                last_fetched_epoch: wanted.last_fetched_epoch,
                log_start_offset: wanted.log_start_offset,
            };
            partitions.push((
                FetchPartition {
                    topic: topic_name.clone(),
                    partition: wanted.partition,
                },
                fetch,
            ));
        }
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let topic_name = name(topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|&partition| FetchPartition {
            topic: topic_name.clone(),
            partition,
        }));
    }
    FetchSessionRequest {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        uses_topic_ids: by_id,
        partitions,
        forgotten,
    }
}

fn find(image: &ClusterImage, named: &FetchPartition, fetch: &PartitionFetch) -> Wanted {
    let (topic, unknown) = match &named.topic {
        FetchTopic::Name(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
        FetchTopic::Id(id) => (image.topic_by_id(*id), ErrorCode::UnknownTopicId),
    };
    let partition: Result<Arc<Partition>, ErrorCode> = match topic {
        None => Err(unknown),
        Some(topic) => topic
            .partition(named.partition)
            .cloned()
            .ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    Wanted {
        partition,
        offset: fetch.fetch_offset,
        max_bytes: fetch.partition_max_bytes,
        current_leader_epoch: fetch.current_leader_epoch,
    }
}

fn outcome(read: &Read) -> PartitionOutcome {
    PartitionOutcome {
        has_records: !read.records.is_empty(),
        has_error: read.error != ErrorCode::None,
        high_watermark: read.high_watermark,
        log_start_offset: read.log_start,
    }
}

/// The partitions that are in the answer, put together by topic as they come.
fn respond(
    context: &FetchContext,
    reads: Vec<Read>,
    included: &[bool],
) -> Vec<TopicResponse<'static>> {
    let mut topics: Vec<TopicResponse<'static>> = Vec::new();
    let mut last: Option<&FetchTopic> = None;
    let parts = context.partitions.iter().zip(reads).zip(included);
    for (((named, _), read), _) in parts.filter(|(_, included)| **included) {
        if last != Some(&named.topic) {
            last = Some(&named.topic);
            topics.push(match &named.topic {
                FetchTopic::Name(name) => TopicResponse {
                    topic: name.to_string().into(),
                    ..Default::default()
                },
                FetchTopic::Id(id) => TopicResponse {
                    topic_id: *id,
                    ..Default::default()
                },
            });
        }
        let topic = topics.last_mut().expect("pushed above");
        topic
            .partitions
            .push(respond_partition(named.partition, read));
    }
    topics
}

fn respond_partition(partition_index: i32, read: Read) -> PartitionData {
    let mut records = Records::new();
    for part in read.records {
        records.push(Segment::Bytes(part));
    }
    PartitionData {
        partition_index,
        error_code: read.error.code(),
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start,
        aborted_transactions: read.aborted.map(respond_aborted),
        records,
        ..Default::default()
    }
}

fn respond_aborted(aborted: Vec<log::AbortedTransaction>) -> Vec<AbortedTransaction> {
    let aborted = aborted.into_iter().map(|transaction| AbortedTransaction {
        producer_id: transaction.producer_id,
        first_offset: transaction.first_offset.0,
    });
    aborted.collect()
}
