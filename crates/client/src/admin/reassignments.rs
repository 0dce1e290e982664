//! Partitions that move to other brokers (KIP-455): which do, beginning and stopping.

use std::collections::BTreeMap;

use wire::{alter_partition_reassignments as alter, list_partition_reassignments as list};

use super::{Admin, Outcomes, TopicPartition, by_topic, check};
use crate::error::ClientError;

/// A partition that is moving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub topic: String,
    pub partition: i32,
    /// The brokers that have it now, those of both lists below among them.
    pub replicas: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

impl Admin {
    /// The partitions that are moving, of those given or of all.
    pub async fn reassignments(
        &mut self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<Reassignment>, ClientError> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics
                .map(|(name, partition_indexes)| list::Topic {
                    name,
                    partition_indexes,
                })
                .collect()
        });
        let request = list::Request {
            timeout_ms: self.timeout_ms(),
            topics,
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            "listing moving partitions".to_owned()
        })?;
        let mut moving = Vec::new();
        for topic in &answer.topics {
            moving.extend(topic.partitions.iter().map(|partition| Reassignment {
                topic: topic.name.to_string(),
                partition: partition.partition_index,
                replicas: partition.replicas.clone(),
                adding: partition.adding_replicas.clone(),
                removing: partition.removing_replicas.clone(),
            }));
        }
        Ok(moving)
    }

    /// Gives each partition the brokers named, the preferred leader first; none stops a move that is under way.
    ///
    /// What became of each partition: accepted means begun, not done.
    pub async fn reassign(
        &mut self,
        moves: &[(TopicPartition, Option<Vec<i32>>)],
    ) -> Result<Outcomes<TopicPartition>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<alter::ReassignablePartition>> = BTreeMap::new();
        for ((topic, partition), replicas) in moves {
            topics
                .entry(topic)
                .or_default()
                .push(alter::ReassignablePartition {
                    partition_index: *partition,
                    replicas: replicas.clone(),
                });
        }
        let topics = topics.into_iter();
        let request = alter::Request {
            timeout_ms: self.timeout_ms(),
            topics: topics
                .map(|(name, partitions)| alter::ReassignableTopic { name, partitions })
                .collect(),
            ..alter::Request::default()
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            "moving partitions".to_owned()
        })?;
        let mut outcomes = Outcomes::new();
        for topic in &answer.responses {
            for result in &topic.partitions {
                let what = || format!("moving {}-{}", topic.name, result.partition_index);
                let outcome = check(result.error_code, result.error_message.as_deref(), what);
                outcomes.push(((topic.name.to_string(), result.partition_index), outcome));
            }
        }
        Ok(outcomes)
    }
}
