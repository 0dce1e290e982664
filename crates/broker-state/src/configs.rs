//! Configuration: every key of Kafka 4.x for topics, groups and client metrics, the broker keys that mean something
//! here or that tools ask for, how a value is checked, where it comes from, and what it resolves to.
//!
//! Keeps true: a value that is stored has been checked and is in canonical form ("TRUE" is stored as "true"); the
//! tables are sorted by name; a topic's settings are its own values over the broker's over the defaults.

mod broker_config;
mod broker_keys;
mod client_metrics;
mod describe;
mod group_config;
mod group_keys;
mod iso_duration;
mod key;
mod settings;
mod topic_keys;

#[cfg(test)]
mod tests;

pub use broker_config::{BrokerConfig, BrokerScope};
pub use broker_keys::{broker_key, broker_keys};
pub use client_metrics::{
    CLIENT_METRICS_KEYS, ClientMatch, Criterion, MetricsSubscription, check_client_metrics_values,
    client_metrics_key,
};
pub use describe::{
    ConfigEntry, ConfigSource, ConfigSynonym, describe_broker, describe_client_metrics,
    describe_group, describe_topic,
};
pub use group_config::{
    ConsumerGroupConfig, GroupConfig, GroupConfigs, ShareGroupConfig, ShareOffsetReset,
    StreamsGroupConfig, Values, check_group_values,
};
pub use group_keys::{GROUP_KEYS, GroupKey, group_key};
pub use key::{ConfigError, ConfigKey, ConfigType, MAX_VALUE_BYTES, Rule, Update};
pub use settings::{Compression, CompressionLevels, Durability, TopicSettings, check_combination};
pub use topic_keys::{Synonym, TOPIC_KEYS, TopicKey, topic_key};
