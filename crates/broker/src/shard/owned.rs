//! A partition as its owner holds it: the log, the producers' state, and when it was last looked after.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker_state::configs::{Durability, TopicSettings};
use broker_state::producers::{Admission, EndOfTransaction, ProducerLimits, Producers};
use broker_state::step::Millis;
use log::{
    ByteCount, CheckpointJob, CompactionSettings, Disk, LogError, LogSettings, Offset,
    PartitionLog, Recovery, Replay, TimestampType,
};
use wire::ErrorCode;
use wire::records::{BatchHeader, CheckedBatch, EndTransactionMarker};

use super::event::{AppendOutcome, Marker, MarkerOutcome, OpenRequest, Slot};
use crate::partition::{Owner, Partition};

/// A checkpoint follows this many appended bytes, so that a crash leaves little to scan.
const CHECKPOINT_AFTER_BYTES: u64 = 4 << 20;
/// … or this much time, whichever comes first.
const CHECKPOINT_AFTER_MS: i64 = 5_000;
/// Where nothing is synced for the producer, a checkpoint costs a sync of its own and is rarer.
const UNSYNCED_CHECKPOINT_AFTER_MS: i64 = 60_000;

/// As in Kafka: records that are old when they are written can be read for a while.
const FIRST_RETENTION_AFTER_MS: i64 = 30_000;

/// A partition that this shard owns.
pub struct OwnedPartition {
    pub shared: Slot,
    pub log: PartitionLog,
    pub producers: Producers,
    pub settings: TopicSettings,
    /// Set while a step has appended here and not yet published.
    pub is_touched: bool,
    /// Set while a marker is appended and not yet synced: it is, whatever the durability.
    pub has_marker: bool,
    /// Producers whose transactions here have begun or ended since the last publish.
    changed_transactions: Vec<i64>,
    /// Set while a checkpoint of this partition is being written in the background.
    pub is_checkpointing: bool,
    /// Set when something waits for the next checkpoint.
    pub is_checkpoint_urgent: bool,
    /// Records that were appended since the last checkpoint was begun.
    pub unsynced_records: i64,
    /// Set when a compaction has met what cannot be compacted.
    pub is_uncleanable: bool,
    pub checkpoint_at_ms: i64,
    pub retention_at_ms: i64,
    pub first_unsynced_at_ms: Option<i64>,
    /// Set while the log takes nothing because a write found the disk full; it is opened anew when there is space.
    pub full_since_ms: Option<i64>,
    pub reopen_at_ms: i64,
}

