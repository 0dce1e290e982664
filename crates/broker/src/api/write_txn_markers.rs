//! WriteTxnMarkers, key 27, v1–2: ends transactions in partitions, at the word of a transaction coordinator, or of an
//! administrator who aborts a hanging one (`kafka-transactions abort`). v1 flexible · v2 transaction version (KIP-1228).
//! Durable before the answer, whatever the durability of the topic.

use std::sync::Arc;

use broker_state::groups::{Command, Reply as GroupReply};
use broker_state::producer_ids::ProducerIdentity;
use tokio::sync::oneshot::Receiver;
use wire::write_txn_markers::{MarkerResult, PartitionResult, Request, Response, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::{CONSUMER_OFFSETS, ClusterImage};
use crate::connection::Connection;
use crate::partition::Owner;
use crate::shard::{Event, Marker, MarkerOutcome, Reply};

pub const API: Api = Api::all(ApiKey::WriteTxnMarkers, 1, 2);

/// Markers of one request: each takes some hundred bytes until it is written, and four in the request.
const MOST_MARKERS: usize = 100_000;

/// What is known of one partition's marker.
enum Pending {
    Done(ErrorCode),
    /// The outcome at this place of the answer of a shard.
    Asked {
        shard: usize,
        at: usize,
    },
    /// The outcome at this place of what the group coordinator has answered.
    Offsets(usize),
}

/// What each shard is asked.
struct Asked {
    by_shard: Vec<Vec<Marker>>,
    /// Ends of transactions with offsets of groups in them.
    offsets: Vec<Command>,
    count: usize,
}

pub async fn handle<'a>(
    connection: &Connection,
    request: Request<'a>,
    _: &Call<'_>,
) -> Response<'a> {
    let image = connection.core.image();
    let mut asked = Asked {
        by_shard: vec![Vec::new(); connection.core.shards.len()],
        offsets: Vec::new(),
        count: 0,
    };
    let mut pending = Vec::new();
    for marker in &request.markers {
        for topic in &marker.topics {
            for &index in &topic.partition_indexes {
                pending.push(asked.add(&image, marker, topic.name, index));
            }
        }
    }
    let offsets = std::mem::take(&mut asked.offsets);
    let outcomes = asked.write(connection).await;
    let ended = end_offsets(connection, offsets).await;
    let mut pending = pending.into_iter();
    let mut next = || match pending.next().expect("one for each partition") {
        Pending::Done(error) => error,
        // A shard that has ended does not say what it has written: the markers may be sent again.
        Pending::Asked { shard, at } => outcomes[shard]
            .get(at)
            .copied()
            .unwrap_or(ErrorCode::NotLeaderOrFollower),
        Pending::Offsets(at) => ended[at],
    };
    let markers = request.markers.iter().map(|marker| MarkerResult {
        producer_id: marker.producer_id,
        topics: marker
            .topics
            .iter()
            .map(|topic| TopicResult {
                name: topic.name.into(),
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|&partition_index| PartitionResult {
                        partition_index,
                        error_code: next().code(),
                    })
                    .collect(),
            })
            .collect(),
    });
    Response {
        markers: markers.collect(),
    }
}

impl Asked {
    fn add(
        &mut self,
        image: &ClusterImage,
        marker: &wire::write_txn_markers::Marker<'_>,
        topic: &str,
        index: i32,
    ) -> Pending {
        let Some(partition) = image.topic(topic).and_then(|topic| topic.partition(index)) else {
            return Pending::Done(ErrorCode::UnknownTopicOrPartition);
        };
        self.count += 1;
        if self.count > MOST_MARKERS {
            return Pending::Done(ErrorCode::PolicyViolation);
        }
        let shard = match partition.owner {
            Owner::Shard { shard, .. } => shard,
            Owner::Coordinator if topic == CONSUMER_OFFSETS => {
                self.offsets.push(end_of(marker));
                return Pending::Offsets(self.offsets.len() - 1);
            }
            // No client's transaction has anything in the other topics of coordinators.
            Owner::Coordinator => return Pending::Done(ErrorCode::InvalidTopicException),
        };
        self.by_shard[shard].push(Marker {
            partition: Arc::clone(partition),
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            transaction_version: marker.transaction_version,
            is_commit: marker.transaction_result,
        });
        Pending::Asked {
            shard,
            at: self.by_shard[shard].len() - 1,
        }
    }

    /// The outcomes of each shard; none where it has ended.
    async fn write(self, connection: &Connection) -> Vec<Vec<MarkerOutcome>> {
        let mut receivers: Vec<Option<Receiver<_>>> = Vec::with_capacity(self.by_shard.len());
        for (shard, markers) in self.by_shard.into_iter().enumerate() {
            if markers.is_empty() {
                receivers.push(None);
                continue;
            }
            let (reply, receiver) = Reply::channel();
            connection.core.shards[shard].send(Event::WriteMarkers { markers, reply });
            receivers.push(Some(receiver));
        }
        let mut outcomes = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            outcomes.push(match receiver {
                Some(receiver) => receiver.await.unwrap_or_default(),
                None => Vec::new(),
            });
        }
        outcomes
    }
}

fn end_of(marker: &wire::write_txn_markers::Marker<'_>) -> Command {
    Command::EndTransaction {
        producer: ProducerIdentity {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
        },
        coordinator_epoch: marker.coordinator_epoch,
        is_commit: marker.transaction_result,
    }
}

async fn end_offsets(connection: &Connection, offsets: Vec<Command>) -> Vec<ErrorCode> {
    let mut ended = Vec::with_capacity(offsets.len());
    for end in offsets {
        ended.push(match connection.core.coordinator.ask(end).await {
            Some(GroupReply::TransactionEnded(error)) => error,
            _ => ErrorCode::CoordinatorNotAvailable,
        });
    }
    ended
}
