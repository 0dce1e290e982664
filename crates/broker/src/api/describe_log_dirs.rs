//! DescribeLogDirs, key 35, v1–5: the size of every partition on the disk.
//! v2 flexible · v3 top-level error · v4 total and usable bytes of the disk · v5 cordoned directories.

use wire::describe_log_dirs::{LogDir, Partition, Request, Response, Topic};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeLogDirs, 1, 5);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let core = &connection.core;
    let image = core.image();
    let is_wanted = |name: &str, index: i32| {
        let Some(topics) = &request.topics else {
            return true;
        };
        topics
            .iter()
            .any(|topic| topic.topic == name && topic.partitions.contains(&index))
    };
    let mut topics = Vec::new();
    for topic in image.topics() {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .filter(|partition| is_wanted(&topic.name, partition.index))
            .map(|partition| Partition {
                partition_index: partition.index,
                partition_size: partition.view().size_bytes.0 as i64,
                offset_lag: 0,
                is_future_key: false,
            })
            .collect();
        if !partitions.is_empty() {
            topics.push(Topic {
                name: topic.name.to_string().into(),
                partitions,
            });
        }
    }
    let (total_bytes, usable_bytes) = core.data.space().unwrap_or((-1, -1));
    let result = LogDir {
        error_code: ErrorCode::None.code(),
        log_dir: core.data.name().into(),
        topics,
        total_bytes,
        usable_bytes,
        ..Default::default()
    };
    Response {
        results: vec![result],
        ..Response::default()
    }
}
