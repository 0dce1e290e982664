//! The task that carries records from the embedded broker to Kafka, in order and exactly once.
//!
//! A session begins with `init_transactions`, which fences an older forwarder of the same embedded cluster and ends what it left
//! open; then the progress on Kafka is exact, and each step sends a batch of one topic together with its new progress in one
//! transaction. Any doubt (a time-out, a connection that broke) ends the session: the next one reads what really happened. Wanted
//! topics are brought in line first, so a Kafka that was away gets its topics before their records.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use client::offsets::OffsetQuery;
use client::topics::Topic;
use client::{
    ClientError, ErrorKind, FetchLimits, FetchedPartition, Isolation, OutgoingRecord, Position,
    Producer, Record,
};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use super::progress::{self, PartitionKey, Progress};
use super::status::{Board, Forwarded};
use super::topics::{HybridTopics, is_away};
use crate::backend::Backend;
use crate::clock;
use crate::table::TableError;

/// The most of one topic that is one transaction.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How soon records that other clients produced here are noticed; a publish over HTTP wakes the forwarder at once.
const TICK: Duration = Duration::from_millis(200);
/// How often both sides are asked which topics there are.
const TOPICS_EVERY: Duration = Duration::from_secs(2);
/// The longest wait for one transaction; then the session ends and the next one finds out what became of it.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(30);
/// How long a topic rests after Kafka refused its records (too large, not allowed): others go on meanwhile.
const REFUSED_REST: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the embedded broker has no cluster id")]
    NoClusterId,
    #[error("a thread of the forwarder ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

pub struct Forwarder {
    local: Backend,
    kafka: Backend,
    board: Board,
    topics: Arc<OnceCell<HybridTopics>>,
}

impl Forwarder {
    pub fn new(
        local: Backend,
        kafka: Backend,
        board: Board,
        topics: Arc<OnceCell<HybridTopics>>,
    ) -> Forwarder {
        Forwarder {
            local,
            kafka,
            board,
            topics,
        }
    }

    /// Session after session, for as long as hybrid mode lives.
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let Err(error) = self.session().await;
            if self.board.away(clock::now(), &error.to_string()) {
                tracing::warn!(%error, "Kafka takes nothing at the moment; records are kept here and forwarded when it is back");
            }
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn session(&self) -> Result<Infallible, SessionError> {
        let wanted = self
            .topics
            .get_or_try_init(|| HybridTopics::open(&self.local))
            .await?;
        let cluster_id = {
            let admin = self.local.admin().await?;
            let id = admin.info().cluster_id.clone();
            id.ok_or(SessionError::NoClusterId)?
        };
        self.kafka
            .ensure_topic(progress::TOPIC, 1, &[("cleanup.policy", "compact")])
            .await?;
        let producer = self.open_producer(&cluster_id).await?;
        let progress = progress::read(&self.kafka, &cluster_id).await?;
        let mut session = Session {
            forwarder: self,
            wanted,
            cluster_id,
            producer: Some(producer),
            progress,
            topics: Vec::new(),
            kafka_partitions: HashMap::new(),
            resting: HashMap::new(),
        };
        let mut topics_due = Instant::now();
        loop {
            if Instant::now() >= topics_due {
                session.look_for_topics().await?;
                topics_due = Instant::now() + TOPICS_EVERY;
            }
            let has_moved = session.step().await?;
            // Whatever there was to send went through: Kafka takes it.
            self.board.connected(clock::now());
            if has_moved {
                continue;
            }
            if timeout(TICK, self.board.woken()).await.is_ok() {
                // A topic that was just made has to be known before its first record is waited for.
                topics_due = topics_due.min(Instant::now() + TICK);
            }
        }
    }

