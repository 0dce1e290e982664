//! `cargo xtask interop`: real clients, unmodified, against Thalweg (or Apache Kafka, to check the scripts themselves).
//!
//! Client programs live in `interop/`; a full run against Thalweg also reads its segments with Kafka's own tool, cuts its power
//! many times (`powercut`), and writes docs/compatibility.md.

mod clients;
mod report;
mod segments;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kafka::{BrokerOptions, Jars, KafkaBroker};
use crate::thalweg::{self, Thalweg};
use crate::{TaskResult, powercut, repository};

const USAGE: &str = "usage: cargo xtask interop [--against thalweg|kafka|HOST:PORT] [--only CLIENT,…] [--rounds N] [--no-report]";
/// A client that has not finished by then is stopped; what it had reported counts.
const CLIENT_PATIENCE: Duration = Duration::from_secs(600);

struct Options {
    against: String,
    only: Option<Vec<String>>,
    rounds: u32,
    report: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            against: "thalweg".to_owned(),
            only: None,
            rounds: 200,
            report: true,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || {
                rest.next()
                    .cloned()
                    .ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))
            };
            match flag.as_str() {
                "--against" => options.against = value()?,
                "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE.to_owned())?,
                "--no-report" => options.report = false,
                _ => return Err(USAGE.to_owned()),
            }
        }
        if let Some(unknown) = options
            .only
            .iter()
            .flatten()
            .find(|name| !clients::CLIENTS.iter().any(|client| client.name == **name))
        {
            let names: Vec<&str> = clients::CLIENTS.iter().map(|client| client.name).collect();
            return Err(format!(
                "no client {unknown}; there are {}",
                names.join(", ")
            ));
        }
        Ok(options)
    }

    fn wants(&self, client: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|name| name == client))
    }
}

/// What came of one client.
pub struct ClientResult {
    client: &'static clients::Client,
    outcome: Outcome,
}

pub enum Outcome {
    /// What it needs is not on this machine.
    Skipped(String),
    /// It could not be installed or did not start.
    Broken(String),
    Ran {
        version: String,
        scenarios: Vec<ScenarioResult>,
    },
}

pub struct ScenarioResult {
    name: String,
    /// None: the client does not offer it.
    passed: Option<bool>,
    detail: String,
}

impl Outcome {
    fn failures(&self) -> usize {
        match self {
            Outcome::Skipped(_) => 0,
            Outcome::Broken(_) => 1,
            Outcome::Ran { scenarios, .. } => scenarios
                .iter()
                .filter(|scenario| scenario.passed == Some(false))
                .count(),
        }
    }
}

pub fn run(arguments: &[String]) -> TaskResult {
    let options = Options::parse(arguments)?;
    let folder = repository::scratch("interop")?;
    let (results, findings) = match options.against.as_str() {
        "thalweg" => against_thalweg(&options, folder.path())?,
        "kafka" => against_kafka(&options, folder.path())?,
        address => (run_clients(&options, address)?, None),
    };
    let cuts = match (options.against.as_str(), options.rounds) {
        ("thalweg", 1..) if options.only.is_none() => Some(powercut::rounds(options.rounds)?),
        _ => None,
    };
    report::print(&results, findings.as_ref());
    if options.report && options.only.is_none() && options.against == "thalweg" {
        report::write(&results, findings.as_ref(), cuts.as_ref())?;
    }
    let failures = results
        .iter()
        .map(|result| result.outcome.failures())
        .sum::<usize>()
        + findings.map_or(0, |findings| findings.errors.len())
        + cuts.map_or(0, |cuts| {
            cuts.iter().map(|cuts| cuts.violations as usize).sum()
        });
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} failures"))
    }
}

fn against_thalweg(
    options: &Options,
    folder: &Path,
) -> Result<(Vec<ClientResult>, Option<segments::Findings>), String> {
    let binary = thalweg::build()?;
    let mut broker = Thalweg::start(&binary, folder, &[])?;
    println!(
        "thalweg at {}, ready after {:.0} ms",
        broker.address,
        broker.ready_after.as_secs_f64() * 1000.0
    );
    let results = run_clients(options, &broker.address.to_string())?;
    if broker.has_ended() {
        return Err(format!(
            "thalweg ended during the run; see {}",
            folder.join("server.log").display()
        ));
    }
    broker.stop()?;
    Ok((results, read_segments(&folder.join("data"))?))
}

