//! One step of a shard, and what it leaves for its thread to do.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use broker_state::step::Millis;
use log::{CheckpointJob, Disk, LogError, Recovery, Remains};
use thiserror::Error;
use wire::ErrorCode;

use broker_state::configs::TopicSettings;

use super::admission::WaitingReply;
use super::event::{Event, OpenRequest, Slot};
use super::owned::OwnedPartition;
use super::space::HeldMarkers;
use super::upkeep::{CompactionNeed, CompactionTurn, Deletion, Trimming, UpkeepSettings};
use crate::compactor::Compacting;
use crate::partition::Owner;
use crate::room::Gauge;
use crate::sync_pool::SyncPool;

/// Threads that open partitions at the start, each at least this many.
const OPENING_THREADS: usize = 16;
const OPENED_PER_THREAD: usize = 4;
/// Checkpoints of one tick, so that a tick never holds up producers for long.
const CHECKPOINTS_PER_TICK: usize = 256;

/// Why a shard, and with it the broker, cannot go on: what is on the disk is no longer known.
#[derive(Debug, Error)]
pub enum Fatal {
    #[error(
        "cannot write to {partition}: {source}; nothing that was acknowledged is lost, mend the disk and start again"
    )]
    Write { partition: String, source: LogError },
    #[error(
        "cannot sync {partition} to the disk: {source}; nothing that was acknowledged is lost, mend the disk and start again"
    )]
    Sync {
        partition: String,
        source: std::io::Error,
    },
    #[error(
        "thread {thread} met a bug and ended; nothing that was acknowledged is lost, please report what it said"
    )]
    Bug { thread: String },
}

/// A checkpoint that is written without holding up the step; its end comes back as `Event::Checkpointed`.
pub struct Checkpointing {
    pub partition: Slot,
    pub job: CheckpointJob,
}

/// What a step did, for the metrics and for the thread.
#[derive(Default)]
pub struct Completed {
    pub checkpoints: Vec<Checkpointing>,
    /// Segments to be deleted; their end comes back as `Event::Trimmed`.
    pub trims: Vec<Trimming>,
    /// Partitions to be deleted; whoever asked is answered when that is done.
    pub deletions: Vec<Deletion>,
    /// To be done by the compactor; its end comes back as `Event::Compacted`.
    pub compaction: Option<Compacting>,
    pub compaction_need: Option<CompactionNeed>,
    /// Deleted files, to be removed where waiting does not matter.
    pub remains: Vec<Remains>,
    pub is_closed: bool,
    pub times: StepTimes,
}

/// Where the time of a step went.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTimes {
    pub batches: usize,
    pub synced_files: usize,
    pub sync: Duration,
}

/// The partitions of one thread.
pub struct Shard {
    index: usize,
    pub(super) disk: Arc<dyn Disk>,
    syncs: Arc<SyncPool>,
    pub(super) partitions: Vec<Option<OwnedPartition>>,
    pub(super) free: Vec<usize>,
    next_checkpoint: usize,
    pub(super) touched: Vec<usize>,
    pub(super) replies: Vec<WaitingReply>,
    pub(super) gauge: Gauge,
    pub(super) held: Vec<HeldMarkers>,
    pub(super) upkeep: UpkeepSettings,
    pub(super) compaction: CompactionTurn,
}

impl Shard {
    pub fn new(index: usize, disk: Arc<dyn Disk>, syncs: Arc<SyncPool>) -> Self {
        Self {
            index,
            disk,
            syncs,
            partitions: Vec::new(),
            free: Vec::new(),
            next_checkpoint: 0,
            touched: Vec::new(),
            replies: Vec::new(),
            gauge: Gauge::default(),
            held: Vec::new(),
            upkeep: UpkeepSettings::default(),
            compaction: CompactionTurn::default(),
        }
    }

