//! Crashing and coming back: everything in memory is gone, the disk is what a crash has left, and the controller opens what it knows.

use std::path::Path;

use broker::shard::{Checkpointing, Event, OpenRequest, Slot, Trimming};
use log::{Fault, FinishedCheckpoint, LogError, SimDisk, Trimmed};
use wire::records::scan_batches;

use super::plan::Expected;
use super::{Answer, DATA, SHARDS, World, observe_start};
use crate::invariant::invariant;
use crate::model::{Crash, Restart};
use crate::rig::Sabotage;
use crate::story;

/// A start that fails because the disk does is tried again this often; then the disk is mended.
const FAULTY_STARTS: usize = 4;

impl World {
    /// The process or the machine ends here and now.
    pub(super) fn crash(&mut self) {
        let crash = self.lose();
        self.start(crash);
    }

    /// There is space again: the partitions that had none are opened anew by the next tick, while the others go on.
    pub(super) fn wait_for_space(&mut self, shard: usize) {
        let told = std::mem::take(&mut self.full);
        if !std::mem::take(&mut self.may_be_full) {
            return assert!(told.is_empty(), "the disk was not full: {told:?}");
        }
        self.reached.full_disks += u64::from(!told.is_empty());
        story::tell("there is space again".to_owned());
        let mut events = Vec::new();
        for (shard, Checkpointing { partition, job }) in std::mem::take(&mut self.jobs) {
            match job.run() {
                Ok(finished) => self.finished.push((shard, partition, finished)),
                Err(error) => assert!(partition.is_closed(), "the disk is good: {error}"),
            }
        }
        for (shard, Trimming { partition, job }) in std::mem::take(&mut self.trims) {
            match job.run() {
                Ok(trimmed) => self.trimmed.push((shard, partition, trimmed)),
                Err(error) => assert!(partition.is_closed(), "the disk is good: {error}"),
            }
        }
        let (here, others) = std::mem::take(&mut self.trimmed)
            .into_iter()
            .partition(|(owner, ..)| *owner == shard);
        self.trimmed = others;
        let here: Vec<(usize, Slot, Trimmed)> = here;
        events.extend(
            here.into_iter()
                .map(|(_, partition, trimmed)| Event::Trimmed { partition, trimmed }),
        );
        let (here, others) = std::mem::take(&mut self.finished)
            .into_iter()
            .partition(|(owner, ..)| *owner == shard);
        self.finished = others;
        let here: Vec<(usize, Slot, FinishedCheckpoint)> = here;
        events.extend(
            here.into_iter()
                .map(|(_, partition, finished)| Event::Checkpointed {
                    partition,
                    finished,
                }),
        );
        events.push(Event::Tick);
        let step = self.shards[shard].step(self.now_ms, events);
        let completed = step.unwrap_or_else(|fatal| panic!("the disk is good: {fatal}"));
        let checkpoints = completed.checkpoints.into_iter();
        self.jobs.extend(checkpoints.map(|job| (shard, job)));
        self.take_trims(shard, completed.trims);
        self.remains.extend(completed.remains);
        let here = self.places.iter().enumerate();
        let open: Vec<(usize, Slot)> = here
            .filter(|(_, place)| place.shard == shard)
            .filter_map(|(number, place)| Some((number, place.live.as_ref()?.slot.clone()?)))
            .collect();
        self.recover_all(open, Crash::Kill);
        self.observe();
    }

    fn lose(&mut self) -> Crash {
        let crash = match self.dice.one_in(3) {
            true => Crash::Kill,
            false => Crash::PowerCut,
        };
        story::tell(format!("{crash:?}"));
        // What a process would do on its way out, it does not do when it is killed.
        std::mem::take(&mut self.remains)
            .into_iter()
            .for_each(std::mem::forget);
        self.rig.stop_at(1);
        self.shards.clear();
        self.jobs.clear();
        self.trims.clear();
        self.trimmed.clear();
        self.finished.clear();
        self.stale.clear();
        self.rig.mend();
        match crash {
            Crash::Kill => {
                self.reached.kills += 1;
                self.rig.sim().kill();
            }
            Crash::PowerCut => {
                self.reached.power_cuts += 1;
                self.rig.sim().power_cut();
            }
        }
        self.sabotage_files();
        crash
    }

