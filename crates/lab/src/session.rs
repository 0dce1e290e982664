//! What a run has while it runs: a cluster, a deadline, names of its own, and what it has told so far.
//!
//! Whatever was made through a session is deleted when it closes, also when the run failed in between.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use client::offsets::OffsetQuery;
use client::topics::{NewTopic, Topic};
use client::{Admin, ClientError, Cluster};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use wire::ErrorCode;

use crate::Options;
use crate::report::{Check, LabReport, Step, Task};

/// How long a cluster may take until all of its brokers know what one of them was told.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a group that its members have just left may count as not empty.
const GROUP_PATIENCE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Session<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) options: Options,
    pub(crate) admin: Admin,
    pub(crate) facts: Value,
    task: Task,
    runtime: Runtime,
    begun: Instant,
    topics: Vec<String>,
    groups: Vec<String>,
    steps: Vec<Step>,
    checks: Vec<Check>,
    observer: &'a mut dyn FnMut(&Step),
}

impl<'a> Session<'a> {
    pub(crate) fn open(
        task: Task,
        cluster: &'a Cluster,
        options: Options,
        observer: &'a mut dyn FnMut(&Step),
    ) -> Result<Session<'a>, ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error: io::Error| ClientError::Client {
            what: "starting the lab".to_owned(),
            reason: error.to_string(),
        })?;
        let admin = runtime.block_on(cluster.admin())?;
        Ok(Session {
            cluster,
            options,
            admin,
            facts: Value::Null,
            task,
            runtime,
            begun: Instant::now(),
            topics: Vec::new(),
            groups: Vec::new(),
            steps: Vec::new(),
            checks: Vec::new(),
            observer,
        })
    }

    /// A name of this run, to be deleted at the end; `part` tells apart what one run makes.
    fn name(&self, part: &str) -> String {
        let mut name = format!(
            "lab-{}-{:08x}",
            self.task.name(),
            self.options.random as u32
        );
        if !part.is_empty() {
            name.push('-');
            name.push_str(part);
        }
        name
    }

    /// The name of a topic that the run makes itself.
    pub(crate) fn topic_name(&mut self, part: &str) -> String {
        let name = self.name(part);
        self.topics.push(name.clone());
        name
    }

    pub(crate) fn group_name(&mut self, part: &str) -> String {
        let name = self.name(part);
        self.groups.push(name.clone());
        name
    }

    /// Creates a topic with the cluster's own replication factor and waits until it can be used.
    pub(crate) fn create_topic(
        &mut self,
        part: &str,
        partitions: i32,
    ) -> Result<String, ClientError> {
        let name = self.topic_name(part);
        let new = NewTopic {
            name: &name,
            partitions: Some(partitions),
            ..NewTopic::default()
        };
        self.runtime.block_on(async {
            self.admin.create_topic(&new, false).await?;
            self.admin.settled_topic(&name).await
        })?;
        Ok(name)
    }

    /// Runs an admin request: `session.ask(async |admin| admin.topics().await)`. One that a cluster of several brokers refuses
    /// because not all of them know yet is made again for a while.
    pub(crate) fn ask<T>(
        &mut self,
        mut question: impl AsyncFnMut(&mut Admin) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.remaining()?.min(PATIENCE);
        loop {
            let may_pass = |error: &ClientError| {
                error.code().is_some_and(ErrorCode::is_retriable)
                    && Instant::now() + RETRY_PAUSE < deadline
            };
            match self.runtime.block_on(question(&mut self.admin)) {
                Err(error) if may_pass(&error) => std::thread::sleep(RETRY_PAUSE),
                answer => return answer,
            }
        }
    }

    /// The offset after the last record, by partition.
    pub(crate) fn ends(&mut self, topic: &str) -> Result<BTreeMap<i32, i64>, ClientError> {
        let offsets = self.ask(async |admin| {
            let topics: [Topic; 1] = [admin.topic(topic).await?];
            admin.list_offsets(&topics, OffsetQuery::Latest).await
        })?;
        let ends = offsets.into_iter();
        Ok(ends.map(|((_, partition), end)| (partition, end)).collect())
    }

    /// How many records of `topic` the group has not committed yet, by partition.
    pub(crate) fn lag(
        &mut self,
        group: &str,
        topic: &str,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let ends = self.ends(topic)?;
        let committed = self.ask(async |admin| admin.committed(group).await)?;
        let lag = ends.into_iter().map(|(partition, end)| {
            let key = (topic.to_owned(), partition);
            let next = committed.get(&key).copied().unwrap_or(0);
            (partition, (end - next).max(0))
        });
        Ok(lag.collect())
    }

    /// Milliseconds since the run began.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What is left of the time limit.
    ///
    /// # Errors
    /// `TimedOut` when nothing is.
    pub(crate) fn remaining(&self) -> Result<Duration, ClientError> {
        let limit = self.options.limit;
        limit
            .checked_sub(self.begun.elapsed())
            .ok_or_else(|| ClientError::TimedOut {
                what: format!("the lab's task {}", self.task.name()),
                after: limit,
            })
    }

    /// Tells a step that is done.
    pub(crate) fn tell(&mut self, step: Step) {
        (self.observer)(&step);
        self.steps.push(step);
    }

    pub(crate) fn check(
        &mut self,
        claim: impl Into<String>,
        passed: bool,
        detail: impl Into<String>,
    ) {
        self.checks.push(Check {
            claim: claim.into(),
            passed,
            detail: detail.into(),
        });
    }

    /// Deletes what was made and gives the report.
    pub(crate) fn close(
        mut self,
        outcome: Result<(), ClientError>,
    ) -> Result<LabReport, ClientError> {
        if !self.options.keep {
            self.clean_up();
        }
        outcome?;
        Ok(LabReport {
            task: self.task,
            title: self.task.title(),
            goal: self.task.goal(),
            passed: self.checks.iter().all(|check| check.passed),
            seconds: self.begun.elapsed().as_secs_f64(),
            steps: self.steps,
            checks: self.checks,
            facts: self.facts,
        })
    }

    /// A run that failed early has made less than it named, so what is not there is no error; nothing else can be done about one.
    fn clean_up(&mut self) {
        self.runtime.block_on(async {
            for group in &self.groups {
                if let Err(error) = delete_group(&mut self.admin, group).await {
                    tracing::debug!(%group, %error, "not deleted");
                }
            }
            for topic in &self.topics {
                if let Err(error) = self.admin.delete_topic(topic).await {
                    tracing::debug!(%topic, %error, "not deleted");
                }
            }
        });
    }
}

/// A broker that cannot be asked must not keep the run from ending, so one that is not empty is asked again a few times only.
async fn delete_group(admin: &mut Admin, group: &str) -> Result<(), ClientError> {
    let deadline = Instant::now() + GROUP_PATIENCE;
    loop {
        match admin.delete_group(group).await {
            Err(error)
                if error.code() == Some(ErrorCode::NonEmptyGroup) && Instant::now() < deadline =>
            {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}
