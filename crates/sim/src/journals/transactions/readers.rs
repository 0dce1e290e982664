//! Readers of committed records, and what they may see: a transfer whole or not at all, as its producer was told.

use std::collections::{BTreeMap, BTreeSet};

use broker::shard::Slot;
use log::{ByteCount, Isolation, Offset, Read};
use wire::records::{EndTransactionMarker, RecordIter, decompress, scan_batches};

use super::World;
use crate::invariant::invariant;

/// What is known of a transfer.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    pub fate: Fate,
    /// The legs that its producer was told are stored.
    pub legs: BTreeSet<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody has asked for a commit.
    #[default]
    Open,
    /// A commit was asked for, and no answer came.
    InDoubt,
    Committed,
    Aborted,
}

impl World {
    /// What is committed may be seen, and what was seen stays.
    pub(super) fn look(&mut self) -> BTreeMap<u64, BTreeSet<u32>> {
        let mut found: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        for slot in &self.slots {
            for (transfer, leg) in committed(slot) {
                let is_new = found.entry(transfer).or_default().insert(leg);
                invariant!(NoDuplicate, is_new, "leg {leg} of transfer {transfer}");
            }
        }
        for (number, legs) in &found {
            let Some(transfer) = self.transfers.get(number) else {
                panic!("NothingInvented: nobody has begun transfer {number}");
            };
            let may_be_seen = matches!(transfer.fate, Fate::InDoubt | Fate::Committed);
            invariant!(
                AllOrNothing,
                may_be_seen && legs.is_subset(&transfer.legs),
                "{legs:?} of transfer {number} are seen: {transfer:?}"
            );
        }
        let is_seen = |(number, leg): &(u64, u32)| {
            let legs = found.get(number);
            legs.is_some_and(|legs| legs.contains(leg))
        };
        let gone = self.seen.iter().find(|leg| !is_seen(leg));
        invariant!(VisibleIsDurable, gone.is_none(), "{gone:?} was seen before");
        let all = found.iter();
        self.seen = all
            .flat_map(|(number, legs)| legs.iter().map(|leg| (*number, *leg)))
            .collect();
        found
    }

    /// As `look`, when every end has been carried out: now all is to be seen that there is.
    pub(super) fn look_at_all(&mut self) {
        for slot in &self.slots {
            let view = slot.view();
            invariant!(
                NothingHangs,
                view.last_stable_offset == view.high_watermark,
                "{slot:?} is stable up to {} of {}",
                view.last_stable_offset,
                view.high_watermark
            );
        }
        let found = self.look();
        for (number, transfer) in &mut self.transfers {
            let seen = found.get(number).cloned().unwrap_or_default();
            match transfer.fate {
                Fate::Committed => invariant!(
                    AckedIsDurable,
                    seen == transfer.legs,
                    "{seen:?} of transfer {number} are seen: {transfer:?}"
                ),
                Fate::InDoubt => {
                    invariant!(
                        AllOrNothing,
                        seen.is_empty() || seen == transfer.legs,
                        "{seen:?} of transfer {number} are seen: {transfer:?}"
                    );
                    // By now its time is over: what is not committed never will be.
                    transfer.fate = match seen.is_empty() {
                        true => Fate::Aborted,
                        false => Fate::Committed,
                    };
                }
                Fate::Open | Fate::Aborted => {}
            }
        }
    }
}

/// Every leg in a partition that a consumer with `isolation.level=read_committed` gets.
fn committed(slot: &Slot) -> Vec<(u64, u32)> {
    let view = slot.view();
    let (mut next, mut legs) = (view.log_start, Vec::new());
    while next < view.last_stable_offset {
        let plan = view.plan_read(next, ByteCount(3_000), Isolation::ReadCommitted);
        let read = plan.and_then(|plan| plan.read());
        let read = read.unwrap_or_else(|error| panic!("RecoveryFindsNoDamage: {slot:?}: {error}"));
        let after = pass_over_aborted(&read, next, &mut legs);
        invariant!(OffsetsAreDense, after > next, "{slot:?}: nothing at {next}");
        next = after;
    }
    legs
}

/// Takes the legs out of what was read, as clients do; gives the offset after it.
fn pass_over_aborted(read: &Read, mut next: Offset, legs: &mut Vec<(u64, u32)>) -> Offset {
    let mut aborted = read.aborted.iter().peekable();
    let mut passed_over = BTreeSet::new();
    for batch in read.batches.iter().flat_map(|bytes| scan_batches(bytes)) {
        let (header, batch) = batch.expect("what is read is whole batches");
        while let Some(one) = aborted.next_if(|one| one.first_offset.0 <= header.last_offset()) {
            passed_over.insert(one.producer_id);
        }
        next = Offset(header.last_offset() + 1);
        if let Some(marker) = EndTransactionMarker::of_batch(&header, batch) {
            if !marker.is_commit {
                passed_over.remove(&header.producer_id);
            }
            continue;
        }
        if passed_over.contains(&header.producer_id) {
            continue;
        }
        let records = decompress(&header, batch, usize::MAX).expect("stored batches decompress");
        for record in RecordIter::new(&header, &records) {
            let record = record.expect("stored records are whole");
            let key = record.key.expect("every leg has a key");
            let (transfer, leg) = key.split_at(8);
            legs.push((
                u64::from_be_bytes(transfer.try_into().expect("eight bytes")),
                u32::from_be_bytes(leg.try_into().expect("four bytes")),
            ));
        }
    }
    next
}
