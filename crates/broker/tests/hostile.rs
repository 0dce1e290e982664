//! Clients that mean harm, or are broken: the broker keeps to its limits, answers or closes, and serves the others meanwhile.

mod support;

use std::time::Duration;

use broker::{Broker, BrokerSettings, Limits, Storage};
use support::{Client, batch, fetch_request, frame, idempotent_batch, produce_request};
use wire::records::{BatchBuilder, Compression};
use wire::{ApiKey, ErrorCode};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn tight() -> Limits {
    Limits {
        frame_bytes: MIB,
        request_memory_bytes: 4 * MIB,
        response_memory_bytes: MIB,
        fetch_bytes: MIB,
        connections: 100,
        in_flight_per_connection: 4,
        partitions: 60,
        groups: 20,
        fetch_sessions: 10,
        ..Limits::default()
    }
}

async fn start(configs: &[(&str, &str)]) -> (Broker, Client) {
    start_with(tight(), configs).await
}

async fn start_with(limits: Limits, configs: &[(&str, &str)]) -> (Broker, Client) {
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.limits = limits;
    let all = configs
        .iter()
        .chain(&[("group.initial.rebalance.delay.ms", "0")]);
    for (key, value) in all {
        let entry = ((*key).to_owned(), (*value).to_owned());
        settings.broker_config.extend([entry]);
    }
    let broker = Broker::start(settings).await.expect("the broker starts");
    let client = Client::connect(broker.kafka_addresses()[0]).await;
    (broker, client)
}

async fn connect(broker: &Broker) -> Client {
    Client::connect(broker.kafka_addresses()[0]).await
}

/// The value of a metric without labels.
async fn metric(broker: &Broker, name: &str) -> f64 {
    let text = broker.metrics_text().await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .expect("a number")
}

/// Waits until only so many connections are left: nothing of the others stays behind.
async fn until_connections(broker: &Broker, count: f64) {
    while metric(broker, "thalweg_connections").await != count {
        tokio::task::yield_now().await;
    }
}

/// A client that does what clients do gets what it asks for.
async fn assert_served(client: &mut Client, topic: &str) {
    client.create_topic(topic, 1, &[]).await;
    let large = "v".repeat(900 * KIB);
    let (error, offset) = client.produce(topic, 0, &batch(&[&large])).await;
    assert_eq!((error, offset), (ErrorCode::None, 0));
    assert_eq!(client.fetch(topic, 0, 0).await, [large]);
}

#[tokio::test]
async fn who_announces_much_and_sends_little_holds_little() {
    let (broker, mut good) = start(&[]).await;
    let mut greedy = Vec::new();
    for _ in 0..40 {
        let mut client = connect(&broker).await;
        client.send_bytes(&(MIB as u32).to_be_bytes()).await;
        client.send_bytes(&[0; 100]).await;
        greedy.push(client);
    }
    until_connections(&broker, 41.0).await;
    assert_served(&mut good, "orders").await;
    drop(greedy);
    until_connections(&broker, 1.0).await;
    assert_served(&mut good, "later").await;
}

#[tokio::test]
async fn who_does_not_read_keeps_nobody_from_reading() {
    // A reader is given up after a twelfth of the stall, once others have to wait for memory.
    let limits = Limits {
        stall: Duration::from_secs(3),
        ..tight()
    };
    let (broker, mut good) = start_with(limits, &[]).await;
    good.create_topic("orders", 1, &[("retention.ms", "-1")])
        .await;
    let value = "v".repeat(500 * KIB);
    for _ in 0..4 {
        let stored = good.produce("orders", 0, &batch(&[&value])).await;
        assert_eq!(stored.0, ErrorCode::None);
    }
    let mut greedy = Vec::new();
    for _ in 0..12 {
        let mut client = connect(&broker).await;
        // More than what the sockets keep between us.
        for _ in 0..100 {
            client.send(11, &fetch_request("orders", 0, 0, 0)).await;
        }
        greedy.push(client);
    }
    for offset in 0..4 {
        let mut got = Vec::new();
        while got.is_empty() {
            got = good.fetch("orders", 0, offset).await;
        }
        assert_eq!(got[0], value);
    }
    assert_served(&mut good, "later").await;
    drop(greedy);
    until_connections(&broker, 1.0).await;
}

