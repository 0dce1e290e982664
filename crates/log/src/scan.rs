//! Reads a segment's log file batch by batch with every checksum, for recovery and for the deep check.
//!
//! Bytes that are no good batch can be two things. A *torn* end: a write that a crash cut short, never acknowledged, so it is cut
//! off with all that follows. Or *damage* in the middle of acknowledged batches: it must stay, be reported, and never be served.
//! They are told apart by what follows and by what the bytes are:
//! - no good batch follows: torn;
//! - good batches follow, but a sector of the bad stretch is zeros: torn. Files only grow, so a sector that a power cut lost
//!   reads as zeros, and later sectors of the same unacknowledged write may well have survived;
//! - good batches follow and every sector has content: damage.

use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest};
use wire::records::{BatchHeader, EndTransactionMarker, MOST_MARKER_BYTES};

use crate::batch::{Glance, HEADER};
use crate::disk::DiskFile;
use crate::error::{Context, LogError};
use crate::index::FLUSH_ENTRIES;
use crate::offset::{ByteCount, Offset};
use crate::segment::{CorruptRange, Progress, Segment};

/// The checksum covers everything from the attributes on.
const CRC_FROM: u64 = 21;
const MAGIC_AT: usize = 16;
const SECTOR: u64 = 512;
const WINDOW: usize = 1 << 20;
/// A bad batch may claim to follow at most this far after the expected offset, else it is garbage that happens to look like one.
const MAX_GAP: i64 = i32::MAX as i64;

/// How far a scan came.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) progress: Progress,
    pub(crate) next_offset: Offset,
    pub(crate) batches: u64,
    /// Damaged stretches between good batches.
    pub(crate) corrupt: Vec<CorruptRange>,
    /// What begins at `progress.position`, if that is not the end of the file.
    pub(crate) tail: Option<Tail>,
}

/// Bytes after the last good batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) length: u64,
    /// Whether the bytes look like a write that a crash cut short, not like damage to bytes that were there.
    pub(crate) is_torn: bool,
}

/// Where a scan begins and ends, and how it indexes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) from: Progress,
    pub(crate) next_offset: Offset,
    pub(crate) upto: u64,
    pub(crate) interval: ByteCount,
}

/// What a scan tells of each good batch; a control batch may be the marker of a transaction.
pub(crate) type OnBatch<'a> =
    &'a mut dyn FnMut(&BatchHeader, Option<EndTransactionMarker>) -> Result<(), LogError>;

/// Scans a stretch of a segment, adds index entries to it, and tells `on_batch` of every good batch.
pub(crate) fn scan(
    segment: &Segment,
    range: Range,
    on_batch: OnBatch<'_>,
) -> Result<Scanned, LogError> {
    let mut file = LogBytes::new(segment.log.as_ref(), &segment.path, range.upto);
    let mut scanned = Scanned {
        progress: range.from,
        next_offset: range.next_offset,
        batches: 0,
        corrupt: Vec::new(),
        tail: None,
    };
    while scanned.progress.position < range.upto {
        let position = scanned.progress.position;
        if let Some(header) = file.good_batch(position, scanned.next_offset, segment.base_offset)? {
            scanned
                .progress
                .add(segment, &Glance::of(&header), range.interval);
            scanned.next_offset = Offset(header.last_offset()).next();
            scanned.batches += 1;
            on_batch(&header, file.marker(position, &header)?)?;
            if segment.index.unflushed() >= FLUSH_ENTRIES {
                segment.flush_indexes()?;
            }
            continue;
        }
        let follower = file.next_good_batch(position, scanned.next_offset, segment.base_offset)?;
        match follower {
            Some((end, next_offset))
                if !file.has_lost_sector(position, end, scanned.next_offset)? =>
            {
                let first_offset = scanned.next_offset;
                scanned.corrupt.push(CorruptRange {
                    start: position,
                    end,
                    first_offset,
                    next_offset,
                });
                scanned.progress.bytes_since_entry += end - position;
                scanned.progress.position = end;
                scanned.next_offset = next_offset;
            }
            _ => {
                let is_torn = follower.is_some()
                    || file.ends_within_batch(position)?
                    || file.has_lost_sector(position, range.upto, scanned.next_offset)?;
                let length = range.upto - position;
                scanned.tail = Some(Tail { length, is_torn });
                break;
            }
        }
    }
    Ok(scanned)
}

