//! ConsumerGroupHeartbeat, key 68, v0–1: joins, keeps and leaves a group whose partitions the broker assigns (KIP-848).
//! v1 subscription by regular expression, the consumer makes its member id (KIP-1082). Rules: broker_state::groups::consumer.

use std::time::Duration;

use broker_state::features::GROUP_VERSION;
use broker_state::groups::{
    Command, ConsumerHeartbeat, ConsumerHeartbeatReply, MemberId, Partitions, Reply,
};
use broker_state::refusal::Refusal;
use wire::consumer_group_heartbeat::{Assignment, Request, Response, TopicPartitions};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::entropy;

pub const API: Api = Api::all(ApiKey::ConsumerGroupHeartbeat, 0, 1);

/// Since this version the consumer makes its member id.
const CONSUMER_MAKES_ID: i16 = 1;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    if connection.core.image().features().level(GROUP_VERSION) < 1 {
        let message = "group.version is 0: groups of the consumer protocol are not in use";
        return refused(&Refusal::new(ErrorCode::UnsupportedVersion, message));
    }
    let is_joining = request.member_epoch == 0;
    let makes_id = call.header.api_version < CONSUMER_MAKES_ID && is_joining;
    let member_id = if request.member_id.is_empty() && makes_id {
        match entropy::uuid() {
            Some(entropy) => MemberId::from(entropy::hyphenated(entropy)),
            None => return unavailable(),
        }
    } else {
        request.member_id.into()
    };
    let command = Command::ConsumerHeartbeat(ConsumerHeartbeat {
        group: request.group_id.into(),
        member_id,
        epoch: request.member_epoch,
        instance_id: request.instance_id.map(Into::into),
        rack_id: request.rack_id.map(str::to_owned),
        client_id: call.header.client_id.unwrap_or_default().to_owned(),
        client_host: format!("/{}", connection.peer.ip().to_canonical()),
        rebalance_timeout: u64::try_from(request.rebalance_timeout_ms)
            .ok()
            .map(Duration::from_millis),
        topics: request
            .subscribed_topic_names
            .map(|topics| topics.into_iter().map(Into::into).collect()),
        regex: request.subscribed_topic_regex.map(str::to_owned),
        assignor: request.server_assignor.map(str::to_owned),
        owned: request.topic_partitions.map(|topics| {
            let owned = topics.into_iter();
            owned
                .map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()))
                .collect()
        }),
    });
    match connection.core.coordinator.ask(command).await {
        Some(Reply::ConsumerHeartbeat(Ok(reply))) => respond(reply),
        Some(Reply::ConsumerHeartbeat(Err(refusal))) => refused(&refusal),
        _ => unavailable(),
    }
}

fn respond(reply: ConsumerHeartbeatReply) -> Response<'static> {
    let interval = reply.heartbeat_interval.as_millis();
    Response {
        member_id: Some(reply.member_id.as_str().to_owned().into()),
        member_epoch: reply.epoch,
        heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
        assignment: reply.assignment.map(assignment),
        ..Response::default()
    }
}

fn assignment(partitions: Partitions) -> Assignment {
    let topics = partitions
        .into_iter()
        .map(|(topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions: partitions.into_iter().collect(),
        });
    Assignment {
        topic_partitions: topics.collect(),
    }
}

fn refused(refusal: &Refusal) -> Response<'static> {
    Response {
        error_code: refusal.error.code(),
        error_message: Some(refusal.message.clone().into()),
        ..Response::default()
    }
}

fn unavailable() -> Response<'static> {
    Response {
        error_code: ErrorCode::CoordinatorNotAvailable.code(),
        ..Response::default()
    }
}
