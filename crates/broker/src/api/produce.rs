//! Produce, key 0, v3–13 (advertised from 0, or librdkafka stops compressing: KAFKA-18659): appends record batches.
//! v3 batches of format v2 · v5 log start · v8 record errors · v9 flexible · v12 transactions v2 · v13 topic ids.
//! `acks=0` is never answered; an error then closes the connection, as Kafka does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_state::configs::Durability;
use broker_state::quotas::QuotaKey;
use tokio::sync::oneshot::Receiver;
use wire::produce::{
    BatchIndexAndErrorMessage, PartitionResponse, Request, Response, TopicResponse,
};
use wire::records::CheckedBatch;
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Answer, Api, Call, check_version};
use crate::cluster::{ClusterImage, Topic};
use crate::connection::Connection;
use crate::partition::Owner;
use crate::shard::{AppendItem, AppendOutcome, Event, Reply};

mod transactions;
mod validate;

use validate::validate;

pub const API: Api = Api {
    key: ApiKey::Produce,
    versions: 3..=13,
    advertised_from: 0,
};

/// Above this a write takes longer than the two thread switches that writing it here would save.
const MOST_BYTES_WRITTEN_HERE: usize = 128 << 10;

/// A request whose batches are on their way through the shards.
pub struct PendingProduce {
    version: i16,
    correlation_id: i32,
    is_answered: bool,
    topics: Vec<PendingTopic>,
    parts: Vec<Part>,
    charge: Option<Charge>,
}

/// What a client with a quota is charged for a request.
struct Charge {
    client_id: Option<Box<str>>,
    bytes: usize,
    began: Instant,
    spent: Duration,
}

struct PendingTopic {
    name: String,
    id: Uuid,
    partitions: Vec<(i32, PendingPartition)>,
}

enum PendingPartition {
    Done(AppendOutcome),
    /// To be sent to its shard.
    Checked(Checked),
    /// The outcome at `item` of the answer of `part`.
    Asked {
        part: usize,
        item: usize,
    },
}

/// A batch in which nothing was found that keeps it out.
struct Checked {
    item: AppendItem,
    waits_for_disk: bool,
}

/// What one shard was asked.
struct Part {
    shard: usize,
    items: Vec<AppendItem>,
    /// Whether a topic of these items is synced before it answers.
    waits_for_disk: bool,
    receiver: Option<Receiver<Vec<AppendOutcome>>>,
    outcomes: Option<Vec<AppendOutcome>>,
}

/// Reads the request and hands its batches to their shards, in the order in which requests came.
///
/// # Errors
/// A sentence for the log, when the request cannot be read.
pub async fn start(connection: &Connection, call: &Call<'_>) -> Result<PendingProduce, String> {
    let version = call.header.api_version;
    check_version(&API, version)?;
    let request = Request::decode(&mut call.body.clone(), version)
        .map_err(|error| format!("Produce v{version}: {error}"))?;
    let image = connection.core.image();
    let mut pending = PendingProduce {
        version,
        correlation_id: call.header.correlation_id,
        is_answered: request.acks != 0,
        topics: Vec::with_capacity(request.topic_data.len()),
        parts: Vec::new(),
        charge: Charge::begin(&image, call),
    };
    let refusal = refuse_request(&request);
    let is_all = request.acks == -1;
    let now_ms = connection.core.now_ms();
    for data in &request.topic_data {
        let topic = find_topic(&image, version, data.name, data.topic_id);
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in &data.partition_data {
            let outcome = match (&refusal, topic) {
                (Some(refusal), _) => PendingPartition::Done(refusal.clone()),
                (None, Err(error)) => {
                    PendingPartition::Done(AppendOutcome::refused(error, error.message()))
                }
                (None, Ok(topic)) if is_all && topic.settings.min_insync_replicas > 1 => {
                    PendingPartition::Done(too_few_replicas(topic))
                }
                (None, Ok(topic)) => admit(
                    topic,
                    partition.index,
                    partition.records.map(|records| call.share(records)),
                    now_ms,
                ),
            };
            partitions.push((partition.index, outcome));
        }
        let name = topic.map_or_else(|_| data.name.to_owned(), |topic| topic.name.to_string());
        pending.topics.push(PendingTopic {
            name,
            id: data.topic_id,
            partitions,
        });
    }
    if let Some(charge) = &mut pending.charge {
        // What follows waits for others.
        charge.spent = charge.began.elapsed();
    }
    transactions::verify(connection, &request, version, &mut pending.topics).await;
    pending.queue();
    pending.send(connection);
    Ok(pending)
}

