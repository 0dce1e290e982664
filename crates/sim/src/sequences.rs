//! What the broker must say to a batch of an idempotent producer, written down a second time and in the plainest way:
//! the whole history of a partition is kept, and the last five batches of a producer's newest epoch are its window.

use std::collections::BTreeMap;

use broker_state::producers::WINDOW;
use wire::ErrorCode;
use wire::records::BatchHeader;

/// What is expected of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    Duplicate {
        base_offset: i64,
        log_append_time: i64,
    },
    Refuse(ErrorCode),
}

#[derive(Clone, Debug)]
struct Sent {
    epoch: i16,
    first: i32,
    last: i32,
    base_offset: i64,
    log_append_time: i64,
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    by_id: BTreeMap<i64, Vec<Sent>>,
}

impl Sequences {
    pub fn judge(&self, header: &BatchHeader) -> Verdict {
        let Some(newest) = self.newest(header.producer_id) else {
            return Verdict::Append;
        };
        if header.producer_epoch < newest.epoch {
            return Verdict::Refuse(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > newest.epoch {
            return match header.base_sequence {
                0 => Verdict::Append,
                _ => Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let known = self
            .window(header.producer_id)
            .find(|sent| sent.first == first && sent.last == last);
        if let Some(sent) = known {
            return Verdict::Duplicate {
                base_offset: sent.base_offset,
                log_append_time: sent.log_append_time,
            };
        }
        if first == after(newest.last) {
            Verdict::Append
        } else {
            Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber)
        }
    }

    pub fn append(&mut self, header: &BatchHeader, base_offset: i64, log_append_time: i64) {
        if header.producer_id < 0 {
            return;
        }
        let sent = Sent {
            epoch: header.producer_epoch,
            first: header.base_sequence,
            last: header.last_sequence(),
            base_offset,
            log_append_time,
        };
        self.by_id.entry(header.producer_id).or_default().push(sent);
    }

    /// Forgets a batch: it is lost.
    pub fn forget(&mut self, base_offset: i64) {
        for sent in self.by_id.values_mut() {
            sent.retain(|sent| sent.base_offset != base_offset);
        }
        self.by_id.retain(|_, sent| !sent.is_empty());
    }

    /// Whether a producer has a batch in its window that begins before `offset`.
    pub fn has_before(&self, offset: i64) -> bool {
        let mut windows = self.by_id.keys().flat_map(|id| self.window(*id));
        windows.any(|sent| sent.base_offset < offset)
    }

    /// The epoch and the next sequence of a producer.
    pub fn next(&self, producer_id: i64) -> Option<(i16, i32)> {
        let newest = self.newest(producer_id)?;
        Some((newest.epoch, after(newest.last)))
    }

    /// The base offsets of what a producer may send again.
    pub fn repeatable(&self, producer_id: i64) -> Vec<i64> {
        self.window(producer_id)
            .map(|sent| sent.base_offset)
            .collect()
    }

    fn newest(&self, producer_id: i64) -> Option<&Sent> {
        self.by_id.get(&producer_id)?.last()
    }

    fn window(&self, producer_id: i64) -> impl Iterator<Item = &Sent> {
        let all = self.by_id.get(&producer_id).map_or(&[][..], Vec::as_slice);
        let epoch = all.last().map_or(0, |sent| sent.epoch);
        let last_five = &all[all.len().saturating_sub(WINDOW)..];
        last_five.iter().filter(move |sent| sent.epoch == epoch)
    }
}

/// Sequences go from the largest number on to 0.
fn after(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}
