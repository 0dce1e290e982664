//! Share partitions (KIP-932): which records of a partition a share group has worked on, which members have now, and
//! which are to be delivered again. One machine without I/O, clock or randomness for all groups.
//!
//! A fetch goes through it twice: `Plan` says where to read and keeps others from reading the same, `Acquire` gives
//! what was read to the member. Then `Acknowledge`, `Release` or the time ends each record's delivery. The runner
//! makes the records of a step durable, then releases its replies; `Plan` and `Acquire` promise nothing durable and
//! may be released at once. After each step it wakes the fetches of `take_woken` and copies `take_dead_letters`.
//!
//! Keeps true: no record is acquired by two members; an acknowledged one is never acquired again, also after a
//! restart; nothing is delivered more often than the limit says; what is neither acknowledged nor given up is
//! delivered again. Durable state changes only by records, so replaying them gives the same state; locks are
//! volatile and end with the process.

mod acknowledge;
mod acquire;
mod command;
mod partition;
mod records;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wire::{ErrorCode, Uuid};

use crate::groups::{GroupId, MemberId};
use crate::step::{Effects, Millis, RequestId};
use partition::SharePartition;
use runs::State;

pub use command::{
    Acknowledge, AcknowledgeBatch, AcknowledgePartition, AcknowledgeType, Acquire,
    AcquirePartition, Acquired, Command, DeadLetters, DescribedPartition, Initialize, Plan,
    PlanPartition, Planned, Refusal, Reply, ShareSettings,
};
pub use records::{Record, RecordError, SharePartitionKey, Snapshot, StateBatch, Update};
pub use runs::Delivery;

/// What a step asks of the runner.
pub type ShareEffects = Effects<Record, Reply>;

/// Counts since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareCounts {
    /// Records acquired, each time.
    pub acquired: u64,
    /// … of them for the second time or later.
    pub redelivered: u64,
    pub acknowledged: u64,
    pub released: u64,
    pub rejected: u64,
    pub renewed: u64,
    /// Locks that ran out.
    pub timed_out: u64,
    /// Records that were given up because they had been delivered as often as the limit says.
    pub exhausted: u64,
    /// Records handed out for the dead-letter topic.
    pub dead_letters: u64,
}

/// How far a share group has come in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharePosition {
    pub group: GroupId,
    pub topic_id: Uuid,
    pub partition: i32,
    /// The first offset whose delivery may not be complete.
    pub start_offset: i64,
    /// Records from there on whose delivery is complete.
    pub delivery_complete: i64,
}

#[derive(Debug, Default)]
struct ShareGroup {
    /// Those of the last request; locks that time out follow them.
    settings: ShareSettings,
    partitions: BTreeMap<(Uuid, i32), SharePartition>,
}

/// The share partitions of the broker.
#[derive(Debug)]
pub struct SharePartitions {
    groups: HashMap<GroupId, ShareGroup>,
    /// Share partitions that there are, and may be at most.
    size: usize,
    limit: usize,
    expiries: BTreeSet<(Millis, SharePartitionKey)>,
    woken: BTreeSet<GroupId>,
    dead_letters: Vec<DeadLetters>,
    counts: ShareCounts,
    is_loaded: bool,
}