fn refuse_request(request: &Request<'_>) -> Option<AppendOutcome> {
    (!matches!(request.acks, -1..=1)).then(|| {
        AppendOutcome::refused(
            ErrorCode::InvalidRequiredAcks,
            format!("acks is -1, 0 or 1, not {}", request.acks),
        )
    })
}

fn find_topic<'a>(
    image: &'a ClusterImage,
    version: i16,
    name: &str,
    id: Uuid,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    if version >= 13 {
        return image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId);
    }
    image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
}

impl PendingProduce {
    /// Sorts what is left by shard.
    fn queue(&mut self) {
        let mut topics = std::mem::take(&mut self.topics);
        let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for (_, pending) in partitions {
            *pending =
                match std::mem::replace(pending, PendingPartition::Asked { part: 0, item: 0 }) {
                    PendingPartition::Checked(checked) => self.queue_one(checked),
                    other => other,
                };
        }
        self.topics = topics;
    }

    fn queue_one(&mut self, checked: Checked) -> PendingPartition {
        let Owner::Shard { shard, .. } = checked.item.partition.owner else {
            unreachable!("check refuses partitions without a shard")
        };
        let part = self.part_for(shard);
        let queued = &mut self.parts[part];
        queued.items.push(checked.item);
        queued.waits_for_disk |= checked.waits_for_disk;
        let item = queued.items.len() - 1;
        PendingPartition::Asked { part, item }
    }

    fn part_for(&mut self, shard: usize) -> usize {
        self.parts
            .iter()
            .position(|part| part.shard == shard)
            .unwrap_or_else(|| {
                self.parts.push(Part {
                    shard,
                    items: Vec::new(),
                    waits_for_disk: false,
                    receiver: None,
                    outcomes: None,
                });
                self.parts.len() - 1
            })
    }

    fn send(&mut self, connection: &Connection) {
        for part in &mut self.parts {
            let items = std::mem::take(&mut part.items);
            let bytes: usize = items.iter().map(|item| item.batch.bytes().len()).sum();
            connection
                .core
                .metrics
                .records_in_bytes
                .inc_by(bytes as u64);
            let (reply, receiver) = Reply::channel();
            part.receiver = Some(receiver);
            let shard = &connection.core.shards[part.shard];
            let append = Event::Append { items, reply };
            if part.waits_for_disk || bytes > MOST_BYTES_WRITTEN_HERE {
                shard.send(append);
            } else {
                shard.step_or_send(append);
            }
        }
    }

    /// Waits until every shard has answered. Safe to cancel.
    pub async fn ready(&mut self) {
        for part in &mut self.parts {
            if let Some(receiver) = &mut part.receiver {
                part.outcomes = receiver.await.ok();
                part.receiver = None;
            }
        }
    }

    /// Whether every shard has answered.
    pub fn is_ready(&mut self) -> bool {
        self.parts.iter_mut().all(|part| {
            let Some(receiver) = &mut part.receiver else {
                return true;
            };
            match receiver.try_recv() {
                Ok(outcomes) => {
                    part.outcomes = Some(outcomes);
                    part.receiver = None;
                    true
                }
                Err(tokio::sync::oneshot::error::TryRecvError::Closed) => {
                    // It must not be awaited again.
                    part.receiver = None;
                    true
                }
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => false,
            }
        })
    }

    /// The answer; `None` when the connection must be closed instead. `Some(None)`: nothing is to be said.
    pub fn finish(self, connection: &Connection) -> Option<Option<Answer>> {
        let throttle_time_ms = self.charge.map_or(0, |charge| charge.settle(connection));
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            // A shard that has ended answers nothing, and neither do we.
            parts.push(part.outcomes?);
        }
        let mut has_error = false;
        let mut respond = |index: i32, pending: PendingPartition| {
            let outcome = match pending {
                PendingPartition::Done(outcome) => outcome,
                PendingPartition::Checked(_) => unreachable!("what is checked is queued"),
                PendingPartition::Asked { part, item } => parts[part][item].clone(),
            };
            has_error |= outcome.error != ErrorCode::None;
            respond_partition(index, outcome)
        };
        let mut responses = Vec::with_capacity(self.topics.len());
        for PendingTopic {
            name,
            id,
            partitions,
        } in self.topics
        {
            let partition_responses = partitions
                .into_iter()
                .map(|(index, pending)| respond(index, pending))
                .collect();
            responses.push(TopicResponse {
                name: name.into(),
                topic_id: id,
                partition_responses,
            });
        }
        if !self.is_answered {
            return (!has_error).then_some(None);
        }
        let response = Response {
            responses,
            throttle_time_ms,
            ..Response::default()
        };
        Some(Some(Answer::new(wire::encode_response(
            ApiKey::Produce,
            self.version,
            self.correlation_id,
            &response,
        ))))
    }
}

