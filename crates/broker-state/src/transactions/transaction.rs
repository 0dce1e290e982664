//! What is known of one transactional id, and how it goes from one state to the next: all of it pure.
//!
//! ```text
//!            add              end              markers written
//! Empty ──────────▶ Ongoing ──────▶ PrepareX ──────────────────▶ CompleteX ──▶ Ongoing, or Empty by InitProducerId
//!   └──────────────────────────────▶ PrepareAbort (version 2: an abort without partitions)
//! ```
//! Under version 2 (KIP-890) the epoch grows at each end: a late request of the transaction before has an old epoch
//! and does no harm (KAFKA-17754). When the epochs are used up, the end moves on to a new producer id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::groups::TopicName;
use crate::producer_ids::{LAST_EPOCH, ProducerIdentity};
use crate::step::Millis;

/// The transaction protocol in which partitions are added by themselves and each end raises the epoch.
pub const VERSION_2: i16 = 2;
/// "None" for producer ids and epochs, as on the wire.
pub const NONE: i64 = -1;
const NO_EPOCH: i16 = -1;

/// Partitions by topic.
pub type Partitions = BTreeMap<TopicName, BTreeSet<i32>>;

/// The states of a transactional id, under Kafka's names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    /// Only ever named in a filter: an id that expires is gone with the step that says so.
    Dead,
    /// Only ever named in a filter: fencing and the abort that follows are one step here.
    PrepareEpochFence,
}

impl State {
    pub const ALL: [State; 8] = [
        State::Empty,
        State::Ongoing,
        State::PrepareCommit,
        State::PrepareAbort,
        State::CompleteCommit,
        State::CompleteAbort,
        State::Dead,
        State::PrepareEpochFence,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
            State::Dead => "Dead",
            State::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The number in the records.
    pub fn number(self) -> i8 {
        self as i8
    }

    pub fn from_number(number: i8) -> Option<State> {
        let written = Self::ALL
            .into_iter()
            .filter(|state| !matches!(state, State::Dead | State::PrepareEpochFence));
        written.into_iter().find(|state| state.number() == number)
    }

    pub fn from_name(name: &str) -> Option<State> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the end is decided and its markers are not all written.
    pub fn is_ending(self) -> bool {
        matches!(self, State::PrepareCommit | State::PrepareAbort)
    }

    /// Whether an id in this state may be forgotten.
    pub fn may_expire(self) -> bool {
        matches!(
            self,
            State::Empty | State::CompleteCommit | State::CompleteAbort
        )
    }
}

/// What is known of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer: ProducerIdentity,
    /// The epoch before the last one, if the one who has it may ask again (KIP-360); else -1.
    pub last_epoch: i16,
    /// The producer id before the last change; -1 at the beginning.
    pub previous_producer_id: i64,
    /// The producer id after this transaction, when its epochs are used up; else -1.
    pub next_producer_id: i64,
    /// After so long an open transaction is aborted.
    pub timeout: Duration,
    pub state: State,
    /// Those of the open or ending transaction.
    pub partitions: Partitions,
    /// When the last transaction began.
    pub started_at: Option<Millis>,
    pub updated_at: Millis,
    /// The version of the transaction protocol that the last change was made with.
    pub client_version: i16,
}

impl Transaction {
    /// The first instance of a producer with a new id.
    pub fn new(now: Millis, producer_id: i64, timeout: Duration) -> Self {
        Transaction {
            producer: ProducerIdentity {
                producer_id,
                producer_epoch: 0,
            },
            last_epoch: NO_EPOCH,
            // Kafka makes the entry first and initializes it after, which leaves this trace.
            previous_producer_id: producer_id,
            next_producer_id: NONE,
            timeout,
            state: State::Empty,
            partitions: Partitions::new(),
            started_at: None,
            updated_at: now,
            client_version: 0,
        }
    }

