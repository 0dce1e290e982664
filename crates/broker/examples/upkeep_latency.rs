//! Latency of produce and fetch while nothing else happens, while logs are compacted, and while a topic of many partitions is
//! deleted: `cargo run --release -p broker --example upkeep_latency -- [DIRECTORY] [SECONDS]`.
//!
//! One broker in this process, clients over loopback. A prober writes and reads 1 KiB every two milliseconds on topics of its own,
//! with `thalweg.durability` sync and os, and prints the percentiles for each phase.
//!
//! Once, on two cores that were shared with many other builds (load 14 to 19), phases of ten seconds; p99 in ms:
//!
//! | phase | produce sync | produce os | fetch sync | fetch os |
//! |---|---|---|---|---|
//! | idle | 23.7 | 17.3 | 0.11 | 0.09 |
//! | 12 MB/s of load | 21.8 | 13.8 | 0.14 | 0.12 |
//! | the same, 6 compactions of 110 MB into 12 MB | 24.4 | 10.1 | 0.15 | 0.15 |
//! | the same, retention at 32 MiB twice a second | 41.0 | 31.0 | 0.21 | 0.16 |
//! | a topic of 10,000 partitions deleted, 0.46 s | 30.3 | 30.2 | 2.12 | 0.17 |

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use broker::{Broker, BrokerSettings, Storage};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::records::{BatchBuilder, Compression};
use wire::{Request, RequestHeader, encode_request};

