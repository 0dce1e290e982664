//! What provisioning found and did, topic by topic; serialized as it is by the command line and by the HTTP server.

use client::topics::{Partition, Topic};
use serde::Serialize;

use super::effective::Drift;

/// What became of a manifest.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub profile: String,
    pub brokers: usize,
    pub strict: bool,
    pub dry_run: bool,
    pub topics: Vec<TopicReport>,
    /// What was logged, in order.
    pub lines: Vec<String>,
}

/// What became of one topic.
#[derive(Debug, Clone, Serialize)]
pub struct TopicReport {
    pub topic: String,
    pub status: Status,
    pub requested_replication_factor: Option<i16>,
    /// What was asked of the cluster: fewer than requested where there are fewer brokers.
    pub replication_factor: Option<i16>,
    pub partitions: Vec<PartitionReport>,
    pub drift: Vec<Drift>,
    pub warnings: Vec<String>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Created,
    /// It was there, as it is wanted.
    Exists,
    /// It was there and differs; nothing was changed.
    Drift,
    Failed,
    /// Only in a dry run: it is not there and can be created.
    Missing,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Exists => "exists",
            Status::Drift => "drift",
            Status::Failed => "failed",
            Status::Missing => "missing",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    pub partition: i32,
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub in_sync_replicas: Vec<i32>,
}

impl Report {
    /// How many topics have this status.
    pub fn count(&self, status: Status) -> usize {
        self.topics
            .iter()
            .filter(|topic| topic.status == status)
            .count()
    }
}

impl From<&Partition> for PartitionReport {
    fn from(partition: &Partition) -> PartitionReport {
        PartitionReport {
            partition: partition.index,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            in_sync_replicas: partition.in_sync.clone(),
        }
    }
}

/// The metadata of a topic as it is logged: a line for the topic and one for each partition.
pub fn metadata_lines(topic: &Topic) -> Vec<String> {
    let ids = |ids: &[i32]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.join(", ")
    };
    let head = format!(
        "Topic: {}, Partitions: {}",
        topic.name,
        topic.partitions.len()
    );
    let partitions = topic.partitions.iter().map(|partition| {
        format!(
            "P{}: Leader={}, Replicas=[{}], ISR=[{}]",
            partition.index,
            partition.leader,
            ids(&partition.replicas),
            ids(&partition.in_sync)
        )
    });
    std::iter::once(head).chain(partitions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_logged_as_the_document_writes_it() {
        // B-004, B-015
        let partition = |index| Partition {
            index,
            leader: 1,
            replicas: vec![1],
            in_sync: vec![1],
            ..Partition::default()
        };
        let topic = Topic {
            name: "user-events".to_owned(),
            partitions: vec![partition(0), partition(1)],
            ..Topic::default()
        };
        assert_eq!(
            metadata_lines(&topic),
            [
                "Topic: user-events, Partitions: 2",
                "P0: Leader=1, Replicas=[1], ISR=[1]",
                "P1: Leader=1, Replicas=[1], ISR=[1]",
            ]
        );
    }
}
