//! How members go: they leave, leave for a while, fall silent, keep what they should give up, or are replaced.

use super::identity::{check_instance, unknown_instance, unknown_member};
use super::state::{AssignmentEpoch, ConsumerChange, CurrentAssignment, PartitionEpochs};
use super::{ConsumerGroup, LEAVES_FOR_A_WHILE};
use crate::groups::Step;
use crate::groups::command::ConsumerHeartbeat;
use crate::groups::ids::MemberId;
use crate::groups::reply::ConsumerHeartbeatReply;
use crate::refusal::Refusal;
use crate::step::Millis;

impl ConsumerGroup {
    pub(super) fn leave_group(
        &mut self,
        step: &mut Step<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<ConsumerHeartbeatReply, Refusal> {
        let state = self.current(step);
        let member = beat.member_id.clone();
        match &beat.instance_id {
            None if !state.members.contains_key(&member) => {
                return Err(unknown_member(&member, self.id.as_str()));
            }
            None => {}
            Some(instance) => {
                let owner = state.static_member(instance);
                check_instance(
                    beat,
                    instance,
                    owner.ok_or_else(|| unknown_instance(instance))?,
                )?;
            }
        }
        if beat.epoch == LEAVES_FOR_A_WHILE {
            self.leave_for_a_while(step, &member);
        } else {
            self.fence(step, std::slice::from_ref(&member));
        }
        Ok(ConsumerHeartbeatReply {
            member_id: member,
            epoch: beat.epoch,
            heartbeat_interval: std::time::Duration::ZERO,
            assignment: None,
        })
    }

    /// A static member that leaves to come back keeps its partitions until its session ends (KIP-345).
    fn leave_for_a_while(&mut self, step: &mut Step<'_>, member: &MemberId) {
        let current = self.current(step).current_of(member);
        let left = CurrentAssignment {
            epoch: LEAVES_FOR_A_WHILE,
            // Whoever comes back has them from its first epoch on.
            assigned: without_epochs(current.assigned),
            pending_revocation: PartitionEpochs::new(),
            ..current
        };
        self.write(step, ConsumerChange::Current(member.clone(), Some(left)));
        if let Some(session) = self.sessions.get_mut(member) {
            session.must_revoke = None;
        }
    }

    /// Removes members and gives the group a new epoch, so that the others get their partitions. If all of those speak the
    /// classic protocol, so does the group from now on.
    pub(super) fn fence(&mut self, step: &mut Step<'_>, members: &[MemberId]) {
        if members.is_empty() {
            return;
        }
        if self.shall_downgrade(step, members) {
            self.downgrade(step, members);
            return;
        }
        for member in members {
            self.remove(step, member);
        }
        self.resolve_regexes(step);
        self.bump_epoch(step);
        let state = self.current(step);
        if state.members.is_empty() {
            // As if new: whoever comes next need not wait for the assignment interval.
            let assignment = AssignmentEpoch {
                epoch: state.epoch.epoch,
                made_at: Millis(0),
            };
            self.write(step, ConsumerChange::Assignment(Some(assignment)));
        }
    }

    /// Puts a static member's new incarnation in the place of its old one.
    pub(super) fn replace(&mut self, step: &mut Step<'_>, old: &MemberId, new: &MemberId) {
        let state = self.current(step);
        let settings = state.members.get(old).cloned();
        let target = state.targets.get(old).cloned();
        let current = CurrentAssignment {
            epoch: 0,
            previous_epoch: 0,
            ..state.current_of(old)
        };
        self.remove(step, old);
        self.write(step, ConsumerChange::Member(new.clone(), settings));
        self.write(
            step,
            ConsumerChange::Target(new.clone(), Some(target.unwrap_or_default())),
        );
        self.write(step, ConsumerChange::Current(new.clone(), Some(current)));
    }

    fn remove(&mut self, step: &mut Step<'_>, member: &MemberId) {
        self.sessions.remove(member);
        self.write(step, ConsumerChange::Current(member.clone(), None));
        self.write(step, ConsumerChange::Target(member.clone(), None));
        self.write(step, ConsumerChange::Member(member.clone(), None));
    }
}

fn without_epochs(mut assigned: PartitionEpochs) -> PartitionEpochs {
    for epoch in assigned
        .values_mut()
        .flat_map(|partitions| partitions.values_mut())
    {
        *epoch = 0;
    }
    assigned
}
