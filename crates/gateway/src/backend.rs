//! A cluster that the gateway works on, with the clients it needs, each opened when it is first asked for.
//!
//! Nothing is connected at start: an idle gateway costs no thread and no connection. All of it is only ever a Kafka client.

use std::sync::Arc;

use client::topics::NewTopic;
use client::{AdminPool, AsyncProducer, ClientError, Cluster, ErrorKind, PooledAdmin, Reader};
use parking_lot::Mutex;

use crate::mode::Mode;

/// How many admin connections may be open at a time; more callers wait.
const ADMIN_CONNECTIONS: usize = 16;
/// A topic that is made for somebody has this many replicas, or as many as there are brokers.
const REPLICAS: i16 = 3;

/// Which side a topic or a message is on; the names are those of the legacy API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    InMemory,
    Kafka,
}

impl Source {
    /// As in `"source": "In-Memory"`.
    pub fn title(self) -> &'static str {
        match self {
            Source::InMemory => "In-Memory",
            Source::Kafka => "Kafka",
        }
    }
}

/// One cluster; clones share its clients.
#[derive(Clone)]
pub struct Backend(Arc<Inner>);

struct Inner {
    source: Source,
    cluster: Cluster,
    admins: AdminPool,
    reader: Reader,
    /// One by how many acknowledgements are wanted.
    producers: Mutex<[Option<AsyncProducer>; 3]>,
}

/// Who must have a record before it counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// All in-sync replicas.
    #[default]
    All,
    Leader,
    /// Nobody: the offset is not known either.
    None,
}

impl Backend {
    pub fn new(source: Source, cluster: Cluster) -> Backend {
        Backend(Arc::new(Inner {
            source,
            admins: cluster.admin_pool(ADMIN_CONNECTIONS),
            reader: cluster.reader(),
            producers: Mutex::default(),
            cluster,
        }))
    }

    pub fn source(&self) -> Source {
        self.0.source
    }

    pub fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    /// An admin connection; waits while all are in use.
    ///
    /// # Errors
    /// `Unreachable` when no broker answers.
    pub async fn admin(&self) -> Result<PooledAdmin, ClientError> {
        self.0.admins.get().await
    }

    /// Reads without a group; topics that do not exist are refused, never created.
    pub fn reader(&self) -> &Reader {
        &self.0.reader
    }

    /// Creates a topic unless it is there, and waits until it can be written to; tells whether it was missing.
    ///
    /// # Errors
    /// `Unreachable` when no broker answers, `Refused` with the cluster's reason.
    pub async fn ensure_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<bool, ClientError> {
        match self.reader().topic(name).await {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut admin = self.admin().await?;
        let brokers = i16::try_from(admin.info().brokers.len()).unwrap_or(i16::MAX);
        let topic = NewTopic {
            name,
            partitions: Some(partitions),
            replication_factor: Some(REPLICAS.min(brokers.max(1))),
            configs: configs.to_vec(),
        };
        let created = admin.create_topic(&topic, false).await;
        let was_missing = match created {
            Ok(_) => true,
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::Conflict => false,
            Err(error) => return Err(error),
        };
        admin.settled_topic(name).await?;
        Ok(was_missing)
    }

    /// The one idempotent producer of this process for this cluster, made at the first call.
    ///
    /// # Errors
    /// `Client` when a property of the cluster is not accepted.
    pub fn producer(&self) -> Result<AsyncProducer, ClientError> {
        self.producer_with(Acks::All)
    }

    /// A producer that waits for fewer acknowledgements, made at the first call.
    ///
    /// # Errors
    /// As [`Backend::producer`].
    pub fn producer_with(&self, acks: Acks) -> Result<AsyncProducer, ClientError> {
        let (place, value) = match acks {
            Acks::All => (0, "all"),
            Acks::Leader => (1, "1"),
            Acks::None => (2, "0"),
        };
        let mut producers = self.0.producers.lock();
        if let Some(producer) = &producers[place] {
            return Ok(producer.clone());
        }
        let opened = self.0.cluster.async_producer(&[("acks", value)])?;
        producers[place] = Some(opened.clone());
        Ok(opened)
    }
}

/// The clusters of the mode in force.
#[derive(Clone)]
pub struct Backends {
    mode: Mode,
    in_memory: Option<Backend>,
    kafka: Option<Backend>,
}

impl Backends {
    pub fn in_memory_only(embedded: Cluster) -> Backends {
        Backends {
            mode: Mode::InMemory,
            in_memory: Some(Backend::new(Source::InMemory, embedded)),
            kafka: None,
        }
    }

    pub fn kafka_only(kafka: Cluster) -> Backends {
        Backends {
            mode: Mode::Kafka,
            in_memory: None,
            kafka: Some(Backend::new(Source::Kafka, kafka)),
        }
    }

    pub fn hybrid(embedded: Cluster, kafka: Cluster) -> Backends {
        Backends {
            mode: Mode::Hybrid,
            in_memory: Some(Backend::new(Source::InMemory, embedded)),
            kafka: Some(Backend::new(Source::Kafka, kafka)),
        }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn in_memory(&self) -> Option<&Backend> {
        self.in_memory.as_ref()
    }

    pub fn kafka(&self) -> Option<&Backend> {
        self.kafka.as_ref()
    }

    /// Where `/v1` works and where the platform keeps its own state: the embedded broker if there is one, else Kafka.
    pub fn primary(&self) -> &Backend {
        self.in_memory
            .as_ref()
            .or(self.kafka.as_ref())
            .expect("every mode has a backend")
    }

    /// In the order in which a publish goes to them: In-Memory first.
    pub fn all(&self) -> impl Iterator<Item = &Backend> {
        self.in_memory.iter().chain(&self.kafka)
    }
}
