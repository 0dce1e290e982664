//! A disk that lives in memory and ends with the process, for `--ephemeral` and tests.
//! A file is a list of chunks, so that growing it moves at most one chunk and reading it never waits for the device.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{DirEntry, Disk, DiskFile};

const CHUNK: usize = 256 << 10;

/// A disk in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    names: Arc<Mutex<Names>>,
}

#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
    directories: BTreeSet<PathBuf>,
}

impl MemoryDisk {
    /// An empty disk, ready to share.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(MemoryDisk::default())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let names = self.names.lock();
        let file = names.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = self.names.lock();
        if path.parent().is_some_and(|dir| !names.has_directory(dir)) {
            return Err(ErrorKind::NotFound.into());
        }
        let file = Arc::new(MemoryFile::default());
        names.files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let names = self.names.lock();
        if !names.has_directory(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let mut entries: Vec<DirEntry> = Vec::new();
        let files = names.files.keys().map(|path| (path, false));
        let directories = names.directories.iter().map(|path| (path, true));
        for (path, is_directory) in files
            .chain(directories)
            .filter(|(path, _)| path.parent() == Some(dir))
        {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                entries.push(DirEntry {
                    name: name.to_owned(),
                    is_directory,
                });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        for ancestor in dir.ancestors() {
            names.directories.insert(ancestor.to_owned());
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let removed = self.names.lock().files.remove(path);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        if !names.directories.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        names.files.retain(|path, _| !path.starts_with(dir));
        names.directories.retain(|path| !path.starts_with(dir));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        if let Some(file) = names.files.remove(from) {
            names.files.insert(to.to_owned(), file);
            return Ok(());
        }
        if !names.directories.contains(from) {
            return Err(ErrorKind::NotFound.into());
        }
        names.files = std::mem::take(&mut names.files)
            .into_iter()
            .map(|(path, file)| (moved(path, from, to), file))
            .collect();
        names.directories = std::mem::take(&mut names.directories)
            .into_iter()
            .map(|path| moved(path, from, to))
            .collect();
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let names = self.names.lock();
        Ok(names.files.contains_key(path) || names.directories.contains(path))
    }
}

impl Names {
    fn has_directory(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || self.directories.contains(dir)
    }
}

/// The name of `path` once the directory `from` is called `to`.
pub(super) fn moved(path: PathBuf, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path,
    }
}

#[derive(Debug, Default)]
struct MemoryFile {
    content: RwLock<Chunks>,
}

/// All chunks but the last hold exactly `CHUNK` bytes.
#[derive(Debug, Default)]
struct Chunks {
    chunks: Vec<Vec<u8>>,
    length: usize,
}

impl DiskFile for MemoryFile {
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let mut content = self.content.write();
        let mut position = position as usize;
        if position > content.length {
            content.set_length(position);
        }
        for slice in slices {
            content.write(position, slice);
            position += slice.len();
        }
        Ok(())
    }

    fn read_at(&self, position: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let content = self.content.read();
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(content.length);
        let end = start.saturating_add(length).min(content.length);
        into.reserve_exact(end - start);
        let mut at = start;
        while at < end {
            let chunk = &content.chunks[at / CHUNK];
            let upto = chunk.len().min(at % CHUNK + (end - at));
            into.extend_from_slice(&chunk[at % CHUNK..upto]);
            at += upto - at % CHUNK;
        }
        Ok(end - start)
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
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.read().length as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.content.write().set_length(length as usize);
        Ok(())
    }
}

impl Chunks {
    /// Writes at a position that is at most the length.
    fn write(&mut self, mut position: usize, mut bytes: &[u8]) {
        let overwritten = bytes.len().min(self.length - position);
        let (over, append) = bytes.split_at(overwritten);
        bytes = over;
        while !bytes.is_empty() {
            let chunk = &mut self.chunks[position / CHUNK];
            let count = bytes.len().min(chunk.len() - position % CHUNK);
            chunk[position % CHUNK..position % CHUNK + count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            position += count;
        }
        self.append(append);
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.length.is_multiple_of(CHUNK) {
                // The first chunk grows, since most files are small; later ones are whole from the start.
                let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
                self.chunks.push(Vec::with_capacity(capacity));
            }
            let chunk = self
                .chunks
                .last_mut()
                .expect("a chunk was pushed when the last one was full");
            let count = bytes.len().min(CHUNK - chunk.len());
            chunk.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.length += count;
        }
    }

    fn set_length(&mut self, length: usize) {
        while self.length < length {
            let zeros = [0; 4096];
            self.append(&zeros[..zeros.len().min(length - self.length)]);
        }
        self.chunks.truncate(length.div_ceil(CHUNK));
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(if length.is_multiple_of(CHUNK) {
                CHUNK
            } else {
                length % CHUNK
            });
        }
        self.length = length;
    }
}
