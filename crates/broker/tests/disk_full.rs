//! A full disk: records are refused so that clients try again, readers go on, and once there is space everything does, by itself.
//! Nothing that was acknowledged is lost.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use broker::shard::{AppendItem, Completed, Event, OpenRequest, Reply, Shard};
use broker::{Broker, BrokerSettings, Clock, Storage, SyncPool};
use broker_state::configs::{Durability, TopicSettings};
use bytes::Bytes;
use log::{Disk as _, FileDisk, MemoryDisk, TightDisk};
use support::{Client, batch, idempotent_batch};
use wire::records::CheckedBatch;
use wire::{ErrorCode, Uuid};

const ROOMY: u64 = 1 << 40;

struct Started {
    broker: Broker,
    clock: Clock,
    client: Client,
}

/// A broker whose time moves only when a test says so.
async fn start(storage: Storage, disk: &TightDisk) -> Started {
    let clock = Clock::manual(1_700_000_000_000);
    let mut settings = BrokerSettings::new(storage);
    settings.disk = Some(disk.shared());
    settings.clock = clock.clone();
    let delay = "group.initial.rebalance.delay.ms".to_owned();
    settings.broker_config.insert(delay, "0".to_owned());
    let broker = Broker::start(settings).await.expect("the broker starts");
    let client = Client::connect(broker.kafka_addresses()[0]).await;
    Started {
        broker,
        clock,
        client,
    }
}