impl OwnedPartition {
    /// Opens the log and rebuilds the producers' state from its checkpoint and tail.
    ///
    /// # Errors
    /// Whatever keeps the log from being opened.
    pub fn open(
        disk: &Arc<dyn Disk>,
        request: OpenRequest,
        owner: Owner,
        now_ms: i64,
    ) -> Result<(Self, Recovery), LogError> {
        let OpenRequest {
            topic,
            topic_id,
            index,
            directory,
            settings,
        } = request;
        // A crash may have left the directory of an earlier topic of this name, or the metadata was lost.
        if log::read_topic_id(disk, &directory)?.is_some_and(|id| id != topic_id) {
            set_aside(disk, &directory)?;
        }
        let mut producers = Producers::new(ProducerLimits::default());
        let mut replay = |replay: Replay<'_>| match replay {
            Replay::Snapshot(snapshot) => match Producers::restore(snapshot) {
                Ok(restored) => producers = restored,
                // Batches sent again would then be taken for new ones: worth a line, not worth refusing the data.
                Err(error) => {
                    tracing::error!(%error, "the producers' state of a partition is lost")
                }
            },
            Replay::Batch(header) => producers.apply(header, Millis(now_ms)),
            Replay::Marker(header, marker) => {
                let (epoch, offset) = (marker.coordinator_epoch, header.base_offset);
                producers.record_marker(header, epoch, offset, Millis(now_ms));
            }
        };
        let (mut log, recovery) = PartitionLog::open(
            Arc::clone(disk),
            &directory,
            log_settings(&settings),
            now_ms,
            &mut replay,
        )?;
        log::write_topic_id(disk, &directory, topic_id)?;
        if !recovery.corrupt.is_empty() {
            // What counts as damage depends on the durability at the time: it is decided once, and later records stay.
            log.checkpoint(producers.snapshot())?;
        }
        let shared = Partition::new(topic, topic_id, index, owner, log.shared_view());
        for (producer_id, epoch) in producers.in_transaction() {
            shared.set_transaction(producer_id, Some(epoch));
        }
        let owned = Self {
            shared: Arc::new(shared),
            log,
            producers,
            settings,
            is_touched: false,
            has_marker: false,
            changed_transactions: Vec::new(),
            is_checkpointing: false,
            is_checkpoint_urgent: false,
            unsynced_records: 0,
            is_uncleanable: false,
            checkpoint_at_ms: now_ms,
            retention_at_ms: now_ms + FIRST_RETENTION_AFTER_MS,
            first_unsynced_at_ms: None,
            full_since_ms: None,
            reopen_at_ms: 0,
        };
        Ok((owned, recovery))
    }

    /// Admits and buffers one batch; nothing is visible or on the disk yet.
    pub fn append(
        &mut self,
        batch: &CheckedBatch,
        verified_at: Option<Offset>,
        now_ms: i64,
    ) -> AppendOutcome {
        let header = batch.header();
        if let Some(refusal) = self.refuse_timestamps(header, now_ms) {
            return refusal;
        }
        let verified_at = verified_at.map(|offset| offset.0);
        match self.producers.admit(header, verified_at, Millis(now_ms)) {
            Admission::Append => {}
            Admission::Duplicate {
                base_offset,
                log_append_time,
            } => {
                return self.outcome(base_offset, log_append_time);
            }
            Admission::Refuse(error, message) => return AppendOutcome::refused(error, message),
        }
        let appended = self.log.append(batch, now_ms);
        let (base_offset, append_time) = (
            appended.base_offset.0,
            appended.log_append_time.unwrap_or(-1),
        );
        self.producers
            .record(header, base_offset, append_time, Millis(now_ms));
        if header.is_transactional() {
            self.changed_transactions.push(header.producer_id);
        }
        self.first_unsynced_at_ms.get_or_insert(now_ms);
        self.unsynced_records += i64::from(header.record_count);
        self.is_touched = true;
        self.outcome(base_offset, append_time)
    }

    /// Admits and buffers a marker. The sync that makes it durable may not be left out.
    pub fn append_marker(&mut self, marker: &Marker, now_ms: i64) -> MarkerOutcome {
        let end = EndOfTransaction {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            transaction_version: marker.transaction_version,
        };
        if let Err((error, message)) = self.producers.admit_marker(&end) {
            tracing::info!(partition = ?self.shared, message, "a transaction's end was refused");
            return error;
        }
        let record = EndTransactionMarker {
            is_commit: marker.is_commit,
            coordinator_epoch: marker.coordinator_epoch,
        };
        let bytes = record.batch(marker.producer_id, marker.producer_epoch, now_ms);
        let batch = CheckedBatch::check(bytes, usize::MAX).expect("a marker is a good batch");
        let offset = self.log.append(&batch, now_ms).base_offset.0;
        let (header, epoch) = (batch.header(), marker.coordinator_epoch);
        self.producers
            .record_marker(header, epoch, offset, Millis(now_ms));
        self.changed_transactions.push(marker.producer_id);
        self.first_unsynced_at_ms.get_or_insert(now_ms);
        (self.is_touched, self.has_marker) = (true, true);
        ErrorCode::None
    }

    fn outcome(&self, base_offset: i64, log_append_time: i64) -> AppendOutcome {
        AppendOutcome {
            error: ErrorCode::None,
            message: None,
            record_errors: Vec::new(),
            base_offset,
            log_append_time,
            log_start: self.log.log_start().0,
        }
    }

    fn refuse_timestamps(&self, header: &BatchHeader, now_ms: i64) -> Option<AppendOutcome> {
        let settings = &self.settings;
        if settings.is_log_append_time {
            return None;
        }
        let too_old = header.base_timestamp >= 0
            && now_ms.saturating_sub(header.max_timestamp)
                > settings.message_timestamp_before_max_ms;
        let too_new =
            header.max_timestamp.saturating_sub(now_ms) > settings.message_timestamp_after_max_ms;
        (too_old || too_new).then(|| {
            let limit = if too_old {
                "message.timestamp.before.max.ms"
            } else {
                "message.timestamp.after.max.ms"
            };
            AppendOutcome::refused(
                ErrorCode::InvalidTimestamp,
                format!(
                    "timestamp {} of a record for {:?} is beyond {limit}",
                    header.max_timestamp, self.shared
                ),
            )
        })
    }

    /// Whether replies and readers wait for the disk.
    pub fn is_synced_by_step(&self) -> bool {
        self.has_marker || self.settings.durability == Durability::Sync
    }

    /// Whether the log waits for space on the disk. What its owner knows beyond what is published is not to be relied on.
    pub fn is_full(&self) -> bool {
        self.full_since_ms.is_some()
    }

    /// Whether it is time to write down how far the log is known to be good: a crash would leave too much to scan,
    /// or the interval of an interval topic is over. A checkpoint syncs what it claims.
    pub fn wants_checkpoint(&self, now_ms: i64) -> bool {
        let bytes = self.log.bytes_since_checkpoint();
        if self.is_checkpointing || self.is_full() {
            return false;
        }
        if self.is_checkpoint_urgent {
            return true;
        }
        if bytes == 0 {
            return false;
        }
        let age = now_ms - self.checkpoint_at_ms;
        match self.settings.durability {
            Durability::Sync => bytes >= CHECKPOINT_AFTER_BYTES || age >= CHECKPOINT_AFTER_MS,
            Durability::Interval { flush_ms } => {
                bytes >= CHECKPOINT_AFTER_BYTES
                    || self.unsynced_records >= self.settings.flush_messages
                    || self
                        .first_unsynced_at_ms
                        .is_some_and(|since| now_ms - since >= flush_ms)
            }
            Durability::Os => age >= UNSYNCED_CHECKPOINT_AFTER_MS,
        }
    }

    /// Makes what is written visible to readers and wakes those who wait for it.
    pub fn publish(&mut self) {
        self.log.publish(self.end());
        for producer_id in self.changed_transactions.drain(..) {
            let epoch = self.producers.epoch_in_transaction(producer_id);
            self.shared.set_transaction(producer_id, epoch);
        }
        self.shared.wake_waiters();
        (self.is_touched, self.has_marker) = (false, false);
    }

    /// The offset after the last record that was appended.
    pub fn end(&self) -> Offset {
        self.log.end_offset()
    }

    /// Makes a checkpoint before the log start moves to `before`, if batches would go that none covers: after a crash nobody
    /// replays them, and the producers that wrote them would be forgotten.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn cover(&mut self, before: Offset) -> Result<(), LogError> {
        if !self.log.outruns_checkpoint(before) {
            return Ok(());
        }
        self.log.checkpoint(self.producers.snapshot())
    }

    /// Begins a checkpoint of everything written; the job does the waiting.
    ///
    /// # Errors
    /// When the indexes cannot be written.
    pub fn begin_checkpoint(&mut self, now_ms: i64) -> Result<CheckpointJob, LogError> {
        self.is_checkpointing = true;
        self.is_checkpoint_urgent = false;
        self.unsynced_records = 0;
        self.first_unsynced_at_ms = None;
        self.checkpoint_at_ms = now_ms;
        self.log.begin_checkpoint(self.producers.snapshot())
    }

    /// Takes note that the disk had no room for the checkpoint. It is made again when its time comes, also if nothing is appended
    /// until then: retention may wait for it, and that makes room.
    pub fn checkpoint_put_off(&mut self, now_ms: i64) {
        self.is_checkpointing = false;
        self.log.abandon_checkpoint();
        self.first_unsynced_at_ms.get_or_insert(now_ms);
    }

    pub fn configure(&mut self, settings: TopicSettings) {
        self.log.update_settings(log_settings(&settings));
        self.settings = settings;
    }
}

