//! Transactions of one partition's producers: which batch may open one or go on with it, and what ends it.
//!
//! A marker is written whether or not a transaction is open: the coordinator writes it again when it does not know what
//! became of the first one. Source: KIP-98, KIP-890, KIP-1228, Kafka's ProducerAppendInfo.

use wire::ErrorCode;
use wire::records::BatchHeader;

use super::{Admission, LastMarker, Producer, Producers};
use crate::step::Millis;

/// From this version on a marker has the epoch that follows its transaction's.
const EPOCH_IS_BUMPED_FROM: i8 = 2;

/// A transaction that has records here and is not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// The offset of its first record here.
    pub first_offset: i64,
    /// The timestamp of its first batch here.
    pub started_at: i64,
}

/// A marker that the transaction coordinator, or an administrator in its place, wants to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfTransaction {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    pub transaction_version: i8,
}

/// A producer as DescribeProducers tells of it; -1 stands for what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction_start_offset: i64,
}

impl Producers {
    /// Decides about the part that a batch has in a transaction, once its epoch and its sequence are right.
    pub(super) fn admit_transaction(
        &self,
        header: &BatchHeader,
        known: Option<&Producer>,
        verified_at: Option<i64>,
    ) -> Admission {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        let open = known.filter(|producer| producer.transaction.is_some());
        let refused = |text| Admission::Refuse(ErrorCode::InvalidTxnState, text);
        if !header.is_transactional() {
            return match open {
                None => Admission::Append,
                Some(_) => refused(format!(
                    "producer {id} has a transaction here and sent a batch that is not part of it"
                )),
            };
        }
        if open.is_some_and(|producer| producer.epoch == epoch) {
            return Admission::Append;
        }
        let last_end = known.and_then(|producer| producer.last_marker);
        match verified_at {
            None => refused(format!(
                "producer {id} with epoch {epoch} has no ongoing transaction here; add the partition to it first"
            )),
            Some(at) if last_end.is_some_and(|marker| marker.offset >= at) => refused(format!(
                "the transaction of producer {id} with epoch {epoch} was ended while this batch was on its way"
            )),
            Some(_) => Admission::Append,
        }
    }

    /// Decides about a marker; changes nothing.
    ///
    /// # Errors
    /// The Kafka code of a marker that comes too late, and a sentence about it.
    pub fn admit_marker(&self, end: &EndOfTransaction) -> Result<(), (ErrorCode, String)> {
        let EndOfTransaction {
            producer_id: id,
            producer_epoch: epoch,
            ..
        } = *end;
        if id < 0 || epoch < 0 {
            let text =
                format!("a marker of producer {id} with epoch {epoch}: neither may be negative");
            return Err((ErrorCode::InvalidRecord, text));
        }
        let Some(producer) = self.by_id.get(&id) else {
            return Ok(());
        };
        // The same again may be the retry of one that was written, so only a transaction that is open makes it late.
        let is_late = match end.transaction_version {
            EPOCH_IS_BUMPED_FROM.. if epoch == producer.epoch => {
                producer.transaction.is_some() && epoch < i16::MAX
            }
            _ => epoch < producer.epoch,
        };
        if is_late {
            let last = producer.epoch;
            let text = format!(
                "the marker of producer {id} with epoch {epoch} comes too late: its last epoch is {last}"
            );
            return Err((ErrorCode::InvalidProducerEpoch, text));
        }
        let coordinator = producer
            .last_marker
            .map_or(-1, |last| last.coordinator_epoch);
        if end.coordinator_epoch < coordinator {
            let text = format!(
                "the marker of producer {id} comes from a coordinator with epoch {}, and one with epoch {coordinator} has written since",
                end.coordinator_epoch
            );
            return Err((ErrorCode::TransactionCoordinatorFenced, text));
        }
        Ok(())
    }

    /// Notes a marker that has got its offset, or is in the log already.
    ///
    /// A later epoch fences the producer's batches of the transaction that it ends, and forgets them.
    pub fn record_marker(
        &mut self,
        header: &BatchHeader,
        coordinator_epoch: i32,
        offset: i64,
        now: Millis,
    ) {
        if header.producer_id < 0 || header.producer_epoch < 0 {
            return;
        }
        let is_known = self.by_id.contains_key(&header.producer_id);
        if !is_known && self.open >= self.limits.producers.max(1) {
            // There is room for those with a transaction alone; it has none.
            return;
        }
        self.make_room_for(header.producer_id);
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch, offset, now));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.window.clear();
        }
        producer.last_offset = offset;
        producer.last_seen = now;
        producer.last_timestamp = header.max_timestamp;
        producer.last_marker = Some(LastMarker {
            offset,
            coordinator_epoch,
        });
        if producer.transaction.take().is_some() {
            self.open -= 1;
        }
    }

    /// The open transaction of a producer here.
    pub fn transaction_of(&self, producer_id: i64) -> Option<OpenTransaction> {
        self.by_id.get(&producer_id)?.transaction
    }

    /// The epoch of a producer with an open transaction here.
    pub fn epoch_in_transaction(&self, producer_id: i64) -> Option<i16> {
        let producer = self.by_id.get(&producer_id)?;
        producer.transaction.map(|_| producer.epoch)
    }

    /// The producers with an open transaction here, and their epochs.
    pub fn in_transaction(&self) -> impl Iterator<Item = (i64, i16)> {
        let open = self.by_id.iter();
        let open = open.filter(|(_, producer)| producer.transaction.is_some());
        open.map(|(producer_id, producer)| (*producer_id, producer.epoch))
    }

    /// The first offset of the earliest open transaction. Looks at all producers.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let open = self.by_id.values();
        open.filter_map(|producer| producer.transaction)
            .map(|transaction| transaction.first_offset)
            .min()
    }

    /// All producers that are not forgotten, by id.
    pub fn list(&self, now: Millis) -> Vec<ProducerState> {
        let known = self.by_id.iter();
        let mut list: Vec<ProducerState> = known
            .filter(|(_, producer)| !self.has_expired(producer, now))
            .map(|(producer_id, producer)| producer.state(*producer_id))
            .collect();
        list.sort_unstable_by_key(|state| state.producer_id);
        list
    }
}

impl Producer {
    pub(super) fn new(epoch: i16, last_offset: i64, now: Millis) -> Self {
        Self {
            epoch,
            window: Default::default(),
            last_offset,
            last_seen: now,
            last_timestamp: -1,
            transaction: None,
            last_marker: None,
        }
    }

    fn state(&self, producer_id: i64) -> ProducerState {
        ProducerState {
            producer_id,
            producer_epoch: self.epoch,
            last_sequence: self.window.back().map_or(-1, |batch| batch.last_sequence),
            last_timestamp: self.last_timestamp,
            coordinator_epoch: self.last_marker.map_or(-1, |last| last.coordinator_epoch),
            transaction_start_offset: self.transaction.map_or(-1, |open| open.first_offset),
        }
    }
}
