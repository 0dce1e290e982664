//! `POST /v1/lab/{task}`: the guided runs of the topic lab on the cluster behind the gateway, with everything they saw and checked.
//!
//! The same runs as `thalweg lab`. A run takes a thread and some topics of its own for up to a minute and a half, so there is one at a time.

use std::time::Duration;

use ::lab::{Options, Task};
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{INTERNAL, NOT_FOUND, Problem, TOO_MANY_REQUESTS};
use crate::{Gateway, entropy};

/// The longest run.
const LIMIT: Duration = Duration::from_secs(90);

static RUNNING: Semaphore = Semaphore::const_new(1);

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(run))
}

/// What a run did, saw and checked.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabRun {
    /// `topics`, `keys`, `ordering`, `rebalance` or `semantics`.
    task: &'static str,
    title: &'static str,
    /// What there is to learn.
    goal: &'static str,
    /// Whether every check holds.
    passed: bool,
    seconds: f64,
    steps: Vec<LabStep>,
    checks: Vec<LabCheck>,
    /// The figures of the run; what they are depends on the task.
    #[schema(value_type = Object)]
    facts: Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LabStep {
    title: String,
    lines: Vec<String>,
    #[schema(value_type = Object)]
    data: Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LabCheck {
    claim: String,
    passed: bool,
    detail: String,
}

/// Run a task of the topic lab
///
/// Makes topics of its own, which are gone afterwards. It takes some seconds; one run at a time.
#[utoipa::path(
    post,
    path = "/v1/lab/{task}",
    tag = "Lab",
    operation_id = "runLabTask",
    params(("task" = String, Path, description = "`topics`, `keys`, `ordering`, `rebalance` or `semantics`", example = "keys")),
    responses(
        (status = 200, description = "The run with its checks; `passed` says whether all hold", body = LabRun),
        (status = "default", description = "Any other error", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn run(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
) -> Result<Json<LabRun>, Problem> {
    let task = Task::ALL.into_iter().find(|task| task.name() == name);
    let task = task.ok_or_else(|| {
        let names: Vec<&str> = Task::ALL.iter().map(|task| task.name()).collect();
        let detail = format!(
            "the lab has no task `{name}`; there are {}",
            names.join(", ")
        );
        Problem::new(NOT_FOUND, detail)
    })?;
    let Ok(turn) = RUNNING.try_acquire() else {
        let detail = "a run of the lab is under way; there is one at a time";
        return Err(Problem::new(TOO_MANY_REQUESTS, detail));
    };
    let cluster = gateway.backends().primary().cluster().clone();
    let options = Options {
        limit: LIMIT,
        ..Options::new(u64::from_ne_bytes(entropy::bytes()))
    };
    let running = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        ::lab::run(task, &cluster, options, &mut |_| {})
    });
    let report = running
        .await
        .map_err(|error| Problem::new(INTERNAL, format!("the run ended early: {error}")))??;
    Ok(Json(LabRun {
        task: report.task.name(),
        title: report.title,
        goal: report.goal,
        passed: report.passed,
        seconds: report.seconds,
        facts: report.facts,
        steps: report.steps.into_iter().map(step).collect(),
        checks: report.checks.into_iter().map(check).collect(),
    }))
}

fn step(step: ::lab::Step) -> LabStep {
    LabStep {
        title: step.title,
        lines: step.lines,
        data: step.data,
    }
}

fn check(check: ::lab::Check) -> LabCheck {
    LabCheck {
        claim: check.claim,
        passed: check.passed,
        detail: check.detail,
    }
}
