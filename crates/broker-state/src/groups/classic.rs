//! One classic group while somebody is in it: members, the phase of its rebalance, and their deadlines.
//!
//! ```text
//!           first join            all joined, or time is up           leader syncs (record)
//!   Empty ────────────▶ Preparing ──────────────────────▶ Completing ──────────────────────▶ Stable
//!     ▲    everyone left │  ▲ ▲                                │  join, leave, expiry           │
//!     └──────(record)────┘  │ └────────────────────────────────┘                               │
//!                           └─────────── join, leave, expiry, changed subscription ────────────┘
//! ```
//! All of this is volatile: a restart forgets a rebalance under way, and who waits in it joins again. The last
//! *recorded* generation comes back as `Stable`, with a fresh session time-out for each member.
//! Keeps true: the leader is a member; every parked request belongs to a member and is answered before it is forgotten.
//! Source: KIP-345, KIP-394, KIP-814, KIP-134 and the behaviour of Apache Kafka 4.

mod join;
mod members;
mod migration;
mod subscription;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::ErrorCode;

use super::Step;
use super::ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes};
use super::records::{GroupMetadata, Record};
use super::reply::{DescribedGroup, GroupState, JoinReply, JoinedMember, Reply};
use crate::step::{Millis, RequestId};
use members::{Member, Waiting};
pub(super) use migration::ClassicGroupMember;
pub(super) use subscription::Subscribed;

/// The protocol type of consumers; the only one whose subscriptions the broker reads.
const CONSUMER: &str = "consumer";

/// A classic group with members, or with members-to-be.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    id: GroupId,
    generation: Generation,
    protocol_type: String,
    protocol: Option<String>,
    leader: Option<MemberId>,
    state_since: Millis,
    phase: Phase,
    members: BTreeMap<MemberId, Member>,
    static_members: BTreeMap<InstanceId, MemberId>,
    /// Member ids given out with MEMBER_ID_REQUIRED, and until when they may be used.
    pending: BTreeMap<MemberId, Millis>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    /// Members join; at `ends` those who have not are left behind.
    Preparing {
        ends: Millis,
        initial: Option<InitialDelay>,
    },
    /// Members wait for the leader's assignment; at `ends` those who have not asked for it are removed.
    Completing {
        ends: Millis,
    },
    /// As in `Completing`, some members may still have to fetch their assignment.
    Stable {
        sync_ends: Option<Millis>,
    },
}

/// The first rebalance of an empty group waits for company, again after each arrival, as long as the rebalance time-out lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InitialDelay {
    delay: Duration,
    remaining: Duration,
    member_added: bool,
}

