//! Transactions of a producer that was opened with `transactional.id`: what it sends between `begin` and `commit` is seen whole or not at all.

use std::time::Duration;

use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::consumer::{Consumer, Position};
use crate::error::ClientError;
use crate::producer::Producer;

impl Producer {
    /// Takes over the transactional id: fences older producers of that id and ends what they left open. Once, before the first `begin`.
    ///
    /// # Errors
    /// `TimedOut` or `Unreachable` within `limit`; `Refused` when the cluster serves no transactions.
    pub fn init_transactions(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .init_transactions(limit)
            .map_err(|error| self.error("beginning to use transactions".into(), &error))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Client` when one is under way or the producer is fenced.
    pub fn begin(&self) -> Result<(), ClientError> {
        self.inner
            .begin_transaction()
            .map_err(|error| self.error("beginning a transaction".into(), &error))
    }

    /// Adds offsets of the consumer's group to the transaction: they are committed with it or not at all. `next` are the offsets
    /// to go on from, each one after the last that was processed.
    ///
    /// # Errors
    /// `Refused` when the group has gone on without this consumer; the transaction must be aborted then.
    pub fn send_offsets(
        &self,
        consumer: &Consumer,
        topic: &str,
        next: &[Position],
        limit: Duration,
    ) -> Result<(), ClientError> {
        let what = || format!("adding offsets of {topic} to a transaction");
        let group = consumer
            .group_metadata()
            .ok_or_else(|| ClientError::Client {
                what: what(),
                reason: "the consumer has no group; give it a group.id".to_owned(),
            })?;
        let mut offsets = TopicPartitionList::with_capacity(next.len());
        for position in next {
            let offset = Offset::Offset(position.offset);
            offsets
                .add_partition_offset(topic, position.partition, offset)
                .map_err(|error| self.error(what(), &error))?;
        }
        self.inner
            .send_offsets_to_transaction(&offsets, &group, limit)
            .map_err(|error| self.error(what(), &error))
    }

    /// Waits for all deliveries and commits.
    ///
    /// # Errors
    /// As librdkafka tells; the transaction must be aborted then, or the producer given up when it was fenced.
    pub fn commit(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .commit_transaction(limit)
            .map_err(|error| self.error("committing a transaction".into(), &error))
    }

    /// Drops what is under way.
    ///
    /// # Errors
    /// As `commit`.
    pub fn abort(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .abort_transaction(limit)
            .map_err(|error| self.error("aborting a transaction".into(), &error))
    }
}
