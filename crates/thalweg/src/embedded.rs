//! A broker inside this process: on free ports, in memory or on disk, with its own threads, stopped when it is dropped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use broker::{Broker, BrokerSettings, Storage, loopback};
use tokio::sync::oneshot;

use crate::serve::ServeError;

/// What an embedded broker is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    storage: Storage,
    kafka_port: u16,
    broker_config: BTreeMap<String, String>,
}

impl Settings {
    /// Everything in memory; no file is touched and nothing outlives the handle.
    pub fn in_memory() -> Settings {
        Settings::with_storage(Storage::Memory)
    }

    /// Data in `folder`, which is created when it is missing and stays when the handle is dropped.
    pub fn on_disk(folder: impl Into<PathBuf>) -> Settings {
        Settings::with_storage(Storage::Directory(folder.into()))
    }

    fn with_storage(storage: Storage) -> Settings {
        // Groups of tests and tools should not wait for more members to come.
        let delay = "group.initial.rebalance.delay.ms";
        Settings {
            storage,
            kafka_port: 0,
            broker_config: BTreeMap::from([(delay.to_owned(), "0".to_owned())]),
        }
    }

    /// A fixed port for Kafka clients in place of a free one.
    pub fn kafka_port(mut self, port: u16) -> Settings {
        self.kafka_port = port;
        self
    }

    /// A broker setting under its Kafka name, as in `num.partitions`.
    pub fn broker_config(mut self, name: &str, value: &str) -> Settings {
        self.broker_config.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A running broker; dropping it stops it, after what is in flight was answered and synced.
#[derive(Debug)]
pub struct Embedded {
    addresses: Vec<SocketAddr>,
    cluster_id: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a broker and returns once it accepts connections.
///
/// It runs on threads of its own, so this can be called from anywhere, inside an async runtime or outside.
///
/// # Errors
/// Whatever keeps a broker from starting: a busy port, a folder that is locked or cannot be written, an unknown setting.
pub fn embedded(settings: Settings) -> Result<Embedded, ServeError> {
    let (stop, stopped) = oneshot::channel();
    let (started, starting) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("thalweg-embedded".to_owned())
        .spawn(move || run(settings, &started, stopped))
        .map_err(ServeError::Runtime)?;
    let outcome = starting.recv().unwrap_or_else(|_| {
        let reason = "the broker's thread ended before it was ready";
        Err(ServeError::Runtime(std::io::Error::other(reason)))
    });
    match outcome {
        Ok((addresses, cluster_id)) => Ok(Embedded {
            addresses,
            cluster_id,
            stop: Some(stop),
            thread: Some(thread),
        }),
        Err(error) => {
            let _ = thread.join();
            Err(error)
        }
    }
}

type Started = Result<(Vec<SocketAddr>, String), ServeError>;

fn run(settings: Settings, started: &mpsc::SyncSender<Started>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("thalweg-embedded")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(ServeError::Runtime(error)));
            return;
        }
    };
    runtime.block_on(async {
        let broker_settings = BrokerSettings {
            listen: loopback(settings.kafka_port),
            broker_config: settings.broker_config,
            ..BrokerSettings::new(settings.storage)
        };
        match Broker::start(broker_settings).await {
            Err(error) => {
                let _ = started.send(Err(ServeError::Broker(error)));
            }
            Ok(broker) => {
                let addresses = broker.kafka_addresses().to_vec();
                let cluster_id = broker.cluster_id().to_owned();
                let _ = started.send(Ok((addresses, cluster_id)));
                // A dropped sender is a stop as well.
                let _ = stopped.await;
                broker.shutdown().await;
            }
        }
    });
}

impl Embedded {
    /// The address for Kafka clients on IPv4 loopback.
    pub fn kafka_address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// `host:port` for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.kafka_address().to_string()
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
