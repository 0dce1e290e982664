//! OffsetFetch, key 9, v1–10: how far groups have come.
//! v2 null means all topics · v5 leader epoch · v6 flexible · v7 require stable · v8 several groups · v9 member epoch · v10 topic ids.
//! Rules: broker_state::groups::offsets.

use broker_state::groups::{
    Command, FetchOffsets, FetchReply, FetchTopic, FetchedPartition, FetchedTopic, Reply,
};
use wire::offset_fetch::{
    Group, GroupPartitionResponse, GroupResponse, GroupTopicResponse, PartitionResponse, Request,
    Response, TopicResponse,
};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::OffsetFetch, 1, 10);

/// Since this version several groups are asked for.
const BATCHED: i16 = 8;
/// Since this version topics are named by their ids.
const BY_ID: i16 = 10;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let version = call.header.api_version;
    let image = connection.core.image();
    if version < BATCHED {
        return answer_one(connection, &image, &request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in &request.groups {
        groups.push(
            answer_group(
                connection,
                &image,
                group,
                version >= BY_ID,
                request.require_stable,
            )
            .await,
        );
    }
    Response {
        groups,
        ..Response::default()
    }
}

/// The form with one group. Version 1 has no error for the whole: each partition carries it.
async fn answer_one(
    connection: &Connection,
    image: &ClusterImage,
    request: &Request<'_>,
) -> Response<'static> {
    let topic = |t: &wire::offset_fetch::Topic<'_>| FetchTopic {
        topic: t.name.into(),
        topic_id: id_of(image, t.name),
        partitions: t.partition_indexes.clone(),
    };
    let topics = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(topic).collect());
    let mut reply = ask(
        connection,
        fetch(request.group_id, topics, request.require_stable),
    )
    .await;
    if reply.error != ErrorCode::None {
        let asked = request.topics.iter().flatten();
        reply.topics = asked.map(|topic| refused(topic, reply.error)).collect();
    }
    let current = reply
        .topics
        .into_iter()
        .filter(|topic| is_current(topic, image));
    Response {
        topics: current.map(fetched).collect(),
        error_code: reply.error.code(),
        ..Response::default()
    }
}

/// The id that a name stands for now: offsets that were committed in an earlier topic of that name do not count.
fn id_of(image: &ClusterImage, name: &str) -> Uuid {
    image.topic(name).map_or(Uuid::ZERO, |topic| topic.id)
}

/// Whether an offset was not committed in an earlier topic of the same name.
fn is_current(topic: &FetchedTopic, image: &ClusterImage) -> bool {
    let current = id_of(image, topic.topic.as_str());
    topic.topic_id == current || topic.topic_id.is_zero() || current.is_zero()
}

fn refused(topic: &wire::offset_fetch::Topic<'_>, error: ErrorCode) -> FetchedTopic {
    let partition = |&partition: &i32| FetchedPartition {
        partition,
        offset: -1,
        leader_epoch: -1,
        metadata: String::new(),
        error,
    };
    FetchedTopic {
        topic: topic.name.into(),
        topic_id: Uuid::ZERO,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}

async fn answer_group(
    connection: &Connection,
    image: &ClusterImage,
    group: &Group<'_>,
    by_id: bool,
    require_stable: bool,
) -> GroupResponse<'static> {
    let mut unknown = Vec::new();
    let topics = group.topics.as_ref().map(|topics| {
        let mut known = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = if by_id {
                image
                    .topic_by_id(topic.topic_id)
                    .map(|found| found.name.as_ref())
            } else {
                Some(topic.name)
            };
            match name {
                Some(name) => known.push(FetchTopic {
                    topic: name.into(),
                    topic_id: if by_id {
                        topic.topic_id
                    } else {
                        id_of(image, name)
                    },
                    partitions: topic.partition_indexes.clone(),
                }),
                None => unknown.push(unknown_topic(topic.topic_id, &topic.partition_indexes)),
            }
        }
        known
    });
    let asked = FetchOffsets {
        member_id: group.member_id.map(Into::into),
        member_epoch: group.member_epoch,
        ..fetch(group.group_id, topics, require_stable)
    };
    let reply = ask(connection, asked).await;
    let topics = reply
        .topics
        .into_iter()
        .filter(|topic| is_current(topic, image))
        .filter_map(|topic| fetched_in_group(topic, image, by_id))
        .chain(unknown);
    GroupResponse {
        group_id: group.group_id.to_owned().into(),
        topics: topics.collect(),
        error_code: reply.error.code(),
    }
}

/// What an administrator asks, or a client of a version that does not say who it is.
fn fetch(group: &str, topics: Option<Vec<FetchTopic>>, require_stable: bool) -> FetchOffsets {
    FetchOffsets {
        group: group.into(),
        member_id: None,
        member_epoch: -1,
        topics,
        require_stable,
    }
}

async fn ask(connection: &Connection, fetch: FetchOffsets) -> FetchReply {
    let command = Command::FetchOffsets(fetch);
    match connection.core.coordinator.ask(command).await {
        Some(Reply::FetchOffsets(reply)) => reply,
        _ => FetchReply {
            error: ErrorCode::CoordinatorNotAvailable,
            topics: Vec::new(),
        },
    }
}

fn fetched(topic: FetchedTopic) -> TopicResponse<'static> {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionResponse {
            partition_index: partition.partition,
            committed_offset: partition.offset,
            committed_leader_epoch: partition.leader_epoch,
            metadata: Some(partition.metadata.into()),
            error_code: partition.error.code(),
        });
    TopicResponse {
        name: topic.topic.as_str().to_owned().into(),
        partitions: partitions.collect(),
    }
}

/// None for a topic that has no id to be named by: it has been deleted.
fn fetched_in_group(
    topic: FetchedTopic,
    image: &ClusterImage,
    by_id: bool,
) -> Option<GroupTopicResponse<'static>> {
    let topic_id = if by_id {
        image.topic(topic.topic.as_str())?.id
    } else {
        topic.topic_id
    };
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| GroupPartitionResponse {
            partition_index: partition.partition,
            committed_offset: partition.offset,
            committed_leader_epoch: partition.leader_epoch,
            metadata: Some(partition.metadata.into()),
            error_code: partition.error.code(),
        });
    Some(GroupTopicResponse {
        name: topic.topic.as_str().to_owned().into(),
        topic_id,
        partitions: partitions.collect(),
    })
}

fn unknown_topic(topic_id: Uuid, partitions: &[i32]) -> GroupTopicResponse<'static> {
    let partitions = partitions
        .iter()
        .map(|&partition_index| GroupPartitionResponse {
            partition_index,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some("".into()),
            error_code: ErrorCode::UnknownTopicId.code(),
        });
    GroupTopicResponse {
        topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}
