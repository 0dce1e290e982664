//! What a broker does with strange, hostile and early clients, and with its data directory.

mod support;

use std::time::Duration;

use broker::{Advertised, Broker, BrokerSettings, Limits, StartError, Storage};
use support::{Client, frame, start, start_on};
use wire::{ApiKey, ErrorCode};

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client
        .send_bytes(&frame(ApiKey::ApiVersions, 99, 5, &[1, 2, 3]))
        .await;
    let reply = client.receive(0).await.expect("an answer");
    assert_eq!(reply.correlation_id(), 5);
    let response: wire::api_versions::Response<'_> = reply.read();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    assert_eq!(response.api_keys.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_closes_only_its_own_connection() {
    let (broker, mut good) = start(Storage::Memory).await;
    let hostile: [&[u8]; 5] = [
        &[0xff; 64],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0, 0, 0, 2, 0, 0],
        &frame(ApiKey::Metadata, 1, 1, &[0x7f, 0xff, 0xff, 0xff]),
        &frame(ApiKey::Produce, 99, 1, &[]),
    ];
    for bytes in hostile {
        let mut client = Client::connect(broker.kafka_addresses()[0]).await;
        client.send_bytes(bytes).await;
        assert!(client.receive(0).await.is_none(), "{bytes:?}");
    }
    good.create_topic("orders", 1, &[]).await;
    let metrics = broker.metrics_text().await;
    assert!(
        metrics.contains("thalweg_malformed_requests_total 5"),
        "{metrics}"
    );
}

#[tokio::test]
async fn metadata_gives_the_address_by_which_the_client_came() {
    let (broker, _) = start(Storage::Memory).await;
    for address in broker.kafka_addresses() {
        let mut client = Client::connect(*address).await;
        let reply = client
            .call(
                12,
                &wire::metadata::Request {
                    topics: Some(Vec::new()),
                    ..Default::default()
                },
            )
            .await;
        let response: wire::metadata::Response<'_> = reply.read();
        assert_eq!(response.brokers[0].host, address.ip().to_string());
        assert_eq!(response.brokers[0].port, i32::from(address.port()));
    }
}

#[tokio::test]
async fn an_advertised_address_overrides_it() {
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.advertised = Some(Advertised {
        host: Some("kafka.example.org".to_owned()),
        port: None,
    });
    let broker = Broker::start(settings).await.expect("the broker starts");
    let address = broker.kafka_addresses()[0];
    let mut client = Client::connect(address).await;
    let reply = client
        .call(0, &wire::describe_cluster::Request::default())
        .await;
    let response: wire::describe_cluster::Response<'_> = reply.read();
    assert_eq!(
        (response.brokers[0].host.as_ref(), response.brokers[0].port),
        ("kafka.example.org", i32::from(address.port()))
    );
}

#[tokio::test]
async fn beyond_loopback_nothing_is_served_without_authentication() {
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.listen = vec!["0.0.0.0:0".parse().expect("an address")];
    let error = Broker::start(settings).await.err().expect("refused");
    assert!(matches!(error, StartError::OpenToNetwork { .. }), "{error}");
}

#[tokio::test]
async fn one_process_has_a_data_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, _client) = start_on(directory.path()).await;
    let second = Broker::start(BrokerSettings::new(Storage::Directory(
        directory.path().to_owned(),
    )))
    .await;
    let error = second.err().expect("refused");
    assert!(
        matches!(error, StartError::DataLocked { holder: Some(id), .. } if id == std::process::id()),
        "{error}"
    );
    broker.shutdown().await;
    drop(broker);
    start_on(directory.path()).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let broker = Broker::start(settings).await.expect("the broker starts");
    let mut first = Client::connect(broker.kafka_addresses()[0]).await;
    first.create_topic("orders", 1, &[]).await;
    let mut second = Client::connect(broker.kafka_addresses()[0]).await;
    assert!(second.receive(0).await.is_none());
    first.create_topic("more", 1, &[]).await;
}

#[tokio::test]
async fn the_cluster_and_its_topics_keep_their_ids() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut seen = Vec::new();
    for turn in 0..2 {
        let (broker, mut client) = start_on(directory.path()).await;
        if turn == 0 {
            client
                .create_topic("orders", 2, &[("retention.ms", "1000")])
                .await;
        }
        let reply = client.call(12, &wire::metadata::Request::default()).await;
        let response: wire::metadata::Response<'_> = reply.read();
        let ids: Vec<_> = response
            .topics
            .iter()
            .map(|topic| {
                (
                    topic.name.clone().map(|name| name.into_owned()),
                    topic.topic_id,
                )
            })
            .collect();
        seen.push((response.cluster_id.map(|id| id.into_owned()), ids));
        drop(client);
        broker.shutdown().await;
    }
    assert_eq!(seen[0], seen[1]);
    assert!(
        seen[0]
            .1
            .iter()
            .any(|(name, _)| name.as_deref() == Some("orders"))
    );
}

#[tokio::test]
async fn half_a_frame_does_not_hold_memory_for_ever() {
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.limits = Limits {
        stall: Duration::from_millis(1),
        request_memory_bytes: 1 << 20,
        frame_bytes: 1 << 20,
        ..Limits::default()
    };
    let broker = Broker::start(settings).await.expect("the broker starts");
    let address = broker.kafka_addresses()[0];
    let mut greedy = Client::connect(address).await;
    greedy.send_bytes(&(1_u32 << 20).to_be_bytes()).await;
    assert!(
        greedy.receive(0).await.is_none(),
        "the connection is closed"
    );
    let mut other = Client::connect(address).await;
    other.create_topic("orders", 1, &[]).await;
}
