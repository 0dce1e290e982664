//! The members of work queues in this process: one per group and set of topics, made at the first pull, gone when nobody asks.
//!
//! What it keeps true: leases belong to the process and the member that gave them, which their ids tell; a member has a keeper, a task
//! that ends leases, writes dead letters and finally leaves the group; there are at most [`MOST_MEMBERS`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use client::Record;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell};
use tokio::time::timeout;

use super::leases::{HandedOut, LeaseId, later};
use super::queue_kind::LeaseKind;
use super::queue_ordered::Ordered;
use super::queue_shared::Shared;
use super::queue_terms::{Ask, Settled};
use crate::backend::Backend;
use crate::problem::{Problem, TOO_MANY_REQUESTS};
use crate::{Gateway, clock, entropy};

/// Each member has a thread and a connection to the group's coordinator.
const MOST_MEMBERS: usize = 256;
/// A member that nobody has asked for so long leaves when it holds no message, and after the second time in any case.
const IDLE: Duration = Duration::from_secs(5 * 60);
const IDLE_WITH_MESSAGES: Duration = Duration::from_secs(60 * 60);
/// How often a keeper looks.
const KEEPER_PERIOD: Duration = Duration::from_millis(250);

/// What a member is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Purpose {
    pub group: String,
    /// Sorted.
    pub topics: Vec<String>,
    pub leases: LeaseKind,
}

/// What the leases of a member are made of.
pub enum Queue {
    Ordered(Ordered),
    Shared(Shared),
}

impl Queue {
    pub async fn pull(&self, ask: &Ask) -> Result<Vec<HandedOut<Record>>, Problem> {
        match self {
            Queue::Ordered(queue) => queue.pull(ask).await,
            Queue::Shared(queue) => queue.pull(ask).await,
        }
    }

    pub async fn acknowledge(&self, now: Timestamp, ids: &[LeaseId]) -> Vec<Settled> {
        match self {
            Queue::Ordered(queue) => queue.acknowledge(now, ids).await,
            Queue::Shared(queue) => queue.acknowledge(now, ids).await,
        }
    }

    pub async fn refuse(
        &self,
        now: Timestamp,
        ids: &[LeaseId],
        delay: Duration,
        reason: &str,
    ) -> Result<Vec<Settled>, Problem> {
        match self {
            Queue::Ordered(queue) => Ok(queue.refuse(now, ids, delay, reason)),
            Queue::Shared(queue) => queue.refuse(now, ids, delay, reason).await,
        }
    }

    pub async fn extend(
        &self,
        now: Timestamp,
        ids: &[LeaseId],
        until: Timestamp,
    ) -> Result<Vec<Settled>, Problem> {
        match self {
            Queue::Ordered(queue) => Ok(queue.extend(now, ids, until)),
            Queue::Shared(queue) => queue.extend(now, ids, until).await,
        }
    }

    async fn tend(&self, now: Timestamp) {
        match self {
            Queue::Ordered(queue) => queue.tend(now).await,
            Queue::Shared(queue) => queue.tend(now).await,
        }
    }

    /// Whether nobody would miss it: no message is out or has been refused.
    fn is_quiet(&self) -> bool {
        match self {
            Queue::Ordered(queue) => queue.is_quiet(),
            Queue::Shared(queue) => queue.is_quiet(),
        }
    }

    async fn leave(&self) {
        match self {
            Queue::Ordered(queue) => queue.leave().await,
            Queue::Shared(queue) => queue.leave().await,
        }
    }
}

/// A member and how to find it again.
pub struct Member {
    number: u64,
    pub purpose: Purpose,
    pub queue: Queue,
    last_use: Mutex<Timestamp>,
    /// Wakes the keeper before its time.
    pub work: Notify,
}

/// The members of this process. Clones are the same.
#[derive(Clone)]
pub struct Queues(Arc<Members>);

struct Members {
    /// Tells ids of this process from those of others.
    process: u64,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_purpose: HashMap<Purpose, Slot>,
    last: u64,
}

#[derive(Clone)]
struct Slot {
    number: u64,
    member: Arc<OnceCell<Arc<Member>>>,
}

/// What a lease is called outside: the process, the member, the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckId {
    process: u64,
    member: u64,
    pub lease: LeaseId,
}

impl AckId {
    /// Nothing for a text that no process gives.
    pub fn parse(text: &str) -> Option<AckId> {
        let mut parts = text
            .split('-')
            .map(|part| u64::from_str_radix(part, 16).ok());
        let id = AckId {
            process: parts.next()??,
            member: parts.next()??,
            lease: parts.next()??,
        };
        (parts.next().is_none() && id.to_string() == text).then_some(id)
    }
}

impl std::fmt::Display for AckId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:016x}-{:x}-{:x}",
            self.process, self.member, self.lease
        )
    }
}

impl Default for Queues {
    fn default() -> Queues {
        Queues(Arc::new(Members {
            process: u64::from_be_bytes(entropy::bytes()),
            slots: Mutex::default(),
        }))
    }
}

