//! kafka-python's integration tests, out of its source archive: pytest against a broker that is already there.
//!
//! What the archive leaves out is put in: an empty `test/__init__.py` and our stand-in for `test/service.py`. A plugin of ours
//! writes a line for each test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::super::clients;
use super::facts::Facts;
use super::subject::Subject;
use super::{Found, Scope, TestResult, Verdict};
use crate::process::{self, Background, output_of};
use crate::repository;

pub const NEEDS: &[&str] = &["python3", "tar"];
const VERSION: &str = "3.0.12";
/// What the suite expects to find.
const KAFKA_VERSION: &str = "4.3.1";
/// What the suite's own broker is started with.
const SETTINGS: &[(&str, &str)] = &[
    ("node.id", "0"),
    ("num.partitions", "4"),
    ("group.min.session.timeout.ms", "1000"),
];
const LIMIT: Duration = Duration::from_secs(900);
/// What failed runs once more; where `tests.txt` tells that chance decides, until it has passed or was tried so often.
const MOST_ATTEMPTS: u32 = 5;

pub fn run(subject: &Subject, scope: &Scope) -> Result<Found, String> {
    let facts = Facts::read("kafka-python")?;
    let (python, source) = installed()?;
    let broker = subject.start("kafka-python", SETTINGS)?;
    let pytest = Pytest {
        python,
        source,
        address: broker.address.to_string(),
        folder: broker.folder(),
        facts: &facts,
    };
    let mut tests = pytest.run(&["test/integration".to_owned()], scope, 1)?;
    for attempt in 2..=MOST_ATTEMPTS {
        let failed = pytest.to_repeat(&tests, attempt);
        if failed.is_empty() {
            break;
        }
        for mut again in pytest.run(&failed, scope, attempt)? {
            again.passed_again = again.verdict == Verdict::Passed;
            if again.passed_again {
                again.detail = pytest.how_it_passed(&again.name, attempt);
            }
            if let Some(test) = tests.iter_mut().find(|test| test.name == again.name) {
                *test = again;
            }
        }
    }
    broker.stop()?;
    Ok(Found {
        version: VERSION.to_owned(),
        tests,
    })
}

struct Pytest<'a> {
    python: PathBuf,
    source: PathBuf,
    address: String,
    folder: &'a Path,
    facts: &'a Facts,
}

impl Pytest<'_> {
    fn run(
        &self,
        which: &[String],
        scope: &Scope,
        attempt: u32,
    ) -> Result<Vec<TestResult>, String> {
        let results = self.folder.join(format!("results-{attempt}"));
        let log = self.folder.join(format!("pytest-{attempt}.log"));
        let mut command = Command::new(&self.python);
        command
            .args([
                "-m",
                "pytest",
                "-q",
                "-p",
                "tell_results",
                "-p",
                "no:cacheprovider",
            ])
            .args(which)
            .current_dir(&self.source)
            .env("PYTHONPATH", ours())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("RESULTS", &results)
            .env("KAFKA_URI", format!("kafka://{}", self.address))
            .env("KAFKA_VERSION", KAFKA_VERSION)
            .env("KAFKA_ROOT", self.folder);
        let mut child = Background::start("pytest", &command, &log)?;
        let ended = child.wait(LIMIT);
        let text = std::fs::read_to_string(&results).unwrap_or_default();
        let mut tests: Vec<TestResult> = Vec::new();
        for mut found in text.lines().filter_map(result) {
            self.explain(&mut found);
            // A test that passed may still fail when it is tidied up after.
            match tests.iter_mut().find(|test| test.name == found.name) {
                Some(test) => *test = found,
                None => tests.push(found),
            }
        }
        if tests.is_empty() {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let last = process::last_lines(&log, 12);
            return Err(format!("pytest reported no test:\n{last}"));
        }
        if ended.is_none() {
            let detail = format!("pytest was stopped after {} s", LIMIT.as_secs());
            tests.push(TestResult::new("(the rest)", Verdict::Failed, &detail, 0.0));
        }
        tests.retain(|test| scope.wants(&test.name));
        tests.iter().for_each(|test| test.print(attempt));
        Ok(tests)
    }

    /// The tests that deserve this attempt.
    fn to_repeat(&self, tests: &[TestResult], attempt: u32) -> Vec<String> {
        let deserves = |test: &&TestResult| {
            let is_chance = self.facts.chance(&test.name).is_some();
            test.verdict == Verdict::Failed && (attempt == 2 || is_chance)
        };
        let failed = tests.iter().filter(deserves);
        failed
            .map(|test| format!("test/integration/{}", test.name))
            .collect()
    }

    fn how_it_passed(&self, test: &str, attempt: u32) -> String {
        match self.facts.chance(test) {
            Some(why) => format!("at attempt {attempt}: {why}"),
            None => format!("at attempt {attempt}"),
        }
    }

    /// What it needs, or why it fails, in our words.
    fn explain(&self, test: &mut TestResult) {
        let needs = self.facts.needs(&test.name);
        match (test.verdict, needs, self.facts.cause(&test.name)) {
            (Verdict::Needs | Verdict::Failed, Some(needs), _) => {
                (test.verdict, test.detail) = (Verdict::Needs, needs.to_owned());
            }
            (Verdict::Failed, None, Some(cause)) => {
                test.detail = format!("{cause} ({})", test.detail);
            }
            _ => {}
        }
    }
}

