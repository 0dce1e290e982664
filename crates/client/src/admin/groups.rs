//! Consumer groups: which there are, their members, committed offsets, resetting, deleting.

use std::collections::BTreeMap;

use tokio::time::Instant;
use wire::{
    ErrorCode, delete_groups, describe_groups, find_coordinator, list_groups, offset_commit,
    offset_fetch,
};

use super::{Admin, check, pause_or_give_up, until_settled};
use crate::error::ClientError;

/// The last version of FindCoordinator that asks for one key.
const FIND_ONE_COORDINATOR: i16 = 3;
/// The last version of OffsetFetch that asks for one group.
const FETCH_OF_ONE_GROUP: i16 = 7;
/// The last version of OffsetCommit that names topics.
const COMMIT_BY_NAME: i16 = 9;

/// What a coordinator keeps, by the number in requests; share groups are found as groups.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Coordinated {
    Group = 0,
    Transaction = 1,
}

impl Coordinated {
    fn name(self) -> &'static str {
        match self {
            Coordinated::Group => "group",
            Coordinated::Transaction => "transactional id",
        }
    }
}

/// A group as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    pub name: String,
    /// `Stable`, `Empty` …; empty when the broker does not tell.
    pub state: String,
    /// `classic`, `consumer` …; empty when the broker does not tell.
    pub kind: String,
    pub protocol_type: String,
}

/// A group with its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub state: String,
    /// The assignor, as in `range`.
    pub protocol: String,
    pub coordinator: i32,
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    /// Assigned partitions by topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

/// Committed offsets by topic and partition.
pub type Committed = BTreeMap<(String, i32), i64>;

impl Admin {
    /// The groups of all brokers, sorted by name.
    pub async fn groups(&mut self) -> Result<Vec<GroupListing>, ClientError> {
        until_settled!(self, self.groups_once())
    }

    async fn groups_once(&mut self) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = Vec::new();
        for node in self.node_ids() {
            let request = list_groups::Request::default();
            let reply = self.node(node).await?.call(&request).await?;
            let answer = reply.read()?;
            check(answer.error_code, None, || {
                format!("listing groups of broker {node}")
            })?;
            groups.extend(answer.groups.iter().map(|group| GroupListing {
                name: group.group_id.to_string(),
                state: group.group_state.to_string(),
                kind: group.group_type.to_string(),
                protocol_type: group.protocol_type.to_string(),
            }));
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups.dedup_by(|a, b| a.name == b.name);
        Ok(groups)
    }

    /// The broker that keeps the group; waits while the cluster is still choosing one.
    pub async fn coordinator(&mut self, group: &str) -> Result<i32, ClientError> {
        self.coordinator_of(Coordinated::Group, group).await
    }

    pub(crate) async fn coordinator_of(
        &mut self,
        kind: Coordinated,
        key: &str,
    ) -> Result<i32, ClientError> {
        let deadline = Instant::now() + self.cluster.timeout();
        let request = find_coordinator::Request {
            key,
            key_type: kind as i8,
            ..find_coordinator::Request::default()
        };
        loop {
            let reply = self
                .any()
                .call_up_to(&request, FIND_ONE_COORDINATOR)
                .await?;
            let answer = reply.read()?;
            let what = || format!("finding the coordinator of {} {key}", kind.name());
            let Err(error) = check(answer.error_code, answer.error_message.as_deref(), what) else {
                return Ok(answer.node_id);
            };
            pause_or_give_up(error, deadline).await?;
        }
    }

    /// One group with its members.
    ///
    /// # Errors
    /// `NotFound` when no broker knows it: brokers answer that with the state `Dead`, newer ones with an error.
    pub async fn group(&mut self, name: &str) -> Result<Group, ClientError> {
        until_settled!(self, self.group_once(name))
    }

