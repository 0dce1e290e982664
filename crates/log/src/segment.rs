//! One segment of a partition: Kafka's `%020d.log` with its indexes, named by the first offset it may hold.
//!
//! ```text
//! 00000000000000000000.log         record batches (v2), one after another, as they go over the wire
//! 00000000000000000000.index       see `index`
//! 00000000000000000000.timeindex   see `index`
//! 00000000000000000000.txnindex    see `transaction_index`; only where a transaction was aborted
//! ```
//! A segment is shared by the writer and by readers. What changes while it is active is either in its indexes (which have
//! their own lock) or with the writer ([`Progress`]); readers learn how far they may read from the view.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::batch::{Glance, HEADER};
use crate::disk::{Disk, DiskFile};
use crate::error::{Context, LogError};
use crate::index::{OffsetEntry, SparseIndex, TimeEntry};
use crate::offset::{ByteCount, Offset};
use crate::transaction_index::{self, Claim, TransactionIndex};

/// Bytes written again at a time.
const AGAIN_BYTES: usize = 1 << 20;

/// Batches without a timestamp have this one.
pub(crate) const NO_TIMESTAMP: i64 = -1;

/// The largest timestamp in a stretch of the log, and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxTimestamp {
    /// Milliseconds since 1970; -1 when no record had one.
    pub timestamp: i64,
    /// The last offset of the first batch with this timestamp.
    pub offset: Offset,
}

impl MaxTimestamp {
    pub(crate) const NONE: MaxTimestamp = MaxTimestamp {
        timestamp: NO_TIMESTAMP,
        offset: Offset(-1),
    };
}

/// Bytes in the middle of a segment that are not what was written, found by recovery. They are kept and never served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CorruptRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The offset that should be at `start`.
    pub(crate) first_offset: Offset,
    /// The offset of the good batch at `end`.
    pub(crate) next_offset: Offset,
}

/// What is known of a segment once nothing is appended to it any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    pub(crate) size: u64,
    pub(crate) end_offset: Offset,
    pub(crate) max: MaxTimestamp,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    pub(crate) path: PathBuf,
    pub(crate) log: Arc<dyn DiskFile>,
    pub(crate) index: SparseIndex<OffsetEntry>,
    pub(crate) time_index: SparseIndex<TimeEntry>,
    pub(crate) transactions: TransactionIndex,
    pub(crate) corrupt: Vec<CorruptRange>,
    sealed: OnceLock<Sealed>,
    first_timestamp: OnceLock<i64>,
}

/// How far a segment has grown, kept by whoever appends to it or scans it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) position: u64,
    pub(crate) max: MaxTimestamp,
    /// The largest timestamp of the first batch: the age of the segment counts from it.
    pub(crate) first_timestamp: i64,
    pub(crate) bytes_since_entry: u64,
}

impl Progress {
    pub(crate) const START: Progress = Progress {
        position: 0,
        max: MaxTimestamp::NONE,
        first_timestamp: NO_TIMESTAMP,
        bytes_since_entry: 0,
    };

    /// Counts a batch that is stored at the current position, and makes the index entries that it is due (Kafka's `LogSegment.append`).
    pub(crate) fn add(&mut self, segment: &Segment, batch: &Glance, interval: ByteCount) {
        if self.position == 0 {
            self.first_timestamp = batch.max_timestamp;
        }
        if batch.max_timestamp > self.max.timestamp {
            self.max = MaxTimestamp {
                timestamp: batch.max_timestamp,
                offset: batch.last_offset,
            };
        }
        if self.bytes_since_entry > interval.0 {
            segment.index.push(OffsetEntry {
                relative_offset: segment.relative(batch.last_offset),
                position: self.position as u32,
            });
            segment.index_time(self.max);
            self.bytes_since_entry = 0;
        }
        self.position += batch.size;
        self.bytes_since_entry += batch.size;
    }
}

