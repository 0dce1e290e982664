//! Hybrid mode: a record is stored by the embedded broker first and then forwarded to Kafka, in order and exactly once.
//!
//! The embedded broker is the store-and-forward buffer: a publish is answered when the record is on this disk, and names Kafka's
//! part as forwarded or pending. What it keeps true: a forwarded partition's records reach Kafka in the order in which they were
//! stored here, each once, whatever is killed in between, because records and progress are one Kafka transaction
//! (`forwarder.rs`, `progress.rs`). Topics that exist on both sides are forwarded, and those that were made in hybrid mode
//! (`topics.rs`) also when they are still missing there.
//!
//! - [`Hybrid`]: what handlers call. `status.rs`: where the forwarder is, for `/v1/hybrid` and `/metrics`.

mod api;
mod forwarder;
mod progress;
mod status;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use client::{Acknowledged, ClientError, ErrorKind, OutgoingRecord};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use api::router;
pub use status::{HybridStatus, metrics_text};

use crate::backend::Backends;
use crate::table::TableError;
use forwarder::Forwarder;
use status::Board;
use topics::HybridTopics;
pub use topics::is_away;

/// How long a publish waits for its record to reach a Kafka that is there; later it is told as pending, and still arrives.
const FORWARD_WAIT: Duration = Duration::from_secs(5);

/// How long Kafka may take to say whether it has a topic.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What became of Kafka's half of a publish.
#[derive(Debug)]
pub enum KafkaPart {
    /// It is on the cluster.
    Forwarded,
    /// It is stored here and goes to Kafka as soon as that answers; the reason why it has not yet.
    Pending(String),
    /// Its topic is on this side only: not on Kafka, and not made in hybrid mode.
    NotForwarded,
}

/// The handle of hybrid mode; dropping it ends the forwarder.
pub struct Hybrid {
    backends: Backends,
    board: Board,
    topics: Arc<OnceCell<HybridTopics>>,
    forwarding: JoinHandle<()>,
}

impl Drop for Hybrid {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

impl Hybrid {
    /// Starts forwarding; nothing when the mode has only one backend.
    pub fn start(backends: &Backends) -> Option<Hybrid> {
        let (local, kafka) = (backends.in_memory()?, backends.kafka()?);
        let board = Board::new();
        let topics = Arc::new(OnceCell::new());
        let forwarder = Forwarder::new(
            local.clone(),
            kafka.clone(),
            board.clone(),
            Arc::clone(&topics),
        );
        Some(Hybrid {
            backends: backends.clone(),
            board,
            topics,
            forwarding: tokio::spawn(forwarder.run()),
        })
    }

    /// Stores a record here and waits a little for it to be on Kafka.
    ///
    /// The topic must exist here; one that Kafka does not have and that was not made in hybrid mode stays here (`NotForwarded`).
    ///
    /// # Errors
    /// The record was not stored here; then it does not go to Kafka either.
    pub async fn publish(
        &self,
        record: &OutgoingRecord<'_>,
    ) -> Result<(Acknowledged, KafkaPart), ClientError> {
        let local = self.backends.primary();
        let stored = local.producer()?.send(record)?.await?;
        self.board.wake();
        let part = self.kafka_part(record.topic, stored.partition, stored.offset);
        Ok((stored, part.await))
    }

    /// What becomes of Kafka's half of a record that is stored here; waits a little for it to be forwarded.
    pub async fn kafka_part(&self, topic: &str, partition: i32, offset: i64) -> KafkaPart {
        if self.is_of_this_side_only(topic).await {
            return KafkaPart::NotForwarded;
        }
        let forwarded = self
            .board
            .wait_until_forwarded(topic, partition, offset, FORWARD_WAIT);
        forwarded.await
    }

    /// Whether the topic was not made in hybrid mode, and Kafka says that it does not have it.
    async fn is_of_this_side_only(&self, topic: &str) -> bool {
        let topics = self.topics.get();
        if topics.is_none_or(|topics| topics.wants(topic)) {
            return false;
        }
        let Some(kafka) = self.backends.kafka() else {
            return false;
        };
        let asked = timeout(LOOK_LIMIT, kafka.reader().topic(topic)).await;
        matches!(asked, Ok(Err(error)) if error.kind() == ErrorKind::NotFound)
    }

    /// Notes that a topic belongs on both sides: Kafka gets it, now or when it is back.
    ///
    /// # Errors
    /// The note was not stored.
    pub async fn topic_created(&self, name: &str, partitions: i32) -> Result<(), TableError> {
        self.topics().await?.created(name, partitions).await?;
        self.board.wake();
        Ok(())
    }

    /// Notes that a topic is to be gone from both sides: Kafka deletes it, now or when it is back.
    ///
    /// # Errors
    /// The note was not stored.
    pub async fn topic_deleted(&self, name: &str) -> Result<(), TableError> {
        self.topics().await?.deleted(name).await?;
        self.board.wake();
        Ok(())
    }

    pub fn status(&self) -> HybridStatus {
        self.board.status()
    }

    async fn topics(&self) -> Result<&HybridTopics, TableError> {
        let local = self.backends.primary();
        self.topics
            .get_or_try_init(|| HybridTopics::open(local))
            .await
    }
}
