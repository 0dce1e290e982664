//! Claims about the configuration of the broker.

use super::*;

#[test]
fn refuses_an_unknown_key_and_a_bad_value_at_the_start() {
    let start =
        |name, value| BrokerConfig::from_static([(name, value)]).map_err(|error| error.to_string());
    let text = "Unknown broker config name: num.partitons (did you mean num.partitions?)";
    assert_eq!(start("num.partitons", "3"), Err(text.to_owned()));
    let text = "Invalid value 0 for configuration num.partitions: Value must be at least 1";
    assert_eq!(start("num.partitions", "0"), Err(text.to_owned()));
}

#[test]
fn gives_typed_values() {
    let broker = broker(&[
        ("num.partitions", "6"),
        ("auto.create.topics.enable", "False"),
    ]);
    assert_eq!(broker.integer("num.partitions"), 6);
    assert_eq!(broker.integer("offsets.retention.minutes"), 10_080);
    assert!(!broker.boolean("auto.create.topics.enable"));
    assert!(broker.boolean("delete.topic.enable"));
    assert_eq!(broker.value("advertised.listeners"), None);
    assert_eq!(broker.value("no.such.key"), None);
}

#[test]
#[should_panic(expected = "an integer key with a default")]
fn asked_for_a_key_that_is_not_there_is_a_bug() {
    broker(&[]).integer("no.such.key");
}

#[test]
fn refuses_values_that_contradict_each_other_at_the_start() {
    let lags = [
        ("log.cleaner.min.compaction.lag.ms", "2"),
        ("log.cleaner.max.compaction.lag.ms", "1"),
    ];
    let error = BrokerConfig::from_static(lags).expect_err("a contradiction");
    assert!(matches!(error, ConfigError::Conflict(_)));
}

#[test]
fn does_not_print_its_secrets() {
    let broker = broker(&[("ssl.key.password", "s3cret"), ("num.partitions", "6")]);
    let printed = format!("{broker:?}");
    assert!(printed.contains("\"num.partitions\": \"6\""), "{printed}");
    assert!(
        printed.contains("(hidden)") && !printed.contains("s3cret"),
        "{printed}"
    );
}
