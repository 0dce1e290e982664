//! ShareFetch, key 78, v1–2: acquires records for a member of a share group, waiting for them if asked to.
//! v0 was early access · v2 acquire mode (KIP-1206), renewal of locks (KIP-1222).
//! A request may bring acknowledgements along; they are durable before the answer, which tells about both.
//! Rules: broker_state::share_partitions and share_sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_state::quotas::QuotaKey;
use broker_state::share_sessions::{
    CLOSING, OPENING, ShareContext, ShareSessionKey, ShareSessionRequest, SharedPartition,
};
use tokio::time::sleep;
use wire::share_fetch::{AcquiredRecords, PartitionData, Request, Response, TopicResponse};
use wire::{ApiKey, ErrorCode, Records, Segment};

use super::share_acknowledge::{self, Raw, Results};
use super::{Answer, Api, Call, check_version};
use crate::connection::Connection;
use crate::core::Core;
use crate::throttle::timed;

mod acquire;
mod read;

use acquire::{Fetched, Wanted, acquire_or_wait};

pub const API: Api = Api::all(ApiKey::ShareFetch, 1, 2);

/// The longest that a fetch is held, whatever the client asks.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Never more than `max_records`, even within a batch.
const RECORD_LIMIT: i8 = 1;

/// Reads the request, acknowledges, acquires, and encodes the answer with its records in place.
///
/// # Errors
/// A sentence for the log, when the request cannot be read.
pub async fn answer(connection: &Connection, call: &Call<'_>) -> Result<Answer, String> {
    let version = call.header.api_version;
    check_version(&API, version)?;
    let request = Request::decode(&mut call.body.clone(), version)
        .map_err(|error| format!("ShareFetch v{version}: {error}"))?;
    let client_id = call.header.client_id;
    let is_limited = connection.is_limited(QuotaKey::RequestPercentage);
    let (fetched, spent) = timed(is_limited, fetch(connection, request)).await;
    match fetched {
        Ok((mut response, memory)) => {
            let of_time = match is_limited {
                true => connection.charge_time(client_id, spent),
                false => 0,
            };
            response.throttle_time_ms = of_time.max(charge(connection, client_id, &response));
            Ok(encode(call, &response, memory))
        }
        Err(error) => {
            let response = Response {
                error_code: error.code(),
                error_message: Some(error.message().into()),
                ..Response::default()
            };
            Ok(encode(call, &response, None))
        }
    }
}

/// For how many milliseconds the client is held back for what it has read. It gets its records all the same, as they
/// are locked for it; the next ones have to wait.
fn charge(connection: &Connection, client_id: Option<&str>, response: &Response<'_>) -> i32 {
    if !connection.is_limited(QuotaKey::ConsumerByteRate) {
        return 0;
    }
    let partitions = response.responses.iter().flat_map(|t| &t.partitions);
    let bytes: usize = partitions.map(|p| p.records.len()).sum();
    connection.charge(QuotaKey::ConsumerByteRate, client_id, bytes as f64)
}

type Memory = Option<tokio::sync::OwnedSemaphorePermit>;

fn encode(call: &Call<'_>, response: &Response<'_>, memory: Memory) -> Answer {
    let (version, correlation_id) = (call.header.api_version, call.header.correlation_id);
    let encoded = wire::encode_response(ApiKey::ShareFetch, version, correlation_id, response);
    Answer::with_memory(encoded, memory)
}

async fn fetch(
    connection: &Connection,
    mut request: Request<'_>,
) -> Result<(Response<'static>, Memory), ErrorCode> {
    let core = &connection.core;
    let key = share_acknowledge::session_key(core, request.group_id, request.member_id)?;
    check_renewal(&request)?;
    let epoch = request.share_session_epoch;
    if epoch == OPENING {
        check_group(core, &key).await?;
    }
    let raw = acknowledgements(&mut request);
    let session = session_request(&request, &key, connection, !raw.is_empty());
    let context = begin(core, session, wait(&request)).await?;
    let image = core.image();
    let results =
        share_acknowledge::acknowledge(core, &image, &key, raw, request.is_renew_ack).await;
    if epoch == CLOSING {
        share_acknowledge::close_session(core, &key).await;
    }
    let settings = core.share_settings(key.group.as_str());
    let lock = i32::try_from(settings.record_lock_duration.as_millis()).unwrap_or(i32::MAX);
    let wanted = Wanted {
        is_read_committed: core
            .image()
            .group_config(key.group.as_str())
            .share
            .is_read_committed,
        settings,
        key,
        max_records: i64::from(request.max_records),
        batch_size: i64::from(request.batch_size),
        is_strict: request.share_acquire_mode == RECORD_LIMIT,
        min_bytes: u64::try_from(request.min_bytes).unwrap_or(0),
        max_bytes: u64::try_from(request.max_bytes).unwrap_or(0),
        max_wait: wait(&request),
    };
    let partitions = rotated(&context.partitions, epoch);
    let is_only_acknowledging = epoch == CLOSING || request.is_renew_ack;
    let fetched = match is_only_acknowledging {
        true => Fetched::default(),
        false => acquire_or_wait(core, &wanted, &partitions, !results.is_empty()).await,
    };
    let Fetched { partitions, memory } = fetched;
    let response = Response {
        acquisition_lock_timeout_ms: lock,
        responses: respond(&context.added, partitions, results),
        ..Response::default()
    };
    Ok((response, memory))
}

