//! DescribeProducers, key 61, v0: the producers that a partition remembers, and which of them have a transaction there.
//! Who looks for hanging transactions compares it with DescribeTransactions (KIP-664).

use std::sync::Arc;

use broker_state::producers::ProducerState;
use wire::describe_producers::{PartitionResponse, Request, Response, TopicResponse};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::Topic;
use crate::connection::Connection;
use crate::shard::{Event, Reply};

pub const API: Api = Api::all(ApiKey::DescribeProducers, 0, 0);

/// Producers of one answer, some 40 MB: a request may name a partition any number of times.
const MOST_PRODUCERS: usize = 1_000_000;

pub async fn handle<'a>(
    connection: &Connection,
    request: Request<'a>,
    _: &Call<'_>,
) -> Response<'a> {
    let image = connection.core.image();
    let mut room = MOST_PRODUCERS;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = image.topic(topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let described = describe(connection, found, index).await;
            partitions.push(match described.and_then(|found| fit(found, &mut room)) {
                Ok(producers) => PartitionResponse {
                    partition_index: index,
                    active_producers: producers.into_iter().map(respond).collect(),
                    ..Default::default()
                },
                Err(error) => PartitionResponse {
                    partition_index: index,
                    error_code: error.code(),
                    error_message: Some(
                        format!("{}-{index}: {}", topic.name, error.message()).into(),
                    ),
                    ..Default::default()
                },
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

fn fit(producers: Vec<ProducerState>, room: &mut usize) -> Result<Vec<ProducerState>, ErrorCode> {
    *room = room
        .checked_sub(producers.len())
        .ok_or(ErrorCode::PolicyViolation)?;
    Ok(producers)
}

async fn describe(
    connection: &Connection,
    topic: Option<&Arc<Topic>>,
    index: i32,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = topic.and_then(|topic| topic.partition(index));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let (reply, receiver) = Reply::channel();
    let event = Event::DescribeProducers {
        partition: Arc::clone(partition),
        reply,
    };
    if !connection.core.send_to_owner(partition, event) {
        // Nobody but the broker writes to what the coordinators own.
        return Ok(Vec::new());
    }
    match receiver.await {
        Ok(Some(producers)) => Ok(producers),
        Ok(None) => Err(ErrorCode::UnknownTopicOrPartition),
        Err(_) => Err(ErrorCode::NotLeaderOrFollower),
    }
}

fn respond(state: ProducerState) -> wire::describe_producers::ProducerState {
    wire::describe_producers::ProducerState {
        producer_id: state.producer_id,
        producer_epoch: state.producer_epoch.into(),
        last_sequence: state.last_sequence,
        last_timestamp: state.last_timestamp,
        coordinator_epoch: state.coordinator_epoch,
        current_txn_start_offset: state.transaction_start_offset,
    }
}
