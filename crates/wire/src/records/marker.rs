//! The record that ends a transaction in a partition: a control batch of one record, written by the broker.
//!
//! ```text
//! key     0 i16 version 0    2 i16 type: 0 abort, 1 commit
//! value   0 i16 version 0    2 i32 epoch of the transaction coordinator that decided it
//! ```
//! Other control batches (snapshots and leader changes of KRaft) are no markers.
//! Source: KIP-98, and the definitions `EndTxnMarker` and `ControlRecordTypeSchema` of Kafka.

use bytes::Bytes;

use super::iter::RecordIter;
use super::{BATCH_OVERHEAD, BatchBuilder, BatchHeader, Compression};

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// The bytes that are enough to read a marker; what other clusters wrote may be a little longer than ours.
pub const MOST_MARKER_BYTES: usize = 512;

/// How a transaction ended, and who decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransactionMarker {
    pub is_commit: bool,
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The control batch that ends the transaction of a producer.
    pub fn batch(&self, producer_id: i64, producer_epoch: i16, timestamp: i64) -> Bytes {
        let mut key = [0; 4];
        key[..2].copy_from_slice(&VERSION.to_be_bytes());
        let kind = if self.is_commit { COMMIT } else { ABORT };
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[..2].copy_from_slice(&VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut batch = BatchBuilder::new(timestamp)
            .producer(producer_id, producer_epoch, -1)
            .transactional()
            .control();
        batch.push(timestamp, Some(&key), Some(&value), &[]);
        batch.build(Compression::None)
    }

    /// The marker in a whole batch; none when it is another kind of batch, when compaction has emptied it, or when it
    /// cannot be read.
    pub fn of_batch(header: &BatchHeader, batch: &[u8]) -> Option<EndTransactionMarker> {
        if !header.is_control() || !header.has_producer_id() {
            return None;
        }
        let records = batch.get(BATCH_OVERHEAD..)?;
        let record = RecordIter::new(header, records).next()?.ok()?;
        let (key, value) = (record.key?, record.value?);
        let is_commit = match (i16_at(key, 0)?, i16_at(key, 2)?) {
            (0.., COMMIT) => true,
            (0.., ABORT) => false,
            _ => return None,
        };
        let coordinator_epoch = value.get(2..6)?.try_into().ok()?;
        (i16_at(value, 0)? >= VERSION).then_some(EndTransactionMarker {
            is_commit,
            coordinator_epoch: i32::from_be_bytes(coordinator_epoch),
        })
    }
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    let two = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(i16::from_be_bytes(two))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(is_commit: bool) -> EndTransactionMarker {
        EndTransactionMarker {
            is_commit,
            coordinator_epoch: 7,
        }
    }

    #[test]
    fn a_marker_is_read_back_from_its_batch() {
        for is_commit in [false, true] {
            let batch = marker(is_commit).batch(4_000, 3, 1_700_000_000_000);
            let header = BatchHeader::decode(&batch).expect("a batch");
            assert!(header.is_control() && header.is_transactional());
            let known = (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
            );
            assert_eq!(known, (4_000, 3, -1));
            let read = EndTransactionMarker::of_batch(&header, &batch);
            assert_eq!(read, Some(marker(is_commit)));
        }
    }

    #[test]
    fn key_and_value_are_those_of_kafka() {
        let batch = marker(true).batch(1, 0, 0);
        // Length, attributes, time and offset deltas, key of 4 bytes, value of 6, no headers.
        let record = [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 7, 0];
        assert_eq!(&batch[BATCH_OVERHEAD..], record);
    }

    #[test]
    fn other_batches_are_no_markers() {
        let mut leader_change = BatchBuilder::new(0).producer(1, 0, -1).control();
        leader_change.push(0, Some(&[0, 0, 0, 2]), Some(&[0; 6]), &[]);
        let mut data = BatchBuilder::new(0).producer(1, 0, 0).transactional();
        data.push(0, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
        let emptied = BatchBuilder::new(0)
            .producer(1, 0, -1)
            .transactional()
            .control();
        let mut short = BatchBuilder::new(0).producer(1, 0, -1).control();
        short.push(0, Some(&[0, 0, 0]), Some(&[0; 5]), &[]);
        for builder in [leader_change, data, emptied, short] {
            let batch = builder.build(Compression::None);
            let header = BatchHeader::decode(&batch).expect("a batch");
            assert_eq!(EndTransactionMarker::of_batch(&header, &batch), None);
        }
    }

    #[test]
    fn a_cut_marker_is_none() {
        let batch = marker(false).batch(1, 0, 0);
        let header = BatchHeader::decode(&batch).expect("a batch");
        for length in 0..batch.len() {
            let read = EndTransactionMarker::of_batch(&header, &batch[..length]);
            assert_eq!(read, None);
        }
    }
}
