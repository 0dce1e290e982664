//! The broker's assignors: who shall have which partitions, given what everybody wants and what they had.
//!
//! Both are deterministic, and both give every partition of a topic that somebody subscribes to to exactly one of its
//! subscribers. Kafka's choose by the order of hash tables where ours choose by member id; balance and stickiness are
//! the same.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use wire::Uuid;

use super::state::Partitions;
use crate::groups::ids::{InstanceId, MemberId};

/// A server-side assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Balanced over all topics, and as much as possible stays where it is.
    Uniform,
    /// Consecutive partitions of each topic, the same numbers of all topics to the same member.
    Range,
}

/// What an assignor knows of a member.
#[derive(Clone, Debug)]
pub(super) struct Subscriber<'a> {
    pub(super) id: &'a MemberId,
    pub(super) instance_id: Option<&'a InstanceId>,
    /// Topics that exist.
    pub(super) topics: BTreeSet<Uuid>,
    /// The target it had.
    pub(super) target: Option<&'a Partitions>,
}

/// Targets by member.
pub(super) type Targets = BTreeMap<MemberId, Partitions>;

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// The name by which a member asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub fn named(name: &str) -> Option<Assignor> {
        Self::ALL
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// Targets for all subscribers; `partitions` tells how many a topic has.
    pub(super) fn assign(
        self,
        subscribers: &[Subscriber<'_>],
        partitions: impl Fn(Uuid) -> i32,
    ) -> Targets {
        match self {
            Assignor::Range => range::assign(subscribers, partitions),
            Assignor::Uniform => uniform::assign(subscribers, partitions),
        }
    }
}
