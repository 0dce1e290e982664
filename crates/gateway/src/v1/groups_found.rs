//! A group of whatever type, described by the request that its type has. `groups.rs`, `offsets.rs` and the work queue ask here.

use client::groups::{Committed, Group, Member};
use client::{Admin, ErrorKind};

use crate::problem::Problem;

/// The types of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    Classic,
    Consumer,
    Share,
    /// One that this version does not know.
    Other,
}

impl GroupKind {
    fn of(listed: &str) -> GroupKind {
        match listed.to_ascii_lowercase().as_str() {
            "" | "classic" => GroupKind::Classic,
            "consumer" => GroupKind::Consumer,
            "share" => GroupKind::Share,
            _ => GroupKind::Other,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
            GroupKind::Share => "share",
            GroupKind::Other => "other",
        }
    }
}

/// A group, and where it goes on reading: its committed offsets, or the first offsets that a share group is not done with.
#[derive(Debug)]
pub struct FoundGroup {
    pub group: Group,
    pub kind: GroupKind,
    pub offsets: Committed,
}

/// # Errors
/// `group-not-found`; whatever keeps the cluster from answering.
pub async fn find(admin: &mut Admin, name: &str) -> Result<FoundGroup, Problem> {
    let (group, listed) = admin.find_group(name).await?;
    let kind = listed.map_or(GroupKind::Classic, |listed| GroupKind::of(&listed.kind));
    let group = match kind {
        GroupKind::Classic | GroupKind::Other => group,
        GroupKind::Consumer => consumer_group(admin, name).await?,
        GroupKind::Share => share_group(admin, name).await?,
    };
    let offsets = offsets(admin, name, kind).await?;
    Ok(FoundGroup {
        group,
        kind,
        offsets,
    })
}

/// As [`find`]; nothing for a group that does not exist.
///
/// # Errors
/// Whatever keeps the cluster from answering.
pub async fn kind(admin: &mut Admin, name: &str) -> Result<Option<GroupKind>, Problem> {
    match admin.find_group(name).await {
        Ok((_, listed)) => {
            Ok(Some(listed.map_or(GroupKind::Classic, |listed| {
                GroupKind::of(&listed.kind)
            })))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn offsets(admin: &mut Admin, name: &str, kind: GroupKind) -> Result<Committed, Problem> {
    if kind != GroupKind::Share {
        return Ok(admin.committed(name).await?);
    }
    let offsets = admin.share_offsets(name).await?;
    let started = offsets
        .into_iter()
        .filter_map(|(partition, offset)| Some((partition, offset.start?)));
    Ok(started.collect())
}

async fn consumer_group(admin: &mut Admin, name: &str) -> Result<Group, Problem> {
    let found = admin.consumer_group(name).await?;
    let members = found.members.into_iter().map(|member| Member {
        id: member.id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.host,
        partitions: member.partitions,
    });
    Ok(Group {
        members: members.collect(),
        name: found.name,
        state: found.state,
        protocol: found.assignor,
        coordinator: found.coordinator,
    })
}

async fn share_group(admin: &mut Admin, name: &str) -> Result<Group, Problem> {
    let found = admin.share_group(name).await?;
    let members = found.members.into_iter().map(|member| Member {
        id: member.id,
        instance_id: None,
        client_id: member.client_id,
        host: member.host,
        partitions: member.partitions,
    });
    Ok(Group {
        members: members.collect(),
        name: found.name,
        state: found.state,
        protocol: found.assignor,
        coordinator: found.coordinator,
    })
}
