//! Transactions over both kinds of log that have a part in them: the coordinator's machine over `__transaction_state-0`, and a
//! shard with the partitions that producers write to.
//!
//! Producers (`producers`) begin, write, end, ask again, are replaced and time out; batches and markers arrive late; the machine
//! stops at any operation of the disk. What readers of committed records see is compared with what producers were told (`readers`).

mod producers;
mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use broker::shard::{
    AppendOutcome, Checkpointing, Event, Marker, MarkerOutcome, OpenRequest, Reply, Shard, Slot,
};
use broker::{Entry, SyncPool};
use broker_state::configs::TopicSettings;
use broker_state::step::{Millis, RequestId};
use broker_state::transactions::{
    Markers, Record, Reply as TransactionReply, State, TransactionEffects, TransactionSettings,
    Transactions, VERSION_2,
};
use log::LogError;
use wire::{ErrorCode, Uuid};

use self::producers::{Asked, Leg, Producer};
use self::readers::Transfer;
use super::{DATA, FAULTY_STARTS, Store};
use crate::invariant::invariant;
use crate::rig::Sabotage;
use crate::{Reached, story};

const STEPS: usize = 120;
const PARTITIONS: usize = 2;
const PRODUCERS: usize = 3;
const TOPIC: &str = "accounts";
/// Rounds in which everything that is under way must have come to its end; a few are enough.
const QUIET_ROUNDS: usize = 60;

/// Runs one seed.
pub fn run(seed: u64, sabotage: Sabotage) -> Reached {
    let mut world = World::new(seed, sabotage);
    world.start();
    for _ in 0..STEPS {
        world.act();
    }
    world.crash();
    world.come_to_rest();
    world.store.reached
}

/// What the shard has answered, by the number of the event.
enum Answer {
    Opened(Result<Vec<Slot>, LogError>),
    Appended(Vec<AppendOutcome>),
    Marked(Vec<MarkerOutcome>),
    Closed,
}

