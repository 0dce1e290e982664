//! AlterShareGroupOffsets, key 91, v0: moves a share group without members to other offsets.
//! What it had done there is forgotten. Rules: broker_state::share_partitions.

use broker_state::groups::{
    Command, GroupId, InspectedShareGroup, Reply, ShareCommand, ShareReply, TopicName,
};
use broker_state::share_partitions::{Command as PartitionsCommand, Initialize};
use wire::alter_share_group_offsets::{PartitionResponse, Request, Response, Topic, TopicResponse};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;
use crate::core::Core;

pub const API: Api = Api::all(ApiKey::AlterShareGroupOffsets, 0, 0);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    match alter(&connection.core, &request).await {
        Ok(responses) => Response {
            responses,
            ..Response::default()
        },
        Err(error) => Response {
            error_code: error.code(),
            error_message: Some(error.message().into()),
            ..Response::default()
        },
    }
}

async fn alter(
    core: &Core,
    request: &Request<'_>,
) -> Result<Vec<TopicResponse<'static>>, ErrorCode> {
    let group = GroupId::from(request.group_id);
    let inspected = match without_members(core, &group).await {
        // As in Kafka a group begins with its offsets, if it has had no members yet.
        Err(ErrorCode::GroupIdNotFound) => {
            ask(core, ShareCommand::Create(group.clone())).await?;
            without_members(core, &group).await?
        }
        inspected => inspected?,
    };
    let image = core.image();
    let mut resets = Resets::default();
    let topics = request.topics.iter();
    let responses = topics
        .map(|topic| resets.take(&image, topic))
        .collect::<Vec<_>>();
    if resets.partitions.is_empty() {
        return Ok(responses);
    }
    let command = PartitionsCommand::Initialize(Initialize {
        group: group.clone(),
        state_epoch: inspected.epoch,
        partitions: resets.partitions,
        is_reset: true,
    });
    core.share_done(command).await?;
    let topics = resets.topics;
    ask(core, ShareCommand::Initialized { group, topics }).await?;
    Ok(responses)
}

async fn ask(core: &Core, command: ShareCommand) -> Result<(), ErrorCode> {
    match core.coordinator.ask(Command::Share(command)).await {
        Some(Reply::Share(ShareReply::Done(ErrorCode::None))) => Ok(()),
        Some(Reply::Share(ShareReply::Done(error))) => Err(error),
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

/// Looks at a share group whose offsets are to be changed.
///
/// # Errors
/// `GROUP_ID_NOT_FOUND`, and `NON_EMPTY_GROUP` while it has members.
pub async fn without_members(
    core: &Core,
    group: &GroupId,
) -> Result<InspectedShareGroup, ErrorCode> {
    if !core.serves_share_groups() {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let command = Command::Share(ShareCommand::Inspect(group.clone()));
    match core.coordinator.ask(command).await {
        Some(Reply::Share(ShareReply::Inspect(Ok(group)))) if group.has_members => {
            Err(ErrorCode::NonEmptyGroup)
        }
        Some(Reply::Share(ShareReply::Inspect(inspected))) => inspected,
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

#[derive(Default)]
struct Resets {
    partitions: Vec<(Uuid, i32, Option<i64>)>,
    topics: Vec<(Uuid, TopicName, Vec<i32>)>,
}

impl Resets {
    /// Takes what can be done of one topic, and says what cannot.
    fn take(&mut self, image: &ClusterImage, wanted: &Topic<'_>) -> TopicResponse<'static> {
        let topic = image.topic(wanted.topic_name);
        let mut responses = Vec::with_capacity(wanted.partitions.len());
        let mut indices = Vec::new();
        for partition in &wanted.partitions {
            let index = partition.partition_index;
            let is_there = topic.is_some_and(|topic| topic.partition(index).is_some());
            let error = match is_there {
                false => ErrorCode::UnknownTopicOrPartition,
                true if partition.start_offset < 0 => ErrorCode::InvalidRequest,
                true => ErrorCode::None,
            };
            if let (Some(topic), ErrorCode::None) = (topic, error) {
                let start = Some(partition.start_offset);
                self.partitions.push((topic.id, index, start));
                indices.push(index);
            }
            let is_error = error != ErrorCode::None;
            responses.push(PartitionResponse {
                partition_index: index,
                error_code: error.code(),
                error_message: is_error.then(|| error.message().into()),
            });
        }
        if let Some(topic) = topic.filter(|_| !indices.is_empty()) {
            let name = TopicName::from(wanted.topic_name);
            self.topics.push((topic.id, name, indices));
        }
        TopicResponse {
            topic_name: wanted.topic_name.to_owned().into(),
            topic_id: topic.map_or(Uuid::ZERO, |topic| topic.id),
            partitions: responses,
        }
    }
}
