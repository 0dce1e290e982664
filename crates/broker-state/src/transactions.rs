//! Transactions: the transaction coordinator as one machine without I/O, clock or randomness.
//!
//! The runner calls `handle` for each request and `tick` at `next_deadline()`. It makes the records of the step durable
//! in their order, then releases the replies, then has the markers written and tells `markers_written`. At start it
//! `apply`s every record of the log, then calls `loaded`, which asks for the markers of the ends that were decided
//! before. Producer ids are given by `lend`, whenever `wants_producer_ids` says so.
//!
//! Keeps true: durable state changes only by `apply` of a record, so replaying the log gives the same state; an end is
//! durable before its first marker is asked for, and complete only when all are written; at most one transaction of an
//! id is open or ending. Volatile and lost at a restart: requests that wait, borrowed producer ids.
//!
//! Where Kafka answers CONCURRENT_TRANSACTIONS and has the client ask again after a pause, a request waits here until the
//! transaction before has gone through, up to `longest_wait`: the pause costs a producer more than the markers do.
//! Source of rules: KIP-98, KIP-360, KIP-890, Kafka's TransactionCoordinator and TransactionMetadata.

mod add;
mod admin;
mod command;
mod end;
mod expiry;
mod ids;
mod init;
mod records;
mod reply;
mod settings;
mod transaction;
mod waiting;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wire::ErrorCode;

use crate::groups::TopicName;
use crate::producer_ids::ProducerIdentity;
use crate::step::{Effects, Millis, RequestId};
use waiting::Waiting;

pub use command::{
    AddPartitions, Command, EndTransaction, InitProducerId, ListFilter, VerifyPartitions,
};
pub use ids::TransactionalId;
pub use records::{MAX_ID_BYTES, Record, RecordError};
pub use reply::{ListReply, ListedTransaction, Reply};
pub use settings::TransactionSettings;
pub use transaction::{Partitions, State, Transaction, VERSION_2};

/// The end of one transaction, to be told to its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    pub id: TransactionalId,
    /// Whose transaction ends. Under version 2 the epoch is the one that follows the transaction's own.
    pub producer: ProducerIdentity,
    pub is_commit: bool,
    /// The version of the protocol that the end was decided with.
    pub transaction_version: i16,
    pub partitions: Vec<(TopicName, i32)>,
}

/// What a step of the transactions asks of the runner: records, then replies, then markers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionEffects {
    pub step: Effects<Record, Reply>,
    pub markers: Vec<Markers>,
}

/// How many transactions have ended since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub committed: u64,
    pub aborted: u64,
    /// Those among the aborted that took too long.
    pub timed_out: u64,
}

/// All transactional ids of the broker.
#[derive(Debug)]
pub struct Transactions {
    settings: TransactionSettings,
    by_id: BTreeMap<TransactionalId, Transaction>,
    /// When open transactions are to be aborted.
    deadlines: BTreeSet<(Millis, TransactionalId)>,
    waiting: Waiting,
    /// What is left of the producer ids that the runner has lent.
    producer_ids: Range<i64>,
    wants_producer_ids: bool,
    next_abort: Millis,
    next_sweep: Millis,
    /// How far an unfinished sweep has come.
    sweep_after: Option<TransactionalId>,
    tally: Tally,
    is_loaded: bool,
}

/// What becomes of a request.
enum Outcome<T> {
    Done(T),
    /// To be looked at again when the transaction of this id that is ending has ended.
    WaitsForEnd,
    /// To be looked at again when there are producer ids.
    WaitsForProducerId,
}

impl<T> Outcome<Result<T, ErrorCode>> {
    fn refused(error: ErrorCode) -> Self {
        Outcome::Done(Err(error))
    }
}

/// What deciding needs: the time, and the way to have an effect.
struct Step<'a> {
    now: Millis,
    effects: &'a mut TransactionEffects,
}

impl Transactions {
    pub fn new(settings: TransactionSettings) -> Self {
        Transactions {
            settings,
            by_id: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: Waiting::default(),
            producer_ids: 0..0,
            wants_producer_ids: false,
            next_abort: Millis::default(),
            next_sweep: Millis::default(),
            sweep_after: None,
            tally: Tally::default(),
            is_loaded: false,
        }
    }

    /// Takes in one record of the log: the whole of recovery, and the only way that durable state changes.
    pub fn apply(&mut self, record: &Record) {
        let (id, transaction) = match record {
            Record::Transaction { id, transaction } => (id, Some(transaction)),
            Record::Tombstone { id } => (id, None),
        };
        let before = self.by_id.get(id).and_then(Transaction::deadline);
        if let Some(deadline) = before {
            self.deadlines.remove(&(deadline, id.clone()));
        }
        if let Some(deadline) = transaction.and_then(Transaction::deadline) {
            self.deadlines.insert((deadline, id.clone()));
        }
        match transaction {
            Some(transaction) => {
                self.by_id.insert(id.clone(), transaction.clone());
            }
            None => {
                self.by_id.remove(id);
            }
        }
    }

