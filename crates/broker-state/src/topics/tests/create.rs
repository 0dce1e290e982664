//! Claims about CreateTopics and auto-creation.

use proptest::prelude::*;

use super::*;

#[test]
fn a_topic_is_created_with_its_counts_and_its_values() {
    let mut run = Run::new();
    let orders = new("orders", 3)
        .replicas(1)
        .config("retention.ms", " 5 ")
        .config("cleanup.policy", "compact, delete");
    let (records, reply) = run.ask(Command::CreateTopics {
        topics: vec![orders],
        validate_only: false,
    });
    let configs = [("cleanup.policy", "compact,delete"), ("retention.ms", "5")];
    let configs: Vec<(String, String)> = configs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let created = MetadataRecord::TopicCreated {
        id: id_of("orders"),
        name: "orders".to_owned(),
        partitions: 3,
        replication_factor: 1,
        configs: configs.clone(),
    };
    assert_eq!(records, [created]);
    let configs = configs.into_iter().collect();
    let answer = CreatedTopic {
        id: id_of("orders"),
        partitions: 3,
        replication_factor: 1,
        configs,
    };
    assert_eq!(
        reply,
        Reply::TopicsCreated(vec![TopicCreation {
            name: "orders".to_owned(),
            result: Ok(answer)
        }])
    );
    assert_eq!(
        run.topics(),
        ["orders 3 cleanup.policy=compact,delete retention.ms=5"]
    );
    assert_eq!(run.topic("orders").settings.retention_ms, Some(5));
}

#[test]
fn a_topic_is_found_by_name_and_by_id() {
    let mut run = Run::new();
    run.create(vec![new("orders", 1)]);
    assert_eq!(
        run.cluster.topic("orders"),
        run.cluster.topic_by_id(id_of("orders"))
    );
    assert_eq!(run.cluster.topic("order"), None);
    assert_eq!(run.cluster.topic_by_id(id_of("order")), None);
}

#[test]
fn counts_that_are_left_to_the_broker_are_its_own() {
    let mut run = Run::with(&[("num.partitions", "6")]);
    assert_eq!(run.create(vec![new("orders", -1)]), ["orders 6"]);
    assert_eq!(run.cluster.partition_count(), 6);
}

#[test]
fn a_topic_that_exists_is_refused() {
    let mut run = Run::new();
    run.create(vec![new("orders", 1)]);
    let again = NewTopic {
        id: id_of("another"),
        ..new("orders", 1)
    };
    assert_eq!(
        run.create(vec![again]),
        ["orders TOPIC_ALREADY_EXISTS: Topic 'orders' already exists."]
    );
}

