//! What a shard does for its logs while nobody asks: retention, and compaction. It decides, and takes note of what was done;
//! the work is done by others.

use std::sync::Arc;

use broker_state::configs::BrokerConfig;
use broker_state::producers::{self, Producers};
use log::{FinishedCompaction, LogError, Offset, ProducerEnd, ProducerEnds, SwappedSegments};

use super::event::Slot;
use super::owned::OwnedPartition;
use super::step::{Completed, Fatal, Shard, write_failed};
use crate::compactor::{Compacting, can_be_repeated};

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

impl Shard {
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
            let Some(owned) = owned.as_mut().filter(|owned| owned.settings.is_compacted) else {
                continue;
            };
            roll_if_aged(owned, now_ms)?;
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
        let begun = owned.log.begin_compaction(now_ms, ends);
        let Some(job) = begun.map_err(|source| write_failed(&owned.shared, source))? else {
            return Ok(false);
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
fn roll_if_aged(owned: &mut OwnedPartition, now_ms: i64) -> Result<(), Fatal> {
    if owned.settings.max_compaction_lag_ms == i64::MAX {
        return Ok(());
    }
    let rolled = owned.log.roll_if_aged(now_ms);
    rolled.map_err(|source| write_failed(&owned.shared, source))?;
    Ok(())
}
