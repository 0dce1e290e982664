//! Every configuration key of a group (resource type 32), sorted by name: Kafka 4.3's.
//!
//! A group's own value counts over the broker key that is its synonym, and lies within two other broker keys where
//! Kafka has them. Source: names, types, ranges, defaults and synonyms as Kafka 4.3.1 answers them, dead letters as in Kafka 4.4 (KIP-1191);
//! the sentences are ours.

use super::key::{ConfigKey, ConfigType, Rule, Update, suggest};
use crate::configs::ConfigError;

/// A group key, the broker key that gives its default, and those that limit it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupKey {
    pub key: ConfigKey,
    /// The broker key that counts when the group has no value; `None`: the default of the key itself.
    pub synonym: Option<&'static str>,
    /// The broker key below whose value a group may not go.
    pub least: Option<&'static str>,
    /// The broker key above whose value a group may not go.
    pub most: Option<&'static str>,
}

/// The key of this name.
///
/// # Errors
/// `UnknownKey`, with the name that was probably meant.
pub fn group_key(name: &str) -> Result<&'static GroupKey, ConfigError> {
    match GROUP_KEYS.binary_search_by_key(&name, |entry| entry.key.name) {
        Ok(found) => Ok(&GROUP_KEYS[found]),
        Err(_) => Err(ConfigError::UnknownKey {
            level: "group",
            name: name.to_owned(),
            suggestion: suggest(name, GROUP_KEYS.iter().map(|entry| entry.key.name)),
        }),
    }
}

const fn group(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    rule: Rule,
    documentation: &'static str,
) -> GroupKey {
    let key = ConfigKey {
        name,
        kind,
        default: Some(default),
        rule,
        update: Update::Dynamic,
        documentation,
    };
    GroupKey {
        key,
        synonym: None,
        least: None,
        most: None,
    }
}

impl GroupKey {
    const fn over(mut self, synonym: &'static str) -> Self {
        self.synonym = Some(synonym);
        self
    }

    const fn within(mut self, least: &'static str, most: &'static str) -> Self {
        self.least = Some(least);
        self.most = Some(most);
        self
    }

    const fn at_most(mut self, most: &'static str) -> Self {
        self.most = Some(most);
        self
    }
}

use ConfigType::{Boolean, Int, String};
use Rule::{Anything, AtLeast, DeadLetterTopic, OffsetReset, OneOf};

/// All group keys, sorted by name.
#[rustfmt::skip]
pub static GROUP_KEYS: &[GroupKey] = &[
    group("consumer.assignment.interval.ms", Int, "1000", AtLeast(0),
        "Shortest time between two assignments of the group by the broker.")
        .over("group.consumer.assignment.interval.ms")
        .within("group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    group("consumer.heartbeat.interval.ms", Int, "5000", AtLeast(1),
        "Time between heartbeats that members are told to keep.")
        .over("group.consumer.heartbeat.interval.ms")
        .within("group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    group("consumer.session.timeout.ms", Int, "45000", AtLeast(1),
        "Time without heartbeats after which a member is removed.")
        .over("group.consumer.session.timeout.ms")
        .within("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    group("errors.deadletterqueue.copy.record.enable", Boolean, "false", Anything,
        "Whether a dead letter has the key and the value of its record, or only headers that say which one it is."),
    group("errors.deadletterqueue.topic.name", String, "", DeadLetterTopic,
        "The topic for records that the share group gives up; empty: there is none."),
    group("share.assignment.interval.ms", Int, "1000", AtLeast(0),
        "Shortest time between two assignments of the share group.")
        .over("group.share.assignment.interval.ms")
        .within("group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    group("share.auto.offset.reset", String, "latest", OffsetReset,
        "Where the share group begins in a partition that it has not read: 'latest', 'earliest', or 'by_duration:' and how long ago."),
    group("share.delivery.count.limit", Int, "5", AtLeast(2),
        "How often a record is delivered to the share group before it is given up.")
        .over("group.share.delivery.count.limit")
        .within("group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    group("share.heartbeat.interval.ms", Int, "5000", AtLeast(1),
        "Time between heartbeats that members of the share group are told to keep.")
        .over("group.share.heartbeat.interval.ms")
        .within("group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    group("share.isolation.level", String, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]),
        "Whether the share group is given records of transactions that were not committed."),
    group("share.partition.max.record.locks", Int, "2000", AtLeast(100),
        "Most records of one partition that the share group has in flight.")
        .over("group.share.partition.max.record.locks")
        .within("group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    group("share.record.lock.duration.ms", Int, "30000", AtLeast(1_000),
        "How long a record that one member has acquired is kept from the others.")
        .over("group.share.record.lock.duration.ms")
        .within("group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    group("share.renew.acknowledge.enable", Boolean, "true", Anything,
        "Whether a member may renew the lock of a record that it is still working on."),
    group("share.session.timeout.ms", Int, "45000", AtLeast(1),
        "Time without heartbeats after which a member of the share group is removed.")
        .over("group.share.session.timeout.ms")
        .within("group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    group("streams.assignment.interval.ms", Int, "1000", AtLeast(0),
        "Shortest time between two assignments of the streams group.")
        .over("group.streams.assignment.interval.ms")
        .within("group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
    group("streams.heartbeat.interval.ms", Int, "5000", AtLeast(1),
        "Time between heartbeats that members of the streams group are told to keep.")
        .over("group.streams.heartbeat.interval.ms")
        .within("group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    group("streams.initial.rebalance.delay.ms", Int, "3000", AtLeast(0),
        "How long the streams group, when it is new, waits for more members before its first assignment.")
        .over("group.streams.initial.rebalance.delay.ms"),
    group("streams.num.standby.replicas", Int, "0", AtLeast(0),
        "Standby copies of each task of the streams group.")
        .over("group.streams.num.standby.replicas")
        .at_most("group.streams.max.standby.replicas"),
    group("streams.session.timeout.ms", Int, "45000", AtLeast(1),
        "Time without heartbeats after which a member of the streams group is removed.")
        .over("group.streams.session.timeout.ms")
        .within("group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
];
