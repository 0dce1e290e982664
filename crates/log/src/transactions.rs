//! Which transactions are open in a log, read off its batches: a transactional batch opens the transaction of its producer, a
//! marker ends it. The first offset of the earliest open one is where readers of committed records stop, the last stable offset.
//!
//! A function of the batches alone: appending, scanning and the checkpoint's list give the same.

use std::collections::{BTreeSet, HashMap};

use wire::records::{BatchHeader, EndTransactionMarker};

use crate::offset::Offset;

/// A transaction whose records readers of committed records must pass over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer that wrote it.
    pub producer_id: i64,
    /// The offset of its first record here.
    pub first_offset: Offset,
    /// The offset of the marker that ended it.
    pub last_offset: Offset,
    /// Before this offset every transaction was decided when this one was: what ended later began here or after.
    pub last_stable_offset: Offset,
}

/// The open transactions of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenTransactions {
    first_offsets: HashMap<i64, Offset>,
    in_order: BTreeSet<Offset>,
}

impl OpenTransactions {
    /// Takes note of the batch at `base_offset`; gives the transaction that it aborts, if it is the marker of one.
    pub(crate) fn apply(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
        base_offset: Offset,
    ) -> Option<AbortedTransaction> {
        let producer_id = header.producer_id;
        if producer_id < 0 {
            return None;
        }
        let Some(marker) = marker else {
            if header.is_transactional() && !header.is_control() {
                self.open(producer_id, base_offset);
            }
            return None;
        };
        let first_offset = self.first_offsets.remove(&producer_id)?;
        self.in_order.remove(&first_offset);
        (!marker.is_commit).then(|| AbortedTransaction {
            producer_id,
            first_offset,
            last_offset: base_offset,
            last_stable_offset: self.first().unwrap_or(base_offset.next()),
        })
    }

    fn open(&mut self, producer_id: i64, first_offset: Offset) {
        if let std::collections::hash_map::Entry::Vacant(vacant) =
            self.first_offsets.entry(producer_id)
        {
            vacant.insert(first_offset);
            self.in_order.insert(first_offset);
        }
    }

    /// The first offset of the earliest open transaction.
    pub(crate) fn first(&self) -> Option<Offset> {
        self.in_order.first().copied()
    }

    /// Producers with an open transaction and its first offset, by offset.
    pub(crate) fn to_list(&self) -> Vec<(i64, Offset)> {
        let mut list: Vec<(i64, Offset)> = self
            .first_offsets
            .iter()
            .map(|(producer_id, first_offset)| (*producer_id, *first_offset))
            .collect();
        list.sort_unstable_by_key(|(_, first_offset)| *first_offset);
        list
    }

    pub(crate) fn from_list(list: &[(i64, Offset)]) -> OpenTransactions {
        let mut open = OpenTransactions::default();
        for (producer_id, first_offset) in list {
            open.open(*producer_id, *first_offset);
        }
        open
    }
}

/// Where readers of committed records stop.
pub(crate) fn last_stable_offset(
    high_watermark: Offset,
    first_unstable: Option<Offset>,
    log_start: Offset,
) -> Offset {
    // A transaction may have begun before the log start: DeleteRecords asks nobody.
    first_unstable.map_or(high_watermark, |first| {
        first.max(log_start).min(high_watermark)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(producer_id: i64) -> BatchHeader {
        let batch = wire::records::BatchBuilder::new(0)
            .producer(producer_id, 0, 0)
            .transactional()
            .build(wire::records::Compression::None);
        BatchHeader::decode(&batch).expect("a batch")
    }

    fn end(
        open: &mut OpenTransactions,
        producer_id: i64,
        is_commit: bool,
        at: i64,
    ) -> Option<AbortedTransaction> {
        let marker = EndTransactionMarker {
            is_commit,
            coordinator_epoch: 0,
        };
        let batch = marker.batch(producer_id, 0, 0);
        let header = BatchHeader::decode(&batch).expect("a batch");
        open.apply(&header, Some(marker), Offset(at))
    }

    fn begin(open: &mut OpenTransactions, producer_id: i64, at: i64) {
        assert_eq!(open.apply(&data(producer_id), None, Offset(at)), None);
    }

    #[test]
    fn the_earliest_open_transaction_counts() {
        let mut open = OpenTransactions::default();
        begin(&mut open, 7, 10);
        begin(&mut open, 8, 12);
        begin(&mut open, 7, 14);
        assert_eq!(open.first(), Some(Offset(10)));
        assert_eq!(end(&mut open, 7, true, 20), None);
        assert_eq!(open.first(), Some(Offset(12)));
        assert_eq!(end(&mut open, 8, true, 21), None);
        assert_eq!(open, OpenTransactions::default());
    }

    #[test]
    fn an_abort_tells_where_the_transaction_lay_and_what_was_stable() {
        let mut open = OpenTransactions::default();
        begin(&mut open, 7, 10);
        begin(&mut open, 8, 12);
        let aborted = end(&mut open, 7, false, 20).expect("7 was open");
        assert_eq!(
            (aborted.first_offset, aborted.last_offset),
            (Offset(10), Offset(20))
        );
        assert_eq!(aborted.last_stable_offset, Offset(12));
        let aborted = end(&mut open, 8, false, 30).expect("8 was open");
        assert_eq!(aborted.last_stable_offset, Offset(31));
    }

    #[test]
    fn a_marker_without_a_transaction_aborts_nothing() {
        let mut open = OpenTransactions::default();
        assert_eq!(end(&mut open, 7, false, 3), None);
        let plain = BatchHeader {
            attributes: 0,
            ..data(7)
        };
        assert_eq!(open.apply(&plain, None, Offset(4)), None);
        assert_eq!(end(&mut open, 7, false, 5), None);
    }

    #[test]
    fn a_list_gives_the_same_transactions_again() {
        let mut open = OpenTransactions::default();
        begin(&mut open, 7, 10);
        begin(&mut open, 3, 5);
        let list = open.to_list();
        assert_eq!(list, [(3, Offset(5)), (7, Offset(10))]);
        assert_eq!(OpenTransactions::from_list(&list), open);
    }

    #[test]
    fn the_last_stable_offset_lies_between_the_log_start_and_the_high_watermark() {
        let at =
            |first: Option<i64>| last_stable_offset(Offset(20), first.map(Offset), Offset(5)).0;
        assert_eq!(
            [at(None), at(Some(7)), at(Some(2)), at(Some(25))],
            [20, 7, 5, 20]
        );
    }
}
