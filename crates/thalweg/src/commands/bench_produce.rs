//! `thalweg bench produce`: records as fast as the cluster takes them, or at a given rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::{Cluster, OutgoingRecord, Producer};

use super::bench::{Latencies, Payload, PropertyArgs, Report, TopicArgs};
use super::produce::Compression;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::progress::Progress;

/// The longest wait for the last acknowledgements.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    /// How many records in all
    #[arg(short = 'n', long, default_value_t = 1_000_000)]
    records: u64,
    /// Bytes of each value
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Producers, each with a thread and connections of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    producers: u64,
    /// Records a second in all; without it as many as go
    #[arg(long)]
    rate: Option<f64>,
    /// Which acknowledgement is waited for
    #[arg(long, default_value = "all", value_parser = ["all", "1", "0"])]
    acks: String,
    /// Send idempotently
    #[arg(long)]
    idempotent: bool,
    /// How batches are compressed
    #[arg(short = 'z', long, default_value = "none")]
    compression: Compression,
    /// The largest batch in bytes
    #[arg(long, default_value_t = 1_000_000)]
    batch_size: usize,
    /// How long a batch may wait for more records, in milliseconds
    #[arg(long, default_value_t = 5.0)]
    linger: f64,
    #[command(flatten)]
    properties: PropertyArgs,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// What all producers of a run share.
struct Shared {
    begin: Instant,
    latencies: Latencies,
    delivered: AtomicU64,
    failed: AtomicU64,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let topic = args.topic.prepare(&mut admin).await?;
    let cluster = context.cluster().with_timeout(FLUSH_LIMIT);
    let shared = Arc::new(Shared {
        begin: Instant::now(),
        latencies: Latencies::new(),
        delivered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let progress = Progress::records(args.records, "producing");
    let begin = Instant::now();
    thread::scope(|scope| {
        let producers: Vec<_> = (0..args.producers)
            .map(|index| {
                let (shared, cluster, progress) = (Arc::clone(&shared), &cluster, &progress);
                scope.spawn(move || produce(args, index, cluster, &shared, progress))
            })
            .collect();
        producers
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a producer thread does not panic"))
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    progress.finish();
    let records = shared.delivered.load(Ordering::Relaxed);
    let bytes = records * args.size as u64;
    let report = Report {
        bench: "produce",
        kafka: context.settings.text("kafka").to_owned(),
        topic: args.topic.topic.clone(),
        partitions: topic.partitions.len(),
        clients: usize::try_from(args.producers).unwrap_or(usize::MAX),
        records,
        bytes,
        seconds,
        records_per_second: records as f64 / seconds,
        megabytes_per_second: bytes as f64 / 1e6 / seconds,
        failed: shared.failed.load(Ordering::Relaxed),
        latency_ms: Some(shared.latencies.summary()),
    };
    report.print(context)
}

/// One producer's share of the records.
fn produce(
    args: &Args,
    index: u64,
    cluster: &Cluster,
    shared: &Arc<Shared>,
    progress: &Progress,
) -> Result<(), CommandError> {
    let producer = open(args, cluster, shared)?;
    let share = args.records / args.producers + u64::from(index < args.records % args.producers);
    let pace = args
        .rate
        .map(|rate| Duration::from_secs_f64(args.producers as f64 / rate));
    let mut payload = Payload::new(args.size, index + 1);
    let begin = Instant::now();
    for number in 0..share {
        if let Some(pace) = pace {
            wait_until(begin + pace.mul_f64(number as f64));
        }
        let record = OutgoingRecord {
            topic: &args.topic.topic,
            value: Some(payload.next_record()),
            ..OutgoingRecord::default()
        };
        let sent = shared.begin.elapsed().as_nanos();
        producer.send(&record, usize::try_from(sent).unwrap_or(usize::MAX))?;
        if number % 1024 == 1023 {
            progress.add(1024);
        }
    }
    producer.flush(FLUSH_LIMIT)?;
    Ok(())
}

fn open(args: &Args, cluster: &Cluster, shared: &Arc<Shared>) -> Result<Producer, CommandError> {
    let (linger, batch_size) = (args.linger.to_string(), args.batch_size.to_string());
    let idempotent = args.idempotent.to_string();
    let defaults = [
        ("acks", args.acks.as_str()),
        ("enable.idempotence", &idempotent),
        ("compression.type", args.compression.name()),
        ("linger.ms", &linger),
        ("batch.size", &batch_size),
        ("batch.num.messages", "1000000"),
        ("queue.buffering.max.messages", "1000000"),
        ("queue.buffering.max.kbytes", "262144"),
        ("sticky.partitioning.linger.ms", "10"),
    ];
    let shared = Arc::clone(shared);
    let producer = cluster.producer(&args.properties.over(&defaults), move |delivery| {
        if delivery.error.is_some() {
            shared.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        shared.delivered.fetch_add(1, Ordering::Relaxed);
        let sent = Duration::from_nanos(delivery.token as u64);
        shared
            .latencies
            .record(shared.begin.elapsed().saturating_sub(sent));
    })?;
    Ok(producer)
}

/// Sleeps until `at`; a time that has passed is not waited for.
pub fn wait_until(at: Instant) {
    let wait = at.saturating_duration_since(Instant::now());
    if !wait.is_zero() {
        thread::sleep(wait);
    }
}
