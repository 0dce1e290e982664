//! `thalweg bench produce`: records as fast as the cluster takes them, or at a given rate.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use client::{Cluster, OutgoingRecord, Producer};

use super::bench::{Latencies, Payload, PropertyArgs, Report, TopicArgs};
use super::produce::Compression;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::flights::{self, FlightRecord, Flights};
use crate::progress::Progress;

/// The longest wait for the last acknowledgements.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    /// How many records in all; without it a million, or the whole data set once
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// Bytes of each made-up value
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Send a real data set in place of made-up values: 336,776 flights, keyed, fetched as by `thalweg demo`
    #[arg(long)]
    data: Option<DataSet>,
    /// Producers, each with a thread and connections of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    producers: u64,
    /// Records a second in all; without it as many as go
    #[arg(long)]
    rate: Option<f64>,
    /// Give each made-up record one of so many keys, at random; without it records have none
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "data")]
    keys: Option<u64>,
    /// Send in transactions, each committed after so many milliseconds
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    transaction_ms: Option<u64>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DataSet {
    Flights,
}

/// What all producers of a run share.
struct Shared {
    begin: Instant,
    records: u64,
    flights: Option<Flights>,
    bytes: AtomicU64,
    latencies: Latencies,
    delivered: AtomicU64,
    failed: AtomicU64,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let topic = args.topic.prepare(&mut admin).await?;
    let cluster = context.cluster().with_timeout(FLUSH_LIMIT);
    let flights = match args.data {
        Some(DataSet::Flights) => Some(Flights::load(&flights::obtain(None)?)?),
        None => None,
    };
    let whole = flights
        .as_ref()
        .map_or(1_000_000, |flights| flights.len() as u64);
    let shared = Arc::new(Shared {
        begin: Instant::now(),
        records: args.records.unwrap_or(whole),
        flights,
        bytes: AtomicU64::new(0),
        latencies: Latencies::new(),
        delivered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let progress = Progress::records(shared.records, "producing");
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
    let bytes = shared.bytes.load(Ordering::Relaxed);
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
    let producer = open(args, index, cluster, shared)?;
    let mut transactions = Transactions::start(args, &producer)?;
    let share =
        shared.records / args.producers + u64::from(index < shared.records % args.producers);
    let pace = args
        .rate
        .map(|rate| Duration::from_secs_f64(args.producers as f64 / rate));
    let mut source = Source::new(args, index, shared);
    let mut bytes = 0;
    let begin = Instant::now();
    for number in 0..share {
        if let Some(pace) = pace {
            wait_until(begin + pace.mul_f64(number as f64));
        }
        let (key, value) = source.next_record();
        let record = OutgoingRecord {
            topic: &args.topic.topic,
            key,
            value: Some(value),
            ..OutgoingRecord::default()
        };
        bytes += (key.map_or(0, <[u8]>::len) + value.len()) as u64;
        let sent = shared.begin.elapsed().as_nanos();
        producer.send(&record, usize::try_from(sent).unwrap_or(usize::MAX))?;
        if number % 64 == 63 {
            transactions.commit_when_due()?;
        }
        if number % 1024 == 1023 {
            progress.add(1024);
        }
    }
    transactions.finish()?;
    producer.flush(FLUSH_LIMIT)?;
    shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    Ok(())
}

/// The transaction that is under way, when the run sends in transactions.
struct Transactions<'a> {
    producer: &'a Producer,
    length: Option<Duration>,
    begun: Instant,
}

impl<'a> Transactions<'a> {
    fn start(args: &Args, producer: &'a Producer) -> Result<Transactions<'a>, CommandError> {
        let length = args.transaction_ms.map(Duration::from_millis);
        if length.is_some() {
            producer.init_transactions(FLUSH_LIMIT)?;
            producer.begin()?;
        }
        Ok(Transactions {
            producer,
            length,
            begun: Instant::now(),
        })
    }

    fn commit_when_due(&mut self) -> Result<(), CommandError> {
        if self
            .length
            .is_some_and(|length| self.begun.elapsed() >= length)
        {
            self.producer.commit(FLUSH_LIMIT)?;
            self.producer.begin()?;
            self.begun = Instant::now();
        }
        Ok(())
    }

    fn finish(self) -> Result<(), CommandError> {
        match self.length {
            Some(_) => Ok(self.producer.commit(FLUSH_LIMIT)?),
            None => Ok(()),
        }
    }
}

/// Where a producer's records come from.
enum Source<'a> {
    Made {
        payload: Payload,
        keys: Option<u64>,
        key: String,
    },
    Flights {
        flights: &'a Flights,
        next: usize,
        step: usize,
        flight: FlightRecord,
    },
}

impl<'a> Source<'a> {
    /// Producers take turns with the rows of a data set.
    fn new(args: &Args, index: u64, shared: &'a Shared) -> Source<'a> {
        let number = |number: u64| usize::try_from(number).unwrap_or(0);
        match &shared.flights {
            None => Source::Made {
                payload: Payload::new(args.size, index + 1),
                keys: args.keys,
                key: String::new(),
            },
            Some(flights) => Source::Flights {
                flights,
                next: number(index),
                step: number(args.producers),
                flight: FlightRecord::default(),
            },
        }
    }

    /// Key and value.
    fn next_record(&mut self) -> (Option<&[u8]>, &[u8]) {
        match self {
            Source::Made { payload, keys, key } => {
                if let Some(keys) = keys {
                    key.clear();
                    let _ = write!(key, "key-{}", payload.next() % *keys);
                }
                let key = keys.is_some().then_some(key.as_bytes());
                (key, payload.next_record())
            }
            Source::Flights {
                flights,
                next,
                step,
                flight,
            } => {
                flights.write(*next % flights.len(), flight);
                *next += *step;
                (Some(&flight.key), &flight.value)
            }
        }
    }
}

fn open(
    args: &Args,
    index: u64,
    cluster: &Cluster,
    shared: &Arc<Shared>,
) -> Result<Producer, CommandError> {
    let (linger, batch_size) = (args.linger.to_string(), args.batch_size.to_string());
    let idempotent = args.idempotent.to_string();
    let mut defaults = vec![
        ("acks", args.acks.as_str()),
        ("enable.idempotence", &idempotent),
        ("compression.type", args.compression.name()),
        ("partitioner", "murmur2_random"),
        ("linger.ms", &linger),
        ("batch.size", &batch_size),
        ("batch.num.messages", "1000000"),
        ("queue.buffering.max.messages", "1000000"),
        ("queue.buffering.max.kbytes", "262144"),
        ("sticky.partitioning.linger.ms", "10"),
    ];
    let transactional_id = format!("bench-{}-{index}", args.topic.topic);
    if args.transaction_ms.is_some() {
        defaults.retain(|(name, _)| *name != "enable.idempotence");
        defaults.push(("transactional.id", &transactional_id));
    }
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