    /// A producer that owns the transactional id of this embedded cluster.
    async fn open_producer(&self, cluster_id: &str) -> Result<Arc<Producer>, SessionError> {
        let id = format!("thalweg-hybrid-{cluster_id}");
        let cluster = self.kafka.cluster().clone();
        let opening = tokio::task::spawn_blocking(move || {
            let limit = TRANSACTION_LIMIT.as_millis().to_string();
            let properties = [
                ("transactional.id", &*id),
                ("transaction.timeout.ms", &*limit),
                ("partitioner", "murmur2_random"),
                ("linger.ms", "0"),
            ];
            // What became of each record the commit tells for all of them.
            let producer = cluster.producer(&properties, |_| {})?;
            producer.init_transactions(TRANSACTION_LIMIT)?;
            Ok::<_, ClientError>(Arc::new(producer))
        });
        Ok(opening.await??)
    }
}

/// What holds between two interruptions.
struct Session<'a> {
    forwarder: &'a Forwarder,
    wanted: &'a HybridTopics,
    cluster_id: String,
    /// Present until the session ends.
    producer: Option<Arc<Producer>>,
    progress: Progress,
    /// The topics of the embedded broker that are forwarded.
    topics: Vec<Topic>,
    /// How many partitions each has on Kafka.
    kafka_partitions: HashMap<String, usize>,
    /// Topics whose records Kafka refused, until when they rest.
    resting: HashMap<String, Instant>,
}

impl Drop for Session<'_> {
    /// Closing a producer waits for its threads, which must not hold up this one.
    fn drop(&mut self) {
        let producer = self.producer.take();
        tokio::task::spawn_blocking(move || drop(producer));
    }
}

