//! The way of records to a member: where a fetch reads, and what of it the member acquires.
//!
//! Source: KIP-932 and the behaviour of Kafka 4.3: whole batches unless the client is strict (KIP-1206), a window of
//! `max_record_locks` offsets, and records that failed often are delivered few at a time, the last time alone, so that
//! one that cannot be worked on does not take its neighbours with it.

use super::command::{Acquire, AcquirePartition, Acquired, Plan, PlanPartition, Planned};
use super::partition::SharePartition;
use super::records::StateBatch;
use super::runs::Delivery;
use super::{ShareEffects, SharePartitions, ShareSettings, key, locked};
use crate::groups::{GroupId, MemberId};
use crate::step::{Millis, RequestId};
use wire::{ErrorCode, Uuid};

impl SharePartitions {
    pub(super) fn plan(
        &mut self,
        now: Millis,
        plan: RequestId,
        request: &Plan,
        effects: &mut ShareEffects,
    ) -> Vec<Planned> {
        self.remember(&request.group, &request.settings);
        let partitions = request.partitions.iter();
        partitions
            .map(|wanted| self.plan_one(now, plan, request, wanted, effects))
            .collect()
    }

    fn plan_one(
        &mut self,
        now: Millis,
        plan: RequestId,
        request: &Plan,
        wanted: &PlanPartition,
        effects: &mut ShareEffects,
    ) -> Planned {
        let key = key(&request.group, wanted.topic_id, wanted.partition);
        let is_full = self.size >= self.limit;
        let Some(partition) = self.partition_mut(&key) else {
            return match is_full {
                true => Planned::Refused(ErrorCode::CoordinatorNotAvailable),
                false => Planned::NoStart,
            };
        };
        let Some(start) = partition.start else {
            return Planned::NoStart;
        };
        if start < wanted.log_start {
            // Retention or DeleteRecords has taken records that nobody needs to wait for any more.
            effects.record(partition.write(&key, Vec::new(), Some(wanted.log_start), now));
        }
        let planned = partition.plan(wanted, &request.settings);
        match planned {
            Planned::Read(_) => partition.reading = Some(plan),
            Planned::Busy => partition.is_wanted = true,
            _ => {}
        }
        planned
    }

    pub(super) fn acquire(
        &mut self,
        now: Millis,
        request: &Acquire,
        effects: &mut ShareEffects,
    ) -> Vec<Vec<Acquired>> {
        self.remember(&request.group, &request.settings);
        let mut left = request.max_records;
        let mut answer = Vec::with_capacity(request.partitions.len());
        for read in &request.partitions {
            let acquired = self.acquire_one(now, request, read, left, effects);
            left -= acquired.iter().map(|a| a.last - a.first + 1).sum::<i64>();
            answer.push(acquired);
        }
        answer
    }

    fn acquire_one(
        &mut self,
        now: Millis,
        request: &Acquire,
        read: &AcquirePartition,
        left: i64,
        effects: &mut ShareEffects,
    ) -> Vec<Acquired> {
        let key = key(&request.group, read.topic_id, read.partition);
        if !self.end_plan(&request.group, read.topic_id, read.partition, request.plan) {
            return Vec::new();
        }
        let partition = self.partition_mut(&key).expect("its plan has just ended");
        let holes = partition.holes(read);
        if !holes.is_empty() {
            effects.record(partition.write(&key, holes, None, now));
        }
        let until = now + request.settings.record_lock_duration;
        let mut taking = Taking {
            member: &request.member,
            until,
            settings: &request.settings,
            batch_size: request.batch_size.max(1),
            is_strict: request.is_strict,
            left: left.max(0),
            window: 0,
            acquired: Vec::new(),
            redelivered: 0,
        };
        taking.take(partition, &read.batches);
        let Taking {
            acquired,
            redelivered,
            ..
        } = taking;
        if !acquired.is_empty() {
            let count: i64 = acquired.iter().map(|a| a.last - a.first + 1).sum();
            self.counts.acquired += count.unsigned_abs();
            self.counts.redelivered += redelivered.unsigned_abs();
            self.expect_expiry(&key, Some(until));
        }
        acquired
    }

    /// Lets others read again, if it was `plan` that read.
    pub(super) fn end_plan(
        &mut self,
        group: &GroupId,
        topic_id: Uuid,
        partition: i32,
        plan: RequestId,
    ) -> bool {
        let key = key(group, topic_id, partition);
        let Some(partition) = self.partition_mut(&key) else {
            return false;
        };
        if partition.reading != Some(plan) {
            return false;
        }
        partition.reading = None;
        if std::mem::take(&mut partition.is_wanted) {
            self.woken.insert(group.clone());
        }
        true
    }
}

