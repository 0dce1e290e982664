//! Share partitions over `__share_group_state-0`: members fetch, answer, leave and run out of time, records are given up, the
//! process ends at any operation of the disk. What members were told is compared with what they get afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::Entry;
use broker_state::groups::{GroupId, MemberId};
use broker_state::share_partitions::{
    Acknowledge, AcknowledgeBatch, AcknowledgePartition, AcknowledgeType, Acquire,
    AcquirePartition, Acquired, Command, DeadLetters, Delivery, Plan, PlanPartition, Planned,
    Record, Reply, ShareEffects, SharePartitionKey, SharePartitions, ShareSettings, Snapshot,
};
use broker_state::step::{Effects, Millis, RequestId};
use wire::Uuid;

use super::Store;
use crate::invariant::invariant;
use crate::rig::Sabotage;
use crate::{Reached, story};

const STEPS: usize = 90;
const MEMBERS: usize = 3;
const TOPIC: Uuid = Uuid([7; 16]);
/// Records of a batch of the partition.
const BATCH: i64 = 7;
const DELIVERIES: i16 = 4;
const LOCK: Duration = Duration::from_secs(30);
/// Fetches after which a diligent member must have come to the end.
const MOST_FETCHES: usize = 2_000;

/// Runs one seed.
pub fn run(seed: u64, sabotage: Sabotage) -> Reached {
    let mut world = World::new(seed, sabotage);
    world.start();
    for _ in 0..STEPS {
        world.act();
    }
    world.crash();
    world.work_to_the_end();
    world.store.reached
}

