//! What administrators ask: describe and list transactions.

use crate::step::Millis;

use super::Transactions;
use super::command::ListFilter;
use super::ids::TransactionalId;
use super::reply::{ListReply, ListedTransaction};
use super::transaction::{State, Transaction};

impl Transactions {
    pub(super) fn describe(
        &self,
        ids: &[TransactionalId],
    ) -> Vec<(TransactionalId, Option<Transaction>)> {
        let describe = |id: &TransactionalId| (id.clone(), self.by_id.get(id).cloned());
        ids.iter().map(describe).collect()
    }

    /// The transactions that pass the filter, by id.
    pub(super) fn list(&self, now: Millis, filter: &ListFilter) -> ListReply {
        let (known, unknown): (Vec<_>, Vec<_>) = filter
            .states
            .iter()
            .partition(|name| State::from_name(name).is_some());
        let states: Vec<State> = known
            .iter()
            .filter_map(|name| State::from_name(name))
            .collect();
        let passes = |transaction: &Transaction| {
            let is_open_for = |duration| match transaction.started_at {
                Some(started_at) => now.since(started_at) > duration,
                // As Kafka has it: what never began has been open since the beginning of time.
                None => true,
            };
            let producer_id = transaction.producer.producer_id;
            (filter.states.is_empty() || states.contains(&transaction.state))
                && (filter.producer_ids.is_empty() || filter.producer_ids.contains(&producer_id))
                && filter.open_for.is_none_or(is_open_for)
        };
        let all = self.by_id.iter();
        let transactions = all.filter(|(_, transaction)| passes(transaction));
        ListReply {
            unknown_states: unknown.into_iter().cloned().collect(),
            transactions: transactions
                .map(|(id, transaction)| ListedTransaction {
                    id: id.clone(),
                    producer_id: transaction.producer.producer_id,
                    state: transaction.state,
                })
                .collect(),
        }
    }
}
