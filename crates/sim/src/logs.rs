//! One `PartitionLog`, operation by operation: appends, writes and syncs apart from each other, readers with old views, retention,
//! checkpoints in two halves, crashes at any disk operation; and the producers' state as the owner of a log keeps it.

use std::time::Duration;

use broker_state::producers::{ProducerLimits, Producers};
use broker_state::step::Millis;
use log::{
    ByteCount, CheckpointJob, Durability, Fault, FinishedCheckpoint, LogError, LogSettings, Offset,
    PartitionLog, PartitionView, Remains, Replay,
};

use crate::dice::Dice;
use crate::invariant::invariant;
use crate::model::{Crash, Entry, LogModel, Mint, Restart, Stamp};
use crate::rig::{Rig, Sabotage};
use crate::sequences::Sequences;
use crate::{Reached, story};

const STEPS: usize = 60;
const DATA: &str = "data";
const DIRECTORY: &str = "data/p-0";
const FAULTY_STARTS: usize = 4;

/// Runs one seed.
pub fn run(seed: u64, sabotage: Sabotage) -> Reached {
    let mut world = World::new(seed, sabotage);
    world.start(Crash::PowerCut);
    for _ in 0..STEPS {
        world.act();
    }
    world.crash();
    world.reached
}

struct World {
    dice: Dice,
    rig: Rig,
    sabotage: Sabotage,
    mint: Mint,
    now_ms: i64,
    settings: LogSettings,
    /// Whether anything is ever deleted; if not, every state can be compared.
    deletes: bool,
    log: Option<PartitionLog>,
    model: LogModel,
    sequences: Sequences,
    producers: Producers,
    /// The producers' state at each end that the log has had.
    states: Vec<(i64, Vec<u8>)>,
    /// What readers still hold.
    views: Vec<PartitionView>,
    job: Option<CheckpointJob>,
    finished: Option<FinishedCheckpoint>,
    remains: Vec<Remains>,
    reached: Reached,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            settings: any_settings(&mut dice),
            deletes: dice.one_in(2),
            dice,
            rig: Rig::new(seed, sabotage),
            sabotage,
            mint: Mint::default(),
            now_ms: 1_700_000_000_000,
            log: None,
            model: LogModel::new("p-0"),
            sequences: Sequences::default(),
            producers: Producers::new(ProducerLimits::default()),
            states: Vec::new(),
            views: Vec::new(),
            job: None,
            finished: None,
            remains: Vec::new(),
            reached: Reached::default(),
        }
    }

    fn act(&mut self) {
        self.reached.steps += 1;
        self.now_ms += *self.dice.pick(&[0, 5, 1_000, 60_000]);
        if self.dice.one_in(30) {
            return self.crash();
        }
        self.plan_fault(40);
        let outcome = match self.dice.below(20) {
            0..10 => self.store(),
            10..13 => self.read(),
            13 if self.deletes => self.retain(),
            14 if self.deletes => self.delete_records(),
            13 | 14 => self.read(),
            15..17 => self.checkpoint(),
            17 => self.raise_epoch(),
            18 => self.purge(),
            _ => return self.close(),
        };
        self.rig.mend();
        self.observe();
        if let Err(error) = outcome {
            story::tell(format!("  {error}"));
            self.reached.failed_steps += 1;
            self.crash();
        }
    }

    fn plan_fault(&mut self, chances: usize) {
        let nth = 1 + self.dice.below(8) as u64;
        match self.dice.below(chances) {
            0 => self.rig.fail_at(nth, Fault::DeviceError),
            1 => self.rig.fail_at(nth, Fault::NoSpace),
            2 => self.rig.stop_at(nth),
            _ => return,
        }
        story::tell(format!("  the disk fails at operation {nth}"));
    }

    fn log(&mut self) -> &mut PartitionLog {
        self.log.as_mut().expect("it is open between crashes")
    }

    /// Some batches are appended and written; most of the time synced, in any order, and published.
    fn store(&mut self) -> Result<(), LogError> {
        for _ in 0..1 + self.dice.below(5) {
            self.append();
        }
        self.log().write()?;
        let is_sync = self.settings.durability == Durability::Sync;
        if is_sync || self.dice.one_in(4) {
            self.sync()?;
        }
        let end = self.log().end_offset();
        self.log().publish(end);
        Ok(())
    }

    fn append(&mut self) {
        let producer_id = self.dice.below(3) as i64;
        let (epoch, sequence) = self.sequences.next(producer_id).unwrap_or((0, 0));
        let stamp = Stamp {
            producer_id,
            epoch,
            sequence,
        };
        let timestamp = self.now_ms - self.dice.between(0, 5_000);
        let count = 1 + self.dice.below(4);
        let batch = self
            .mint
            .batch(&mut self.dice, timestamp, count, Some(stamp));
        let header = *batch.header();
        let expected = self.model.append(batch.clone());
        let now_ms = self.now_ms;
        let appended = self.log().append(&batch, now_ms);
        invariant!(
            OffsetsAreDense,
            appended.base_offset.0 == expected,
            "{appended:?} where {expected} is next"
        );
        self.sequences.append(&header, expected, -1);
        self.producers.record(&header, expected, -1, Millis(0));
        let state = (self.model.end(), self.producers.snapshot());
        self.states.push(state);
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let mut files = self.log().unsynced_files();
        while !files.is_empty() {
            let file = files.swap_remove(self.dice.below(files.len()));
            if let Err(source) = file.sync() {
                self.log().sync_failed();
                return Err(LogError::Io {
                    operation: "sync",
                    path: DIRECTORY.into(),
                    source,
                });
            }
        }
        let end = self.log().end_offset();
        self.log().mark_synced(end);
        story::tell(format!("{} synced up to {end}", self.now_ms));
        self.model.acknowledge(end.0, Crash::PowerCut);
        self.reached.acknowledged += 1;
        Ok(())
    }

    /// What readers see now, and what some of them saw before.
    fn read(&mut self) -> Result<(), LogError> {
        let view = self.log().view();
        let timestamp = self.now_ms - self.dice.between(0, 200_000);
        if !self.model.has_holes() {
            let found = view.offset_for_timestamp(timestamp)?;
            let expected = self.model.first_at(timestamp, &view);
            invariant!(
                NothingInvented,
                found.map(|(offset, _)| offset.0) == expected,
                "the first record at {timestamp} is {found:?} and not {expected:?}"
            );
        }
        self.views.push(view);
        let number = self.dice.below(self.views.len());
        self.model.check_view(&self.views[number], &mut self.dice);
        Ok(())
    }

    fn observe(&mut self) {
        let Some(log) = &self.log else { return };
        let (view, settings, now_ms) = (log.view(), &self.settings, self.now_ms);
        let outlives = match settings.durability {
            Durability::Sync => Crash::PowerCut,
            Durability::Interval | Durability::Os => Crash::Kill,
        };
        self.model.see(view.high_watermark.0, outlives);
        self.model
            .observe_start(&view, |entry, left| may_go(settings, now_ms, entry, left));
        self.model.compare_new(&view, &mut self.dice);
    }

    fn retain(&mut self) -> Result<(), LogError> {
        let now_ms = self.now_ms;
        let deleted = self.log().apply_retention(now_ms)?;
        story::tell(format!("{now_ms} retention takes {}", deleted.len()));
        self.remains
            .extend(deleted.into_iter().map(|segment| segment.remains));
        Ok(())
    }

    fn delete_records(&mut self) -> Result<(), LogError> {
        let view = self.log().view();
        let before = self.dice.between(view.log_start.0, view.high_watermark.0);
        story::tell(format!("{} delete up to {before}", self.now_ms));
        self.model.ask_to_delete_before(before);
        let deleted = self.log().delete_records(Offset(before))?;
        self.remains
            .extend(deleted.into_iter().map(|segment| segment.remains));
        self.model.deleted_before(before);
        self.reached.deleted_records += 1;
        Ok(())
    }

    /// One of the three parts of a checkpoint.
    fn checkpoint(&mut self) -> Result<(), LogError> {
        if let Some(finished) = self.finished.take() {
            self.log().finish_checkpoint(finished);
        } else if let Some(job) = self.job.take() {
            self.finished = Some(job.run()?);
            self.reached.checkpoints += 1;
        } else {
            let snapshot = self.producers.snapshot();
            self.job = Some(self.log().begin_checkpoint(snapshot)?);
        }
        story::tell(format!("{} a part of a checkpoint", self.now_ms));
        Ok(())
    }

    fn raise_epoch(&mut self) -> Result<(), LogError> {
        let epoch = self.log().leader_epoch() + 1;
        self.log().set_leader_epoch(epoch)
    }

    fn purge(&mut self) -> Result<(), LogError> {
        for remains in std::mem::take(&mut self.remains) {
            // What cannot be removed now is removed at the next start.
            let _ = remains.purge();
        }
        Ok(())
    }

    fn close(&mut self) {
        self.rig.mend();
        story::tell("close".to_owned());
        let snapshot = self.producers.snapshot();
        (self.job, self.finished) = (None, None);
        let log = self.log.take().expect("it is open between crashes");
        log.close(snapshot).expect("the disk is mended");
        self.model.closed_cleanly();
        self.crash();
    }

    fn crash(&mut self) {
        let crash = self.lose();
        self.start(crash);
    }

    fn lose(&mut self) -> Crash {
        std::mem::take(&mut self.remains)
            .into_iter()
            .for_each(std::mem::forget);
        self.rig.mend();
        self.log = None;
        (self.job, self.finished) = (None, None);
        self.views.clear();
        let crash = match self.dice.one_in(3) {
            true => Crash::Kill,
            false => Crash::PowerCut,
        };
        story::tell(format!("{crash:?}"));
        match crash {
            Crash::Kill => self.rig.sim().kill(),
            Crash::PowerCut => self.rig.sim().power_cut(),
        }
        self.reached.kills += u64::from(crash == Crash::Kill);
        self.reached.power_cuts += u64::from(crash == Crash::PowerCut);
        crash
    }

    fn start(&mut self, mut crash: Crash) {
        let mut faults = FAULTY_STARTS;
        loop {
            faults = faults.saturating_sub(1);
            if faults > 0 {
                self.plan_fault(9);
            }
            let opened = self.open();
            self.rig.mend();
            match opened {
                Ok(log) => return self.recover(log, crash),
                Err(error) => {
                    story::tell(format!("  the start fails: {error}"));
                    invariant!(
                        RecoveryFindsNoDamage,
                        faults > 0,
                        "the start fails: {error}"
                    );
                    crash = crash.max(self.lose());
                }
            }
        }
    }

    fn open(&mut self) -> Result<PartitionLog, LogError> {
        let disk = self.rig.shared();
        let made = disk
            .create_dir_all(DATA.as_ref())
            .and_then(|()| disk.sync_dir("".as_ref()));
        made.map_err(|source| LogError::Io {
            operation: "create",
            path: DATA.into(),
            source,
        })?;
        let mut producers = Producers::new(ProducerLimits::default());
        let forgets = self.sabotage == Sabotage::ForgetfulReplay;
        let mut number = 0;
        let mut replay = |replay: Replay<'_>| match replay {
            Replay::Snapshot(snapshot) => {
                producers = Producers::restore(snapshot).expect("a snapshot is as it was written");
            }
            Replay::Batch(header) | Replay::Marker(header, _) => {
                number += 1;
                if !forgets || number % 3 != 0 {
                    producers.apply(header, Millis(0));
                }
            }
        };
        let settings = self.settings.clone();
        let (log, recovery) =
            PartitionLog::open(disk, DIRECTORY, settings, self.now_ms, &mut replay)?;
        let is_sync = self.settings.durability == Durability::Sync;
        invariant!(
            RecoveryFindsNoDamage,
            !(is_sync && recovery.is_alarming()),
            "{recovery:?}"
        );
        self.producers = producers;
        Ok(log)
    }

    fn recover(&mut self, log: PartitionLog, crash: Crash) {
        let view = log.view();
        let end = view.high_watermark.0;
        story::tell(format!("  the log has {} to {end}", view.log_start));
        let is_synced = self.settings.durability == Durability::Sync;
        let restart = Restart {
            crash,
            is_synced,
            may_have_holes: crash == Crash::PowerCut && !is_synced,
        };
        let (settings, now_ms) = (&self.settings, self.now_ms);
        let holes_from = restart.may_have_holes.then(|| self.model.promised(restart));
        self.model.observe_start(&view, |entry, left| {
            let is_in_hole = holes_from.is_some_and(|least| entry.end() > least);
            is_in_hole || may_go(settings, now_ms, entry, left)
        });
        let lost = self.model.recover(&view, restart, &mut self.dice);
        for entry in &lost {
            self.sequences.forget(entry.base_offset);
        }
        self.reached.lost_unacknowledged += lost.len() as u64;
        self.states.retain(|(known, _)| *known <= end);
        self.check_producers(view.log_start.0);
        self.log = Some(log);
    }

    /// The replayed producers are the live ones of that time, unless some of what they rest on is gone for good.
    fn check_producers(&mut self, log_start: i64) {
        let is_all_there = log_start == 0 && !self.model.has_holes();
        let expected = self.states.last().map(|(_, state)| state.clone());
        let replayed = self.producers.snapshot();
        if is_all_there {
            let expected = expected.unwrap_or_else(|| Producers::default().snapshot());
            invariant!(
                ReplayEqualsLive,
                replayed == expected,
                "the producers' state after a restart is not the one before it"
            );
        }
    }
}

fn any_settings(dice: &mut Dice) -> LogSettings {
    let retention_age = *dice.pick(&[None, None, Some(400)]);
    LogSettings {
        segment_bytes: ByteCount(*dice.pick(&[700, 4_000, 30_000])),
        segment_age: Duration::from_secs(*dice.pick(&[60, 600_000])),
        index_interval_bytes: ByteCount(*dice.pick(&[0, 300, 4_096])),
        retention_age: retention_age.map(Duration::from_secs),
        retention_bytes: dice.pick(&[None, None, Some(9_000)]).map(ByteCount),
        durability: *dice.pick(&[Durability::Sync, Durability::Sync, Durability::Os]),
        ..LogSettings::default()
    }
}

fn may_go(settings: &LogSettings, now_ms: i64, entry: &Entry, left: u64) -> bool {
    let age = now_ms - entry.batch.header().max_timestamp;
    let limit = settings.retention_age;
    let is_old = limit.is_some_and(|limit| age > limit.as_millis() as i64);
    let is_over = settings
        .retention_bytes
        .is_some_and(|limit| left >= limit.0);
    is_old || is_over
}
