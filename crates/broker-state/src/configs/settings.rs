//! What a topic's configuration means to the parts that act on it: plain typed values, resolved once per change.

use std::collections::BTreeMap;

use super::key::ConfigError;
use super::{TopicKey, topic_key};

/// The interval of `thalweg.durability=interval` when `flush.ms` is not set.
pub const DEFAULT_FLUSH_MS: i64 = 1_000;

/// When an acknowledged record survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged or seen by a consumer.
    Sync,
    /// At most this long after it is acknowledged.
    Interval { flush_ms: i64 },
    /// When the operating system writes it.
    Os,
}

/// How batches are compressed on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer did.
    Producer,
    Uncompressed,
    /// -1 is gzip's own default.
    Gzip {
        level: i32,
    },
    Snappy,
    Lz4 {
        level: i32,
    },
    Zstd {
        level: i32,
    },
}

/// The resolved settings of a topic: its own values over the broker's over the defaults. Times are in
/// milliseconds and sizes in bytes, as in the keys they come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicSettings {
    pub segment_bytes: u64,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u64,
    pub index_interval_bytes: u64,
    /// `None`: no limit.
    pub retention_ms: Option<i64>,
    /// `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy` has `delete`.
    pub deletes_by_retention: bool,
    /// `cleanup.policy` has `compact`.
    pub is_compacted: bool,
    pub max_message_bytes: usize,
    pub is_log_append_time: bool,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub compression: Compression,
    pub durability: Durability,
    pub min_insync_replicas: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub preallocate: bool,
    pub compression_levels: CompressionLevels,
    /// Consumers are led past damaged records.
    pub skips_damage: bool,
    /// `flush.ms` as it is set; `durability` has what it means.
    pub flush_ms: i64,
    pub flush_messages: i64,
    /// `errors.deadletterqueue.group.enable`
    pub takes_dead_letters: bool,
}

/// The level of each codec that has one, kept while another codec is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionLevels {
    pub gzip: i32,
    pub lz4: i32,
    pub zstd: i32,
}

impl Default for TopicSettings {
    /// A topic without configuration on a broker without configuration.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(604_800_000),
            retention_bytes: None,
            deletes_by_retention: true,
            is_compacted: false,
            max_message_bytes: 1_048_588,
            is_log_append_time: false,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            compression: Compression::Producer,
            durability: Durability::Sync,
            min_insync_replicas: 1,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            preallocate: false,
            compression_levels: CompressionLevels {
                gzip: -1,
                lz4: 9,
                zstd: 3,
            },
            skips_damage: false,
            flush_ms: i64::MAX,
            flush_messages: i64::MAX,
            takes_dead_letters: false,
        }
    }
}

impl TopicSettings {
    /// These settings with a topic's own values over them.
    ///
    /// # Errors
    /// `UnknownKey` and `InvalidValue`, which checked values never give.
    pub fn with(mut self, values: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        for (name, value) in values {
            self.set(topic_key(name)?, value)?;
        }
        Ok(self)
    }

    pub(super) fn set(&mut self, topic_key: &TopicKey, value: &str) -> Result<(), ConfigError> {
        let value = topic_key.key.canonical(value)?;
        let number = || value.parse::<i64>().expect("a checked integer");
        let size = || number().max(0).unsigned_abs();
        let small = || i32::try_from(number()).expect("a checked 32-bit integer");
        match topic_key.key.name {
            "cleanup.policy" => {
                self.deletes_by_retention = value.split(',').any(|policy| policy == "delete");
                self.is_compacted = value.split(',').any(|policy| policy == "compact");
            }
            "compression.gzip.level" => self.set_levels(|levels| levels.gzip = small()),
            "compression.lz4.level" => self.set_levels(|levels| levels.lz4 = small()),
            "compression.zstd.level" => self.set_levels(|levels| levels.zstd = small()),
            "compression.type" => self.compression = self.compression_named(&value),
            "delete.retention.ms" => self.delete_retention_ms = number(),
            "errors.deadletterqueue.group.enable" => self.takes_dead_letters = value == "true",
            "file.delete.delay.ms" => self.file_delete_delay_ms = number(),
            "flush.messages" => self.flush_messages = number(),
            "flush.ms" => self.set_flush_ms(number()),
            "index.interval.bytes" => self.index_interval_bytes = size(),
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = number(),
            "max.message.bytes" => self.max_message_bytes = small().unsigned_abs() as usize,
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms = number(),
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms = number(),
            "message.timestamp.type" => self.is_log_append_time = value == "LogAppendTime",
            "min.cleanable.dirty.ratio" => {
                self.min_cleanable_dirty_ratio = value.parse().expect("a checked number");
            }
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = number(),
            "min.insync.replicas" => self.min_insync_replicas = small(),
            "preallocate" => self.preallocate = value == "true",
            "retention.bytes" => self.retention_bytes = u64::try_from(number()).ok(),
            "retention.ms" => self.retention_ms = Some(number()).filter(|limit| *limit >= 0),
            "segment.bytes" => self.segment_bytes = size(),
            "segment.index.bytes" => self.segment_index_bytes = size(),
            "segment.jitter.ms" => self.segment_jitter_ms = number(),
            "segment.ms" => self.segment_ms = number(),
            "thalweg.damaged.records" => self.skips_damage = value == "skip",
            "thalweg.durability" => self.durability = self.durability_named(&value),
            // Kept and shown, and nothing here acts on them.
            _ => {}
        }
        Ok(())
    }

    fn set_levels(&mut self, change: impl FnOnce(&mut CompressionLevels)) {
        change(&mut self.compression_levels);
        let levels = self.compression_levels;
        match &mut self.compression {
            Compression::Gzip { level } => *level = levels.gzip,
            Compression::Lz4 { level } => *level = levels.lz4,
            Compression::Zstd { level } => *level = levels.zstd,
            Compression::Producer | Compression::Uncompressed | Compression::Snappy => {}
        }
    }

    fn compression_named(&self, name: &str) -> Compression {
        let levels = self.compression_levels;
        match name {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip { level: levels.gzip },
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4 { level: levels.lz4 },
            "zstd" => Compression::Zstd { level: levels.zstd },
            _ => Compression::Producer,
        }
    }

    fn set_flush_ms(&mut self, flush_ms: i64) {
        self.flush_ms = flush_ms;
        if let Durability::Interval { .. } = self.durability {
            self.durability = self.durability_named("interval");
        }
    }

    fn durability_named(&self, name: &str) -> Durability {
        match name {
            "interval" if self.flush_ms == i64::MAX => Durability::Interval {
                flush_ms: DEFAULT_FLUSH_MS,
            },
            "interval" => Durability::Interval {
                flush_ms: self.flush_ms,
            },
            "os" => Durability::Os,
            _ => Durability::Sync,
        }
    }
}

/// Checks what no single value shows: values of one topic that contradict each other or `defaults` (what the broker
/// gives a topic without values), or ask for what is not here.
///
/// # Errors
/// `Conflict`, in Kafka's words.
pub fn check_combination(
    defaults: TopicSettings,
    values: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let settings = defaults.with(values)?;
    let (least, most) = (
        settings.min_compaction_lag_ms,
        settings.max_compaction_lag_ms,
    );
    if least > most {
        return Err(ConfigError::Conflict(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )));
    }
    if values
        .get("remote.storage.enable")
        .is_some_and(|value| value == "true")
    {
        return Err(ConfigError::Conflict(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    Ok(())
}
