//! Other people's test suites, fetched from their registries into the cache and run there against Thalweg.
//!
//! A suite says which of its tests ran and how each ended; none is left out: what did not run is listed with what it needs.
//! The facts we know about single tests (needs, causes, time limits) stand in `interop/<suite>/tests.txt`, see [`facts`].

mod copy_under_fire;
pub mod facts;
mod franz_go;
mod kafka_python;
mod librdkafka;
mod librdkafka_build;
mod librdkafka_output;
mod pool;
mod rust_rdkafka;
pub mod subject;

use serde::{Deserialize, Serialize};

use self::subject::Subject;
use super::clients;

/// One run of one suite, as it is kept in docs/compatibility.json.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SuiteRun {
    pub name: String,
    pub source: String,
    pub version: String,
    /// The day of the run, as in 2026-11-20.
    pub day: String,
    pub tests: Vec<TestResult>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct TestResult {
    pub name: String,
    pub verdict: Verdict,
    /// What failed, or what it needs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(default)]
    pub seconds: f64,
    /// Failed the first time, passed the second.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_again: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Passed,
    Failed,
    /// It ran and skipped itself, or was not started: it wants what this run does not have.
    Needs,
    /// It tests the client alone and talks to no broker.
    Local,
}

impl SuiteRun {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tests
            .iter()
            .filter(|test| test.verdict == verdict)
            .count()
    }
}

impl TestResult {
    pub fn new(name: &str, verdict: Verdict, detail: &str, seconds: f64) -> TestResult {
        TestResult {
            name: name.to_owned(),
            verdict,
            detail: detail.to_owned(),
            seconds,
            passed_again: false,
        }
    }

    /// One line on the terminal, as soon as it is known.
    pub fn print(&self, attempt: u32) {
        let mark = match self.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::Needs => "needs",
            Verdict::Local => "local",
        };
        let again = if attempt > 1 { " (again)" } else { "" };
        println!(
            "   {:<46} {mark:<7}{again} {:>6.1} s  {}",
            self.name, self.seconds, self.detail
        );
    }
}

/// How much of a suite is wanted.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Only what `tests.txt` calls quick: minutes instead of an hour.
    pub quick: bool,
    /// Only tests whose name begins with one of these; empty: all.
    pub only: Vec<String>,
    /// Tests at the same time.
    pub parallel: usize,
}

impl Scope {
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| name.starts_with(start))
    }
}

pub struct Suite {
    pub name: &'static str,
    /// The registry it is fetched from, for the report.
    pub source: &'static str,
    /// Programs without which it is skipped.
    pub needs: &'static [&'static str],
    /// Whether a short run takes a part of it.
    pub has_quick_part: bool,
    /// How it is run, for the report.
    pub remark: &'static str,
    pub run: fn(&Subject, &Scope) -> Result<Found, String>,
}

/// What a suite found: its version, and every test that was wanted.
pub struct Found {
    pub version: String,
    pub tests: Vec<TestResult>,
}

pub const SUITES: &[Suite] = &[
    Suite {
        name: "librdkafka",
        source: "npm",
        needs: librdkafka::NEEDS,
        has_quick_part: true,
        remark: "librdkafka's own `tests/`, with the classic group protocol. One change is made to the copy: a topic that a test wants on three replicas is made with one.",
        run: |subject, scope| librdkafka::run(subject, scope, librdkafka::Protocol::Classic),
    },
    Suite {
        name: "librdkafka-consumer",
        source: "npm",
        needs: librdkafka::NEEDS,
        has_quick_part: true,
        remark: "The same, with the consumer group protocol (KIP-848).",
        run: |subject, scope| librdkafka::run(subject, scope, librdkafka::Protocol::Consumer),
    },
    Suite {
        name: "rust-rdkafka",
        source: "crates.io",
        needs: rust_rdkafka::NEEDS,
        has_quick_part: false,
        remark: "The tests in the crate `rdkafka`, all 69: 18 in `src`, 43 in `tests/`, and the one of `tests/utils.rs`, which is part of eight programs. The broker is node 0 on port 9092 with `num.partitions=3`, as its authors run it.",
        run: rust_rdkafka::run,
    },
    Suite {
        name: "kafka-python-tests",
        source: "PyPI",
        needs: kafka_python::NEEDS,
        has_quick_part: true,
        remark: "kafka-python's integration tests; the broker is node 0 with `num.partitions=4` and `group.min.session.timeout.ms=1000`, as its authors run it.",
        run: kafka_python::run,
    },
    Suite {
        name: "copy-under-fire",
        source: "Maven",
        needs: copy_under_fire::NEEDS,
        has_quick_part: true,
        remark: "Our own: Apache Kafka's Java client copies a topic in transactions while the broker is killed with SIGKILL every few seconds.",
        run: copy_under_fire::run,
    },
    Suite {
        name: "franz-go-tests",
        source: "Go modules",
        needs: franz_go::NEEDS,
        has_quick_part: true,
        remark: "The tests of franz-go's client in its module: groups of every kind, transactions and share groups, with 50,000 records instead of 500,000.",
        run: franz_go::run,
    },
];

/// What came of one suite.
pub enum SuiteOutcome {
    Skipped(String),
    Broken(String),
    Ran(SuiteRun),
}

impl SuiteOutcome {
    pub fn failures(&self) -> usize {
        match self {
            SuiteOutcome::Skipped(_) => 0,
            SuiteOutcome::Broken(_) => 1,
            SuiteOutcome::Ran(run) => run.count(Verdict::Failed),
        }
    }
}

pub fn run(suite: &Suite, subject: &Subject, scope: &Scope) -> SuiteOutcome {
    println!("── {}", suite.name);
    if let Some(missing) = clients::missing(suite.needs) {
        println!("   skipped: {missing}");
        return SuiteOutcome::Skipped(missing);
    }
    match (suite.run)(subject, scope) {
        Ok(found) => SuiteOutcome::Ran(SuiteRun {
            name: suite.name.to_owned(),
            source: suite.source.to_owned(),
            version: found.version,
            day: today(),
            tests: found.tests,
        }),
        Err(error) => {
            println!("   BROKEN: {error}");
            SuiteOutcome::Broken(error)
        }
    }
}

/// Today, by this machine's clock, as in 2026-11-20.
fn today() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (year, month, day) = civil((seconds / 86_400) as i64);
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of a day counted from 1970-01-01; the year begins with March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_by_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
    }

    #[test]
    fn a_scope_wants_what_begins_so_or_everything() {
        let scope = |only: &[&str]| Scope {
            quick: false,
            only: only.iter().map(|name| (*name).to_owned()).collect(),
            parallel: 1,
        };
        assert!(scope(&[]).wants("0001_multiobj"));
        assert!(scope(&["0002", "0001"]).wants("0001_multiobj"));
        assert!(!scope(&["0002"]).wants("0001_multiobj"));
    }
}
