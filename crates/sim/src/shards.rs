//! Two shards with some partitions, driven by `Shard::step` with random events, crashed at random disk operations and reopened.
//!
//! The controller, the clients and the background thread are played by the simulation: `plan` invents the events of a step and
//! says what each must be answered, `restart` crashes and reopens.

mod plan;
mod restart;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use broker::SyncPool;
use broker::shard::{AppendOutcome, Checkpointing, Event, Reply, Shard, Slot, Trimming};
use broker_state::configs::{Durability, TopicSettings};
use log::{FinishedCheckpoint, LogError, Remains, Trimmed};
use wire::records::{CheckedBatch, TimestampType};
use wire::{ErrorCode, Uuid};

use crate::dice::Dice;
use crate::invariant::invariant;
use crate::model::{Crash, Entry, LogModel, Mint};
use crate::rig::{Rig, Sabotage};
use crate::sequences::Sequences;
use crate::{Reached, story};
use plan::Expected;

const SHARDS: usize = 2;
const PLACES: usize = 4;
const STEPS: usize = 45;
const DATA: &str = "data";

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

/// A name that a partition may have; it comes and goes.
struct Place {
    name: Arc<str>,
    shard: usize,
    live: Option<Live>,
}

impl Place {
    fn directory(&self) -> PathBuf {
        PathBuf::from(format!("{DATA}/{}-0", self.name))
    }
}

/// A partition that the controller knows.
struct Live {
    topic_id: Uuid,
    slot: Option<Slot>,
    settings: TopicSettings,
    model: LogModel,
    sequences: Sequences,
    /// Batches that a crash has taken, to be sent again.
    lost: Vec<CheckedBatch>,
    /// The producers of this partition have started anew so many times.
    producers: i64,
    /// All settings that were in force during this step.
    settings_of_step: Vec<TopicSettings>,
    /// Those under which a deletion was begun that is still under way.
    settings_of_trim: Vec<TopicSettings>,
}

impl Live {
    fn outlives(&self) -> Crash {
        outlives(&self.settings)
    }

    /// Whether readers were promised, during the whole step, that what they see survives a power cut.
    fn outlives_of_step(&self) -> Crash {
        let all = self.settings_of_step.iter().chain([&self.settings]);
        all.map(outlives).min().unwrap_or(Crash::Kill)
    }
}

impl Live {
    /// Producers learn that some of their batches are gone, and will send them again.
    fn take_back(&mut self, lost: Vec<Entry>) {
        self.settings_of_step = vec![self.settings];
        let is_uncertain = self.sequences.has_before(self.model.log_start());
        for entry in &lost {
            self.sequences.forget(entry.base_offset);
        }
        if is_uncertain || self.sequences.has_before(self.model.log_start()) {
            // Whether the broker still knows a producer whose batches were deleted depends on its checkpoints.
            self.sequences = Sequences::default();
            self.producers += 1;
            return self.lost.clear();
        }
        let producers = self.producers;
        let is_sendable = |batch: &CheckedBatch| {
            let header = batch.header();
            let is_of_now = !header.has_producer_id() || life_of(header.producer_id) == producers;
            // A batch that the broker has stamped with its time cannot be sent again as it is.
            is_of_now && header.timestamp_type() == TimestampType::CreateTime
        };
        let resent = lost.into_iter().map(|entry| entry.batch);
        self.lost = resent.filter(is_sendable).collect();
    }
}

/// The id of a producer, made of its place, how often the producers there have started anew, and its number.
fn producer_id(place: usize, life: i64, number: usize) -> i64 {
    place as i64 * 1_000_000 + life * 10 + number as i64
}

fn life_of(producer_id: i64) -> i64 {
    producer_id % 1_000_000 / 10
}

fn outlives(settings: &TopicSettings) -> Crash {
    match settings.durability {
        Durability::Sync => Crash::PowerCut,
        Durability::Interval { .. } | Durability::Os => Crash::Kill,
    }
}

/// What a shard has answered, by the number of the event.
enum Answer {
    Appended(Vec<AppendOutcome>),
    Opened(Result<Vec<Slot>, LogError>),
    Deleted,
    RecordsDeleted(Result<i64, (ErrorCode, String)>),
    Closed,
}