fn wait(request: &Request<'_>) -> Duration {
    let wait = u64::try_from(request.max_wait_ms).unwrap_or(0);
    Duration::from_millis(wait).min(LONGEST_WAIT)
}

/// A renewal is no fetch: it is answered at once.
fn check_renewal(request: &Request<'_>) -> Result<(), ErrorCode> {
    let limits = [
        request.max_bytes,
        request.min_bytes,
        request.max_records,
        request.max_wait_ms,
    ];
    match request.is_renew_ack && limits.iter().any(|limit| *limit != 0) {
        true => Err(ErrorCode::InvalidRequest),
        false => Ok(()),
    }
}

/// Only a share group has sessions.
async fn check_group(core: &Core, key: &ShareSessionKey) -> Result<(), ErrorCode> {
    use broker_state::groups::{Command, Reply, ShareCommand, ShareReply};
    let command = Command::Share(ShareCommand::Inspect(key.group.clone()));
    match core.coordinator.ask(command).await {
        Some(Reply::Share(ShareReply::Inspect(inspected))) => inspected.map(drop),
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

/// Begins the session's request. A client that cannot have a session waits before it asks again.
async fn begin(
    core: &Core,
    request: ShareSessionRequest,
    wait: Duration,
) -> Result<ShareContext, ErrorCode> {
    let begun = core.share_sessions.lock().fetch(request);
    if begun == Err(ErrorCode::ShareSessionLimitReached) {
        tokio::select! {
            () = sleep(wait) => {}
            () = core.stopped() => {}
        }
    }
    begun
}

fn session_request(
    request: &Request<'_>,
    key: &ShareSessionKey,
    connection: &Connection,
    has_acknowledgements: bool,
) -> ShareSessionRequest {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let of_topic = topic.partitions.iter();
        partitions.extend(of_topic.map(|partition| (topic.topic_id, partition.partition_index)));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        forgotten.extend(topic.partitions.iter().map(|p| (topic.topic_id, *p)));
    }
    ShareSessionRequest {
        key: key.clone(),
        epoch: request.share_session_epoch,
        connection: connection.id,
        partitions,
        forgotten,
        has_acknowledgements,
    }
}

/// Takes the acknowledgements out of a request.
fn acknowledgements(request: &mut Request<'_>) -> Vec<Raw> {
    let mut raw = Vec::new();
    for topic in &mut request.topics {
        for partition in &mut topic.partitions {
            let batches = std::mem::take(&mut partition.acknowledgement_batches);
            if batches.is_empty() {
                continue;
            }
            let batches = batches.into_iter();
            let batches = batches.map(|b| (b.first_offset, b.last_offset, b.acknowledge_types));
            raw.push(Raw {
                topic_id: topic.topic_id,
                partition: partition.partition_index,
                batches: batches.collect(),
            });
        }
    }
    raw
}

/// Each request begins with another partition, so that the first ones do not take all.
fn rotated(partitions: &[SharedPartition], epoch: i32) -> Vec<SharedPartition> {
    let mut rotated = partitions.to_vec();
    if !rotated.is_empty() {
        let by = usize::try_from(epoch).unwrap_or(0) % rotated.len();
        rotated.rotate_left(by);
    }
    rotated
}

/// What there is to tell: records, errors, acknowledgements, and partitions that are new in the session.
fn respond(
    added: &[SharedPartition],
    fetched: BTreeMap<SharedPartition, acquire::Partition>,
    results: Results,
) -> Vec<TopicResponse<'static>> {
    let mut all: BTreeMap<SharedPartition, PartitionData<'static>> = BTreeMap::new();
    let mut named: BTreeSet<SharedPartition> = added.iter().copied().collect();
    named.extend(
        fetched
            .iter()
            .filter(|(_, p)| p.has_news())
            .map(|(k, _)| *k),
    );
    named.extend(results.keys());
    for key in named {
        all.insert(
            key,
            PartitionData {
                partition_index: key.1,
                ..PartitionData::default()
            },
        );
    }
    for (key, partition) in fetched {
        if let Some(data) = all.get_mut(&key) {
            fill(data, partition);
        }
    }
    for (key, (error, message)) in results {
        let data = all.get_mut(&key).expect("named above");
        data.acknowledge_error_code = error.code();
        data.acknowledge_error_message = message.map(Into::into);
    }
    let mut topics: Vec<TopicResponse<'static>> = Vec::new();
    for ((topic_id, _), data) in all {
        if topics.last().is_none_or(|topic| topic.topic_id != topic_id) {
            topics.push(TopicResponse {
                topic_id,
                partitions: Vec::new(),
            });
        }
        let topic = topics.last_mut().expect("pushed above");
        topic.partitions.push(data);
    }
    topics
}

fn fill(data: &mut PartitionData<'static>, partition: acquire::Partition) {
    let mut records = Records::new();
    for part in partition.records {
        records.push(Segment::Bytes(part));
    }
    data.error_code = partition.error.code();
    data.records = records;
    let acquired = partition.acquired.iter();
    data.acquired_records = acquired
        .map(|acquired| AcquiredRecords {
            first_offset: acquired.first,
            last_offset: acquired.last,
            delivery_count: acquired.count,
        })
        .collect();
}
