//! SyncGroup: the leader's assignment is recorded, then everyone gets theirs.

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::members::Waiting;
use super::{ClassicGroup, Phase, no_assignment};
use crate::groups::Step;
use crate::groups::command::SyncGroup;
use crate::groups::ids::{MemberId, SharedBytes};
use crate::groups::reply::{Reply, SyncReply};
use crate::step::RequestId;

impl ClassicGroup {
    /// Answers with the member's assignment, as soon as the leader has brought it.
    pub(in crate::groups) fn sync(
        &mut self,
        step: &mut Step<'_>,
        request: RequestId,
        sync: SyncGroup,
    ) {
        if let Err(error) = self.check_sync(&sync) {
            step.reply(request, Reply::Sync(SyncReply::refused(error)));
            return;
        }
        let completing = matches!(self.phase, Phase::Completing { .. });
        let member = self
            .members
            .get_mut(&sync.member_id)
            .expect("check_sync found the member");
        member.has_synced = true;
        if completing {
            member.answer(step, ErrorCode::RebalanceInProgress, sync.member_id.clone());
            member.waiting = Waiting::Sync(request);
            if self.is_leader(&sync.member_id) {
                self.assign(step, sync.assignments);
            }
        } else {
            let assignment = member.assignment.clone();
            step.reply(request, Reply::Sync(self.synced(assignment)));
            self.forget_sync_deadline();
        }
    }

    fn check_sync(&self, sync: &SyncGroup) -> Result<(), ErrorCode> {
        self.check_member(&sync.member_id, sync.instance_id.as_ref())?;
        self.check_generation(sync.generation)?;
        let differs = |asked: &Option<String>, actual: Option<&str>| {
            asked
                .as_deref()
                .is_some_and(|asked| actual.is_some_and(|actual| asked != actual))
        };
        if differs(&sync.protocol_type, Some(&self.protocol_type))
            || differs(&sync.protocol, self.protocol.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// Records the leader's assignment and hands it to all who wait for it.
    fn assign(&mut self, step: &mut Step<'_>, assignments: Vec<(MemberId, SharedBytes)>) {
        let mut assignments: BTreeMap<MemberId, SharedBytes> = assignments.into_iter().collect();
        for member in self.members.values_mut() {
            let assigned = assignments.remove(&member.id);
            member.assignment = assigned.unwrap_or_else(|| no_assignment(&self.protocol_type));
        }
        let Phase::Completing { ends } = self.phase else {
            return;
        };
        let record = self.record(step.now);
        if record.size() > step.settings.max_group_record_bytes {
            self.cancel_syncs(step, ErrorCode::UnknownServerError);
            self.rebalance(step);
            return;
        }
        self.enter(
            Phase::Stable {
                sync_ends: Some(ends),
            },
            step.now,
        );
        step.write(record);
        self.release_syncs(step);
        self.forget_sync_deadline();
    }

    fn release_syncs(&mut self, step: &mut Step<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let member = self.members.get_mut(&id).expect("the id was just listed");
            let Waiting::Sync(request) = member.waiting else {
                continue;
            };
            member.waiting = Waiting::Nothing;
            member.restart_session(step.now);
            let assignment = member.assignment.clone();
            step.reply(request, Reply::Sync(self.synced(assignment)));
        }
    }

    /// Takes back the assignments of a generation that does not come about and answers those who wait for them.
    pub(super) fn cancel_syncs(&mut self, step: &mut Step<'_>, error: ErrorCode) {
        if !matches!(self.phase, Phase::Completing { .. }) {
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = SharedBytes::from([]);
            if let Waiting::Sync(_) = member.waiting {
                member.answer(step, error, MemberId::default());
                member.restart_session(step.now);
            }
        }
    }

    fn synced(&self, assignment: SharedBytes) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: Some(self.protocol_type.clone()),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// Once everyone has synced nobody can be late any more.
    fn forget_sync_deadline(&mut self) {
        if let Phase::Stable { sync_ends } = &mut self.phase
            && self.members.values().all(|member| member.has_synced)
        {
            *sync_ends = None;
        }
    }
}