struct World {
    dice: Dice,
    rig: Rig,
    sabotage: Sabotage,
    mint: Mint,
    now_ms: i64,
    shards: Vec<Shard>,
    places: Vec<Place>,
    /// Slots of partitions that are gone, which clients may still hold.
    stale: Vec<(usize, Slot)>,
    /// What the background threads have to do.
    jobs: Vec<(usize, Checkpointing)>,
    trims: Vec<(usize, Trimming)>,
    deleted_in_step: Vec<usize>,
    finished: Vec<(usize, Slot, FinishedCheckpoint)>,
    trimmed: Vec<(usize, Slot, Trimmed)>,
    remains: Vec<Remains>,
    /// Places that have answered in this step that the disk is full.
    full: BTreeSet<usize>,
    /// The disk may have had no space in this step: not all are told.
    may_be_full: bool,
    sender: Sender<(u64, Answer)>,
    answers: Receiver<(u64, Answer)>,
    next_number: u64,
    reached: Reached,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let (sender, answers) = channel();
        let place = |number: usize| Place {
            name: format!("p{number}").into(),
            shard: number % SHARDS,
            live: None,
        };
        let mut world = Self {
            dice: Dice::new(seed),
            rig: Rig::new(seed, sabotage),
            sabotage,
            mint: Mint::default(),
            now_ms: 1_700_000_000_000,
            shards: Vec::new(),
            places: (0..PLACES).map(place).collect(),
            stale: Vec::new(),
            jobs: Vec::new(),
            trims: Vec::new(),
            deleted_in_step: Vec::new(),
            finished: Vec::new(),
            trimmed: Vec::new(),
            remains: Vec::new(),
            full: BTreeSet::new(),
            may_be_full: false,
            sender,
            answers,
            next_number: 0,
            reached: Reached::default(),
        };
        for number in 0..PLACES - 1 {
            world.create(number);
        }
        world
    }

    fn fresh_shards(&self) -> Vec<Shard> {
        let shard = |index| Shard::new(index, self.rig.shared(), Arc::new(SyncPool::new(0)));
        (0..SHARDS).map(shard).collect()
    }

    fn act(&mut self) {
        self.now_ms += *self
            .dice
            .pick(&[0, 1, 10, 300, 2_000, 6_000, 70_000, 400_000]);
        match self.dice.below(40) {
            0 => self.crash(),
            1 => self.close_cleanly(),
            2..7 => self.work_in_background(),
            _ => self.step(),
        }
    }

    /// One step of one shard, which may fail at any of its disk operations.
    fn step(&mut self) {
        self.reached.steps += 1;
        let shard = self.dice.below(SHARDS);
        self.begin_settings();
        let (events, expected) = self.plan(shard);
        // A tick opens again what the disk had no room for: what follows it in the same step could not be foretold.
        self.plan_fault(!events.iter().any(|event| matches!(event, Event::Tick)));
        let mut result = self.shards[shard].step(self.now_ms, events);
        if let Ok(completed) = &mut result {
            // Whoever asked for a deletion waits for it.
            for deletion in completed.deletions.drain(..) {
                self.remains.extend(deletion.run());
            }
        }
        let mut answers = self.take_answers();
        if self.sabotage == Sabotage::LostAnswer && self.dice.one_in(20) {
            answers.pop_first();
        }
        match result {
            Ok(completed) => {
                self.rig.mend();
                let checkpoints = completed.checkpoints.into_iter();
                self.jobs.extend(checkpoints.map(|job| (shard, job)));
                self.take_trims(shard, completed.trims);
                self.remains.extend(completed.remains);
                let has_failed = self.check_all(expected, answers, true);
                self.observe();
                self.wait_for_space(shard);
                if has_failed {
                    self.crash();
                }
            }
            Err(fatal) => {
                story::tell(format!("  the step fails: {fatal}"));
                self.reached.failed_steps += 1;
                self.check_all(expected, answers, false);
                self.observe();
                self.crash();
            }
        }
    }

    /// Deletions of before may still be under way, by the settings that were in force then.
    fn begin_settings(&mut self) {
        let trims = self.trims.iter().map(|(_, trim)| &trim.partition);
        let trimmed = self.trimmed.iter().map(|(_, partition, _)| partition);
        let busy: Vec<&Slot> = trims.chain(trimmed).collect();
        for place in &mut self.places {
            let Some(live) = &mut place.live else {
                continue;
            };
            let slot = live.slot.as_ref();
            if !busy
                .iter()
                .any(|busy| slot.is_some_and(|slot| Arc::ptr_eq(slot, busy)))
            {
                live.settings_of_trim.clear();
            }
            live.settings_of_step = vec![live.settings];
            live.settings_of_step.extend(&live.settings_of_trim);
        }
    }

    pub(super) fn take_trims(&mut self, shard: usize, trims: Vec<Trimming>) {
        for trimming in &trims {
            for live in self
                .places
                .iter_mut()
                .filter_map(|place| place.live.as_mut())
            {
                let slot = live.slot.as_ref();
                if slot.is_some_and(|slot| Arc::ptr_eq(slot, &trimming.partition)) {
                    live.settings_of_trim = live.settings_of_step.clone();
                }
            }
        }
        self.trims.extend(trims.into_iter().map(|job| (shard, job)));
    }

    /// Compares answers with what was expected; tells whether an answer is a failure of the disk.
    fn check_all(
        &mut self,
        expected: Vec<(u64, Expected)>,
        mut answers: BTreeMap<u64, Answer>,
        are_due: bool,
    ) -> bool {
        let mut has_failed = false;
        for (number, expected) in expected {
            let answer = answers.remove(&number);
            invariant!(
                EveryRequestIsAnswered,
                answer.is_some() || !are_due || expected.is_silent(),
                "event {number} of a step that succeeded has no answer: {expected:?}"
            );
            if let Some(answer) = answer {
                has_failed |= self.check(number, expected, answer);
            }
        }
        has_failed
    }

    /// What readers see now is as durable as the topic says, and is what was sent.
    pub(super) fn observe(&mut self) {
        for place in &mut self.places {
            let Some(live) = &mut place.live else {
                continue;
            };
            let Some(slot) = &live.slot else { continue };
            let view = slot.view();
            let outlives = live.outlives_of_step();
            live.model.see(view.high_watermark.0, outlives);
            observe_start(live, &view, self.now_ms, None);
            live.model.compare_new(&view, &mut self.dice);
        }
    }

    /// The background thread runs a checkpoint or removes files; events that come of it wait for the next step.
    fn work_in_background(&mut self) {
        self.plan_fault(true);
        if !self.trims.is_empty() && self.dice.one_in(2) {
            return self.trim_in_background();
        }
        if self.jobs.is_empty() || self.dice.one_in(4) {
            for remains in std::mem::take(&mut self.remains) {
                // What cannot be removed now is removed at the next start.
                let _ = remains.purge();
            }
            return self.rig.mend();
        }
        let (shard, Checkpointing { partition, job }) = self.jobs.remove(0);
        let outcome = job.run();
        self.rig.mend();
        story::tell(format!(
            "checkpoint of {partition:?}: {:?}",
            outcome.as_ref().err()
        ));
        match outcome {
            Ok(finished) => {
                self.reached.checkpoints += 1;
                self.finished.push((shard, partition, finished));
            }
            Err(_) if partition.is_closed() => {}
            Err(error) if error.is_mended_by_space() => {
                let put_off = [Event::CheckpointPutOff { partition }];
                let step = self.shards[shard].step(self.now_ms, put_off);
                assert!(step.is_ok(), "nothing is written");
            }
            Err(_) => {
                self.reached.failed_steps += 1;
                self.crash();
            }
        }
    }

    /// The background thread deletes segments.
    fn trim_in_background(&mut self) {
        let (shard, Trimming { partition, job }) = self.trims.remove(0);
        let outcome = job.run();
        self.rig.mend();
        let error = outcome.as_ref().err();
        story::tell(format!("segments of {partition:?} are deleted: {error:?}"));
        match outcome {
            Ok(trimmed) => self.trimmed.push((shard, partition, trimmed)),
            Err(_) if partition.is_closed() => {}
            Err(_) => {
                self.reached.failed_steps += 1;
                self.crash();
            }
        }
    }

    fn take_answers(&mut self) -> BTreeMap<u64, Answer> {
        self.answers.try_iter().collect()
    }

    fn reply<T: Send + 'static>(
        &self,
        number: u64,
        answer: impl FnOnce(T) -> Answer + Send + 'static,
    ) -> Reply<T> {
        let sender = self.sender.clone();
        Reply::new(move |value| {
            // The world holds the receiver for as long as it holds shards.
            let _ = sender.send((number, answer(value)));
        })
    }

    /// A clean stop of the broker, and a start after it.
    fn close_cleanly(&mut self) {
        story::tell("close".to_owned());
        for shard in 0..SHARDS {
            let reply = self.reply(0, |()| Answer::Closed);
            let closed = self.shards[shard].step(self.now_ms, [Event::Close { reply }]);
            let answers = self.take_answers();
            invariant!(
                EveryRequestIsAnswered,
                closed.is_ok() && matches!(answers.get(&0), Some(Answer::Closed)),
                "a clean stop on a good disk fails"
            );
        }
        let open = self
            .places
            .iter_mut()
            .filter_map(|place| place.live.as_mut());
        open.filter(|live| live.slot.is_some())
            .for_each(|live| live.model.closed_cleanly());
        self.crash();
    }
}

/// Takes in the log start that readers see; retention must have had a reason, or a power cut have taken what lies from `holes_from` on.
fn observe_start(live: &mut Live, view: &log::PartitionView, now_ms: i64, holes_from: Option<i64>) {
    let settings = &live.settings_of_step;
    let may_go = |entry: &Entry, left: u64| {
        let is_in_hole = holes_from.is_some_and(|least| entry.end() > least);
        let is_retained = settings.iter().all(|settings| {
            let latest = entry.batch.header().max_timestamp;
            let is_old = settings
                .retention_ms
                .is_some_and(|limit| now_ms - latest > limit);
            let is_over = settings.retention_bytes.is_some_and(|limit| left >= limit);
            !is_old && !is_over
        });
        is_in_hole || !is_retained
    };
    live.model.observe_start(view, may_go);
}
