//! The aborted transactions whose markers lie in a segment, in the file `%020d.txnindex`, in Kafka's format:
//!
//! ```text
//! one entry, 34 bytes
//!    0  i16  version, 0
//!    2  i64  producer id
//!   10  i64  offset of the transaction's first record
//!   18  i64  offset of its marker
//!   26  i64  last stable offset when it was aborted
//! ```
//! Numbers are big-endian; entries are sorted by the markers' offsets. There is no file before the first entry. An entry is
//! written with its marker and read from the file. The format has no checksum: the checkpoint has one of what it claims.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crc_fast::{CrcAlgorithm, Digest};
use parking_lot::Mutex;

use crate::access::{self, Access, Stop};
use crate::disk::{Disk, DiskFile};
use crate::error::{Context, LogError};
use crate::offset::Offset;
use crate::transactions::AbortedTransaction;

pub(crate) const EXTENSION: &str = "txnindex";
const ENTRY: usize = 34;
const VERSION: i16 = 0;
/// Entries that are read at a time: some 4 KiB.
const BLOCK_ENTRIES: u32 = 120;

/// What a checkpoint says of an index: so many entries with this checksum are good and synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) entries: u32,
    pub(crate) crc: u32,
}

/// The index of one segment. One writer, any number of readers.
#[derive(Debug)]
pub(crate) struct TransactionIndex {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// There from the first entry on.
    file: OnceLock<Arc<dyn DiskFile>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: u32,
    /// Of the entries. Most segments have none, and a digest takes 300 bytes.
    digest: Option<Box<Digest>>,
}

impl State {
    fn add(&mut self, bytes: &[u8]) {
        self.entries += (bytes.len() / ENTRY) as u32;
        self.digest
            .get_or_insert_with(|| Box::new(digest()))
            .update(bytes);
    }
}

fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

