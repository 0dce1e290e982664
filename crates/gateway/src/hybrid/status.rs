//! Where the forwarder is: written by it, read by publishes that wait, by `/v1/hybrid` and by `/metrics`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::KafkaPart;

/// A topic and a partition.
type Name = (String, i32);

/// Shared between the forwarder and everybody who looks.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    /// Changes with every step of the forwarder; whoever waits looks again.
    state: watch::Sender<State>,
    /// Somebody stored a record or made a topic: look at once.
    woken: Notify,
    counters: Mutex<Counters>,
}

#[derive(Debug, Clone, Default)]
struct State {
    connection: Connection,
    partitions: BTreeMap<Name, Forwarded>,
    /// Why topics are not on Kafka, or take no records there.
    refusals: BTreeMap<String, String>,
}

/// One partition: offsets of the embedded broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Everything below is on Kafka.
    pub next: i64,
    /// The end of what is stored here.
    pub end: i64,
}

#[derive(Debug, Clone, Default)]
enum Connection {
    #[default]
    Starting,
    Connected(Option<Timestamp>),
    Away {
        since: Timestamp,
        reason: String,
    },
}

#[derive(Debug, Default)]
struct Counters {
    forwarded: u64,
    lost: u64,
    interruptions: u64,
}

impl Board {
    pub fn new() -> Board {
        Board(Arc::new(Shared {
            state: watch::channel(State::default()).0,
            woken: Notify::new(),
            counters: Mutex::new(Counters::default()),
        }))
    }

    /// Tells the forwarder that there is something to do.
    pub fn wake(&self) {
        self.0.woken.notify_one();
    }

    pub async fn woken(&self) {
        self.0.woken.notified().await;
    }

    pub fn connected(&self, now: Timestamp) {
        self.0.state.send_modify(|state| {
            if !matches!(state.connection, Connection::Connected(_)) {
                state.connection = Connection::Connected(Some(now));
            }
        });
    }

    /// Kafka cannot be written to; tells whether that is news.
    pub fn away(&self, now: Timestamp, why: &str) -> bool {
        let mut is_news = false;
        self.0
            .state
            .send_modify(|state| match &mut state.connection {
                Connection::Away { reason, .. } => why.clone_into(reason),
                connection => {
                    is_news = true;
                    *connection = Connection::Away {
                        since: now,
                        reason: why.to_owned(),
                    };
                }
            });
        if is_news {
            self.0.counters.lock().interruptions += 1;
        }
        is_news
    }

    /// The partitions that are forwarded, and where each is; replaces what was told before.
    pub fn tell(&self, partitions: BTreeMap<Name, Forwarded>) {
        self.0
            .state
            .send_modify(|state| state.partitions = partitions);
    }

    /// Both sides were asked which topics there are; these are not as they are wanted.
    pub fn looked(&self, refusals: HashMap<String, String>) {
        self.0
            .state
            .send_modify(|state| state.refusals = refusals.into_iter().collect());
    }

    /// Kafka takes no records of this topic.
    pub fn refused(&self, topic: &str, reason: &str) {
        self.0.state.send_modify(|state| {
            let refusals = &mut state.refusals;
            refusals.insert(topic.to_owned(), reason.to_owned());
        });
    }

    /// These partitions went on.
    pub fn advance(&self, steps: impl IntoIterator<Item = (Name, i64)>, records: u64) {
        self.0.counters.lock().forwarded += records;
        self.0.state.send_modify(|state| {
            for (name, next) in steps {
                let partition = state.partitions.entry(name).or_default();
                partition.next = next;
                partition.end = partition.end.max(next);
            }
        });
    }

    /// Records that retention or a deletion took before they were forwarded.
    pub fn lost(&self, records: u64) {
        self.0.counters.lock().lost += records;
    }

