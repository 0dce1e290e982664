//! DeleteRecords, key 21, v0–2: moves the log start of partitions forward; durable before the answer.
//! v2 flexible · an offset of -1 means everything up to the high watermark.

use std::sync::Arc;

use wire::delete_records::{Partition, PartitionResult, Request, Response, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::Topic;
use crate::connection::Connection;
use crate::shard::{Event, Reply};

pub const API: Api = Api::all(ApiKey::DeleteRecords, 0, 2);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let image = connection.core.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let found = image.topic(topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let (low_watermark, error) = match delete(connection, found, partition).await {
                Ok(low_watermark) => (low_watermark, ErrorCode::None),
                Err(error) => (-1, error),
            };
            partitions.push(PartitionResult {
                partition_index: partition.partition_index,
                low_watermark,
                error_code: error.code(),
            });
        }
        topics.push(TopicResult {
            name: topic.name.to_owned().into(),
            partitions,
        });
    }
    Response {
        topics,
        ..Response::default()
    }
}

async fn delete(
    connection: &Connection,
    topic: Option<&Arc<Topic>>,
    wanted: &Partition,
) -> Result<i64, ErrorCode> {
    let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic
        .partition(wanted.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.is_internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    if !topic.settings.deletes_by_retention {
        return Err(ErrorCode::PolicyViolation);
    }
    let (reply, receiver) = Reply::channel();
    let event = Event::DeleteRecords {
        partition: Arc::clone(partition),
        before: wanted.offset,
        reply,
    };
    connection.core.send_to_owner(partition, event);
    match receiver.await {
        Ok(Ok(log_start)) => Ok(log_start),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(ErrorCode::NotLeaderOrFollower),
    }
}
