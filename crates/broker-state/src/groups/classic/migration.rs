//! A classic group of consumers and a consumer group (KIP-848) become one another: what each side hands over.

use std::time::Duration;

use wire::ErrorCode;

use super::members::{Member, Waiting};
use super::{ClassicGroup, Phase};
use crate::groups::Step;
use crate::groups::command::{JoinGroup, Protocol};
use crate::groups::consumer::MemberSettings;
use crate::groups::ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes};
use crate::groups::reply::GroupType;

/// A member on its way between the two.
#[derive(Clone, Debug)]
pub(in crate::groups) struct ClassicGroupMember {
    pub(in crate::groups) id: MemberId,
    pub(in crate::groups) instance_id: Option<InstanceId>,
    pub(in crate::groups) client_id: String,
    pub(in crate::groups) client_host: String,
    pub(in crate::groups) session_timeout: Duration,
    pub(in crate::groups) rebalance_timeout: Duration,
    pub(in crate::groups) protocols: Vec<Protocol>,
    pub(in crate::groups) subscription: SharedBytes,
    pub(in crate::groups) assignment: SharedBytes,
}

impl ClassicGroupMember {
    /// A member of a consumer group that speaks the classic protocol; `None` if it does not.
    pub(in crate::groups) fn of(
        id: MemberId,
        settings: &MemberSettings,
        assignment: SharedBytes,
    ) -> Option<Self> {
        let classic = settings.classic.as_ref()?;
        let first = classic.protocols.first();
        Some(ClassicGroupMember {
            id,
            instance_id: settings.instance_id.clone(),
            client_id: settings.client_id.clone(),
            client_host: settings.client_host.clone(),
            session_timeout: classic.session_timeout,
            rebalance_timeout: settings.rebalance_timeout,
            protocols: classic.protocols.clone(),
            subscription: first.map_or_else(|| SharedBytes::from([]), |p| p.metadata.clone()),
            assignment,
        })
    }

    fn into_member(self, group: &GroupId, step: &Step<'_>) -> Member {
        let join = JoinGroup {
            group: group.clone(),
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            protocols: self.protocols,
            ..JoinGroup::default()
        };
        let mut member = Member::joining(self.id, join, step.now);
        member.restart_session(step.now);
        member.assignment = self.assignment;
        member.has_synced = true;
        member
    }
}

impl ClassicGroup {
    pub(in crate::groups) fn generation(&self) -> i32 {
        self.generation.0
    }

    /// Everybody with what a consumer group needs to know of them.
    pub(in crate::groups) fn migrating_members(&self) -> Vec<ClassicGroupMember> {
        let members = self.members.values();
        members
            .map(|member| member.migrating(self.protocol.as_deref()))
            .collect()
    }

    /// Tells everybody who waits to come again: the group is about to change its protocol.
    pub(in crate::groups) fn dismiss(&mut self, step: &mut Step<'_>) {
        for member in self.members.values_mut() {
            let id = member.id.clone();
            member.answer(step, ErrorCode::RebalanceInProgress, id);
        }
    }

    /// What a consumer group becomes whose last member of the new protocol has gone. It is recorded, and everybody is
    /// asked to join anew.
    pub(in crate::groups) fn downgraded(
        id: GroupId,
        generation: i32,
        members: Vec<ClassicGroupMember>,
        step: &mut Step<'_>,
    ) -> Self {
        let mut group = ClassicGroup::empty(id.clone(), None);
        group.generation = Generation(generation);
        group.protocol_type = GroupType::CONSUMER_PROTOCOL.to_owned();
        for member in members {
            group.insert(member.into_member(&id, step));
        }
        group.leader = group.members.keys().next().cloned();
        group.protocol = Some(group.select_protocol());
        group.enter(Phase::Stable { sync_ends: None }, step.now);
        step.write(group.record(step.now));
        group.rebalance(step);
        group
    }
}

impl Member {
    fn migrating(&self, protocol: Option<&str>) -> ClassicGroupMember {
        ClassicGroupMember {
            id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            protocols: self.protocols.clone(),
            subscription: self.subscription(protocol),
            assignment: match self.waiting {
                // What it had is void once it has joined again.
                Waiting::Join(_) if self.is_new => SharedBytes::from([]),
                _ => self.assignment.clone(),
            },
        }
    }
}
