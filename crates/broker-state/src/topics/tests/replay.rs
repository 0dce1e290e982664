//! Claims about recovery: random lives replay, logs that do not fit are refused, and size does not hurt.

use proptest::prelude::*;

use super::*;

/// Few names and ids, so that commands meet each other.
fn any_command() -> impl Strategy<Value = Command> {
    let name = || "[ab][._]?[cd]?";
    let validate = || prop::bool::weighted(0.1);
    let value = || {
        prop_oneof![
            Just("5"),
            Just("compact"),
            Just("x"),
            Just("1048576"),
            Just("os")
        ]
    };
    let key = || {
        prop_oneof![
            Just("retention.ms"),
            Just("cleanup.policy"),
            Just("segment.bytes"),
            Just("thalweg.durability"),
            Just("log.retention.ms"),
            Just("log.cleanup.policy"),
            Just("no.such.key")
        ]
    };
    let resource = || {
        prop_oneof![
            name().prop_map(|name| topic(&name)),
            Just(broker("")),
            Just(broker("1")),
            Just(broker("2"))
        ]
    };
    let new_topic = (
        name(),
        0_i32..5,
        any::<u8>(),
        prop::option::of((key(), value())),
    )
        .prop_map(|(name, partitions, id, config)| {
            let configs = config.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
            NewTopic {
                id: Uuid([id; 16]),
                configs: configs.into_iter().collect(),
                ..new(&name, partitions)
            }
        });
    let operation =
        (key(), 0_i8..4, value()).prop_map(|(name, operation, value)| ConfigOperation {
            name: name.to_owned(),
            operation,
            value: Some(value.to_owned()),
        });
    prop_oneof![
        4 => (prop::collection::vec(new_topic, 1..4), validate())
            .prop_map(|(topics, validate_only)| Command::CreateTopics { topics, validate_only }),
        1 => (name(), any::<u8>()).prop_map(|(name, id)| Command::AutoCreateTopics {
            topics: vec![AutoTopic { name, id: Uuid([id; 16]) }]
        }),
        1 => Just(Command::AutoCreateTopics {
            topics: vec![AutoTopic { name: CONSUMER_OFFSETS.to_owned(), id: Uuid([0xee; 16]) }]
        }),
        2 => prop::collection::vec(name(), 1..3)
            .prop_map(|names| Command::DeleteTopics { topics: names.iter().map(|name| named(name)).collect() }),
        1 => any::<u8>().prop_map(|id| Command::DeleteTopics { topics: vec![identified(Uuid([id; 16]))] }),
        2 => (name(), 0_i32..9, validate()).prop_map(|(name, partitions, validate_only)| {
            Command::CreatePartitions { topics: vec![to(&name, partitions)], validate_only }
        }),
        2 => (resource(), prop::collection::vec((key(), value()), 0..3), validate()).prop_map(
            |(resource, entries, validate_only)| {
                let entries =
                    entries.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect();
                Command::AlterConfigs { resources: vec![ConfigReplacement { resource, entries }], validate_only }
            }
        ),
        3 => (resource(), prop::collection::vec(operation, 1..3), validate()).prop_map(
            |(resource, operations, validate_only)| Command::IncrementalAlterConfigs {
                resources: vec![ConfigChange { resource, operations }],
                validate_only
            }
        ),
        1 => prop::option::of((0_i64..2_000, 0_i16..5)).prop_map(|current| Command::InitProducerId {
            current: current
                .map(|(producer_id, producer_epoch)| ProducerIdentity { producer_id, producer_epoch })
        }),
        1 => Just(Command::RaiseLeaderEpochs),
    ]
}

/// What must hold after every step.
fn check_invariants(cluster: &Cluster) {
    let partitions: usize = cluster
        .topics()
        .map(|topic| topic.leader_epochs.len())
        .sum();
    assert_eq!(
        partitions,
        cluster.partition_count(),
        "PartitionsAreCounted"
    );
    assert_eq!(
        cluster.names_by_id.len(),
        cluster.topics.len(),
        "OneIdPerTopic"
    );
    for topic in cluster.topics() {
        assert_eq!(cluster.topic_by_id(topic.id), Some(topic), "FoundById");
        assert!(topic.partition_count() > 0, "NoEmptyTopic");
        let resolved = cluster.resolve(&topic.name, &topic.configs);
        assert_eq!(Ok(topic.settings), resolved, "SettingsFollowFromConfigs");
    }
    let colliding: usize = cluster.colliding.values().map(BTreeSet::len).sum();
    let with_form = cluster
        .topics()
        .filter(|topic| names::collision_form(&topic.name).is_some())
        .count();
    assert_eq!(colliding, with_form, "CollidingNamesAreListed");
}