struct World {
    store: Store,
    machine: SharePartitions,
    settings: ShareSettings,
    next_request: u64,
    /// The state that all answers so far rest on.
    promised: Vec<Record>,
    /// What was on its way to the disk when the process ended.
    in_flight: Vec<Record>,
    /// The disk has failed in the last step, which ends the process.
    has_failed: bool,
    log_start: i64,
    end: i64,
    /// Who has a record, and until when.
    owners: BTreeMap<i64, (usize, i64)>,
    /// Records that were delivered so often in this life.
    deliveries: BTreeMap<i64, i16>,
    /// Nobody may get these any more.
    done: BTreeSet<i64>,
    /// Those among them that must get a dead letter.
    rejected: BTreeSet<i64>,
    letters: Vec<DeadLetters>,
    /// Records that are in the dead-letter topic.
    delivered: BTreeSet<i64>,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut store = Store::new(seed, sabotage, "__share_group_state");
        let settings = ShareSettings {
            record_lock_duration: LOCK,
            delivery_count_limit: DELIVERIES,
            max_record_locks: 50,
            has_dead_letter_topic: store.dice.one_in(2),
            ..ShareSettings::default()
        };
        Self {
            store,
            machine: SharePartitions::new(10),
            settings,
            next_request: 0,
            promised: Vec::new(),
            in_flight: Vec::new(),
            has_failed: false,
            log_start: 0,
            end: 20,
            owners: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            done: BTreeSet::new(),
            rejected: BTreeSet::new(),
            letters: Vec::new(),
            delivered: BTreeSet::new(),
        }
    }

    fn act(&mut self) {
        let pauses = [0, 0, 0, 5, 900, 4_000, 31_000];
        self.store.now_ms += *self.store.dice.pick(&pauses);
        let now_ms = self.store.now_ms;
        self.owners.retain(|_, (_, until)| *until > now_ms);
        let member = self.store.dice.below(MEMBERS);
        match self.store.dice.below(40) {
            0 => self.crash(),
            1 => {
                self.forget_locks();
                self.store.close();
                self.start();
            }
            2..4 => self.end += self.store.dice.between(1, 40),
            4 => {
                let to = self.log_start + self.store.dice.between(0, 30);
                self.log_start = to.min(self.end);
            }
            5 => self.leave(member),
            6..10 => self.letters_arrive(),
            10..24 => self.fetch(member),
            _ => self.answer(member),
        }
    }

    /// One step of the owner; the answer, unless the process ends before it may be given.
    fn ask(&mut self, command: Command) -> Option<Reply> {
        story::tell(format!("{} {command:?}", self.store.now_ms));
        let (now, request) = (Millis(self.store.now_ms), RequestId(self.next_request));
        self.next_request += 1;
        let mut effects = Effects::new();
        self.machine.handle(now, request, command, &mut effects);
        self.machine.tick(now, &mut effects);
        let (reply, is_durable) = self.settle(effects);
        story::tell(format!("  {reply:?}"));
        // What promises nothing durable is answered before the records are written.
        let is_early = matches!(reply, Reply::Plan { .. } | Reply::Acquire(_));
        (is_early || is_durable).then_some(reply)
    }

    /// Makes the records durable; gives the answer, and whether they are.
    fn settle(&mut self, mut effects: ShareEffects) -> (Reply, bool) {
        invariant!(
            EveryRequestIsAnswered,
            effects.replies.len() == 1,
            "one command has {} answers",
            effects.replies.len()
        );
        let (_, reply) = effects.replies.remove(0);
        let entries = effects.records.iter().map(entry).collect();
        let (machine, now) = (&self.machine, Millis(self.store.now_ms));
        let whole = || {
            machine
                .snapshot_records(now)
                .map(|record| entry(&record))
                .collect()
        };
        let appended = self.store.append(entries, whole);
        if appended.is_err() {
            self.in_flight = effects.records;
            self.has_failed = true;
            return (reply, false);
        }
        self.promised = state_after(&self.promised, &effects.records);
        self.letters.extend(self.machine.take_dead_letters());
        (reply, true)
    }

    /// Ends the process if the disk has failed in the last step; tells whether it did.
    fn ends_here(&mut self) -> bool {
        let has_failed = std::mem::take(&mut self.has_failed);
        if has_failed {
            self.crash();
        }
        has_failed
    }

    fn fetch(&mut self, member: usize) {
        let partition = PlanPartition {
            topic_id: TOPIC,
            partition: 0,
            log_start: self.log_start,
            end: self.end,
        };
        let asked = self.ask(Command::Plan(Plan {
            group: group(),
            settings: self.settings.clone(),
            partitions: vec![partition],
        }));
        if self.ends_here() {
            return;
        }
        let Some(Reply::Plan { plan, partitions }) = asked else {
            panic!("EveryRequestIsAnswered: a plan is answered with {asked:?}");
        };
        match partitions[..] {
            [Planned::Read(from)] if self.store.dice.one_in(12) && !self.store.is_calm => {
                story::tell(format!("  nothing is read from {from}"));
                self.ask(Command::Abandon {
                    group: group(),
                    plan,
                    partitions: vec![(TOPIC, 0)],
                });
                self.ends_here();
            }
            [Planned::Read(from)] => self.acquire(member, plan, from),
            [Planned::NoStart] => {
                let (key, offset) = (key(), self.log_start);
                self.ask(Command::Start { key, offset });
                self.ends_here();
            }
            _ => {}
        }
    }

    fn acquire(&mut self, member: usize, plan: RequestId, from: i64) {
        let most = self.store.dice.between(1, 40);
        let batches = batches(from, most, self.end);
        let read = AcquirePartition {
            topic_id: TOPIC,
            partition: 0,
            from,
            upto: batches.last().map_or(from, |(_, last)| last + 1),
            batches,
        };
        let is_strict = self.store.dice.one_in(2);
        let acquired = self.ask(Command::Acquire(Acquire {
            group: group(),
            member: name_of(member),
            plan,
            settings: self.settings.clone(),
            max_records: most,
            batch_size: most,
            is_strict,
            partitions: vec![read],
        }));
        let Some(Reply::Acquire(acquired)) = acquired else {
            panic!("EveryRequestIsAnswered: an acquisition is answered with {acquired:?}");
        };
        let ranges = acquired.into_iter().flatten();
        ranges.for_each(|range| self.take(member, range));
        self.ends_here();
    }

    /// A member has got records.
    fn take(&mut self, member: usize, range: Acquired) {
        let until = self.store.now_ms + LOCK.as_millis() as i64;
        for offset in range.first..=range.last {
            invariant!(
                AckedIsDurable,
                !self.done.contains(&offset),
                "record {offset} was answered for and comes again"
            );
            let before = self.owners.insert(offset, (member, until));
            invariant!(
                OneOwnerPerRecord,
                before.is_none(),
                "record {offset} is with {before:?} and goes to {member}"
            );
            self.deliveries.insert(offset, range.count);
        }
        if self.store.sabotage == Sabotage::EarlyRelease && self.store.dice.one_in(5) {
            self.ask(Command::Release {
                group: group(),
                member: name_of(member),
                partitions: None,
            });
        }
    }

    /// A member answers for some of what it has.
    fn answer(&mut self, member: usize) {
        let mine = |(_, (owner, _)): &(&i64, &(usize, i64))| *owner == member;
        let mine: Vec<i64> = self.owners.iter().filter(mine).map(|(at, _)| *at).collect();
        if mine.is_empty() {
            return self.fetch(member);
        }
        let first = *self.store.dice.pick(&mine);
        let most = self.store.dice.between(0, 12);
        let last = mine.iter().copied().filter(|at| *at >= first);
        let last = last
            .zip(first..=first + most)
            .take_while(|(at, next)| at == next);
        let last = last.last().map_or(first, |(at, _)| at);
        let kinds = [
            AcknowledgeType::Accept,
            AcknowledgeType::Accept,
            AcknowledgeType::Accept,
            AcknowledgeType::Release,
            AcknowledgeType::Reject,
            AcknowledgeType::Renew,
        ];
        let kind = *self.store.dice.pick(&kinds);
        self.acknowledge(member, first, last, kind);
    }

    fn acknowledge(&mut self, member: usize, first: i64, last: i64, kind: AcknowledgeType) {
        let batch = AcknowledgeBatch {
            first,
            last,
            types: vec![kind],
        };
        let answer = self.ask(Command::Acknowledge(Acknowledge {
            group: group(),
            member: name_of(member),
            settings: self.settings.clone(),
            partitions: vec![AcknowledgePartition {
                topic_id: TOPIC,
                partition: 0,
                batches: vec![batch],
            }],
        }));
        let Some(Reply::Acknowledge(results)) = answer else {
            // Nobody was told: it may have been taken in or not.
            self.ends_here();
            return;
        };
        match results[..] {
            [Ok(())] => self.acknowledged(first, last, kind),
            // Retention was faster, and some of it is gone.
            _ => self.store.reached.refused += 1,
        }
    }

    fn acknowledged(&mut self, first: i64, last: i64, kind: AcknowledgeType) {
        self.store.reached.acknowledged += 1;
        for offset in first..=last {
            let is_last = self.deliveries.get(&offset) >= Some(&DELIVERIES);
            let is_given_up =
                kind == AcknowledgeType::Reject || (kind == AcknowledgeType::Release && is_last);
            if kind == AcknowledgeType::Renew {
                let until = self.store.now_ms + LOCK.as_millis() as i64;
                self.owners
                    .entry(offset)
                    .and_modify(|owner| owner.1 = until);
                continue;
            }
            self.owners.remove(&offset);
            if is_given_up {
                self.rejected.insert(offset);
            }
            if is_given_up || kind == AcknowledgeType::Accept {
                self.done.insert(offset);
            }
        }
    }

    fn leave(&mut self, member: usize) {
        self.owners.retain(|_, (owner, _)| *owner != member);
        self.ask(Command::Release {
            group: group(),
            member: name_of(member),
            partitions: None,
        });
        self.ends_here();
    }

    /// Dead letters are in their topic, which the machine is told after that.
    fn letters_arrive(&mut self) {
        for letters in std::mem::take(&mut self.letters) {
            let DeadLetters {
                key, first, last, ..
            } = letters;
            if self.store.sabotage != Sabotage::LostLetters {
                self.delivered.extend(first..=last);
            }
            self.ask(Command::DeadLettersDone { key, first, last });
            if self.ends_here() {
                return;
            }
        }
    }

    fn crash(&mut self) {
        self.forget_locks();
        self.store.crash();
        self.start();
    }

    fn forget_locks(&mut self) {
        self.owners.clear();
        self.deliveries.clear();
        self.letters.clear();
    }

    fn start(&mut self) {
        let fresh = || SharePartitions::new(10);
        self.machine = self.store.open(fresh, |machine, key, value| {
            let record = Record::decode(key.unwrap_or_default(), value);
            machine.apply(&record.map_err(|error| error.to_string())?);
            Ok(())
        });
        let replayed = snapshot_of(&self.machine);
        for offset in &self.done {
            invariant!(
                AckedIsDurable,
                is_done(&replayed, *offset),
                "record {offset} was answered for, and the log says {replayed:?}"
            );
        }
        let in_flight = std::mem::take(&mut self.in_flight);
        let is_possible = (0..=in_flight.len())
            .any(|taken| state_after(&self.promised, &in_flight[..taken]) == replayed);
        invariant!(
            ReplayEqualsLive,
            is_possible,
            "{replayed:?} is replayed where {:?} was promised, with {in_flight:?} under way",
            self.promised
        );
        self.promised = replayed;
        self.machine.loaded();
        self.letters.extend(self.machine.take_dead_letters());
    }

    /// Whatever has happened, a member that works on all it gets comes to the end, and what was given up has its letter.
    fn work_to_the_end(&mut self) {
        self.store.is_calm = true;
        for _ in 0..MOST_FETCHES {
            self.letters_arrive();
            self.fetch(0);
            if let Some((first, last)) = self.next_range() {
                self.acknowledge(0, first, last, AcknowledgeType::Accept);
            }
            if self.letters.is_empty() && self.start_offset() == Some(self.end) {
                break;
            }
        }
        invariant!(
            WorkComesToAnEnd,
            self.start_offset() == Some(self.end),
            "the group is at {:?} of {}",
            self.start_offset(),
            self.end
        );
        // What retention took before its letter was written cannot be copied any more.
        let mut left = self.rejected.range(self.log_start..);
        let missing = left.find(|offset| !self.delivered.contains(*offset));
        invariant!(
            WorkComesToAnEnd,
            missing.is_none() || !self.settings.has_dead_letter_topic,
            "record {missing:?} was given up and has no dead letter"
        );
    }

    /// The first records in a row that some member has.
    fn next_range(&self) -> Option<(i64, i64)> {
        let first = *self.owners.keys().next()?;
        let row = self.owners.keys().zip(first..);
        let row = row.take_while(|(at, next)| **at == *next).count();
        Some((first, first + row as i64 - 1))
    }

    fn start_offset(&self) -> Option<i64> {
        let snapshots = snapshot_of(&self.machine);
        snapshots.iter().find_map(|record| match record {
            Record::Snapshot { snapshot, .. } => snapshot.start_offset,
            _ => None,
        })
    }
}

