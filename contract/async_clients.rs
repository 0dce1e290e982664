//! What the platform itself uses: records sent from async code, read by position without a group, and pulled by one group member
//! for many callers.

use std::time::Duration;

use client::offsets::OffsetQuery;
use client::{
    Acknowledged, ErrorKind, FetchLimits, GroupReader, GroupRecord, OutgoingRecord, Position,
    Reader,
};
use wire::ErrorCode;

use crate::subject::{Subject, contract, eventually};

contract! {
    BOTH:
        each_record_of_a_batch_is_acknowledged_with_its_place,
        a_partition_that_is_not_there_is_refused,
        a_reader_reads_what_was_acknowledged_and_waits_for_more,
        a_reader_is_told_when_it_is_beyond_the_end,
        an_unknown_topic_is_not_created_by_reading,
        callers_of_one_member_share_its_records,
        what_was_not_committed_is_given_again,
        a_commit_for_a_partition_that_was_taken_away_is_refused,
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

/// A member that begins at the first record.
fn member(subject: &Subject, group: &str, topic: &str) -> GroupReader {
    let properties = [("auto.offset.reset", "earliest")];
    let member = subject.cluster.group_reader(group, &[topic], &properties);
    member.expect("valid properties")
}

/// Takes until there are `count` records; the group's first assignment may take its time.
async fn take(member: &GroupReader, count: usize) -> Vec<GroupRecord> {
    let mut taken = Vec::new();
    eventually(&format!("{count} records"), async || {
        let more = member
            .take(count - taken.len(), Duration::from_secs(5))
            .await;
        taken.extend(more.unwrap_or_default());
        (taken.len() == count).then_some(())
    })
    .await;
    taken
}

fn texts(records: &[GroupRecord]) -> Vec<String> {
    let records: Vec<client::Record> = records.iter().map(|taken| taken.record.clone()).collect();
    values(&records)
}

async fn callers_of_one_member_share_its_records(subject: &Subject) {
    let topic = subject.topic("pulled", 1).await;
    let records: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    let outgoing: Vec<_> = records
        .iter()
        .map(|value| record(&topic, 0, value))
        .collect();
    send(subject, &outgoing).await;
    let member = member(subject, &subject.name("pullers"), &topic);
    let (first, second) = tokio::join!(take(&member, 20), take(&member, 20));
    assert!(texts(&first).is_sorted() && texts(&second).is_sorted());
    let mut all = [texts(&first), texts(&second)].concat();
    all.sort();
    assert_eq!(all, records, "each record went to one caller");
    assert_eq!(member.assigned(), [(topic, 0)]);
    member.leave().await;
}

async fn what_was_not_committed_is_given_again(subject: &Subject) {
    let topic = subject.topic("pulled-again", 1).await;
    let group = subject.name("again");
    send(
        subject,
        &["a", "b", "c"].map(|value| record(&topic, 0, value)),
    )
    .await;
    let first = member(subject, &group, &topic);
    let taken = take(&first, 3).await;
    first
        .commit(&taken[..1])
        .await
        .expect("the partition is its own");
    first.leave().await;

    let second = member(subject, &group, &topic);
    assert_eq!(texts(&take(&second, 2).await), ["b", "c"]);
    second.leave().await;
}

async fn a_commit_for_a_partition_that_was_taken_away_is_refused(subject: &Subject) {
    let topic = subject.topic("taken-away", 2).await;
    let group = subject.name("rivals");
    send(subject, &[record(&topic, 0, "a"), record(&topic, 1, "b")]).await;
    let first = member(subject, &group, &topic);
    let taken = take(&first, 2).await;
    let second = member(subject, &group, &topic);
    eventually("each has one partition", async || {
        let _ = second.take(0, Duration::ZERO).await;
        (first.assigned().len() == 1 && second.assigned().len() == 1).then_some(())
    })
    .await;
    let refused = first
        .commit(&taken)
        .await
        .expect_err("one of them is another's now");
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    first.leave().await;
    second.leave().await;
}
