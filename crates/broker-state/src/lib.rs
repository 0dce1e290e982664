//! Every broker rule as plain data: topics, producers, groups, fetch sessions, quotas.

mod compact;
pub mod configs;
pub mod features;
pub mod fetch_sessions;
pub mod groups;
pub mod producer_ids;
pub mod producers;
pub mod quotas;
pub mod refusal;
pub mod share_partitions;
pub mod share_sessions;
pub mod step;
pub mod telemetry;
pub mod topics;
pub mod transactions;