impl Session<'_> {
    /// Brings Kafka's topics in line and finds out which are on both sides.
    async fn look_for_topics(&mut self) -> Result<(), SessionError> {
        let kafka = &self.forwarder.kafka;
        let before = self.on_kafka().await?;
        let refusals = self.wanted.bring_in_line(kafka, &before).await?;
        self.kafka_partitions = self.on_kafka().await?;
        self.forwarder.board.looked(refusals);
        let here = self.forwarder.local.admin().await?.topics().await?;
        self.topics = here
            .into_iter()
            .filter(|topic| is_forwarded(topic, &self.kafka_partitions))
            .collect();
        Ok(())
    }

    /// Kafka's topics with their numbers of partitions.
    async fn on_kafka(&self) -> Result<HashMap<String, usize>, ClientError> {
        let topics = self.forwarder.kafka.admin().await?.topics().await?;
        let counts = topics
            .into_iter()
            .map(|topic| (topic.name, topic.partitions.len()));
        Ok(counts.collect())
    }

    /// Forwards one batch of every topic that has something new; tells whether any had.
    async fn step(&mut self) -> Result<bool, SessionError> {
        let ends = {
            let mut admin = self.forwarder.local.admin().await?;
            match admin.list_offsets(&self.topics, OffsetQuery::Latest).await {
                // A topic was deleted meanwhile: look again which there are.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    drop(admin);
                    self.look_for_topics().await?;
                    return Ok(true);
                }
                ends => ends?,
            }
        };
        self.tell(&ends);
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let mut has_moved = false;
        for topic in self.topics.clone() {
            if self.resting.contains_key(&topic.name) {
                continue;
            }
            let behind = behind(&topic, &self.progress, &ends);
            if !behind.is_empty() {
                has_moved |= self.forward(&topic, &behind).await?;
            }
        }
        Ok(has_moved)
    }

    fn tell(&self, ends: &HashMap<(String, i32), i64>) {
        let mut partitions = BTreeMap::new();
        for topic in &self.topics {
            for partition in &topic.partitions {
                let key = (topic.id.clone(), partition.index);
                let name = (topic.name.clone(), partition.index);
                let end = ends.get(&name).copied().unwrap_or(0);
                let next = self.progress.get(&key).copied().unwrap_or(0);
                partitions.insert(name, Forwarded { next, end });
            }
        }
        self.forwarder.board.tell(partitions);
    }

    /// One transaction with what is new in one topic; tells whether there was anything.
    async fn forward(&mut self, topic: &Topic, from: &[Position]) -> Result<bool, SessionError> {
        let limits = FetchLimits {
            max_bytes: BATCH_BYTES,
            max_wait: Duration::ZERO,
            min_bytes: 0,
            isolation: Isolation::ReadCommitted,
        };
        let reader = self.forwarder.local.reader();
        let fetched = match reader.fetch(&topic.name, from, limits).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            fetched => fetched?,
        };
        let fetched: Vec<FetchedPartition> = fetched
            .into_iter()
            .filter(|partition| self.is_usable(topic, from, partition))
            .filter(|partition| has_moved(from, partition))
            .collect();
        if fetched.is_empty() {
            return Ok(false);
        }
        let steps: Vec<(PartitionKey, i64)> = fetched
            .iter()
            .map(|partition| {
                let key = (topic.id.clone(), partition.partition);
                (key, partition.next_offset)
            })
            .collect();
        let count = fetched.iter().map(|partition| partition.records.len());
        let count = count.sum::<usize>() as u64;
        match self.send(topic, fetched, &steps).await {
            Ok(()) => {}
            Err(SessionError::Client(error)) if is_refusal(&error) => {
                tracing::warn!(topic = topic.name, %error, "Kafka refuses records of this topic; they are kept here and tried again");
                self.forwarder
                    .board
                    .refused(&topic.name, &error.to_string());
                let until = Instant::now() + REFUSED_REST;
                self.resting.insert(topic.name.clone(), until);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        self.progress.extend(steps.iter().cloned());
        let told = steps
            .into_iter()
            .map(|((_, partition), next)| ((topic.name.clone(), partition), next));
        self.forwarder.board.advance(told, count);
        Ok(true)
    }

    /// Whether a fetched partition has something to forward; what was deleted here before it was forwarded is counted as lost.
    fn is_usable(&mut self, topic: &Topic, from: &[Position], fetched: &FetchedPartition) -> bool {
        if fetched.error.is_none() {
            return true;
        }
        let key = (topic.id.clone(), fetched.partition);
        let wanted = position(from, fetched.partition);
        if fetched.log_start_offset > wanted {
            // A topic that was not made in hybrid mode and has no progress yet begins with what is left.
            if self.progress.contains_key(&key) || self.wanted.wants(&topic.name) {
                let lost = fetched.log_start_offset - wanted;
                let (topic, partition) = (&topic.name, fetched.partition);
                tracing::error!(
                    topic,
                    partition,
                    lost,
                    "records were deleted here before they were forwarded"
                );
                self.forwarder.board.lost(lost.unsigned_abs());
            }
            self.progress.insert(key, fetched.log_start_offset);
        }
        false
    }

    async fn send(
        &self,
        topic: &Topic,
        fetched: Vec<FetchedPartition>,
        steps: &[(PartitionKey, i64)],
    ) -> Result<(), SessionError> {
        let progress: Vec<(String, String)> = steps
            .iter()
            .map(|(key, next)| (progress::key(&self.cluster_id, key), next.to_string()))
            .collect();
        let name = topic.name.clone();
        // The same number of partitions on both sides: each record keeps its own. Otherwise its key decides, as everywhere.
        let keeps_partition = self.kafka_partitions.get(&name) == Some(&topic.partitions.len());
        let producer = self.producer.clone();
        let producer = producer.expect("a session has its producer until it ends");
        let sending = tokio::task::spawn_blocking(move || {
            producer.begin()?;
            let sent = send_all(&producer, &name, keeps_partition, &fetched, &progress)
                .and_then(|()| producer.commit(TRANSACTION_LIMIT));
            if let Err(error) = sent {
                // An abort that fails too leaves doubt: its own error ends the session.
                producer.abort(TRANSACTION_LIMIT)?;
                return Err(error);
            }
            Ok(())
        });
        Ok(sending.await??)
    }
}

fn send_all(
    producer: &Producer,
    topic: &str,
    keeps_partition: bool,
    fetched: &[FetchedPartition],
    progress: &[(String, String)],
) -> Result<(), ClientError> {
    for partition in fetched {
        for record in &partition.records {
            let to = keeps_partition.then_some(partition.partition);
            send_one(producer, topic, to, record)?;
        }
    }
    for (key, next) in progress {
        let record = OutgoingRecord {
            topic: progress::TOPIC,
            partition: Some(0),
            key: Some(key.as_bytes()),
            value: Some(next.as_bytes()),
            ..OutgoingRecord::default()
        };
        producer.send(&record, 0)?;
    }
    Ok(())
}

