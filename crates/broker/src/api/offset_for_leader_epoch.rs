//! OffsetForLeaderEpoch, key 23, v2–4: where an epoch of a leader ended, for clients that check for truncation.
//! v3 replica id · v4 flexible. One broker never changes its leader, so there is one epoch, and it ends where the log ends.

use wire::offset_for_leader_epoch::{EpochEndOffset, Request, Response, TopicResult};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::cluster::Topic;
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::OffsetForLeaderEpoch, 2, 4);

pub async fn handle<'a>(
    connection: &Connection,
    request: Request<'a>,
    _: &Call<'_>,
) -> Response<'a> {
    let image = connection.core.image();
    let answer = |topic: Option<&Topic>, index: i32, current: i32, wanted: i32| {
        let Some(partition) = topic.and_then(|topic| topic.partition(index)) else {
            return refused(index, ErrorCode::UnknownTopicOrPartition);
        };
        let view = partition.view();
        if current > view.leader_epoch {
            return refused(index, ErrorCode::UnknownLeaderEpoch);
        }
        let is_current = wanted == view.leader_epoch;
        EpochEndOffset {
            error_code: ErrorCode::None.code(),
            partition: index,
            leader_epoch: if is_current { wanted } else { -1 },
            end_offset: if is_current {
                view.high_watermark.0
            } else {
                -1
            },
        }
    };
    let topics = request.topics.into_iter().map(|topic| {
        let found = image.topic(topic.topic).map(AsRef::as_ref);
        let partitions = topic
            .partitions
            .iter()
            .map(|p| answer(found, p.partition, p.current_leader_epoch, p.leader_epoch));
        TopicResult {
            partitions: partitions.collect(),
            topic: topic.topic.into(),
        }
    });
    Response {
        topics: topics.collect(),
        ..Response::default()
    }
}

fn refused(partition: i32, error: ErrorCode) -> EpochEndOffset {
    EpochEndOffset {
        error_code: error.code(),
        partition,
        leader_epoch: -1,
        end_offset: -1,
    }
}
