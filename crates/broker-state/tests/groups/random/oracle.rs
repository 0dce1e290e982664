//! What must be true, kept apart from the machine and fed with nothing but its records and replies.

use std::collections::BTreeMap;

use broker_state::groups::*;
use wire::ErrorCode;

/// How often the interesting things have happened, so that a simulation that only refuses does not pass for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    shared_generations: usize,
    empty_groups: usize,
    assignments: usize,
    commits: usize,
    fenced: usize,
    skipped_assignments: usize,
    expired_offsets: usize,
}

impl Reached {
    pub(super) fn add(&mut self, other: Reached) {
        self.shared_generations += other.shared_generations;
        self.empty_groups += other.empty_groups;
        self.assignments += other.assignments;
        self.commits += other.commits;
        self.fenced += other.fenced;
        self.skipped_assignments += other.skipped_assignments;
        self.expired_offsets += other.expired_offsets;
    }

    /// About half of what the seeds of one run reach.
    pub(super) fn is_enough(&self) -> bool {
        self.shared_generations > 500
            && self.empty_groups > 500
            && self.assignments > 2_000
            && self.commits > 800
            && self.fenced > 400
            && self.skipped_assignments > 20
            && self.expired_offsets > 500
    }
}

#[derive(Default)]
pub(super) struct Oracle {
    reached: Reached,
    log: Vec<Record>,
    durable: DurableGroups,
    /// Who owns a partition in a generation: the instance of a static member, the id of any other.
    owners: BTreeMap<(GroupId, Generation, String), String>,
    leaders: BTreeMap<(GroupId, Generation), MemberId>,
    instances: BTreeMap<MemberId, InstanceId>,
}

impl Oracle {
    pub(super) fn reached(&self) -> Reached {
        self.reached
    }

    pub(super) fn log(&self) -> &[Record] {
        &self.log
    }

    pub(super) fn durable(&self) -> &DurableGroups {
        &self.durable
    }

    /// Records are taken in as a restart would read them.
    pub(super) fn learn_record(&mut self, record: &Record) {
        let (key, value) = record.encode();
        let read = Record::decode(&key, value.as_deref()).expect("RecordsRoundTrip");
        self.durable.apply(&read);
        match &read {
            Record::GroupTombstone { group } => self.forget_generations(group),
            Record::GroupMetadata { group, metadata } => self.check_assignments(group, metadata),
            Record::OffsetTombstone { .. } => self.reached.expired_offsets += 1,
            Record::OffsetCommit { .. } => self.reached.commits += 1,
            Record::Consumer { .. } | Record::Share { .. } | Record::Transaction(_) => {}
        }
        self.log.push(read);
    }

    pub(super) fn learn_reply(&mut self, command: &Command, reply: &Reply) {
        match (command, reply) {
            (Command::Join(join), Reply::Join(joined)) => self.check_join(join, joined),
            (Command::Sync(sync), Reply::Sync(synced)) if synced.error == ErrorCode::None => {
                self.check_assigned(sync, synced);
            }
            (Command::CommitOffsets(commit), Reply::CommitOffsets(topics)) => {
                self.check_committed(commit, topics)
            }
            _ => {}
        }
    }

    /// A group that was deleted counts its generations from the start.
    fn forget_generations(&mut self, group: &GroupId) {
        self.owners.retain(|(known, _, _), _| known != group);
        self.leaders.retain(|(known, _), _| known != group);
    }

    fn check_assignments(&mut self, group: &GroupId, metadata: &GroupMetadata) {
        self.reached.shared_generations += usize::from(metadata.members.len() > 1);
        self.reached.empty_groups += usize::from(metadata.members.is_empty());
        for member in &metadata.members {
            if let Some(instance) = &member.instance_id {
                self.instances
                    .insert(member.member_id.clone(), instance.clone());
            }
            let owner = member
                .instance_id
                .as_ref()
                .map_or(member.member_id.as_str(), InstanceId::as_str);
            for partition in partitions(&member.assignment) {
                let place = (group.clone(), metadata.generation, partition.clone());
                let known = self.owners.entry(place).or_insert_with(|| owner.to_owned());
                assert_eq!(
                    known, owner,
                    "OneOwnerPerPartition: {partition} in {:?}",
                    metadata.generation
                );
            }
        }
    }

    /// Nobody is told to own what the record of that generation does not give it.
    fn check_assigned(&mut self, sync: &SyncGroup, synced: &SyncReply) {
        self.reached.assignments += 1;
        let owner = sync
            .instance_id
            .as_ref()
            .map_or(sync.member_id.as_str(), InstanceId::as_str);
        for partition in partitions(&synced.assignment) {
            let place = (sync.group.clone(), sync.generation, partition);
            assert_eq!(
                self.owners.get(&place).map(String::as_str),
                Some(owner),
                "OneOwnerPerPartition: {place:?}"
            );
        }
        let recorded = self
            .durable
            .get(sync.group.as_str())
            .and_then(|group| group.metadata.as_ref());
        let recorded = recorded.expect("AssignedIsDurable");
        assert_eq!(recorded.generation, sync.generation, "AssignedIsDurable");
    }

    fn check_join(&mut self, join: &JoinGroup, joined: &JoinReply) {
        self.reached.fenced += usize::from(joined.error == ErrorCode::FencedInstanceId);
        self.reached.skipped_assignments += usize::from(joined.skip_assignment);
        if joined.error != ErrorCode::None {
            return;
        }
        let is_leader = joined.leader == joined.member_id;
        assert_eq!(
            is_leader,
            !joined.members.is_empty(),
            "OnlyTheLeaderSeesTheRoster"
        );
        let recorded = self
            .durable
            .get(join.group.as_str())
            .and_then(|group| group.metadata.as_ref());
        let is_recorded = recorded.is_some_and(|metadata| metadata.generation == joined.generation);
        let place = (join.group.clone(), joined.generation);
        let known = self.leaders.insert(place, joined.leader.clone());
        // A generation that was never recorded may be counted again after a restart, with another leader.
        let known = known
            .filter(|_| is_recorded)
            .unwrap_or_else(|| joined.leader.clone());
        assert_eq!(
            self.identity(&known),
            self.identity(&joined.leader),
            "OneLeaderPerGeneration"
        );
    }

    /// A static member is its instance, whatever its id.
    fn identity<'a>(&'a self, member: &'a MemberId) -> &'a str {
        self.instances
            .get(member)
            .map_or(member.as_str(), InstanceId::as_str)
    }

    /// What was answered as committed is what a restart would find.
    fn check_committed(&self, commit: &CommitOffsets, topics: &[CommittedTopic]) {
        for (asked, answered) in commit.topics.iter().zip(topics) {
            for (asked_partition, (partition, error)) in
                asked.partitions.iter().zip(&answered.partitions)
            {
                let group = self.durable.get(commit.group.as_str());
                let found =
                    group.and_then(|group| group.offset(answered.topic.as_str(), *partition));
                let is_there = found.is_some_and(|found| found.offset == asked_partition.offset);
                assert!(*error != ErrorCode::None || is_there, "CommittedIsFetched");
            }
        }
    }
}

/// Assignments of the random clients are text; the machine's own empty one is not.
fn partitions(assignment: &SharedBytes) -> Vec<String> {
    if assignment.first() == Some(&0) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(assignment);
    text.split(',')
        .filter(|partition| !partition.is_empty())
        .map(str::to_owned)
        .collect()
}
