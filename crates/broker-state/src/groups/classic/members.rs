//! A member of a classic group, and how members stay (heartbeat) and go (leave, expiry, removal).

use std::collections::BTreeSet;
use std::time::Duration;

use wire::ErrorCode;

use super::{ClassicGroup, Phase, refuse_join};
use crate::groups::Step;
use crate::groups::command::{Heartbeat, JoinGroup, LeaveGroup, MemberIdentity, Protocol};
use crate::groups::ids::{Generation, InstanceId, MemberId, SharedBytes};
use crate::groups::records::MemberMetadata;
use crate::groups::reply::{DescribedMember, LeaveReply, Reply, SyncReply};
use crate::step::{Millis, RequestId};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: SharedBytes,
    pub(super) waiting: Waiting,
    session_ends: Millis,
    /// Waits in its first join; such a member does expire, as it may have gone without anybody noticing.
    pub(super) is_new: bool,
    /// Has asked for its assignment in this generation.
    pub(super) has_synced: bool,
}

/// The one request that a member may have parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waiting {
    #[default]
    Nothing,
    Join(RequestId),
    Sync(RequestId),
}

impl Member {
    /// Whoever joins under `id`, not parked yet.
    pub(super) fn joining(id: MemberId, join: JoinGroup, session_ends: Millis) -> Self {
        Member {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: recordable(join.session_timeout),
            rebalance_timeout: recordable(join.rebalance_timeout),
            protocols: join.protocols,
            assignment: SharedBytes::from([]),
            waiting: Waiting::Nothing,
            session_ends,
            is_new: false,
            has_synced: false,
        }
    }

    /// A member of a recorded generation, with a fresh session.
    pub(super) fn recorded(record: &MemberMetadata, protocol: &str, now: Millis) -> Self {
        Member {
            id: record.member_id.clone(),
            instance_id: record.instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            session_timeout: record.session_timeout,
            rebalance_timeout: record.rebalance_timeout,
            protocols: vec![Protocol {
                name: protocol.to_owned(),
                metadata: record.subscription.clone(),
            }],
            assignment: record.assignment.clone(),
            waiting: Waiting::Nothing,
            session_ends: now + record.session_timeout,
            is_new: false,
            has_synced: true,
        }
    }

    pub(super) fn record(&self, protocol: &str) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout,
            session_timeout: self.session_timeout,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// As DescribeGroups shows it; with metadata only for a stable group's `protocol`.
    pub(super) fn describe(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol
                .map_or_else(|| SharedBytes::from([]), |protocol| self.metadata(protocol)),
            assignment: self.assignment.clone(),
        }
    }

    pub(super) fn has_joined(&self) -> bool {
        matches!(self.waiting, Waiting::Join(_))
    }

    /// Takes over what a further join says and parks it; a request parked before is told to try again.
    pub(super) fn rejoin(&mut self, step: &mut Step<'_>, request: RequestId, join: JoinGroup) {
        self.answer(step, ErrorCode::RebalanceInProgress, self.id.clone());
        self.session_timeout = recordable(join.session_timeout);
        self.rebalance_timeout = recordable(join.rebalance_timeout);
        self.protocols = join.protocols;
        self.waiting = Waiting::Join(request);
    }

    /// Ends whatever the member waits for with an error; a refused join is told to go on as `member_id`.
    pub(super) fn answer(&mut self, step: &mut Step<'_>, error: ErrorCode, member_id: MemberId) {
        match std::mem::take(&mut self.waiting) {
            Waiting::Nothing => {}
            Waiting::Join(request) => refuse_join(step, request, error, member_id),
            Waiting::Sync(request) => step.reply(request, Reply::Sync(SyncReply::refused(error))),
        }
    }

    pub(super) fn restart_session(&mut self, now: Millis) {
        self.session_ends = now + self.session_timeout;
    }

    /// When the member is given up. Who waits in a join or sync cannot send heartbeats and is not, unless it is new.
    pub(super) fn expires_at(&self) -> Option<Millis> {
        let can_expire = self.is_new || self.waiting == Waiting::Nothing;
        can_expire.then_some(self.session_ends)
    }

    pub(super) fn protocol_names(&self) -> impl Iterator<Item = &str> {
        self.protocols.iter().map(|protocol| protocol.name.as_str())
    }

    pub(super) fn has_protocols(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// The member's favourite among the candidates.
    pub(super) fn vote<'a>(&'a self, candidates: &BTreeSet<&str>) -> Option<&'a str> {
        self.protocol_names().find(|name| candidates.contains(name))
    }

    /// What the member says under `protocol`; empty if it does not support it.
    pub(super) fn metadata(&self, protocol: &str) -> SharedBytes {
        let found = self
            .protocols
            .iter()
            .find(|supported| supported.name == protocol);
        found.map_or_else(
            || SharedBytes::from([]),
            |supported| supported.metadata.clone(),
        )
    }

    /// What the member says under `protocol`, or under its favourite while none is chosen.
    pub(super) fn subscription(&self, protocol: Option<&str>) -> SharedBytes {
        match (protocol, self.protocols.first()) {
            (Some(protocol), _) => self.metadata(protocol),
            (None, Some(favourite)) => favourite.metadata.clone(),
            (None, None) => SharedBytes::from([]),
        }
    }
}