    async fn group_once(&mut self, name: &str) -> Result<Group, ClientError> {
        let coordinator = self.coordinator(name).await?;
        let request = describe_groups::Request {
            groups: vec![name],
            ..describe_groups::Request::default()
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("group {name}");
        let Some(group) = answer
            .groups
            .first()
            .filter(|group| group.group_state != "Dead")
        else {
            return Err(ClientError::refused(
                what(),
                ErrorCode::GroupIdNotFound,
                None,
            ));
        };
        check(group.error_code, group.error_message.as_deref(), what)?;
        Ok(Group {
            name: name.to_owned(),
            state: group.group_state.to_string(),
            protocol: group.protocol_data.to_string(),
            coordinator,
            members: group.members.iter().map(member).collect(),
        })
    }

    /// The committed offsets of a group; empty for an unknown one.
    pub async fn committed(&mut self, group: &str) -> Result<Committed, ClientError> {
        until_settled!(self, self.committed_once(group))
    }

    async fn committed_once(&mut self, group: &str) -> Result<Committed, ClientError> {
        let coordinator = self.coordinator(group).await?;
        let request = offset_fetch::Request {
            group_id: group,
            topics: None,
            ..offset_fetch::Request::default()
        };
        let connection = self.node(coordinator).await?;
        let reply = connection.call_up_to(&request, FETCH_OF_ONE_GROUP).await?;
        let answer = reply.read()?;
        check(answer.error_code, None, || {
            format!("offsets of group {group}")
        })?;
        let mut committed = Committed::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let what = || format!("offset of {}-{}", topic.name, partition.partition_index);
                check(partition.error_code, None, what)?;
                if partition.committed_offset >= 0 {
                    let key = (topic.name.to_string(), partition.partition_index);
                    committed.insert(key, partition.committed_offset);
                }
            }
        }
        Ok(committed)
    }

    /// Sets offsets of a group that has no members.
    ///
    /// # Errors
    /// `Refused` with UNKNOWN_MEMBER_ID while the group has members.
    pub async fn commit(&mut self, group: &str, offsets: &Committed) -> Result<(), ClientError> {
        until_settled!(self, self.commit_once(group, offsets))
    }

    async fn commit_once(&mut self, group: &str, offsets: &Committed) -> Result<(), ClientError> {
        let coordinator = self.coordinator(group).await?;
        let mut topics: BTreeMap<&str, Vec<offset_commit::Partition<'_>>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            topics
                .entry(topic)
                .or_default()
                .push(offset_commit::Partition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    committed_metadata: Some(""),
                    ..offset_commit::Partition::default()
                });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| offset_commit::Topic {
                name,
                partitions,
                ..offset_commit::Topic::default()
            });
        let request = offset_commit::Request {
            group_id: group,
            topics: topics.collect(),
            ..offset_commit::Request::default()
        };
        let connection = self.node(coordinator).await?;
        let reply = connection.call_up_to(&request, COMMIT_BY_NAME).await?;
        for topic in &reply.read()?.topics {
            for partition in &topic.partitions {
                let what = || {
                    format!(
                        "setting the offset of {}-{}",
                        topic.name, partition.partition_index
                    )
                };
                check(partition.error_code, None, what)?;
            }
        }
        Ok(())
    }

    /// Deletes a group that has no members, with its offsets.
    pub async fn delete_group(&mut self, group: &str) -> Result<(), ClientError> {
        until_settled!(self, self.delete_group_once(group))
    }

    async fn delete_group_once(&mut self, group: &str) -> Result<(), ClientError> {
        let coordinator = self.coordinator(group).await?;
        let request = delete_groups::Request {
            groups_names: vec![group],
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        for result in &reply.read()?.results {
            check(result.error_code, None, || {
                format!("deleting group {group}")
            })?;
        }
        Ok(())
    }
}

fn member(member: &describe_groups::Member<'_>) -> Member {
    Member {
        id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.trim_start_matches('/').to_owned(),
        partitions: assignment(&member.member_assignment).unwrap_or_default(),
    }
}

/// Reads a consumer's assignment: version, then topics with their partitions, then user data that is left alone.
fn assignment(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut reader = wire::Reader::new(bytes);
    reader.i16().ok()?;
    let topics = reader
        .array::<6, _>(false, |reader| {
            let name = reader.string(false)?;
            let partitions = reader.array::<4, _>(false, |reader| reader.i32())?;
            Ok((name.to_owned(), partitions))
        })
        .ok()?;
    Some(topics.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::assignment;

    #[test]
    fn an_assignment_lists_topics_and_partitions() {
        let bytes = [
            &[0, 1][..],
            &[0, 0, 0, 1, 0, 1, b't'],
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3],
            &[0xff, 0xff, 0xff, 0xff],
        ]
        .concat();
        let assigned = assignment(&bytes).expect("a valid assignment");
        assert_eq!(assigned["t"], [0, 3]);
        assert_eq!(assignment(&[]), None);
        assert_eq!(assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
    }
}
