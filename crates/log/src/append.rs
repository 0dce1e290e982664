//! The write path of a partition: batches get their offsets, wait in a queue, and go to the file in one vectored write a step.
//!
//! A batch is written as it came. Only its first 16 bytes (base offset, length, leader epoch, none of them under its checksum)
//! are written from a stamped copy, so that an append neither copies nor re-encodes. `message.timestamp.type=LogAppendTime` is
//! the exception: it changes bytes under the checksum, and the batch is copied.
//!
//! When a write fails, the log takes no more of them: what the failed call wrote is cut off again as well as the disk allows, and
//! the rest is recovery's. Batches of the same step in an earlier segment may stay; nobody was told that they are stored.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::records::{CheckedBatch, EndTransactionMarker};

use crate::batch::Glance;
use crate::error::{Context, LogError};
use crate::index::FLUSH_ENTRIES;
use crate::offset::{ByteCount, Offset};
use crate::partition::{Boundary, PartitionLog, directories_of};
use crate::segment::{NO_TIMESTAMP, Progress, Segment};
use crate::settings::{Durability, TimestampType};
use crate::transactions::AbortedTransaction;

/// Base offset, length, leader epoch: what is stamped lies in the first 16 bytes of a batch.
const HEAD: usize = 16;

/// What became of an appended batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The largest timestamp of its records, as stored.
    pub max_timestamp: i64,
    /// The time that the broker stamped on it, if the topic asks for that.
    pub log_append_time: Option<i64>,
}

/// A batch that has its offsets and waits to be written.
#[derive(Debug)]
pub(crate) struct Waiting {
    head: [u8; HEAD],
    bytes: Bytes,
    batch: Glance,
    /// The transaction that this batch aborts.
    aborted: Option<AbortedTransaction>,
    appended_at: i64,
}

impl Waiting {
    pub(crate) fn base_offset(&self) -> Offset {
        self.batch.base_offset
    }
}

impl PartitionLog {
    /// Gives a batch its offsets and queues it; [`PartitionLog::write`] brings it to the file.
    pub fn append(&mut self, batch: &CheckedBatch, now_ms: i64) -> Appended {
        match self.settings.timestamp_type {
            TimestampType::CreateTime => self.queue(batch, now_ms, None),
            TimestampType::LogAppendTime => {
                self.queue(&batch.with_log_append_time(now_ms), now_ms, Some(now_ms))
            }
        }
    }

    fn queue(
        &mut self,
        checked: &CheckedBatch,
        now_ms: i64,
        log_append_time: Option<i64>,
    ) -> Appended {
        let header = checked.header();
        let base_offset = self.next_offset;
        let last_offset = base_offset + i64::from(header.last_offset_delta);
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        head[8..12].copy_from_slice(&header.length.to_be_bytes());
        head[12..].copy_from_slice(&self.leader_epoch.to_be_bytes());
        let bytes = checked.bytes().clone();
        let batch = Glance {
            base_offset,
            last_offset,
            max_timestamp: header.max_timestamp,
            size: bytes.len() as u64,
        };
        let marker = EndTransactionMarker::of_batch(header, &bytes);
        let aborted = self.transactions.apply(header, marker, base_offset);
        self.waiting.push(Waiting {
            head,
            bytes,
            batch,
            aborted,
            appended_at: now_ms,
        });
        self.next_offset = last_offset.next();
        Appended {
            base_offset,
            last_offset,
            max_timestamp: header.max_timestamp,
            log_append_time,
        }
    }

    /// Writes the queued batches: one vectored write, more only where a segment ends. Nothing is synced or visible yet.
    ///
    /// # Errors
    /// `Io` when the disk refuses; the log then takes no more writes (`Halted`) until it is opened again.
    pub fn write(&mut self) -> Result<(), LogError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.is_halted {
            self.waiting.clear();
            return Err(LogError::Halted {
                path: self.dir.clone(),
            });
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let outcome = self.write_all(&waiting);
        if outcome.is_err() {
            self.is_halted = true;
            // What the failed call wrote goes. The disk has just failed: that this works is a hope, recovery does not rely on it.
            let active = self.active();
            if active.log.set_len(self.progress.position).is_ok() {
                let _ = active.sync_log();
            }
        }
        waiting.clear();
        self.waiting = waiting;
        outcome
    }

    fn write_all(&mut self, mut waiting: &[Waiting]) -> Result<(), LogError> {
        while let Some(first) = waiting.first() {
            if self.must_roll(first) || self.are_indexes_full() {
                self.roll(first.batch.base_offset, first.appended_at)?;
            }
            let (run, rest) = waiting.split_at(self.fitting(waiting));
            self.write_run(run)?;
            waiting = rest;
        }
        let end_offset = self.next_offset;
        let boundary = Boundary {
            end_offset,
            appended_bytes: self.size_bytes() + self.deleted_bytes,
            visible: self.visible_end(),
            first_unstable: self.transactions.first(),
        };
        self.boundaries.push_back(boundary);
        Ok(())
    }

    /// How many of the waiting batches go to the active segment, at least one: the segment was rolled if the first did not fit.
    fn fitting(&self, waiting: &[Waiting]) -> usize {
        let mut progress = self.progress;
        let mut fitting = 0;
        // Each batch makes at most one entry, so that so many cannot overfill the indexes.
        let left = |most: u64, count: u32| most.saturating_sub(count.into()).max(1);
        let active = self.active();
        let most = left(self.settings.most_index_entries(), active.index.count()).min(left(
            self.settings.most_time_index_entries(),
            active.time_index.count(),
        ));
        for next in waiting {
            if fitting > 0 && self.is_full(&progress, next) {
                break;
            }
            if progress.position == 0 {
                progress.first_timestamp = next.batch.max_timestamp;
            }
            progress.position += next.batch.size;
            fitting += 1;
            if fitting as u64 >= most {
                break;
            }
        }
        fitting
    }

