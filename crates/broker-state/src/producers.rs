//! Producers of one partition: which batch may be appended, which is a retry, which is refused, and which transactions
//! are open.
//!
//! Keeps true: a batch that was appended is not appended again while it is among the last five of its producer; nothing
//! is written into a transaction that the coordinator does not know of; the state is a function of the appended batches
//! (a snapshot and the tail of the log give it again); the number of producers is bounded. Called by the partition's
//! owner: `admit` before an append, `record` once its offset is assigned and before the next `admit`, also for batches of
//! one step that are not durable yet; `transactions` has the same for markers.
//! Source of rules: KIP-98, KIP-360, KIP-890, Kafka's ProducerStateManager and ProducerAppendInfo.

mod ends;
mod snapshot;
mod transactions;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use wire::ErrorCode;
use wire::records::BatchHeader;

pub use ends::ProducerEnd;
pub use snapshot::SnapshotError;
pub use transactions::{EndOfTransaction, OpenTransaction, ProducerState};

use crate::step::Millis;

/// Batches of a producer that are remembered: what clients may have in flight.
pub const WINDOW: usize = 5;

/// What the state of one partition may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerLimits {
    /// Above this the producers that have been silent for longest, by offset, are forgotten, but none with an open
    /// transaction: of those there are no more than this.
    pub producers: usize,
    /// `producer.id.expiration.ms`: a producer that has been silent for so long is forgotten.
    pub expiration: Duration,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self {
            producers: 10_000,
            expiration: Duration::from_secs(86_400),
        }
    }
}

/// What is to be done with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    Append,
    /// It was appended before, and the answer is the first one.
    Duplicate {
        base_offset: i64,
        log_append_time: i64,
    },
    Refuse(ErrorCode, String),
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    limits: ProducerLimits,
    by_id: HashMap<i64, Producer>,
    /// How many of them have an open transaction.
    open: usize,
}

/// One producer as this partition knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Its last batches with this epoch, at most `WINDOW`, the newest last.
    window: VecDeque<Batch>,
    /// The offset of its last record or marker here.
    last_offset: i64,
    last_seen: Millis,
    /// The largest timestamp of its last batch, as the batch says.
    last_timestamp: i64,
    transaction: Option<OpenTransaction>,
    last_marker: Option<LastMarker>,
}

/// The end of a producer's last transaction here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastMarker {
    offset: i64,
    coordinator_epoch: i32,
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    log_append_time: i64,
}

impl Producers {
    pub fn new(limits: ProducerLimits) -> Self {
        Self {
            limits,
            by_id: HashMap::new(),
            open: 0,
        }
    }

