//! Consumer groups (KIP-848) under random members, lost answers, changing topics, silence and restarts. A failing seed
//! names itself: `CONSUMERS_SEED=17 cargo test -p broker-state --test groups random_consumers` runs it alone.
//!
//! Invariants: `OneOwnerPerPartition` (as recorded, and as the members themselves work), `ReplayEqualsLive`,
//! `SnapshotEqualsLive`, `EpochsNeverGoBack`, `TargetsAreSubscribed`, `EverybodyGetsThere`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_state::groups::*;
use broker_state::step::{Millis, RequestId};
use wire::{ErrorCode, Uuid};

use crate::random::Dice;

const SEEDS: u64 = 60;
const STEPS: usize = 200;
const GROUP: &str = "g";

#[test]
fn consumer_groups_keep_every_invariant_and_everybody_gets_there() {
    let seeds = match std::env::var("CONSUMERS_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("CONSUMERS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let all = seeds.end - seeds.start == SEEDS;
    let mut reached = Reached::default();
    for seed in seeds {
        let mut world = World::new(seed);
        let run = std::panic::AssertUnwindSafe(|| world.run());
        if let Err(reason) = std::panic::catch_unwind(run) {
            let story = &world.story[world.story.len().saturating_sub(50)..];
            eprintln!("seed {seed} failed after:\n{}", story.join("\n"));
            std::panic::resume_unwind(reason);
        }
        reached.add(&world.reached);
    }
    assert!(
        !all || reached.is_enough(),
        "SimulationIsNotIdle: {reached:?}"
    );
}

/// How often the interesting things have happened.
#[derive(Debug, Default)]
struct Reached {
    revocations: usize,
    waits: usize,
    fenced: usize,
    replaced: usize,
    converged: usize,
    previous_epochs: usize,
}

impl Reached {
    fn add(&mut self, other: &Reached) {
        self.revocations += other.revocations;
        self.waits += other.waits;
        self.fenced += other.fenced;
        self.replaced += other.replaced;
        self.converged += other.converged;
        self.previous_epochs += other.previous_epochs;
    }

    fn is_enough(&self) -> bool {
        self.revocations > 60
            && self.waits > 120
            && self.fenced > 180
            && self.replaced > 10
            && self.previous_epochs > 60
            && self.converged > 60
    }
}

/// A consumer as it sees itself.
#[derive(Clone, Debug, Default)]
struct Consumer {
    id: MemberId,
    instance: Option<InstanceId>,
    /// `None` while it is not in the group.
    epoch: Option<i32>,
    topics: BTreeSet<TopicName>,
    regex: Option<String>,
    assignor: Option<String>,
    /// What it was told to work on.
    assigned: Partitions,
    /// What it works on; a member gives up and takes over when it gets round to it.
    works_on: Partitions,
    /// Its last answer was lost.
    starts_over: bool,
}

struct World {
    dice: Dice,
    groups: Groups,
    now: Millis,
    effects: GroupEffects,
    consumers: Vec<Consumer>,
    topics: BTreeMap<TopicName, TopicImage>,
    next_id: u64,
    log: Vec<Record>,
    replayed: DurableGroups,
    group_epoch: i32,
    reached: Reached,
    story: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut settings = GroupSettings::default();
        settings.consumer.max_size = dice.range(3, 8) as usize;
        let mut world = World {
            groups: Groups::new(settings),
            dice,
            now: Millis(1_000_000),
            effects: GroupEffects::new(),
            consumers: Vec::new(),
            topics: BTreeMap::new(),
            next_id: 0,
            log: Vec::new(),
            replayed: DurableGroups::default(),
            group_epoch: 0,
            reached: Reached::default(),
            story: Vec::new(),
        };
        world.groups.loaded(world.now);
        for number in 0..6u64 {
            let instance = (number % 3 == 0).then(|| InstanceId::from(format!("i{number}")));
            world.consumers.push(Consumer {
                instance,
                ..Consumer::default()
            });
        }
        world.make_topic("t1");
        world.make_topic("t2");
        world.publish_topics();
        world
    }

    fn run(&mut self) {
        for step in 0..STEPS {
            self.act();
            self.check();
            if step % 100 == 99 {
                self.converge();
            }
        }
    }

    fn act(&mut self) {
        let number = self.dice.range(0, self.consumers.len() as u64) as usize;
        match self.dice.range(0, 100) {
            0..50 => self.beat(number),
            50..65 => self.get_round_to_it(number),
            65..72 => self.enter(number),
            72..76 => self.leave(number),
            76..80 => self.change_topics(),
            80..83 => self.change_subscription(number),
            83..97 => {
                let pause = Duration::from_millis(self.dice.range(0, 3_000));
                self.pass(pause);
            }
            97 => self.pass(Duration::from_secs(50)),
            _ => self.restart(),
        }
    }

    fn enter(&mut self, number: usize) {
        if self.consumers[number].epoch.is_some() {
            return;
        }
        let fresh = self.fresh_id();
        let (topics, regex) = self.any_subscription();
        let assignor = match self.dice.range(0, 4) {
            0 => Some("range".to_owned()),
            1 => Some("uniform".to_owned()),
            _ => None,
        };
        let consumer = &mut self.consumers[number];
        consumer.id = fresh;
        consumer.works_on = Partitions::new();
        consumer.assigned = Partitions::new();
        (consumer.topics, consumer.regex, consumer.assignor) = (topics, regex, assignor);
        let beat = full(consumer, 0);
        self.send(number, beat);
    }

    /// A heartbeat of a member: short, with what it owns, in full, or, rarely, wrong.
    fn beat(&mut self, number: usize) {
        let consumer = self.consumers[number].clone();
        let Some(epoch) = consumer.epoch else {
            return;
        };
        let beat = match self.dice.range(0, 40) {
            _ if consumer.starts_over => full(&consumer, epoch),
            0 => full(&consumer, epoch),
            1 => ConsumerHeartbeat {
                epoch: epoch + 1,
                ..short(&consumer, epoch)
            },
            2..20 => ConsumerHeartbeat {
                owned: Some(consumer.works_on.clone()),
                ..short(&consumer, epoch)
            },
            _ => short(&consumer, epoch),
        };
        self.send(number, beat);
    }

    /// The member stops what it was told to give up and starts what it was given.
    fn get_round_to_it(&mut self, number: usize) {
        let consumer = &mut self.consumers[number];
        if consumer.epoch.is_some() {
            consumer.works_on.clone_from(&consumer.assigned);
        }
    }

    fn change_subscription(&mut self, number: usize) {
        let consumer = self.consumers[number].clone();
        let Some(epoch) = consumer.epoch.filter(|_| !consumer.starts_over) else {
            return;
        };
        let (topics, regex) = self.any_subscription();
        let beat = ConsumerHeartbeat {
            topics: Some(topics.clone()),
            regex: Some(regex.clone().unwrap_or_default()),
            ..short(&consumer, epoch)
        };
        let consumer = &mut self.consumers[number];
        (consumer.topics, consumer.regex) = (topics, regex);
        self.send(number, beat);
    }

    fn leave(&mut self, number: usize) {
        let consumer = self.consumers[number].clone();
        if consumer.epoch.is_none() {
            return;
        }
        let for_a_while = consumer.instance.is_some() && self.dice.one_in(2);
        self.forget(number);
        self.send(number, short(&consumer, if for_a_while { -2 } else { -1 }));
        self.consumers[number].epoch = None;
    }

    fn forget(&mut self, number: usize) {
        let consumer = &mut self.consumers[number];
        consumer.epoch = None;
        consumer.works_on = Partitions::new();
        consumer.assigned = Partitions::new();
    }

    fn send(&mut self, number: usize, beat: ConsumerHeartbeat) {
        self.next_id += 1;
        let request = RequestId(self.next_id);
        self.story
            .push(format!("{:?} consumer {number}: {beat:?}", self.now));
        let before = self.state().map(|state| state.members.len());
        self.groups.handle(
            self.now,
            request,
            Command::ConsumerHeartbeat(beat.clone()),
            &mut self.effects,
        );
        self.groups.tick(self.now, &mut self.effects);
        for (_, reply) in self.settle() {
            let Reply::ConsumerHeartbeat(answer) = reply else {
                panic!("a heartbeat is answered by a heartbeat");
            };
            // Answers get lost; the member then takes up nothing new, as it may have said that it has not, and tells
            // everything again with the epoch it knows.
            if self.dice.one_in(10) && beat.epoch > 0 {
                let consumer = &mut self.consumers[number];
                consumer.assigned.clone_from(&consumer.works_on);
                consumer.starts_over = true;
                continue;
            }
            self.consumers[number].starts_over = false;
            let was_full = before == self.state().map(|state| state.members.len());
            self.learn(number, &beat, answer, was_full);
        }
    }

    fn learn(
        &mut self,
        number: usize,
        beat: &ConsumerHeartbeat,
        answer: Result<ConsumerHeartbeatReply, broker_state::refusal::Refusal>,
        same_size: bool,
    ) {
        match answer {
            Ok(reply) if reply.epoch >= 0 => {
                let consumer = &mut self.consumers[number];
                self.reached.replaced +=
                    usize::from(beat.epoch == 0 && same_size && consumer.instance.is_some());
                self.reached.previous_epochs +=
                    usize::from(beat.epoch > 0 && beat.owned.is_some() && beat.epoch < reply.epoch);
                consumer.epoch = Some(reply.epoch);
                if let Some(assignment) = reply.assignment {
                    consumer.assigned = assignment;
                }
            }
            Ok(_) => {}
            Err(refusal) => {
                assert_ne!(refusal.error, ErrorCode::InvalidRequest, "{refusal}");
                self.reached.fenced += usize::from(beat.epoch > 0);
                // Who is fenced drops everything and starts over.
                self.forget(number);
            }
        }
    }

    fn any_subscription(&mut self) -> (BTreeSet<TopicName>, Option<String>) {
        let names = ["t1", "t2", "t3", "u1"];
        let regex = match self.dice.range(0, 6) {
            0 => Some("t.".to_owned()),
            1 => Some(".*1".to_owned()),
            _ => None,
        };
        let mut topics = BTreeSet::new();
        for name in names {
            if self.dice.one_in(2) {
                topics.insert(TopicName::from(name));
            }
        }
        (topics, regex)
    }

    fn fresh_id(&mut self) -> MemberId {
        self.next_id += 1;
        MemberId::from(format!("m{}", self.next_id))
    }

    fn make_topic(&mut self, name: &str) {
        self.next_id += 1;
        let id = Uuid(u128::from(self.next_id).to_be_bytes());
        let partitions = self.dice.range(1, 6) as i32;
        let image = TopicImage { id, partitions };
        self.topics.insert(TopicName::from(name), image);
    }

    fn change_topics(&mut self) {
        let names = ["t1", "t2", "t3", "u1"];
        let name = names[self.dice.range(0, 4) as usize];
        let known = self.topics.get_mut(name);
        match (known, self.dice.range(0, 3)) {
            (None, _) => self.make_topic(name),
            (Some(_), 0) => drop(self.topics.remove(name)),
            (Some(topic), 1) => topic.partitions += 1,
            (Some(_), _) => self.make_topic(name),
        }
        self.publish_topics();
    }

    fn publish_topics(&mut self) {
        self.story
            .push(format!("{:?} topics {:?}", self.now, self.topics));
        let topics = self
            .topics
            .iter()
            .map(|(name, image)| (name.clone(), *image));
        let image = topics.collect();
        self.groups.set_topics(self.now, image, &mut self.effects);
        self.settle();
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.groups.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.groups.tick(self.now, &mut self.effects);
            self.settle();
            self.check();
        }
        self.now = end;
    }

    fn restart(&mut self) {
        self.story.push(format!("{:?} restarts", self.now));
        let mut groups = Groups::new(self.groups.settings().clone());
        self.log.iter().for_each(|record| groups.apply(record));
        groups.loaded(self.now);
        self.groups = groups;
        self.publish_topics();
    }

    fn settle(&mut self) -> Vec<(RequestId, Reply)> {
        let effects = self.effects.take();
        for record in effects.records {
            self.story.push(format!("    {record:?}"));
            let (key, value) = record.encode();
            let read = Record::decode(&key, value.as_deref()).expect("RecordsRoundTrip");
            if let Record::Consumer {
                change: ConsumerChange::Current(_, Some(current)),
                ..
            } = &read
            {
                let revokes = current.state == MemberState::UnrevokedPartitions;
                self.reached.revocations += usize::from(revokes);
                let waits = current.state == MemberState::UnreleasedPartitions;
                self.reached.waits += usize::from(waits);
            }
            self.replayed.apply(&read);
            self.log.push(read);
        }
        assert_eq!(&self.replayed, self.groups.durable(), "ReplayEqualsLive");
        effects.replies
    }

    fn state(&self) -> Option<&ConsumerState> {
        self.groups.durable().get(GROUP)?.consumer.as_ref()
    }

    fn check(&mut self) {
        let Some(state) = self.state().cloned() else {
            self.group_epoch = 0;
            return;
        };
        assert!(state.epoch.epoch >= self.group_epoch, "EpochsNeverGoBack");
        self.group_epoch = state.epoch.epoch;
        let mut owners: BTreeMap<(Uuid, i32), &MemberId> = BTreeMap::new();
        for (member, current) in &state.currents {
            assert!(
                state.members.contains_key(member),
                "a current belongs to a member"
            );
            for owned in [&current.assigned, &current.pending_revocation] {
                for (topic, partitions) in owned {
                    for partition in partitions.keys() {
                        let other = owners.insert((*topic, *partition), member);
                        assert_eq!(other, None, "OneOwnerPerPartition: {topic}-{partition}");
                    }
                }
            }
        }
        self.check_work(&state);
    }

    /// Members that the group still knows never work on the same partition.
    fn check_work(&self, state: &ConsumerState) {
        let mut workers: BTreeMap<(Uuid, i32), &MemberId> = BTreeMap::new();
        let members = self.consumers.iter();
        let members = members.filter(|c| c.epoch.is_some() && state.members.contains_key(&c.id));
        for consumer in members {
            for (topic, partitions) in &consumer.works_on {
                for partition in partitions {
                    let other = workers.insert((*topic, *partition), &consumer.id);
                    assert_eq!(other, None, "OneOwnerPerPartition: {topic}-{partition}");
                }
            }
        }
    }

    /// Everybody beats and does as told for a while; then everything subscribed has an owner, and nothing else has.
    fn converge(&mut self) {
        // Long enough for those that have fallen silent, or left for a while, to be fenced.
        for _ in 0..25 {
            for number in 0..self.consumers.len() {
                let consumer = self.consumers[number].clone();
                let Some(epoch) = consumer.epoch else {
                    continue;
                };
                self.send(number, full(&consumer, epoch));
                self.get_round_to_it(number);
                self.check();
            }
            self.pass(Duration::from_secs(2));
        }
        let Some(state) = self
            .state()
            .cloned()
            .filter(|state| !state.members.is_empty())
        else {
            return;
        };
        self.check_targets(&state);
        // Static members that have left for a while were fenced above; whoever is here has its target.
        assert_eq!(
            state.group_state(),
            GroupState::Stable,
            "EverybodyGetsThere"
        );
        for consumer in self
            .consumers
            .iter()
            .filter(|consumer| consumer.epoch.is_some())
        {
            let target = state.targets.get(&consumer.id).cloned().unwrap_or_default();
            assert_eq!(
                consumer.works_on, target,
                "EverybodyGetsThere: {}",
                consumer.id
            );
        }
        let mut copied = DurableGroups::default();
        self.groups
            .snapshot_records()
            .for_each(|record| copied.apply(&record));
        assert_eq!(&copied, self.groups.durable(), "SnapshotEqualsLive");
        self.reached.converged += 1;
    }

    fn check_targets(&self, state: &ConsumerState) {
        let mut wanted: BTreeSet<(Uuid, i32)> = BTreeSet::new();
        for (id, member) in &state.members {
            let matched = member
                .regex
                .as_ref()
                .and_then(|regex| state.regexes.get(regex));
            let names = member
                .topics
                .iter()
                .chain(matched.iter().flat_map(|regex| &regex.topics));
            let topics: Vec<TopicImage> = names
                .filter_map(|name| self.topics.get(name))
                .copied()
                .collect();
            for (topic, partitions) in state.targets.get(id).into_iter().flatten() {
                let topic = topics.iter().find(|known| known.id == *topic);
                let count = topic.expect("TargetsAreSubscribed").partitions;
                assert!(
                    partitions.iter().all(|p| *p < count),
                    "TargetsAreSubscribed"
                );
            }
            let all = topics
                .iter()
                .flat_map(|t| (0..t.partitions).map(move |p| (t.id, p)));
            wanted.extend(all);
        }
        let given = state.targets.values().flatten();
        let given: Vec<(Uuid, i32)> = given
            .flat_map(|(topic, ps)| ps.iter().map(move |p| (*topic, *p)))
            .collect();
        let distinct: BTreeSet<(Uuid, i32)> = given.iter().copied().collect();
        assert_eq!(given.len(), distinct.len(), "OneOwnerPerPartition: targets");
        assert_eq!(distinct, wanted, "EverybodyGetsThere: targets");
    }
}

fn short(consumer: &Consumer, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: GroupId::from(GROUP),
        member_id: consumer.id.clone(),
        epoch,
        instance_id: consumer.instance.clone(),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..ConsumerHeartbeat::default()
    }
}

fn full(consumer: &Consumer, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        rebalance_timeout: Some(Duration::from_secs(30)),
        topics: Some(consumer.topics.clone()),
        regex: Some(consumer.regex.clone().unwrap_or_default()),
        assignor: consumer.assignor.clone(),
        owned: Some(consumer.works_on.clone()),
        ..short(consumer, epoch)
    }
}
