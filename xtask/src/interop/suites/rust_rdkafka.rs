//! rust-rdkafka's own tests: they ship in the crate `rdkafka`, which we depend on, so cargo has it already.
//!
//! The crate is copied into the cache and its integration tests are built there; each test runs in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::facts::Facts;
use super::pool::{Job, run_all};
use super::subject::Subject;
use super::{Found, Scope, TestResult, Verdict};
use crate::process::{Background, output_of};
use crate::repository;

pub const NEEDS: &[&str] = &["cc", "make"];
/// Upstream's broker has these, and is found at the port of [`PORT`] by a few tests that do not ask.
const SETTINGS: &[(&str, &str)] = &[("num.partitions", "3"), ("node.id", "0")];
const PORT: u16 = 9092;
const LIMIT: Duration = Duration::from_secs(180);

pub fn run(subject: &Subject, scope: &Scope) -> Result<Found, String> {
    let facts = Facts::read("rust-rdkafka")?;
    let (version, folder) = copied()?;
    let broker = subject.start_at("rust-rdkafka", SETTINGS, PORT)?;
    let mut tests = Vec::new();
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (file, executable) in executables(&folder)? {
        for test in listed(&executable)? {
            let name = format!("{file}::{test}");
            if !scope.wants(&name) || (scope.quick && !facts.is_quick(&name)) {
                continue;
            }
            if let Some(needs) = facts.needs(&name) {
                tests.push(TestResult::new(&name, Verdict::Needs, needs, 0.0));
                continue;
            }
            let mut command = Command::new(&executable);
            command
                .args([&test, "--exact", "--nocapture", "--test-threads=1"])
                .current_dir(&folder)
                .env("KAFKA_HOST", broker.address.to_string())
                .env("RUST_BACKTRACE", "0");
            let log = broker
                .folder()
                .join(format!("{}.log", name.replace("::", "-")));
            let limit = facts.limit(&name).unwrap_or(LIMIT);
            jobs.push(Box::new(move |_| vec![one(&name, &command, &log, limit)]));
        }
    }
    tests.extend(run_all(jobs, scope.parallel));
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    for test in tests
        .iter_mut()
        .filter(|test| test.verdict == Verdict::Failed)
    {
        if let Some(cause) = facts.cause(&test.name) {
            test.detail = format!("{cause} ({})", test.detail);
        }
    }
    broker.stop()?;
    Ok(Found { version, tests })
}

/// The crate's folder as cargo unpacked it, copied into the cache; and its version.
fn copied() -> Result<(String, PathBuf), String> {
    let text = output_of(
        cargo()
            .args(["metadata", "--format-version", "1"])
            .current_dir(repository::root()),
    )?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array();
    let package = packages
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "rdkafka")
        .ok_or("rdkafka is not among the dependencies")?;
    let version = package["version"].as_str().unwrap_or_default().to_owned();
    let from = package["manifest_path"]
        .as_str()
        .and_then(|path| Path::new(path).parent())
        .ok_or("rdkafka has no folder")?;
    let home = repository::cache()?.join("suites/rust-rdkafka");
    let folder = home.join(format!("rdkafka-{version}"));
    if !folder.join("Cargo.toml").exists() {
        std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        output_of(Command::new("cp").arg("-r").arg(from).arg(&folder))?;
    }
    Ok((version, folder))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Ours would build a copy of another crate into our folder, with our flags.
    for variable in ["CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR", "RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

/// Builds the integration tests: file and program of each.
fn executables(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let text = output_of(
        cargo()
            .args([
                "test",
                "--quiet",
                "--no-run",
                "--tests",
                "--message-format=json",
            ])
            .current_dir(folder),
    )?;
    let mut found: Vec<(String, PathBuf)> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            let program = message["executable"].as_str()?;
            Some((
                message["target"]["name"].as_str()?.to_owned(),
                PathBuf::from(program),
            ))
        })
        .collect();
    found.sort();
    Ok(found)
}

fn listed(executable: &Path) -> Result<Vec<String>, String> {
    let text = output_of(Command::new(executable).args(["--list", "--format", "terse"]))?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

fn one(name: &str, command: &Command, log: &Path, limit: Duration) -> TestResult {
    let start = Instant::now();
    let ended = Background::start(name, command, log).map(|mut child| child.wait(limit));
    let seconds = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    match ended {
        Ok(Some(status)) if status.success() && text.contains("1 passed") => {
            TestResult::new(name, Verdict::Passed, "", seconds)
        }
        Ok(Some(_)) if text.contains("1 ignored") => {
            let detail = "its authors ignore it";
            TestResult::new(name, Verdict::Needs, detail, 0.0)
        }
        Ok(Some(_)) => TestResult::new(name, Verdict::Failed, &panic_in(&text), seconds),
        Ok(None) => {
            let detail = format!("stopped after {} s", limit.as_secs());
            TestResult::new(name, Verdict::Failed, &detail, seconds)
        }
        Err(error) => TestResult::new(name, Verdict::Failed, &error, seconds),
    }
}

/// Where it panicked and what it said.
fn panic_in(log: &str) -> String {
    let mut lines = log
        .lines()
        .skip_while(|line| !line.contains(" panicked at "));
    let place = lines
        .next()
        .and_then(|line| line.split_once(" panicked at "))
        .map_or("no panic in its output", |(_, place)| place);
    let said: Vec<&str> = lines
        .take_while(|line| !line.starts_with("note: ") && !line.starts_with("test "))
        .map(str::trim)
        .take(4)
        .collect();
    format!("{place} {}", said.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place_and_its_words() {
        let log = "running 1 test\n\nthread 'x' (12) panicked at tests/a.rs:3:5:\nassertion failed\n  left: 1\nnote: run with\ntest x ... FAILED\n";
        assert_eq!(panic_in(log), "tests/a.rs:3:5: assertion failed left: 1");
    }
}
