//! Writes what stays of some segments as one new segment beside them, named `….cleaned` until it is whole and synced.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use wire::records::BatchHeader;

use super::Pace;
use super::swap::CLEANED;
use crate::batch::Glance;
use crate::disk::Disk;
use crate::error::{Context, LogError};
use crate::index::FLUSH_ENTRIES;
use crate::offset::{ByteCount, Offset};
use crate::segment::{Progress, Segment};
use crate::transaction_index::Claim;
use crate::transactions::AbortedTransaction;

/// Written at a time.
const WRITE_BYTES: usize = 1 << 20;
/// Synced at a time: one sync of a gigabyte would hold up those that producers wait for.
const SYNC_BYTES: u64 = 8 << 20;

/// A segment that grows.
pub(super) struct CleanedSegment {
    segment: Segment,
    progress: Progress,
    interval: ByteCount,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
}

impl CleanedSegment {
    /// Creates the files.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        interval: ByteCount,
    ) -> Result<CleanedSegment, LogError> {
        Ok(CleanedSegment {
            segment: Segment::create_as(disk, dir, base_offset, CLEANED)?,
            progress: Progress::START,
            interval,
            buffer: Vec::with_capacity(WRITE_BYTES),
            written: 0,
            synced: 0,
        })
    }

    /// Appends a whole batch.
    pub(super) fn push(&mut self, batch: &[u8], pace: &mut Pace<'_>) -> Result<(), LogError> {
        let header = BatchHeader::decode(batch).expect("what compaction keeps are whole batches");
        let end = self.progress.position + batch.len() as u64;
        if end > i32::MAX as u64 {
            let detail =
                "a compacted segment would have more than 2 GiB; make segment.bytes smaller";
            return Err(self
                .segment
                .corrupt_error(end, Offset(header.base_offset), detail));
        }
        self.progress
            .add(&self.segment, &Glance::of(&header), self.interval);
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= WRITE_BYTES {
            self.write(pace)?;
        }
        if self.segment.index.unflushed() >= FLUSH_ENTRIES {
            self.segment.flush_indexes()?;
        }
        Ok(())
    }

    fn write(&mut self, pace: &mut Pace<'_>) -> Result<(), LogError> {
        let (log, path) = (&self.segment.log, &self.segment.path);
        log.write_at(self.written, &[IoSlice::new(&self.buffer)])
            .context("write", path)?;
        let length = self.buffer.len() as u64;
        self.written += length;
        self.buffer.clear();
        self.buffer.shrink_to(WRITE_BYTES);
        if self.written - self.synced >= SYNC_BYTES {
            log.sync().context("sync", path)?;
            self.synced = self.written;
        }
        pace.take(ByteCount(length))
    }

    /// Makes everything durable; gives the position, the largest timestamp and the entries of the indexes.
    pub(super) fn finish(
        mut self,
        aborted: &[AbortedTransaction],
        pace: &mut Pace<'_>,
    ) -> Result<FinishedSegment, LogError> {
        self.write(pace)?;
        self.segment.transactions.append(aborted)?;
        self.segment
            .seal(&self.progress, self.segment.base_offset)?;
        self.segment
            .log
            .sync()
            .context("sync", &self.segment.path)?;
        self.segment.sync_indexes()?;
        Ok(FinishedSegment {
            progress: self.progress,
            entries: (self.segment.index.count(), self.segment.time_index.count()),
            transactions: self.segment.transactions.claim(),
        })
    }
}

/// A segment that is whole and synced under its temporary name.
pub(super) struct FinishedSegment {
    pub(super) progress: Progress,
    pub(super) entries: (u32, u32),
    pub(super) transactions: Claim,
}