impl ClassicGroup {
    /// A group without members, which goes on from its last recorded generation.
    pub(super) fn empty(id: GroupId, recorded: Option<&GroupMetadata>) -> Self {
        ClassicGroup {
            id,
            generation: recorded.map_or(Generation(0), |metadata| metadata.generation),
            protocol_type: recorded
                .map_or_else(String::new, |metadata| metadata.protocol_type.clone()),
            protocol: None,
            leader: None,
            state_since: recorded
                .and_then(|metadata| metadata.state_since)
                .unwrap_or_default(),
            phase: Phase::Empty,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// The recorded generation of a group, after a restart at `now`.
    pub(super) fn recorded(id: GroupId, metadata: &GroupMetadata, now: Millis) -> Self {
        let mut group = ClassicGroup::empty(id, Some(metadata));
        let protocol = metadata.protocol.clone().unwrap_or_default();
        for member in &metadata.members {
            group.insert(Member::recorded(member, &protocol, now));
        }
        let leader = metadata
            .leader
            .clone()
            .filter(|leader| group.members.contains_key(leader));
        group.leader = leader.or_else(|| group.members.keys().next().cloned());
        if !group.members.is_empty() {
            group.protocol = Some(protocol);
            group.phase = Phase::Stable { sync_ends: None };
        }
        group
    }

    pub(super) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    pub(super) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// Whether nothing is left here that the durable state does not say.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty()
    }

    pub(super) fn count_members(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members; some may be about to be.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn describe(&self) -> DescribedGroup {
        let stable = matches!(self.phase, Phase::Stable { .. });
        let protocol = self.protocol.as_deref().filter(|_| stable);
        DescribedGroup {
            error: ErrorCode::None,
            group: self.id.clone(),
            state: self.state(),
            protocol_type: self.protocol_type.clone(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: self
                .members
                .values()
                .map(|member| member.describe(protocol))
                .collect(),
        }
    }

    /// The next time at which something happens by itself.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let phase = match self.phase {
            Phase::Empty => None,
            Phase::Preparing { ends, .. } | Phase::Completing { ends } => Some(ends),
            Phase::Stable { sync_ends } => sync_ends,
        };
        let sessions = self.members.values().filter_map(Member::expires_at);
        sessions
            .chain(self.pending.values().copied())
            .chain(phase)
            .min()
    }

    /// Does what is due: expired ids and sessions first, then the end of the phase.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        self.expire(step);
        match self.phase.clone() {
            Phase::Preparing { ends, initial } if ends <= step.now => {
                self.join_phase_is_over(step, initial)
            }
            Phase::Completing { ends } if ends <= step.now => self.remove_unsynced(step),
            Phase::Stable {
                sync_ends: Some(ends),
            } if ends <= step.now => self.remove_unsynced(step),
            _ => {}
        }
    }

    /// Starts a rebalance, or goes on with the one that is under way.
    fn rebalance(&mut self, step: &mut Step<'_>) {
        match self.phase {
            Phase::Preparing { .. } => self.complete_join_if_ready(step),
            Phase::Completing { .. } | Phase::Stable { .. } => {
                self.cancel_syncs(step, ErrorCode::RebalanceInProgress);
                let ends = step.now + self.rebalance_timeout();
                self.enter(
                    Phase::Preparing {
                        ends,
                        initial: None,
                    },
                    step.now,
                );
                self.complete_join_if_ready(step);
            }
            Phase::Empty => {
                let delay = step.settings.initial_rebalance_delay;
                let remaining = self.rebalance_timeout().saturating_sub(delay);
                let initial = Some(InitialDelay {
                    delay,
                    remaining,
                    member_added: false,
                });
                self.enter(
                    Phase::Preparing {
                        ends: step.now + delay,
                        initial,
                    },
                    step.now,
                );
            }
        }
    }

    /// Ends the join phase as soon as everyone is here. The initial delay runs its course, unless everyone has gone again.
    fn complete_join_if_ready(&mut self, step: &mut Step<'_>) {
        let Phase::Preparing { initial, .. } = &self.phase else {
            return;
        };
        let may_complete = initial.is_none() || self.members.is_empty();
        if may_complete && self.pending.is_empty() && self.members.values().all(Member::has_joined)
        {
            self.complete_join(step);
        }
    }

    fn join_phase_is_over(&mut self, step: &mut Step<'_>, initial: Option<InitialDelay>) {
        match initial {
            Some(initial) if initial.member_added => {
                let delay = step.settings.initial_rebalance_delay.min(initial.remaining);
                let remaining = initial.remaining.saturating_sub(initial.delay);
                let initial = Some(InitialDelay {
                    delay,
                    remaining,
                    member_added: false,
                });
                self.phase = Phase::Preparing {
                    ends: step.now + delay,
                    initial,
                };
            }
            _ => self.complete_join(step),
        }
    }

