//! What recovery may rely on, in the file `thalweg.checkpoint` of a partition's directory (Kafka's tools ignore the name).
//!
//! Two slots, written in turn, so that a torn write leaves the other one. The valid slot with the higher generation counts;
//! with none, recovery scans the whole log. A slot only claims bytes that were synced before it was written.
//!
//! ```text
//! slot:  at 0 and at 2 MiB (the file is sparse)
//!    0   8 bytes  "THWLGCP1"
//!    8   u64      generation
//!   16   u32      length of the body
//!   20   u32      CRC-32C of bytes 8 to 20 and of the body
//!   24   body
//! body:
//!    0   i64      log start offset
//!    8   i64      base offset of the segment that was active
//!   16   u64      bytes of that segment that are good and synced
//!   24   i64      offset of the next record after them
//!   32   i64      largest timestamp in that segment so far, -1 for none
//!   40   i64      last offset of the batch that has it
//!   48   i64      largest timestamp of the segment's first batch
//!   56   u64      bytes since the last index entry
//!   64   u32      entries in .index that are good and synced
//!   68   u32      entries in .timeindex that are good and synced
//!   72   u32      number of damaged ranges, then for each
//!                   i64 base offset of its segment, u64 start, u64 end, i64 offset expected at start, i64 offset at end
//!        u32      length of the producer snapshot, then the snapshot as the caller gave it
//!        i64      offset before which everything is compacted
//!        u32      number of open transactions, then for each
//!                   i64 producer id, i64 first offset
//!        u32      number of transaction indexes, then for each
//!                   i64 base offset of its segment, u32 entries that are good and synced, u32 CRC-32C of them
//! ```
//! All numbers are big-endian. A body that ends earlier knows of no compaction or of no transactions.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};

use crate::disk::{Disk, DiskFile};
use crate::error::{Context, LogError};
use crate::offset::Offset;
use crate::partition::directories_of;
use crate::segment::{CorruptRange, MaxTimestamp, Progress};
use crate::transaction_index::Claim;

/// The name of the checkpoint in a partition's directory.
pub(crate) const FILE_NAME: &str = "thalweg.checkpoint";

/// The most bytes a producer snapshot may have.
pub const MAX_PRODUCER_SNAPSHOT: usize = (2 << 20) - (512 << 10);

const MAGIC: [u8; 8] = *b"THWLGCP1";
const SLOT_STRIDE: u64 = 2 << 20;
const HEADER: usize = 24;
const FIRST_READ: usize = 4096;
const MAX_CORRUPT_RANGES: usize = 1024;
/// The newest ones; those of earlier segments are then taken as they are.
const MAX_TRANSACTION_INDEXES: usize = 4096;

/// The content of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) log_start: Offset,
    pub(crate) segment: Offset,
    pub(crate) progress: Progress,
    pub(crate) next_offset: Offset,
    pub(crate) index_entries: u32,
    pub(crate) time_index_entries: u32,
    pub(crate) corrupt: Vec<(Offset, CorruptRange)>,
    pub(crate) producer_snapshot: Vec<u8>,
    /// As the file knows it; whoever writes a checkpoint need not.
    pub(crate) compacted_end: Offset,
    /// Producer ids with the first offset of their open transaction.
    pub(crate) open_transactions: Vec<(i64, Offset)>,
    /// The indexes that have entries, by the base offsets of their segments.
    pub(crate) transaction_indexes: Vec<(Offset, Claim)>,
}

/// Bytes of an open transaction.
const OPEN_TRANSACTION: usize = 16;
/// The most bytes that a snapshot and open transactions may have together.
pub(crate) const MAX_STATE: usize = MAX_PRODUCER_SNAPSHOT + (256 << 10);

impl Checkpoint {
    /// The bytes of what grows with the number of producers.
    pub(crate) fn state_bytes(&self) -> usize {
        self.producer_snapshot.len() + self.open_transactions.len() * OPEN_TRANSACTION
    }

    /// Nothing is known but where the log starts: everything is scanned.
    pub(crate) fn unknown(log_start: Offset) -> Checkpoint {
        Checkpoint {
            log_start,
            segment: Offset(-1),
            progress: Progress::START,
            next_offset: Offset(-1),
            index_entries: 0,
            time_index_entries: 0,
            corrupt: Vec::new(),
            producer_snapshot: Vec::new(),
            compacted_end: Offset::ZERO,
            open_transactions: Vec::new(),
            transaction_indexes: Vec::new(),
        }
    }