/// The part of a topic's settings that its logs need.
pub fn log_settings(settings: &TopicSettings) -> LogSettings {
    LogSettings {
        segment_bytes: ByteCount(settings.segment_bytes),
        segment_age: millis(segment_ms(settings)),
        segment_jitter: millis(settings.segment_jitter_ms),
        segment_index_bytes: ByteCount(settings.segment_index_bytes),
        preallocate: settings.preallocate,
        index_interval_bytes: ByteCount(settings.index_interval_bytes),
        file_delete_delay: millis(settings.file_delete_delay_ms),
        retention_age: settings
            .retention_ms
            .filter(|_| settings.deletes_by_retention)
            .map(millis),
        retention_bytes: settings
            .retention_bytes
            .filter(|_| settings.deletes_by_retention)
            .map(ByteCount),
        skips_damage: settings.skips_damage,
        compaction: settings.is_compacted.then(|| CompactionSettings {
            min_dirty_ratio: settings.min_cleanable_dirty_ratio,
            min_lag: millis(settings.min_compaction_lag_ms),
            max_lag: millis(settings.max_compaction_lag_ms),
            delete_retention: millis(settings.delete_retention_ms),
        }),
        max_message_bytes: ByteCount(settings.max_message_bytes as u64),
        timestamp_type: if settings.is_log_append_time {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        durability: match settings.durability {
            Durability::Sync => log::Durability::Sync,
            Durability::Interval { .. } => log::Durability::Interval,
            Durability::Os => log::Durability::Os,
        },
    }
}

/// A compacted topic's records must not wait in an active segment for longer than they may stay uncompacted.
fn segment_ms(settings: &TopicSettings) -> i64 {
    match settings.is_compacted {
        true => settings.segment_ms.min(settings.max_compaction_lag_ms),
        false => settings.segment_ms,
    }
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

/// Gives a directory that no topic owns another name: it may be all that is left of somebody's records.
fn set_aside(disk: &Arc<dyn Disk>, directory: &Path) -> Result<(), LogError> {
    let failed = |operation| {
        let path = directory.to_owned();
        move |source| LogError::Io {
            operation,
            path,
            source,
        }
    };
    let owner = log::read_topic_id(disk, directory)?.unwrap_or_default();
    let mut aside = directory.as_os_str().to_owned();
    aside.push(format!(".{owner}-stray"));
    let aside = PathBuf::from(aside);
    if disk.exists(&aside).map_err(failed("look for"))? {
        disk.remove_dir_all(&aside).map_err(failed("remove"))?;
    }
    disk.rename(directory, &aside).map_err(failed("rename"))?;
    let (from, to) = (directory.display(), aside.display());
    tracing::warn!(%from, %to, "the directory belongs to a topic that is no more; it was set aside, remove it if you do not miss it");
    Ok(())
}
