//! DescribeTransactions, key 65, v0: what the transaction coordinator knows of transactional ids (KIP-664).

use broker_state::transactions::{Command, Reply, Transaction, TransactionalId};
use wire::describe_transactions::{Request, Response, Topic, TransactionState};
use wire::{ApiKey, ErrorCode};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DescribeTransactions, 0, 0);

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    _: &Call<'_>,
) -> Response<'static> {
    let ids: Vec<TransactionalId> = request
        .transactional_ids
        .iter()
        .map(|id| (*id).into())
        .collect();
    let states = match connection
        .core
        .transactions
        .ask(Command::Describe(ids.clone()))
        .await
    {
        Some(Reply::Describe(found)) => found.into_iter().map(describe).collect(),
        _ => ids
            .iter()
            .map(|id| refused(id, ErrorCode::CoordinatorNotAvailable))
            .collect(),
    };
    Response {
        transaction_states: states,
        ..Response::default()
    }
}

fn describe((id, found): (TransactionalId, Option<Transaction>)) -> TransactionState<'static> {
    let Some(found) = found else {
        let error = if id.as_str().is_empty() {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TransactionalIdNotFound
        };
        return refused(&id, error);
    };
    let topics = found.partitions.iter().map(|(topic, partitions)| Topic {
        topic: topic.as_str().to_owned().into(),
        partitions: partitions.iter().copied().collect(),
    });
    TransactionState {
        transactional_id: id.as_str().to_owned().into(),
        transaction_state: found.state.name().into(),
        transaction_timeout_ms: i32::try_from(found.timeout.as_millis()).unwrap_or(i32::MAX),
        transaction_start_time_ms: found.started_at.map_or(-1, |at| at.0),
        producer_id: found.producer.producer_id,
        producer_epoch: found.producer.producer_epoch,
        topics: topics.collect(),
        ..TransactionState::default()
    }
}

fn refused(id: &TransactionalId, error: ErrorCode) -> TransactionState<'static> {
    TransactionState {
        error_code: error.code(),
        transactional_id: id.as_str().to_owned().into(),
        ..TransactionState::default()
    }
}
