//! Starting the platform in this process: broker, HTTP, ports; and stopping it in order.
//!
//! Called by `thalweg dev` and `thalweg start`. Above this file nothing knows that the broker is embedded: everything else
//! talks to it over the wire.

mod http;
mod landing;
mod limited;
mod open_files;
pub mod ports;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use broker::Storage;
use broker::{Advertised, Broker, BrokerSettings, StartError, loopback};
use client::{ClientError, Cluster};
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
    #[error("the broker started but does not answer itself: {0}")]
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
    broker: Arc<Broker>,
    http_address: SocketAddr,
    stopping: watch::Sender<bool>,
    http: JoinHandle<io::Result<()>>,
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
    let kafka = kafka_addresses(&settings, &mut notes)?;
    let http = http_listener(&settings, &mut notes).await?;
    let http_address = http.local_addr().map_err(ServeError::Runtime)?;
    let broker = Broker::start(BrokerSettings {
        listen: kafka,
        advertised: settings.advertised.map(|(host, port)| Advertised {
            host: Some(host),
            port: Some(port),
        }),
        broker_config: settings.broker_config,
        limits: open_files::limits(),
        ..BrokerSettings::new(settings.storage)
    })
    .await?;
    let broker = Arc::new(broker);
    let (stopping, stop) = watch::channel(false);
    let router = http::router(Arc::clone(&broker), stop.clone());
    let http = tokio::spawn(http::serve(http, router, stop));
    Ok(Server {
        broker,
        http_address,
        stopping,
        http,
        notes,
    })
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

async fn http_listener(
    settings: &ServeSettings,
    notes: &mut Vec<String>,
) -> Result<TcpListener, ServeError> {
    let address = |port| vec![SocketAddr::new(settings.bind, port)];
    let (port, note) = ports::choose("HTTP", settings.http_port, address)?;
    notes.extend(note);
    let address = SocketAddr::new(settings.bind, port);
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Http { address, source })
}

impl Server {
    /// Every address for Kafka clients; the first one is IPv4 unless bound to IPv6 only.
    pub fn kafka_addresses(&self) -> &[SocketAddr] {
        self.broker.kafka_addresses()
    }

    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    pub fn cluster_id(&self) -> &str {
        self.broker.cluster_id()
    }

    /// Asks the broker for its Metadata over the wire, as any client does.
    ///
    /// # Errors
    /// `SelfCheck` when it does not answer.
    pub async fn check(&self) -> Result<(), ServeError> {
        let address = self.broker.kafka_addresses()[0].to_string();
        let cluster = Cluster::new(&address)
            .with_client_id("thalweg-start")
            .with_timeout(SELF_CHECK_LIMIT);
        cluster.admin().await?;
        Ok(())
    }

    /// Ends only when the broker cannot go on, with the reason.
    pub async fn failed(&self) -> ServeError {
        ServeError::Failed(self.broker.failed().await.to_string())
    }

    /// Stops accepting, finishes what is in flight, syncs, closes.
    pub async fn shutdown(self) {
        // Not ready from now on, so that a load balancer looks elsewhere while requests finish.
        self.stopping.send_replace(true);
        self.broker.shutdown().await;
        // An answer that nobody fetches must not keep the process.
        let _ = tokio::time::timeout(HTTP_DRAIN_LIMIT, self.http).await;
    }
}
