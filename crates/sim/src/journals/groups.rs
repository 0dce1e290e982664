//! Consumer groups over `__consumer_offsets-0`: what clients were told is there after a crash, and generations only grow.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::Entry;
use broker_state::groups::{
    Command, CommitOffsets, CommittedTopic, DeleteOffsets, DurableGroups, Generation, GroupEffects,
    GroupId, GroupSettings, Groups, MemberId, Record, Reply, TopicImage, TopicName,
};
use broker_state::step::{Effects, Millis, RequestId};
use wire::{ErrorCode, Uuid};

use super::Store;
use super::members::Member;
use crate::invariant::invariant;
use crate::rig::Sabotage;
use crate::{Reached, story};

const STEPS: usize = 100;
const MEMBERS: usize = 6;

/// Runs one seed.
pub fn run(seed: u64, sabotage: Sabotage) -> Reached {
    let mut world = World::new(seed, sabotage);
    for _ in 0..STEPS {
        world.act();
    }
    world.store.crash();
    world.start();
    world.store.reached
}

/// Group, topic, partition.
type Place = (GroupId, TopicName, i32);

struct World {
    store: Store,
    groups: Groups,
    members: Vec<Member>,
    waiting: BTreeMap<RequestId, (Option<usize>, Command)>,
    next_request: u64,
    /// What all answers so far rest on.
    promised: DurableGroups,
    /// What was on its way to the disk when the process ended.
    in_flight: Vec<Record>,
    committed: BTreeMap<Place, i64>,
    generations: BTreeMap<GroupId, Generation>,
}

