//! A work queue on a share group (KIP-932): the cluster locks each message, counts its deliveries, and hands it out again when the
//! lock ends, also after this process.
//!
//! What it keeps true: a lease is never longer than the lock, which is renewed when the lease is extended; a lease that ends before
//! the lock gives it back at once. A refused message stays locked here for its delay and is released then. Messages that are given
//! up are rejected: the cluster writes the dead letter where the group is configured so (KIP-1191), and this process does elsewhere.

use std::sync::Arc;
use std::time::Duration;

use client::configs::{Change, ConfigEntry, Resource};
use client::{Acknowledge, ClientError, ErrorKind, Record, ShareMember, SharedRecord};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use wire::ErrorCode;

use super::leases::{GivenUp, HandedOut, LeaseId, Leases, Lost, Spot, Terms, later};
use super::queue_letters::Letters;
use super::queue_terms::{
    Ask, DEFAULT_LEASE, JOINING_LIMIT, JOINING_STEP, RETRY_PAUSE, Settled, full, room, size,
};
use crate::backend::Backend;
use crate::clock;
use crate::problem::Problem;

/// Kafka's own defaults, for clusters that do not tell theirs.
const DEFAULT_LOCK: Duration = Duration::from_secs(30);
const DEFAULT_DELIVERIES: u32 = 5;

/// One member of a share group, and the leases on what it has locked.
pub struct Shared {
    member: ShareMember,
    leases: Mutex<Leases<SharedRecord>>,
    letters: Letters,
    policy: Policy,
}

/// What the group's settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    lock: Duration,
    /// After so many deliveries the cluster itself gives a message up.
    most_deliveries: u32,
    /// Whether the cluster writes the group's dead letters.
    has_dead_letter_topic: bool,
    /// Whether somebody has said where a new group begins.
    has_start: bool,
}

impl Policy {
    fn of(configs: &[ConfigEntry]) -> Policy {
        let find = |name: &str| configs.iter().find(|config| config.name == name);
        let value = |name: &str| find(name)?.value.as_deref();
        let lock_ms = value("share.record.lock.duration.ms").and_then(|ms| ms.parse().ok());
        let deliveries = value("share.delivery.count.limit").and_then(|count| count.parse().ok());
        Policy {
            lock: lock_ms.map_or(DEFAULT_LOCK, Duration::from_millis),
            most_deliveries: deliveries.unwrap_or(DEFAULT_DELIVERIES),
            has_dead_letter_topic: value("errors.deadletterqueue.topic.name")
                .is_some_and(|name| !name.is_empty()),
            has_start: find("share.auto.offset.reset")
                .is_some_and(|config| config.source == "group"),
        }
    }
}

impl Shared {
    /// Joins; a group that nobody has configured otherwise begins at the first record.
    ///
    /// # Errors
    /// When the group's settings cannot be read or the member cannot be made.
    pub async fn join(
        backend: &Backend,
        group: &str,
        topics: &[String],
    ) -> Result<Shared, ClientError> {
        let mut admin = backend.admin().await?;
        let resource = Resource::Group(group);
        let policy = Policy::of(&admin.configs(resource).await?);
        if !policy.has_start {
            let earliest = Change::Set("share.auto.offset.reset", "earliest");
            admin.change_configs(resource, &[earliest], false).await?;
            // A leader that does not know it yet would begin at the end, and what is there already would never be given.
            admin
                .settled_config(resource, "share.auto.offset.reset", "earliest")
                .await?;
        }
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        Ok(Shared {
            member: backend.cluster().share_member(group, &topics)?,
            leases: Mutex::default(),
            letters: Letters::of(backend, group),
            policy,
        })
    }

    /// Locks messages and leases them; waits until there is one or the time is over.
    ///
    /// # Errors
    /// `invalid` for a lease that is longer than the lock, `too-many-requests` when too many are held; whatever keeps the group
    /// from being read.
    pub async fn pull(&self, ask: &Ask) -> Result<Vec<HandedOut<Record>>, Problem> {
        let lease = self.lease(ask.lease)?;
        let room = room(&self.leases.lock());
        if room == 0 {
            return Err(full(&self.leases.lock()));
        }
        let taken = self.take(ask.max.min(room), ask.wait).await?;
        let now = clock::now();
        let terms = Terms {
            until: later(now, lease),
            most_attempts: ask.most_attempts.min(self.policy.most_deliveries),
        };
        let mut leases = self.leases.lock();
        let handed = taken.into_iter().map(|record| {
            let (spot, bytes) = (spot(&record), size(&record.record));
            let attempt = u32::try_from(record.delivery_count).unwrap_or(1);
            let handed = leases.hand_out(spot, record, bytes, attempt, terms);
            handed.map(|record| record.record)
        });
        Ok(handed.collect())
    }

