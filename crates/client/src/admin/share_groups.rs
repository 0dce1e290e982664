//! Share groups (KIP-932): members, where they are in each partition, moving and forgetting that.

use std::collections::BTreeMap;

use wire::{
    ErrorCode, alter_share_group_offsets as alter, delete_share_group_offsets as delete,
    describe_share_group_offsets as offsets, share_group_describe,
};

use super::{Admin, Outcomes, TopicPartition, check, until_settled};
use crate::error::ClientError;

/// A share group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareGroup {
    pub name: String,
    pub coordinator: i32,
    pub state: String,
    /// Raised with every change of members or topics.
    pub epoch: i32,
    pub assignor: String,
    pub members: Vec<ShareGroupMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareGroupMember {
    pub id: String,
    pub rack: Option<String>,
    pub epoch: i32,
    pub client_id: String,
    pub host: String,
    pub subscribed_topics: Vec<String>,
    /// The partitions that it reads, by topic; others may read them too.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

/// Where a share group is in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareOffset {
    /// The first offset that is not done with; nothing before the group has read there.
    pub start: Option<i64>,
    pub leader_epoch: i32,
    /// How many records it has still to do; nothing where the broker does not tell.
    pub lag: Option<i64>,
}

impl Admin {
    /// One share group with its members.
    ///
    /// # Errors
    /// `NotFound` when there is no share group of that name, `NotOffered` when the cluster has none at all.
    pub async fn share_group(&mut self, name: &str) -> Result<ShareGroup, ClientError> {
        until_settled!(self, self.share_group_once(name))
    }

    async fn share_group_once(&mut self, name: &str) -> Result<ShareGroup, ClientError> {
        let coordinator = self.coordinator(name).await?;
        let request = share_group_describe::Request {
            group_ids: vec![name],
            ..share_group_describe::Request::default()
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("share group {name}");
        let Some(group) = answer.groups.first() else {
            let missing = ErrorCode::GroupIdNotFound;
            return Err(ClientError::refused(what(), missing, None));
        };
        check(group.error_code, group.error_message.as_deref(), what)?;
        Ok(ShareGroup {
            name: name.to_owned(),
            coordinator,
            state: group.group_state.to_string(),
            epoch: group.group_epoch,
            assignor: group.assignor_name.to_string(),
            members: group.members.iter().map(member).collect(),
        })
    }

    /// Where a share group is in every partition that it has read.
    pub async fn share_offsets(
        &mut self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, ShareOffset>, ClientError> {
        until_settled!(self, self.share_offsets_once(group))
    }

    async fn share_offsets_once(
        &mut self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, ShareOffset>, ClientError> {
        let coordinator = self.coordinator(group).await?;
        let request = offsets::Request {
            groups: vec![offsets::Group {
                group_id: group,
                topics: None,
            }],
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let mut found = BTreeMap::new();
        for told in &reply.read()?.groups {
            let what = || format!("offsets of share group {group}");
            check(told.error_code, told.error_message.as_deref(), what)?;
            for topic in &told.topics {
                for partition in &topic.partitions {
                    let key = (topic.topic_name.to_string(), partition.partition_index);
                    let what = || format!("offset of share group {group} in {}-{}", key.0, key.1);
                    let message = partition.error_message.as_deref();
                    check(partition.error_code, message, what)?;
                    found.insert(key, share_offset(partition));
                }
            }
        }
        Ok(found)
    }

    /// Sets where a share group without members goes on to read; what became of each partition.
    ///
    /// # Errors
    /// `Conflict` while it has members.
    pub async fn alter_share_offsets(
        &mut self,
        group: &str,
        starts: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Outcomes<TopicPartition>, ClientError> {
        until_settled!(self, self.alter_share_offsets_once(group, starts))
    }

    async fn alter_share_offsets_once(
        &mut self,
        group: &str,
        starts: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Outcomes<TopicPartition>, ClientError> {
        let coordinator = self.coordinator(group).await?;
        let mut topics: BTreeMap<&str, Vec<alter::Partition>> = BTreeMap::new();
        for ((topic, partition), start) in starts {
            topics.entry(topic).or_default().push(alter::Partition {
                partition_index: *partition,
                start_offset: *start,
            });
        }
        let topics = topics
            .into_iter()
            .map(|(topic_name, partitions)| alter::Topic {
                topic_name,
                partitions,
            });
        let request = alter::Request {
            group_id: group,
            topics: topics.collect(),
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            format!("setting offsets of share group {group}")
        })?;
        let mut outcomes = Outcomes::new();
        for topic in &answer.responses {
            for result in &topic.partitions {
                let key = (topic.topic_name.to_string(), result.partition_index);
                let what = || format!("setting the offset of {}-{}", key.0, key.1);
                let outcome = check(result.error_code, result.error_message.as_deref(), what);
                outcomes.push((key, outcome));
            }
        }
        Ok(outcomes)
    }

    /// Makes a share group without members forget topics; what became of each.
    ///
    /// # Errors
    /// `Conflict` while it has members.
    pub async fn delete_share_offsets(
        &mut self,
        group: &str,
        topics: &[&str],
    ) -> Result<Outcomes<String>, ClientError> {
        let coordinator = self.coordinator(group).await?;
        let topics = topics.iter().map(|topic_name| delete::Topic { topic_name });
        let request = delete::Request {
            group_id: group,
            topics: topics.collect(),
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            format!("deleting offsets of share group {group}")
        })?;
        let outcomes = answer.responses.iter().map(|result| {
            let what = || format!("forgetting {}", result.topic_name);
            let outcome = check(result.error_code, result.error_message.as_deref(), what);
            (result.topic_name.to_string(), outcome)
        });
        Ok(outcomes.collect())
    }
}

fn member(told: &share_group_describe::Member<'_>) -> ShareGroupMember {
    let assigned = told.assignment.topic_partitions.iter();
    ShareGroupMember {
        id: told.member_id.to_string(),
        rack: told.rack_id.as_ref().map(ToString::to_string),
        epoch: told.member_epoch,
        client_id: told.client_id.to_string(),
        host: told.client_host.trim_start_matches('/').to_owned(),
        subscribed_topics: told
            .subscribed_topic_names
            .iter()
            .map(ToString::to_string)
            .collect(),
        partitions: assigned
            .map(|topic| (topic.topic_name.to_string(), topic.partitions.clone()))
            .collect(),
    }
}

fn share_offset(told: &offsets::PartitionResponse<'_>) -> ShareOffset {
    let known = |number: i64| Some(number).filter(|number| *number >= 0);
    ShareOffset {
        start: known(told.start_offset),
        leader_epoch: told.leader_epoch,
        lag: known(told.lag),
    }
}