    /// Waits until the record at `offset` is on Kafka; `Pending` when Kafka is away, refuses its topic, or takes longer than `limit`.
    pub async fn wait_until_forwarded(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        limit: Duration,
    ) -> KafkaPart {
        let mut changes = self.0.state.subscribe();
        let name = (topic.to_owned(), partition);
        let done = changes.wait_for(|state| {
            let is_away = matches!(state.connection, Connection::Away { .. });
            let is_refused = state.refusals.contains_key(topic);
            is_away || is_refused || state.has_forwarded(&name, offset)
        });
        match timeout(limit, done).await {
            Ok(Ok(state)) if state.has_forwarded(&name, offset) => KafkaPart::Forwarded,
            _ => KafkaPart::Pending(self.why_pending(&name)),
        }
    }

    fn why_pending(&self, name: &Name) -> String {
        let state = self.0.state.borrow();
        if let Some(refusal) = state.refusals.get(&name.0) {
            return refusal.clone();
        }
        match &state.connection {
            Connection::Away { reason, .. } => reason.clone(),
            Connection::Starting => "the connection to Kafka is being made".to_owned(),
            Connection::Connected(_) => match state.partitions.get(name) {
                Some(at) => format!("{} records are before it", (at.end - at.next).max(0)),
                None => "the topic is not on Kafka".to_owned(),
            },
        }
    }

    pub fn status(&self) -> HybridStatus {
        let state = self.0.state.borrow();
        let counters = self.0.counters.lock();
        let (name, since, reason) = match &state.connection {
            Connection::Starting => ("starting", None, None),
            Connection::Connected(since) => ("connected", *since, None),
            Connection::Away { since, reason } => ("away", Some(*since), Some(reason.clone())),
        };
        let partitions: Vec<PartitionStatus> = state
            .partitions
            .iter()
            .map(|((topic, partition), at)| PartitionStatus {
                topic: topic.clone(),
                partition: *partition,
                forwarded_offset: at.next,
                end_offset: at.end,
                lag: (at.end - at.next).max(0),
            })
            .collect();
        HybridStatus {
            state: name,
            since: since.map(|since| since.to_string()),
            reason,
            lag: partitions.iter().map(|partition| partition.lag).sum(),
            forwarded_records: counters.forwarded,
            lost_records: counters.lost,
            interruptions: counters.interruptions,
            refusals: state
                .refusals
                .iter()
                .map(|(topic, reason)| TopicRefusal {
                    topic: topic.clone(),
                    reason: reason.clone(),
                })
                .collect(),
            partitions,
        }
    }
}

impl State {
    fn has_forwarded(&self, name: &Name, offset: i64) -> bool {
        let partition = self.partitions.get(name);
        partition.is_some_and(|partition| partition.next > offset)
    }
}

/// The forwarder as `GET /v1/hybrid` shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HybridStatus {
    /// `starting`, `connected` or `away`; `off` when the mode is not hybrid.
    pub state: &'static str,
    /// Since when, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why Kafka is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Records that are stored here and not on Kafka yet.
    pub lag: i64,
    /// Records forwarded since this process started.
    pub forwarded_records: u64,
    /// Records that were deleted here before they were forwarded, since this process started.
    pub lost_records: u64,
    /// How often Kafka went away since this process started.
    pub interruptions: u64,
    /// Topics that Kafka does not take, and why; they are tried again, and the others go on.
    pub refusals: Vec<TopicRefusal>,
    pub partitions: Vec<PartitionStatus>,
}

/// A topic that Kafka does not take.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TopicRefusal {
    pub topic: String,
    pub reason: String,
}

/// A forwarded partition; offsets are those of the embedded broker.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PartitionStatus {
    pub topic: String,
    pub partition: i32,
    /// Everything below is on Kafka.
    pub forwarded_offset: i64,
    pub end_offset: i64,
    pub lag: i64,
}

impl HybridStatus {
    pub fn off() -> HybridStatus {
        HybridStatus {
            state: "off",
            since: None,
            reason: None,
            lag: 0,
            forwarded_records: 0,
            lost_records: 0,
            interruptions: 0,
            refusals: Vec::new(),
            partitions: Vec::new(),
        }
    }
}

