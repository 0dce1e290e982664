//! Members that speak the classic protocol in a consumer group: a join or a heartbeat moves them as a ConsumerGroupHeartbeat
//! moves the others, and REBALANCE_IN_PROGRESS tells them to join again.

use std::time::Duration;

use wire::ErrorCode;

use super::migration::subscription_version;
use super::state::{ClassicMember, ConsumerState, MemberSettings, MemberState};
use super::{ConsumerGroup, reconcile};
use crate::groups::Step;
use crate::groups::command::{Heartbeat, JoinGroup, LeaveGroup, MemberIdentity, SyncGroup};
use crate::groups::embedded::{self, Subscription, encode_assignment};
use crate::groups::ids::{Generation, InstanceId, MemberId};
use crate::groups::reply::{GroupType, JoinReply, LeaveReply, Reply, SyncReply};
use crate::step::RequestId;

impl ConsumerGroup {
    /// JoinGroup: answered at once, the generation being the member's epoch. Nobody leads.
    pub(in crate::groups) fn join_classic(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        join: JoinGroup,
    ) {
        let asked_as = join.member_id.clone();
        let reply = match self.admit_classic(step, &join) {
            Err(error) => JoinReply::refused(error, asked_as),
            Ok(_) if requires_member_id(&join) => {
                JoinReply::refused(ErrorCode::MemberIdRequired, join.new_member_id)
            }
            Ok(subscription) => self.place_classic(step, join, subscription),
        };
        step.reply(request, Reply::Join(reply));
    }

    /// Checks everything before anything changes.
    fn admit_classic(&self, step: &Step<'_>, join: &JoinGroup) -> Result<Subscription, ErrorCode> {
        let state = self.current(step);
        let instance = join.instance_id.as_ref();
        let owner = instance.and_then(|instance| state.static_member(instance));
        let is_full = state.members.len() >= step.settings.consumer.max_size;
        if is_full && owner.is_none() && !state.members.contains_key(&join.member_id) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !supports(state, join) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if let Some(instance) = instance.filter(|_| !join.member_id.is_empty()) {
            find_member(state, &join.member_id, Some(instance))?;
        }
        let metadata = &join
            .protocols
            .first()
            .ok_or(ErrorCode::InconsistentGroupProtocol)?
            .metadata;
        Subscription::decode(metadata).ok_or(ErrorCode::InconsistentGroupProtocol)
    }

    fn place_classic(
        &mut self,
        step: &mut Step<'_>,
        join: JoinGroup,
        subscription: Subscription,
    ) -> JoinReply {
        let is_unknown = join.member_id.is_empty();
        let id = if is_unknown {
            join.new_member_id
        } else {
            join.member_id
        };
        let owner = join.instance_id.as_ref();
        let owner = owner.and_then(|instance| self.current(step).static_member(instance));
        if let Some(old) = owner.filter(|_| is_unknown).cloned() {
            self.replace(step, &old, &id);
        }
        let known = self.current(step).members.get(&id).cloned();
        let before = known.clone().unwrap_or_default();
        let protocol = join.protocols.first().map(|protocol| protocol.name.clone());
        let settings = MemberSettings {
            instance_id: join.instance_id.or(before.instance_id),
            rack_id: subscription.rack.or(before.rack_id),
            client_id: join.client_id,
            client_host: join.client_host,
            topics: subscription.topics,
            regex: None,
            rebalance_timeout: join.rebalance_timeout,
            assignor: before.assignor,
            classic: Some(ClassicMember {
                session_timeout: join.session_timeout,
                protocols: join.protocols,
            }),
        };
        let rebalance_timeout = settings.rebalance_timeout;
        let has_changed = self.set_member(step, &id, known, settings);
        let owned = embedded::by_id(&subscription.owned, step.topics);
        self.update_targets(step);
        let reconciled = self.reconcile(step, &id, has_changed, Some(&owned));
        let epoch = self.current(step).current_of(&id).epoch;
        self.restart_session(step, &id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.must_join = None;
            session.must_sync = Some(step.now + rebalance_timeout);
        }
        if self.shall_downgrade(step, &[]) {
            self.downgrade(step, &[]);
        }
        JoinReply {
            error: reconciled
                .err()
                .map_or(ErrorCode::None, |refusal| refusal.error),
            generation: Generation(epoch),
            protocol_type: Some(GroupType::CONSUMER_PROTOCOL.to_owned()),
            protocol,
            leader: MemberId::default(),
            skip_assignment: false,
            member_id: id,
            members: Vec::new(),
        }
    }

    /// SyncGroup: the member's partitions, as the classic protocol encodes them.
    pub(in crate::groups) fn sync_classic(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        sync: &SyncGroup,
    ) {
        let reply = match self.check_sync_classic(step, sync) {
            Err(error) => SyncReply::refused(error),
            Ok(classic) => {
                let state = self.current(step);
                let current = state.current_of(&sync.member_id);
                let assigned = current.assigned.iter();
                let assigned = assigned.flat_map(|(t, ps)| ps.keys().map(move |p| (*t, p)));
                let named = embedded::by_name(assigned, step.topics);
                SyncReply {
                    error: ErrorCode::None,
                    protocol_type: Some(GroupType::CONSUMER_PROTOCOL.to_owned()),
                    protocol: classic
                        .protocols
                        .first()
                        .map(|protocol| protocol.name.clone()),
                    assignment: encode_assignment(&named, subscription_version(&classic)),
                }
            }
        };
        if reply.error == ErrorCode::None {
            self.restart_session(step, &sync.member_id);
            if let Some(session) = self.sessions.get_mut(&sync.member_id) {
                session.must_sync = None;
            }
        }
        step.reply(request, Reply::Sync(reply));
    }

