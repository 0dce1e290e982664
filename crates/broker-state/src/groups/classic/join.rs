//! JoinGroup: who may join, as whom, and whether that starts a rebalance.

use wire::ErrorCode;

use super::members::{Member, Waiting};
use super::subscription::topics_of;
use super::{CONSUMER, ClassicGroup, Phase, refuse_join};
use crate::groups::Step;
use crate::groups::command::{JoinGroup, Protocol};
use crate::groups::ids::{MemberId, SharedBytes};
use crate::groups::reply::{JoinReply, Reply};
use crate::groups::settings::GroupSettings;
use crate::step::RequestId;

impl ClassicGroup {
    /// Joins a member. The answer comes with the next generation, or at once when there is nothing to wait for.
    pub(in crate::groups) fn join(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        join: JoinGroup,
    ) {
        if !self.has_room_for(&join.member_id, step.settings) {
            refuse_join(
                step,
                request,
                ErrorCode::GroupMaxSizeReached,
                MemberId::default(),
            );
            self.remove(&join.member_id, step);
            self.complete_join_if_ready(step);
        } else if !self.supports(&join.protocol_type, &join.protocols) {
            refuse_join(
                step,
                request,
                ErrorCode::InconsistentGroupProtocol,
                join.member_id,
            );
        } else if join.member_id.is_empty() {
            self.join_as_new(step, request, join);
        } else if self.pending.contains_key(&join.member_id) && join.instance_id.is_none() {
            let id = join.member_id.clone();
            self.add(step, request, id, join);
        } else {
            match self.check_member(&join.member_id, join.instance_id.as_ref()) {
                Ok(()) => self.join_again(step, request, join),
                Err(error) => refuse_join(step, request, error, join.member_id),
            }
        }
    }

    /// While members join, those already here count, so that the last ones of a group that is too large fall out.
    fn has_room_for(&self, member: &MemberId, settings: &GroupSettings) -> bool {
        let limit = settings.max_group_size;
        match self.phase {
            Phase::Empty => true,
            Phase::Preparing { .. } => {
                let joined = self
                    .members
                    .values()
                    .filter(|member| member.has_joined())
                    .count();
                joined < limit || self.members.get(member).is_some_and(Member::has_joined)
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {
                self.members.len() < limit || self.members.contains_key(member)
            }
        }
    }

    /// Whether a member with these protocols finds one that all others support.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let mut names = protocols.iter().map(|protocol| protocol.name.as_str());
        protocol_type == self.protocol_type && names.any(|name| self.all_support(name))
    }

    fn join_as_new(&mut self, step: &mut Step<'_>, request: RequestId, join: JoinGroup) {
        let id = join.new_member_id.clone();
        let known = join
            .instance_id
            .as_ref()
            .and_then(|instance| self.static_members.get(instance));
        if id.is_empty() || self.members.contains_key(&id) || self.pending.contains_key(&id) {
            // The id was to be random; the client's next attempt brings another.
            refuse_join(
                step,
                request,
                ErrorCode::CoordinatorNotAvailable,
                MemberId::default(),
            );
        } else if let Some(old) = known.cloned() {
            self.replace_static(step, request, old, join);
        } else if join.instance_id.is_none() && join.supports_member_id_required {
            self.require_member_id(step, request, id, join);
        } else {
            self.add(step, request, id, join);
        }
    }

    /// Gives out a member id first (KIP-394), so that a client whose answers are lost does not fill the group with ghosts.
    fn require_member_id(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        id: MemberId,
        join: JoinGroup,
    ) {
        if self.pending.len() >= step.settings.max_group_size {
            refuse_join(
                step,
                request,
                ErrorCode::GroupMaxSizeReached,
                MemberId::default(),
            );
            return;
        }
        self.pending
            .insert(id.clone(), step.now + join.session_timeout);
        refuse_join(step, request, ErrorCode::MemberIdRequired, id);
    }

