//! Claims about the configuration of groups and of client-metrics subscriptions.

use std::time::Duration;

use super::*;
use crate::configs::{ConfigSource, MetricsSubscription, ShareOffsetReset};

#[test]
fn a_group_has_the_broker_s_settings_until_it_has_its_own() {
    let mut run = Run::with(&[("group.consumer.session.timeout.ms", "50000")]);
    let session = |run: &Run, group: &str| {
        let configs = run.cluster.group_configs();
        configs.of(group).consumer.session_timeout
    };
    assert_eq!(session(&run, "g"), Duration::from_secs(50));
    assert_eq!(
        run.change(group("g"), &["consumer.session.timeout.ms=46000"]),
        "g ok"
    );
    assert_eq!(session(&run, "g"), Duration::from_secs(46));
    assert_eq!(session(&run, "other"), Duration::from_secs(50));
    assert_eq!(
        run.change(group("g"), &["-consumer.session.timeout.ms"]),
        "g ok"
    );
    assert_eq!(session(&run, "g"), Duration::from_secs(50));
    assert!(run.cluster.configured(ConfigResource::GROUP).is_empty());
}

#[test]
fn a_share_group_s_settings_are_typed() {
    let mut run = Run::new();
    let values = [
        "share.auto.offset.reset=by_duration:PT1H",
        "share.isolation.level=read_committed",
        "share.delivery.count.limit=7",
        "share.renew.acknowledge.enable=FALSE",
    ];
    assert_eq!(run.change(group("s"), &values), "s ok");
    let configs = run.cluster.group_configs();
    let share = &configs.of("s").share;
    assert_eq!(
        share.auto_offset_reset,
        ShareOffsetReset::ByDuration(Duration::from_secs(3600))
    );
    assert_eq!(
        (
            share.is_read_committed,
            share.delivery_count_limit,
            share.renews_locks
        ),
        (true, 7, false)
    );
}