    /// Whether there is a point from which on a scan suffices.
    pub(crate) fn has_recovery_point(&self) -> bool {
        self.segment.0 >= 0
    }

    /// Whether it says how the transaction index of this segment must look.
    pub(crate) fn knows_transaction_index(&self, segment: Offset) -> bool {
        let claims = &self.transaction_indexes;
        claims.len() < MAX_TRANSACTION_INDEXES || claims[0].0 <= segment
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(128 + self.producer_snapshot.len());
        let progress = &self.progress;
        for number in [
            self.log_start.0,
            self.segment.0,
            progress.position as i64,
            self.next_offset.0,
        ] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        for number in [
            progress.max.timestamp,
            progress.max.offset.0,
            progress.first_timestamp,
            progress.bytes_since_entry as i64,
        ] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        let ranges = &self.corrupt[..self.corrupt.len().min(MAX_CORRUPT_RANGES)];
        for number in [
            self.index_entries,
            self.time_index_entries,
            ranges.len() as u32,
        ] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        for (segment, range) in ranges {
            for number in [
                segment.0,
                range.start as i64,
                range.end as i64,
                range.first_offset.0,
                range.next_offset.0,
            ] {
                body.extend_from_slice(&number.to_be_bytes());
            }
        }
        body.extend_from_slice(&(self.producer_snapshot.len() as u32).to_be_bytes());
        body.extend_from_slice(&self.producer_snapshot);
        body.extend_from_slice(&self.compacted_end.0.to_be_bytes());
        self.encode_transactions(&mut body);
        body
    }

    fn encode_transactions(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&(self.open_transactions.len() as u32).to_be_bytes());
        for (producer_id, first_offset) in &self.open_transactions {
            body.extend_from_slice(&producer_id.to_be_bytes());
            body.extend_from_slice(&first_offset.0.to_be_bytes());
        }
        let count = self.transaction_indexes.len();
        let newest = &self.transaction_indexes[count.saturating_sub(MAX_TRANSACTION_INDEXES)..];
        body.extend_from_slice(&(newest.len() as u32).to_be_bytes());
        for (segment, claim) in newest {
            body.extend_from_slice(&segment.0.to_be_bytes());
            body.extend_from_slice(&claim.entries.to_be_bytes());
            body.extend_from_slice(&claim.crc.to_be_bytes());
        }
    }

    fn decode(body: &[u8]) -> Option<Checkpoint> {
        let mut fields = Fields(body);
        let (log_start, segment, position, next_offset) =
            (fields.i64()?, fields.i64()?, fields.i64()?, fields.i64()?);
        let max = MaxTimestamp {
            timestamp: fields.i64()?,
            offset: Offset(fields.i64()?),
        };
        let (first_timestamp, bytes_since_entry) = (fields.i64()?, fields.i64()? as u64);
        let (index_entries, time_index_entries, ranges) =
            (fields.u32()?, fields.u32()?, fields.u32()?);
        let mut corrupt = Vec::new();
        for _ in 0..ranges {
            corrupt.push((Offset(fields.i64()?), fields.corrupt_range()?));
        }
        let snapshot = fields.u32()? as usize;
        let producer_snapshot = fields.take(snapshot)?.to_vec();
        let compacted_end = match fields.0 {
            [] => Offset::ZERO,
            _ => Offset(fields.i64()?),
        };
        let (open_transactions, transaction_indexes) = match fields.0 {
            [] => Default::default(),
            _ => (fields.open_transactions()?, fields.transaction_indexes()?),
        };
        Some(Checkpoint {
            log_start: Offset(log_start),
            segment: Offset(segment),
            progress: Progress {
                position: position as u64,
                max,
                first_timestamp,
                bytes_since_entry,
            },
            next_offset: Offset(next_offset),
            index_entries,
            time_index_entries,
            corrupt,
            producer_snapshot,
            compacted_end,
            open_transactions,
            transaction_indexes,
        })
    }
}

