//! The quorum of controllers that keeps the cluster's metadata (KIP-595): who leads, who votes, how far each is.

use wire::describe_quorum;

use super::{Admin, check};
use crate::error::ClientError;

/// The log that the quorum keeps.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The quorum as its leader knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quorum {
    pub leader: Option<i32>,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub voters: Vec<QuorumReplica>,
    pub observers: Vec<QuorumReplica>,
}

/// A member of the quorum, or a broker that reads its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumReplica {
    pub id: i32,
    pub log_end_offset: Option<i64>,
    /// By the leader's clock, in milliseconds since 1970.
    pub last_fetch_ms: Option<i64>,
    pub last_caught_up_ms: Option<i64>,
}

impl Admin {
    /// The quorum of the metadata log.
    pub async fn quorum(&mut self) -> Result<Quorum, ClientError> {
        let request = describe_quorum::Request {
            topics: vec![describe_quorum::Topic {
                topic_name: METADATA_TOPIC,
                partitions: vec![describe_quorum::Partition { partition_index: 0 }],
            }],
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        let what = || "describing the quorum".to_owned();
        check(answer.error_code, answer.error_message.as_deref(), what)?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let Some(told) = partitions.next() else {
            return Ok(Quorum::default());
        };
        check(told.error_code, told.error_message.as_deref(), what)?;
        Ok(Quorum {
            leader: Some(told.leader_id).filter(|id| *id >= 0),
            leader_epoch: told.leader_epoch,
            high_watermark: told.high_watermark,
            voters: told.current_voters.iter().map(replica).collect(),
            observers: told.observers.iter().map(replica).collect(),
        })
    }
}

fn replica(told: &describe_quorum::ReplicaState) -> QuorumReplica {
    let known = |number: i64| Some(number).filter(|number| *number >= 0);
    QuorumReplica {
        id: told.replica_id,
        log_end_offset: known(told.log_end_offset),
        last_fetch_ms: known(told.last_fetch_timestamp),
        last_caught_up_ms: known(told.last_caught_up_timestamp),
    }
}
