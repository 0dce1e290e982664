//! Starts a broker, tells about it, and stops it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use broker_state::configs::BrokerConfig;
use broker_state::fetch_sessions::{FetchSessionLimits, FetchSessions};
use broker_state::share_partitions::SharePosition;
use broker_state::share_sessions::ShareSessions;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use wire::ApiKey;

use crate::addresses::Addresses;
use crate::api;
use crate::cluster::Topic;
use crate::coordinator::GroupOverview;
use crate::core::{Core, advertised_address};
use crate::data::Data;
use crate::entropy;
use crate::error::StartError;
use crate::keeper::Keeper;
use crate::listener;
use crate::metrics::{GroupLag, Metrics, SERIES_CAP, TopicSize};
use crate::owners::{Around, Owners};
use crate::partition::Partition;
use crate::pushed_metrics::PushedMetrics;
use crate::settings::{Advertised, BrokerSettings, Limits, NODE_ID};
use crate::shard::{Event, Fatal, OnFatal, Reply};
use crate::share::{self, DeadLetterSettings};
use crate::throttle::Throttling;

/// How long connections may take to finish what they are at when the broker stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A running broker; `shutdown` stops it cleanly.
pub struct Broker {
    core: Arc<Core>,
    addresses: Vec<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    failure: watch::Receiver<Option<Arc<Fatal>>>,
}

/// What a broker holds, for a page or a log line.
#[derive(Clone, Debug)]
pub struct Overview {
    pub topics: Vec<TopicOverview>,
    pub groups: Vec<GroupOverview>,
    pub lags: Vec<GroupLag>,
}

/// What a group has not read of a topic.
#[derive(Default)]
struct Behind {
    records: i64,
    partitions: Vec<(Arc<Partition>, i64)>,
}

impl Behind {
    /// The group is at `offset`, and is done with so many records behind it, as a share group may be.
    fn add(&mut self, partition: &Arc<Partition>, offset: i64, done: i64) {
        let ahead = partition.view().high_watermark.0.saturating_sub(offset);
        let records = ahead.saturating_sub(done).max(0);
        self.records += records;
        if records > 0 {
            self.partitions.push((Arc::clone(partition), offset));
        }
    }

    /// The age of the oldest record that was not read.
    fn seconds(&self, now_ms: i64) -> Option<f64> {
        if self.records == 0 {
            return Some(0.0);
        }
        let times = self
            .partitions
            .iter()
            .filter_map(|(partition, offset)| timestamp_at(partition, *offset));
        times
            .min()
            .map(|oldest| now_ms.saturating_sub(oldest).max(0) as f64 / 1000.0)
    }
}

/// What a topic holds.
#[derive(Clone, Debug)]
pub struct TopicOverview {
    pub name: Arc<str>,
    pub is_internal: bool,
    pub partitions: usize,
    pub records: i64,
    pub bytes: u64,
}

