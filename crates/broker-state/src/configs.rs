//! Configuration: every topic key of Kafka 4.x, the broker keys that mean something here or that tools ask for,
//! how a value is checked, where it comes from, and what it resolves to.
//!
//! Keeps true: a value that is stored has been checked and is in canonical form ("TRUE" is stored as "true"); the
//! tables are sorted by name; a topic's settings are its own values over the broker's over the defaults.

mod broker_config;
mod broker_keys;
mod describe;
mod key;
mod settings;
mod topic_keys;

#[cfg(test)]
mod tests;

pub use broker_config::{BrokerConfig, BrokerScope};
pub use broker_keys::{BROKER_KEYS, broker_key};
pub use describe::{ConfigEntry, ConfigSource, ConfigSynonym, describe_broker, describe_topic};
pub use key::{ConfigError, ConfigKey, ConfigType, MAX_VALUE_BYTES, Rule, Update};
pub use settings::{Compression, CompressionLevels, Durability, TopicSettings, check_combination};
pub use topic_keys::{Synonym, TOPIC_KEYS, TopicKey, topic_key};