struct World {
    store: Store,
    /// Starts since the beginning: what belongs to an earlier one is void.
    lives: u64,
    machine: Transactions,
    shard: Shard,
    slots: Vec<Slot>,
    settings: TopicSettings,
    producers: Vec<Producer>,
    waiting: BTreeMap<RequestId, (usize, Asked)>,
    next_number: u64,
    next_producer_id: i64,
    /// The state that all answers so far rest on, as records.
    promised: Vec<Record>,
    /// What was on its way to the disk when the process ended.
    in_flight: Vec<Record>,
    /// Who was told to be whom: id, producer id, epoch.
    told: BTreeSet<(usize, i64, i16)>,
    transfers: BTreeMap<u64, Transfer>,
    /// Legs of transfers that readers have seen.
    seen: BTreeSet<(u64, u32)>,
    /// Ends that are decided and not on their way yet.
    markers: Vec<Markers>,
    /// Those that are, by the number of the event.
    marking: BTreeMap<u64, Markers>,
    /// Batches that wait for their turn at the shard.
    legs: Vec<Leg>,
    appending: BTreeMap<u64, Leg>,
    jobs: Vec<Checkpointing>,
    sender: Sender<(u64, Answer)>,
    answers: Receiver<(u64, Answer)>,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut store = Store::new(seed, sabotage, "__transaction_state");
        let (sender, answers) = channel();
        let settings = TopicSettings {
            segment_bytes: 1_000 + store.dice.below(8_000) as u64,
            index_interval_bytes: 200,
            ..TopicSettings::default()
        };
        Self {
            lives: 0,
            machine: fresh(),
            shard: Shard::new(0, store.rig.shared(), Arc::new(SyncPool::new(0))),
            slots: Vec::new(),
            settings,
            producers: (0..PRODUCERS).map(Producer::new).collect(),
            waiting: BTreeMap::new(),
            next_number: 0,
            next_producer_id: 1_000,
            promised: Vec::new(),
            in_flight: Vec::new(),
            told: BTreeSet::new(),
            transfers: BTreeMap::new(),
            seen: BTreeSet::new(),
            markers: Vec::new(),
            marking: BTreeMap::new(),
            legs: Vec::new(),
            appending: BTreeMap::new(),
            jobs: Vec::new(),
            sender,
            answers,
            store,
        }
    }

    fn act(&mut self) {
        let pauses = [0, 0, 0, 0, 3, 3, 3, 100, 100, 900, 900, 2_500, 20_000];
        self.store.now_ms += *self.store.dice.pick(&pauses);
        match self.store.dice.below(70) {
            0 => self.crash(),
            1 => self.close(),
            2 => self.come_to_rest(),
            3..5 => {
                // Long enough for what is open to be aborted.
                self.store.now_ms += *self.store.dice.pick(&[0, 70_000]);
                self.decide(|machine, now, effects| machine.tick(now, effects));
            }
            5 => self.decide(|machine, now, effects| machine.tick(now, effects)),
            6..10 => self.work_in_background(),
            10..14 => drop(self.look()),
            14..38 => self.work(),
            _ => self.ask(),
        }
    }

    /// A step of the coordinator.
    fn decide(&mut self, work: impl FnOnce(&mut Transactions, Millis, &mut TransactionEffects)) {
        let mut effects = TransactionEffects::default();
        work(&mut self.machine, Millis(self.store.now_ms), &mut effects);
        self.settle(effects);
    }

    /// Makes the records durable, then answers, then has the markers written.
    fn settle(&mut self, effects: TransactionEffects) {
        let TransactionEffects { step, markers } = effects;
        let entries = step.records.iter().map(entry).collect();
        let machine = &self.machine;
        let whole = || {
            machine
                .snapshot_records()
                .map(|record| entry(&record))
                .collect()
        };
        if self.store.append(entries, whole).is_err() {
            self.in_flight = step.records;
            return self.crash();
        }
        self.promised = self.machine.snapshot_records().collect();
        for (request, reply) in step.replies {
            self.take_reply(request, reply);
        }
        self.markers.extend(markers);
        if self.machine.wants_producer_ids() {
            let ids = self.next_producer_id..self.next_producer_id + 2;
            self.next_producer_id = ids.end;
            self.decide(|machine, now, effects| machine.lend(now, ids, effects));
        }
    }

    /// A step of the shard, with some of what waits for it.
    fn work(&mut self) {
        let mut events = Vec::new();
        for _ in 0..self.store.dice.below(4) {
            if !self.legs.is_empty() {
                let chosen = self.store.dice.below(self.legs.len());
                events.push(self.append_event(chosen));
            }
            if !self.markers.is_empty() && self.store.dice.one_in(2) {
                let chosen = self.store.dice.below(self.markers.len());
                events.extend(self.markers_event(chosen));
            }
        }
        if self.store.dice.one_in(3) {
            events.push(Event::Tick);
        }
        self.step(events);
    }

    fn step(&mut self, events: Vec<Event>) {
        self.store.plan_fault(40, 12);
        let result = self.shard.step(self.store.now_ms, events);
        self.store.rig.mend();
        match result {
            Ok(completed) => {
                self.jobs.extend(completed.checkpoints);
                self.take_answers();
            }
            Err(fatal) => {
                story::tell(format!("  the step of the shard fails: {fatal}"));
                self.store.reached.failed_steps += 1;
                self.crash();
            }
        }
    }

    fn take_answers(&mut self) {
        let lives = self.lives;
        let answers: Vec<(u64, Answer)> = self.answers.try_iter().collect();
        for (number, answer) in answers {
            // What follows from an answer may end the process.
            if self.lives != lives {
                return;
            }
            match answer {
                Answer::Appended(outcomes) => self.appended(number, &outcomes),
                Answer::Marked(outcomes) => self.marked(number, &outcomes),
                Answer::Opened(_) | Answer::Closed => unreachable!("taken by those who ask"),
            }
        }
    }

    fn append_event(&mut self, chosen: usize) -> Event {
        let leg = self.legs.swap_remove(chosen);
        let number = self.number();
        story::tell(format!("{} {leg:?} is appended", self.store.now_ms));
        let items = vec![leg.item()];
        self.appending.insert(number, leg);
        let reply = self.reply(number, Answer::Appended);
        Event::Append { items, reply }
    }

    fn markers_event(&mut self, chosen: usize) -> Option<Event> {
        let markers = self.markers.swap_remove(chosen);
        story::tell(format!("{} {markers:?}", self.store.now_ms));
        if self.store.sabotage == Sabotage::LostMarker && self.store.dice.one_in(5) {
            self.markers_written(&markers);
            return None;
        }
        let number = self.number();
        let wrong = self.store.sabotage == Sabotage::WrongOutcome;
        let marker = |(_, index): &(_, i32)| Marker {
            partition: Arc::clone(&self.slots[*index as usize]),
            producer_id: markers.producer.producer_id,
            producer_epoch: markers.producer.producer_epoch,
            coordinator_epoch: 0,
            transaction_version: markers.transaction_version as i8,
            is_commit: markers.is_commit ^ (wrong && *index == 1),
        };
        let asked = markers.partitions.iter().map(marker).collect();
        self.marking.insert(number, markers);
        Some(Event::WriteMarkers {
            markers: asked,
            reply: self.reply(number, Answer::Marked),
        })
    }

    fn marked(&mut self, number: u64, outcomes: &[MarkerOutcome]) {
        let markers = self.marking.remove(&number).expect("it was asked for");
        // It was written before a crash that the coordinator does not know it survived.
        let expected = [ErrorCode::None, ErrorCode::InvalidProducerEpoch];
        invariant!(
            EveryRequestIsAnswered,
            outcomes.len() == markers.partitions.len()
                && outcomes.iter().all(|outcome| expected.contains(outcome)),
            "{markers:?} is answered with {outcomes:?}"
        );
        self.markers_written(&markers);
    }

    fn markers_written(&mut self, markers: &Markers) {
        let Markers { id, producer, .. } = markers;
        self.decide(|machine, now, effects| machine.markers_written(now, id, *producer, effects));
    }

    /// The background thread makes a checkpoint.
    fn work_in_background(&mut self) {
        if self.jobs.is_empty() {
            return self.step(vec![Event::Tick]);
        }
        let Checkpointing { partition, job } = self.jobs.remove(0);
        self.store.plan_fault(20, 6);
        let outcome = job.run();
        self.store.rig.mend();
        match outcome {
            Ok(finished) => {
                self.store.reached.checkpoints += 1;
                self.step(vec![Event::Checkpointed {
                    partition,
                    finished,
                }]);
            }
            Err(error) if error.is_mended_by_space() => {
                self.step(vec![Event::CheckpointPutOff { partition }]);
            }
            Err(error) => {
                story::tell(format!("  a checkpoint fails: {error}"));
                self.store.reached.failed_steps += 1;
                self.crash();
            }
        }
    }

    /// Everything that is under way comes to its end, without faults; then readers must have seen all there is to see.
    fn come_to_rest(&mut self) {
        story::tell("everything comes to rest".to_owned());
        self.store.is_calm = true;
        for _ in 0..QUIET_ROUNDS {
            self.store.now_ms += 15_000;
            self.decide(|machine, now, effects| machine.tick(now, effects));
            while !self.jobs.is_empty() {
                self.work_in_background();
            }
            let mut events = vec![Event::Tick];
            while !self.legs.is_empty() {
                events.push(self.append_event(0));
            }
            while !self.markers.is_empty() {
                events.extend(self.markers_event(0));
            }
            self.step(events);
            if self.is_at_rest() {
                break;
            }
        }
        invariant!(
            NothingHangs,
            self.is_at_rest(),
            "{:?} do not end, {:?} are waited for",
            self.machine.all(),
            self.marking
        );
        self.look_at_all();
        self.store.is_calm = false;
    }

    fn is_at_rest(&self) -> bool {
        let is_open = |state: State| state == State::Ongoing || state.is_ending();
        let states = self.machine.all().values();
        let has_ended = !states.map(|known| known.state).any(is_open);
        has_ended && self.markers.is_empty() && self.marking.is_empty() && self.waiting.is_empty()
    }

    fn crash(&mut self) {
        self.lose();
        self.start();
    }

    /// A clean stop: what waits for its turn is lost all the same.
    fn close(&mut self) {
        let reply = self.reply(0, |()| Answer::Closed);
        let closed = self.shard.step(self.store.now_ms, [Event::Close { reply }]);
        assert!(closed.is_ok(), "the disk is good");
        self.forget_what_is_under_way();
        self.store.close();
        self.start();
    }

    fn lose(&mut self) {
        // What a process would do on its way out, it does not do when it is killed.
        self.store.rig.stop_at(1);
        self.forget_what_is_under_way();
        self.store.rig.mend();
        self.store.crash();
    }

    fn forget_what_is_under_way(&mut self) {
        self.lives += 1;
        self.shard = Shard::new(0, self.store.rig.shared(), Arc::new(SyncPool::new(0)));
        self.slots.clear();
        self.jobs.clear();
        self.waiting.clear();
        self.markers.clear();
        self.marking.clear();
        self.legs.clear();
        self.appending.clear();
        while self.answers.try_recv().is_ok() {}
        self.producers.iter_mut().for_each(Producer::disconnected);
    }

    /// Replays the journal and opens the partitions until both succeed; then ends are carried out that were decided before.
    fn start(&mut self) {
        let mut faults = FAULTY_STARTS;
        loop {
            self.machine = self.store.open(fresh, |machine, key, value| {
                let record = Record::decode(key.unwrap_or_default(), value);
                machine.apply(&record.map_err(|error| error.to_string())?);
                Ok(())
            });
            self.compare_replayed();
            faults = faults.saturating_sub(1);
            if faults > 0 {
                self.store.plan_fault(9, 20);
            }
            let opened = self.open_partitions();
            self.store.rig.mend();
            match opened {
                Ok(slots) => {
                    self.slots = slots;
                    break;
                }
                Err(error) => {
                    story::tell(format!("  the partitions do not open: {error}"));
                    invariant!(RecoveryFindsNoDamage, faults > 0, "{error}");
                    self.lose();
                }
            }
        }
        self.look();
        self.decide(|machine, now, effects| machine.loaded(now, effects));
    }

    fn compare_replayed(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        let replayed: Vec<Record> = self.machine.snapshot_records().collect();
        let is_possible = (0..=in_flight.len())
            .any(|taken| state_after(&self.promised, &in_flight[..taken]) == replayed);
        invariant!(
            ReplayEqualsLive,
            is_possible,
            "{replayed:?} is replayed where {:?} was promised, with {in_flight:?} under way",
            self.promised
        );
        self.promised = replayed;
    }

    fn open_partitions(&mut self) -> Result<Vec<Slot>, LogError> {
        let request = |index: usize| OpenRequest {
            topic: TOPIC.into(),
            topic_id: Uuid([7; 16]),
            index: index as i32,
            directory: format!("{DATA}/{TOPIC}-{index}").into(),
            settings: self.settings,
        };
        let requests = (0..PARTITIONS).map(request).collect();
        let reply = self.reply(0, Answer::Opened);
        let step = self
            .shard
            .step(self.store.now_ms, [Event::Open { requests, reply }]);
        assert!(step.is_ok(), "an open that fails is an answer");
        match self.answers.try_recv() {
            Ok((_, Answer::Opened(opened))) => opened,
            _ => panic!("EveryRequestIsAnswered: the open of the partitions has no answer"),
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn reply<T: Send + 'static>(
        &self,
        number: u64,
        answer: impl FnOnce(T) -> Answer + Send + 'static,
    ) -> Reply<T> {
        let sender = self.sender.clone();
        Reply::new(move |value| {
            // The world holds the receiver for as long as it holds a shard.
            let _ = sender.send((number, answer(value)));
        })
    }

    fn take_reply(&mut self, request: RequestId, reply: TransactionReply) {
        let Some((producer, asked)) = self.waiting.remove(&request) else {
            panic!("EveryRequestIsAnswered: {request:?} is answered twice");
        };
        self.told(producer, asked, reply);
    }
}

/// The state that records give on top of others.
fn state_after(promised: &[Record], records: &[Record]) -> Vec<Record> {
    let mut machine = fresh();
    for record in promised.iter().chain(records) {
        machine.apply(record);
    }
    machine.snapshot_records().collect()
}

fn fresh() -> Transactions {
    Transactions::new(TransactionSettings::default())
}

fn entry(record: &Record) -> Entry {
    let (key, value) = record.encode(VERSION_2);
    (Some(key), value)
}