fn send_one(
    producer: &Producer,
    topic: &str,
    partition: Option<i32>,
    record: &Record,
) -> Result<(), ClientError> {
    let headers: Vec<(String, Option<Vec<u8>>)> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_deref().map(<[u8]>::to_vec)))
        .collect();
    let outgoing = OutgoingRecord {
        topic,
        partition,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        timestamp_ms: (record.timestamp_ms >= 0).then_some(record.timestamp_ms),
        headers: &headers,
    };
    producer.send(&outgoing, 0)
}

/// Internal topics, and those that the platform keeps its own state in, stay where they are.
fn is_forwarded(topic: &Topic, kafka_partitions: &HashMap<String, usize>) -> bool {
    !topic.is_internal && !topic.name.starts_with('_') && kafka_partitions.contains_key(&topic.name)
}

/// Where to go on in the partitions that have more than was forwarded.
fn behind(topic: &Topic, progress: &Progress, ends: &HashMap<(String, i32), i64>) -> Vec<Position> {
    let mut behind = Vec::new();
    for partition in &topic.partitions {
        let next = progress.get(&(topic.id.clone(), partition.index));
        let offset = next.copied().unwrap_or(0);
        let end = ends.get(&(topic.name.clone(), partition.index));
        if end.is_some_and(|end| *end > offset) {
            behind.push(Position {
                partition: partition.index,
                offset,
            });
        }
    }
    behind
}

fn position(from: &[Position], partition: i32) -> i64 {
    let position = from.iter().find(|position| position.partition == partition);
    position.map_or(0, |position| position.offset)
}

fn has_moved(from: &[Position], fetched: &FetchedPartition) -> bool {
    fetched.next_offset > position(from, fetched.partition)
}

/// Whether Kafka will say the same again: then the topic rests and the session goes on.
fn is_refusal(error: &ClientError) -> bool {
    let is_fatal = error.code().is_some_and(|code| {
        use wire::ErrorCode as Code;
        matches!(
            code,
            Code::InvalidProducerEpoch | Code::ProducerFenced | Code::InvalidProducerIdMapping
        )
    });
    matches!(error, ClientError::Refused { code, .. } if !code.is_retriable())
        && !is_fatal
        && !is_away(error)
}

#[cfg(test)]
mod tests {
    use client::topics::Partition;

    use super::*;

    fn topic(name: &str, partitions: i32) -> Topic {
        let partition = |index| Partition {
            index,
            ..Partition::default()
        };
        Topic {
            name: name.to_owned(),
            id: format!("id-of-{name}"),
            partitions: (0..partitions).map(partition).collect(),
            ..Topic::default()
        }
    }

    #[test]
    fn only_partitions_with_something_new_are_read_from_where_they_are() {
        let progress = Progress::from([(("id-of-orders".to_owned(), 0), 7)]);
        let ends = HashMap::from([(("orders".to_owned(), 0), 7), (("orders".to_owned(), 1), 3)]);
        let behind = behind(&topic("orders", 3), &progress, &ends);
        let expected = Position {
            partition: 1,
            offset: 0,
        };
        assert_eq!(behind, [expected]);
    }

    #[test]
    fn a_topic_that_was_made_again_starts_anew() {
        let progress = Progress::from([(("id-of-an-older-one".to_owned(), 0), 7)]);
        let ends = HashMap::from([(("orders".to_owned(), 0), 2)]);
        assert_eq!(behind(&topic("orders", 1), &progress, &ends)[0].offset, 0);
    }

    #[test]
    fn state_topics_and_topics_of_this_side_only_stay_here() {
        let on_kafka = HashMap::from([("orders".to_owned(), 3), ("_thalweg_x".to_owned(), 1)]);
        assert!(is_forwarded(&topic("orders", 1), &on_kafka));
        assert!(!is_forwarded(&topic("local", 1), &on_kafka));
        assert!(!is_forwarded(&topic("_thalweg_x", 1), &on_kafka));
    }
}
