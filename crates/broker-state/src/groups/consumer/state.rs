//! The durable state of one consumer group: what its records say, and nothing else.
//!
//! ```text
//!   members subscribe ──▶ group epoch ──▶ target assignment at that epoch ──▶ each member's current assignment
//!   (Member, Regex)       (Group)         (Assignment, Target)                (Current)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::Uuid;

use crate::groups::classic::Subscribed;
use crate::groups::command::Protocol;
use crate::groups::ids::{InstanceId, MemberId, TopicName};
use crate::groups::reply::GroupState;
use crate::step::Millis;

/// Everything durable of a consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerState {
    pub epoch: GroupEpoch,
    pub assignment: AssignmentEpoch,
    pub members: BTreeMap<MemberId, MemberSettings>,
    pub targets: BTreeMap<MemberId, Partitions>,
    pub currents: BTreeMap<MemberId, CurrentAssignment>,
    pub regexes: BTreeMap<String, ResolvedRegex>,
}

/// Counts the changes of membership, subscriptions and topics, each of which asks for a new assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupEpoch {
    pub epoch: i32,
    /// Tells whether the subscribed topics have changed since (KIP-1101).
    pub metadata_hash: i64,
}

impl GroupEpoch {
    /// The epoch of a group that nobody has joined.
    pub const FIRST: GroupEpoch = GroupEpoch {
        epoch: 1,
        metadata_hash: 0,
    };
}

/// The group epoch that the targets were made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssignmentEpoch {
    pub epoch: i32,
    /// When they were made; zero when not known (KIP-1263).
    pub made_at: Millis,
}

/// Partitions by topic.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Partitions by topic, each with the member epoch at which it was assigned.
pub type PartitionEpochs = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSettings {
    pub instance_id: Option<InstanceId>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<TopicName>,
    pub regex: Option<String>,
    pub rebalance_timeout: Duration,
    /// The assignor it would like.
    pub assignor: Option<String>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member that speaks the classic protocol brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    pub session_timeout: Duration,
    pub protocols: Vec<Protocol>,
}

/// Where a member is on its way to its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentAssignment {
    pub epoch: i32,
    /// Accepted once more, as the answer with the new epoch may have been lost.
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: PartitionEpochs,
    /// What it must give up first; it still owns it.
    pub pending_revocation: PartitionEpochs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has what the target of its epoch says.
    #[default]
    Stable,
    /// It has to give up partitions before it gets to the next epoch.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// Written by a newer broker; the member starts over.
    Unknown,
}

/// The topics that matched a regular expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    pub topics: BTreeSet<TopicName>,
    /// The version of the topics' image, for Kafka; ours has none.
    pub version: i64,
    pub resolved_at: Millis,
}

/// One change of a consumer group; `None` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerChange {
    Group(Option<GroupEpoch>),
    /// The partition metadata of Kafka before 4.1; always removed.
    PartitionMetadata,
    Member(MemberId, Option<MemberSettings>),
    Assignment(Option<AssignmentEpoch>),
    Target(MemberId, Option<Partitions>),
    Current(MemberId, Option<CurrentAssignment>),
    Regex(String, Option<ResolvedRegex>),
}

impl ConsumerState {
    /// A group that nobody has joined.
    pub fn first() -> Self {
        ConsumerState {
            epoch: GroupEpoch::FIRST,
            ..ConsumerState::default()
        }
    }

    /// Takes in one change; the removal of the group itself is its owner's.
    pub fn apply(&mut self, change: &ConsumerChange) {
        match change {
            ConsumerChange::Group(epoch) => self.epoch = epoch.unwrap_or_default(),
            ConsumerChange::PartitionMetadata => {}
            ConsumerChange::Member(id, member) => set(&mut self.members, id, member),
            ConsumerChange::Assignment(epoch) => self.assignment = epoch.unwrap_or_default(),
            ConsumerChange::Target(id, target) => set(&mut self.targets, id, target),
            ConsumerChange::Current(id, current) => set(&mut self.currents, id, current),
            ConsumerChange::Regex(regex, resolved) => set(&mut self.regexes, regex, resolved),
        }
    }

    /// Empty without members, assigning while the targets are not those of the group's epoch, reconciling while some
    /// member is not there yet.
    pub fn group_state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch.epoch > self.assignment.epoch {
            GroupState::Assigning
        } else if self.members.keys().all(|member| self.is_reconciled(member)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Whether a member has all that its target says.
    pub fn is_reconciled(&self, member: &MemberId) -> bool {
        self.currents.get(member).is_some_and(|current| {
            current.state == MemberState::Stable && current.epoch == self.assignment.epoch
        })
    }

    /// The topics that members name, and those that their regular expressions have matched.
    pub(in crate::groups) fn subscribed(&self) -> Subscribed {
        if self.members.is_empty() {
            return Subscribed::Nobody;
        }
        let named = self.members.values().flat_map(|member| &member.topics);
        let matched = self.regexes.values().flat_map(|regex| &regex.topics);
        let topics = named.chain(matched).map(|topic| topic.as_str().to_owned());
        Subscribed::To(topics.collect())
    }

    /// The changes that make this state out of nothing.
    pub fn changes(&self) -> impl Iterator<Item = ConsumerChange> + '_ {
        let members = self.members.iter();
        let members = members.map(|(id, m)| ConsumerChange::Member(id.clone(), Some(m.clone())));
        let regexes = self.regexes.iter();
        let regexes =
            regexes.map(|(regex, r)| ConsumerChange::Regex(regex.clone(), Some(r.clone())));
        let targets = self.targets.iter();
        let targets = targets.map(|(id, t)| ConsumerChange::Target(id.clone(), Some(t.clone())));
        let currents = self.currents.iter();
        let currents = currents.map(|(id, c)| ConsumerChange::Current(id.clone(), Some(c.clone())));
        let assignment = (self.assignment != AssignmentEpoch::default())
            .then_some(ConsumerChange::Assignment(Some(self.assignment)));
        std::iter::once(ConsumerChange::Group(Some(self.epoch)))
            .chain(members)
            .chain(regexes)
            .chain(assignment)
            .chain(targets)
            .chain(currents)
    }

    /// The changes that leave nothing of it, the group itself last.
    pub fn tombstones(&self) -> Vec<ConsumerChange> {
        let mut changes = Vec::new();
        changes.extend(
            self.currents
                .keys()
                .map(|id| ConsumerChange::Current(id.clone(), None)),
        );
        changes.extend(
            self.targets
                .keys()
                .map(|id| ConsumerChange::Target(id.clone(), None)),
        );
        if self.assignment != AssignmentEpoch::default() {
            changes.push(ConsumerChange::Assignment(None));
        }
        changes.extend(
            self.members
                .keys()
                .map(|id| ConsumerChange::Member(id.clone(), None)),
        );
        changes.extend(
            self.regexes
                .keys()
                .map(|regex| ConsumerChange::Regex(regex.clone(), None)),
        );
        changes.push(ConsumerChange::Group(None));
        changes
    }
}

impl ConsumerChange {
    /// Whether it says that something is, so that a group comes into being by it.
    pub fn is_some(&self) -> bool {
        match self {
            ConsumerChange::Group(value) => value.is_some(),
            ConsumerChange::PartitionMetadata => false,
            ConsumerChange::Member(_, value) => value.is_some(),
            ConsumerChange::Assignment(value) => value.is_some(),
            ConsumerChange::Target(_, value) => value.is_some(),
            ConsumerChange::Current(_, value) => value.is_some(),
            ConsumerChange::Regex(_, value) => value.is_some(),
        }
    }
}

fn set<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: &Option<V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}
