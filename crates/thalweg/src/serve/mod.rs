//! Starting the platform in this process: broker, HTTP, ports; and stopping it in order.
//!
//! Called by `thalweg dev` and `thalweg start`. Here the platform is given its clusters: the embedded broker, a Kafka cluster, or
//! both. Above this file nothing knows that the broker is embedded: everything else talks to it over the wire.

mod http;
mod limited;
mod open_files;
pub mod ports;
mod provision;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use broker::Storage;
use broker::{Advertised, Broker, BrokerSettings, StartError, loopback};
use client::{ClientError, Cluster};
use gateway::{Backends, Gateway, Hosts, Mode};
use operate::provision::Manifest;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use ports::{PortChoice, PortError};

/// How long the broker may take for its first Metadata answer before starting counts as failed.
const SELF_CHECK_LIMIT: Duration = Duration::from_secs(10);

/// How long HTTP requests under way may take at the end.
const HTTP_DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    pub bind: IpAddr,
    pub kafka_port: PortChoice,
    pub http_port: PortChoice,
    /// A second port for the same HTTP; nothing when there is none.
    pub rest_port: Option<PortChoice>,
    /// Names by which browsers may ask, besides addresses and `localhost`.
    pub hosts: Hosts,
    pub mode: Mode,
    /// The cluster of the modes that use Kafka.
    pub kafka: Option<Cluster>,
    /// Topics that are there when the platform is ready.
    pub manifest: Option<Manifest>,
    pub advertised: Option<(String, u16)>,
    pub storage: Storage,
    /// Broker settings under their Kafka names.
    pub broker_config: BTreeMap<String, String>,
}