impl Queues {
    /// The member for this purpose, made if there is none.
    ///
    /// # Errors
    /// `too-many-requests` when there are as many as may be; whatever keeps it from joining.
    pub async fn member(
        &self,
        gateway: &Gateway,
        purpose: &Purpose,
    ) -> Result<Arc<Member>, Problem> {
        let backend = gateway.backends().primary();
        let slot = self.slot(purpose)?;
        let made = slot.member.get_or_try_init(|| async {
            let member = Member::join(backend, slot.number, purpose.clone());
            let member = Arc::new(member.await?);
            let kept = keep(Arc::downgrade(&self.0), Arc::clone(&member));
            let stopping = gateway.stopping();
            let leaving = Arc::clone(&member);
            tokio::spawn(async move {
                tokio::select! {
                    () = kept => {}
                    () = stopping => {}
                }
                // So that others need not wait until the cluster misses it.
                leaving.queue.leave().await;
            });
            Ok::<_, Problem>(member)
        });
        match made.await {
            Ok(member) => {
                member.touch();
                Ok(Arc::clone(member))
            }
            Err(problem) => {
                self.0.remove(purpose, slot.number);
                Err(problem)
            }
        }
    }

    fn slot(&self, purpose: &Purpose) -> Result<Slot, Problem> {
        let mut slots = self.0.slots.lock();
        if let Some(slot) = slots.by_purpose.get(purpose) {
            return Ok(slot.clone());
        }
        if slots.by_purpose.len() >= MOST_MEMBERS {
            let detail = format!(
                "this process is a member of {MOST_MEMBERS} groups already; use fewer groups or another process"
            );
            return Err(Problem::new(TOO_MANY_REQUESTS, detail));
        }
        slots.last += 1;
        let slot = Slot {
            number: slots.last,
            member: Arc::default(),
        };
        slots.by_purpose.insert(purpose.clone(), slot.clone());
        Ok(slot)
    }

    /// The member that gave this lease; nothing when it was another process, or the member has left.
    pub fn owner(&self, group: &str, id: AckId) -> Option<Arc<Member>> {
        if id.process != self.0.process {
            return None;
        }
        let slots = self.0.slots.lock();
        let slot = slots
            .by_purpose
            .values()
            .find(|slot| slot.number == id.member)?;
        let member = slot
            .member
            .get()
            .filter(|member| member.purpose.group == group)?;
        member.touch();
        Some(Arc::clone(member))
    }

    /// The kind of leases that the group has here already.
    pub fn kind_in_use(&self, group: &str) -> Option<LeaseKind> {
        let slots = self.0.slots.lock();
        let mut purposes = slots.by_purpose.keys();
        purposes
            .find(|purpose| purpose.group == group)
            .map(|purpose| purpose.leases)
    }

    pub fn ack_id(&self, member: &Member, lease: LeaseId) -> AckId {
        AckId {
            process: self.0.process,
            member: member.number,
            lease,
        }
    }
}

impl Members {
    fn remove(&self, purpose: &Purpose, number: u64) {
        let mut slots = self.slots.lock();
        if slots
            .by_purpose
            .get(purpose)
            .is_some_and(|slot| slot.number == number)
        {
            slots.by_purpose.remove(purpose);
        }
    }
}

impl Member {
    async fn join(backend: &Backend, number: u64, purpose: Purpose) -> Result<Member, Problem> {
        let (group, topics) = (&purpose.group, &purpose.topics);
        let queue = match purpose.leases {
            LeaseKind::GroupOffsets => Queue::Ordered(Ordered::join(backend, group, topics)?),
            LeaseKind::ShareGroup => Queue::Shared(Shared::join(backend, group, topics).await?),
        };
        Ok(Member {
            number,
            queue,
            purpose,
            last_use: Mutex::new(clock::now()),
            work: Notify::new(),
        })
    }

    fn touch(&self) {
        *self.last_use.lock() = clock::now();
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        let last_use = *self.last_use.lock();
        let limit = match self.queue.is_quiet() {
            true => IDLE,
            false => IDLE_WITH_MESSAGES,
        };
        later(last_use, limit) < now
    }
}

/// Keeps a member until nobody has asked for it for long.
async fn keep(queues: Weak<Members>, member: Arc<Member>) {
    loop {
        // Woken early or not, it looks at everything.
        let _ = timeout(KEEPER_PERIOD, member.work.notified()).await;
        let now = clock::now();
        member.queue.tend(now).await;
        let Some(shared) = queues.upgrade() else {
            break;
        };
        if member.is_idle(now) {
            shared.remove(&member.purpose, member.number);
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = AckId {
            process: 7,
            member: 2,
            lease: 255,
        };
        assert_eq!(id.to_string(), "0000000000000007-2-ff");
        assert_eq!(AckId::parse("0000000000000007-2-ff"), Some(id));
        for text in [
            "",
            "7-2-ff",
            "0000000000000007-2",
            "0000000000000007-2-ff-1",
            "0000000000000007-+2-ff",
            "x",
        ] {
            assert_eq!(AckId::parse(text), None, "{text}");
        }
    }
}
