//! `cargo xtask powercut`: kill -9 under load, again and again. The load and the oracle are `crates/sim/src/bin/powercut.rs`;
//! this builds both binaries, runs it and takes its last line, a JSON summary. Apache Kafka passes too, which checks the oracle.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::kafka::{self, Jars};
use crate::{TaskResult, probe, process, repository, thalweg};

const USAGE: &str =
    "usage: cargo xtask powercut [--rounds N] [--seed S] [--against thalweg|dropping-disk|kafka]";

pub struct Cuts {
    pub rounds: u64,
    pub violations: u64,
    acknowledged: u64,
    commits: u64,
    /// Transactions, each a transfer between two accounts.
    transfers: u64,
    /// Milliseconds from start to the first answer: smallest, median, largest.
    pub restart: [f64; 3],
}

pub fn run(arguments: &[String]) -> TaskResult {
    let (mut rounds, mut seed, mut against) = (200, 1, "thalweg");
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let value = rest.next().ok_or(USAGE)?;
        let number = || value.parse().map_err(|_| USAGE.to_owned());
        match flag.as_str() {
            "--rounds" => rounds = number()?,
            "--seed" => seed = number()?,
            "--against" => against = value,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let folder = repository::scratch("powercut")?;
    let (port, command) = match against {
        "thalweg" => thalweg_command(folder.path())?,
        "dropping-disk" => dropping_command(folder.path())?,
        "kafka" => kafka::restartable(&Jars::fetch()?, folder.path())?,
        _ => return Err(USAGE.to_owned()),
    };
    let cuts = cut(rounds, seed, port, &command)?;
    match cuts.violations {
        0 => Ok(()),
        violations => Err(format!(
            "{violations} violations; the same again: cargo xtask powercut --rounds {rounds} --seed {seed}"
        )),
    }
}

/// Power cuts of Thalweg, for the interop run; and as many over the disk that loses unsynced writes.
pub fn rounds(rounds: u32) -> Result<[Cuts; 2], String> {
    let folder = repository::scratch("powercut")?;
    let (port, command) = thalweg_command(folder.path())?;
    let killed = cut(rounds, 1, port, &command)?;
    drop(folder);
    let folder = repository::scratch("powercut")?;
    let (port, command) = dropping_command(folder.path())?;
    let dropped = cut(rounds, 1, port, &command)?;
    Ok([killed, dropped])
}

/// The command that starts a broker on `folder`, again and again on the same port.
pub fn thalweg_command(folder: &Path) -> Result<(u16, Command), String> {
    let [port] = probe::free_ports::<1>()?;
    let mut command = Command::new(thalweg::build()?);
    command
        .args([
            "start",
            "--http-port",
            "0",
            "--kafka-port",
            &port.to_string(),
            "--data",
        ])
        .arg(folder.join("data"));
    Ok((port, command))
}

/// The broker over a disk that loses with the process what was not synced.
fn dropping_command(folder: &Path) -> Result<(u16, Command), String> {
    let [port] = probe::free_ports::<1>()?;
    let mut command = Command::new(harness());
    command
        .arg("serve")
        .arg(port.to_string())
        .arg(folder.join("data"));
    Ok((port, command))
}

fn harness() -> PathBuf {
    repository::target_directory(&repository::root()).join("release/powercut")
}

/// Builds the harness and gives its path.
pub fn build_harness() -> Result<PathBuf, String> {
    let root = repository::root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    if !process::succeeds(
        Command::new(cargo)
            .args([
                "build",
                "--quiet",
                "--release",
                "-p",
                "sim",
                "--bin",
                "powercut",
            ])
            .current_dir(&root),
    )? {
        return Err("cargo build --release -p sim --bin powercut failed".to_owned());
    }
    Ok(harness())
}

fn cut(rounds: u32, seed: u32, port: u16, server: &Command) -> Result<Cuts, String> {
    build_harness()?;
    println!("── powercut: {rounds} rounds, seed {seed}");
    let mut command = Command::new(harness());
    command.args([
        "--rounds",
        &rounds.to_string(),
        "--seed",
        &seed.to_string(),
        "--port",
        &port.to_string(),
        "--",
    ]);
    command.arg(server.get_program()).args(server.get_args());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("powercut: {error}"))?;
    let output = child
        .stdout
        .take()
        .expect("standard output was piped above");
    let mut last = String::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if !line.starts_with('{') {
            println!("   {line}");
        }
        last = line;
    }
    let status = child.wait().map_err(|error| format!("powercut: {error}"))?;
    let summary = serde_json::from_str(&last)
        .map_err(|_| format!("powercut ended with {status} and without a summary"))?;
    let cuts = Cuts::read(&summary);
    cuts.print();
    Ok(cuts)
}

impl Cuts {
    fn read(summary: &Value) -> Cuts {
        let number = |key: &str| summary[key].as_u64().unwrap_or_default();
        Cuts {
            rounds: number("rounds"),
            violations: number("violations"),
            acknowledged: number("acknowledged"),
            commits: number("commits"),
            transfers: number("transfers"),
            restart: ["restart_ms_min", "restart_ms_median", "restart_ms_max"]
                .map(|key| summary[key].as_f64().unwrap_or_default()),
        }
    }

    fn print(&self) {
        let [smallest, median, largest] = self.restart;
        println!(
            "   {} rounds, {} records, {} commits and {} transfers acknowledged, {} violations; restart in {smallest:.0} / {median:.0} / {largest:.0} ms (smallest, median, largest)",
            self.rounds, self.acknowledged, self.commits, self.transfers, self.violations
        );
    }
}
