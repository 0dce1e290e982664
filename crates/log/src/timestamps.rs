//! Offsets by time: the first record from a time on, and the record with the largest time. Both are exact to the record, so they
//! read, and if need be decompress, the one batch in question; keep them off threads that must not block.

use std::path::Path;

use wire::records::{BatchError, BatchHeader, RecordIter, decompress};

use crate::access::{self, Access, Stop};
use crate::batch::Glance;
use crate::error::LogError;
use crate::offset::Offset;
use crate::segment::{MaxTimestamp, NO_TIMESTAMP, Segment};
use crate::view::PartitionView;
use crate::walk::{Step, Walk, find_batch};

/// A batch that decompresses to more than this is answered with its first offset.
const DECOMPRESSED_LIMIT: usize = 128 << 20;

impl PartitionView {
    /// The first visible record whose timestamp is at least `timestamp` (milliseconds since 1970), and that timestamp.
    ///
    /// # Errors
    /// `Io` when the disk fails; `Corrupt` when the batch in question is damaged.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<(Offset, i64)>, LogError> {
        let first = self.segment_of(self.log_start);
        for segment in &self.segments[first..] {
            if self.visible_bytes(segment) > 0 && self.visible_max(segment).timestamp >= timestamp {
                let found = self.search(segment, timestamp).map_err(Stop::into_error)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The first visible record with the largest timestamp, and that timestamp; `None` without records or timestamps.
    ///
    /// # Errors
    /// As [`PartitionView::offset_for_timestamp`].
    pub fn max_timestamp_offset(&self) -> Result<Option<(Offset, i64)>, LogError> {
        let mut largest = MaxTimestamp::NONE;
        let first = self.segment_of(self.log_start);
        for segment in self.segments[first..]
            .iter()
            .filter(|segment| self.visible_bytes(segment) > 0)
        {
            let mut max = self.visible_max(segment);
            if max.offset < self.log_start {
                max = self.max_from_log_start(segment).map_err(Stop::into_error)?;
            }
            if max.timestamp > largest.timestamp {
                largest = max;
            }
        }
        if largest.timestamp == NO_TIMESTAMP {
            return Ok(None);
        }
        self.offset_for_timestamp(largest.timestamp)
    }

    fn search(&self, segment: &Segment, timestamp: i64) -> Result<Option<(Offset, i64)>, Stop> {
        // All records before the batch that the entry names are older.
        let entry = segment.time_index.floor(timestamp, Access::Blocking)?;
        let start = entry.map_or(segment.base_offset, |entry| {
            segment.base_offset + i64::from(entry.relative_offset)
        });
        let visible = self.visible_bytes(segment);
        let Some(position) = find_batch(
            segment,
            start.max(self.log_start),
            visible,
            Access::Blocking,
        )?
        else {
            return Ok(None);
        };
        let mut walk = Walk::new(segment, position, visible, Access::Blocking);
        while let Some(step) = walk.step()? {
            if let Step::Batch { position, batch } = step
                && batch.max_timestamp >= timestamp
            {
                let bytes = access::read(
                    segment.log.as_ref(),
                    &segment.path,
                    position,
                    batch.size as usize,
                    Access::Blocking,
                )?;
                let found =
                    first_record_from(&segment.path, position, &bytes, timestamp, self.log_start)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the batches that DeleteRecords left in the first segment.
    fn max_from_log_start(&self, segment: &Segment) -> Result<MaxTimestamp, Stop> {
        let visible = self.visible_bytes(segment);
        let mut max = MaxTimestamp::NONE;
        let Some(position) = find_batch(segment, self.log_start, visible, Access::Blocking)? else {
            return Ok(max);
        };
        let mut walk = Walk::new(segment, position, visible, Access::Blocking);
        while let Some(step) = walk.step()? {
            if let Step::Batch { batch, .. } = step
                && batch.max_timestamp > max.timestamp
            {
                max = MaxTimestamp {
                    timestamp: batch.max_timestamp,
                    offset: batch.last_offset,
                };
            }
        }
        Ok(max)
    }
}

fn first_record_from(
    path: &Path,
    position: u64,
    batch: &[u8],
    timestamp: i64,
    log_start: Offset,
) -> Result<Option<(Offset, i64)>, LogError> {
    let corrupt = |error: BatchError| LogError::Corrupt {
        path: path.to_owned(),
        position,
        offset: Glance::at(batch).map_or(log_start, |batch| batch.base_offset),
        detail: error.to_string(),
    };
    let header = BatchHeader::decode(batch).map_err(corrupt)?;
    let records = match decompress(&header, batch, DECOMPRESSED_LIMIT) {
        Err(BatchError::TooLarge { .. }) => {
            return Ok(Some((
                Offset(header.base_offset).max(log_start),
                header.max_timestamp,
            )));
        }
        other => other.map_err(corrupt)?,
    };
    for record in RecordIter::new(&header, &records) {
        let record = record.map_err(corrupt)?;
        if record.timestamp >= timestamp && Offset(record.offset) >= log_start {
            return Ok(Some((Offset(record.offset), record.timestamp)));
        }
    }
    Ok(None)
}
