//! The end of a delivery: acknowledged by the member, released with its session, or out of time.
//!
//! Source: KIP-932 (accept, release, reject, gap), KIP-1222 (renew), KIP-1191 (dead letters), and the errors of
//! Kafka 4.3. The batches of one partition are taken in together or not at all.

use wire::{ErrorCode, Uuid};

use super::command::{
    Acknowledge, AcknowledgeBatch, AcknowledgePartition, AcknowledgeType, DeadLetters, Refusal,
};
use super::partition::SharePartition;
use super::records::{SharePartitionKey, StateBatch};
use super::runs::{Delivery, State};
use super::{ShareCounts, ShareEffects, SharePartitions, ShareSettings, key, locked};
use crate::groups::{GroupId, MemberId};
use crate::step::Millis;

/// What becomes of acquired records.
enum Outcome {
    Ends(StateBatch),
    Renewed { first: i64, last: i64, count: i16 },
}

impl SharePartitions {
    pub(super) fn acknowledge(
        &mut self,
        now: Millis,
        request: &Acknowledge,
        effects: &mut ShareEffects,
    ) -> Vec<Result<(), Refusal>> {
        self.remember(&request.group, &request.settings);
        let partitions = request.partitions.iter();
        partitions
            .map(|wanted| self.acknowledge_one(now, request, wanted, effects))
            .collect()
    }

    fn acknowledge_one(
        &mut self,
        now: Millis,
        request: &Acknowledge,
        wanted: &AcknowledgePartition,
        effects: &mut ShareEffects,
    ) -> Result<(), Refusal> {
        let key = key(&request.group, wanted.topic_id, wanted.partition);
        let partition = self.partition(&key).ok_or(Refusal {
            error: ErrorCode::UnknownTopicOrPartition,
            message: "the group has no state of this partition",
        })?;
        check_order(&wanted.batches)?;
        let mut counts = ShareCounts::default();
        let mut outcomes = Vec::new();
        for batch in &wanted.batches {
            let settings = &request.settings;
            partition.judge(batch, &request.member, settings, &mut counts, &mut outcomes)?;
        }
        self.counts.acknowledged += counts.acknowledged;
        self.counts.released += counts.released;
        self.counts.rejected += counts.rejected;
        self.counts.renewed += counts.renewed;
        self.counts.exhausted += counts.exhausted;
        let until = now + request.settings.record_lock_duration;
        let mut changes = Vec::new();
        let partition = self.partition_mut(&key).expect("judged just now");
        for outcome in outcomes {
            match outcome {
                Outcome::Ends(change) => changes.push(change),
                Outcome::Renewed { first, last, count } => {
                    let state = locked(&request.member, until, count);
                    partition.runs.set(first, last, state);
                }
            }
        }
        self.end(now, &key, changes, effects);
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        now: Millis,
        group: &GroupId,
        member: &MemberId,
        partitions: Option<Vec<(Uuid, i32)>>,
        effects: &mut ShareEffects,
    ) {
        let keys = match partitions {
            Some(partitions) => {
                let keys = partitions.into_iter();
                keys.map(|(topic_id, partition)| key(group, topic_id, partition))
                    .collect()
            }
            None => self.keys(Some(group)),
        };
        for key in keys {
            let is_theirs = |owner: &MemberId, _| owner == member;
            let released = self.end_locks(now, &key, is_theirs, effects);
            self.counts.released += released;
        }
    }

    /// Ends the locks of a partition that have run out, and looks when the next one does.
    pub(super) fn expire(
        &mut self,
        now: Millis,
        key: &SharePartitionKey,
        effects: &mut ShareEffects,
    ) {
        if let Some(partition) = self.partition_mut(key) {
            partition.expiry = None;
        }
        let timed_out = self.end_locks(now, key, |_, until| until <= now, effects);
        self.counts.timed_out += timed_out;
        let locks = self
            .partition(key)
            .into_iter()
            .flat_map(|p| p.runs.iter())
            .filter_map(|piece| match piece.state {
                Some(State {
                    delivery: Delivery::Acquired { until, .. },
                    ..
                }) => Some(*until),
                _ => None,
            });
        let next = locks.min();
        self.expect_expiry(key, next);
    }

    /// Ends the deliveries that `is_over`; the records become available, or are given up at their limit.
    fn end_locks(
        &mut self,
        now: Millis,
        key: &SharePartitionKey,
        is_over: impl Fn(&MemberId, Millis) -> bool,
        effects: &mut ShareEffects,
    ) -> u64 {
        let Some(group) = self.groups.get(&key.group) else {
            return 0;
        };
        let settings = group.settings.clone();
        let Some(partition) = self.partition(key) else {
            return 0;
        };
        let (mut changes, mut exhausted) = (Vec::new(), 0);
        for (first, last, state) in partition.acquired() {
            if let Delivery::Acquired { member, until } = &state.delivery
                && is_over(member, *until)
            {
                let change = StateBatch {
                    first,
                    last,
                    delivery: settings.after_failure(state.count),
                    count: state.count,
                };
                if change.delivery != Delivery::Available {
                    exhausted += size(&change);
                }
                changes.push(change);
            }
        }
        self.counts.exhausted += exhausted;
        let ended = changes.iter().map(size).sum();
        self.end(now, key, changes, effects);
        ended
    }