/// Reads numbers off the front of a body; `None` at its end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn open_transactions(&mut self) -> Option<Vec<(i64, Offset)>> {
        let count = self.u32()?;
        (0..count)
            .map(|_| Some((self.i64()?, Offset(self.i64()?))))
            .collect()
    }

    fn transaction_indexes(&mut self) -> Option<Vec<(Offset, Claim)>> {
        let count = self.u32()?;
        let claim = |fields: &mut Self| {
            Some(Claim {
                entries: fields.u32()?,
                crc: fields.u32()?,
            })
        };
        (0..count)
            .map(|_| Some((Offset(self.i64()?), claim(self)?)))
            .collect()
    }

    fn corrupt_range(&mut self) -> Option<CorruptRange> {
        Some(CorruptRange {
            start: self.i64()? as u64,
            end: self.i64()? as u64,
            first_offset: Offset(self.i64()?),
            next_offset: Offset(self.i64()?),
        })
    }
}

/// The checkpoint file of one partition. One at a time writes it; the log keeps it behind a lock.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    generation: u64,
    exists: bool,
    /// Whether this process has synced the directories since the file was there; who created it may have died before doing so.
    is_named_durably: bool,
    /// The log is deleted: what still runs must not write into a directory that has taken its name since.
    is_retired: bool,
    log_start: Offset,
    compacted_end: Offset,
    /// Up to where the latest checkpoint goes.
    next_offset: Offset,
}

impl CheckpointFile {
    /// Reads the latest valid slot, if there is one.
    pub(crate) fn load(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        exists: bool,
    ) -> Result<(CheckpointFile, Option<Checkpoint>), LogError> {
        let path = dir.join(FILE_NAME);
        let mut checkpoint_file = CheckpointFile {
            disk: Arc::clone(disk),
            path,
            generation: 0,
            exists,
            is_named_durably: false,
            is_retired: false,
            log_start: Offset::ZERO,
            compacted_end: Offset::ZERO,
            next_offset: Offset(-1),
        };
        let latest = checkpoint_file.latest()?;
        if let Some((generation, checkpoint)) = &latest {
            checkpoint_file.generation = *generation;
            checkpoint_file.log_start = checkpoint.log_start;
            checkpoint_file.compacted_end = checkpoint.compacted_end;
            checkpoint_file.next_offset = checkpoint.next_offset;
        }
        Ok((checkpoint_file, latest.map(|(_, checkpoint)| checkpoint)))
    }

