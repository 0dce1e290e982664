//! ConsumerGroupDescribe: a group with its members, where each is and where it shall be.

use std::collections::BTreeSet;

use super::state::{ConsumerState, MemberSettings, PartitionEpochs, Partitions};
use crate::groups::ids::{GroupId, MemberId, TopicName};
use crate::groups::reply::{AssignedTopic, DescribedConsumer, DescribedConsumerGroup};
use crate::groups::settings::ConsumerGroupSettings;
use crate::groups::topics::TopicsImage;

impl ConsumerState {
    pub(in crate::groups) fn describe(
        &self,
        group: &GroupId,
        settings: &ConsumerGroupSettings,
        topics: &TopicsImage,
    ) -> DescribedConsumerGroup {
        let members = self.members.iter();
        DescribedConsumerGroup {
            group: group.clone(),
            state: self.group_state(),
            epoch: self.epoch.epoch,
            assignment_epoch: self.assignment.epoch,
            assignor: self.preferred_assignor(settings).name(),
            members: members
                .map(|(id, member)| self.describe_member(id, member, topics))
                .collect(),
        }
    }

    fn describe_member(
        &self,
        id: &MemberId,
        member: &MemberSettings,
        topics: &TopicsImage,
    ) -> DescribedConsumer {
        let current = self.current_of(id);
        let mut owned = Partitions::new();
        add(&mut owned, &current.assigned);
        // It answers for them until it has given them up.
        add(&mut owned, &current.pending_revocation);
        let target = self.targets.get(id);
        DescribedConsumer {
            member_id: id.clone(),
            epoch: current.epoch,
            settings: member.clone(),
            assignment: with_names(&owned, topics),
            target: target.map_or_else(Vec::new, |target| with_names(target, topics)),
        }
    }
}

fn add(all: &mut Partitions, some: &PartitionEpochs) {
    for (topic, partitions) in some {
        all.entry(*topic).or_default().extend(partitions.keys());
    }
}

/// Topics that are gone have no name and are left out.
fn with_names(partitions: &Partitions, topics: &TopicsImage) -> Vec<AssignedTopic> {
    let named = partitions
        .iter()
        .filter_map(|(id, partitions): (_, &BTreeSet<i32>)| {
            let topic: &TopicName = topics.name(*id)?;
            Some(AssignedTopic {
                topic: topic.clone(),
                topic_id: *id,
                partitions: partitions.iter().copied().collect(),
            })
        });
    named.collect()
}
