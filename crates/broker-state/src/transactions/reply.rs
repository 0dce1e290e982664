//! What the transaction coordinator answers: one plain owned struct per request kind, fields as in Kafka's responses.

use wire::ErrorCode;

use super::ids::TransactionalId;
use super::transaction::Transaction;
use crate::producer_ids::ProducerIdentity;

/// The answer to the `Command` of the same name. PRODUCER_FENCED is INVALID_PRODUCER_EPOCH in older request versions,
/// which the handlers see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    InitProducerId(Result<ProducerIdentity, ErrorCode>),
    AddPartitions(Result<(), ErrorCode>),
    /// One per partition of the command, in its order; `TRANSACTION_ABORTABLE` for one that is not in the transaction.
    VerifyPartitions(Result<Vec<ErrorCode>, ErrorCode>),
    /// Who the producer is in its next transaction.
    EndTransaction(Result<ProducerIdentity, ErrorCode>),
    /// `None` for an id that is not known.
    Describe(Vec<(TransactionalId, Option<Transaction>)>),
    List(ListReply),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReply {
    /// The names of the filter that are no state.
    pub unknown_states: Vec<String>,
    pub transactions: Vec<ListedTransaction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    pub id: TransactionalId,
    pub producer_id: i64,
    pub state: super::State,
}
