//! AddOffsetsToTxn, key 25, v0–4: adds the offsets of a group to a transaction.
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE. From TxnOffsetCommit v5 on clients need it no more.
//! Rules: broker_state::transactions.

use broker_state::producer_ids::ProducerIdentity;
use broker_state::transactions::{AddPartitions, Command, Reply};
use wire::add_offsets_to_txn::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::add_partitions_to_txn::fencing_of;
use super::{Api, Call};
use crate::connection::Connection;
use crate::transactions::offsets_partition;

pub const API: Api = Api::all(ApiKey::AddOffsetsToTxn, 0, 4);

const KNOWS_FENCING: i16 = 2;

pub async fn handle(connection: &Connection, request: Request<'_>, call: &Call<'_>) -> Response {
    let error = if request.group_id.is_empty() {
        ErrorCode::InvalidGroupId
    } else {
        add(connection, &request).await
    };
    let error = fencing_of(error, call.header.api_version >= KNOWS_FENCING);
    Response {
        error_code: error.code(),
        ..Response::default()
    }
}

async fn add(connection: &Connection, request: &Request<'_>) -> ErrorCode {
    let (topic, index) = offsets_partition();
    let command = Command::AddPartitions(AddPartitions {
        id: request.transactional_id.into(),
        producer: ProducerIdentity {
            producer_id: request.producer_id,
            producer_epoch: request.producer_epoch,
        },
        partitions: [(topic, [index].into())].into(),
        client_version: 0,
    });
    match connection.core.transactions.ask(command).await {
        Some(Reply::AddPartitions(result)) => result.err().unwrap_or(ErrorCode::None),
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}
