//! A disk on which space runs out, for tests: any other disk, with so many bytes that its files may still grow by.
//!
//! A write that does not fit writes what fits and fails, as `ENOSPC` does. What is deleted gives no room back: `set_room` does.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{DirEntry, Disk, DiskFile, Space};

/// A disk with limited room. Clones share it.
#[derive(Clone, Debug)]
pub struct TightDisk {
    inner: Arc<dyn Disk>,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    total: u64,
    left: AtomicU64,
    is_told: AtomicBool,
}

impl TightDisk {
    /// A disk of `total` bytes, all of them free, that keeps its files on `inner`.
    pub fn new(inner: Arc<dyn Disk>, total: u64) -> TightDisk {
        let room = Room {
            total,
            left: AtomicU64::new(total),
            is_told: AtomicBool::new(true),
        };
        TightDisk {
            inner,
            room: Arc::new(room),
        }
    }

    /// As `new`, but it does not tell how much room there is, as with a quota: the end of it comes without a warning.
    pub fn silent(inner: Arc<dyn Disk>, total: u64) -> TightDisk {
        let disk = TightDisk::new(inner, total);
        disk.room.is_told.store(false, Ordering::Relaxed);
        disk
    }

    /// The disk as the log takes it.
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// From now on files may grow by so many bytes: 0 fills the disk, more gives room back.
    pub fn set_room(&self, bytes: u64) {
        self.room.left.store(bytes, Ordering::SeqCst);
    }

    fn name_a_file(&self) -> io::Result<()> {
        match self.room.left.load(Ordering::SeqCst) {
            0 => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn limit(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let room = Arc::clone(&self.room);
        Arc::new(TightFile { inner, room })
    }
}

impl Room {
    /// Takes up to `wanted` bytes and tells how many there were.
    fn take(&self, wanted: u64) -> u64 {
        let rest = |left: u64| Some(left.saturating_sub(wanted));
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest);
        before.unwrap_or_default().min(wanted)
    }
}

impl Disk for TightDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.limit(self.inner.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.name_a_file()?;
        Ok(self.limit(self.inner.create(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn space(&self, _: &Path) -> io::Result<Option<Space>> {
        let is_told = self.room.is_told.load(Ordering::Relaxed);
        Ok(is_told.then(|| Space {
            total: self.room.total,
            available: self.room.left.load(Ordering::SeqCst),
        }))
    }
}

#[derive(Debug)]
struct TightFile {
    inner: Arc<dyn DiskFile>,
    room: Arc<Room>,
}

impl DiskFile for TightFile {
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let wanted: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let end = position + wanted;
        let growth = end.saturating_sub(self.inner.len()?.max(position));
        let granted = self.room.take(growth);
        if granted == growth {
            return self.inner.write_at(position, slices);
        }
        let fitting = (wanted - growth + granted) as usize;
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        let bytes: Vec<u8> = bytes.take(fitting).collect();
        self.inner.write_at(position, &[IoSlice::new(&bytes)])?;
        Err(ErrorKind::StorageFull.into())
    }

    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        self.inner.read_at(position, length, into)
    }

    fn read_at_if_cached(
        &self,
        position: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        self.inner.read_at_if_cached(position, length, into)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn what_does_not_fit_is_torn_and_room_comes_back() {
        let disk = TightDisk::new(MemoryDisk::shared(), 10);
        disk.create_dir_all(Path::new("d")).unwrap();
        let file = disk.create(Path::new("d/f")).unwrap();
        file.write_at(0, &[IoSlice::new(b"12345678")]).unwrap();
        // Writing over what is there needs no room.
        file.write_at(0, &[IoSlice::new(b"87654321")]).unwrap();
        let torn = file.write_at(8, &[IoSlice::new(b"abcd"), IoSlice::new(b"e")]);
        assert_eq!(torn.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut content = Vec::new();
        file.read_at(0, 99, &mut content).unwrap();
        assert_eq!(content, b"87654321ab");
        assert_eq!(disk.space(Path::new("d")).unwrap().unwrap().available, 0);
        assert!(disk.create(Path::new("d/g")).is_err());
        disk.set_room(3);
        file.write_at(10, &[IoSlice::new(b"cde")]).unwrap();
    }
}
