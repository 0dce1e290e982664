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
mod classic_members;
mod describe;
mod heartbeat;
mod identity;
mod leaving;
mod migration;
mod offsets;
mod reconcile;
mod records;
mod regex;
mod state;
mod subscription;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Step;
use super::classic::{ClassicGroup, Subscribed};
use super::durable::DurableGroups;
use super::ids::{GroupId, MemberId};
use super::records::Record;
use super::reply::GroupState;
use crate::configs::{ConsumerGroupConfig, GroupConfigs};
use crate::step::Millis;

pub use assignor::Assignor;
pub(super) use heartbeat::check_heartbeat;
pub use migration::MigrationPolicy;
pub(super) use migration::upgraded;
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
    /// From when on regular expressions may be matched again because of it.
    resolves_from: Millis,
    /// What the group has become in this step, as its last member of the new protocol has gone.
    downgraded: Option<ClassicGroup>,
}

/// Until when a member is waited for.
#[derive(Clone, Debug)]
struct Session {
    ends: Millis,
    /// Until when it must have given up partitions, and at which epoch it was told to.
    must_revoke: Option<(Millis, i32)>,
    /// Until when a classic member must have joined that was told to.
    must_join: Option<Millis>,
    /// Until when a classic member must have asked for its assignment.
    must_sync: Option<Millis>,
}

impl ConsumerGroup {
    /// A group without members.
    pub(super) fn empty(id: GroupId) -> Self {
        ConsumerGroup {
            id,
            sessions: BTreeMap::new(),
            is_stale: true,
            resolves_from: Millis::default(),
            downgraded: None,
        }
    }

    /// A recorded group after a restart: every member has a fresh session.
    pub(super) fn recorded(
        id: GroupId,
        state: &ConsumerState,
        now: Millis,
        configs: &GroupConfigs,
    ) -> Self {
        let config = &configs.of(id.as_str()).consumer;
        let session = |(id, member): (&MemberId, &MemberSettings)| {
            let current = state.currents.get(id);
            let revoking = current.filter(|c| c.state == MemberState::UnrevokedPartitions);
            let revoking = revoking.filter(|_| member.classic.is_none());
            let session = Session {
                must_revoke: revoking.map(|c| (now + member.rebalance_timeout, c.epoch)),
                ..Session::until(now + member.session_timeout(config))
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

    pub(super) fn count_members(&self) -> usize {
        self.sessions.len()
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

    /// Fences the members whose session is over, or who have not done in time what they were told to.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        let state = self.current(step);
        for (id, session) in &mut self.sessions {
            let epoch = state.currents.get(id).map(|current| current.epoch);
            // Whoever has moved on since need not hurry any more.
            session.must_revoke = session.must_revoke.filter(|(_, told)| epoch == Some(*told));
        }
        let sessions = self.sessions.iter();
        let late = sessions.filter(|(_, session)| session.next_deadline() <= step.now);
        let late: Vec<MemberId> = late.map(|(id, _)| id.clone()).collect();
        self.fence(step, &late);
    }

    /// The classic group that this has become, if it has.
    pub(super) fn take_downgraded(&mut self) -> Option<ClassicGroup> {
        self.downgraded.take()
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

    fn config<'a>(&self, step: &Step<'a>) -> &'a ConsumerGroupConfig {
        &step.configs.of(self.id.as_str()).consumer
    }

    fn write(&self, step: &mut Step<'_>, change: ConsumerChange) {
        step.write(Record::Consumer {
            group: self.id.clone(),
            change,
        });
    }
}

impl Session {
    fn until(ends: Millis) -> Self {
        Session {
            ends,
            must_revoke: None,
            must_join: None,
            must_sync: None,
        }
    }

    fn next_deadline(&self) -> Millis {
        let revoke = self.must_revoke.map(|(at, _)| at);
        let others = [revoke, self.must_join, self.must_sync];
        others.into_iter().flatten().fold(self.ends, Millis::min)
    }
}

impl MemberSettings {
    /// How long a member may be silent: the group says so, or a classic member itself.
    fn session_timeout(&self, config: &ConsumerGroupConfig) -> Duration {
        let classic = self.classic.as_ref().map(|classic| classic.session_timeout);
        classic.unwrap_or(config.session_timeout)
    }
}
