//! TxnOffsetCommit, key 28, v0–5: commits offsets of a group when the transaction is committed.
//! v2 leader epoch · v3 flexible, member and generation (KIP-447) · v4 TRANSACTION_ABORTABLE · v5 adds the group by itself (KIP-890).
//! The transaction coordinator looks at it first and hands it on. Rules: broker_state::groups::transactions.

use broker_state::groups::{
    self, CommitOffsets, CommitPartition, CommitTopic, CommittedTopic, Generation,
};
use broker_state::producer_ids::ProducerIdentity;
use broker_state::transactions::{AddPartitions, Command, VERSION_2, VerifyPartitions};
use wire::txn_offset_commit::{Partition, PartitionResult, Request, Response, Topic, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;
use crate::transactions::offsets_partition;

pub const API: Api = Api::all(ApiKey::TxnOffsetCommit, 0, 5);

const KNOWS_ABORTABLE: i16 = 4;
const ADDS_GROUP: i16 = 5;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let version = call.header.api_version;
    let image = connection.core.image();
    let mut refused = Vec::new();
    let topics: Vec<CommitTopic> = request
        .topics
        .iter()
        .filter_map(|topic| known_part(&image, topic, &mut refused))
        .collect();
    let mut results = if topics.is_empty() {
        Vec::new()
    } else {
        commit(connection, &request, topics, version).await
    };
    results.append(&mut refused);
    Response {
        topics: results,
        ..Response::default()
    }
}

async fn commit(
    connection: &Connection,
    request: &Request<'_>,
    topics: Vec<CommitTopic>,
    version: i16,
) -> Vec<TopicResult<'static>> {
    let producer = ProducerIdentity {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    };
    let (topic, index) = offsets_partition();
    let id = request.transactional_id.into();
    let enter = if version >= ADDS_GROUP {
        Command::AddPartitions(AddPartitions {
            id,
            producer,
            partitions: [(topic, [index].into())].into(),
            client_version: VERSION_2,
        })
    } else {
        Command::VerifyPartitions(VerifyPartitions {
            id,
            producer,
            partitions: vec![(topic, index)],
        })
    };
    let asked: Vec<(groups::TopicName, Vec<i32>)> = topics.iter().map(partitions_of).collect();
    let commit = groups::Command::CommitOffsetsInTransaction {
        producer,
        commit: CommitOffsets {
            group: request.group_id.into(),
            member_id: request.member_id.into(),
            instance_id: request.group_instance_id.map(Into::into),
            generation: Generation(request.generation_id),
            retention: None,
            knows_member_epochs: true,
            topics,
        },
    };
    if request.group_id.is_empty() {
        return refuse_all(asked, ErrorCode::InvalidGroupId);
    }
    match connection
        .core
        .transactions
        .commit_offsets(enter, commit)
        .await
    {
        Ok(groups::Reply::CommitOffsets(topics)) => topics.into_iter().map(committed).collect(),
        Ok(_) => refuse_all(asked, ErrorCode::CoordinatorNotAvailable),
        Err(error) => refuse_all(asked, of_version(error, version)),
    }
}

/// What of a topic can be committed; partitions that it does not have are refused.
fn known_part(
    image: &ClusterImage,
    topic: &Topic<'_>,
    refused: &mut Vec<TopicResult<'static>>,
) -> Option<CommitTopic> {
    let found = image.topic(topic.name);
    let exists = |partition: &&Partition<'_>| {
        found.is_some_and(|found| found.partition(partition.partition_index).is_some())
    };
    let (known, unknown): (Vec<_>, Vec<_>) = topic.partitions.iter().partition(exists);
    if !unknown.is_empty() {
        let unknown = unknown.iter().map(|partition| partition.partition_index);
        refused.push(refuse(
            topic.name,
            unknown,
            ErrorCode::UnknownTopicOrPartition,
        ));
    }
    let found = found.filter(|_| !known.is_empty())?;
    let partitions = known.into_iter().map(|partition| CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map(str::to_owned),
    });
    Some(CommitTopic {
        topic: topic.name.into(),
        topic_id: found.id,
        partitions: partitions.collect(),
    })
}

fn partitions_of(topic: &CommitTopic) -> (groups::TopicName, Vec<i32>) {
    let partitions = topic.partitions.iter();
    (
        topic.topic.clone(),
        partitions.map(|partition| partition.partition).collect(),
    )
}

/// What the transaction coordinator refuses, as clients of this version know it: as for Produce.
fn of_version(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < KNOWS_ABORTABLE => ErrorCode::InvalidTxnState,
        other => other,
    }
}

fn committed(topic: CommittedTopic) -> TopicResult<'static> {
    let partitions = topic.partitions.into_iter();
    TopicResult {
        name: topic.topic.as_str().to_owned().into(),
        partitions: partitions
            .map(|(partition_index, error)| PartitionResult {
                partition_index,
                error_code: of_group(error).code(),
            })
            .collect(),
    }
}

/// Errors of newer groups under the name that all versions up to 5 know.
fn of_group(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::GroupIdNotFound | ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
        other => other,
    }
}

fn refuse_all(
    topics: Vec<(groups::TopicName, Vec<i32>)>,
    error: ErrorCode,
) -> Vec<TopicResult<'static>> {
    let topics = topics.into_iter();
    topics
        .map(|(topic, partitions)| refuse(topic.as_str(), partitions.into_iter(), error))
        .collect()
}

fn refuse(
    topic: &str,
    partitions: impl Iterator<Item = i32>,
    error: ErrorCode,
) -> TopicResult<'static> {
    TopicResult {
        name: topic.to_owned().into(),
        partitions: partitions
            .map(|partition_index| PartitionResult {
                partition_index,
                error_code: error.code(),
            })
            .collect(),
    }
}
