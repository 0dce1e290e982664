//! What the broker asks of the transaction coordinator: one plain owned struct per request kind.

use std::time::Duration;

use super::ids::TransactionalId;
use super::transaction::Partitions;
use crate::producer_ids::ProducerIdentity;

/// One request; each is answered exactly once, at once or when the end of the transaction before has gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    InitProducerId(InitProducerId),
    AddPartitions(AddPartitions),
    VerifyPartitions(VerifyPartitions),
    EndTransaction(EndTransaction),
    Describe(Vec<TransactionalId>),
    List(ListFilter),
}

/// InitProducerId of a producer with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducerId {
    pub id: TransactionalId,
    /// `transaction.timeout.ms` of the producer.
    pub timeout: Duration,
    /// What the producer has, if it goes on after an error (KIP-360).
    pub current: Option<ProducerIdentity>,
}

/// AddPartitionsToTxn, AddOffsetsToTxn, and what Produce v12+ and TxnOffsetCommit v5+ add by themselves.
/// The broker has already refused unknown partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitions {
    pub id: TransactionalId,
    pub producer: ProducerIdentity,
    pub partitions: Partitions,
    /// The version of the transaction protocol that the client speaks: 2 where partitions are added by themselves, else 0.
    pub client_version: i16,
}

/// Whether partitions are in the transaction that the producer has open; changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPartitions {
    pub id: TransactionalId,
    pub producer: ProducerIdentity,
    pub partitions: Vec<(crate::groups::TopicName, i32)>,
}

/// EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    pub id: TransactionalId,
    pub producer: ProducerIdentity,
    pub is_commit: bool,
    /// 2 from version 5 of the request on, else 0.
    pub client_version: i16,
}

/// ListTransactions. An empty list filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// By name, as "Ongoing".
    pub states: Vec<String>,
    pub producer_ids: Vec<i64>,
    /// Only transactions that have been open for longer than this.
    pub open_for: Option<Duration>,
}
