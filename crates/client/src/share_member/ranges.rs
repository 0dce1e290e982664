//! Acquired ranges and acknowledgements as plain data: which records a fetch gave, what became of the offsets that are no records,
//! and how acknowledgements are written down.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use wire::share_fetch::AcquiredRecords;

use crate::reader::{FetchedPartition, Record};

/// What becomes of an acquired offset, as its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no record: compacted away, or the end of a transaction.
    Gap = 0,
    Accept = 1,
    Release = 2,
    Reject = 3,
    Renew = 4,
}

/// What was acquired of one partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// Records with how often each was delivered, this time included.
    pub(super) records: Vec<(Record, i16)>,
    /// Acquired offsets that nobody gets.
    pub(super) rest: Vec<(RangeInclusive<i64>, Kind)>,
}

/// Sorts what was `fetched` by what was `acquired`: the answer has whole batches, of which only the acquired offsets are ours.
///
/// An offset without a record is a gap if reading came past it; where a damaged batch begins, the rest is rejected, because it
/// would be damaged the next time, too; what was not looked at is released.
pub(super) fn sort(acquired: &[AcquiredRecords], fetched: FetchedPartition) -> Sorted {
    let unread = match fetched.error {
        Some(_) => Kind::Reject,
        None => Kind::Release,
    };
    let end = fetched.next_offset;
    let mut sorted = Sorted::default();
    let mut records = fetched.records.into_iter().peekable();
    for range in acquired {
        let mut next = range.first_offset;
        while records.next_if(|record| record.offset < next).is_some() {}
        while let Some(record) = records.next_if(|record| record.offset <= range.last_offset) {
            sorted.leave(next, record.offset - 1, end, unread);
            next = record.offset + 1;
            sorted.records.push((record, range.delivery_count));
        }
        sorted.leave(next, range.last_offset, end, unread);
    }
    sorted
}

impl Sorted {
    /// Notes offsets without a record; from `end` on they are `unread`.
    fn leave(&mut self, first: i64, last: i64, end: i64, unread: Kind) {
        for (range, kind) in [
            (first..=last.min(end - 1), Kind::Gap),
            (first.max(end)..=last, unread),
        ] {
            if !range.is_empty() {
                self.rest.push((range, kind));
            }
        }
    }

    /// Keeps the first `max` records and leaves the others to whoever comes next.
    pub(super) fn keep(&mut self, max: usize) {
        let over = self.records.split_off(max.min(self.records.len()));
        let over = over.into_iter().map(|(record, _)| record.offset);
        self.rest
            .extend(over.map(|offset| (offset..=offset, Kind::Release)));
    }
}

/// First offset, last offset, and one type for all or one for each.
pub(super) type Batch = (i64, i64, Vec<i8>);

/// Acknowledgements as runs of offsets that follow each other.
pub(super) fn batches(acknowledgements: &BTreeMap<i64, Kind>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (&offset, &kind) in acknowledgements {
        match batches.last_mut() {
            Some((_, last, kinds)) if *last + 1 == offset => {
                *last = offset;
                kinds.push(kind as i8);
            }
            _ => batches.push((offset, offset, vec![kind as i8])),
        }
    }
    for (_, _, kinds) in &mut batches {
        if kinds.iter().all(|kind| *kind == kinds[0]) {
            kinds.truncate(1);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use wire::ErrorCode;

    use super::*;

    fn acquired(first_offset: i64, last_offset: i64, delivery_count: i16) -> AcquiredRecords {
        AcquiredRecords {
            first_offset,
            last_offset,
            delivery_count,
        }
    }

    fn fetched(offsets: &[i64], next_offset: i64, error: Option<ErrorCode>) -> FetchedPartition {
        let record = |offset: &i64| Record {
            offset: *offset,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        FetchedPartition {
            partition: 0,
            records: offsets.iter().map(record).collect(),
            next_offset,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            error,
        }
    }

    fn given(sorted: &Sorted) -> Vec<(i64, i16)> {
        let records = sorted.records.iter();
        records
            .map(|(record, count)| (record.offset, *count))
            .collect()
    }

    #[test]
    fn only_acquired_records_are_given_and_holes_are_gaps() {
        let ranges = [acquired(2, 4, 1), acquired(8, 9, 3)];
        let sorted = sort(&ranges, fetched(&[0, 1, 2, 4, 5, 8], 10, None));
        assert_eq!(given(&sorted), [(2, 1), (4, 1), (8, 3)]);
        assert_eq!(sorted.rest, [(3..=3, Kind::Gap), (9..=9, Kind::Gap)]);
    }

    #[test]
    fn what_was_not_read_is_released_and_what_cannot_be_read_is_rejected() {
        let ranges = [acquired(0, 9, 1)];
        let sorted = sort(&ranges, fetched(&[0, 1], 3, None));
        assert_eq!(sorted.rest, [(2..=2, Kind::Gap), (3..=9, Kind::Release)]);
        let damaged = Some(ErrorCode::CorruptMessage);
        let sorted = sort(&ranges, fetched(&[], 0, damaged));
        assert_eq!(sorted.rest, [(0..=9, Kind::Reject)]);
        let endless = [acquired(0, i64::MAX - 1, 1)];
        let sorted = sort(&endless, fetched(&[0], 1, None));
        assert_eq!(sorted.rest, [(1..=i64::MAX - 1, Kind::Release)]);
    }

    #[test]
    fn more_than_was_asked_for_is_released() {
        let mut sorted = sort(&[acquired(0, 2, 1)], fetched(&[0, 1, 2], 3, None));
        sorted.keep(2);
        assert_eq!(given(&sorted), [(0, 1), (1, 1)]);
        assert_eq!(sorted.rest, [(2..=2, Kind::Release)]);
    }

    #[test]
    fn acknowledgements_are_written_in_runs() {
        use Kind::{Accept, Release};
        let all = [
            (1, Accept),
            (2, Accept),
            (5, Accept),
            (6, Release),
            (9, Release),
        ];
        let expected = [(1, 2, vec![1]), (5, 6, vec![1, 2]), (9, 9, vec![2])];
        assert_eq!(batches(&all.into()), expected);
    }
}