impl Broker {
    /// Opens the data, replays what is in it, listens, and answers.
    ///
    /// # Errors
    /// Everything that keeps a broker from starting, with what to do about it. Nothing stays open.
    pub async fn start(settings: BrokerSettings) -> Result<Self, StartError> {
        refuse_open_network(&settings.listen)?;
        let data = Data::open(&settings.storage, settings.disk)?;
        let (limits, clock, advertised) = (settings.limits, settings.clock, settings.advertised);
        let listeners = bind_all(&settings.listen)?;
        let bound = listeners.iter();
        let addresses = bound.filter_map(|l| l.local_addr().ok()).collect();
        let entropy = random()?;
        let node_id = node_id(&settings.broker_config)?;
        let cluster_id = data.cluster_id(entropy, node_id)?;
        data.remove_leftovers();
        let limits = limits.with(&settings.broker_config);
        let mut facts = facts(&data, node_id, &listeners, advertised.as_ref());
        facts.extend(limits.facts());
        let config = static_config(settings.broker_config.into_iter().chain(facts))?;
        let letters = DeadLetterSettings::of(&config);
        let share_sessions = ShareSessions::new(share_session_limit(&config), limits.partitions);

        let (on_fatal, failure) = failure();
        let metrics = Arc::new(Metrics::new(&served_keys()));
        let keeper = Keeper::new(data.lock(), on_fatal);
        let around = Around {
            data: &data,
            clock: &clock,
            metrics: &metrics,
            keeper: &keeper,
        };
        let throttling = Throttling::new(&config);
        let places = Addresses::new(&config).map_err(|reason| StartError::Config { reason })?;
        let telemetry = PushedMetrics::new(&config);
        let shards = shard_count(settings.shards);
        let owners = Owners::start(around, config, &limits, shards, entropy)?;

        let kibibytes = |bytes: usize| Arc::new(Semaphore::new(bytes.div_ceil(1024)));
        let core = Arc::new(Core {
            node_id,
            cluster_id,
            data,
            cluster: owners.cluster,
            controller: owners.controller,
            coordinator: owners.coordinator,
            transactions: owners.transactions,
            metadata: owners.metadata,
            share: owners.share,
            shards: owners.shards,
            fetch_sessions: Mutex::new(fetch_sessions(&limits)),
            share_sessions: Mutex::new(share_sessions),
            request_memory: kibibytes(limits.shared_request_memory()),
            large_frame: Arc::new(Semaphore::new(1)),
            response_memory: kibibytes(limits.response_memory_bytes),
            waiting_for_memory: AtomicUsize::new(0),
            connections: Arc::new(Semaphore::new(limits.connections)),
            addresses: Arc::new(places),
            throttling,
            telemetry,
            limits,
            advertised,
            clock,
            metrics,
            stopping: watch::channel(false).0,
            is_ready: AtomicBool::new(true),
        });
        serve(&core, listeners, letters);
        Ok(Self {
            core,
            addresses,
            threads: Mutex::new(owners.threads),
            failure,
        })
    }

    /// Every address that Kafka clients can connect to.
    pub fn kafka_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn cluster_id(&self) -> &str {
        &self.core.cluster_id
    }

    /// Whether requests are served: false while the broker stops or after its disk has failed.
    pub fn is_ready(&self) -> bool {
        self.core.is_ready() && self.failure.borrow().is_none()
    }

