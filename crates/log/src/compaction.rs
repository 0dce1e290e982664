//! Compaction: a log keeps the last record of each key (`cleanup.policy=compact`). Rules as Kafka's, file by file in this order:
//!
//! - here: what there is to compact, and what the owner of a log does about it: decide, hand out a job, take its results;
//! - `job`: the work; `offset_map`: the last offset of each key; `reader`, `writer`: segments in and out;
//! - `filter`: what stays of a batch; `transactions`: what becomes of transactions; `swap`: how files change places.
//!
//! What it keeps true: whoever reads the whole log into a table gets the same table before and after; a tombstone is there for
//! `delete.retention.ms` after the older values of its key went; no offset changes; a crash at any point leaves the log readable.
//! Offsets are then no longer dense: a batch may lack records, and batches may be missing between others. Never compacted are
//! the active segment, what lies beyond the last stable offset, what is younger than `min.compaction.lag.ms`, and what the
//! last checkpoint does not lie behind: recovery continues where the checkpoint says, byte by byte.
//! A log with damage in it is not compacted, as in Kafka: what cannot be read cannot be judged.

mod filter;
mod job;
mod offset_map;
mod reader;
mod swap;
mod transactions;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use filter::{ProducerEnd, ProducerEnds, RecordCounts};
pub use job::{
    CompactionBuffer, CompactionJob, CompactionReport, FinishedCompaction, SwappedSegments,
};
pub(crate) use swap::settle_interrupted;

use crate::cursors::Cursors;
use crate::error::LogError;
use crate::offset::{ByteCount, Offset};
use crate::partition::PartitionLog;
use crate::remains::Remains;
use crate::segment::Segment;

/// When and how a log is compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionSettings {
    /// The share of dirty bytes beyond which it is compacted (`min.cleanable.dirty.ratio`).
    pub min_dirty_ratio: f64,
    /// Records younger than this are left alone (`min.compaction.lag.ms`).
    pub min_lag: Duration,
    /// Records older than this are compacted whatever the ratio (`max.compaction.lag.ms`).
    pub max_lag: Duration,
    /// A tombstone stays this long after it was compacted for the first time (`delete.retention.ms`).
    pub delete_retention: Duration,
}

/// How fast a compaction may go, and whether it may go on: called with the bytes that were just read or written, it returns when
/// it may go on, with `false` to have it abandoned.
pub struct Pace<'a>(pub &'a mut dyn FnMut(ByteCount) -> bool);

impl Pace<'_> {
    fn take(&mut self, bytes: ByteCount) -> Result<(), LogError> {
        match (self.0)(bytes) {
            true => Ok(()),
            false => Err(LogError::Abandoned),
        }
    }
}

/// How much of a log waits to be compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirtiness {
    /// Bytes that were compacted before.
    pub clean_bytes: ByteCount,
    /// Bytes that were not, and can be now.
    pub dirty_bytes: ByteCount,
    /// Whether a record has waited longer than it may.
    pub is_overdue: bool,
    /// Whether there is damage in the log, so that it cannot be compacted.
    pub is_damaged: bool,
    /// Whether it is time to compact.
    pub is_due: bool,
    from: Offset,
    upto: Offset,
}

impl Dirtiness {
    /// The share of dirty bytes, 0 for a log without any.
    pub fn ratio(&self) -> f64 {
        let (clean, dirty) = (self.clean_bytes.0, self.dirty_bytes.0);
        match clean + dirty {
            0 => 0.0,
            all => dirty as f64 / all as f64,
        }
    }
}

impl PartitionLog {
    /// What waits to be compacted; none for a log that is not compacted at all.
    ///
    /// Looks at memory, and once at the head of each dirty segment if `max.compaction.lag.ms` is set.
    ///
    /// # Errors
    /// `Io` when a segment's head cannot be read.
    pub fn dirtiness(&self, now_ms: i64) -> Result<Option<Dirtiness>, LogError> {
        let Some(rules) = self.settings.compaction else {
            return Ok(None);
        };
        let from = self.compacted_end.max(self.log_start).min(self.next_offset);
        let upto = self.first_uncleanable(from, &rules, now_ms);
        let mut found = Dirtiness {
            clean_bytes: ByteCount::ZERO,
            dirty_bytes: ByteCount::ZERO,
            is_overdue: false,
            is_damaged: self.segments.iter().any(|one| !one.corrupt.is_empty()),
            is_due: false,
            from,
            upto,
        };
        let is_bounded = rules.max_lag < Duration::from_millis(i64::MAX as u64);
        for segment in self
            .segments
            .iter()
            .take_while(|one| one.base_offset < upto)
        {
            let sealed = segment.sealed().expect("only the last segment is active");
            if sealed.end_offset <= from {
                found.clean_bytes += ByteCount(sealed.size);
                continue;
            }
            found.dirty_bytes += ByteCount(sealed.size);
            if is_bounded {
                let first = segment.first_timestamp()?;
                found.is_overdue |= first > 0 && is_older(first, now_ms, rules.max_lag);
            }
        }
        let is_dirty = found.is_overdue || found.ratio() > rules.min_dirty_ratio;
        found.is_due = is_dirty && found.dirty_bytes > ByteCount::ZERO && !found.is_damaged;
        Ok(Some(found))
    }

