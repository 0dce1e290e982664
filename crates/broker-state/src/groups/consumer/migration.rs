//! Between the protocols (KIP-848): a classic group of consumers becomes a consumer group when the first member of the
//! new protocol joins, and a classic one again when the last of them has left, without stopping anybody.
//!
//! Upgrade: members keep their ids, their generation becomes their epoch, and what the leader assigned is their target
//! and what they own. Downgrade: the group epoch becomes the generation, and a rebalance follows at once.

use wire::ErrorCode;

use super::ConsumerGroup;
use super::state::{
    AssignmentEpoch, ClassicMember, ConsumerState, CurrentAssignment, GroupEpoch, MemberSettings,
    MemberState, PartitionEpochs,
};
use crate::groups::Step;
use crate::groups::classic::{ClassicGroup, ClassicGroupMember};
use crate::groups::durable::DurableGroup;
use crate::groups::embedded::{self, Assignment, Subscription, encode_assignment};
use crate::groups::ids::{GroupId, MemberId};
use crate::groups::reply::GroupType;
use crate::groups::settings::GroupSettings;
use crate::groups::topics::TopicsImage;
use crate::refusal::Refusal;

/// `group.consumer.migration.policy`: which conversions happen while a group has members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    Upgrade,
    Downgrade,
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy with this name, whatever its case.
    pub fn named(name: &str) -> Option<Self> {
        let policies = [
            ("disabled", MigrationPolicy::Disabled),
            ("upgrade", MigrationPolicy::Upgrade),
            ("downgrade", MigrationPolicy::Downgrade),
            ("bidirectional", MigrationPolicy::Bidirectional),
        ];
        let found = policies
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.trim()));
        found.map(|(_, policy)| *policy)
    }

    fn upgrades(self) -> bool {
        matches!(
            self,
            MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional
        )
    }

    fn downgrades(self) -> bool {
        matches!(
            self,
            MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional
        )
    }
}

/// The consumer group that a classic group with members becomes.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, as there is no such consumer group, with the reason why there cannot be.
pub(in crate::groups) fn upgraded(
    id: &GroupId,
    group: &ClassicGroup,
    settings: &GroupSettings,
    topics: &TopicsImage,
) -> Result<ConsumerState, Refusal> {
    let refuse = |reason: &str| {
        let message = format!("classic group {id} cannot become a consumer group: {reason}");
        Refusal::new(ErrorCode::GroupIdNotFound, message)
    };
    if !settings.consumer.migration_policy.upgrades() {
        return Err(refuse("group.consumer.migration.policy does not allow it"));
    }
    if group.protocol_type() != GroupType::CONSUMER_PROTOCOL {
        return Err(refuse("its members are not consumers"));
    }
    let members = group.migrating_members();
    if members.len() > settings.consumer.max_size {
        return Err(refuse("it has more members than a consumer group may have"));
    }
    let generation = group.generation();
    let mut state = ConsumerState {
        epoch: GroupEpoch {
            epoch: generation,
            metadata_hash: 0,
        },
        assignment: AssignmentEpoch {
            epoch: generation,
            ..AssignmentEpoch::default()
        },
        ..ConsumerState::default()
    };
    for member in members {
        let malformed = || refuse("a member's subscription or assignment cannot be read");
        let subscription = Subscription::decode(&member.subscription).ok_or_else(malformed)?;
        let assignment = Assignment::decode(&member.assignment).ok_or_else(malformed)?;
        if assignment.has_user_data {
            return Err(refuse(
                "its assignor keeps data of its own, which would be lost",
            ));
        }
        take_over(&mut state, member, subscription, &assignment, topics);
    }
    state.epoch.metadata_hash = state.metadata_hash(topics);
    Ok(state)
}

fn take_over(
    state: &mut ConsumerState,
    member: ClassicGroupMember,
    subscription: Subscription,
    assignment: &Assignment,
    topics: &TopicsImage,
) {
    let generation = state.epoch.epoch;
    let target = embedded::by_id(&assignment.partitions, topics);
    let epochs = target.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|partition| (*partition, generation));
        (*topic, partitions.collect())
    });
    let current = CurrentAssignment {
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        assigned: epochs.collect(),
        pending_revocation: PartitionEpochs::new(),
    };
    let settings = MemberSettings {
        instance_id: member.instance_id,
        rack_id: subscription.rack,
        client_id: member.client_id,
        client_host: member.client_host,
        topics: subscription.topics,
        regex: None,
        rebalance_timeout: member.rebalance_timeout,
        assignor: None,
        classic: Some(ClassicMember {
            session_timeout: member.session_timeout,
            protocols: member.protocols,
        }),
    };
    state.members.insert(member.id.clone(), settings);
    state.targets.insert(member.id.clone(), target);
    state.currents.insert(member.id, current);
}

impl ConsumerGroup {
    /// Whether the group becomes a classic one once `leaving` have gone.
    pub(super) fn shall_downgrade(&self, step: &Step<'_>, leaving: &[MemberId]) -> bool {
        let state = self.current(step);
        let mut staying = state.members.iter().filter(|(id, _)| !leaving.contains(id));
        let count = staying.clone().count();
        staying.all(|(_, member)| member.classic.is_some())
            && (1..=step.settings.max_group_size).contains(&count)
            && step.settings.consumer.migration_policy.downgrades()
    }

    /// Makes a classic group of those who stay; its rebalance begins at once.
    pub(super) fn downgrade(&mut self, step: &mut Step<'_>, leaving: &[MemberId]) {
        let state = self.current(step);
        let staying = state.members.iter().filter(|(id, _)| !leaving.contains(id));
        let members = staying.filter_map(|(id, settings)| {
            let target = state.targets.get(id).into_iter().flatten();
            let target = target.flat_map(|(topic, ps)| ps.iter().map(move |p| (*topic, p)));
            let version = subscription_version(settings.classic.as_ref()?);
            let named = embedded::by_name(target, step.topics);
            let assignment = encode_assignment(&named, version);
            ClassicGroupMember::of(id.clone(), settings, assignment)
        });
        let members: Vec<ClassicGroupMember> = members.collect();
        let generation = state.epoch.epoch;
        let recorded = step.durable.get(self.id.as_str());
        let tombstones =
            recorded.map_or_else(Vec::new, |group: &DurableGroup| group.tombstones(&self.id));
        tombstones.into_iter().for_each(|record| step.write(record));
        let classic = ClassicGroup::downgraded(self.id.clone(), generation, members, step);
        self.sessions.clear();
        self.downgraded = Some(classic);
    }
}

/// The version in which a member wants its assignment.
pub(super) fn subscription_version(classic: &ClassicMember) -> i16 {
    let first = classic.protocols.first();
    let subscription = first.and_then(|protocol| Subscription::decode(&protocol.metadata));
    subscription.map_or(0, |subscription| subscription.version)
}