    /// Makes what was loaded durable: a process that was killed may have written it and not synced it.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        if !self.exists {
            return Ok(());
        }
        let file = self.disk.open(&self.path).context("open", &self.path)?;
        file.sync().context("sync", &self.path)
    }

    /// Writes nothing from now on: its log is deleted, and another may have the name next.
    pub(crate) fn retire(&mut self) {
        self.is_retired = true;
    }

    /// # Errors
    /// When the log is deleted, so that its directory may have another's name.
    pub(crate) fn check_in_force(&self) -> Result<(), LogError> {
        match self.is_retired {
            true => Err(std::io::ErrorKind::NotFound.into())
                .context("change the files of a deleted log", &self.path),
            false => Ok(()),
        }
    }

    /// The offset before which everything is compacted.
    pub(crate) fn compacted_end(&self) -> Offset {
        self.compacted_end
    }

    /// Makes durable how far the log is compacted, and leaves the rest of the checkpoint as it is.
    pub(crate) fn write_compacted_end(&mut self, end: Offset) -> Result<(), LogError> {
        self.compacted_end = self.compacted_end.max(end);
        self.write_log_start(self.log_start)
    }

    /// Forgets that anything is compacted: what the offsets name may have been lost, and others get them.
    pub(crate) fn reset_compacted_end(&mut self) {
        self.compacted_end = Offset::ZERO;
    }

    /// Makes the earlier slot unreadable if it names a segment before `offset`, which is about to be replaced: recovery must not
    /// fall back to a position in a file that is no more.
    pub(crate) fn forget_before(&mut self, offset: Offset) -> Result<(), LogError> {
        self.check_in_force()?;
        if !self.exists {
            return Ok(());
        }
        let file = self.disk.open(&self.path).context("open", &self.path)?;
        let position = ((self.generation + 1) % 2) * SLOT_STRIDE;
        let earlier = read_slot(file.as_ref(), position).context("read", &self.path)?;
        let is_stale = earlier.is_some_and(|(_, checkpoint)| {
            checkpoint.has_recovery_point() && checkpoint.segment < offset
        });
        if !is_stale {
            return Ok(());
        }
        file.write_at(position, &[IoSlice::new(&[0; HEADER])])
            .context("write", &self.path)?;
        file.sync().context("sync", &self.path)
    }

    /// Writes a checkpoint and makes it durable. The log start never goes back, and what was begun before the latest one is left out.
    pub(crate) fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), LogError> {
        self.check_in_force()?;
        if checkpoint.has_recovery_point() && checkpoint.next_offset < self.next_offset {
            return Ok(());
        }
        let log_start = checkpoint.log_start.max(self.log_start);
        let body = Checkpoint {
            log_start,
            compacted_end: self.compacted_end,
            ..checkpoint.clone()
        }
        .encode();
        let generation = self.generation + 1;
        let header = slot_header(generation, &body);
        let file = if self.exists {
            self.disk.open(&self.path)
        } else {
            self.disk.create(&self.path)
        };
        let file = file.context("open", &self.path)?;
        let position = (generation % 2) * SLOT_STRIDE;
        let written = file
            .write_at(position, &[IoSlice::new(&header), IoSlice::new(&body)])
            .context("write", &self.path)
            .and_then(|()| file.sync().context("sync", &self.path));
        if written.is_err() {
            // Reads may show a slot that never reaches the disk: nobody is to believe it.
            let _ = file.write_at(position, &[IoSlice::new(&[0; HEADER])]);
        }
        written?;
        self.exists = true;
        if !self.is_named_durably {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            for dir in directories_of(dir) {
                self.disk.sync_dir(&dir).context("sync", dir)?;
            }
            self.is_named_durably = true;
        }
        self.generation = generation;
        self.log_start = log_start;
        self.next_offset = checkpoint.next_offset;
        Ok(())
    }

    /// Makes a later log start durable and leaves the rest of the checkpoint as it is.
    pub(crate) fn write_log_start(&mut self, log_start: Offset) -> Result<(), LogError> {
        let latest = self.latest()?.map(|(_, checkpoint)| checkpoint);
        let checkpoint = latest.unwrap_or_else(|| Checkpoint::unknown(log_start));
        self.write(&Checkpoint {
            log_start,
            ..checkpoint
        })
    }

    fn latest(&self) -> Result<Option<(u64, Checkpoint)>, LogError> {
        if !self.exists {
            return Ok(None);
        }
        let file = self.disk.open(&self.path).context("open", &self.path)?;
        let slots = [
            read_slot(file.as_ref(), 0),
            read_slot(file.as_ref(), SLOT_STRIDE),
        ];
        let mut latest: Option<(u64, Checkpoint)> = None;
        for slot in slots {
            let slot = slot.context("read", &self.path)?;
            let is_later = slot.as_ref().is_some_and(|(generation, _)| {
                latest.as_ref().is_none_or(|(known, _)| generation > known)
            });
            if is_later {
                latest = slot;
            }
        }
        Ok(latest)
    }
}

fn slot_header(generation: u64, body: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&generation.to_be_bytes());
    header[16..20].copy_from_slice(&(body.len() as u32).to_be_bytes());
    let crc = slot_crc(&header, body);
    header[20..].copy_from_slice(&crc.to_be_bytes());
    header
}

fn slot_crc(header: &[u8], body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&header[8..20]);
    digest.update(body);
    digest.finalize() as u32
}