proptest! {
    #[test]
    fn any_life_keeps_the_invariants_and_replays(commands in prop::collection::vec(any_command(), 1..40)) {
        let mut run = Run::limited(&[("num.partitions", "2")], 30);
        for command in commands {
            run.ask(command);
            check_invariants(&run.cluster);
        }
    }

    #[test]
    fn a_restart_in_the_middle_changes_no_later_answer(
        before in prop::collection::vec(any_command(), 1..15),
        after in prop::collection::vec(any_command(), 1..15),
    ) {
        let mut run = Run::limited(&[], 30);
        for command in before {
            run.ask(command);
        }
        let mut restarted = Run::limited(&[], 30);
        restarted.log = run.log.clone();
        restarted.restart();
        for command in after {
            let reserves = matches!(command, Command::InitProducerId { .. });
            let (live, again) = (run.ask(command.clone()), restarted.ask(command));
            // After a restart the rest of the block of producer ids is skipped.
            prop_assert!(reserves || live == again);
        }
    }
}

#[test]
fn a_log_that_does_not_fit_is_refused_with_where_it_breaks() {
    let created = |name: &str, id: u8| MetadataRecord::TopicCreated {
        id: Uuid([id; 16]),
        name: name.to_owned(),
        partitions: 2,
        replication_factor: 1,
        configs: Vec::new(),
    };
    let id = Uuid([1; 16]);
    let other = Uuid([2; 16]);
    let name = || "retention.ms".to_owned();
    let value = || "1".to_owned();
    let refused = [
        created("a", 2),
        created("b", 1),
        MetadataRecord::TopicDeleted { id: other },
        MetadataRecord::PartitionsAdded {
            id: other,
            partitions: 3,
        },
        MetadataRecord::PartitionsAdded { id, partitions: 2 },
        MetadataRecord::TopicConfigSet {
            id: other,
            name: name(),
            value: value(),
        },
        MetadataRecord::TopicConfigRemoved {
            id: other,
            name: name(),
        },
        MetadataRecord::TopicConfigSet {
            id,
            name: name(),
            value: "x".to_owned(),
        },
        MetadataRecord::TopicConfigSet {
            id,
            name: "no.such.key".to_owned(),
            value: value(),
        },
        MetadataRecord::BrokerConfigSet {
            scope: BrokerScope::AllBrokers,
            name: name(),
            value: value(),
        },
        MetadataRecord::LeaderEpochSet {
            id,
            first_partition: 1,
            partitions: 2,
            epoch: 1,
        },
        MetadataRecord::LeaderEpochSet {
            id: other,
            first_partition: 0,
            partitions: 1,
            epoch: 1,
        },
    ];
    for record in refused {
        let mut run = Run::new();
        run.log.push(created("a", 1));
        run.restart();
        let before = durable(&run.cluster);
        let error = run.cluster.apply(&record).expect_err("does not fit");
        assert!(!error.to_string().is_empty());
        assert!(
            durable(&run.cluster) == before,
            "what is refused changes nothing: {record:?}"
        );
    }
}

#[test]
fn the_reservation_of_producer_ids_never_shrinks() {
    let mut run = Run::new();
    run.init_producer(None);
    let shrunk = MetadataRecord::ProducerIdsReserved { next: 1 };
    run.cluster
        .apply(&shrunk)
        .expect("an older reservation changes nothing");
    assert_eq!(run.cluster.producer_ids.reserved(), 1_000);
}

/// Half a second in a debug build; work that grew with the square of the topics would take minutes.
#[test]
fn ten_thousand_partitions_are_created_altered_and_replayed() {
    let mut run = Run::limited(&[], 10_000);
    for at in 0..10_000_u32 {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&at.to_be_bytes());
        let answers = run.create(vec![NewTopic {
            id: Uuid(id),
            ..new(&format!("topic.{at}"), 1)
        }]);
        assert_eq!(answers.len(), 1);
    }
    run.change(broker(""), &["log.retention.ms=5"]);
    run.ask(Command::RaiseLeaderEpochs);
    assert_eq!(run.topic("topic.9999").leader_epochs, [1]);
    assert!(run.create(vec![new("one-more", 1)])[0].starts_with("one-more POLICY_VIOLATION"));
}
