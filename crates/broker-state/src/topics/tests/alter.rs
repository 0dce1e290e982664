//! Claims about AlterConfigs, IncrementalAlterConfigs and DescribeConfigs.

use super::*;
use crate::configs::ConfigSource;

fn with_topic() -> Run {
    let mut run = Run::new();
    run.create(vec![
        new("a", 1)
            .config("retention.ms", "5")
            .config("segment.ms", "6"),
    ]);
    run
}

fn configs(run: &Run) -> String {
    run.topics()[0]
        .strip_prefix("a 1")
        .expect("the one topic")
        .trim()
        .to_owned()
}

/// The value of one key, and where it comes from.
fn described(run: &Run, resource: ConfigResource, name: &str) -> (Option<String>, ConfigSource) {
    let entries = run
        .cluster
        .describe_configs(&resource, Some(&[name]))
        .expect("the resource exists");
    (entries[0].value.clone(), entries[0].source)
}

#[test]
fn a_replacement_keeps_only_what_it_names() {
    let mut run = with_topic();
    assert_eq!(
        run.replace(topic("a"), &[("retention.ms", "7"), ("flush.ms", "8")]),
        "a ok"
    );
    assert_eq!(configs(&run), "flush.ms=8 retention.ms=7");
    assert_eq!(run.topic("a").settings.segment_ms, 604_800_000);
    assert_eq!(run.replace(topic("a"), &[]), "a ok");
    assert_eq!(configs(&run), "");
}

#[test]
fn only_the_difference_is_recorded() {
    let mut run = with_topic();
    let entries = vec![("retention.ms".to_owned(), Some("5".to_owned()))];
    let resources = vec![ConfigReplacement {
        resource: topic("a"),
        entries,
    }];
    let (records, _) = run.ask(Command::AlterConfigs {
        resources,
        validate_only: false,
    });
    let removed = MetadataRecord::TopicConfigRemoved {
        id: id_of("a"),
        name: "segment.ms".to_owned(),
    };
    assert_eq!(records, [removed]);
}

#[test]
fn single_values_are_set_and_deleted() {
    let mut run = with_topic();
    assert_eq!(
        run.change(topic("a"), &["retention.ms= 9 ", "-segment.ms"]),
        "a ok"
    );
    assert_eq!(configs(&run), "retention.ms=9");
    assert_eq!(run.topic("a").settings.retention_ms, Some(9));
    assert_eq!(run.change(topic("a"), &["-flush.ms"]), "a ok");
    assert_eq!(configs(&run), "retention.ms=9");
}

#[test]
fn members_of_a_list_are_added_to_what_counts_now_and_taken_from_it() {
    let mut run = with_topic();
    assert_eq!(run.change(topic("a"), &["cleanup.policy+=compact"]), "a ok");
    assert_eq!(
        configs(&run),
        "cleanup.policy=delete,compact retention.ms=5 segment.ms=6"
    );
    assert_eq!(
        run.change(topic("a"), &["cleanup.policy+=compact,delete"]),
        "a ok"
    );
    assert_eq!(run.change(topic("a"), &["cleanup.policy-=delete"]), "a ok");
    assert_eq!(
        configs(&run),
        "cleanup.policy=compact retention.ms=5 segment.ms=6"
    );
    assert_eq!(
        run.change(topic("a"), &["cleanup.policy-=delete,compact"]),
        "a ok"
    );
    assert_eq!(configs(&run), "cleanup.policy= retention.ms=5 segment.ms=6");
}

#[test]
fn members_are_added_to_the_broker_s_list_where_the_topic_has_none() {
    let mut run = Run::with(&[("log.cleanup.policy", "compact")]);
    run.create(vec![new("a", 1)]);
    run.change(topic("a"), &["cleanup.policy+=delete"]);
    assert_eq!(configs(&run), "cleanup.policy=compact,delete");
}

#[test]
fn a_value_that_is_no_list_takes_no_members() {
    let mut run = with_topic();
    let text = "a INVALID_CONFIG: Can't APPEND to key retention.ms because its type is not LIST.";
    assert_eq!(run.change(topic("a"), &["retention.ms+=1"]), text);
    let text = "a INVALID_CONFIG: Can't SUBTRACT to key retention.ms because its type is not LIST.";
    assert_eq!(run.change(topic("a"), &["retention.ms-=1"]), text);
}

#[test]
fn one_bad_value_refuses_the_whole_resource() {
    let mut run = with_topic();
    let text =
        "a INVALID_CONFIG: Invalid value x for configuration segment.ms: Not a number of type LONG";
    assert_eq!(
        run.change(topic("a"), &["retention.ms=9", "segment.ms=x"]),
        text
    );
    assert_eq!(
        run.replace(topic("a"), &[("retention.ms", "9"), ("segment.ms", "x")]),
        text
    );
    assert_eq!(configs(&run), "retention.ms=5 segment.ms=6");
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let mut run = with_topic();
    let text = "a INVALID_CONFIG: Unknown topic config name: max.messages.bytes (did you mean max.message.bytes?)";
    assert_eq!(run.change(topic("a"), &["max.messages.bytes=1"]), text);
    assert_eq!(run.change(topic("a"), &["max.messages.bytes+=1"]), text);
}

