//! How one segment is opened: taken as it is, continued from the checkpoint, made new indexes for, or scanned.

use std::path::Path;

use super::Replay;
use super::opening::Opening;
use crate::access::{Access, Stop};
use crate::checkpoint::Checkpoint;
use crate::error::{Context, LogError};
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::offset::Offset;
use crate::scan::{self, Range, Scanned};
use crate::segment::{MaxTimestamp, Progress, Segment, log_path};
use crate::settings::LogSettings;
use crate::walk::{Step, Walk};

impl Opening {
    /// A segment from before the checkpoint: taken as it is, unless its indexes are not right.
    pub(super) fn take_segment(
        &mut self,
        base: Offset,
        end_offset: Offset,
        checkpoint: &Checkpoint,
    ) -> Result<(), LogError> {
        let path = log_path(&self.dir, base);
        let known: Vec<_> = checkpoint
            .corrupt
            .iter()
            .filter(|(segment, _)| *segment == base)
            .map(|(_, range)| *range)
            .collect();
        let entries = (
            self.whole_entries::<OffsetEntry>(&path, "index")?,
            self.whole_entries::<TimeEntry>(&path, "timeindex")?,
        );
        if let (Some(index), Some(time_index)) = entries {
            let mut segment = Segment::open(&self.disk, &self.dir, base, (index, time_index))?;
            let size = segment.log.len().context("measure", &segment.path)?;
            if are_indexes_sane(&segment, size, end_offset, &self.settings)? {
                let max = segment
                    .time_index
                    .last()
                    .map_or(MaxTimestamp::NONE, |last| MaxTimestamp {
                        timestamp: last.timestamp,
                        offset: base + i64::from(last.relative_offset),
                    });
                segment.corrupt = known;
                self.take_transaction_index(&mut segment, checkpoint)?;
                self.progress = Progress {
                    position: size,
                    max,
                    ..Progress::START
                };
                self.next_offset = end_offset;
                self.segments.push(segment);
                return Ok(());
            }
        }
        self.rebuild_segment(base, checkpoint, None, end_offset)
    }

    /// How many entries an index file has; `None` when it is missing or has a part of one.
    fn whole_entries<E: Entry>(
        &self,
        log_path: &Path,
        extension: &str,
    ) -> Result<Option<u32>, LogError> {
        let path = log_path.with_extension(extension);
        let is_there = self
            .names
            .iter()
            .any(|name| path.file_name().is_some_and(|file| file == name.as_str()));
        if !is_there {
            return Ok(None);
        }
        let length = self
            .disk
            .open(&path)
            .and_then(|file| file.len())
            .context("measure", &path)?;
        let is_whole = length.is_multiple_of(E::LENGTH as u64);
        Ok(is_whole
            .then(|| u32::try_from(length / E::LENGTH as u64).ok())
            .flatten())
    }

