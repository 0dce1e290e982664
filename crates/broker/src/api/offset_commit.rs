//! OffsetCommit, key 8, v2–10: records how far a group has come.
//! v5 without a retention time · v6 leader epoch · v7 group instance id · v8 flexible · v9 member epoch (KIP-848) · v10 topic ids.
//! Rules: broker_state::groups::offsets.

use std::sync::Arc;
use std::time::Duration;

use broker_state::groups::{
    Command, CommitOffsets, CommitPartition, CommitTopic, CommittedTopic, Generation, Reply,
};
use wire::offset_commit::{PartitionResponse, Request, Response, Topic, TopicResponse};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::OffsetCommit, 2, 10);

const KNOWS_MEMBER_EPOCHS: i16 = 9;
/// Since this version topics are named by their ids.
const BY_ID: i16 = 10;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let by_id = call.header.api_version >= BY_ID;
    let image = connection.core.image();
    let mut refused = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let found = if by_id {
            image.topic_by_id(topic.topic_id)
        } else {
            image.topic(topic.name)
        };
        match found {
            Some(found) => topics.push(commit(topic, found, &mut refused)),
            None if by_id => refused.push(refuse(
                topic,
                topic.partitions.iter(),
                ErrorCode::UnknownTopicId,
            )),
            None => refused.push(refuse(
                topic,
                topic.partitions.iter(),
                ErrorCode::UnknownTopicOrPartition,
            )),
        }
    }
    let command = Command::CommitOffsets(CommitOffsets {
        group: request.group_id.into(),
        member_id: request.member_id.into(),
        instance_id: request.group_instance_id.map(Into::into),
        generation: Generation(request.generation_id_or_member_epoch),
        knows_member_epochs: call.header.api_version >= KNOWS_MEMBER_EPOCHS,
        retention: u64::try_from(request.retention_time_ms)
            .ok()
            .map(Duration::from_millis),
        topics,
    });
    let mut topics = match connection.core.coordinator.ask(command).await {
        Some(Reply::CommitOffsets(topics)) => {
            let committed = |topic| committed(topic, call.header.api_version);
            topics.into_iter().map(committed).collect()
        }
        _ => {
            let refuse = |topic| {
                refuse(
                    topic,
                    topic.partitions.iter(),
                    ErrorCode::CoordinatorNotAvailable,
                )
            };
            request.topics.iter().map(refuse).collect::<Vec<_>>()
        }
    };
    topics.append(&mut refused);
    Response {
        topics,
        ..Response::default()
    }
}

/// What of a topic can be committed; partitions that it does not have are refused.
fn commit(
    topic: &Topic<'_>,
    found: &Arc<cluster::Topic>,
    refused: &mut Vec<TopicResponse<'static>>,
) -> CommitTopic {
    let (known, unknown): (Vec<_>, Vec<_>) = topic
        .partitions
        .iter()
        .partition(|partition| found.partition(partition.partition_index).is_some());
    if !unknown.is_empty() {
        refused.push(refuse(
            topic,
            unknown.into_iter(),
            ErrorCode::UnknownTopicOrPartition,
        ));
    }
    let partitions = known.into_iter().map(|partition| CommitPartition {
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.map(str::to_owned),
    });
    CommitTopic {
        topic: found.name.as_ref().into(),
        topic_id: found.id,
        partitions: partitions.collect(),
    }
}

fn committed(topic: CommittedTopic, version: i16) -> TopicResponse<'static> {
    let partition = |(partition_index, error): (i32, ErrorCode)| {
        // Clients know this error of a commit since version 9 (KIP-848).
        let is_new = error == ErrorCode::GroupIdNotFound && version < KNOWS_MEMBER_EPOCHS;
        let error = if is_new {
            ErrorCode::IllegalGeneration
        } else {
            error
        };
        PartitionResponse {
            partition_index,
            error_code: error.code(),
        }
    };
    TopicResponse {
        name: topic.topic.as_str().to_owned().into(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    }
}

fn refuse<'a>(
    topic: &Topic<'_>,
    partitions: impl Iterator<Item = &'a wire::offset_commit::Partition<'a>>,
    error: ErrorCode,
) -> TopicResponse<'static> {
    let partition = |p: &wire::offset_commit::Partition<'_>| PartitionResponse {
        partition_index: p.partition_index,
        error_code: error.code(),
    };
    TopicResponse {
        name: topic.name.to_owned().into(),
        topic_id: topic.topic_id,
        partitions: partitions.map(partition).collect(),
    }
}
