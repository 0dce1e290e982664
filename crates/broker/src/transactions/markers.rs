//! Tells the partitions of a transaction, and the groups, how it has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_state::groups::TopicName;
use broker_state::transactions::Markers;
use wire::ErrorCode;

use super::Surroundings;
use crate::cluster::CONSUMER_OFFSETS;
use crate::partition::Owner;
use crate::shard::{Event, Marker, Reply, Slot};

/// The epoch of the one coordinator there is: nobody else could write markers in its place.
pub const COORDINATOR_EPOCH: i32 = 0;

/// Counts the owners that have not answered yet.
struct Countdown<F> {
    left: AtomicUsize,
    written: F,
}

impl<F: Fn()> Countdown<F> {
    fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.written)();
        }
    }
}

/// Has the markers written where their partitions still are; calls `written` when all of them are durable. Not at all when
/// an owner ends before that: the broker is on its way out then, and the next start writes them again.
pub fn write(markers: Markers, around: &Surroundings, written: impl Fn() + Send + Sync + 'static) {
    let image = around.cluster.image();
    let mut by_shard: Vec<Vec<Marker>> = vec![Vec::new(); around.shards.len()];
    let mut has_offsets = false;
    for (topic, index) in &markers.partitions {
        if topic.as_str() == CONSUMER_OFFSETS {
            has_offsets = true;
            continue;
        }
        let found = image.topic(topic.as_str());
        // A partition that was deleted has nothing left to end.
        let Some(partition) = found.and_then(|topic| topic.partition(*index)) else {
            continue;
        };
        if let Owner::Shard { shard, .. } = partition.owner {
            by_shard[shard].push(marker(&markers, partition));
        }
    }
    let asked: Vec<(usize, Vec<Marker>)> = by_shard
        .into_iter()
        .enumerate()
        .filter(|(_, markers)| !markers.is_empty())
        .collect();
    // One more than there are owners, so that it ends only after all of them were asked.
    let countdown = Arc::new(Countdown {
        left: AtomicUsize::new(asked.len() + usize::from(has_offsets) + 1),
        written,
    });
    for (shard, markers) in asked {
        let partitions: Vec<Slot> = markers
            .iter()
            .map(|marker| Arc::clone(&marker.partition))
            .collect();
        let countdown = Arc::clone(&countdown);
        let reply = Reply::new(move |outcomes: Vec<ErrorCode>| {
            report(&partitions, &outcomes);
            countdown.one_less();
        });
        around.shards[shard].send(Event::WriteMarkers { markers, reply });
    }
    if has_offsets {
        let countdown = Arc::clone(&countdown);
        let end = broker_state::groups::Command::EndTransaction {
            producer: markers.producer,
            coordinator_epoch: COORDINATOR_EPOCH,
            is_commit: markers.is_commit,
        };
        around
            .groups
            .send(end, Reply::new(move |_| countdown.one_less()));
    }
    countdown.one_less();
}

fn marker(markers: &Markers, partition: &Slot) -> Marker {
    Marker {
        partition: Arc::clone(partition),
        producer_id: markers.producer.producer_id,
        producer_epoch: markers.producer.producer_epoch,
        coordinator_epoch: COORDINATOR_EPOCH,
        transaction_version: i8::try_from(markers.transaction_version).unwrap_or(i8::MAX),
        is_commit: markers.is_commit,
    }
}

/// A refused marker is not asked for again: the partition is gone, or knows a later producer, and nothing is open there.
fn report(partitions: &[Slot], outcomes: &[ErrorCode]) {
    for (partition, outcome) in partitions.iter().zip(outcomes) {
        match outcome {
            ErrorCode::None | ErrorCode::UnknownTopicOrPartition => {}
            // After a restart it may have been written before: the producer has its epoch already.
            ErrorCode::InvalidProducerEpoch => {
                tracing::debug!(?partition, "the end of a transaction was written already");
            }
            error => {
                let error = error.message();
                tracing::warn!(
                    ?partition,
                    error,
                    "a partition refused the end of a transaction"
                );
            }
        }
    }
}

/// What the offsets of groups are to a transaction: the partition that they are kept in.
pub fn offsets_partition() -> (TopicName, i32) {
    (CONSUMER_OFFSETS.into(), 0)
}