    /// Ends when the broker cannot go on, with the reason; never ends otherwise.
    pub async fn failed(&self) -> Arc<Fatal> {
        let mut failure = self.failure.clone();
        let found = failure
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|fatal| fatal.clone());
        match found {
            Some(fatal) => fatal,
            None => std::future::pending().await,
        }
    }

    /// Topics with their sizes, groups with their lag, as of now.
    pub async fn overview(&self) -> Overview {
        let topics = self.topics();
        let groups = self.core.coordinator.inspect().await;
        let share = self.core.share.inspect().await;
        let lags = self.lags(&groups, &share.positions).await;
        Overview {
            topics,
            groups,
            lags,
        }
    }

    fn topics(&self) -> Vec<TopicOverview> {
        let image = self.core.image();
        let overview = |topic: &Arc<Topic>| {
            let views: Vec<_> = topic
                .partitions
                .iter()
                .map(|partition| partition.view())
                .collect();
            TopicOverview {
                name: Arc::clone(&topic.name),
                is_internal: topic.is_internal,
                partitions: views.len(),
                records: views
                    .iter()
                    .map(|view| view.high_watermark - view.log_start)
                    .sum(),
                bytes: views.iter().map(|view| view.size_bytes.0).sum(),
            }
        };
        image.topics().into_iter().map(overview).collect()
    }

    async fn lags(&self, groups: &[GroupOverview], shared: &[SharePosition]) -> Vec<GroupLag> {
        let image = self.core.image();
        let now_ms = self.core.now_ms();
        let mut behind: BTreeMap<(Arc<str>, Arc<str>), Behind> = BTreeMap::new();
        for group in groups {
            for (name, index, offset) in &group.offsets {
                let topic = image.topic(name);
                if let Some(partition) = topic.and_then(|topic| topic.partition(*index)) {
                    let key = (Arc::clone(&group.group), Arc::clone(name));
                    behind.entry(key).or_default().add(partition, *offset, 0);
                }
            }
        }
        for position in shared {
            let topic = image.topic_by_id(position.topic_id);
            let found = topic.and_then(|topic| Some((topic, topic.partition(position.partition)?)));
            if let Some((topic, partition)) = found {
                let group = Arc::from(position.group.as_str());
                let behind = behind.entry((group, Arc::clone(&topic.name))).or_default();
                behind.add(partition, position.start_offset, position.delivery_complete);
            }
        }
        let measure = move || {
            let lags = behind.into_iter().take(SERIES_CAP);
            lags.map(|((group, topic), behind)| GroupLag {
                group,
                topic,
                records: behind.records,
                seconds: behind.seconds(now_ms),
            })
            .collect()
        };
        // Looking up when a record was made reads the log.
        tokio::task::spawn_blocking(measure)
            .await
            .unwrap_or_default()
    }

    /// All metrics in the Prometheus text format.
    pub async fn metrics_text(&self) -> String {
        let Overview {
            topics,
            groups,
            lags,
        } = self.overview().await;
        let sizes = topics.into_iter().map(|topic| TopicSize {
            topic: topic.name,
            partitions: topic.partitions,
            bytes: topic.bytes,
        });
        let share = self.core.share.inspect().await;
        self.core.metrics.share.set(&share);
        let sizes: Vec<TopicSize> = sizes.collect();
        let mut text = self.core.metrics.text(&sizes, &groups, &lags);
        self.core.telemetry.write(self.core.now_ms(), &mut text);
        text
    }

    /// Stops accepting, lets connections finish, syncs and closes everything. Calling it again does nothing.
    pub async fn shutdown(&self) {
        self.core.is_ready.store(false, Ordering::Release);
        self.core.stopping.send_replace(true);
        let all = u32::try_from(self.core.limits.connections).unwrap_or(u32::MAX);
        // Whoever does not finish in time is cut off: what was acknowledged is durable already.
        let _ = tokio::time::timeout(DRAIN, self.core.connections.acquire_many(all)).await;
        self.core.connections.close();
        self.core.controller.close().await;
        self.core.transactions.close().await;
        self.core.coordinator.close().await;
        self.core.share.close().await;
        for shard in &self.core.shards {
            let (reply, receiver) = Reply::channel();
            shard.send(Event::Close { reply });
            // A shard that has failed answers nothing.
            let _ = receiver.await;
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        // The threads have ended or are about to.
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.core.stopping.send_replace(true);
        self.core.controller.close_now();
        self.core.transactions.close_now();
        self.core.coordinator.close_now();
        self.core.share.close_now();
        for shard in &self.core.shards {
            shard.send(Event::Close {
                reply: Reply::ignored(),
            });
        }
    }
}

fn served_keys() -> Vec<ApiKey> {
    api::served().iter().map(|api| api.key).collect()
}

/// What the owners call when they cannot go on, and where it is seen.
fn failure() -> (OnFatal, watch::Receiver<Option<Arc<Fatal>>>) {
    let (failed, failure) = watch::channel(None);
    let on_fatal = move |fatal| {
        tracing::error!(error = %fatal, "the broker stops");
        failed.send_replace(Some(Arc::new(fatal)));
    };
    (Arc::new(on_fatal), failure)
}

/// Anyone who reaches the port may do everything, so it is not offered beyond this machine.
fn refuse_open_network(listen: &[SocketAddr]) -> Result<(), StartError> {
    match listen
        .iter()
        .find(|address| !address.ip().to_canonical().is_loopback())
    {
        Some(&address) => Err(StartError::OpenToNetwork { address }),
        None => Ok(()),
    }
}

