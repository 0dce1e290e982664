//! What the configuration of a group means to the coordinators: plain typed values, resolved once per change.
//!
//! Keeps true: every value lies within the limits that the broker has now, even where it was stored under others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::iso_duration::parse_iso_duration;
use super::key::ConfigType;
use super::{BrokerConfig, ConfigError, GROUP_KEYS, GroupKey, group_key};

/// The values that are set for one resource, by key, in canonical form.
pub type Values = BTreeMap<String, String>;

/// The effective settings of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    pub consumer: ConsumerGroupConfig,
    pub share: ShareGroupConfig,
    pub streams: StreamsGroupConfig,
}

/// Of a group of the consumer protocol (KIP-848).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub assignment_interval: Duration,
}

/// Of a share group (KIP-932).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroupConfig {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub assignment_interval: Duration,
    pub record_lock_duration: Duration,
    /// Deliveries after which a record is given up.
    pub delivery_count_limit: u16,
    /// Records of one partition in flight.
    pub partition_max_record_locks: usize,
    pub auto_offset_reset: ShareOffsetReset,
    pub is_read_committed: bool,
    /// Whether a lock may be renewed.
    pub renews_locks: bool,
    /// Where records go that are given up (KIP-1191).
    pub dead_letter_topic: Option<Arc<str>>,
    /// Whether they go there with their keys and values.
    pub copies_dead_letters: bool,
}

/// Of a streams group (KIP-1071).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsGroupConfig {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub assignment_interval: Duration,
    pub initial_rebalance_delay: Duration,
    pub standby_replicas: i32,
}

/// Where a share group begins in a partition that it has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOffsetReset {
    Latest,
    Earliest,
    /// At the first record that is not older than this.
    ByDuration(Duration),
}

/// The effective settings of every group; cheap to clone, for the published image of the cluster.
#[derive(Clone, Debug)]
pub struct GroupConfigs {
    defaults: Arc<GroupConfig>,
    by_group: Arc<HashMap<Arc<str>, Arc<GroupConfig>>>,
}

impl GroupConfigs {
    /// The settings of groups without values, and of those with.
    pub fn new(
        defaults: GroupConfig,
        by_group: impl Iterator<Item = (Arc<str>, Arc<GroupConfig>)>,
    ) -> Self {
        Self {
            defaults: Arc::new(defaults),
            by_group: Arc::new(by_group.collect()),
        }
    }

    /// The groups that have settings of their own, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.by_group.keys().map(AsRef::as_ref).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// The settings of a group, whether it exists or not.
    pub fn of(&self, group: &str) -> &GroupConfig {
        let own = self.by_group.get(group);
        own.unwrap_or(&self.defaults)
    }
}

impl Default for GroupConfigs {
    /// A broker without configuration.
    fn default() -> Self {
        Self::new(GroupConfig::default(), std::iter::empty())
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self::resolve(&BrokerConfig::default(), &Values::new())
    }
}

impl GroupConfig {
    /// The settings of a group with these checked values on a broker with this configuration.
    pub fn resolve(broker: &BrokerConfig, values: &Values) -> Self {
        let text = |name: &str| effective(broker, values, known(name));
        let number = |name: &str| text(name).parse::<i64>().expect("a checked integer");
        let millis = |name: &str| Duration::from_millis(number(name).max(0).unsigned_abs());
        let small = |name: &str| number(name).clamp(0, i32::MAX.into()) as i32;
        Self {
            consumer: ConsumerGroupConfig {
                session_timeout: millis("consumer.session.timeout.ms"),
                heartbeat_interval: millis("consumer.heartbeat.interval.ms"),
                assignment_interval: millis("consumer.assignment.interval.ms"),
            },
            share: ShareGroupConfig {
                session_timeout: millis("share.session.timeout.ms"),
                heartbeat_interval: millis("share.heartbeat.interval.ms"),
                assignment_interval: millis("share.assignment.interval.ms"),
                record_lock_duration: millis("share.record.lock.duration.ms"),
                delivery_count_limit: small("share.delivery.count.limit").min(i16::MAX.into())
                    as u16,
                partition_max_record_locks: small("share.partition.max.record.locks") as usize,
                auto_offset_reset: ShareOffsetReset::parse(&text("share.auto.offset.reset"))
                    .expect("a checked reset"),
                is_read_committed: text("share.isolation.level") == "read_committed",
                renews_locks: text("share.renew.acknowledge.enable") == "true",
                dead_letter_topic: Some(text("errors.deadletterqueue.topic.name"))
                    .filter(|name| !name.is_empty())
                    .map(Arc::from),
                copies_dead_letters: text("errors.deadletterqueue.copy.record.enable") == "true",
            },
            streams: StreamsGroupConfig {
                session_timeout: millis("streams.session.timeout.ms"),
                heartbeat_interval: millis("streams.heartbeat.interval.ms"),
                assignment_interval: millis("streams.assignment.interval.ms"),
                initial_rebalance_delay: millis("streams.initial.rebalance.delay.ms"),
                standby_replicas: small("streams.num.standby.replicas"),
            },
        }
    }
}

