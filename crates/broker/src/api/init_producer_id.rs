//! InitProducerId, key 22, v0–5: gives a producer the id that its sequence numbers belong to.
//! v2 flexible · v3 a producer that asks for its next epoch (KIP-360) · v4 PRODUCER_FENCED · v5 transactions v2.
//! Rules: broker_state::producer_ids without a transactional id, broker_state::transactions with one.

use std::time::Duration;

use broker_state::producer_ids::ProducerIdentity;
use broker_state::topics::{Command, Reply};
use broker_state::transactions;
use wire::init_producer_id::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::add_partitions_to_txn::fencing_of;
use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::InitProducerId, 0, 5);

/// "None yet".
const NO_PRODUCER: i64 = -1;

const NO_EPOCH: i16 = -1;
const KNOWS_FENCING: i16 = 4;

pub async fn handle(connection: &Connection, request: Request<'_>, call: &Call<'_>) -> Response {
    let has_current = request.producer_id != NO_PRODUCER;
    let current = has_current.then_some(ProducerIdentity {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    });
    if let Some(id) = request.transactional_id {
        let is_half = has_current != (request.producer_epoch != NO_EPOCH);
        if is_half {
            return refused(ErrorCode::InvalidRequest);
        }
        let init = transactions::InitProducerId {
            id: id.into(),
            timeout: Duration::from_millis(
                u64::try_from(request.transaction_timeout_ms).unwrap_or(0),
            ),
            current,
        };
        return init_transactional(connection, init, call.header.api_version).await;
    }
    match connection
        .core
        .controller
        .ask(Command::InitProducerId { current })
        .await
    {
        Some(Reply::ProducerIdInitialized(Ok(identity))) => Response {
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            ..Response::default()
        },
        Some(Reply::ProducerIdInitialized(Err(refusal))) => refused(refusal.error),
        _ => refused(ErrorCode::CoordinatorNotAvailable),
    }
}

/// A new instance of a transactional producer.
async fn init_transactional(
    connection: &Connection,
    init: transactions::InitProducerId,
    version: i16,
) -> Response {
    let command = transactions::Command::InitProducerId(init);
    let initialized = match connection.core.transactions.ask(command).await {
        Some(transactions::Reply::InitProducerId(initialized)) => initialized,
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    };
    match initialized {
        Ok(identity) => Response {
            producer_id: identity.producer_id,
            producer_epoch: identity.producer_epoch,
            ..Response::default()
        },
        Err(error) => refused(fencing_of(error, version >= KNOWS_FENCING)),
    }
}

fn refused(error: ErrorCode) -> Response {
    Response {
        error_code: error.code(),
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        ..Response::default()
    }
}
