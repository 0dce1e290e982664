//! When the log makes its checkpoints: while it runs, in two halves so that the owner's thread need not wait for the disk, and
//! at a clean stop.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkpoint::{Checkpoint, CheckpointFile, MAX_PRODUCER_SNAPSHOT, MAX_STATE};
use crate::disk::Disk;
use crate::error::{Context, LogError};
use crate::offset::Offset;
use crate::partition::{PartitionLog, directories_of};
use crate::segment::Segment;

/// The half of a checkpoint that waits for the disk. Run it on any thread and hand the result to [`PartitionLog::finish_checkpoint`].
#[derive(Debug)]
pub struct CheckpointJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    logs: Vec<Arc<Segment>>,
    indexes: Vec<Arc<Segment>>,
    are_names_unsynced: bool,
    checkpoint: Box<Checkpoint>,
    file: Arc<Mutex<CheckpointFile>>,
}

/// A checkpoint that is on the disk.
#[derive(Clone, Copy, Debug)]
pub struct FinishedCheckpoint {
    segment: Offset,
    end: Offset,
}

impl CheckpointJob {
    /// Syncs what the checkpoint will claim, then writes and syncs the checkpoint.
    ///
    /// # Errors
    /// `Io` when the disk fails. The checkpoint before this one stays in force.
    pub fn run(self) -> Result<FinishedCheckpoint, LogError> {
        for segment in &self.logs {
            segment.sync_log()?;
        }
        for segment in &self.indexes {
            segment.sync_indexes()?;
        }
        if self.are_names_unsynced {
            directories_of(&self.dir)
                .iter()
                .try_for_each(|dir| self.disk.sync_dir(dir).context("sync", dir))?;
        }
        self.file.lock().write(&self.checkpoint)?;
        Ok(FinishedCheckpoint {
            segment: self.checkpoint.segment,
            end: self.checkpoint.next_offset,
        })
    }
}

impl PartitionLog {
    /// Log data that recovery would have to scan if the process ended now.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.bytes_since_checkpoint
    }

    /// Makes a checkpoint of everything written: the next start need not scan it. Blocks until it is on the disk.
    ///
    /// `producer_snapshot` is the caller's state after every batch up to [`PartitionLog::end_offset`], handed back by `open`.
    ///
    /// # Errors
    /// `SnapshotTooLarge`; `Halted` after a failed write; `Io` when the disk fails.
    ///
    /// # Panics
    /// When appended batches were not written yet.
    pub fn checkpoint(&mut self, producer_snapshot: Vec<u8>) -> Result<(), LogError> {
        let finished = self.begin_checkpoint(producer_snapshot)?.run()?;
        self.finish_checkpoint(finished);
        Ok(())
    }

    /// As [`PartitionLog::checkpoint`], without waiting for the disk: the job does that. One job at a time.
    ///
    /// # Errors
    /// `SnapshotTooLarge`; `Halted` after a failed write; `Io` when the indexes cannot be written.
    ///
    /// # Panics
    /// When appended batches were not written yet.
    pub fn begin_checkpoint(
        &mut self,
        producer_snapshot: Vec<u8>,
    ) -> Result<CheckpointJob, LogError> {
        assert!(
            self.waiting.is_empty(),
            "a checkpoint is made between steps, when nothing waits to be written"
        );
        if self.is_halted {
            return Err(LogError::Halted {
                path: self.dir.clone(),
            });
        }
        if producer_snapshot.len() > MAX_PRODUCER_SNAPSHOT {
            let (path, length) = (self.dir.clone(), producer_snapshot.len());
            return Err(LogError::SnapshotTooLarge {
                path,
                length,
                limit: MAX_PRODUCER_SNAPSHOT,
            });
        }
        let active = Arc::clone(self.active());
        active.flush_indexes()?;
        self.bytes_since_checkpoint = 0;
        let checkpoint = self.checkpoint_of(&active, producer_snapshot);
        if checkpoint.state_bytes() > MAX_STATE {
            return Err(LogError::SnapshotTooLarge {
                path: self.dir.clone(),
                length: checkpoint.state_bytes(),
                limit: MAX_STATE,
            });
        }
        let mut indexes = self.unsynced_indexes.clone();
        indexes.push(active);
        Ok(CheckpointJob {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            logs: self
                .unsynced
                .iter()
                .chain(&self.being_synced)
                .cloned()
                .collect(),
            indexes,
            // Whoever collected the names to sync may still be at it, so they are synced here whenever segments were added.
            are_names_unsynced: self.are_names_unsynced || !self.being_synced.is_empty(),
            checkpoint: Box::new(checkpoint),
            file: Arc::clone(&self.checkpoint_file),
        })
    }

    fn checkpoint_of(&self, active: &Segment, producer_snapshot: Vec<u8>) -> Checkpoint {
        Checkpoint {
            log_start: self.log_start,
            segment: active.base_offset,
            progress: self.progress,
            next_offset: self.next_offset,
            index_entries: active.index.count(),
            time_index_entries: active.time_index.count(),
            corrupt: self
                .segments
                .iter()
                .flat_map(|segment| {
                    segment
                        .corrupt
                        .iter()
                        .map(|range| (segment.base_offset, *range))
                })
                .collect(),
            producer_snapshot,
            compacted_end: self.compacted_end,
            open_transactions: self.transactions.to_list(),
            transaction_indexes: self
                .segments
                .iter()
                .filter(|segment| segment.transactions.entries() > 0)
                .map(|segment| (segment.base_offset, segment.transactions.claim()))
                .collect(),
        }
    }

    /// Takes note that the checkpoint that was begun did not get to the disk: another one is needed.
    pub fn abandon_checkpoint(&mut self) {
        self.bytes_since_checkpoint = self.bytes_since_checkpoint.max(1);
    }

    /// Takes note of a checkpoint that is on the disk.
    pub fn finish_checkpoint(&mut self, finished: FinishedCheckpoint) {
        self.synced_end = self.synced_end.max(finished.end);
        self.unsynced_indexes
            .retain(|segment| segment.base_offset >= finished.segment);
        if finished.end >= self.checkpointed_end {
            self.checkpointed_end = finished.end;
            self.checkpointed_segment = finished.segment;
        }
        if finished.end == self.next_offset && finished.segment == self.active().base_offset {
            self.unsynced.clear();
            self.being_synced.clear();
            self.are_names_unsynced = false;
        }
    }

    /// Ends the log cleanly: writes what waits and makes a checkpoint, so that the next start reads no log data.
    ///
    /// # Errors
    /// As [`PartitionLog::checkpoint`]; the log is as safe as after a crash.
    pub fn close(mut self, producer_snapshot: Vec<u8>) -> Result<(), LogError> {
        self.write()?;
        if self.checkpointed_end == self.next_offset {
            return Ok(());
        }
        self.checkpoint(producer_snapshot)
    }
}
