//! Producing and fetching over the wire: order, long polls, refusals, idempotence, restarts.

mod support;

use broker::Storage;
use support::{
    Client, batch, fetch_request, idempotent_batch, produce_request, start, start_on, values,
};
use wire::ErrorCode;

#[tokio::test]
async fn what_is_produced_is_fetched() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(
        client.produce("orders", 0, &batch(&["a", "b"])).await,
        (ErrorCode::None, 0)
    );
    assert_eq!(
        client.produce("orders", 0, &batch(&["c"])).await,
        (ErrorCode::None, 2)
    );
    assert_eq!(client.fetch("orders", 0, 0).await, ["a", "b", "c"]);
    assert_eq!(
        client.fetch("orders", 0, 1).await,
        ["b", "c"],
        "an offset inside a batch is served"
    );
    assert_eq!(client.fetch("orders", 0, 3).await, [""; 0]);
}

#[tokio::test]
async fn a_long_poll_wakes_on_a_produce() {
    let (broker, mut producer) = start(Storage::Memory).await;
    producer.create_topic("orders", 1, &[]).await;
    let mut consumer = Client::connect(broker.kafka_addresses()[0]).await;
    consumer
        .send(11, &fetch_request("orders", 0, 0, 300_000))
        .await;
    producer.produce("orders", 0, &batch(&["late"])).await;
    let reply = consumer.receive(11).await.expect("the poll is answered");
    assert_eq!(values(&reply, 0), ["late"]);
}

#[tokio::test]
async fn produce_requests_in_flight_keep_their_order() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let batches: Vec<_> = (0..20)
        .map(|number| batch(&[&number.to_string()]))
        .collect();
    for batch in &batches {
        client
            .send(9, &produce_request("orders", 0, batch, -1))
            .await;
    }
    for offset in 0..20 {
        let reply = client.receive(9).await.expect("an answer each");
        let response: wire::produce::Response<'_> = reply.read();
        assert_eq!(
            response.responses[0].partition_responses[0].base_offset,
            offset
        );
    }
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(client.fetch("orders", 0, 0).await, expected);
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_an_error_closes_the_connection() {
    let (broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    client
        .send(9, &produce_request("orders", 0, &batch(&["quiet"]), 0))
        .await;
    assert_eq!(
        client.fetch("orders", 0, 0).await,
        ["quiet"],
        "the next answer belongs to the next request"
    );
    client
        .send(9, &produce_request("unknown", 0, &batch(&["lost"]), 0))
        .await;
    assert!(client.receive(9).await.is_none());
    let mut other = Client::connect(broker.kafka_addresses()[0]).await;
    assert_eq!(other.fetch("orders", 0, 0).await, ["quiet"]);
}

#[tokio::test]
async fn a_repeated_batch_gets_its_first_offset_also_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 1, &[]).await;
    let first = idempotent_batch(7, 0, 0, &["a", "b"]);
    assert_eq!(
        client.produce("orders", 0, &first).await,
        (ErrorCode::None, 0)
    );
    assert_eq!(
        client.produce("orders", 0, &first).await,
        (ErrorCode::None, 0)
    );
    assert_eq!(
        client
            .produce("orders", 0, &idempotent_batch(7, 0, 2, &["c"]))
            .await,
        (ErrorCode::None, 2)
    );
    drop(client);
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(
        client.produce("orders", 0, &first).await,
        (ErrorCode::None, 0)
    );
    let gap = idempotent_batch(7, 0, 9, &["x"]);
    assert_eq!(
        client.produce("orders", 0, &gap).await.0,
        ErrorCode::OutOfOrderSequenceNumber
    );
    assert_eq!(client.fetch("orders", 0, 0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_damaged_batch_is_refused_and_not_stored() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client
        .create_topic("orders", 1, &[("max.message.bytes", "200")])
        .await;
    let mut damaged = batch(&["a"]).to_vec();
    *damaged.last_mut().expect("a batch has bytes") ^= 1;
    assert_eq!(
        client.produce("orders", 0, &damaged.into()).await.0,
        ErrorCode::CorruptMessage
    );
    let large = batch(&["x".repeat(300).as_str()]);
    assert_eq!(
        client.produce("orders", 0, &large).await.0,
        ErrorCode::MessageTooLarge
    );
    assert_eq!(
        client.produce("orders", 5, &batch(&["a"])).await.0,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        client
            .produce("__consumer_offsets", 0, &batch(&["a"]))
            .await
            .0,
        ErrorCode::InvalidTopicException
    );
    assert_eq!(client.fetch("orders", 0, 0).await, [""; 0]);
}

#[tokio::test]
async fn every_durability_serves_what_it_acknowledged_after_a_restart() {
    for durability in ["sync", "interval", "os"] {
        let directory = tempfile::tempdir().expect("a directory");
        let (broker, mut client) = start_on(directory.path()).await;
        client
            .create_topic("orders", 3, &[("thalweg.durability", durability)])
            .await;
        for number in 0..30 {
            client
                .produce("orders", number % 3, &batch(&[&number.to_string()]))
                .await;
        }
        drop(client);
        broker.shutdown().await;
        drop(broker);
        let (_broker, mut client) = start_on(directory.path()).await;
        for partition in 0..3 {
            let expected: Vec<String> = (0..10)
                .map(|turn| (turn * 3 + partition).to_string())
                .collect();
            assert_eq!(
                client.fetch("orders", partition, 0).await,
                expected,
                "{durability}"
            );
        }
    }
}

#[tokio::test]
async fn an_offset_outside_of_the_log_is_refused() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let reply = client
        .call(11, &fetch_request("orders", 0, 5, 60_000))
        .await;
    let response: wire::fetch::Response<'_> = reply.read();
    assert_eq!(
        response.responses[0].partitions[0].error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
}

#[tokio::test]
async fn a_fetch_keeps_to_its_size_also_after_a_restart() {
    use wire::fetch::{FetchPartition, FetchTopic, Request, Response};
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 8, &[]).await;
    let batch = batch(&["x".repeat(9_000).as_str()]);
    for number in 0..160 {
        client.produce("orders", number % 8, &batch).await;
    }
    drop(client);
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    let wanted = |partition| FetchPartition {
        partition,
        fetch_offset: 3,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics = vec![FetchTopic {
        topic: "orders",
        partitions: (0..8).map(wanted).collect(),
        ..Default::default()
    }];
    let request = Request {
        max_bytes: 100_000,
        topics,
        ..Default::default()
    };
    let reply = client.call(11, &request).await;
    let response: Response<'_> = reply.read();
    let bytes: usize = response.responses[0]
        .partitions
        .iter()
        .map(|partition| partition.records.len())
        .sum();
    assert!((9_000..=110_000).contains(&bytes), "{bytes} bytes");
}
