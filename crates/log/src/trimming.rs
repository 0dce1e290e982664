//! Deleting segments without holding up the owner of a log, and whole logs many at a time. The owner decides, a job moves the log
//! start durably and renames the files on any thread, and the owner takes note.
//!
//! Readers and owner keep the segments until then: their files are open. One job at a time, and none beside a compaction.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::checkpoint::CheckpointFile;
use crate::disk::Disk;
use crate::error::{Context, LogError};
use crate::offset::{ByteCount, Offset};
use crate::partition::PartitionLog;
use crate::remains::{DELETED, DeletedSegment, DeletionReason, Remains};
use crate::segment::Segment;

/// Segments that go, and where the log starts then. Run it on any thread and hand the result to [`PartitionLog::finish_trim`].
#[derive(Debug)]
pub struct TrimJob {
    disk: Arc<dyn Disk>,
    file: Arc<Mutex<CheckpointFile>>,
    log_start: Offset,
    doomed: Vec<Doomed>,
    delay: Duration,
}

#[derive(Debug)]
struct Doomed {
    segment: Arc<Segment>,
    size: ByteCount,
    end_offset: Offset,
    reason: DeletionReason,
}

/// Segments whose files have been renamed.
#[derive(Debug)]
pub struct Trimmed {
    log_start: Offset,
    deleted: Vec<DeletedSegment>,
}

impl TrimJob {
    /// Moves the log start, durably, and renames the files.
    ///
    /// # Errors
    /// `Io` when the disk fails, or the log was deleted meanwhile.
    pub fn run(self) -> Result<Trimmed, LogError> {
        let mut file = self.file.lock();
        file.check_in_force()?;
        file.write_log_start(self.log_start)?;
        let deleted = self.doomed.iter().map(|doomed| {
            let paths = rename_files(&self.disk, &doomed.segment)?;
            Ok(DeletedSegment {
                base_offset: doomed.segment.base_offset,
                end_offset: doomed.end_offset,
                size: doomed.size,
                reason: doomed.reason,
                remains: Remains::of_files(&self.disk, paths, self.delay),
            })
        });
        Ok(Trimmed {
            log_start: self.log_start,
            deleted: deleted.collect::<Result<_, LogError>>()?,
        })
    }
}

impl PartitionLog {
    /// As [`PartitionLog::apply_retention`], without waiting for the disk: the job does that. None when nothing goes, or another
    /// job is at work on the segments.
    ///
    /// # Errors
    /// `Io` when a new active segment cannot be begun; `Halted` after a failed write.
    pub fn begin_retention(&mut self, now_ms: i64) -> Result<Option<TrimJob>, LogError> {
        let reasons = self.doomed(now_ms);
        if reasons.is_empty() || self.is_busy() {
            return Ok(None);
        }
        if self.is_halted {
            return Err(LogError::Halted {
                path: self.dir.clone(),
            });
        }
        if reasons.len() == self.segments.len() {
            self.roll(self.next_offset, now_ms)?;
        }
        Ok(Some(self.begin_trim(reasons)))
    }

    /// Begins to delete as many of the oldest segments as there are reasons.
    pub(crate) fn begin_trim(&mut self, reasons: Vec<DeletionReason>) -> TrimJob {
        self.is_trimming = true;
        let log_start = self.segments[reasons.len()].base_offset.max(self.log_start);
        let doomed = self.segments.iter().zip(reasons).map(|(segment, reason)| {
            let (size, end_offset) = self.size_and_end(segment);
            Doomed {
                segment: Arc::clone(segment),
                size: ByteCount(size),
                end_offset,
                reason,
            }
        });
        TrimJob {
            disk: Arc::clone(&self.disk),
            file: Arc::clone(&self.checkpoint_file),
            log_start,
            doomed: doomed.collect(),
            delay: self.settings.file_delete_delay,
        }
    }

