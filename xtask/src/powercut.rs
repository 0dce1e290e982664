//! `cargo xtask powercut`: kill -9 under load, again and again. The load and the oracle are `crates/sim/src/bin/powercut.rs`;
//! this builds both binaries, runs it and takes its last line, a JSON summary.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{TaskResult, process, repository, thalweg};

const USAGE: &str = "usage: cargo xtask powercut [--rounds N] [--seed S] [--dropping-disk]";

pub struct Cuts {
    pub rounds: u64,
    pub violations: u64,
    pub acknowledged: u64,
    /// Milliseconds from start to the first answer: smallest, median, largest.
    pub restart: [f64; 3],
}

pub fn run(arguments: &[String]) -> TaskResult {
    let (mut rounds, mut seed, mut dropping) = (200, 1, false);
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let mut number = || {
            rest.next()
                .and_then(|value| value.parse().ok())
                .ok_or(USAGE.to_owned())
        };
        match flag.as_str() {
            "--rounds" => rounds = number()?,
            "--seed" => seed = number()?,
            "--dropping-disk" => dropping = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let cuts = cut(rounds, u64::from(seed), dropping)?;
    match cuts.violations {
        0 => Ok(()),
        violations => Err(format!(
            "{violations} violations; the same again: cargo xtask powercut --rounds {rounds} --seed {seed}"
        )),
    }
}

/// Power cuts for the interop run.
pub fn rounds(rounds: u32, seed: u64) -> Result<Cuts, String> {
    cut(rounds, seed, false)
}

fn cut(rounds: u32, seed: u64, dropping: bool) -> Result<Cuts, String> {
    let server = thalweg::build()?;
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
    let folder = repository::scratch("powercut")?;
    println!("── powercut: {rounds} rounds, seed {seed}");
    let mut command = Command::new(repository::target_directory(&root).join("release/powercut"));
    command
        .args([
            "--rounds",
            &rounds.to_string(),
            "--seed",
            &seed.to_string(),
            "--server",
        ])
        .arg(&server);
    command.arg("--folder").arg(folder.path());
    if dropping {
        command.arg("--dropping-disk");
    }
    let mut child = command
        .stdout(Stdio::piped())
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
    let summary: Value = serde_json::from_str(&last)
        .map_err(|_| format!("powercut ended with {status} and without a summary"))?;
    let cuts = Cuts {
        rounds: summary["rounds"].as_u64().unwrap_or_default(),
        violations: summary["violations"].as_u64().unwrap_or_default(),
        acknowledged: summary["acknowledged"].as_u64().unwrap_or_default(),
        restart: ["restart_ms_min", "restart_ms_median", "restart_ms_max"]
            .map(|key| summary[key].as_f64().unwrap_or_default()),
    };
    println!(
        "   {} rounds, {} records acknowledged, {} violations; restart {:.0} / {:.0} / {:.0} ms (smallest, median, largest)",
        cuts.rounds,
        cuts.acknowledged,
        cuts.violations,
        cuts.restart[0],
        cuts.restart[1],
        cuts.restart[2]
    );
    Ok(cuts)
}
