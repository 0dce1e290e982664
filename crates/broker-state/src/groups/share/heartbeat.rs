//! ShareGroupHeartbeat: a member joins, changes its subscription, learns its partitions, leaves.

use std::collections::BTreeSet;

use wire::ErrorCode;

use super::assignor;
use super::state::{ShareChange, ShareCurrent, ShareState};
use super::{
    ShareGroup, ShareHeartbeat, ShareHeartbeatReply, ShareRefusal, ShareTimes, Step, ToInitialize,
    refused,
};
use crate::groups::consumer::{AssignmentEpoch, GroupEpoch};
use crate::groups::ids::{GroupId, MemberId, TopicName};
use crate::groups::records::MAX_TEXT_BYTES;
use crate::groups::topics::TopicsImage;

const JOINING: i32 = 0;
const LEAVING: i32 = -1;

/// What a heartbeat must satisfy before any group looks at it.
pub(super) fn check(heartbeat: &ShareHeartbeat, most_bytes: usize) -> Result<(), ShareRefusal> {
    let invalid = |message: &str| Err(refused(ErrorCode::InvalidRequest, message));
    let texts = [
        heartbeat.group.as_str(),
        heartbeat.member_id.as_str(),
        heartbeat.rack_id.as_deref().unwrap_or_default(),
        &heartbeat.client_id,
        &heartbeat.client_host,
    ];
    let topics = heartbeat.topics.iter().flatten().map(TopicName::as_str);
    if texts
        .into_iter()
        .chain(topics)
        .any(|text| text.len() > MAX_TEXT_BYTES)
    {
        return invalid("a text is longer than 32767 bytes");
    }
    let topics = heartbeat.topics.iter().flatten();
    let size: usize = topics.map(|topic| 8 + topic.as_str().len()).sum();
    if size > most_bytes {
        return invalid("the names of the subscribed topics are longer than a member's may be");
    }
    if heartbeat.group.is_empty() {
        return invalid("the group id is empty");
    }
    if heartbeat.member_id.is_empty() {
        return invalid("the member id is empty");
    }
    if heartbeat.rack_id.as_deref() == Some("") {
        return invalid("the rack id is empty");
    }
    match heartbeat.member_epoch {
        JOINING if heartbeat.topics.as_ref().is_none_or(Vec::is_empty) => {
            invalid("the first heartbeat must name the subscribed topics")
        }
        LEAVING.. => Ok(()),
        epoch => invalid(&format!("the member epoch {epoch} cannot be")),
    }
}

pub(super) fn no_group(id: &GroupId) -> ShareRefusal {
    refused(
        ErrorCode::GroupIdNotFound,
        format!("there is no share group {id}"),
    )
}

