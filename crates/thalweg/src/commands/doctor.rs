//! `thalweg doctor`: checks of this machine and of the way to the broker, each with the fix when it fails.

use serde::Serialize;

use super::doctor_checks as checks;
use crate::cli::Context;
use crate::config::flags::{ClientFlags, ServerFlags};
use crate::exit::{CommandError, Exit};
use crate::output::may_colour;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the way to the broker: for health checks of containers
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    pub server: ServerFlags,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warn,
    Bad,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub state: State,
    pub detail: String,
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
        Finding {
            check,
            state: State::Ok,
            detail: detail.into(),
            fix: None,
        }
    }

    pub fn warn(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            check,
            state: State::Warn,
            detail: detail.into(),
            fix: Some(fix.into()),
        }
    }

    pub fn bad(check: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            state: State::Bad,
            ..Finding::warn(check, detail, fix)
        }
    }
}

#[derive(Serialize)]
struct Report {
    healthy: bool,
    findings: Vec<Finding>,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut findings = checks::broker(context, args.quick).await;
    if !args.quick {
        findings.extend(checks::machine(&context.settings));
    }
    let failed = findings
        .iter()
        .filter(|finding| finding.state == State::Bad)
        .count();
    let report = Report {
        healthy: failed == 0,
        findings,
    };
    let name = if report.healthy {
        "healthy"
    } else {
        "unhealthy"
    };
    context.output.one(&report, name, |out| {
        for finding in &report.findings {
            writeln!(
                out,
                "{} {:<11} {}",
                mark(finding.state),
                finding.check,
                finding.detail
            )?;
            if let Some(fix) = &finding.fix {
                writeln!(out, "  {:<11} fix: {fix}", "")?;
            }
        }
        Ok(())
    })?;
    match failed {
        0 => Ok(()),
        1 => Err(CommandError::new(Exit::Error, "1 check failed")),
        failed => Err(CommandError::new(
            Exit::Error,
            format!("{failed} checks failed"),
        )),
    }
}

fn mark(state: State) -> String {
    let (shape, colour) = match state {
        State::Ok => ("✓", 32),
        State::Warn => ("▲", 33),
        State::Bad => ("✗", 31),
    };
    match may_colour() {
        true => format!("\u{1b}[{colour}m{shape}\u{1b}[0m"),
        false => shape.to_owned(),
    }
}
