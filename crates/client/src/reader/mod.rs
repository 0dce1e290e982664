//! Reads records by position, without a group and without keeping anything between two calls but connections and leaders.
//!
//! Each call names where it reads from and gets where to go on, so any number of callers share one [`Reader`], and any process
//! can continue what another began. Requests go over `wire` to the leaders of the partitions; leaders are remembered and looked
//! up again when a broker says that it is not one. The HTTP gateway reads and tails topics with it.

mod connections;
mod records;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wire::{ErrorCode, fetch, list_offsets};

pub(crate) use connections::Connections;
use connections::Exchange;
pub(crate) use records::{Received, read_all};
pub(crate) use topics::{KnownTopic, Topics};

use crate::admin::offsets::OffsetQuery;
use crate::admin::topics::Topic;
use crate::admin::{check, pause_or_give_up};
use crate::cluster::Cluster;
use crate::consumer::Position;
use crate::error::ClientError;

/// How old a topic's metadata may be when a caller asks for the topic itself.
const FRESH: Duration = Duration::from_secs(1);
/// How old it may be when it only serves to find leaders: a broker that is no leader says so.
const KNOWN_LEADERS: Duration = Duration::from_secs(300);
/// The pause before leaders are looked up again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// The longest of the waits that several leaders are asked for at once; see [`Reader::fetch_from_all`].
const SHARED_WAIT: Duration = Duration::from_secs(1);
/// The last version of Fetch that names topics.
const FETCH_BY_NAME: i16 = 12;
/// The least of a partition's share of an answer.
const LEAST_PARTITION_BYTES: usize = 16 * 1024;

/// How much to read and how long to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// How many bytes to answer, as they are stored; a first batch that is larger is still given (KIP-74).
    pub max_bytes: usize,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// How many bytes to wait for.
    pub min_bytes: usize,
    pub isolation: Isolation,
}

impl Default for FetchLimits {
    /// A mebibyte of what is there now, aborted transactions left out.
    fn default() -> FetchLimits {
        FetchLimits {
            max_bytes: 1024 * 1024,
            max_wait: Duration::ZERO,
            min_bytes: 1,
            isolation: Isolation::ReadCommitted,
        }
    }
}

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All that are stored.
    ReadUncommitted,
    /// Only those of committed transactions; reading stops at the first open one.
    ReadCommitted,
}

/// What was read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    pub partition: i32,
    pub records: Vec<Record>,
    /// Where to go on: past control records and aborted transactions, too.
    pub next_offset: i64,
    /// The offset after the last record that may be read; -1 when the leader did not say.
    pub high_watermark: i64,
    /// The first offset of the earliest open transaction, or the high watermark; -1 when the leader did not say.
    pub last_stable_offset: i64,
    /// The first offset that is still there; -1 when the leader did not say.
    pub log_start_offset: i64,
    /// Why nothing was read, as when the offset is out of range.
    pub error: Option<ErrorCode>,
}

impl FetchedPartition {
    fn of(position: Position, error: Option<ErrorCode>) -> FetchedPartition {
        FetchedPartition {
            partition: position.partition,
            records: Vec::new(),
            next_offset: position.offset,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            error,
        }
    }
}

/// A record with its place. Its bytes are slices of what was received or decompressed: keeping one record keeps its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since 1970; negative when it has no time.
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// In order; a name may come more than once, and what is not UTF-8 in it is replaced.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Reads a cluster's topics by position; clones share connections and what is known of leaders.
#[derive(Clone)]
pub struct Reader {
    cluster: Cluster,
    connections: Arc<Connections>,
    topics: Arc<Topics>,
}

impl Reader {
    pub(crate) fn new(cluster: &Cluster) -> Reader {
        let connections = Arc::new(Connections::new(cluster));
        Reader {
            cluster: cluster.clone(),
            connections: Arc::clone(&connections),
            topics: Arc::new(Topics::new(cluster, connections)),
        }
    }

    /// A topic as it was at most a second ago; a missing one is refused and never created.
    ///
    /// # Errors
    /// `Refused` with UNKNOWN_TOPIC_OR_PARTITION; `Unreachable` when no broker answers.
    pub async fn topic(&self, name: &str) -> Result<Topic, ClientError> {
        Ok(self.topics.get(name, FRESH).await?.topic.clone())
    }