#[test]
fn values_that_contradict_what_is_there_are_refused() {
    let mut run = with_topic();
    run.change(topic("a"), &["max.compaction.lag.ms=5"]);
    let text = "a INVALID_CONFIG: conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)";
    assert_eq!(run.change(topic("a"), &["min.compaction.lag.ms=6"]), text);
}

#[test]
fn validation_alone_changes_nothing() {
    let mut run = with_topic();
    let operations = vec![operation("retention.ms=9")];
    let resources = vec![ConfigChange {
        resource: topic("a"),
        operations,
    }];
    let (records, reply) = run.ask(Command::IncrementalAlterConfigs {
        resources,
        validate_only: true,
    });
    assert_eq!(
        (records, alterations(reply)),
        (vec![], vec!["a ok".to_owned()])
    );
    assert_eq!(configs(&run), "retention.ms=5 segment.ms=6");
}

#[test]
fn a_null_value_and_a_key_that_is_named_twice_are_refused() {
    let mut run = with_topic();
    let without_value = ConfigOperation {
        value: None,
        ..operation("retention.ms=1")
    };
    let resources = vec![ConfigChange {
        resource: topic("a"),
        operations: vec![without_value],
    }];
    let (_, reply) = run.ask(Command::IncrementalAlterConfigs {
        resources,
        validate_only: false,
    });
    assert_eq!(
        alterations(reply),
        ["a INVALID_REQUEST: Null value not supported for : retention.ms"]
    );
    let text = "a INVALID_REQUEST: Error due to duplicate config keys";
    assert_eq!(
        run.change(topic("a"), &["retention.ms=1", "retention.ms=2"]),
        text
    );
    assert_eq!(
        run.replace(topic("a"), &[("retention.ms", "1"), ("retention.ms", "2")]),
        text
    );
}

#[test]
fn a_null_value_in_a_replacement_is_refused() {
    let mut run = with_topic();
    let entries = vec![("retention.ms".to_owned(), None)];
    let resources = vec![ConfigReplacement {
        resource: topic("a"),
        entries,
    }];
    let (_, reply) = run.ask(Command::AlterConfigs {
        resources,
        validate_only: false,
    });
    assert_eq!(
        alterations(reply),
        ["a INVALID_REQUEST: Null value not supported for : retention.ms"]
    );
}

#[test]
fn an_unknown_operation_is_refused() {
    let mut run = with_topic();
    let unknown = ConfigOperation {
        operation: 4,
        ..operation("retention.ms=1")
    };
    let resources = vec![ConfigChange {
        resource: topic("a"),
        operations: vec![unknown],
    }];
    let (_, reply) = run.ask(Command::IncrementalAlterConfigs {
        resources,
        validate_only: false,
    });
    assert_eq!(
        alterations(reply),
        ["a INVALID_REQUEST: Unknown operations type 4"]
    );
}

#[test]
fn a_resource_that_is_named_twice_is_refused_each_time() {
    let mut run = with_topic();
    let change = |text| ConfigChange {
        resource: topic("a"),
        operations: vec![operation(text)],
    };
    let resources = vec![change("retention.ms=1"), change("segment.ms=2")];
    let (records, reply) = run.ask(Command::IncrementalAlterConfigs {
        resources,
        validate_only: false,
    });
    let text = "a INVALID_REQUEST: Each resource must appear at most once.";
    assert_eq!(
        (records, alterations(reply)),
        (vec![], vec![text.to_owned(); 2])
    );
}

#[test]
fn a_resource_that_is_not_here_is_refused() {
    let mut run = with_topic();
    let refused = [
        (
            topic("b"),
            "b UNKNOWN_TOPIC_OR_PARTITION: topic 'b' does not exist",
        ),
        (
            topic(""),
            " INVALID_REQUEST: Default topic resources are not allowed.",
        ),
        (
            broker("2"),
            "2 INVALID_REQUEST: Unexpected broker id, expected 1 or empty string, but received 2",
        ),
        (
            broker("x"),
            "x INVALID_REQUEST: Node id must be an integer, but it is: x",
        ),
    ];
    for (resource, text) in refused {
        assert_eq!(run.change(resource.clone(), &["retention.ms=1"]), text);
        assert_eq!(run.replace(resource.clone(), &[]), text);
        assert!(run.cluster.describe_configs(&resource, None).is_err());
    }
    let logger = ConfigResource {
        resource_type: 8,
        name: "1".to_owned(),
    };
    assert!(
        run.change(logger, &[])
            .starts_with("1 INVALID_REQUEST: log levels are chosen when the broker is started")
    );
    let unknown = ConfigResource {
        resource_type: 99,
        name: "1".to_owned(),
    };
    assert!(
        run.change(unknown, &[])
            .starts_with("1 INVALID_REQUEST: resource type 99 has no configuration here")
    );
    assert!(
        run.change(topic("a b"), &[])
            .starts_with("a b INVALID_TOPIC_EXCEPTION")
    );
}

