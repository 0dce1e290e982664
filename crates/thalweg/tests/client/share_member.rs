//! `client::ShareMember`: locks, acknowledgements one by one, members and callers that go away, brokers that restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use client::{Acknowledge, Cluster, ErrorKind, ShareMember, SharedRecord};
use thalweg::{Settings, embedded};
use wire::ErrorCode;

use crate::{PATIENCE, create, record, start, store};

const SHORT: Duration = Duration::from_millis(300);

/// A member that knows its partitions: what is stored from now on comes to its group.
async fn join(cluster: &Cluster, partitions: usize) -> ShareMember {
    let member = cluster.share_member("g", &["t"]).expect("a runtime");
    let deadline = Instant::now() + PATIENCE;
    while member.assigned().len() != partitions {
        assert!(Instant::now() < deadline, "{:?}", member.assigned());
        let none = member.take(1, Duration::from_millis(10)).await;
        assert_eq!(none.unwrap_or_default(), []);
    }
    member
}

async fn take(member: &ShareMember, count: usize) -> Vec<SharedRecord> {
    let mut taken = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while taken.len() < count {
        assert!(Instant::now() < deadline, "only {} came", taken.len());
        let more = member.take(count - taken.len(), PATIENCE).await;
        taken.extend(more.expect("a record comes"));
    }
    taken
}

fn values(records: &[SharedRecord]) -> Vec<String> {
    let values = records.iter().flat_map(|given| &given.record.value);
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

fn all(records: &[SharedRecord], kind: Acknowledge) -> Vec<(String, i32, i64, Acknowledge)> {
    let acknowledge = |given: &SharedRecord| {
        let topic = given.topic.to_string();
        (topic, given.partition, given.record.offset, kind)
    };
    records.iter().map(acknowledge).collect()
}

/// Acknowledges; gives the error code of each that was refused.
async fn acknowledge(
    member: &ShareMember,
    asked: &[(String, i32, i64, Acknowledge)],
) -> Vec<Option<ErrorCode>> {
    let results = member.acknowledge(asked).await.expect("a member");
    let codes = results.into_iter().map(|result| {
        let error = result.err()?;
        Some(error.code().unwrap_or_else(|| panic!("{error}")))
    });
    codes.collect()
}

#[tokio::test]
async fn what_is_accepted_is_done_and_what_is_released_comes_again() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let member = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["a", "b", "c", "d"]).await;
    let taken = take(&member, 3).await;
    assert_eq!(values(&taken), ["a", "b", "c"]);
    assert!(taken.iter().all(|given| given.delivery_count == 1));
    assert!(
        taken[0].lock >= Duration::from_secs(1),
        "{:?}",
        taken[0].lock
    );
    let mut asked = all(&taken, Acknowledge::Accept);
    asked[1].3 = Acknowledge::Release;
    assert_eq!(acknowledge(&member, &asked).await, [None; 3]);
    let again = take(&member, 2).await;
    assert_eq!(values(&again), ["b", "d"]);
    assert_eq!((again[0].delivery_count, again[1].delivery_count), (2, 1));
    let rejected = all(&again, Acknowledge::Reject);
    assert_eq!(acknowledge(&member, &rejected).await, [None; 2]);
    assert_eq!(member.take(1, SHORT).await.expect("a member"), []);
}

#[tokio::test]
async fn one_acknowledgement_that_is_refused_does_not_take_the_others_with_it() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let member = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["a", "b", "c"]).await;
    let taken = take(&member, 3).await;
    let second = all(&taken[1..2], Acknowledge::Release);
    assert_eq!(acknowledge(&member, &second).await, [None]);
    let everything = all(&taken, Acknowledge::Accept);
    let refused = Some(ErrorCode::InvalidRecordState);
    assert_eq!(
        acknowledge(&member, &everything).await,
        [None, refused, None]
    );
    let nowhere = [("t".to_owned(), 7, 0, Acknowledge::Accept)];
    let unknown = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(acknowledge(&member, &nowhere).await, [unknown]);
}

#[tokio::test]
async fn two_members_share_a_partition_and_none_gets_what_the_other_has() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let one = join(&cluster, 1).await;
    let other = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = numbers.iter().map(String::as_str).collect();
    store(&producer, "t", 0, &texts).await;
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        for member in [&one, &other] {
            let taken = take(member, 5).await;
            seen.extend(values(&taken));
            let accepted = all(&taken, Acknowledge::Accept);
            assert_eq!(acknowledge(member, &accepted).await, [None; 5]);
        }
    }
    assert_eq!(seen.len(), 100);
}

