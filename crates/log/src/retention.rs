//! What a log lets go: segments by age and size, records before a new log start, and the whole log.
//!
//! Only segments wholly below the high watermark go, oldest first. The log start moves durably before any file is renamed, so
//! that after a crash no hole can open between segments: what lies before the log start is removed by recovery.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Context, LogError};
use crate::offset::{ByteCount, Offset};
use crate::partition::PartitionLog;
use crate::remains::{DELETED, DeletedSegment, DeletionReason, Remains};
use crate::segment::{NO_TIMESTAMP, Segment};

impl PartitionLog {
    /// Deletes the segments that are past the retention time or size, or before the log start.
    ///
    /// The active segment goes only when everything in it has expired, and another one begins first. Nothing goes while a
    /// compaction is under way.
    ///
    /// # Errors
    /// `Io` when the disk fails; `Halted` after a failed write.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<Vec<DeletedSegment>, LogError> {
        let doomed = self.doomed(now_ms);
        if doomed.is_empty() || self.is_compacting {
            return Ok(Vec::new());
        }
        if self.is_halted {
            return Err(LogError::Halted {
                path: self.dir.clone(),
            });
        }
        if doomed.len() == self.segments.len() {
            self.roll(self.next_offset, now_ms)?;
        }
        self.delete_oldest(doomed)
    }

    /// Where the log would start after [`PartitionLog::apply_retention`].
    pub fn retention_point(&self, now_ms: i64) -> Offset {
        match self.doomed(now_ms).len() {
            _ if self.is_compacting => self.log_start,
            0 => self.log_start,
            gone => self
                .segments
                .get(gone)
                .map_or(self.next_offset, |next| next.base_offset),
        }
    }

    /// Whether a log start at `before` would delete batches that came after the last checkpoint. After a crash nobody replays
    /// them, so the owner's state would lack what they did: make a checkpoint first.
    pub fn outruns_checkpoint(&self, before: Offset) -> bool {
        before > self.log_start && before > self.checkpointed_end
    }

    /// Moves the log start to `before`, durably, and deletes the segments that lie wholly before it.
    /// An offset below the log start changes nothing; while a compaction is under way, segments are left to the next retention.
    ///
    /// # Errors
    /// `OffsetOutOfRange` when `before` is above the high watermark; `Io` when the disk fails.
    pub fn delete_records(&mut self, before: Offset) -> Result<Vec<DeletedSegment>, LogError> {
        if before > self.high_watermark {
            return Err(LogError::OffsetOutOfRange {
                requested: before,
                log_start: self.log_start,
                end: self.high_watermark,
            });
        }
        if before <= self.log_start {
            return Ok(Vec::new());
        }
        self.move_log_start(before)?;
        let gone = self
            .segments
            .iter()
            .skip(1)
            .take_while(|next| next.base_offset <= before)
            .count();
        if gone == 0 || self.is_compacting {
            self.publish_segments();
            return Ok(Vec::new());
        }
        self.delete_oldest(vec![DeletionReason::BeforeLogStart; gone])
    }

    /// Deletes the log with everything in its directory. Readers that hold a view can finish.
    ///
    /// # Errors
    /// `Io` when the directory cannot be renamed.
    pub fn delete(self) -> Result<Remains, LogError> {
        let mut number = 0;
        let doomed = loop {
            let mut name = self.dir.as_os_str().to_owned();
            name.push(format!(".{number}{DELETED}"));
            let path = PathBuf::from(name);
            if !self.disk.exists(&path).context("look for", &path)? {
                break path;
            }
            number += 1;
        };
        for segment in &self.segments {
            segment.open_indexes()?;
        }
        self.checkpoint_file.lock().retire();
        self.disk
            .rename(&self.dir, &doomed)
            .context("rename", &self.dir)?;
        let parent = doomed.parent().unwrap_or(std::path::Path::new("."));
        self.disk.sync_dir(parent).context("sync", parent)?;
        let delay = self.settings.file_delete_delay;
        Ok(Remains::of_directory(&self.disk, doomed, delay))
    }

    /// The reasons for which the oldest segments go, one for each.
    fn doomed(&self, now_ms: i64) -> Vec<DeletionReason> {
        let mut excess = match self.settings.retention_bytes {
            Some(limit) => self.size_bytes().0.saturating_sub(limit.0),
            None => 0,
        };
        let mut reasons = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            let (size, end_offset) = self.size_and_end(segment);
            if end_offset > self.high_watermark || (size == 0 && segment.sealed().is_none()) {
                break;
            }
            let next_start = self.segments.get(number + 1).map(|next| next.base_offset);
            if next_start.is_some_and(|next_start| next_start <= self.log_start) {
                reasons.push(DeletionReason::BeforeLogStart);
            } else if self.has_expired(segment, now_ms) {
                reasons.push(DeletionReason::Age);
            } else if excess > 0 && excess >= size {
                reasons.push(DeletionReason::Size);
            } else {
                break;
            }
            excess = excess.saturating_sub(size);
        }
        reasons
    }

    fn size_and_end(&self, segment: &Segment) -> (u64, Offset) {
        match segment.sealed() {
            Some(sealed) => (sealed.size, sealed.end_offset),
            None => (self.progress.position, self.next_offset),
        }
    }

    fn has_expired(&self, segment: &Segment, now_ms: i64) -> bool {
        let Some(limit) = self.settings.retention_age else {
            return false;
        };
        let latest = segment
            .sealed()
            .map_or(self.progress.max, |sealed| sealed.max)
            .timestamp;
        // Without timestamps the age is unknown, and counts from when the log was opened or the active segment began.
        let latest = if latest > NO_TIMESTAMP {
            latest
        } else {
            self.segment_created_ms
        };
        u128::try_from(now_ms.saturating_sub(latest)).is_ok_and(|age| age > limit.as_millis())
    }

    fn move_log_start(&mut self, to: Offset) -> Result<(), LogError> {
        self.checkpoint_file.lock().write_log_start(to)?;
        self.log_start = to;
        Ok(())
    }

    /// Deletes as many segments as there are reasons.
    fn delete_oldest(
        &mut self,
        reasons: Vec<DeletionReason>,
    ) -> Result<Vec<DeletedSegment>, LogError> {
        let kept_from = self.segments[reasons.len()].base_offset;
        if kept_from > self.log_start {
            self.move_log_start(kept_from)?;
        }
        let gone: Vec<Arc<Segment>> = self.segments.drain(..reasons.len()).collect();
        let is_gone = |segment: &Arc<Segment>| segment.base_offset < kept_from;
        self.unsynced.retain(|segment| !is_gone(segment));
        self.being_synced.retain(|segment| !is_gone(segment));
        self.unsynced_indexes.retain(|segment| !is_gone(segment));
        let bytes = gone
            .iter()
            .map(|segment| self.size_and_end(segment).0)
            .sum();
        self.sealed_bytes = ByteCount(self.sealed_bytes.0 - bytes);
        self.deleted_bytes += ByteCount(bytes);
        self.publish_segments();
        gone.iter()
            .zip(reasons)
            .map(|(segment, reason)| self.delete_segment(segment, reason))
            .collect()
    }

    fn delete_segment(
        &self,
        segment: &Segment,
        reason: DeletionReason,
    ) -> Result<DeletedSegment, LogError> {
        let (size, end_offset) = self.size_and_end(segment);
        // Readers may hold this segment: its indexes are opened while they still have their names.
        segment.open_indexes()?;
        let mut paths = Vec::new();
        let transactions = segment
            .transactions
            .has_file()
            .then(|| segment.transactions.path());
        let files = [
            segment.path.as_path(),
            segment.index.path(),
            segment.time_index.path(),
        ];
        for path in files.into_iter().chain(transactions) {
            let mut renamed = path.as_os_str().to_owned();
            renamed.push(DELETED);
            let renamed = PathBuf::from(renamed);
            self.disk.rename(path, &renamed).context("rename", path)?;
            paths.push(renamed);
        }
        let remains = Remains::of_files(&self.disk, paths, self.settings.file_delete_delay);
        Ok(DeletedSegment {
            base_offset: segment.base_offset,
            end_offset,
            size: ByteCount(size),
            reason,
            remains,
        })
    }
}
