//! How a compacted segment takes the place of those it was made of, so that a crash at any point leaves the one or the others.
//!
//! ```text
//! 1  X.index.cleaned, …, X.log.cleaned     written and synced
//! 2  indexes                .cleaned → .swap, directory synced
//! 3  X.log                  .cleaned → .swap, directory synced    from here on the new segment counts
//! 4  the old segments' files     → .deleted, directory synced
//! 5  indexes and log           .swap → none, directory synced
//! ```
//! The names and their meaning are Kafka's. What recovery does with them:
//! - `.cleaned`, and `.swap` of an index, are removed: the segment, old or new, gets its indexes anew if they are missing;
//! - `X.log.swap` is whole. The segments from X up to the end of its last batch are the old ones: they are removed, durably,
//!   before it takes its name. A compacted segment keeps its last batch, so that this is always where the old ones ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::access::{Access, Stop};
use crate::checkpoint::CheckpointFile;
use crate::disk::Disk;
use crate::error::{Context, LogError};
use crate::offset::Offset;
use crate::remains::DELETED;
use crate::segment::{Segment, file_path, parse_name};
use crate::walk::{Step, Walk};

/// The end of the name of a compacted segment's files while they are written.
pub(super) const CLEANED: &str = ".cleaned";
/// … and once they are whole.
const SWAP: &str = ".swap";
const INDEXES: [&str; 3] = ["index", "timeindex", "txnindex"];

/// Where the names are changed.
pub(super) struct Directory<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) dir: &'a Path,
    /// Held while names are changed: a log that is deleted meanwhile has given its directory's name away.
    pub(super) lock: &'a Mutex<CheckpointFile>,
}

impl Directory<'_> {
    /// Puts the segment at `base`, finished as `.cleaned`, in the place of `old`. Gives the renamed files of the old ones.
    pub(super) fn swap(
        &self,
        base: Offset,
        old: &[Arc<Segment>],
    ) -> Result<Vec<PathBuf>, LogError> {
        let file = self.lock.lock();
        file.check_in_force()?;
        for kind in INDEXES {
            self.rename_if_there(base, kind, CLEANED, SWAP)?;
        }
        self.sync()?;
        self.rename_if_there(base, "log", CLEANED, SWAP)?;
        self.sync()?;
        let mut deleted = Vec::new();
        for segment in old {
            // Readers may hold it: its indexes are opened while they still have their names.
            segment.open_indexes()?;
            for kind in INDEXES.into_iter().chain(["log"]) {
                let renamed = self.rename_if_there(segment.base_offset, kind, "", DELETED)?;
                deleted.extend(renamed);
            }
        }
        self.sync()?;
        for kind in INDEXES.into_iter().chain(["log"]) {
            self.rename_if_there(base, kind, SWAP, "")?;
        }
        self.sync()?;
        Ok(deleted)
    }

    /// Creates files, unless the log was deleted and its name is another's.
    pub(super) fn create<T>(
        &self,
        create: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let file = self.lock.lock();
        file.check_in_force()?;
        create()
    }

    /// Removes what an attempt to compact the segments from `base` on has left.
    pub(super) fn clear(&self, base: Offset) -> Result<(), LogError> {
        let file = self.lock.lock();
        file.check_in_force()?;
        for kind in INDEXES.into_iter().chain(["log"]) {
            let path = file_path(self.dir, base, kind, CLEANED);
            if self.disk.exists(&path).context("look for", &path)? {
                self.disk.remove_file(&path).context("remove", &path)?;
            }
        }
        Ok(())
    }

    fn rename_if_there(
        &self,
        base: Offset,
        kind: &str,
        from: &str,
        to: &str,
    ) -> Result<Option<PathBuf>, LogError> {
        let path = file_path(self.dir, base, kind, from);
        if !self.disk.exists(&path).context("look for", &path)? {
            return Ok(None);
        }
        let renamed = file_path(self.dir, base, kind, to);
        self.disk.rename(&path, &renamed).context("rename", path)?;
        Ok(Some(renamed))
    }

    fn sync(&self) -> Result<(), LogError> {
        self.disk.sync_dir(self.dir).context("sync", self.dir)
    }
}

/// Finishes or takes back what a crash interrupted; gives the number of files that were removed, and whether names have changed.
pub(crate) fn settle_interrupted(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    names: &[String],
) -> Result<(u64, bool), LogError> {
    let mut removed = 0;
    let mut remove = |name: &str| {
        let path = dir.join(name);
        removed += 1;
        disk.remove_file(&path).context("remove", path)
    };
    let mut swaps = Vec::new();
    for name in names {
        match parse_name(name) {
            Some((base, "log.swap")) => swaps.push(base),
            Some((_, kind)) if kind.ends_with(CLEANED) || kind.ends_with(SWAP) => remove(name)?,
            _ => {}
        }
    }
    if swaps.is_empty() {
        return Ok((removed, removed > 0));
    }
    for base in &swaps {
        let end = end_of(disk, dir, *base)?;
        for name in names {
            let is_replaced = parse_name(name).is_some_and(|(of, kind)| {
                let is_of_segment = kind == "log" || INDEXES.contains(&kind);
                is_of_segment && (*base..end).contains(&of)
            });
            if is_replaced {
                remove(name)?;
            }
        }
    }
    disk.sync_dir(dir).context("sync", dir)?;
    for base in &swaps {
        let (from, to) = (
            file_path(dir, *base, "log", SWAP),
            file_path(dir, *base, "log", ""),
        );
        disk.rename(&from, &to).context("rename", from)?;
    }
    disk.sync_dir(dir).context("sync", dir)?;
    Ok((removed, true))
}

/// The offset after the last batch of a segment that waits to be swapped in.
fn end_of(disk: &Arc<dyn Disk>, dir: &Path, base: Offset) -> Result<Offset, LogError> {
    let segment = Segment::open_log(disk, file_path(dir, base, "log", SWAP), base)?;
    let size = segment.log.len().context("measure", &segment.path)?;
    let mut walk = Walk::new(&segment, 0, size, Access::Blocking);
    let mut end = base;
    while let Some(step) = walk.step().map_err(Stop::into_error)? {
        if let Step::Batch { batch, .. } = step {
            end = batch.last_offset.next();
        }
    }
    Ok(end)
}