fn admit(
    topic: &Topic,
    index: i32,
    records: Option<bytes::Bytes>,
    now_ms: i64,
) -> PendingPartition {
    match check(topic, index, records, now_ms) {
        Ok(item) => PendingPartition::Checked(Checked {
            item,
            waits_for_disk: topic.settings.durability == Durability::Sync,
        }),
        Err(refusal) => PendingPartition::Done(refusal),
    }
}

impl Charge {
    /// `None` when nobody has a quota that a produce request counts against.
    fn begin(image: &ClusterImage, call: &Call<'_>) -> Option<Self> {
        let keys = [QuotaKey::ProducerByteRate, QuotaKey::RequestPercentage];
        let is_limited = keys.into_iter().any(|key| image.quotas().limits(key));
        is_limited.then(|| Self {
            client_id: call.header.client_id.map(Into::into),
            bytes: call.frame.len(),
            began: Instant::now(),
            spent: Duration::ZERO,
        })
    }

    /// For how many milliseconds the client is held back.
    fn settle(self, connection: &Connection) -> i32 {
        let client_id = self.client_id.as_deref();
        let of_bytes = connection.charge(QuotaKey::ProducerByteRate, client_id, self.bytes as f64);
        of_bytes.max(connection.charge_time(client_id, self.spent))
    }
}

/// Everything that can be refused before the shard is asked.
pub fn check(
    topic: &Topic,
    index: i32,
    records: Option<bytes::Bytes>,
    now_ms: i64,
) -> Result<AppendItem, AppendOutcome> {
    let unknown = || {
        AppendOutcome::refused(
            ErrorCode::UnknownTopicOrPartition,
            format!("{} has no partition {index}", topic.name),
        )
    };
    let partition = topic.partition(index).ok_or_else(unknown)?;
    if topic.is_internal || partition.owner == Owner::Coordinator {
        let text = format!(
            "{} belongs to the broker and takes no records from clients",
            topic.name
        );
        return Err(AppendOutcome::refused(
            ErrorCode::InvalidTopicException,
            text,
        ));
    }
    let records =
        records.ok_or_else(|| AppendOutcome::refused(ErrorCode::InvalidRecord, "no records"))?;
    let batch =
        CheckedBatch::check(records, topic.settings.max_message_bytes).map_err(|error| {
            AppendOutcome::refused(
                error.error_code(),
                format!("{}-{index}: {error}", topic.name),
            )
        })?;
    if batch.header().is_control() {
        return Err(AppendOutcome::refused(
            ErrorCode::InvalidRecord,
            "control batches are written by the broker alone",
        ));
    }
    let name = format_args!("{}-{index}", topic.name);
    let batch = validate(&topic.settings, &name, batch, now_ms)?;
    Ok(AppendItem {
        partition: Arc::clone(partition),
        batch,
        verified_at: None,
    })
}

/// One broker is one replica.
fn too_few_replicas(topic: &Topic) -> AppendOutcome {
    let wanted = topic.settings.min_insync_replicas;
    let text = format!(
        "{} wants {wanted} replicas in sync (min.insync.replicas), there is 1",
        topic.name
    );
    AppendOutcome::refused(ErrorCode::NotEnoughReplicas, text)
}

fn respond_partition(index: i32, outcome: AppendOutcome) -> PartitionResponse<'static> {
    PartitionResponse {
        index,
        error_code: outcome.error.code(),
        base_offset: outcome.base_offset,
        log_append_time_ms: outcome.log_append_time,
        log_start_offset: outcome.log_start,
        error_message: outcome.message.map(Into::into),
        record_errors: outcome
            .record_errors
            .into_iter()
            .map(|(batch_index, text)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(text.into()),
            })
            .collect(),
        ..Default::default()
    }
}
