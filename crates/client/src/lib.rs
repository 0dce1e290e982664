//! What the platform asks of any Kafka cluster, behind one type.
//!
//! [`Cluster`] says where the cluster is; from it come a [`Producer`] and a [`Consumer`] (librdkafka) and an [`Admin`]
//! (a few connections of our own over `wire`). For async callers there are an [`AsyncProducer`], a [`Reader`] by position, a
//! [`GroupReader`] that is one member of a consumer group, and a [`ShareMember`] of a share group. Nothing of librdkafka is in a public signature, so that another client can
//! take its place. [`Security`] says how either reaches it. This crate knows no broker: it runs unchanged against Apache Kafka.

mod admin;
mod async_producer;
mod cluster;
mod connection;
mod consumer;
mod error;
mod group_reader;
mod librdkafka;
mod partitioner;
mod place;
mod pool;
mod producer;
mod reader;
mod sasl;
#[cfg(test)]
mod scripted_broker;
mod security;
mod share_member;
pub mod time;
mod tls;
mod transactions;

pub use admin::{
    Admin, Outcomes, TopicPartition, acls, configs, consumer_groups, delete_records,
    describe_cluster, elections, features, group_progress, group_reset, groups, log_dirs, offsets,
    producers, quorum, quotas, reassignments, scram, share_groups, topics, transactional_ids,
};
pub use async_producer::{Acknowledged, Acknowledgement, Acknowledgements, AsyncProducer, Outcome};
pub use cluster::Cluster;
pub use connection::{Connection, Reply};
pub use consumer::{Consumer, Event, IncomingRecord, Position};
pub use error::{ClientError, ErrorKind};
pub use group_reader::{GroupReader, GroupRecord};
pub use partitioner::{NullKeys, Partitioner};
pub use place::{Bounds, Place};
pub use pool::{AdminPool, PooledAdmin};
pub use producer::{Delivery, OutgoingRecord, Producer};
pub use reader::{FetchLimits, FetchedPartition, Isolation, Reader, Record};
pub use security::{Sasl, Secret, Security, SecurityProtocol, Store, Tls, TokenSource};
pub use share_member::{Acknowledge, ShareMember, SharedRecord};
