//! A work queue on a group's offsets, for any cluster: messages go out in the order of their partition, and the group's offset
//! follows the first one that is not done with.
//!
//! What it keeps true: the group commits only what is acknowledged and everything before it, so a restart hands out again what was
//! not; what a partition handed out before it went to another member can no longer be settled. Acknowledgements behind one that is
//! missing are kept here, in memory, and so are attempts: a restart counts from one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{ClientError, ErrorKind, GroupReader, GroupRecord, Record};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::leases::{GivenUp, HandedOut, LeaseId, Leases, Lost, Spot, later};
use super::queue_letters::Letters;
use super::queue_terms::{
    Ask, JOINING_LIMIT, JOINING_STEP, RETRY_PAUSE, Settled, full, room, size,
};
use crate::backend::Backend;
use crate::clock;
use crate::problem::Problem;

/// One member of a group, and the leases on what it has taken.
pub struct Ordered {
    reader: GroupReader,
    leases: Mutex<Leases<GroupRecord>>,
    letters: Letters,
    /// Wakes pulls that wait when messages have come back.
    came_back: Notify,
    /// One commit at a time; those who wait find their own work done.
    committing: tokio::sync::Mutex<()>,
}

impl Ordered {
    /// # Errors
    /// When the member cannot be made.
    pub fn join(backend: &Backend, group: &str, topics: &[String]) -> Result<Ordered, ClientError> {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        Ok(Ordered {
            reader: backend.cluster().group_reader(group, &topics, &[])?,
            leases: Mutex::default(),
            letters: Letters::of(backend, group),
            came_back: Notify::new(),
            committing: tokio::sync::Mutex::new(()),
        })
    }

    /// Leases messages: those that came back first, else new ones; waits until there is one or the time is over.
    ///
    /// # Errors
    /// `too-many-requests` when too many are held already; whatever keeps the group from being read.
    pub async fn pull(&self, ask: &Ask) -> Result<Vec<HandedOut<Record>>, Problem> {
        let started = Instant::now();
        let deadline = started + ask.wait;
        loop {
            let came_back = self.came_back.notified();
            let again = self.hand_out_again(ask);
            if !again.is_empty() {
                return Ok(plain(again));
            }
            let until = self.next_wake(deadline);
            let room = room(&self.leases.lock());
            let taken = tokio::select! {
                taken = self.take(ask.max.min(room), until, started) => taken?,
                () = came_back => continue,
            };
            if !taken.is_empty() {
                return Ok(plain(self.hand_out(taken, ask)));
            }
            if Instant::now() >= deadline {
                return match room {
                    0 => Err(full(&self.leases.lock())),
                    _ => Ok(Vec::new()),
                };
            }
        }
    }

    /// Takes new messages until that time; a member without partitions yet waits longer for them.
    async fn take(
        &self,
        most: usize,
        until: Instant,
        started: Instant,
    ) -> Result<Vec<GroupRecord>, ClientError> {
        if most == 0 {
            let never = std::future::pending::<()>();
            let _ = timeout_at(until, never).await;
            return Ok(Vec::new());
        }
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            let error = match self.reader.take(most, wait).await {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            let is_joining =
                error.kind() == ErrorKind::TimedOut && self.reader.assigned().is_empty();
            if !is_joining || started.elapsed() >= JOINING_LIMIT {
                return Err(error);
            }
            sleep(JOINING_STEP).await;
        }
    }

    fn hand_out_again(&self, ask: &Ask) -> Vec<HandedOut<GroupRecord>> {
        self.forget_what_was_taken_away();
        let now = clock::now();
        let mut leases = self.leases.lock();
        leases.expire(now);
        leases.hand_out_again(now, ask.max, ask.terms(now))
    }

    fn hand_out(&self, taken: Vec<GroupRecord>, ask: &Ask) -> Vec<HandedOut<GroupRecord>> {
        let terms = ask.terms(clock::now());
        let mut leases = self.leases.lock();
        forget_older_assignments(&mut leases, &taken);
        let handed = taken.into_iter().map(|record| {
            let bytes = size(&record.record);
            leases.hand_out(spot(&record), record, bytes, 1, terms)
        });
        handed.collect()
    }

    /// The messages of these leases are done with; returns when as much as possible is committed.
    pub async fn acknowledge(&self, now: Timestamp, ids: &[LeaseId]) -> Vec<Settled> {
        let settled = self.each(ids, |leases, id| leases.acknowledge(now, id));
        let committed = self.commit().await;
        let leases = self.leases.lock();
        let after = |(id, settled): (&LeaseId, Settled)| match (settled, &committed) {
            // What was taken away is forgotten by now; the rest is committed.
            (Settled::Done, Err(error)) if error.kind() == ErrorKind::Conflict => {
                match leases.is_acknowledged(*id) {
                    true => Settled::Done,
                    false => Settled::Lost,
                }
            }
            (Settled::Done, Err(error)) => Settled::Failed(Problem::from(error)),
            (settled, _) => settled,
        };
        ids.iter().zip(settled).map(after).collect()
    }

    /// The messages come back after `delay`, or go to the dead letters when this was the last attempt.
    pub fn refuse(
        &self,
        now: Timestamp,
        ids: &[LeaseId],
        delay: Duration,
        reason: &str,
    ) -> Vec<Settled> {
        let settled = self.each(ids, |leases, id| {
            leases.refuse(now, id, delay, reason.to_owned())
        });
        self.came_back.notify_waiters();
        settled
    }

