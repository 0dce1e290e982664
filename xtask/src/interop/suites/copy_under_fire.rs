//! An exactly-once copy loop by Apache Kafka's Java client while the broker is killed with SIGKILL every few seconds and started again
//! on the same folder: our program `CopyUnderFire` checks the copy, this file does the killing.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::clients;
use super::subject::Subject;
use super::{Found, Scope, TestResult, Verdict};
use crate::process::{self, Background};
use crate::{kafka, powercut, probe, repository};

pub const NEEDS: &[&str] = &["java", "javac", "mvn"];
const KILLS: u32 = 8;
/// Between a start and the next kill: odd, so that it does not fall into step with the load.
const PAUSE: Duration = Duration::from_millis(3_700);
const LIMIT: Duration = Duration::from_secs(360);

pub fn run(subject: &Subject, _: &Scope) -> Result<Found, String> {
    let folder = repository::scratch("copy-under-fire")?;
    let (port, server) = match subject {
        Subject::Thalweg(_) => powercut::thalweg_command(folder.path())?,
        Subject::Kafka(jars) => kafka::restartable(jars, folder.path())?,
        Subject::Address(address) => return Err(format!("{address} cannot be killed from here")),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut broker = start(&server, address, folder.path(), 0)?;
    let mut command = clients::java("CopyUnderFire")?;
    command.args(["--bootstrap", &address.to_string()]);
    let log = folder.path().join("copy.log");
    let mut copy = Background::start("CopyUnderFire", &command, &log)?;
    let mut kills = 0;
    let deadline = Instant::now() + LIMIT;
    while copy.ended().is_none() && Instant::now() < deadline {
        if kills < KILLS && copy.wait_for(PAUSE).is_none() {
            broker.kill();
            kills += 1;
            broker = start(&server, address, folder.path(), kills)?;
        } else {
            copy.wait_for(Duration::from_secs(1));
        }
    }
    copy.kill();
    broker.kill();
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let test = result(&text, kills).unwrap_or_else(|| {
        let detail = format!("no result: {}", process::last_lines(&text, 5));
        TestResult::new(NAME, Verdict::Failed, &detail, 0.0)
    });
    test.print(1);
    Ok(Found {
        version: kafka::VERSION.to_owned(),
        tests: vec![test],
    })
}

const NAME: &str = "copy loop, exactly once, under kill -9";

fn start(
    command: &Command,
    address: SocketAddr,
    folder: &Path,
    number: u32,
) -> Result<Background, String> {
    let log = folder.join(format!("server-{number}.log"));
    let mut broker = Background::start("the broker", command, &log)?;
    let begun = Instant::now();
    probe::wait_for_metadata(address, begun, Duration::from_secs(90), || {
        broker.ended().is_some()
    })?;
    Ok(broker)
}

/// The program's line, with the number of kills.
fn result(log: &str, kills: u32) -> Option<TestResult> {
    let line = log.lines().find(|line| line.starts_with("{\"scenario\""))?;
    let value: Value = serde_json::from_str(line).ok()?;
    let detail = value["detail"].as_str().unwrap_or_default();
    let seconds = value["seconds"].as_f64().unwrap_or_default();
    let detail = format!("{kills} kills; {detail}");
    // Without a kill in it the run shows nothing.
    let verdict = match value["ok"].as_bool() == Some(true) && kills == KILLS {
        true => Verdict::Passed,
        false => Verdict::Failed,
    };
    Some(TestResult::new(NAME, verdict, &detail, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_saw_too_few_kills_shows_nothing() {
        let log = "noise\n{\"scenario\": \"copy\", \"ok\": true, \"detail\": \"fine\", \"seconds\": 2.5}\n";
        let verdict = |kills| result(log, kills).map(|test| test.verdict);
        assert_eq!(verdict(KILLS), Some(Verdict::Passed));
        assert_eq!(verdict(KILLS - 1), Some(Verdict::Failed));
        assert_eq!(result("noise", KILLS), None);
    }
}
