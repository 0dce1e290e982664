//! Share groups (KIP-932): who belongs to one and which partitions its members work on.
//!
//! Unlike in a consumer group a partition has any number of members, so nothing need be given up before another one
//! gets it: a member has its target as soon as it hears of it. Source: KIP-932 and the behaviour of Apache Kafka 4.3.
//!
//! Volatile and lost at a restart: sessions, which then begin afresh. What a group has done with its records is
//! kept by `share_partitions`; the runner lets it initialize the partitions that a heartbeat's reply names before it
//! sends the reply, and release what those of `take_departed` had.

mod assignor;
mod heartbeat;
mod records;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use wire::{ErrorCode, Uuid};

use super::consumer::Partitions;
use super::ids::{GroupId, MemberId, TopicName};
use super::reply::{GroupState, GroupType, Reply};
use super::settings::GroupSettings;
use super::{GroupEffects, GroupEpoch, Groups, LiveGroup, Record, Step, admission};
use crate::step::{Millis, RequestId};

pub use state::{InitializedTopics, ShareChange, ShareCurrent, ShareMember, ShareState};

/// What is asked of share groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareCommand {
    Heartbeat(ShareHeartbeat),
    Describe(Vec<GroupId>),
    /// Which topics of a group have been initialized, and whether it has members.
    Inspect(GroupId),
    /// A group without members comes into being, unless there is one.
    Create(GroupId),
    /// These share partitions have been initialized.
    Initialized {
        group: GroupId,
        topics: Vec<(Uuid, TopicName, Vec<i32>)>,
    },
    /// The state of these topics is gone.
    Uninitialized {
        group: GroupId,
        topics: Vec<Uuid>,
    },
}

/// ShareGroupHeartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareHeartbeat {
    pub group: GroupId,
    pub member_id: MemberId,
    /// 0 to join, -1 to leave.
    pub member_epoch: i32,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// `None` when it has not changed.
    pub topics: Option<Vec<TopicName>>,
    /// The group's own, where it has been configured.
    pub times: Option<ShareTimes>,
}

/// How often a member is heard of, and how long it may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareTimes {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
}

/// What share groups answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareReply {
    Heartbeat(Result<ShareHeartbeatReply, ShareRefusal>),
    Describe(Vec<DescribedShareGroup>),
    Inspect(Result<InspectedShareGroup, ErrorCode>),
    Done(ErrorCode),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareHeartbeatReply {
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// `None` when it has not changed.
    pub assignment: Option<Partitions>,
    /// What has to be initialized before the reply is sent.
    pub initialize: Vec<ToInitialize>,
    pub group_epoch: i32,
}

/// Partitions of a topic whose share partitions have not been initialized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToInitialize {
    pub topic_id: Uuid,
    pub name: TopicName,
    pub partitions: Vec<i32>,
    /// Partitions that a known topic has grown by are read from their beginning.
    pub is_from_the_beginning: bool,
}

