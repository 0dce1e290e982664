//! What a log lets go: segments by age and size, records before a new log start, and the whole log.
//!
//! Only segments wholly below the high watermark go, oldest first. The log start moves durably before any file is renamed, so
//! that after a crash no hole can open between segments: what lies before the log start is removed by recovery.

use crate::error::LogError;
use crate::offset::Offset;
use crate::partition::PartitionLog;
use crate::remains::{DeletedSegment, DeletionReason, Remains};
use crate::segment::{NO_TIMESTAMP, Segment};
use crate::trimming::{TrimJob, delete_logs};

impl PartitionLog {
    /// Deletes the segments that are past the retention time or size, or before the log start.
    ///
    /// The active segment goes only when everything in it has expired, and another one begins first. Nothing goes while a
    /// job is at work on the segments.
    ///
    /// # Errors
    /// `Io` when the disk fails; `Halted` after a failed write.
    pub fn apply_retention(&mut self, now_ms: i64) -> Result<Vec<DeletedSegment>, LogError> {
        match self.begin_retention(now_ms)? {
            Some(job) => self.trim(job),
            None => Ok(Vec::new()),
        }
    }

    /// Runs a job on this thread.
    fn trim(&mut self, job: TrimJob) -> Result<Vec<DeletedSegment>, LogError> {
        let trimmed = job.run();
        self.is_trimming = false;
        trimmed.map(|trimmed| self.finish_trim(trimmed))
    }

    /// Where the log would start after [`PartitionLog::apply_retention`].
    pub fn retention_point(&self, now_ms: i64) -> Offset {
        match self.doomed(now_ms).len() {
            _ if self.is_busy() => self.log_start,
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
    /// An offset below the log start changes nothing; while a job is at work on the segments, they are left to the next retention.
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
        if gone == 0 || self.is_busy() {
            self.publish_segments();
            return Ok(Vec::new());
        }
        let job = self.begin_trim(vec![DeletionReason::BeforeLogStart; gone]);
        self.trim(job)
    }

    /// Deletes the log with everything in its directory. Readers that hold a view can finish what they have open.
    ///
    /// # Errors
    /// `Io` when the directory cannot be renamed.
    pub fn delete(self) -> Result<Remains, LogError> {
        let (mut remains, mut failures) = delete_logs(vec![self]);
        match failures.pop() {
            Some(error) => Err(error),
            None => Ok(remains.pop().expect("a log that was renamed remains")),
        }
    }

    /// The reasons for which the oldest segments go, one for each.
    pub(crate) fn doomed(&self, now_ms: i64) -> Vec<DeletionReason> {
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

    pub(crate) fn size_and_end(&self, segment: &Segment) -> (u64, Offset) {
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
}
