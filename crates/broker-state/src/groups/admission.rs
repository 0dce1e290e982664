//! What a request must satisfy before its group looks at it: limits, lengths, and that the group may exist.

use wire::ErrorCode;

use super::Groups;
use super::command::{ConsumerHeartbeat, JoinGroup};
use super::consumer::{ConsumerState, MigrationPolicy, check_heartbeat, upgraded};
use super::durable::DurableGroup;
use super::ids::{GroupId, InstanceId};
use super::live::LiveGroup;
use super::records::MAX_TEXT_BYTES;
use super::reply::GroupType;
use super::settings::GroupSettings;
use crate::refusal::Refusal;

impl Groups {
    pub(super) fn check_join(&self, join: &JoinGroup) -> Result<(), ErrorCode> {
        check_group_id(&join.group)?;
        check_lengths(join, &self.settings)?;
        let sessions = self.settings.min_session_timeout..=self.settings.max_session_timeout;
        if !sessions.contains(&join.session_timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if self.group_type(&join.group) == Some(GroupType::Share) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.is_consumer_group_with_members(&join.group) {
            let migrates = self.settings.consumer.migration_policy != MigrationPolicy::Disabled;
            return if migrates {
                Ok(())
            } else {
                Err(ErrorCode::InconsistentGroupProtocol)
            };
        }
        if !self.exists(&join.group) {
            if !join.member_id.is_empty() {
                return Err(ErrorCode::UnknownMemberId);
            }
            if self.is_full() {
                return Err(ErrorCode::GroupMaxSizeReached);
            }
        }
        Ok(())
    }

    /// Whether a heartbeat makes sense, and what has to be done for there to be a consumer group for it.
    pub(super) fn check_consumer_heartbeat(
        &self,
        beat: &ConsumerHeartbeat,
    ) -> Result<Entrance, Refusal> {
        let group = &beat.group;
        check_group_id(group)
            .map_err(|error| Refusal::new(error, "the group id is empty or too long"))?;
        check_heartbeat(beat, &self.settings.consumer)?;
        let not_found = |message| Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        let joins = beat.epoch == 0;
        match self.group_type(group) {
            Some(GroupType::Consumer) => Ok(Entrance::Open),
            Some(GroupType::Classic) if joins => match self.live.get(group) {
                Some(LiveGroup::Classic(live)) if !live.is_empty() => {
                    let upgraded = upgraded(group, live, &self.settings, &self.topics);
                    upgraded.map(Entrance::Upgrade)
                }
                _ => Ok(Entrance::New),
            },
            Some(_) => not_found(format!("group {group} is not a consumer group")),
            None if !joins => not_found(format!("consumer group {group} not found")),
            None if self.is_full() => Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!("the broker has {} groups already", self.settings.max_groups),
            )),
            None => Ok(Entrance::New),
        }
    }

    pub(super) fn is_consumer_group_with_members(&self, group: &GroupId) -> bool {
        matches!(self.live.get(group), Some(LiveGroup::Consumer(_)))
    }

    pub(super) fn exists(&self, group: &GroupId) -> bool {
        self.live.contains_key(group) || self.durable.get(group.as_str()).is_some()
    }

    /// The protocol of a group that exists.
    pub(super) fn group_type(&self, group: &GroupId) -> Option<GroupType> {
        let live = self.live.get(group).map(LiveGroup::group_type);
        let durable = || self.durable.get(group.as_str());
        live.or_else(|| durable().map(DurableGroup::group_type))
    }

    /// Whether no further group may come into being.
    pub(super) fn is_full(&self) -> bool {
        let limit = self.settings.max_groups;
        // Counting exactly is only worth it near the limit, as most groups are in both maps.
        self.durable.len() + self.live.len() >= limit && {
            let only_live = self
                .live
                .keys()
                .filter(|group| self.durable.get(group.as_str()).is_none());
            self.durable.len() + only_live.count() >= limit
        }
    }
}

/// How a heartbeat finds its consumer group.
pub(super) enum Entrance {
    Open,
    /// There is none yet, or one of the classic protocol without members.
    New,
    /// A classic group becomes this one.
    Upgrade(ConsumerState),
}

pub(super) fn check_group_id(group: &GroupId) -> Result<(), ErrorCode> {
    if group.is_empty() || group.as_str().len() > MAX_TEXT_BYTES {
        return Err(ErrorCode::InvalidGroupId);
    }
    Ok(())
}

/// More assignors than any client has; comparing them grows with the square of their number.
const MAX_PROTOCOLS: usize = 100;

/// Everything that a join leaves in the group's record must fit there.
fn check_lengths(join: &JoinGroup, settings: &GroupSettings) -> Result<(), ErrorCode> {
    let texts = [
        join.instance_id.as_ref().map_or("", InstanceId::as_str),
        join.new_member_id.as_str(),
        &join.client_id,
        &join.client_host,
        &join.protocol_type,
    ];
    let names = join.protocols.iter().map(|protocol| protocol.name.as_str());
    let protocols = join.protocols.iter();
    let size: usize = protocols
        .map(|protocol| 8 + protocol.name.len() + protocol.metadata.len())
        .sum();
    let fits = texts
        .into_iter()
        .chain(names)
        .all(|text| text.len() <= MAX_TEXT_BYTES);
    let is_modest =
        join.protocols.len() <= MAX_PROTOCOLS && size <= settings.max_member_metadata_bytes;
    if fits && is_modest {
        Ok(())
    } else {
        Err(ErrorCode::InvalidRequest)
    }
}
