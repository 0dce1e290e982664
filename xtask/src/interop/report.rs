//! docs/compatibility.md and the summary on the terminal. No date and no machine: a run that finds the same writes the same.

use std::fmt::Write;

use super::segments::Findings;
use super::{ClientResult, Outcome, ScenarioResult};
use crate::powercut::Cuts;
use crate::repository;

const HEAD: &str = "# Compatibility\n\
Written by `cargo xtask interop`, which runs each client, unmodified and installed from its registry, against `thalweg start`; do not edit.\n\
The scripts are in [interop](../interop/README.md); every scenario was first seen to pass on Apache Kafka.\n\n";

pub fn print(results: &[ClientResult], findings: Option<&Findings>) {
    println!("\ninterop");
    for result in results {
        let line = match &result.outcome {
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
            Outcome::Broken(reason) => format!("BROKEN: {reason}"),
            Outcome::Ran { version, scenarios } => format!("{version}: {}", counts(scenarios)),
        };
        println!("  {:<18} {line}", result.client.name);
    }
    if let Some(findings) = findings {
        println!("  {:<18} {}", "kafka-dump-log", segments_line(findings));
        for error in findings.errors.iter().take(20) {
            println!("    {error}");
        }
    }
}

fn counts(scenarios: &[ScenarioResult]) -> String {
    let count = |wanted: Option<bool>| {
        scenarios
            .iter()
            .filter(|scenario| scenario.passed == wanted)
            .count()
    };
    let mut text = format!(
        "{} of {} passed",
        count(Some(true)),
        scenarios.len() - count(None)
    );
    if count(None) > 0 {
        let _ = write!(text, ", {} not offered by the client", count(None));
    }
    text
}

fn segments_line(findings: &Findings) -> String {
    format!(
        "{} segments with {} records and {} indexes, {} errors",
        findings.segments,
        findings.records,
        findings.indexes,
        findings.errors.len()
    )
}

pub fn write(
    results: &[ClientResult],
    findings: Option<&Findings>,
    cuts: Option<&[Cuts; 2]>,
) -> Result<(), String> {
    let mut text = HEAD.to_owned();
    clients_table(&mut text, results);
    scenarios_table(&mut text, results);
    reasons(&mut text, results);
    segments_section(&mut text, findings);
    cuts_section(&mut text, cuts);
    let path = repository::root().join("docs/compatibility.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("  written: docs/compatibility.md");
    Ok(())
}

fn clients_table(text: &mut String, results: &[ClientResult]) {
    text.push_str("| client | from | version | scenarios |\n|---|---|---|---|\n");
    for result in results {
        let (version, outcome) = match &result.outcome {
            Outcome::Skipped(reason) => ("–", format!("skipped: {reason}")),
            Outcome::Broken(reason) => (
                "–",
                format!("did not run: {}", reason.lines().next().unwrap_or_default()),
            ),
            Outcome::Ran { version, scenarios } => (version.as_str(), counts(scenarios)),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {version} | {outcome} |",
            result.client.name, result.client.source
        );
    }
    text.push_str("\nlibrdkafka is covered by kcat and confluent-kafka here, and by our own command line and the embedding test, which use it through the crate `rdkafka`.\n");
}

/// Clients that ran, in columns; scenarios in the order in which they first appear.
fn scenarios_table(text: &mut String, results: &[ClientResult]) {
    let ran: Vec<(&str, &[ScenarioResult])> = results
        .iter()
        .filter_map(|result| match &result.outcome {
            Outcome::Ran { scenarios, .. } => Some((result.client.name, scenarios.as_slice())),
            _ => None,
        })
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for scenario in ran.iter().flat_map(|(_, scenarios)| scenarios.iter()) {
        if !names.contains(&scenario.name.as_str()) {
            names.push(&scenario.name);
        }
    }
    let header: Vec<&str> = ran.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(
        text,
        "\n## Scenarios\n✓ passed · ✗ failed · – not offered by the client · empty: not a scenario of this client\n"
    );
    let _ = writeln!(
        text,
        "| scenario | {} |\n|---|{}",
        header.join(" | "),
        "---|".repeat(header.len())
    );
    for name in names {
        let cells: Vec<&str> = ran
            .iter()
            .map(|(_, scenarios)| mark(scenarios.iter().find(|scenario| scenario.name == name)))
            .collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
}

fn mark(scenario: Option<&ScenarioResult>) -> &'static str {
    match scenario.map(|scenario| scenario.passed) {
        None => "",
        Some(None) => "–",
        Some(Some(true)) => "✓",
        Some(Some(false)) => "✗",
    }
}

fn reasons(text: &mut String, results: &[ClientResult]) {
    for (title, wanted) in [
        ("What failed", Some(false)),
        ("What a client does not offer", None),
    ] {
        let mut lines = String::new();
        for result in results {
            let Outcome::Ran { scenarios, .. } = &result.outcome else {
                continue;
            };
            for scenario in scenarios
                .iter()
                .filter(|scenario| scenario.passed == wanted)
            {
                let detail = scenario.detail.replace('\n', " ");
                let _ = writeln!(
                    lines,
                    "- {}, {}: {detail}",
                    result.client.name, scenario.name
                );
            }
        }
        let _ = writeln!(
            text,
            "\n## {title}\n{}",
            if lines.is_empty() {
                "Nothing.\n"
            } else {
                &lines
            }
            .trim_end()
        );
    }
}

fn segments_section(text: &mut String, findings: Option<&Findings>) {
    text.push_str("\n## Segments\n");
    match findings {
        None => text.push_str("`kafka-dump-log` was skipped: no Java here.\n"),
        Some(findings) if findings.errors.is_empty() => {
            text.push_str("`kafka-dump-log --deep-iteration` read every segment, offset index and time index that the clients left, and decoded the group offsets, without an error.\n");
        }
        Some(findings) => {
            let _ = writeln!(
                text,
                "`kafka-dump-log --deep-iteration` complained {} times:\n",
                findings.errors.len()
            );
            for error in findings.errors.iter().take(20) {
                let _ = writeln!(text, "- {error}");
            }
        }
    }
}

fn cuts_section(text: &mut String, cuts: Option<&[Cuts; 2]>) {
    text.push_str("\n## Power cuts\n");
    match cuts {
        None => text.push_str("Not part of this run.\n"),
        Some([killed, dropped]) => {
            let _ = writeln!(
                text,
                "`cargo xtask powercut`: SIGKILL at a random moment under load, a restart on the same folder, and everything acknowledged is asked for.\n\n\
                 | what is cut | rounds | records or commits lost, doubled or reordered |\n|---|---|---|\n\
                 | the process: what reached the kernel stays | {} | {} |\n| the process and every write that was not synced | {} | {} |",
                killed.rounds, killed.violations, dropped.rounds, dropped.violations
            );
        }
    }
}
