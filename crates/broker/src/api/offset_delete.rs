//! OffsetDelete, key 47, v0: deletes committed offsets that no member uses (KIP-496). Never flexible.
//! Rules: broker_state::groups::offsets.

use broker_state::groups::{Command, DeleteOffsets, Reply};
use wire::offset_delete::{PartitionResponse, Request, Response, TopicResponse};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::OffsetDelete, 0, 0);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let topics = request.topics.iter();
    let command = Command::DeleteOffsets(DeleteOffsets {
        group: request.group_id.into(),
        topics: topics
            .map(|t| {
                (
                    t.name.into(),
                    t.partitions.iter().map(|p| p.partition_index).collect(),
                )
            })
            .collect(),
    });
    let Some(Reply::DeleteOffsets(reply)) = connection.core.coordinator.ask(command).await else {
        return Response {
            error_code: ErrorCode::CoordinatorNotAvailable.code(),
            ..Response::default()
        };
    };
    let topics = reply
        .topics
        .into_iter()
        .map(|(name, partitions)| TopicResponse {
            name: name.as_str().to_owned().into(),
            partitions: partitions
                .into_iter()
                .map(|(partition_index, error)| PartitionResponse {
                    partition_index,
                    error_code: error.code(),
                })
                .collect(),
        });
    Response {
        error_code: reply.error.code(),
        topics: topics.collect(),
        ..Response::default()
    }
}
