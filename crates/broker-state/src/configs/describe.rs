//! A configuration as DescribeConfigs shows it: every key with its value, where the value comes from, and what
//! would count if that source were gone.

use std::collections::BTreeMap;

use super::group_config::{Values, default_of};
use super::key::{ConfigKey, ConfigType, Update};
use super::{
    BrokerConfig, BrokerScope, CLIENT_METRICS_KEYS, GROUP_KEYS, GroupKey, TOPIC_KEYS, TopicKey,
};

/// Where a value comes from, with the number that DescribeConfigs uses for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    DynamicTopic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    DynamicClientMetrics = 7,
    DynamicGroup = 8,
}

impl ConfigSource {
    pub fn id(self) -> i8 {
        self as i8
    }
}

/// One value that a key has or would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: &'static str,
    /// `None` when it must not be shown.
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// One key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: &'static str,
    /// `None` when there is no value or it must not be shown.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
    /// The value that counts first, then those that it hides.
    pub synonyms: Vec<ConfigSynonym>,
    pub kind: ConfigType,
    pub documentation: &'static str,
}

impl ConfigEntry {
    /// Whether nobody has set it, for the versions of DescribeConfigs that tell only this.
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }
}

/// Every topic key for a topic with these values, by name; a `wanted` list with names in it leaves out all others.
pub fn describe_topic(
    broker: &BrokerConfig,
    values: &BTreeMap<String, String>,
    wanted: Option<&[&str]>,
) -> Vec<ConfigEntry> {
    TOPIC_KEYS
        .iter()
        .filter(|entry| is_wanted(&entry.key, wanted))
        .map(|entry| topic_entry(broker, values, entry))
        .collect()
}

fn topic_entry(
    broker: &BrokerConfig,
    values: &BTreeMap<String, String>,
    topic_key: &TopicKey,
) -> ConfigEntry {
    let own = values.get(topic_key.key.name);
    let mut synonyms = Vec::new();
    if let Some(value) = own {
        synonyms.push(ConfigSynonym {
            name: topic_key.key.name,
            value: Some(value.clone()),
            source: ConfigSource::DynamicTopic,
        });
    }
    // Of several broker keys Kafka shows only the first one's default.
    let first = topic_key.synonyms.first();
    let is_shown = |source, synonym| source != ConfigSource::Default || Some(synonym) == first;
    synonyms.extend(
        broker
            .synonym_layers(topic_key.synonyms)
            .filter(|(source, synonym, _)| is_shown(*source, *synonym))
            .map(|(source, synonym, value)| ConfigSynonym {
                name: synonym.name,
                value: Some(value.to_owned()),
                source,
            }),
    );
    let value = own
        .cloned()
        .unwrap_or_else(|| broker.topic_default(topic_key));
    entry(&topic_key.key, Some(value), synonyms)
}

/// Every broker key, by name; `AllBrokers` shows only what was changed for all brokers, as Kafka does.
pub fn describe_broker(
    broker: &BrokerConfig,
    scope: BrokerScope,
    wanted: Option<&[&str]>,
) -> Vec<ConfigEntry> {
    super::broker_keys()
        .iter()
        .filter(|key| is_wanted(key, wanted))
        .filter(|key| {
            scope == BrokerScope::ThisBroker || broker.dynamic(scope).contains_key(key.name)
        })
        .map(|key| broker_entry(broker, scope, key))
        .collect()
}

fn broker_entry(broker: &BrokerConfig, scope: BrokerScope, key: &ConfigKey) -> ConfigEntry {
    let synonyms: Vec<ConfigSynonym> = broker
        .layers(key.name)
        .filter(|(source, _)| {
            scope == BrokerScope::ThisBroker || *source == ConfigSource::DynamicDefaultBroker
        })
        .map(|(source, value)| ConfigSynonym {
            name: key.name,
            value: Some(value.to_owned()),
            source,
        })
        .collect();
    entry(
        key,
        synonyms.first().and_then(|first| first.value.clone()),
        synonyms,
    )
}

/// Every group key for a group with these values, by name; a `wanted` list with names in it leaves out all others.
pub fn describe_group(
    broker: &BrokerConfig,
    values: &Values,
    wanted: Option<&[&str]>,
) -> Vec<ConfigEntry> {
    GROUP_KEYS
        .iter()
        .filter(|entry| is_wanted(&entry.key, wanted))
        .map(|entry| group_entry(broker, values, entry))
        .collect()
}

/// The value as it is stored; where the broker's limits have moved since, the coordinators keep to the limits.
fn group_entry(broker: &BrokerConfig, values: &Values, group_key: &GroupKey) -> ConfigEntry {
    let own = values.get(group_key.key.name);
    let mut synonyms: Vec<ConfigSynonym> = Vec::new();
    synonyms.extend(own.map(|value| ConfigSynonym {
        name: group_key.key.name,
        value: Some(value.clone()),
        source: ConfigSource::DynamicGroup,
    }));
    match group_key.synonym {
        Some(name) => synonyms.extend(broker.layers(name).map(|(source, value)| ConfigSynonym {
            name,
            value: Some(value.to_owned()),
            source,
        })),
        None => synonyms.push(ConfigSynonym {
            name: group_key.key.name,
            value: group_key.key.default.map(str::to_owned),
            source: ConfigSource::Default,
        }),
    }
    let value = own
        .cloned()
        .unwrap_or_else(|| default_of(broker, group_key));
    entry(&group_key.key, Some(value), synonyms)
}

/// Every key of a client-metrics resource; Kafka gives no synonyms for what nobody has set.
pub fn describe_client_metrics(values: &Values, wanted: Option<&[&str]>) -> Vec<ConfigEntry> {
    let describe = |key: &ConfigKey| {
        let own = values.get(key.name);
        let synonym = own.map(|value| ConfigSynonym {
            name: key.name,
            value: Some(value.clone()),
            source: ConfigSource::DynamicClientMetrics,
        });
        let value = own.cloned().or_else(|| key.default.map(str::to_owned));
        entry(key, value, synonym.into_iter().collect())
    };
    CLIENT_METRICS_KEYS
        .iter()
        .filter(|key| is_wanted(key, wanted))
        .map(describe)
        .collect()
}

fn is_wanted(key: &ConfigKey, wanted: Option<&[&str]>) -> bool {
    wanted.is_none_or(|names| names.is_empty() || names.contains(&key.name))
}

fn entry(key: &ConfigKey, value: Option<String>, mut synonyms: Vec<ConfigSynonym>) -> ConfigEntry {
    let is_sensitive = key.is_sensitive();
    if is_sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    ConfigEntry {
        name: key.name,
        value: value.filter(|_| !is_sensitive),
        source: synonyms
            .first()
            .map_or(ConfigSource::Default, |first| first.source),
        is_read_only: key.update == Update::ReadOnly,
        is_sensitive,
        synonyms,
        kind: key.kind,
        documentation: key.documentation,
    }
}
