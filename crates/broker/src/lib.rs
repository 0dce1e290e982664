//! The broker: listeners, connections, a handler per API key, and the shards that own the partitions.
//!
//! ```text
//! PRODUCE  connection::read → api::produce::start → [shard] Producers::admit → PartitionLog::append
//!          → write → sync (all dirty files of the step together) → publish → api::produce::finish → connection::write
//! FETCH    api::fetch → Partition::view → PartitionView::plan_read (index only) → wait → ReadPlan::execute → connection::write
//! ```
//! It knows no HTTP and no client library.

mod addresses;
mod api;
mod broker;
mod clock;
mod cluster;
mod compactor;
mod connection;
mod controller;
mod coordinator;
mod core;
mod data;
mod entropy;
mod error;
mod journal;
mod keeper;
mod listener;
mod metrics;
mod owners;
mod partition;
mod pushed_metrics;
mod queue;
mod room;
mod settings;
pub mod shard;
mod share;
mod sync_pool;
mod throttle;
mod transactions;

pub use broker::{Broker, Overview, TopicOverview};
pub use clock::Clock;
pub use coordinator::GroupOverview;
pub use error::StartError;
pub use journal::{Entry, FramedEntry, Journal, ReplayError, Replayed};
pub use metrics::GroupLag;
pub use partition::{Owner, Partition};
pub use settings::{Advertised, BrokerSettings, Limits, NODE_ID, Storage, loopback};
pub use sync_pool::SyncPool;