fn against_kafka(
    options: &Options,
    folder: &Path,
) -> Result<(Vec<ClientResult>, Option<segments::Findings>), String> {
    let heap = BrokerOptions {
        heap: "512m".to_owned(),
        ..BrokerOptions::default()
    };
    let mut broker = KafkaBroker::start(&Jars::fetch()?, folder, &heap)?;
    println!("Apache Kafka at {}", broker.address);
    let results = run_clients(options, &broker.address.to_string())?;
    broker.stop()?;
    Ok((results, read_segments(&folder.join("data"))?))
}

fn read_segments(data: &Path) -> Result<Option<segments::Findings>, String> {
    if let Some(missing) = clients::missing(&["java", "mvn"]) {
        println!("skipped kafka-dump-log: {missing} is not here");
        return Ok(None);
    }
    segments::dump(&Jars::fetch()?, data).map(Some)
}

fn run_clients(options: &Options, address: &str) -> Result<Vec<ClientResult>, String> {
    let address: SocketAddr = address
        .parse()
        .map_err(|_| format!("`{address}` is not an address; {USAGE}"))?;
    let mut results = Vec::new();
    for client in clients::CLIENTS
        .iter()
        .filter(|client| options.wants(client.name))
    {
        println!("── {}", client.name);
        let outcome = match clients::missing(client.needs).or_else(|| (client.refuses)()) {
            Some(missing) => Outcome::Skipped(missing),
            None => match (client.prepare)() {
                Ok(command) => run_client(command, address),
                Err(error) => Outcome::Broken(error),
            },
        };
        match &outcome {
            Outcome::Skipped(reason) => println!("   skipped: {reason}"),
            Outcome::Broken(reason) => println!("   BROKEN: {reason}"),
            Outcome::Ran { .. } => {}
        }
        results.push(ClientResult { client, outcome });
    }
    Ok(results)
}

/// Runs a client program and takes its lines as they come.
fn run_client(mut command: Command, address: SocketAddr) -> Outcome {
    command
        .args(["--bootstrap", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if std::env::var_os("THALWEG_VERBOSE").is_none() {
        command.stderr(Stdio::null());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            return Outcome::Broken(format!(
                "{}: {error}",
                command.get_program().to_string_lossy()
            ));
        }
    };
    let (send, lines) = mpsc::channel();
    let output = child
        .stdout
        .take()
        .expect("standard output was piped above");
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let outcome = collect(&lines);
    let _ = child.kill();
    let _ = child.wait();
    outcome
}

fn collect(lines: &mpsc::Receiver<String>) -> Outcome {
    let deadline = Instant::now() + CLIENT_PATIENCE;
    let mut version = None;
    let mut scenarios = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match serde_json::from_str::<Value>(&line) {
                Ok(value) if value["client"].is_string() => {
                    version = value["version"].as_str().map(str::to_owned)
                }
                Ok(value) if value["scenario"].is_string() => {
                    scenarios.push(scenario_result(&value))
                }
                _ => println!("   {line}"),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let detail = format!(
                    "not finished after {} s; stopped",
                    CLIENT_PATIENCE.as_secs()
                );
                scenarios.push(ScenarioResult {
                    name: "(the rest)".to_owned(),
                    passed: Some(false),
                    detail,
                });
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    match version {
        Some(version) if !scenarios.is_empty() => Outcome::Ran { version, scenarios },
        _ => Outcome::Broken(
            "the program printed no result; run again with THALWEG_VERBOSE=1".to_owned(),
        ),
    }
}

fn scenario_result(value: &Value) -> ScenarioResult {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let result = ScenarioResult {
        name: text("scenario"),
        passed: value["ok"].as_bool(),
        detail: text("detail"),
    };
    let mark = match result.passed {
        Some(true) => "passed",
        Some(false) => "FAILED",
        None => "not offered",
    };
    println!(
        "   {:<28} {mark:<12} {:>6.1} s  {}",
        result.name,
        value["seconds"].as_f64().unwrap_or_default(),
        result.detail
    );
    result
}