    pub fn partition_count(&self) -> usize {
        self.partitions.values().map(BTreeSet::len).sum()
    }

    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.partitions
            .get(topic)
            .is_some_and(|partitions| partitions.contains(&partition))
    }

    pub fn contains_all(&self, partitions: &Partitions) -> bool {
        let mut all = partitions.iter();
        all.all(|(topic, wanted)| {
            self.partitions
                .get(topic)
                .is_some_and(|have| wanted.is_subset(have))
        })
    }

    /// No further epoch may be given to a client: the last number is kept for fencing.
    pub fn is_exhausted(&self) -> bool {
        self.producer.producer_epoch >= LAST_EPOCH
    }

    /// When it is to be aborted if nothing ends it.
    pub fn deadline(&self) -> Option<Millis> {
        let started_at = self.started_at.filter(|_| self.state == State::Ongoing)?;
        Some(started_at + self.timeout)
    }

    fn changed(&self, now: Millis, state: State) -> Self {
        Transaction {
            previous_producer_id: self.producer.producer_id,
            state,
            updated_at: now,
            ..self.clone()
        }
    }

    fn emptied(&self, now: Millis, timeout: Duration) -> Self {
        Transaction {
            timeout,
            partitions: Partitions::new(),
            started_at: None,
            ..self.changed(now, State::Empty)
        }
    }

    /// A new instance takes over: the one before is fenced by the epoch.
    pub fn with_next_epoch(&self, now: Millis, timeout: Duration, may_ask_again: bool) -> Self {
        let mut next = self.emptied(now, timeout);
        next.last_epoch = if may_ask_again {
            self.producer.producer_epoch
        } else {
            NO_EPOCH
        };
        next.producer.producer_epoch += 1;
        next
    }

    /// As `with_next_epoch`, where the epochs are used up.
    pub fn with_producer_id(
        &self,
        now: Millis,
        timeout: Duration,
        producer_id: i64,
        may_ask_again: bool,
    ) -> Self {
        let mut next = self.emptied(now, timeout);
        next.last_epoch = if may_ask_again {
            self.producer.producer_epoch
        } else {
            NO_EPOCH
        };
        next.producer = ProducerIdentity {
            producer_id,
            producer_epoch: 0,
        };
        next
    }

    /// The producer asks again for the epoch that it was given.
    pub fn with_same_epoch(&self, now: Millis, timeout: Duration) -> Self {
        self.emptied(now, timeout)
    }

    /// Opens a transaction, or adds to the open one.
    pub fn with_partitions(&self, now: Millis, added: &Partitions, client_version: i16) -> Self {
        let mut next = self.changed(now, State::Ongoing);
        if self.state != State::Ongoing {
            next.started_at = Some(now);
        }
        for (topic, partitions) in added {
            next.partitions
                .entry(topic.clone())
                .or_default()
                .extend(partitions);
        }
        next.client_version = client_version;
        next
    }

    /// Decides the end. Under version 2 the epoch is raised, and `next_producer_id` is given when that uses up the last one.
    pub fn prepared(
        &self,
        now: Millis,
        is_commit: bool,
        client_version: i16,
        next_producer_id: i64,
    ) -> Self {
        let state = if is_commit {
            State::PrepareCommit
        } else {
            State::PrepareAbort
        };
        let mut next = self.changed(now, state);
        if client_version >= VERSION_2 {
            next.last_epoch = self.producer.producer_epoch;
            next.producer.producer_epoch = self.producer.producer_epoch.saturating_add(1);
        }
        if self.state != State::Ongoing {
            next.started_at = Some(now);
        }
        next.next_producer_id = next_producer_id;
        next.client_version = client_version;
        next
    }

    /// As `prepared` with an abort that fences the producer, under the older protocol.
    pub fn fenced(&self, now: Millis) -> Self {
        let mut next = self.prepared(now, false, 0, NONE);
        next.producer.producer_epoch = self.producer.producer_epoch.saturating_add(1);
        next.last_epoch = NO_EPOCH;
        next
    }

    /// All markers are written.
    pub fn completed(&self, now: Millis) -> Self {
        let state = if self.state == State::PrepareCommit {
            State::CompleteCommit
        } else {
            State::CompleteAbort
        };
        let mut next = self.changed(now, state);
        next.producer = self.after_completion();
        next.next_producer_id = NONE;
        next.partitions = Partitions::new();
        next
    }

    /// Who the producer is once the end has gone through.
    pub fn after_completion(&self) -> ProducerIdentity {
        if self.client_version >= VERSION_2 && self.next_producer_id != NONE {
            return ProducerIdentity {
                producer_id: self.next_producer_id,
                producer_epoch: 0,
            };
        }
        self.producer
    }
}
