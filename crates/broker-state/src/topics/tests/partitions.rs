//! Claims about CreatePartitions and leader epochs.

use super::*;

fn assigned(name: &str, partitions: i32, brokers: &[&[i32]]) -> PartitionIncrease {
    let assignments = brokers.iter().map(|brokers| brokers.to_vec()).collect();
    PartitionIncrease {
        assignments: Some(assignments),
        ..to(name, partitions)
    }
}

fn with_topic(partitions: i32) -> Run {
    let mut run = Run::limited(&[], 20);
    run.create(vec![new("a", partitions)]);
    run
}

#[test]
fn a_topic_grows() {
    let mut run = with_topic(2);
    let command = Command::CreatePartitions {
        topics: vec![to("a", 5)],
        validate_only: false,
    };
    let (records, _) = run.ask(command);
    assert_eq!(
        records,
        [MetadataRecord::PartitionsAdded {
            id: id_of("a"),
            partitions: 5
        }]
    );
    assert_eq!(run.topics(), ["a 5"]);
    assert_eq!(run.cluster.partition_count(), 5);
}

#[test]
fn a_topic_never_shrinks_and_growing_by_nothing_is_refused() {
    let mut run = with_topic(2);
    assert_eq!(
        run.grow(vec![to("a", 2)]),
        ["a INVALID_PARTITIONS: Topic already has 2 partition(s)."]
    );
    for fewer in [1, 0, -1, i32::MIN] {
        let text = format!(
            "a INVALID_PARTITIONS: The topic a currently has 2 partition(s); {fewer} would not be an increase."
        );
        assert_eq!(run.grow(vec![to("a", fewer)]), [text]);
    }
}

#[test]
fn an_unknown_topic_does_not_grow() {
    let mut run = with_topic(2);
    assert_eq!(
        run.grow(vec![to("b", 3)]),
        ["b UNKNOWN_TOPIC_OR_PARTITION: topic 'b' does not exist"]
    );
}

#[test]
fn validation_alone_changes_nothing() {
    let mut run = with_topic(2);
    let command = Command::CreatePartitions {
        topics: vec![to("a", 5)],
        validate_only: true,
    };
    assert_eq!(run.ask(command).0, []);
    assert_eq!(run.topics(), ["a 2"]);
}

#[test]
fn a_topic_that_is_named_twice_is_refused_once() {
    let mut run = with_topic(2);
    assert_eq!(
        run.grow(vec![to("a", 3), to("a", 4)]),
        ["a INVALID_REQUEST: Duplicate topic name."]
    );
    assert_eq!(run.topics(), ["a 2"]);
}

#[test]
fn partitions_beyond_the_broker_s_limit_are_refused() {
    let mut run = with_topic(2);
    let answers = run.grow(vec![to("a", 21)]);
    assert!(answers[0].starts_with("a POLICY_VIOLATION"), "{answers:?}");
    assert_eq!(run.grow(vec![to("a", 20)]), ["a ok"]);
    assert!(run.grow(vec![to("a", i32::MAX)])[0].starts_with("a POLICY_VIOLATION"));
}

#[test]
fn new_partitions_may_be_assigned_to_the_one_broker() {
    let mut run = with_topic(2);
    assert_eq!(run.grow(vec![assigned("a", 4, &[&[1], &[1]])]), ["a ok"]);
    let text = "a INVALID_REPLICA_ASSIGNMENT: Attempted to add 2 additional partition(s), \
                but only 1 assignment(s) were specified.";
    assert_eq!(run.grow(vec![assigned("a", 6, &[&[1]])]), [text]);
    let text = "a INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 3, \
                but no such broker is registered.";
    assert_eq!(run.grow(vec![assigned("a", 5, &[&[3]])]), [text]);
    assert_eq!(run.topics(), ["a 4"]);
}

#[test]
fn the_broker_s_own_topics_do_not_grow() {
    let mut run = Run::with(&[("offsets.topic.num.partitions", "1")]);
    run.auto_create(&[CONSUMER_OFFSETS]);
    let answers = run.grow(vec![to(CONSUMER_OFFSETS, 2)]);
    assert!(
        answers[0].starts_with("__consumer_offsets INVALID_REQUEST"),
        "{answers:?}"
    );
}

#[test]
fn raised_epochs_are_those_of_the_partitions_that_exist() {
    let mut run = with_topic(2);
    assert_eq!(
        run.ask(Command::RaiseLeaderEpochs),
        (
            vec![MetadataRecord::LeaderEpochsRaised],
            Reply::LeaderEpochsRaised
        )
    );
    run.grow(vec![to("a", 3)]);
    run.create(vec![new("b", 1)]);
    run.ask(Command::RaiseLeaderEpochs);
    assert_eq!(run.topic("a").leader_epochs, [2, 2, 1]);
    assert_eq!(run.topic("b").leader_epochs, [1]);
}

#[test]
fn one_epoch_can_be_set_for_a_run_of_partitions() {
    let mut run = with_topic(4);
    let record = MetadataRecord::LeaderEpochSet {
        id: id_of("a"),
        first_partition: 1,
        partitions: 2,
        epoch: 7,
    };
    run.cluster.apply(&record).expect("the partitions exist");
    run.log.push(record);
    assert_eq!(run.topic("a").leader_epochs, [0, 7, 7, 0]);
}
