//! DeleteShareGroupOffsets, key 92, v0: lets a share group without members forget topics.
//! Should it read them again, it begins where `share.auto.offset.reset` says. Rules: broker_state::share_partitions.

use broker_state::groups::{Command, GroupId, Reply, ShareCommand, ShareReply};
use broker_state::share_partitions::Command as PartitionsCommand;
use wire::delete_share_group_offsets::{Request, Response, TopicResponse};
use wire::{ApiKey, ErrorCode, Uuid};

use super::alter_share_group_offsets::without_members;
use super::{Api, Call};
use crate::connection::Connection;
use crate::core::Core;

pub const API: Api = Api::all(ApiKey::DeleteShareGroupOffsets, 0, 0);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    match delete(&connection.core, &request).await {
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

async fn delete(
    core: &Core,
    request: &Request<'_>,
) -> Result<Vec<TopicResponse<'static>>, ErrorCode> {
    let group = GroupId::from(request.group_id);
    let inspected = without_members(core, &group).await?;
    let image = core.image();
    let mut responses = Vec::with_capacity(request.topics.len());
    let mut found = Vec::new();
    for wanted in &request.topics {
        let topic = image.topic(wanted.topic_name);
        // A group that has nothing of the topic has no more to forget: that is no error, as in Kafka.
        let error = match topic {
            None => ErrorCode::UnknownTopicOrPartition,
            Some(_) => ErrorCode::None,
        };
        let topic_id = topic.map_or(Uuid::ZERO, |topic| topic.id);
        if inspected.initialized.contains_key(&topic_id) {
            found.push(topic_id);
        }
        responses.push(TopicResponse {
            topic_name: wanted.topic_name.to_owned().into(),
            topic_id,
            error_code: error.code(),
            error_message: (error != ErrorCode::None).then(|| error.message().into()),
        });
    }
    if found.is_empty() {
        return Ok(responses);
    }
    let topics = Some(found.clone());
    let command = PartitionsCommand::Delete {
        group: group.clone(),
        topics,
    };
    core.share_done(command).await?;
    let topics = found;
    let command = ShareCommand::Uninitialized { group, topics };
    match core.coordinator.ask(Command::Share(command)).await {
        Some(Reply::Share(ShareReply::Done(ErrorCode::None))) => Ok(responses),
        Some(Reply::Share(ShareReply::Done(error))) => Err(error),
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    }
}
