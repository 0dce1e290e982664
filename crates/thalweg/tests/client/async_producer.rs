//! `client::AsyncProducer` against a broker of our own: order, refusals, a broker that goes and comes back; and how fast it is.

use std::time::Instant;

use client::offsets::OffsetQuery;
use client::{Acknowledged, AsyncProducer, Cluster, ErrorKind, OutgoingRecord};
use thalweg::{Settings, embedded};

use crate::{PATIENCE, create, delete, offsets, record, start};

async fn end_of(cluster: &Cluster, topic: &str) -> i64 {
    let ends = cluster.reader().offsets(topic, OffsetQuery::Latest).await;
    ends.expect("offsets").values().sum()
}

#[tokio::test]
async fn records_are_stored_in_the_order_in_which_they_were_handed_over() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let first = producer
        .send(&OutgoingRecord {
            timestamp_ms: Some(1_700_000_000_000),
            ..record("t", b"0")
        })
        .expect("there is room");
    let rest = producer.send_many(&[record("t", b"x"); 500]);
    let last = producer.send(&record("t", b"501")).expect("there is room");
    let stored = Acknowledged {
        partition: 0,
        offset: 0,
        timestamp_ms: 1_700_000_000_000,
    };
    assert_eq!(first.await.expect("acknowledged"), stored);
    assert_eq!(offsets(rest.await), (1..=500).collect::<Vec<i64>>());
    assert_eq!(last.await.expect("acknowledged").offset, 501);
    assert!(producer.send_many(&[]).await.is_empty());
}

#[tokio::test]
async fn a_key_chooses_the_partition_as_kafka_does() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 7).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    for key in ["a", "order-1", "customer-42", ""] {
        let keyed = OutgoingRecord {
            key: Some(key.as_bytes()),
            ..record("t", b"v")
        };
        let sent = producer.send(&keyed).expect("there is room");
        let expected = wire::partition_for_key(key.as_bytes(), 7);
        assert_eq!(
            sent.await.expect("acknowledged").partition,
            expected,
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_refused_record_does_not_take_its_neighbours_with_it() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let large = vec![0; 2_000_000];
    let nowhere = OutgoingRecord {
        partition: Some(9),
        ..record("t", b"x")
    };
    // The partitions of a topic are known once it was sent to.
    offsets(producer.send_many(&[record("t", b"0")]).await);
    let records = [
        record("t", b"1"),
        record("t", &large),
        nowhere,
        record("t", b"2"),
    ];
    let outcomes = producer.send_many(&records).await;
    let seen: Vec<Result<i64, String>> = outcomes
        .into_iter()
        .map(|outcome| {
            outcome
                .map(|stored| stored.offset)
                .map_err(|error| error.to_string())
        })
        .collect();
    assert_eq!(seen[0], Ok(1));
    assert_eq!(seen[3], Ok(2));
    assert!(
        matches!(&seen[1], Err(text) if text.contains("MESSAGE_TOO_LARGE")),
        "{seen:?}"
    );
    let unknown = "UNKNOWN_TOPIC_OR_PARTITION";
    assert!(
        matches!(&seen[2], Err(text) if text.contains(unknown)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn it_goes_on_when_its_topic_is_deleted_and_made_again() {
    let (_broker, cluster) = start();
    let producer = cluster.async_producer(&[]).expect("valid properties");
    for _ in 0..3 {
        create(&cluster, "t", 1).await;
        for round in 0..2 {
            let outcomes = producer.send_many(&[record("t", b"x"); 10]).await;
            let expected: Vec<i64> = (10 * round..10 * round + 10).collect();
            assert_eq!(offsets(outcomes), expected);
        }
        delete(&cluster, "t").await;
    }
}

#[tokio::test]
async fn what_was_handed_over_while_the_broker_was_away_is_stored_once_it_is_back() {
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
    let before = producer.send_many(&[record("t", b"x"); 10]).await;
    assert_eq!(offsets(before).len(), 10);
    drop(broker);
    let meanwhile = producer.send_many(&[record("t", b"y"); 10]);
    assert!(producer.in_flight() >= 10, "none can be acknowledged");
    let _broker = start(port);
    assert_eq!(offsets(meanwhile.await), (10..20).collect::<Vec<i64>>());
    assert_eq!(end_of(&cluster, "t").await, 20);
}

#[tokio::test]
async fn nobody_needs_to_wait_for_what_was_handed_over() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    drop(producer.send_many(&[record("t", b"x"); 10]));
    producer.flush(PATIENCE).await.expect("all acknowledged");
    assert_eq!(producer.in_flight(), 0);
    assert_eq!(end_of(&cluster, "t").await, 10);
}

#[tokio::test]
async fn dropping_the_producer_gives_up_what_is_not_acknowledged() {
    let cluster = Cluster::new("127.0.0.1:1").with_timeout(PATIENCE);
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let pending = producer.send(&record("t", b"x")).expect("there is room");
    drop(producer);
    let error = pending.await.expect_err("given up");
    assert_ne!(error.kind(), ErrorKind::TimedOut, "{error}");
}

/// `cargo test --release -p thalweg --test client -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_fast_it_is() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 4).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let batches = measure(&producer, 8, 200, |producer| async move {
        let value = [b'x'; 100];
        offsets(producer.send_many(&[record("t", &value); 500]).await).len()
    });
    println!("batches of 500: {} records/s", batches.await);
    let singles = measure(&producer, 64, 2000, |producer| async move {
        let sent = producer.send(&record("t", &[b'x'; 100]));
        sent.expect("there is room").await.expect("acknowledged");
        1
    });
    println!("one by one, 64 at a time: {} records/s", singles.await);
}

/// Records per second of `callers` tasks that run `call` over and over.
async fn measure<F: Future<Output = usize> + Send>(
    producer: &AsyncProducer,
    callers: usize,
    calls: usize,
    call: impl Fn(AsyncProducer) -> F + Copy + Send + 'static,
) -> u64 {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let producer = producer.clone();
        tasks.spawn(async move {
            let mut records = 0;
            for _ in 0..calls {
                records += call(producer.clone()).await;
            }
            records
        });
    }
    let records: usize = tasks.join_all().await.into_iter().sum();
    (records as f64 / started.elapsed().as_secs_f64()) as u64
}