#[test]
fn values_outside_the_broker_s_limits_are_refused_in_kafka_s_words() {
    let mut run = Run::new();
    let cases = [
        (
            "consumer.session.timeout.ms=44000",
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (
            "share.record.lock.duration.ms=60001",
            "share.record.lock.duration.ms must be less than or equal to group.share.max.record.lock.duration.ms",
        ),
        (
            "streams.num.standby.replicas=3",
            "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
        ),
        (
            "share.record.lock.duration.ms=1",
            "Invalid value 1 for configuration share.record.lock.duration.ms: Value must be at least 1000",
        ),
        ("no.such=1", "Unknown group config name: no.such"),
        (
            "share.auto.offset.reset=by_duration:x",
            "Invalid value by_duration:x for configuration share.auto.offset.reset: Invalid value `by_duration:x` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
        ),
    ];
    for (operation, message) in cases {
        assert_eq!(
            run.change(group("g"), &[operation]),
            format!("g INVALID_CONFIG: {message}")
        );
    }
    assert_eq!(
        run.change(group(""), &["consumer.session.timeout.ms=46000"]),
        " INVALID_REQUEST: Group name must not be empty"
    );
}

#[test]
fn a_session_ends_after_its_heartbeat() {
    let mut run = Run::with(&[
        ("group.consumer.min.session.timeout.ms", "1"),
        ("group.consumer.min.heartbeat.interval.ms", "1"),
    ]);
    let refusal = "g INVALID_CONFIG: consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
    assert_eq!(
        run.change(group("g"), &["consumer.session.timeout.ms=5000"]),
        refusal
    );
    let both = [
        "consumer.session.timeout.ms=5000",
        "consumer.heartbeat.interval.ms=4999",
    ];
    assert_eq!(run.change(group("g"), &both), "g ok");
}

#[test]
fn a_value_beyond_limits_that_have_moved_is_brought_within_them() {
    let mut run = Run::new();
    run.change(group("g"), &["consumer.session.timeout.ms=60000"]);
    run.settings.broker =
        BrokerConfig::from_static([("group.consumer.max.session.timeout.ms", "50000")])
            .expect("a good configuration");
    run.restart();
    let configs = run.cluster.group_configs();
    assert_eq!(
        configs.of("g").consumer.session_timeout,
        Duration::from_secs(50)
    );
}

#[test]
fn a_group_is_described_with_every_key_and_its_origins() {
    let mut run = Run::new();
    run.change(group("g"), &["share.heartbeat.interval.ms=6000"]);
    let described = run.cluster.describe_configs(&group("g"), None);
    let described = described.expect("a group may be described before it exists");
    assert_eq!(described.len(), crate::configs::GROUP_KEYS.len());
    let entry = |name| {
        let found = described.iter().find(|entry| entry.name == name);
        let entry = found.expect("every key is shown");
        let synonyms = entry.synonyms.iter();
        let synonyms: Vec<_> = synonyms
            .map(|synonym| (synonym.name, synonym.source))
            .collect();
        (
            entry.value.clone().unwrap_or_default(),
            entry.source,
            synonyms,
        )
    };
    let own = ("share.heartbeat.interval.ms", ConfigSource::DynamicGroup);
    let broker = ("group.share.heartbeat.interval.ms", ConfigSource::Default);
    assert_eq!(
        entry("share.heartbeat.interval.ms"),
        (
            "6000".to_owned(),
            ConfigSource::DynamicGroup,
            vec![own, broker]
        )
    );
    let own = ("share.isolation.level", ConfigSource::Default);
    assert_eq!(
        entry("share.isolation.level"),
        (
            "read_uncommitted".to_owned(),
            ConfigSource::Default,
            vec![own]
        )
    );
}

#[test]
fn a_subscription_is_checked_as_kafka_checks_it() {
    let mut run = Run::new();
    let good = [
        "interval.ms=1000",
        "match=client_software_name=apache.*,client_id=a",
        "metrics=org.apache.kafka.producer.,*",
    ];
    assert_eq!(run.change(subscription("m"), &good), "m ok");
    let cases = [
        (
            "interval.ms=10",
            "m INVALID_REQUEST: Invalid value 10 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        ),
        (
            "match=foo=bar",
            "m INVALID_CONFIG: Illegal client matching pattern: foo=bar",
        ),
        (
            "match=client_id=(",
            "m INVALID_CONFIG: Illegal client matching pattern: client_id=(",
        ),
        (
            "match=client_id",
            "m INVALID_CONFIG: Illegal client matching pattern: client_id",
        ),
        (
            "nosuch=x",
            "m INVALID_REQUEST: Unknown client metrics configuration: nosuch",
        ),
    ];
    for (operation, refusal) in cases {
        assert_eq!(run.change(subscription("m"), &[operation]), refusal);
    }
    let (_, values) = run.cluster.client_metrics().next().expect("one is stored");
    let resolved = MetricsSubscription::resolve(values).expect("checked values");
    assert_eq!(resolved.interval, Duration::from_secs(1));
    assert_eq!(resolved.metrics, ["org.apache.kafka.producer.", "*"]);
    assert!(resolved.matches[0].pattern.is_match("apache-kafka-java"));
    assert!(
        !resolved.matches[1].pattern.is_match("ab"),
        "the whole text is compared"
    );
}

#[test]
fn a_pattern_that_would_take_much_memory_is_refused() {
    let mut run = Run::new();
    let answer = run.change(subscription("m"), &["match=client_id=(\\w{100}){100}"]);
    assert!(answer.starts_with("m INVALID_CONFIG"), "{answer}");
}

#[test]
fn subscriptions_beyond_the_limit_are_refused_and_known_ones_are_not() {
    let mut run = Run::new();
    for number in 0..MAX_SUBSCRIPTIONS {
        let name = format!("m{number}");
        assert_eq!(
            run.change(subscription(&name), &["interval.ms=1000"]),
            format!("{name} ok")
        );
    }
    let answer = run.change(subscription("more"), &["interval.ms=1000"]);
    assert!(answer.starts_with("more POLICY_VIOLATION"), "{answer}");
    assert_eq!(
        run.change(subscription("m0"), &["interval.ms=2000"]),
        "m0 ok"
    );
    run.change(subscription("m1"), &["-interval.ms"]);
    assert_eq!(
        run.change(subscription("more"), &["interval.ms=1000"]),
        "more ok"
    );
}
