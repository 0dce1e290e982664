//! Records of the state machines, as a journal gives them back, and the snapshots in checkpoints.
//!
//! A journal's batches have checksums, so damage seldom comes this far; what a newer version wrote, or another program, does.
//! What decodes must encode and decode again to the same record, and no order of records may bring a machine down.

use broker_state::groups::{self, GroupSettings, Groups};
use broker_state::producers::Producers;
use broker_state::share_partitions::{self, SharePartitions};
use broker_state::step::Millis;
use broker_state::topics::MetadataRecord;
use broker_state::transactions::{self, TransactionEffects, TransactionSettings, Transactions};

const NOW: Millis = Millis(1_700_000_000_000);

/// The first byte chooses the machine, the others are its records: each a length, its key and its value.
pub fn state_records(bytes: &[u8]) {
    let Some((machine, rest)) = bytes.split_first() else {
        return;
    };
    match machine % 5 {
        0 => group_records(rest),
        1 => share_records(rest),
        2 => metadata_records(rest),
        3 => transaction_records(rest),
        _ => producer_snapshot(rest),
    }
}

fn group_records(bytes: &[u8]) {
    let mut machine = Groups::new(GroupSettings::default());
    for (key, value) in Entries(bytes) {
        let Ok(record) = groups::Record::decode(key, value) else {
            continue;
        };
        let (key, value) = record.encode();
        let again = groups::Record::decode(&key, value.as_deref());
        assert_eq!(again.as_ref(), Ok(&record));
        machine.apply(&record);
    }
    machine.loaded(NOW);
    let mut again = Groups::new(GroupSettings::default());
    for record in machine.snapshot_records() {
        again.apply(&record);
    }
}

fn share_records(bytes: &[u8]) {
    let mut machine = SharePartitions::new(100);
    for (key, value) in Entries(bytes) {
        let Ok(record) = share_partitions::Record::decode(key, value) else {
            continue;
        };
        let (key, value) = record.encode();
        let again = share_partitions::Record::decode(&key, value.as_deref());
        assert_eq!(again.as_ref(), Ok(&record));
        machine.apply(&record);
    }
    machine.loaded();
    let _ = machine.snapshot_records(NOW).count();
}

fn transaction_records(bytes: &[u8]) {
    let mut machine = Transactions::new(TransactionSettings::default());
    for (key, value) in Entries(bytes) {
        let Ok(record) = transactions::Record::decode(key, value) else {
            continue;
        };
        let (key, value) = record.encode(transactions::VERSION_2);
        let again = transactions::Record::decode(&key, value.as_deref());
        assert!(again.is_ok(), "{record:?} becomes {again:?}");
        machine.apply(&record);
    }
    machine.loaded(NOW, &mut TransactionEffects::default());
    let _ = machine.snapshot_records().count();
}

fn metadata_records(bytes: &[u8]) {
    for (_, value) in Entries(bytes) {
        let Ok(record) = MetadataRecord::decode(value.unwrap_or_default()) else {
            continue;
        };
        assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
    }
}

fn producer_snapshot(bytes: &[u8]) {
    let Ok(producers) = Producers::restore(bytes) else {
        return;
    };
    let snapshot = producers.snapshot();
    let again = Producers::restore(&snapshot).expect("what was encoded can be restored");
    assert_eq!(again.snapshot(), snapshot);
}

/// Keys and values: the length of the key, the length of the value (255 for a tombstone), then both.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let ([key, value], rest) = self.0.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(*key))?;
        let (value, rest) = match value {
            255 => (None, rest),
            // The last value may be longer than a length can tell.
            254 => (Some(rest), &rest[rest.len()..]),
            length => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                (Some(value), rest)
            }
        };
        self.0 = rest;
        Some((key, value))
    }
}