    /// Takes other limits from now on.
    pub fn set_limits(&mut self, limits: ProducerLimits) {
        self.limits = limits;
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Decides about a batch of a client; changes nothing.
    ///
    /// `verified_at` is the high watermark that was read before the coordinator said that the producer has this
    /// partition in its ongoing transaction. A marker at or behind it may have ended that very transaction, and what
    /// was said counts no more: without this a late batch would open a transaction that nobody ever ends (KIP-890).
    pub fn admit(&self, header: &BatchHeader, verified_at: Option<i64>, now: Millis) -> Admission {
        if header.is_control() {
            let text = "control batches are the broker's to write";
            return Admission::Refuse(ErrorCode::InvalidRecord, text.to_owned());
        }
        if header.producer_id < 0 {
            return match header.is_transactional() {
                false => Admission::Append,
                true => Admission::Refuse(
                    ErrorCode::InvalidRecord,
                    "a batch of a transaction names no producer".to_owned(),
                ),
            };
        }
        if header.producer_epoch < 0 || header.base_sequence < 0 {
            return Admission::Refuse(
                ErrorCode::InvalidRecord,
                format!(
                    "a batch of producer {} has epoch {} and base sequence {}: neither may be negative",
                    header.producer_id, header.producer_epoch, header.base_sequence
                ),
            );
        }
        let known = self
            .by_id
            .get(&header.producer_id)
            .filter(|producer| !self.has_expired(producer, now));
        let admission = match known {
            // Its state may have expired or been deleted, so any sequence is taken (franz-go#1281).
            None => self.admit_unknown(header),
            Some(producer) => producer.admit(header),
        };
        match admission {
            Admission::Append => self.admit_transaction(header, known, verified_at),
            other => other,
        }
    }

    fn admit_unknown(&self, header: &BatchHeader) -> Admission {
        if self.open < self.limits.producers.max(1) {
            return Admission::Append;
        }
        let (id, most) = (header.producer_id, self.open);
        Admission::Refuse(
            ErrorCode::ThrottlingQuotaExceeded,
            format!("{most} producers have a transaction here, and no room is left for {id}"),
        )
    }

    /// Notes a batch that was admitted and has got its offset.
    pub fn record(
        &mut self,
        header: &BatchHeader,
        base_offset: i64,
        log_append_time: i64,
        now: Millis,
    ) {
        if header.producer_id < 0 || header.producer_epoch < 0 || header.is_control() {
            return;
        }
        self.make_room_for(header.producer_id);
        let last_offset = base_offset.saturating_add(header.last_offset_delta.max(0).into());
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch, last_offset, now));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.window.clear();
        }
        producer.last_offset = last_offset;
        producer.last_seen = now;
        producer.last_timestamp = match log_append_time {
            0.. => log_append_time,
            _ => header.max_timestamp,
        };
        if header.is_transactional() && producer.transaction.is_none() {
            self.open += 1;
            producer.transaction = Some(OpenTransaction {
                first_offset: base_offset,
                started_at: producer.last_timestamp,
            });
        }
        if header.base_sequence >= 0 {
            producer.remember(Batch {
                base_sequence: header.base_sequence,
                last_sequence: last_sequence(header),
                base_offset,
                log_append_time,
            });
        }
    }

    /// Notes a batch that is in the log already; `now` is the time of the recovery, from which its producer has the
    /// whole `producer.id.expiration.ms` again.
    pub fn apply(&mut self, header: &BatchHeader, now: Millis) {
        // LogAppendTime is bit 3 of the attributes; with it the batch's max timestamp is the time of the append.
        let is_log_append_time = header.attributes & 0x08 != 0;
        let log_append_time = if is_log_append_time {
            header.max_timestamp
        } else {
            -1
        };
        self.record(header, header.base_offset, log_append_time, now);
    }

    /// Forgets the producers that have been silent for `producer.id.expiration.ms`, and tells how many.
    pub fn expire(&mut self, now: Millis) -> usize {
        let before = self.by_id.len();
        let expiration = self.limits.expiration;
        self.by_id.retain(|_, producer| {
            producer.transaction.is_some() || now.since(producer.last_seen) < expiration
        });
        before - self.by_id.len()
    }

    /// When the next producer expires, if none of them writes again.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.by_id
            .values()
            .filter(|producer| producer.transaction.is_none())
            .map(|producer| producer.last_seen + self.limits.expiration)
            .min()
    }

    fn has_expired(&self, producer: &Producer, now: Millis) -> bool {
        producer.transaction.is_none() && now.since(producer.last_seen) >= self.limits.expiration
    }

    /// Forgets the eighth of the producers without a transaction whose last records are oldest when a new one does not fit. Offsets decide
    /// and not times, so a replay forgets the same ones; an eighth at once, so that a flood of new producers costs
    /// a look at all of them only once per eighth.
    fn make_room_for(&mut self, producer_id: i64) {
        let most = self.limits.producers.max(1);
        if self.by_id.len() < most || self.by_id.contains_key(&producer_id) {
            return;
        }
        let mut offsets: Vec<i64> = self
            .by_id
            .values()
            .filter(|producer| producer.transaction.is_none())
            .map(|producer| producer.last_offset)
            .collect();
        let forgotten = (self.by_id.len() - most + 1)
            .max(most / 8)
            .min(offsets.len());
        if forgotten == 0 {
            return;
        }
        let (_, newest_forgotten, _) = offsets.select_nth_unstable(forgotten - 1);
        let newest_forgotten = *newest_forgotten;
        self.by_id.retain(|_, producer| {
            producer.transaction.is_some() || producer.last_offset > newest_forgotten
        });
    }
}

impl Producer {
    fn admit(&self, header: &BatchHeader) -> Admission {
        let (id, epoch, sequence) = (
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        );
        if epoch < self.epoch {
            let last = self.epoch;
            return Admission::Refuse(
                ErrorCode::InvalidProducerEpoch,
                format!(
                    "epoch {epoch} of producer {id} is older than its last epoch {last}; a newer instance writes"
                ),
            );
        }
        if epoch > self.epoch {
            return match sequence {
                0 => Admission::Append,
                _ => Admission::Refuse(
                    ErrorCode::OutOfOrderSequenceNumber,
                    format!(
                        "producer {id} begins epoch {epoch} with sequence {sequence}; a new epoch begins with 0"
                    ),
                ),
            };
        }
        if let Some(batch) = self.find(header) {
            return Admission::Duplicate {
                base_offset: batch.base_offset,
                log_append_time: batch.log_append_time,
            };
        }
        let expected = self
            .window
            .back()
            .map_or(0, |batch| next_sequence(batch.last_sequence));
        match sequence == expected {
            true => Admission::Append,
            false => Admission::Refuse(
                ErrorCode::OutOfOrderSequenceNumber,
                format!(
                    "producer {id} with epoch {epoch} sent sequence {sequence} where {expected} is next"
                ),
            ),
        }
    }

    fn find(&self, header: &BatchHeader) -> Option<&Batch> {
        let (first, last) = (header.base_sequence, last_sequence(header));
        self.window
            .iter()
            .find(|batch| batch.base_sequence == first && batch.last_sequence == last)
    }

    fn remember(&mut self, batch: Batch) {
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(batch);
    }
}

/// The sequence behind `sequence`: after the largest number comes 0.
fn next_sequence(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

/// The sequence of the last record of a batch, with the step from the largest number to 0.
fn last_sequence(header: &BatchHeader) -> i32 {
    let last = i64::from(header.base_sequence) + i64::from(header.last_offset_delta.max(0));
    (last & i64::from(i32::MAX)) as i32
}
