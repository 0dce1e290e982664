//! Lets the batches of transactions in: each must belong to the transaction that its producer has open.
//!
//! The first batch of a transaction in a partition is added to it (v12, KIP-890) or looked up there; those after it find the
//! transaction open in the partition and nobody is asked. The shard has the last word, as the transaction may end meanwhile.

use std::sync::Arc;

use broker_state::groups::TopicName;
use broker_state::producer_ids::ProducerIdentity;
use broker_state::transactions::{
    AddPartitions, Command, Partitions, TransactionalId, VERSION_2, VerifyPartitions,
};
use wire::ErrorCode;
use wire::produce::Request;

use super::{AppendOutcome, Checked, PendingPartition, PendingTopic};
use crate::connection::Connection;
use crate::shard::Slot;

/// Since this version clients know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 11;
/// Since this version partitions are added by themselves.
const ADDS_PARTITIONS: i16 = 12;

/// Refuses the transactional batches that may not be appended, and notes for the others when that was found.
pub async fn verify(
    connection: &Connection,
    request: &Request<'_>,
    version: i16,
    topics: &mut [PendingTopic],
) {
    let batches: Vec<&mut PendingPartition> = transactional(topics).collect();
    if batches.is_empty() {
        return;
    }
    let (producer, id) = match one_producer(&batches, request.transactional_id) {
        Ok(found) => found,
        Err((error, message)) => {
            return refuse(batches, |_| AppendOutcome::refused(error, message));
        }
    };
    let is_new = |batch: &&mut PendingPartition| {
        let ProducerIdentity {
            producer_id,
            producer_epoch,
        } = producer;
        checked(batch).is_some_and(|batch| {
            let partition = &batch.item.partition;
            !partition.has_open_transaction(producer_id, producer_epoch)
        })
    };
    let unverified: Vec<&mut PendingPartition> = batches.into_iter().filter(is_new).collect();
    if unverified.is_empty() {
        return;
    }
    let partitions: Vec<Slot> = unverified
        .iter()
        .filter_map(|batch| checked(batch))
        .map(|batch| Arc::clone(&batch.item.partition))
        .collect();
    let command = command(id, producer, &partitions, version);
    // Waiting here keeps the requests of this connection in their order.
    let admitted = connection.core.transactions.admit(command, partitions);
    match Box::pin(admitted).await {
        Ok(verified) => {
            for (batch, verified) in unverified.into_iter().zip(verified) {
                match (verified, batch) {
                    (Ok(offset), PendingPartition::Checked(batch)) => {
                        batch.item.verified_at = Some(offset);
                    }
                    (Ok(_), _) => {}
                    (Err(error), batch) => {
                        refuse([batch], |partition| refusal(error, version, partition))
                    }
                }
            }
        }
        Err(error) => refuse(unverified, |partition| refusal(error, version, partition)),
    }
}

/// The batches that belong to a transaction.
fn transactional(topics: &mut [PendingTopic]) -> impl Iterator<Item = &mut PendingPartition> {
    let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    let batches = partitions.map(|(_, pending)| pending);
    batches.filter(|pending| {
        checked(pending).is_some_and(|batch| batch.item.batch.header().is_transactional())
    })
}

fn checked(pending: &PendingPartition) -> Option<&Checked> {
    match pending {
        PendingPartition::Checked(checked) => Some(checked),
        _ => None,
    }
}

/// Who writes: a request has one transactional producer.
fn one_producer(
    batches: &[&mut PendingPartition],
    transactional_id: Option<&str>,
) -> Result<(ProducerIdentity, TransactionalId), (ErrorCode, &'static str)> {
    let mut producers = batches
        .iter()
        .filter_map(|batch| checked(batch))
        .map(|batch| {
            let header = batch.item.batch.header();
            ProducerIdentity {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
            }
        });
    let first = producers.next().expect("called with batches");
    if producers.any(|other| other != first) {
        let message = "the batches of a request are of several transactional producers";
        return Err((ErrorCode::InvalidProducerIdMapping, message));
    }
    match transactional_id {
        Some(id) => Ok((first, id.into())),
        None => {
            let message = "a transactional batch comes without a transactional id";
            Err((ErrorCode::TransactionalIdAuthorizationFailed, message))
        }
    }
}

fn command(
    id: TransactionalId,
    producer: ProducerIdentity,
    partitions: &[Slot],
    version: i16,
) -> Command {
    let named = partitions
        .iter()
        .map(|partition| (TopicName::from(partition.topic.as_ref()), partition.index));
    if version < ADDS_PARTITIONS {
        return Command::VerifyPartitions(VerifyPartitions {
            id,
            producer,
            partitions: named.collect(),
        });
    }
    let mut added = Partitions::new();
    for (topic, index) in named {
        added.entry(topic).or_default().insert(index);
    }
    Command::AddPartitions(AddPartitions {
        id,
        producer,
        partitions: added,
        client_version: VERSION_2,
    })
}

fn refuse<'a>(
    batches: impl IntoIterator<Item = &'a mut PendingPartition>,
    outcome: impl Fn(&Slot) -> AppendOutcome,
) {
    for batch in batches {
        if let PendingPartition::Checked(checked) = batch {
            *batch = PendingPartition::Done(outcome(&checked.item.partition));
        }
    }
}

/// What the transaction coordinator refuses, as producers of this version know it.
fn refusal(error: ErrorCode, version: i16, partition: &Slot) -> AppendOutcome {
    let told = match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < KNOWS_ABORTABLE => ErrorCode::InvalidTxnState,
        // Producers of the older protocol try again after this one, and do not know the other here.
        ErrorCode::ConcurrentTransactions if version < ADDS_PARTITIONS => {
            ErrorCode::NotEnoughReplicas
        }
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotEnoughReplicas,
        other => other,
    };
    let reason = error.message();
    let text =
        format!("the batch for {partition:?} is in no open transaction of its producer: {reason}");
    AppendOutcome::refused(told, text)
}
