//! A durable partition log in Kafka's segment format, over a [`Disk`] trait.
//!
//! What it keeps true: offsets are dense until a log is compacted; readers see nothing that a crash could take back; what was synced survives; the files
//! are those of Kafka, byte for byte. It is synchronous and knows no clock, no randomness and no requests: times come in as
//! arguments, and the caller decides when to sync and on which thread to read.
//!
//! - [`PartitionLog`]: the owner's side, one thread (`append`, `recovery`, `checkpointing`, `retention`, `compaction`).
//! - [`SharedView`], [`PartitionView`], [`ReadPlan`]: the readers' side, any thread.
//! - [`Disk`], [`DiskFile`]: what a log stands on; [`FileDisk`], [`MemoryDisk`], [`SimDisk`], [`TightDisk`].

mod access;
mod append;
mod batch;
mod checkpoint;
mod checkpointing;
mod compaction;
mod cursors;
mod disk;
mod epochs;
mod error;
mod index;
mod offset;
mod partition;
mod read_plan;
mod recovery;
mod remains;
mod retention;
mod scan;
mod segment;
mod settings;
mod timestamps;
mod topic_id;
mod transaction_index;
mod transactions;
mod trimming;
mod verify;
mod view;
mod walk;

pub use append::Appended;
pub use checkpoint::MAX_PRODUCER_SNAPSHOT;
pub use checkpointing::{CheckpointJob, FinishedCheckpoint};
pub use compaction::{
    CompactionBuffer, CompactionJob, CompactionReport, CompactionSettings, Dirtiness,
    FinishedCompaction, Pace, ProducerEnd, ProducerEnds, RecordCounts, SwappedSegments,
};
pub use disk::{DirEntry, Disk, DiskFile, Fault, FileDisk, MemoryDisk, SimDisk, Space, TightDisk};
pub use error::LogError;
pub use offset::{ByteCount, Offset};
pub use partition::PartitionLog;
pub use read_plan::{Read, ReadPlan};
pub use recovery::{CorruptStretch, LostData, Recovery, Replay};
pub use remains::{DeletedSegment, DeletionReason, Remains, remove_leftover_partitions};
pub use segment::MaxTimestamp;
pub use settings::{Durability, LogSettings, TimestampType};
pub use topic_id::{read_topic_id, write_topic_id};
pub use transactions::AbortedTransaction;
pub use trimming::{TrimJob, Trimmed, delete_logs};
pub use verify::Finding;
pub use view::{Isolation, PartitionView, SharedView};
