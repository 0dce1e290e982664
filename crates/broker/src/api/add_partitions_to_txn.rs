//! AddPartitionsToTxn, key 24, v0–5: adds partitions to a transaction before the first batch is produced to them.
//! v2 PRODUCER_FENCED · v3 flexible · v4 several transactions, verification only: what brokers ask each other · v5 TRANSACTION_ABORTABLE.
//! From Produce v12 on clients need it no more. Rules: broker_state::transactions.

use std::borrow::Cow;

use broker_state::groups::TopicName;
use broker_state::producer_ids::ProducerIdentity;
use broker_state::transactions::{
    AddPartitions, Command, Partitions, Reply, VERSION_2, VerifyPartitions,
};
use wire::add_partitions_to_txn::{
    PartitionResult, Request, Response, Topic, TopicResult, Transaction, TransactionResult,
};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::AddPartitionsToTxn, 0, 5);

const KNOWS_FENCING: i16 = 2;
/// Since this version several transactions come in one request.
const BATCHED: i16 = 4;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let version = call.header.api_version;
    if version < BATCHED {
        let transaction = Transaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        return Response {
            results_by_topic_v3_and_below: answer(connection, &transaction, version).await,
            ..Response::default()
        };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        results.push(TransactionResult {
            transactional_id: transaction.transactional_id.to_owned().into(),
            topic_results: answer(connection, transaction, version).await,
        });
    }
    Response {
        results_by_transaction: results,
        ..Response::default()
    }
}

async fn answer(
    connection: &Connection,
    transaction: &Transaction<'_>,
    version: i16,
) -> Vec<TopicResult<'static>> {
    let image = connection.core.image();
    let unknown = |topic: &Topic<'_>, index: i32| !exists(&image, topic.name, index);
    let has_unknown = |topic: &Topic<'_>| {
        let mut partitions = topic.partitions.iter();
        partitions.any(|index| unknown(topic, *index))
    };
    if transaction.topics.iter().any(has_unknown) {
        // One that cannot be added keeps the others out.
        return results(&transaction.topics, |topic, index| {
            if unknown(topic, index) {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::OperationNotAttempted
            }
        });
    }
    if transaction.verify_only {
        return verify(connection, transaction).await;
    }
    let mut partitions = Partitions::new();
    for topic in &transaction.topics {
        let indexes: &mut std::collections::BTreeSet<i32> =
            partitions.entry(TopicName::from(topic.name)).or_default();
        indexes.extend(&topic.partitions);
    }
    let command = Command::AddPartitions(AddPartitions {
        id: transaction.transactional_id.into(),
        producer: producer(transaction),
        partitions,
        client_version: if version >= BATCHED { VERSION_2 } else { 0 },
    });
    let error = match connection.core.transactions.ask(command).await {
        Some(Reply::AddPartitions(result)) => result.err().unwrap_or(ErrorCode::None),
        _ => ErrorCode::CoordinatorNotAvailable,
    };
    let error = fencing_of(error, version >= KNOWS_FENCING);
    results(&transaction.topics, |_, _| error)
}

async fn verify(
    connection: &Connection,
    transaction: &Transaction<'_>,
) -> Vec<TopicResult<'static>> {
    let topics = transaction.topics.iter();
    let partitions = topics.flat_map(|topic| {
        let name = TopicName::from(topic.name);
        topic
            .partitions
            .iter()
            .map(move |index| (name.clone(), *index))
    });
    let command = Command::VerifyPartitions(VerifyPartitions {
        id: transaction.transactional_id.into(),
        producer: producer(transaction),
        partitions: partitions.collect(),
    });
    let verified = match connection.core.transactions.ask(command).await {
        Some(Reply::VerifyPartitions(verified)) => verified,
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    };
    match verified {
        Ok(errors) => {
            let mut errors = errors.into_iter();
            results(&transaction.topics, |_, _| {
                errors.next().unwrap_or(ErrorCode::None)
            })
        }
        Err(error) => results(&transaction.topics, |_, _| error),
    }
}

fn producer(transaction: &Transaction<'_>) -> ProducerIdentity {
    ProducerIdentity {
        producer_id: transaction.producer_id,
        producer_epoch: transaction.producer_epoch,
    }
}

fn exists(image: &ClusterImage, topic: &str, index: i32) -> bool {
    let topic = image.topic(topic);
    topic.is_some_and(|topic| topic.partition(index).is_some())
}

/// PRODUCER_FENCED under the name that older clients know.
pub fn fencing_of(error: ErrorCode, knows_fencing: bool) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if !knows_fencing => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}

fn results(
    topics: &[Topic<'_>],
    mut error: impl FnMut(&Topic<'_>, i32) -> ErrorCode,
) -> Vec<TopicResult<'static>> {
    let mut of_topic = |topic: &Topic<'_>| {
        let partitions = topic.partitions.iter();
        TopicResult {
            name: Cow::Owned(topic.name.to_owned()),
            results_by_partition: partitions
                .map(|&partition_index| PartitionResult {
                    partition_index,
                    partition_error_code: error(topic, partition_index).code(),
                })
                .collect(),
        }
    };
    topics.iter().map(&mut of_topic).collect()
}
