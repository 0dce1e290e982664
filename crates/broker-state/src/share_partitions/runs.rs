//! The states of a partition's offsets as runs: neighbours in the same state are one entry, so the size of the map
//! follows the number of changes and not the number of records.
//!
//! Keeps true: runs do not overlap, each has at least one offset, and two that touch differ in their state.
//! An offset without a run has never been delivered, or not since the broker started.

use std::collections::BTreeMap;

use crate::groups::MemberId;
use crate::step::Millis;

/// What one record is to its group. The numbers are those of Kafka's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Can be acquired by any member.
    Available,
    /// One member has it until it answers or the time is over. Never durable.
    Acquired { member: MemberId, until: Millis },
    /// Worked on; never delivered again.
    Acknowledged,
    /// Given up, and not yet copied to the dead-letter topic.
    Archiving,
    /// Given up; never delivered again.
    Archived,
}

impl Delivery {
    /// Whether nothing will happen to the record any more.
    pub fn is_final(&self) -> bool {
        matches!(self, Delivery::Acknowledged | Delivery::Archived)
    }
}

/// The state of a run: what its records are, and how often they have been delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub delivery: Delivery,
    pub count: i16,
}

impl State {
    pub fn is_free(&self) -> bool {
        self.delivery == Delivery::Available
    }
}

/// Offsets `first` to `last`, both included, that share a state; none means that they have no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub first: i64,
    pub last: i64,
    pub state: Option<&'a State>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    last: i64,
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(BTreeMap<i64, Run>);

impl Runs {
    /// Gives `first..=last` this state, whatever was there.
    pub fn set(&mut self, first: i64, last: i64, state: State) {
        self.clear(first, last);
        let (mut first, mut last) = (first, last);
        if let Some((&before, run)) = self.0.range(..first).next_back()
            && run.last + 1 == first
            && run.state == state
        {
            self.0.remove(&before);
            first = before;
        }
        if let Some(after) = self.0.get(&(last + 1))
            && after.state == state
        {
            let after_last = after.last;
            self.0.remove(&(last + 1));
            last = after_last;
        }
        self.0.insert(first, Run { last, state });
    }

    /// Takes `first..=last` out.
    pub fn clear(&mut self, first: i64, last: i64) {
        if let Some((_, before)) = self.0.range_mut(..first).next_back()
            && before.last >= first
        {
            let run_last = before.last;
            before.last = first - 1;
            if run_last > last {
                let state = before.state.clone();
                let rest = Run {
                    last: run_last,
                    state,
                };
                self.0.insert(last + 1, rest);
                return;
            }
        }
        while let Some((&run_first, run)) = self.0.range(first..=last).next() {
            let run = run.clone();
            self.0.remove(&run_first);
            if run.last > last {
                self.0.insert(last + 1, run);
            }
        }
    }

    /// Takes everything below `start` out.
    pub fn clear_below(&mut self, start: i64) {
        if let Some((&first, _)) = self.0.first_key_value()
            && first < start
        {
            self.clear(first, start - 1);
        }
    }

    /// The offset after the last run.
    pub fn end(&self) -> Option<i64> {
        self.0.last_key_value().map(|(_, run)| run.last + 1)
    }

    /// Every run, in order.
    pub fn iter(&self) -> impl Iterator<Item = Piece<'_>> {
        self.0.iter().map(|(first, run)| Piece {
            first: *first,
            last: run.last,
            state: Some(&run.state),
        })
    }

    /// `first..=last` cut into what has one state each, offsets without a run included.
    pub fn pieces(&self, first: i64, last: i64) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        if last < first {
            return pieces;
        }
        let mut next = first;
        let before = self.0.range(..first).next_back();
        let runs = before.into_iter().chain(self.0.range(first..=last));
        for (&run_first, run) in runs {
            if run.last < next {
                continue;
            }
            if run_first > next {
                pieces.push(Piece {
                    first: next,
                    last: run_first - 1,
                    state: None,
                });
            }
            pieces.push(Piece {
                first: run_first.max(next),
                last: run.last.min(last),
                state: Some(&run.state),
            });
            next = run.last + 1;
        }
        if next <= last {
            pieces.push(Piece {
                first: next,
                last,
                state: None,
            });
        }
        pieces
    }

    /// The first offset from `start` on that a member could acquire.
    pub fn first_free(&self, start: i64) -> i64 {
        let mut next = start;
        for (&first, run) in &self.0 {
            if first > next || (run.state.is_free() && run.last >= next) {
                break;
            }
            next = next.max(run.last + 1);
        }
        next
    }

    /// The offset after the final states that begin at `start`.
    pub fn end_of_final_prefix(&self, start: i64) -> i64 {
        let mut next = start;
        for (&first, run) in &self.0 {
            if first > next || !run.state.delivery.is_final() {
                break;
            }
            next = next.max(run.last + 1);
        }
        next
    }

    /// How many offsets are in a state that `is_counted`.
    pub fn count(&self, is_counted: impl Fn(&Delivery) -> bool) -> i64 {
        let counted = self
            .0
            .iter()
            .filter(|(_, run)| is_counted(&run.state.delivery));
        counted.map(|(first, run)| run.last - first + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(delivery: Delivery) -> State {
        State { delivery, count: 1 }
    }

    fn shown(runs: &Runs) -> Vec<(i64, i64, Delivery)> {
        let show = |piece: Piece<'_>| {
            let state = piece.state.expect("a run");
            (piece.first, piece.last, state.delivery.clone())
        };
        runs.iter().map(show).collect()
    }

    #[test]
    fn neighbours_of_one_state_are_one_run() {
        let mut runs = Runs::default();
        runs.set(0, 4, state(Delivery::Acknowledged));
        runs.set(10, 14, state(Delivery::Acknowledged));
        runs.set(5, 9, state(Delivery::Acknowledged));
        assert_eq!(shown(&runs), [(0, 14, Delivery::Acknowledged)]);
    }

    #[test]
    fn a_run_is_split_by_what_is_set_inside_it() {
        let mut runs = Runs::default();
        runs.set(0, 9, state(Delivery::Available));
        runs.set(3, 5, state(Delivery::Archived));
        let expected = [
            (0, 2, Delivery::Available),
            (3, 5, Delivery::Archived),
            (6, 9, Delivery::Available),
        ];
        assert_eq!(shown(&runs), expected);
        runs.clear_below(5);
        assert_eq!(
            shown(&runs),
            [(5, 5, Delivery::Archived), (6, 9, Delivery::Available)]
        );
    }

    #[test]
    fn pieces_name_the_offsets_without_a_run() {
        let mut runs = Runs::default();
        runs.set(2, 3, state(Delivery::Acknowledged));
        runs.set(6, 9, state(Delivery::Available));
        let ranges: Vec<_> = runs
            .pieces(0, 7)
            .iter()
            .map(|piece| (piece.first, piece.last, piece.state.is_some()))
            .collect();
        assert_eq!(
            ranges,
            [(0, 1, false), (2, 3, true), (4, 5, false), (6, 7, true)]
        );
        assert!(runs.pieces(8, 6).is_empty());
        assert_eq!(runs.first_free(2), 4);
        assert_eq!(runs.end_of_final_prefix(2), 4);
        assert_eq!(runs.end(), Some(10));
    }
}
