//! The group coordinator's settings and limits, with Kafka's names and defaults where Kafka has them.

use std::time::Duration;

use super::consumer::{Assignor, MigrationPolicy};

/// Settings of the `Groups` machine; read at every step, so a change takes effect at the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`: how long the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`
    pub max_group_size: usize,
    /// `offset.metadata.max.bytes`
    pub max_offset_metadata_bytes: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Duration,
    /// How long a new member may wait in its first join before it is dropped (Kafka: five minutes, not configurable).
    pub new_member_join_timeout: Duration,
    /// Groups that may exist at once; a join beyond it is refused with `GROUP_MAX_SIZE_REACHED`, a commit with `POLICY_VIOLATION`.
    pub max_groups: usize,
    /// Committed partitions per group; a commit beyond it is refused with `INVALID_COMMIT_OFFSET_SIZE`.
    pub max_offsets_per_group: usize,
    /// The size of one member's protocols, names and metadata; a join beyond it is refused with `INVALID_REQUEST`.
    pub max_member_metadata_bytes: usize,
    /// The encoded size of a group's record; an assignment beyond it fails the rebalance with `UNKNOWN_SERVER_ERROR`, as in Kafka.
    pub max_group_record_bytes: usize,
    /// `group.consumer.*`: consumer groups (KIP-848).
    pub consumer: ConsumerGroupSettings,
    /// `group.share.*`: share groups (KIP-932).
    pub share: ShareGroupSettings,
    /// Groups and offsets that one tick looks at when it expires offsets; the rest follows in the next ticks.
    pub max_swept_per_tick: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        GroupSettings {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::ZERO,
            max_group_size: 10_000,
            max_offset_metadata_bytes: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(600),
            new_member_join_timeout: Duration::from_secs(5 * 60),
            max_groups: 100_000,
            max_offsets_per_group: 100_000,
            max_member_metadata_bytes: 1 << 20,
            max_group_record_bytes: 16 << 20,
            consumer: ConsumerGroupSettings::default(),
            share: ShareGroupSettings::default(),
            max_swept_per_tick: 50_000,
        }
    }
}

/// What the broker's configuration says of all consumer groups; what may differ by group is in `configs::GroupConfigs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupSettings {
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`: what members may ask for; the first one is for groups where nobody does.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`
    pub migration_policy: MigrationPolicy,
    /// Topics that one member may name; more is refused with `INVALID_REQUEST`.
    pub max_subscribed_topics: usize,
    /// Regular expressions of one group; more is refused with `INVALID_REGULAR_EXPRESSION`.
    pub max_regexes: usize,
}

impl Default for ConsumerGroupSettings {
    fn default() -> Self {
        ConsumerGroupSettings {
            max_size: 10_000,
            assignors: Assignor::ALL.to_vec(),
            migration_policy: MigrationPolicy::default(),
            max_subscribed_topics: 10_000,
            max_regexes: 100,
        }
    }
}

/// What the broker's configuration says of share groups' membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroupSettings {
    /// `group.share.session.timeout.ms`
    pub session_timeout: Duration,
    /// `group.share.heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `group.share.max.size`
    pub max_size: usize,
}

impl Default for ShareGroupSettings {
    fn default() -> Self {
        ShareGroupSettings {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: 200,
        }
    }
}
