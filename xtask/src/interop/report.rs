//! docs/compatibility.md, from what docs/compatibility.json holds, and the summary on the terminal. No machine: a run that finds
//! the same writes the same, apart from the day of a suite's full run.

use std::fmt::Write;

use super::card::{Card, CutsFound};
use super::segments::Findings;
use super::suites::{SUITES, SuiteOutcome, SuiteRun, Verdict};
use super::{ClientResult, Outcome, ScenarioResult};

const HEAD: &str = "# Compatibility\n\
Written by `cargo xtask interop`, which runs clients and other people's test suites, unmodified and installed from their registries, against\n\
`thalweg start`; do not edit. The scripts are in [interop](../interop/README.md); every scenario was first seen to pass on Apache Kafka.\n\n";

pub fn print(
    results: &[ClientResult],
    suites: &[(&'static str, SuiteOutcome)],
    findings: Option<&Findings>,
) {
    println!("\ninterop");
    for result in results {
        let line = match &result.outcome {
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
            Outcome::Broken(reason) => format!("BROKEN: {reason}"),
            Outcome::Ran { version, scenarios } => format!("{version}: {}", counts(scenarios)),
        };
        println!("  {:<20} {line}", result.name);
    }
    for (name, outcome) in suites {
        let line = match outcome {
            SuiteOutcome::Skipped(reason) => format!("skipped: {reason}"),
            SuiteOutcome::Broken(reason) => format!("BROKEN: {reason}"),
            SuiteOutcome::Ran(run) => format!("{}: {}", run.version, suite_counts(run)),
        };
        println!("  {name:<20} {line}");
        if let SuiteOutcome::Ran(run) = outcome {
            for test in run
                .tests
                .iter()
                .filter(|test| test.verdict == Verdict::Failed)
            {
                println!("    {}: {}", test.name, test.detail);
            }
        }
    }
    if let Some(findings) = findings {
        println!("  {:<20} {}", "kafka-dump-log", segments_line(findings));
        for error in findings.errors.iter().take(20) {
            println!("    {error}");
        }
    }
}

fn suite_counts(run: &SuiteRun) -> String {
    format!(
        "{} passed, {} failed, {} need what is not here, {} without a broker",
        run.count(Verdict::Passed),
        run.count(Verdict::Failed),
        run.count(Verdict::Needs),
        run.count(Verdict::Local)
    )
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

pub fn text(card: &Card) -> String {
    let mut text = HEAD.to_owned();
    clients_table(&mut text, &card.clients);
    suites_table(&mut text, &card.suites);
    scenarios_table(&mut text, &card.clients);
    reasons(&mut text, &card.clients);
    segments_section(&mut text, card.segments.as_ref());
    cuts_section(&mut text, card.cuts.as_ref());
    for run in &card.suites {
        suite_section(&mut text, run);
    }
    text
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
            result.name, result.source
        );
    }
}

/// One line a suite; every test of it is listed further down.
fn suites_table(text: &mut String, suites: &[SuiteRun]) {
    if suites.is_empty() {
        return;
    }
    text.push_str(
        "\n## Suites\nThe tests of other projects, each listed below with what it came to. A suite runs in full by \
         `cargo xtask interop --only SUITE`, all of them by `--all`; a plain run takes a quick part.\n\n\
         | suite | from | version | passed | failed | needs what one plaintext broker does not have | without a broker | last run in full |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for run in suites {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            run.name,
            run.source,
            run.version,
            run.count(Verdict::Passed),
            run.count(Verdict::Failed),
            run.count(Verdict::Needs),
            run.count(Verdict::Local),
            run.day
        );
    }
}

/// Failures and needs with their reasons, then the names of the rest.
fn suite_section(text: &mut String, run: &SuiteRun) {
    let suite = SUITES.iter().find(|suite| suite.name == run.name);
    let remark = suite.map_or("", |suite| suite.remark);
    let _ = writeln!(text, "\n## {} {}\n{remark}\n", run.name, run.version);
    for (title, verdict) in [
        ("Failed", Verdict::Failed),
        ("Not run, and what it needs", Verdict::Needs),
    ] {
        let tests: Vec<_> = run
            .tests
            .iter()
            .filter(|test| test.verdict == verdict)
            .collect();
        if tests.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:\n");
        for test in tests {
            let _ = writeln!(text, "- {}: {}", test.name, one_line(&test.detail));
        }
        text.push('\n');
    }
    let again: Vec<&str> = named(run, |test| test.passed_again);
    if !again.is_empty() {
        let _ = writeln!(text, "Passed at a later attempt: {}.\n", again.join(", "));
    }
    let partly: Vec<_> = run
        .tests
        .iter()
        .filter(|test| test.verdict == Verdict::Passed && !test.detail.is_empty())
        .collect();
    if !partly.is_empty() {
        text.push_str("Passed, with a remark:\n\n");
        for test in partly {
            let _ = writeln!(text, "- {}: {}", test.name, one_line(&test.detail));
        }
        text.push('\n');
    }
    let passed = named(run, |test| test.verdict == Verdict::Passed);
    let _ = writeln!(text, "Passed: {}.", passed.join(", "));
    let local = named(run, |test| test.verdict == Verdict::Local);
    if !local.is_empty() {
        let _ = writeln!(
            text,
            "\nWithout a broker, so not run: {}.",
            local.join(", ")
        );
    }
}

fn named(run: &SuiteRun, wanted: impl Fn(&super::suites::TestResult) -> bool) -> Vec<&str> {
    run.tests
        .iter()
        .filter(|test| wanted(test))
        .map(|test| test.name.as_str())
        .collect()
}

fn one_line(detail: &str) -> String {
    detail.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Clients that ran, in columns; scenarios in the order in which they first appear.
fn scenarios_table(text: &mut String, results: &[ClientResult]) {
    let ran: Vec<(&str, &[ScenarioResult])> = results
        .iter()
        .filter_map(|result| match &result.outcome {
            Outcome::Ran { scenarios, .. } => Some((result.name.as_str(), scenarios.as_slice())),
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
                let _ = writeln!(lines, "- {}, {}: {detail}", result.name, scenario.name);
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
        None => text.push_str("Not part of the last run.\n"),
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

fn cuts_section(text: &mut String, cuts: Option<&[CutsFound; 2]>) {
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