#[tokio::test]
async fn whatever_follows_a_key_and_a_version_is_answered_or_ends_the_connection() {
    let (broker, mut good) = start(&[]).await;
    let bodies: [&[u8]; 5] = [
        &[],
        &[0xff; 40],
        &[0x7f; 40],
        // A huge array, plain and compact, and a string longer than the frame.
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0xff, 1, 2, 3],
    ];
    let mut strange = connect(&broker).await;
    for key in 0..110_i16 {
        for version in [0, 1, 4, 9, 12, 99, -1] {
            for body in bodies {
                let mut bytes = frame(ApiKey::Metadata, version, 7, body);
                bytes[4..6].copy_from_slice(&key.to_be_bytes());
                // The end of sending: the broker answers what it can and closes.
                strange.send_and_end(&bytes).await;
                strange.receive_all().await;
                strange = connect(&broker).await;
            }
        }
    }
    drop(strange);
    until_connections(&broker, 1.0).await;
    assert!(broker.is_ready());
    assert_served(&mut good, "orders").await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_later_ones_are_taken() {
    let (broker, mut good) = start(&[]).await;
    let mut crowd = Vec::new();
    for _ in 0..99 {
        crowd.push(connect(&broker).await);
    }
    until_connections(&broker, 100.0).await;
    let mut refused = connect(&broker).await;
    assert!(refused.receive(0).await.is_none());
    assert_served(&mut good, "orders").await;
    drop(crowd);
    until_connections(&broker, 1.0).await;
    assert_served(&mut connect(&broker).await, "later").await;
}

#[tokio::test]
async fn endless_members_and_groups_end_at_their_limits() {
    let (broker, mut hostile) = start(&[("group.max.size", "50")]).await;
    let mut errors = Vec::new();
    for number in 0..200 {
        let error = join(&mut hostile, "one", &format!("c{number}")).await;
        errors.push(error);
    }
    assert!(errors.contains(&ErrorCode::MemberIdRequired));
    assert_eq!(errors.last(), Some(&ErrorCode::GroupMaxSizeReached));
    let mut errors = Vec::new();
    for number in 0..100 {
        errors.push(join(&mut hostile, &format!("g{number}"), "c").await);
    }
    let made = errors
        .iter()
        .filter(|error| **error == ErrorCode::MemberIdRequired);
    assert!(made.count() <= 20, "{errors:?}");
    assert_ne!(errors.last(), Some(&ErrorCode::MemberIdRequired));
    assert_served(&mut connect(&broker).await, "orders").await;
}

async fn join(client: &mut Client, group: &str, client_id: &str) -> ErrorCode {
    use wire::join_group::{Protocol, Request, Response};
    let request = Request {
        group_id: group,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer",
        protocols: vec![Protocol {
            name: client_id,
            metadata: &[0; 4],
        }],
        ..Default::default()
    };
    let reply = client.call(5, &request).await;
    let response: Response<'_> = reply.read();
    ErrorCode::from_code(response.error_code).expect("a known error")
}

#[tokio::test]
async fn endless_fetch_sessions_end_at_their_limit() {
    let (broker, mut hostile) = start(&[]).await;
    hostile.create_topic("orders", 1, &[]).await;
    let mut sessions = Vec::new();
    for _ in 0..200 {
        let request = wire::fetch::Request {
            session_epoch: 0,
            ..fetch_request("orders", 0, 0, 0)
        };
        let reply = hostile.call(11, &request).await;
        let response: wire::fetch::Response<'_> = reply.read();
        assert_eq!(response.error_code, 0);
        sessions.push(response.session_id);
    }
    let given = sessions.iter().filter(|session| **session != 0).count();
    assert_eq!(given, 10);
    // What was not given, and what is out of step, is told so.
    for (session, epoch, error) in [
        (12_345, 3, ErrorCode::FetchSessionIdNotFound),
        (sessions[0], 77, ErrorCode::InvalidFetchSessionEpoch),
    ] {
        let request = wire::fetch::Request {
            session_id: session,
            session_epoch: epoch,
            ..fetch_request("orders", 0, 0, 0)
        };
        let reply = hostile.call(11, &request).await;
        let response: wire::fetch::Response<'_> = reply.read();
        assert_eq!(ErrorCode::from_code(response.error_code), Some(error));
    }
    assert_served(&mut connect(&broker).await, "later").await;
}

