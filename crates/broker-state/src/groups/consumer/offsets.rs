//! Who may commit and fetch offsets of a consumer group: members at their epoch (KIP-848, KIP-1251).

use wire::{ErrorCode, Uuid};

use super::ConsumerGroup;
use super::state::{ConsumerState, CurrentAssignment};
use crate::groups::command::CommitOffsets;
use crate::groups::durable::DurableGroups;
use crate::groups::ids::MemberId;

/// What a commit may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::groups) enum CommitAdmission {
    Everything,
    /// The member is behind: it may commit what it has had since before the epoch that it knows.
    HeldSince {
        epoch: i32,
        current: CurrentAssignment,
        otherwise: ErrorCode,
    },
}

impl CommitAdmission {
    pub(in crate::groups) fn check(&self, topic: Uuid, partition: i32) -> Result<(), ErrorCode> {
        let CommitAdmission::HeldSince {
            epoch,
            current,
            otherwise,
        } = self
        else {
            return Ok(());
        };
        let held = [&current.assigned, &current.pending_revocation];
        let mut held = held
            .into_iter()
            .filter_map(|topics| topics.get(&topic)?.get(&partition));
        match held.next() {
            Some(since) if epoch >= since => Ok(()),
            _ => Err(*otherwise),
        }
    }
}

impl ConsumerGroup {
    /// Checks who commits.
    pub(in crate::groups) fn check_commit(
        &self,
        commit: &CommitOffsets,
        durable: &DurableGroups,
    ) -> Result<CommitAdmission, ErrorCode> {
        let state = self.durable(durable).ok_or(ErrorCode::UnknownMemberId)?;
        let epoch = commit.generation.0;
        if epoch < 0 && state.members.is_empty() {
            return Ok(CommitAdmission::Everything);
        }
        let member = state.members.get(&commit.member_id);
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        let is_classic = member.classic.is_some();
        if !is_classic && !commit.knows_member_epochs {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let current = state.current_of(&commit.member_id);
        let otherwise = stale(is_classic);
        match epoch.cmp(&current.epoch) {
            std::cmp::Ordering::Equal => Ok(CommitAdmission::Everything),
            std::cmp::Ordering::Greater => Err(otherwise),
            std::cmp::Ordering::Less => Ok(CommitAdmission::HeldSince {
                epoch,
                current,
                otherwise,
            }),
        }
    }
}

impl ConsumerState {
    /// Checks who fetches offsets, where the request says so.
    pub(in crate::groups) fn check_fetch(
        &self,
        member: Option<&MemberId>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        let Some(id) = member else {
            return if epoch < 0 {
                Ok(())
            } else {
                Err(ErrorCode::UnknownMemberId)
            };
        };
        let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
        if self.current_of(id).epoch == epoch {
            Ok(())
        } else {
            Err(stale(member.classic.is_some()))
        }
    }
}

fn stale(is_classic: bool) -> ErrorCode {
    if is_classic {
        ErrorCode::IllegalGeneration
    } else {
        ErrorCode::StaleMemberEpoch
    }
}
