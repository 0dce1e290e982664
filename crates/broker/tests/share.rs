//! Share groups over the wire: who gets which records, what acknowledging does, and what survives a restart.

mod support;

use std::time::{Duration, Instant};

use broker::{Broker, BrokerSettings, Clock, Storage};
use log::{MemoryDisk, TightDisk};
use support::{Client, batch, start, start_on, values_of};
use wire::share_fetch::{
    AcknowledgementBatch, FetchPartition, FetchTopic, PartitionData, Request, Response,
};
use wire::{ErrorCode, Uuid};

const GROUP: &str = "workers";
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;

/// A member with its connection and its share session.
struct Member {
    client: Client,
    id: String,
    topic_id: Uuid,
    epoch: i32,
    max_bytes: i32,
    partitions: i32,
}

/// First offset, last offset, how often delivered.
type Ranges = Vec<(i64, i64, i16)>;

#[derive(Debug, PartialEq)]
struct Got {
    ranges: Ranges,
    values: Vec<String>,
    acknowledged: ErrorCode,
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a known error")
}

impl Member {
    /// Joins the group and reads partition 0 of the topic.
    async fn join(mut client: Client, id: &str, topic: &str) -> Self {
        use wire::share_group_heartbeat::{Request, Response};
        let request = Request {
            group_id: GROUP,
            member_id: id,
            subscribed_topic_names: Some(vec![topic]),
            ..Default::default()
        };
        let reply = client.call(1, &request).await;
        let response: Response<'_> = reply.read();
        assert_eq!(code(response.error_code), ErrorCode::None);
        let assignment = response.assignment.expect("the first answer assigns");
        Self {
            client,
            id: id.to_owned(),
            topic_id: assignment.topic_partitions[0].topic_id,
            epoch: 0,
            max_bytes: i32::MAX,
            partitions: 1,
        }
    }

