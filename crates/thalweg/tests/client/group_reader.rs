//! `client::GroupReader`: order, at least once, members that come and go in mid-batch, brokers that restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::topics::NewTopic;
use client::{Cluster, ErrorKind, GroupReader, GroupRecord};
use thalweg::{Settings, embedded};

use crate::{PATIENCE, create, record, start, store};

const SHORT: Duration = Duration::from_millis(100);

fn join(cluster: &Cluster, topics: &[&str]) -> GroupReader {
    // Members learn of a rebalance by their next heartbeat.
    let joined = cluster.group_reader("g", topics, &[("heartbeat.interval.ms", "100")]);
    joined.expect("valid properties")
}

fn values(records: &[GroupRecord]) -> Vec<String> {
    let values = records.iter().flat_map(|given| &given.record.value);
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

fn numbers(range: std::ops::Range<i32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn store_numbers(cluster: &Cluster, topic: &str, range: std::ops::Range<i32>, of: i32) {
    let producer = cluster.async_producer(&[]).expect("valid properties");
    for partition in 0..of {
        let own: Vec<String> = numbers(range.clone());
        let own: Vec<&str> = own
            .iter()
            .zip(range.clone())
            .filter(|(_, number)| number % of == partition)
            .map(|(text, _)| text.as_str())
            .collect();
        store(&producer, topic, partition, &own).await;
    }
}

/// Takes until there are `count` records.
async fn take(reader: &GroupReader, count: usize) -> Vec<GroupRecord> {
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while taken.len() < count {
        assert!(Instant::now() < deadline, "only {} came", taken.len());
        let more = reader.take(count - taken.len(), PATIENCE).await;
        taken.extend(more.expect("a record comes"));
    }
    taken
}

/// Waits until a member has so many partitions.
async fn wait_for_partitions(reader: &GroupReader, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while reader.assigned().len() != count {
        assert!(Instant::now() < deadline, "{:?}", reader.assigned());
        // A rebalance comes by the heartbeats of members, not by anything that could be awaited here.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn records_come_in_order_and_what_is_committed_does_not_come_again() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    store_numbers(&cluster, "t", 0..10, 1).await;
    let reader = join(&cluster, &["t"]);
    let taken = take(&reader, 4).await;
    assert_eq!(values(&taken), numbers(0..4));
    reader.commit(&taken).await.expect("committed");
    assert_eq!(values(&take(&reader, 3).await), numbers(4..7));
    reader.leave().await;

    let again = join(&cluster, &["t"]);
    let taken = take(&again, 6).await;
    assert_eq!(values(&taken), numbers(4..10));
    again.commit(&taken).await.expect("committed");
    assert_eq!(again.take(10, SHORT).await.expect("assigned"), []);
    store_numbers(&cluster, "t", 10..11, 1).await;
    assert_eq!(values(&take(&again, 1).await), numbers(10..11));
}

#[tokio::test]
async fn what_is_given_back_comes_first_and_wakes_who_waits() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    store_numbers(&cluster, "t", 0..4, 1).await;
    let reader = join(&cluster, &["t"]);
    let taken = take(&reader, 4).await;
    reader.give_back(&taken[1..3]);
    assert_eq!(values(&take(&reader, 2).await), numbers(1..3));
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move { take(&reader, 1).await }
    });
    tokio::task::yield_now().await;
    reader.give_back(&taken[3..]);
    assert_eq!(values(&waiting.await.expect("no panic")), numbers(3..4));
}

#[tokio::test]
async fn many_callers_share_what_comes() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 2).await;
    let reader = join(&cluster, &["t"]);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let reader = reader.clone();
        callers.spawn(async move { values(&take(&reader, 5).await) });
    }
    store_numbers(&cluster, "t", 0..100, 2).await;
    let taken = callers.join_all().await.concat();
    let distinct: BTreeSet<String> = taken.iter().cloned().collect();
    assert_eq!((taken.len(), distinct.len()), (100, 100));
}

