//! What a shard is asked, and what it answers.

use std::path::PathBuf;
use std::sync::Arc;

use broker_state::configs::TopicSettings;
use broker_state::producers::ProducerState;
use log::{FinishedCheckpoint, FinishedCompaction, Offset, SwappedSegments, Trimmed};
use wire::records::CheckedBatch;
use wire::{ErrorCode, Uuid};

use super::upkeep::UpkeepSettings;
use crate::partition::Partition;

/// Names a partition inside its shard; the same for the life of the partition.
pub type Slot = Arc<Partition>;

/// One batch for one partition.
#[derive(Debug)]
pub struct AppendItem {
    pub partition: Slot,
    pub batch: CheckedBatch,
    /// The high watermark that was read here before the transaction coordinator said that this batch's producer has the
    /// partition in its ongoing transaction; none when it was not asked. See `Producers::admit`.
    pub verified_at: Option<Offset>,
}

/// The end of one producer's transaction in one partition, as the transaction coordinator decided it.
#[derive(Clone, Debug)]
pub struct Marker {
    pub partition: Slot,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub coordinator_epoch: i32,
    /// From 2 on the epoch is the one that follows the transaction's own (KIP-890), before it is the same.
    pub transaction_version: i8,
    pub is_commit: bool,
}

/// What became of one marker.
pub type MarkerOutcome = ErrorCode;

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendOutcome {
    pub error: ErrorCode,
    /// What to tell the client about `error`.
    pub message: Option<String>,
    /// The records that are the reason, by their place in the batch, with what is wrong with each.
    pub record_errors: Vec<(i32, String)>,
    pub base_offset: i64,
    /// Set when the topic stamps the time of the append, else -1.
    pub log_append_time: i64,
    pub log_start: i64,
}

impl AppendOutcome {
    pub fn refused(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: Some(message.into()),
            record_errors: Vec::new(),
            base_offset: -1,
            log_append_time: -1,
            log_start: -1,
        }
    }
}

/// A partition to open, created when its directory is missing.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub index: i32,
    pub directory: PathBuf,
    pub settings: TopicSettings,
}

/// Work for a shard, with the way back to who asked.
pub enum Event {
    Append {
        items: Vec<AppendItem>,
        reply: Reply<Vec<AppendOutcome>>,
    },
    /// Ends transactions; answered when the markers are on the disk, whatever the durability of their topics.
    WriteMarkers {
        markers: Vec<Marker>,
        reply: Reply<Vec<MarkerOutcome>>,
    },
    Open {
        requests: Vec<OpenRequest>,
        reply: Reply<Result<Vec<Slot>, log::LogError>>,
    },
    Delete {
        partitions: Vec<Slot>,
        reply: Reply<()>,
    },
    Configure {
        partitions: Vec<Slot>,
        settings: TopicSettings,
    },
    /// Moves the log start to this offset (-1: to the high watermark); answers the new log start.
    DeleteRecords {
        partition: Slot,
        before: i64,
        reply: Reply<Result<i64, (ErrorCode, String)>>,
    },
    /// The producers that the partition remembers; none when it was deleted.
    DescribeProducers {
        partition: Slot,
        reply: Reply<Option<Vec<ProducerState>>>,
    },
    /// A checkpoint found no room on the disk; the one before it stays in force.
    CheckpointPutOff { partition: Slot },
    /// A checkpoint is on the disk.
    Checkpointed {
        partition: Slot,
        finished: FinishedCheckpoint,
    },
    /// A compacted segment has taken the place of others on the disk.
    Swapped {
        partition: Slot,
        swapped: SwappedSegments,
    },
    /// Retention found no room on the disk for what it has to note.
    TrimPutOff {
        partition: Slot,
        source: log::LogError,
    },
    /// Segments that retention has deleted.
    Trimmed { partition: Slot, trimmed: Trimmed },
    /// A compaction has ended.
    Compacted {
        partition: Slot,
        outcome: Result<FinishedCompaction, log::LogError>,
    },
    /// The broker's settings for retention and compaction.
    Upkeep(UpkeepSettings),
    /// Retention, compaction, interval syncs and checkpoints; sent by the thread, at least once a second.
    Tick,
    /// Closes all logs cleanly and ends the thread.
    Close { reply: Reply<()> },
}

/// Where an answer goes; a receiver that has gone away is no error.
pub struct Reply<T>(Box<dyn FnOnce(T) + Send>);

impl<T: Send + 'static> Reply<T> {
    pub fn new(deliver: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(deliver))
    }

    /// An answer that nobody waits for, as with `acks=0`.
    pub fn ignored() -> Self {
        Self(Box::new(|_| ()))
    }

    /// A reply and the future that it completes.
    pub fn channel() -> (Self, tokio::sync::oneshot::Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let deliver = move |value| {
            // The connection may be gone by now.
            let _ = sender.send(value);
        };
        (Self::new(deliver), receiver)
    }

    pub fn deliver(self, value: T) {
        (self.0)(value);
    }
}
