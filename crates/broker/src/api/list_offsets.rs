//! ListOffsets, key 2, v1–11: the offset of a moment.
//! v2 isolation: the end of committed records is the last stable offset.
//! -1 latest · -2 earliest · -3 newest timestamp (v7) · -4 earliest local (v8) · -5 latest tiered (v9) · -6 earliest pending upload (v11).

use std::sync::Arc;

use log::{Isolation, LogError};
use wire::list_offsets::{
    Partition as Wanted, PartitionResponse, Request, Response, TopicResponse,
};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;
use crate::partition::Partition;

pub const API: Api = Api::all(ApiKey::ListOffsets, 1, 11);

const READ_COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
/// The only epoch there is: one broker never loses its leadership.
const LEADER_EPOCH: i32 = 0;

pub async fn handle<'a>(
    connection: &Connection,
    request: Request<'a>,
    _: &Call<'_>,
) -> Response<'a> {
    let image = connection.core.image();
    let isolation = match request.isolation_level {
        READ_COMMITTED => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = image.topic(topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let partition = found.and_then(|topic| topic.partition(wanted.partition_index));
            partitions.push(match partition {
                Some(partition) => answer(partition, &wanted, isolation).await,
                None => refused(&wanted, ErrorCode::UnknownTopicOrPartition),
            });
        }
        topics.push(TopicResponse {
            name: topic.name.into(),
            partitions,
        });
    }
    Response {
        topics,
        ..Response::default()
    }
}

async fn answer(
    partition: &Arc<Partition>,
    wanted: &Wanted,
    isolation: Isolation,
) -> PartitionResponse {
    if wanted.current_leader_epoch > LEADER_EPOCH {
        return refused(wanted, ErrorCode::UnknownLeaderEpoch);
    }
    match find(partition, wanted.timestamp, isolation).await {
        Ok((offset, timestamp)) => PartitionResponse {
            partition_index: wanted.partition_index,
            error_code: ErrorCode::None.code(),
            timestamp,
            offset,
            leader_epoch: if offset < 0 { -1 } else { LEADER_EPOCH },
        },
        Err(error) => {
            tracing::error!(?partition, %error, "cannot look up an offset by time");
            refused(wanted, ErrorCode::KafkaStorageError)
        }
    }
}

/// Offset and timestamp; -1 stands for what is not there, or what the isolation hides still.
async fn find(
    partition: &Arc<Partition>,
    timestamp: i64,
    isolation: Isolation,
) -> Result<(i64, i64), LogError> {
    let view = partition.view();
    let end = view.end_for(isolation);
    match timestamp {
        LATEST => Ok((end.0, -1)),
        EARLIEST | EARLIEST_LOCAL => Ok((view.log_start.0, -1)),
        // Nothing is tiered here.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok((-1, -1)),
        _ => {
            let search = move || match timestamp {
                NEWEST_TIMESTAMP => view.max_timestamp_offset(),
                _ => view.offset_for_timestamp(timestamp),
            };
            let found = tokio::task::spawn_blocking(search)
                .await
                .expect("the search does not panic")?;
            let found = found.filter(|(offset, _)| *offset < end);
            Ok(found.map_or((-1, -1), |(offset, timestamp)| (offset.0, timestamp)))
        }
    }
}

fn refused(wanted: &Wanted, error: ErrorCode) -> PartitionResponse {
    PartitionResponse {
        partition_index: wanted.partition_index,
        error_code: error.code(),
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    }
}