    async fn beat(&mut self, member_epoch: i32) -> ErrorCode {
        use wire::share_group_heartbeat::{Request, Response};
        let request = Request {
            group_id: GROUP,
            member_id: &self.id,
            member_epoch,
            ..Default::default()
        };
        let reply = self.client.call(1, &request).await;
        code(reply.read::<Response<'_>>().error_code)
    }

    async fn try_fetch(
        &mut self,
        max_wait_ms: i32,
        acknowledge: &[(i64, i64, i8)],
    ) -> Result<Got, ErrorCode> {
        let topic_id = self.topic_id;
        let request = Request {
            group_id: Some(GROUP),
            member_id: Some(&self.id),
            share_session_epoch: self.epoch,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: self.max_bytes,
            max_records: 500,
            batch_size: 500,
            topics: vec![FetchTopic {
                topic_id,
                partitions: (0..self.partitions)
                    .map(|partition_index| FetchPartition {
                        partition_index,
                        acknowledgement_batches: match partition_index {
                            0 => acknowledgements(acknowledge),
                            _ => Vec::new(),
                        },
                    })
                    .collect(),
            }],
            ..Default::default()
        };
        let reply = self.client.call(2, &request).await;
        let response: Response<'_> = reply.read();
        if response.error_code != 0 {
            return Err(code(response.error_code));
        }
        self.epoch += 1;
        let partitions = response.responses.iter();
        let partitions = partitions
            .filter(|topic| topic.topic_id == topic_id)
            .flat_map(|topic| &topic.partitions);
        let got = partitions.map(Got::of).reduce(Got::and);
        Ok(got.unwrap_or_else(Got::nothing))
    }

    async fn fetch(&mut self, max_wait_ms: i32, acknowledge: &[(i64, i64, i8)]) -> Got {
        let got = self.try_fetch(max_wait_ms, acknowledge).await;
        got.expect("the session goes on")
    }

    async fn acknowledge(&mut self, first: i64, last: i64, kind: i8) -> Result<(), ErrorCode> {
        use wire::share_acknowledge as ack;
        let id = self.id.clone();
        let request = ack::Request {
            group_id: Some(GROUP),
            member_id: Some(&id),
            share_session_epoch: self.epoch,
            topics: vec![ack::AcknowledgeTopic {
                topic_id: self.topic_id,
                partitions: vec![ack::AcknowledgePartition {
                    partition_index: 0,
                    acknowledgement_batches: vec![ack::AcknowledgementBatch {
                        first_offset: first,
                        last_offset: last,
                        acknowledge_types: vec![kind],
                    }],
                }],
            }],
            ..Default::default()
        };
        let reply = self.client.call(2, &request).await;
        let response: ack::Response<'_> = reply.read();
        if response.error_code != 0 {
            return Err(code(response.error_code));
        }
        self.epoch += 1;
        match code(response.responses[0].partitions[0].error_code) {
            ErrorCode::None => Ok(()),
            error => Err(error),
        }
    }

    /// Closes the share session.
    async fn close(&mut self) {
        let id = self.id.clone();
        let request = Request {
            group_id: Some(GROUP),
            member_id: Some(&id),
            share_session_epoch: -1,
            ..Default::default()
        };
        let reply = self.client.call(2, &request).await;
        assert_eq!(
            code(reply.read::<Response<'_>>().error_code),
            ErrorCode::None
        );
        self.epoch = 0;
    }
}

fn acknowledgements(batches: &[(i64, i64, i8)]) -> Vec<AcknowledgementBatch> {
    let batch = |&(first_offset, last_offset, kind): &(i64, i64, i8)| AcknowledgementBatch {
        first_offset,
        last_offset,
        acknowledge_types: vec![kind],
    };
    batches.iter().map(batch).collect()
}

impl Got {
    fn nothing() -> Self {
        Self {
            ranges: Vec::new(),
            values: Vec::new(),
            acknowledged: ErrorCode::None,
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.ranges.extend(other.ranges);
        self.values.extend(other.values);
        self
    }

    fn of(partition: &PartitionData<'_>) -> Self {
        assert_eq!(code(partition.error_code), ErrorCode::None);
        let acquired = partition.acquired_records.iter();
        let ranges = acquired.map(|a| (a.first_offset, a.last_offset, a.delivery_count));
        let bytes = partition.records.to_bytes().unwrap_or_default();
        Self {
            ranges: ranges.collect(),
            values: values_of(&bytes, 0),
            acknowledged: code(partition.acknowledge_error_code),
        }
    }
}

/// A topic with these batches, and a group that begins at its first record.
async fn prepare(client: &mut Client, topic: &str, batches: &[&[&str]]) {
    client.create_topic(topic, 1, &[]).await;
    for values in batches {
        let (error, _) = client.produce(topic, 0, &batch(values)).await;
        assert_eq!(error, ErrorCode::None);
    }
    configure(client, "share.auto.offset.reset", "earliest").await;
}

async fn configure(client: &mut Client, name: &str, value: &str) {
    use wire::incremental_alter_configs::{AlterableConfig, Request, Resource, Response};
    const GROUP_RESOURCE: i8 = 32;
    let request = Request {
        resources: vec![Resource {
            resource_type: GROUP_RESOURCE,
            resource_name: GROUP,
            configs: vec![AlterableConfig {
                name,
                config_operation: 0,
                value: Some(value),
            }],
        }],
        ..Default::default()
    };
    let reply = client.call(1, &request).await;
    let response: Response<'_> = reply.read();
    assert_eq!(code(response.responses[0].error_code), ErrorCode::None);
}

async fn another(broker: &broker::Broker) -> Client {
    Client::connect(broker.kafka_addresses()[0]).await
}

#[tokio::test]
async fn two_members_share_a_partition_and_no_record() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a", "b"], &["c"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let mut two = Member::join(another(&broker).await, "two", "jobs").await;
    let got = one.fetch(0, &[]).await;
    assert_eq!(got.ranges, [(0, 2, 1)]);
    assert_eq!(got.values, ["a", "b", "c"]);
    assert_eq!(two.fetch(0, &[]).await.ranges, []);
    client.produce("jobs", 0, &batch(&["d"])).await;
    assert_eq!(two.fetch(0, &[]).await.values, ["d"]);
    assert_eq!(
        one.fetch(0, &[(0, 2, ACCEPT)]).await.acknowledged,
        ErrorCode::None
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn only_the_first_batch_of_an_answer_may_be_larger_than_it() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a"], &["b"], &["c"], &["d"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let size = i32::try_from(batch(&["a"]).len()).expect("a small batch");
    one.max_bytes = size + size / 2;
    assert_eq!(one.fetch(0, &[]).await.values, ["a"]);
    one.max_bytes = 1;
    assert_eq!(one.fetch(0, &[]).await.values, ["b"]);
    one.max_bytes = 2 * size;
    assert_eq!(one.fetch(0, &[]).await.values, ["c", "d"]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_s_first_answer_waits_for_the_start_of_one_partition_only() {
    let (broker, mut client) = start(Storage::Memory).await;
    client.create_topic("jobs", 3, &[]).await;
    for (partition, value) in [(1, "b"), (2, "c")] {
        client.produce("jobs", partition, &batch(&[value])).await;
    }
    configure(&mut client, "share.auto.offset.reset", "earliest").await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    one.partitions = 3;
    assert_eq!(one.fetch(0, &[]).await.values, ["b"]);
    client.produce("jobs", 0, &batch(&["a"])).await;
    assert_eq!(one.fetch(0, &[]).await.values, ["a"]);
    assert_eq!(one.fetch(0, &[]).await.values, ["c"]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_waiting_member_gets_what_is_produced_and_what_is_released() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let mut two = Member::join(another(&broker).await, "two", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await, Got::nothing());
    let begun = Instant::now();
    let job = batch(&["a"]);
    let (got, _) = tokio::join!(one.fetch(30_000, &[]), client.produce("jobs", 0, &job));
    assert_eq!(got.ranges, [(0, 0, 1)]);
    let (got, released) = tokio::join!(two.fetch(30_000, &[]), one.acknowledge(0, 0, RELEASE));
    assert_eq!(released, Ok(()));
    assert_eq!(got.ranges, [(0, 0, 2)]);
    let (got, _) = tokio::join!(one.fetch(30_000, &[]), two.close());
    assert_eq!(got.ranges, [(0, 0, 3)]);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "nobody was woken"
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_ends_gives_its_records_back() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a", "b"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let mut two = Member::join(another(&broker).await, "two", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 1, 1)]);
    let (got, ()) = tokio::join!(two.fetch(30_000, &[]), async { drop(one) });
    assert_eq!(got.ranges, [(0, 1, 2)]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_member_that_leaves_gives_its_records_back() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let mut two = Member::join(another(&broker).await, "two", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 0, 1)]);
    let (got, left) = tokio::join!(two.fetch(30_000, &[]), one.beat(-1));
    assert_eq!(left, ErrorCode::None);
    assert_eq!(got.ranges, [(0, 0, 2)]);
    assert_eq!(one.beat(1).await, ErrorCode::UnknownMemberId);
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_acknowledged_survives_a_restart_and_the_rest_comes_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    prepare(&mut client, "jobs", &[&["a", "b", "c", "d"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 3, 1)]);
    assert_eq!(one.acknowledge(1, 1, ACCEPT).await, Ok(()));
    assert_eq!(one.acknowledge(2, 2, REJECT).await, Ok(()));
    assert_eq!(one.acknowledge(3, 3, RELEASE).await, Ok(()));
    broker.shutdown().await;
    drop((broker, one, client));
    let (broker, _client) = start_on(directory.path()).await;
    let mut two = Member::join(another(&broker).await, "two", "jobs").await;
    let got = two.fetch(0, &[]).await;
    let first = got.ranges[0];
    assert_eq!((first.0, first.1), (0, 0), "{:?}", got.ranges);
    assert_eq!(got.ranges[1..], [(3, 3, 2)]);
    assert_eq!(two.acknowledge(0, 0, ACCEPT).await, Ok(()));
    assert_eq!(two.acknowledge(3, 3, ACCEPT).await, Ok(()));
    assert_eq!(two.fetch(0, &[]).await, Got::nothing());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_share_group_s_lag_is_what_nobody_has_finished() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a", "b", "c", "d"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 3, 1)]);
    assert_eq!(one.acknowledge(0, 0, ACCEPT).await, Ok(()));
    assert_eq!(one.acknowledge(2, 2, ACCEPT).await, Ok(()));
    let text = broker.metrics_text().await;
    let line = "thalweg_group_lag_records{group=\"workers\",topic=\"jobs\"} 2";
    assert!(text.contains(line), "{line} is not in\n{text}");
}

#[tokio::test]
async fn a_full_disk_puts_acknowledgements_off_and_forgets_no_release() {
    let disk = TightDisk::new(MemoryDisk::shared(), 100 << 20);
    let clock = Clock::manual(1_700_000_000_000);
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings.disk = Some(disk.shared());
    settings.clock = clock.clone();
    let broker = Broker::start(settings).await.expect("the broker starts");
    let mut client = another(&broker).await;
    prepare(&mut client, "jobs", &[&["a", "b"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let mut two = Member::join(another(&broker).await, "two", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 1, 1)]);
    assert_eq!(two.fetch(0, &[]).await, Got::nothing());

    // The locks are over, which cannot be written down either.
    disk.set_room(0);
    clock.advance(Duration::from_secs(31));
    let refused = one.acknowledge(0, 1, ACCEPT).await;
    assert_eq!(refused, Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(two.fetch(0, &[]).await, Got::nothing());
    one.epoch = -1;
    assert_eq!(one.fetch(0, &[]).await, Got::nothing());

    disk.set_room(1 << 40);
    assert_eq!(two.fetch(0, &[]).await.ranges, [(0, 1, 2)]);
    assert_eq!(two.acknowledge(0, 1, ACCEPT).await, Ok(()));
    assert!(broker.is_ready());
    broker.shutdown().await;
}

#[tokio::test]
async fn sessions_and_acknowledgements_that_cannot_be_are_refused() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a", "b"]]).await;
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    let early = one.try_fetch(0, &[(0, 0, ACCEPT)]).await;
    assert_eq!(early, Err(ErrorCode::InvalidRequest));
    one.epoch = 1;
    assert_eq!(
        one.try_fetch(0, &[]).await,
        Err(ErrorCode::ShareSessionNotFound)
    );
    one.epoch = 0;
    let never = one.acknowledge(0, 0, ACCEPT).await;
    assert_eq!(never, Err(ErrorCode::InvalidShareSessionEpoch));
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 1, 1)]);
    one.epoch = 5;
    let wrong = one.try_fetch(0, &[]).await;
    assert_eq!(wrong, Err(ErrorCode::InvalidShareSessionEpoch));
    one.epoch = 1;
    let beyond = one.fetch(0, &[(0, 2, ACCEPT)]).await;
    assert_eq!(beyond.acknowledged, ErrorCode::InvalidRequest);
    assert_eq!(
        one.acknowledge(0, 0, 4).await,
        Err(ErrorCode::InvalidRequest)
    );
    assert_eq!(one.acknowledge(0, 1, ACCEPT).await, Ok(()));
    let again = one.acknowledge(0, 1, ACCEPT).await;
    assert_eq!(again, Ok(()), "they are behind the start");
    one.topic_id = Uuid([9; 16]);
    let unknown = one.acknowledge(0, 0, ACCEPT).await;
    assert_eq!(unknown, Err(ErrorCode::UnknownTopicId));
    broker.shutdown().await;
}

#[tokio::test]
async fn only_share_groups_have_share_sessions() {
    let (broker, client) = start(Storage::Memory).await;
    let mut stranger = Member {
        client,
        id: "one".to_owned(),
        topic_id: Uuid([1; 16]),
        epoch: 0,
        max_bytes: i32::MAX,
        partitions: 1,
    };
    assert_eq!(
        stranger.try_fetch(0, &[]).await,
        Err(ErrorCode::GroupIdNotFound)
    );
    stranger.id = "x".repeat(37);
    assert_eq!(
        stranger.try_fetch(0, &[]).await,
        Err(ErrorCode::InvalidRequest)
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn deleted_records_are_passed_over() {
    let (broker, mut client) = start(Storage::Memory).await;
    prepare(&mut client, "jobs", &[&["a", "b"], &["c", "d"]]).await;
    use wire::delete_records::{Partition, Request, Response, Topic};
    let request = Request {
        topics: vec![Topic {
            name: "jobs",
            partitions: vec![Partition {
                partition_index: 0,
                offset: 3,
            }],
        }],
        timeout_ms: 1_000,
    };
    let mut one = Member::join(another(&broker).await, "one", "jobs").await;
    assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 3, 1)]);
    assert_eq!(one.acknowledge(0, 3, RELEASE).await, Ok(()));
    let reply = client.call(2, &request).await;
    assert_eq!(
        reply.read::<Response<'_>>().topics[0].partitions[0].error_code,
        0
    );
    assert_eq!(one.fetch(0, &[]).await.ranges, [(3, 3, 2)]);
    broker.shutdown().await;
}

mod transactions {
    use super::*;
    use wire::records::{BatchBuilder, Compression};

    /// Writes one transaction of these values to "jobs" and ends it.
    async fn transaction(client: &mut Client, name: &str, values: &[&str], commits: bool) {
        let (id, epoch) = begin(client, name, values).await;
        end(client, name, id, epoch, commits).await;
    }

    async fn begin(client: &mut Client, name: &str, values: &[&str]) -> (i64, i16) {
        use wire::init_producer_id::{Request, Response};
        let request = Request {
            transactional_id: Some(name),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let reply = client.call(5, &request).await;
        let response: Response = reply.read();
        let (id, epoch) = (response.producer_id, response.producer_epoch);
        let mut builder = BatchBuilder::new(1_000)
            .producer(id, epoch, 0)
            .transactional();
        for value in values {
            builder.push(1_000, None, Some(value.as_bytes()), &[]);
        }
        let batch = builder.build(Compression::None);
        let mut request = support::produce_request("jobs", 0, &batch, -1);
        request.transactional_id = Some(name);
        let reply = client.call(12, &request).await;
        let response: wire::produce::Response<'_> = reply.read();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(code(partition.error_code), ErrorCode::None);
        (id, epoch)
    }

    async fn end(client: &mut Client, name: &str, id: i64, epoch: i16, committed: bool) {
        use wire::end_txn::{Request, Response};
        let request = Request {
            transactional_id: name,
            producer_id: id,
            producer_epoch: epoch,
            committed,
        };
        let reply = client.call(5, &request).await;
        assert_eq!(code(reply.read::<Response>().error_code), ErrorCode::None);
        client.transactions_settled().await;
    }

    #[tokio::test]
    async fn a_group_of_committed_records_never_sees_aborted_and_undecided_ones() {
        let (broker, mut client) = start(Storage::Memory).await;
        prepare(&mut client, "jobs", &[]).await;
        configure(&mut client, "share.isolation.level", "read_committed").await;
        transaction(&mut client, "good", &["a", "b"], true).await;
        transaction(&mut client, "bad", &["c", "d"], false).await;
        client.produce("jobs", 0, &batch(&["e"])).await;
        let (id, epoch) = begin(&mut client, "open", &["f"]).await;
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        // The answer to an EndTxn comes before its marker, so records may come in several pieces.
        assert_eq!(work(&mut one, 3).await, ["a", "b", "e"]);
        assert_eq!(one.fetch(0, &[]).await, Got::nothing());
        let (got, ()) = tokio::join!(work(&mut one, 1), end(&mut client, "open", id, epoch, true));
        assert_eq!(got, ["f"]);
        broker.shutdown().await;
    }

    /// Accepts what comes until there are so many records.
    async fn work(member: &mut Member, count: usize) -> Vec<String> {
        let mut values = Vec::new();
        while values.len() < count {
            let got = member.fetch(20_000, &[]).await;
            assert_ne!(got, Got::nothing(), "nothing comes after {values:?}");
            values.extend(got.values);
            for (first, last, _) in got.ranges {
                assert_eq!(member.acknowledge(first, last, ACCEPT).await, Ok(()));
            }
        }
        values
    }

    #[tokio::test]
    async fn a_group_of_all_records_sees_them_and_no_markers() {
        let (broker, mut client) = start(Storage::Memory).await;
        prepare(&mut client, "jobs", &[]).await;
        transaction(&mut client, "bad", &["a"], false).await;
        client.produce("jobs", 0, &batch(&["b"])).await;
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        let got = one.fetch(0, &[]).await;
        assert_eq!(got.values, ["a", "b"]);
        let records = got.ranges.iter().map(|(first, last, _)| last - first + 1);
        assert_eq!(records.sum::<i64>(), 2, "{:?}", got.ranges);
        broker.shutdown().await;
    }
}

mod dead_letters {
    use super::*;
    use bytes::Bytes;
    use wire::records::{BatchBuilder, Compression, RecordIter, decompress, scan_batches};

    /// Value and headers of every letter, waiting for the first ones.
    async fn letters(client: &mut Client, topic: &str) -> Vec<(String, Vec<String>)> {
        let request = support::fetch_request(topic, 0, 0, 20_000);
        let reply = client.call(11, &request).await;
        let response: wire::fetch::Response<'_> = reply.read();
        let records = &response.responses[0].partitions[0].records;
        let bytes = records.to_bytes().unwrap_or_default();
        let mut letters = Vec::new();
        for batch in scan_batches(&bytes) {
            let (header, batch) = batch.expect("a whole batch");
            let records = decompress(&header, batch, 1 << 20).expect("readable records");
            for record in RecordIter::new(&header, &records) {
                let record = record.expect("a record");
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = record.headers().map(|header| {
                    format!(
                        "{}={}",
                        text(header.name),
                        text(header.value.unwrap_or_default())
                    )
                });
                letters.push((text(record.value.unwrap_or_default()), headers.collect()));
            }
        }
        letters
    }

    /// Asks until the group has begun with `offset`: archiving follows the letter by itself.
    async fn wait_for_start(client: &mut Client, offset: i64) {
        for _ in 0..10_000 {
            if offsets::described(client).await.0 == offset {
                return;
            }
        }
        panic!("the letter is there, and its record is not archived");
    }

    #[tokio::test]
    async fn a_rejected_record_goes_to_the_topic_that_the_group_has_for_it() {
        let (broker, mut client) = start(Storage::Memory).await;
        let enabled = [("errors.deadletterqueue.group.enable", "true")];
        client.create_topic("dlq.jobs", 1, &enabled).await;
        prepare(&mut client, "jobs", &[&["a", "b", "c"]]).await;
        configure(&mut client, "errors.deadletterqueue.topic.name", "dlq.jobs").await;
        configure(
            &mut client,
            "errors.deadletterqueue.copy.record.enable",
            "true",
        )
        .await;
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 2, 1)]);
        assert_eq!(one.acknowledge(1, 1, REJECT).await, Ok(()));
        let letters = letters(&mut client, "dlq.jobs").await;
        let headers = [
            "__dlq.errors.topic=jobs",
            "__dlq.errors.partition=0",
            "__dlq.errors.offset=1",
            "__dlq.errors.group=workers",
            "__dlq.errors.delivery.count=1",
            "__dlq.errors.message=Offset rejected by client.",
        ];
        let headers = headers.map(str::to_owned).to_vec();
        assert_eq!(letters, [("b".to_owned(), headers)]);
        assert_eq!(one.acknowledge(0, 0, ACCEPT).await, Ok(()));
        wait_for_start(&mut client, 2).await;
        broker.shutdown().await;
    }