    /// Ends recovery: ends that were decided are carried out. A new log needs it, too.
    pub fn loaded(&mut self, now: Millis, effects: &mut TransactionEffects) {
        self.is_loaded = true;
        self.next_abort = now;
        self.next_sweep = now + self.settings.remove_expired_interval;
        let ending = self.by_id.iter();
        let ending = ending.filter(|(_, transaction)| transaction.state.is_ending());
        effects
            .markers
            .extend(ending.map(|(id, transaction)| markers(id, transaction)));
    }

    /// Decides one request. The reply is in `effects` now, or in those of a later step.
    pub fn handle(
        &mut self,
        now: Millis,
        request: RequestId,
        command: Command,
        effects: &mut TransactionEffects,
    ) {
        assert!(
            self.is_loaded,
            "RecoveryComesFirst: requests are answered only after loaded()"
        );
        let until = now + self.settings.longest_wait;
        self.decide(request, command, until, &mut Step { now, effects });
    }

    /// Answers the request, or keeps it until `until` at the latest.
    fn decide(&mut self, request: RequestId, command: Command, until: Millis, step: &mut Step<'_>) {
        let outcome = match &command {
            Command::InitProducerId(init) => self.init(init, step).map(Reply::InitProducerId),
            Command::AddPartitions(add) => self.add(add, step).map(Reply::AddPartitions),
            Command::VerifyPartitions(verify) => {
                Outcome::Done(Reply::VerifyPartitions(self.verify(verify)))
            }
            Command::EndTransaction(end) => self.end(end, step).map(Reply::EndTransaction),
            Command::Describe(ids) => Outcome::Done(Reply::Describe(self.describe(ids))),
            Command::List(filter) => Outcome::Done(Reply::List(self.list(step.now, filter))),
        };
        match outcome {
            Outcome::Done(reply) => step.effects.step.reply(request, reply),
            Outcome::WaitsForEnd => self.waiting.for_end(request, command, until),
            Outcome::WaitsForProducerId => self.waiting.for_producer_id(request, command, until),
        }
    }

    /// Whether something waits for producer ids, which the runner shall `lend`.
    pub fn wants_producer_ids(&self) -> bool {
        self.wants_producer_ids
    }

    /// Gives producer ids that nobody else has; what waits for them goes on.
    pub fn lend(&mut self, now: Millis, ids: Range<i64>, effects: &mut TransactionEffects) {
        self.producer_ids = ids;
        self.wants_producer_ids = false;
        self.next_abort = self.next_abort.min(now);
        for waiting in self.waiting.take_for_producer_id() {
            self.decide(
                waiting.request,
                waiting.command,
                waiting.until,
                &mut Step { now, effects },
            );
        }
    }

    /// The next time at which `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        let abort = self
            .deadlines
            .first()
            .map(|(at, _)| (*at).max(self.next_abort));
        let sweep = (!self.by_id.is_empty()).then_some(self.next_sweep);
        let waiting = self.waiting.next_deadline();
        [abort, sweep, waiting].into_iter().flatten().min()
    }

    /// Records that recreate the whole durable state, for a compacted copy of the log.
    pub fn snapshot_records(&self) -> impl Iterator<Item = Record> + '_ {
        let all = self.by_id.iter();
        all.map(|(id, transaction)| Record::Transaction {
            id: id.clone(),
            transaction: transaction.clone(),
        })
    }

    /// The durable state.
    pub fn all(&self) -> &BTreeMap<TransactionalId, Transaction> {
        &self.by_id
    }

    /// How many transactions are open.
    pub fn open_count(&self) -> usize {
        self.deadlines.len()
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    pub fn settings(&self) -> &TransactionSettings {
        &self.settings
    }

    /// Changes the settings; open transactions keep their time-outs.
    pub fn set_settings(&mut self, settings: TransactionSettings) {
        self.settings = settings;
    }

    /// Takes in the finalized level of `transaction.version`.
    pub fn set_version(&mut self, version: i16) {
        self.settings.version = version;
    }

    /// Changes the durable state, here and in the log.
    fn write(&mut self, id: &TransactionalId, transaction: Transaction, step: &mut Step<'_>) {
        let id = id.clone();
        let record = Record::Transaction { id, transaction };
        self.apply(&record);
        step.effects.step.record(record);
    }

    fn take_producer_id(&mut self) -> Option<i64> {
        let producer_id = self.producer_ids.next();
        self.wants_producer_ids |= producer_id.is_none();
        producer_id
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Outcome::Done(value) => Outcome::Done(change(value)),
            Outcome::WaitsForEnd => Outcome::WaitsForEnd,
            Outcome::WaitsForProducerId => Outcome::WaitsForProducerId,
        }
    }
}

fn markers(id: &TransactionalId, transaction: &Transaction) -> Markers {
    let topics = transaction.partitions.iter();
    let partitions = topics.flat_map(|(topic, partitions)| {
        partitions
            .iter()
            .map(move |partition| (topic.clone(), *partition))
    });
    Markers {
        id: id.clone(),
        producer: transaction.producer,
        is_commit: transaction.state == State::PrepareCommit,
        transaction_version: transaction.client_version,
        partitions: partitions.collect(),
    }
}
