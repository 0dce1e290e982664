//! A shard owns partitions: their logs and their producers' state. It works in steps:
//! take all waiting events → decide → write → sync → publish → reply.
//!
//! What it keeps true:
//! - a reply leaves after what it promises is as durable as its topic says (`AckedIsDurable`);
//! - readers never see past what is durable (`VisibleIsDurable`);
//! - sequences are checked and advanced in the order of the events, before anything is written.
//!
//! `Shard::step` is plain code without threads or clocks, which the simulation drives; `thread` runs it.

mod admission;
mod background;
mod event;
mod owned;
mod space;
mod step;
mod thread;
mod upkeep;

pub use event::{
    AppendItem, AppendOutcome, Event, Marker, MarkerOutcome, OpenRequest, Reply, Slot,
};
pub use owned::log_settings;
pub use step::{Checkpointing, Completed, Fatal, Shard, StepTimes};
pub use thread::{OnFatal, ShardHandle, spawn};
pub use upkeep::{CompactionNeed, Deletion, Trimming, UpkeepSettings};
