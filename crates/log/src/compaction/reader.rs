//! Reads the batches of a sealed segment one after another, each with its checksum: compaction puts no damage under a new checksum.

use wire::records::{BatchHeader, verify_crc};

use super::Pace;
use crate::batch::HEADER;
use crate::error::{Context, LogError};
use crate::offset::ByteCount;
use crate::segment::Segment;

/// Bytes read at a time (`log.cleaner.io.buffer.size` is half of it); a larger batch is read as a whole.
const WINDOW: usize = 1 << 20;

/// A batch of a segment.
pub(super) struct Next<'a> {
    pub(super) header: BatchHeader,
    /// The whole batch.
    pub(super) bytes: &'a [u8],
    /// Whether the segment ends with it.
    pub(super) is_last: bool,
}

/// A segment seen through a window that moves forward.
pub(super) struct BatchReader<'a> {
    segment: &'a Segment,
    size: u64,
    position: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> BatchReader<'a> {
    /// Begins with the batch at `position`; `size` is that of the whole segment.
    pub(super) fn new(segment: &'a Segment, position: u64, size: u64) -> BatchReader<'a> {
        BatchReader {
            segment,
            size,
            position,
            window: Vec::new(),
            window_at: position,
        }
    }

    /// The next batch; none at the end of the segment.
    ///
    /// # Errors
    /// `Corrupt` when something else than a good batch follows, `Io` when it cannot be read, `Abandoned` when the pace says so.
    pub(super) fn next(&mut self, pace: &mut Pace<'_>) -> Result<Option<Next<'_>>, LogError> {
        let at = self.position;
        if at >= self.size {
            return Ok(None);
        }
        self.load(HEADER, pace)?;
        let damaged = |detail: String| {
            let segment = self.segment;
            segment.corrupt_error(at, segment.base_offset, detail)
        };
        let head = &self.window[(at - self.window_at) as usize..];
        let header = BatchHeader::decode(head).map_err(|error| damaged(error.to_string()))?;
        let length = header.total_length();
        if at + length as u64 > self.size {
            return Err(damaged("the file ends within this batch".to_owned()));
        }
        self.load(length, pace)?;
        let start = (at - self.window_at) as usize;
        if !verify_crc(&self.window[start..start + length]) {
            let detail = "the checksum is not that of the batch".to_owned();
            return Err(self
                .segment
                .corrupt_error(at, self.segment.base_offset, detail));
        }
        self.position += length as u64;
        Ok(Some(Next {
            header,
            bytes: &self.window[start..start + length],
            is_last: self.position >= self.size,
        }))
    }

    /// Sees to it that `length` bytes from the position on are in the window.
    fn load(&mut self, length: usize, pace: &mut Pace<'_>) -> Result<(), LogError> {
        let window_end = self.window_at + self.window.len() as u64;
        if self.position + length as u64 <= window_end {
            return Ok(());
        }
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let wanted = length.max(WINDOW).min(left);
        self.window.clear();
        self.window.shrink_to(wanted.max(WINDOW));
        let (file, path) = (&self.segment.log, &self.segment.path);
        file.read_at(self.position, wanted, &mut self.window)
            .context("read", path)?;
        self.window_at = self.position;
        if self.window.len() < length {
            let detail = "the file ends within this batch";
            return Err(self.segment.corrupt_error(
                self.position,
                self.segment.base_offset,
                detail,
            ));
        }
        pace.take(ByteCount(wanted as u64))
    }
}