    /// Forgets what is known of a topic, for a caller that has just created, extended or deleted it.
    pub fn forget(&self, name: &str) {
        self.topics.forget(name);
    }

    /// Looks up every partition of a topic; one without an answer to the query is absent. Waits while leaders are being chosen.
    ///
    /// # Errors
    /// `Refused` when there is no such topic or no leader within the cluster's time limit; `Unreachable` when none answers.
    pub async fn offsets(
        &self,
        topic: &str,
        query: OffsetQuery,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let deadline = Instant::now() + self.cluster.timeout();
        loop {
            let known = self.topics.get(topic, KNOWN_LEADERS).await?;
            match self.offsets_once(&known, query).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.topics.forget(topic);
                    pause_or_give_up(error, deadline).await?;
                }
            }
        }
    }

    async fn offsets_once(
        &self,
        known: &KnownTopic,
        query: OffsetQuery,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let mut found = BTreeMap::new();
        let everything = known.topic.partitions.iter().map(|partition| Position {
            partition: partition.index,
            offset: query.timestamp(),
        });
        let everything: Vec<Position> = everything.collect();
        let plan = Plan::new(known, &everything);
        if let Some(refused) = plan.refused.first() {
            let what = format!("offsets of {}-{}", known.topic.name, refused.partition);
            let code = refused.error.unwrap_or(ErrorCode::LeaderNotAvailable);
            return Err(ClientError::refused(what, code, None));
        }
        for (leader, positions) in plan.by_leader {
            let address = self.topics.address(leader)?;
            let mut connection = self.connections.get(&address, Exchange::Brief).await?;
            let reply = connection
                .call(&offsets_request(&known.topic.name, &positions))
                .await?;
            let answer = reply.read()?;
            for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let index = partition.partition_index;
                let what = || format!("offsets of {}-{index}", known.topic.name);
                check(partition.error_code, None, what)?;
                if partition.offset >= 0 {
                    found.insert(index, partition.offset);
                }
            }
        }
        Ok(found)
    }

    /// Reads from each position, whose partitions are all different; the answer has them in the same order.
    ///
    /// Waits until `min_bytes` are there at one leader or `max_wait` is over. Leaders that change meanwhile are followed for as
    /// long as the cluster's time limit.
    ///
    /// # Errors
    /// `Refused` when there is no such topic, `Unreachable` when a leader does not answer, `Busy` when all connections to it
    /// are in use. What concerns one partition only is its `error`.
    pub async fn fetch(
        &self,
        topic: &str,
        from: &[Position],
        limits: FetchLimits,
    ) -> Result<Vec<FetchedPartition>, ClientError> {
        let started = Instant::now();
        let mut from = from.to_vec();
        loop {
            let known = self.known(topic, &from).await?;
            let wait = limits.max_wait.saturating_sub(started.elapsed());
            let outcome = self.fetch_once(&known, &from, &limits, wait).await;
            let patience = match &outcome {
                Ok(fetched)
                    if fetched
                        .iter()
                        .any(|partition| !partition.records.is_empty()) =>
                {
                    return self.with_ends(topic, known.without_moving(outcome?)).await;
                }
                Ok(fetched) if fetched.iter().any(|partition| known.is_moving(partition)) => {
                    self.cluster.timeout()
                }
                // Only aborted transactions were there: what comes after them may be worth the rest of the wait.
                Ok(fetched) if !wait.is_zero() && go_on(&mut from, fetched) => continue,
                // Another may have taken the place of a leader that does not answer, but its caller should not wait for long.
                Err(ClientError::Unreachable { .. }) => 2 * RETRY_PAUSE,
                Ok(_) => return self.with_ends(topic, outcome?).await,
                Err(_) => return outcome,
            };
            self.topics.forget(topic);
            if started.elapsed() + RETRY_PAUSE >= patience {
                return outcome;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Adds where the partitions begin and end that a position was outside of: Kafka's leaders refuse without saying it.
    async fn with_ends(
        &self,
        topic: &str,
        mut fetched: Vec<FetchedPartition>,
    ) -> Result<Vec<FetchedPartition>, ClientError> {
        if !fetched.iter().any(is_beyond_unknown_ends) {
            return Ok(fetched);
        }
        let starts = self.offsets(topic, OffsetQuery::Earliest).await?;
        let ends = self.offsets(topic, OffsetQuery::Latest).await?;
        let beyond = fetched.iter_mut();
        for partition in beyond.filter(|partition| is_beyond_unknown_ends(partition)) {
            let of = |offsets: &BTreeMap<i32, i64>| offsets.get(&partition.partition).copied();
            partition.log_start_offset = of(&starts).unwrap_or(-1);
            partition.high_watermark = of(&ends).unwrap_or(-1);
        }
        Ok(fetched)
    }

    /// What is known of a topic; looked up again when it lacks one of the partitions.
    async fn known(&self, topic: &str, from: &[Position]) -> Result<Arc<KnownTopic>, ClientError> {
        let known = self.topics.get(topic, KNOWN_LEADERS).await?;
        match from.iter().all(|position| known.has(position.partition)) {
            true => Ok(known),
            false => self.topics.look_up(topic).await,
        }
    }

    async fn fetch_once(
        &self,
        known: &Arc<KnownTopic>,
        from: &[Position],
        limits: &FetchLimits,
        wait: Duration,
    ) -> Result<Vec<FetchedPartition>, ClientError> {
        let plan = Plan::new(known, from);
        let wait = match plan.refused.is_empty() {
            true => wait,
            false => Duration::ZERO,
        };
        let mut fetched = plan.refused;
        fetched.extend(match plan.by_leader.len() {
            0 => Vec::new(),
            1 => {
                let (leader, positions) = plan.by_leader.into_iter().next().expect("counted");
                self.fetch_from(leader, known, &positions, limits, wait)
                    .await?
            }
            _ => {
                self.fetch_from_all(plan.by_leader, known, limits, wait)
                    .await?
            }
        });
        let of = |position: &Position| {
            let found = fetched
                .iter()
                .position(|p| p.partition == position.partition);
            found.map_or_else(
                || FetchedPartition::of(*position, None),
                |index| {
                    std::mem::replace(&mut fetched[index], FetchedPartition::of(*position, None))
                },
            )
        };
        Ok(from.iter().map(of).collect())
    }

    /// Asks several leaders: first for what is there, then for what comes, in waits of at most a second.
    ///
    /// The first leader with records ends the wait. The others' answers are left to come: an exchange that is broken off would
    /// cost its connection, and what is read twice is given once.
    async fn fetch_from_all(
        &self,
        by_leader: BTreeMap<i32, Vec<Position>>,
        known: &Arc<KnownTopic>,
        limits: &FetchLimits,
        wait: Duration,
    ) -> Result<Vec<FetchedPartition>, ClientError> {
        let deadline = Instant::now() + wait;
        let mut patience = Duration::ZERO;
        loop {
            let mut asked = JoinSet::new();
            for (leader, positions) in by_leader.clone() {
                let (reader, known, limits) = (self.clone(), Arc::clone(known), *limits);
                asked.spawn(async move {
                    let from = reader.fetch_from(leader, &known, &positions, &limits, patience);
                    from.await
                });
            }
            let mut fetched = Vec::new();
            while let Some(answer) = asked.join_next().await {
                fetched.extend(answer.map_err(|error| ClientError::Client {
                    what: format!("reading {}", known.topic.name),
                    reason: error.to_string(),
                })??);
                if !patience.is_zero() && has_news(&fetched, &by_leader) {
                    asked.detach_all();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || has_news(&fetched, &by_leader) {
                return Ok(fetched);
            }
            patience = left.min(SHARED_WAIT);
        }
    }

    async fn fetch_from(
        &self,
        leader: i32,
        known: &KnownTopic,
        positions: &[Position],
        limits: &FetchLimits,
        wait: Duration,
    ) -> Result<Vec<FetchedPartition>, ClientError> {
        let exchange = match wait.is_zero() {
            true => Exchange::Brief,
            false => Exchange::LongPoll,
        };
        let address = self.topics.address(leader)?;
        let mut connection = self.connections.get(&address, exchange).await?;
        connection.set_limit(self.cluster.timeout() + wait);
        let request = fetch_request(known, positions, limits, wait);
        let highest = match known.id.is_zero() {
            true => FETCH_BY_NAME,
            false => i16::MAX,
        };
        let reply = connection.call_up_to(&request, highest).await?;
        drop(connection);
        let answer = reply.read()?;
        check(answer.error_code, None, || {
            format!("reading {}", known.topic.name)
        })?;
        let found = answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions);
        let found = found.filter_map(|data| {
            let position = positions
                .iter()
                .find(|p| p.partition == data.partition_index)?;
            Some(records::Received::new(*position, data))
        });
        records::read_all(found.collect(), limits).await
    }
}

/// Which leader is asked for what; and the partitions that have none.
struct Plan {
    by_leader: BTreeMap<i32, Vec<Position>>,
    refused: Vec<FetchedPartition>,
}

impl Plan {
    fn new(known: &KnownTopic, from: &[Position]) -> Plan {
        let mut plan = Plan {
            by_leader: BTreeMap::new(),
            refused: Vec::new(),
        };
        for position in from {
            let partitions = known.topic.partitions.iter();
            let leader = partitions
                .filter(|partition| partition.index == position.partition)
                .map(|partition| partition.leader)
                .next();
            let refusal = match leader {
                Some(leader) if leader >= 0 => {
                    plan.by_leader.entry(leader).or_default().push(*position);
                    continue;
                }
                Some(_) => ErrorCode::LeaderNotAvailable,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            let refused = FetchedPartition::of(*position, Some(refusal));
            plan.refused.push(refused);
        }
        plan
    }
}

fn fetch_request<'a>(
    known: &'a KnownTopic,
    positions: &[Position],
    limits: &FetchLimits,
    wait: Duration,
) -> fetch::Request<'a> {
    // Every partition has a share, or the first one with much to read would keep the others out.
    let share = limits.max_bytes / positions.len().max(1);
    let partition_bytes = share.max(LEAST_PARTITION_BYTES).min(limits.max_bytes);
    let partitions = positions.iter().map(|position| fetch::FetchPartition {
        partition: position.partition,
        fetch_offset: position.offset,
        partition_max_bytes: int32(partition_bytes),
        ..fetch::FetchPartition::default()
    });
    fetch::Request {
        replica_id: -1,
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: int32(limits.min_bytes),
        max_bytes: int32(limits.max_bytes),
        isolation_level: match limits.isolation {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        },
        topics: vec![fetch::FetchTopic {
            topic: &known.topic.name,
            topic_id: known.id,
            partitions: partitions.collect(),
        }],
        ..fetch::Request::default()
    }
}

fn offsets_request<'a>(topic: &'a str, questions: &[Position]) -> list_offsets::Request<'a> {
    let partitions = questions.iter().map(|question| list_offsets::Partition {
        partition_index: question.partition,
        current_leader_epoch: -1,
        timestamp: question.offset,
    });
    list_offsets::Request {
        replica_id: -1,
        topics: vec![list_offsets::Topic {
            name: topic,
            partitions: partitions.collect(),
        }],
        ..list_offsets::Request::default()
    }
}

fn int32(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn is_beyond_unknown_ends(partition: &FetchedPartition) -> bool {
    partition.error == Some(ErrorCode::OffsetOutOfRange) && partition.log_start_offset < 0
}

/// Whether there is more to tell than that nothing is there.
fn has_news(fetched: &[FetchedPartition], asked: &BTreeMap<i32, Vec<Position>>) -> bool {
    let stood_still = |partition: &FetchedPartition| {
        let position = Position {
            partition: partition.partition,
            offset: partition.next_offset,
        };
        asked.values().flatten().any(|asked| *asked == position)
    };
    let is_news = |partition: &FetchedPartition| {
        partition.error.is_some() || !partition.records.is_empty() || !stood_still(partition)
    };
    fetched.iter().any(is_news)
}

/// Moves positions to where reading goes on; false when all are there already or one was refused.
fn go_on(from: &mut [Position], fetched: &[FetchedPartition]) -> bool {
    let mut has_moved = false;
    for (position, partition) in from.iter_mut().zip(fetched) {
        has_moved |= position.offset != partition.next_offset;
        position.offset = partition.next_offset;
    }
    has_moved && fetched.iter().all(|partition| partition.error.is_none())
}

#[cfg(test)]
mod tests;
