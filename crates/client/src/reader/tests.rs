//! A reader against scripted brokers: leaders that move and that do not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wire::{ApiKey, metadata};

use super::*;
use crate::scripted_broker::{self, Answer, Asked};

/// One topic with two partitions, led by the brokers at `leaders`.
fn two_partitions(asked: &Asked, leaders: [&str; 2]) -> Answer {
    let brokers = leaders.iter().zip(0..).map(|(address, node_id)| {
        let (host, port) = address.split_once(':').expect("host:port");
        metadata::Broker {
            node_id,
            host: host.into(),
            port: port.parse().expect("a port"),
            rack: None,
        }
    });
    let partitions = (0..2).map(|index| metadata::Partition {
        partition_index: index,
        leader_id: index,
        ..metadata::Partition::default()
    });
    asked.answer(&metadata::Response {
        brokers: brokers.collect(),
        topics: vec![metadata::Topic {
            name: Some("t".into()),
            topic_id: wire::Uuid([1; 16]),
            partitions: partitions.collect(),
            ..metadata::Topic::default()
        }],
        ..metadata::Response::default()
    })
}

/// Nothing in each partition that was asked for, or `error`.
fn empty(asked: &Asked, error: ErrorCode) -> Answer {
    let request: fetch::Request<'_> = asked.read();
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        fetch::TopicResponse {
            topic_id: topic.topic_id,
            partitions: partitions
                .map(|partition| fetch::PartitionData {
                    partition_index: partition.partition,
                    error_code: error as i16,
                    high_watermark: 7,
                    ..fetch::PartitionData::default()
                })
                .collect(),
            ..fetch::TopicResponse::default()
        }
    });
    asked.answer(&fetch::Response {
        responses: responses.collect(),
        ..fetch::Response::default()
    })
}

fn at(partition: i32) -> Position {
    Position {
        partition,
        offset: 7,
    }
}

fn reader(address: &str) -> Reader {
    let cluster = Cluster::new(address).with_timeout(Duration::from_secs(20));
    Reader::new(&cluster)
}

#[tokio::test]
async fn a_leader_that_moved_is_looked_up_and_asked_where_it_is() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&fetches);
    let address = scripted_broker::start(move |asked, address| match asked.key {
        ApiKey::Metadata => two_partitions(asked, [address, address]),
        ApiKey::Fetch => match counter.fetch_add(1, Ordering::Relaxed) {
            0 => empty(asked, ErrorCode::NotLeaderOrFollower),
            1 => empty(asked, ErrorCode::UnknownTopicId),
            _ => empty(asked, ErrorCode::None),
        },
        _ => asked.answer_basics(address),
    });
    let reader = reader(&address.await);
    let fetched = reader.fetch("t", &[at(0)], FetchLimits::default()).await;
    let fetched = fetched.expect("the third answer is good").remove(0);
    assert_eq!((fetched.error, fetched.high_watermark), (None, 7));
    assert_eq!(fetches.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn several_leaders_are_asked_at_once_and_waited_for() {
    let other = scripted_broker::start(|asked, address| match asked.key {
        ApiKey::Fetch => empty(asked, ErrorCode::None),
        _ => asked.answer_basics(address),
    });
    let other = other.await;
    let address = scripted_broker::start(move |asked, address| match asked.key {
        ApiKey::Metadata => two_partitions(asked, [address, &other]),
        ApiKey::Fetch => empty(asked, ErrorCode::None),
        _ => asked.answer_basics(address),
    });
    let reader = reader(&address.await);
    let limits = FetchLimits {
        max_wait: Duration::from_millis(20),
        ..FetchLimits::default()
    };
    let fetched = reader.fetch("t", &[at(1), at(0)], limits).await;
    let fetched = fetched.expect("both answer");
    let seen = fetched.iter().map(|p| (p.partition, p.high_watermark));
    assert_eq!(seen.collect::<Vec<_>>(), [(1, 7), (0, 7)]);
}

#[tokio::test]
async fn a_leader_that_does_not_answer_is_named() {
    let address = scripted_broker::start(|asked, address| match asked.key {
        ApiKey::Metadata => two_partitions(asked, [address, "127.0.0.1:1"]),
        ApiKey::Fetch => empty(asked, ErrorCode::None),
        _ => asked.answer_basics(address),
    });
    let reader = reader(&address.await);
    let from = [at(0), at(1)];
    let error = reader.fetch("t", &from, FetchLimits::default()).await;
    let error = error.expect_err("nothing listens there").to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn reads_that_wait_leave_connections_to_those_that_do_not() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&waiting);
    let address = scripted_broker::start(move |asked, address| match asked.key {
        ApiKey::Metadata => two_partitions(asked, [address, address]),
        ApiKey::Fetch => {
            let is_brief = asked.read::<fetch::Request<'_>>().max_wait_ms == 0;
            if is_brief {
                return empty(asked, ErrorCode::None);
            }
            counter.fetch_add(1, Ordering::Relaxed);
            Answer::Silence
        }
        _ => asked.answer_basics(address),
    });
    let cluster = Cluster::new(&address.await).with_timeout(Duration::from_secs(2));
    let reader = Reader::new(&cluster);
    let limits = FetchLimits {
        max_wait: Duration::from_secs(60),
        ..FetchLimits::default()
    };
    let mut reads = JoinSet::new();
    for _ in 0..2 * connections::MAX_LONG_POLLS {
        let reader = reader.clone();
        reads.spawn(async move { reader.fetch("t", &[at(0)], limits).await });
    }
    let refused = reads.join_next().await.expect("reads").expect("no panic");
    let refused = refused.expect_err("too many wait");
    assert_eq!(refused.kind(), crate::ErrorKind::Busy, "{refused}");
    assert!(waiting.load(Ordering::Relaxed) <= connections::MAX_LONG_POLLS);
    let brief = reader.fetch("t", &[at(0)], FetchLimits::default()).await;
    brief.expect("a read that does not wait has a connection");
}
