//! What the metrics say of transactions.

use broker_state::transactions::Tally;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Set by the transaction coordinator after each of its steps.
#[derive(Default)]
pub struct TransactionMetrics {
    open: Gauge,
    committed: Counter,
    aborted: Counter,
    timed_out: Counter,
}

impl TransactionMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "transactions_open",
            "Transactions that are open",
            self.open.clone(),
        );
        registry.register(
            "transactions_committed",
            "Transactions that were committed",
            self.committed.clone(),
        );
        registry.register(
            "transactions_aborted",
            "Transactions that were aborted, by their producers or not",
            self.aborted.clone(),
        );
        registry.register(
            "transactions_timed_out",
            "Transactions that were aborted because they took too long",
            self.timed_out.clone(),
        );
    }

    /// `tally` counts from the start of the broker.
    pub fn set(&self, open: usize, tally: Tally) {
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        let counters = [
            (&self.committed, tally.committed),
            (&self.aborted, tally.aborted),
            (&self.timed_out, tally.timed_out),
        ];
        for (counter, total) in counters {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}