    /// Makes the ends of deliveries durable, wakes those who wait for records, and sends off dead letters.
    fn end(
        &mut self,
        now: Millis,
        key: &SharePartitionKey,
        changes: Vec<StateBatch>,
        effects: &mut ShareEffects,
    ) {
        if changes.is_empty() {
            return;
        }
        for change in &changes {
            if change.delivery == Delivery::Archiving {
                self.counts.dead_letters += size(change);
                self.dead_letters.push(DeadLetters {
                    key: key.clone(),
                    first: change.first,
                    last: change.last,
                    count: change.count,
                });
            }
        }
        let partition = self
            .partition_mut(key)
            .expect("its records have just ended");
        effects.record(partition.write(key, changes, None, now));
        // Available records, or a window that has moved: both let a waiting member read.
        self.woken.insert(key.group.clone());
    }

    pub(super) fn dead_letters_done(
        &mut self,
        now: Millis,
        key: &SharePartitionKey,
        first: i64,
        last: i64,
        effects: &mut ShareEffects,
    ) {
        let Some(partition) = self.partition(key) else {
            return;
        };
        let mut changes = Vec::new();
        for piece in partition.runs.pieces(first, last) {
            if let Some(state) = piece.state
                && state.delivery == Delivery::Archiving
            {
                changes.push(StateBatch {
                    first: piece.first,
                    last: piece.last,
                    delivery: Delivery::Archived,
                    count: state.count,
                });
            }
        }
        self.end(now, key, changes, effects);
    }
}

impl ShareSettings {
    /// What becomes of a record whose delivery, the `count`th, has failed.
    fn after_failure(&self, count: i16) -> Delivery {
        match count >= self.delivery_count_limit {
            false => Delivery::Available,
            true => self.given_up(),
        }
    }

    fn given_up(&self) -> Delivery {
        match self.has_dead_letter_topic {
            true => Delivery::Archiving,
            false => Delivery::Archived,
        }
    }
}

fn size(batch: &StateBatch) -> u64 {
    (batch.last - batch.first + 1).unsigned_abs()
}

const fn refused(error: ErrorCode, message: &'static str) -> Refusal {
    Refusal { error, message }
}

const NOT_ACQUIRED: Refusal = refused(
    ErrorCode::InvalidRecordState,
    "the record is not acquired by this member",
);

/// Batches come in the order of their offsets, with one type, or one for each offset.
fn check_order(batches: &[AcknowledgeBatch]) -> Result<(), Refusal> {
    let mut before = -1;
    for batch in batches {
        let types = i64::try_from(batch.types.len()).unwrap_or(i64::MAX);
        let fits = types == 1 || batch.last.checked_sub(batch.first) == Some(types - 1);
        if batch.first < 0 || batch.first > batch.last || batch.first <= before || !fits {
            return Err(refused(
                ErrorCode::InvalidRequest,
                "the batches are not in order, or do not have a type for each offset",
            ));
        }
        before = batch.last;
    }
    Ok(())
}

impl SharePartition {
    /// What becomes of the records of a batch; nothing is changed.
    fn judge(
        &self,
        batch: &AcknowledgeBatch,
        member: &MemberId,
        settings: &ShareSettings,
        counts: &mut ShareCounts,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Refusal> {
        let start = self.start.unwrap_or(0);
        if batch.last < start {
            // Its records are gone, or done: there is nothing to do, and nothing wrong.
            return Ok(());
        }
        if batch.last >= self.end() {
            return Err(refused(
                ErrorCode::InvalidRequest,
                "the batch goes beyond what was delivered",
            ));
        }
        for (first, last, kind) in batch.by_type() {
            for piece in self.runs.pieces(first.max(start), last) {
                let state = piece.state.ok_or(NOT_ACQUIRED)?;
                match &state.delivery {
                    Delivery::Acquired { member: owner, .. } if owner == member => {}
                    _ => return Err(NOT_ACQUIRED),
                }
                let outcome = settings.judge(kind, piece.first, piece.last, state.count, counts)?;
                outcomes.push(outcome);
            }
        }
        Ok(())
    }
}

impl ShareSettings {
    fn judge(
        &self,
        kind: AcknowledgeType,
        first: i64,
        last: i64,
        count: i16,
        counts: &mut ShareCounts,
    ) -> Result<Outcome, Refusal> {
        let records = (last - first + 1).unsigned_abs();
        let delivery = match kind {
            AcknowledgeType::Renew if self.is_renew_enabled => {
                counts.renewed += records;
                return Ok(Outcome::Renewed { first, last, count });
            }
            AcknowledgeType::Renew => {
                return Err(refused(
                    ErrorCode::InvalidRecordState,
                    "renewing locks is not enabled for the group",
                ));
            }
            AcknowledgeType::Gap => Delivery::Archived,
            AcknowledgeType::Accept => {
                counts.acknowledged += records;
                Delivery::Acknowledged
            }
            AcknowledgeType::Release => {
                counts.released += records;
                let after = self.after_failure(count);
                if after != Delivery::Available {
                    counts.exhausted += records;
                }
                after
            }
            AcknowledgeType::Reject => {
                counts.rejected += records;
                self.given_up()
            }
        };
        Ok(Outcome::Ends(StateBatch {
            first,
            last,
            delivery,
            count,
        }))
    }
}

impl AcknowledgeBatch {
    /// Ranges of one type each.
    fn by_type(&self) -> Vec<(i64, i64, AcknowledgeType)> {
        if let [kind] = self.types[..] {
            return vec![(self.first, self.last, kind)];
        }
        let mut ranges: Vec<(i64, i64, AcknowledgeType)> = Vec::new();
        for (offset, &kind) in (self.first..).zip(&self.types) {
            match ranges.last_mut() {
                Some((_, last, before)) if *before == kind => *last = offset,
                _ => ranges.push((offset, offset, kind)),
            }
        }
        ranges
    }
}