/// The same for Prometheus: low in cardinality, one series a topic.
pub fn metrics_text(status: &HybridStatus) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, i64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let count = |value: u64| vec![(String::new(), i64::try_from(value).unwrap_or(i64::MAX))];
    let is_connected = i64::from(status.state == "connected");
    family(
        "thalweg_hybrid_connected",
        "gauge",
        "1 while the Kafka cluster takes what is forwarded.",
        &[(String::new(), is_connected)],
    );
    let mut by_topic: BTreeMap<&str, i64> = BTreeMap::new();
    for partition in &status.partitions {
        *by_topic.entry(&partition.topic).or_default() += partition.lag;
    }
    let lags: Vec<(String, i64)> = by_topic
        .into_iter()
        .map(|(topic, lag)| (format!("{{topic=\"{topic}\"}}"), lag))
        .collect();
    family(
        "thalweg_hybrid_lag_records",
        "gauge",
        "Records stored here and not on Kafka yet.",
        &lags,
    );
    family(
        "thalweg_hybrid_forwarded_records_total",
        "counter",
        "Records forwarded to Kafka.",
        &count(status.forwarded_records),
    );
    family(
        "thalweg_hybrid_lost_records_total",
        "counter",
        "Records that were deleted here before they were forwarded.",
        &count(status.lost_records),
    );
    family(
        "thalweg_hybrid_interruptions_total",
        "counter",
        "How often the Kafka cluster went away.",
        &count(status.interruptions),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const SOON: Duration = Duration::from_millis(20);

    fn told(next: i64, end: i64) -> Board {
        let board = Board::new();
        let at = Forwarded { next, end };
        board.tell(BTreeMap::from([(("orders".to_owned(), 0), at)]));
        board
    }

    #[tokio::test(start_paused = true)]
    async fn a_publish_waits_until_its_own_record_is_on_kafka() {
        let board = told(4, 6);
        board.connected(NOW);
        let waiting = board.wait_until_forwarded("orders", 0, 5, Duration::from_secs(5));
        let advance = async {
            board.advance([(("orders".to_owned(), 0), 5)], 1);
            tokio::task::yield_now().await;
            board.advance([(("orders".to_owned(), 0), 6)], 1);
        };
        let (part, ()) = tokio::join!(waiting, advance);
        assert!(matches!(part, KafkaPart::Forwarded), "{part:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_kafka_that_is_away_makes_it_pending_at_once_with_the_reason() {
        let board = told(4, 6);
        board.away(NOW, "no broker answers");
        let long = Duration::from_secs(3600);
        let started = tokio::time::Instant::now();
        let part = board.wait_until_forwarded("orders", 0, 5, long).await;
        assert!(matches!(part, KafkaPart::Pending(why) if why == "no broker answers"));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_kafka_makes_it_pending_after_the_limit() {
        let board = told(4, 6);
        board.connected(NOW);
        let part = board.wait_until_forwarded("orders", 0, 5, SOON).await;
        assert!(matches!(part, KafkaPart::Pending(why) if why == "2 records are before it"));
        let part = board.wait_until_forwarded("new", 0, 0, SOON).await;
        assert!(matches!(part, KafkaPart::Pending(why) if why == "the topic is not on Kafka"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_kafka_refuses_is_pending_at_once_with_its_reason() {
        let board = told(4, 6);
        board.connected(NOW);
        board.refused("orders", "not allowed");
        let long = Duration::from_secs(3600);
        let part = board.wait_until_forwarded("orders", 0, 5, long).await;
        assert!(matches!(part, KafkaPart::Pending(why) if why == "not allowed"));
        assert_eq!(board.status().refusals[0].topic, "orders");
    }

    #[test]
    fn lag_is_told_by_partition_and_as_a_sum() {
        let board = told(4, 9);
        board.lost(2);
        assert!(board.away(NOW, "refused"));
        assert!(!board.away(NOW, "refused again"), "no second interruption");
        let status = board.status();
        assert_eq!(
            (status.lag, status.lost_records, status.interruptions),
            (5, 2, 1)
        );
        assert_eq!(status.reason.as_deref(), Some("refused again"));
        let metrics = metrics_text(&status);
        assert!(metrics.contains("thalweg_hybrid_lag_records{topic=\"orders\"} 5\n"));
        assert!(metrics.contains("thalweg_hybrid_connected 0\n"));
    }
}
