//! One consumer group (KIP-848) while somebody is in it: its members beat, the broker assigns.
//!
//! ```text
//!   heartbeat ──▶ who is it? ──▶ what does it subscribe to? ──▶ group epoch ──▶ targets ──▶ its next step ──▶ answer
//!                 (identity)     (subscription)                                (assignor)   (reconcile)
//! ```
//! All of that is durable (`state`), so a restart loses only the sessions, which start afresh: epochs and assignments
//! stay, and nobody has to rejoin. Each heartbeat moves its own member by one step; nothing is pushed.
//! Keeps true: a partition has one owner at a time (`reconcile`); a refused heartbeat changes nothing; group epochs
//! only grow. Source: KIP-848 and the behaviour of Apache Kafka 4.

mod assignor;
mod describe;
mod heartbeat;
mod identity;
mod leaving;
mod offsets;
mod reconcile;
mod records;
mod regex;
mod state;
mod subscription;

use std::collections::BTreeMap;

use super::Step;
use super::classic::Subscribed;
use super::durable::DurableGroups;
use super::ids::{GroupId, MemberId};
use super::records::Record;
use super::reply::GroupState;
use super::settings::GroupSettings;
use crate::step::Millis;

pub use assignor::Assignor;
pub(super) use heartbeat::check_heartbeat;
pub(super) use offsets::CommitAdmission;
pub use state::{
    AssignmentEpoch, ClassicMember, ConsumerChange, ConsumerState, CurrentAssignment, GroupEpoch,
    MemberSettings, MemberState, PartitionEpochs, Partitions, ResolvedRegex,
};

/// The epoch with which a member leaves.
pub(super) const LEAVES: i32 = -1;
/// The epoch with which a static member leaves to come back (KIP-345).
pub(super) const LEAVES_FOR_A_WHILE: i32 = -2;

/// What a restart forgets of a consumer group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    id: GroupId,
    sessions: BTreeMap<MemberId, Session>,
    /// Topics may have changed since the group epoch was given.
    is_stale: bool,
}

/// Until when a member is waited for.
#[derive(Clone, Debug)]
struct Session {
    ends: Millis,
    /// Until when it must have given up partitions, and at which epoch it was told to.
    must_revoke: Option<(Millis, i32)>,
}

impl ConsumerGroup {
    /// A group without members.
    pub(super) fn empty(id: GroupId) -> Self {
        ConsumerGroup {
            id,
            sessions: BTreeMap::new(),
            is_stale: true,
        }
    }

    /// A recorded group after a restart: every member has a fresh session.
    pub(super) fn recorded(
        id: GroupId,
        state: &ConsumerState,
        now: Millis,
        settings: &GroupSettings,
    ) -> Self {
        let session = |(id, member): (&MemberId, &MemberSettings)| {
            let current = state.currents.get(id);
            let revoking = current.filter(|c| c.state == MemberState::UnrevokedPartitions);
            let session = Session {
                ends: now + settings.consumer.session_timeout,
                must_revoke: revoking.map(|c| (now + member.rebalance_timeout, c.epoch)),
            };
            (id.clone(), session)
        };
        ConsumerGroup {
            sessions: state.members.iter().map(session).collect(),
            ..ConsumerGroup::empty(id)
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
        self.sessions.values().map(Session::next_deadline).min()
    }

    /// The cluster's topics are not what they were; the next heartbeat looks whether that matters here.
    pub(super) fn topics_changed(&mut self) {
        self.is_stale = true;
    }

    /// Fences the members whose session or time to revoke is over.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        let state = self.current(step);
        let is_late = |(id, session): &(&MemberId, &Session)| {
            let epoch = state.currents.get(*id).map(|current| current.epoch);
            let late = |(at, told): (Millis, i32)| at <= step.now && epoch == Some(told);
            session.ends <= step.now || session.must_revoke.is_some_and(late)
        };
        let late: Vec<MemberId> = self
            .sessions
            .iter()
            .filter(is_late)
            .map(|(id, _)| id.clone())
            .collect();
        for session in self.sessions.values_mut() {
            session.must_revoke = session.must_revoke.filter(|(at, _)| *at > step.now);
        }
        self.fence(step, &late);
    }

    pub(super) fn subscribed(&self, durable: &DurableGroups) -> Subscribed {
        self.durable(durable)
            .map_or(Subscribed::Nobody, ConsumerState::subscribed)
    }

    fn durable<'a>(&self, durable: &'a DurableGroups) -> Option<&'a ConsumerState> {
        durable.get(self.id.as_str())?.consumer.as_ref()
    }

    /// The durable state; a group that is worked on has been recorded.
    fn current<'a>(&self, step: &'a Step<'_>) -> &'a ConsumerState {
        self.durable(step.durable)
            .expect("a consumer group is recorded before anything happens in it")
    }

    fn write(&self, step: &mut Step<'_>, change: ConsumerChange) {
        step.write(Record::Consumer {
            group: self.id.clone(),
            change,
        });
    }
}

impl Session {
    fn next_deadline(&self) -> Millis {
        match self.must_revoke {
            Some((at, _)) => at.min(self.ends),
            None => self.ends,
        }
    }
}
