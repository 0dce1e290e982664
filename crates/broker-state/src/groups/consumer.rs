//! One consumer group (KIP-848) while somebody is in it: the sessions of its members.
//!
//! Almost everything about such a group is durable (`state`), so a restart loses only the sessions, which start
//! afresh. Source: KIP-848 and the behaviour of Apache Kafka 4.

mod records;
mod state;

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::Step;
use super::classic::Subscribed;
use super::command::CommitOffsets;
use super::durable::DurableGroups;
use super::ids::{GroupId, MemberId};
use super::reply::GroupState;
use super::settings::GroupSettings;
use crate::step::Millis;

pub use state::{
    AssignmentEpoch, ClassicMember, ConsumerChange, ConsumerState, CurrentAssignment, GroupEpoch,
    MemberSettings, MemberState, PartitionEpochs, Partitions, ResolvedRegex,
};

/// What a restart forgets of a consumer group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    id: GroupId,
    sessions: BTreeMap<MemberId, Session>,
}

/// Until when a member is waited for.
#[derive(Debug)]
struct Session {
    ends: Millis,
}

impl ConsumerGroup {
    /// A recorded group after a restart: every member has a fresh session.
    pub(super) fn recorded(
        id: GroupId,
        state: &ConsumerState,
        now: Millis,
        settings: &GroupSettings,
    ) -> Self {
        let ends = now + settings.consumer.session_timeout;
        let members = state.members.keys();
        ConsumerGroup {
            id,
            sessions: members.map(|id| (id.clone(), Session { ends })).collect(),
        }
    }

    pub(super) fn state(&self, durable: &DurableGroups) -> GroupState {
        self.durable(durable)
            .map_or(GroupState::Empty, ConsumerState::group_state)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.sessions.values().map(|session| session.ends).min()
    }

    pub(super) fn tick(&mut self, _step: &mut Step<'_>) {}

    pub(super) fn subscribed(&self, durable: &DurableGroups) -> Subscribed {
        self.durable(durable)
            .map_or(Subscribed::Nobody, ConsumerState::subscribed)
    }

    pub(super) fn check_commit(
        &self,
        _commit: &CommitOffsets,
        _durable: &DurableGroups,
    ) -> Result<(), ErrorCode> {
        Err(ErrorCode::UnknownMemberId)
    }

    fn durable<'a>(&self, durable: &'a DurableGroups) -> Option<&'a ConsumerState> {
        durable.get(self.id.as_str())?.consumer.as_ref()
    }
}
