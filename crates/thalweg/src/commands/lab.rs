//! `thalweg lab …`: the guided runs of the topic lab, told step by step; a check that fails is an exit code.

use std::io::{self, Write};
use std::time::Duration;

use ::lab::{Check, LabReport, Options, Step, Task};
use serde::Serialize;

use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::output::Format;
use client::time::parse_duration;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Task 1.1: a topic from a manifest, the routing formula, offsets, segments on the disk
    Topics(Args),
    /// Task 1.2: thirty records of ten users go where murmur2 predicts; records without a key by three policies
    Keys(Args),
    /// Task 1.3: a consumer logs partition, offset and key; order within a partition, none across
    Ordering(Args),
    /// Task 1.4: one to four consumers share three partitions; the timeline of their assignments, and lag
    Rebalance(RebalanceArgs),
    /// Task 1.5: at-most-once, at-least-once and exactly-once with a worker that is killed in mid-batch
    Semantics(Args),
    /// All five tasks, one after the other
    All(Args),
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the topics and groups of the run there at the end
    #[arg(long)]
    keep: bool,
    /// How long a task may take
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = parse_duration)]
    limit: Duration,
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
pub struct RebalanceArgs {
    /// Up to how many consumers join
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=4))]
    consumers: u8,
    #[command(flatten)]
    run: Args,
}

/// What `lab all -o json` prints.
#[derive(Serialize)]
struct Reports<'a> {
    passed: bool,
    reports: &'a [LabReport],
}

impl Verb {
    fn args(&self) -> &Args {
        match self {
            Verb::Topics(args)
            | Verb::Keys(args)
            | Verb::Ordering(args)
            | Verb::Semantics(args)
            | Verb::All(args) => args,
            Verb::Rebalance(args) => &args.run,
        }
    }

    pub fn client(&self) -> &ClientFlags {
        &self.args().client
    }

    fn tasks(&self) -> &'static [Task] {
        match self {
            Verb::Topics(_) => &[Task::Topics],
            Verb::Keys(_) => &[Task::Keys],
            Verb::Ordering(_) => &[Task::Ordering],
            Verb::Rebalance(_) => &[Task::Rebalance],
            Verb::Semantics(_) => &[Task::Semantics],
            Verb::All(_) => &Task::ALL,
        }
    }

    fn options(&self) -> Result<Options, CommandError> {
        let random = getrandom::u64().map_err(|error| {
            CommandError::new(
                Exit::Error,
                format!("the system gives no randomness: {error}"),
            )
        })?;
        let mut options = Options {
            keep: self.args().keep,
            limit: self.args().limit,
            ..Options::new(random)
        };
        if let Verb::Rebalance(args) = self {
            options.consumers = usize::from(args.consumers);
        }
        Ok(options)
    }
}

pub fn run(context: &Context, verb: &Verb) -> Result<(), CommandError> {
    let options = verb.options()?;
    let cluster = context.cluster();
    let is_told = context.output.format == Format::Table;
    let mut reports = Vec::new();
    for task in verb.tasks() {
        if is_told {
            begin(*task)?;
        }
        let mut number = 0;
        let mut broken = None;
        let report = ::lab::run(*task, &cluster, options, &mut |step| {
            number += 1;
            if is_told && broken.is_none() {
                broken = tell(number, step).err();
            }
        })?;
        if let Some(error) = broken {
            return Err(error.into());
        }
        if is_told {
            end(&report)?;
        }
        reports.push(report);
    }
    let passed = reports.iter().all(|report| report.passed);
    if !is_told {
        print(context, verb, passed, &reports)?;
    }
    match passed {
        true => Ok(()),
        false => Err(CommandError::new(Exit::Error, failed(&reports))),
    }
}

fn print(
    context: &Context,
    verb: &Verb,
    passed: bool,
    reports: &[LabReport],
) -> Result<(), CommandError> {
    match (verb, reports) {
        (Verb::All(_), reports) => {
            let reports = Reports { passed, reports };
            context.output.one(&reports, "all", |_| Ok(()))
        }
        (_, reports) => reports
            .iter()
            .try_for_each(|report| context.output.one(report, report.task.name(), |_| Ok(()))),
    }
}

fn failed(reports: &[LabReport]) -> String {
    let checks = reports.iter().flat_map(|report| &report.checks);
    let failed = checks.filter(|check| !check.passed);
    let claims: Vec<&str> = failed.map(|check| check.claim.as_str()).collect();
    format!("did not hold: {}", claims.join("; "))
}

fn begin(task: Task) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n{}\n", task.title(), task.goal())?;
    out.flush()
}

fn tell(number: usize, step: &Step) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{number}. {}", step.title)?;
    for line in &step.lines {
        writeln!(out, "   {line}")?;
    }
    writeln!(out)?;
    out.flush()
}

fn end(report: &LabReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for check in &report.checks {
        writeln!(out, "{}", line(check))?;
    }
    let passed = report.checks.iter().filter(|check| check.passed).count();
    writeln!(
        out,
        "\n{passed} of {} checks passed in {:.1} s\n",
        report.checks.len(),
        report.seconds
    )?;
    out.flush()
}

fn line(check: &Check) -> String {
    let mark = if check.passed { "✓" } else { "✗" };
    format!("{mark} {} ({})", check.claim, check.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_fails_is_marked_and_named() {
        let check = |passed| Check {
            claim: "it holds".to_owned(),
            passed,
            detail: "1 of 2".to_owned(),
        };
        assert_eq!(line(&check(true)), "✓ it holds (1 of 2)");
        assert_eq!(line(&check(false)), "✗ it holds (1 of 2)");
        let report = LabReport {
            task: Task::Keys,
            title: Task::Keys.title(),
            goal: Task::Keys.goal(),
            passed: false,
            seconds: 0.1,
            steps: Vec::new(),
            checks: vec![check(true), check(false)],
            facts: serde_json::Value::Null,
        };
        assert_eq!(failed(&[report]), "did not hold: it holds");
    }
}
