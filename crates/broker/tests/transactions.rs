//! Transactions over the wire: what readers see of them, who is let in, offsets, restarts, time-outs.

mod support;

use broker::{Broker, BrokerSettings, Clock, Storage};
use bytes::Bytes;
use support::{Client, batch, fetch_request, produce_request, start, start_on, values_of};
use wire::ErrorCode;
use wire::records::{BatchBuilder, Compression, scan_batches};

/// The version in which producers add partitions by themselves.
const NEW: i16 = 12;
const NONE: ErrorCode = ErrorCode::None;

/// A producer that does by hand what clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Producer {
    id: i64,
    epoch: i16,
}

impl Producer {
    fn batch(self, sequence: i32, values: &[&str]) -> Bytes {
        let builder = BatchBuilder::new(1_000).producer(self.id, self.epoch, sequence);
        let mut builder = builder.transactional();
        for value in values {
            builder.push(1_000, None, Some(value.as_bytes()), &[]);
        }
        builder.build(Compression::None)
    }
}

async fn init(client: &mut Client, id: &str) -> Producer {
    let request = wire::init_producer_id::Request {
        transactional_id: Some(id),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let reply = client.call(5, &request).await;
    let response: wire::init_producer_id::Response = reply.read();
    assert_eq!(response.error_code, 0);
    Producer {
        id: response.producer_id,
        epoch: response.producer_epoch,
    }
}

async fn produce(client: &mut Client, version: i16, id: Option<&str>, batch: &Bytes) -> ErrorCode {
    produce_to(client, version, id, "orders", batch).await
}

async fn produce_to(
    client: &mut Client,
    version: i16,
    id: Option<&str>,
    topic: &str,
    batch: &Bytes,
) -> ErrorCode {
    let request = wire::produce::Request {
        transactional_id: id,
        ..produce_request(topic, 0, batch, -1)
    };
    let reply = client.call(version, &request).await;
    let response: wire::produce::Response<'_> = reply.read();
    let code = response.responses[0].partition_responses[0].error_code;
    ErrorCode::from_code(code).expect("a known error")
}

async fn end(
    client: &mut Client,
    version: i16,
    id: &str,
    producer: Producer,
    committed: bool,
) -> Result<Producer, ErrorCode> {
    let request = wire::end_txn::Request {
        transactional_id: id,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        committed,
    };
    let reply = client.call(version, &request).await;
    let response: wire::end_txn::Response = reply.read();
    match ErrorCode::from_code(response.error_code) {
        Some(NONE) => Ok(Producer {
            id: response.producer_id,
            epoch: response.producer_epoch,
        }),
        error => Err(error.expect("a known error")),
    }
}

async fn add(client: &mut Client, version: i16, id: &str, producer: Producer) -> ErrorCode {
    let request = wire::add_partitions_to_txn::Request {
        v3_and_below_transactional_id: id,
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: vec![wire::add_partitions_to_txn::Topic {
            name: "orders",
            partitions: vec![0],
        }],
        ..Default::default()
    };
    let reply = client.call(version, &request).await;
    let response: wire::add_partitions_to_txn::Response<'_> = reply.read();
    let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
    ErrorCode::from_code(results[0].partition_error_code).expect("a known error")
}

/// What a reader of committed records finds, once the last markers are written.
async fn committed(client: &mut Client) -> Vec<String> {
    client.transactions_settled().await;
    let request = wire::fetch::Request {
        isolation_level: 1,
        ..fetch_request("orders", 0, 0, 0)
    };
    let reply = client.call(11, &request).await;
    let response: wire::fetch::Response<'_> = reply.read();
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut aborted: Vec<(i64, i64)> = partition
        .aborted_transactions
        .iter()
        .flatten()
        .map(|aborted| (aborted.producer_id, aborted.first_offset))
        .collect();
    let bytes = partition.records.to_bytes().unwrap_or_default();
    let mut kept = Vec::new();
    for batch in scan_batches(&bytes) {
        let (header, batch) = batch.expect("a whole batch");
        let begins = |aborted: &&(i64, i64)| {
            aborted.0 == header.producer_id && aborted.1 <= header.base_offset
        };
        let is_aborted = aborted.iter().any(|aborted| begins(&aborted));
        if header.is_control() {
            // The first of this producer ends here.
            let ended = aborted.iter().position(|aborted| begins(&aborted));
            if let Some(place) = ended {
                aborted.remove(place);
            }
        } else if !is_aborted {
            kept.extend(values_of(batch, 0));
        }
    }
    kept
}

async fn state(client: &mut Client, id: &str) -> String {
    let request = wire::describe_transactions::Request {
        transactional_ids: vec![id],
    };
    let reply = client.call(0, &request).await;
    let response: wire::describe_transactions::Response<'_> = reply.read();
    response.transaction_states[0].transaction_state.to_string()
}

/// One segment, although markers have today's time and these batches have not: a read ends where a segment does.
async fn create_orders(client: &mut Client) {
    let segment = [("segment.ms", "9223372036854775807")];
    client.create_topic("orders", 1, &segment).await;
}

async fn with_orders() -> (Broker, Client) {
    let (broker, mut client) = start(Storage::Memory).await;
    create_orders(&mut client).await;
    (broker, client)
}

#[tokio::test]
async fn what_is_committed_is_read_and_what_is_aborted_is_not() {
    let (_broker, mut client) = with_orders().await;
    let first = init(&mut client, "p").await;
    let sent = first.batch(0, &["a"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    assert_eq!(committed(&mut client).await, [""; 0], "it is open");
    let second = end(&mut client, 5, "p", first, true).await.expect("ended");
    assert_eq!(second.epoch, first.epoch + 1);
    assert_eq!(committed(&mut client).await, ["a"]);
    let sent = second.batch(0, &["b"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    let third = end(&mut client, 5, "p", second, false)
        .await
        .expect("ended");
    let sent = third.batch(0, &["c"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    end(&mut client, 5, "p", third, true).await.expect("ended");
    assert_eq!(committed(&mut client).await, ["a", "c"]);
}

#[tokio::test]
async fn the_older_protocol_adds_partitions_first() {
    let (_broker, mut client) = with_orders().await;
    let producer = init(&mut client, "p").await;
    let sent = producer.batch(0, &["a"]);
    let refused = produce(&mut client, 9, Some("p"), &sent).await;
    assert_eq!(refused, ErrorCode::InvalidTxnState);
    let refused = produce(&mut client, 11, Some("p"), &sent).await;
    assert_eq!(refused, ErrorCode::TransactionAbortable);
    assert_eq!(add(&mut client, 0, "p", producer).await, NONE);
    assert_eq!(produce(&mut client, 9, Some("p"), &sent).await, NONE);
    let sent = producer.batch(1, &["b"]);
    assert_eq!(produce(&mut client, 9, Some("p"), &sent).await, NONE);
    end(&mut client, 1, "p", producer, true)
        .await
        .expect("ended");
    assert_eq!(committed(&mut client).await, ["a", "b"]);
    let late = producer.batch(2, &["late"]);
    let refused = produce(&mut client, 9, Some("p"), &late).await;
    assert_eq!(refused, ErrorCode::InvalidTxnState);
}

#[tokio::test]
async fn a_fenced_producer_is_told_so_in_the_words_of_its_version() {
    let (_broker, mut client) = with_orders().await;
    let old = init(&mut client, "p").await;
    init(&mut client, "p").await;
    let sent = old.batch(0, &["a"]);
    let told = produce(&mut client, NEW, Some("p"), &sent).await;
    assert_eq!(told, ErrorCode::InvalidProducerEpoch);
    let older = ErrorCode::InvalidProducerEpoch;
    assert_eq!(add(&mut client, 1, "p", old).await, older);
    assert_eq!(end(&mut client, 1, "p", old, true).await, Err(older));
    let newer = ErrorCode::ProducerFenced;
    assert_eq!(add(&mut client, 2, "p", old).await, newer);
    assert_eq!(end(&mut client, 2, "p", old, true).await, Err(newer));
    assert_eq!(committed(&mut client).await, [""; 0]);
}

#[tokio::test]
async fn a_batch_must_come_from_the_producer_of_its_transactional_id() {
    let (_broker, mut client) = with_orders().await;
    let producer = init(&mut client, "p").await;
    let sent = producer.batch(0, &["a"]);
    let told = produce(&mut client, NEW, None, &sent).await;
    assert_eq!(told, ErrorCode::TransactionalIdAuthorizationFailed);
    let told = produce(&mut client, NEW, Some("q"), &sent).await;
    assert_eq!(told, ErrorCode::InvalidProducerIdMapping);
    let other = Producer {
        id: producer.id + 7,
        ..producer
    };
    let told = produce(&mut client, NEW, Some("p"), &other.batch(0, &["a"])).await;
    assert_eq!(told, ErrorCode::InvalidProducerIdMapping);
    assert_eq!(committed(&mut client).await, [""; 0]);
}

#[tokio::test]
async fn control_batches_are_not_taken_from_clients() {
    let (_broker, mut client) = with_orders().await;
    let producer = init(&mut client, "p").await;
    let mut forged = BatchBuilder::new(1_000)
        .producer(producer.id, producer.epoch, -1)
        .transactional()
        .control();
    forged.push(1_000, Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    let forged = forged.build(Compression::None);
    let told = produce(&mut client, NEW, Some("p"), &forged).await;
    assert_eq!(told, ErrorCode::InvalidRecord);
}

#[tokio::test]
async fn an_open_transaction_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let producer = {
        let (broker, mut client) = start_on(directory.path()).await;
        create_orders(&mut client).await;
        let producer = init(&mut client, "p").await;
        let sent = producer.batch(0, &["a"]);
        assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
        broker.shutdown().await;
        producer
    };
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(state(&mut client, "p").await, "Ongoing");
    assert_eq!(committed(&mut client).await, [""; 0]);
    let sent = producer.batch(1, &["b"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    end(&mut client, 5, "p", producer, true)
        .await
        .expect("ended");
    assert_eq!(committed(&mut client).await, ["a", "b"]);
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted() {
    let clock = Clock::manual(1_000_000);
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.clock = clock.clone();
    let broker = Broker::start(settings).await.expect("the broker starts");
    let mut client = Client::connect(broker.kafka_addresses()[0]).await;
    create_orders(&mut client).await;
    let producer = init(&mut client, "p").await;
    let sent = producer.batch(0, &["a"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    clock.advance(std::time::Duration::from_secs(61));
    // Each question lets the coordinator look at the time.
    while state(&mut client, "p").await != "CompleteAbort" {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        client.produce("orders", 0, &batch(&["after"])).await.0,
        NONE
    );
    assert_eq!(committed(&mut client).await, ["after"]);
    let late = producer.batch(1, &["late"]);
    let told = produce(&mut client, NEW, Some("p"), &late).await;
    assert_eq!(told, ErrorCode::InvalidProducerEpoch);
}

#[tokio::test]
async fn deleting_a_topic_does_not_keep_a_transaction_from_its_end() {
    let (_broker, mut client) = with_orders().await;
    client.create_topic("gone", 1, &[]).await;
    let producer = init(&mut client, "p").await;
    let sent = producer.batch(0, &["a"]);
    for topic in ["orders", "gone"] {
        let told = produce_to(&mut client, NEW, Some("p"), topic, &sent).await;
        assert_eq!(told, NONE);
    }
    let request = wire::delete_topics::Request {
        topic_names: vec!["gone"],
        timeout_ms: 1_000,
        ..Default::default()
    };
    let reply = client.call(4, &request).await;
    let response: wire::delete_topics::Response<'_> = reply.read();
    assert_eq!(response.responses[0].error_code, 0);
    end(&mut client, 5, "p", producer, true)
        .await
        .expect("ended");
    assert_eq!(committed(&mut client).await, ["a"]);
    assert_eq!(state(&mut client, "p").await, "CompleteCommit");
}

async fn commit_offset(
    client: &mut Client,
    version: i16,
    producer: Producer,
    offset: i64,
) -> ErrorCode {
    use wire::txn_offset_commit::{Partition, Request, Response, Topic};
    let request = Request {
        transactional_id: "p",
        group_id: "g",
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id: -1,
        topics: vec![Topic {
            name: "orders",
            partitions: vec![Partition {
                partition_index: 0,
                committed_offset: offset,
                committed_leader_epoch: -1,
                committed_metadata: Some(""),
            }],
        }],
        ..Default::default()
    };
    let reply = client.call(version, &request).await;
    let response: Response<'_> = reply.read();
    let code = response.topics[0].partitions[0].error_code;
    ErrorCode::from_code(code).expect("a known error")
}

/// The offset of the group, asked for by one who can wait until it is stable.
async fn stable_offset(client: &mut Client) -> Result<i64, ErrorCode> {
    use wire::offset_fetch::{Request, Response, Topic};
    let request = Request {
        group_id: "g",
        topics: Some(vec![Topic {
            name: "orders",
            partition_indexes: vec![0],
        }]),
        require_stable: true,
        ..Default::default()
    };
    let reply = client.call(7, &request).await;
    let response: Response<'_> = reply.read();
    let partition = &response.topics[0].partitions[0];
    match ErrorCode::from_code(partition.error_code) {
        Some(NONE) => Ok(partition.committed_offset),
        error => Err(error.expect("a known error")),
    }
}

#[tokio::test]
async fn offsets_count_from_the_end_of_their_transaction_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let producer = {
        let (broker, mut client) = start_on(directory.path()).await;
        create_orders(&mut client).await;
        let producer = init(&mut client, "p").await;
        let told = commit_offset(&mut client, 5, producer, 42).await;
        assert_eq!(told, NONE);
        let told = stable_offset(&mut client).await;
        assert_eq!(told, Err(ErrorCode::UnstableOffsetCommit));
        broker.shutdown().await;
        producer
    };
    let (broker, mut client) = start_on(directory.path()).await;
    let told = stable_offset(&mut client).await;
    assert_eq!(told, Err(ErrorCode::UnstableOffsetCommit));
    let next = end(&mut client, 5, "p", producer, true)
        .await
        .expect("ended");
    client.transactions_settled().await;
    assert_eq!(stable_offset(&mut client).await, Ok(42));
    let told = commit_offset(&mut client, 5, next, 50).await;
    assert_eq!(told, NONE);
    end(&mut client, 5, "p", next, false).await.expect("ended");
    client.transactions_settled().await;
    assert_eq!(stable_offset(&mut client).await, Ok(42));
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(stable_offset(&mut client).await, Ok(42));
}

#[tokio::test]
async fn offsets_of_the_older_protocol_are_added_first() {
    let (_broker, mut client) = with_orders().await;
    let producer = init(&mut client, "p").await;
    let told = commit_offset(&mut client, 3, producer, 42).await;
    assert_eq!(told, ErrorCode::InvalidTxnState);
    let told = commit_offset(&mut client, 4, producer, 42).await;
    assert_eq!(told, ErrorCode::TransactionAbortable);
    let request = wire::add_offsets_to_txn::Request {
        transactional_id: "p",
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "g",
    };
    let reply = client.call(3, &request).await;
    let response: wire::add_offsets_to_txn::Response = reply.read();
    assert_eq!(response.error_code, 0);
    assert_eq!(commit_offset(&mut client, 3, producer, 42).await, NONE);
    end(&mut client, 4, "p", producer, true)
        .await
        .expect("ended");
    client.transactions_settled().await;
    assert_eq!(stable_offset(&mut client).await, Ok(42));
}

#[tokio::test]
async fn transactions_are_found_listed_and_described() {
    let (_broker, mut client) = with_orders().await;
    let producer = init(&mut client, "p").await;
    init(&mut client, "other").await;
    let sent = producer.batch(0, &["a"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    let request = wire::find_coordinator::Request {
        key_type: 1,
        coordinator_keys: vec!["p"],
        ..Default::default()
    };
    let reply = client.call(4, &request).await;
    let response: wire::find_coordinator::Response<'_> = reply.read();
    assert_eq!(response.coordinators[0].error_code, 0);
    let request = wire::list_transactions::Request {
        state_filters: vec!["Ongoing", "Nothing"],
        transactional_id_pattern: Some("p.*"),
        ..Default::default()
    };
    let reply = client.call(2, &request).await;
    let response: wire::list_transactions::Response<'_> = reply.read();
    assert_eq!(response.unknown_state_filters, ["Nothing"]);
    let listed: Vec<&str> = response
        .transaction_states
        .iter()
        .map(|state| state.transactional_id.as_ref())
        .collect();
    assert_eq!(listed, ["p"]);
    let request = wire::describe_transactions::Request {
        transactional_ids: vec!["p", "nobody"],
    };
    let reply = client.call(0, &request).await;
    let response: wire::describe_transactions::Response<'_> = reply.read();
    let [known, unknown] = &response.transaction_states[..] else {
        panic!("{response:?}");
    };
    assert_eq!(
        (known.producer_id, known.producer_epoch),
        (producer.id, producer.epoch)
    );
    assert_eq!(known.transaction_timeout_ms, 60_000);
    assert_eq!(known.topics[0].topic, "orders");
    assert_eq!(known.topics[0].partitions, [0]);
    let not_found = ErrorCode::TransactionalIdNotFound.code();
    assert_eq!(unknown.error_code, not_found);
}

/// Writes into the journal of a stopped broker what a crash right after the decision would have left there.
fn decide(directory: &std::path::Path, id: &str, is_commit: bool) {
    use broker_state::step::Millis;
    use broker_state::transactions::{Record, Transactions, VERSION_2};
    let mut transactions = Transactions::new(Default::default());
    let apply = |key: Option<&[u8]>, value: Option<&[u8]>| {
        transactions.apply(&Record::decode(key.unwrap_or_default(), value).expect("a record"));
        Ok(())
    };
    let disk = std::sync::Arc::new(log::FileDisk);
    let syncs = std::sync::Arc::new(broker::SyncPool::new(1));
    let path = directory.join("__transaction_state-0");
    let journal = broker::Journal::open(disk, path, syncs, 2_000_000, apply);
    let mut journal = journal.expect("the journal is read");
    let known = &transactions.all()[id];
    let transaction = known.prepared(Millis(2_000_000), is_commit, VERSION_2, -1);
    let record = Record::Transaction {
        id: id.into(),
        transaction,
    };
    let (key, value) = record.encode(VERSION_2);
    let written = journal.append([(Some(key), value)], 2_000_000);
    written.expect("the journal is written");
}

#[tokio::test]
async fn an_end_that_was_decided_before_a_crash_is_carried_out_after_it() {
    for is_commit in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let producer = {
            let (broker, mut client) = start_on(directory.path()).await;
            create_orders(&mut client).await;
            let producer = init(&mut client, "p").await;
            let sent = producer.batch(0, &["a"]);
            assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
            assert_eq!(commit_offset(&mut client, 5, producer, 42).await, NONE);
            broker.shutdown().await;
            producer
        };
        decide(directory.path(), "p", is_commit);
        let (_broker, mut client) = start_on(directory.path()).await;
        let (values, offset): (&[&str], i64) = if is_commit { (&["a"], 42) } else { (&[], -1) };
        assert_eq!(committed(&mut client).await, values);
        assert_eq!(stable_offset(&mut client).await, Ok(offset));
        // The client that has not heard of it asks again, and goes on.
        let next = end(&mut client, 5, "p", producer, is_commit).await;
        let next = next.expect("the same answer");
        let sent = next.batch(0, &["b"]);
        assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    }
}

#[tokio::test]
async fn transactions_are_counted() {
    let (broker, mut client) = with_orders().await;
    let mut producer = init(&mut client, "p").await;
    for committed in [true, true, false] {
        let sent = producer.batch(0, &["a"]);
        assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
        let next = end(&mut client, 5, "p", producer, committed).await;
        producer = next.expect("ended");
    }
    let sent = producer.batch(0, &["a"]);
    assert_eq!(produce(&mut client, NEW, Some("p"), &sent).await, NONE);
    let text = broker.metrics_text().await;
    for line in [
        "thalweg_transactions_open 1",
        "thalweg_transactions_committed_total 2",
        "thalweg_transactions_aborted_total 1",
        "thalweg_transactions_timed_out_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
