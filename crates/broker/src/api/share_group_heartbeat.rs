//! ShareGroupHeartbeat, key 76, v1: a member of a share group joins, says that it is there, learns its partitions, leaves.
//! v0 was early access. Rules: broker_state::groups::share.

use broker_state::groups::{
    Command, GroupId, Reply, ShareCommand, ShareHeartbeat, ShareHeartbeatReply, ShareReply,
    ShareTimes, ToInitialize,
};
use broker_state::share_partitions::{Command as PartitionsCommand, Initialize};
use wire::share_group_heartbeat::{Assignment, Request, Response, TopicPartitions};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::core::Core;

pub const API: Api = Api::all(ApiKey::ShareGroupHeartbeat, 1, 1);

pub async fn handle<'a>(
    connection: &Connection,
    request: Request<'a>,
    call: &Call<'_>,
) -> Response<'a> {
    let core = &connection.core;
    if !core.serves_share_groups() {
        return refused(ErrorCode::UnsupportedVersion, "share.version is 0");
    }
    let group = GroupId::from(request.group_id);
    let image = core.image();
    let config = &image.group_config(request.group_id).share;
    let topics = request.subscribed_topic_names.as_ref();
    let heartbeat = ShareHeartbeat {
        group: group.clone(),
        member_id: request.member_id.into(),
        member_epoch: request.member_epoch,
        rack_id: request.rack_id.map(str::to_owned),
        client_id: call.header.client_id.unwrap_or_default().to_owned(),
        client_host: format!("/{}", connection.peer.ip().to_canonical()),
        topics: topics.map(|topics| topics.iter().map(|topic| (*topic).into()).collect()),
        times: Some(ShareTimes {
            session_timeout: config.session_timeout,
            heartbeat_interval: config.heartbeat_interval,
        }),
    };
    let command = Command::Share(ShareCommand::Heartbeat(heartbeat));
    let reply = match core.coordinator.ask(command).await {
        Some(Reply::Share(ShareReply::Heartbeat(Ok(reply)))) => reply,
        Some(Reply::Share(ShareReply::Heartbeat(Err(refusal)))) => {
            return refused(refusal.error, refusal.message);
        }
        _ => return refused(ErrorCode::CoordinatorNotAvailable, "the broker stops"),
    };
    if let Err(error) = initialize(core, group, &reply).await {
        return refused(error, "the share partitions cannot be initialized");
    }
    respond(request.member_id, reply)
}

/// Makes the state of partitions that the group has not had yet, before the member hears of them.
async fn initialize(
    core: &Core,
    group: GroupId,
    reply: &ShareHeartbeatReply,
) -> Result<(), ErrorCode> {
    if reply.initialize.is_empty() {
        return Ok(());
    }
    let start = |topic: &ToInitialize| topic.is_from_the_beginning.then_some(0);
    let partitions = reply.initialize.iter().flat_map(|topic| {
        let of_topic = topic.partitions.iter();
        of_topic.map(move |partition| (topic.topic_id, *partition, start(topic)))
    });
    let command = PartitionsCommand::Initialize(Initialize {
        group: group.clone(),
        state_epoch: reply.group_epoch,
        partitions: partitions.collect(),
        is_reset: false,
    });
    core.share_done(command).await?;
    let topics = reply.initialize.iter();
    let topics = topics.map(|topic| {
        let ToInitialize {
            topic_id,
            name,
            partitions,
            ..
        } = topic;
        (*topic_id, name.clone(), partitions.clone())
    });
    let topics = topics.collect();
    let command = ShareCommand::Initialized { group, topics };
    match core.coordinator.ask(Command::Share(command)).await {
        Some(Reply::Share(ShareReply::Done(ErrorCode::None))) => Ok(()),
        Some(Reply::Share(ShareReply::Done(error))) => Err(error),
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

fn respond(member_id: &str, reply: ShareHeartbeatReply) -> Response<'_> {
    let assignment = reply.assignment.map(|topics| {
        let topics = topics.into_iter();
        let topics = topics.map(|(topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions: partitions.into_iter().collect(),
        });
        Assignment {
            topic_partitions: topics.collect(),
        }
    });
    Response {
        member_id: Some(member_id.into()),
        member_epoch: reply.member_epoch,
        heartbeat_interval_ms: reply.heartbeat_interval_ms,
        assignment,
        ..Response::default()
    }
}

fn refused(error: ErrorCode, message: impl Into<String>) -> Response<'static> {
    Response {
        error_code: error.code(),
        error_message: Some(message.into().into()),
        ..Response::default()
    }
}
