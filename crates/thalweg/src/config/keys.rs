//! The table of settings: flags, environment variables, `thalweg.toml`, `config show` and the reference page come from it.

use std::net::IpAddr;
use std::path::Path;

use client::time::parse_duration;

use crate::output::Format;

/// Which commands take a setting as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every command.
    Any,
    /// Commands that start the broker.
    Server,
    /// Commands that talk to a cluster.
    Client,
}

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Port,
    /// A port, or `none`.
    PortOrNone,
    Mode,
    Address,
    Path,
    Switch,
    Duration,
    Output,
    LogFormat,
}

/// One setting: `kafka_port` in the file, `--kafka-port` as a flag, `THALWEG_KAFKA_PORT` in the environment.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub short: Option<char>,
    pub scope: Scope,
    pub kind: Kind,
    pub placeholder: &'static str,
    /// Empty when unset is a state of its own.
    pub default: &'static str,
    pub doc: &'static str,
}

/// Every setting, in the order of the reference page.
pub const KEYS: &[Key] = &[
    Key {
        name: "kafka",
        short: None,
        scope: Scope::Client,
        kind: Kind::Text,
        placeholder: "HOST:PORT",
        default: "127.0.0.1:9092",
        doc: "The cluster to talk to: one address or several, separated by commas",
    },
    Key {
        name: "timeout",
        short: None,
        scope: Scope::Client,
        kind: Kind::Duration,
        placeholder: "DURATION",
        default: "10s",
        doc: "The longest wait for one request to the cluster",
    },
    Key {
        name: "output",
        short: Some('o'),
        scope: Scope::Any,
        kind: Kind::Output,
        placeholder: "FORMAT",
        default: "table",
        doc: "How data is printed: table, json, name or template='{name}'",
    },
    Key {
        name: "log",
        short: None,
        scope: Scope::Any,
        kind: Kind::Text,
        placeholder: "FILTER",
        default: "warn",
        doc: "What is logged to standard error: a level, or levels by target as in warn,broker=debug",
    },
    Key {
        name: "log_format",
        short: None,
        scope: Scope::Any,
        kind: Kind::LogFormat,
        placeholder: "FORMAT",
        default: "auto",
        doc: "How it is logged: text, json, or auto, which is text on a terminal and json elsewhere",
    },
    Key {
        name: "bind",
        short: None,
        scope: Scope::Server,
        kind: Kind::Address,
        placeholder: "IP",
        default: "127.0.0.1",
        doc: "The address to listen on; only loopback while there is no authentication",
    },
    Key {
        name: "kafka_port",
        short: None,
        scope: Scope::Server,
        kind: Kind::Port,
        placeholder: "PORT",
        default: "9092",
        doc: "The port for Kafka clients; 0 takes any free one",
    },
    Key {
        name: "http_port",
        short: None,
        scope: Scope::Server,
        kind: Kind::Port,
        placeholder: "PORT",
        default: "8080",
        doc: "The port for HTTP: overview page, REST, health, metrics; 0 takes any free one",
    },
    Key {
        name: "rest_port",
        short: None,
        scope: Scope::Server,
        kind: Kind::PortOrNone,
        placeholder: "PORT",
        default: "5297",
        doc: "A second port for the same HTTP, where clients of the legacy REST API expect it; 0 takes any free one, none opens none, as does an http_port of 0",
    },
    Key {
        name: "http_hosts",
        short: None,
        scope: Scope::Server,
        kind: Kind::Text,
        placeholder: "NAMES",
        default: "",
        doc: "Names by which browsers may ask the HTTP server, separated by commas, besides addresses and localhost: for a reverse proxy or a name in /etc/hosts",
    },
    Key {
        name: "mode",
        short: None,
        scope: Scope::Server,
        kind: Kind::Mode,
        placeholder: "MODE",
        default: "",
        doc: "Where records go: in-memory (the embedded broker), kafka (the cluster of --kafka or [kafka]) or hybrid (both); unset, kafka when a cluster is named and in-memory otherwise",
    },
    Key {
        name: "provision",
        short: None,
        scope: Scope::Server,
        kind: Kind::Text,
        placeholder: "PROFILE|FILE",
        default: "",
        doc: "Topics to create at start when they are missing: the profile lab, hybrid or enterprise, or a manifest file",
    },
    Key {
        name: "advertised",
        short: None,
        scope: Scope::Server,
        kind: Kind::Text,
        placeholder: "HOST:PORT",
        default: "",
        doc: "The address that clients are told; unset, each is told the one by which it came",
    },
    Key {
        name: "data",
        short: None,
        scope: Scope::Server,
        kind: Kind::Path,
        placeholder: "FOLDER",
        default: "./thalweg-data",
        doc: "The folder that holds the data",
    },
    Key {
        name: "ephemeral",
        short: None,
        scope: Scope::Server,
        kind: Kind::Switch,
        placeholder: "",
        default: "false",
        doc: "Keep everything in memory and touch no file",
    },
];

impl Key {
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    pub fn variable(&self) -> String {
        format!("THALWEG_{}", self.name.to_uppercase())
    }

    /// Checks a value; the error says what would be right.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Text | Kind::Path if value.is_empty() => Err("must not be empty".to_owned()),
            Kind::Text | Kind::Path => Ok(()),
            Kind::PortOrNone if value == "none" => Ok(()),
            Kind::Port | Kind::PortOrNone if value.starts_with("tcp://") => Err(format!(
                "`{value}` is no port; Kubernetes sets such a variable for a service of that name: use enableServiceLinks: false"
            )),
            Kind::Port | Kind::PortOrNone => value
                .parse::<u16>()
                .map(drop)
                .map_err(|_| format!("`{value}` is no port; a port is a number from 0 to 65535")),
            Kind::Address => value.parse::<IpAddr>().map(drop).map_err(|_| {
                format!("`{value}` is no IP address; write for example 127.0.0.1 or ::1")
            }),
            Kind::Mode => match value {
                "in-memory" | "kafka" | "hybrid" => Ok(()),
                _ => Err(format!(
                    "`{value}` is no mode; use in-memory, kafka or hybrid"
                )),
            },
            Kind::Switch => value
                .parse::<bool>()
                .map(drop)
                .map_err(|_| format!("`{value}` is neither true nor false")),
            Kind::Duration => parse_duration(value).map(drop),
            Kind::Output => value.parse::<Format>().map(drop),
            Kind::LogFormat => match value {
                "auto" | "text" | "json" => Ok(()),
                _ => Err(format!(
                    "`{value}` is no log format; use auto, text or json"
                )),
            },
        }
    }
}

/// The setting called `name`.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The files that are looked for when `--config` names none; the first that exists is read.
pub fn default_files() -> [&'static Path; 2] {
    [
        Path::new("thalweg.toml"),
        Path::new("/etc/thalweg/thalweg.toml"),
    ]
}
