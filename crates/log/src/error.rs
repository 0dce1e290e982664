//! What can go wrong in a log: failures of the disk, damage found on it, and the one refusal a reader can meet.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::offset::{ByteCount, Offset};

/// Why a log operation did not succeed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk refused an operation.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The operation as a verb: "write", "sync", "open".
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the disk answered.
        source: io::Error,
    },

    /// The requested offset is not in the log. A refusal, not a failure.
    #[error(
        "offset {requested} is outside of the log, which has offsets {log_start} to {end}, the last one excluded"
    )]
    OffsetOutOfRange {
        /// What was asked for.
        requested: Offset,
        /// The first offset there is.
        log_start: Offset,
        /// The offset that the next visible record will have.
        end: Offset,
    },

    /// Bytes in the middle of a log file are not what was written. They are never served.
    #[error("{} is damaged at byte {position}, where offset {offset} should be: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// The offset that is expected there.
        offset: Offset,
        /// What is wrong with the bytes.
        detail: String,
    },

    /// An earlier write failed, so that the end of the log is unknown until it is opened again.
    #[error("the log in {} takes no more writes because an earlier one failed; open it again", path.display())]
    Halted {
        /// The directory of the partition.
        path: PathBuf,
    },

    /// The files of a compacted segment could not be put in their place. The next start does it, or takes it back.
    #[error("cannot put a compacted segment in its place: {source}")]
    Swap {
        /// What was refused.
        source: Box<LogError>,
    },

    /// A compaction was told to stop. Nothing is broken; it is done another time.
    #[error("the compaction was abandoned")]
    Abandoned,

    /// The keys of the first dirty batch do not fit into the buffer of a compaction.
    #[error("a batch in {} has more keys than {memory} hold; raise log.cleaner.dedupe.buffer.size", path.display())]
    BufferTooSmall {
        /// The directory of the partition.
        path: PathBuf,
        /// What the buffer may take.
        memory: ByteCount,
    },

    /// The producer snapshot handed to a checkpoint is larger than a checkpoint can hold.
    #[error("the producer snapshot for {} has {length} bytes, at most {limit} fit; let idle producers expire sooner", path.display())]
    SnapshotTooLarge {
        /// The directory of the partition.
        path: PathBuf,
        /// The bytes of the snapshot.
        length: usize,
        /// The most that fits.
        limit: usize,
    },
}

impl LogError {
    /// Whether the disk (or the quota on it) is full: freeing space helps, nothing is broken.
    pub fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, LogError::Io { source, .. } if full.contains(&source.kind()))
    }

    /// Whether the disk is full and what was on it before is as it was: opening the log again is all that it takes.
    ///
    /// Not so when a sync found the disk full: the system may have let go of what it could not write.
    pub fn is_mended_by_space(&self) -> bool {
        self.is_disk_full()
            && !matches!(self, LogError::Io { operation, .. } if *operation == "sync")
    }
}

/// Adds what was being done, and to which file, to an error of the disk.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T, LogError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io {
            operation,
            path: path.into(),
            source,
        })
    }
}
