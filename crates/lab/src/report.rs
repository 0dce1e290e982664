//! What a run tells: its steps as they happen, its checks, and facts for whoever draws a page from them.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

/// The five tasks, in the order in which they build on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Topics,
    Keys,
    Ordering,
    Rebalance,
    Semantics,
}

/// What a run did and saw.
#[derive(Debug, Clone, Serialize)]
pub struct LabReport {
    pub task: Task,
    pub title: &'static str,
    pub goal: &'static str,
    /// Whether every check passed.
    pub passed: bool,
    pub seconds: f64,
    pub steps: Vec<Step>,
    pub checks: Vec<Check>,
    pub facts: Value,
}

/// One thing that was done: lines for people, data for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub title: String,
    pub lines: Vec<String>,
    pub data: Value,
}

/// A claim and whether it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub claim: String,
    pub passed: bool,
    /// What was seen.
    pub detail: String,
}

impl Task {
    pub const ALL: [Task; 5] = [
        Task::Topics,
        Task::Keys,
        Task::Ordering,
        Task::Rebalance,
        Task::Semantics,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Task::Topics => "topics",
            Task::Keys => "keys",
            Task::Ordering => "ordering",
            Task::Rebalance => "rebalance",
            Task::Semantics => "semantics",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Task::Topics => "Task 1.1: Topic Provisioning",
            Task::Keys => "Task 1.2: Producer with Keys",
            Task::Ordering => "Task 1.3: Consumer with Logging",
            Task::Rebalance => "Task 1.4: Rebalancing & Scaling",
            Task::Semantics => "Task 1.5: Offset Semantics",
        }
    }

    pub fn goal(self) -> &'static str {
        match self {
            Task::Topics => "Topic, partition, segment; the routing formula; offsets and the log",
            Task::Keys => "The producer, how keys spread over partitions, and how to choose a key",
            Task::Ordering => "The consumer, its offsets, and where there is order and where not",
            Task::Rebalance => "Consumer groups, what a rebalance does, and how lag is measured",
            Task::Semantics => {
                "At-most-once, at-least-once and exactly-once are a matter of when offsets are committed"
            }
        }
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(name: &str) -> Result<Task, String> {
        Task::ALL
            .into_iter()
            .find(|task| task.name() == name)
            .ok_or_else(|| {
                let names = Task::ALL.map(Task::name).join(", ");
                format!("`{name}` is no task of the lab; the tasks are {names}")
            })
    }
}

impl Step {
    pub(crate) fn new(title: impl Into<String>) -> Step {
        Step {
            title: title.into(),
            lines: Vec::new(),
            data: Value::Null,
        }
    }

    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_by_name_and_others_refused() {
        for task in Task::ALL {
            assert_eq!(task.name().parse(), Ok(task));
            assert_eq!(serde_json::to_value(task).expect("text"), task.name());
        }
        let refused = "offsets".parse::<Task>().unwrap_err();
        assert_eq!(
            refused,
            "`offsets` is no task of the lab; the tasks are topics, keys, ordering, rebalance, semantics"
        );
    }
}
