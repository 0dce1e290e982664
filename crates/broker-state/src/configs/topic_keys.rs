//! Every topic configuration key, sorted by name: Kafka 4.3's, and our own `thalweg.durability`.
//!
//! Source: names, types, ranges, defaults and synonyms as Kafka 4.3.1 answers them; the sentences are ours.

use super::key::{ConfigKey, ConfigType, Rule, Update, suggest};
use crate::configs::ConfigError;

/// A topic key and the broker keys that give its default, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicKey {
    pub key: ConfigKey,
    pub synonyms: &'static [Synonym],
}

/// A broker key that a topic key takes its default from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    /// How many of the topic key's units one of the broker key's is: 3,600,000 for hours.
    pub factor: i64,
}

/// The key of this name.
///
/// # Errors
/// `UnknownKey`, with the name that was probably meant.
pub fn topic_key(name: &str) -> Result<&'static TopicKey, ConfigError> {
    match TOPIC_KEYS.binary_search_by_key(&name, |entry| entry.key.name) {
        Ok(found) => Ok(&TOPIC_KEYS[found]),
        Err(_) => Err(ConfigError::UnknownKey {
            level: "topic",
            name: name.to_owned(),
            suggestion: suggest(name, TOPIC_KEYS.iter().map(|entry| entry.key.name)),
        }),
    }
}

const fn topic(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    rule: Rule,
    synonyms: &'static [Synonym],
    documentation: &'static str,
) -> TopicKey {
    let key = ConfigKey {
        name,
        kind,
        default: Some(default),
        rule,
        update: Update::Dynamic,
        documentation,
    };
    TopicKey { key, synonyms }
}

const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 60_000,
    }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 3_600_000,
    }
}

pub(super) const LONG_MAX: &str = "9223372036854775807";
pub(super) const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
pub(super) const COMPRESSION_TYPES: &[&str] =
    &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
pub(super) const DAMAGE: &[&str] = &["refuse", "skip"];
pub(super) const DURABILITIES: &[&str] = &["sync", "interval", "os"];

use ConfigType::{Boolean, Double, Int, List, Long, String};
use Rule::{Anything, AtLeast, Between, BetweenOr, Fraction, ListOf, OneOf, ThrottledReplicas};