impl ShareOffsetReset {
    /// `latest`, `earliest`, or `by_duration:` with an ISO 8601 duration; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "latest" => Some(Self::Latest),
            "earliest" => Some(Self::Earliest),
            _ => parse_iso_duration(text.strip_prefix("by_duration:")?).map(Self::ByDuration),
        }
    }
}

fn known(name: &str) -> &'static GroupKey {
    group_key(name).expect("a key of the table")
}

/// What a key is for a group with these values, within the broker's limits.
pub(super) fn effective(broker: &BrokerConfig, values: &Values, group_key: &GroupKey) -> String {
    let value = match values.get(group_key.key.name) {
        Some(own) => own.clone(),
        None => default_of(broker, group_key),
    };
    let number = value.parse::<i64>();
    let (Ok(number), ConfigType::Int) = (number, group_key.key.kind) else {
        return value;
    };
    let (least, most) = limits(broker, group_key);
    number.max(least).min(most).to_string()
}

/// What a key is for a group without a value of its own.
pub(super) fn default_of(broker: &BrokerConfig, group_key: &GroupKey) -> String {
    let of_broker = group_key
        .synonym
        .and_then(|synonym| broker.value(synonym))
        .or(group_key.key.default);
    of_broker.unwrap_or_default().to_owned()
}

fn limits(broker: &BrokerConfig, group_key: &GroupKey) -> (i64, i64) {
    let limit = |name: Option<&str>| name.map(|name| broker.integer(name));
    (
        limit(group_key.least).unwrap_or(i64::MIN),
        limit(group_key.most).unwrap_or(i64::MAX),
    )
}

/// Brings the values that a group is to have into canonical form.
///
/// # Errors
/// `UnknownKey`, `InvalidValue`; `Conflict`, in Kafka's words, for what lies outside the broker's limits or for a
/// session that ends before its heartbeat.
pub fn check_group_values(broker: &BrokerConfig, wanted: &Values) -> Result<Values, ConfigError> {
    let mut checked = Values::new();
    for (name, value) in wanted {
        let value = group_key(name)?.key.canonical(value)?;
        checked.insert(name.clone(), value);
    }
    for group_key in GROUP_KEYS {
        if let Some(value) = checked.get(group_key.key.name) {
            check_limits(broker, group_key, value)?;
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let session = format!("{kind}.session.timeout.ms");
        let heartbeat = format!("{kind}.heartbeat.interval.ms");
        let millis = |name: &str| -> i64 {
            let value = checked.get(name).cloned();
            let value = value.unwrap_or_else(|| default_of(broker, known(name)));
            value.parse().expect("a checked integer")
        };
        let is_set = checked.contains_key(&session) || checked.contains_key(&heartbeat);
        if is_set && millis(&session) <= millis(&heartbeat) {
            let reason = format!("{session} must be greater than {heartbeat}");
            return Err(ConfigError::Conflict(reason));
        }
    }
    Ok(checked)
}

fn check_limits(
    broker: &BrokerConfig,
    group_key: &GroupKey,
    value: &str,
) -> Result<(), ConfigError> {
    let Ok(number) = value.parse::<i64>() else {
        return Ok(());
    };
    let (least, most) = limits(broker, group_key);
    let (name, beyond) = (group_key.key.name, |relation, limit: Option<&str>| {
        let limit = limit.unwrap_or_default();
        format!("must be {relation} than or equal to {limit}")
    });
    let reason = match number {
        low if low < least => beyond("greater", group_key.least),
        high if high > most => beyond("less", group_key.most),
        _ => return Ok(()),
    };
    Err(ConfigError::Conflict(format!("{name} {reason}")))
}
