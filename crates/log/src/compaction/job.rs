//! The half of a compaction that works and waits: it reads the dirty part for its keys, writes anew what stays, and swaps the
//! files. It runs on any thread, beside the owner and the readers, who keep the old segments until they are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wire::records::{BatchError, BatchHeader, RecordIter, decompress};

use super::filter::{Filter, ProducerEnds, RecordCounts, Verdict};
use super::offset_map::OffsetMap;
use super::reader::BatchReader;
use super::swap::Directory;
use super::transactions::Fates;
use super::writer::CleanedSegment;
use super::{CompactionSettings, Pace};
use crate::access::{Access, Stop};
use crate::checkpoint::CheckpointFile;
use crate::disk::Disk;
use crate::error::LogError;
use crate::offset::{ByteCount, Offset};
use crate::remains::Remains;
use crate::segment::{Sealed, Segment};
use crate::settings::LogSettings;
use crate::transactions::AbortedTransaction;
use crate::view::PartitionView;
use crate::walk::find_batch;

/// A batch that decompresses to more than this has no keys in the map; it is kept as it is, too.
const DECOMPRESSED_LIMIT: usize = 128 << 20;

/// What a compaction may use for the keys of the dirty part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionBuffer {
    /// At most this much memory, 24 bytes a key (`log.cleaner.dedupe.buffer.size`).
    pub memory: ByteCount,
    /// The share of it that is used (`log.cleaner.io.buffer.load.factor`).
    pub load: f64,
}

/// A compaction that is decided. Run it on any thread; the owner applies what it tells.
#[derive(Debug)]
pub struct CompactionJob {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) file: Arc<Mutex<CheckpointFile>>,
    pub(super) settings: LogSettings,
    pub(super) rules: CompactionSettings,
    /// All segments before `upto`.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) from: Offset,
    pub(super) upto: Offset,
    pub(super) now_ms: i64,
    pub(super) producers: ProducerEnds,
    /// As of the beginning: its last stable offset does not lie before `upto`.
    pub(super) view: PartitionView,
}

/// Segments that have been replaced by one on the disk; the owner applies it.
#[derive(Debug)]
pub struct SwappedSegments {
    pub(super) replaced: Vec<Offset>,
    pub(super) segment: Arc<Segment>,
    pub(super) deleted: Vec<PathBuf>,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Bytes read for the keys.
    pub mapped_bytes: ByteCount,
    /// Bytes of the segments that were gone through.
    pub read_bytes: ByteCount,
    /// Bytes that they have now.
    pub kept_bytes: ByteCount,
    /// Records that were gone through, and that stayed.
    pub records: RecordCounts,
    /// Keys in the dirty part.
    pub keys: usize,
}

/// A compaction that is on the disk.
#[derive(Clone, Copy, Debug)]
pub struct FinishedCompaction {
    /// Everything before this offset is compacted.
    pub end: Offset,
    /// What was done.
    pub report: CompactionReport,
}

impl CompactionJob {
    /// The bytes of the segments that it goes through.
    pub fn size_bytes(&self) -> ByteCount {
        ByteCount(self.segments.iter().map(size_of).sum())
    }

    /// Compacts, and tells `on_swap` of each segment that has taken the place of others.
    ///
    /// # Errors
    /// `Io` when the disk fails, `Corrupt` when a batch is damaged, `Abandoned` when the pace says so, `BufferTooSmall`. What was
    /// swapped before stays so, the rest is as it was.
    pub fn run(
        self,
        buffer: CompactionBuffer,
        mut pace: Pace<'_>,
        on_swap: &mut dyn FnMut(SwappedSegments),
    ) -> Result<FinishedCompaction, LogError> {
        let mut report = CompactionReport::default();
        let aborted = self
            .view
            .aborted_transactions(self.view.log_start, self.upto)?;
        let map = self.build_map(buffer, &aborted, &mut pace, &mut report)?;
        let end = map.latest().next();
        self.file.lock().forget_before(self.upto)?;
        let mut filter = Filter {
            map: &map,
            now_ms: self.now_ms,
            delete_retention_ms: i64::try_from(self.rules.delete_retention.as_millis())
                .unwrap_or(i64::MAX),
            producers: &self.producers,
            fates: Fates::new(aborted),
            counts: RecordCounts::default(),
        };
        for group in self.groups(end) {
            let swapped = self.compact_group(group, &mut filter, &mut pace, &mut report);
            let swapped = swapped.inspect_err(|_| self.clear(group));
            if let Some(swapped) = swapped? {
                on_swap(swapped);
            }
        }
        report.records = filter.counts;
        report.keys = map.len();
        self.file.lock().write_compacted_end(end)?;
        Ok(FinishedCompaction { end, report })
    }

