//! What a log asks of a disk: a dozen operations on whole files and directories, all of them blocking.
//!
//! Three disks implement it: [`FileDisk`] (the operating system's), [`MemoryDisk`] (for `--ephemeral`) and [`SimDisk`]
//! (seeded faults and power cuts). Nothing else in this crate touches a file.
//!
//! Durability is in two steps, as on a real file system: [`DiskFile::sync`] makes the *bytes* of a file durable,
//! [`Disk::sync_dir`] makes the *names* in a directory durable (files created, renamed or removed there).

mod file;
mod memory;
mod sim;
mod tight;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use file::FileDisk;
pub use memory::MemoryDisk;
pub use sim::{Fault, SimDisk};
pub use tight::TightDisk;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name without its directory. Names that are not UTF-8 are left out of listings: none of ours is.
    pub name: String,
    /// Whether the name belongs to a directory.
    pub is_directory: bool,
}

/// How many bytes a disk has, and how many of them can still be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub available: u64,
}

/// A place for files. Cheap to share; every operation may come from any thread.
pub trait Disk: Send + Sync + Debug {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file; one that exists is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a directory and its parents; one that exists is fine.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Removes a file. Handles that are open stay readable.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and everything in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file or directory another name in one step, replacing a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The room on the disk that holds `dir`; `None` where nobody can tell.
    fn space(&self, _dir: &Path) -> io::Result<Option<Space>> {
        Ok(None)
    }

    /// The content of a small file, or `None` when there is no such file.
    ///
    /// # Errors
    /// `InvalidData` when the file is longer than `limit` bytes.
    fn read_small(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let length = file.len()?;
        if length > limit as u64 {
            let message = format!("the file has {length} bytes, at most {limit} are expected");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut content = Vec::with_capacity(length as usize);
        file.read_at(0, length as usize, &mut content)?;
        Ok(Some(content))
    }

    /// Replaces a small file so that after a crash either the old or the new content is there, and the new one once this returns.
    fn write_small_atomically(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.create(&temporary)?;
        file.write_at(0, &[IoSlice::new(content)])?;
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// An open file. Positions are absolute; there is no cursor, so readers and the writer share one handle.
pub trait DiskFile: Send + Sync + Debug {
    /// Writes all slices one after another from `position` on, or fails; a failed write may have written a part.
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()>;

    /// Appends up to `length` bytes from `position` on to `into` and tells how many; fewer only at the end of the file.
    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize>;

    /// As [`DiskFile::read_at`], but `None` (and `into` as it was) when the bytes are not in memory and the read would wait for the device.
    fn read_at_if_cached(
        &self,
        position: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<Option<usize>>;

    /// Makes everything written so far durable, with the length of the file.
    fn sync(&self) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Asks the disk to keep room for so many bytes, whatever the length of the file; disks without such a thing do nothing.
    fn reserve(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;
}
