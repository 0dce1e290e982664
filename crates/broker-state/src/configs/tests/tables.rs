//! Claims about the tables of keys.

use super::*;

#[test]
fn are_sorted_and_name_no_key_twice() {
    assert!(TOPIC_KEYS.is_sorted_by(|a, b| a.key.name < b.key.name));
    assert!(broker_keys().is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn have_defaults_that_their_own_rules_take() {
    for key in TOPIC_KEYS
        .iter()
        .map(|topic| &topic.key)
        .chain(broker_keys())
    {
        if let Some(default) = key.default {
            assert_eq!(
                key.canonical(default).as_deref(),
                Ok(default),
                "{}",
                key.name
            );
        }
    }
}

#[test]
fn say_what_each_key_is_for() {
    for key in TOPIC_KEYS
        .iter()
        .map(|topic| &topic.key)
        .chain(broker_keys())
    {
        let text = key.documentation;
        assert!(
            text.ends_with('.') && text.starts_with(char::is_uppercase),
            "{}: {text}",
            key.name
        );
    }
}

#[test]
fn every_synonym_is_a_broker_key_whose_default_gives_the_topic_key_s_default() {
    for topic in TOPIC_KEYS {
        for synonym in topic.synonyms {
            assert_eq!(
                broker_key(synonym.name).map(|key| key.name),
                Ok(synonym.name)
            );
        }
        let default = BrokerConfig::default().topic_default(topic);
        assert_eq!(
            Some(default.as_str()),
            topic.key.default,
            "{}",
            topic.key.name
        );
    }
}

#[test]
fn every_topic_key_has_a_value() {
    assert!(TOPIC_KEYS.iter().all(|topic| topic.key.default.is_some()));
}

#[test]
fn hold_the_keys_that_tools_ask_for() {
    let asked = "advertised.listeners auto.create.topics.enable default.replication.factor log.dirs \
                 log.retention.hours message.max.bytes min.insync.replicas num.partitions \
                 offsets.topic.replication.factor transaction.state.log.min.isr unclean.leader.election.enable";
    for name in asked.split_whitespace() {
        assert!(broker_key(name).is_ok(), "{name}");
    }
}

#[test]
fn the_settings_of_a_bare_topic_are_the_defaults_of_the_table() {
    assert_eq!(
        BrokerConfig::default().topic_defaults(),
        TopicSettings::default()
    );
}

/// Otherwise a broker's value could not become a topic's default.
#[test]
fn a_topic_key_takes_whatever_its_synonyms_take() {
    let edges = [
        "-9223372036854775808",
        "-2147483648",
        "-32768",
        "-2",
        "-1",
        "0",
        "1",
        "4",
        "32767",
        "1048575",
    ];
    let more = [
        "1048576",
        "2147483647",
        "9223372036854775807",
        "0.0",
        "1.0",
        "true",
        "",
        "producer",
        "os",
        "delete",
    ];
    for topic in TOPIC_KEYS {
        for synonym in topic.synonyms {
            for value in edges.iter().chain(&more) {
                if let Ok(broker) = BrokerConfig::from_static([(synonym.name, value)]) {
                    let default = broker.topic_default(topic);
                    assert!(
                        topic.key.canonical(&default).is_ok(),
                        "{}={value}",
                        synonym.name
                    );
                }
            }
        }
    }
}