    /// Begins a compaction of what is dirty, whatever the ratio; none when there is nothing, or another job is at work here.
    ///
    /// `producers` are those whose sequences must not be forgotten. End it with [`PartitionLog::finish_compaction`] or
    /// [`PartitionLog::abandon_compaction`]; until then no segment is deleted.
    ///
    /// # Errors
    /// As [`PartitionLog::dirtiness`]; `Io` when an index of aborted transactions cannot be read.
    pub fn begin_compaction(
        &mut self,
        now_ms: i64,
        producers: ProducerEnds,
    ) -> Result<Option<CompactionJob>, LogError> {
        let Some((rules, found)) = self.settings.compaction.zip(self.dirtiness(now_ms)?) else {
            return Ok(None);
        };
        let is_free = !self.is_busy() && !self.is_halted;
        if !is_free || found.is_damaged || found.dirty_bytes == ByteCount::ZERO {
            return Ok(None);
        }
        self.is_compacting = true;
        let segments = self.segments.iter();
        let segments: Vec<Arc<Segment>> = segments
            .take_while(|segment| segment.base_offset < found.upto)
            .cloned()
            .collect();
        Ok(Some(CompactionJob {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            file: Arc::clone(&self.checkpoint_file),
            settings: self.settings.clone(),
            rules,
            view: self.view(),
            segments,
            from: found.from,
            upto: found.upto,
            now_ms,
            producers,
        }))
    }

    /// Takes a compacted segment in place of those it was made of. Changes the list of segments and nothing else; readers that hold
    /// the old ones can finish.
    pub fn apply_swap(&mut self, swapped: SwappedSegments) -> Remains {
        let is_replaced = |segment: &Arc<Segment>| swapped.replaced.contains(&segment.base_offset);
        let first = self.segments.iter().position(&is_replaced);
        let first = first.expect("no segment is deleted while a log is compacted");
        let after = first + swapped.replaced.len();
        let size = |segment: &Arc<Segment>| segment.sealed().map_or(0, |sealed| sealed.size);
        let before: u64 = self.segments[first..after].iter().map(size).sum();
        let now = size(&swapped.segment);
        for list in [
            &mut self.unsynced,
            &mut self.being_synced,
            &mut self.unsynced_indexes,
        ] {
            list.retain(|segment| !is_replaced(segment));
        }
        let new = Arc::clone(&swapped.segment);
        self.segments.splice(first..after, [new]);
        self.sealed_bytes = ByteCount(self.sealed_bytes.0 + now - before);
        // A compacted segment can be larger than it was, by the delete horizons of its tombstones.
        let growth = now.saturating_sub(before);
        self.deleted_bytes += ByteCount(before.saturating_sub(now));
        self.visible_bytes += ByteCount(growth);
        for boundary in &mut self.boundaries {
            boundary.appended_bytes += ByteCount(growth);
        }
        // The places that were remembered are those of the old files.
        self.publish_segments_with(Arc::new(Cursors::default()));
        swapped.remains(&self.disk, self.settings.file_delete_delay)
    }

    /// Ends a compaction that is on the disk.
    pub fn finish_compaction(&mut self, finished: FinishedCompaction) {
        self.is_compacting = false;
        self.compacted_end = self.compacted_end.max(finished.end);
        // What the checkpoint says of transaction indexes is no longer so; recovery would make them anew.
        self.bytes_since_checkpoint = self.bytes_since_checkpoint.max(1);
    }

    /// Ends a compaction that has failed or was abandoned: what was swapped stays, the rest is dirty still.
    pub fn abandon_compaction(&mut self) {
        self.is_compacting = false;
    }

    /// All of it at once, for tests and tools: compacts what is dirty, whatever the ratio.
    ///
    /// # Errors
    /// As the parts.
    pub fn compact(
        &mut self,
        now_ms: i64,
        producers: ProducerEnds,
        buffer: CompactionBuffer,
    ) -> Result<Option<CompactionReport>, LogError> {
        let Some(job) = self.begin_compaction(now_ms, producers)? else {
            return Ok(None);
        };
        let mut swapped = Vec::new();
        let done = job.run(buffer, Pace(&mut |_| true), &mut |one| swapped.push(one));
        for one in swapped {
            drop(self.apply_swap(one));
        }
        match done {
            Ok(finished) => {
                self.finish_compaction(finished);
                Ok(Some(finished.report))
            }
            Err(error) => {
                self.abandon_compaction();
                Err(error)
            }
        }
    }

    /// The base offset of the first segment that must be left alone.
    fn first_uncleanable(&self, from: Offset, rules: &CompactionSettings, now_ms: i64) -> Offset {
        let stable = self.view().last_stable_offset;
        let limit = stable
            .min(self.active().base_offset)
            .min(self.checkpointed_segment);
        let young = self.segments.iter().find(|segment| {
            let Some(sealed) = segment.sealed().filter(|sealed| sealed.end_offset > from) else {
                return false;
            };
            rules.min_lag > Duration::ZERO && !is_older(sealed.max.timestamp, now_ms, rules.min_lag)
        });
        let limit = young.map_or(limit, |young| limit.min(young.base_offset));
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset <= limit);
        after
            .checked_sub(1)
            .map_or(Offset::ZERO, |at| self.segments[at].base_offset)
    }
}

/// Whether a time lies at least so long ago.
fn is_older(timestamp: i64, now_ms: i64, age: Duration) -> bool {
    u128::try_from(now_ms.saturating_sub(timestamp)).is_ok_and(|passed| passed >= age.as_millis())
}
