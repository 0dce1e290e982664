//! What a broker is started with: where its data is, where it listens, what it may use.
//! Every limit here has a Kafka error, or back-pressure, that answers when it is reached.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;

/// The id of the one broker of a cluster, as clients see it, unless `node.id` says another.
pub const NODE_ID: i32 = 1;

/// Where the data of a broker is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In files below this directory, which is created when it is missing.
    Directory(PathBuf),
    /// In memory only: nothing outlives the broker, no file is touched.
    Memory,
}

/// The address that clients are told to come back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Host name or address; `None` keeps the one by which the client reached us.
    pub host: Option<String>,
    /// Port; `None` keeps the one by which the client reached us.
    pub port: Option<u16>,
}

/// Everything a broker needs to know to start.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    pub storage: Storage,
    /// Addresses to listen on; port 0 lets the system choose, and the others follow the first one's port.
    pub listen: Vec<SocketAddr>,
    /// Overrides the address by which a client reached us.
    pub advertised: Option<Advertised>,
    /// Broker configuration under Kafka's own keys, such as `num.partitions`.
    pub broker_config: BTreeMap<String, String>,
    pub limits: Limits,
    pub clock: Clock,
    /// Number of shards, each a thread that owns partitions; 0 chooses by the number of cores.
    pub shards: usize,
    /// The disk to write to in place of the one that `storage` names: fault tests use it.
    pub disk: Option<Arc<dyn log::Disk>>,
}

impl BrokerSettings {
    /// A broker on loopback, on ports that the system chooses.
    pub fn new(storage: Storage) -> Self {
        Self {
            storage,
            listen: loopback(0),
            advertised: None,
            broker_config: BTreeMap::new(),
            limits: Limits::default(),
            clock: Clock::system(),
            shards: 0,
            disk: None,
        }
    }
}

/// IPv4 and IPv6 loopback with this port: a client that resolves `localhost` to either reaches us.
pub fn loopback(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ]
}

/// The most that a broker takes from its network and holds at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request frame in bytes (`socket.request.max.bytes`); a larger one closes the connection.
    pub frame_bytes: usize,
    /// Bytes of requests being read or worked on, over all connections; reading waits when it is reached.
    pub request_memory_bytes: usize,
    /// Bytes of fetched records waiting to be sent, over all connections; fetching waits when it is reached.
    pub response_memory_bytes: usize,
    /// Most bytes of records in one fetch answer, whatever the client asks (`fetch.max.bytes`).
    pub fetch_bytes: usize,
    /// Open connections (`max.connections`); a further one is closed at once.
    pub connections: usize,
    /// Produce requests of one connection that may be under way at once.
    pub in_flight_per_connection: usize,
    /// Partitions of the whole broker.
    pub partitions: usize,
    /// Consumer groups.
    pub groups: usize,
    /// Transactional ids that are remembered; a further one is refused with POLICY_VIOLATION.
    pub transactional_ids: usize,
    /// Partitions that share groups work on, over all groups.
    pub share_partitions: usize,
    /// Fetch sessions (`max.incremental.fetch.session.cache.slots`).
    pub fetch_sessions: usize,
    /// A connection without a request for this long is closed (`connections.max.idle.ms`).
    pub idle: Duration,
    /// How long a client may take to send one frame, once begun, or to read its answers.
    pub stall: Duration,
}

impl Limits {
    /// The limits that have keys of Kafka's.
    fn keyed(&mut self) -> [(&'static str, &mut usize); 4] {
        [
            ("socket.request.max.bytes", &mut self.frame_bytes),
            ("fetch.max.bytes", &mut self.fetch_bytes),
            ("max.connections", &mut self.connections),
            (
                "max.incremental.fetch.session.cache.slots",
                &mut self.fetch_sessions,
            ),
        ]
    }

    /// These limits with what the configuration sets over them; a value that cannot be is refused elsewhere.
    pub fn with(mut self, config: &BTreeMap<String, String>) -> Self {
        for (key, limit) in self.keyed() {
            let value = config.get(key).and_then(|value| value.trim().parse().ok());
            *limit = value.unwrap_or(*limit);
        }
        // A semaphore holds no more.
        self.connections = self.connections.min(MOST_CONNECTIONS);
        let idle = config.get("connections.max.idle.ms");
        let idle = idle.and_then(|value| value.trim().parse().ok());
        self.idle = idle.map_or(self.idle, Duration::from_millis);
        self
    }

    /// What these limits are under Kafka's keys.
    pub fn facts(mut self) -> Vec<(String, String)> {
        let idle = self.idle.as_millis().min(i64::MAX as u128).to_string();
        // What Kafka's keys can say: 32 bits, and never a fetch of nothing.
        let said = |limit: usize| limit.clamp(1_024, i32::MAX as usize).to_string();
        let fact = |(key, limit): (&'static str, &mut usize)| match key {
            "fetch.max.bytes" => (key.to_owned(), said(*limit)),
            _ => (key.to_owned(), (*limit).min(i32::MAX as usize).to_string()),
        };
        let mut facts: Vec<(String, String)> = self.keyed().into_iter().map(fact).collect();
        facts.push(("connections.max.idle.ms".to_owned(), idle));
        facts
    }
}

/// What a limit on connections may be at most.
const MOST_CONNECTIONS: usize = 1 << 24;

impl Limits {
    /// The memory for requests without what is kept for one frame of any size.
    pub fn shared_request_memory(&self) -> usize {
        self.request_memory_bytes.saturating_sub(self.frame_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 100 << 20,
            request_memory_bytes: 256 << 20,
            response_memory_bytes: 128 << 20,
            fetch_bytes: 55 << 20,
            connections: 10_000,
            in_flight_per_connection: 32,
            partitions: 20_000,
            groups: 10_000,
            transactional_ids: 100_000,
            share_partitions: 100_000,
            fetch_sessions: 1_000,
            idle: Duration::from_secs(600),
            stall: Duration::from_secs(60),
        }
    }
}
