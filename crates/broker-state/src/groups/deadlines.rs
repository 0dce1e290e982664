//! When each group next wants a tick, ordered by time, so that a tick touches only the groups that are due.
//!
//! Keeps true: an entry may be early (a heartbeat does not move it) but is never late.

use std::collections::{BTreeSet, HashMap};

use super::ids::GroupId;
use crate::step::Millis;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    by_time: BTreeSet<(Millis, GroupId)>,
    by_group: HashMap<GroupId, Millis>,
}

impl Deadlines {
    /// Replaces the deadline of `group`.
    pub(super) fn set(&mut self, group: &GroupId, deadline: Option<Millis>) {
        let before = match deadline {
            Some(deadline) => self.by_group.insert(group.clone(), deadline),
            None => self.by_group.remove(group.as_str()),
        };
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, group.clone()));
        }
        if let Some(deadline) = deadline {
            self.by_time.insert((deadline, group.clone()));
        }
    }

    /// The earliest deadline of all.
    pub(super) fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The groups whose deadline has come, the longest overdue first.
    pub(super) fn due(&self, now: Millis) -> Vec<GroupId> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, group)| group.clone()).collect()
    }
}
