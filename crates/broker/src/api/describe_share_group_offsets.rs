//! DescribeShareGroupOffsets, key 90, v0–1: where share groups are in their partitions.
//! v1 lag (KIP-1226). Rules: broker_state::share_partitions; what is not known is -1, not an error.

use std::collections::BTreeMap;

use broker_state::groups::{Command, GroupId, Reply, ShareCommand, ShareReply};
use broker_state::share_partitions::{
    Command as PartitionsCommand, DescribedPartition, Reply as PartitionsReply,
};
use wire::describe_share_group_offsets::{
    Group, GroupResponse, PartitionResponse, Request, Response, Topic, TopicResponse,
};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::cluster::{self, ClusterImage};
use crate::connection::Connection;
use crate::core::Core;

pub const API: Api = Api::all(ApiKey::DescribeShareGroupOffsets, 0, 1);

type Described = BTreeMap<(Uuid, i32), DescribedPartition>;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let topics = describe(&connection.core, &group).await;
        let group_id = group.group_id.to_owned().into();
        groups.push(match topics {
            Ok(topics) => GroupResponse {
                group_id,
                topics,
                ..GroupResponse::default()
            },
            Err(error) => GroupResponse {
                group_id,
                error_code: error.code(),
                error_message: Some(error.message().into()),
                ..GroupResponse::default()
            },
        });
    }
    Response {
        groups,
        ..Response::default()
    }
}

async fn describe(
    core: &Core,
    group: &Group<'_>,
) -> Result<Vec<TopicResponse<'static>>, ErrorCode> {
    if !core.serves_share_groups() {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let id = GroupId::from(group.group_id);
    let command = Command::Share(ShareCommand::Inspect(id.clone()));
    match core.coordinator.ask(command).await {
        Some(Reply::Share(ShareReply::Inspect(Ok(_)))) => {}
        Some(Reply::Share(ShareReply::Inspect(Err(error)))) => return Err(error),
        _ => return Err(ErrorCode::CoordinatorNotAvailable),
    }
    let command = PartitionsCommand::Describe { group: id };
    let Some(PartitionsReply::Describe(partitions)) = core.share.ask(command).await else {
        return Err(ErrorCode::CoordinatorNotAvailable);
    };
    let partitions = partitions.into_iter();
    let described = partitions.map(|p| ((p.topic_id, p.partition), p)).collect();
    let image = core.image();
    Ok(match &group.topics {
        Some(topics) => topics
            .iter()
            .map(|topic| named(&image, topic, &described))
            .collect(),
        None => all(&image, &described),
    })
}

fn named(
    image: &ClusterImage,
    wanted: &Topic<'_>,
    described: &Described,
) -> TopicResponse<'static> {
    let topic = image.topic(wanted.topic_name);
    let topic_id = topic.map_or(Uuid::ZERO, |topic| topic.id);
    let partitions = wanted.partitions.iter().map(|&index| {
        let known = described.get(&(topic_id, index));
        match (topic, known) {
            (Some(topic), Some(known)) => partition(topic, known),
            _ => unknown(index),
        }
    });
    TopicResponse {
        topic_name: wanted.topic_name.to_owned().into(),
        topic_id,
        partitions: partitions.collect(),
    }
}

/// Every partition that the group has begun with, of topics that are still there.
fn all(image: &ClusterImage, described: &Described) -> Vec<TopicResponse<'static>> {
    let mut topics: Vec<TopicResponse<'static>> = Vec::new();
    for known in described.values() {
        let Some(topic) = image.topic_by_id(known.topic_id) else {
            continue;
        };
        if topics.last().is_none_or(|last| last.topic_id != topic.id) {
            topics.push(TopicResponse {
                topic_name: topic.name.to_string().into(),
                topic_id: topic.id,
                partitions: Vec::new(),
            });
        }
        let last = topics.last_mut().expect("pushed above");
        last.partitions.push(partition(topic, known));
    }
    topics
}

fn partition(topic: &cluster::Topic, known: &DescribedPartition) -> PartitionResponse<'static> {
    let (Some(start), Some(log)) = (known.start_offset, topic.partition(known.partition)) else {
        return unknown(known.partition);
    };
    let view = log.view();
    // What retention took is not waited for; the group's next fetch begins behind it.
    let start_offset = start.max(view.log_start.0);
    let lag = match start_offset == start {
        true => view.high_watermark.0 - start - known.delivery_complete,
        false => view.high_watermark.0 - start_offset,
    };
    PartitionResponse {
        partition_index: known.partition,
        start_offset,
        leader_epoch: known.leader_epoch,
        lag: lag.max(0),
        ..PartitionResponse::default()
    }
}

fn unknown(partition_index: i32) -> PartitionResponse<'static> {
    PartitionResponse {
        partition_index,
        start_offset: -1,
        leader_epoch: 0,
        lag: -1,
        ..PartitionResponse::default()
    }
}
