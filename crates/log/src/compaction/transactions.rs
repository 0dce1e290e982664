//! What becomes of transactions while a log is compacted: batches of aborted ones go, and a marker may go once nothing of its
//! transaction is left before it.
//!
//! Sees every batch of the compacted part once, in order. Source: the rules of Kafka's CleanedTransactionMetadata.

use std::collections::{HashMap, HashSet, VecDeque};

use wire::records::{BatchHeader, EndTransactionMarker};

use crate::offset::Offset;
use crate::transactions::AbortedTransaction;

/// The transactions that are open at the batch that was seen last.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// Those that begin later, by their first offsets.
    ahead: VecDeque<AbortedTransaction>,
    /// Open and to be aborted, by producer; whether a batch of it was seen.
    aborted: HashMap<i64, (AbortedTransaction, bool)>,
    /// Producers with an open transaction that is to be committed.
    committed: HashSet<i64>,
    /// Aborted transactions of which batches were seen: an index of the compacted part has these.
    indexed: Vec<AbortedTransaction>,
}

impl Fates {
    /// `aborted` has every aborted transaction with records in the compacted part.
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Fates {
        aborted.sort_unstable_by_key(|aborted| aborted.first_offset);
        Fates {
            ahead: aborted.into(),
            ..Fates::default()
        }
    }

    /// Whether the records of a batch, which is no control batch, belong to an aborted transaction.
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        self.advance(header);
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((aborted, was_seen)) if header.base_offset <= aborted.last_offset.0 => {
                *was_seen = true;
                true
            }
            _ => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Whether nothing is left before this control batch that it would be needed for.
    pub(super) fn is_spent(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
    ) -> bool {
        self.advance(header);
        match marker {
            Some(marker) if marker.is_commit => !self.committed.remove(&header.producer_id),
            Some(_) => match self.aborted.remove(&header.producer_id) {
                Some((aborted, true)) => {
                    self.indexed.push(aborted);
                    false
                }
                _ => true,
            },
            // One that was emptied before has said what it had to; others are not ours to judge.
            None => header.record_count == 0,
        }
    }

    /// The entries for the index of the segment that ends here.
    pub(super) fn take_indexed(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.indexed)
    }

    fn advance(&mut self, header: &BatchHeader) {
        let upto = Offset(header.last_offset());
        while let Some(next) = self.ahead.pop_front_if(|next| next.first_offset <= upto) {
            // A producer has one transaction at a time: an earlier one has ended, whether its marker was met or not.
            self.aborted.insert(next.producer_id, (next, false));
        }
    }
}