impl World {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut world = Self {
            store: Store::new(seed, sabotage, "__consumer_offsets"),
            groups: Groups::new(settings()),
            members: Vec::new(),
            waiting: BTreeMap::new(),
            next_request: 0,
            promised: DurableGroups::default(),
            in_flight: Vec::new(),
            committed: BTreeMap::new(),
            generations: BTreeMap::new(),
        };
        world.members = (0..MEMBERS).map(Member::new).collect();
        world.start();
        world
    }

    fn act(&mut self) {
        let pauses = [0, 0, 3, 100, 900, 2_500, 30_000];
        self.store.now_ms += *self.store.dice.pick(&pauses);
        match self.store.dice.below(40) {
            0 => {
                self.store.crash();
                self.start();
            }
            1 => {
                self.store.close();
                self.start();
            }
            _ => self.step(),
        }
    }

    /// Some requests are decided together, made durable together, and answered.
    fn step(&mut self) {
        let mut effects = Effects::new();
        for _ in 0..self.store.dice.below(7) {
            self.ask(&mut effects);
        }
        self.groups.tick(Millis(self.store.now_ms), &mut effects);
        let entries = effects.records.iter().map(entry).collect();
        let groups = &self.groups;
        let whole = || {
            groups
                .snapshot_records()
                .map(|record| entry(&record))
                .collect()
        };
        match self.store.append(entries, whole) {
            Ok(()) => self.settle(effects),
            Err(_) => {
                self.in_flight = effects.records;
                self.store.crash();
                self.start();
            }
        }
    }

    fn ask(&mut self, effects: &mut GroupEffects) {
        let dice = &mut self.store.dice;
        let number = dice.below(self.members.len());
        let is_waiting = self.waiting.values().any(|(of, _)| *of == Some(number));
        let (member, command) = if is_waiting || dice.one_in(12) {
            (None, administer(dice))
        } else {
            let fresh = MemberId::from(format!("m{}", self.next_request));
            (Some(number), self.members[number].next_command(dice, fresh))
        };
        let request = RequestId(self.next_request);
        self.next_request += 1;
        story::tell(format!("{} {} {command:?}", self.store.now_ms, request.0));
        self.waiting.insert(request, (member, command.clone()));
        let now = Millis(self.store.now_ms);
        self.groups.handle(now, request, command, effects);
    }

    /// The records are durable: the answers go out.
    fn settle(&mut self, effects: GroupEffects) {
        for (request, reply) in effects.replies {
            let waiting = self.waiting.remove(&request);
            let Some((member, command)) = waiting else {
                panic!("EveryRequestIsAnswered: {request:?} is answered twice");
            };
            if let (Command::CommitOffsets(commit), Reply::CommitOffsets(topics)) =
                (&command, &reply)
            {
                self.take_commit(commit, topics);
            }
            self.store.reached.acknowledged += 1;
            if let Some(member) = member {
                self.members[member].learn(&command, &reply);
            }
        }
        // A commit may have been taken back by the same step.
        for record in &effects.records {
            self.promised.apply(record);
            self.take_record(record);
        }
        invariant!(
            ReplayEqualsLive,
            &self.promised == self.groups.durable(),
            "the records of a step do not give the state that the step left"
        );
    }

    fn take_record(&mut self, record: &Record) {
        match record {
            Record::OffsetTombstone {
                group,
                topic,
                partition,
            } => {
                let place = (group.clone(), topic.clone(), *partition);
                self.committed.remove(&place);
            }
            Record::GroupMetadata { group, metadata } => {
                let before = self.generations.insert(group.clone(), metadata.generation);
                invariant!(
                    GenerationsNeverGoBack,
                    before.is_none_or(|before| before <= metadata.generation),
                    "{group} records {:?} after {before:?}",
                    metadata.generation
                );
            }
            Record::GroupTombstone { group } => {
                self.generations.remove(group);
            }
            Record::Consumer { .. } | Record::Share { .. } | Record::Transaction(_) => {}
            Record::OffsetCommit {
                group,
                topic,
                partition,
                committed,
            } => {
                let place = (group.clone(), topic.clone(), *partition);
                let known = self.committed.get_mut(&place);
                known
                    .into_iter()
                    .for_each(|known| *known = committed.offset);
            }
        }
    }

    fn take_commit(&mut self, commit: &CommitOffsets, topics: &[CommittedTopic]) {
        for (asked, answered) in commit.topics.iter().zip(topics) {
            for (asked, (partition, error)) in asked.partitions.iter().zip(&answered.partitions) {
                if *error == ErrorCode::None {
                    let place = (commit.group.clone(), answered.topic.clone(), *partition);
                    self.committed.insert(place, asked.offset);
                }
            }
        }
    }

    /// Replays the journal and compares.
    fn start(&mut self) {
        let apply = |groups: &mut Groups, key: Option<&[u8]>, value: Option<&[u8]>| {
            let record = Record::decode(key.unwrap_or_default(), value)
                .map_err(|error| error.to_string())?;
            groups.apply(&record);
            Ok(())
        };
        self.groups = self.store.open(|| Groups::new(settings()), apply);
        self.waiting.clear();
        let in_flight = std::mem::take(&mut self.in_flight);
        self.check_promises(&in_flight);
        let taken = self.check_state(&in_flight);
        in_flight[..taken]
            .iter()
            .for_each(|record| self.take_record(record));
        self.promised = self.groups.durable().clone();
        self.committed.retain(|(group, topic, partition), offset| {
            let found = self.promised.get(group.as_str());
            let found = found.and_then(|group| group.offset(topic.as_str(), *partition));
            found.is_some_and(|found| found.offset == *offset)
        });
        let now = Millis(self.store.now_ms);
        self.groups.loaded(now);
        let t1 = TopicImage {
            id: Uuid([1; 16]),
            partitions: 4,
        };
        let topics = [("t1".into(), t1)].into_iter().collect();
        self.groups.set_topics(now, topics, &mut Effects::new());
    }

    /// The replayed state is the promised one, and some of the records after it in their order; tells how many.
    fn check_state(&self, in_flight: &[Record]) -> usize {
        let mut state = self.promised.clone();
        for taken in 0..=in_flight.len() {
            if &state == self.groups.durable() {
                return taken;
            }
            if let Some(record) = in_flight.get(taken) {
                state.apply(record);
            }
        }
        panic!(
            "ReplayEqualsLive: {:?} is replayed where {:?} was promised, with {in_flight:?} under way",
            self.groups.durable(),
            self.promised
        );
    }

    fn check_promises(&self, in_flight: &[Record]) {
        for ((group, topic, partition), offset) in &self.committed {
            let is_changing = in_flight.iter().any(|record| match record {
                Record::OffsetCommit {
                    group: of,
                    topic: on,
                    partition: at,
                    ..
                }
                | Record::OffsetTombstone {
                    group: of,
                    topic: on,
                    partition: at,
                } => (of, on, at) == (group, topic, partition),
                _ => false,
            });
            let found = self.groups.durable().get(group.as_str());
            let found = found.and_then(|group| group.offset(topic.as_str(), *partition));
            let found = found.map(|found| found.offset);
            invariant!(
                AckedIsDurable,
                found == Some(*offset) || is_changing,
                "{group} was told that it has committed {offset} of {topic}-{partition}; after a crash it is {found:?}"
            );
        }
        for (group, generation) in &self.generations {
            let is_ending = in_flight.iter().any(
                |record| matches!(record, Record::GroupTombstone { group: of } if of == group),
            );
            let found = self.groups.durable().get(group.as_str());
            let found = found.and_then(|group| group.metadata.as_ref());
            let found = found.map(|metadata| metadata.generation);
            invariant!(
                GenerationsNeverGoBack,
                is_ending || found.is_some_and(|found| found >= *generation),
                "{group} had {generation:?}; after a crash it is {found:?}"
            );
        }
    }
}

fn settings() -> GroupSettings {
    GroupSettings {
        offsets_retention: Duration::from_secs(900),
        offsets_retention_check_interval: Duration::from_secs(60),
        ..GroupSettings::default()
    }
}

/// What somebody does who is no member.
fn administer(dice: &mut crate::dice::Dice) -> Command {
    let group = GroupId::from(*dice.pick(&super::members::GROUPS));
    match dice.below(5) {
        0 => Command::DeleteGroups(vec![group]),
        1 => Command::DeleteOffsets(DeleteOffsets {
            group,
            topics: vec![("t1".into(), vec![0, 1])],
        }),
        _ => Command::CommitOffsets(CommitOffsets {
            group,
            member_id: MemberId::default(),
            instance_id: None,
            generation: Generation::NONE,
            knows_member_epochs: true,
            retention: None,
            topics: vec![super::members::commit_topic(dice, Uuid::ZERO)],
        }),
    }
}

fn entry(record: &Record) -> Entry {
    let (key, value) = record.encode();
    (Some(key), value)
}
