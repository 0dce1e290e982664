//! The sparse indexes beside a segment, in Kafka's format and by Kafka's rules, so that Kafka's tools accept them.
//!
//! ```text
//! .index       one entry:  0  u32  last offset of a batch, relative to the segment's base offset
//!                          4  u32  position of that batch in the .log file
//! .timeindex   one entry:  0  i64  the largest timestamp in the segment so far
//!                          8  u32  last offset of the batch that has it, relative to the base offset
//! ```
//! Numbers are big-endian; entries are sorted by their first number, strictly. An entry is made at most every
//! `index.interval.bytes`, at a batch boundary. The file ends with the last entry that was flushed; entries since then are in
//! memory, and recovery makes them again from the log. Lookups run beside the one writer.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::access::{self, Access, Stop};
use crate::disk::{Disk, DiskFile};
use crate::error::{Context, LogError};

/// A lookup in the file ends with one read of at most this many bytes.
const BLOCK_BYTES: usize = 4096;

/// Entries in memory beyond which the writer flushes: some KiB for each partition that is written to.
pub(crate) const FLUSH_ENTRIES: usize = 512;

/// A kind of index entry.
pub(crate) trait Entry: Copy + Send + Sync {
    const LENGTH: usize;
    type Key: Ord + Copy;
    fn key(&self) -> Self::Key;
    fn encode(&self, into: &mut Vec<u8>);
    fn decode(bytes: &[u8]) -> Self;
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
}

impl Entry for OffsetEntry {
    const LENGTH: usize = 8;
    type Key = u32;

    fn key(&self) -> u32 {
        self.relative_offset
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        OffsetEntry {
            relative_offset: u32_at(bytes, 0),
            position: u32_at(bytes, 4),
        }
    }
}

/// Which batch has the largest timestamp up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative_offset: u32,
}

impl Entry for TimeEntry {
    const LENGTH: usize = 12;
    type Key = i64;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let timestamp = i64::from_be_bytes(bytes[..8].try_into().expect("an entry has 12 bytes"));
        TimeEntry {
            timestamp,
            relative_offset: u32_at(bytes, 8),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

/// An index file with its unflushed end.
#[derive(Debug)]
pub(crate) struct SparseIndex<E> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Opened by the first reader who needs it: most segments of most partitions are never looked up.
    file: OnceLock<Arc<dyn DiskFile>>,
    entries: RwLock<Entries<E>>,
}

#[derive(Debug)]
struct Entries<E> {
    in_file: u32,
    in_memory: Vec<E>,
    last: Option<E>,
}

impl<E: Entry> SparseIndex<E> {
    /// An index file that exists, of which the first `count` entries are good.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: PathBuf, count: u32) -> Result<Self, LogError> {
        let index = SparseIndex {
            disk: Arc::clone(disk),
            path,
            file: OnceLock::new(),
            entries: RwLock::new(Entries {
                in_file: count,
                in_memory: Vec::new(),
                last: None,
            }),
        };
        let last = if count == 0 {
            None
        } else {
            let file = index.handle()?;
            let last = index.read_from(file.as_ref(), count - 1, 1, Access::Blocking);
            Some(last.map_err(Stop::into_error)?[0])
        };
        index.entries.write().last = last;
        Ok(index)
    }