impl Segment {
    /// Creates the three files of a new segment. Their names are durable once the directory is synced.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
    ) -> Result<Segment, LogError> {
        Segment::create_as(disk, dir, base_offset, "")
    }

    /// As `create`, with names that end so.
    pub(crate) fn create_as(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        suffix: &str,
    ) -> Result<Segment, LogError> {
        let path = |kind| file_path(dir, base_offset, kind, suffix);
        let index = SparseIndex::create(disk, path("index"))?;
        let time_index = SparseIndex::create(disk, path("timeindex"))?;
        let transactions = TransactionIndex::empty(disk, path(transaction_index::EXTENSION));
        let path = path("log");
        let log = disk.create(&path).context("create", &path)?;
        Ok(Segment {
            base_offset,
            transactions,
            path,
            log,
            index,
            time_index,
            corrupt: Vec::new(),
            sealed: OnceLock::new(),
            first_timestamp: OnceLock::new(),
        })
    }

    /// A log file that exists under any name, without its indexes: for a look at its batches.
    pub(crate) fn open_log(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        base_offset: Offset,
    ) -> Result<Segment, LogError> {
        let index = SparseIndex::open(disk, path.with_extension("index"), 0)?;
        let time_index = SparseIndex::open(disk, path.with_extension("timeindex"), 0)?;
        let log = disk.open(&path).context("open", &path)?;
        Ok(Segment {
            base_offset,
            transactions: TransactionIndex::empty(
                disk,
                path.with_extension(transaction_index::EXTENSION),
            ),
            path,
            log,
            index,
            time_index,
            corrupt: Vec::new(),
            sealed: OnceLock::new(),
            first_timestamp: OnceLock::new(),
        })
    }

    /// A segment that exists, of whose indexes the first entries are good: so many of the offset and of the time index.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
        entries: (u32, u32),
    ) -> Result<Segment, LogError> {
        let path = log_path(dir, base_offset);
        let index = SparseIndex::open(disk, path.with_extension("index"), entries.0)?;
        let time_index = SparseIndex::open(disk, path.with_extension("timeindex"), entries.1)?;
        let log = disk.open(&path).context("open", &path)?;
        Ok(Segment {
            base_offset,
            transactions: no_transactions(disk, dir, base_offset),
            path,
            log,
            index,
            time_index,
            corrupt: Vec::new(),
            sealed: OnceLock::new(),
            first_timestamp: OnceLock::new(),
        })
    }

    /// A segment that exists, with empty indexes.
    pub(crate) fn open_unindexed(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base_offset: Offset,
    ) -> Result<Segment, LogError> {
        let path = log_path(dir, base_offset);
        let index = SparseIndex::create(disk, path.with_extension("index"))?;
        let time_index = SparseIndex::create(disk, path.with_extension("timeindex"))?;
        let log = disk.open(&path).context("open", &path)?;
        Ok(Segment {
            base_offset,
            transactions: no_transactions(disk, dir, base_offset),
            path,
            log,
            index,
            time_index,
            corrupt: Vec::new(),
            sealed: OnceLock::new(),
            first_timestamp: OnceLock::new(),
        })
    }

    /// The end of appending: the time index gets its last entry and the indexes are flushed.
    pub(crate) fn seal(&self, progress: &Progress, end_offset: Offset) -> Result<(), LogError> {
        self.index_time(progress.max);
        self.flush_indexes()?;
        self.set_sealed(Sealed {
            size: progress.position,
            end_offset,
            max: progress.max,
        });
        Ok(())
    }

    /// Takes the transaction index that was just written and synced under the name of this segment.
    pub(crate) fn take_transactions(
        &mut self,
        disk: &Arc<dyn Disk>,
        claim: Claim,
    ) -> Result<(), LogError> {
        let path = self.transactions.path().to_owned();
        let taken = TransactionIndex::claimed(disk, path, claim)?;
        self.transactions = taken.ok_or_else(|| {
            self.corrupt_error(
                0,
                self.base_offset,
                "its transaction index is not as it was written",
            )
        })?;
        Ok(())
    }

    pub(crate) fn set_sealed(&self, sealed: Sealed) {
        let first = self.sealed.set(sealed);
        assert!(first.is_ok(), "a segment is sealed once");
    }

    pub(crate) fn sealed(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    pub(crate) fn flush_indexes(&self) -> Result<(), LogError> {
        self.index.flush()?;
        self.time_index.flush()
    }

    /// Makes the flushed index entries durable.
    pub(crate) fn sync_indexes(&self) -> Result<(), LogError> {
        self.index.sync()?;
        self.time_index.sync()?;
        self.transactions.sync()
    }

    /// Writes the log file's bytes once more, after a sync of it has failed, as well as the disk allows.
    ///
    /// The system reports such a failure once, and takes what it could not write for written: the next process would read it,
    /// sync it without an error, and a power cut would take it with all that was acknowledged behind it.
    pub(crate) fn write_again(&self) {
        let mut position = 0;
        let mut bytes = Vec::new();
        while let Ok(length) = self.log.read_at(position, AGAIN_BYTES, &mut bytes)
            && length > 0
            && self.log.write_at(position, &[IoSlice::new(&bytes)]).is_ok()
        {
            position += length as u64;
            bytes.clear();
        }
    }

    /// Syncs the log file; what a failure may have lost is written again, for whoever opens the log next.
    pub(crate) fn sync_log(&self) -> Result<(), LogError> {
        let synced = self.log.sync();
        if synced.is_err() {
            self.write_again();
        }
        synced.context("sync", &self.path)
    }

    /// The largest timestamp of the first batch of a sealed segment; it is read once.
    pub(crate) fn first_timestamp(&self) -> Result<i64, LogError> {
        if let Some(known) = self.first_timestamp.get() {
            return Ok(*known);
        }
        let mut head = Vec::new();
        self.log
            .read_at(0, HEADER, &mut head)
            .context("read", &self.path)?;
        let first = Glance::at(&head).map_or(NO_TIMESTAMP, |batch| batch.max_timestamp);
        Ok(*self.first_timestamp.get_or_init(|| first))
    }

    /// Cuts what the index files have beyond their good entries.
    pub(crate) fn trim_indexes(&self) -> Result<(), LogError> {
        self.index.trim()?;
        self.time_index.trim()
    }

    /// Opens the index files, so that they stay readable when their names go.
    pub(crate) fn open_indexes(&self) -> Result<(), LogError> {
        self.index.file()?;
        self.time_index.file()?;
        Ok(())
    }

    /// The offset as the indexes store it. Segments are rolled before it exceeds 31 bits.
    pub(crate) fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset - self.base_offset)
            .expect("a segment is rolled before its offsets exceed 31 bits")
    }

    /// As `relative`, for an offset that may be anywhere after the base.
    pub(crate) fn relative_at_most(&self, offset: Offset) -> u32 {
        u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX)
    }

    /// The damage that begins at or after a position.
    pub(crate) fn damage_after(&self, position: u64) -> Option<&CorruptRange> {
        self.corrupt.iter().find(|range| range.end > position)
    }

    /// The error of a read that meets a damaged range.
    pub(crate) fn corrupt_error(
        &self,
        position: u64,
        offset: Offset,
        detail: impl Into<String>,
    ) -> LogError {
        LogError::Corrupt {
            path: self.path.clone(),
            position,
            offset,
            detail: detail.into(),
        }
    }

    fn index_time(&self, max: MaxTimestamp) {
        if max.timestamp > NO_TIMESTAMP {
            self.time_index.push(TimeEntry {
                timestamp: max.timestamp,
                relative_offset: self.relative(max.offset),
            });
        }
    }
}

