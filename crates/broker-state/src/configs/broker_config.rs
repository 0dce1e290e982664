//! The broker's own configuration in its layers: what it was started with, what was changed for all brokers, what
//! was changed for this one; the last counts most.
//!
//! Keeps true: only known keys, only checked values in canonical form.

use std::collections::BTreeMap;
use std::fmt;

use super::describe::ConfigSource;
use super::key::{ConfigError, ConfigType};
use super::{Synonym, TOPIC_KEYS, TopicKey, TopicSettings, broker_key, check_combination};

/// Which brokers a changed value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokerScope {
    /// All, as a default that a value for one broker overrides.
    AllBrokers,
    ThisBroker,
}

/// The effective configuration of the broker.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    at_start: BTreeMap<&'static str, String>,
    for_all: BTreeMap<&'static str, String>,
    for_this: BTreeMap<&'static str, String>,
}

impl BrokerConfig {
    /// The configuration of a broker that is started with these entries, under Kafka's keys.
    ///
    /// # Errors
    /// `UnknownKey` (with the key that was probably meant), `InvalidValue`, and `Conflict` of values with each other.
    pub fn from_static<K, V>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut config = Self::default();
        for (name, value) in entries {
            let key = broker_key(name.as_ref())?;
            config
                .at_start
                .insert(key.name, key.canonical(value.as_ref())?);
        }
        check_combination(config.topic_defaults(), &BTreeMap::new())?;
        Ok(config)
    }

    /// The value of a key, or `None` where it has no value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.layers(name).next().map(|(_, value)| value)
    }

    /// The value of an integer key of the table.
    ///
    /// # Panics
    /// When the table has no integer key of this name with a default, which is a mistake in the caller's code.
    pub fn integer(&self, name: &str) -> i64 {
        let value = self.value(name).expect("an integer key with a default");
        value.parse().expect("a checked integer")
    }

    /// The value of a boolean key of the table.
    ///
    /// # Panics
    /// When the table has no boolean key of this name with a default, which is a mistake in the caller's code.
    pub fn boolean(&self, name: &str) -> bool {
        let key = broker_key(name).expect("a key of the table");
        assert_eq!(key.kind, ConfigType::Boolean, "{name} is a boolean key");
        self.value(name).expect("a boolean key with a default") == "true"
    }

    /// The values for this scope that were changed while a broker ran.
    pub fn dynamic(&self, scope: BrokerScope) -> &BTreeMap<&'static str, String> {
        match scope {
            BrokerScope::AllBrokers => &self.for_all,
            BrokerScope::ThisBroker => &self.for_this,
        }
    }

    /// The settings of a topic without configuration of its own.
    pub fn topic_defaults(&self) -> TopicSettings {
        let mut settings = TopicSettings::default();
        for topic_key in TOPIC_KEYS {
            let value = self.topic_default(topic_key);
            settings
                .set(topic_key, &value)
                .expect("the broker's value is good for the topic's key");
        }
        settings
    }

    /// What a topic key is when the topic does not set it.
    pub fn topic_default(&self, topic_key: &TopicKey) -> String {
        match self.synonym_layers(topic_key.synonyms).next() {
            Some((_, synonym, value)) => synonym.convert(value),
            None => topic_key.key.default.unwrap_or_default().to_owned(),
        }
    }

    /// Every value that the broker has for these synonyms, the one that counts first.
    pub(super) fn synonym_layers<'a>(
        &'a self,
        synonyms: &'static [Synonym],
    ) -> impl Iterator<Item = (ConfigSource, &'static Synonym, &'a str)> {
        let of_one = move |synonym: &'static Synonym| {
            self.layers(synonym.name)
                .map(move |(source, value)| (source, synonym, value))
        };
        synonyms.iter().flat_map(of_one)
    }

    /// Every value that the broker has for a key, the one that counts first.
    pub(super) fn layers<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (ConfigSource, &'a str)> + use<'a> {
        let default = broker_key(name).ok().and_then(|key| key.default);
        let text = |layer: &'a BTreeMap<&'static str, String>| layer.get(name).map(String::as_str);
        [
            (ConfigSource::DynamicBroker, text(&self.for_this)),
            (ConfigSource::DynamicDefaultBroker, text(&self.for_all)),
            (ConfigSource::StaticBroker, text(&self.at_start)),
            (ConfigSource::Default, default),
        ]
        .into_iter()
        .filter_map(|(source, value)| Some((source, value?)))
    }

    pub(crate) fn set(
        &mut self,
        scope: BrokerScope,
        name: &str,
        value: &str,
    ) -> Result<(), ConfigError> {
        let key = broker_key(name)?;
        let value = key.canonical(value)?;
        self.dynamic_mut(scope).insert(key.name, value);
        Ok(())
    }

    pub(crate) fn remove(&mut self, scope: BrokerScope, name: &str) {
        self.dynamic_mut(scope).remove(name);
    }

    fn dynamic_mut(&mut self, scope: BrokerScope) -> &mut BTreeMap<&'static str, String> {
        match scope {
            BrokerScope::AllBrokers => &mut self.for_all,
            BrokerScope::ThisBroker => &mut self.for_this,
        }
    }
}

/// Shows every value that was set but the secret ones: configurations end up in logs.
impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |layer: &BTreeMap<&'static str, String>| -> BTreeMap<&'static str, String> {
            let is_secret = |name: &str| broker_key(name).is_ok_and(|key| key.is_sensitive());
            let value = |(name, value): (&&'static str, &String)| match is_secret(name) {
                true => (*name, "(hidden)".to_owned()),
                false => (*name, value.clone()),
            };
            layer.iter().map(value).collect()
        };
        f.debug_struct("BrokerConfig")
            .field("at_start", &shown(&self.at_start))
            .field("for_all", &shown(&self.for_all))
            .field("for_this", &shown(&self.for_this))
            .finish()
    }
}

impl Synonym {
    /// The broker key's value in the topic key's unit; -1 means "no limit" in both.
    fn convert(&self, value: &str) -> String {
        match value.parse::<i64>() {
            Ok(number) if number > 0 => number.saturating_mul(self.factor).to_string(),
            _ => value.to_owned(),
        }
    }
}
