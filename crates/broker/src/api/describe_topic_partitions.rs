//! DescribeTopicPartitions, key 75, v0: topics page by page (KIP-966); the Java admin client asks this first.

use std::sync::Arc;

use wire::describe_topic_partitions::{
    Cursor, Partition, Request, Response, Topic as TopicDescription,
};
use wire::{ApiKey, ErrorCode};

use super::metadata::ALL_TOPIC_OPERATIONS;
use super::{Api, Call};
use crate::cluster::Topic;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeTopicPartitions, 0, 0);

/// Most partitions of one answer (`max.request.partition.size.limit`).
const MOST_PARTITIONS: i32 = 2_000;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let image = connection.core.image();
    let mut names: Vec<&str> = request.topics.iter().map(|topic| topic.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        names = image
            .topics()
            .into_iter()
            .map(|topic| topic.name.as_ref())
            .collect();
    }
    let (first_topic, mut first_partition) = request
        .cursor
        .as_ref()
        .map_or(("", 0), |c| (c.topic_name, c.partition_index));
    let mut left = request.response_partition_limit.clamp(1, MOST_PARTITIONS);
    let mut response = Response::default();
    for name in names.into_iter().filter(|name| *name >= first_topic) {
        let from = if name == first_topic {
            std::mem::take(&mut first_partition).max(0)
        } else {
            0
        };
        if left == 0 {
            response.next_cursor = Some(Cursor {
                topic_name: name.to_owned().into(),
                partition_index: 0,
            });
            break;
        }
        let Some(topic) = image.topic(name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let count = topic.partitions.len() as i32;
        let until = count.min(from.saturating_add(left));
        response
            .topics
            .push(describe(topic, connection.core.node_id, from, until));
        left -= until - from.min(until);
        if until < count {
            response.next_cursor = Some(Cursor {
                topic_name: name.to_owned().into(),
                partition_index: until,
            });
            break;
        }
    }
    response
}

fn describe(topic: &Arc<Topic>, node_id: i32, from: i32, until: i32) -> TopicDescription<'static> {
    let partition = |index| Partition {
        partition_index: index,
        leader_id: node_id,
        leader_epoch: 0,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        // Empty rather than null: the Java client takes the size of both.
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..Default::default()
    };
    TopicDescription {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: topic.is_internal,
        partitions: (from..until).map(partition).collect(),
        topic_authorized_operations: ALL_TOPIC_OPERATIONS,
    }
}

fn unknown(name: &str) -> TopicDescription<'static> {
    TopicDescription {
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        name: Some(name.to_owned().into()),
        ..Default::default()
    }
}