    /// Its number among the shards.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Works through `events` in order; every reply that is due has been delivered when it returns.
    ///
    /// # Errors
    /// `Fatal` when the disk failed; replies that promised durability are then dropped, not delivered.
    pub fn step(
        &mut self,
        now_ms: i64,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<Completed, Fatal> {
        let mut completed = Completed::default();
        for event in events {
            if completed.is_closed {
                // Whoever asked is told nothing, and tries again elsewhere or later.
                continue;
            }
            match event {
                Event::Append { items, reply } => {
                    completed.times.batches += items.len();
                    self.admit(now_ms, items, reply);
                }
                Event::WriteMarkers { markers, reply } => {
                    completed.times.batches += markers.len();
                    self.admit_markers(now_ms, markers, reply, &mut completed.times)?;
                }
                event => {
                    self.commit(now_ms, &mut completed.times)?;
                    self.administer(now_ms, event, &mut completed)?;
                }
            }
        }
        self.commit(now_ms, &mut completed.times)?;
        Ok(completed)
    }

    /// Writes, syncs, publishes and replies for everything admitted since the last commit.
    pub(super) fn commit(&mut self, now_ms: i64, times: &mut StepTimes) -> Result<(), Fatal> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.touched);
        let (synced, unsynced): (Vec<usize>, Vec<usize>) = touched
            .iter()
            .partition(|&&slot| self.owned(slot).is_synced_by_step());
        for &slot in &touched {
            self.write(slot, now_ms)?;
        }
        for &slot in &unsynced {
            self.publish(slot);
        }
        let mut replies = std::mem::take(&mut self.replies);
        self.refuse_unwritten(&mut replies);
        let (late, early): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|reply| reply.waits_for_sync);
        self.deliver(early);
        self.sync(&synced, times)?;
        for &slot in &synced {
            self.publish(slot);
        }
        self.deliver(late);
        self.touched = touched;
        self.touched.clear();
        Ok(())
    }

    fn write(&mut self, slot: usize, now_ms: i64) -> Result<(), Fatal> {
        let owned = self.owned(slot);
        match owned.log.write() {
            Ok(()) => Ok(()),
            Err(source) => owned.failed(source, now_ms),
        }
    }

    fn publish(&mut self, slot: usize) {
        let owned = self.owned(slot);
        if !owned.is_full() {
            owned.publish();
        }
    }

    /// Syncs all files of these partitions together.
    fn sync(&mut self, slots: &[usize], times: &mut StepTimes) -> Result<(), Fatal> {
        let written = |slot: &&usize| {
            !self.partitions[**slot]
                .as_ref()
                .is_some_and(OwnedPartition::is_full)
        };
        let slots: Vec<usize> = slots.iter().filter(written).copied().collect();
        let mut files = Vec::with_capacity(slots.len());
        let mut slot_of_file = Vec::with_capacity(slots.len());
        for &slot in &slots {
            for file in self.owned(slot).log.unsynced_files() {
                files.push(file);
                slot_of_file.push(slot);
            }
        }
        if !files.is_empty() {
            times.synced_files += files.len();
            let synced = self.syncs.sync_all(&files);
            if synced.is_err() {
                slots
                    .iter()
                    .for_each(|&slot| self.owned(slot).log.sync_failed());
            }
            times.sync += synced.map_err(|(index, source)| Fatal::Sync {
                partition: format!("{:?}", self.owned(slot_of_file[index]).shared),
                source,
            })?;
        }
        for &slot in &slots {
            let owned = self.owned(slot);
            owned.log.mark_synced(owned.end());
            owned.first_unsynced_at_ms = None;
        }
        Ok(())
    }

    fn administer(
        &mut self,
        now_ms: i64,
        event: Event,
        completed: &mut Completed,
    ) -> Result<(), Fatal> {
        match event {
            Event::Append { .. } | Event::WriteMarkers { .. } => {
                unreachable!("appends are admitted, not administered")
            }
            Event::Open { requests, reply } => reply.deliver(self.open(now_ms, requests)),
            Event::Delete { partitions, reply } => {
                let deletion = self.delete(&partitions, reply);
                completed.deletions.push(deletion);
            }
            Event::Configure {
                partitions,
                settings,
            } => self.configure(&partitions, &settings, &mut completed.times)?,
            Event::DeleteRecords {
                partition,
                before,
                reply,
            } => {
                let result =
                    self.delete_records(now_ms, &partition, before, &mut completed.remains)?;
                reply.deliver(result);
            }
            Event::DescribeProducers { partition, reply } => {
                let slot = self.slot_of(&partition);
                let producers = slot.map(|slot| self.owned(slot).producers.list(Millis(now_ms)));
                reply.deliver(producers);
            }
            Event::Checkpointed {
                partition,
                finished,
            } => {
                if let Some(slot) = self.slot_of(&partition) {
                    let owned = self.owned(slot);
                    owned.is_checkpointing = false;
                    owned.log.finish_checkpoint(finished);
                }
            }
            Event::CheckpointPutOff { partition } => {
                if let Some(slot) = self.slot_of(&partition) {
                    self.owned(slot).checkpoint_put_off(now_ms);
                }
            }
            Event::TrimPutOff { partition, source } => {
                if let Some(slot) = self.slot_of(&partition) {
                    let owned = self.owned(slot);
                    owned.log.abandon_trim();
                    owned.failed(source, now_ms)?;
                }
            }
            Event::Swapped { partition, swapped } => self.swapped(&partition, swapped, completed),
            Event::Trimmed { partition, trimmed } => self.trimmed(&partition, trimmed, completed),
            Event::Compacted { partition, outcome } => self.compacted(&partition, outcome)?,
            Event::Upkeep(upkeep) => self.set_upkeep(upkeep),
            Event::Tick => self.tick(now_ms, completed)?,
            Event::Close { reply } => {
                self.close(&mut completed.times)?;
                completed.is_closed = true;
                reply.deliver(());
            }
        }
        Ok(())
    }

    /// Opens partitions, many at a time: opening waits for the disk more than it works.
    fn open(&mut self, now_ms: i64, requests: Vec<OpenRequest>) -> Result<Vec<Slot>, LogError> {
        let slots: Vec<usize> = requests.iter().map(|_| self.free_slot()).collect();
        let shard = self.index;
        let work: Vec<(Owner, OpenRequest)> = slots
            .iter()
            .map(|&slot| Owner::Shard { shard, slot })
            .zip(requests)
            .collect();
        let opened = open_all(&self.disk, work, now_ms);
        let opened = opened.inspect_err(|_| self.free.extend(&slots))?;
        let mut partitions = Vec::with_capacity(opened.len());
        for (slot, (owned, recovery)) in slots.into_iter().zip(opened) {
            report(&owned.shared, &recovery);
            partitions.push(Arc::clone(&owned.shared));
            self.partitions[slot] = Some(owned);
        }
        Ok(partitions)
    }

    fn free_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.partitions.push(None);
            self.partitions.len() - 1
        })
    }

    /// A topic that becomes `sync` is synced at once: its readers have seen, and a batch sent again is acknowledged for,
    /// what was written before.
    fn configure(
        &mut self,
        partitions: &[Slot],
        settings: &TopicSettings,
        times: &mut StepTimes,
    ) -> Result<(), Fatal> {
        self.look_for_compactions();
        let mut becoming_synced = Vec::new();
        for slot in partitions
            .iter()
            .filter_map(|partition| self.slot_of(partition))
            .collect::<Vec<_>>()
        {
            let owned = self.owned(slot);
            let was_synced = owned.is_synced_by_step();
            owned.configure(*settings);
            if !was_synced && owned.is_synced_by_step() {
                becoming_synced.push(slot);
            }
        }
        self.sync(&becoming_synced, times)
    }

    fn delete_records(
        &mut self,
        now_ms: i64,
        partition: &Slot,
        before: i64,
        remains: &mut Vec<Remains>,
    ) -> Result<Result<i64, (ErrorCode, String)>, Fatal> {
        let Some(slot) = self.slot_of(partition) else {
            return Ok(Err((
                ErrorCode::UnknownTopicOrPartition,
                format!("{partition:?} has been deleted"),
            )));
        };
        let owned = self.owned(slot);
        let (start, end) = (owned.log.log_start().0, owned.end().0);
        let before = if before == -1 { end } else { before };
        if before < 0 || before > end {
            let text = format!(
                "offset {before} is outside of {partition:?}, which holds {start} to {end}"
            );
            return Ok(Err((ErrorCode::OffsetOutOfRange, text)));
        }
        if owned.is_full() {
            let text = format!("the disk is full; delete from {partition:?} once there is space");
            return Ok(Err((ErrorCode::KafkaStorageError, text)));
        }
        if before > start {
            let before = log::Offset(before);
            let covered = owned.cover(before);
            match covered.and_then(|()| owned.log.delete_records(before)) {
                Ok(deleted) => remains.extend(deleted.into_iter().map(|segment| segment.remains)),
                Err(source) => {
                    let text = source.to_string();
                    owned.failed(source, now_ms)?;
                    return Ok(Err((ErrorCode::KafkaStorageError, text)));
                }
            }
        }
        Ok(Ok(owned.log.log_start().0))
    }

    fn tick(&mut self, now_ms: i64, completed: &mut Completed) -> Result<(), Fatal> {
        self.resume(now_ms)?;
        for held in self.take_held() {
            self.admit_held(now_ms, held);
        }
        self.commit(now_ms, &mut completed.times)?;
        self.begin_retention(now_ms, completed)?;
        self.begin_compaction(now_ms, completed)?;
        self.begin_checkpoints(now_ms, completed)
    }

    /// Begins the checkpoints that are due, from where the last tick stopped, so that each partition has its turn.
    fn begin_checkpoints(&mut self, now_ms: i64, completed: &mut Completed) -> Result<(), Fatal> {
        let count = self.partitions.len();
        for turn in 0..count {
            let slot = (self.next_checkpoint + turn) % count;
            let Some(owned) = &mut self.partitions[slot] else {
                continue;
            };
            if !owned.wants_checkpoint(now_ms) {
                continue;
            }
            if completed.checkpoints.len() == CHECKPOINTS_PER_TICK {
                self.next_checkpoint = slot;
                return Ok(());
            }
            match owned.begin_checkpoint(now_ms) {
                Ok(job) => {
                    let partition = Arc::clone(&owned.shared);
                    completed.checkpoints.push(Checkpointing { partition, job });
                }
                Err(source) => {
                    owned.is_checkpointing = false;
                    owned.failed(source, now_ms)?;
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, times: &mut StepTimes) -> Result<(), Fatal> {
        // All files together first; the checkpoints then find nothing left to sync.
        let open: Vec<usize> = (0..self.partitions.len())
            .filter(|&slot| self.partitions[slot].is_some())
            .collect();
        self.sync(&open, times)?;
        // Whoever waits for these ends is told nothing: the next start has them written.
        self.held.clear();
        for owned in self.partitions.iter_mut().filter_map(Option::take) {
            let OwnedPartition {
                shared,
                log,
                producers,
                full_since_ms,
                ..
            } = owned;
            if full_since_ms.is_some() {
                continue;
            }
            match log.close(producers.snapshot()) {
                // As after a crash: the next start scans what the last checkpoint does not cover.
                Err(error) if error.is_mended_by_space() => {
                    tracing::warn!(partition = ?shared, %error, "closed without a checkpoint");
                }
                closed => closed.map_err(|source| write_failed(&shared, source))?,
            }
        }
        Ok(())
    }

    /// Where this shard keeps `partition`; none after it was deleted.
    pub(super) fn slot_of(&self, partition: &Slot) -> Option<usize> {
        let Owner::Shard { shard, slot } = partition.owner else {
            return None;
        };
        assert_eq!(
            shard, self.index,
            "OneOwnerPerPartition: {partition:?} belongs to another shard"
        );
        let owned = self.partitions.get(slot)?.as_ref()?;
        Arc::ptr_eq(&owned.shared, partition).then_some(slot)
    }

    pub(super) fn owned(&mut self, slot: usize) -> &mut OwnedPartition {
        self.partitions[slot]
            .as_mut()
            .expect("a touched slot is open until the commit")
    }
}

/// Opens on this thread, or on several where there is much to open; in the order of `work`.
fn open_all(
    disk: &Arc<dyn Disk>,
    mut work: Vec<(Owner, OpenRequest)>,
    now_ms: i64,
) -> Result<Vec<(OwnedPartition, Recovery)>, LogError> {
    let open = |work: Vec<(Owner, OpenRequest)>| -> Result<Vec<_>, LogError> {
        let each = work.into_iter();
        each.map(|(owner, request)| OwnedPartition::open(disk, request, owner, now_ms))
            .collect()
    };
    let threads = (work.len() / OPENED_PER_THREAD).min(OPENING_THREADS);
    if threads < 2 {
        return open(work);
    }
    let share = work.len().div_ceil(threads);
    thread::scope(|scope| {
        let mut opening = Vec::with_capacity(threads);
        while !work.is_empty() {
            let rest = work.split_off(share.min(work.len()));
            let part = std::mem::replace(&mut work, rest);
            opening.push(scope.spawn(move || open(part)));
        }
        let mut opened = Vec::new();
        for thread in opening {
            opened.extend(thread.join().expect("opening does not panic")?);
        }
        Ok(opened)
    })
}

pub(super) fn write_failed(partition: &Slot, source: LogError) -> Fatal {
    let partition = format!("{partition:?}");
    Fatal::Write { partition, source }
}

/// Says what recovery found, once, where it was found.
fn report(partition: &Slot, recovery: &log::Recovery) {
    if recovery.truncated_bytes > 0 {
        tracing::warn!(partition = ?partition, bytes = recovery.truncated_bytes, "cut an incomplete batch off the end of the log");
    }
    for corrupt in &recovery.corrupt {
        let log::CorruptStretch {
            path,
            position,
            length,
            first_offset,
            next_offset,
        } = corrupt;
        let file = path.display();
        tracing::error!(%file, position, length, %first_offset, %next_offset, "the log is damaged: these offsets cannot be read");
    }
    if let Some(lost) = &recovery.lost {
        tracing::error!(partition = ?partition, ?lost, "records that had been synced are gone from the disk");
    }
}