/// The slot at a position, or `None` if it was never written or is damaged.
fn read_slot(file: &dyn DiskFile, position: u64) -> std::io::Result<Option<(u64, Checkpoint)>> {
    let mut slot = Vec::new();
    file.read_at(position, FIRST_READ, &mut slot)?;
    if slot.len() < HEADER || slot[..8] != MAGIC {
        return Ok(None);
    }
    let number =
        |at: usize| u32::from_be_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
    let (length, crc) = (HEADER + number(16) as usize, number(20));
    if length as u64 > SLOT_STRIDE {
        return Ok(None);
    }
    if let Some(rest) = length.checked_sub(slot.len()) {
        file.read_at(position + slot.len() as u64, rest, &mut slot)?;
    }
    let Some(body) = slot
        .get(HEADER..length)
        .filter(|body| slot_crc(&slot[..HEADER], body) == crc)
    else {
        return Ok(None);
    };
    let generation = u64::from_be_bytes(slot[8..16].try_into().expect("eight bytes were taken"));
    Ok(Checkpoint::decode(body).map(|checkpoint| (generation, checkpoint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimDisk};

    fn checkpoint(next_offset: i64) -> Checkpoint {
        let corrupt = CorruptRange {
            start: 10,
            end: 20,
            first_offset: Offset(1),
            next_offset: Offset(2),
        };
        Checkpoint {
            segment: Offset(0),
            next_offset: Offset(next_offset),
            index_entries: 3,
            corrupt: vec![(Offset(0), corrupt)],
            producer_snapshot: vec![7; 10_000],
            open_transactions: vec![(4_000, Offset(3)), (4_001, Offset(4))],
            transaction_indexes: vec![(
                Offset(0),
                Claim {
                    entries: 2,
                    crc: 0xDEAD_BEEF,
                },
            )],
            ..Checkpoint::unknown(Offset(1))
        }
    }

    fn load(disk: &SimDisk, exists: bool) -> (CheckpointFile, Option<Checkpoint>) {
        CheckpointFile::load(&disk.shared(), Path::new("p-0"), exists).unwrap()
    }

    fn disk_with(checkpoints: &[Checkpoint]) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new("p-0")).unwrap();
        let (mut file, _) = load(&disk, false);
        checkpoints
            .iter()
            .for_each(|checkpoint| file.write(checkpoint).unwrap());
        disk
    }

    #[test]
    fn the_latest_checkpoint_is_read_back() {
        let disk = disk_with(&[checkpoint(5), checkpoint(6), checkpoint(7)]);
        assert_eq!(load(&disk, true).1, Some(checkpoint(7)));
    }

    #[test]
    fn a_checkpoint_that_took_longer_does_not_replace_a_later_one() {
        let disk = disk_with(&[checkpoint(6), checkpoint(5)]);
        assert_eq!(load(&disk, true).1, Some(checkpoint(6)));
        let (mut file, _) = load(&disk, true);
        file.write(&Checkpoint::unknown(Offset(1))).unwrap();
        file.write(&checkpoint(5)).unwrap();
        assert_eq!(load(&disk, true).1, Some(checkpoint(5)));
    }

    #[test]
    fn a_body_from_before_transactions_is_read() {
        let old = Checkpoint {
            open_transactions: Vec::new(),
            transaction_indexes: Vec::new(),
            ..checkpoint(5)
        };
        let mut body = old.encode();
        body.truncate(body.len() - 8);
        assert_eq!(Checkpoint::decode(&body), Some(old));
    }

    #[test]
    fn a_torn_slot_falls_back_to_the_one_before() {
        let disk = disk_with(&[checkpoint(5), checkpoint(6)]);
        disk.damage(&Path::new("p-0").join(FILE_NAME), |bytes| bytes[9_000] ^= 1);
        assert_eq!(load(&disk, true).1, Some(checkpoint(5)));
    }

    #[test]
    fn two_damaged_slots_are_no_checkpoint() {
        let disk = disk_with(&[checkpoint(5), checkpoint(6)]);
        disk.damage(&Path::new("p-0").join(FILE_NAME), |bytes| bytes.fill(0xFF));
        assert_eq!(load(&disk, true).1, None);
    }

    #[test]
    fn a_failed_write_leaves_the_checkpoint_before() {
        let disk = disk_with(&[checkpoint(5)]);
        let (mut file, _) = load(&disk, true);
        disk.fail_nth(1, Fault::NoSpace);
        assert!(file.write(&checkpoint(6)).unwrap_err().is_disk_full());
        assert_eq!(load(&disk, true).1, Some(checkpoint(5)));
    }

    #[test]
    fn the_log_start_moves_alone_and_never_back() {
        let disk = disk_with(&[checkpoint(5)]);
        let (mut file, _) = load(&disk, true);
        file.write_log_start(Offset(4)).unwrap();
        file.write(&checkpoint(9)).unwrap();
        assert_eq!(
            load(&disk, true).1,
            Some(Checkpoint {
                log_start: Offset(4),
                ..checkpoint(9)
            })
        );
    }
}
