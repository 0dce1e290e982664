//! The durable state of one share group: what its records say, and nothing else.
//!
//! What the group has done with its partitions' records is not here but in `share_partitions`; here is only which
//! partitions have such a state.

use std::collections::{BTreeMap, BTreeSet};

use wire::Uuid;

use crate::groups::consumer::{AssignmentEpoch, GroupEpoch, Partitions};
use crate::groups::ids::{MemberId, TopicName};
use crate::groups::reply::GroupState;

/// Everything durable of a share group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareState {
    pub epoch: GroupEpoch,
    pub assignment: AssignmentEpoch,
    pub members: BTreeMap<MemberId, ShareMember>,
    pub targets: BTreeMap<MemberId, Partitions>,
    pub currents: BTreeMap<MemberId, ShareCurrent>,
    /// The topics whose share partitions have been initialized.
    pub initialized: InitializedTopics,
}

/// Topics with their names and partitions.
pub type InitializedTopics = BTreeMap<Uuid, (TopicName, BTreeSet<i32>)>;

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareMember {
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<TopicName>,
}

/// What a member has been told to work on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareCurrent {
    pub epoch: i32,
    /// Accepted once more, as the answer with the new epoch may have been lost.
    pub previous_epoch: i32,
    pub assigned: Partitions,
}

/// One change of a share group; `None` removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareChange {
    /// The partition metadata of Kafka 4.0's early access; always removed.
    PartitionMetadata,
    Member(MemberId, Option<ShareMember>),
    Group(Option<GroupEpoch>),
    Assignment(Option<AssignmentEpoch>),
    Target(MemberId, Option<Partitions>),
    Current(MemberId, Option<ShareCurrent>),
    Initialized(Option<InitializedTopics>),
}

impl ShareState {
    /// Takes in one change; the removal of the group itself is its owner's.
    pub fn apply(&mut self, change: &ShareChange) {
        match change {
            ShareChange::PartitionMetadata => {}
            ShareChange::Member(id, member) => set(&mut self.members, id, member),
            ShareChange::Group(epoch) => self.epoch = epoch.unwrap_or_default(),
            ShareChange::Assignment(epoch) => self.assignment = epoch.unwrap_or_default(),
            ShareChange::Target(id, target) => set(&mut self.targets, id, target),
            ShareChange::Current(id, current) => set(&mut self.currents, id, current),
            ShareChange::Initialized(topics) => {
                self.initialized = topics.clone().unwrap_or_default();
            }
        }
    }

    pub fn group_state(&self) -> GroupState {
        match self.members.is_empty() {
            true => GroupState::Empty,
            false => GroupState::Stable,
        }
    }

    /// The topics that some member has subscribed.
    pub fn subscribed(&self) -> BTreeSet<&TopicName> {
        let topics = self.members.values().flat_map(|member| &member.topics);
        topics.collect()
    }

    /// The changes that make this state out of nothing.
    pub fn changes(&self) -> impl Iterator<Item = ShareChange> + '_ {
        let members = self.members.iter();
        let members = members.map(|(id, m)| ShareChange::Member(id.clone(), Some(m.clone())));
        let targets = self.targets.iter();
        let targets = targets.map(|(id, t)| ShareChange::Target(id.clone(), Some(t.clone())));
        let currents = self.currents.iter();
        let currents = currents.map(|(id, c)| ShareChange::Current(id.clone(), Some(c.clone())));
        let assignment = (self.assignment != AssignmentEpoch::default())
            .then_some(ShareChange::Assignment(Some(self.assignment)));
        let initialized = (!self.initialized.is_empty())
            .then(|| ShareChange::Initialized(Some(self.initialized.clone())));
        std::iter::once(ShareChange::Group(Some(self.epoch)))
            .chain(members)
            .chain(assignment)
            .chain(targets)
            .chain(currents)
            .chain(initialized)
    }

    /// The changes that leave nothing of it, the group itself last.
    pub fn tombstones(&self) -> Vec<ShareChange> {
        let mut changes = Vec::new();
        for id in self.members.keys() {
            changes.extend(self.tombstones_of(id));
        }
        if !self.initialized.is_empty() {
            changes.push(ShareChange::Initialized(None));
        }
        if self.assignment != AssignmentEpoch::default() {
            changes.push(ShareChange::Assignment(None));
        }
        changes.push(ShareChange::Group(None));
        changes
    }

    /// The changes that leave nothing of a member.
    pub fn tombstones_of(&self, id: &MemberId) -> Vec<ShareChange> {
        let mut changes = Vec::new();
        if self.currents.contains_key(id) {
            changes.push(ShareChange::Current(id.clone(), None));
        }
        if self.targets.contains_key(id) {
            changes.push(ShareChange::Target(id.clone(), None));
        }
        if self.members.contains_key(id) {
            changes.push(ShareChange::Member(id.clone(), None));
        }
        changes
    }
}

impl ShareChange {
    /// Whether it says that something is, so that a group comes into being by it.
    pub fn is_some(&self) -> bool {
        match self {
            ShareChange::PartitionMetadata => false,
            ShareChange::Member(_, value) => value.is_some(),
            ShareChange::Group(value) => value.is_some(),
            ShareChange::Assignment(value) => value.is_some(),
            ShareChange::Target(_, value) => value.is_some(),
            ShareChange::Current(_, value) => value.is_some(),
            ShareChange::Initialized(value) => value.is_some(),
        }
    }
}

fn set<V: Clone>(map: &mut BTreeMap<MemberId, V>, key: &MemberId, value: &Option<V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}
