//! A group with something in it that the durable state does not say: members' sessions, a rebalance under way.
//!
//! One variant for each protocol that groups speak; what all of them can be asked is here, the rest is with the protocol.

use wire::ErrorCode;

use super::Step;
use super::classic::{ClassicGroup, Subscribed};
use super::command::CommitOffsets;
use super::consumer::{CommitAdmission, ConsumerGroup, ConsumerState};
use super::durable::{DurableGroup, DurableGroups};
use super::ids::GroupId;
use super::records::Record;
use super::reply::{GroupState, GroupType};
use super::share::{ShareGroup, ShareState};
use crate::step::Millis;

/// A group that has members, or members-to-be.
#[derive(Debug)]
pub(super) enum LiveGroup {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
    Share(ShareGroup),
}

impl LiveGroup {
    pub(super) fn group_type(&self) -> GroupType {
        match self {
            LiveGroup::Classic(_) => GroupType::Classic,
            LiveGroup::Consumer(_) => GroupType::Consumer,
            LiveGroup::Share(_) => GroupType::Share,
        }
    }

    pub(super) fn state(&self, durable: &DurableGroups) -> GroupState {
        match self {
            LiveGroup::Classic(group) => group.state(),
            LiveGroup::Consumer(group) => group.state(durable),
            LiveGroup::Share(group) => group.state(),
        }
    }

    pub(super) fn protocol_type(&self) -> &str {
        match self {
            LiveGroup::Classic(group) => group.protocol_type(),
            LiveGroup::Consumer(_) => GroupType::CONSUMER_PROTOCOL,
            LiveGroup::Share(_) => GroupType::SHARE_PROTOCOL,
        }
    }

    pub(super) fn count_members(&self) -> usize {
        match self {
            LiveGroup::Classic(group) => group.count_members(),
            LiveGroup::Consumer(group) => group.count_members(),
            LiveGroup::Share(group) => group.count_members(),
        }
    }

    /// Whether nothing is left here that the durable state does not say.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            LiveGroup::Classic(group) => group.is_idle(),
            LiveGroup::Consumer(group) => group.is_idle(),
            LiveGroup::Share(group) => group.is_idle(),
        }
    }

    /// The next time at which something happens by itself.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        match self {
            LiveGroup::Classic(group) => group.next_deadline(),
            LiveGroup::Consumer(group) => group.next_deadline(),
            LiveGroup::Share(group) => group.next_deadline(),
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        match self {
            LiveGroup::Classic(group) => group.tick(step),
            LiveGroup::Consumer(group) => group.tick(step),
            LiveGroup::Share(group) => group.tick(step),
        }
    }

    /// The cluster's topics are not what they were.
    pub(super) fn topics_changed(&mut self) {
        match self {
            // A share group looks at them with each heartbeat.
            LiveGroup::Classic(_) | LiveGroup::Share(_) => {}
            LiveGroup::Consumer(group) => group.topics_changed(),
        }
    }

    /// Which topics the members consume.
    pub(super) fn subscribed(&self, durable: &DurableGroups) -> Subscribed {
        match self {
            LiveGroup::Classic(group) => group.subscribed(),
            LiveGroup::Consumer(group) => group.subscribed(durable),
            // It has no committed offsets that could expire.
            LiveGroup::Share(_) => Subscribed::Nobody,
        }
    }

    /// Checks who commits offsets.
    pub(super) fn check_commit(
        &mut self,
        now: Millis,
        commit: &CommitOffsets,
        durable: &DurableGroups,
    ) -> Result<CommitAdmission, ErrorCode> {
        match self {
            LiveGroup::Classic(group) => {
                let (member, instance) = (&commit.member_id, commit.instance_id.as_ref());
                group.check_commit(now, member, instance, commit.generation)?;
                Ok(CommitAdmission::Everything)
            }
            LiveGroup::Consumer(group) => group.check_commit(commit, durable),
            LiveGroup::Share(_) => Err(ErrorCode::GroupIdNotFound),
        }
    }
}

impl DurableGroup {
    /// The protocol of the group; one with nothing but offsets counts as classic.
    pub fn group_type(&self) -> GroupType {
        match (&self.consumer, &self.share) {
            (Some(_), _) => GroupType::Consumer,
            (None, Some(_)) => GroupType::Share,
            (None, None) => GroupType::Classic,
        }
    }

    /// "consumer", "connect", …; empty when nobody ever joined.
    pub fn protocol_type(&self) -> &str {
        match (&self.consumer, &self.metadata) {
            (Some(_), _) => GroupType::CONSUMER_PROTOCOL,
            (None, Some(metadata)) => &metadata.protocol_type,
            (None, None) if self.share.is_some() => GroupType::SHARE_PROTOCOL,
            (None, None) => "",
        }
    }

    /// The records that end the group itself; its offsets have their own.
    pub(super) fn tombstones(&self, id: &GroupId) -> Vec<Record> {
        let group = || id.clone();
        let mut records = Vec::new();
        if self.metadata.is_some() {
            records.push(Record::GroupTombstone { group: group() });
        }
        for change in self.consumer.iter().flat_map(ConsumerState::tombstones) {
            records.push(Record::Consumer {
                group: group(),
                change,
            });
        }
        for change in self.share.iter().flat_map(ShareState::tombstones) {
            records.push(Record::Share {
                group: group(),
                change,
            });
        }
        records
    }
}