impl Started {
    /// Tries again as a client does until the answer is another one, and gives that.
    async fn produce_again(&mut self, batch: &Bytes) -> (ErrorCode, i64) {
        loop {
            self.clock.advance(Duration::from_secs(1));
            let answer = self.client.produce("orders", 0, batch).await;
            if answer.0 != ErrorCode::KafkaStorageError {
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_finds_no_space_is_refused_and_goes_through_later() {
    let disk = TightDisk::silent(MemoryDisk::shared(), ROOMY);
    let mut started = start(Storage::Memory, &disk).await;
    started.client.create_topic("orders", 1, &[]).await;
    let first = idempotent_batch(7, 0, 0, &["a", "b"]);
    let second = idempotent_batch(7, 0, 2, &["c"]);
    let client = &mut started.client;
    assert_eq!(
        client.produce("orders", 0, &first).await,
        (ErrorCode::None, 0)
    );

    // Half of a batch fits: it is cut off again.
    disk.set_room(40);
    for _ in 0..3 {
        let refused = client.produce("orders", 0, &second).await;
        assert_eq!(refused, (ErrorCode::KafkaStorageError, -1));
        assert_eq!(client.fetch("orders", 0, 0).await, ["a", "b"]);
    }
    disk.set_room(ROOMY);
    assert_eq!(started.produce_again(&second).await, (ErrorCode::None, 2));
    // The producer's state is that of the log: what is sent again is known.
    let client = &mut started.client;
    assert_eq!(
        client.produce("orders", 0, &second).await,
        (ErrorCode::None, 2)
    );
    assert_eq!(client.fetch("orders", 0, 0).await, ["a", "b", "c"]);
    assert!(started.broker.is_ready());
}

#[tokio::test]
async fn the_last_of_the_disk_is_not_for_records() {
    let disk = TightDisk::new(MemoryDisk::shared(), 100 << 20);
    let mut started = start(Storage::Memory, &disk).await;
    started.client.create_topic("orders", 1, &[]).await;
    let stored = started.client.produce("orders", 0, &batch(&["a"])).await;
    assert_eq!(stored, (ErrorCode::None, 0));

    // Within the reserve: offsets are committed, records are not taken, topics are not made but deleted.
    disk.set_room(4 << 20);
    started.clock.advance(Duration::from_secs(1));
    let refused = started.client.produce("orders", 0, &batch(&["b"])).await;
    assert_eq!(refused.0, ErrorCode::KafkaStorageError);
    assert_eq!(commit(&mut started.client).await, ErrorCode::None);
    assert_eq!(
        create(&mut started.client, "more").await,
        ErrorCode::NotController
    );

    // At the end of it: nothing is written, everything can be read.
    disk.set_room(0);
    started.clock.advance(Duration::from_secs(1));
    let refused = commit(&mut started.client).await;
    assert_eq!(refused, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(started.client.fetch("orders", 0, 0).await, ["a"]);

    disk.set_room(ROOMY);
    let stored = started.produce_again(&batch(&["b"])).await;
    assert_eq!(stored, (ErrorCode::None, 1));
    assert_eq!(commit(&mut started.client).await, ErrorCode::None);
    assert_eq!(create(&mut started.client, "more").await, ErrorCode::None);
    assert!(started.broker.is_ready());
}

#[tokio::test]
async fn what_was_acknowledged_around_a_full_disk_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = || Storage::Directory(directory.path().to_owned());
    let disk = TightDisk::silent(FileDisk::shared(), ROOMY);
    let mut started = start(storage(), &disk).await;
    started
        .client
        .create_topic("orders", 1, &[("segment.bytes", "1048576")])
        .await;
    let value = "v".repeat(100_000);
    let mut expected = Vec::new();
    for number in 0..40 {
        // Space ends in the middle of batches and where segments begin.
        disk.set_room(if number % 4 == 3 { 70_000 } else { ROOMY });
        let value = format!("{number}{value}");
        let batch = batch(&[&value]);
        let mut answer = started.client.produce("orders", 0, &batch).await;
        if answer.0 == ErrorCode::KafkaStorageError {
            disk.set_room(ROOMY);
            answer = started.produce_again(&batch).await;
        }
        assert_eq!(answer, (ErrorCode::None, number));
        expected.push(value);
    }
    // It ends with a full disk, without a checkpoint.
    disk.set_room(0);
    let refused = started.client.produce("orders", 0, &batch(&["lost"])).await;
    assert_eq!(refused.0, ErrorCode::KafkaStorageError);
    started.broker.shutdown().await;
    drop(started);
    let mut started = start(storage(), &TightDisk::new(FileDisk::shared(), ROOMY)).await;
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let next = found.len() as i64;
        found.extend(started.client.fetch("orders", 0, next).await);
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_end_of_a_transaction_waits_for_space() {
    let disk = TightDisk::silent(MemoryDisk::shared(), ROOMY);
    let mut started = start(Storage::Memory, &disk).await;
    started.client.create_topic("orders", 1, &[]).await;
    disk.set_room(0);
    let refused = started.client.produce("orders", 0, &batch(&["a"])).await;
    assert_eq!(refused.0, ErrorCode::KafkaStorageError);

    let mut coordinator = Client::connect(started.broker.kafka_addresses()[0]).await;
    let topic = wire::write_txn_markers::Topic {
        name: "orders",
        partition_indexes: vec![0],
    };
    let marker = wire::write_txn_markers::Marker {
        producer_id: 7,
        topics: vec![topic],
        ..Default::default()
    };
    let request = wire::write_txn_markers::Request {
        markers: vec![marker],
    };
    coordinator.send(1, &request).await;
    disk.set_room(ROOMY);
    let stored = started.produce_again(&batch(&["a"])).await;
    assert_eq!(stored.0, ErrorCode::None);
    started.clock.advance(Duration::from_secs(1));
    let reply = coordinator.receive(1).await.expect("an answer");
    let response: wire::write_txn_markers::Response<'_> = reply.read();
    assert_eq!(response.markers[0].topics[0].partitions[0].error_code, 0);
}

#[test]
fn retention_goes_on_after_a_checkpoint_that_found_no_space() {
    let mut lone = Lone::with_a_record(TopicSettings {
        durability: Durability::Os,
        retention_ms: Some(1),
        ..TopicSettings::default()
    });
    // What retention lets go has to be in a checkpoint first, and nothing more is appended.
    lone.put_off_checkpoint(40_000);
    lone.checkpoint(2_000);
    let completed = lone.tick(2_000);
    assert_eq!(completed.trims.len(), 1);
}

#[test]
fn a_checkpoint_that_found_no_space_is_made_later_though_nothing_is_appended() {
    for durability in [Durability::Sync, Durability::Interval { flush_ms: 1_000 }] {
        let mut lone = Lone::with_a_record(TopicSettings {
            durability,
            ..TopicSettings::default()
        });
        lone.put_off_checkpoint(6_000);
        lone.checkpoint(6_000);
        assert_eq!(lone.tick(6_000).checkpoints.len(), 0);
    }
}

/// A shard with one partition, whose background work a test does.
struct Lone {
    disk: TightDisk,
    shard: Shard,
    now_ms: i64,
}

impl Lone {
    fn with_a_record(settings: TopicSettings) -> Self {
        let disk = TightDisk::silent(MemoryDisk::shared(), ROOMY);
        let directory = PathBuf::from("data/orders-0");
        disk.create_dir_all(&directory).expect("there is room");
        let shard = Shard::new(0, disk.shared(), Arc::new(SyncPool::new(0)));
        let now_ms = 1_700_000_000_000;
        let mut lone = Self {
            disk,
            shard,
            now_ms,
        };
        let request = OpenRequest {
            topic: "orders".into(),
            topic_id: Uuid([7; 16]),
            index: 0,
            directory,
            settings,
        };
        let requests = vec![request];
        let opened = lone.ask(|reply| Event::Open { requests, reply });
        let item = AppendItem {
            partition: opened.expect("the partition opens").remove(0),
            batch: CheckedBatch::check(batch(&["a"]), usize::MAX).expect("a good batch"),
            verified_at: None,
        };
        let items = vec![item];
        let appended = lone.ask(|reply| Event::Append { items, reply });
        assert_eq!(appended[0].error, ErrorCode::None);
        lone
    }

    fn ask<T: Send + 'static>(&mut self, event: impl FnOnce(Reply<T>) -> Event) -> T {
        let (sender, receiver) = channel();
        let reply = Reply::new(move |answer| drop(sender.send(answer)));
        self.step(event(reply));
        receiver.try_recv().expect("answered within the step")
    }

    fn step(&mut self, event: Event) -> Completed {
        let stepped = self.shard.step(self.now_ms, [event]);
        stepped.expect("the shard goes on")
    }

    fn tick(&mut self, after_ms: i64) -> Completed {
        self.now_ms += after_ms;
        self.step(Event::Tick)
    }

    /// A checkpoint begins, and there is no space to write it.
    fn put_off_checkpoint(&mut self, after_ms: i64) {
        let begun = self.tick(after_ms).checkpoints.pop();
        let begun = begun.expect("a checkpoint is due");
        self.disk.set_room(0);
        let error = begun.job.run().expect_err("there is no room");
        assert!(error.is_mended_by_space(), "{error}");
        self.disk.set_room(ROOMY);
        let partition = begun.partition;
        self.step(Event::CheckpointPutOff { partition });
    }

    fn checkpoint(&mut self, after_ms: i64) {
        let begun = self.tick(after_ms).checkpoints.pop();
        let begun = begun.expect("the checkpoint is made again");
        let event = Event::Checkpointed {
            partition: begun.partition,
            finished: begun.job.run().expect("there is room"),
        };
        self.step(event);
    }
}

async fn commit(client: &mut Client) -> ErrorCode {
    use wire::offset_commit::{Partition, Request, Response, Topic};
    let partition = Partition {
        partition_index: 0,
        committed_offset: 1,
        ..Default::default()
    };
    let topic = Topic {
        name: "orders",
        partitions: vec![partition],
        ..Default::default()
    };
    let request = Request {
        group_id: "readers",
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let reply = client.call(8, &request).await;
    let response: Response<'_> = reply.read();
    let code = response.topics[0].partitions[0].error_code;
    ErrorCode::from_code(code).expect("a known error")
}

async fn create(client: &mut Client, name: &str) -> ErrorCode {
    use wire::create_topics::{CreatableTopic, Request, Response};
    let topic = CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: -1,
        ..Default::default()
    };
    let request = Request {
        topics: vec![topic],
        ..Default::default()
    };
    let reply = client.call(7, &request).await;
    let response: Response<'_> = reply.read();
    ErrorCode::from_code(response.topics[0].error_code).expect("a known error")
}
