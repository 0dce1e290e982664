//! What the broker counts. Few labels on purpose: requests by API, sizes by topic, lag by group; never by
//! partition, client or address. Per-topic and per-group series end at `SERIES_CAP`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use broker_state::quotas::QuotaKey;
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use wire::ApiKey;

use crate::coordinator::GroupOverview;
use crate::shard::{CompactionNeed, StepTimes};
use crate::share::ShareMetrics;
use crate::transactions::TransactionMetrics;

/// Most series of one per-topic or per-group metric; the rest is left out and counted.
pub const SERIES_CAP: usize = 1_000;

/// A set of label pairs in a fixed order.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct Labels<const N: usize>(pub [(&'static str, Arc<str>); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        for (name, value) in &self.0 {
            (*name, value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Counters of one API, held by whoever counts so that no label is looked up per request.
struct ApiMetrics {
    requests: Counter,
    seconds: Histogram,
}

/// All metrics of a broker.
pub struct Metrics {
    registry: Registry,
    apis: Vec<Option<ApiMetrics>>,
    pub request_bytes: Counter,
    pub response_bytes: Counter,
    pub records_in_bytes: Counter,
    pub connections: Gauge,
    pub connections_refused: Counter,
    pub malformed_requests: Counter,
    throttles: Family<Labels<1>, Counter>,
    throttle_seconds: Family<Labels<1>, Counter<f64, std::sync::atomic::AtomicU64>>,
    sync_seconds: Histogram,
    synced_files: Counter,
    step_batches: Histogram,
    pub transactions: TransactionMetrics,
    compactions: Compactions,
    pub share: ShareMetrics,
    scraped: Scraped,
}

/// What compaction does, and what waits for it.
struct Compactions {
    seconds: Histogram,
    read_bytes: Counter,
    kept_bytes: Counter,
    removed_records: Counter,
    dirtiest: Gauge<f64, std::sync::atomic::AtomicU64>,
    uncleanable: Gauge,
    /// As each shard has found it.
    needs: Mutex<BTreeMap<usize, CompactionNeed>>,
}

impl Default for Compactions {
    fn default() -> Self {
        Self {
            seconds: Histogram::new(exponential_buckets(0.01, 4.0, 9)),
            read_bytes: Counter::default(),
            kept_bytes: Counter::default(),
            removed_records: Counter::default(),
            dirtiest: Gauge::default(),
            uncleanable: Gauge::default(),
            needs: Mutex::default(),
        }
    }
}

impl Compactions {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "compaction",
            "Time of one compaction of one partition",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "compaction_read_bytes",
            "Bytes of the segments that compactions went through",
            self.read_bytes.clone(),
        );
        registry.register(
            "compaction_kept_bytes",
            "Bytes that stayed of them",
            self.kept_bytes.clone(),
        );
        registry.register(
            "compaction_removed_records",
            "Records that compactions removed",
            self.removed_records.clone(),
        );
        registry.register(
            "compaction_dirty_ratio",
            "The uncompacted share of the partition that has the largest",
            self.dirtiest.clone(),
        );
        registry.register(
            "compaction_uncleanable_partitions",
            "Partitions that cannot be compacted because something in them cannot be read",
            self.uncleanable.clone(),
        );
    }
}

/// Gauges that are set when the metrics are asked for.
#[derive(Default)]
struct Scraped {
    topic_bytes: Family<Labels<1>, Gauge>,
    topic_partitions: Family<Labels<1>, Gauge>,
    lag_records: Family<Labels<2>, Gauge>,
    lag_seconds: Family<Labels<2>, Gauge<f64, std::sync::atomic::AtomicU64>>,
    groups: Family<Labels<2>, Gauge>,
    group_members: Family<Labels<1>, Gauge>,
    series_left_out: Gauge,
}

/// The size of a topic at the time of a scrape.
pub struct TopicSize {
    pub topic: Arc<str>,
    pub partitions: usize,
    pub bytes: u64,
}

