//! AlterPartitionReassignments, key 45, v0–1: moves replicas to other brokers (KIP-455). The one broker has every replica:
//! a partition that is to be where it is is done at once, any other wish is refused.
//! v1 whether the number of replicas may change (KIP-860).

use wire::alter_partition_reassignments::{
    PartitionResponse, ReassignablePartition, Request, Response, TopicResponse,
};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::AlterPartitionReassignments, 0, 1);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let image = connection.core.image();
    let node_id = connection.core.node_id;
    let responses = request.topics.iter().map(|topic| {
        let reassign =
            |partition: &ReassignablePartition| respond(&image, node_id, topic.name, partition);
        TopicResponse {
            name: topic.name.to_owned().into(),
            partitions: topic.partitions.iter().map(reassign).collect(),
        }
    });
    Response {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: responses.collect(),
        ..Response::default()
    }
}

fn respond(
    image: &ClusterImage,
    node_id: i32,
    topic: &str,
    partition: &ReassignablePartition,
) -> PartitionResponse<'static> {
    let index = partition.partition_index;
    let refusal = reassign(image, node_id, topic, index, partition.replicas.as_deref()).err();
    PartitionResponse {
        partition_index: index,
        error_code: refusal
            .as_ref()
            .map_or(ErrorCode::None, |refusal| refusal.0)
            .code(),
        error_message: refusal.map(|refusal| refusal.1.into()),
    }
}

/// `None` cancels a move.
fn reassign(
    image: &ClusterImage,
    node_id: i32,
    topic: &str,
    index: i32,
    replicas: Option<&[i32]>,
) -> Result<(), (ErrorCode, String)> {
    let unknown = |message| (ErrorCode::UnknownTopicOrPartition, message);
    let found = image
        .topic(topic)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {topic}.")))?;
    if found.partition(index).is_none() {
        return Err(unknown(format!(
            "Unable to find partition {topic}:{index}."
        )));
    }
    let Some(replicas) = replicas else {
        let message = "No partition reassignment is in progress.".to_owned();
        return Err((ErrorCode::NoReassignmentInProgress, message));
    };
    check_replicas(node_id, replicas)
        .map_err(|message| (ErrorCode::InvalidReplicaAssignment, message))
}

fn check_replicas(node_id: i32, replicas: &[i32]) -> Result<(), String> {
    if let Some(other) = replicas.iter().find(|replica| **replica != node_id) {
        return Err(format!(
            "The manual partition assignment includes broker {other}, but no such broker is registered."
        ));
    }
    match replicas.len() {
        0 => Err("The manual partition assignment includes an empty replica list.".to_owned()),
        1 => Ok(()),
        _ => Err(format!(
            "The manual partition assignment includes the broker {node_id} more than once."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_broker_alone_can_have_a_replica() {
        assert_eq!(check_replicas(1, &[1]), Ok(()));
        for replicas in [&[2][..], &[-5], &[1, 2], &[1, 1], &[]] {
            assert!(check_replicas(1, replicas).is_err(), "{replicas:?}");
        }
    }
}
