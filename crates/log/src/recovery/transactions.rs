//! The transactions of a log that is being opened: those that were open at the checkpoint, what the scan adds to them, and the
//! transaction indexes, of which the checkpoint says what is good.
//!
//! An index that is missing, short or damaged cannot be mended from its segment alone, since a transaction may have begun long
//! before its marker. All indexes are then made anew from the whole log, headers only.

use std::path::Path;

use wire::records::{BatchHeader, EndTransactionMarker, MOST_MARKER_BYTES};

use super::opening::Opening;
use crate::access::{self, Access, Stop};
use crate::batch::HEADER;
use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::offset::Offset;
use crate::segment::Segment;
use crate::transaction_index::{Claim, TransactionIndex};
use crate::transactions::{AbortedTransaction, OpenTransactions};
use crate::walk::{Step, Walk};

impl Opening {
    /// The index of a segment that the checkpoint knows; an empty one, and a note to make all anew, if it is not as it says.
    pub(super) fn take_transaction_index(
        &mut self,
        segment: &mut Segment,
        checkpoint: &Checkpoint,
    ) -> Result<(), LogError> {
        let claims = &checkpoint.transaction_indexes;
        let found = claims.iter().find(|(base, _)| *base == segment.base_offset);
        let claim = found.map_or(Claim::default(), |(_, claim)| *claim);
        let is_known = checkpoint.knows_transaction_index(segment.base_offset);
        let path = segment.transactions.path().to_owned();
        let taken = match is_known {
            true => TransactionIndex::claimed(&self.disk, path, claim)?,
            false => TransactionIndex::unclaimed(&self.disk, path)?,
        };
        match taken {
            Some(index) => segment.transactions = index,
            None => self.are_transactions_rebuilt = true,
        }
        Ok(())
    }

    /// Makes the transaction indexes of all segments anew, if one of them was not good.
    pub(super) fn rebuild_transactions(&mut self) -> Result<(), LogError> {
        if !self.are_transactions_rebuilt {
            return Ok(());
        }
        let mut open = OpenTransactions::default();
        for (segment, (progress, _)) in self.segments.iter_mut().zip(&self.ends) {
            let aborted = aborted_in(segment, progress.position, &mut open)?;
            // What the checkpoint claims may be longer than what is found now.
            let path = segment.transactions.path().to_owned();
            segment.transactions = TransactionIndex::empty(&self.disk, path);
            segment.transactions.remove_file()?;
            segment.transactions.append(&aborted)?;
            segment.transactions.sync()?;
            self.recovery.rebuilt_indexes += 1;
        }
        Ok(())
    }
}

/// The transactions whose abort markers lie in a segment; `open` are those that are open where it begins and then where it ends.
fn aborted_in(
    segment: &Segment,
    size: u64,
    open: &mut OpenTransactions,
) -> Result<Vec<AbortedTransaction>, LogError> {
    let mut aborted = Vec::new();
    let mut walk = Walk::new(segment, 0, size, Access::Blocking);
    while let Some(step) = walk.step().map_err(Stop::into_error)? {
        let Step::Batch { position, .. } = step else {
            continue;
        };
        let (header, marker) = header_and_marker(segment, position)?;
        aborted.extend(open.apply(&header, marker, Offset(header.base_offset)));
    }
    Ok(aborted)
}

fn header_and_marker(
    segment: &Segment,
    position: u64,
) -> Result<(BatchHeader, Option<EndTransactionMarker>), LogError> {
    let (file, path): (_, &Path) = (segment.log.as_ref(), &segment.path);
    let read = |length: usize| {
        access::read(file, path, position, length, Access::Blocking).map_err(Stop::into_error)
    };
    let head = read(HEADER)?;
    let header = BatchHeader::decode(&head)
        .map_err(|error| segment.corrupt_error(position, segment.base_offset, error.to_string()))?;
    if !header.is_control() {
        return Ok((header, None));
    }
    let batch = read(header.total_length().min(MOST_MARKER_BYTES))?;
    let marker = EndTransactionMarker::of_batch(&header, &batch);
    Ok((header, marker))
}
