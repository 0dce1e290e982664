//! `thalweg dev` and `thalweg start`: the platform in this process until a signal ends it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gateway::{Hosts, Mode};
use operate::provision::Manifest;
use serde::Serialize;
use thalweg::ServeError;
use thalweg::serve::ports::PortChoice;
use thalweg::serve::{self, ServeSettings, Server, Storage};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Context;
use crate::commands::topic_provision;
use crate::config::Settings;
use crate::config::flags::{ClientFlags, Given, ServerFlags};
use crate::exit::CommandError;

/// On one machine there is nobody to wait for: groups start at once.
const REBALANCE_DELAY: &str = "group.initial.rebalance.delay.ms";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one line of JSON with every address to standard output once a client was answered; no first screen
    #[arg(long)]
    ready_json: bool,
    #[command(flatten)]
    server: ServerFlags,
    #[command(flatten)]
    client: ClientFlags,
}

impl Args {
    pub fn given(&self) -> Given {
        self.server.0.clone().and(&self.client.0)
    }
}

/// What `--ready-json` prints.
#[derive(Serialize)]
struct Ready {
    mode: String,
    /// The embedded broker; null without one.
    kafka: Option<String>,
    http: String,
    /// The second HTTP port; null without one.
    rest: Option<String>,
    kafka_addresses: Vec<String>,
    cluster_id: Option<String>,
    data: Option<String>,
    pid: u32,
    ready_ms: f64,
}

/// `for_development` chooses the defaults: ports that may move and groups that do not wait.
pub fn run(context: &Context, args: &Args, for_development: bool) -> Result<(), CommandError> {
    let started = Instant::now();
    let settings = serve_settings(context, for_development)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut server = serve::start(settings).await?;
        server.check().await?;
        for note in std::mem::take(&mut server.notes) {
            eprintln!("note: {note}");
        }
        match args.ready_json {
            true => print_ready(context, &server, started.elapsed())?,
            false => eprint!("{}", screen(context, &server, started.elapsed())),
        }
        tokio::select! {
            () = signals.next() => {}
            error = server.failed() => return Err(error.into()),
        }
        eprintln!("stopping: finishing what is in flight (again to stop at once)");
        tokio::select! {
            () = server.shutdown() => Ok(()),
            () = signals.next() => std::process::exit(130),
        }
    });
    // A client that still waits for a cluster that is away must not keep the process.
    runtime.shutdown_background();
    ended
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, ServeError> {
        let listen = |kind| signal(kind).map_err(ServeError::Runtime);
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn serve_settings(context: &Context, for_development: bool) -> Result<ServeSettings, CommandError> {
    let settings = &context.settings;
    let mode = settings
        .mode(for_development)
        .map_err(CommandError::Usage)?;
    let port = |name: &str| PortChoice {
        port: settings.port(name),
        may_move: for_development && settings.is_default(name),
    };
    let storage = match settings.switch("ephemeral") {
        true => Storage::Memory,
        false => Storage::Directory(PathBuf::from(settings.text("data"))),
    };
    let mut broker_config: std::collections::BTreeMap<String, String> = settings
        .broker
        .iter()
        .map(|(name, setting)| (name.clone(), setting.value.clone()))
        .collect();
    if for_development {
        broker_config
            .entry(REBALANCE_DELAY.to_owned())
            .or_insert_with(|| "0".to_owned());
    }
    Ok(ServeSettings {
        bind: settings
            .text("bind")
            .parse()
            .expect("addresses were checked on the way in"),
        kafka_port: port("kafka_port"),
        http_port: port("http_port"),
        rest_port: rest_port(settings),
        hosts: Hosts::parse(settings.text("http_hosts")),
        mode,
        kafka: mode.uses_kafka().then(|| context.cluster()),
        manifest: manifest(settings.text("provision"))?,
        advertised: advertised(settings.text("advertised"))?,
        storage,
        broker_config,
    })
}

/// A built-in profile by its name, or a file.
fn manifest(text: &str) -> Result<Option<Manifest>, CommandError> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_profile = Manifest::profiles().any(|profile| profile == text);
    let manifest = match is_profile || !Path::new(text).exists() {
        true => Manifest::of_profile(text),
        false => Manifest::parse(text, &topic_provision::read(Path::new(text))?),
    };
    let manifest = manifest.map_err(|error| CommandError::Usage(error.to_string()))?;
    Ok(Some(manifest))
}

/// The second HTTP port. A default one is given up when it is busy, and not opened beside a port that the system chooses.
fn rest_port(settings: &Settings) -> Option<PortChoice> {
    let is_default = settings.is_default("rest_port");
    let any_will_do = settings.port("http_port") == 0;
    if settings.text("rest_port") == "none" || (is_default && any_will_do) {
        return None;
    }
    Some(PortChoice {
        port: settings.port("rest_port"),
        may_move: is_default,
    })
}

/// `host:port`, with brackets around IPv6; empty is none.
fn advertised(text: &str) -> Result<Option<(String, u16)>, CommandError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    });
    match parsed {
        Some(address) => Ok(Some(address)),
        None => {
            let what = format!("advertised: `{text}` is no address; write HOST:PORT");
            Err(CommandError::Usage(what))
        }
    }
}

