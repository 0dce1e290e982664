//! `client::Reader`: positions, waiting, compression, transactions, topics and brokers that come and go.

use std::time::{Duration, Instant};

use client::offsets::OffsetQuery;
use client::{
    Cluster, ErrorKind, FetchLimits, FetchedPartition, Isolation, OutgoingRecord, Position, Reader,
    Record,
};
use thalweg::{Settings, embedded};
use wire::ErrorCode;

use crate::{PATIENCE, create, delete, offsets, record, start, store};

const WAITING: FetchLimits = FetchLimits {
    max_bytes: 1024 * 1024,
    max_wait: PATIENCE,
    min_bytes: 1,
    isolation: Isolation::ReadCommitted,
};

fn at(partition: i32, offset: i64) -> Position {
    Position { partition, offset }
}

fn values(records: &[Record]) -> Vec<String> {
    let values = records.iter().flat_map(|record| &record.value);
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

async fn fetch(reader: &Reader, topic: &str, from: Position) -> FetchedPartition {
    let fetched = reader.fetch(topic, &[from], FetchLimits::default()).await;
    fetched.expect("the broker answers").remove(0)
}

#[tokio::test]
async fn records_come_back_as_they_were_sent_from_any_position() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 2).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let headers = [
        ("h".to_owned(), Some(b"1".to_vec())),
        ("h".to_owned(), None),
    ];
    let sent = OutgoingRecord {
        partition: Some(1),
        key: Some(b"key"),
        value: None,
        timestamp_ms: Some(1_700_000_000_000),
        headers: &headers,
        ..record("t", b"")
    };
    offsets(producer.send_many(&[sent]).await);
    store(&producer, "t", 0, &["a", "b", "c"]).await;

    let reader = cluster.reader();
    let from = [at(1, 0), at(0, 1)];
    let fetched = reader.fetch("t", &from, FetchLimits::default()).await;
    let fetched = fetched.expect("the broker answers");
    let expected = Record {
        offset: 0,
        timestamp_ms: 1_700_000_000_000,
        key: Some("key".into()),
        value: None,
        headers: vec![("h".to_owned(), Some("1".into())), ("h".to_owned(), None)],
    };
    assert_eq!(fetched[0].records, [expected]);
    assert_eq!(values(&fetched[1].records), ["b", "c"]);
    let ends = |p: &FetchedPartition| (p.next_offset, p.high_watermark, p.log_start_offset);
    assert_eq!(ends(&fetched[0]), (1, 1, 0));
    assert_eq!(ends(&fetched[1]), (3, 3, 0));
    let ends = reader.offsets("t", OffsetQuery::Latest).await;
    assert_eq!(ends.expect("offsets"), [(0, 3), (1, 1)].into());
    let by_time = reader.offsets("t", OffsetQuery::AtTime(1_700_000_000_001));
    assert_eq!(by_time.await.expect("offsets"), [(0, 0)].into());
}

#[tokio::test]
async fn compressed_records_are_read_and_a_small_limit_still_gives_one_batch() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let long = "compressible ".repeat(2000);
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let properties = [("compression.type", codec)];
        let producer = cluster.async_producer(&properties);
        store(
            &producer.expect("valid properties"),
            "t",
            0,
            &[&long, codec],
        )
        .await;
        expected.extend([long.clone(), codec.to_owned()]);
    }
    let reader = cluster.reader();
    let mut position = at(0, 0);
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let limits = FetchLimits {
            max_bytes: 1,
            ..FetchLimits::default()
        };
        let fetched = reader.fetch("t", &[position], limits).await;
        let fetched = fetched.expect("the broker answers").remove(0);
        assert!(!fetched.records.is_empty(), "{fetched:?}");
        read.extend(values(&fetched.records));
        position.offset = fetched.next_offset;
    }
    assert_eq!(read, expected);
}

#[tokio::test]
async fn who_waits_is_woken_by_the_first_record() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 2).await;
    let reader = cluster.reader();
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move { reader.fetch("t", &[at(0, 0), at(1, 0)], WAITING).await }
    });
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let started = Instant::now();
    store(&producer, "t", 1, &["a"]).await;
    let fetched = waiting
        .await
        .expect("no panic")
        .expect("the broker answers");
    assert_eq!(values(&fetched[1].records), ["a"]);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn nothing_comes_from_an_empty_topic_within_the_wait() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let limits = FetchLimits {
        max_wait: Duration::from_millis(50),
        ..FetchLimits::default()
    };
    let fetched = cluster.reader().fetch("t", &[at(0, 0)], limits).await;
    let fetched = fetched.expect("the broker answers").remove(0);
    assert_eq!((fetched.records.len(), fetched.next_offset), (0, 0));
    assert_eq!(fetched.error, None);
}