impl TransactionIndex {
    /// An index without entries and without a file; one that lies there is emptied by the first entry.
    pub(crate) fn empty(disk: &Arc<dyn Disk>, path: PathBuf) -> TransactionIndex {
        TransactionIndex {
            disk: Arc::clone(disk),
            path,
            file: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// The index that a checkpoint claims, without anything that comes after; `None` when the file is not as it says.
    pub(crate) fn claimed(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        claim: Claim,
    ) -> Result<Option<TransactionIndex>, LogError> {
        let index = TransactionIndex::empty(disk, path);
        if !disk.exists(&index.path).context("look for", &index.path)? {
            return Ok((claim.entries == 0).then_some(index));
        }
        if claim.entries == 0 {
            disk.remove_file(&index.path)
                .context("remove", &index.path)?;
            return Ok(Some(index));
        }
        let file = disk.open(&index.path).context("open", &index.path)?;
        let length = claim.entries as usize * ENTRY;
        let mut bytes = Vec::new();
        file.read_at(0, length, &mut bytes)
            .context("read", &index.path)?;
        index.state.lock().add(&bytes);
        if bytes.len() < length || index.claim() != claim {
            return Ok(None);
        }
        if file.len().context("measure", &index.path)? > length as u64 {
            file.set_len(length as u64).context("cut", &index.path)?;
        }
        index.file.get_or_init(|| file);
        Ok(Some(index))
    }

    /// The index that lies there, of which no checkpoint says anything; `None` when it has a part of an entry.
    pub(crate) fn unclaimed(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
    ) -> Result<Option<TransactionIndex>, LogError> {
        let index = TransactionIndex::empty(disk, path);
        if !disk.exists(&index.path).context("look for", &index.path)? {
            return Ok(Some(index));
        }
        let file = disk.open(&index.path).context("open", &index.path)?;
        let length = file.len().context("measure", &index.path)?;
        let mut bytes = Vec::new();
        file.read_at(0, length as usize, &mut bytes)
            .context("read", &index.path)?;
        if bytes.chunks(ENTRY).map(decode).any(|entry| entry.is_none()) {
            return Ok(None);
        }
        index.state.lock().add(&bytes);
        index.file.get_or_init(|| file);
        Ok(Some(index))
    }

    /// Removes a file that lies there and is not this index's.
    pub(crate) fn remove_file(&self) -> Result<(), LogError> {
        if self
            .disk
            .exists(&self.path)
            .context("look for", &self.path)?
        {
            self.disk
                .remove_file(&self.path)
                .context("remove", &self.path)?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn claim(&self) -> Claim {
        let state = self.state.lock();
        Claim {
            entries: state.entries,
            crc: state.digest.as_ref().map_or(0, |digest| digest.finalize()) as u32,
        }
    }

    pub(crate) fn entries(&self) -> u32 {
        self.state.lock().entries
    }

    /// Whether there is a file: there is none before the first entry.
    pub(crate) fn has_file(&self) -> bool {
        self.file.get().is_some()
    }

    /// Adds entries, called by the writer only. Tells whether the file is new, so that its name must be synced.
    pub(crate) fn append(&self, aborted: &[AbortedTransaction]) -> Result<bool, LogError> {
        if aborted.is_empty() {
            return Ok(false);
        }
        let is_new = !self.has_file();
        if is_new {
            let file = self.disk.create(&self.path).context("create", &self.path)?;
            self.file.get_or_init(|| file);
        }
        let file = self.file.get().expect("the file was just created");
        let mut bytes = Vec::with_capacity(aborted.len() * ENTRY);
        for entry in aborted {
            encode(entry, &mut bytes);
        }
        let position = u64::from(self.entries()) * ENTRY as u64;
        file.write_at(position, &[IoSlice::new(&bytes)])
            .context("write", &self.path)?;
        self.state.lock().add(&bytes);
        Ok(is_new)
    }

    /// Makes the entries durable.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        match self.file.get() {
            Some(file) => file.sync().context("sync", &self.path),
            None => Ok(()),
        }
    }

    /// Adds those to `found` that a reader of `from` up to `upto` must pass over; `true` when later segments have no more of them.
    pub(crate) fn collect(
        &self,
        from: Offset,
        upto: Offset,
        access: Access,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, Stop> {
        let entries = self.entries();
        let mut next = self.first_ending_at_or_after(from, entries, access)?;
        while next < entries {
            let block = self.read(next, BLOCK_ENTRIES.min(entries - next), access)?;
            next += block.len() as u32;
            for entry in block {
                if entry.first_offset < upto {
                    found.push(entry);
                }
                if entry.last_stable_offset >= upto {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// All entries, for a deep check.
    pub(crate) fn all(&self) -> Result<Vec<AbortedTransaction>, LogError> {
        self.read(0, self.entries(), Access::Blocking)
            .map_err(Stop::into_error)
    }

    fn first_ending_at_or_after(
        &self,
        offset: Offset,
        entries: u32,
        access: Access,
    ) -> Result<u32, Stop> {
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.read(middle, 1, access)?[0].last_offset < offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Exactly `count` entries from `first` on.
    fn read(
        &self,
        first: u32,
        count: u32,
        access: Access,
    ) -> Result<Vec<AbortedTransaction>, Stop> {
        let Some(file) = self.file.get().filter(|_| count > 0) else {
            return Ok(Vec::new());
        };
        let position = u64::from(first) * ENTRY as u64;
        let length = count as usize * ENTRY;
        let bytes = access::read(file.as_ref(), &self.path, position, length, access)?;
        let entries: Option<Vec<_>> = bytes.chunks(ENTRY).map(decode).collect();
        let is_whole = bytes.len() == length;
        entries.filter(|_| is_whole).ok_or_else(|| {
            Stop::Failed(LogError::Corrupt {
                path: self.path.clone(),
                position,
                offset: Offset(-1),
                detail: "no whole entries of version 0 are here".to_owned(),
            })
        })
    }
}

fn encode(entry: &AbortedTransaction, into: &mut Vec<u8>) {
    into.extend_from_slice(&VERSION.to_be_bytes());
    for number in [
        entry.producer_id,
        entry.first_offset.0,
        entry.last_offset.0,
        entry.last_stable_offset.0,
    ] {
        into.extend_from_slice(&number.to_be_bytes());
    }
}

fn decode(bytes: &[u8]) -> Option<AbortedTransaction> {
    let (version, rest) = bytes.split_first_chunk::<2>()?;
    let number = |at: usize| Some(i64::from_be_bytes(rest.get(at..at + 8)?.try_into().ok()?));
    if i16::from_be_bytes(*version) != VERSION {
        return None;
    }
    Some(AbortedTransaction {
        producer_id: number(0)?,
        first_offset: Offset(number(8)?),
        last_offset: Offset(number(16)?),
        last_stable_offset: Offset(number(24)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn path() -> PathBuf {
        PathBuf::from("00000000000000000000.txnindex")
    }

    fn aborted(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id,
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    fn index_of(entries: &[AbortedTransaction]) -> (Arc<dyn Disk>, TransactionIndex) {
        let disk = MemoryDisk::shared();
        let index = TransactionIndex::empty(&disk, path());
        index.append(entries).unwrap();
        (disk, index)
    }

    fn file(disk: &Arc<dyn Disk>) -> Vec<u8> {
        disk.read_small(&path(), 1 << 20).unwrap().unwrap()
    }

    #[test]
    fn an_entry_is_a_version_and_four_big_endian_numbers() {
        let (disk, _) = index_of(&[aborted(4_000, 5, 260, 7)]);
        let expected = [
            [0, 0].as_slice(),
            &[0, 0, 0, 0, 0, 0, 0x0F, 0xA0],
            &[0, 0, 0, 0, 0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 1, 4],
            &[0, 0, 0, 0, 0, 0, 0, 7],
        ];
        assert_eq!(file(&disk), expected.concat());
    }

    #[test]
    fn there_is_no_file_before_the_first_entry() {
        let (disk, index) = index_of(&[]);
        assert!(!index.has_file());
        assert!(!disk.exists(index.path()).unwrap());
        assert!(index.append(&[aborted(1, 0, 1, 2)]).unwrap());
        assert!(!index.append(&[aborted(1, 2, 3, 4)]).unwrap());
        assert_eq!(index.entries(), 2);
    }

    #[test]
    fn what_is_claimed_is_taken_and_what_follows_is_cut() {
        let (disk, index) = index_of(&[aborted(1, 0, 1, 2)]);
        let claim = index.claim();
        index.append(&[aborted(2, 3, 4, 5)]).unwrap();
        let taken = TransactionIndex::claimed(&disk, path(), claim)
            .unwrap()
            .expect("as claimed");
        assert_eq!(taken.all().unwrap(), [aborted(1, 0, 1, 2)]);
        assert_eq!(file(&disk).len(), ENTRY);
        taken.append(&[aborted(2, 3, 4, 5)]).unwrap();
        assert_eq!(taken.claim(), index.claim());
    }

    #[test]
    fn a_file_that_is_missing_short_or_damaged_is_not_taken() {
        let entries = [aborted(1, 0, 1, 2), aborted(2, 3, 4, 5)];
        let damage: [fn(&dyn Disk, &Path); 3] = [
            |disk, path| disk.remove_file(path).unwrap(),
            |disk, path| disk.open(path).unwrap().set_len(60).unwrap(),
            |disk, path| {
                let file = disk.open(path).unwrap();
                file.write_at(9, &[IoSlice::new(&[9])]).unwrap();
            },
        ];
        for damage in damage {
            let (disk, index) = index_of(&entries);
            damage(disk.as_ref(), index.path());
            let taken = TransactionIndex::claimed(&disk, path(), index.claim()).unwrap();
            assert!(taken.is_none());
        }
    }

    #[test]
    fn a_file_of_which_nothing_is_claimed_goes() {
        let (disk, index) = index_of(&[aborted(1, 0, 1, 2)]);
        let taken = TransactionIndex::claimed(&disk, path(), Claim::default()).unwrap();
        assert_eq!(taken.expect("nothing is claimed").entries(), 0);
        assert!(!disk.exists(index.path()).unwrap());
    }

    #[test]
    fn a_reader_is_told_of_the_transactions_that_overlap_its_range() {
        // Of 1,000 transactions, each aborted right after its record; then one that holds the last stable offset back.
        let mut entries: Vec<_> = (0..1_000)
            .map(|number| {
                aborted(
                    number,
                    number * 2,
                    number * 2 + 1,
                    (number * 2 + 2).min(1_500),
                )
            })
            .collect();
        entries.push(aborted(5_000, 1_500, 2_100, 2_101));
        let (_, index) = index_of(&entries);
        let found = |from: i64, upto: i64| {
            let mut found = Vec::new();
            let (from, upto) = (Offset(from), Offset(upto));
            index
                .collect(from, upto, Access::Blocking, &mut found)
                .unwrap();
            found
                .iter()
                .map(|entry| entry.producer_id)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(0, 4), [0, 1]);
        assert_eq!(found(3, 6), [1, 2]);
        assert_eq!(found(1_999, 2_050), [999, 5_000]);
        assert_eq!(found(2_101, 2_200), [0_i64; 0]);
        assert_eq!(found(0, 2_000).len(), 1_001);
    }
}
