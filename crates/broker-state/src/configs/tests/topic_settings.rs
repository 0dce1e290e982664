//! Claims about what a topic's values mean over those of the broker.

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