/// All topic keys, sorted by name.
#[rustfmt::skip]
pub static TOPIC_KEYS: &[TopicKey] = &[
    topic("cleanup.policy", List, "delete", ListOf(CLEANUP_POLICIES), &[same("log.cleanup.policy")],
        "What happens to old records: 'delete' drops segments beyond the retention limits, 'compact' keeps the last record of each key; both may be given, and an empty list keeps everything."),
    topic("compression.gzip.level", Int, "-1", BetweenOr(1, 9, -1), &[same("compression.gzip.level")],
        "The gzip level used when compression.type is gzip; -1 is gzip's own default."),
    topic("compression.lz4.level", Int, "9", Between(1, 17), &[same("compression.lz4.level")],
        "Kept for tools: the lz4 encoder that is built in has one level."),
    topic("compression.type", String, "producer", OneOf(COMPRESSION_TYPES), &[same("compression.type")],
        "How batches are compressed on the disk; 'producer' keeps each batch as it came, any other codec is used for every batch."),
    topic("compression.zstd.level", Int, "3", Between(-131_072, 22), &[same("compression.zstd.level")],
        "The zstd level used when compression.type is zstd."),
    topic("delete.retention.ms", Long, "86400000", AtLeast(0), &[same("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps the marker of a deleted key, so that a reader from the start sees the deletion."),
    topic("errors.deadletterqueue.group.enable", Boolean, "false", Anything, &[],
        "Whether share groups may put their dead letters here."),
    topic("file.delete.delay.ms", Long, "60000", AtLeast(0), &[same("log.segment.delete.delay.ms")],
        "How long the files of deleted or compacted segments stay on the disk; readers that have them open can finish in any case."),
    topic("flush.messages", Long, LONG_MAX, AtLeast(1), &[same("log.flush.interval.messages")],
        "Syncs once so many records wait for it when thalweg.durability is 'interval', looked at four times a second; with 'sync' none waits, with 'os' nothing is synced for it."),
    topic("flush.ms", Long, LONG_MAX, AtLeast(0), &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")],
        "The longest time between two syncs when thalweg.durability is 'interval'; unset means one second."),
    topic("follower.replication.throttled.replicas", List, "", ThrottledReplicas, &[],
        "Replicas whose replication is throttled on the follower's side; kept for tools, without effect on one broker."),
    topic("index.interval.bytes", Int, "4096", AtLeast(0), &[same("log.index.interval.bytes")],
        "About how many bytes of records lie between two entries of the offset index."),
    topic("leader.replication.throttled.replicas", List, "", ThrottledReplicas, &[],
        "Replicas whose replication is throttled on the leader's side; kept for tools, without effect on one broker."),
    topic("local.retention.bytes", Long, "-2", AtLeast(-2), &[same("log.local.retention.bytes")],
        "The local share of retention.bytes with tiered storage, which is not offered; -2 means retention.bytes."),
    topic("local.retention.ms", Long, "-2", AtLeast(-2), &[same("log.local.retention.ms")],
        "The local share of retention.ms with tiered storage, which is not offered; -2 means retention.ms."),
    topic("max.compaction.lag.ms", Long, LONG_MAX, AtLeast(1), &[same("log.cleaner.max.compaction.lag.ms")],
        "The longest time that a record may stay uncompacted in a compacted topic."),
    topic("max.message.bytes", Int, "1048588", AtLeast(0), &[same("message.max.bytes")],
        "The largest batch of records that is accepted, in bytes after compression; a larger one is refused with MESSAGE_TOO_LARGE."),
    topic("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), &[same("log.message.timestamp.after.max.ms")],
        "How far a record's timestamp may lie ahead of the broker's clock; has no effect with LogAppendTime."),
    topic("message.timestamp.before.max.ms", Long, LONG_MAX, AtLeast(0), &[same("log.message.timestamp.before.max.ms")],
        "How far a record's timestamp may lie behind the broker's clock; has no effect with LogAppendTime."),
    topic("message.timestamp.type", String, "CreateTime", OneOf(TIMESTAMP_TYPES), &[same("log.message.timestamp.type")],
        "Whether a record keeps the producer's timestamp (CreateTime) or gets the time of its append (LogAppendTime)."),
    topic("min.cleanable.dirty.ratio", Double, "0.5", Fraction, &[same("log.cleaner.min.cleanable.ratio")],
        "The share of uncompacted bytes from which a compacted log is compacted again."),
    topic("min.compaction.lag.ms", Long, "0", AtLeast(0), &[same("log.cleaner.min.compaction.lag.ms")],
        "The shortest time that a record stays uncompacted in a compacted topic."),
    topic("min.insync.replicas", Int, "1", AtLeast(1), &[same("min.insync.replicas")],
        "How many replicas must have a record before acks=all is answered; above 1 such a produce fails on one broker."),
    topic("preallocate", Boolean, "false", Anything, &[same("log.preallocate")],
        "Whether the disk reserves the full size of a new segment at once; the file grows as it is written."),
    topic("remote.log.copy.disable", Boolean, "false", Anything, &[],
        "Makes tiered data read-only; tiered storage is not offered."),
    topic("remote.log.delete.on.disable", Boolean, "false", Anything, &[],
        "Whether tiered data is deleted when tiering is switched off; tiered storage is not offered."),
    topic("remote.storage.enable", Boolean, "false", Anything, &[],
        "Switches tiered storage on for the topic; it is not offered, so 'true' is refused."),
    topic("retention.bytes", Long, "-1", Anything, &[same("log.retention.bytes")],
        "The size of a partition from which its oldest segments are deleted; negative means no limit."),
    topic("retention.ms", Long, "604800000", AtLeast(-1),
        &[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")],
        "The age from which a segment is deleted; -1 means no limit."),
    topic("segment.bytes", Int, "1073741824", AtLeast(1_048_576), &[same("log.segment.bytes")],
        "The size at which a new segment is begun."),
    topic("segment.index.bytes", Int, "10485760", AtLeast(4), &[same("log.index.size.max.bytes")],
        "The largest size of a segment's offset index."),
    topic("segment.jitter.ms", Long, "0", AtLeast(0), &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")],
        "The most that is taken at random from segment.ms, so that not all segments are begun at one time."),
    topic("segment.ms", Long, "604800000", AtLeast(1), &[same("log.roll.ms"), hours("log.roll.hours")],
        "The age at which a new segment is begun even if the present one is not full, so that retention can take it."),
    topic("thalweg.damaged.records", String, "refuse", OneOf(DAMAGE), &[],
        "What a consumer gets that comes to records which the disk has damaged: 'refuse' answers CORRUPT_MESSAGE until it seeks past them, as Kafka does; 'skip' goes on with the next good record, and the broker's log tells which offsets are gone."),
    topic("thalweg.durability", String, "sync", OneOf(DURABILITIES), &[same("thalweg.durability")],
        "When an acknowledged record is safe from a power cut: 'sync' before it is acknowledged or seen, 'interval' within flush.ms, 'os' when the operating system writes it."),
    topic("unclean.leader.election.enable", Boolean, "false", Anything, &[same("unclean.leader.election.enable")],
        "Whether a replica that lags may become the leader; without effect on one broker."),
];
