//! What readers of committed records see over the wire, while transactions begin and end and the broker restarts.

mod support;

use std::collections::{BTreeMap, HashSet, VecDeque};

use broker::Storage;
use bytes::Bytes;
use support::{Client, Reply, batch, fetch_request, idempotent_batch, start, start_on};
use wire::records::{
    BatchBuilder, Compression, EndTransactionMarker, RecordIter, decompress, scan_batches,
};
use wire::{ErrorCode, fetch};

const TOPIC: &str = "orders";

/// The time of records: a segment ends when they are a week apart, and markers have the broker's time.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.expect("1970 is over").as_millis() as i64
}

/// A transactional producer of the newest protocol.
struct Producer {
    name: String,
    id: i64,
    epoch: i16,
    sequence: i32,
}

impl Producer {
    async fn begin(client: &mut Client, name: &str) -> Self {
        use wire::init_producer_id::{Request, Response};
        let request = Request {
            transactional_id: Some(name),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let reply = client.call(5, &request).await;
        let response: Response = reply.read();
        assert_eq!(response.error_code, 0);
        Self {
            name: name.to_owned(),
            id: response.producer_id,
            epoch: response.producer_epoch,
            sequence: 0,
        }
    }

    async fn write(&mut self, client: &mut Client, value: &str) -> i64 {
        let mut builder = BatchBuilder::new(now_ms())
            .producer(self.id, self.epoch, self.sequence)
            .transactional();
        builder.push(now_ms(), None, Some(value.as_bytes()), &[]);
        let written = self.send(client, &builder.build(Compression::None)).await;
        assert_eq!(written.0, ErrorCode::None);
        self.sequence += 1;
        written.1
    }

    async fn send(&self, client: &mut Client, batch: &Bytes) -> (ErrorCode, i64) {
        let mut request = support::produce_request(TOPIC, 0, batch, -1);
        request.transactional_id = Some(&self.name);
        let reply = client.call(12, &request).await;
        let response: wire::produce::Response<'_> = reply.read();
        let partition = &response.responses[0].partition_responses[0];
        let error = ErrorCode::from_code(partition.error_code).expect("a known error");
        (error, partition.base_offset)
    }

    async fn end(&mut self, client: &mut Client, committed: bool) {
        use wire::end_txn::{Request, Response};
        let request = Request {
            transactional_id: &self.name,
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        let reply = client.call(5, &request).await;
        let response: Response = reply.read();
        assert_eq!(response.error_code, 0);
        (self.id, self.epoch) = (response.producer_id, response.producer_epoch);
        self.sequence = 0;
    }
}

/// A reader that passes over aborted transactions as clients do.
struct Reader {
    offset: i64,
    values: Vec<String>,
    last_stable_offset: i64,
    high_watermark: i64,
}

impl Reader {
    /// Whatever was read is committed; it may be less than there is.
    fn assert_within(&self, committed: &[String], seed: u64) {
        let mut rest = committed.iter();
        for value in &self.values {
            let is_committed = rest.any(|known| known == value);
            assert!(is_committed, "seed {seed}: {value} was read");
        }
    }

    fn new() -> Self {
        Self {
            offset: 0,
            values: Vec::new(),
            last_stable_offset: -1,
            high_watermark: -1,
        }
    }

    /// Reads on up to where the partition lets it, in small pieces.
    async fn read_on(&mut self, client: &mut Client, piece: i32) {
        loop {
            let mut request = fetch_request(TOPIC, 0, self.offset, 0);
            request.isolation_level = 1;
            request.topics[0].partitions[0].partition_max_bytes = piece;
            let reply = client.call(11, &request).await;
            let before = self.offset;
            self.take(&reply);
            if self.offset == before {
                return;
            }
        }
    }

    fn take(&mut self, reply: &Reply) {
        let response: fetch::Response<'_> = reply.read();
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        (self.last_stable_offset, self.high_watermark) =
            (partition.last_stable_offset, partition.high_watermark);
        let aborted = partition.aborted_transactions.clone();
        let aborted = aborted.expect("readers of committed records are told, if only of none");
        assert!(aborted.is_sorted_by_key(|transaction| transaction.first_offset));
        let mut ahead: VecDeque<_> = aborted.into();
        let mut passed_over = HashSet::new();
        let bytes = partition.records.to_bytes().unwrap_or_default();
        for found in scan_batches(&bytes) {
            let (header, whole) = found.expect("a whole batch");
            assert!(
                header.base_offset < self.last_stable_offset,
                "undecided records are hidden"
            );
            while let Some(next) =
                ahead.pop_front_if(|next| next.first_offset <= header.last_offset())
            {
                passed_over.insert(next.producer_id);
            }
            let is_read = header.last_offset() < self.offset;
            self.offset = self.offset.max(header.last_offset() + 1);
            if let Some(marker) = EndTransactionMarker::of_batch(&header, whole) {
                if !marker.is_commit {
                    passed_over.remove(&header.producer_id);
                }
                continue;
            }
            let is_aborted = header.is_transactional() && passed_over.contains(&header.producer_id);
            if is_read || is_aborted {
                continue;
            }
            let records = decompress(&header, whole, 1 << 20).expect("readable records");
            for record in RecordIter::new(&header, &records) {
                let value = record.expect("a record").value.expect("a value");
                self.values
                    .push(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What each value belongs to: decided so, or not yet.
#[derive(Default)]
struct Written {
    /// By offset.
    values: BTreeMap<i64, String>,
    /// Offsets of open transactions, by producer.
    open: BTreeMap<usize, Vec<i64>>,
    aborted: HashSet<i64>,
}

impl Written {
    fn committed(&self) -> Vec<String> {
        let open: HashSet<i64> = self.open.values().flatten().copied().collect();
        let is_committed = |offset: &i64| !self.aborted.contains(offset) && !open.contains(offset);
        let values = self
            .values
            .iter()
            .filter(|(offset, _)| is_committed(offset));
        values.map(|(_, value)| value.clone()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_and_undecided_records_are_never_read_and_committed_ones_always() {
    for seed in 0..3 {
        interleave(seed).await;
    }
}

/// Three producers of which each writes, commits and aborts as the dice say, and a broker that restarts.
async fn interleave(seed: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut broker, mut client) = start_on(directory.path()).await;
    // Small segments, so that transactions lie across them.
    client
        .create_topic(
            TOPIC,
            1,
            &[("segment.bytes", "1048576"), ("thalweg.durability", "os")],
        )
        .await;
    let mut dice = Dice(seed);
    let mut producers = Vec::new();
    for number in 0..3 {
        producers.push(Producer::begin(&mut client, &format!("writer-{number}")).await);
    }
    let mut written = Written::default();
    let mut reader = Reader::new();
    for number in 0..80 {
        let which = dice.roll(3) as usize;
        match dice.roll(12) {
            0..=5 => {
                let value = format!("{seed}/{number}");
                let offset = producers[which].write(&mut client, &value).await;
                written.values.insert(offset, value);
                written.open.entry(which).or_default().push(offset);
            }
            6 => {
                let value = format!("{seed}/{number}");
                let (error, offset) = client.produce(TOPIC, 0, &batch(&[&value])).await;
                assert_eq!(error, ErrorCode::None);
                written.values.insert(offset, value);
            }
            roll @ 7..=10 => {
                let Some(offsets) = written.open.remove(&which) else {
                    continue;
                };
                producers[which].end(&mut client, roll < 9).await;
                if roll >= 9 {
                    written.aborted.extend(offsets);
                }
            }
            _ if number % 4 == 0 => {
                drop(client);
                broker.shutdown().await;
                // It keeps the directory's lock until it is dropped.
                drop(broker);
                (broker, client) = start_on(directory.path()).await;
            }
            _ => {}
        }
        reader
            .read_on(&mut client, 60 + dice.roll(900) as i32)
            .await;
        reader.assert_within(&written.committed(), seed);
    }
    for (which, offsets) in std::mem::take(&mut written.open) {
        producers[which].end(&mut client, false).await;
        written.aborted.extend(offsets);
    }
    while reader.last_stable_offset < reader.high_watermark || reader.values != written.committed()
    {
        reader.read_on(&mut client, 500).await;
        tokio::task::yield_now().await;
    }
    let mut again = Reader::new();
    again.read_on(&mut client, 1_500).await;
    assert_eq!(again.values, written.committed(), "seed {seed}");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_transaction_is_decided() {
    let (broker, mut client) = start(Storage::Memory).await;
    client.create_topic(TOPIC, 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer").await;
    producer.write(&mut client, "decided").await;
    let mut consumer = Client::connect(broker.kafka_addresses()[0]).await;
    let mut request = fetch_request(TOPIC, 0, 0, 300_000);
    request.isolation_level = 1;
    consumer.send(11, &request).await;
    producer.end(&mut client, true).await;
    let reply = consumer.receive(11).await.expect("the poll is answered");
    let mut reader = Reader::new();
    reader.take(&reply);
    assert_eq!(reader.values, ["decided"]);
}

#[tokio::test]
async fn readers_of_everything_see_everything_and_are_told_nothing() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic(TOPIC, 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer").await;
    producer.write(&mut client, "aborted").await;
    producer.end(&mut client, false).await;
    producer.write(&mut client, "open").await;
    let reply = client.call(11, &fetch_request(TOPIC, 0, 0, 0)).await;
    let response: fetch::Response<'_> = reply.read();
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.aborted_transactions, None);
    let values = support::values(&reply, 0);
    assert!(values.contains(&"aborted".to_owned()) && values.contains(&"open".to_owned()));
    // The marker lies between the two.
    assert_eq!(
        (list(&mut client, 0).await, list(&mut client, 1).await),
        (3, 2)
    );
}

/// The latest offset for an isolation level.
async fn list(client: &mut Client, isolation_level: i8) -> i64 {
    use wire::list_offsets::{Partition, Request, Response, Topic};
    let partitions = vec![Partition {
        timestamp: -1,
        ..Default::default()
    }];
    let request = Request {
        isolation_level,
        topics: vec![Topic {
            name: TOPIC,
            partitions,
        }],
        ..Default::default()
    };
    let reply = client.call(6, &request).await;
    let response: Response<'_> = reply.read();
    response.topics[0].partitions[0].offset
}

async fn describe(
    client: &mut Client,
    topic: &str,
) -> Result<Vec<wire::describe_producers::ProducerState>, ErrorCode> {
    use wire::describe_producers::{Request, Response, Topic};
    let request = Request {
        topics: vec![Topic {
            name: topic,
            partition_indexes: vec![0],
        }],
    };
    let reply = client.call(0, &request).await;
    let response: Response<'_> = reply.read();
    let partition = &response.topics[0].partitions[0];
    match ErrorCode::from_code(partition.error_code) {
        Some(ErrorCode::None) => Ok(partition.active_producers.clone()),
        error => Err(error.expect("a known error")),
    }
}

async fn mark(
    client: &mut Client,
    topic: &str,
    id: i64,
    epoch: i16,
    coordinator_epoch: i32,
) -> ErrorCode {
    use wire::write_txn_markers::{Marker, Request, Response, Topic};
    let request = Request {
        markers: vec![Marker {
            producer_id: id,
            producer_epoch: epoch,
            transaction_result: false,
            topics: vec![Topic {
                name: topic,
                partition_indexes: vec![0],
            }],
            coordinator_epoch,
            ..Default::default()
        }],
    };
    let reply = client.call(1, &request).await;
    let response: Response<'_> = reply.read();
    let marked = &response.markers[0];
    assert_eq!(marked.producer_id, id);
    ErrorCode::from_code(marked.topics[0].partitions[0].error_code).expect("a known error")
}

#[tokio::test]
async fn an_administrator_finds_a_hanging_transaction_and_aborts_it() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic(TOPIC, 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer").await;
    client.produce(TOPIC, 0, &batch(&["plain"])).await;
    producer.write(&mut client, "hanging").await;
    let found = describe(&mut client, TOPIC)
        .await
        .expect("the topic is there");
    let [state] = found.as_slice() else {
        panic!("one producer, and not {found:?}")
    };
    let known = (
        state.producer_id,
        state.current_txn_start_offset,
        state.last_sequence,
    );
    assert_eq!(known, (producer.id, 1, 0));
    assert!((1..=now_ms()).contains(&state.last_timestamp));
    assert_eq!(list(&mut client, 1).await, 1);
    let (id, epoch) = (producer.id, producer.epoch);
    if epoch > 0 {
        let late = mark(&mut client, TOPIC, id, epoch - 1, 0).await;
        assert_eq!(late, ErrorCode::InvalidProducerEpoch);
    }
    assert_eq!(
        mark(&mut client, TOPIC, id, epoch, state.coordinator_epoch).await,
        ErrorCode::None
    );
    assert_eq!(list(&mut client, 1).await, 3);
    let mut reader = Reader::new();
    reader.read_on(&mut client, 1_000).await;
    assert_eq!(reader.values, ["plain"]);
    let found = describe(&mut client, TOPIC)
        .await
        .expect("the topic is there");
    assert_eq!(found[0].current_txn_start_offset, -1);
    let unknown = Err(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(describe(&mut client, "nowhere").await, unknown);
    let nowhere = mark(&mut client, "nowhere", id, epoch, 0).await;
    assert_eq!(nowhere, ErrorCode::UnknownTopicOrPartition);
}

#[tokio::test]
async fn what_belongs_to_no_transaction_of_its_producer_is_refused() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic(TOPIC, 1, &[]).await;
    let mut producer = Producer::begin(&mut client, "writer").await;
    producer.write(&mut client, "in").await;
    let (id, epoch) = (producer.id, producer.epoch);
    let outside = idempotent_batch(id, epoch, 1, &["outside"]);
    assert_eq!(
        client.produce(TOPIC, 0, &outside).await.0,
        ErrorCode::InvalidTxnState
    );
    let marker = EndTransactionMarker {
        is_commit: true,
        coordinator_epoch: 0,
    };
    let forged = producer
        .send(&mut client, &marker.batch(id, epoch, 1_000))
        .await;
    assert_eq!(forged.0, ErrorCode::InvalidRecord);
    let late = (producer.id, producer.epoch);
    producer.end(&mut client, true).await;
    producer.write(&mut client, "next").await;
    let mut builder = BatchBuilder::new(now_ms())
        .producer(late.0, late.1, 1)
        .transactional();
    builder.push(now_ms(), None, Some(b"late"), &[]);
    let refused = producer
        .send(&mut client, &builder.build(Compression::None))
        .await;
    assert_eq!(refused.0, ErrorCode::InvalidProducerEpoch);
}
