//! One share partition: what a group has done with the records of one partition so far.
//!
//! Durable are the start offset and every state but `Acquired`; an acquired record is durably what it was before,
//! so after a restart it can be acquired again. A record's deliveries are counted durably when its delivery ends,
//! as in Kafka: those that a crash cuts short are not counted.

use crate::step::{Millis, RequestId};

use super::records::{Record, SharePartitionKey, Snapshot, StateBatch, Update};
use super::runs::{Delivery, Runs, State};

/// A snapshot takes the place of every so-manieth update, as with Kafka's `share.coordinator.snapshot.update.records.per.snapshot`.
const UPDATES_PER_SNAPSHOT: u32 = 500;

#[derive(Debug, Default)]
pub(super) struct SharePartition {
    pub(super) state_epoch: i32,
    snapshot_epoch: i32,
    pub(super) leader_epoch: i32,
    created_at: Millis,
    /// The first offset whose delivery may not be complete; `None` until the group has read here.
    pub(super) start: Option<i64>,
    pub(super) runs: Runs,
    updates: u32,
    /// The plan that reads now.
    pub(super) reading: Option<RequestId>,
    /// Whether somebody was told that another one reads.
    pub(super) is_wanted: bool,
    /// No lock ends before this.
    pub(super) expiry: Option<Millis>,
}

impl SharePartition {
    /// Takes in one record. Locks are not in records and stay.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Snapshot { snapshot, .. } => self.apply_snapshot(snapshot),
            Record::Update { update, .. } => {
                self.updates += 1;
                self.leader_epoch = update.leader_epoch;
                self.set_all(&update.batches);
                if update.start_offset.is_some() {
                    self.start = update.start_offset;
                }
                self.drop_below_start();
            }
            Record::Tombstone { .. } => *self = Self::default(),
        }
    }

    fn apply_snapshot(&mut self, snapshot: &Snapshot) {
        let locks = self.acquired();
        self.snapshot_epoch = snapshot.snapshot_epoch;
        self.state_epoch = snapshot.state_epoch;
        self.leader_epoch = snapshot.leader_epoch;
        self.created_at = snapshot.created_at;
        self.start = snapshot.start_offset;
        self.updates = 0;
        self.runs = Runs::default();
        self.set_all(&snapshot.batches);
        for (first, last, state) in locks {
            self.runs.set(first, last, state);
        }
        self.drop_below_start();
    }

    fn set_all(&mut self, batches: &[StateBatch]) {
        for batch in batches {
            let state = State {
                delivery: batch.delivery.clone(),
                count: batch.count,
            };
            self.runs.set(batch.first, batch.last, state);
        }
    }

    fn drop_below_start(&mut self) {
        if let Some(start) = self.start {
            self.runs.clear_below(start);
        }
    }

    /// Every locked run.
    pub(super) fn acquired(&self) -> Vec<(i64, i64, State)> {
        let mut acquired = Vec::new();
        for piece in self.runs.iter() {
            let state = piece.state.expect("a run has a state");
            if matches!(state.delivery, Delivery::Acquired { .. }) {
                acquired.push((piece.first, piece.last, state.clone()));
            }
        }
        acquired
    }

    /// Makes `changes`, lets the start offset pass what is final with them, and gives the record that says so.
    pub(super) fn write(
        &mut self,
        key: &SharePartitionKey,
        mut changes: Vec<StateBatch>,
        start: Option<i64>,
        now: Millis,
    ) -> Record {
        self.set_all(&changes);
        if let Some(start) = start.or(self.start) {
            self.runs.clear_below(start);
            let start = self.runs.end_of_final_prefix(start);
            self.start = Some(start);
            self.runs.clear_below(start);
            changes.retain(|change| change.last >= start);
        }
        let record = match self.updates + 1 >= UPDATES_PER_SNAPSHOT {
            true => self.snapshot(key, now),
            false => self.update(key, changes),
        };
        self.apply(&record);
        record
    }

    fn update(&self, key: &SharePartitionKey, batches: Vec<StateBatch>) -> Record {
        let update = Update {
            snapshot_epoch: self.snapshot_epoch,
            leader_epoch: self.leader_epoch,
            start_offset: self.start,
            delivery_complete_count: self.delivery_complete(),
            batches,
        };
        Record::Update {
            key: key.clone(),
            update,
        }
    }

    /// A new state, which has no start offset yet or begins at this one.
    pub(super) fn begin(
        key: &SharePartitionKey,
        state_epoch: i32,
        start: Option<i64>,
        snapshot_epoch: i32,
        now: Millis,
    ) -> Record {
        let begun = Self {
            state_epoch,
            start,
            snapshot_epoch,
            created_at: now,
            ..Self::default()
        };
        begun.snapshot(key, now)
    }

    pub(super) fn snapshot_epoch(&self) -> i32 {
        self.snapshot_epoch
    }

    /// The record that says the whole durable state.
    pub(super) fn snapshot(&self, key: &SharePartitionKey, now: Millis) -> Record {
        let snapshot = Snapshot {
            snapshot_epoch: self.snapshot_epoch.checked_add(1).unwrap_or(0),
            state_epoch: self.state_epoch,
            leader_epoch: self.leader_epoch,
            start_offset: self.start,
            delivery_complete_count: self.delivery_complete(),
            created_at: self.created_at,
            written_at: now,
            batches: self.durable_batches(),
        };
        Record::Snapshot {
            key: key.clone(),
            snapshot,
        }
    }

    /// What a replay would know of the records: a locked one is what it was before it was acquired.
    pub(super) fn durable_batches(&self) -> Vec<StateBatch> {
        let mut batches: Vec<StateBatch> = Vec::new();
        for piece in self.runs.iter() {
            let State { delivery, count } = piece.state.expect("a run has a state").clone();
            let (delivery, count) = match delivery {
                Delivery::Acquired { .. } if count <= 1 => continue,
                Delivery::Acquired { .. } => (Delivery::Available, count - 1),
                other => (other, count),
            };
            match batches.last_mut() {
                Some(before)
                    if before.last + 1 == piece.first
                        && before.delivery == delivery
                        && before.count == count =>
                {
                    before.last = piece.last;
                }
                _ => batches.push(StateBatch {
                    first: piece.first,
                    last: piece.last,
                    delivery,
                    count,
                }),
            }
        }
        batches
    }

    /// Records from the start offset on whose delivery is complete.
    pub(super) fn delivery_complete(&self) -> i32 {
        i32::try_from(self.runs.count(Delivery::is_final)).unwrap_or(i32::MAX)
    }

    /// The offset after all that is known here.
    pub(super) fn end(&self) -> i64 {
        self.runs.end().or(self.start).unwrap_or(0)
    }
}