/// A line of our plugin.
fn result(line: &str) -> Option<TestResult> {
    let value: Value = serde_json::from_str(line).ok()?;
    let name = value["test"].as_str()?;
    let name = name.strip_prefix("test/integration/").unwrap_or(name);
    let verdict = match value["outcome"].as_str()? {
        "passed" => Verdict::Passed,
        "skipped" => Verdict::Needs,
        _ => Verdict::Failed,
    };
    let detail = value["detail"].as_str().unwrap_or_default();
    let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
    let detail: String = detail.chars().take(400).collect();
    let seconds = value["seconds"].as_f64().unwrap_or_default();
    Some(TestResult::new(name, verdict, &detail, seconds))
}

fn ours() -> PathBuf {
    repository::root().join("interop/kafka-python")
}

/// A virtual environment with what the suite imports, and the unpacked source archive.
fn installed() -> Result<(PathBuf, PathBuf), String> {
    let home = repository::cache()?.join("suites/kafka-python");
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let requirements = ours().join("requirements.txt");
    let python = home.join("venv/bin/python");
    let source = home.join(format!("kafka_python-{VERSION}"));
    clients::once(&home, &requirements, || {
        output_of(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(home.join("venv")),
        )?;
        let pip = |arguments: &[&str]| {
            output_of(
                Command::new(home.join("venv/bin/pip"))
                    .args(arguments)
                    .args(["--quiet", "--disable-pip-version-check"])
                    .current_dir(&home),
            )
        };
        pip(&["install", "-r", &requirements.display().to_string()])?;
        let wanted = format!("kafka-python=={VERSION}");
        pip(&["download", "--no-deps", "--no-binary", ":all:", &wanted])?;
        output_of(
            Command::new("tar")
                .args(["xzf", &format!("kafka_python-{VERSION}.tar.gz")])
                .current_dir(&home),
        )
    })?;
    let say = |error: std::io::Error| format!("{}: {error}", source.display());
    std::fs::write(source.join("test/__init__.py"), "").map_err(say)?;
    std::fs::copy(ours().join("service.py"), source.join("test/service.py")).map_err(say)?;
    Ok((python, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_plugin_is_a_result() {
        let line = r#"{"test": "test/integration/test_a.py::test_b[x]", "outcome": "skipped", "seconds": 0.5, "detail": "no\n  SSL"}"#;
        let expected = TestResult::new("test_a.py::test_b[x]", Verdict::Needs, "no SSL", 0.5);
        assert_eq!(result(line), Some(expected));
    }
}
