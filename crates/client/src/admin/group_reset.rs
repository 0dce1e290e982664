//! Moving a group: where each partition is and where it would be. Planning changes nothing; [`Admin::commit`] applies a plan.
//!
//! `thalweg group reset` and `POST /v1/groups/{group}/offsets` preview and apply by the same plan.

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::Admin;
use super::groups::Committed;
use super::offsets::{OffsetQuery, Offsets};
use super::topics::Topic;
use crate::error::ClientError;
use crate::place::{Bounds, Place};

/// Where a group goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Place(Place),
    /// So many records on, or back when negative, from where it is; from the start where nothing is committed.
    Shift(i64),
}

/// A topic and some of its partitions, all when none is named.
pub type Selection = (String, Vec<i32>);

/// The step of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub topic: String,
    pub partition: i32,
    pub before: Option<i64>,
    pub after: i64,
    pub end_offset: i64,
}

impl Move {
    /// By how much the offset changes; nothing when there was none.
    pub fn delta(&self) -> Option<i64> {
        self.before.map(|before| self.after - before)
    }

    pub fn lag_after(&self) -> i64 {
        self.end_offset - self.after
    }
}

/// The offsets that a plan ends at, for [`Admin::commit`].
pub fn destination(moves: &[Move]) -> Committed {
    let offsets = moves
        .iter()
        .map(|step| ((step.topic.clone(), step.partition), step.after));
    offsets.collect()
}

/// Whether a group in this state has members, so that its offsets are theirs to move.
pub fn is_active(state: &str) -> bool {
    !matches!(state, "Empty" | "Dead" | "")
}

impl Target {
    fn offset(self, before: Option<i64>, bounds: Bounds) -> i64 {
        match self {
            Target::Place(place) => place.offset(bounds),
            Target::Shift(by) => {
                let from = before.unwrap_or(bounds.start);
                Place::Offset(from.saturating_add(by)).offset(bounds)
            }
        }
    }

    fn timestamp(self, now_ms: i64) -> Option<i64> {
        match self {
            Target::Place(place) => place.timestamp(now_ms),
            Target::Shift(_) => None,
        }
    }
}

impl Admin {
    /// What moving a group to `target` would do, in the order of topics and partitions. Without a selection, all that the group
    /// has committed moves.
    ///
    /// # Errors
    /// `NotFound` for a selected topic or partition that does not exist.
    pub async fn plan_reset(
        &mut self,
        committed: &Committed,
        selection: &[Selection],
        target: Target,
        now_ms: i64,
    ) -> Result<Vec<Move>, ClientError> {
        let topics = self.selected(committed, selection).await?;
        let starts = self.list_offsets(&topics, OffsetQuery::Earliest).await?;
        let ends = self.list_offsets(&topics, OffsetQuery::Latest).await?;
        let at_time = match target.timestamp(now_ms) {
            Some(ms) => self.list_offsets(&topics, OffsetQuery::AtTime(ms)).await?,
            None => Offsets::new(),
        };
        let keys = topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| (topic.name.clone(), partition.index))
        });
        let moves = keys.map(|key| {
            let bounds = Bounds {
                start: starts.get(&key).copied().unwrap_or(0),
                end: ends.get(&key).copied().unwrap_or(0),
                at_time: at_time.get(&key).copied(),
            };
            let before = committed.get(&key).copied();
            Move {
                before,
                after: target.offset(before, bounds),
                end_offset: bounds.end,
                topic: key.0,
                partition: key.1,
            }
        });
        Ok(moves.collect())
    }

    /// The topics to move, each with only the partitions to move.
    async fn selected(
        &mut self,
        committed: &Committed,
        selection: &[Selection],
    ) -> Result<Vec<Topic>, ClientError> {
        let mut topics = Vec::new();
        for (name, partitions) in merged(committed, selection) {
            let mut topic = self.topic(&name).await?;
            if !partitions.is_empty() {
                check_partitions(&topic, &partitions)?;
                topic
                    .partitions
                    .retain(|partition| partitions.contains(&partition.index));
            }
            topics.push(topic);
        }
        Ok(topics)
    }
}

/// Each topic once; a topic that is selected with and without partitions is selected whole.
fn merged(committed: &Committed, selection: &[Selection]) -> BTreeMap<String, Vec<i32>> {
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    if selection.is_empty() {
        for (topic, partition) in committed.keys() {
            wanted.entry(topic.clone()).or_default().push(*partition);
        }
    }
    for (topic, partitions) in selection {
        match wanted.get_mut(topic) {
            None => drop(wanted.insert(topic.clone(), partitions.clone())),
            Some(whole) if whole.is_empty() || partitions.is_empty() => whole.clear(),
            Some(some) => some.extend(partitions),
        }
    }
    wanted
}

fn check_partitions(topic: &Topic, wanted: &[i32]) -> Result<(), ClientError> {
    let exists = |index: &i32| topic.partitions.iter().any(|known| known.index == *index);
    let Some(missing) = wanted.iter().find(|index| !exists(index)) else {
        return Ok(());
    };
    let last = topic.partitions.len().saturating_sub(1);
    let reason = format!("the topic has partitions 0 to {last}");
    Err(ClientError::refused(
        format!("moving {}-{missing}", topic.name),
        ErrorCode::UnknownTopicOrPartition,
        Some(&reason),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        start: 10,
        end: 100,
        at_time: None,
    };

    #[test]
    fn a_shift_counts_from_where_the_group_is_and_stays_inside_the_partition() {
        let shifted = |before, by| Target::Shift(by).offset(before, BOUNDS);
        assert_eq!(shifted(Some(50), 5), 55);
        assert_eq!(shifted(Some(50), -5), 45);
        assert_eq!(shifted(Some(50), -500), 10);
        assert_eq!(shifted(Some(50), i64::MAX), 100);
        assert_eq!(shifted(None, 5), 15);
    }

    #[test]
    fn without_a_selection_all_that_is_committed_moves() {
        let committed = Committed::from([(("a".into(), 0), 1), (("a".into(), 2), 1)]);
        let whole = merged(&committed, &[]);
        assert_eq!(whole, BTreeMap::from([("a".to_owned(), vec![0, 2])]));
        let some = merged(&committed, &[("b".into(), vec![1]), ("b".into(), vec![3])]);
        assert_eq!(some, BTreeMap::from([("b".to_owned(), vec![1, 3])]));
        let all = merged(&committed, &[("b".into(), vec![1]), ("b".into(), vec![])]);
        assert_eq!(all, BTreeMap::from([("b".to_owned(), vec![])]));
    }

    #[test]
    fn a_partition_that_is_not_there_is_refused_by_name() {
        let topic = Topic {
            name: "t".to_owned(),
            ..Topic::default()
        };
        let error = check_partitions(&topic, &[7]).unwrap_err();
        assert!(error.to_string().contains("t-7"), "{error}");
    }

    #[test]
    fn only_a_group_without_members_is_inactive() {
        assert!(!is_active("Empty"));
        assert!(is_active("Stable") && is_active("PreparingRebalance"));
    }
}
