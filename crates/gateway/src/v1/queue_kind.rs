//! What the leases of a work queue are made of, and which of it a group gets: found out from what the cluster offers and what the
//! group is already, never from what the broker is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::groups_found::{self, GroupKind};
use super::queue_members::Queues;
use crate::backend::Backend;
use crate::problem::{CONFLICT, Problem};

/// What leases are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseKind {
    /// The group's committed offsets, and leases kept by this process; messages go out in the order of their partition.
    GroupOffsets,
}

impl LeaseKind {
    pub fn name(self) -> &'static str {
        match self {
            LeaseKind::GroupOffsets => "group-offsets",
        }
    }
}

/// What the leases of `group` are made of.
///
/// # Errors
/// `conflict` when the group is of another type than was asked for; whatever keeps the cluster from answering.
pub async fn choose(
    queues: &Queues,
    backend: &Backend,
    group: &str,
    asked: Option<LeaseKind>,
) -> Result<LeaseKind, Problem> {
    let known = queues.kind_in_use(group);
    if let Some(known) = known.filter(|known| asked.is_none_or(|asked| asked == *known)) {
        return Ok(known);
    }
    let mut admin = backend.admin().await?;
    let found = groups_found::kind(&mut admin, group).await?;
    decide(found, asked)
        .map_err(|detail| Problem::new(CONFLICT, format!("group {group}: {detail}")))
}

fn decide(found: Option<GroupKind>, asked: Option<LeaseKind>) -> Result<LeaseKind, &'static str> {
    match (found, asked) {
        (Some(GroupKind::Share | GroupKind::Other), _) => {
            Err("it is no consumer group; use another name")
        }
        (_, _) => Ok(LeaseKind::GroupOffsets),
    }
}
