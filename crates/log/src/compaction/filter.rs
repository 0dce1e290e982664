//! What stays of a batch when its log is compacted. Kafka's rules:
//! - a record goes when a later one of its key is known, a record without a key goes, one beyond what the map knows stays;
//! - a tombstone stays until the delete horizon of its batch, which is set when it is compacted for the first time (KIP-534);
//! - records of aborted transactions go; a marker stays until nothing of its transaction is left, and then until its horizon;
//! - the last batch of a producer stays, emptied if need be, for it has the producer's last sequence; a batch that loses some
//!   records keeps its offsets and sequences.
//!
//! Stricter than Kafka in two places. A horizon is set only where the map knows every record before the tombstone: a reader is
//! promised the tombstone from when the older values went. And the last batch of each compacted segment stays, emptied if need be,
//! so that the segment says where it ends and recovery needs nobody else to tell.

use std::collections::HashMap;

use bytes::Bytes;
use wire::records::{
    BatchError, BatchHeader, EndTransactionMarker, RecordIter, decompress, empty_batch,
    retain_records,
};

use super::offset_map::OffsetMap;
use super::transactions::Fates;
use crate::offset::Offset;

/// A batch that decompresses to more than this is kept as it is.
const DECOMPRESSED_LIMIT: usize = 128 << 20;

/// Where a producer's writing ended, as the owner of the log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEnd {
    /// The last offset of its last batch of records; none if only a marker of it is left.
    pub last_data_offset: Option<Offset>,
    /// Its latest epoch.
    pub epoch: i16,
}

/// The producers whose last batches must not be forgotten, by their ids.
pub type ProducerEnds = HashMap<i64, ProducerEnd>;

/// What stays of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Drop,
    Replace(Bytes),
}

/// Counts of one compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Records that were looked at.
    pub read: u64,
    /// Records that stayed.
    pub kept: u64,
}

pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    pub(super) producers: &'a ProducerEnds,
    pub(super) fates: Fates,
    pub(super) counts: RecordCounts,
}

impl Filter<'_> {
    /// Judges the next batch; `ends_segment` when it is the last one of what becomes one segment.
    pub(super) fn judge(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        ends_segment: bool,
    ) -> Result<Verdict, BatchError> {
        let stays_empty = ends_segment || self.is_last_of_producer(header);
        if header.is_control() {
            return Ok(self.judge_control(header, batch, stays_empty));
        }
        self.counts.read += u64::try_from(header.record_count).unwrap_or(0);
        if self.fates.is_aborted(header) {
            return Ok(without_records(header, stays_empty));
        }
        let records = decompress(header, batch, DECOMPRESSED_LIMIT)?;
        let (kept, has_tombstone) = self.kept(header, &records)?;
        let count = kept.iter().filter(|kept| **kept).count();
        self.counts.kept += count as u64;
        if count == 0 {
            return Ok(without_records(header, stays_empty));
        }
        let horizon = match header.has_delete_horizon() {
            true => Some(header.base_timestamp),
            false => {
                let is_known = header.last_offset() <= self.map.latest().0;
                (has_tombstone && is_known).then(|| self.new_horizon())
            }
        };
        if count == kept.len() && horizon.is_some() == header.has_delete_horizon() {
            return Ok(Verdict::Keep);
        }
        retain_records(header, &records, &kept, horizon).map(Verdict::Replace)
    }

    fn judge_control(&mut self, header: &BatchHeader, batch: &[u8], stays_empty: bool) -> Verdict {
        let marker = EndTransactionMarker::of_batch(header, batch);
        let is_spent = self.fates.is_spent(header, marker);
        let is_past = header.has_delete_horizon() && header.base_timestamp <= self.now_ms;
        if header.record_count == 0 || (is_spent && is_past) {
            return without_records(header, stays_empty);
        }
        if !is_spent || header.has_delete_horizon() {
            return Verdict::Keep;
        }
        let all = vec![true; header.record_count.unsigned_abs() as usize];
        let records = decompress(header, batch, DECOMPRESSED_LIMIT);
        let rewritten = records
            .and_then(|records| retain_records(header, &records, &all, Some(self.new_horizon())));
        rewritten.map_or(Verdict::Keep, Verdict::Replace)
    }

    /// Which records stay, and whether there is a tombstone among them.
    fn kept(&self, header: &BatchHeader, records: &[u8]) -> Result<(Vec<bool>, bool), BatchError> {
        let is_past = header.has_delete_horizon() && header.base_timestamp <= self.now_ms;
        let mut kept = Vec::new();
        let mut has_tombstone = false;
        for record in RecordIter::new(header, records) {
            let record = record?;
            let offset = Offset(record.offset);
            let is_tombstone = record.value.is_none();
            let stays = offset > self.map.latest()
                || record.key.is_some_and(|key| {
                    let is_latest = self.map.get(key).is_none_or(|latest| offset >= latest);
                    is_latest && !(is_tombstone && is_past)
                });
            has_tombstone |= stays && is_tombstone;
            kept.push(stays);
        }
        Ok((kept, has_tombstone))
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        let end = self.producers.get(&header.producer_id);
        end.is_some_and(|end| match end.last_data_offset {
            Some(offset) => header.last_offset() == offset.0,
            None => header.is_control() && header.producer_epoch == end.epoch,
        })
    }

    fn new_horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

fn without_records(header: &BatchHeader, stays_empty: bool) -> Verdict {
    match (stays_empty, header.record_count) {
        (false, _) => Verdict::Drop,
        (true, 0) => Verdict::Keep,
        (true, _) => Verdict::Replace(empty_batch(header)),
    }
}
