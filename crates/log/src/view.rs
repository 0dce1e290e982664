//! What readers see of a partition: a snapshot that the writer publishes and any thread takes, cheap to clone and never changing.
//!
//! A view ends at its high watermark. What is appended but not published, or published but not yet synced where the topic asks
//! for that, is in no view: readers cannot see what a crash could take back.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::access::{Access, Stop};
use crate::cursors::Cursors;
use crate::epochs::Epochs;
use crate::error::LogError;
use crate::offset::{ByteCount, Offset};
use crate::read_plan::ReadPlan;
use crate::segment::{MaxTimestamp, Segment};
use crate::transactions::AbortedTransaction;

/// What a reader wants to be protected from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing: it reads up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Records of transactions that are not decided: it reads up to the last stable offset.
    ReadCommitted,
}

/// A partition as readers see it at one moment.
#[derive(Clone, Debug)]
pub struct PartitionView {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset after the last record that can be read.
    pub high_watermark: Offset,
    /// The offset of the first record whose transaction is not decided; without transactions the high watermark.
    pub last_stable_offset: Offset,
    /// The epoch that new batches are stamped with.
    pub leader_epoch: i32,
    /// The bytes of the log files up to the high watermark.
    pub size_bytes: ByteCount,
    pub(crate) segments: Arc<[Arc<Segment>]>,
    pub(crate) visible: Visible,
    pub(crate) skips_damage: bool,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) cursors: Arc<Cursors>,
}

/// Where the high watermark lies in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    /// The base offset of the segment in which it lies; earlier ones can be read whole, later ones not at all.
    pub(crate) segment: Offset,
    pub(crate) position: u64,
    /// The largest timestamp in that segment up to there.
    pub(crate) max: MaxTimestamp,
}

impl PartitionView {
    /// Plans a read of at most `limit` bytes from `from`, whole batches only; the first batch is included even if larger (KIP-74).
    ///
    /// Looks at memory only and never blocks. `ReadCommitted` ends at the last stable offset. At the end the plan is empty.
    ///
    /// # Errors
    /// `OffsetOutOfRange` when `from` is below the log start or above the high watermark.
    pub fn plan_read(
        &self,
        from: Offset,
        limit: ByteCount,
        isolation: Isolation,
    ) -> Result<ReadPlan, LogError> {
        if from < self.log_start || from > self.high_watermark {
            return Err(LogError::OffsetOutOfRange {
                requested: from,
                log_start: self.log_start,
                end: self.high_watermark,
            });
        }
        Ok(ReadPlan::new(self.clone(), from, isolation, limit))
    }

    /// The offset that a reader may read up to.
    pub fn end_for(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        }
    }

    /// The aborted transactions that have records or their marker in `from` up to `upto`, the last one excluded, by first offset.
    /// `upto` is at most the last stable offset. May wait for the device.
    ///
    /// There are at most as many as markers in that range and producers with a transaction at its end.
    ///
    /// # Errors
    /// `Io` when the disk fails, `Corrupt` when an index is damaged.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        self.aborted_with(from, upto, Access::Blocking)
            .map_err(Stop::into_error)
    }

    pub(crate) fn aborted_with(
        &self,
        from: Offset,
        upto: Offset,
        access: Access,
    ) -> Result<Vec<AbortedTransaction>, Stop> {
        let mut aborted = Vec::new();
        for segment in &self.segments[self.segment_of(from)..] {
            let index = &segment.transactions;
            if index.entries() > 0 && index.collect(from, upto, access, &mut aborted)? {
                break;
            }
        }
        // The indexes have them by their markers; clients take them by their beginnings.
        aborted.sort_unstable_by_key(|transaction| transaction.first_offset);
        Ok(aborted)
    }

    /// The largest epoch up to `epoch` and the offset after its last record (OffsetForLeaderEpoch); `None` if none is known.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, Offset)> {
        self.epochs.end_of(epoch, self.high_watermark)
    }

    /// How many bytes of a segment can be read.
    pub(crate) fn visible_bytes(&self, segment: &Segment) -> u64 {
        if segment.base_offset == self.visible.segment {
            return self.visible.position;
        }
        match segment.sealed() {
            Some(sealed) if segment.base_offset < self.visible.segment => sealed.size,
            _ => 0,
        }
    }

    /// The largest timestamp in the part of a segment that can be read.
    pub(crate) fn visible_max(&self, segment: &Segment) -> MaxTimestamp {
        if segment.base_offset == self.visible.segment {
            return self.visible.max;
        }
        match segment.sealed() {
            Some(sealed) if segment.base_offset < self.visible.segment => sealed.max,
            _ => MaxTimestamp::NONE,
        }
    }

    /// The number of the segment that holds an offset.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        self.segments
            .partition_point(|segment| segment.base_offset <= offset)
            .saturating_sub(1)
    }
}

/// The place where a partition's latest view is published. One writer, any number of readers.
#[derive(Debug)]
pub struct SharedView {
    latest: RwLock<PartitionView>,
}

impl SharedView {
    pub(crate) fn new(view: PartitionView) -> SharedView {
        SharedView {
            latest: RwLock::new(view),
        }
    }

    /// The latest view.
    pub fn load(&self) -> PartitionView {
        self.latest.read().clone()
    }

    /// The latest high watermark, without the rest.
    pub fn high_watermark(&self) -> Offset {
        self.latest.read().high_watermark
    }

    pub(crate) fn store(&self, view: PartitionView) {
        let replaced = std::mem::replace(&mut *self.latest.write(), view);
        // What only the old view held (files of deleted segments) is closed after the lock is free.
        drop(replaced);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut PartitionView)) {
        change(&mut self.latest.write());
    }
}