/// Batches from the one that holds `from` on, of at most `most` records behind it.
fn batches(from: i64, most: i64, end: i64) -> Vec<(i64, i64)> {
    let firsts = (from - from % BATCH..end.min(from + most)).step_by(BATCH as usize);
    firsts
        .map(|first| (first, (first + BATCH).min(end) - 1))
        .collect()
}

/// The state that records give on top of others, as records.
fn state_after(promised: &[Record], records: &[Record]) -> Vec<Record> {
    let mut machine = SharePartitions::new(10);
    for record in promised.iter().chain(records) {
        machine.apply(record);
    }
    snapshot_of(&machine)
}

/// What the machine knows durably, without what only counts how often that was written.
fn snapshot_of(machine: &SharePartitions) -> Vec<Record> {
    let records = machine.snapshot_records(Millis(0));
    let normal = records.map(|record| match record {
        Record::Snapshot { key, snapshot } => Record::Snapshot {
            key,
            snapshot: Snapshot {
                snapshot_epoch: 0,
                ..snapshot
            },
        },
        other => other,
    });
    normal.collect()
}

/// Whether nobody will get the record any more.
fn is_done(records: &[Record], offset: i64) -> bool {
    records.iter().any(|record| {
        let Record::Snapshot { snapshot, .. } = record else {
            return false;
        };
        let is_in = |first: i64, last: i64| (first..=last).contains(&offset);
        let is_passed = snapshot.start_offset.is_some_and(|start| start > offset);
        let batches = &snapshot.batches;
        is_passed
            || batches.iter().any(|batch| {
                is_in(batch.first, batch.last) && batch.delivery != Delivery::Available
            })
    })
}

fn group() -> GroupId {
    GroupId::from("workers")
}

fn key() -> SharePartitionKey {
    SharePartitionKey {
        group: group(),
        topic_id: TOPIC,
        partition: 0,
    }
}

fn name_of(member: usize) -> MemberId {
    MemberId::from(format!("m{member}"))
}

fn entry(record: &Record) -> Entry {
    let (key, value) = record.encode();
    (Some(key), value)
}