    fn add(&mut self, step: &mut Step<'_>, request: RequestId, id: MemberId, join: JoinGroup) {
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        if let Phase::Preparing {
            initial: Some(initial),
            ..
        } = &mut self.phase
        {
            initial.member_added = true;
        }
        self.leader.get_or_insert_with(|| id.clone());
        let mut member =
            Member::joining(id, join, step.now + step.settings.new_member_join_timeout);
        member.is_new = true;
        member.waiting = Waiting::Join(request);
        self.insert(member);
        self.rebalance(step);
    }

    /// A member joins once more. Who asks again for what it already has gets the same answer; anything new is a rebalance.
    fn join_again(&mut self, step: &mut Step<'_>, request: RequestId, join: JoinGroup) {
        let id = join.member_id.clone();
        let unchanged = self
            .members
            .get(&id)
            .is_some_and(|member| member.has_protocols(&join.protocols));
        let answer_again = match self.phase {
            Phase::Empty | Phase::Preparing { .. } => false,
            // The first answer may have been lost.
            Phase::Completing { .. } => unchanged,
            // A leader rejoins to start a rebalance, for example when topics got more partitions.
            Phase::Stable { .. } => unchanged && !self.is_leader(&id),
        };
        if answer_again {
            let reply = self.joined(&id);
            step.reply(request, Reply::Join(reply));
        } else if let Some(member) = self.members.get_mut(&id) {
            member.rejoin(step, request, join);
            self.rebalance(step);
        }
    }

    /// A static member comes back without its member id: it gets a new one and the old one is fenced (KIP-345).
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        old_id: MemberId,
        join: JoinGroup,
    ) {
        let Some(mut old) = self.members.remove(&old_id) else {
            return;
        };
        old.answer(step, ErrorCode::FencedInstanceId, old_id.clone());
        let old_leader = self.leader.clone();
        let id = join.new_member_id.clone();
        if self.is_leader(&old_id) {
            self.leader = Some(id.clone());
        }
        let skips_assignment = join.supports_skip_assignment;
        let mut member = Member::joining(id.clone(), join, step.now);
        member.restart_session(step.now);
        member.assignment = old.assignment.clone();
        member.has_synced = old.has_synced;
        let unchanged = self.has_same_subscription(&old, &member);
        member.waiting = Waiting::Join(request);
        self.insert(member);
        let stays_stable = matches!(self.phase, Phase::Stable { .. })
            && unchanged
            && self.protocol.as_deref() == Some(self.select_protocol().as_str());
        if stays_stable {
            self.welcome_back(step, &id, skips_assignment, old_leader);
        } else {
            self.rebalance(step);
        }
    }

    /// Records the new member id and answers without a rebalance. A returning leader must not assign anew: version 9
    /// says so (KIP-814), before that it is shown the old leader's id and takes itself for a follower.
    fn welcome_back(
        &mut self,
        step: &mut Step<'_>,
        id: &MemberId,
        skips_assignment: bool,
        old_leader: Option<MemberId>,
    ) {
        let joined = self.joined(id);
        let reply = if skips_assignment {
            JoinReply {
                skip_assignment: self.is_leader(id),
                ..joined
            }
        } else {
            JoinReply {
                leader: old_leader.unwrap_or_default(),
                members: Vec::new(),
                ..joined
            }
        };
        step.write(self.record(self.state_since));
        if let Some(member) = self.members.get_mut(id)
            && let Waiting::Join(request) = std::mem::take(&mut member.waiting)
        {
            step.reply(request, Reply::Join(reply));
        }
    }

    /// Whether the topics stay the same. The rest of a consumer's metadata (owned partitions, generation) changes with
    /// every start and does not count; of other protocol types the broker knows nothing.
    fn has_same_subscription(&self, old: &Member, new: &Member) -> bool {
        let protocol = self.protocol.as_deref();
        let topics = |metadata: SharedBytes| topics_of(&metadata);
        self.protocol_type != CONSUMER
            || topics(old.subscription(protocol)) == topics(new.subscription(protocol))
    }
}