#[tokio::test]
async fn thousands_of_unknown_topics_make_no_more_partitions_than_there_may_be() {
    let (broker, mut hostile) = start(&[]).await;
    for round in 0..10 {
        let names: Vec<String> = (0..200)
            .map(|number| format!("t{round}-{number}"))
            .collect();
        let topic = |name: &'_ String| wire::metadata::RequestTopic {
            name: Some(name.clone().leak()),
            ..Default::default()
        };
        let request = wire::metadata::Request {
            topics: Some(names.iter().map(topic).collect()),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let reply = hostile.call(9, &request).await;
        let response: wire::metadata::Response<'_> = reply.read();
        assert_eq!(response.topics.len(), 200);
    }
    let overview = broker.overview().await;
    let partitions: usize = overview.topics.iter().map(|topic| topic.partitions).sum();
    assert!((50..=62).contains(&partitions), "{partitions}");
    assert!(broker.is_ready());
}

#[tokio::test]
async fn a_damaged_batch_is_never_stored() {
    let (broker, mut hostile) = start(&[]).await;
    hostile.create_topic("orders", 1, &[]).await;
    let whole = batch(&["a", "b"]);
    for place in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[place] ^= 0x41;
        let (error, _) = hostile.produce("orders", 0, &damaged.into()).await;
        // The base offset and the leader epoch are the broker's to write.
        let is_stamped = place < 8 || (12..16).contains(&place);
        assert_eq!(
            error == ErrorCode::None,
            is_stamped,
            "byte {place}: {error:?}"
        );
    }
    for length in 0..whole.len() {
        let (error, _) = hostile.produce("orders", 0, &whole.slice(..length)).await;
        assert_ne!(error, ErrorCode::None, "{length} bytes");
    }
    let values = hostile.fetch("orders", 0, 0).await;
    assert!(
        values.chunks(2).all(|pair| pair == ["a", "b"]),
        "{values:?}"
    );
    assert!(broker.is_ready());
}

#[tokio::test]
async fn what_decompresses_to_more_than_is_allowed_is_refused() {
    let (broker, mut hostile) = start(&[]).await;
    hostile
        .create_topic("orders", 1, &[("compression.type", "lz4")])
        .await;
    let zeros = vec![0; 70 * MIB];
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Snappy] {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, None, Some(&zeros), &[]);
        let bomb = builder.build(compression);
        if bomb.len() > 900 * KIB {
            continue;
        }
        let (error, _) = hostile.produce("orders", 0, &bomb).await;
        assert_ne!(error, ErrorCode::None, "{compression:?}");
    }
    assert_served(&mut connect(&broker).await, "later").await;
}

#[tokio::test]
async fn wrong_epochs_and_ids_are_refused_by_their_codes() {
    let (_broker, mut hostile) = start(&[]).await;
    hostile.create_topic("orders", 1, &[]).await;
    let refused = |error: ErrorCode| (error, -1);
    let first = idempotent_batch(7, 3, 0, &["a"]);
    assert_eq!(
        hostile.produce("orders", 0, &first).await.0,
        ErrorCode::None
    );
    let earlier_epoch = idempotent_batch(7, 2, 1, &["b"]);
    let gap = idempotent_batch(7, 3, 9, &["b"]);
    let answers = [
        hostile.produce("orders", 0, &earlier_epoch).await,
        hostile.produce("orders", 0, &gap).await,
        hostile.produce("orders", 5, &first).await,
        hostile.produce("nowhere", 0, &first).await,
    ];
    let expected = [
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicOrPartition,
    ];
    assert_eq!(answers, expected.map(refused));
    let heartbeat = wire::heartbeat::Request {
        group_id: "nobody",
        generation_id: 5,
        member_id: "nobody",
        ..Default::default()
    };
    let reply = hostile.call(4, &heartbeat).await;
    let response: wire::heartbeat::Response = reply.read();
    assert_eq!(response.error_code, ErrorCode::UnknownMemberId.code());
}

#[tokio::test]
async fn pipelined_requests_are_taken_as_they_are_answered() {
    let (broker, mut hostile) = start(&[]).await;
    hostile.create_topic("orders", 1, &[]).await;
    let value = "v".repeat(300 * KIB);
    let batch = batch(&[&value]);
    // Three times the memory for requests, from one connection that does not read before it has sent it all.
    for _ in 0..40 {
        hostile
            .send(9, &produce_request("orders", 0, &batch, -1))
            .await;
    }
    assert_served(&mut connect(&broker).await, "later").await;
    for number in 0..40 {
        let reply = hostile.receive(9).await.expect("an answer");
        let response: wire::produce::Response<'_> = reply.read();
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!((answer.error_code, answer.base_offset), (0, number));
    }
}
