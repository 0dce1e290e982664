//! The transaction coordinator's settings and limits, with Kafka's names and defaults where Kafka has them.

use std::time::Duration;

/// Settings of the `Transactions` machine; read at every step, so a change takes effect at the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`
    pub max_timeout: Duration,
    /// `transactional.id.expiration.ms`: a transactional id that was not used for so long is forgotten.
    pub id_expiration: Duration,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: the least time between two looks for transactions
    /// that took too long; the first one is found at once.
    pub abort_interval: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub remove_expired_interval: Duration,
    /// The finalized level of the feature `transaction.version`.
    pub version: i16,
    /// How long a request waits for the end of the transaction before; then it is told CONCURRENT_TRANSACTIONS.
    pub longest_wait: Duration,
    /// Transactional ids that may be known at once; a further one is refused with POLICY_VIOLATION.
    pub max_ids: usize,
    /// Partitions of one transaction; a further one is refused with POLICY_VIOLATION.
    pub max_partitions: usize,
    /// Transactional ids that one tick looks at for expiration; the rest follows in the next ticks.
    pub max_swept_per_tick: usize,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        TransactionSettings {
            max_timeout: Duration::from_secs(15 * 60),
            id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            abort_interval: Duration::from_secs(10),
            remove_expired_interval: Duration::from_secs(60 * 60),
            version: super::VERSION_2,
            longest_wait: Duration::from_secs(1),
            max_ids: 100_000,
            max_partitions: 100_000,
            max_swept_per_tick: 10_000,
        }
    }
}