impl SharePartition {
    fn plan(&self, wanted: &PlanPartition, settings: &ShareSettings) -> Planned {
        let start = self.start.expect("checked before");
        let from = self.runs.first_free(start);
        if from >= wanted.end {
            Planned::Nothing
        } else if self.reading.is_some() {
            Planned::Busy
        } else if from >= self.end() && self.window(settings) <= 0 {
            Planned::Full
        } else {
            Planned::Read(from)
        }
    }

    /// How many records may still be delivered for the first time.
    fn window(&self, settings: &ShareSettings) -> i64 {
        settings.max_record_locks - (self.end() - self.start.unwrap_or(0))
    }

    /// What was read past and can never be delivered: it is archived.
    fn holes(&self, read: &AcquirePartition) -> Vec<StateBatch> {
        let mut holes = Vec::new();
        let mut next = read.from.max(self.start.unwrap_or(0));
        let end = (read.upto, read.upto);
        for &(first, last) in read.batches.iter().chain([&end]) {
            for piece in self.runs.pieces(next, first - 1) {
                if piece.state.is_none_or(super::State::is_free) {
                    holes.push(StateBatch {
                        first: piece.first,
                        last: piece.last,
                        delivery: Delivery::Archived,
                        count: piece.state.map_or(0, |state| state.count),
                    });
                }
            }
            next = next.max(last + 1);
        }
        holes
    }
}

/// A member while it takes records of one partition.
struct Taking<'a> {
    member: &'a MemberId,
    until: Millis,
    settings: &'a ShareSettings,
    batch_size: i64,
    is_strict: bool,
    left: i64,
    window: i64,
    acquired: Vec<Acquired>,
    redelivered: i64,
}

impl Taking<'_> {
    fn take(&mut self, partition: &mut SharePartition, batches: &[(i64, i64)]) {
        let start = partition.start.unwrap_or(0);
        self.window = partition.window(self.settings);
        for &(first, last) in batches {
            if self.left <= 0 {
                return;
            }
            let free: Vec<(i64, i64, i16)> = partition
                .runs
                .pieces(first.max(start), last)
                .iter()
                .filter(|piece| piece.state.is_none_or(super::State::is_free))
                .map(|piece| {
                    let count = piece.state.map_or(0, |state| state.count);
                    (piece.first, piece.last, count)
                })
                .collect();
            // An offset that is behind known ones was in the window before, even if it has no run.
            let known_end = partition.end();
            for (piece_first, piece_last, count) in free {
                let is_new = count == 0 && piece_first >= known_end;
                let size = last - first + 1;
                match self.share_of(piece_last - piece_first + 1, count, is_new, size) {
                    Share::Nothing => return,
                    Share::Some { records, is_last } => {
                        let piece_last = piece_first + records - 1;
                        self.lock(partition, piece_first, piece_last, count);
                        if is_new {
                            self.window -= records;
                        }
                        if is_last {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// How many of `available` records of a batch of `size`, delivered `count` times, the member gets.
    fn share_of(&self, available: i64, count: i16, is_new: bool, size: i64) -> Share {
        if self.is_strict && self.left <= 0 || is_new && self.window <= 0 {
            return Share::Nothing;
        }
        let limit = self.settings.delivery_count_limit;
        let throttled_from = ((limit + 1) / 2).max(2);
        if count >= throttled_from && limit > 2 {
            if !self.acquired.is_empty() {
                return Share::Nothing;
            }
            let is_last_time = count >= limit - 1;
            let few = match is_last_time {
                true => 1,
                false => (size >> (count - throttled_from + 1).min(62)).max(1),
            };
            let records = available.min(few).min(self.left.max(1));
            return Share::Some {
                records,
                is_last: true,
            };
        }
        let records = match self.is_strict {
            true => available.min(self.left),
            false => available,
        };
        let records = match is_new && self.is_strict {
            true => records.min(self.window),
            false => records,
        };
        Share::Some {
            records,
            is_last: false,
        }
    }

    fn lock(&mut self, partition: &mut SharePartition, first: i64, last: i64, count: i16) {
        let count = count.saturating_add(1);
        let records = last - first + 1;
        partition
            .runs
            .set(first, last, locked(self.member, self.until, count));
        self.left -= records;
        if count > 1 {
            self.redelivered += records;
        }
        match self.acquired.last_mut() {
            Some(before)
                if before.last + 1 == first
                    && before.count == count
                    && before.last - before.first + 1 < self.batch_size =>
            {
                before.last = last;
            }
            _ => self.acquired.push(Acquired { first, last, count }),
        }
    }
}

enum Share {
    Nothing,
    Some { records: i64, is_last: bool },
}