    /// What the letters are that a topic with `settings` gets for these records, all rejected at once.
    async fn letters_for(settings: &[(&str, &str)], records: &Bytes) -> Vec<(String, String)> {
        let (broker, mut client) = start(Storage::Memory).await;
        let enabled = ("errors.deadletterqueue.group.enable", "true");
        let settings = [&[enabled], settings].concat();
        client.create_topic("dlq.jobs", 1, &settings).await;
        prepare(&mut client, "jobs", &[]).await;
        let (error, _) = client.produce("jobs", 0, records).await;
        assert_eq!(error, ErrorCode::None);
        configure(&mut client, "errors.deadletterqueue.topic.name", "dlq.jobs").await;
        let copies = "errors.deadletterqueue.copy.record.enable";
        configure(&mut client, copies, "true").await;
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 2, 1)]);
        assert_eq!(one.acknowledge(0, 2, REJECT).await, Ok(()));
        wait_for_start(&mut client, 3).await;
        let letters = letters(&mut client, "dlq.jobs").await;
        broker.shutdown().await;
        let letters = letters.into_iter();
        letters
            .map(|(value, mut headers)| (value, headers.remove(2)))
            .collect()
    }

    fn letter(value: &str, offset: i64) -> (String, String) {
        (value.to_owned(), format!("__dlq.errors.offset={offset}"))
    }

    #[tokio::test]
    async fn a_record_that_is_too_large_for_a_letter_gets_headers_only_and_the_others_theirs() {
        let large = "b".repeat(4_000);
        let records = batch(&["a", &large, "c"]);
        let letters = letters_for(&[("max.message.bytes", "1000")], &records);
        let expected = [letter("a", 0), letter("", 1), letter("c", 2)];
        assert_eq!(letters.await, expected);
    }

    #[tokio::test]
    async fn a_record_without_a_key_costs_the_others_no_letter_in_a_compacted_topic() {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, Some(b"x"), Some(b"a"), &[]);
        builder.push(1_000, None, Some(b"b"), &[]);
        builder.push(1_000, Some(b"z"), Some(b"c"), &[]);
        let records = builder.build(Compression::None);
        let letters = letters_for(&[("cleanup.policy", "compact")], &records);
        assert_eq!(letters.await, [letter("a", 0), letter("c", 2)]);
    }

    #[tokio::test]
    async fn a_topic_that_takes_no_dead_letters_gets_none_and_holds_nothing_up() {
        let (broker, mut client) = start(Storage::Memory).await;
        client.create_topic("dlq.jobs", 1, &[]).await;
        prepare(&mut client, "jobs", &[&["a"]]).await;
        configure(&mut client, "errors.deadletterqueue.topic.name", "dlq.jobs").await;
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 0, 1)]);
        assert_eq!(one.acknowledge(0, 0, REJECT).await, Ok(()));
        wait_for_start(&mut client, 1).await;
        assert!(client.fetch("dlq.jobs", 0, 0).await.is_empty());
        broker.shutdown().await;
    }
}