    /// Leaves behind the dynamic members that did not join and starts the next generation with the others.
    /// Static members stay until their session expires (KIP-345).
    fn complete_join(&mut self, step: &mut Step<'_>) {
        let absent = self
            .members
            .values()
            .filter(|member| !member.has_joined() && member.instance_id.is_none());
        for id in absent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&id, step);
        }
        if self.members.is_empty() {
            self.become_empty(step);
        } else if self.elect_joined_leader() {
            self.start_generation(step);
        } else {
            let ends = step.now + self.rebalance_timeout();
            self.phase = Phase::Preparing {
                ends,
                initial: None,
            };
        }
    }

    fn start_generation(&mut self, step: &mut Step<'_>) {
        self.generation = self.generation.next();
        self.protocol = Some(self.select_protocol());
        let ends = step.now + self.rebalance_timeout();
        self.enter(Phase::Completing { ends }, step.now);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let reply = self.joined(&id);
            let member = self.members.get_mut(&id).expect("the id was just listed");
            member.is_new = false;
            member.has_synced = false;
            member.restart_session(step.now);
            if let Waiting::Join(request) = std::mem::take(&mut member.waiting) {
                step.reply(request, Reply::Join(reply));
            }
        }
    }

    /// Records the generation in which nobody is left; the retention of the group's offsets counts from here (KIP-211).
    fn become_empty(&mut self, step: &mut Step<'_>) {
        self.generation = self.generation.next();
        self.protocol = None;
        self.leader = None;
        self.enter(Phase::Empty, step.now);
        step.write(self.record(step.now));
    }

    /// Makes sure that the leader is one who has joined; false when nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader));
        if leader.is_some_and(Member::has_joined) {
            return true;
        }
        match self.members.values().find(|member| member.has_joined()) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    /// Each member votes for the first of its protocols that all members support; of equals the leader's favourite wins.
    fn select_protocol(&self) -> String {
        let candidates = self.common_protocols();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.vote(&candidates) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max().copied().unwrap_or(0);
        let winners = votes
            .into_iter()
            .filter(|(_, count)| *count == most)
            .map(|(name, _)| name);
        let winners: BTreeSet<&str> = winners.collect();
        let leader = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader));
        let favourite = leader.and_then(|leader| leader.vote(&winners));
        favourite
            .or(winners.first().copied())
            .unwrap_or_default()
            .to_owned()
    }

    /// The protocols that every member supports.
    fn common_protocols(&self) -> BTreeSet<&str> {
        let first = self.members.values().next();
        let names = first.into_iter().flat_map(Member::protocol_names);
        names.filter(|name| self.all_support(name)).collect()
    }

    fn all_support(&self, protocol: &str) -> bool {
        let mut members = self.members.values();
        members.all(|member| member.protocol_names().any(|name| name == protocol))
    }

    /// The longest that any member may take to rejoin.
    fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    fn enter(&mut self, phase: Phase, now: Millis) {
        self.phase = phase;
        self.state_since = now;
    }

    /// The answer to a member that belongs to the current generation.
    fn joined(&self, member: &MemberId) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: Some(self.protocol_type.clone()),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member.clone(),
            members: if self.is_leader(member) {
                self.roster()
            } else {
                Vec::new()
            },
        }
    }

    /// Everyone whom the leader must give partitions to.
    fn roster(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values();
        members
            .map(|member| JoinedMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                metadata: member.metadata(protocol),
            })
            .collect()
    }

    /// The group as it is, for the log, in a state that it entered at `state_since`.
    fn record(&self, state_since: Millis) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        Record::GroupMetadata {
            group: self.id.clone(),
            metadata: GroupMetadata {
                protocol_type: self.protocol_type.clone(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                state_since: Some(state_since),
                members: self
                    .members
                    .values()
                    .map(|member| member.record(protocol))
                    .collect(),
            },
        }
    }

    fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members
                .insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// Checks that a request comes from the member it names, in its present incarnation.
    fn check_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }
}

/// Refuses a join.
fn refuse_join(step: &mut Step<'_>, request: RequestId, error: ErrorCode, member: MemberId) {
    step.reply(request, Reply::Join(JoinReply::refused(error, member)));
}

/// The assignment of a member that the leader left out. Consumers cannot parse zero bytes, so theirs is encoded:
/// version 0, no topics, no user data.
fn no_assignment(protocol_type: &str) -> SharedBytes {
    if protocol_type == CONSUMER {
        SharedBytes::from([0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
    } else {
        SharedBytes::from([])
    }
}
