//! The operating system's disk: positioned, vectored reads and writes on shared handles.
//! Paths are used as they come, relative ones from the working directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
#[cfg(target_os = "linux")]
use rustix::fs::FallocateFlags;

use super::{DirEntry, Disk, DiskFile, Space};

/// Linux takes at most 1,024 slices in one call (`IOV_MAX`).
const SLICES_PER_CALL: usize = 1024;

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk;

impl FileDisk {
    /// The disk of this process, ready to share.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(FileDisk)
    }
}

impl Disk for FileDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry {
                    name,
                    is_directory: entry.file_type()?.is_dir(),
                });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn space(&self, dir: &Path) -> io::Result<Option<Space>> {
        let stat = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Some(Space {
            total: bytes(stat.f_blocks),
            available: bytes(stat.f_bavail),
        }))
    }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn write_at(&self, mut position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        for call in slices.chunks(SLICES_PER_CALL) {
            let length: usize = call.iter().map(|slice| slice.len()).sum();
            let written = retry(|| rustix::io::pwritev(&self.0, call, position))?;
            if written < length {
                self.write_rest(position, call, written)?;
            }
            position += length as u64;
        }
        Ok(())
    }

    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let start = into.len();
        into.reserve_exact(length);
        while into.len() - start < length {
            let at = position + (into.len() - start) as u64;
            if retry(|| rustix::io::pread(&self.0, spare_capacity(into), at))? == 0 {
                break;
            }
        }
        into.truncate(start + length);
        Ok(into.len() - start)
    }

    #[cfg(target_os = "linux")]
    fn read_at_if_cached(
        &self,
        position: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let start = into.len();
        into.resize(start + length, 0);
        let mut filled = 0;
        while filled < length {
            let target = io::IoSliceMut::new(&mut into[start + filled..]);
            match preadv2(
                &self.0,
                &mut [target],
                position + filled as u64,
                ReadWriteFlags::NOWAIT,
            ) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                // OPNOTSUPP: this file system cannot promise not to wait (some overlays), so the caller reads off its thread.
                Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                    into.truncate(start);
                    return Ok(None);
                }
                Err(error) => {
                    into.truncate(start);
                    return Err(error.into());
                }
            }
        }
        into.truncate(start + filled);
        Ok(Some(filled))
    }

    #[cfg(not(target_os = "linux"))]
    fn read_at_if_cached(&self, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<Option<usize>> {
        Ok(None)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, length: u64) -> io::Result<()> {
        retry(|| rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, length))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

impl OsFile {
    /// Finishes a vectored write of which the kernel took `done` bytes only, as it may near a full disk.
    fn write_rest(&self, position: u64, slices: &[IoSlice<'_>], mut done: usize) -> io::Result<()> {
        let mut at = position + done as u64;
        for slice in slices {
            if done >= slice.len() {
                done -= slice.len();
                continue;
            }
            let mut rest = &slice[done..];
            done = 0;
            while !rest.is_empty() {
                let written = retry(|| rustix::io::pwrite(&self.0, rest, at))?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                rest = &rest[written..];
                at += written as u64;
            }
        }
        Ok(())
    }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
