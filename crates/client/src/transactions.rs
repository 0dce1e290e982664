//! Transactions of a producer that was opened with `transactional.id`: what it sends between `begin` and `commit` is seen whole or not at all.

use std::time::Duration;

use rdkafka::producer::Producer as _;

use crate::error::ClientError;
use crate::producer::Producer;

impl Producer {
    /// Takes over the transactional id: fences older producers of that id and ends what they left open. Once, before the first `begin`.
    ///
    /// # Errors
    /// `TimedOut` or `Unreachable` within `limit`; `Refused` when the cluster serves no transactions.
    pub fn init_transactions(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .init_transactions(limit)
            .map_err(|error| self.error("beginning to use transactions".into(), &error))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Client` when one is under way or the producer is fenced.
    pub fn begin(&self) -> Result<(), ClientError> {
        self.inner
            .begin_transaction()
            .map_err(|error| self.error("beginning a transaction".into(), &error))
    }

    /// Waits for all deliveries and commits.
    ///
    /// # Errors
    /// As librdkafka tells; the transaction must be aborted then, or the producer given up when it was fenced.
    pub fn commit(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .commit_transaction(limit)
            .map_err(|error| self.error("committing a transaction".into(), &error))
    }

    /// Drops what is under way.
    ///
    /// # Errors
    /// As `commit`.
    pub fn abort(&self, limit: Duration) -> Result<(), ClientError> {
        self.inner
            .abort_transaction(limit)
            .map_err(|error| self.error("aborting a transaction".into(), &error))
    }
}
