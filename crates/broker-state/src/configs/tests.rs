//! Claims about configuration: the tables, what values are taken, what they resolve to, how they are shown.

use std::collections::BTreeMap;

use proptest::prelude::*;

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

mod tables {
    use super::*;

    #[test]
    fn are_sorted_and_name_no_key_twice() {
        assert!(TOPIC_KEYS.is_sorted_by(|a, b| a.key.name < b.key.name));
        assert!(BROKER_KEYS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn have_defaults_that_their_own_rules_take() {
        for key in TOPIC_KEYS.iter().map(|topic| &topic.key).chain(BROKER_KEYS) {
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
        for key in TOPIC_KEYS.iter().map(|topic| &topic.key).chain(BROKER_KEYS) {
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
}

mod a_value {
    use super::*;

    /// The texts are what Kafka 4.3.1 answers to the same values.
    #[test]
    fn is_refused_with_the_reason() {
        let refused = [
            ("segment.bytes", "abc", "Not a number of type INT"),
            ("segment.bytes", "1", "Value must be at least 1048576"),
            ("segment.bytes", "99999999999", "Not a number of type INT"),
            ("retention.ms", "-2", "Value must be at least -1"),
            ("retention.ms", "1.5", "Not a number of type LONG"),
            ("retention.ms", "", "Not a number of type LONG"),
            (
                "retention.ms",
                "9223372036854775808",
                "Not a number of type LONG",
            ),
            (
                "cleanup.policy",
                "foo",
                "String must be one of: compact, delete",
            ),
            (
                "compression.type",
                "none",
                "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
            (
                "compression.type",
                "GZIP",
                "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
            ),
            (
                "compression.gzip.level",
                "0",
                "Value must be between 1 and 9 or equal to -1",
            ),
            (
                "compression.gzip.level",
                "10",
                "Value must be between 1 and 9 or equal to -1",
            ),
            (
                "compression.zstd.level",
                "23",
                "Value must be no more than 22",
            ),
            (
                "compression.lz4.level",
                "18",
                "Value must be no more than 17",
            ),
            ("compression.lz4.level", "0", "Value must be at least 1"),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "Value must be no more than 1",
            ),
            (
                "min.cleanable.dirty.ratio",
                "-0.1",
                "Value must be at least 0",
            ),
            (
                "min.cleanable.dirty.ratio",
                "x",
                "Not a number of type DOUBLE",
            ),
            (
                "min.cleanable.dirty.ratio",
                "NaN",
                "Not a number of type DOUBLE",
            ),
            (
                "preallocate",
                "yes",
                "Expected value to be either true or false",
            ),
            (
                "message.timestamp.type",
                "foo",
                "String must be one of: CreateTime, LogAppendTime",
            ),
            ("max.message.bytes", "-1", "Value must be at least 0"),
            ("flush.messages", "0", "Value must be at least 1"),
            ("local.retention.ms", "-3", "Value must be at least -2"),
            ("min.insync.replicas", "0", "Value must be at least 1"),
            (
                "thalweg.durability",
                "never",
                "String must be one of: sync, interval, os",
            ),
        ];
        for (name, text, reason) in refused {
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
        let error =
            taken("cleanup.policy", &"x".repeat(MAX_VALUE_BYTES + 1)).expect_err("too long");
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
            for key in BROKER_KEYS {
                let _ = key.canonical(&text);
            }
        }
    }
}

mod topic_settings {
    use super::*;

    #[test]
    fn of_a_bare_topic_are_kafka_s_defaults_and_our_durability() {
        let settings = settings(&broker(&[]), &[]);
        assert_eq!(settings.segment_bytes, 1_073_741_824);
        assert_eq!(settings.retention_ms, Some(604_800_000));
        assert_eq!(settings.retention_bytes, None);
        assert_eq!(settings.max_message_bytes, 1_048_588);
        assert_eq!(settings.compression, Compression::Producer);
        assert_eq!(settings.durability, Durability::Sync);
        assert!(
            settings.deletes_by_retention && !settings.is_compacted && !settings.is_log_append_time
        );
    }

    #[test]
    fn take_each_key_that_they_have_a_field_for() {
        let own = settings(
            &broker(&[]),
            &[
                ("segment.bytes", "1048576"),
                ("segment.ms", "1"),
                ("segment.jitter.ms", "2"),
                ("segment.index.bytes", "4"),
                ("index.interval.bytes", "5"),
                ("max.message.bytes", "6"),
                ("message.timestamp.before.max.ms", "7"),
                ("message.timestamp.after.max.ms", "8"),
                ("message.timestamp.type", "LogAppendTime"),
                ("min.insync.replicas", "9"),
                ("delete.retention.ms", "10"),
                ("file.delete.delay.ms", "11"),
                ("min.compaction.lag.ms", "12"),
                ("max.compaction.lag.ms", "13"),
                ("min.cleanable.dirty.ratio", "0.75"),
                ("preallocate", "true"),
            ],
        );
        let expected = TopicSettings {
            segment_bytes: 1_048_576,
            segment_ms: 1,
            segment_jitter_ms: 2,
            segment_index_bytes: 4,
            index_interval_bytes: 5,
            max_message_bytes: 6,
            message_timestamp_before_max_ms: 7,
            message_timestamp_after_max_ms: 8,
            is_log_append_time: true,
            min_insync_replicas: 9,
            delete_retention_ms: 10,
            file_delete_delay_ms: 11,
            min_compaction_lag_ms: 12,
            max_compaction_lag_ms: 13,
            min_cleanable_dirty_ratio: 0.75,
            preallocate: true,
            ..TopicSettings::default()
        };
        assert_eq!(own, expected);
    }

    #[test]
    fn a_negative_retention_is_no_limit() {
        let unlimited = settings(
            &broker(&[]),
            &[("retention.ms", "-1"), ("retention.bytes", "-7")],
        );
        assert_eq!(
            (unlimited.retention_ms, unlimited.retention_bytes),
            (None, None)
        );
        let nothing = settings(
            &broker(&[]),
            &[("retention.ms", "0"), ("retention.bytes", "0")],
        );
        assert_eq!(
            (nothing.retention_ms, nothing.retention_bytes),
            (Some(0), Some(0))
        );
    }

    #[test]
    fn a_cleanup_policy_may_be_both_or_neither() {
        let of = |policy| {
            let settings = settings(&broker(&[]), &[("cleanup.policy", policy)]);
            (settings.deletes_by_retention, settings.is_compacted)
        };
        assert_eq!(of("delete"), (true, false));
        assert_eq!(of("compact"), (false, true));
        assert_eq!(of("compact,delete"), (true, true));
        assert_eq!(of(""), (false, false));
    }

    #[test]
    fn the_interval_of_durability_is_flush_ms_whichever_is_set_first() {
        let of = |entries: &[(&str, &str)]| settings(&broker(&[]), entries).durability;
        assert_eq!(of(&[("thalweg.durability", "os")]), Durability::Os);
        assert_eq!(
            of(&[("thalweg.durability", "interval")]),
            Durability::Interval { flush_ms: 1_000 }
        );
        let both = [("flush.ms", "50"), ("thalweg.durability", "interval")];
        assert_eq!(of(&both), Durability::Interval { flush_ms: 50 });
        assert_eq!(of(&[("flush.ms", "50")]), Durability::Sync);
        let broker = broker(&[("thalweg.durability", "interval")]);
        assert_eq!(
            settings(&broker, &[("flush.ms", "7")]).durability,
            Durability::Interval { flush_ms: 7 }
        );
    }

    #[test]
    fn the_level_of_a_codec_counts_whichever_is_set_first() {
        let of = |entries: &[(&str, &str)]| settings(&broker(&[]), entries).compression;
        assert_eq!(
            of(&[("compression.type", "gzip")]),
            Compression::Gzip { level: -1 }
        );
        let zstd = [
            ("compression.type", "zstd"),
            ("compression.zstd.level", "19"),
            ("compression.lz4.level", "1"),
        ];
        assert_eq!(of(&zstd), Compression::Zstd { level: 19 });
        let broker = broker(&[("compression.type", "lz4")]);
        assert_eq!(
            settings(&broker, &[("compression.lz4.level", "12")]).compression,
            Compression::Lz4 { level: 12 }
        );
        assert_eq!(
            of(&[("compression.type", "uncompressed")]),
            Compression::Uncompressed
        );
        assert_eq!(of(&[("compression.type", "snappy")]), Compression::Snappy);
    }

    #[test]
    fn hours_and_minutes_of_the_broker_count_until_milliseconds_are_set() {
        let retention = |entries: &[(&str, &str)]| settings(&broker(entries), &[]).retention_ms;
        assert_eq!(retention(&[("log.retention.hours", "2")]), Some(7_200_000));
        assert_eq!(
            retention(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]),
            Some(180_000)
        );
        let all = [
            ("log.retention.hours", "2"),
            ("log.retention.minutes", "3"),
            ("log.retention.ms", "4"),
        ];
        assert_eq!(retention(&all), Some(4));
        assert_eq!(retention(&[("log.retention.hours", "-1")]), None);
        assert_eq!(
            settings(&broker(&[("log.roll.hours", "1")]), &[]).segment_ms,
            3_600_000
        );
    }

    #[test]
    fn hours_beyond_the_range_of_milliseconds_end_at_its_end() {
        let broker = broker(&[("log.retention.hours", "2147483647")]);
        assert_eq!(
            settings(&broker, &[]).retention_ms,
            Some(2_147_483_647 * 3_600_000)
        );
    }

    #[test]
    fn what_is_changed_while_running_counts_more_than_what_it_was_started_with() {
        let mut broker = broker(&[("log.retention.ms", "1"), ("log.retention.hours", "2")]);
        broker
            .set(BrokerScope::AllBrokers, "log.retention.ms", "3")
            .expect("a good value");
        assert_eq!(broker.topic_defaults().retention_ms, Some(3));
        broker
            .set(BrokerScope::ThisBroker, "log.retention.ms", "4")
            .expect("a good value");
        assert_eq!(broker.topic_defaults().retention_ms, Some(4));
        broker.remove(BrokerScope::ThisBroker, "log.retention.ms");
        assert_eq!(broker.topic_defaults().retention_ms, Some(3));
        assert_eq!(
            settings(&broker, &[("retention.ms", "5")]).retention_ms,
            Some(5)
        );
    }

    #[test]
    fn values_that_contradict_each_other_are_refused_also_against_the_broker_s() {
        let checked = |broker: &BrokerConfig, entries: &[(&str, &str)]| {
            check_combination(broker.topic_defaults(), &values(entries))
                .map_err(|error| error.to_string())
        };
        let lags = [
            ("min.compaction.lag.ms", "10"),
            ("max.compaction.lag.ms", "5"),
        ];
        let text =
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
        assert_eq!(checked(&broker(&[]), &lags), Err(text.to_owned()));
        let short = broker(&[("log.cleaner.max.compaction.lag.ms", "5")]);
        assert_eq!(
            checked(&short, &[("min.compaction.lag.ms", "10")]),
            Err(text.to_owned())
        );
        assert_eq!(checked(&short, &[("min.compaction.lag.ms", "5")]), Ok(()));
    }

    #[test]
    fn tiered_storage_is_refused_rather_than_pretended() {
        let error = check_combination(
            TopicSettings::default(),
            &values(&[("remote.storage.enable", "true")]),
        );
        assert!(
            error
                .expect_err("not offered")
                .to_string()
                .starts_with("Tiered Storage functionality is disabled")
        );
        assert_eq!(
            check_combination(
                TopicSettings::default(),
                &values(&[("remote.storage.enable", "false")])
            ),
            Ok(())
        );
    }
}

mod the_broker_s_configuration {
    use super::*;

    #[test]
    fn refuses_an_unknown_key_and_a_bad_value_at_the_start() {
        let start = |name, value| {
            BrokerConfig::from_static([(name, value)]).map_err(|error| error.to_string())
        };
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
}

mod described {
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
            ("log.retention.hours", "168", ConfigSource::Default),
        ];
        assert_eq!(synonyms(retention), hidden);
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
        assert_eq!(shown.len(), BROKER_KEYS.len());
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
}
