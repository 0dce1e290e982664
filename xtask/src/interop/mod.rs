//! `cargo xtask interop`: real clients, unmodified, and other people's test suites against Thalweg (or Apache Kafka, to check the
//! scripts themselves).
//!
//! Client programs live in `interop/`, suites in `suites`; a run also reads the segments that clients left with Kafka's own tool
//! and cuts the power many times (`powercut`). What was found is kept in docs/compatibility.json; docs/compatibility.md shows it.

mod card;
mod clients;
mod options;
mod report;
mod segments;
mod suites;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::card::{Card, CutsFound};
use self::options::Options;
use self::suites::subject::Subject;
use self::suites::{SUITES, SuiteOutcome};
use crate::kafka::{BrokerOptions, Jars, KafkaBroker};
use crate::thalweg::{self, Thalweg};
use crate::{TaskResult, powercut, repository};

/// A client that has not finished by then is stopped; what it had reported counts.
const CLIENT_PATIENCE: Duration = Duration::from_secs(600);

/// What came of one client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientResult {
    name: String,
    source: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

#[derive(Clone, Debug, Serialize, Deserialize)]
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
    let (clients, findings) = if options.wants_clients() {
        let folder = repository::scratch("interop")?;
        match options.against.as_str() {
            "thalweg" => against_thalweg(&options, folder.path())?,
            "kafka" => against_kafka(&options, folder.path())?,
            address => (run_clients(&options, address)?, None),
        }
    } else {
        (Vec::new(), None)
    };
    let suites = run_suites(&options)?;
    let cuts = match options.wants_cuts() {
        true => Some(powercut::rounds(options.rounds)?.map(|cuts| CutsFound {
            rounds: cuts.rounds,
            violations: cuts.violations,
        })),
        false => None,
    };
    report::print(&clients, &suites, findings.as_ref());
    let failures = clients
        .iter()
        .map(|result| result.outcome.failures())
        .chain(suites.iter().map(|(_, outcome)| outcome.failures()))
        .sum::<usize>()
        + findings
            .as_ref()
            .map_or(0, |findings| findings.errors.len())
        + cuts
            .iter()
            .flatten()
            .map(|cuts| cuts.violations)
            .sum::<u64>() as usize;
    if options.report && options.is_about_thalweg() {
        let mut card = Card::read()?;
        card.take(&options, clients, suites, findings, cuts);
        card.write()?;
    }
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} failures"))
    }
}

fn run_suites(options: &Options) -> Result<Vec<(&'static str, SuiteOutcome)>, String> {
    let wanted: Vec<&suites::Suite> = SUITES
        .iter()
        .filter(|suite| options.wants_suite(suite))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let subject = match options.against.as_str() {
        "thalweg" => Subject::thalweg()?,
        "kafka" => Subject::Kafka(Jars::fetch()?),
        address => Subject::Address(socket_address(address)?),
    };
    let scope = options.scope();
    Ok(wanted
        .into_iter()
        .map(|suite| (suite.name, suites::run(suite, &subject, &scope)))
        .collect())
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an address; {}", options::USAGE))
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
    let address = socket_address(address)?;
    let mut results = Vec::new();
    for client in clients::CLIENTS
        .iter()
        .filter(|client| options.wants_client(client.name))
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
        results.push(ClientResult {
            name: client.name.to_owned(),
            source: client.source.to_owned(),
            outcome,
        });
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