#[tokio::test]
async fn aborted_and_open_transactions_are_left_out() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let transactional = [("transactional.id", "one")];
    let producer = cluster.producer(&transactional, |_| {});
    let producer = producer.expect("valid properties");
    producer.init_transactions(PATIENCE).expect("a coordinator");
    for (value, ends_well) in [("aborted", false), ("committed", true)] {
        producer.begin().expect("none is open");
        producer
            .send(&record("t", value.as_bytes()), 0)
            .expect("room");
        producer.flush(PATIENCE).expect("delivered");
        match ends_well {
            true => producer.commit(PATIENCE).expect("committed"),
            false => producer.abort(PATIENCE).expect("aborted"),
        }
    }
    producer.begin().expect("none is open");
    producer.send(&record("t", b"open"), 0).expect("room");
    producer.flush(PATIENCE).expect("delivered");

    let reader = cluster.reader();
    let committed = fetch(&reader, "t", at(0, 0)).await;
    assert_eq!(values(&committed.records), ["committed"]);
    // aborted, its marker, committed, its marker; the open one is at 4.
    let ends = |p: &FetchedPartition| (p.next_offset, p.last_stable_offset, p.high_watermark);
    assert_eq!(ends(&committed), (4, 4, 5));
    let uncommitted = FetchLimits {
        isolation: Isolation::ReadUncommitted,
        ..FetchLimits::default()
    };
    let everything = reader.fetch("t", &[at(0, 0)], uncommitted).await;
    let everything = everything.expect("the broker answers").remove(0);
    assert_eq!(
        values(&everything.records),
        ["aborted", "committed", "open"]
    );
    producer.abort(PATIENCE).expect("aborted");
    let limits = FetchLimits {
        max_wait: Duration::from_millis(50),
        ..WAITING
    };
    let rest = reader.fetch("t", &[at(0, 4)], limits).await;
    let rest = rest.expect("the broker answers").remove(0);
    assert_eq!((rest.records.len(), rest.next_offset), (0, 6));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_by_partition() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["a"]).await;
    let reader = cluster.reader();
    let beyond = fetch(&reader, "t", at(0, 9)).await;
    assert_eq!(beyond.error, Some(ErrorCode::OffsetOutOfRange));
    assert_eq!((beyond.next_offset, beyond.log_start_offset), (9, 0));
    let from = [at(7, 0), at(0, 0)];
    let fetched = reader.fetch("t", &from, FetchLimits::default()).await;
    let fetched = fetched.expect("the broker answers");
    let unknown = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!((fetched[0].partition, fetched[0].error), (7, unknown));
    assert_eq!(values(&fetched[1].records), ["a"]);
}

#[tokio::test]
async fn a_missing_topic_is_refused_and_not_created() {
    let (_broker, cluster) = start();
    let reader = cluster.reader();
    let refusals = [
        reader.topic("t").await.err(),
        reader.offsets("t", OffsetQuery::Latest).await.err(),
        reader.fetch("t", &[at(0, 0)], WAITING).await.err(),
    ];
    for error in refusals {
        let error = error.expect("a refusal");
        assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    }
    let mut admin = cluster.admin().await.expect("the broker answers");
    let topics = admin.topics().await.expect("a listing");
    assert!(topics.iter().all(|topic| topic.is_internal), "{topics:?}");
}

#[tokio::test]
async fn a_topic_that_is_deleted_extended_and_made_again_is_followed() {
    let (_broker, cluster) = start();
    let reader = cluster.reader();
    let producer = cluster.async_producer(&[]).expect("valid properties");
    for round in ["first", "second"] {
        create(&cluster, "t", 1).await;
        store(&producer, "t", 0, &[round]).await;
        let fetched = fetch(&reader, "t", at(0, 0)).await;
        assert_eq!(values(&fetched.records), [round]);
        let mut admin = cluster.admin().await.expect("the broker answers");
        let extended = admin.add_partitions("t", 2, false).await;
        extended.expect("it exists");
        assert_eq!(fetch(&reader, "t", at(1, 0)).await.error, None);
        delete(&cluster, "t").await;
        let gone = reader.fetch("t", &[at(0, 0)], WAITING).await;
        assert_eq!(gone.expect_err("deleted").kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_broker_that_comes_back_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |port: u16| {
        let settings = Settings::on_disk(folder.path()).kafka_port(port);
        embedded(settings).expect("a broker on disk")
    };
    let broker = start(0);
    let port = broker.kafka_address().port();
    let cluster = Cluster::new(&broker.bootstrap()).with_timeout(PATIENCE);
    create(&cluster, "t", 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["a"]).await;
    let reader = cluster.reader();
    assert_eq!(fetch(&reader, "t", at(0, 0)).await.records.len(), 1);
    drop(broker);
    let error = reader.fetch("t", &[at(0, 0)], WAITING).await;
    let error = error.expect_err("nothing listens");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("connection refused"), "{error}");
    let _broker = start(port);
    assert_eq!(fetch(&reader, "t", at(0, 0)).await.records.len(), 1);
}

#[tokio::test]
async fn more_readers_than_connections_take_turns_and_leave_no_trace() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let reader = cluster.reader();
    let limits = FetchLimits {
        max_wait: Duration::from_millis(20),
        ..FetchLimits::default()
    };
    let mut waiting = tokio::task::JoinSet::new();
    for index in 0..200 {
        let reader = reader.clone();
        waiting.spawn(async move {
            let from = [at(0, 0)];
            let fetched = reader.fetch("t", &from, limits);
            // Every third one goes away in the middle of its exchange.
            match index % 3 {
                0 => drop(tokio::time::timeout(Duration::from_millis(5), fetched).await),
                _ => drop(fetched.await.expect("its turn comes")),
            }
        });
    }
    waiting.join_all().await;
    assert_eq!(fetch(&reader, "t", at(0, 0)).await.error, None);
}