    /// Takes messages; a member that the group has not let in yet waits longer for that.
    async fn take(&self, most: usize, wait: Duration) -> Result<Vec<SharedRecord>, ClientError> {
        let started = Instant::now();
        loop {
            let wait = wait.saturating_sub(started.elapsed());
            let error = match self.member.take(most, wait).await {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            let is_joining =
                error.kind() == ErrorKind::TimedOut && self.member.assigned().is_empty();
            if !is_joining || started.elapsed() >= JOINING_LIMIT {
                return Err(error);
            }
            sleep(JOINING_STEP).await;
        }
    }

    /// The lease that is asked for, which a lock must be able to hold.
    fn lease(&self, asked: Option<Duration>) -> Result<Duration, Problem> {
        self.check(
            "/lease_ms",
            asked.unwrap_or(DEFAULT_LEASE.min(self.policy.lock)),
        )
    }

    fn check(&self, field: &str, asked: Duration) -> Result<Duration, Problem> {
        if asked <= self.policy.lock {
            return Ok(asked);
        }
        let lock = self.policy.lock.as_millis();
        let detail = format!(
            "the group locks its records for {lock} ms, so it is at most that: extend in time, or raise the group's \
             share.record.lock.duration.ms"
        );
        Err(Problem::invalid(field, detail))
    }

    /// The messages of these leases are done with; answered when it is durable.
    pub async fn acknowledge(&self, now: Timestamp, ids: &[LeaseId]) -> Vec<Settled> {
        let spots = self.spots(now, ids);
        let told = self.tell(&spots, Acknowledge::Accept).await;
        let mut leases = self.leases.lock();
        let settled = ids.iter().zip(&spots).zip(told).map(|((id, spot), told)| {
            let Ok(spot) = spot else {
                return Settled::of(leases.acknowledge(now, *id));
            };
            match told {
                Settled::Done => {
                    // The cluster has said yes, whether or not the lease has ended meanwhile.
                    let _ = leases.acknowledge(now, *id);
                    leases.settled(spot);
                    Settled::Done
                }
                Settled::Lost => {
                    leases.forget(spot);
                    Settled::Lost
                }
                failed => failed,
            }
        });
        settled.collect()
    }

    /// Where the messages of these leases are.
    fn spots(&self, now: Timestamp, ids: &[LeaseId]) -> Vec<Result<Spot, Lost>> {
        let leases = self.leases.lock();
        let spots = ids.iter().map(|id| {
            let (spot, _) = leases.find(now, *id)?;
            Ok(spot.clone())
        });
        spots.collect()
    }

    /// The messages stay locked for `delay` and are released then, or rejected when this was the last attempt.
    ///
    /// # Errors
    /// `invalid` for a delay that is longer than the lock.
    pub async fn refuse(
        &self,
        now: Timestamp,
        ids: &[LeaseId],
        delay: Duration,
        reason: &str,
    ) -> Result<Vec<Settled>, Problem> {
        self.check("/delay_ms", delay)?;
        let spots: Vec<Result<Spot, Lost>> = {
            let mut leases = self.leases.lock();
            ids.iter()
                .map(|id| leases.refuse(now, *id, delay, reason.to_owned()))
                .collect()
        };
        if !delay.is_zero() {
            // Where locks cannot be renewed the message comes back when its lock ends, which may be earlier.
            self.tell(&spots, Acknowledge::Renew).await;
        }
        Ok(spots.into_iter().map(Settled::of).collect())
    }

    /// Renews the locks of these leases.
    ///
    /// # Errors
    /// `invalid` for a lease that is longer than the lock.
    pub async fn extend(
        &self,
        now: Timestamp,
        ids: &[LeaseId],
        until: Timestamp,
    ) -> Result<Vec<Settled>, Problem> {
        let lease = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        self.check("/lease_ms", lease)?;
        let spots = self.spots(now, ids);
        let told = self.tell(&spots, Acknowledge::Renew).await;
        let mut leases = self.leases.lock();
        let settled = ids.iter().zip(told).map(|(id, told)| match told {
            Settled::Done => Settled::of(leases.extend(now, *id, until)),
            other => other,
        });
        Ok(settled.collect())
    }

    /// Tells the cluster what becomes of these messages.
    async fn tell(&self, spots: &[Result<Spot, Lost>], what: Acknowledge) -> Vec<Settled> {
        let told: Vec<_> = spots
            .iter()
            .flatten()
            .map(|spot| (spot.topic.to_string(), spot.partition, spot.offset, what))
            .collect();
        if told.is_empty() {
            return vec![Settled::Lost; spots.len()];
        }
        let outcomes = match self.member.acknowledge(&told).await {
            Ok(outcomes) => outcomes.into_iter().map(settled).collect(),
            Err(error) => vec![settled(Err(error)); told.len()],
        };
        let mut outcomes = outcomes.into_iter();
        let each = spots.iter().map(|spot| match spot {
            Ok(_) => outcomes.next().unwrap_or(Settled::Lost),
            Err(Lost) => Settled::Lost,
        });
        each.collect()
    }

    /// Ends leases that are over, releases what is due, rejects what is given up. The member's keeper calls it.
    pub async fn tend(&self, now: Timestamp) {
        let (back, given_up) = {
            let mut leases = self.leases.lock();
            leases.expire(now);
            (leases.give_back(now), leases.give_up(now))
        };
        if !back.is_empty() {
            self.settle(now, back, Acknowledge::Release, false).await;
        }
        let mut written = Vec::new();
        for message in given_up {
            if self.bury(now, &message).await {
                written.push(message);
            }
        }
        if !written.is_empty() {
            self.settle(now, written, Acknowledge::Reject, true).await;
        }
    }

    /// Tells the cluster, and tries again later what could not be told; what it refuses is another's by now.
    async fn settle(
        &self,
        now: Timestamp,
        messages: Vec<GivenUp<SharedRecord>>,
        what: Acknowledge,
        is_last: bool,
    ) {
        let spots: Vec<Result<Spot, Lost>> = messages
            .iter()
            .map(|message| Ok(message.spot.clone()))
            .collect();
        let told = self.tell(&spots, what).await;
        let mut leases = self.leases.lock();
        for (message, told) in messages.into_iter().zip(told) {
            match told {
                Settled::Done | Settled::Lost => leases.settled(&message.spot),
                Settled::Failed(problem) => {
                    tracing::debug!(message = %message.spot, problem = problem.detail, "settling again soon");
                    leases.retry(
                        &message.spot,
                        later(now, RETRY_PAUSE),
                        message.reason,
                        is_last,
                    );
                }
            }
        }
    }

    /// Writes the dead letter where the cluster does not; tells whether it is taken care of.
    async fn bury(&self, now: Timestamp, message: &GivenUp<SharedRecord>) -> bool {
        if self.policy.has_dead_letter_topic {
            return true;
        }
        let record = &message.record.record;
        let written = self
            .letters
            .write(&message.spot, record, message.attempts, &message.reason)
            .await;
        let Err(error) = written else { return true };
        tracing::warn!(message = %message.spot, %error, "a dead letter was not stored, again soon");
        let again = later(now, RETRY_PAUSE);
        self.leases
            .lock()
            .retry(&message.spot, again, message.reason.clone(), true);
        // It must stay locked until the letter is written.
        self.tell(&[Ok(message.spot.clone())], Acknowledge::Renew)
            .await;
        false
    }

    pub fn is_quiet(&self) -> bool {
        self.leases.lock().len() == 0
    }

    pub async fn leave(&self) {
        self.member.clone().leave().await;
    }
}

fn settled(outcome: Result<(), ClientError>) -> Settled {
    match outcome {
        Ok(()) => Settled::Done,
        Err(error) if is_lost(&error) => Settled::Lost,
        Err(error) => Settled::Failed(Problem::from(error)),
    }
}

/// Whether the lock is over, or the partition has moved with its locks.
fn is_lost(error: &ClientError) -> bool {
    use ErrorCode as Code;
    matches!(
        error.code(),
        Some(
            Code::InvalidRecordState
                | Code::UnknownMemberId
                | Code::FencedMemberEpoch
                | Code::ShareSessionNotFound
        )
    )
}

fn spot(record: &SharedRecord) -> Spot {
    Spot {
        topic: Arc::clone(&record.topic),
        partition: record.partition,
        offset: record.record.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str, source: &'static str) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
            is_read_only: false,
            is_sensitive: false,
        }
    }

    #[test]
    fn a_policy_is_what_the_group_is_configured_to() {
        let configs = [
            entry("share.record.lock.duration.ms", "15000", "default"),
            entry("share.delivery.count.limit", "3", "group"),
            entry("errors.deadletterqueue.topic.name", "dlq.orders", "group"),
            entry("share.auto.offset.reset", "latest", "group"),
        ];
        let policy = Policy {
            lock: Duration::from_secs(15),
            most_deliveries: 3,
            has_dead_letter_topic: true,
            has_start: true,
        };
        assert_eq!(Policy::of(&configs), policy);
    }

    #[test]
    fn a_group_that_nobody_configured_has_kafkas_defaults_and_no_start() {
        let configs = [
            entry("share.auto.offset.reset", "latest", "default"),
            entry("errors.deadletterqueue.topic.name", "", "default"),
        ];
        let policy = Policy {
            lock: DEFAULT_LOCK,
            most_deliveries: DEFAULT_DELIVERIES,
            has_dead_letter_topic: false,
            has_start: false,
        };
        assert_eq!(Policy::of(&configs), policy);
    }
}
