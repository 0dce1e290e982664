//! Claims about recovery: random lives replay, logs that do not fit are refused, and size does not hurt.

use proptest::prelude::*;

use super::*;

/// Few names and ids, so that commands meet each other.
fn any_name() -> impl Strategy<Value = String> {
    "[ab][._]?[cd]?"
}

fn any_id() -> impl Strategy<Value = Uuid> {
    any::<u8>().prop_map(|id| Uuid([id; 16]))
}

fn any_key() -> impl Strategy<Value = String> {
    let keys = [
        "retention.ms",
        "cleanup.policy",
        "segment.bytes",
        "thalweg.durability",
        "log.retention.ms",
        "log.cleanup.policy",
        "no.such.key",
    ];
    prop::sample::select(keys.to_vec()).prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["5", "compact", "x", "1048576", "os"]).prop_map(str::to_owned)
}

fn is_rare() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn any_new_topic() -> impl Strategy<Value = NewTopic> {
    (
        any_name(),
        0_i32..5,
        any_id(),
        prop::option::of((any_key(), any_value())),
    )
        .prop_map(|(name, partitions, id, config)| {
            let configs = config.map(|(key, value)| (key, Some(value)));
            NewTopic {
                id,
                configs: configs.into_iter().collect(),
                ..new(&name, partitions)
            }
        })
}

fn any_topic_command() -> impl Strategy<Value = Command> {
    let offsets = AutoTopic {
        name: CONSUMER_OFFSETS.to_owned(),
        id: Uuid([0xee; 16]),
    };
    prop_oneof![
        4 => (prop::collection::vec(any_new_topic(), 1..4), is_rare())
            .prop_map(|(topics, validate_only)| Command::CreateTopics { topics, validate_only }),
        1 => (any_name(), any_id())
            .prop_map(|(name, id)| Command::AutoCreateTopics { topics: vec![AutoTopic { name, id }] }),
        1 => Just(Command::AutoCreateTopics { topics: vec![offsets] }),
        2 => prop::collection::vec(any_name(), 1..3)
            .prop_map(|names| Command::DeleteTopics { topics: names.iter().map(|name| named(name)).collect() }),
        1 => any_id().prop_map(|id| Command::DeleteTopics { topics: vec![identified(id)] }),
        2 => (any_name(), 0_i32..9, is_rare()).prop_map(|(name, partitions, validate_only)| {
            Command::CreatePartitions { topics: vec![to(&name, partitions)], validate_only }
        }),
    ]
}

fn any_config_command() -> impl Strategy<Value = Command> {
    let resource = || {
        prop_oneof![
            any_name().prop_map(|name| topic(&name)),
            prop::sample::select(vec![broker(""), broker("1"), broker("2")]),
        ]
    };
    let entry = (any_key(), any_value()).prop_map(|(name, value)| (name, Some(value)));
    let operation =
        (any_key(), 0_i8..4, any_value()).prop_map(|(name, operation, value)| ConfigOperation {
            name,
            operation,
            value: Some(value),
        });
    let replacement = (resource(), prop::collection::vec(entry, 0..3))
        .prop_map(|(resource, entries)| ConfigReplacement { resource, entries });
    let change =
        (resource(), prop::collection::vec(operation, 1..3)).prop_map(|(resource, operations)| {
            ConfigChange {
                resource,
                operations,
            }
        });
    prop_oneof![
        (replacement, is_rare()).prop_map(|(replacement, validate_only)| Command::AlterConfigs {
            resources: vec![replacement],
            validate_only
        }),
        (change, is_rare()).prop_map(|(change, validate_only)| Command::IncrementalAlterConfigs {
            resources: vec![change],
            validate_only
        }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let identity =
        (0_i64..2_000, 0_i16..5).prop_map(|(producer_id, producer_epoch)| ProducerIdentity {
            producer_id,
            producer_epoch,
        });
    prop_oneof![
        10 => any_topic_command(),
        5 => any_config_command(),
        1 => prop::option::of(identity).prop_map(|current| Command::InitProducerId { current }),
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

fn created(name: &str, id: u8) -> MetadataRecord {
    MetadataRecord::TopicCreated {
        id: Uuid([id; 16]),
        name: name.to_owned(),
        partitions: 2,
        replication_factor: 1,
        configs: Vec::new(),
    }
}

/// Records that do not fit a cluster with the one topic "a" of two partitions and id 1.
fn misfits() -> Vec<MetadataRecord> {
    let (id, other) = (Uuid([1; 16]), Uuid([2; 16]));
    let scope = BrokerScope::AllBrokers;
    let set = |id, name: &str, value: &str| MetadataRecord::TopicConfigSet {
        id,
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let epoch = |id, first_partition, partitions| MetadataRecord::LeaderEpochSet {
        id,
        first_partition,
        partitions,
        epoch: 1,
    };
    vec![
        created("a", 2),
        created("b", 1),
        MetadataRecord::TopicDeleted { id: other },
        MetadataRecord::PartitionsAdded {
            id: other,
            partitions: 3,
        },
        MetadataRecord::PartitionsAdded { id, partitions: 2 },
        set(other, "retention.ms", "1"),
        set(id, "retention.ms", "x"),
        set(id, "no.such.key", "1"),
        MetadataRecord::TopicConfigRemoved {
            id: other,
            name: "retention.ms".to_owned(),
        },
        MetadataRecord::BrokerConfigSet {
            scope,
            name: "retention.ms".to_owned(),
            value: "1".to_owned(),
        },
        epoch(id, 1, 2),
        epoch(id, -1, 1),
        epoch(id, i32::MAX, i32::MAX),
        epoch(other, 0, 1),
    ]
}

#[test]
fn a_log_that_does_not_fit_is_refused_and_changes_nothing() {
    for record in misfits() {
        let mut run = Run::new();
        run.log.push(created("a", 1));
        run.restart();
        let before = durable(&run.cluster);
        let error = run.cluster.apply(&record).expect_err("does not fit");
        assert!(!error.to_string().is_empty());
        assert!(durable(&run.cluster) == before, "{record:?}");
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
