//! franz-go's own tests of its client, out of the Go module that carries them: one program, which names each test that it ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::clients;
use super::facts::Facts;
use super::subject::{Running, Subject};
use super::{Found, Scope, TestResult, Verdict};
use crate::process::{self, Background, output_of};
use crate::repository;

pub const NEEDS: &[&str] = &["go", "cp"];
const MODULE: &str = "github.com/twmb/franz-go";
const VERSION: &str = "1.22.2";
/// As its authors run it: groups begin at once.
const SETTINGS: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "0")];
/// Records of each test that moves many; the authors' 500,000 take half an hour here.
const RECORDS: &str = "50000";
const LIMIT: Duration = Duration::from_secs(900);

pub fn run(subject: &Subject, scope: &Scope) -> Result<Found, String> {
    let facts = Facts::read("franz-go")?;
    if let Some(too_old) = clients::old_go() {
        return Err(too_old);
    }
    let (folder, program) = built()?;
    let broker = subject.start("franz-go-tests", SETTINGS)?;
    let which = match (scope.quick, scope.only.is_empty()) {
        (true, _) => facts.quick().join("|"),
        (false, true) => String::new(),
        (false, false) => scope.only.join("|"),
    };
    let mut tests = run_some(&broker, &folder, &program, &which, 1)?;
    let failed: Vec<String> = tests
        .values()
        .filter(|test| test.verdict == Verdict::Failed)
        .map(|test| format!("{}$", test.name))
        .collect();
    if !failed.is_empty() {
        for (name, mut test) in run_some(&broker, &folder, &program, &failed.join("|"), 2)? {
            test.passed_again = test.verdict == Verdict::Passed;
            tests.insert(name, test);
        }
    }
    broker.stop()?;
    let mut tests: Vec<TestResult> = tests.into_values().collect();
    for test in &mut tests {
        let needs = facts.needs(&test.name);
        match (test.verdict, needs, facts.cause(&test.name)) {
            (Verdict::Needs | Verdict::Failed, Some(needs), _) => {
                (test.verdict, test.detail) = (Verdict::Needs, needs.to_owned());
            }
            (Verdict::Failed, None, Some(cause)) => {
                test.detail = format!("{cause} ({})", test.detail);
            }
            _ => {}
        }
    }
    Ok(Found {
        version: VERSION.to_owned(),
        tests,
    })
}

/// Runs the tests whose names match one of `which`, separated by bars; all if it is empty.
fn run_some(
    broker: &Running,
    folder: &Path,
    program: &Path,
    which: &str,
    attempt: u32,
) -> Result<BTreeMap<String, TestResult>, String> {
    let log = broker.folder().join(format!("kgo-{attempt}.log"));
    let mut command = Command::new(program);
    command
        .args(["-test.v", "-test.timeout", "870s", "-test.parallel", "2"])
        .args(["-test.run", &format!("^({which})")])
        .current_dir(folder)
        .env("KGO_SEEDS", broker.address.to_string())
        .env("KGO_TEST_RF", "1")
        .env("KGO_TEST_RECORDS", RECORDS)
        .env("KGO_LOG_LEVEL", "none");
    let mut child = Background::start("kgo.test", &command, &log)?;
    let ended = child.wait(LIMIT);
    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    let mut tests = results(&text);
    if tests.is_empty() {
        let last = process::last_lines(&text, 12);
        return Err(format!("no test was run:\n{last}"));
    }
    if ended.is_none() || text.contains("panic: ") {
        let detail = "the program came to no end; tests that it does not name did not run";
        let rest = TestResult::new("(the rest)", Verdict::Failed, detail, 0.0);
        tests.insert(rest.name.clone(), rest);
    }
    tests.values().for_each(|test| test.print(attempt));
    Ok(tests)
}

/// The outermost tests of a verbose run: `--- FAIL: TestName (1.23s)`.
fn results(log: &str) -> BTreeMap<String, TestResult> {
    let mut tests = BTreeMap::new();
    let mut said: BTreeMap<&str, &str> = BTreeMap::new();
    let mut speaker = "";
    for line in log.lines() {
        if let Some(name) = named(line) {
            speaker = name;
        } else if line.starts_with("    ") && line.contains(".go:") {
            said.entry(speaker).or_insert(line.trim());
        }
        let Some((state, rest)) = line.strip_prefix("--- ").and_then(|l| l.split_once(": ")) else {
            continue;
        };
        let Some((name, seconds)) = rest.split_once(" (") else {
            continue;
        };
        let seconds = seconds.trim_end_matches("s)").parse().unwrap_or_default();
        let words = said.get(name).copied().unwrap_or_default();
        let (verdict, detail) = match state {
            "PASS" => (Verdict::Passed, ""),
            "SKIP" => (Verdict::Needs, words),
            _ => (Verdict::Failed, words),
        };
        let test = TestResult::new(name, verdict, detail, seconds);
        tests.insert(name.to_owned(), test);
    }
    tests
}

/// Whose lines follow: `=== NAME  TestName`, `=== RUN   TestName`, `=== CONT  TestName`; subtests speak for their test.
fn named(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("=== ")?.split_whitespace();
    words.next()?;
    words.next()?.split('/').next()
}

/// A copy of the module in the cache, because Go keeps its own read-only, and the program of its tests.
fn built() -> Result<(PathBuf, PathBuf), String> {
    let home = repository::cache()?.join("suites/franz-go");
    let source = home.join(format!("franz-go-{VERSION}"));
    let program = home.join(format!("kgo-{VERSION}.test"));
    let tests = source.join("pkg/kgo");
    if program.exists() && tests.exists() {
        return Ok((tests, program));
    }
    println!("   fetching and building franz-go with its tests");
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    let module = format!("{MODULE}@v{VERSION}");
    let told = output_of(
        Command::new("go")
            .args(["mod", "download", "-json", &module])
            .current_dir(&home),
    )?;
    let told: serde_json::Value =
        serde_json::from_str(&told).map_err(|error| format!("go mod download: {error}"))?;
    let folder = told["Dir"]
        .as_str()
        .ok_or("go mod download names no folder")?;
    let _ = std::fs::remove_dir_all(&source);
    output_of(Command::new("cp").args(["-r", folder]).arg(&source))?;
    output_of(Command::new("chmod").args(["-R", "u+w"]).arg(&source))?;
    output_of(
        Command::new("go")
            .args(["test", "-c", "-o"])
            .arg(&program)
            .arg(".")
            .env("GOTOOLCHAIN", "local")
            .current_dir(&tests),
    )?;
    Ok((tests, program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verbose_run_names_each_test_and_what_it_said_first() {
        let log = "=== RUN   TestA\n=== RUN   TestB\n=== NAME  TestB/sub\n    b_test.go:1: no such group\n    b_test.go:2: later\n\
                   --- FAIL: TestB (1.50s)\n    --- FAIL: TestB/sub (0.10s)\n--- PASS: TestA (0.00s)\n=== RUN   TestC\n    c.go:3: no SASL\n--- SKIP: TestC (0.00s)\n";
        let found = results(log);
        assert_eq!(found.len(), 3);
        assert_eq!(found["TestA"].verdict, Verdict::Passed);
        let told = |name: &str| (found[name].verdict, found[name].detail.as_str());
        assert_eq!(
            told("TestB"),
            (Verdict::Failed, "b_test.go:1: no such group")
        );
        assert_eq!(told("TestC"), (Verdict::Needs, "c.go:3: no SASL"));
        assert_eq!(found["TestB"].seconds, 1.5);
    }
}
