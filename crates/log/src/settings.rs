//! The settings of one partition's log, as the topic's configuration gives them. Defaults are Kafka's.

use std::time::Duration;

use crate::compaction::CompactionSettings;
use crate::offset::ByteCount;

/// When appended records count as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once they are synced to the disk.
    #[default]
    Sync,
    /// Once the operating system has them; synced at intervals.
    Interval,
    /// Once the operating system has them; synced when it likes.
    Os,
}

/// Whose clock stamps the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's, when it appends. The only setting that changes a stored batch (its header, not its records).
    LogAppendTime,
}

/// How a log cuts segments, indexes them, and lets them go.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// A segment is closed before it grows beyond this (`segment.bytes`).
    pub segment_bytes: ByteCount,
    /// A segment is closed once its first and the next record are this far apart (`segment.ms`).
    pub segment_age: Duration,
    /// The most that is taken from `segment_age`, another part of it for each segment (`segment.jitter.ms`).
    pub segment_jitter: Duration,
    /// A segment is closed before its offset index grows beyond this (`segment.index.bytes`).
    pub segment_index_bytes: ByteCount,
    /// Whether the disk reserves a segment's full size when it begins (`preallocate`).
    pub preallocate: bool,
    /// At least this much lies between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: ByteCount,
    /// Segments whose last record is older are deleted; `None` keeps them (`retention.ms`).
    pub retention_age: Option<Duration>,
    /// The oldest segments are deleted while the rest still has this much; `None` keeps them (`retention.bytes`).
    pub retention_bytes: Option<ByteCount>,
    /// The files of deleted segments stay so long (`file.delete.delay.ms`).
    pub file_delete_delay: Duration,
    /// Whether readers are led past stretches that recovery found damaged, instead of being refused there (`thalweg.damaged.records`).
    pub skips_damage: bool,
    /// Keeps the last record of each key; `None` keeps all (`cleanup.policy`).
    pub compaction: Option<CompactionSettings>,
    /// The largest batch that is taken (`max.message.bytes`); checked by the caller, kept here for its view.
    pub max_message_bytes: ByteCount,
    /// Whose clock stamps the records (`message.timestamp.type`).
    pub timestamp_type: TimestampType,
    /// When appended records count as stored (`thalweg.durability`).
    pub durability: Durability,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            segment_bytes: ByteCount::mebibytes(1024),
            segment_age: Duration::from_secs(7 * 24 * 3600),
            segment_jitter: Duration::ZERO,
            segment_index_bytes: ByteCount::mebibytes(10),
            preallocate: false,
            index_interval_bytes: ByteCount(4096),
            retention_age: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            file_delete_delay: Duration::from_secs(60),
            skips_damage: false,
            compaction: None,
            max_message_bytes: ByteCount(1_048_588),
            timestamp_type: TimestampType::CreateTime,
            durability: Durability::Sync,
        }
    }
}

impl LogSettings {
    /// The entries that an offset index may have, 8 bytes each.
    pub(crate) fn most_index_entries(&self) -> u64 {
        (self.segment_index_bytes.0 / 8).max(1)
    }

    /// The entries that a time index may have, 12 bytes each, one of them for the end of the segment.
    pub(crate) fn most_time_index_entries(&self) -> u64 {
        (self.segment_index_bytes.0 / 12).max(2) - 1
    }
}
