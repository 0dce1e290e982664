//! A disk over the real files that keeps every write in this process's memory until its file is synced.
//!
//! SIGKILL loses nothing that reached the kernel; over this disk it loses all that was not synced, as a power cut does, and the
//! real file code runs below. A cut during a sync leaves some of its writes behind: a torn one. Closing a file takes nothing away,
//! as the system's page cache does not: whoever opens it next sees what nobody has synced yet. Names (files created, renamed,
//! removed) go through at once, so a file may be there without its bytes; lost names are `SimDisk`'s part, in simulation.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{DirEntry, Disk, DiskFile, FileDisk};

#[derive(Debug, Default)]
pub struct DroppingDisk {
    below: FileDisk,
    /// The files that are open or have unsynced writes. All handles of one file see the same ones.
    files: Mutex<BTreeMap<PathBuf, Arc<DroppingFile>>>,
}

impl DroppingDisk {
    fn share(
        &self,
        path: &Path,
        below: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(path).cloned() {
            return Ok(file);
        }
        let below = below()?;
        let pending = Pending {
            operations: Vec::new(),
            length: below.len()?,
        };
        let file = Arc::new(DroppingFile {
            below,
            pending: Mutex::new(pending),
        });
        files.retain(|_, file| Arc::strong_count(file) > 1 || file.is_unsynced());
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Disk for DroppingDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.share(path, || self.below.open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        lock(&self.files).remove(path);
        self.share(path, || self.below.create(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.below.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.below.create_dir_all(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        lock(&self.files).remove(path);
        self.below.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        lock(&self.files).retain(|path, _| !path.starts_with(dir));
        self.below.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)?;
        let mut files = lock(&self.files);
        files.retain(|path, _| !path.starts_with(to));
        let moved: Vec<PathBuf> = files
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for path in moved {
            let file = files.remove(&path).expect("the path is a key of the map");
            let rest = path
                .strip_prefix(from)
                .expect("the path starts with the old name");
            files.insert(
                if rest.as_os_str().is_empty() {
                    to.to_owned()
                } else {
                    to.join(rest)
                },
                file,
            );
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.below.exists(path)
    }
}

#[derive(Debug)]
struct DroppingFile {
    below: Arc<dyn DiskFile>,
    pending: Mutex<Pending>,
}

/// What a power cut takes away.
#[derive(Debug)]
struct Pending {
    operations: Vec<Operation>,
    /// The length that readers see.
    length: u64,
}

#[derive(Debug)]
enum Operation {
    Write { position: u64, bytes: Vec<u8> },
    SetLength(u64),
}

impl DroppingFile {
    fn is_unsynced(&self) -> bool {
        !lock(&self.pending).operations.is_empty()
    }
}

impl DiskFile for DroppingFile {
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let mut pending = lock(&self.pending);
        pending.length = pending.length.max(position + bytes.len() as u64);
        pending
            .operations
            .push(Operation::Write { position, bytes });
        Ok(())
    }

    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let pending = lock(&self.pending);
        let count = pending.length.saturating_sub(position).min(length as u64) as usize;
        let mut bytes = Vec::new();
        self.below.read_at(position, count, &mut bytes)?;
        bytes.resize(count, 0);
        for operation in &pending.operations {
            operation.show(position, &mut bytes);
        }
        into.extend_from_slice(&bytes);
        Ok(count)
    }

    fn read_at_if_cached(
        &self,
        position: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        self.read_at(position, length, into).map(Some)
    }

    fn sync(&self) -> io::Result<()> {
        // Under the lock, so that a later write cannot overtake an earlier one on its way down.
        let mut pending = lock(&self.pending);
        for operation in std::mem::take(&mut pending.operations) {
            match operation {
                Operation::Write { position, bytes } => {
                    self.below.write_at(position, &[IoSlice::new(&bytes)])?
                }
                Operation::SetLength(length) => self.below.set_len(length)?,
            }
        }
        self.below.sync()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.pending).length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut pending = lock(&self.pending);
        pending.length = length;
        pending.operations.push(Operation::SetLength(length));
        Ok(())
    }
}

impl Operation {
    /// Lays this operation over `bytes`, which begin at `position` of the file.
    fn show(&self, position: u64, bytes: &mut [u8]) {
        match self {
            Operation::SetLength(length) => {
                let kept = length.saturating_sub(position).min(bytes.len() as u64) as usize;
                bytes[kept..].fill(0);
            }
            Operation::Write {
                position: start,
                bytes: written,
            } => {
                let from = position.max(*start);
                let to = (position + bytes.len() as u64).min(start + written.len() as u64);
                if from < to {
                    let count = (to - from) as usize;
                    let (target, source) = ((from - position) as usize, (from - start) as usize);
                    bytes[target..target + count].copy_from_slice(&written[source..source + count]);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(name: &str, test: impl FnOnce(&DroppingDisk, &Path)) {
        let folder = std::env::temp_dir().join(format!("dropping-{name}-{}", std::process::id()));
        let disk = DroppingDisk::default();
        disk.create_dir_all(&folder)
            .expect("the folder can be made");
        test(&disk, &folder.join("file"));
        disk.remove_dir_all(&folder)
            .expect("the folder can be removed");
    }

    fn write(file: &Arc<dyn DiskFile>, position: u64, text: &str) {
        file.write_at(position, &[IoSlice::new(text.as_bytes())])
            .expect("memory takes a write");
    }

    fn read(file: &Arc<dyn DiskFile>) -> String {
        let mut bytes = Vec::new();
        file.read_at(0, 100, &mut bytes)
            .expect("the file can be read");
        String::from_utf8(bytes).expect("the test writes text")
    }

    #[test]
    fn what_was_not_synced_never_reached_the_file() {
        with_file("unsynced", |disk, path| {
            let file = disk.create(path).expect("the file can be made");
            write(&file, 0, "synced");
            file.sync().expect("the file can be synced");
            write(&file, 6, " and lost");
            assert_eq!(read(&file), "synced and lost");
            assert_eq!(
                std::fs::read_to_string(path).expect("the file is there"),
                "synced"
            );
        });
    }

    #[test]
    fn a_second_handle_sees_the_unsynced_writes_of_the_first() {
        with_file("handles", |disk, path| {
            let first = disk.create(path).expect("the file can be made");
            write(&first, 0, "shared");
            let second = disk.open(path).expect("the file can be opened");
            assert_eq!(read(&second), "shared");
        });
    }

    #[test]
    fn closing_a_file_takes_no_unsynced_write_away() {
        with_file("closed", |disk, path| {
            let file = disk.create(path).expect("the file can be made");
            write(&file, 0, "still here");
            drop(file);
            // Another file is opened meanwhile, which is when the disk looks through those that are closed.
            disk.create(&path.with_extension("other"))
                .expect("another file can be made");
            let again = disk.open(path).expect("the file can be opened");
            assert_eq!(read(&again), "still here");
            assert_eq!(
                std::fs::read_to_string(path).expect("the file is there"),
                ""
            );
            again.sync().expect("the file can be synced");
            assert_eq!(
                std::fs::read_to_string(path).expect("the file is there"),
                "still here"
            );
        });
    }

    #[test]
    fn a_cut_and_a_longer_write_after_it_show_in_order() {
        with_file("cut", |disk, path| {
            let file = disk.create(path).expect("the file can be made");
            write(&file, 0, "0123456789");
            file.sync().expect("the file can be synced");
            file.set_len(4).expect("memory takes a length");
            write(&file, 6, "ab");
            assert_eq!(read(&file), "0123\0\0ab");
            file.sync().expect("the file can be synced");
            assert_eq!(
                std::fs::read_to_string(path).expect("the file is there"),
                "0123\0\0ab"
            );
        });
    }

    #[test]
    fn unsynced_writes_move_with_their_file() {
        with_file("rename", |disk, path| {
            let file = disk.create(path).expect("the file can be made");
            write(&file, 0, "moved");
            let other = path.with_extension("new");
            disk.rename(path, &other).expect("the file can be renamed");
            assert_eq!(
                read(&disk.open(&other).expect("the file can be opened")),
                "moved"
            );
        });
    }
}
