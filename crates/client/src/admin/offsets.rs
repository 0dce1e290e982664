//! Offsets of partitions: first, next, by time; and the time of one record.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;
use wire::records::{RecordIter, decompress, scan_batches};
use wire::{ErrorCode, fetch, list_offsets};

use super::topics::Topic;
use super::{Admin, check, pause_or_give_up};
use crate::error::ClientError;

/// What to look up in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first offset that is still there.
    Earliest,
    /// The offset after the last record.
    Latest,
    /// The first record at or after this time in milliseconds since 1970.
    AtTime(i64),
}

impl OffsetQuery {
    /// The query as ListOffsets asks it.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            OffsetQuery::Earliest => -2,
            OffsetQuery::Latest => -1,
            OffsetQuery::AtTime(ms) => ms.max(0),
        }
    }
}

/// Offsets by topic and partition; a partition without an answer to the query is absent.
pub type Offsets = HashMap<(String, i32), i64>;

/// The last version of Fetch that names topics.
const FETCH_BY_NAME: i16 = 12;
/// Enough for one batch's header and, in most cases, all of it; the broker sends the first batch whole anyway (KIP-74).
const ONE_BATCH_BYTES: i32 = 1024;
/// The most that one decompressed batch may take.
const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;

impl Admin {
    /// Looks up every partition of `topics`, with one request to each leader; waits while leaders are being chosen.
    pub async fn list_offsets(
        &mut self,
        topics: &[Topic],
        query: OffsetQuery,
    ) -> Result<Offsets, ClientError> {
        let deadline = Instant::now() + self.cluster.timeout();
        loop {
            match self.list_offsets_once(topics, query).await {
                Ok(found) => return Ok(found),
                Err(error) => pause_or_give_up(error, deadline).await?,
            }
        }
    }

    async fn list_offsets_once(
        &mut self,
        topics: &[Topic],
        query: OffsetQuery,
    ) -> Result<Offsets, ClientError> {
        let mut found = Offsets::new();
        for (leader, by_topic) in by_leader(topics)? {
            let topics = by_topic
                .iter()
                .map(|(name, partitions)| list_offsets::Topic {
                    name,
                    partitions: partitions
                        .iter()
                        .map(|index| question(*index, query))
                        .collect(),
                });
            let request = list_offsets::Request {
                replica_id: -1,
                topics: topics.collect(),
                timeout_ms: self.timeout_ms(),
                ..list_offsets::Request::default()
            };
            let reply = self.node(leader).await?.call(&request).await?;
            collect(&reply.read()?, &mut found)?;
        }
        Ok(found)
    }

    /// The time of the first record at or after `offset`; nothing when there is none or it has no time.
    pub async fn record_timestamp(
        &mut self,
        topic: &str,
        partition: i32,
        leader: i32,
        offset: i64,
    ) -> Result<Option<i64>, ClientError> {
        let request = fetch::Request {
            replica_id: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: ONE_BATCH_BYTES,
            topics: vec![fetch::FetchTopic {
                topic,
                partitions: vec![fetch::FetchPartition {
                    partition,
                    fetch_offset: offset,
                    partition_max_bytes: ONE_BATCH_BYTES,
                    ..fetch::FetchPartition::default()
                }],
                ..fetch::FetchTopic::default()
            }],
            ..fetch::Request::default()
        };
        let reply = self
            .node(leader)
            .await?
            .call_up_to(&request, FETCH_BY_NAME)
            .await?;
        let answer = reply.read()?;
        let data = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions)
            .next();
        let Some(data) = data else { return Ok(None) };
        let what = || format!("reading {topic}-{partition} at {offset}");
        check(data.error_code, None, what)?;
        let records = data.records.to_bytes();
        Ok(records.and_then(|bytes| first_timestamp(&bytes, offset)))
    }
}

fn question(index: i32, query: OffsetQuery) -> list_offsets::Partition {
    list_offsets::Partition {
        partition_index: index,
        current_leader_epoch: -1,
        timestamp: query.timestamp(),
    }
}

type ByTopic<'a> = BTreeMap<&'a str, Vec<i32>>;

fn by_leader(topics: &[Topic]) -> Result<BTreeMap<i32, ByTopic<'_>>, ClientError> {
    let mut leaders: BTreeMap<i32, ByTopic<'_>> = BTreeMap::new();
    for topic in topics {
        for partition in &topic.partitions {
            if partition.leader < 0 {
                let what = format!("{}-{}", topic.name, partition.index);
                return Err(ClientError::refused(
                    what,
                    ErrorCode::LeaderNotAvailable,
                    None,
                ));
            }
            let by_topic = leaders.entry(partition.leader).or_default();
            by_topic
                .entry(&topic.name)
                .or_default()
                .push(partition.index);
        }
    }
    Ok(leaders)
}

fn collect(answer: &list_offsets::Response<'_>, found: &mut Offsets) -> Result<(), ClientError> {
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let what = || format!("offsets of {}-{}", topic.name, partition.partition_index);
            check(partition.error_code, None, what)?;
            if partition.offset >= 0 {
                found.insert(
                    (topic.name.to_string(), partition.partition_index),
                    partition.offset,
                );
            }
        }
    }
    Ok(())
}

/// The time of the first data record at or after `offset` in whole batches.
fn first_timestamp(bytes: &[u8], offset: i64) -> Option<i64> {
    for batch in scan_batches(bytes) {
        let (header, batch) = batch.ok()?;
        if header.is_control() || header.last_offset() < offset {
            continue;
        }
        let records = decompress(&header, batch, MAX_BATCH_BYTES).ok()?;
        let found = RecordIter::new(&header, &records)
            .map_while(Result::ok)
            .find(|record| record.offset >= offset)
            .map(|record| record.timestamp);
        if found.is_some() {
            return found.filter(|timestamp| *timestamp >= 0);
        }
    }
    None
}
