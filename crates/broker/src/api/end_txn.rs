//! EndTxn, key 26, v0–5: commits or aborts a transaction; answered when that is decided for good.
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE · v5 each end raises the epoch and tells it (KIP-890).
//! Rules: broker_state::transactions.

use broker_state::producer_ids::ProducerIdentity;
use broker_state::transactions::{Command, EndTransaction, Reply, VERSION_2};
use wire::end_txn::{Request, Response};
use wire::{ApiKey, ErrorCode};

use super::add_partitions_to_txn::fencing_of;
use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::EndTxn, 0, 5);

const KNOWS_FENCING: i16 = 2;
const RAISES_EPOCH: i16 = 5;

pub async fn handle(connection: &Connection, request: Request<'_>, call: &Call<'_>) -> Response {
    let version = call.header.api_version;
    let command = Command::EndTransaction(EndTransaction {
        id: request.transactional_id.into(),
        producer: ProducerIdentity {
            producer_id: request.producer_id,
            producer_epoch: request.producer_epoch,
        },
        is_commit: request.committed,
        client_version: if version >= RAISES_EPOCH {
            VERSION_2
        } else {
            0
        },
    });
    let ended = match connection.core.transactions.ask(command).await {
        Some(Reply::EndTransaction(ended)) => ended,
        _ => Err(ErrorCode::CoordinatorNotAvailable),
    };
    match ended {
        Ok(next) => Response {
            producer_id: next.producer_id,
            producer_epoch: next.producer_epoch,
            ..Response::default()
        },
        Err(error) => Response {
            error_code: fencing_of(error, version >= KNOWS_FENCING).code(),
            ..Response::default()
        },
    }
}