/// Binds all addresses; those with port 0 get the port of the first one.
fn bind_all(listen: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let (&first, others) = listen.split_first().ok_or(StartError::NoAddress)?;
    let bind =
        |address| listener::bind(address).map_err(|source| StartError::Listen { address, source });
    let mut listeners = vec![bind(first)?];
    let port = listeners[0]
        .local_addr()
        .map_or(first.port(), |address| address.port());
    for &address in others {
        let address = SocketAddr::new(
            address.ip(),
            if address.port() == 0 {
                port
            } else {
                address.port()
            },
        );
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 is served by IPv4 alone.
            Err(StartError::Listen { address, source })
                if address.is_ipv6() && source.kind() != std::io::ErrorKind::AddrInUse =>
            {
                tracing::debug!(%address, error = %source, "IPv6 is not available");
            }
            // The system chose the port for IPv4 only; somebody has it on IPv6.
            Err(_) if first.port() == 0 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

fn static_config(
    entries: impl IntoIterator<Item = (String, String)>,
) -> Result<BrokerConfig, StartError> {
    BrokerConfig::from_static(entries).map_err(|error| StartError::Config {
        reason: error.to_string(),
    })
}

/// This broker's number: `node.id`, or `broker.id`, as it was called before.
///
/// # Errors
/// `Config` when it is no number from 0 on.
fn node_id(config: &BTreeMap<String, String>) -> Result<i32, StartError> {
    let given = ["node.id", "broker.id"]
        .into_iter()
        .find_map(|key| Some((key, config.get(key)?)));
    let Some((key, value)) = given else {
        return Ok(NODE_ID);
    };
    let id = value.parse().ok().filter(|id: &i32| *id >= 0);
    id.ok_or_else(|| StartError::Config {
        reason: format!("{key} is `{value}`, which is no number from 0 on"),
    })
}

/// What is true of this broker, under Kafka's keys; it counts over what the configuration says.
fn facts(
    data: &Data,
    node_id: i32,
    listeners: &[TcpListener],
    advertised: Option<&Advertised>,
) -> Vec<(String, String)> {
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    let listen: Vec<String> = addresses
        .iter()
        .map(|address| format!("PLAINTEXT://{address}"))
        .collect();
    let mut facts = vec![
        ("node.id", node_id.to_string()),
        ("broker.id", node_id.to_string()),
        ("log.dirs", data.name()),
        ("listeners", listen.join(",")),
        (
            "group.coordinator.rebalance.protocols",
            protocols().join(","),
        ),
    ];
    if let Some(&first) = addresses.first() {
        let (host, port) = advertised_address(advertised, first);
        facts.push(("advertised.listeners", format!("PLAINTEXT://{host}:{port}")));
    }
    let fact = |(key, value): (&str, String)| (key.to_owned(), value);
    facts.into_iter().map(fact).collect()
}

/// The group protocols that are served.
fn protocols() -> Vec<&'static str> {
    let served: Vec<ApiKey> = api::served().iter().map(|api| api.key).collect();
    let by_key = [
        ("classic", ApiKey::JoinGroup),
        ("consumer", ApiKey::ConsumerGroupHeartbeat),
        ("share", ApiKey::ShareGroupHeartbeat),
        ("streams", ApiKey::StreamsGroupHeartbeat),
    ];
    let served = by_key.into_iter().filter(|(_, key)| served.contains(key));
    served.map(|(name, _)| name).collect()
}

fn shard_count(wanted: usize) -> usize {
    if wanted > 0 {
        return wanted;
    }
    // Half of the cores: the other half reads requests and writes answers.
    std::thread::available_parallelism()
        .map_or(1, |cores| cores.get() / 2)
        .clamp(1, 8)
}

/// When the record at `offset` was made; read from its batch.
fn timestamp_at(partition: &Partition, offset: i64) -> Option<i64> {
    let view = partition.view();
    let plan = view
        .plan_read(
            log::Offset(offset.max(view.log_start.0)),
            log::ByteCount(1),
            log::Isolation::ReadUncommitted,
        )
        .ok()?;
    let parts = plan.execute().ok()?;
    let header = wire::records::scan_batches(parts.first()?).next()?.ok()?.0;
    (header.base_timestamp >= 0).then_some(header.base_timestamp)
}

/// Accepts connections, and sends the dead letters of share groups.
fn serve(core: &Arc<Core>, listeners: Vec<TcpListener>, letters: DeadLetterSettings) {
    let share = core.share.clone();
    tokio::spawn(share::deliver(Arc::downgrade(core), share, letters));
    for listener in listeners {
        tokio::spawn(listener::accept(listener, Arc::clone(core)));
    }
}

fn random() -> Result<[u8; 16], StartError> {
    entropy::uuid().ok_or_else(|| StartError::Randomness {
        reason: "getrandom failed".to_owned(),
    })
}

fn share_session_limit(config: &BrokerConfig) -> usize {
    usize::try_from(config.integer("group.share.max.share.sessions")).unwrap_or(usize::MAX)
}

fn fetch_sessions(limits: &Limits) -> FetchSessions {
    FetchSessions::new(FetchSessionLimits {
        sessions: limits.fetch_sessions,
        ..FetchSessionLimits::default()
    })
}