#[tokio::test]
async fn two_members_share_partitions_without_loss_or_repetition() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 4).await;
    let one = join(&cluster, &["t"]);
    wait_for_partitions(&one, 4).await;
    let other = join(&cluster, &["t"]);
    wait_for_partitions(&other, 2).await;
    wait_for_partitions(&one, 2).await;
    store_numbers(&cluster, "t", 0..400, 4).await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for reader in [&one, &other] {
        let taken = take(reader, 200).await;
        for value in values(&taken) {
            *seen.entry(value).or_default() += 1;
        }
        reader.commit(&taken).await.expect("committed");
        assert_eq!(reader.take(1, SHORT).await.expect("assigned"), []);
    }
    assert_eq!(seen.len(), 400);
    assert!(seen.values().all(|count| *count == 1));
    // A third one finds nothing left to do, once its turn has come.
    other.leave().await;
    wait_for_partitions(&one, 4).await;
    assert_eq!(one.take(1, SHORT).await.expect("assigned"), []);
}

#[tokio::test]
async fn records_of_a_partition_that_is_taken_away_cannot_be_committed_and_come_again() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 2).await;
    store_numbers(&cluster, "t", 0..20, 2).await;
    let one = join(&cluster, &["t"]);
    let taken = take(&one, 12).await;
    let (kept, lost): (Vec<GroupRecord>, Vec<GroupRecord>) = {
        let other = join(&cluster, &["t"]);
        wait_for_partitions(&other, 1).await;
        wait_for_partitions(&one, 1).await;
        let own = one.assigned()[0].1;
        let parts: (Vec<_>, Vec<_>) = taken.into_iter().partition(|r| r.partition == own);
        let error = one.commit(&parts.1).await.expect_err("it is another's");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        // The other one gets all of its partition: nothing of it was committed.
        let theirs = take(&other, 10).await;
        assert_eq!(theirs[0].record.offset, 0);
        assert!(theirs.iter().all(|given| given.partition != own));
        other.commit(&theirs[..3]).await.expect("committed");
        other.leave().await;
        parts
    };
    one.commit(&kept).await.expect("its own partition");
    wait_for_partitions(&one, 2).await;
    let error = one.commit(&lost).await.expect_err("an old assignment");
    assert!(error.to_string().contains("given again"), "{error}");
    let rest = take(&one, 20 - kept.len() - 3).await;
    let away: Vec<i64> = rest
        .iter()
        .filter(|given| given.partition == lost[0].partition)
        .map(|given| given.record.offset)
        .collect();
    assert_eq!(away, (3..10).collect::<Vec<i64>>());
}

#[tokio::test]
async fn several_topics_are_read_by_one_member() {
    let (_broker, cluster) = start();
    for topic in ["a", "b"] {
        create(&cluster, topic, 1).await;
        store_numbers(&cluster, topic, 0..3, 1).await;
    }
    let reader = join(&cluster, &["a", "b"]);
    let taken = take(&reader, 6).await;
    reader.commit(&taken).await.expect("committed");
    let topics: BTreeSet<&str> = taken.iter().map(|given| &*given.topic).collect();
    assert_eq!(topics, ["a", "b"].into());
}

/// A batch of one record with a header whose name is no text, as only a client that does not check could send it.
fn batch_with_an_odd_header() -> Vec<u8> {
    let mut batch = wire::records::BatchBuilder::new(1000);
    batch.push(1000, None, Some(b"odd"), &[("??", Some(b"v"))]);
    let mut batch = batch.build(wire::records::Compression::None).to_vec();
    let name = batch.windows(2).rposition(|two| two == b"??");
    let name = name.expect("the name is in there");
    batch[name..name + 2].copy_from_slice(b"\xff\xfe");
    // CRC-32C, bit by bit, of everything after the checksum itself.
    let crc = batch[21..].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    });
    batch[17..21].copy_from_slice(&(!crc).to_be_bytes());
    batch
}