    fn check_sync_classic(
        &mut self,
        step: &Step<'_>,
        sync: &SyncGroup,
    ) -> Result<ClassicMember, ErrorCode> {
        let state = self.current(step);
        let member = find_member(state, &sync.member_id, sync.instance_id.as_ref())?;
        let classic = member.classic.clone().ok_or(ErrorCode::UnknownMemberId)?;
        let current = state.current_of(&sync.member_id);
        if current.epoch != sync.generation.0 {
            return Err(ErrorCode::IllegalGeneration);
        }
        let protocol = classic
            .protocols
            .first()
            .map(|protocol| protocol.name.as_str());
        let differs = |asked: Option<&str>, known| asked.is_some_and(|asked| Some(asked) != known);
        if differs(
            sync.protocol_type.as_deref(),
            Some(GroupType::CONSUMER_PROTOCOL),
        ) || differs(sync.protocol.as_deref(), protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_behind = current.epoch < state.assignment.epoch;
        if is_behind && current.state != MemberState::UnrevokedPartitions {
            let timeout = member.rebalance_timeout;
            self.expect_join(step, &sync.member_id, timeout);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(classic)
    }

    /// Heartbeat: keeps a member alive and tells it to join again when it can move on.
    pub(in crate::groups) fn heartbeat_classic(
        &mut self,
        step: &Step<'_>,
        heartbeat: &Heartbeat,
    ) -> Result<(), ErrorCode> {
        let state = self.current(step);
        let id = &heartbeat.member_id;
        let member = find_member(state, id, heartbeat.instance_id.as_ref())?;
        if member.classic.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let current = state.current_of(id);
        if current.epoch != heartbeat.generation.0 {
            return Err(ErrorCode::IllegalGeneration);
        }
        let can_move = current.epoch < state.assignment.epoch
            || match current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !waits_for_others(state, id),
                MemberState::Stable | MemberState::Unknown => false,
            };
        let timeout = member.rebalance_timeout;
        self.restart_session(step, id);
        if can_move {
            self.expect_join(step, id, timeout);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup, also for members that an administrator removes by their instance ids.
    pub(in crate::groups) fn leave_classic(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        leave: LeaveGroup,
    ) {
        let mut leaving: Vec<MemberId> = Vec::new();
        let mut members = Vec::with_capacity(leave.members.len());
        for identity in leave.members {
            let found = find_leaving(self.current(step), &identity);
            let error = found.as_ref().err().copied();
            leaving.extend(found.ok().filter(|id| !leaving.contains(id)));
            members.push((identity, error.unwrap_or(ErrorCode::None)));
        }
        self.fence(step, &leaving);
        let error = ErrorCode::None;
        step.reply(request, Reply::Leave(LeaveReply { error, members }));
    }

    /// A member that was told to join again has its rebalance time-out for it.
    fn expect_join(&mut self, step: &Step<'_>, member: &MemberId, timeout: Duration) {
        if let Some(session) = self.sessions.get_mut(member) {
            session.must_join.get_or_insert(step.now + timeout);
        }
    }
}

fn requires_member_id(join: &JoinGroup) -> bool {
    join.member_id.is_empty() && join.instance_id.is_none() && join.supports_member_id_required
}

/// Whether all classic members of the group could use one of the protocols.
fn supports(state: &ConsumerState, join: &JoinGroup) -> bool {
    let classic = || {
        state
            .members
            .values()
            .filter_map(|member| member.classic.as_ref())
    };
    let all_have = |name: &str| {
        let has = |member: &ClassicMember| member.protocols.iter().any(|p| p.name == name);
        classic().all(has)
    };
    join.protocol_type == GroupType::CONSUMER_PROTOCOL
        && join
            .protocols
            .iter()
            .any(|protocol| all_have(&protocol.name))
}

fn find_member<'a>(
    state: &'a ConsumerState,
    id: &MemberId,
    instance: Option<&InstanceId>,
) -> Result<&'a MemberSettings, ErrorCode> {
    if let Some(instance) = instance {
        let owner = state
            .static_member(instance)
            .ok_or(ErrorCode::UnknownMemberId)?;
        if owner != id {
            return Err(ErrorCode::FencedInstanceId);
        }
    }
    state.members.get(id).ok_or(ErrorCode::UnknownMemberId)
}

fn find_leaving(state: &ConsumerState, identity: &MemberIdentity) -> Result<MemberId, ErrorCode> {
    let instance = identity.instance_id.as_ref();
    if let Some(instance) = instance.filter(|_| identity.member_id.is_empty()) {
        let owner = state.static_member(instance).cloned();
        return owner.ok_or(ErrorCode::UnknownMemberId);
    }
    find_member(state, &identity.member_id, instance)?;
    Ok(identity.member_id.clone())
}

/// Whether a member's target still has partitions that others own.
fn waits_for_others(state: &ConsumerState, id: &MemberId) -> bool {
    let target = state.targets.get(id).into_iter().flatten();
    let mut target = target.flat_map(|(topic, ps)| ps.iter().map(move |p| (*topic, *p)));
    let others = || state.currents.iter().filter(|(other, _)| *other != id);
    target.any(|(topic, partition)| {
        others().any(|(_, other)| {
            reconcile::contains(&other.assigned, topic, partition)
                || reconcile::contains(&other.pending_revocation, topic, partition)
        })
    })
}
