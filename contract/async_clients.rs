//! What the platform itself uses: records sent from async code, and read by position without a group.

use std::time::Duration;

use client::offsets::OffsetQuery;
use client::{Acknowledged, ErrorKind, FetchLimits, OutgoingRecord, Position, Reader};
use wire::ErrorCode;

use crate::subject::{Subject, contract};

contract! {
    BOTH:
        each_record_of_a_batch_is_acknowledged_with_its_place,
        a_partition_that_is_not_there_is_refused,
        a_reader_reads_what_was_acknowledged_and_waits_for_more,
        a_reader_is_told_when_it_is_beyond_the_end,
        an_unknown_topic_is_not_created_by_reading,
}

fn record<'a>(topic: &'a str, partition: i32, value: &'a str) -> OutgoingRecord<'a> {
    OutgoingRecord {
        topic,
        partition: Some(partition),
        value: Some(value.as_bytes()),
        ..OutgoingRecord::default()
    }
}

async fn send(subject: &Subject, records: &[OutgoingRecord<'_>]) -> Vec<Acknowledged> {
    let producer = subject
        .cluster
        .async_producer(&[])
        .expect("valid properties");
    let outcomes = producer.send_many(records).await;
    outcomes
        .into_iter()
        .map(|outcome| outcome.expect("it is acknowledged"))
        .collect()
}

fn values(records: &[client::Record]) -> Vec<String> {
    let values = records.iter().flat_map(|record| &record.value);
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

async fn each_record_of_a_batch_is_acknowledged_with_its_place(subject: &Subject) {
    let topic = subject.topic("batch", 3).await;
    let records: Vec<_> = (0..90)
        .map(|number| record(&topic, number % 3, "x"))
        .collect();
    let places = send(subject, &records).await;
    let expected = (0..90).map(|number| (number % 3, i64::from(number / 3)));
    let places: Vec<(i32, i64)> = places
        .iter()
        .map(|place| (place.partition, place.offset))
        .collect();
    assert_eq!(places, expected.collect::<Vec<_>>());
}

async fn a_partition_that_is_not_there_is_refused(subject: &Subject) {
    let topic = subject.topic("narrow", 1).await;
    let producer = subject
        .cluster
        .async_producer(&[])
        .expect("valid properties");
    let outcomes = producer
        .send_many(&[record(&topic, 0, "a"), record(&topic, 7, "b")])
        .await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(outcomes[1].is_err(), "{outcomes:?}");
}

async fn a_reader_reads_what_was_acknowledged_and_waits_for_more(subject: &Subject) {
    let topic = subject.topic("read", 2).await;
    send(
        subject,
        &[
            record(&topic, 0, "a"),
            record(&topic, 0, "b"),
            record(&topic, 1, "c"),
        ],
    )
    .await;
    let reader = subject.cluster.reader();
    let from = [0, 1].map(|partition| Position {
        partition,
        offset: 0,
    });
    let fetched = reader.fetch(&topic, &from, FetchLimits::default()).await;
    let fetched = fetched.expect("the leaders answer");
    let read: Vec<Vec<String>> = fetched
        .iter()
        .map(|partition| values(&partition.records))
        .collect();
    assert_eq!(read, [vec!["a", "b"], vec!["c"]]);
    let ends = reader.offsets(&topic, OffsetQuery::Latest).await;
    assert_eq!(ends.expect("offsets"), [(0, 2), (1, 1)].into());

    let next = Position {
        partition: 0,
        offset: fetched[0].next_offset,
    };
    let waiting = tokio::spawn(wait_for_one(reader, topic.clone(), next));
    send(subject, &[record(&topic, 0, "later")]).await;
    assert_eq!(waiting.await.expect("it does not panic"), ["later"]);
}

/// Reads on until something comes.
async fn wait_for_one(reader: Reader, topic: String, from: Position) -> Vec<String> {
    let limits = FetchLimits {
        max_wait: Duration::from_secs(30),
        ..FetchLimits::default()
    };
    let fetched = reader.fetch(&topic, &[from], limits).await;
    values(&fetched.expect("the leader answers")[0].records)
}

async fn a_reader_is_told_when_it_is_beyond_the_end(subject: &Subject) {
    let topic = subject.topic("short", 1).await;
    send(subject, &[record(&topic, 0, "a")]).await;
    let reader = subject.cluster.reader();
    let beyond = [Position {
        partition: 0,
        offset: 100,
    }];
    let fetched = reader.fetch(&topic, &beyond, FetchLimits::default()).await;
    let fetched = fetched.expect("the leader answers").remove(0);
    assert_eq!(fetched.error, Some(ErrorCode::OffsetOutOfRange));
    assert!(fetched.records.is_empty());
}

async fn an_unknown_topic_is_not_created_by_reading(subject: &Subject) {
    let topic = subject.name("unread");
    let reader = subject.cluster.reader();
    for _ in 0..2 {
        let missing = reader.topic(&topic).await.expect_err("nobody created it");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
