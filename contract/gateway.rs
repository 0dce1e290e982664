//! The real binary as a process: `thalweg start` on free ports, ready when it says so, killed when the suite ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Http;
use crate::kafka::Kafka;
use crate::process::{self, Background};
use crate::repository::Scratch;
use crate::starter;

/// How long it may take until it is ready, on a machine that starts three JVMs beside it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `thalweg start`.
pub struct Gateway {
    process: Mutex<Background>,
    pub http: Http,
    /// What it printed for `--ready-json`.
    pub ready: Value,
    /// Its output.
    pub log: PathBuf,
}

impl Gateway {
    /// With its embedded broker, in memory.
    pub fn embedded(scratch: &Scratch) -> Result<Gateway, String> {
        Gateway::start(scratch.path(), &["--ephemeral"])
    }

    /// With nothing behind it but Apache Kafka.
    pub fn on_kafka(scratch: &Scratch, kafka: &Kafka) -> Result<Gateway, String> {
        let bootstrap = kafka.bootstrap();
        Gateway::start(scratch.path(), &["--mode", "kafka", "--kafka", &bootstrap])
    }

    /// With the embedded broker on disk and Apache Kafka.
    pub fn hybrid(scratch: &Scratch, kafka: &Kafka) -> Result<Gateway, String> {
        let bootstrap = kafka.bootstrap();
        let data = scratch.path().join("hybrid-data");
        let data = data.to_string_lossy();
        let flags = ["--mode", "hybrid", "--kafka", &bootstrap, "--data", &data];
        Gateway::start(scratch.path(), &flags)
    }

    /// `thalweg start` on free ports with further flags; its output goes to a file in `folder`.
    pub fn start(folder: &Path, flags: &[&str]) -> Result<Gateway, String> {
        Gateway::start_with(folder, flags, &[])
    }

    /// As `start`, with environment variables, which are how secrets are given.
    pub fn start_with(
        folder: &Path,
        flags: &[&str],
        variables: &[(&str, String)],
    ) -> Result<Gateway, String> {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let log = folder.join(format!(
            "thalweg-{}.log",
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let mut command = thalweg(&["start", "--ready-json", "--log-format", "text"]);
        command
            .args(["--kafka-port", "0", "--http-port", "0"])
            .args(flags)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder);
        let mut process = starter::start("thalweg start", command, &log)?;
        let ready = wait_until_ready(&mut process, &log)?;
        let base = ready["http"]
            .as_str()
            .ok_or_else(|| format!("no HTTP address in {ready}"))?;
        Ok(Gateway {
            process: Mutex::new(process),
            http: Http::new(base),
            ready,
            log,
        })
    }

    /// The address for Kafka clients; only where there is an embedded broker.
    pub fn kafka(&self) -> Result<&str, String> {
        self.ready["kafka"]
            .as_str()
            .ok_or_else(|| format!("no Kafka address in {}", self.ready))
    }

    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// SIGTERM; an exit status other than 0 is an error, because draining must end well.
    pub fn stop(&self) -> Result<(), String> {
        let status = self.process().stop(Duration::from_secs(30))?;
        match status.success() {
            true => Ok(()),
            false => Err(format!(
                "thalweg ended with {status} after SIGTERM\n{}",
                last_lines(&self.log)
            )),
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process().kill();
    }

    // A test that panicked with the lock held has left a process that can still be killed.
    fn process(&self) -> MutexGuard<'_, Background> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The binary without any setting from the machine that runs the suite.
pub fn thalweg(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in variables.filter(|name| name.starts_with("THALWEG_") || name.starts_with("KAFKA_"))
    {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

fn wait_until_ready(process: &mut Background, log: &Path) -> Result<Value, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ended = process.ended();
        let output = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(ready) = output.lines().find_map(ready_line) {
            return Ok(ready);
        }
        if let Some(status) = ended {
            return Err(format!(
                "it ended with {status} before it was ready\n{}",
                last_lines(log)
            ));
        }
        if Instant::now() > deadline {
            return Err(format!(
                "not ready within {} s\n{}",
                PATIENCE.as_secs(),
                last_lines(log)
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ready_line(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("ready_ms").is_some().then_some(value)
}

fn last_lines(log: &Path) -> String {
    process::last_lines(&std::fs::read_to_string(log).unwrap_or_default(), 15)
}
