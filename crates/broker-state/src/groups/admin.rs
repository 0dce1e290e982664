//! What administrators ask: describe, list and delete groups.

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::admission::check_group_id;
use super::command::ListFilter;
use super::ids::GroupId;
use super::live::LiveGroup;
use super::offsets::tombstone;
use super::reply::{
    DescribedConsumerGroup, DescribedGroup, GroupState, GroupType, ListedGroup, Reply,
};
use super::{GroupEffects, Groups};
use crate::refusal::Refusal;
use crate::step::{Millis, RequestId};

impl Groups {
    /// One group with its members. An unknown group is `Dead` with `GROUP_ID_NOT_FOUND`.
    pub fn describe(&self, group: &GroupId) -> DescribedGroup {
        let found = match self.live.get(group) {
            Some(LiveGroup::Classic(live)) => return live.describe(),
            // A group of another protocol is none to this request.
            Some(_) => None,
            None => self.durable.get(group.as_str()),
        };
        let found = found.filter(|found| found.group_type() == GroupType::Classic);
        let error = match found {
            _ if group.is_empty() => ErrorCode::InvalidGroupId,
            Some(_) => ErrorCode::None,
            None => ErrorCode::GroupIdNotFound,
        };
        let metadata = found.and_then(|found| found.metadata.as_ref());
        DescribedGroup {
            error,
            group: group.clone(),
            state: if found.is_some() {
                GroupState::Empty
            } else {
                GroupState::Dead
            },
            protocol_type: metadata
                .map_or_else(String::new, |metadata| metadata.protocol_type.clone()),
            protocol: String::new(),
            members: Vec::new(),
        }
    }

    /// One consumer group with its members.
    pub fn describe_consumers(&self, group: &GroupId) -> Result<DescribedConsumerGroup, Refusal> {
        let refuse = |message| Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        if group.is_empty() {
            return Err(Refusal::new(
                ErrorCode::InvalidGroupId,
                "a group has a name",
            ));
        }
        let Some(found) = self.durable.get(group.as_str()) else {
            return refuse(format!("group {group} not found"));
        };
        match &found.consumer {
            Some(state) => Ok(state.describe(group, &self.settings.consumer, &self.topics)),
            None => refuse(format!("group {group} is not a consumer group")),
        }
    }

    /// The groups that pass the filter, ordered by name.
    pub fn list(&self, filter: &ListFilter) -> Vec<ListedGroup> {
        let recorded = self
            .durable
            .iter()
            .filter(|(group, _)| !self.live.contains_key(*group));
        let recorded = recorded.map(|(group, durable)| {
            listed(
                group,
                durable.protocol_type(),
                GroupState::Empty,
                durable.group_type(),
            )
        });
        let live = self.live.iter().map(|(group, live)| {
            let state = live.state(&self.durable);
            listed(group, live.protocol_type(), state, live.group_type())
        });
        let mut groups: Vec<ListedGroup> = recorded
            .chain(live)
            .filter(|group| passes(filter, group))
            .collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups
    }

    /// How many members a group has, whatever protocol they speak.
    pub fn count_members(&self, group: &GroupId) -> usize {
        self.live.get(group).map_or(0, LiveGroup::count_members)
    }

    /// How many groups are in each state, for metrics.
    pub fn count_by_state(&self) -> BTreeMap<GroupState, usize> {
        let mut counts = BTreeMap::new();
        for group in self.list(&ListFilter::default()) {
            *counts.entry(group.state).or_default() += 1;
        }
        counts
    }

    pub(super) fn delete_groups(
        &mut self,
        now: Millis,
        request: RequestId,
        groups: Vec<GroupId>,
        effects: &mut GroupEffects,
    ) {
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            let error = self
                .delete_group(now, &group, effects)
                .err()
                .unwrap_or(ErrorCode::None);
            results.push((group, error));
        }
        effects.reply(request, Reply::DeleteGroups(results));
    }

    /// Removes a group that has no members, with its offsets and the member ids it has given out.
    fn delete_group(
        &mut self,
        now: Millis,
        id: &GroupId,
        effects: &mut GroupEffects,
    ) -> Result<(), ErrorCode> {
        check_group_id(id)?;
        if !self.exists(id) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        if self
            .live
            .get(id)
            .is_some_and(|live| live.state(&self.durable) != GroupState::Empty)
        {
            return Err(ErrorCode::NonEmptyGroup);
        }
        self.live.remove(id);
        self.deadlines.set(id, None);
        if let Some(group) = self.durable.get(id.as_str()) {
            let offsets = group.partitions_with_offsets();
            let itself = group.tombstones(id);
            let mut step = self.step(now, effects);
            for (topic, partition) in offsets {
                step.write(tombstone(id, &topic, partition));
            }
            itself.into_iter().for_each(|record| step.write(record));
        }
        Ok(())
    }
}

fn listed(
    group: &GroupId,
    protocol_type: &str,
    state: GroupState,
    group_type: GroupType,
) -> ListedGroup {
    ListedGroup {
        group: group.clone(),
        protocol_type: protocol_type.to_owned(),
        state,
        group_type,
    }
}

fn passes(filter: &ListFilter, group: &ListedGroup) -> bool {
    let among = |names: &[String], name: &str| {
        names.is_empty() || names.iter().any(|n| n.eq_ignore_ascii_case(name))
    };
    among(&filter.states, group.state.name()) && among(&filter.types, group.group_type.name())
}