    /// The last offset of each key from `from` on, as far as the buffer reaches.
    fn build_map(
        &self,
        buffer: CompactionBuffer,
        aborted: &[AbortedTransaction],
        pace: &mut Pace<'_>,
        report: &mut CompactionReport,
    ) -> Result<OffsetMap, LogError> {
        let records = (self.upto - self.from).max(0).unsigned_abs();
        let mut map = OffsetMap::new(buffer.memory, buffer.load, records);
        // Those that ended before: the marker of one is never met, and what its producer wrote since is not aborted.
        let ended = |aborted: &&AbortedTransaction| aborted.last_offset < self.from;
        let aborted = aborted.iter().filter(|aborted| !ended(aborted)).cloned();
        let mut fates = Fates::new(aborted.collect());
        for segment in &self.segments {
            let sealed = segment.sealed().expect("what is compacted is sealed");
            if sealed.end_offset <= self.from {
                continue;
            }
            report.mapped_bytes += ByteCount(sealed.size);
            let is_whole = self.map_segment(segment, sealed, &mut map, &mut fates, pace)?;
            if !is_whole {
                break;
            }
            map.reach(sealed.end_offset + -1);
        }
        if map.latest() < self.from {
            let (path, memory) = (self.dir.clone(), buffer.memory);
            return Err(LogError::BufferTooSmall { path, memory });
        }
        Ok(map)
    }

    /// Whether all keys of the segment had room.
    fn map_segment(
        &self,
        segment: &Segment,
        sealed: &Sealed,
        map: &mut OffsetMap,
        fates: &mut Fates,
        pace: &mut Pace<'_>,
    ) -> Result<bool, LogError> {
        let start = find_batch(segment, self.from, sealed.size, Access::Blocking);
        let Some(start) = start.map_err(Stop::into_error)? else {
            return Ok(true);
        };
        let mut reader = BatchReader::new(segment, start, sealed.size);
        while let Some(next) = reader.next(pace)? {
            let (header, batch) = (next.header, next.bytes);
            let is_mapped = if header.is_control() {
                let marker = wire::records::EndTransactionMarker::of_batch(&header, batch);
                fates.is_spent(&header, marker);
                true
            } else if fates.is_aborted(&header) {
                true
            } else {
                map_batch(&header, batch, self.from, map)
                    .map_err(|error| damaged(segment, &header, &error))?
            };
            if !is_mapped {
                return Ok(false);
            }
            map.reach(Offset(header.last_offset()));
        }
        Ok(true)
    }

    /// The segments that become one each: no larger together than a segment may be, in bytes, offsets and index entries.
    fn groups(&self, end: Offset) -> Vec<&[Arc<Segment>]> {
        let count = self
            .segments
            .partition_point(|segment| segment.base_offset < end);
        let segments = &self.segments[..count];
        let mut groups = Vec::new();
        let mut first = 0;
        for next in 1..=count {
            if next == count || !self.fits(&segments[first..=next]) {
                groups.push(&segments[first..next]);
                first = next;
            }
        }
        groups
    }

    fn fits(&self, group: &[Arc<Segment>]) -> bool {
        let bytes: u64 = group.iter().map(size_of).sum();
        let entries: u64 = group.iter().map(|one| u64::from(one.index.count())).sum();
        let times: u64 = group
            .iter()
            .map(|one| u64::from(one.time_index.count()))
            .sum();
        let last = group
            .last()
            .and_then(|last| last.sealed())
            .expect("compacted segments are sealed");
        bytes <= self.settings.segment_bytes.0.min(i32::MAX as u64)
            && entries <= self.settings.most_index_entries()
            && times <= self.settings.most_time_index_entries()
            && last.end_offset - group[0].base_offset <= i64::from(i32::MAX)
    }