/// Why a heartbeat is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRefusal {
    pub error: ErrorCode,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedShareGroup {
    pub has_members: bool,
    pub epoch: i32,
    pub initialized: InitializedTopics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedShareGroup {
    pub group: GroupId,
    pub error: ErrorCode,
    pub message: Option<String>,
    pub state: GroupState,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub members: Vec<DescribedShareMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedShareMember {
    pub id: MemberId,
    pub epoch: i32,
    pub settings: ShareMember,
    pub assigned: Vec<(Uuid, TopicName, Vec<i32>)>,
}

/// The only assignor there is.
pub const SHARE_ASSIGNOR: &str = "simple";

/// What a restart forgets of a share group: until when each member is waited for.
#[derive(Debug)]
pub(super) struct ShareGroup {
    id: GroupId,
    sessions: BTreeMap<MemberId, Millis>,
}

impl ShareGroup {
    pub(super) fn empty(id: GroupId) -> Self {
        Self {
            id,
            sessions: BTreeMap::new(),
        }
    }

    /// A recorded group after a restart: every member has a fresh session.
    pub(super) fn recorded(
        id: GroupId,
        state: &ShareState,
        now: Millis,
        settings: &GroupSettings,
    ) -> Self {
        let ends = now + settings.share.session_timeout;
        let sessions = state.members.keys().map(|id| (id.clone(), ends)).collect();
        Self { id, sessions }
    }

    pub(super) fn state(&self) -> GroupState {
        match self.sessions.is_empty() {
            true => GroupState::Empty,
            false => GroupState::Stable,
        }
    }

    pub(super) fn count_members(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.sessions.values().min().copied()
    }

    /// Takes out the members that have not been heard of.
    pub(super) fn tick(&mut self, step: &mut Step<'_>) {
        let late = |ends: &Millis| *ends <= step.now;
        let late: Vec<MemberId> = self
            .sessions
            .iter()
            .filter(|(_, ends)| late(ends))
            .map(|(id, _)| id.clone())
            .collect();
        for member in late {
            self.remove(step, &member);
        }
    }

    /// Writes what `change` says of this group.
    fn write(&self, step: &mut Step<'_>, change: ShareChange) {
        step.write(Record::Share {
            group: self.id.clone(),
            change,
        });
    }

    fn durable<'a>(&self, step: &'a Step<'_>) -> &'a ShareState {
        static NOTHING: ShareState = ShareState {
            epoch: GroupEpoch {
                epoch: 0,
                metadata_hash: 0,
            },
            assignment: super::AssignmentEpoch {
                epoch: 0,
                made_at: Millis(0),
            },
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            currents: BTreeMap::new(),
            initialized: BTreeMap::new(),
        };
        let group = step.durable.get(self.id.as_str());
        group
            .and_then(|group| group.share.as_ref())
            .unwrap_or(&NOTHING)
    }
}

impl Groups {
    /// The members that have left share groups since the last call; what they had acquired is to be released.
    pub fn take_departed(&mut self) -> Vec<(GroupId, MemberId)> {
        std::mem::take(&mut self.departed)
    }

    pub(super) fn handle_share(
        &mut self,
        now: Millis,
        request: RequestId,
        command: ShareCommand,
        effects: &mut GroupEffects,
    ) {
        let reply = match command {
            ShareCommand::Heartbeat(heartbeat) => {
                ShareReply::Heartbeat(self.share_heartbeat(now, &heartbeat, effects))
            }
            ShareCommand::Describe(groups) => {
                ShareReply::Describe(groups.iter().map(|id| self.describe_share(id)).collect())
            }
            ShareCommand::Inspect(group) => ShareReply::Inspect(self.inspect_share(&group)),
            ShareCommand::Create(group) => {
                ShareReply::Done(self.create_share(now, &group, effects))
            }
            ShareCommand::Initialized { group, topics } => {
                ShareReply::Done(self.share_initialized(now, &group, topics, effects))
            }
            ShareCommand::Uninitialized { group, topics } => {
                ShareReply::Done(self.share_uninitialized(now, &group, &topics, effects))
            }
        };
        effects.reply(request, Reply::Share(reply));
    }

    fn share_heartbeat(
        &mut self,
        now: Millis,
        heartbeat: &ShareHeartbeat,
        effects: &mut GroupEffects,
    ) -> Result<ShareHeartbeatReply, ShareRefusal> {
        heartbeat::check(heartbeat, self.settings.max_member_metadata_bytes)?;
        let id = &heartbeat.group;
        match self.group_type(id) {
            Some(GroupType::Share) => {}
            None if heartbeat.member_epoch != 0 => return Err(heartbeat::no_group(id)),
            None if self.is_full() => {
                return Err(refused(
                    ErrorCode::GroupMaxSizeReached,
                    "the broker has as many groups as it may have",
                ));
            }
            None => {}
            Some(_) => return Err(heartbeat::no_group(id)),
        }
        self.live
            .entry(id.clone())
            .or_insert_with(|| LiveGroup::Share(ShareGroup::empty(id.clone())));
        let mut answer = None;
        self.with_live(now, id, effects, |group, step| {
            if let LiveGroup::Share(group) = group {
                answer = Some(group.heartbeat(step, heartbeat));
            }
        });
        answer.expect("the group is a share group")
    }

    fn share_state(&self, group: &GroupId) -> Option<&ShareState> {
        self.durable.get(group.as_str())?.share.as_ref()
    }

    fn inspect_share(&self, group: &GroupId) -> Result<InspectedShareGroup, ErrorCode> {
        admission::check_group_id(group)?;
        let state = self.share_state(group).ok_or(ErrorCode::GroupIdNotFound)?;
        Ok(InspectedShareGroup {
            has_members: !state.members.is_empty(),
            epoch: state.epoch.epoch,
            initialized: state.initialized.clone(),
        })
    }

    fn create_share(&mut self, now: Millis, id: &GroupId, effects: &mut GroupEffects) -> ErrorCode {
        if let Err(error) = admission::check_group_id(id) {
            return error;
        }
        match self.group_type(id) {
            Some(GroupType::Share) => ErrorCode::None,
            Some(_) => ErrorCode::GroupIdNotFound,
            None if self.is_full() => ErrorCode::GroupMaxSizeReached,
            None => {
                let epoch = GroupEpoch {
                    epoch: 1,
                    metadata_hash: 0,
                };
                self.step(now, effects).write(Record::Share {
                    group: id.clone(),
                    change: ShareChange::Group(Some(epoch)),
                });
                ErrorCode::None
            }
        }
    }

    fn describe_share(&self, id: &GroupId) -> DescribedShareGroup {
        let Some(state) = self.share_state(id) else {
            return DescribedShareGroup {
                group: id.clone(),
                error: ErrorCode::GroupIdNotFound,
                message: Some(format!("group {id} is not a share group")),
                state: GroupState::Dead,
                epoch: 0,
                assignment_epoch: 0,
                members: Vec::new(),
            };
        };
        let members = state
            .members
            .iter()
            .map(|(member, settings)| self.describe_member(state, member, settings));
        DescribedShareGroup {
            group: id.clone(),
            error: ErrorCode::None,
            message: None,
            state: state.group_state(),
            epoch: state.epoch.epoch,
            assignment_epoch: state.assignment.epoch,
            members: members.collect(),
        }
    }

    fn describe_member(
        &self,
        state: &ShareState,
        id: &MemberId,
        settings: &ShareMember,
    ) -> DescribedShareMember {
        let current = state.currents.get(id).cloned().unwrap_or_default();
        let named = |(topic, partitions): (&Uuid, &std::collections::BTreeSet<i32>)| {
            let name = self.topics.name(*topic)?.clone();
            Some((*topic, name, partitions.iter().copied().collect()))
        };
        DescribedShareMember {
            id: id.clone(),
            epoch: current.epoch,
            settings: settings.clone(),
            assigned: current.assigned.iter().filter_map(named).collect(),
        }
    }

    fn share_initialized(
        &mut self,
        now: Millis,
        group: &GroupId,
        topics: Vec<(Uuid, TopicName, Vec<i32>)>,
        effects: &mut GroupEffects,
    ) -> ErrorCode {
        let Some(state) = self.share_state(group) else {
            return ErrorCode::GroupIdNotFound;
        };
        let mut initialized = state.initialized.clone();
        for (id, name, partitions) in topics {
            let topic = initialized.entry(id).or_insert((name, Default::default()));
            topic.1.extend(partitions);
        }
        self.write_initialized(now, group, initialized, effects)
    }

    fn share_uninitialized(
        &mut self,
        now: Millis,
        group: &GroupId,
        topics: &[Uuid],
        effects: &mut GroupEffects,
    ) -> ErrorCode {
        let Some(state) = self.share_state(group) else {
            return ErrorCode::GroupIdNotFound;
        };
        let mut initialized = state.initialized.clone();
        initialized.retain(|id, _| !topics.contains(id));
        self.write_initialized(now, group, initialized, effects)
    }

    /// Forgets deleted topics; their share partitions are gone, too.
    pub(super) fn share_topics_deleted(
        &mut self,
        now: Millis,
        topics: &[Uuid],
        effects: &mut GroupEffects,
    ) {
        let with_share = self.durable.iter().filter(|(_, group)| {
            let share = group.share.as_ref();
            share.is_some_and(|share| topics.iter().any(|id| share.initialized.contains_key(id)))
        });
        let groups: Vec<GroupId> = with_share.map(|(id, _)| id.clone()).collect();
        for group in groups {
            self.share_uninitialized(now, &group, topics, effects);
        }
    }

    fn write_initialized(
        &mut self,
        now: Millis,
        group: &GroupId,
        initialized: InitializedTopics,
        effects: &mut GroupEffects,
    ) -> ErrorCode {
        if self.share_state(group).map(|state| &state.initialized) != Some(&initialized) {
            let group = group.clone();
            let change = ShareChange::Initialized(Some(initialized));
            self.step(now, effects)
                .write(Record::Share { group, change });
        }
        ErrorCode::None
    }
}

fn refused(error: ErrorCode, message: impl Into<String>) -> ShareRefusal {
    ShareRefusal {
        error,
        message: message.into(),
    }
}