    /// Takes note of segments that are gone.
    pub fn finish_trim(&mut self, trimmed: Trimmed) -> Vec<DeletedSegment> {
        self.is_trimming = false;
        let deleted = trimmed.deleted;
        self.log_start = self.log_start.max(trimmed.log_start);
        let gone = |segment: &Arc<Segment>| {
            let mut bases = deleted.iter().map(|deleted| deleted.base_offset);
            bases.any(|base| base == segment.base_offset)
        };
        for list in [
            &mut self.segments,
            &mut self.unsynced,
            &mut self.being_synced,
            &mut self.unsynced_indexes,
        ] {
            list.retain(|segment| !gone(segment));
        }
        let bytes: u64 = deleted.iter().map(|deleted| deleted.size.0).sum();
        self.sealed_bytes = ByteCount(self.sealed_bytes.0 - bytes);
        self.deleted_bytes += ByteCount(bytes);
        self.publish_segments();
        deleted
    }

    /// A job has failed part way: what it did is known once the log is opened again.
    pub fn abandon_trim(&mut self) {
        self.is_trimming = false;
        self.is_halted = true;
    }

    /// Whether a job is at work on the segments, so that none may be deleted.
    pub fn is_busy(&self) -> bool {
        self.is_compacting || self.is_trimming
    }
}

/// Renames a segment's files to what is deleted.
fn rename_files(disk: &Arc<dyn Disk>, segment: &Segment) -> Result<Vec<PathBuf>, LogError> {
    // Readers may hold this segment: its indexes are opened while they still have their names.
    segment.open_indexes()?;
    let transactions = segment.transactions.has_file();
    let transactions = transactions.then(|| segment.transactions.path());
    let files = [
        segment.path.as_path(),
        segment.index.path(),
        segment.time_index.path(),
    ];
    let rename = |path: &Path| {
        let mut renamed = path.as_os_str().to_owned();
        renamed.push(DELETED);
        let renamed = PathBuf::from(renamed);
        disk.rename(path, &renamed).context("rename", path)?;
        Ok(renamed)
    };
    files.into_iter().chain(transactions).map(rename).collect()
}

/// Deletes whole logs with everything in their directories: each directory gets another name, and the names are made durable
/// together. Gives what is to be removed, and why some could not be renamed. Blocks; call it where nobody waits.
pub fn delete_logs(logs: Vec<PartitionLog>) -> (Vec<Remains>, Vec<LogError>) {
    let mut failures = Vec::new();
    let mut renamed = Vec::new();
    let mut parents: BTreeSet<PathBuf> = BTreeSet::new();
    let Some(disk) = logs.first().map(|log| Arc::clone(&log.disk)) else {
        return (Vec::new(), failures);
    };
    for log in logs {
        match log.rename_directory() {
            Ok((path, delay)) => {
                parents.extend(path.parent().map(Path::to_owned));
                renamed.push(Remains::of_directory(&disk, path, delay));
            }
            Err(error) => failures.push(error),
        }
    }
    for parent in parents {
        failures.extend(disk.sync_dir(&parent).context("sync", parent).err());
    }
    (renamed, failures)
}

impl PartitionLog {
    /// Gives the directory another name, which is not durable yet, and tells how long the files should stay.
    ///
    /// Readers that have files open can finish. An index that a reader opens now is another log's, or none: it is then passed
    /// over, or the read fails, as it should for a log that is gone.
    fn rename_directory(self) -> Result<(PathBuf, Duration), LogError> {
        let mut number = 0;
        let doomed = loop {
            let mut name = self.dir.as_os_str().to_owned();
            name.push(format!(".{number}{DELETED}"));
            let path = PathBuf::from(name);
            if !self.disk.exists(&path).context("look for", &path)? {
                break path;
            }
            number += 1;
        };
        let mut file = self.checkpoint_file.lock();
        file.retire();
        self.disk
            .rename(&self.dir, &doomed)
            .context("rename", &self.dir)?;
        drop(file);
        Ok((doomed, self.settings.file_delete_delay))
    }
}