    fn must_roll(&self, next: &Waiting) -> bool {
        self.progress.position > 0 && self.is_full(&self.progress, next)
    }

    /// Whether a batch belongs into the next segment: by size (positions must also fit 31 bits), by relative offset, by age.
    fn is_full(&self, progress: &Progress, next: &Waiting) -> bool {
        let limit = self.settings.segment_bytes.0.min(i32::MAX as u64);
        if progress.position + next.batch.size > limit {
            return true;
        }
        if next.batch.last_offset - self.active().base_offset > i64::from(i32::MAX) {
            return true;
        }
        let has_timestamps =
            progress.first_timestamp > NO_TIMESTAMP && next.batch.max_timestamp > NO_TIMESTAMP;
        let age = match has_timestamps {
            true => next
                .batch
                .max_timestamp
                .saturating_sub(progress.first_timestamp),
            false => next.appended_at.saturating_sub(self.segment_created_ms),
        };
        u128::try_from(age).is_ok_and(|age| age > self.segment_age().as_millis())
    }

    /// How old the active segment may get: `segment.ms` less a part of `segment.jitter.ms` that is another one for each segment.
    fn segment_age(&self) -> Duration {
        let age = self.settings.segment_age;
        let jitter = self.settings.segment_jitter.min(age).as_millis();
        let Ok(jitter @ 1..) = u64::try_from(jitter) else {
            return age;
        };
        let mut hasher = DefaultHasher::new();
        (&self.dir, self.active().base_offset).hash(&mut hasher);
        age - Duration::from_millis(hasher.finish() % jitter)
    }

    /// Whether the next index entry would be one too many.
    fn are_indexes_full(&self) -> bool {
        let active = self.active();
        u64::from(active.index.count()) >= self.settings.most_index_entries()
            || u64::from(active.time_index.count()) >= self.settings.most_time_index_entries()
    }

    fn write_run(&mut self, run: &[Waiting]) -> Result<(), LogError> {
        let segment = Arc::clone(self.active());
        let mut slices = Vec::with_capacity(run.len() * 2);
        for waiting in run {
            slices.push(IoSlice::new(&waiting.head));
            slices.push(IoSlice::new(&waiting.bytes[HEAD..]));
        }
        segment
            .log
            .write_at(self.progress.position, &slices)
            .context("write", &segment.path)?;
        for waiting in run {
            self.progress
                .add(&segment, &waiting.batch, self.settings.index_interval_bytes);
        }
        let aborted: Vec<_> = run.iter().filter_map(|waiting| waiting.aborted).collect();
        self.are_names_unsynced |= segment.transactions.append(&aborted)?;
        if segment.index.unflushed() >= FLUSH_ENTRIES {
            segment.flush_indexes()?;
        }
        self.bytes_since_checkpoint += run.iter().map(|waiting| waiting.batch.size).sum::<u64>();
        self.mark_unsynced(&segment);
        Ok(())
    }

    /// Ends the active segment if its first record is older than a segment may get, without waiting for the next record.
    ///
    /// # Errors
    /// `Io` when the disk refuses; `Halted` after a failed write.
    pub fn roll_if_aged(&mut self, now_ms: i64) -> Result<bool, LogError> {
        let first = match self.progress.first_timestamp {
            NO_TIMESTAMP => self.segment_created_ms,
            first => first,
        };
        let age = u128::try_from(now_ms.saturating_sub(first)).unwrap_or(0);
        let is_aged = self.progress.position > 0 && age > self.segment_age().as_millis();
        if !is_aged || !self.waiting.is_empty() || self.high_watermark < self.next_offset {
            return Ok(false);
        }
        if self.is_halted {
            return Err(LogError::Halted {
                path: self.dir.clone(),
            });
        }
        self.roll(self.next_offset, now_ms)?;
        // Only behind a checkpoint can it be compacted.
        self.bytes_since_checkpoint = self.bytes_since_checkpoint.max(1);
        Ok(true)
    }

    /// Ends the active segment and begins the next one.
    ///
    /// With durability `sync` the ended segment and its name are synced first. So a later segment is proof that the one before it
    /// is whole, and recovery need not choose between a hole and the segments after it.
    pub(crate) fn roll(&mut self, base_offset: Offset, now_ms: i64) -> Result<(), LogError> {
        let ended = Arc::clone(self.active());
        ended.seal(&self.progress, base_offset)?;
        if self.settings.durability == Durability::Sync {
            ended.sync_log()?;
            self.sync_names()?;
        }
        let segment = Arc::new(Segment::create(&self.disk, &self.dir, base_offset)?);
        if self.settings.preallocate {
            // Room that the disk cannot reserve is looked for when it is needed.
            let _ = ended.log.set_len(self.progress.position);
            let _ = segment.log.reserve(self.settings.segment_bytes.0);
        }
        self.sealed_bytes += ByteCount(self.progress.position);
        self.segments.push(segment);
        self.unsynced_indexes.push(ended);
        self.progress = Progress::START;
        self.segment_created_ms = now_ms;
        self.are_names_unsynced = true;
        self.publish_segments();
        Ok(())
    }

    fn sync_names(&self) -> Result<(), LogError> {
        if !self.are_names_unsynced && self.being_synced.is_empty() {
            return Ok(());
        }
        let dirs = directories_of(&self.dir);
        dirs.iter()
            .try_for_each(|dir| self.disk.sync_dir(dir).context("sync", dir))
    }
}