    /// Creates the file, or empties the one there is.
    pub(crate) fn create(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<Self, LogError> {
        disk.create(&path).context("create", &path)?;
        Self::open(disk, path, 0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Entries, flushed or not.
    pub(crate) fn count(&self) -> u32 {
        let entries = self.entries.read();
        entries.in_file + entries.in_memory.len() as u32
    }

    /// Entries that only memory has.
    pub(crate) fn unflushed(&self) -> usize {
        self.entries.read().in_memory.len()
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.entries.read().last
    }

    /// Adds an entry unless it does not come after the last one.
    pub(crate) fn push(&self, entry: E) {
        let mut entries = self.entries.write();
        if entries.last.is_none_or(|last| entry.key() > last.key()) {
            entries.in_memory.push(entry);
            entries.last = Some(entry);
        }
    }

    /// Brings the entries in memory to the file; called by the writer only.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let mut bytes = Vec::new();
        let (in_file, count) = {
            let entries = self.entries.read();
            entries
                .in_memory
                .iter()
                .for_each(|entry| entry.encode(&mut bytes));
            (entries.in_file, entries.in_memory.len())
        };
        if count == 0 {
            return Ok(());
        }
        let position = u64::from(in_file) * E::LENGTH as u64;
        self.handle()?
            .write_at(position, &[IoSlice::new(&bytes)])
            .context("write", &self.path)?;
        let mut entries = self.entries.write();
        entries.in_file += count as u32;
        entries.in_memory = Vec::new();
        Ok(())
    }

    /// Cuts what the file has beyond its good entries.
    pub(crate) fn trim(&self) -> Result<(), LogError> {
        let length = u64::from(self.entries.read().in_file) * E::LENGTH as u64;
        let file = self.handle()?;
        if file.len().context("measure", &self.path)? > length {
            file.set_len(length).context("cut", &self.path)?;
        }
        Ok(())
    }

    /// The last entry whose key is at most `key`.
    pub(crate) fn floor(&self, key: E::Key, access: Access) -> Result<Option<E>, Stop> {
        let in_file = {
            let entries = self.entries.read();
            let after = entries
                .in_memory
                .partition_point(|entry| entry.key() <= key);
            if after > 0 {
                return Ok(Some(entries.in_memory[after - 1]));
            }
            entries.in_file
        };
        self.floor_in_file(key, in_file, access)
    }

    /// As `floor`, but looks in memory only: `None` also when the entry is in the file.
    pub(crate) fn floor_in_memory(&self, key: E::Key) -> Option<E> {
        let entries = self.entries.read();
        let after = entries
            .in_memory
            .partition_point(|entry| entry.key() <= key);
        after.checked_sub(1).map(|at| entries.in_memory[at])
    }

    /// The first entry that only memory has: everything before it lies in the file.
    pub(crate) fn first_in_memory(&self) -> Option<E> {
        self.entries.read().in_memory.first().copied()
    }

    fn floor_in_file(&self, key: E::Key, count: u32, access: Access) -> Result<Option<E>, Stop> {
        let per_block = (BLOCK_BYTES / E::LENGTH) as u32;
        // The block wanted is the last one whose first entry is at most the key.
        let (mut low, mut high) = (0, count.div_ceil(per_block));
        while low + 1 < high {
            let middle = low.midpoint(high);
            if self.read_entry(middle * per_block, access)?.key() <= key {
                low = middle
            } else {
                high = middle
            }
        }
        let first = low * per_block;
        let block = self.read_entries(first, per_block.min(count - first), access)?;
        let after = block.partition_point(|entry| entry.key() <= key);
        Ok(after.checked_sub(1).map(|at| block[at]))
    }

    fn read_entry(&self, number: u32, access: Access) -> Result<E, Stop> {
        let entries = self.read_entries(number, 1, access)?;
        Ok(entries[0])
    }

    /// All entries, for a deep check.
    pub(crate) fn all(&self) -> Result<Vec<E>, LogError> {
        let (in_file, in_memory) = {
            let entries = self.entries.read();
            (entries.in_file, entries.in_memory.clone())
        };
        let mut all = self
            .read_entries(0, in_file, Access::Blocking)
            .map_err(Stop::into_error)?;
        all.extend(in_memory);
        Ok(all)
    }

    /// Exactly `count` entries from `first` on.
    fn read_entries(&self, first: u32, count: u32, access: Access) -> Result<Vec<E>, Stop> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.read_from(self.file()?.as_ref(), first, count, access)
    }

    fn read_from(
        &self,
        file: &dyn DiskFile,
        first: u32,
        count: u32,
        access: Access,
    ) -> Result<Vec<E>, Stop> {
        let length = count as usize * E::LENGTH;
        let position = u64::from(first) * E::LENGTH as u64;
        let bytes = access::read(file, &self.path, position, length, access)?;
        if bytes.len() < length {
            let short = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(Stop::Failed(LogError::Io {
                operation: "read",
                path: self.path.clone(),
                source: short,
            }));
        }
        Ok(bytes.chunks_exact(E::LENGTH).map(E::decode).collect())
    }

    /// Makes what was flushed durable.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        self.handle()?.sync().context("sync", &self.path)
    }

