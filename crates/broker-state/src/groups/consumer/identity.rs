//! Who sends a heartbeat: a new member, one that is known, or one that takes the place of a static member.

use wire::ErrorCode;

use super::state::{ConsumerState, CurrentAssignment, PartitionEpochs, Partitions};
use super::{ConsumerGroup, LEAVES_FOR_A_WHILE, reconcile};
use crate::groups::Step;
use crate::groups::command::ConsumerHeartbeat;
use crate::groups::ids::{InstanceId, MemberId};
use crate::refusal::Refusal;

/// Whose heartbeat it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    New,
    Known,
    /// A static member is back under another member id.
    Replaces(MemberId),
}

impl ConsumerState {
    /// The present incarnation of a static member.
    pub(super) fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance_id.as_ref() == Some(instance));
        found.map(|(id, _)| id)
    }

    /// Where a member is; a new one is nowhere.
    pub(super) fn current_of(&self, member: &MemberId) -> CurrentAssignment {
        self.currents.get(member).cloned().unwrap_or_default()
    }
}

impl ConsumerGroup {
    /// Finds out who sends a heartbeat that is not to leave.
    pub(super) fn identify(
        &self,
        step: &Step<'_>,
        beat: &ConsumerHeartbeat,
    ) -> Result<Identity, Refusal> {
        let state = self.current(step);
        let identity = match &beat.instance_id {
            None => self.identify_dynamic(state, beat)?,
            Some(instance) => identify_static(state, beat, instance)?,
        };
        let limit = step.settings.consumer.max_size;
        if identity == Identity::New && state.members.len() >= limit {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!("the consumer group has {limit} members already, as many as it may have"),
            ));
        }
        Ok(identity)
    }

    fn identify_dynamic(
        &self,
        state: &ConsumerState,
        beat: &ConsumerHeartbeat,
    ) -> Result<Identity, Refusal> {
        if state.members.contains_key(&beat.member_id) {
            check_epoch(&state.current_of(&beat.member_id), beat)?;
            Ok(Identity::Known)
        } else if beat.epoch == 0 {
            Ok(Identity::New)
        } else {
            Err(unknown_member(&beat.member_id, self.id.as_str()))
        }
    }
}

fn identify_static(
    state: &ConsumerState,
    beat: &ConsumerHeartbeat,
    instance: &InstanceId,
) -> Result<Identity, Refusal> {
    let Some(owner) = state.static_member(instance) else {
        return if beat.epoch == 0 {
            Ok(Identity::New)
        } else {
            Err(unknown_instance(instance))
        };
    };
    let current = state.current_of(owner);
    if beat.epoch != 0 {
        check_instance(beat, instance, owner)?;
        check_epoch(&current, beat)?;
        return Ok(Identity::Known);
    }
    let speaks_classic = state
        .members
        .get(owner)
        .is_some_and(|member| member.classic.is_some());
    if current.epoch != LEAVES_FOR_A_WHILE && !speaks_classic {
        return Err(Refusal::new(
            ErrorCode::UnreleasedInstanceId,
            format!(
                "static member {} cannot join as {instance}: member {owner} has that instance id and has not left",
                beat.member_id
            ),
        ));
    }
    Ok(Identity::Replaces(owner.clone()))
}

/// Checks that a static member is still the one of its instance id.
pub(super) fn check_instance(
    beat: &ConsumerHeartbeat,
    instance: &InstanceId,
    owner: &MemberId,
) -> Result<(), Refusal> {
    if *owner == beat.member_id {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::FencedInstanceId,
        format!(
            "static member {} of {instance} was fenced by member {owner}",
            beat.member_id
        ),
    ))
}

/// A member must be at its epoch, or at the one before with nothing more than it was given, as an answer may be lost.
fn check_epoch(current: &CurrentAssignment, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
    // Epoch 0 starts over, which a member may do at any time.
    if beat.epoch == 0 || beat.epoch == current.epoch {
        return Ok(());
    }
    let is_previous = beat.epoch == current.previous_epoch && beat.epoch < current.epoch;
    let owned = beat.owned.as_ref();
    if is_previous && owned.is_some_and(|owned| is_within(owned, &current.assigned)) {
        return Ok(());
    }
    let compared = if beat.epoch > current.epoch {
        "greater"
    } else {
        "smaller"
    };
    Err(Refusal::new(
        ErrorCode::FencedMemberEpoch,
        format!(
            "the member's epoch {} is {compared} than {}, the one that the group knows; it must give up its partitions and rejoin",
            beat.epoch, current.epoch
        ),
    ))
}

fn is_within(owned: &Partitions, assigned: &PartitionEpochs) -> bool {
    let mut owned = owned
        .iter()
        .flat_map(|(t, ps)| ps.iter().map(move |p| (*t, *p)));
    owned.all(|(topic, partition)| reconcile::contains(assigned, topic, partition))
}

pub(super) fn unknown_member(member: &MemberId, group: &str) -> Refusal {
    Refusal::new(
        ErrorCode::UnknownMemberId,
        format!("member {member} is not a member of group {group}"),
    )
}

pub(super) fn unknown_instance(instance: &InstanceId) -> Refusal {
    Refusal::new(
        ErrorCode::UnknownMemberId,
        format!("instance id {instance} is not known"),
    )
}