fn print_ready(context: &Context, server: &Server, took: Duration) -> Result<(), CommandError> {
    let mut http = server
        .http_addresses()
        .iter()
        .map(|address| format!("http://{address}"));
    let ready = Ready {
        mode: server.mode().to_string(),
        kafka: server.kafka_addresses().first().map(ToString::to_string),
        http: http.next().unwrap_or_default(),
        rest: http.next(),
        kafka_addresses: server
            .kafka_addresses()
            .iter()
            .map(ToString::to_string)
            .collect(),
        cluster_id: server.cluster_id().map(str::to_owned),
        data: data_folder(&context.settings, server.mode()).map(str::to_owned),
        pid: std::process::id(),
        ready_ms: took.as_secs_f64() * 1000.0,
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &ready).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

fn data_folder(settings: &Settings, mode: Mode) -> Option<&str> {
    let is_kept = mode.uses_in_memory() && !settings.switch("ephemeral");
    is_kept.then(|| settings.text("data"))
}

/// The first screen: every line an address that works or a command to try.
fn screen(context: &Context, server: &Server, took: Duration) -> String {
    let http = server.http_addresses()[0];
    let pairs = facts(context, server);
    let width = pairs.iter().map(|(_, fact, ..)| fact.len()).max();
    let width = width.unwrap_or(0) + 3;
    let mut text = format!(
        "thalweg {} ready in {:.0} ms\n",
        env!("CARGO_PKG_VERSION"),
        (took.as_secs_f64() * 1000.0).max(1.0),
    );
    for (name, fact, other_name, other) in pairs {
        let line = format!("  {name:<9}{fact:<width$}{other_name:<10}{other}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let commands = commands_to_try(server, http);
    let width = commands.iter().map(|(command, _)| command.len()).max();
    let width = width.unwrap_or(0) + 2;
    for (index, (command, note)) in commands.iter().enumerate() {
        let lead = if index == 0 { "Try:" } else { "" };
        text.push_str(&format!("{lead:<6}{command:<width$}# {note}\n"));
    }
    text
}

/// Two facts a line: name and value, name and value.
fn facts(context: &Context, server: &Server) -> Vec<(&'static str, String, &'static str, String)> {
    let http = server.http_addresses()[0];
    let rest = match server.http_addresses().get(1) {
        Some(rest) => format!("http://{http}/v1 (/api also on {})", rest.port()),
        None => format!("http://{http}/v1"),
    };
    let cluster = || context.cluster().bootstrap().join(",");
    let kafka = match (server.kafka_addresses().first(), server.mode()) {
        (Some(kafka), Mode::Hybrid) => format!("{kafka} → {}", cluster()),
        (Some(kafka), _) => kafka.to_string(),
        (None, _) => cluster(),
    };
    let data = match (data_folder(&context.settings, server.mode()), server.mode()) {
        (Some(folder), _) => format!("{folder} (kept; --ephemeral for none)"),
        (None, Mode::Kafka) => "on the Kafka cluster".to_owned(),
        (None, _) => "in memory (gone at the end)".to_owned(),
    };
    let auth = format!("off, bound to {} only", http.ip());
    let mut facts = vec![
        ("Overview", format!("http://{http}"), "Kafka", kafka),
        ("REST", rest, "Docs", format!("http://{http}/docs")),
        (
            "Metrics",
            format!("http://{http}/metrics"),
            "Health",
            format!("http://{http}/readyz?verbose"),
        ),
        ("Data", data, "Auth", auth),
    ];
    if server.mode() != Mode::InMemory {
        facts.push(("Mode", server.mode().title().to_owned(), "", String::new()));
    }
    facts
}

fn commands_to_try(server: &Server, http: SocketAddr) -> Vec<(String, &'static str)> {
    let flag = match server.kafka_addresses().first().map(ToString::to_string) {
        Some(address) if address != "127.0.0.1:9092" => format!(" --kafka {address}"),
        _ => String::new(),
    };
    if server.mode() == Mode::Kafka {
        let curl = format!("curl -s http://{http}/v1/topics");
        return vec![(curl, "what is on the cluster")];
    }
    vec![
        (
            format!("echo hi | thalweg produce hello{flag}"),
            "the topic is created on first use",
        ),
        (format!("thalweg consume hello{flag}"), "Ctrl-C ends it"),
        (
            format!("curl -s 'http://{http}/v1/topics/hello/records?from=earliest'"),
            "the same over HTTP",
        ),
        (
            format!("thalweg demo{flag}"),
            "336,776 real flights, in and out again",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_has_host_and_port() {
        let parsed = |text: &str| advertised(text).map_err(|error| error.to_string());
        assert_eq!(parsed(""), Ok(None));
        assert_eq!(
            parsed("kafka.example:9094"),
            Ok(Some(("kafka.example".to_owned(), 9094)))
        );
        assert_eq!(parsed("[::1]:9092"), Ok(Some(("::1".to_owned(), 9092))));
        for wrong in ["kafka.example", ":9092", "host:port"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
