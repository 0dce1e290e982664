//! The topic lab: topics, keys, order, rebalancing and offset semantics as guided runs on a real cluster.
//!
//! A run makes topics and groups of its own (`lab-<task>-<random>`), tells each step as it is done, checks what it claims, and
//! deletes what it made. It is a client like any other and works on every cluster; nothing asks which broker it is. Called by
//! `thalweg lab` and by the HTTP server. Runs block: inside an async runtime they belong on a thread of their own.

mod keys;
mod ordering;
mod rebalance;
mod report;
mod semantics;
mod session;
mod topics;
mod traffic;

use std::time::Duration;

use client::{ClientError, Cluster};

pub use report::{Check, LabReport, Step, Task};
use session::Session;

/// How to run a task.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Part of every name, so that two runs do not meet.
    pub random: u64,
    /// Leave the topics and groups there at the end.
    pub keep: bool,
    /// How long the run may take.
    pub limit: Duration,
    /// Up to how many consumers `rebalance` goes, one to four.
    pub consumers: usize,
}

impl Options {
    /// What a person at a terminal wants: at most a minute and a half, all four consumers, everything deleted at the end.
    pub fn new(random: u64) -> Options {
        Options {
            random,
            keep: false,
            limit: Duration::from_secs(90),
            consumers: 4,
        }
    }
}

/// Runs a task; `observer` hears each step when it is done.
///
/// A check that fails is in the report and no error.
///
/// # Errors
/// What keeps the run from going on: no broker, a refusal, the time limit. What it made is deleted then too.
///
/// # Panics
/// When called on a thread of an async runtime, which would be blocked.
pub fn run(
    task: Task,
    cluster: &Cluster,
    options: Options,
    observer: &mut dyn FnMut(&Step),
) -> Result<LabReport, ClientError> {
    let mut session = Session::open(task, cluster, options, observer)?;
    let outcome = match task {
        Task::Topics => topics::run(&mut session),
        Task::Keys => keys::run(&mut session),
        Task::Ordering => ordering::run(&mut session),
        Task::Rebalance => rebalance::run(&mut session),
        Task::Semantics => semantics::run(&mut session),
    };
    session.close(outcome)
}
