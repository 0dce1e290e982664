//! DescribeQuorum, key 55, v0–2: who keeps the cluster's metadata (KIP-595): this process alone, so it leads and lags behind nobody.
//! v1 times of the replicas · v2 directory ids, addresses, messages.

use wire::describe_quorum::{
    Listener, Node, PartitionData, ReplicaState, Request, Response, TopicData,
};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::controller::CLUSTER_METADATA;

pub const API: Api = Api::all(ApiKey::DescribeQuorum, 0, 2);

/// Nobody was ever elected: the first epoch goes on.
const LEADER_EPOCH: i32 = 1;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let is_metadata = |topic: &str, index: i32| topic == CLUSTER_METADATA && index == 0;
    let topics = request.topics.iter().map(|topic| {
        let describe = |index: i32| match is_metadata(topic.topic_name, index) {
            true => partition(connection),
            false => unknown(index),
        };
        let partitions = topic.partitions.iter();
        TopicData {
            topic_name: topic.topic_name.to_owned().into(),
            partitions: partitions
                .map(|wanted| describe(wanted.partition_index))
                .collect(),
        }
    });
    let (host, port) = connection.core.address_for(connection.local);
    let listener = Listener {
        name: "PLAINTEXT".into(),
        host: host.into(),
        port,
    };
    Response {
        topics: topics.collect(),
        nodes: vec![Node {
            node_id: connection.core.node_id,
            listeners: vec![listener],
        }],
        ..Response::default()
    }
}

fn partition(connection: &Connection) -> PartitionData<'static> {
    let core = &connection.core;
    let end = core.metadata.load().high_watermark.0;
    let now_ms = core.now_ms();
    let voter = ReplicaState {
        replica_id: core.node_id,
        log_end_offset: end,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
        ..Default::default()
    };
    PartitionData {
        leader_id: core.node_id,
        leader_epoch: LEADER_EPOCH,
        high_watermark: end,
        current_voters: vec![voter],
        ..Default::default()
    }
}

fn unknown(partition_index: i32) -> PartitionData<'static> {
    let error = ErrorCode::UnknownTopicOrPartition;
    PartitionData {
        partition_index,
        error_code: error.code(),
        error_message: Some(error.message().into()),
        ..Default::default()
    }
}
