//! Partitions of a transaction: added before the first batch, verified with it.

use wire::ErrorCode;

use super::command::{AddPartitions, VerifyPartitions};
use super::init::check_id;
use super::transaction::{State, Transaction};
use super::{Outcome, Step, Transactions};
use crate::producer_ids::ProducerIdentity;

impl Transactions {
    /// Opens a transaction with these partitions, or adds them to the open one.
    pub(super) fn add(
        &mut self,
        add: &AddPartitions,
        step: &mut Step<'_>,
    ) -> Outcome<Result<(), ErrorCode>> {
        if let Err(error) = check_id(&add.id) {
            return Outcome::refused(error);
        }
        let known = match self.known(add.id.as_str(), add.producer) {
            Ok(known) => known,
            Err(error) => return self.wait_or_refuse(add, error),
        };
        if known.state.is_ending() {
            return Outcome::WaitsForEnd;
        }
        if known.state == State::Ongoing && known.contains_all(&add.partitions) {
            return Outcome::Done(Ok(()));
        }
        let next = known.with_partitions(step.now, &add.partitions, add.client_version);
        if next.partition_count() > self.settings.max_partitions {
            return Outcome::refused(ErrorCode::PolicyViolation);
        }
        self.write(&add.id, next, step);
        Outcome::Done(Ok(()))
    }

    /// A producer whose epochs are used up knows its next id as soon as the end is decided.
    fn wait_or_refuse(
        &self,
        add: &AddPartitions,
        error: ErrorCode,
    ) -> Outcome<Result<(), ErrorCode>> {
        let known = self.by_id.get(&add.id);
        let is_next = known.is_some_and(|known| {
            known.state.is_ending() && known.after_completion() == add.producer
        });
        if is_next {
            Outcome::WaitsForEnd
        } else {
            Outcome::refused(error)
        }
    }

    /// Whether the partitions are in the producer's open transaction.
    pub(super) fn verify(&self, verify: &VerifyPartitions) -> Result<Vec<ErrorCode>, ErrorCode> {
        check_id(&verify.id)?;
        let known = self.known(verify.id.as_str(), verify.producer)?;
        if known.state.is_ending() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let is_open = known.state == State::Ongoing;
        let partitions = verify.partitions.iter();
        Ok(partitions
            .map(|(topic, partition)| {
                if is_open && known.contains(topic.as_str(), *partition) {
                    ErrorCode::None
                } else {
                    ErrorCode::TransactionAbortable
                }
            })
            .collect())
    }

    /// What is known of an id, if this is its last producer.
    fn known(&self, id: &str, producer: ProducerIdentity) -> Result<&Transaction, ErrorCode> {
        let known = self
            .by_id
            .get(id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)?;
        if known.producer.producer_id != producer.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if known.producer.producer_epoch != producer.producer_epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(known)
    }
}