/// The name of a segment's log file.
pub(crate) fn log_path(dir: &Path, base_offset: Offset) -> PathBuf {
    file_path(dir, base_offset, "log", "")
}

/// The name of one of a segment's files: its kind, and what follows that while the file is not in its place.
pub(crate) fn file_path(dir: &Path, base_offset: Offset, kind: &str, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}.{kind}{suffix}", base_offset.0))
}

fn no_transactions(disk: &Arc<dyn Disk>, dir: &Path, base_offset: Offset) -> TransactionIndex {
    let path = file_path(dir, base_offset, transaction_index::EXTENSION, "");
    TransactionIndex::empty(disk, path)
}

/// The base offset in the name of a file that belongs to a segment, and the name's extension.
pub(crate) fn parse_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, extension) = name.split_once('.')?;
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let base_offset = is_number.then(|| digits.parse().ok()).flatten()?;
    Some((Offset(base_offset), extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_named_by_twenty_digits() {
        let path = log_path(Path::new("orders-3"), Offset(4_711));
        assert_eq!(path, Path::new("orders-3/00000000000000004711.log"));
        assert_eq!(
            parse_name("00000000000000004711.timeindex"),
            Some((Offset(4_711), "timeindex"))
        );
        assert_eq!(parse_name("leader-epoch-checkpoint"), None);
        assert_eq!(parse_name("99999999999999999999.log"), None);
    }
}
