//! librdkafka's own tests: a C program that runs one test after the other against a broker.
//!
//! A process for each test number, because a test that hangs takes its process with it; a broker for each of its scenarios. What
//! does not pass runs once more, alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::facts::Facts;
use super::librdkafka_build::{Built, built};
use super::librdkafka_output::{Listed, Row, State, listed, rows};
use super::pool::{Job, run_all};
use super::subject::{Running, Subject};
use super::{Found, Scope, TestResult, Verdict};
use crate::process::Background;

pub const NEEDS: &[&str] = &["npm", "tar", "cc", "c++", "make"];
/// The suite chooses its tests by this version.
const KAFKA_VERSION: &str = "4.3.1";
/// A test number has this long; tests stop themselves much earlier.
const LIMIT: Duration = Duration::from_secs(600);

/// Which group protocol its consumers use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    Consumer,
}

/// The settings of the suite's own cluster that matter on one broker, and the scenarios by name.
const SETTINGS: &[(&str, &str)] = &[("num.partitions", "4")];
const SCENARIOS: &[(&str, &[(&str, &str)])] = &[
    ("default", &[]),
    ("noautocreate", &[("auto.create.topics.enable", "false")]),
];

/// One process: all tests of a number in a scenario, or one part of a test that runs in parts.
struct Process {
    number: String,
    part: Option<String>,
    names: Vec<String>,
}

pub fn run(subject: &Subject, scope: &Scope, protocol: Protocol) -> Result<Found, String> {
    let built = built()?;
    let facts = Facts::read("librdkafka")?;
    let source = built.tests.join("test.c");
    let text = std::fs::read_to_string(&source)
        .map_err(|error| format!("{}: {error}", source.display()))?;
    let tests: Vec<Listed> = listed(&text)
        .into_iter()
        .flat_map(|test| in_parts(test, &facts))
        .filter(|test| scope.wants(&test.name))
        .filter(|test| !scope.quick || facts.is_quick(&test.name))
        .collect();
    let mut results: BTreeMap<String, TestResult> = tests
        .iter()
        .filter_map(|test| not_started(test, &facts))
        .map(|result| (result.name.clone(), result))
        .collect();
    for (scenario, settings) in SCENARIOS {
        let mut processes = processes(&tests, scenario, &results);
        // Those that are known to take long begin first.
        processes.sort_by_key(|process| facts.limit(&process.number).is_none());
        if processes.is_empty() {
            continue;
        }
        let settings = [SETTINGS, settings].concat();
        let name = format!("librdkafka-{}-{scenario}", protocol.name());
        let broker = subject.start(&name, &settings)?;
        let runner = Runner {
            built: &built,
            facts: &facts,
            scenario,
            protocol,
            conf: configure(&broker)?,
            broker: &broker,
        };
        let jobs: Vec<Job<'_>> = processes
            .iter()
            .map(|process| -> Job<'_> { Box::new(|attempt| runner.run_process(process, attempt)) })
            .collect();
        let found = run_all(jobs, scope.parallel).into_iter();
        results.extend(found.map(|test| (test.name.clone(), test)));
        broker.stop()?;
    }
    Ok(Found {
        version: built.version,
        tests: results.into_values().collect(),
    })
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Classic => "classic",
            Protocol::Consumer => "consumer",
        }
    }
}

fn not_started(test: &Listed, facts: &Facts) -> Option<TestResult> {
    let (verdict, detail) = if test.is_local {
        (Verdict::Local, String::new())
    } else if test.is_manual {
        (
            Verdict::Needs,
            "a person: the suite calls it manual".to_owned(),
        )
    } else if test.is_known_issue {
        let text = "a fix in librdkafka: the suite leaves it out as a known issue of its own";
        (Verdict::Needs, text.to_owned())
    } else if let Some(needs) = facts.needs(&test.name) {
        (Verdict::Needs, needs.to_owned())
    } else if !SCENARIOS.iter().any(|(name, _)| test.is_in(name)) {
        (Verdict::Needs, format!("the scenario {}", test.scenarios))
    } else {
        return None;
    };
    Some(TestResult::new(&test.name, verdict, &detail, 0.0))
}

