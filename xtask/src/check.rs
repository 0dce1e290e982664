//! `cargo xtask check`: everything a change must pass, in the order of how fast it fails. CI runs the same.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{TaskResult, process, repository, tidy};

struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        arguments: &["fmt", "--all", "--check"],
    },
    Step {
        name: "clippy",
        arguments: &[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    },
    Step {
        name: "tidy",
        arguments: &[],
    },
    Step {
        name: "test",
        arguments: &["test", "--workspace", "--no-fail-fast"],
    },
    Step {
        name: "seeds",
        arguments: &[
            "run", "--quiet", "-p", "sim", "--bin", "sim", "--", "--seeds", "500",
        ],
    },
];

/// Runs every step even when an earlier one failed, so one run shows everything; `--only a,b` runs some of them.
pub fn run(arguments: &[String]) -> TaskResult {
    let only = match arguments {
        [] => None,
        [flag, names] if flag == "--only" => {
            Some(names.split(',').map(str::to_owned).collect::<Vec<_>>())
        }
        _ => {
            return Err(format!(
                "usage: cargo xtask check [--only {}]",
                names().join(",")
            ));
        }
    };
    if let Some(unknown) = only
        .iter()
        .flatten()
        .find(|name| !names().contains(&name.as_str()))
    {
        return Err(format!(
            "no step {unknown}; there are {}",
            names().join(", ")
        ));
    }
    let mut results = Vec::new();
    for step in STEPS.iter().filter(|step| {
        only.as_ref()
            .is_none_or(|only| only.iter().any(|name| name == step.name))
    }) {
        eprintln!("── {}", step.name);
        let start = Instant::now();
        let passed = run_step(step)?;
        results.push((step.name, passed, start.elapsed()));
    }
    summarize(&results)
}

fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

fn run_step(step: &Step) -> Result<bool, String> {
    if step.arguments.is_empty() {
        return match tidy::run(&[]) {
            Ok(()) => Ok(true),
            Err(message) => {
                eprintln!("{message}");
                Ok(false)
            }
        };
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    process::succeeds(
        Command::new(cargo)
            .args(step.arguments)
            .current_dir(repository::root()),
    )
}

fn summarize(results: &[(&str, bool, Duration)]) -> TaskResult {
    println!("\ncheck");
    for (name, passed, elapsed) in results {
        println!(
            "  {:<8} {:<7} {:>6.1} s",
            name,
            if *passed { "passed" } else { "FAILED" },
            elapsed.as_secs_f64()
        );
    }
    let failed: Vec<&str> = results
        .iter()
        .filter(|(_, passed, _)| !passed)
        .map(|(name, ..)| *name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{} failed", failed.join(", ")))
    }
}
