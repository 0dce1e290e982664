//! What a shard does for its logs while nobody asks: retention, and compaction. It decides, and takes note of what was done;
//! the work is done by others.

use std::sync::Arc;

use broker_state::configs::BrokerConfig;
use broker_state::producers::{self, Producers};
use broker_state::step::Millis;
use log::{
    FinishedCompaction, LogError, Offset, PartitionLog, ProducerEnd, ProducerEnds, Remains,
    SwappedSegments, TrimJob, Trimmed, delete_logs,
};

use super::event::{Reply, Slot};
use super::owned::OwnedPartition;
use super::step::{Completed, Fatal, Shard, write_failed};
use crate::compactor::{Compacting, can_be_repeated};

/// How soon retention comes back to a partition that needs a checkpoint first.
const RETENTION_AGAIN_AFTER_MS: i64 = 1_000;

/// The broker's settings for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepSettings {
    /// `log.retention.check.interval.ms`: how often retention looks at a partition.
    pub retention_interval_ms: i64,
    /// `log.cleaner.enable`.
    pub compacts: bool,
    /// `log.cleaner.backoff.ms`: how long to wait when there was nothing to compact.
    pub compaction_backoff_ms: i64,
}

impl UpkeepSettings {
    pub fn of(config: &BrokerConfig) -> Self {
        Self {
            retention_interval_ms: config.integer("log.retention.check.interval.ms"),
            compacts: config.boolean("log.cleaner.enable"),
            compaction_backoff_ms: config.integer("log.cleaner.backoff.ms"),
        }
    }
}

impl Default for UpkeepSettings {
    /// Kafka's, without compaction: that takes somebody to do the jobs.
    fn default() -> Self {
        Self {
            retention_interval_ms: 300_000,
            compacts: false,
            compaction_backoff_ms: 15_000,
        }
    }
}

/// How a shard stands with compaction.
#[derive(Default)]
pub(super) struct CompactionTurn {
    /// One at a time.
    is_under_way: bool,
    look_again_at_ms: i64,
}

/// What a look at the compacted partitions of a shard has found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CompactionNeed {
    /// The dirty share of the worst partition.
    pub dirtiest: f64,
    /// Partitions that cannot be compacted.
    pub uncleanable: usize,
}

/// Segments of a partition that are to be deleted.
pub struct Trimming {
    pub partition: Slot,
    pub job: TrimJob,
}

/// Partitions that are to be deleted, and who waits for it.
pub struct Deletion {
    logs: Vec<PartitionLog>,
    reply: Reply<()>,
}

impl Deletion {
    /// Renames the directories and answers; gives what is to be removed.
    pub fn run(self) -> Vec<Remains> {
        let (remains, failures) = delete_logs(self.logs);
        for error in failures {
            // The topic is gone from the metadata.
            tracing::warn!(%error, "a deleted partition's files are still there");
        }
        self.reply.deliver(());
        remains
    }
}

