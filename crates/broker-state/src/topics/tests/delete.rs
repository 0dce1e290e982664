//! Claims about DeleteTopics.

use super::*;

fn with_topics(names: &[&str]) -> Run {
    let mut run = Run::new();
    run.create(names.iter().map(|name| new(name, 2)).collect());
    run
}

#[test]
fn a_topic_is_deleted_by_name_and_by_id() {
    let mut run = with_topics(&["a", "b", "c"]);
    let (records, _) = run.ask(Command::DeleteTopics {
        topics: vec![named("a")],
    });
    assert_eq!(records, [MetadataRecord::TopicDeleted { id: id_of("a") }]);
    assert_eq!(run.delete(vec![identified(id_of("b"))]), ["b ok"]);
    assert_eq!(run.topics(), ["c 2"]);
    assert_eq!(run.cluster.partition_count(), 2);
    assert_eq!(run.cluster.topic_by_id(id_of("b")), None);
}

#[test]
fn a_deletion_by_name_answers_with_the_id() {
    let mut run = with_topics(&["a"]);
    let (_, reply) = run.ask(Command::DeleteTopics {
        topics: vec![named("a")],
    });
    let deletion = TopicDeletion {
        name: Some("a".to_owned()),
        id: id_of("a"),
        result: Ok(()),
    };
    assert_eq!(reply, Reply::TopicsDeleted(vec![deletion]));
}

#[test]
fn an_unknown_topic_is_refused_by_what_it_was_named_with() {
    let mut run = with_topics(&[]);
    assert_eq!(
        run.delete(vec![named("a")]),
        ["a UNKNOWN_TOPIC_OR_PARTITION: topic 'a' does not exist"]
    );
    let (_, reply) = run.ask(Command::DeleteTopics {
        topics: vec![identified(id_of("a"))],
    });
    let Reply::TopicsDeleted(deletions) = reply else {
        panic!("a deletion is answered with deletions")
    };
    let refusal = deletions[0].result.as_ref().expect_err("unknown");
    assert_eq!(
        (refusal.error, deletions[0].id),
        (wire::ErrorCode::UnknownTopicId, id_of("a"))
    );
}

#[test]
fn a_topic_that_is_deleted_and_created_again_is_another() {
    let mut run = with_topics(&["a"]);
    run.change(topic("a"), &["retention.ms=5"]);
    run.delete(vec![named("a")]);
    run.create(vec![NewTopic {
        id: id_of("second"),
        ..new("a", 1)
    }]);
    assert_eq!(run.topics(), ["a 1"]);
    assert_eq!(run.topic("a").id, id_of("second"));
    assert_eq!(run.delete(vec![identified(id_of("a"))]).len(), 1);
    assert_eq!(run.topics(), ["a 1"]);
}

#[test]
fn neither_name_nor_id_and_both_are_refused() {
    let mut run = with_topics(&["a"]);
    let neither = "? INVALID_REQUEST: Neither topic name nor id were specified.";
    assert_eq!(run.delete(vec![identified(Uuid::ZERO)]), [neither]);
    let both = TopicRef {
        name: Some("a".to_owned()),
        id: id_of("a"),
    };
    assert_eq!(
        run.delete(vec![both]),
        ["a INVALID_REQUEST: You may not specify both topic name and topic id."]
    );
    assert_eq!(run.topics(), ["a 2"]);
}

#[test]
fn a_topic_that_is_named_twice_is_refused_once_and_kept() {
    let mut run = with_topics(&["a", "b"]);
    let answers = run.delete(vec![named("a"), named("b"), named("a")]);
    assert_eq!(
        answers,
        ["a INVALID_REQUEST: Duplicate topic name.", "b ok"]
    );
    let twice = vec![identified(id_of("a")), identified(id_of("a"))];
    assert_eq!(
        run.delete(twice),
        ["? INVALID_REQUEST: Duplicate topic id."]
    );
    assert_eq!(run.topics(), ["a 2"]);
}

#[test]
fn a_topic_that_is_given_by_name_and_by_id_is_refused_and_kept() {
    let mut run = with_topics(&["a"]);
    let text = "INVALID_REQUEST: The provided topic name maps to an ID that was already supplied.";
    let answers = run.delete(vec![named("a"), identified(id_of("a"))]);
    assert_eq!(answers, [format!("a {text}"), format!("? {text}")]);
    assert_eq!(run.topics(), ["a 2"]);
}

#[test]
fn the_broker_s_own_topics_are_kept() {
    let mut run = Run::new();
    run.auto_create(&[CONSUMER_OFFSETS]);
    let answers = run.delete(vec![named(CONSUMER_OFFSETS)]);
    assert!(
        answers[0].starts_with("__consumer_offsets INVALID_REQUEST"),
        "{answers:?}"
    );
    assert!(run.cluster.topic(CONSUMER_OFFSETS).is_some());
}

#[test]
fn deletion_can_be_switched_off() {
    let mut run = Run::with(&[("delete.topic.enable", "false")]);
    run.create(vec![new("a", 1)]);
    assert_eq!(
        run.delete(vec![named("a")]),
        ["a TOPIC_DELETION_DISABLED: Topic deletion is disabled."]
    );
    assert_eq!(run.topics(), ["a 1"]);
}
