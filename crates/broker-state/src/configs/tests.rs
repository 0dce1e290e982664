//! Claims about configuration: the tables, what values are taken, what they resolve to, how they are shown.

mod a_value;
mod described;
mod tables;
mod the_broker_s_configuration;
mod topic_settings;

use std::collections::BTreeMap;

use super::*;

fn values(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn broker(entries: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_static(entries.iter().copied()).expect("a good configuration")
}

/// What a topic key makes of a text: its canonical form, or the error's text.
fn taken(name: &str, text: &str) -> Result<String, String> {
    topic_key(name)
        .and_then(|found| found.key.canonical(text))
        .map_err(|error| error.to_string())
}

fn settings(broker: &BrokerConfig, entries: &[(&str, &str)]) -> TopicSettings {
    broker
        .topic_defaults()
        .with(&values(entries))
        .expect("good values")
}

fn entry<'a>(entries: &'a [ConfigEntry], name: &str) -> &'a ConfigEntry {
    entries
        .iter()
        .find(|entry| entry.name == name)
        .expect("the key is shown")
}

/// Name, value and source of each synonym.
fn synonyms(entry: &ConfigEntry) -> Vec<(&str, &str, ConfigSource)> {
    let shown = |synonym: &'_ ConfigSynonym| (synonym.name, synonym.source);
    entry
        .synonyms
        .iter()
        .map(|synonym| {
            let (name, source) = shown(synonym);
            (name, synonym.value.as_deref().unwrap_or("(hidden)"), source)
        })
        .collect()
}