#[test]
fn a_bad_name_is_refused_with_the_reason() {
    let long = "x".repeat(250);
    let refused = [
        ("", "the empty string is not allowed".to_owned()),
        (".", "'.' is not allowed".to_owned()),
        ("..", "'..' is not allowed".to_owned()),
        (long.as_str(), format!("the length of '{long}' is longer than the max allowed length 249")),
        ("a b", "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()),
        ("ü", "'ü' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()),
        ("a/b", "'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()),
        ("a\0", "'a\0' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()),
    ];
    let mut run = Run::new();
    for (name, reason) in refused {
        let expected = format!("{name} INVALID_TOPIC_EXCEPTION: Topic name is invalid: {reason}");
        assert_eq!(run.create(vec![new(name, 1)]), [expected]);
    }
}

#[test]
fn the_longest_name_and_every_legal_character_are_taken() {
    let mut run = Run::new();
    let longest = "x".repeat(249);
    assert_eq!(run.create(vec![new(&longest, 1)]), [format!("{longest} 1")]);
    assert_eq!(
        run.create(vec![new("aZ09._-", 1), new("...", 1)]),
        ["aZ09._- 1", "... 1"]
    );
}

#[test]
fn names_that_differ_in_dots_and_underscores_only_are_refused() {
    let mut run = Run::new();
    run.create(vec![new("a.b_c", 1)]);
    let text = "INVALID_TOPIC_EXCEPTION: Topic 'a_b.c' collides with existing topic: a.b_c";
    assert_eq!(run.create(vec![new("a_b.c", 1)]), [format!("a_b.c {text}")]);
    assert_eq!(
        run.create(vec![new("a-b-c", 1), new("a.b-c", 1)]),
        ["a-b-c 1", "a.b-c 1"]
    );
}

#[test]
fn names_of_one_request_collide_too() {
    let mut run = Run::new();
    let answers = run.create(vec![new("x.y", 1), new("x_y", 1)]);
    assert_eq!(answers[0], "x.y 1");
    assert!(
        answers[1].starts_with("x_y INVALID_TOPIC_EXCEPTION"),
        "{answers:?}"
    );
}

#[test]
fn a_deleted_topic_s_name_collides_no_longer() {
    let mut run = Run::new();
    run.create(vec![new("x.y", 1)]);
    run.delete(vec![named("x.y")]);
    assert_eq!(run.create(vec![new("x_y", 1)]), ["x_y 1"]);
}

#[test]
fn counts_that_cannot_be_are_refused() {
    let mut run = Run::new();
    let partitions =
        "INVALID_PARTITIONS: Number of partitions was set to an invalid non-positive value.";
    assert_eq!(run.create(vec![new("t", 0)]), [format!("t {partitions}")]);
    assert_eq!(run.create(vec![new("t", -2)]), [format!("t {partitions}")]);
    let replicas = "INVALID_REPLICATION_FACTOR: Replication factor must be larger than 0, or -1 to use the default value.";
    assert_eq!(
        run.create(vec![new("t", 1).replicas(0)]),
        [format!("t {replicas}")]
    );
    assert_eq!(
        run.create(vec![new("t", 1).replicas(-2)]),
        [format!("t {replicas}")]
    );
}

#[test]
fn more_replicas_than_brokers_are_refused() {
    let mut run = Run::new();
    let text =
        "INVALID_REPLICATION_FACTOR: replication factor 3 is larger than the 1 available broker";
    assert_eq!(
        run.create(vec![new("t", 1).replicas(3)]),
        [format!("t {text}")]
    );
    let mut run = Run::with(&[("default.replication.factor", "3")]);
    assert_eq!(run.create(vec![new("t", 1)]), [format!("t {text}")]);
    assert_eq!(run.create(vec![new("t", 1).replicas(1)]), ["t 1"]);
}

#[test]
fn an_explicit_assignment_to_the_one_broker_is_taken() {
    let mut run = Run::new();
    let assigned = new("t", -1).assigned(1, &[1]).assigned(0, &[1]);
    assert_eq!(run.create(vec![assigned]), ["t 2"]);
}

#[test]
fn an_assignment_that_cannot_be_is_refused() {
    let cases = [
        (
            new("t", -1).assigned(0, &[2]),
            "includes broker 2, but no such broker is registered.",
        ),
        (
            new("t", -1).assigned(0, &[1, 2]),
            "includes broker 2, but no such broker is registered.",
        ),
        (
            new("t", -1).assigned(0, &[1, 1]),
            "includes the broker 1 more than once.",
        ),
        (
            new("t", -1).assigned(0, &[]),
            "includes an empty replica list.",
        ),
    ];
    let mut run = Run::new();
    for (topic, reason) in cases {
        let expected =
            format!("t INVALID_REPLICA_ASSIGNMENT: The manual partition assignment {reason}");
        assert_eq!(run.create(vec![topic]), [expected]);
    }
}

#[test]
fn an_assignment_must_name_each_partition_from_zero_once() {
    let mut run = Run::new();
    let gap =
        "t INVALID_REPLICA_ASSIGNMENT: partitions should be a consecutive 0-based integer sequence";
    assert_eq!(run.create(vec![new("t", -1).assigned(1, &[1])]), [gap]);
    assert_eq!(run.create(vec![new("t", -1).assigned(-1, &[1])]), [gap]);
    let twice =
        "t INVALID_REPLICA_ASSIGNMENT: Found multiple manual partition assignments for partition 0";
    assert_eq!(
        run.create(vec![new("t", -1).assigned(0, &[1]).assigned(0, &[1])]),
        [twice]
    );
}

#[test]
fn an_assignment_and_a_count_are_refused() {
    let mut run = Run::new();
    let text = |what| {
        format!(
            "t INVALID_REQUEST: A manual partition assignment was specified, but {what} was not set to -1."
        )
    };
    let counted = NewTopic {
        partitions: 1,
        ..new("t", -1).assigned(0, &[1])
    };
    assert_eq!(run.create(vec![counted]), [text("numPartitions")]);
    assert_eq!(
        run.create(vec![new("t", -1).assigned(0, &[1]).replicas(1)]),
        [text("replication factor")]
    );
}

#[test]
fn a_bad_value_is_refused_with_the_reason() {
    let mut run = Run::new();
    let text = "t INVALID_CONFIG: Invalid value abc for configuration retention.ms: Not a number of type LONG";
    assert_eq!(
        run.create(vec![new("t", 1).config("retention.ms", "abc")]),
        [text]
    );
    let text =
        "t INVALID_CONFIG: Unknown topic config name: retenton.ms (did you mean retention.ms?)";
    assert_eq!(
        run.create(vec![new("t", 1).config("retenton.ms", "1")]),
        [text]
    );
    let lags = new("t", 1)
        .config("min.compaction.lag.ms", "9")
        .config("max.compaction.lag.ms", "8");
    let text = "t INVALID_CONFIG: conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (8)";
    assert_eq!(run.create(vec![lags]), [text]);
}

#[test]
fn a_value_that_is_null_is_refused() {
    let mut run = Run::new();
    let mut topic = new("t", 1);
    topic.configs = vec![
        ("retention.ms".to_owned(), None),
        ("segment.ms".to_owned(), None),
    ];
    let text =
        "t INVALID_CONFIG: Null value not supported for topic configs: retention.ms,segment.ms";
    assert_eq!(run.create(vec![topic]), [text]);
}

#[test]
fn validation_alone_answers_the_same_and_changes_nothing() {
    let mut run = Run::new();
    assert_eq!(run.validate(vec![new("a", 3), new("b", 0)])[0], "a 3");
    assert_eq!(run.validate(vec![new("a", 3)]), ["a 3"]);
    assert_eq!(run.topics(), Vec::<String>::new());
}

#[test]
fn a_name_that_a_request_names_twice_is_refused_once() {
    let mut run = Run::new();
    let twice = vec![new("a", 1), new("b", 1), new("a", 2), new("a", 3)];
    assert_eq!(
        run.create(twice),
        ["a INVALID_REQUEST: Duplicate topic name.", "b 1"]
    );
    assert_eq!(run.topics(), ["b 1"]);
}

#[test]
fn one_refused_topic_does_not_keep_the_others_from_being_created() {
    let mut run = Run::new();
    let answers = run.create(vec![new("a", 1), new("b", 0), new("c", 1)]);
    assert_eq!((answers[0].as_str(), answers[2].as_str()), ("a 1", "c 1"));
    assert_eq!(run.topics(), ["a 1", "c 1"]);
}

#[test]
fn an_id_that_is_taken_or_zero_is_refused() {
    let mut run = Run::new();
    run.create(vec![new("a", 1)]);
    for id in [id_of("a"), Uuid::ZERO] {
        let answers = run.create(vec![NewTopic { id, ..new("b", 1) }]);
        assert!(
            answers[0].starts_with("b UNKNOWN_SERVER_ERROR: topic id"),
            "{answers:?}"
        );
    }
}

#[test]
fn partitions_beyond_the_broker_s_limit_are_refused() {
    let mut run = Run::limited(&[], 10);
    assert_eq!(run.create(vec![new("a", 6)]), ["a 6"]);
    let text = "POLICY_VIOLATION: topic 'b' with 5 new partitions would bring this broker to 11, and its limit is 10; \
                delete topics that are not needed or raise the limit";
    assert_eq!(run.create(vec![new("b", 5)]), [format!("b {text}")]);
    assert_eq!(run.create(vec![new("b", 4)]), ["b 4"]);
    run.delete(vec![named("a")]);
    assert_eq!(run.create(vec![new("c", 6)]), ["c 6"]);
}

#[test]
fn the_limit_counts_the_topics_of_one_validated_request_together() {
    let mut run = Run::limited(&[], 10);
    let answers = run.validate(vec![new("a", 6), new("b", 6), new("c", 4)]);
    assert_eq!((answers[0].as_str(), answers[2].as_str()), ("a 6", "c 4"));
    assert!(answers[1].starts_with("b POLICY_VIOLATION"), "{answers:?}");
}

#[test]
fn a_request_for_too_many_partitions_is_refused_as_a_whole() {
    let mut run = Run::limited(&[], 1_000_000);
    let text = "POLICY_VIOLATION: Excessively large number of partitions per request.";
    let answers = run.create(vec![new("a", 10_000), new("b", 1)]);
    assert_eq!(answers, [format!("a {text}"), format!("b {text}")]);
    let answers = run.create(vec![
        new("a", i32::MAX),
        new("b", i32::MAX),
        new("c", i32::MAX),
    ]);
    assert_eq!(answers.len(), 3);
    assert_eq!(run.create(vec![new("a", 10_000)]), ["a 10000"]);
}

#[test]
fn the_broker_s_own_topics_cannot_be_created_by_a_client() {
    let mut run = Run::new();
    for name in [
        CONSUMER_OFFSETS,
        TRANSACTION_STATE,
        SHARE_GROUP_STATE,
        CLUSTER_METADATA,
    ] {
        let text =
            format!("{name} INVALID_REQUEST: Creation of internal topic {name} is prohibited.");
        assert_eq!(run.create(vec![new(name, 1)]), [text]);
    }
}

#[test]
fn a_named_topic_that_is_missing_is_created_by_itself() {
    let mut run = Run::with(&[("num.partitions", "2")]);
    assert_eq!(run.auto_create(&["a", "b"]), ["a 2", "b 2"]);
    assert_eq!(run.topics(), ["a 2", "b 2"]);
}

#[test]
fn auto_creation_of_a_topic_that_exists_answers_with_it() {
    let mut run = Run::new();
    run.create(vec![new("a", 3)]);
    let before = run.log.len();
    assert_eq!(run.auto_create(&["a", "b", "b"]), ["a 3", "b 1", "b 1"]);
    assert_eq!(run.log.len(), before + 1);
}

#[test]
fn auto_creation_is_refused_where_it_is_switched_off() {
    let mut run = Run::with(&[("auto.create.topics.enable", "false")]);
    assert_eq!(
        run.auto_create(&["a"]),
        ["a UNKNOWN_TOPIC_OR_PARTITION: topic 'a' does not exist"]
    );
    assert_eq!(
        run.auto_create(&[CONSUMER_OFFSETS]),
        ["__consumer_offsets 50"]
    );
}

#[test]
fn auto_creation_of_a_bad_name_is_refused() {
    let mut run = Run::new();
    assert!(run.auto_create(&["a b"])[0].starts_with("a b INVALID_TOPIC_EXCEPTION"));
    assert!(
        run.auto_create(&[CLUSTER_METADATA])[0].starts_with("__cluster_metadata INVALID_REQUEST")
    );
}

#[test]
fn the_offsets_topic_has_its_own_counts_and_is_compacted_and_synced() {
    let mut run = Run::with(&[
        ("offsets.topic.num.partitions", "4"),
        ("thalweg.durability", "os"),
    ]);
    assert_eq!(
        run.auto_create(&[CONSUMER_OFFSETS]),
        ["__consumer_offsets 4"]
    );
    let expected = "__consumer_offsets 4 cleanup.policy=compact segment.bytes=104857600 thalweg.durability=sync";
    assert_eq!(run.topics(), [expected]);
    let topic = run.topic(CONSUMER_OFFSETS);
    assert!(topic.is_internal());
    assert_eq!(topic.settings.durability, Durability::Sync);
}

#[test]
fn the_broker_s_own_topics_are_synced_whatever_the_default_is() {
    let mut run = Run::with(&[("thalweg.durability", "os")]);
    let record = MetadataRecord::TopicCreated {
        id: id_of(CONSUMER_OFFSETS),
        name: CONSUMER_OFFSETS.to_owned(),
        partitions: 1,
        replication_factor: 1,
        configs: Vec::new(),
    };
    run.cluster.apply(&record).expect("a new topic");
    run.log.push(record);
    run.create(vec![new("orders", 1)]);
    assert_eq!(
        run.topic(CONSUMER_OFFSETS).settings.durability,
        Durability::Sync
    );
    assert_eq!(run.topic("orders").settings.durability, Durability::Os);
}

#[test]
fn the_transaction_and_share_topics_have_theirs() {
    let mut run = Run::new();
    assert_eq!(
        run.auto_create(&[TRANSACTION_STATE, SHARE_GROUP_STATE]),
        ["__transaction_state 50", "__share_group_state 50"]
    );
    assert!(run.topic(TRANSACTION_STATE).settings.is_compacted);
    assert_eq!(run.topic(SHARE_GROUP_STATE).settings.retention_ms, None);
}

#[test]
fn a_client_may_not_append_to_the_broker_s_own_topics() {
    let refusal = check_client_append(CONSUMER_OFFSETS, Some("rdkafka"))
        .expect_err("not a client's to write");
    assert_eq!(refusal.error, wire::ErrorCode::InvalidTopicException);
    assert_eq!(
        refusal.message,
        "Cannot append to internal topic __consumer_offsets"
    );
    assert!(check_client_append(TRANSACTION_STATE, None).is_err());
    assert_eq!(
        check_client_append(CONSUMER_OFFSETS, Some("__admin_client")),
        Ok(())
    );
    assert_eq!(check_client_append("orders", None), Ok(()));
    assert_eq!(check_client_append("__my_topic", None), Ok(()));
}

proptest! {
    #[test]
    fn what_is_created_has_a_legal_name_and_collides_with_nothing(names in prop::collection::vec("[a._]{0,3}", 0..20)) {
        let mut run = Run::new();
        for (at, name) in names.iter().enumerate() {
            run.create(vec![NewTopic { id: Uuid([at as u8 + 1; 16]), ..new(name, 1) }]);
        }
        let mut forms: Vec<String> = run.cluster.topics().map(|topic| topic.name.replace('.', "_")).collect();
        let count = forms.len();
        forms.sort();
        forms.dedup();
        prop_assert_eq!(forms.len(), count);
        prop_assert!(run.cluster.topics().all(|topic| check_name(&topic.name).is_ok()));
        prop_assert_eq!(run.cluster.partition_count(), count);
    }
}
