//! A consumer: by assignment (a plain reader) or by subscription (a member of a group).

use std::time::Duration;

use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata,
};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{Message, Timestamp};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::librdkafka::{self, Context, LastProblem};

/// Where to start reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// What a poll gives.
pub enum Event<'a> {
    Record(IncomingRecord<'a>),
    /// Everything that was there in this partition has been read (only with `enable.partition.eof`).
    EndOfPartition(i32),
}

/// A record as it came; borrowed from the consumer.
pub struct IncomingRecord<'a>(BorrowedMessage<'a>);

impl IncomingRecord<'_> {
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    pub fn partition(&self) -> i32 {
        self.0.partition()
    }

    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    pub fn timestamp_ms(&self) -> Option<i64> {
        match self.0.timestamp() {
            Timestamp::NotAvailable => None,
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
        }
    }

    /// Headers in order; a key may occur more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key, header.value))
    }
}

struct Plain;

impl ConsumerContext for Context<Plain> {}

/// A consumer that is polled by one thread.
pub struct Consumer {
    inner: BaseConsumer<Context<Plain>>,
    cluster: Cluster,
    last_problem: LastProblem,
}

impl Consumer {
    pub(crate) fn open(
        cluster: &Cluster,
        properties: &[(&str, &str)],
    ) -> Result<Consumer, ClientError> {
        let last_problem = LastProblem::default();
        let mut config = librdkafka::config(cluster, properties)?;
        if config.get("group.id").is_none() {
            // librdkafka wants a group even from a plain reader; nothing is committed under this name.
            config.set("group.id", "thalweg-reader");
            config.set("enable.auto.commit", "false");
        }
        let context = Context::new(cluster, last_problem.clone(), Plain);
        let inner = config.create_with_context(context).map_err(|error| {
            librdkafka::error("setting up a consumer", &error, cluster, &last_problem)
        })?;
        Ok(Consumer {
            inner,
            cluster: cluster.clone(),
            last_problem,
        })
    }

    /// Reads the given partitions of `topic` from the given offsets, outside any group.
    pub fn assign(&self, topic: &str, positions: &[Position]) -> Result<(), ClientError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            list.add_partition_offset(topic, position.partition, Offset::from_raw(position.offset))
                .map_err(|error| self.error(format!("reading {topic}"), &error))?;
        }
        self.inner
            .assign(&list)
            .map_err(|error| self.error(format!("reading {topic}"), &error))
    }

    /// Joins the group named by the `group.id` property.
    pub fn subscribe(&self, topics: &[&str]) -> Result<(), ClientError> {
        self.inner
            .subscribe(topics)
            .map_err(|error| self.error(format!("subscribing to {}", topics.join(", ")), &error))
    }

    /// The partitions that this consumer reads now.
    pub fn assigned_partitions(&self) -> Vec<i32> {
        self.inner.assignment().map_or_else(
            |_| Vec::new(),
            |list| list.elements().iter().map(|e| e.partition()).collect(),
        )
    }

    /// The next event, or nothing within `limit`.
    ///
    /// # Errors
    /// What librdkafka gives up on; connection problems it retries are not errors here (see [`Consumer::last_problem`]).
    pub fn poll(&self, limit: Duration) -> Result<Option<Event<'_>>, ClientError> {
        match self.inner.poll(limit) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(Event::Record(IncomingRecord(message)))),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                Ok(Some(Event::EndOfPartition(partition)))
            }
            Some(Err(error)) => {
                let error = self.error("reading".into(), &error);
                match error {
                    ClientError::Unreachable { .. } => Ok(None),
                    error => Err(error),
                }
            }
        }
    }

    /// The last connection problem, for a caller that waits in vain.
    pub fn last_problem(&self) -> Option<String> {
        self.last_problem.get()
    }

    /// Marks the record as processed: the next commit covers it.
    pub fn store(&self, record: &IncomingRecord<'_>) -> Result<(), ClientError> {
        self.inner
            .store_offset_from_message(&record.0)
            .map_err(|error| self.error("marking a record as processed".into(), &error))
    }

    /// Commits what was stored and waits for the answer; nothing stored is no error.
    pub fn commit(&self) -> Result<(), ClientError> {
        use rdkafka::error::RDKafkaErrorCode::NoOffset;
        match self.inner.commit_consumer_state(CommitMode::Sync) {
            Err(error) if error.rdkafka_error_code() != Some(NoOffset) => {
                Err(self.error("committing offsets".into(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Who this consumer is in its group, for offsets that a transaction commits.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.inner.group_metadata()
    }

    fn error(&self, what: String, error: &KafkaError) -> ClientError {
        librdkafka::error(what, error, &self.cluster, &self.last_problem)
    }
}
