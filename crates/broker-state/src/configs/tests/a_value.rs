//! Claims about what texts a key takes, and how it stores them.

use proptest::prelude::*;

use super::*;

/// What Kafka 4.3.1 answers to the same values: key, value, reason.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, &str)] = &[
    ("segment.bytes", "abc", "Not a number of type INT"),
    ("segment.bytes", "1", "Value must be at least 1048576"),
    ("segment.bytes", "99999999999", "Not a number of type INT"),
    ("retention.ms", "-2", "Value must be at least -1"),
    ("retention.ms", "1.5", "Not a number of type LONG"),
    ("retention.ms", "", "Not a number of type LONG"),
    ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
    ("cleanup.policy", "foo", "String must be one of: compact, delete"),
    ("compression.type", "none", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
    ("compression.type", "GZIP", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
    ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
    ("compression.gzip.level", "10", "Value must be between 1 and 9 or equal to -1"),
    ("compression.zstd.level", "23", "Value must be no more than 22"),
    ("compression.lz4.level", "18", "Value must be no more than 17"),
    ("compression.lz4.level", "0", "Value must be at least 1"),
    ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
    ("min.cleanable.dirty.ratio", "-0.1", "Value must be at least 0"),
    ("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE"),
    ("min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"),
    ("preallocate", "yes", "Expected value to be either true or false"),
    ("message.timestamp.type", "foo", "String must be one of: CreateTime, LogAppendTime"),
    ("max.message.bytes", "-1", "Value must be at least 0"),
    ("flush.messages", "0", "Value must be at least 1"),
    ("local.retention.ms", "-3", "Value must be at least -2"),
    ("min.insync.replicas", "0", "Value must be at least 1"),
    ("thalweg.durability", "never", "String must be one of: sync, interval, os"),
];

#[test]
fn is_refused_with_the_reason() {
    for (name, text, reason) in REFUSED {
        let expected = format!("Invalid value {text} for configuration {name}: {reason}");
        assert_eq!(taken(name, text), Err(expected));
    }
}

#[test]
fn is_stored_in_one_form() {
    let stored = [
        ("segment.bytes", " 2097152 ", "2097152"),
        ("retention.ms", "+5", "5"),
        ("retention.ms", "007", "7"),
        ("retention.ms", "-1", "-1"),
        (
            "retention.bytes",
            "-9223372036854775808",
            "-9223372036854775808",
        ),
        ("compression.gzip.level", "-1", "-1"),
        ("cleanup.policy", "compact, delete", "compact,delete"),
        ("cleanup.policy", "compact,compact", "compact"),
        ("cleanup.policy", "", ""),
        ("cleanup.policy", "  ", ""),
        ("min.cleanable.dirty.ratio", "1", "1.0"),
        ("min.cleanable.dirty.ratio", ".25", "0.25"),
        ("preallocate", "TRUE", "true"),
        ("compression.type", " zstd ", "zstd"),
        ("leader.replication.throttled.replicas", "*", "*"),
        (
            "leader.replication.throttled.replicas",
            "0:1, 1:1",
            "0:1,1:1",
        ),
    ];
    for (name, text, form) in stored {
        assert_eq!(taken(name, text).as_deref(), Ok(form), "{name}={text}");
    }
}

#[test]
fn of_a_list_with_an_empty_member_is_refused() {
    let text = "Configuration 'cleanup.policy' values must not be empty.";
    assert_eq!(
        taken("cleanup.policy", "compact,,delete"),
        Err(text.to_owned())
    );
    assert_eq!(taken("cleanup.policy", "compact,"), Err(text.to_owned()));
}

#[test]
fn of_throttled_replicas_is_a_star_or_pairs() {
    for bad in ["a", "1", "1:", ":1", "1:a", "-1:1", "*,1:1"] {
        let error = taken("follower.replication.throttled.replicas", bad).expect_err(bad);
        assert!(
            error.contains("must be the literal '*' or a list of replicas"),
            "{error}"
        );
    }
}

#[test]
fn longer_than_kafka_stores_is_refused() {
    let error = taken("cleanup.policy", &"x".repeat(MAX_VALUE_BYTES + 1)).expect_err("too long");
    assert!(
        error.contains("exceeds the maximum value size of 32767 bytes"),
        "{error}"
    );
}

#[test]
fn of_an_unknown_key_names_the_key_that_was_meant() {
    let meant = |name: &str| {
        topic_key(name)
            .map(|found| found.key.name)
            .map_err(|error| error.to_string())
    };
    let text = "Unknown topic config name: retenton.ms (did you mean retention.ms?)";
    assert_eq!(meant("retenton.ms"), Err(text.to_owned()));
    assert_eq!(
        meant("foo"),
        Err("Unknown topic config name: foo".to_owned())
    );
    assert_eq!(
        meant("flush"),
        Err("Unknown topic config name: flush".to_owned()),
        "too far from flush.ms for so short a name"
    );
    assert_eq!(meant(""), Err("Unknown topic config name: ".to_owned()));
    let text = "Unknown broker config name: num.partition (did you mean num.partitions?)";
    assert_eq!(
        broker_key("num.partition").map_err(|error| error.to_string()),
        Err(text.to_owned())
    );
}

#[test]
fn that_is_refused_becomes_invalid_config() {
    let error = topic_key("retention.ms")
        .and_then(|found| found.key.canonical("x"))
        .expect_err("not a number");
    assert_eq!(
        crate::refusal::Refusal::from(error).error,
        wire::ErrorCode::InvalidConfig
    );
}

proptest! {
    #[test]
    fn once_canonical_stays_as_it_is(index in 0..TOPIC_KEYS.len(), text in "[ -~]{0,12}|-?[0-9]{1,10}|[a-z,]{0,20}") {
        let key = &TOPIC_KEYS[index].key;
        if let Ok(form) = key.canonical(&text) {
            prop_assert_eq!(key.canonical(&form), Ok(form.clone()));
            prop_assert!(BrokerConfig::default().topic_defaults().with(&values(&[(key.name, &form)])).is_ok());
        }
    }

    #[test]
    fn of_any_text_never_panics(name in ".{0,40}", text in ".{0,40}") {
        let _ = taken(&name, &text);
        for topic in TOPIC_KEYS {
            let _ = topic.key.canonical(&text);
        }
        for key in broker_keys() {
            let _ = key.canonical(&text);
        }
    }
}