    /// The segment that was active at the checkpoint: good up to its position, scanned from there.
    pub(super) fn continue_segment(
        &mut self,
        checkpoint: &Checkpoint,
        replay: &mut dyn FnMut(Replay<'_>),
    ) -> Result<(), LogError> {
        let base = checkpoint.segment;
        let path = log_path(&self.dir, base);
        let has_entries =
            self.count_at_least::<OffsetEntry>(&path, "index", checkpoint.index_entries)?
                && self.count_at_least::<TimeEntry>(
                    &path,
                    "timeindex",
                    checkpoint.time_index_entries,
                )?;
        if has_entries {
            let mut segment = Segment::open(
                &self.disk,
                &self.dir,
                base,
                (checkpoint.index_entries, checkpoint.time_index_entries),
            )?;
            segment.trim_indexes()?;
            if are_indexes_sane(
                &segment,
                checkpoint.progress.position,
                checkpoint.next_offset,
                &self.settings,
            )? {
                let known = checkpoint.corrupt.iter().filter(|(of, _)| *of == base);
                segment.corrupt = known.map(|(_, range)| *range).collect();
                self.take_transaction_index(&mut segment, checkpoint)?;
                self.progress = checkpoint.progress;
                self.next_offset = checkpoint.next_offset;
                self.segments.push(segment);
                return self.scan_rest(replay);
            }
        }
        let upto = Some(checkpoint.progress.position);
        self.rebuild_segment(base, checkpoint, upto, checkpoint.next_offset)?;
        self.scan_rest(replay)
    }

    fn count_at_least<E: Entry>(
        &self,
        log_path: &Path,
        extension: &str,
        wanted: u32,
    ) -> Result<bool, LogError> {
        let path = log_path.with_extension(extension);
        if !self
            .names
            .iter()
            .any(|name| path.file_name().is_some_and(|file| file == name.as_str()))
        {
            return Ok(false);
        }
        let length = self
            .disk
            .open(&path)
            .and_then(|file| file.len())
            .context("measure", &path)?;
        Ok(length >= u64::from(wanted) * E::LENGTH as u64)
    }

    /// Makes the indexes of a segment anew by reading it, `upto` the checkpoint if that lies in it. Damage found on the way is set aside.
    fn rebuild_segment(
        &mut self,
        base: Offset,
        checkpoint: &Checkpoint,
        upto: Option<u64>,
        end_offset: Offset,
    ) -> Result<(), LogError> {
        let mut segment = Segment::open_unindexed(&self.disk, &self.dir, base)?;
        self.take_transaction_index(&mut segment, checkpoint)?;
        let size = segment.log.len().context("measure", &segment.path)?;
        self.recovery.rebuilt_indexes += 1;
        self.rebuilt.push(self.segments.len());
        self.segments.push(segment);
        self.progress = Progress::START;
        self.next_offset = base;
        self.scan_upto(upto.unwrap_or(size), None)?;
        if let Some(tail) = self.tail.take() {
            self.set_aside(tail, end_offset);
        }
        self.next_offset = end_offset;
        Ok(())
    }

    /// A segment from after the checkpoint.
    pub(super) fn scan_segment(
        &mut self,
        base: Offset,
        replay: &mut dyn FnMut(Replay<'_>),
    ) -> Result<(), LogError> {
        let segment = Segment::open_unindexed(&self.disk, &self.dir, base)?;
        segment.transactions.remove_file()?;
        self.segments.push(segment);
        self.progress = Progress::START;
        self.next_offset = base;
        self.scan_rest(replay)
    }

    fn scan_rest(&mut self, replay: &mut dyn FnMut(Replay<'_>)) -> Result<(), LogError> {
        let segment = self.segments.last().expect("the segment was just opened");
        let size = segment.log.len().context("measure", &segment.path)?;
        self.scan_upto(size, Some(replay))
    }

    /// Scans the last opened segment from where it stands. Without `replay` its batches are known but for their places.
    fn scan_upto(
        &mut self,
        upto: u64,
        mut replay: Option<&mut dyn FnMut(Replay<'_>)>,
    ) -> Result<(), LogError> {
        let from = self.progress;
        if from.position >= upto {
            return Ok(());
        }
        let number = self.segments.len() - 1;
        let segment = &mut self.segments[number];
        let range = Range {
            from,
            next_offset: self.next_offset,
            upto,
            interval: self.settings.index_interval_bytes,
        };
        let (epochs, have_epochs_changed) = (&mut self.epochs, &mut self.have_epochs_changed);
        let transactions = &mut self.transactions;
        let index = &segment.transactions;
        let scanned = scan::scan(segment, range, &mut |header, marker| {
            *have_epochs_changed |= epochs.begin(header.leader_epoch, Offset(header.base_offset));
            let Some(replay) = &mut replay else {
                return Ok(());
            };
            let aborted = transactions.apply(header, marker, Offset(header.base_offset));
            index.append(aborted.as_slice())?;
            replay(match marker {
                Some(marker) => Replay::Marker(header, marker),
                None => Replay::Batch(header),
            });
            Ok(())
        })?;
        let Scanned {
            progress,
            next_offset,
            batches,
            corrupt,
            tail,
        } = scanned;
        segment.corrupt.extend(corrupt);
        self.recovery.scanned_bytes += upto - from.position;
        self.recovery.scanned_batches += batches;
        self.progress = progress;
        self.next_offset = next_offset;
        self.tail = tail;
        if self.scanned.last() != Some(&number) {
            self.scanned.push(number);
            self.reindexed.push(number);
        }
        Ok(())
    }
}

/// Whether the ends of the indexes fit a log file of this size that ends at this offset. What lies between is checked when used.
fn are_indexes_sane(
    segment: &Segment,
    size: u64,
    end_offset: Offset,
    settings: &LogSettings,
) -> Result<bool, LogError> {
    let is_inside = |relative: u32| segment.base_offset + i64::from(relative) < end_offset;
    let Some(time) = segment.time_index.last() else {
        return Ok(size == 0 || has_no_entry_due(segment, size, settings)?);
    };
    if time.timestamp == 0 && time.relative_offset == 0 {
        // A power cut has kept the length of the file and not the entry.
        return Ok(false);
    }
    let is_offset_index_sane = match segment.index.last() {
        Some(last) => {
            last.position > 0 && u64::from(last.position) < size && is_inside(last.relative_offset)
        }
        None => has_no_entry_due(segment, size, settings)?,
    };
    Ok(is_offset_index_sane && is_inside(time.relative_offset))
}

/// Whether a log file has no index entry yet: none of its batches begins beyond the index interval.
fn has_no_entry_due(
    segment: &Segment,
    size: u64,
    settings: &LogSettings,
) -> Result<bool, LogError> {
    let interval = settings.index_interval_bytes.0;
    if size <= interval {
        return Ok(true);
    }
    let mut walk = Walk::new(segment, 0, size, Access::Blocking);
    loop {
        match walk.step() {
            Ok(Some(Step::Batch { position, .. })) if position <= interval => {}
            Ok(Some(Step::Damage(_))) => {}
            Ok(None) => return Ok(true),
            Ok(Some(Step::Batch { .. })) | Err(Stop::Failed(LogError::Corrupt { .. })) => {
                return Ok(false);
            }
            Err(stop) => return Err(stop.into_error()),
        }
    }
}
