//! Files that are deleted: first by name, so that no recovery takes them for part of the log, then for good.
//! Removing a large file takes the file system milliseconds, so that part can be done on another thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::disk::Disk;
use crate::error::{Context, LogError};
use crate::offset::{ByteCount, Offset};

/// The end of the name of what is deleted but still there. Kafka's.
pub(crate) const DELETED: &str = ".deleted";

/// Renamed files that wait to be removed. Dropping it removes them; what a crash leaves, the next start removes.
#[derive(Debug)]
pub struct Remains {
    disk: Arc<dyn Disk>,
    paths: Vec<PathBuf>,
    are_directories: bool,
    delay: Duration,
}

impl Remains {
    pub(crate) fn of_files(disk: &Arc<dyn Disk>, paths: Vec<PathBuf>, delay: Duration) -> Remains {
        Remains {
            disk: Arc::clone(disk),
            paths,
            are_directories: false,
            delay,
        }
    }

    pub(crate) fn of_directory(disk: &Arc<dyn Disk>, path: PathBuf, delay: Duration) -> Remains {
        Remains {
            disk: Arc::clone(disk),
            paths: vec![path],
            are_directories: true,
            delay,
        }
    }

    /// How long the files should stay (`file.delete.delay.ms`).
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Removes the files. Open handles stay readable.
    ///
    /// # Errors
    /// `Io` for the first file that could not be removed; the next start tries again.
    pub fn purge(mut self) -> Result<(), LogError> {
        self.remove_all()
    }

    fn remove_all(&mut self) -> Result<(), LogError> {
        for path in std::mem::take(&mut self.paths) {
            let removed = if self.are_directories {
                self.disk.remove_dir_all(&path)
            } else {
                self.disk.remove_file(&path)
            };
            match removed {
                // Compacted twice, a segment leaves two files of one name, of which the first one is gone.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.context("remove", path)?,
            }
        }
        Ok(())
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // Nothing is lost when this fails: the next start removes what is left over.
        let _ = self.remove_all();
    }
}

/// Why a segment was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionReason {
    /// Its last record is older than the retention time.
    Age,
    /// The log is larger than the retention size.
    Size,
    /// It lies before the log start, which DeleteRecords moved.
    BeforeLogStart,
}

/// A segment that is no longer part of the log.
#[derive(Debug)]
pub struct DeletedSegment {
    /// The first offset it could hold.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end_offset: Offset,
    /// The bytes of its log file.
    pub size: ByteCount,
    /// Why it went.
    pub reason: DeletionReason,
    /// Its files. Drop or purge them where blocking is fine.
    pub remains: Remains,
}

/// Removes what interrupted deletions of whole partitions left in the directory that holds them. Tells how many there were.
///
/// # Errors
/// `Io` when the disk fails.
pub fn remove_leftover_partitions(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
) -> Result<usize, LogError> {
    let mut removed = 0;
    for entry in disk.list(data_dir).context("list", data_dir)? {
        if entry.is_directory && entry.name.ends_with(DELETED) {
            let path = data_dir.join(&entry.name);
            disk.remove_dir_all(&path).context("remove", path)?;
            removed += 1;
        }
    }
    Ok(removed)
}