#[tokio::test]
async fn a_caller_that_goes_away_costs_nobody_a_record_or_a_lock() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let member = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["kept"]).await;
    let kept = take(&member, 1).await;
    let waiting = tokio::spawn({
        let member = member.clone();
        async move { member.take(10, PATIENCE).await }
    });
    tokio::task::yield_now().await;
    store(&producer, "t", 0, &["a", "b"]).await;
    waiting.abort();
    let mut seen = waiting
        .await
        .map_or_else(|_| Vec::new(), |taken| taken.expect("a member"));
    if seen.is_empty() {
        seen = take(&member, 2).await;
    }
    // What is released for the caller that has gone may come after what it never got.
    let seen: BTreeSet<String> = values(&seen).into_iter().collect();
    assert_eq!(seen, ["a".to_owned(), "b".to_owned()].into());
    let accepted = all(&kept, Acknowledge::Accept);
    assert_eq!(acknowledge(&member, &accepted).await, [None]);
}

#[tokio::test]
async fn acknowledgements_come_through_while_somebody_waits_and_locks_are_renewed() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let member = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["a", "b"]).await;
    let taken = take(&member, 2).await;
    let waiting = tokio::spawn({
        let member = member.clone();
        async move { take(&member, 1).await }
    });
    let started = Instant::now();
    let mut asked = all(&taken, Acknowledge::Renew);
    asked[1].3 = Acknowledge::Accept;
    assert_eq!(acknowledge(&member, &asked).await, [None; 2]);
    let accepted = all(&taken[..1], Acknowledge::Accept);
    assert_eq!(acknowledge(&member, &accepted).await, [None]);
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    store(&producer, "t", 0, &["c"]).await;
    assert_eq!(values(&waiting.await.expect("no panic")), ["c"]);
}

#[tokio::test]
async fn a_member_that_leaves_leaves_its_records_to_the_others() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let one = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[("compression.type", "zstd")]);
    let producer = producer.expect("valid properties");
    store(&producer, "t", 0, &["a", "b"]).await;
    let taken = take(&one, 2).await;
    let other = join(&cluster, 1).await;
    assert_eq!(other.take(1, SHORT).await.expect("a member"), []);
    let gone = one.clone();
    one.leave().await;
    let again = take(&other, 2).await;
    assert_eq!(values(&again), ["a", "b"]);
    assert_eq!(again[0].delivery_count, 2);
    let error = gone.take(1, SHORT).await.expect_err("it has left");
    assert!(error.to_string().contains("has left"), "{error}");
    let late = all(&taken, Acknowledge::Accept);
    assert!(gone.acknowledge(&late).await.is_err());
}

#[tokio::test]
async fn the_ends_of_transactions_are_no_records() {
    let (_broker, cluster) = start();
    create(&cluster, "t", 1).await;
    let member = join(&cluster, 1).await;
    let producer = cluster.producer(&[("transactional.id", "one")], |_| {});
    let producer = producer.expect("valid properties");
    producer.init_transactions(PATIENCE).expect("a coordinator");
    for value in ["a", "b"] {
        producer.begin().expect("none is open");
        producer
            .send(&record("t", value.as_bytes()), 0)
            .expect("room");
        producer.flush(PATIENCE).expect("delivered");
        producer.commit(PATIENCE).expect("committed");
    }
    let taken = take(&member, 2).await;
    assert_eq!(values(&taken), ["a", "b"]);
    assert_eq!(taken[1].record.offset, 2);
    let accepted = all(&taken, Acknowledge::Accept);
    assert_eq!(acknowledge(&member, &accepted).await, [None; 2]);
    assert_eq!(member.take(1, SHORT).await.expect("a member"), []);
}

#[tokio::test]
async fn after_a_restart_of_the_broker_only_what_was_not_accepted_comes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |port: u16| {
        let settings = Settings::on_disk(folder.path()).kafka_port(port);
        embedded(settings).expect("a broker on disk")
    };
    let broker = start(0);
    let port = broker.kafka_address().port();
    let cluster = Cluster::new(&broker.bootstrap()).with_timeout(PATIENCE);
    create(&cluster, "t", 1).await;
    let member = join(&cluster, 1).await;
    let producer = cluster.async_producer(&[]).expect("valid properties");
    store(&producer, "t", 0, &["a", "b"]).await;
    let taken = take(&member, 2).await;
    let accepted = all(&taken[..1], Acknowledge::Accept);
    assert_eq!(acknowledge(&member, &accepted).await, [None]);
    drop(broker);
    let lost = all(&taken[1..], Acknowledge::Accept);
    let gone = Some(ErrorCode::ShareSessionNotFound);
    assert_eq!(acknowledge(&member, &lost).await, [gone]);
    let _broker = start(port);
    let deadline = Instant::now() + PATIENCE;
    let mut again = Vec::new();
    while again.is_empty() {
        assert!(Instant::now() < deadline, "it does not come again");
        again = member.take(2, SHORT).await.unwrap_or_default();
    }
    assert_eq!(values(&again), ["b"]);
}

#[tokio::test]
async fn who_cannot_join_is_told_why() {
    let nobody = Cluster::new("127.0.0.1:1").with_timeout(Duration::from_secs(2));
    let member = nobody.share_member("g", &["t"]).expect("a runtime");
    let error = member.take(1, SHORT).await.expect_err("nothing listens");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}