/// Records hold whole milliseconds in 32 bits; live state keeps the same, so that a replay gives the same.
fn recordable(timeout: Duration) -> Duration {
    Duration::from_millis(timeout.as_millis().min(i32::MAX as u128) as u64)
}

impl ClassicGroup {
    /// Keeps a member's session alive and tells it whether to rejoin.
    pub(in crate::groups) fn heartbeat(
        &mut self,
        now: Millis,
        heartbeat: &Heartbeat,
    ) -> Result<(), ErrorCode> {
        self.check_member(&heartbeat.member_id, heartbeat.instance_id.as_ref())?;
        self.check_generation(heartbeat.generation)?;
        self.restart_session(&heartbeat.member_id, now);
        match self.phase {
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Checks who commits offsets. In a stable group, or while members join, a commit also keeps the session alive.
    pub(in crate::groups) fn check_commit(
        &mut self,
        now: Millis,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<(), ErrorCode> {
        if self.phase == Phase::Empty && !generation.is_some() {
            return Ok(());
        }
        if !generation.is_some() && member.is_empty() && instance.is_none() {
            // A consumer that assigns its partitions by hand must not write over an active group's offsets.
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member, instance)?;
        self.check_generation(generation)?;
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.restart_session(member, now);
        Ok(())
    }

    /// As `check_commit`, in a transaction: it is not the group but the transaction that says when it is over.
    pub(in crate::groups) fn check_transactional_commit(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Generation,
    ) -> Result<(), ErrorCode> {
        if self.phase == Phase::Empty && !generation.is_some() {
            return Ok(());
        }
        self.check_member(member, instance)?;
        self.check_generation(generation)
    }

    /// Removes the members that leave and answers each; a rebalance follows if somebody did.
    pub(in crate::groups) fn leave(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        leave: LeaveGroup,
    ) {
        let mut somebody_left = false;
        let mut members = Vec::with_capacity(leave.members.len());
        for identity in leave.members {
            let error = match self.find_leaving(&identity) {
                Ok(id) => {
                    somebody_left |= self.remove(&id, step);
                    ErrorCode::None
                }
                Err(error) => error,
            };
            members.push((identity, error));
        }
        step.reply(
            request,
            Reply::Leave(LeaveReply {
                error: ErrorCode::None,
                members,
            }),
        );
        self.after_departures(step, somebody_left);
    }

    /// Forgets pending ids and removes members whose time is over.
    pub(super) fn expire(&mut self, step: &mut Step<'_>) {
        let now = step.now;
        self.pending.retain(|_, expires| *expires > now);
        let silent = self
            .members
            .values()
            .filter(|member| member.expires_at().is_some_and(|at| at <= now));
        let silent: Vec<MemberId> = silent.map(|member| member.id.clone()).collect();
        for id in &silent {
            self.remove(id, step);
        }
        self.after_departures(step, !silent.is_empty());
    }

    /// Removes the members that have not asked for their assignment in time.
    pub(super) fn remove_unsynced(&mut self, step: &mut Step<'_>) {
        let late = self.members.values().filter(|member| !member.has_synced);
        for id in late.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&id, step);
        }
        self.rebalance(step);
    }

    /// Removes a member or a pending id, answering what it waits for; says whether it was a member.
    pub(super) fn remove(&mut self, id: &MemberId, step: &mut Step<'_>) -> bool {
        self.pending.remove(id);
        let Some(mut member) = self.members.remove(id) else {
            return false;
        };
        // An empty member id lets a client that is still there start over.
        member.answer(step, ErrorCode::UnknownMemberId, MemberId::default());
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        true
    }

    fn after_departures(&mut self, step: &mut Step<'_>, a_member_left: bool) {
        match self.phase {
            Phase::Empty => {}
            Phase::Preparing { .. } => self.complete_join_if_ready(step),
            Phase::Completing { .. } | Phase::Stable { .. } if a_member_left => {
                self.rebalance(step)
            }
            Phase::Completing { .. } | Phase::Stable { .. } => {}
        }
    }

    fn find_leaving(&self, identity: &MemberIdentity) -> Result<MemberId, ErrorCode> {
        let instance = identity.instance_id.as_ref();
        if identity.member_id.is_empty() {
            let member = instance.and_then(|instance| self.static_members.get(instance));
            return member.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if !self.pending.contains_key(&identity.member_id) {
            self.check_member(&identity.member_id, instance)?;
        }
        Ok(identity.member_id.clone())
    }

    fn restart_session(&mut self, id: &MemberId, now: Millis) {
        if let Some(member) = self.members.get_mut(id) {
            member.restart_session(now);
        }
    }

    pub(super) fn check_generation(&self, generation: Generation) -> Result<(), ErrorCode> {
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }
}
