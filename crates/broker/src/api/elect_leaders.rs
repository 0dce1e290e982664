//! ElectLeaders, key 43, v0–2: moves leadership to the preferred replica (KIP-460). The one broker leads everything, so no
//! election is ever needed, and the answer says so.
//! v1 unclean elections · v2 flexible.

use wire::elect_leaders::{PartitionResult, ReplicaElectionResult, Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::ClusterImage;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::ElectLeaders, 0, 2);

const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    if !ELECTION_TYPES.contains(&request.election_type) {
        return Response {
            error_code: ErrorCode::InvalidRequest.code(),
            ..Response::default()
        };
    }
    let image = connection.core.image();
    // Of all partitions those are told that needed an election; none did.
    let wanted = request.topic_partitions.unwrap_or_default();
    let results = wanted.iter().map(|wanted| {
        let elect = |index: &i32| elect(&image, wanted.topic, *index);
        ReplicaElectionResult {
            topic: wanted.topic.to_owned().into(),
            partition_result: wanted.partitions.iter().map(elect).collect(),
        }
    });
    Response {
        replica_election_results: results.collect(),
        ..Response::default()
    }
}

fn elect(image: &ClusterImage, topic: &str, index: i32) -> PartitionResult<'static> {
    let (error, message) = match image.topic(topic).map(|topic| topic.partition(index)) {
        None => (
            ErrorCode::UnknownTopicOrPartition,
            format!("No such topic as {topic}"),
        ),
        Some(None) => (
            ErrorCode::UnknownTopicOrPartition,
            format!("No such partition as {topic}-{index}"),
        ),
        Some(Some(_)) => (
            ErrorCode::ElectionNotNeeded,
            "Leader election not needed for topic partition.".to_owned(),
        ),
    };
    PartitionResult {
        partition_id: index,
        error_code: error.code(),
        error_message: Some(message.into()),
    }
}