    /// Writes anew what stays of a group; none when that is all of it, or there was nothing.
    fn compact_group(
        &self,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
        pace: &mut Pace<'_>,
        report: &mut CompactionReport,
    ) -> Result<Option<SwappedSegments>, LogError> {
        let directory = self.directory();
        let before: u64 = group.iter().map(size_of).sum();
        let Some(last) = group.iter().rposition(|segment| size_of(segment) > 0) else {
            return Ok(None);
        };
        let base = group[0].base_offset;
        let interval = self.settings.index_interval_bytes;
        let mut cleaned =
            directory.create(|| CleanedSegment::create(&self.disk, &self.dir, base, interval))?;
        let mut is_changed = group.len() > 1;
        for (number, segment) in group.iter().enumerate() {
            let mut reader = BatchReader::new(segment, 0, size_of(segment));
            while let Some(next) = reader.next(pace)? {
                let ends_segment = number == last && next.is_last;
                let verdict = filter
                    .judge(&next.header, next.bytes, ends_segment)
                    .map_err(|error| damaged(segment, &next.header, &error))?;
                is_changed |= verdict != Verdict::Keep;
                match verdict {
                    Verdict::Keep => cleaned.push(next.bytes, pace)?,
                    Verdict::Replace(bytes) => cleaned.push(&bytes, pace)?,
                    Verdict::Drop => {}
                }
            }
        }
        report.read_bytes += ByteCount(before);
        let aborted = filter.fates.take_indexed();
        if !is_changed {
            report.kept_bytes += ByteCount(before);
            directory.clear(base)?;
            return Ok(None);
        }
        let finished = cleaned.finish(&aborted, pace)?;
        report.kept_bytes += ByteCount(finished.progress.position);
        let deleted = directory.swap(base, group);
        let deleted = deleted.map_err(|source| LogError::Swap {
            source: Box::new(source),
        })?;
        let mut segment = Segment::open(&self.disk, &self.dir, base, finished.entries)?;
        segment.take_transactions(&self.disk, finished.transactions)?;
        segment.set_sealed(Sealed {
            size: finished.progress.position,
            end_offset: group[group.len() - 1]
                .sealed()
                .expect("compacted segments are sealed")
                .end_offset,
            max: finished.progress.max,
        });
        Ok(Some(SwappedSegments {
            replaced: group.iter().map(|segment| segment.base_offset).collect(),
            segment: Arc::new(segment),
            deleted,
        }))
    }

    fn directory(&self) -> Directory<'_> {
        Directory {
            disk: &self.disk,
            dir: &self.dir,
            lock: &self.file,
        }
    }

    /// As well as the disk allows: the next start does it again.
    fn clear(&self, group: &[Arc<Segment>]) {
        let _ = self.directory().clear(group[0].base_offset);
    }
}

impl SwappedSegments {
    /// The files of the replaced segments.
    pub(super) fn remains(self, disk: &Arc<dyn Disk>, delay: Duration) -> Remains {
        Remains::of_files(disk, self.deleted, delay)
    }
}

/// Whether all keys of a batch had room.
fn map_batch(
    header: &BatchHeader,
    batch: &[u8],
    from: Offset,
    map: &mut OffsetMap,
) -> Result<bool, BatchError> {
    // One that is too large to look into ends the compaction: were it passed by, a key that it has and a later tombstone
    // deletes would be back once the tombstone is gone.
    let records = decompress(header, batch, DECOMPRESSED_LIMIT)?;
    for record in RecordIter::new(header, &records) {
        let record = record?;
        let offset = Offset(record.offset);
        if let Some(key) = record.key.filter(|_| offset >= from)
            && !map.put(key, offset)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn size_of(segment: &Arc<Segment>) -> u64 {
    segment.sealed().map_or(0, |sealed| sealed.size)
}

fn damaged(segment: &Segment, header: &BatchHeader, error: &BatchError) -> LogError {
    segment.corrupt_error(0, Offset(header.base_offset), error.to_string())
}