mod offsets {
    use super::*;

    /// Start offset and lag of partition 0.
    pub async fn described(client: &mut Client) -> (i64, i64) {
        use wire::describe_share_group_offsets::{Group, Request, Response, Topic};
        let request = Request {
            groups: vec![Group {
                group_id: GROUP,
                topics: Some(vec![Topic {
                    topic_name: "jobs",
                    partitions: vec![0],
                }]),
            }],
        };
        let reply = client.call(1, &request).await;
        let response: Response<'_> = reply.read();
        assert_eq!(code(response.groups[0].error_code), ErrorCode::None);
        let partition = &response.groups[0].topics[0].partitions[0];
        (partition.start_offset, partition.lag)
    }

    async fn alter(client: &mut Client, start_offset: i64) -> ErrorCode {
        use wire::alter_share_group_offsets::{Partition, Request, Response, Topic};
        let request = Request {
            group_id: GROUP,
            topics: vec![Topic {
                topic_name: "jobs",
                partitions: vec![Partition {
                    partition_index: 0,
                    start_offset,
                }],
            }],
        };
        let reply = client.call(0, &request).await;
        let response: Response<'_> = reply.read();
        let topics = response.responses.iter();
        let of_partitions = topics.flat_map(|topic| &topic.partitions);
        let mut errors = of_partitions.map(|partition| partition.error_code);
        code(errors.next().unwrap_or(response.error_code))
    }

