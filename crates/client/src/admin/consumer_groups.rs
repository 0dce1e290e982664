//! Consumer groups whose partitions the broker assigns (KIP-848), with what each member has and is to have.

use std::collections::BTreeMap;

use wire::{ErrorCode, consumer_group_describe};

use super::{Admin, check, until_settled};
use crate::error::ClientError;

/// A consumer group of the new protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroup {
    pub name: String,
    pub coordinator: i32,
    pub state: String,
    /// Raised with every change of members or topics.
    pub epoch: i32,
    /// The group's epoch when the target assignment was made.
    pub assignment_epoch: i32,
    pub assignor: String,
    pub members: Vec<ConsumerMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMember {
    pub id: String,
    pub instance_id: Option<String>,
    pub rack: Option<String>,
    pub epoch: i32,
    pub client_id: String,
    pub host: String,
    pub subscribed_topics: Vec<String>,
    pub subscribed_regex: Option<String>,
    /// The partitions that it has, by topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
    /// Those that it will have once others have given them up.
    pub target: BTreeMap<String, Vec<i32>>,
    /// Whether it speaks the classic protocol; nothing where the broker does not tell.
    pub is_classic: Option<bool>,
}

impl Admin {
    /// One consumer group with its members.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name that speaks this protocol.
    pub async fn consumer_group(&mut self, name: &str) -> Result<ConsumerGroup, ClientError> {
        until_settled!(self, self.consumer_group_once(name))
    }

    async fn consumer_group_once(&mut self, name: &str) -> Result<ConsumerGroup, ClientError> {
        let coordinator = self.coordinator(name).await?;
        let request = consumer_group_describe::Request {
            group_ids: vec![name],
            ..consumer_group_describe::Request::default()
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("consumer group {name}");
        let Some(group) = answer.groups.first() else {
            let missing = ErrorCode::GroupIdNotFound;
            return Err(ClientError::refused(what(), missing, None));
        };
        check(group.error_code, group.error_message.as_deref(), what)?;
        Ok(ConsumerGroup {
            name: name.to_owned(),
            coordinator,
            state: group.group_state.to_string(),
            epoch: group.group_epoch,
            assignment_epoch: group.assignment_epoch,
            assignor: group.assignor_name.to_string(),
            members: group.members.iter().map(member).collect(),
        })
    }
}

fn member(told: &consumer_group_describe::Member<'_>) -> ConsumerMember {
    let topics = told.subscribed_topic_names.iter();
    ConsumerMember {
        id: told.member_id.to_string(),
        instance_id: told.instance_id.as_ref().map(ToString::to_string),
        rack: told.rack_id.as_ref().map(ToString::to_string),
        epoch: told.member_epoch,
        client_id: told.client_id.to_string(),
        host: told.client_host.trim_start_matches('/').to_owned(),
        subscribed_topics: topics.map(ToString::to_string).collect(),
        subscribed_regex: told
            .subscribed_topic_regex
            .as_ref()
            .map(ToString::to_string)
            .filter(|regex| !regex.is_empty()),
        partitions: assignment(&told.assignment),
        target: assignment(&told.target_assignment),
        is_classic: match told.member_type {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        },
    }
}

fn assignment(told: &consumer_group_describe::Assignment<'_>) -> BTreeMap<String, Vec<i32>> {
    let topics = told.topic_partitions.iter();
    topics
        .map(|topic| (topic.topic_name.to_string(), topic.partitions.clone()))
        .collect()
}
