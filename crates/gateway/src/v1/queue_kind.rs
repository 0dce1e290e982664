//! What the leases of a work queue are made of, and which of it a group gets: found out from what the cluster offers and what the
//! group is already, never from what the broker is.

use client::Admin;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::ApiKey;

use super::groups_found::{self, GroupKind};
use super::queue_members::Queues;
use crate::backend::Backend;
use crate::problem::{CONFLICT, Problem};

/// The feature that share groups need (KIP-932).
const SHARE_FEATURE: &str = "share.version";

/// What leases are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseKind {
    /// The record locks of a share group, kept by the cluster; messages go out in any order.
    ShareGroup,
    /// The group's committed offsets, and leases kept by this process; messages go out in the order of their partition.
    GroupOffsets,
}

impl LeaseKind {
    pub fn name(self) -> &'static str {
        match self {
            LeaseKind::ShareGroup => "share-group",
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
    if let Some(known) = known {
        return match asked.is_none_or(|asked| asked == known) {
            true => Ok(known),
            false => Err(conflict(group, "it is used with leases of the other kind")),
        };
    }
    let mut admin = backend.admin().await?;
    let found = groups_found::kind(&mut admin, group).await?;
    let may_share = found.is_none() && asked != Some(LeaseKind::GroupOffsets);
    let is_offered = may_share && offers_share_groups(&mut admin).await?;
    decide(found, asked, is_offered).map_err(|detail| conflict(group, detail))
}

fn conflict(group: &str, detail: &str) -> Problem {
    Problem::new(CONFLICT, format!("group {group}: {detail}"))
}

/// Whether the cluster has share groups: the feature is in force, and the requests are there.
async fn offers_share_groups(admin: &mut Admin) -> Result<bool, Problem> {
    let features = admin.features().await?;
    let is_in_force = features
        .finalized
        .get(SHARE_FEATURE)
        .is_some_and(|level| *level > 0);
    let Some(broker) = admin.info().brokers.first().map(|broker| broker.id) else {
        return Ok(false);
    };
    let offered = admin.offered_apis(broker).await?;
    let is_offered = |key: ApiKey| offered.iter().any(|api| api.key == key as i16);
    Ok(is_in_force && is_offered(ApiKey::ShareFetch) && is_offered(ApiKey::ShareAcknowledge))
}

fn decide(
    found: Option<GroupKind>,
    asked: Option<LeaseKind>,
    is_offered: bool,
) -> Result<LeaseKind, &'static str> {
    use LeaseKind::{GroupOffsets, ShareGroup};
    match (found, asked) {
        (Some(GroupKind::Share), None | Some(ShareGroup)) => Ok(ShareGroup),
        (Some(GroupKind::Share), Some(GroupOffsets)) => {
            Err("it is a share group, which has no offsets")
        }
        (Some(GroupKind::Classic | GroupKind::Consumer), None | Some(GroupOffsets)) => {
            Ok(GroupOffsets)
        }
        (Some(GroupKind::Classic | GroupKind::Consumer), Some(ShareGroup)) => {
            Err("it is a consumer group; use another name for a share group")
        }
        (Some(GroupKind::Other), _) => {
            Err("nothing can be pulled from a group of its type; use another name")
        }
        (None, None | Some(ShareGroup)) if is_offered => Ok(ShareGroup),
        (None, None | Some(GroupOffsets)) => Ok(GroupOffsets),
        (None, Some(ShareGroup)) => Err("the cluster has no share groups"),
    }
}

#[cfg(test)]
mod tests {
    use super::LeaseKind::{GroupOffsets, ShareGroup};
    use super::*;

    #[test]
    fn a_new_group_shares_where_the_cluster_can_and_an_old_one_stays_what_it_is() {
        let (share, classic) = (Some(GroupKind::Share), Some(GroupKind::Classic));
        assert_eq!(decide(None, None, true), Ok(ShareGroup));
        assert_eq!(decide(None, None, false), Ok(GroupOffsets));
        assert_eq!(decide(None, Some(GroupOffsets), true), Ok(GroupOffsets));
        assert_eq!(decide(share, None, true), Ok(ShareGroup));
        assert_eq!(decide(classic, None, true), Ok(GroupOffsets));
        assert_eq!(
            decide(Some(GroupKind::Consumer), None, true),
            Ok(GroupOffsets)
        );
        assert!(decide(None, Some(ShareGroup), false).is_err());
        assert!(decide(classic, Some(ShareGroup), true).is_err());
        assert!(decide(share, Some(GroupOffsets), true).is_err());
        assert!(decide(Some(GroupKind::Other), None, true).is_err());
    }
}