impl ShareGroup {
    pub(super) fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        heartbeat: &ShareHeartbeat,
    ) -> Result<ShareHeartbeatReply, ShareRefusal> {
        self.check_member(step, heartbeat)?;
        if heartbeat.member_epoch == LEAVING {
            self.remove(step, &heartbeat.member_id);
            return Ok(ShareHeartbeatReply {
                member_epoch: LEAVING,
                heartbeat_interval_ms: 0,
                assignment: None,
                initialize: Vec::new(),
                group_epoch: self.durable(step).epoch.epoch,
            });
        }
        let member_id = &heartbeat.member_id;
        self.update_member(step, heartbeat);
        self.update_targets(step);
        let has_changed = self.reconcile(step, member_id);
        let times = heartbeat.times.unwrap_or(ShareTimes {
            session_timeout: step.settings.share.session_timeout,
            heartbeat_interval: step.settings.share.heartbeat_interval,
        });
        let ends = step.now + times.session_timeout;
        self.sessions.insert(member_id.clone(), ends);
        let state = self.durable(step);
        let current = &state.currents[member_id];
        let is_full = heartbeat.member_epoch == JOINING || heartbeat.topics.is_some();
        let interval = times.heartbeat_interval.as_millis();
        Ok(ShareHeartbeatReply {
            member_epoch: current.epoch,
            heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
            assignment: (is_full || has_changed).then(|| current.assigned.clone()),
            initialize: to_initialize(state, step.topics),
            group_epoch: state.epoch.epoch,
        })
    }

    fn check_member(
        &self,
        step: &Step<'_>,
        heartbeat: &ShareHeartbeat,
    ) -> Result<(), ShareRefusal> {
        let id = &heartbeat.member_id;
        let state = self.durable(step);
        if !state.members.contains_key(id) {
            if heartbeat.member_epoch != JOINING {
                return Err(refused(
                    ErrorCode::UnknownMemberId,
                    format!("{id} is not a member of share group {}", self.id),
                ));
            }
            if state.members.len() >= step.settings.share.max_size {
                return Err(refused(
                    ErrorCode::GroupMaxSizeReached,
                    format!("share group {} has as many members as it may have", self.id),
                ));
            }
            return Ok(());
        }
        let known = state.currents.get(id).cloned().unwrap_or_default();
        match heartbeat.member_epoch {
            JOINING | LEAVING => Ok(()),
            epoch if epoch == known.epoch || epoch == known.previous_epoch => Ok(()),
            epoch => Err(refused(
                ErrorCode::FencedMemberEpoch,
                format!(
                    "member epoch {epoch} of {id} is neither the known one {} nor the one before; rejoin",
                    known.epoch
                ),
            )),
        }
    }

    /// Writes what the member says of itself, and a new group epoch when it asks for another assignment.
    fn update_member(&self, step: &mut Step<'_>, heartbeat: &ShareHeartbeat) {
        let state = self.durable(step);
        let before = state.members.get(&heartbeat.member_id);
        let mut member = before.cloned().unwrap_or_default();
        member.client_id = heartbeat.client_id.clone();
        member.client_host = heartbeat.client_host.clone();
        if let Some(rack_id) = &heartbeat.rack_id {
            member.rack_id = Some(rack_id.clone());
        }
        if let Some(topics) = &heartbeat.topics {
            member.topics = topics.iter().cloned().collect();
        }
        let has_resubscribed = before.is_none_or(|before| before.topics != member.topics);
        if before != Some(&member) {
            let id = heartbeat.member_id.clone();
            self.write(step, ShareChange::Member(id, Some(member)));
        }
        let state = self.durable(step);
        let metadata_hash = metadata_hash(&state.subscribed(), step.topics);
        if has_resubscribed || metadata_hash != state.epoch.metadata_hash {
            let epoch = state.epoch.epoch.saturating_add(1);
            let epoch = GroupEpoch {
                epoch,
                metadata_hash,
            };
            self.write(step, ShareChange::Group(Some(epoch)));
        }
    }

    /// Makes the targets of the group's epoch, if they are not made yet.
    fn update_targets(&self, step: &mut Step<'_>) {
        let state = self.durable(step);
        let epoch = state.epoch.epoch;
        if state.assignment.epoch >= epoch {
            return;
        }
        let targets = assignor::assign(&state.members, &state.targets, step.topics);
        let changed: Vec<_> = targets
            .into_iter()
            .filter(|(id, target)| state.targets.get(id) != Some(target))
            .collect();
        for (id, target) in changed {
            self.write(step, ShareChange::Target(id, Some(target)));
        }
        let made_at = step.now;
        let assignment = AssignmentEpoch { epoch, made_at };
        self.write(step, ShareChange::Assignment(Some(assignment)));
    }

    /// Brings the member to the targets; says whether it gets other partitions by that.
    fn reconcile(&self, step: &mut Step<'_>, id: &MemberId) -> bool {
        let state = self.durable(step);
        let before = state.currents.get(id).cloned().unwrap_or_default();
        let epoch = state.assignment.epoch;
        let assigned = state.targets.get(id).cloned().unwrap_or_default();
        if before.epoch == epoch {
            return false;
        }
        let has_changed = before.assigned != assigned;
        let current = ShareCurrent {
            epoch,
            previous_epoch: before.epoch,
            assigned,
        };
        self.write(step, ShareChange::Current(id.clone(), Some(current)));
        has_changed
    }

    /// Takes a member out; the others hear of its partitions with their next heartbeats.
    pub(super) fn remove(&mut self, step: &mut Step<'_>, id: &MemberId) {
        self.sessions.remove(id);
        let state = self.durable(step);
        let tombstones = state.tombstones_of(id);
        let epoch = GroupEpoch {
            epoch: state.epoch.epoch.saturating_add(1),
            ..state.epoch
        };
        for change in tombstones {
            self.write(step, change);
        }
        self.write(step, ShareChange::Group(Some(epoch)));
        step.departed.push((self.id.clone(), id.clone()));
    }
}

/// Changes when a subscribed topic comes, goes, grows or is made anew. FNV-1a, as it must be the same after a restart.
fn metadata_hash(topics: &BTreeSet<&TopicName>, image: &TopicsImage) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for name in topics {
        if let Some(topic) = image.get(name.as_str()) {
            take(name.as_str().as_bytes());
            take(&topic.id.0);
            take(&topic.partitions.to_be_bytes());
        }
    }
    hash.cast_signed()
}

/// The subscribed partitions that have no share partition yet.
fn to_initialize(state: &ShareState, image: &TopicsImage) -> Vec<ToInitialize> {
    let mut initialize = Vec::new();
    for name in state.subscribed() {
        let Some(topic) = image.get(name.as_str()) else {
            continue;
        };
        let known = state.initialized.get(&topic.id).map(|(_, known)| known);
        let is_known = |partition: &i32| known.is_some_and(|known| known.contains(partition));
        let partitions: Vec<i32> = (0..topic.partitions).filter(|p| !is_known(p)).collect();
        if !partitions.is_empty() {
            initialize.push(ToInitialize {
                topic_id: topic.id,
                name: name.clone(),
                partitions,
                is_from_the_beginning: known.is_some(),
            });
        }
    }
    initialize
}