    /// Starts until a start succeeds, and checks what was recovered against the strongest crash since the last success.
    pub(super) fn start(&mut self, mut crash: Crash) {
        let mut faults = FAULTY_STARTS;
        loop {
            self.shards = self.fresh_shards();
            faults = faults.saturating_sub(1);
            if faults > 0 && self.dice.one_in(3) {
                self.plan_start_fault();
            }
            let opened = self.open_all();
            self.rig.mend();
            match opened {
                Ok(slots) => return self.recover_all(slots, crash),
                Err(error) => {
                    story::tell(format!("the start fails: {error}"));
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

    fn plan_start_fault(&mut self) {
        let nth = 1 + self.dice.below(20) as u64;
        story::tell(format!("the disk fails at operation {nth} of the start"));
        match self.dice.below(3) {
            0 => self.rig.fail_at(nth, Fault::DeviceError),
            1 => self.rig.fail_at(nth, Fault::NoSpace),
            _ => self.rig.stop_at(nth),
        }
    }

    fn open_all(&mut self) -> Result<Vec<(usize, Slot)>, LogError> {
        let disk = self.rig.shared();
        let failed = |source| LogError::Io {
            operation: "create",
            path: DATA.into(),
            source,
        };
        disk.create_dir_all(DATA.as_ref()).map_err(failed)?;
        disk.sync_dir("".as_ref()).map_err(failed)?;
        log::remove_leftover_partitions(&disk, DATA.as_ref())?;
        let mut opened = Vec::new();
        for shard in 0..SHARDS {
            let is_known = |number: &usize| {
                let place = &self.places[*number];
                place.shard == shard && place.live.is_some()
            };
            let known: Vec<usize> = (0..self.places.len()).filter(is_known).collect();
            let requests = known
                .iter()
                .map(|number| self.open_request(*number))
                .collect();
            let reply = self.reply(0, Answer::Opened);
            let step = self.shards[shard].step(self.now_ms, [Event::Open { requests, reply }]);
            assert!(step.is_ok(), "an open that fails is an answer");
            let Some(Answer::Opened(slots)) = self.take_answers().remove(&0) else {
                panic!("EveryRequestIsAnswered: the open of shard {shard} has no answer");
            };
            opened.extend(known.into_iter().zip(slots?));
        }
        Ok(opened)
    }

    fn recover_all(&mut self, slots: Vec<(usize, Slot)>, crash: Crash) {
        for (number, slot) in slots {
            let live = self.places[number].live.as_mut().expect("it was opened");
            let view = slot.view();
            story::tell(format!(
                "  {slot:?} has {} to {}",
                view.log_start, view.high_watermark
            ));
            let restart = Restart {
                crash,
                is_synced: live.outlives() == Crash::PowerCut,
                may_have_holes: crash == Crash::PowerCut && live.outlives_of_step() == Crash::Kill,
            };
            let holes_from = restart.may_have_holes.then(|| live.model.promised(restart));
            observe_start(live, &view, self.now_ms, holes_from);
            let lost = live.model.recover(&view, restart, &mut self.dice);
            self.reached.lost_unacknowledged += lost.len() as u64;
            live.take_back(lost);
            check_files(&view, live.model.is_unsynced());
            live.slot = Some(slot);
        }
    }

    fn open_request(&self, number: usize) -> OpenRequest {
        let place = &self.places[number];
        let live = place.live.as_ref().expect("only known topics are opened");
        OpenRequest {
            topic: place.name.clone(),
            topic_id: live.topic_id,
            index: 0,
            directory: place.directory(),
            settings: live.settings,
        }
    }

    pub(super) fn open_event(&mut self, number: usize) -> (Event, Expected) {
        let requests = vec![self.open_request(number)];
        let reply = self.reply(self.next_number, Answer::Opened);
        (
            Event::Open { requests, reply },
            Expected::Opened { place: number },
        )
    }

    /// Takes a partition that was opened while the broker runs; tells whether that failed.
    pub(super) fn check_opened(
        &mut self,
        number: usize,
        opened: Result<Vec<Slot>, LogError>,
    ) -> bool {
        let slots = match opened {
            Ok(slots) => slots,
            Err(error) => {
                story::tell(format!("  the open fails: {error}"));
                return true;
            }
        };
        let live = self.places[number].live.as_mut();
        let live = live.expect("a topic without a partition is not deleted");
        let slot = slots
            .into_iter()
            .next()
            .expect("one partition was asked for");
        let view = slot.view();
        invariant!(
            NothingInvented,
            (view.log_start.0, view.high_watermark.0) == (0, 0),
            "{slot:?} is new and has offsets {} to {}",
            view.log_start,
            view.high_watermark
        );
        live.slot = Some(slot);
        false
    }

    /// What no honest disk does.
    fn sabotage_files(&mut self) {
        let directories: Vec<_> = self.places.iter().map(|place| place.directory()).collect();
        for directory in directories {
            let disk = self.rig.shared();
            match self.sabotage {
                Sabotage::CutOutBatch | Sabotage::FlippedByte | Sabotage::InventedBatch => {
                    damage(self.rig.sim(), &directory, self.sabotage);
                }
                Sabotage::LostCheckpoint => {
                    // There may be none yet.
                    let _ = disk.remove_file(&directory.join("thalweg.checkpoint"));
                }
                _ => {}
            }
        }
    }
}

/// Indexes and batches agree, and there is no damage but what power cuts do to a log that is not synced.
fn check_files(view: &log::PartitionView, may_be_damaged: bool) {
    let mut findings = view.verify().expect("the disk is mended");
    findings.retain(|finding| {
        let is_index = finding.path.extension().is_some_and(|kind| kind != "log");
        is_index || !may_be_damaged
    });
    invariant!(
        RecoveryFindsNoDamage,
        findings.is_empty(),
        "the files do not agree: {findings:?}"
    );
}

/// Changes the first log file of a partition, if it has three batches.
fn damage(disk: &SimDisk, directory: &Path, sabotage: Sabotage) {
    let path = directory.join("00000000000000000000.log");
    let Some(content) = disk.content(&path) else {
        return;
    };
    let batches: Vec<(i64, usize)> = scan_batches(&content)
        .filter_map(|batch| batch.ok())
        .map(|(header, bytes)| (header.last_offset() + 1, bytes.len()))
        .collect();
    let [(_, first), (_, second), .., (end, last)] = batches.as_slice() else {
        return;
    };
    disk.damage(&path, |bytes| match sabotage {
        Sabotage::CutOutBatch => drop(bytes.drain(*first..first + second)),
        Sabotage::FlippedByte => bytes[first + second - 1] ^= 1,
        _ => {
            let mut invented = bytes[bytes.len() - last..].to_vec();
            invented[..8].copy_from_slice(&end.to_be_bytes());
            bytes.extend(invented);
        }
    });
}
