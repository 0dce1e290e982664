//! `thalweg dev` and `thalweg start`: the platform in this process until a signal ends it.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use thalweg::ServeError;
use thalweg::serve::ports::PortChoice;
use thalweg::serve::{self, ServeSettings, Server, Storage};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Context;
use crate::config::Settings;
use crate::config::flags::ServerFlags;
use crate::exit::CommandError;

/// On one machine there is nobody to wait for: groups start at once.
const REBALANCE_DELAY: &str = "group.initial.rebalance.delay.ms";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one line of JSON with every address to standard output once a client was answered; no first screen
    #[arg(long)]
    ready_json: bool,
    #[command(flatten)]
    pub server: ServerFlags,
}

/// What `--ready-json` prints.
#[derive(Serialize)]
struct Ready {
    kafka: String,
    http: String,
    kafka_addresses: Vec<String>,
    cluster_id: String,
    data: Option<String>,
    pid: u32,
    ready_ms: f64,
}

/// `for_development` chooses the defaults: ports that may move and groups that do not wait.
pub fn run(context: &Context, args: &Args, for_development: bool) -> Result<(), CommandError> {
    let started = Instant::now();
    let settings = serve_settings(&context.settings, for_development)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    runtime.block_on(async {
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
    })
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

fn serve_settings(
    settings: &Settings,
    for_development: bool,
) -> Result<ServeSettings, CommandError> {
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
        advertised: advertised(settings.text("advertised"))?,
        storage,
        broker_config,
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
    let ready = Ready {
        kafka: server.kafka_addresses()[0].to_string(),
        http: format!("http://{}", server.http_address()),
        kafka_addresses: server
            .kafka_addresses()
            .iter()
            .map(ToString::to_string)
            .collect(),
        cluster_id: server.cluster_id().to_owned(),
        data: data_folder(&context.settings).map(str::to_owned),
        pid: std::process::id(),
        ready_ms: took.as_secs_f64() * 1000.0,
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &ready).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

fn data_folder(settings: &Settings) -> Option<&str> {
    (!settings.switch("ephemeral")).then(|| settings.text("data"))
}

/// The first screen: every line an address that works or a command to try.
fn screen(context: &Context, server: &Server, took: Duration) -> String {
    let kafka = server.kafka_addresses()[0];
    let http = server.http_address();
    let data = match data_folder(&context.settings) {
        Some(folder) => format!("{folder} (kept; --ephemeral for none)"),
        None => "in memory (gone at the end)".to_owned(),
    };
    let flag = match kafka.to_string().as_str() {
        "127.0.0.1:9092" => String::new(),
        address => format!(" --kafka {address}"),
    };
    let left = [format!("{kafka}"), format!("http://{http}/metrics"), data];
    let width = left.iter().map(String::len).max().unwrap_or(0) + 3;
    let [kafka_text, metrics, data] = left;
    let commands = [
        (
            format!("echo hi | thalweg produce hello{flag}"),
            "the topic is created on first use",
        ),
        (format!("thalweg consume hello{flag}"), "Ctrl-C ends it"),
        (
            format!("thalweg demo{flag}"),
            "336,776 real flights, in and out again",
        ),
    ];
    let command_width = commands
        .iter()
        .map(|(command, _)| command.len())
        .max()
        .unwrap_or(0)
        + 2;
    let mut text = format!(
        "thalweg {} ready in {:.0} ms\n  \
         Kafka    {kafka_text:<width$}Overview  http://{http}\n  \
         Metrics  {metrics:<width$}Health    http://{http}/readyz?verbose\n  \
         Data     {data:<width$}Auth      off, bound to {} only\n",
        env!("CARGO_PKG_VERSION"),
        (took.as_secs_f64() * 1000.0).max(1.0),
        kafka.ip(),
    );
    for (index, (command, note)) in commands.iter().enumerate() {
        let lead = if index == 0 { "Try:" } else { "" };
        text.push_str(&format!("{lead:<6}{command:<command_width$}# {note}\n"));
    }
    text
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