/// How far a group is behind in a topic.
#[derive(Clone, Debug)]
pub struct GroupLag {
    pub group: Arc<str>,
    pub topic: Arc<str>,
    pub records: i64,
    /// Age of the oldest record that the group has not read; `None` when the topic has no timestamps.
    pub seconds: Option<f64>,
}

impl Metrics {
    /// Counters for the APIs in `keys`.
    pub fn new(keys: &[ApiKey]) -> Self {
        let mut registry = Registry::with_prefix("thalweg");
        let requests = Family::<Labels<1>, Counter>::default();
        let seconds = Family::<Labels<1>, Histogram>::new_with_constructor(latencies);
        registry.register(
            "kafka_requests",
            "Kafka requests answered",
            requests.clone(),
        );
        registry.register_with_unit(
            "kafka_request",
            "From the last byte of a request to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        let mut apis: Vec<Option<ApiMetrics>> = Vec::new();
        for key in keys {
            let index = *key as usize;
            apis.resize_with(apis.len().max(index + 1), || None);
            let labels = Labels([("api", Arc::from(key.name()))]);
            let metrics = ApiMetrics {
                requests: requests.get_or_create_owned(&labels),
                seconds: seconds.get_or_create_owned(&labels),
            };
            apis[index] = Some(metrics);
        }
        let metrics = Self {
            registry,
            apis,
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
            records_in_bytes: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            malformed_requests: Counter::default(),
            throttles: Family::default(),
            throttle_seconds: Family::default(),
            sync_seconds: latencies(),
            synced_files: Counter::default(),
            step_batches: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            transactions: TransactionMetrics::default(),
            share: ShareMetrics::default(),
            compactions: Compactions::default(),
            scraped: Scraped::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        self.transactions.register(registry);
        self.share.register(registry);
        registry.register(
            "kafka_request_bytes",
            "Bytes of requests read",
            self.request_bytes.clone(),
        );
        registry.register(
            "kafka_response_bytes",
            "Bytes of answers written",
            self.response_bytes.clone(),
        );
        registry.register(
            "produced_bytes",
            "Bytes of record batches appended",
            self.records_in_bytes.clone(),
        );
        registry.register(
            "connections",
            "Open client connections",
            self.connections.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections closed because the limit was reached",
            self.connections_refused.clone(),
        );
        registry.register(
            "malformed_requests",
            "Connections closed because of a request that cannot be read",
            self.malformed_requests.clone(),
        );
        registry.register(
            "throttles",
            "Times that a client was held back because of a quota",
            self.throttles.clone(),
        );
        registry.register_with_unit(
            "throttle",
            "How long clients were held back because of a quota",
            Unit::Seconds,
            self.throttle_seconds.clone(),
        );
        registry.register_with_unit(
            "log_sync",
            "Time of one sync of all files of a step",
            Unit::Seconds,
            self.sync_seconds.clone(),
        );
        registry.register(
            "log_synced_files",
            "Files synced",
            self.synced_files.clone(),
        );
        registry.register(
            "shard_step_batches",
            "Batches that one step made durable together",
            self.step_batches.clone(),
        );
        self.compactions.register(registry);
        self.scraped.register(registry);
        let build = Family::<Labels<1>, Gauge>::default();
        build
            .get_or_create(&Labels([("version", Arc::from(env!("CARGO_PKG_VERSION")))]))
            .set(1);
        registry.register("build_info", "The version that runs", build);
        self
    }

    /// Counts one answered request.
    pub fn request(&self, key: ApiKey, took: Duration) {
        if let Some(Some(api)) = self.apis.get(key as usize) {
            api.requests.inc();
            api.seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts one compaction.
    pub fn compacted(&self, report: &log::CompactionReport, took: Duration) {
        let compactions = &self.compactions;
        compactions.seconds.observe(took.as_secs_f64());
        compactions.read_bytes.inc_by(report.read_bytes.0);
        compactions.kept_bytes.inc_by(report.kept_bytes.0);
        let gone = report.records.read.saturating_sub(report.records.kept);
        compactions.removed_records.inc_by(gone);
    }

    /// Notes what a shard has found to be compacted.
    pub fn compaction_need(&self, shard: usize, need: CompactionNeed) {
        let mut needs = self.compactions.needs.lock();
        needs.insert(shard, need);
        let dirtiest = needs.values().map(|need| need.dirtiest).fold(0.0, f64::max);
        let uncleanable = needs.values().map(|need| need.uncleanable as i64).sum();
        self.compactions.dirtiest.set(dirtiest);
        self.compactions.uncleanable.set(uncleanable);
    }

    /// Counts a client that is held back.
    pub fn throttled(&self, key: QuotaKey, wait: Duration) {
        let labels = Labels([("quota", Arc::from(key.name()))]);
        self.throttles.get_or_create(&labels).inc();
        self.throttle_seconds
            .get_or_create(&labels)
            .inc_by(wait.as_secs_f64());
    }

    /// Counts one step of a shard.
    pub fn step(&self, times: &StepTimes) {
        if times.batches > 0 {
            self.step_batches.observe(times.batches as f64);
        }
        if times.synced_files > 0 {
            self.sync_seconds.observe(times.sync.as_secs_f64());
            self.synced_files.inc_by(times.synced_files as u64);
        }
    }

    /// All metrics in the Prometheus text format.
    pub fn text(
        &self,
        topics: &[TopicSize],
        groups: &[GroupOverview],
        lags: &[GroupLag],
    ) -> String {
        self.scraped.set(topics, lags);
        self.scraped.set_groups(groups);
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            let _ = writeln!(text, "# the metrics cannot be written: {error}");
        }
        text
    }
}

impl Scraped {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "topic_log",
            "Bytes of a topic on the disk",
            Unit::Bytes,
            self.topic_bytes.clone(),
        );
        registry.register(
            "topic_partitions",
            "Partitions of a topic",
            self.topic_partitions.clone(),
        );
        registry.register(
            "group_lag_records",
            "Records that a group has not read yet",
            self.lag_records.clone(),
        );
        registry.register_with_unit(
            "group_lag",
            "Age of the oldest record that a group has not read",
            Unit::Seconds,
            self.lag_seconds.clone(),
        );
        registry.register(
            "groups",
            "Groups by protocol and state",
            self.groups.clone(),
        );
        registry.register(
            "group_members",
            "Members of all groups by protocol",
            self.group_members.clone(),
        );
        registry.register(
            "series_left_out",
            "Topics and groups beyond the cap on series",
            self.series_left_out.clone(),
        );
    }

    fn set(&self, topics: &[TopicSize], lags: &[GroupLag]) {
        self.topic_bytes.clear();
        self.topic_partitions.clear();
        self.lag_records.clear();
        self.lag_seconds.clear();
        for size in topics.iter().take(SERIES_CAP) {
            let labels = Labels([("topic", Arc::clone(&size.topic))]);
            self.topic_bytes
                .get_or_create(&labels)
                .set(size.bytes as i64);
            self.topic_partitions
                .get_or_create(&labels)
                .set(size.partitions as i64);
        }
        for lag in lags.iter().take(SERIES_CAP) {
            let labels = Labels([
                ("group", Arc::clone(&lag.group)),
                ("topic", Arc::clone(&lag.topic)),
            ]);
            self.lag_records.get_or_create(&labels).set(lag.records);
            if let Some(seconds) = lag.seconds {
                self.lag_seconds.get_or_create(&labels).set(seconds);
            }
        }
        let left_out =
            topics.len().saturating_sub(SERIES_CAP) + lags.len().saturating_sub(SERIES_CAP);
        self.series_left_out.set(left_out as i64);
    }

    fn set_groups(&self, groups: &[GroupOverview]) {
        self.groups.clear();
        self.group_members.clear();
        for group in groups {
            let group_type: Arc<str> = Arc::from(group.group_type);
            let of_state = [
                ("type", Arc::clone(&group_type)),
                ("state", Arc::from(group.state)),
            ];
            self.groups.get_or_create(&Labels(of_state)).inc();
            let of_type = Labels([("type", group_type)]);
            let members = self.group_members.get_or_create(&of_type);
            members.inc_by(group.members as i64);
        }
    }
}

/// 50 µs to 13 s.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 4.0, 10))
}
