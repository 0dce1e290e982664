//! Transactional ids and what their producers are doing (KIP-664).

use std::collections::BTreeMap;

use wire::{describe_transactions, list_transactions};

use super::groups::Coordinated;
use super::{Admin, check};
use crate::error::ClientError;

/// Which transactions are listed; what is empty selects all.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter<'a> {
    /// By name, such as `Ongoing`.
    pub states: Vec<&'a str>,
    pub producer_ids: Vec<i64>,
    /// Only those open for longer, in milliseconds; brokers before Kafka 3.8 do not look at it.
    pub open_for_more_than_ms: Option<i64>,
}

/// A transactional id as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: String,
}

/// A transactional id with its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub transactional_id: String,
    pub coordinator: i32,
    pub state: String,
    pub timeout_ms: i32,
    /// When it began, in milliseconds since 1970.
    pub started_ms: Option<i64>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// The partitions written to, by topic.
    pub partitions: BTreeMap<String, Vec<i32>>,
}

impl Admin {
    /// The transactional ids of all brokers, sorted.
    pub async fn transactions(
        &mut self,
        filter: &TransactionFilter<'_>,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let request = list_transactions::Request {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.open_for_more_than_ms.unwrap_or(-1),
            ..list_transactions::Request::default()
        };
        let mut listed = Vec::new();
        for node in self.node_ids() {
            let reply = self.node(node).await?.call(&request).await?;
            let answer = reply.read()?;
            check(answer.error_code, None, || {
                format!("listing transactions of broker {node}")
            })?;
            if let [unknown, ..] = &answer.unknown_state_filters[..] {
                return Err(ClientError::Client {
                    what: "listing transactions".to_owned(),
                    reason: format!("{unknown} is no state of a transaction"),
                });
            }
            listed.extend(
                answer
                    .transaction_states
                    .iter()
                    .map(|transaction| TransactionListing {
                        transactional_id: transaction.transactional_id.to_string(),
                        producer_id: transaction.producer_id,
                        state: transaction.transaction_state.to_string(),
                    }),
            );
        }
        listed.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        Ok(listed)
    }

    /// One transactional id with its transaction.
    ///
    /// # Errors
    /// `NotFound` when the cluster does not know it.
    pub async fn transaction(&mut self, id: &str) -> Result<Transaction, ClientError> {
        let coordinator = self.coordinator_of(Coordinated::Transaction, id).await?;
        let request = describe_transactions::Request {
            transactional_ids: vec![id],
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("transactional id {id}");
        let missing = wire::ErrorCode::TransactionalIdNotFound;
        let Some(told) = answer.transaction_states.first() else {
            return Err(ClientError::refused(what(), missing, None));
        };
        check(told.error_code, None, what)?;
        let topics = told.topics.iter();
        Ok(Transaction {
            transactional_id: told.transactional_id.to_string(),
            coordinator,
            state: told.transaction_state.to_string(),
            timeout_ms: told.transaction_timeout_ms,
            started_ms: Some(told.transaction_start_time_ms).filter(|ms| *ms >= 0),
            producer_id: told.producer_id,
            producer_epoch: told.producer_epoch,
            partitions: topics
                .map(|topic| (topic.topic.to_string(), topic.partitions.clone()))
                .collect(),
        })
    }
}
