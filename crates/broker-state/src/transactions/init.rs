//! InitProducerId with a transactional id: a new instance takes over, and the one before is fenced.

use std::time::Duration;

use wire::ErrorCode;

use super::command::InitProducerId;
use super::ids::TransactionalId;
use super::records::MAX_ID_BYTES;
use super::transaction::{State, Transaction};
use super::{Outcome, Step, Transactions};
use crate::producer_ids::{LAST_EPOCH, ProducerIdentity};

type Initialized = Outcome<Result<ProducerIdentity, ErrorCode>>;

impl Transactions {
    pub(super) fn init(&mut self, init: &InitProducerId, step: &mut Step<'_>) -> Initialized {
        if let Err(error) = self.check_init(init) {
            return Outcome::refused(error);
        }
        let Some(known) = self.by_id.get(&init.id).cloned() else {
            return self.init_new(init, step);
        };
        if !init
            .current
            .is_none_or(|current| may_go_on(&known, current))
        {
            return Outcome::refused(ErrorCode::ProducerFenced);
        }
        match known.state {
            State::PrepareCommit | State::PrepareAbort => Outcome::WaitsForEnd,
            // The instance before is fenced by the abort, which uses up an epoch that nobody is told.
            State::Ongoing => match self.fence(&init.id, &known, step) {
                Some(()) => Outcome::WaitsForEnd,
                None => Outcome::WaitsForProducerId,
            },
            _ => self.init_known(init, &known, step),
        }
    }

    fn check_init(&self, init: &InitProducerId) -> Result<(), ErrorCode> {
        check_id(&init.id)?;
        if init.timeout == Duration::ZERO || init.timeout > self.settings.max_timeout {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        Ok(())
    }

    fn init_new(&mut self, init: &InitProducerId, step: &mut Step<'_>) -> Initialized {
        if self.by_id.len() >= self.settings.max_ids {
            return Outcome::refused(ErrorCode::PolicyViolation);
        }
        let Some(producer_id) = self.take_producer_id() else {
            return Outcome::WaitsForProducerId;
        };
        self.initialized(
            init,
            Transaction::new(step.now, producer_id, init.timeout),
            step,
        )
    }

    fn init_known(
        &mut self,
        init: &InitProducerId,
        known: &Transaction,
        step: &mut Step<'_>,
    ) -> Initialized {
        let epoch = known.producer.producer_epoch;
        let asks_again = init.current.is_some_and(|current| {
            current.producer_epoch != epoch && current.producer_epoch == known.last_epoch
        });
        let may_ask_again = init.current.is_some();
        let next = if asks_again {
            // It was given its epoch already and has not heard of it.
            known.with_same_epoch(step.now, init.timeout)
        } else if known.is_exhausted() {
            let Some(producer_id) = self.take_producer_id() else {
                return Outcome::WaitsForProducerId;
            };
            known.with_producer_id(step.now, init.timeout, producer_id, may_ask_again)
        } else {
            known.with_next_epoch(step.now, init.timeout, may_ask_again)
        };
        self.initialized(init, next, step)
    }

    fn initialized(
        &mut self,
        init: &InitProducerId,
        transaction: Transaction,
        step: &mut Step<'_>,
    ) -> Initialized {
        let producer = transaction.producer;
        self.write(&init.id, transaction, step);
        Outcome::Done(Ok(producer))
    }
}

/// Kafka refuses an empty id so; a longer one does not fit into a record.
pub(super) fn check_id(id: &TransactionalId) -> Result<(), ErrorCode> {
    if id.as_str().is_empty() || id.as_str().len() > MAX_ID_BYTES {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// Whether a producer that says who it is may get the next epoch: it is the last instance, or it asks again for what
/// it was given. An older one must not even abort what is open, which Kafka lets it.
fn may_go_on(known: &Transaction, current: ProducerIdentity) -> bool {
    let last = known.producer;
    if current == known.after_completion() {
        return true;
    }
    if current.producer_id == last.producer_id {
        return current.producer_epoch == known.last_epoch;
    }
    // The change to a new producer id was not heard of.
    current.producer_id == known.previous_producer_id
        && current.producer_epoch >= LAST_EPOCH
        && current.producer_epoch == known.last_epoch
}