const PAUSE: Duration = Duration::from_millis(2);
const KEYS: usize = 2_000;
const MANY: i32 = 10_000;

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the broker listens");
        stream.set_nodelay(true).expect("an option of sockets");
        Self { stream }
    }

    /// Sends a request and reads the whole answer.
    async fn call<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> Vec<u8> {
        let header = RequestHeader {
            api_key: R::KEY as i16,
            api_version: version,
            correlation_id: 1,
            client_id: Some("latency"),
        };
        let bytes = encode_request(&header, request);
        self.stream
            .write_all(&bytes)
            .await
            .expect("the broker reads");
        let size = self.stream.read_u32().await.expect("the broker answers");
        let mut body = vec![0; size as usize];
        self.stream
            .read_exact(&mut body)
            .await
            .expect("the broker answers");
        body
    }

    async fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        use wire::create_topics::{CreatableTopic, CreatableTopicConfig, Request};
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name,
            value: Some(value),
        });
        let topic = CreatableTopic {
            name,
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = Request {
            topics: vec![topic],
            timeout_ms: 600_000,
            ..Default::default()
        };
        self.call(7, &request).await;
    }

    async fn delete_topic(&mut self, name: &str) {
        let request = wire::delete_topics::Request {
            topic_names: vec![name],
            timeout_ms: 600_000,
            ..Default::default()
        };
        self.call(5, &request).await;
    }

    async fn produce(&mut self, topic: &str, batch: &Bytes) {
        use wire::produce::{PartitionData, Request, TopicData};
        let partition = PartitionData {
            index: 0,
            records: Some(batch),
        };
        let data = TopicData {
            name: topic,
            partition_data: vec![partition],
            ..Default::default()
        };
        let request = Request {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![data],
            ..Default::default()
        };
        self.call(9, &request).await;
    }

    async fn fetch(&mut self, topic: &str) {
        use wire::fetch::{FetchPartition, FetchTopic, Request};
        let partition = FetchPartition {
            partition: 0,
            partition_max_bytes: 1_000,
            ..Default::default()
        };
        let request = Request {
            min_bytes: 1,
            max_bytes: 1_000,
            topics: vec![FetchTopic {
                topic,
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.call(11, &request).await;
    }
}

fn batch(records: usize, seed: usize) -> Bytes {
    let mut builder = BatchBuilder::new(1_000);
    let value = vec![b'v'; 1_000];
    for number in 0..records {
        let key = format!("key-{}", (seed * 31 + number * 7) % KEYS);
        builder.push(1_000, Some(key.as_bytes()), Some(&value), &[]);
    }
    builder.build(Compression::None)
}

/// Latencies in microseconds.
#[derive(Default)]
struct Measured {
    produce: Vec<u128>,
    fetch: Vec<u128>,
}

async fn probe(address: SocketAddr, topic: &str, until: Arc<AtomicBool>) -> Measured {
    let mut client = Client::connect(address).await;
    let batch = batch(1, 0);
    let mut measured = Measured::default();
    client.produce(topic, &batch).await;
    while !until.load(Ordering::Relaxed) {
        let started = Instant::now();
        client.produce(topic, &batch).await;
        measured.produce.push(started.elapsed().as_micros());
        let started = Instant::now();
        client.fetch(topic).await;
        measured.fetch.push(started.elapsed().as_micros());
        tokio::time::sleep(PAUSE).await;
    }
    measured
}

fn tell(phase: &str, topic: &str, measured: Measured) {
    let percentiles = |mut all: Vec<u128>| {
        all.sort_unstable();
        let at = |share: f64| all.get(((all.len() as f64 * share) as usize).min(all.len() - 1));
        let text = |share| at(share).map_or(0.0, |micros| *micros as f64 / 1_000.0);
        format!(
            "p50 {:7.2}  p99 {:7.2}  p99.9 {:7.2}  max {:7.2} ms of {}",
            text(0.5),
            text(0.99),
            text(0.999),
            text(1.0),
            all.len()
        )
    };
    println!(
        "{phase:<22} {topic:<5} produce {}",
        percentiles(measured.produce)
    );
    println!(
        "{phase:<22} {topic:<5} fetch   {}",
        percentiles(measured.fetch)
    );
}

/// Measures both probers while `work` goes on.
async fn phase<T>(address: SocketAddr, name: &str, work: impl Future<Output = T>) -> T {
    let until = Arc::new(AtomicBool::new(false));
    let probe = |topic: &'static str| tokio::spawn(probe(address, topic, Arc::clone(&until)));
    let (sync, os) = (probe("sync"), probe("os"));
    let done = work.await;
    until.store(true, Ordering::Relaxed);
    tell(name, "sync", sync.await.expect("a prober ends"));
    tell(name, "os", os.await.expect("a prober ends"));
    done
}

/// Writes to a topic for a while, as fast as one client can.
async fn load(address: SocketAddr, topic: &str, lasting: Duration) -> usize {
    let mut client = Client::connect(address).await;
    let (started, mut written) = (Instant::now(), 0);
    while started.elapsed() < lasting {
        let batch = batch(100, written);
        client.produce(topic, &batch).await;
        written += 1;
        // Room for the probers on a small machine: some 20 MB a second.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    written * 100
}

fn compactions(metrics: &str) -> String {
    let wanted = [
        "compaction_seconds_count",
        "compaction_read_bytes_total",
        "compaction_kept_bytes_total",
    ];
    let lines = metrics
        .lines()
        .filter(|line| wanted.iter().any(|name| line.contains(name)) && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("  ")
}

async fn create_topics(client: &mut Client) {
    client
        .create_topic("sync", 1, &[("thalweg.durability", "sync")])
        .await;
    client
        .create_topic("os", 1, &[("thalweg.durability", "os")])
        .await;
    let small = [
        ("segment.bytes", "16777216"),
        ("file.delete.delay.ms", "0"),
        ("thalweg.durability", "interval"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&small[..], more].concat();
    client.create_topic("kept", 1, &with(&[])).await;
    client
        .create_topic(
            "table",
            1,
            &with(&[
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.1"),
            ]),
        )
        .await;
    client
        .create_topic("short", 1, &with(&[("retention.bytes", "33554432")]))
        .await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .map_or_else(|| PathBuf::from("upkeep-data"), PathBuf::from);
    let lasting = arguments.next().map_or(Ok(20), |seconds| seconds.parse())?;
    let lasting = Duration::from_secs(lasting);
    let mut settings = BrokerSettings::new(Storage::Directory(directory));
    for (key, value) in [
        ("log.cleaner.backoff.ms", "100"),
        ("log.retention.check.interval.ms", "500"),
    ] {
        settings
            .broker_config
            .insert(key.to_owned(), value.to_owned());
    }
    let broker = Broker::start(settings).await?;
    let address = broker.kafka_addresses()[0];
    let mut client = Client::connect(address).await;
    create_topics(&mut client).await;

    phase(address, "idle", tokio::time::sleep(lasting)).await;
    let records = phase(address, "load", load(address, "kept", lasting)).await;
    println!("                       {records} records to a topic that keeps all");
    let records = phase(
        address,
        "load and compaction",
        load(address, "table", lasting),
    )
    .await;
    println!(
        "                       {records} records; {}",
        compactions(&broker.metrics_text().await)
    );
    let records = phase(
        address,
        "load and retention",
        load(address, "short", lasting),
    )
    .await;
    println!("                       {records} records");

    println!("creating {MANY} partitions");
    client.create_topic("many", MANY, &[]).await;
    let started = Instant::now();
    phase(address, "deleting a topic", client.delete_topic("many")).await;
    println!(
        "                       {MANY} partitions in {:.2} s",
        started.elapsed().as_secs_f64()
    );
    broker.shutdown().await;
    Ok(())
}
