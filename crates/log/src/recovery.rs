//! Opening a partition's directory: whatever a crash left there becomes a log that is whole, and the report of what was done.
//!
//! What is behind the checkpoint is taken as it is; what came after is scanned with every checksum. Segments before the
//! checkpoint keep their indexes if these look right, later ones get new ones. The rules for bad bytes are in `scan`.
//! A start after a clean stop reads directory, checkpoint and index ends, but no log data.

mod opening;
mod segments;
mod transactions;

use std::path::PathBuf;
use std::sync::Arc;

use wire::records::{BatchHeader, EndTransactionMarker};

use crate::disk::Disk;
use crate::error::LogError;
use crate::offset::Offset;
use crate::partition::PartitionLog;
use crate::settings::LogSettings;
use crate::transactions::OpenTransactions;
use opening::Opening;

/// What the owner of a log needs to see to have its state back: first the snapshot of the last checkpoint, if there is one,
/// then the header of every batch after it.
#[derive(Debug)]
pub enum Replay<'a> {
    /// The producer snapshot as it was handed to the checkpoint.
    Snapshot(&'a [u8]),
    /// A batch that is in the log but not in the snapshot.
    Batch(&'a BatchHeader),
    /// A batch that ends the transaction of a producer.
    Marker(&'a BatchHeader, EndTransactionMarker),
}

/// What opening a log found and did. All zeros and empty after a clean stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Log data that was read and checked.
    pub scanned_bytes: u64,
    /// Batches in it.
    pub scanned_batches: u64,
    /// Bytes cut off the end: writes that a crash cut short.
    pub truncated_bytes: u64,
    /// Segments whose indexes were made anew although they should have been good.
    pub rebuilt_indexes: u64,
    /// Files of earlier deletions that were still there.
    pub removed_files: u64,
    /// Damage in the middle of the log, which is kept and never served.
    pub corrupt: Vec<CorruptStretch>,
    /// Data that had been synced and is not there any more: the disk, or somebody, lost it.
    pub lost: Option<LostData>,
}

impl Recovery {
    /// Whether an operator must be told: acknowledged data may be damaged or gone.
    pub fn is_alarming(&self) -> bool {
        self.lost.is_some() || !self.corrupt.is_empty()
    }
}

/// Damaged bytes between good batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptStretch {
    /// The log file.
    pub path: PathBuf,
    /// Where in it the damage begins.
    pub position: u64,
    /// How long it is.
    pub length: u64,
    /// The first offset that cannot be read.
    pub first_offset: Offset,
    /// The offset that can be read again.
    pub next_offset: Offset,
}

/// The checkpoint's claim against what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostData {
    /// The log file that is missing or short.
    pub path: PathBuf,
    /// The synced bytes that it had.
    pub expected_bytes: u64,
    /// The bytes that it has.
    pub found_bytes: u64,
    /// The end offset that had been synced.
    pub expected_end: Offset,
}

impl PartitionLog {
    /// Opens the log in a directory, which is created if need be, and recovers it.
    ///
    /// All recovered records are visible at once: with durability `sync` they are synced first, so open many partitions from many threads.
    /// `replay` gets the producer snapshot and the batches after it, before this returns.
    ///
    /// # Errors
    /// `Io` when the disk fails. Damage is no error: it is cut or set aside, and reported.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        settings: LogSettings,
        now_ms: i64,
        replay: &mut dyn FnMut(Replay<'_>),
    ) -> Result<(PartitionLog, Recovery), LogError> {
        let dir = dir.into();
        let mut opening = Opening::begin(disk, dir, settings)?;
        let (checkpoint_file, checkpoint) = opening.load_checkpoint()?;
        opening.drop_before(&checkpoint)?;
        if checkpoint.has_recovery_point() {
            replay(Replay::Snapshot(&checkpoint.producer_snapshot));
        }
        opening.transactions = OpenTransactions::from_list(&checkpoint.open_transactions);
        opening.load_epochs()?;
        opening.open_segments(&checkpoint, replay)?;
        opening.rebuild_transactions()?;
        opening.finish(checkpoint_file, checkpoint.log_start, now_ms)
    }
}