/// Why it did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(
        "refusing to listen on {0}: without authentication anyone who reaches it can read, change and delete every record. \
         Listen on 127.0.0.1 or ::1 and reach it from elsewhere through a tunnel, as in: ssh -L 9092:127.0.0.1:9092 HOST"
    )]
    OpenToNetwork(IpAddr),
    #[error(transparent)]
    Broker(#[from] StartError),
    #[error("starting threads: {0}")]
    Runtime(io::Error),
    #[error("HTTP on {address}: {source}")]
    Http {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("mode {0} needs a Kafka cluster; name it by --kafka HOST:PORT or in the table [kafka]")]
    NoCluster(Mode),
    #[error("the cluster does not answer: {0}")]
    SelfCheck(#[from] ClientError),
    #[error("the broker stopped: {0}")]
    Failed(String),
}

impl ServeError {
    /// Whether a port was taken: a conflict rather than a fault.
    pub fn is_port_in_use(&self) -> bool {
        match self {
            ServeError::Port(_) => true,
            ServeError::Broker(StartError::Listen { source, .. })
            | ServeError::Http { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            ServeError::Broker(StartError::DataLocked { .. }) => true,
            _ => false,
        }
    }
}

/// A running platform.
pub struct Server {
    /// The embedded broker, in the modes that have one.
    broker: Option<Arc<Broker>>,
    gateway: Gateway,
    http_addresses: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
    http: Vec<JoinHandle<io::Result<()>>>,
    /// What was done otherwise than by default, for the person who started it.
    pub notes: Vec<String>,
}

/// Starts everything; returns when the ports accept connections.
///
/// # Errors
/// A busy port that was asked for, an address open to the network, a locked data folder, an unknown setting.
pub async fn start(settings: ServeSettings) -> Result<Server, ServeError> {
    if !settings.bind.to_canonical().is_loopback() {
        return Err(ServeError::OpenToNetwork(settings.bind));
    }
    let mut notes = Vec::new();
    let listeners = http_listeners(&settings, &mut notes).await?;
    let http_addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .map_err(ServeError::Runtime)?;
    let broker = match settings.mode.uses_in_memory() {
        true => Some(start_broker(&settings, &mut notes).await?),
        false => None,
    };
    let (stopping, stop) = watch::channel(false);
    let backends = backends(&settings, broker.as_deref())?;
    if let Some(manifest) = &settings.manifest {
        notes.extend(provision::at_start(manifest, &backends, stop.clone()).await?);
    }
    let gateway = Gateway::new(backends, stop.clone()).with_hosts(settings.hosts.clone());
    let router = http::router(broker.clone(), gateway.clone(), stop.clone());
    let http = listeners
        .into_iter()
        .map(|listener| tokio::spawn(http::serve(listener, router.clone(), stop.clone())))
        .collect();
    Ok(Server {
        broker,
        gateway,
        http_addresses,
        stopping,
        http,
        notes,
    })
}

async fn start_broker(
    settings: &ServeSettings,
    notes: &mut Vec<String>,
) -> Result<Arc<Broker>, ServeError> {
    let advertised = settings.advertised.clone();
    let broker = Broker::start(BrokerSettings {
        listen: kafka_addresses(settings, notes)?,
        advertised: advertised.map(|(host, port)| Advertised {
            host: Some(host),
            port: Some(port),
        }),
        broker_config: settings.broker_config.clone(),
        limits: open_files::limits(),
        ..BrokerSettings::new(settings.storage.clone())
    });
    Ok(Arc::new(broker.await?))
}

/// The clusters of the mode.
fn backends(settings: &ServeSettings, broker: Option<&Broker>) -> Result<Backends, ServeError> {
    let embedded = broker.map(|broker| Cluster::new(&broker.kafka_addresses()[0].to_string()));
    match (settings.mode, embedded, settings.kafka.clone()) {
        (Mode::InMemory, Some(embedded), _) => Ok(Backends::in_memory_only(embedded)),
        (Mode::Kafka, _, Some(kafka)) => Ok(Backends::kafka_only(kafka)),
        (Mode::Hybrid, Some(embedded), Some(kafka)) => Ok(Backends::hybrid(embedded, kafka)),
        (mode, ..) => Err(ServeError::NoCluster(mode)),
    }
}

/// The default address stands for both loopbacks: a client that resolves `localhost` to either one reaches us.
fn kafka_addresses(
    settings: &ServeSettings,
    notes: &mut Vec<String>,
) -> Result<Vec<SocketAddr>, ServeError> {
    let both = settings.bind == IpAddr::from([127, 0, 0, 1]);
    let addresses = |port| match both {
        true => loopback(port),
        false => vec![SocketAddr::new(settings.bind, port)],
    };
    let (port, note) = ports::choose("Kafka", settings.kafka_port, addresses)?;
    notes.extend(note);
    Ok(addresses(port))
}

/// The HTTP port, then the REST port if there is one.
async fn http_listeners(
    settings: &ServeSettings,
    notes: &mut Vec<String>,
) -> Result<Vec<TcpListener>, ServeError> {
    let (http, note) = listen("HTTP", settings.bind, settings.http_port).await?;
    notes.extend(note);
    let mut listeners = vec![http];
    let Some(choice) = settings.rest_port else {
        return Ok(listeners);
    };
    let fixed = PortChoice {
        may_move: false,
        ..choice
    };
    match listen("REST", settings.bind, fixed).await {
        Ok((rest, _)) => listeners.push(rest),
        // Who did not ask for it has the same HTTP on the other port; another number would help nobody.
        Err(error) if choice.may_move && error.is_port_in_use() => {
            notes.push(format!("{error}; the legacy API is on the HTTP port alone"));
        }
        Err(error) => return Err(error),
    }
    Ok(listeners)
}

async fn listen(
    what: &'static str,
    bind: IpAddr,
    choice: PortChoice,
) -> Result<(TcpListener, Option<String>), ServeError> {
    let addresses = |port| vec![SocketAddr::new(bind, port)];
    let (port, note) = ports::choose(what, choice, addresses)?;
    let address = SocketAddr::new(bind, port);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| ServeError::Http { address, source })?;
    Ok((listener, note))
}

impl Server {
    /// Every address of the embedded broker; the first one is IPv4 unless bound to IPv6 only. Empty without one.
    pub fn kafka_addresses(&self) -> &[SocketAddr] {
        let broker = self.broker.as_ref();
        broker.map_or(&[], |broker| broker.kafka_addresses())
    }

    /// The HTTP port, then the REST port if there is one.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http_addresses
    }

    pub fn mode(&self) -> Mode {
        self.gateway.backends().mode()
    }

    /// The id of the embedded broker's cluster.
    pub fn cluster_id(&self) -> Option<&str> {
        self.broker.as_ref().map(|broker| broker.cluster_id())
    }

    /// Asks the cluster that the platform works on for its Metadata over the wire, as any client does.
    ///
    /// # Errors
    /// `SelfCheck` when it does not answer.
    pub async fn check(&self) -> Result<(), ServeError> {
        let cluster = self.gateway.backends().primary().cluster().clone();
        let cluster = cluster
            .with_client_id("thalweg-start")
            .with_timeout(SELF_CHECK_LIMIT);
        cluster.admin().await?;
        Ok(())
    }

    /// Ends only when the broker cannot go on, with the reason.
    pub async fn failed(&self) -> ServeError {
        match &self.broker {
            Some(broker) => ServeError::Failed(broker.failed().await.to_string()),
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, finishes what is in flight, syncs, closes.
    pub async fn shutdown(self) {
        // Not ready from now on, so that a load balancer looks elsewhere while requests finish.
        self.stopping.send_replace(true);
        // HTTP first: its requests still need the broker. An answer that nobody fetches must not keep the process.
        let drained = async {
            for http in self.http {
                let _ = http.await;
            }
        };
        let _ = tokio::time::timeout(HTTP_DRAIN_LIMIT, drained).await;
        if let Some(broker) = &self.broker {
            broker.shutdown().await;
        }
    }
}