impl Shard {
    /// Takes partitions away from everybody; the rest is done by the deletion.
    pub(super) fn delete(&mut self, partitions: &[Slot], reply: Reply<()>) -> Deletion {
        let mut logs = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let Some(slot) = self.slot_of(partition) else {
                continue;
            };
            let owned = self.partitions[slot].take().expect("slot_of found it");
            partition.close();
            self.free.push(slot);
            logs.push(owned.log);
        }
        Deletion { logs, reply }
    }

    /// Begins to delete what retention lets go of the partitions whose turn it is.
    pub(super) fn begin_retention(
        &mut self,
        now_ms: i64,
        completed: &mut Completed,
    ) -> Result<(), Fatal> {
        for owned in self.partitions.iter_mut().flatten() {
            if now_ms < owned.retention_at_ms || owned.is_full() {
                continue;
            }
            owned.retention_at_ms = now_ms.saturating_add(self.upkeep.retention_interval_ms);
            owned.producers.expire(Millis(now_ms));
            if owned
                .log
                .outruns_checkpoint(owned.log.retention_point(now_ms))
            {
                // Producers whose batches go must be in a checkpoint: that one first.
                owned.is_checkpoint_urgent = true;
                owned.retention_at_ms = now_ms.saturating_add(RETENTION_AGAIN_AFTER_MS);
                continue;
            }
            match owned.log.begin_retention(now_ms) {
                Ok(Some(job)) => {
                    let partition = Arc::clone(&owned.shared);
                    completed.trims.push(Trimming { partition, job });
                }
                Ok(None) => {}
                Err(source) => owned.failed(source, now_ms)?,
            }
        }
        Ok(())
    }

    /// Segments are gone.
    pub(super) fn trimmed(
        &mut self,
        partition: &Slot,
        trimmed: Trimmed,
        completed: &mut Completed,
    ) {
        if let Some(slot) = self.slot_of(partition) {
            let deleted = self.owned(slot).log.finish_trim(trimmed);
            tracing::info!(
                ?partition,
                segments = deleted.len(),
                "retention deleted segments"
            );
            let remains = deleted.into_iter().map(|segment| segment.remains);
            completed.remains.extend(remains);
        }
    }

    /// Takes other settings, and looks at the partitions anew.
    pub fn set_upkeep(&mut self, upkeep: UpkeepSettings) {
        self.upkeep = upkeep;
        self.look_for_compactions();
    }

    /// Has the next tick look at what there is to compact: settings have changed, or a compaction has ended.
    pub(super) fn look_for_compactions(&mut self) {
        self.compaction.look_again_at_ms = i64::MIN;
    }

    /// Begins to compact the dirtiest partition, unless a compaction of this shard is under way.
    pub(super) fn begin_compaction(
        &mut self,
        now_ms: i64,
        completed: &mut Completed,
    ) -> Result<(), Fatal> {
        let is_early = now_ms < self.compaction.look_again_at_ms;
        if !self.upkeep.compacts || self.compaction.is_under_way || is_early {
            return Ok(());
        }
        let mut need = CompactionNeed::default();
        let mut chosen: Option<((bool, f64), usize)> = None;
        for (slot, owned) in self.partitions.iter_mut().enumerate() {
            let Some(owned) = owned
                .as_mut()
                .filter(|owned| owned.settings.is_compacted && !owned.is_full())
            else {
                continue;
            };
            if let Err(source) = roll_if_aged(owned, now_ms) {
                owned.failed(source, now_ms)?;
                continue;
            }
            let found = owned.log.dirtiness(now_ms);
            let found = found.map_err(|source| write_failed(&owned.shared, source))?;
            let Some(found) = found else { continue };
            need.dirtiest = need.dirtiest.max(found.ratio());
            if owned.is_uncleanable || found.is_damaged {
                need.uncleanable += 1;
                continue;
            }
            let rank = (found.is_overdue, found.ratio());
            if found.is_due && chosen.is_none_or(|(best, _)| rank > best) {
                chosen = Some((rank, slot));
            }
        }
        completed.compaction_need = Some(need);
        self.compaction.look_again_at_ms = now_ms.saturating_add(self.upkeep.compaction_backoff_ms);
        if let Some((_, slot)) = chosen {
            self.compaction.is_under_way = self.hand_out(slot, now_ms, completed)?;
        }
        Ok(())
    }

    fn hand_out(
        &mut self,
        slot: usize,
        now_ms: i64,
        completed: &mut Completed,
    ) -> Result<bool, Fatal> {
        let owned = self.owned(slot);
        let ends = producer_ends(&owned.producers);
        let job = match owned.log.begin_compaction(now_ms, ends) {
            Ok(Some(job)) => job,
            Ok(None) => return Ok(false),
            Err(source) => {
                owned.failed(source, now_ms)?;
                return Ok(false);
            }
        };
        let partition = Arc::clone(&owned.shared);
        completed.compaction = Some(Compacting { partition, job });
        Ok(true)
    }

    /// A segment has taken the place of others.
    pub(super) fn swapped(
        &mut self,
        partition: &Slot,
        swapped: SwappedSegments,
        completed: &mut Completed,
    ) {
        if let Some(slot) = self.slot_of(partition) {
            let remains = self.owned(slot).log.apply_swap(swapped);
            completed.remains.push(remains);
        }
    }

    /// A compaction has ended, one way or the other.
    pub(super) fn compacted(
        &mut self,
        partition: &Slot,
        outcome: Result<FinishedCompaction, LogError>,
    ) -> Result<(), Fatal> {
        self.compaction.is_under_way = false;
        let Some(slot) = self.slot_of(partition) else {
            self.look_for_compactions();
            return Ok(());
        };
        let owned = self.owned(slot);
        // What retention had to leave alone meanwhile is due now.
        owned.retention_at_ms = i64::MIN;
        match outcome {
            Ok(finished) => {
                owned.log.finish_compaction(finished);
                self.look_for_compactions();
            }
            Err(error) if can_be_repeated(&error) => {
                owned.log.abandon_compaction();
                tracing::warn!(?partition, %error, "a compaction did not end; it is tried again later");
            }
            Err(error @ (LogError::Corrupt { .. } | LogError::BufferTooSmall { .. })) => {
                owned.log.abandon_compaction();
                owned.is_uncleanable = true;
                tracing::error!(?partition, %error, "the partition cannot be compacted; it is left alone until the next start");
                self.look_for_compactions();
            }
            Err(source) => return Err(write_failed(partition, source)),
        }
        Ok(())
    }
}

fn producer_ends(producers: &Producers) -> ProducerEnds {
    let end = |end: producers::ProducerEnd| {
        let known = ProducerEnd {
            last_data_offset: end.last_data_offset.map(Offset),
            epoch: end.epoch,
        };
        (end.producer_id, known)
    };
    producers.ends().map(end).collect()
}

/// Ends the active segment of a compacted log once it is so old that its records must be compacted.
fn roll_if_aged(owned: &mut OwnedPartition, now_ms: i64) -> Result<(), LogError> {
    if owned.settings.max_compaction_lag_ms == i64::MAX {
        return Ok(());
    }
    owned.log.roll_if_aged(now_ms)?;
    Ok(())
}