/// A log file seen through a window that moves forward.
pub(crate) struct LogBytes<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    length: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> LogBytes<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, path: &'a Path, length: u64) -> Self {
        LogBytes {
            file,
            path,
            length,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// Bytes from `at` on: `wanted` of them (at most a window), fewer only at the end.
    fn bytes(&mut self, at: u64, wanted: usize) -> Result<&[u8], LogError> {
        let wanted =
            wanted.min(usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX));
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + wanted as u64 > window_end {
            self.window.clear();
            let length = (self.length - at).min(WINDOW as u64) as usize;
            self.file
                .read_at(at, length, &mut self.window)
                .context("read", self.path)?;
            self.window_at = at;
        }
        let start = (at - self.window_at) as usize;
        let end = (start + wanted).min(self.window.len());
        Ok(&self.window[start..end])
    }

    /// The header of the batch at `at`, if it is whole, its checksum is right, and it does not begin before `expected`.
    pub(crate) fn good_batch(
        &mut self,
        at: u64,
        expected: Offset,
        base_offset: Offset,
    ) -> Result<Option<BatchHeader>, LogError> {
        let head = self.bytes(at, HEADER)?;
        let (Some(glance), Ok(header)) = (Glance::at(head), BatchHeader::decode(head)) else {
            return Ok(None);
        };
        let is_in_place = glance.base_offset >= expected
            && glance.base_offset - expected <= MAX_GAP
            && glance.last_offset - base_offset <= i64::from(i32::MAX)
            && at + glance.size <= self.length;
        if !is_in_place || self.crc(at + CRC_FROM, at + glance.size)? != header.crc {
            return Ok(None);
        }
        Ok(Some(header))
    }

    /// The marker in the good batch at `at`, if it is one.
    pub(crate) fn marker(
        &mut self,
        at: u64,
        header: &BatchHeader,
    ) -> Result<Option<EndTransactionMarker>, LogError> {
        if !header.is_control() {
            return Ok(None);
        }
        let length = header.total_length().min(MOST_MARKER_BYTES);
        let batch = self.bytes(at, length)?;
        Ok(EndTransactionMarker::of_batch(header, batch))
    }

    fn crc(&mut self, mut from: u64, to: u64) -> Result<u32, LogError> {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        while from < to {
            let chunk = self.bytes(from, (to - from).min(WINDOW as u64) as usize)?;
            if chunk.is_empty() {
                break;
            }
            digest.update(chunk);
            from += chunk.len() as u64;
        }
        Ok(digest.finalize() as u32)
    }

    /// The next good batch after a bad one at `bad`: its position and base offset.
    pub(crate) fn next_good_batch(
        &mut self,
        bad: u64,
        expected: Offset,
        base_offset: Offset,
    ) -> Result<Option<(u64, Offset)>, LogError> {
        let claimed = Glance::at(self.bytes(bad, HEADER)?).map(|batch| bad + batch.size);
        if let Some(next) = claimed.filter(|next| *next < self.length)
            && let Some(header) = self.good_batch(next, expected, base_offset)?
        {
            return Ok(Some((next, Offset(header.base_offset))));
        }
        let mut at = bad + 1;
        while at + HEADER as u64 <= self.length {
            let window = self.bytes(at, WINDOW)?;
            let magic = window
                .get(MAGIC_AT..)
                .and_then(|rest| rest.iter().position(|byte| *byte == 2));
            let Some(skip) = magic else {
                at += (window.len().saturating_sub(MAGIC_AT)).max(1) as u64;
                continue;
            };
            at += skip as u64;
            if let Some(header) = self.good_batch(at, expected, base_offset)? {
                return Ok(Some((at, Offset(header.base_offset))));
            }
            at += 1;
        }
        Ok(None)
    }

    /// Whether a sector in a bad stretch was never written: it reads as zeros where a batch cannot be zeros.
    fn has_lost_sector(&mut self, from: u64, to: u64, expected: Offset) -> Result<bool, LogError> {
        if self.begins_with_zeros(from, expected)? {
            return Ok(true);
        }
        let mut at = from.next_multiple_of(SECTOR);
        while at < to {
            // Whole, beyond `to` as well: a good batch there begins with its base offset, whose first bytes are zeros anyhow.
            if is_zeros(self.bytes(at, SECTOR as usize)?) {
                return Ok(true);
            }
            at += SECTOR;
        }
        Ok(false)
    }

    /// Whether the batch that should begin at `at` is zeros up to the end of its first sector.
    fn begins_with_zeros(&mut self, at: u64, expected: Offset) -> Result<bool, LogError> {
        let run = (at + 1).next_multiple_of(SECTOR) - at;
        let is_zeros = is_zeros(self.bytes(at, run as usize)?);
        // A batch begins with its base offset and its length, which is never 0. So only a short run of zeros may be right.
        let may_be_zeros = run < 12 && is_zeros_up_to(&expected.0.to_be_bytes(), run as usize);
        Ok(is_zeros && !may_be_zeros)
    }

    /// Whether the file ends before the batch does that begins at `at`.
    fn ends_within_batch(&mut self, at: u64) -> Result<bool, LogError> {
        let head = self.bytes(at, HEADER)?;
        let is_short = head.len() < HEADER;
        let batch = Glance::at(head);
        Ok(is_short || batch.is_some_and(|batch| at + batch.size > self.length))
    }
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn is_zeros_up_to(bytes: &[u8], length: usize) -> bool {
    is_zeros(&bytes[..length.min(bytes.len())])
}