    pub fn extend(&self, now: Timestamp, ids: &[LeaseId], until: Timestamp) -> Vec<Settled> {
        self.each(ids, |leases, id| leases.extend(now, id, until))
    }

    fn each<T>(
        &self,
        ids: &[LeaseId],
        mut settle: impl FnMut(&mut Leases<GroupRecord>, LeaseId) -> Result<T, Lost>,
    ) -> Vec<Settled> {
        self.forget_what_was_taken_away();
        let mut leases = self.leases.lock();
        ids.iter()
            .map(|id| Settled::of(settle(&mut leases, *id)))
            .collect()
    }

    /// Ends leases that are over, buries what is given up, commits what an acknowledgement could not. The member's keeper calls it,
    /// which no client can interrupt.
    pub async fn tend(&self, now: Timestamp) {
        self.forget_what_was_taken_away();
        let given_up = {
            let mut leases = self.leases.lock();
            leases.expire(now);
            leases.give_up(now)
        };
        for message in given_up {
            self.bury(now, message).await;
        }
        if let Err(error) = self.commit().await {
            tracing::debug!(%error, "committing for a work queue, again soon");
        }
    }

    async fn bury(&self, now: Timestamp, message: GivenUp<GroupRecord>) {
        let record = &message.record.record;
        let written = self
            .letters
            .write(&message.spot, record, message.attempts, &message.reason)
            .await;
        let mut leases = self.leases.lock();
        match written {
            Ok(()) => leases.finish(&message.spot),
            Err(error) => {
                tracing::warn!(message = %message.spot, %error, "a dead letter was not stored, again soon");
                leases.retry(&message.spot, later(now, RETRY_PAUSE), message.reason, true);
            }
        }
    }

    /// Commits each partition up to the first message that is not done with.
    async fn commit(&self) -> Result<(), ClientError> {
        let _one_at_a_time = self.committing.lock().await;
        let done = self.leases.lock().done();
        if done.is_empty() {
            return Ok(());
        }
        let records: Vec<GroupRecord> = done.iter().map(|(_, record)| record.clone()).collect();
        let committed = self.reader.commit(&records).await;
        match &committed {
            Ok(()) => {
                let mut leases = self.leases.lock();
                done.iter().for_each(|(spot, _)| leases.committed(spot));
            }
            Err(error) if error.kind() == ErrorKind::Conflict => self.commit_one_by_one(done).await,
            Err(_) => {}
        }
        committed
    }

    /// One partition was taken away; the others are committed without it, and it is forgotten.
    async fn commit_one_by_one(&self, done: Vec<(Spot, GroupRecord)>) {
        for (spot, record) in done {
            let committed = self.reader.commit(std::slice::from_ref(&record)).await;
            let mut leases = self.leases.lock();
            match committed {
                Ok(()) => leases.committed(&spot),
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    leases.retain(|other, held| {
                        let is_same =
                            (&other.topic, other.partition) == (&spot.topic, spot.partition);
                        !is_same || held.generation() != record.generation()
                    })
                }
                Err(_) => {}
            }
        }
    }

    fn forget_what_was_taken_away(&self) {
        let assigned: BTreeSet<(String, i32)> = self.reader.assigned().into_iter().collect();
        let mut leases = self.leases.lock();
        let mut last: Option<(Arc<str>, i32, bool)> = None;
        leases.retain(|spot, _| match &last {
            Some((topic, partition, keep))
                if *topic == spot.topic && *partition == spot.partition =>
            {
                *keep
            }
            _ => {
                let keep = assigned.contains(&(spot.topic.to_string(), spot.partition));
                last = Some((Arc::clone(&spot.topic), spot.partition, keep));
                keep
            }
        });
    }

    /// When to look again: at the deadline, or when something comes back by itself before.
    fn next_wake(&self, deadline: Instant) -> Instant {
        let next = self.leases.lock().next_deadline();
        let wait =
            next.map(|at| Duration::try_from(at.duration_since(clock::now())).unwrap_or_default());
        wait.map_or(deadline, |wait| deadline.min(Instant::now() + wait))
    }

    /// Whether nobody would miss it: no message is out or has been refused.
    pub fn is_quiet(&self) -> bool {
        self.leases.lock().len() == 0
    }

    pub async fn leave(&self) {
        self.reader.clone().leave().await;
    }
}

fn plain(messages: Vec<HandedOut<GroupRecord>>) -> Vec<HandedOut<Record>> {
    let plain = messages
        .into_iter()
        .map(|message| message.map(|record| record.record));
    plain.collect()
}

fn spot(record: &GroupRecord) -> Spot {
    Spot {
        topic: Arc::clone(&record.topic),
        partition: record.partition,
        offset: record.record.offset,
    }
}

/// A partition that came back is read again from the group's offset: what is known of it from before no longer holds.
fn forget_older_assignments(leases: &mut Leases<GroupRecord>, taken: &[GroupRecord]) {
    let mut seen: BTreeSet<(&str, i32)> = BTreeSet::new();
    for new in taken {
        if seen.insert((&new.topic, new.partition)) {
            leases.retain(|spot, held| {
                let is_same = (&*spot.topic, spot.partition) == (&*new.topic, new.partition);
                !is_same || held.generation() == new.generation()
            });
        }
    }
}