/// The test as it is, or each of its parts as a test.
fn in_parts(test: Listed, facts: &Facts) -> Vec<Listed> {
    let parts = facts.parts(&test.name);
    if parts.is_empty() {
        return vec![test];
    }
    parts
        .into_iter()
        .map(|part| Listed {
            name: format!("{}/{part}", test.name),
            ..test.clone()
        })
        .collect()
}

/// What is not done yet, by number.
fn processes(
    tests: &[Listed],
    scenario: &str,
    done: &BTreeMap<String, TestResult>,
) -> Vec<Process> {
    let mut numbers: BTreeMap<(&str, Option<&str>), Vec<String>> = BTreeMap::new();
    for test in tests {
        if test.is_in(scenario) && !done.contains_key(&test.name) {
            let part = test.name.split_once('/').map(|(_, part)| part);
            let names = numbers.entry((test.number(), part)).or_default();
            names.push(test.name.clone());
        }
    }
    numbers
        .into_iter()
        .map(|((number, part), names)| Process {
            number: number.to_owned(),
            part: part.map(str::to_owned),
            names,
        })
        .collect()
}

fn configure(broker: &Running) -> Result<PathBuf, String> {
    let path = broker.folder().join("test.conf");
    let text = format!(
        "bootstrap.servers={}\nbroker.address.family=v4\ntest.topic.random=true\n",
        broker.address
    );
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

struct Runner<'a> {
    built: &'a Built,
    facts: &'a Facts,
    scenario: &'a str,
    protocol: Protocol,
    conf: PathBuf,
    broker: &'a Running,
}

impl Runner<'_> {
    fn run_process(&self, process: &Process, attempt: u32) -> Vec<TestResult> {
        let log = self.broker.folder().join(format!(
            "{}-{attempt}.log",
            process.names[0].replace('/', "-")
        ));
        let start = Instant::now();
        let ended = self.wait(process, &log);
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let rows = rows(&text);
        process
            .names
            .iter()
            .map(|name| {
                match rows
                    .iter()
                    .find(|row| Some(row.name.as_str()) == name.split('/').next())
                {
                    Some(row) => self.result(name, row),
                    None => {
                        let how = ended.clone().unwrap_or_else(|error| error);
                        let detail = format!("no result; the process {how}");
                        self.failed(name, &detail, start.elapsed().as_secs_f64())
                    }
                }
            })
            .collect()
    }

    /// How the process ended, in words.
    fn wait(&self, process: &Process, log: &Path) -> Result<String, String> {
        let limit = self.facts.limit(&process.number).unwrap_or(LIMIT);
        let mut child = Background::start("test-runner", &self.command(process), log)?;
        Ok(match child.wait(limit) {
            Some(status) => format!("ended with {status}"),
            None => format!("was stopped after {} s", limit.as_secs()),
        })
    }

    fn command(&self, process: &Process) -> Command {
        let mut command = Command::new("./test-runner");
        command
            .args(["-L", "-K", "-p1", "-s", self.scenario])
            .current_dir(&self.built.tests)
            .env("LD_LIBRARY_PATH", "../src:../src-cpp")
            .env("RDKAFKA_TEST_CONF", &self.conf)
            .env("TEST_KAFKA_VERSION", KAFKA_VERSION)
            .env("TEST_CONSUMER_GROUP_PROTOCOL", self.protocol.name())
            .env("BROKERS", self.broker.address.to_string())
            .env("TESTS", &process.number)
            .env("CI", "true");
        if let Some(part) = &process.part {
            command.env("SUBTESTS", part);
        }
        if let Some(tools) = &self.built.tools {
            command.env("KAFKA_PATH", tools);
        }
        command
    }

    fn result(&self, name: &str, row: &Row) -> TestResult {
        match row.state {
            State::Passed => {
                let parts = row.parts_skipped.join("; ");
                TestResult::new(name, Verdict::Passed, &parts, row.seconds)
            }
            State::Skipped => TestResult::new(name, Verdict::Needs, &row.detail, 0.0),
            State::Failed => self.failed(name, &row.detail, row.seconds),
        }
    }

    fn failed(&self, name: &str, detail: &str, seconds: f64) -> TestResult {
        let detail = match self.facts.cause(name) {
            Some(cause) => format!("{cause} ({detail})"),
            None => detail.to_owned(),
        };
        TestResult::new(name, Verdict::Failed, &detail, seconds)
    }
}
