//! The broker that a suite runs against: Thalweg, or Apache Kafka to learn how a test of theirs behaves there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::kafka::{BrokerOptions, Jars, KafkaBroker};
use crate::probe;
use crate::repository::{self, Scratch};
use crate::thalweg::{self, Thalweg};

pub enum Subject {
    Thalweg(PathBuf),
    Kafka(Jars),
    /// Somebody else's broker: it has the settings it has.
    Address(SocketAddr),
}

/// A broker that was started for one suite; stopped, and its folder removed, when dropped.
pub struct Running {
    pub address: SocketAddr,
    broker: Broker,
    folder: Scratch,
}

enum Broker {
    Thalweg(Thalweg),
    Kafka(KafkaBroker),
    NotOurs,
}

impl Subject {
    pub fn thalweg() -> Result<Subject, String> {
        thalweg::build().map(Subject::Thalweg)
    }

    /// Starts a broker with these settings, by Kafka's names, on an empty folder.
    pub fn start(&self, what: &str, settings: &[(&str, &str)]) -> Result<Running, String> {
        self.start_on(what, settings, None)
    }

    /// As `start`, on this port, which tests of a suite use without asking.
    pub fn start_at(
        &self,
        what: &str,
        settings: &[(&str, &str)],
        port: u16,
    ) -> Result<Running, String> {
        if !probe::is_free(port) {
            return Err(format!(
                "port {port} is in use, and tests of this suite take it for granted"
            ));
        }
        self.start_on(what, settings, Some(port))
    }

    fn start_on(
        &self,
        what: &str,
        settings: &[(&str, &str)],
        port: Option<u16>,
    ) -> Result<Running, String> {
        let folder = repository::scratch(what)?;
        let (address, broker) = match self {
            Subject::Thalweg(binary) => {
                let pairs: Vec<String> = settings
                    .iter()
                    .flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")])
                    .collect();
                let extra: Vec<&str> = pairs.iter().map(String::as_str).collect();
                let broker = match port {
                    Some(port) => Thalweg::start_at(port, binary, folder.path(), &extra)?,
                    None => Thalweg::start(binary, folder.path(), &extra)?,
                };
                (broker.address, Broker::Thalweg(broker))
            }
            Subject::Kafka(jars) => {
                let properties = settings
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect();
                let options = BrokerOptions {
                    heap: "1g".to_owned(),
                    port,
                    properties,
                };
                let broker = KafkaBroker::start(jars, folder.path(), &options)?;
                (broker.address, Broker::Kafka(broker))
            }
            Subject::Address(address) => (*address, Broker::NotOurs),
        };
        Ok(Running {
            address,
            broker,
            folder,
        })
    }
}

impl Running {
    /// For what belongs to the run: configuration files, logs of tests.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it; a broker that had ended before, or does not end well, is an error.
    pub fn stop(mut self) -> Result<(), String> {
        match &mut self.broker {
            Broker::Thalweg(broker) => {
                if broker.has_ended() {
                    let log = std::fs::read_to_string(self.folder.path().join("server.log"));
                    let last = crate::process::last_lines(&log.unwrap_or_default(), 15);
                    return Err(format!("thalweg ended during the suite:\n{last}"));
                }
                broker.stop()
            }
            Broker::Kafka(broker) => broker.stop(),
            Broker::NotOurs => Ok(()),
        }
    }
}
