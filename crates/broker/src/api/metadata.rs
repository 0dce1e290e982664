//! Metadata, key 3, v0–13: brokers, topics, partitions; creates a topic that is missing where the client allows it.
//! v0 an empty list means all topics, later null does · v4 allow auto-creation · v10 topic ids · v12 ids in requests · v13 top-level error.
//! The broker's address is the one by which this client reached us: a port mapping or a second network needs no setting.

use std::collections::HashSet;
use std::sync::Arc;

use wire::metadata::{
    Broker, Partition, Request, RequestTopic, Response, Topic as TopicDescription,
};
use wire::{ApiKey, ErrorCode, Uuid};

use super::describe_cluster::ALL_CLUSTER_OPERATIONS;
use super::{Api, Call};
use crate::cluster::Topic;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::Metadata, 0, 13);

/// "Not asked for".
const NO_OPERATIONS: i32 = i32::MIN;
/// Without access control everybody may do everything: a bit per operation that a topic knows
/// (read 3, write 4, create 5, delete 6, alter 7, describe 8, describe configs 10, alter configs 11).
pub const ALL_TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let version = call.header.api_version;
    let core = &connection.core;
    let operations = if request.include_topic_authorized_operations {
        ALL_TOPIC_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    let topics = match &request.topics {
        None => all(connection, operations),
        Some(wanted) if wanted.is_empty() && version == 0 => all(connection, operations),
        Some(wanted) => {
            if version < 4 || request.allow_auto_topic_creation {
                create_missing(connection, wanted.iter().filter_map(name_of)).await;
            }
            let image = core.image();
            let find = |name: Option<&str>, id: Uuid| match name {
                Some(name) => image
                    .topic(name)
                    .map(|topic| describe(topic, core.node_id, operations))
                    .unwrap_or_else(|| unknown(name)),
                None => image
                    .topic_by_id(id)
                    .map(|topic| describe(topic, core.node_id, operations))
                    .unwrap_or_else(|| unknown_id(id)),
            };
            // Naming a topic often must not make a small request's answer large.
            let mut seen = HashSet::new();
            let named = wanted.iter().map(|topic| (name_of(topic), topic.topic_id));
            named
                .filter(|named| seen.insert(*named))
                .map(|(name, id)| find(name, id))
                .collect()
        }
    };
    let (host, port) = core.address_for(connection.local);
    Response {
        brokers: vec![Broker {
            node_id: core.node_id,
            host: host.into(),
            port: i32::from(port),
            ..Default::default()
        }],
        cluster_id: Some(core.cluster_id.clone().into()),
        controller_id: core.node_id,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            ALL_CLUSTER_OPERATIONS
        } else {
            NO_OPERATIONS
        },
        ..Response::default()
    }
}

/// The name that is asked for. A topic with an id is asked for by that: Java's consumers put an empty name beside it.
fn name_of<'a>(topic: &RequestTopic<'a>) -> Option<&'a str> {
    topic.name.filter(|_| topic.topic_id.is_zero())
}

fn all(connection: &Connection, operations: i32) -> Vec<TopicDescription<'static>> {
    let core = &connection.core;
    core.image()
        .topics()
        .into_iter()
        .map(|topic| describe(topic, core.node_id, operations))
        .collect()
}

/// A topic that cannot be created stays unknown; its name is refused below if that is the reason.
async fn create_missing<'a>(connection: &Connection, names: impl Iterator<Item = &'a str>) {
    let image = connection.core.image();
    let missing: Vec<String> = names
        .filter(|name| image.topic(name).is_none())
        .map(str::to_owned)
        .collect();
    if !missing.is_empty() {
        connection
            .core
            .controller
            .create_automatically(missing)
            .await;
    }
}

fn describe(topic: &Arc<Topic>, node_id: i32, operations: i32) -> TopicDescription<'static> {
    let partition = |index: i32| Partition {
        error_code: ErrorCode::None.code(),
        partition_index: index,
        leader_id: node_id,
        leader_epoch: 0,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        ..Default::default()
    };
    TopicDescription {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: topic.is_internal,
        partitions: (0..topic.partitions.len() as i32).map(partition).collect(),
        topic_authorized_operations: operations,
    }
}

fn unknown(name: &str) -> TopicDescription<'static> {
    let is_valid = broker_state::topics::check_name(name).is_ok();
    let error = if is_valid {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::InvalidTopicException
    };
    TopicDescription {
        error_code: error.code(),
        name: Some(name.to_owned().into()),
        ..Default::default()
    }
}

fn unknown_id(id: Uuid) -> TopicDescription<'static> {
    TopicDescription {
        error_code: ErrorCode::UnknownTopicId.code(),
        topic_id: id,
        ..Default::default()
    }
}
