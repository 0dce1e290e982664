//! AlterReplicaLogDirs, key 34, v1–2: moves replicas to another data directory (KIP-113). There is one directory: a replica
//! that is to be where it is is done, another directory is not there.
//! v2 flexible.

use wire::alter_replica_log_dirs::{PartitionResult, Request, Response, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::AlterReplicaLogDirs, 1, 2);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let image = connection.core.image();
    let home = connection.core.data.name();
    let moved = |path: &str, topic: &str, index: i32| {
        let partition = image.topic(topic).and_then(|topic| topic.partition(index));
        match partition {
            _ if path.trim_end_matches('/') != home => ErrorCode::LogDirNotFound,
            None => ErrorCode::UnknownTopicOrPartition,
            Some(_) => ErrorCode::None,
        }
    };
    let mut results = Vec::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let result = |index: &i32| PartitionResult {
                partition_index: *index,
                error_code: moved(dir.path, topic.name, *index).code(),
            };
            results.push(TopicResult {
                topic_name: topic.name.to_owned().into(),
                partitions: topic.partitions.iter().map(result).collect(),
            });
        }
    }
    Response {
        results,
        ..Response::default()
    }
}
