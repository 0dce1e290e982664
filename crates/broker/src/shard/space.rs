//! What a shard does when the disk is full: it refuses records with KAFKA_STORAGE_ERROR, which clients try again, keeps the ends
//! of transactions for later, and opens a log anew once there is space, as a restart would. Nothing that was acknowledged is lost,
//! and readers go on.

use std::sync::Arc;

use log::{Disk, LogError};
use wire::ErrorCode;

use super::event::{AppendOutcome, Marker, MarkerOutcome, OpenRequest, Reply, Slot};
use super::owned::OwnedPartition;
use super::step::{Fatal, Shard, write_failed};

/// Logs that one tick opens anew, so that a tick never holds up producers for long.
const OPENED_PER_TICK: usize = 64;
/// How long a log that could not be opened anew is left alone.
const TRY_AGAIN_MS: i64 = 1_000;

/// Ends of transactions that found a disk without room. As many as there are transactions that end.
pub(super) struct HeldMarkers {
    pub(super) markers: Vec<Marker>,
    pub(super) outcomes: Vec<MarkerOutcome>,
    pub(super) reply: Reply<Vec<MarkerOutcome>>,
}

pub(super) fn refused_without_space(partition: &Slot) -> AppendOutcome {
    AppendOutcome::refused(
        ErrorCode::KafkaStorageError,
        format!(
            "the disk is full, {partition:?} takes no records; it does again once there is space"
        ),
    )
}

impl OwnedPartition {
    /// Takes note of a failure: a full disk is waited for, any other ends the broker.
    pub fn failed(&mut self, source: LogError, now_ms: i64) -> Result<(), Fatal> {
        if !source.is_mended_by_space() {
            return Err(write_failed(&self.shared, source));
        }
        tracing::error!(partition = ?self.shared, error = %source, "the disk is full: the partition takes no records until there is space");
        self.full_since_ms = Some(now_ms);
        self.reopen_at_ms = now_ms;
        Ok(())
    }

    /// Opens the log anew after a write that the disk had no room for: what of it is on the disk is found or cut off by recovery,
    /// and the producers are what the log says.
    fn reopen(&mut self, disk: &Arc<dyn Disk>, now_ms: i64) -> Result<(), LogError> {
        let request = OpenRequest {
            topic: Arc::clone(&self.shared.topic),
            topic_id: self.shared.topic_id,
            index: self.shared.index,
            directory: self.log.dir().to_owned(),
            settings: self.settings,
        };
        let (mut opened, _) = OwnedPartition::open(disk, request, self.shared.owner, now_ms)?;
        opened.log.continue_view(self.log.shared_view())?;
        opened.shared = Arc::clone(&self.shared);
        self.shared
            .replace_transactions(opened.producers.in_transaction());
        *self = opened;
        self.shared.wake_waiters();
        Ok(())
    }
}

impl Shard {
    /// Opens logs that had no room anew, and writes the ends of transactions that were held.
    pub(super) fn resume(&mut self, now_ms: i64) -> Result<(), Fatal> {
        let is_waiting = |owned: &&mut OwnedPartition| {
            owned.full_since_ms.is_some()
                && owned.reopen_at_ms <= now_ms
                && !owned.is_checkpointing
                && !owned.log.is_busy()
        };
        let waiting = self.partitions.iter_mut().flatten().filter(is_waiting);
        for owned in waiting.take(OPENED_PER_TICK) {
            match owned.reopen(&self.disk, now_ms) {
                Ok(()) => {
                    tracing::info!(partition = ?owned.shared, "the partition takes records again");
                }
                Err(error) if error.is_mended_by_space() => {
                    owned.reopen_at_ms = now_ms.saturating_add(TRY_AGAIN_MS);
                }
                Err(source) => return Err(write_failed(&owned.shared, source)),
            }
        }
        Ok(())
    }

    /// Takes the markers out that were held, for one more try.
    pub(super) fn take_held(&mut self) -> Vec<HeldMarkers> {
        std::mem::take(&mut self.held)
    }
}
