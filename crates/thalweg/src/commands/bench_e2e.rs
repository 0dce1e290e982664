//! `thalweg bench e2e`: the time from handing a record to a producer until a consumer has it, at a given rate.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::offsets::OffsetQuery;
use client::{Cluster, Consumer, Event, OutgoingRecord, Position};

use super::bench::{Latencies, Payload, PropertyArgs, Report, TopicArgs};
use super::bench_produce::wait_until;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::progress::Progress;

const POLL: Duration = Duration::from_millis(100);
/// How long the consumer may take to find its place before the first record is sent.
const SETTLING: Duration = Duration::from_secs(30);
/// How long the last records may be under way.
const TAIL: Duration = Duration::from_secs(30);
/// A record begins with the time at which it was sent.
const STAMP_BYTES: usize = 8;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    /// Records a second
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// How many records are measured
    #[arg(short = 'n', long, default_value_t = 10_000)]
    records: u64,
    /// How many records are sent first and not measured
    #[arg(long, default_value_t = 1000)]
    warm_up: u64,
    /// Bytes of each value, at least 8
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Which acknowledgement is waited for
    #[arg(long, default_value = "all", value_parser = ["all", "1", "0"])]
    acks: String,
    #[command(flatten)]
    properties: PropertyArgs,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// What producer and consumer share.
struct Shared {
    begin: Instant,
    latencies: Latencies,
    settled: AtomicBool,
    failed: AtomicU64,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let topic = args.topic.prepare(&mut admin).await?;
    let ends = admin
        .list_offsets(std::slice::from_ref(&topic), OffsetQuery::Latest)
        .await?;
    let positions: Vec<Position> = topic
        .partitions
        .iter()
        .map(|partition| Position {
            partition: partition.index,
            offset: ends
                .get(&(topic.name.clone(), partition.index))
                .copied()
                .unwrap_or(0),
        })
        .collect();
    let shared = Shared {
        begin: Instant::now(),
        latencies: Latencies::new(),
        settled: AtomicBool::new(false),
        failed: AtomicU64::new(0),
    };
    let cluster = context.cluster();
    let consumer = open_consumer(args, &cluster, &positions)?;
    let progress = Progress::records(args.warm_up + args.records, "e2e");
    let (produced, consumed) = thread::scope(|scope| {
        let producing = scope.spawn(|| produce(args, &cluster, &shared));
        let consumed = consume(args, &consumer, positions.len(), &shared, &progress);
        (
            producing
                .join()
                .expect("the producer thread does not panic"),
            consumed,
        )
    });
    progress.finish();
    produced?;
    let seconds = consumed?;
    let bytes = args.records * args.size.max(STAMP_BYTES) as u64;
    let report = Report {
        bench: "e2e",
        kafka: context.settings.text("kafka").to_owned(),
        topic: topic.name,
        partitions: topic.partitions.len(),
        clients: 1,
        records: args.records,
        bytes,
        seconds,
        records_per_second: args.records as f64 / seconds,
        megabytes_per_second: bytes as f64 / 1e6 / seconds,
        failed: shared.failed.load(Ordering::Relaxed),
        latency_ms: Some(shared.latencies.summary()),
    };
    report.print(context)
}

fn open_consumer(
    args: &Args,
    cluster: &Cluster,
    positions: &[Position],
) -> Result<Consumer, CommandError> {
    let defaults = [
        ("enable.partition.eof", "true"),
        ("fetch.wait.max.ms", "500"),
    ];
    let consumer = cluster.consumer(&args.properties.over(&defaults))?;
    consumer.assign(&args.topic.topic, positions)?;
    Ok(consumer)
}

fn produce(args: &Args, cluster: &Cluster, shared: &Shared) -> Result<(), CommandError> {
    let deadline = Instant::now() + SETTLING;
    while !shared.settled.load(Ordering::Acquire) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    let defaults = [
        ("acks", args.acks.as_str()),
        ("linger.ms", "0"),
        ("socket.nagle.disable", "true"),
    ];
    let failed = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&failed);
    let producer = cluster.producer(&args.properties.over(&defaults), move |delivery| {
        counted.fetch_add(u64::from(delivery.error.is_some()), Ordering::Relaxed);
    })?;
    let pace = Duration::from_secs_f64(1.0 / args.rate);
    let mut payload = Payload::new(args.size.max(STAMP_BYTES), 1);
    let mut value = Vec::new();
    let begin = Instant::now();
    for number in 0..args.warm_up + args.records {
        wait_until(begin + pace.mul_f64(number as f64));
        value.clear();
        value.extend_from_slice(payload.next_record());
        let sent = u64::try_from(shared.begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        value[..STAMP_BYTES].copy_from_slice(&sent.to_be_bytes());
        let record = OutgoingRecord {
            topic: &args.topic.topic,
            value: Some(&value),
            ..OutgoingRecord::default()
        };
        producer.send(&record, 0)?;
    }
    producer.flush(TAIL)?;
    shared
        .failed
        .store(failed.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok(())
}

/// Reads all records; gives the seconds between the first and the last measured one.
fn consume(
    args: &Args,
    consumer: &Consumer,
    partitions: usize,
    shared: &Shared,
    progress: &Progress,
) -> Result<f64, CommandError> {
    let (mut seen, mut at_end) = (0, 0);
    let mut first_measured = Instant::now();
    let mut last = Instant::now();
    while seen < args.warm_up + args.records {
        match consumer.poll(POLL)? {
            Some(Event::Record(record)) => {
                let now = shared.begin.elapsed();
                seen += 1;
                progress.add(1);
                last = Instant::now();
                if seen == args.warm_up {
                    first_measured = last;
                }
                let stamp = record
                    .value()
                    .and_then(|value| value.first_chunk::<STAMP_BYTES>());
                if let (Some(stamp), true) = (stamp, seen > args.warm_up) {
                    let sent = Duration::from_nanos(u64::from_be_bytes(*stamp));
                    shared.latencies.record(now.saturating_sub(sent));
                }
            }
            Some(Event::EndOfPartition(_)) => {
                at_end += 1;
                if at_end == partitions {
                    shared.settled.store(true, Ordering::Release);
                    last = Instant::now();
                }
            }
            None if last.elapsed() >= TAIL => {
                let what = format!(
                    "only {seen} of {} records came back",
                    args.warm_up + args.records
                );
                return Err(CommandError::new(Exit::TimedOut, what));
            }
            None => {}
        }
    }
    Ok(first_measured.elapsed().as_secs_f64())
}
