//! One step of a member towards its target: give up, then move to the target's epoch, then take what is free.
//!
//! ```text
//!            target has moved, something to give up         it is no longer reported as owned
//!   Stable ─────────────────────────────────▶ Unrevoked ──────────────────────────────────┐
//!     │ ▲                                                                                 │
//!     │ └── everything it waited for is free ── Unreleased ◀── somebody else still owns ──┤
//!     └──────────────── nothing to give up ────────────────────────────────────────────────┘
//! ```
//! Keeps true: no partition is assigned to a member while another one owns it, or has yet to give it up.

use std::collections::BTreeSet;

use wire::{ErrorCode, Uuid};

use super::state::{CurrentAssignment, MemberState, PartitionEpochs, Partitions};
use crate::refusal::Refusal;

/// What a member is reconciled with.
pub(super) struct Goal<'a> {
    pub(super) epoch: i32,
    pub(super) target: &'a Partitions,
    /// The topics that the member wants; targets for others are void, as they were made for its earlier subscription.
    pub(super) subscribed: &'a BTreeSet<Uuid>,
    pub(super) has_subscription_changed: bool,
    /// What the member says it owns; `None` when it did not say.
    pub(super) owned: Option<&'a Partitions>,
}

impl CurrentAssignment {
    /// Where the member is after this step; the same when it cannot move. `is_taken` tells whether another member
    /// owns a partition.
    pub(super) fn towards(
        &self,
        goal: &Goal<'_>,
        is_taken: impl Fn(Uuid, i32) -> bool,
    ) -> Result<CurrentAssignment, Refusal> {
        match self.state {
            MemberState::Stable if self.epoch == goal.epoch => Ok(self.trimmed(goal)),
            MemberState::UnrevokedPartitions if goal.still_owns(&self.pending_revocation) => {
                Ok(self.trimmed(goal))
            }
            MemberState::Unknown if goal.owned.is_none_or(|owned| !owned.is_empty()) => {
                Err(Refusal::new(
                    ErrorCode::FencedMemberEpoch,
                    "the member is in a state that this broker does not know; it must give up its partitions and rejoin",
                ))
            }
            _ => Ok(self.next(goal, is_taken)),
        }
    }

    fn next(&self, goal: &Goal<'_>, is_taken: impl Fn(Uuid, i32) -> bool) -> CurrentAssignment {
        let wanted = |topic: Uuid, partition: i32| {
            let target = goal.target.get(&topic);
            goal.subscribed.contains(&topic) && target.is_some_and(|t| t.contains(&partition))
        };
        let (mut assigned, pending_revocation) = split(&self.assigned, wanted);
        if goal.still_owns(&pending_revocation) {
            return CurrentAssignment {
                epoch: self.epoch,
                previous_epoch: self.epoch,
                state: MemberState::UnrevokedPartitions,
                assigned,
                pending_revocation,
            };
        }
        let mut state = MemberState::Stable;
        let targets = goal
            .target
            .iter()
            .filter(|(topic, _)| goal.subscribed.contains(topic));
        for (topic, partitions) in targets {
            for &partition in partitions {
                if contains(&assigned, *topic, partition) {
                    continue;
                }
                // What it has just given up itself is free for it.
                if is_taken(*topic, partition) {
                    state = MemberState::UnreleasedPartitions;
                } else {
                    let partitions = assigned.entry(*topic).or_default();
                    partitions.insert(partition, goal.epoch);
                }
            }
        }
        CurrentAssignment {
            epoch: goal.epoch,
            previous_epoch: self.epoch,
            state,
            assigned,
            pending_revocation: PartitionEpochs::new(),
        }
    }

    /// Takes back what the member no longer subscribes to, at once rather than with the next target.
    fn trimmed(&self, goal: &Goal<'_>) -> CurrentAssignment {
        if !goal.has_subscription_changed {
            return self.clone();
        }
        let (assigned, unwanted) =
            split(&self.assigned, |topic, _| goal.subscribed.contains(&topic));
        if unwanted.is_empty() {
            return self.clone();
        }
        let mut pending_revocation = self.pending_revocation.clone();
        for (topic, partitions) in unwanted {
            pending_revocation
                .entry(topic)
                .or_default()
                .extend(partitions);
        }
        let trimmed = CurrentAssignment {
            epoch: self.epoch,
            previous_epoch: self.epoch,
            assigned,
            ..self.clone()
        };
        if goal.still_owns(&pending_revocation) {
            CurrentAssignment {
                state: MemberState::UnrevokedPartitions,
                pending_revocation,
                ..trimmed
            }
        } else {
            trimmed
        }
    }
}

impl Goal<'_> {
    /// Whether the member may still be working on some of these; a member that does not say may.
    fn still_owns(&self, partitions: &PartitionEpochs) -> bool {
        if partitions.is_empty() {
            return false;
        }
        let Some(owned) = self.owned else {
            return true;
        };
        let mut owned = owned
            .iter()
            .flat_map(|(t, ps)| ps.iter().map(move |p| (*t, *p)));
        owned.any(|(topic, partition)| contains(partitions, topic, partition))
    }
}

pub(super) fn contains(partitions: &PartitionEpochs, topic: Uuid, partition: i32) -> bool {
    partitions
        .get(&topic)
        .is_some_and(|partitions| partitions.contains_key(&partition))
}

/// Those that `keep` accepts, and the others.
fn split(
    partitions: &PartitionEpochs,
    keep: impl Fn(Uuid, i32) -> bool,
) -> (PartitionEpochs, PartitionEpochs) {
    let (mut kept, mut others) = (PartitionEpochs::new(), PartitionEpochs::new());
    for (topic, partitions) in partitions {
        for (partition, epoch) in partitions {
            let side = if keep(*topic, *partition) {
                &mut kept
            } else {
                &mut others
            };
            side.entry(*topic).or_default().insert(*partition, *epoch);
        }
    }
    (kept, others)
}