    /// The file for one use by its writer. It is not kept open: 10,000 partitions would have 20,000 index files open, which is more
    /// than many systems allow.
    fn handle(&self) -> Result<Arc<dyn DiskFile>, LogError> {
        if let Some(file) = self.file.get() {
            return Ok(Arc::clone(file));
        }
        let opened = self.disk.open(&self.path).context("open", &self.path);
        // Whoever takes the name away has opened the file before that.
        opened.or_else(|error| self.file.get().map(Arc::clone).ok_or(error))
    }

    /// The open file, so that it stays readable when its name goes.
    pub(crate) fn file(&self) -> Result<&Arc<dyn DiskFile>, LogError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.disk.open(&self.path).context("open", &self.path)?;
        Ok(self.file.get_or_init(|| file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use proptest::prelude::*;

    fn index<E: Entry>() -> (Arc<dyn Disk>, SparseIndex<E>) {
        let disk = MemoryDisk::shared();
        let index = SparseIndex::create(&disk, PathBuf::from("0.index")).unwrap();
        (disk, index)
    }

    #[test]
    fn an_offset_entry_is_two_big_endian_words() {
        let (disk, index) = index();
        index.push(OffsetEntry {
            relative_offset: 7,
            position: 4200,
        });
        index.push(OffsetEntry {
            relative_offset: 258,
            position: 65_536,
        });
        index.flush().unwrap();
        let bytes = disk.read_small(Path::new("0.index"), 100).unwrap().unwrap();
        assert_eq!(
            bytes,
            [0, 0, 0, 7, 0, 0, 0x10, 0x68, 0, 0, 1, 2, 0, 1, 0, 0]
        );
    }

    #[test]
    fn a_time_entry_is_a_timestamp_and_an_offset() {
        let (disk, index) = index();
        index.push(TimeEntry {
            timestamp: 0x0192_3456_789A,
            relative_offset: 9,
        });
        index.flush().unwrap();
        let bytes = disk.read_small(Path::new("0.index"), 100).unwrap().unwrap();
        assert_eq!(
            bytes,
            [0, 0, 0x01, 0x92, 0x34, 0x56, 0x78, 0x9A, 0, 0, 0, 9]
        );
    }

    #[test]
    fn an_entry_that_does_not_come_later_is_left_out() {
        let (_, index) = index();
        for timestamp in [5, 5, 4, 6] {
            index.push(TimeEntry {
                timestamp,
                relative_offset: 1,
            });
        }
        assert_eq!(
            index
                .all()
                .unwrap()
                .iter()
                .map(|entry| entry.timestamp)
                .collect::<Vec<_>>(),
            [5, 6]
        );
    }

    proptest! {
        #[test]
        fn a_lookup_equals_a_linear_scan(
            keys in proptest::collection::btree_set(0u32..20_000, 0..2_000),
            flushed in 0.0f64..=1.0,
            wanted in proptest::collection::vec(0u32..20_100, 20),
        ) {
            let entries: Vec<OffsetEntry> = keys.iter().map(|key| OffsetEntry { relative_offset: *key, position: key * 3 }).collect();
            let (_, index) = index();
            let split = (entries.len() as f64 * flushed) as usize;
            entries[..split].iter().for_each(|entry| index.push(*entry));
            index.flush().unwrap();
            entries[split..].iter().for_each(|entry| index.push(*entry));
            for key in wanted {
                let expected = entries.iter().rev().find(|entry| entry.relative_offset <= key).copied();
                prop_assert_eq!(index.floor(key, Access::CachedOnly).unwrap(), expected);
            }
        }
    }
}
