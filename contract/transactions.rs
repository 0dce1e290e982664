//! Transactions: what is written in one is seen whole or not at all, and a producer that was replaced writes no more.

use client::{OutgoingRecord, Producer};

use crate::subject::{Subject, contract};
use crate::traffic::{PATIENCE, produce_values, read_all};

contract! {
    BOTH:
        a_committed_transaction_is_seen_in_every_partition,
        an_aborted_transaction_is_never_seen,
        a_fenced_producer_cannot_commit,
        a_new_producer_ends_what_the_one_before_left_open,
}

/// A producer that has taken over the transactional id.
fn transactional(subject: &Subject, id: &str) -> Producer {
    let producer = subject
        .cluster
        .producer(&[("transactional.id", id)], |_| {});
    let producer = producer.expect("valid properties");
    producer
        .init_transactions(PATIENCE)
        .expect("the cluster has transactions");
    producer
}

fn send(producer: &Producer, topic: &str, partition: i32, value: &str) {
    let record = OutgoingRecord {
        topic,
        partition: Some(partition),
        value: Some(value.as_bytes()),
        ..OutgoingRecord::default()
    };
    producer.send(&record, 0).expect("room in the queue");
}

fn committed_values(subject: &Subject, topic: &str, partitions: i32) -> Vec<String> {
    let seen = read_all(&subject.cluster, topic, partitions);
    let mut values: Vec<String> = seen.into_iter().map(|record| record.value).collect();
    values.sort();
    values
}

async fn a_committed_transaction_is_seen_in_every_partition(subject: &Subject) {
    let topic = subject.topic("atomic", 3).await;
    let producer = transactional(subject, &subject.name("commits"));
    for round in 0..2 {
        producer.begin().expect("none is under way");
        for partition in 0..3 {
            send(&producer, &topic, partition, &format!("{round}{partition}"));
        }
        producer.commit(PATIENCE).expect("it can be committed");
    }
    let values = committed_values(subject, &topic, 3);
    assert_eq!(values, ["00", "01", "02", "10", "11", "12"]);
}

async fn an_aborted_transaction_is_never_seen(subject: &Subject) {
    let topic = subject.topic("aborted", 2).await;
    let producer = transactional(subject, &subject.name("aborts"));
    producer.begin().expect("none is under way");
    send(&producer, &topic, 0, "dropped");
    send(&producer, &topic, 1, "dropped");
    producer.flush(PATIENCE).expect("the records are stored");
    producer.abort(PATIENCE).expect("it can be aborted");
    produce_values(&subject.cluster, &topic, 0, &["kept"]);
    assert_eq!(committed_values(subject, &topic, 2), ["kept"]);
}

async fn a_fenced_producer_cannot_commit(subject: &Subject) {
    let topic = subject.topic("fenced", 1).await;
    let id = subject.name("fenced");
    let old = transactional(subject, &id);
    old.begin().expect("none is under way");
    send(&old, &topic, 0, "old");
    old.flush(PATIENCE).expect("the record is stored");

    let new = transactional(subject, &id);
    let refused = old.commit(PATIENCE).expect_err("another has taken over");
    assert!(
        refused.to_string().contains("committing a transaction"),
        "{refused}"
    );
    new.begin().expect("none is under way");
    send(&new, &topic, 0, "new");
    new.commit(PATIENCE).expect("the id is its own");
    assert_eq!(committed_values(subject, &topic, 1), ["new"]);
}

async fn a_new_producer_ends_what_the_one_before_left_open(subject: &Subject) {
    let topic = subject.topic("left-open", 1).await;
    let id = subject.name("left-open");
    let first = transactional(subject, &id);
    first.begin().expect("none is under way");
    send(&first, &topic, 0, "open");
    first.flush(PATIENCE).expect("the record is stored");
    drop(first);
    produce_values(&subject.cluster, &topic, 0, &["behind"]);

    transactional(subject, &id);
    assert_eq!(committed_values(subject, &topic, 1), ["behind"]);
}