impl SharePartitions {
    /// No share partitions, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            groups: HashMap::new(),
            size: 0,
            limit,
            expiries: BTreeSet::new(),
            woken: BTreeSet::new(),
            dead_letters: Vec::new(),
            counts: ShareCounts::default(),
            is_loaded: false,
        }
    }

    /// Takes in one record of the log. This is the whole of recovery.
    pub fn apply(&mut self, record: &Record) {
        let key = record.key();
        if let Record::Tombstone { .. } = record {
            self.forget(key);
            return;
        }
        let group = self.groups.entry(key.group.clone()).or_default();
        let size = &mut self.size;
        let partition = group
            .partitions
            .entry((key.topic_id, key.partition))
            .or_insert_with(|| {
                *size += 1;
                SharePartition::default()
            });
        partition.apply(record);
    }

    /// Ends recovery: what was on its way to a dead-letter topic is sent there again.
    pub fn loaded(&mut self) {
        self.is_loaded = true;
        for key in self.keys(None) {
            let partition = self.partition(&key).expect("a key of ours");
            let is_archiving = |piece: &runs::Piece<'_>| {
                let state = piece.state.expect("a run has a state");
                state.delivery == Delivery::Archiving
            };
            let letters = partition.runs.iter().filter(is_archiving);
            let letters = letters.map(|piece| DeadLetters {
                key: key.clone(),
                first: piece.first,
                last: piece.last,
                count: piece.state.map_or(0, |state| state.count),
            });
            let letters: Vec<_> = letters.collect();
            self.dead_letters.extend(letters);
        }
    }

    /// Decides one request; its reply is in `effects`.
    pub fn handle(
        &mut self,
        now: Millis,
        request: RequestId,
        command: Command,
        effects: &mut ShareEffects,
    ) {
        assert!(
            self.is_loaded,
            "RecoveryComesFirst: requests are answered only after loaded()"
        );
        let reply = self.decide(now, request, command, effects);
        effects.reply(request, reply);
    }

    fn decide(
        &mut self,
        now: Millis,
        request: RequestId,
        command: Command,
        effects: &mut ShareEffects,
    ) -> Reply {
        match command {
            Command::Plan(plan) => {
                let partitions = self.plan(now, request, &plan, effects);
                Reply::Plan {
                    plan: request,
                    partitions,
                }
            }
            Command::Start { key, offset } => Reply::Done(self.start(now, &key, offset, effects)),
            Command::Acquire(acquire) => Reply::Acquire(self.acquire(now, &acquire, effects)),
            Command::Abandon {
                group,
                plan,
                partitions,
            } => {
                for (topic_id, partition) in partitions {
                    self.end_plan(&group, topic_id, partition, plan);
                }
                Reply::Done(ErrorCode::None)
            }
            Command::Acknowledge(acknowledge) => {
                Reply::Acknowledge(self.acknowledge(now, &acknowledge, effects))
            }
            Command::Release {
                group,
                member,
                partitions,
            } => {
                self.release(now, &group, &member, partitions, effects);
                Reply::Done(ErrorCode::None)
            }
            Command::Initialize(initialize) => {
                Reply::Done(self.initialize(now, initialize, effects))
            }
            Command::Delete { group, topics } => {
                self.delete(&group, topics.as_deref(), effects);
                Reply::Done(ErrorCode::None)
            }
            Command::TopicsDeleted(topics) => {
                for group in self.groups.keys().cloned().collect::<Vec<_>>() {
                    self.delete(&group, Some(&topics), effects);
                }
                Reply::Done(ErrorCode::None)
            }
            Command::Describe { group } => Reply::Describe(self.describe(&group)),
            Command::DeadLettersDone { key, first, last } => {
                self.dead_letters_done(now, &key, first, last, effects);
                Reply::Done(ErrorCode::None)
            }
        }
    }

    /// The next time at which `tick` has something to do; it may find nothing.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Ends the deliveries whose time is over at `now`.
    pub fn tick(&mut self, now: Millis, effects: &mut ShareEffects) {
        while let Some((at, _)) = self.expiries.first()
            && *at <= now
        {
            let (_, key) = self.expiries.pop_first().expect("looked at");
            self.expire(now, &key, effects);
        }
    }

    /// The groups that have records for their members again since the last call.
    pub fn take_woken(&mut self) -> BTreeSet<GroupId> {
        std::mem::take(&mut self.woken)
    }

    /// The records to copy to dead-letter topics since the last call; each is answered by `DeadLettersDone`.
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetters> {
        std::mem::take(&mut self.dead_letters)
    }

    pub fn counts(&self) -> ShareCounts {
        self.counts
    }

    /// Share partitions that there are.
    pub fn len(&self) -> usize {
        self.size
    }

    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Records that members have now, over all groups.
    pub fn in_flight(&self) -> i64 {
        let partitions = self.groups.values().flat_map(|group| &group.partitions);
        let acquired = |delivery: &Delivery| matches!(delivery, Delivery::Acquired { .. });
        partitions
            .map(|(_, partition)| partition.runs.count(acquired))
            .sum()
    }

    /// How far each group has come where it has begun to read.
    pub fn positions(&self) -> impl Iterator<Item = SharePosition> + '_ {
        self.groups.iter().flat_map(|(group, state)| {
            let position = |(&(topic_id, partition), state): (&(Uuid, i32), &SharePartition)| {
                Some(SharePosition {
                    group: group.clone(),
                    topic_id,
                    partition,
                    start_offset: state.start?,
                    delivery_complete: i64::from(state.delivery_complete()),
                })
            };
            state.partitions.iter().filter_map(position)
        })
    }

    /// The groups that have state here.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.keys()
    }

    /// Records that recreate the whole durable state, for a compacted copy of the log.
    pub fn snapshot_records(&self, now: Millis) -> impl Iterator<Item = Record> + '_ {
        self.groups.iter().flat_map(move |(group, state)| {
            state
                .partitions
                .iter()
                .map(move |((topic_id, partition), state)| {
                    state.snapshot(&key(group, *topic_id, *partition), now)
                })
        })
    }

    fn start(
        &mut self,
        now: Millis,
        key: &SharePartitionKey,
        offset: i64,
        effects: &mut ShareEffects,
    ) -> ErrorCode {
        match self.partition(key) {
            // Somebody else was faster; the first one counts.
            Some(partition) if partition.start.is_some() => return ErrorCode::None,
            None if self.size >= self.limit => return ErrorCode::CoordinatorNotAvailable,
            None => self.create(now, key, 0, None, effects),
            Some(_) => {}
        }
        let partition = self.partition_mut(key).expect("created when missing");
        effects.record(partition.write(key, Vec::new(), Some(offset.max(0)), now));
        self.woken.insert(key.group.clone());
        ErrorCode::None
    }

    fn initialize(
        &mut self,
        now: Millis,
        initialize: Initialize,
        effects: &mut ShareEffects,
    ) -> ErrorCode {
        let Initialize {
            group,
            state_epoch,
            partitions,
            is_reset,
        } = initialize;
        for (topic_id, partition, start) in partitions {
            let key = key(&group, topic_id, partition);
            let is_there = self.partition(&key).is_some();
            if is_there && !is_reset {
                continue;
            }
            if !is_there && self.size >= self.limit {
                return ErrorCode::CoordinatorNotAvailable;
            }
            self.create(now, &key, state_epoch, start, effects);
        }
        self.woken.insert(group);
        ErrorCode::None
    }

    /// Makes a share partition, or makes it anew without the locks and states it had.
    fn create(
        &mut self,
        now: Millis,
        key: &SharePartitionKey,
        state_epoch: i32,
        start: Option<i64>,
        effects: &mut ShareEffects,
    ) {
        let mut snapshot_epoch = -1;
        let mut state_epoch = state_epoch;
        if let Some(partition) = self.partition_mut(key) {
            snapshot_epoch = partition.snapshot_epoch();
            state_epoch = state_epoch.max(partition.state_epoch.saturating_add(1));
            partition.runs = runs::Runs::default();
            partition.reading = None;
        }
        let start = start.map(|start| start.max(0));
        let record = SharePartition::begin(key, state_epoch, start, snapshot_epoch, now);
        self.apply(&record);
        effects.record(record);
    }

    fn delete(&mut self, group: &GroupId, topics: Option<&[Uuid]>, effects: &mut ShareEffects) {
        let is_meant = |topic_id: &Uuid| topics.is_none_or(|topics| topics.contains(topic_id));
        for key in self.keys(Some(group)) {
            if is_meant(&key.topic_id) {
                let record = Record::Tombstone { key };
                self.apply(&record);
                effects.record(record);
                self.woken.insert(group.clone());
            }
        }
    }

    fn describe(&self, group: &GroupId) -> Vec<DescribedPartition> {
        let partitions = self.groups.get(group).map(|group| &group.partitions);
        let describe = |(&(topic_id, partition), state): (&(Uuid, i32), &SharePartition)| {
            let acquired = |delivery: &Delivery| matches!(delivery, Delivery::Acquired { .. });
            DescribedPartition {
                topic_id,
                partition,
                start_offset: state.start,
                leader_epoch: state.leader_epoch,
                delivery_complete: i64::from(state.delivery_complete()),
                acquired: state.runs.count(acquired),
            }
        };
        partitions.into_iter().flatten().map(describe).collect()
    }

    fn forget(&mut self, key: &SharePartitionKey) {
        let Some(group) = self.groups.get_mut(&key.group) else {
            return;
        };
        if let Some(gone) = group.partitions.remove(&(key.topic_id, key.partition)) {
            self.size -= 1;
            if let Some(expiry) = gone.expiry {
                self.expiries.remove(&(expiry, key.clone()));
            }
        }
        if group.partitions.is_empty() {
            self.groups.remove(&key.group);
        }
    }

    fn keys(&self, group: Option<&GroupId>) -> Vec<SharePartitionKey> {
        let mut keys = Vec::new();
        for (id, state) in &self.groups {
            if group.is_none_or(|group| group == id) {
                let of_group = state.partitions.keys();
                keys.extend(of_group.map(|(topic_id, partition)| key(id, *topic_id, *partition)));
            }
        }
        keys
    }

    fn partition(&self, key: &SharePartitionKey) -> Option<&SharePartition> {
        let group = self.groups.get(&key.group)?;
        group.partitions.get(&(key.topic_id, key.partition))
    }

    fn partition_mut(&mut self, key: &SharePartitionKey) -> Option<&mut SharePartition> {
        let group = self.groups.get_mut(&key.group)?;
        group.partitions.get_mut(&(key.topic_id, key.partition))
    }

    /// Keeps the settings for what happens between requests.
    fn remember(&mut self, group: &GroupId, settings: &ShareSettings) {
        if let Some(group) = self.groups.get_mut(group)
            && group.settings != *settings
        {
            group.settings = settings.clone();
        }
    }

    /// Lets `tick` look at the partition at `at`, if it would not earlier.
    fn expect_expiry(&mut self, key: &SharePartitionKey, at: Option<Millis>) {
        let Some(partition) = self.partition_mut(key) else {
            return;
        };
        let before = partition.expiry;
        let earliest = before.into_iter().chain(at).min();
        partition.expiry = earliest;
        if let Some(earliest) = earliest
            && before != Some(earliest)
        {
            if let Some(before) = before {
                self.expiries.remove(&(before, key.clone()));
            }
            self.expiries.insert((earliest, key.clone()));
        }
    }
}

fn key(group: &GroupId, topic_id: Uuid, partition: i32) -> SharePartitionKey {
    SharePartitionKey {
        group: group.clone(),
        topic_id,
        partition,
    }
}

/// The lock of a member.
fn locked(member: &MemberId, until: Millis, count: i16) -> State {
    let member = member.clone();
    State {
        delivery: Delivery::Acquired { member, until },
        count,
    }
}
