//! Claims about how configuration is shown.

use super::*;

#[test]
fn a_topic_shows_every_key_once() {
    let shown = describe_topic(&broker(&[]), &values(&[]), None);
    let names: Vec<&str> = shown.iter().map(|entry| entry.name).collect();
    let known: Vec<&str> = TOPIC_KEYS.iter().map(|topic| topic.key.name).collect();
    assert_eq!(names, known);
    assert!(
        shown
            .iter()
            .all(|entry| entry.is_default() && entry.value.is_some() && !entry.is_read_only)
    );
}

#[test]
fn a_topic_s_own_value_is_shown_before_those_that_it_hides() {
    let broker = broker(&[("log.retention.hours", "2")]);
    let shown = describe_topic(&broker, &values(&[("retention.ms", "5")]), None);
    let retention = entry(&shown, "retention.ms");
    assert_eq!(
        (retention.value.as_deref(), retention.source),
        (Some("5"), ConfigSource::DynamicTopic)
    );
    let hidden = [
        ("retention.ms", "5", ConfigSource::DynamicTopic),
        ("log.retention.hours", "2", ConfigSource::StaticBroker),
    ];
    assert_eq!(
        synonyms(retention),
        hidden,
        "Kafka shows the default of the first broker key only"
    );
}

#[test]
fn a_broker_s_value_is_shown_in_the_topic_key_s_unit() {
    let broker = broker(&[("log.retention.hours", "2")]);
    let shown = describe_topic(&broker, &values(&[]), Some(&["retention.ms"]));
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].value.as_deref(), shown[0].source),
        (Some("7200000"), ConfigSource::StaticBroker)
    );
    assert!(!shown[0].is_default());
}

#[test]
fn an_empty_list_of_names_means_all() {
    assert_eq!(
        describe_topic(&broker(&[]), &values(&[]), Some(&[])).len(),
        TOPIC_KEYS.len()
    );
    assert!(describe_topic(&broker(&[]), &values(&[]), Some(&["no.such.key"])).is_empty());
}

#[test]
fn this_broker_shows_every_key_and_all_brokers_only_what_was_changed() {
    let mut broker = broker(&[("message.max.bytes", "1")]);
    broker
        .set(BrokerScope::AllBrokers, "message.max.bytes", "2")
        .expect("a good value");
    broker
        .set(BrokerScope::ThisBroker, "message.max.bytes", "3")
        .expect("a good value");
    let shown = describe_broker(&broker, BrokerScope::ThisBroker, None);
    assert_eq!(shown.len(), broker_keys().len());
    let layers = [
        ("message.max.bytes", "3", ConfigSource::DynamicBroker),
        ("message.max.bytes", "2", ConfigSource::DynamicDefaultBroker),
        ("message.max.bytes", "1", ConfigSource::StaticBroker),
        ("message.max.bytes", "1048588", ConfigSource::Default),
    ];
    assert_eq!(synonyms(entry(&shown, "message.max.bytes")), layers);
    let shown = describe_broker(&broker, BrokerScope::AllBrokers, None);
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].value.as_deref(), shown[0].source),
        (Some("2"), ConfigSource::DynamicDefaultBroker)
    );
}

#[test]
fn a_key_that_needs_a_restart_is_read_only() {
    let shown = describe_broker(&broker(&[]), BrokerScope::ThisBroker, None);
    assert!(entry(&shown, "num.partitions").is_read_only);
    assert!(!entry(&shown, "log.retention.ms").is_read_only);
}

#[test]
fn a_password_is_never_shown() {
    let broker = broker(&[("ssl.key.password", "secret")]);
    let shown = describe_broker(
        &broker,
        BrokerScope::ThisBroker,
        Some(&["ssl.key.password"]),
    );
    assert!(shown[0].is_sensitive);
    assert_eq!(
        (shown[0].value.as_deref(), shown[0].source),
        (None, ConfigSource::StaticBroker)
    );
    assert!(!format!("{shown:?}").contains("secret"));
}

#[test]
fn types_and_sources_have_the_numbers_of_the_wire() {
    let types = [
        ConfigType::Boolean,
        ConfigType::String,
        ConfigType::Int,
        ConfigType::Short,
        ConfigType::Long,
    ];
    assert_eq!(types.map(ConfigType::id), [1, 2, 3, 4, 5]);
    let types = [
        ConfigType::Double,
        ConfigType::List,
        ConfigType::Class,
        ConfigType::Password,
    ];
    assert_eq!(types.map(ConfigType::id), [6, 7, 8, 9]);
    let sources = [
        ConfigSource::DynamicTopic,
        ConfigSource::DynamicBroker,
        ConfigSource::DynamicDefaultBroker,
    ];
    assert_eq!(sources.map(ConfigSource::id), [1, 2, 3]);
    assert_eq!(
        [ConfigSource::StaticBroker, ConfigSource::Default].map(ConfigSource::id),
        [4, 5]
    );
}