    async fn delete(client: &mut Client) -> ErrorCode {
        use wire::delete_share_group_offsets::{Request, Response, Topic};
        let request = Request {
            group_id: GROUP,
            topics: vec![Topic { topic_name: "jobs" }],
        };
        let reply = client.call(0, &request).await;
        let response: Response<'_> = reply.read();
        let of_topics = response.responses.iter().map(|topic| topic.error_code);
        code(of_topics.chain([response.error_code]).next().unwrap_or(0))
    }

    #[tokio::test]
    async fn a_group_may_begin_with_its_offsets() {
        let (broker, mut client) = start(Storage::Memory).await;
        prepare(&mut client, "jobs", &[&["a", "b", "c"]]).await;
        assert_eq!(alter(&mut client, 1).await, ErrorCode::None);
        assert_eq!(described(&mut client).await, (1, 2));
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        assert_eq!(one.fetch(0, &[]).await.ranges, [(1, 2, 1)]);
        broker.shutdown().await;
    }

    #[tokio::test]
    async fn offsets_are_told_moved_and_forgotten_while_nobody_is_there() {
        let (broker, mut client) = start(Storage::Memory).await;
        prepare(&mut client, "jobs", &[&["a", "b", "c"]]).await;
        assert_eq!(delete(&mut client).await, ErrorCode::GroupIdNotFound);
        let mut one = Member::join(another(&broker).await, "one", "jobs").await;
        assert_eq!(described(&mut client).await, (-1, -1), "it has not begun");
        assert_eq!(one.fetch(0, &[]).await.ranges, [(0, 2, 1)]);
        assert_eq!(one.acknowledge(1, 1, ACCEPT).await, Ok(()));
        assert_eq!(described(&mut client).await, (0, 2));
        assert_eq!(alter(&mut client, 1).await, ErrorCode::NonEmptyGroup);
        assert_eq!(delete(&mut client).await, ErrorCode::NonEmptyGroup);
        assert_eq!(one.beat(-1).await, ErrorCode::None);
        assert_eq!(alter(&mut client, -5).await, ErrorCode::InvalidRequest);
        assert_eq!(alter(&mut client, 2).await, ErrorCode::None);
        assert_eq!(described(&mut client).await, (2, 1));
        assert_eq!(delete(&mut client).await, ErrorCode::None);
        assert_eq!(described(&mut client).await, (-1, -1));
        broker.shutdown().await;
    }
}
