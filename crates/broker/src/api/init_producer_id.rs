//! InitProducerId, key 22, v0–5: gives a producer the id that its sequence numbers belong to.
//! v2 flexible · v3 a producer that asks for its next epoch (KIP-360) · v4 PRODUCER_FENCED · v5 transactions v2.
//! Transactional producers are refused: transactions are not served. Rules: broker_state::producer_ids.

use broker_state::producer_ids::ProducerIdentity;
use broker_state::topics::{Command, Reply};
use wire::init_producer_id::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::InitProducerId, 0, 5);

/// "None yet".
const NO_PRODUCER: i64 = -1;

pub async fn handle(connection: &Connection, request: Request<'_>, _: &Call<'_>) -> Response {
    if request.transactional_id.is_some() {
        return refused(ErrorCode::InvalidRequest);
    }
    let has_current = request.producer_id != NO_PRODUCER;
    let current = has_current.then_some(ProducerIdentity {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
    });
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

fn refused(error: ErrorCode) -> Response {
    Response {
        error_code: error.code(),
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        ..Response::default()
    }
}
