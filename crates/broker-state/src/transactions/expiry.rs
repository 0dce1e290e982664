//! What time does: transactions that took too long are aborted, ids that nobody uses are forgotten, waiting ends.

use std::ops::Bound::{Excluded, Unbounded};

use wire::ErrorCode;

use super::command::Command;
use super::ids::TransactionalId;
use super::records::Record;
use super::reply::Reply;
use super::{Step, TransactionEffects, Transactions};
use crate::step::{Millis, RequestId};

impl Transactions {
    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Millis, effects: &mut TransactionEffects) {
        let step = &mut Step { now, effects };
        for waiting in self.waiting.take_due(now) {
            step.effects
                .step
                .reply(waiting.request, still_busy(&waiting.command));
        }
        if self.next_abort <= now {
            self.abort_overdue(step);
        }
        if self.next_sweep <= now {
            self.forget_unused(step);
        }
    }

    /// Aborts every transaction whose time is over and fences its producer.
    fn abort_overdue(&mut self, step: &mut Step<'_>) {
        let overdue: Vec<TransactionalId> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= step.now)
            .map(|(_, id)| id.clone())
            .collect();
        if overdue.is_empty() {
            return;
        }
        self.next_abort = step.now + self.settings.abort_interval;
        for id in overdue {
            let known = self.by_id[&id].clone();
            // Without a producer id to go on with, its turn comes again with the next look.
            if self.fence(&id, &known, step).is_some() {
                self.tally.timed_out += 1;
            }
        }
    }

    /// Forgets ids that were not used for long, so many at a time that a tick stays short.
    fn forget_unused(&mut self, step: &mut Step<'_>) {
        let after = match &self.sweep_after {
            Some(id) => Excluded(id.clone()),
            None => Unbounded,
        };
        let mut looked_at = 0;
        let mut reached = None;
        let mut unused = Vec::new();
        let range = self.by_id.range::<TransactionalId, _>((after, Unbounded));
        for (id, transaction) in range.take(self.settings.max_swept_per_tick) {
            looked_at += 1;
            reached = Some(id.clone());
            let is_old = step.now.since(transaction.updated_at) >= self.settings.id_expiration;
            if is_old && transaction.state.may_expire() {
                unused.push(id.clone());
            }
        }
        let is_done = looked_at < self.settings.max_swept_per_tick;
        self.next_sweep = if is_done {
            step.now + self.settings.remove_expired_interval
        } else {
            step.now
        };
        self.sweep_after = reached.filter(|_| !is_done);
        for id in unused {
            let record = Record::Tombstone { id };
            self.apply(&record);
            step.effects.step.record(record);
        }
    }

    /// Answers what waits, when the broker stops.
    pub fn waiting_requests(&mut self) -> Vec<(RequestId, Reply)> {
        let waiting = self.waiting.take_due(Millis(i64::MAX));
        let answers = waiting.into_iter();
        answers
            .map(|waiting| (waiting.request, still_busy(&waiting.command)))
            .collect()
    }
}

/// The answer to a request that has waited for long enough; its client asks again.
fn still_busy(command: &Command) -> Reply {
    let error = ErrorCode::ConcurrentTransactions;
    match command {
        Command::InitProducerId(_) => Reply::InitProducerId(Err(error)),
        Command::AddPartitions(_) => Reply::AddPartitions(Err(error)),
        Command::EndTransaction(_) => Reply::EndTransaction(Err(error)),
        Command::VerifyPartitions(_) => Reply::VerifyPartitions(Err(error)),
        Command::Describe(_) | Command::List(_) => {
            unreachable!("what only looks is answered at once")
        }
    }
}