#[tokio::test]
async fn headers_that_are_not_utf_8_end_nobody() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let batch = batch_with_an_odd_header();
    let request = wire::produce::Request {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![wire::produce::TopicData {
            name: "t",
            partition_data: vec![wire::produce::PartitionData {
                index: 0,
                records: Some(&batch),
            }],
            ..wire::produce::TopicData::default()
        }],
        ..wire::produce::Request::default()
    };
    let mut connection = client::Connection::open(&cluster.bootstrap()[0], &cluster).await;
    let connection = connection.as_mut().expect("the broker answers");
    connection.call_up_to(&request, 9).await.expect("stored");
    store(&producer, "t", 0, &["even"]).await;
    let reader = join(&cluster, &["t"]);
    let taken = take(&reader, 2).await;
    assert_eq!(values(&taken), ["odd", "even"]);
    assert_eq!(taken[0].record.headers[0].0, "\u{fffd}\u{fffd}");
}

#[tokio::test]
async fn a_group_goes_on_after_the_broker_was_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |port: u16| {
        let settings = Settings::on_disk(folder.path()).kafka_port(port);
        embedded(settings).expect("a broker on disk")
    };
    let broker = start(0);
    let port = broker.kafka_address().port();
    let cluster = Cluster::new(&broker.bootstrap()).with_timeout(PATIENCE);
    create(&cluster, "t", 1).await;
    store_numbers(&cluster, "t", 0..6, 1).await;
    let reader = join(&cluster, &["t"]);
    let taken = take(&reader, 2).await;
    reader.commit(&taken).await.expect("committed");
    drop(broker);
    let _broker = start(port);
    let taken = take(&reader, 2).await;
    assert_eq!(values(&taken), numbers(2..4));
    reader.commit(&taken).await.expect("committed");
    reader.leave().await;
    let another = join(&cluster, &["t"]);
    assert_eq!(values(&take(&another, 2).await), numbers(4..6));
}

#[tokio::test]
async fn records_that_retention_has_deleted_are_passed_over() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    store_numbers(&cluster, "t", 0..4, 1).await;
    let reader = join(&cluster, &["t"]);
    let taken = take(&reader, 1).await;
    reader.commit(&taken).await.expect("committed");
    reader.leave().await;
    let request = wire::delete_records::Request {
        topics: vec![wire::delete_records::Topic {
            name: "t",
            partitions: vec![wire::delete_records::Partition {
                partition_index: 0,
                offset: 3,
            }],
        }],
        timeout_ms: 10_000,
    };
    let mut connection = client::Connection::open(&cluster.bootstrap()[0], &cluster).await;
    let connection = connection.as_mut().expect("the broker answers");
    connection.call(&request).await.expect("deleted");
    let again = join(&cluster, &["t"]);
    assert_eq!(values(&take(&again, 1).await), numbers(3..4));
}

#[tokio::test]
async fn who_has_no_assignment_yet_is_told_why() {
    let nobody = Cluster::new("127.0.0.1:1").with_timeout(Duration::from_secs(2));
    let reader = join(&nobody, &["t"]);
    let error = reader.take(1, Duration::from_millis(500)).await;
    let error = error.expect_err("nothing listens there");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");

    // A group that waits for more members before it assigns anything.
    let delay = "group.initial.rebalance.delay.ms";
    let settings = Settings::in_memory().broker_config(delay, "60000");
    let broker = embedded(settings).expect("a broker in memory");
    let cluster = Cluster::new(&broker.bootstrap()).with_timeout(Duration::from_secs(2));
    create(&cluster, "t", 1).await;
    let reader = join(&cluster, &["t"]);
    let error = reader.take(1, SHORT).await.expect_err("no assignment yet");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("waiting for the assignment in group g"),
        "{text}"
    );
    reader.leave().await;
}

#[tokio::test]
async fn a_topic_that_comes_later_is_read_once_it_is_there() {
    let (_broker, cluster) = start();
    let reader = join(&cluster, &["later"]);
    let _ = reader.take(1, SHORT).await;
    let mut admin = cluster.admin().await.expect("the broker answers");
    let new = NewTopic {
        name: "later",
        partitions: Some(1),
        ..NewTopic::default()
    };
    admin.create_topic(&new, false).await.expect("a new topic");
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let stored = producer.send(&record("later", b"0")).expect("room").await;
    stored.expect("acknowledged");
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Vec::new();
    while taken.is_empty() {
        assert!(Instant::now() < deadline, "the topic is not seen");
        taken = reader.take(1, PATIENCE).await.unwrap_or_default();
    }
    assert_eq!(values(&taken), numbers(0..1));
}