#[test]
fn a_change_for_all_brokers_reaches_every_topic_without_a_value_of_its_own() {
    let mut run = with_topic();
    run.create(vec![new("b", 1)]);
    assert_eq!(
        run.change(
            broker(""),
            &["log.retention.ms=77", "thalweg.durability=os"]
        ),
        " ok"
    );
    assert_eq!(run.topic("a").settings.retention_ms, Some(5));
    assert_eq!(run.topic("b").settings.retention_ms, Some(77));
    assert_eq!(run.topic("b").settings.durability, Durability::Os);
    run.create(vec![new("c", 1)]);
    assert_eq!(run.topic("c").settings.retention_ms, Some(77));
    run.change(broker(""), &["-log.retention.ms"]);
    assert_eq!(run.topic("b").settings.retention_ms, Some(604_800_000));
}

#[test]
fn a_value_for_this_broker_counts_more_than_one_for_all() {
    let mut run = with_topic();
    run.change(broker("1"), &["message.max.bytes=10"]);
    run.change(broker(""), &["message.max.bytes=20"]);
    assert_eq!(run.topic("a").settings.max_message_bytes, 10);
    run.change(broker("1"), &["-message.max.bytes"]);
    assert_eq!(run.topic("a").settings.max_message_bytes, 20);
    let records = run.cluster.snapshot_records();
    let set = MetadataRecord::BrokerConfigSet {
        scope: BrokerScope::AllBrokers,
        name: "message.max.bytes".to_owned(),
        value: "20".to_owned(),
    };
    assert_eq!(records[0], set);
}

#[test]
fn a_broker_key_that_needs_a_restart_is_refused() {
    let mut run = with_topic();
    let text = "1 INVALID_REQUEST: Cannot update these configs dynamically: num.partitions is read when the broker \
                starts; change it there";
    assert_eq!(run.change(broker("1"), &["num.partitions=3"]), text);
}

#[test]
fn a_bad_broker_value_is_refused() {
    let mut run = with_topic();
    let text = "1 INVALID_REQUEST: Invalid value x for configuration message.max.bytes: Not a number of type INT";
    assert_eq!(run.change(broker("1"), &["message.max.bytes=x"]), text);
    assert_eq!(
        run.change(broker("1"), &["nonsense=x"]),
        "1 INVALID_REQUEST: Unknown broker config name: nonsense"
    );
    let lags = &[
        "log.cleaner.min.compaction.lag.ms=2",
        "log.cleaner.max.compaction.lag.ms=1",
    ];
    assert!(
        run.change(broker(""), lags)
            .contains("conflict topic config setting")
    );
}

#[test]
fn a_broker_value_that_goes_contradicts_no_longer() {
    let mut run = with_topic();
    run.change(broker(""), &["log.cleaner.min.compaction.lag.ms=5"]);
    assert!(
        run.change(broker(""), &["log.cleaner.max.compaction.lag.ms=3"])
            .contains("conflict topic config setting")
    );
    assert_eq!(
        run.replace(broker(""), &[("log.cleaner.max.compaction.lag.ms", "3")]),
        " ok"
    );
    assert_eq!(run.topic("a").settings.max_compaction_lag_ms, 3);
}

#[test]
fn the_broker_s_own_topics_stay_synced_and_compacted() {
    let mut run = Run::new();
    run.auto_create(&[CONSUMER_OFFSETS]);
    let offsets = || topic(CONSUMER_OFFSETS);
    let text = |name| {
        format!(
            "{CONSUMER_OFFSETS} INVALID_CONFIG: topic '{CONSUMER_OFFSETS}' holds the broker's own state: {name} cannot be changed"
        )
    };
    for change in ["thalweg.durability=os", "-thalweg.durability"] {
        assert_eq!(run.change(offsets(), &[change]), text("thalweg.durability"));
    }
    for change in [
        "cleanup.policy=delete",
        "cleanup.policy+=delete",
        "-cleanup.policy",
    ] {
        assert_eq!(run.change(offsets(), &[change]), text("cleanup.policy"));
    }
    assert_eq!(run.replace(offsets(), &[]), text("cleanup.policy"));
    assert_eq!(
        run.change(offsets(), &["segment.ms=5", "cleanup.policy=compact"]),
        "__consumer_offsets ok"
    );
    run.change(broker(""), &["thalweg.durability=os"]);
    assert_eq!(
        run.topic(CONSUMER_OFFSETS).settings.durability,
        Durability::Sync
    );
}

#[test]
fn what_is_altered_is_described() {
    let mut run = with_topic();
    assert_eq!(
        described(&run, topic("a"), "retention.ms"),
        (Some("5".to_owned()), ConfigSource::DynamicTopic)
    );
    let default = (Some("1073741824".to_owned()), ConfigSource::Default);
    assert_eq!(described(&run, topic("a"), "segment.bytes"), default);
    run.change(broker(""), &["log.segment.bytes=1048576"]);
    let changed = (
        Some("1048576".to_owned()),
        ConfigSource::DynamicDefaultBroker,
    );
    assert_eq!(described(&run, topic("a"), "segment.bytes"), changed);
    assert_eq!(described(&run, broker("1"), "log.segment.bytes"), changed);
}
