//! The producers that a partition remembers (KIP-664): who wrote last, whose transaction is open.

use wire::describe_producers;

use super::{Admin, check};
use crate::error::ClientError;

/// A producer as the leader of a partition knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProducer {
    pub producer_id: i64,
    pub epoch: i32,
    pub last_sequence: Option<i32>,
    /// The time of its last batch, in milliseconds since 1970.
    pub last_timestamp_ms: Option<i64>,
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins; readers of committed records wait there.
    pub transaction_start: Option<i64>,
}

impl Admin {
    /// The producers of one partition, as its leader knows them.
    ///
    /// # Errors
    /// `NotFound` when there is no such partition.
    pub async fn partition_producers(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<PartitionProducer>, ClientError> {
        let leader = self.leader(topic, partition).await?;
        let request = describe_producers::Request {
            topics: vec![describe_producers::Topic {
                name: topic,
                partition_indexes: vec![partition],
            }],
        };
        let reply = self.node(leader).await?.call(&request).await?;
        let answer = reply.read()?;
        let mut producers = Vec::new();
        for told in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = || format!("producers of {topic}-{partition}");
            check(told.error_code, told.error_message.as_deref(), what)?;
            producers.extend(told.active_producers.iter().map(producer));
        }
        Ok(producers)
    }
}

fn producer(told: &describe_producers::ProducerState) -> PartitionProducer {
    PartitionProducer {
        producer_id: told.producer_id,
        epoch: told.producer_epoch,
        last_sequence: Some(told.last_sequence).filter(|sequence| *sequence >= 0),
        last_timestamp_ms: Some(told.last_timestamp).filter(|ms| *ms >= 0),
        coordinator_epoch: Some(told.coordinator_epoch).filter(|epoch| *epoch >= 0),
        transaction_start: Some(told.current_txn_start_offset).filter(|offset| *offset >= 0),
    }
}
