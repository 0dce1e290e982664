//! How a transaction ends: by its producer, by a new instance, by time; and what follows when the markers are written.
//!
//! Under version 2 the epoch tells a request that is sent again (the epoch before) from one that is about the next
//! transaction (the epoch now):
//! ```text
//!                  abort, again   abort, now   commit, again   commit, now
//! Empty            fenced         new epoch    fenced          INVALID_TXN_STATE
//! CompleteAbort    same answer    new epoch    INVALID_TXN_…   INVALID_TXN_STATE
//! CompleteCommit   INVALID_TXN_…  new epoch    same answer     INVALID_TXN_STATE
//! ```

use wire::ErrorCode;

use super::command::EndTransaction;
use super::ids::TransactionalId;
use super::init::check_id;
use super::transaction::{NONE, State, Transaction, VERSION_2};
use super::{Outcome, Step, Transactions, markers};
use crate::producer_ids::{LAST_EPOCH, ProducerIdentity};

type Ended = Outcome<Result<ProducerIdentity, ErrorCode>>;

impl Transactions {
    pub(super) fn end(&mut self, end: &EndTransaction, step: &mut Step<'_>) -> Ended {
        if let Err(error) = check_id(&end.id) {
            return Outcome::refused(error);
        }
        let Some(known) = self.by_id.get(&end.id).cloned() else {
            return Outcome::refused(ErrorCode::InvalidProducerIdMapping);
        };
        if end.client_version >= VERSION_2 {
            self.end_version_2(end, &known, step)
        } else {
            self.end_older(end, &known, step)
        }
    }

    fn end_older(
        &mut self,
        end: &EndTransaction,
        known: &Transaction,
        step: &mut Step<'_>,
    ) -> Ended {
        if known.producer.producer_id != end.producer.producer_id {
            return Outcome::refused(ErrorCode::InvalidProducerIdMapping);
        }
        if known.producer.producer_epoch != end.producer.producer_epoch {
            return Outcome::refused(ErrorCode::ProducerFenced);
        }
        let (ending, ended) = states(end.is_commit);
        match known.state {
            State::Ongoing => self.prepare(end, known, step),
            state if state == ended => Outcome::Done(Ok(known.producer)),
            state if state == ending => Outcome::WaitsForEnd,
            _ => Outcome::refused(ErrorCode::InvalidTxnState),
        }
    }

    fn end_version_2(
        &mut self,
        end: &EndTransaction,
        known: &Transaction,
        step: &mut Step<'_>,
    ) -> Ended {
        let asks = Asks::from(end.producer, known);
        if asks == Asks::Otherwise {
            let is_same_id = known.producer.producer_id == end.producer.producer_id;
            return Outcome::refused(if is_same_id {
                ErrorCode::ProducerFenced
            } else {
                ErrorCode::InvalidProducerIdMapping
            });
        }
        let (ending, ended) = states(end.is_commit);
        match (known.state, asks) {
            (State::Ongoing, Asks::Now) => self.prepare(end, known, step),
            (State::Ongoing | State::Empty, Asks::Again) => {
                Outcome::refused(ErrorCode::ProducerFenced)
            }
            (state, Asks::Again) if state == ended => Outcome::Done(Ok(known.producer)),
            (state, Asks::Again) if state == ending => Outcome::WaitsForEnd,
            // It is about the next transaction, which cannot begin before this one has gone through.
            (state, Asks::Now) if state.is_ending() => Outcome::WaitsForEnd,
            (_, Asks::Now) if !end.is_commit => self.prepare(end, known, step),
            _ => Outcome::refused(ErrorCode::InvalidTxnState),
        }
    }

    fn prepare(&mut self, end: &EndTransaction, known: &Transaction, step: &mut Step<'_>) -> Ended {
        let mut next_producer_id = NONE;
        if end.client_version >= VERSION_2 && known.is_exhausted() {
            let Some(producer_id) = self.take_producer_id() else {
                return Outcome::WaitsForProducerId;
            };
            next_producer_id = producer_id;
        }
        let next = known.prepared(
            step.now,
            end.is_commit,
            end.client_version,
            next_producer_id,
        );
        let producer = next.after_completion();
        self.begin_end(&end.id, next, step);
        Outcome::Done(Ok(producer))
    }

    /// Aborts what is open and keeps its producer from going on; `None` when a producer id must be lent first.
    pub(super) fn fence(
        &mut self,
        id: &TransactionalId,
        known: &Transaction,
        step: &mut Step<'_>,
    ) -> Option<()> {
        let version = self.settings.version;
        let next = if version < VERSION_2 {
            known.fenced(step.now)
        } else if known.is_exhausted() {
            let producer_id = self.take_producer_id()?;
            known.prepared(step.now, false, version, producer_id)
        } else {
            known.prepared(step.now, false, version, NONE)
        };
        self.begin_end(id, next, step);
        Some(())
    }

    fn begin_end(&mut self, id: &TransactionalId, next: Transaction, step: &mut Step<'_>) {
        let has_partitions = !next.partitions.is_empty();
        if has_partitions {
            step.effects.markers.push(markers(id, &next));
        }
        self.write(id, next, step);
        if !has_partitions {
            self.complete(id, step);
        }
    }

    /// The markers of a transaction are written in all its partitions that still exist.
    pub fn markers_written(
        &mut self,
        now: crate::step::Millis,
        id: &TransactionalId,
        producer: ProducerIdentity,
        effects: &mut super::TransactionEffects,
    ) {
        let known = self.by_id.get(id);
        let is_awaited =
            known.is_some_and(|known| known.state.is_ending() && known.producer == producer);
        if is_awaited {
            self.complete(id, &mut Step { now, effects });
        }
    }

    /// Ends the end; what has waited for it goes on.
    fn complete(&mut self, id: &TransactionalId, step: &mut Step<'_>) {
        let known = &self.by_id[id];
        let next = known.completed(step.now);
        match next.state {
            State::CompleteCommit => self.tally.committed += 1,
            _ => self.tally.aborted += 1,
        }
        self.write(id, next, step);
        for waiting in self.waiting.take_for_end(id) {
            self.decide(waiting.request, waiting.command, waiting.until, step);
        }
    }
}

/// Which transaction a request of version 2 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// The one that is open, or would be next.
    Now,
    /// The one before, whose end was decided.
    Again,
    Otherwise,
}

impl Asks {
    fn from(producer: ProducerIdentity, known: &Transaction) -> Self {
        let last = known.producer;
        // A producer knows who it is next as soon as the end is decided.
        if producer == known.after_completion() {
            return Asks::Now;
        }
        let before = ProducerIdentity {
            producer_epoch: producer.producer_epoch.saturating_add(1),
            ..producer
        };
        let has_new_id = producer.producer_id == known.previous_producer_id
            && producer.producer_epoch == LAST_EPOCH
            && last.producer_epoch == 0
            && last.producer_id != producer.producer_id;
        if before == last || has_new_id {
            Asks::Again
        } else {
            Asks::Otherwise
        }
    }
}

/// The state while the end is under way, and after.
fn states(is_commit: bool) -> (State, State) {
    if is_commit {
        (State::PrepareCommit, State::CompleteCommit)
    } else {
        (State::PrepareAbort, State::CompleteAbort)
    }
}
