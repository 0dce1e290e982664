//! `thalweg bench consume`: records as fast as the cluster gives them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::offsets::OffsetQuery;
use client::topics::Topic;
use client::{Admin, Cluster, Event, Position};

use super::bench::{PropertyArgs, Report, TopicArgs};
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::progress::Progress;

const POLL: Duration = Duration::from_millis(100);
/// A run that gets nothing for this long is over.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    /// Stop after this many records; without it at the end of every partition
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// Consumers, each with a thread and connections of its own; the partitions are dealt out among them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    consumers: u64,
    /// Read as members of this group, which should be a new one, from the earliest offset on; the time begins with the first record
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    properties: PropertyArgs,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// What all consumers of a run share.
struct Shared {
    wanted: u64,
    first: OnceLock<Instant>,
    records: AtomicU64,
    bytes: AtomicU64,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let topic = admin.topic(&args.topic.topic).await?;
    let (positions, there) = contents(&mut admin, &topic).await?;
    let shared = Shared {
        first: OnceLock::new(),
        wanted: args.records.unwrap_or(there).min(there),
        records: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let progress = Progress::records(shared.wanted, "consuming");
    let cluster = context.cluster();
    let consumers = usize::try_from(args.consumers)
        .unwrap_or(1)
        .min(positions.len().max(1));
    let begin = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..consumers)
            .map(|index| {
                let own = positions
                    .iter()
                    .copied()
                    .skip(index)
                    .step_by(consumers)
                    .collect();
                let (shared, cluster, progress) = (&shared, &cluster, &progress);
                scope.spawn(move || consume(args, own, cluster, shared, progress))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a consumer thread does not panic"))
    })?;
    let begin = match args.group {
        Some(_) => shared.first.get().copied().unwrap_or(begin),
        None => begin,
    };
    let seconds = begin.elapsed().as_secs_f64();
    progress.finish();
    let (records, bytes) = (shared.records.into_inner(), shared.bytes.into_inner());
    let report = Report {
        bench: "consume",
        kafka: context.settings.text("kafka").to_owned(),
        topic: topic.name,
        partitions: topic.partitions.len(),
        clients: consumers,
        records,
        bytes,
        seconds,
        records_per_second: records as f64 / seconds,
        megabytes_per_second: bytes as f64 / 1e6 / seconds,
        failed: 0,
        latency_ms: None,
    };
    report.print(context)
}

/// Where each partition begins, and how many offsets the topic holds.
async fn contents(admin: &mut Admin, topic: &Topic) -> Result<(Vec<Position>, u64), CommandError> {
    let starts = admin
        .list_offsets(std::slice::from_ref(topic), OffsetQuery::Earliest)
        .await?;
    let ends = admin
        .list_offsets(std::slice::from_ref(topic), OffsetQuery::Latest)
        .await?;
    let positions = topic
        .partitions
        .iter()
        .map(|partition| Position {
            partition: partition.index,
            offset: starts
                .get(&(topic.name.clone(), partition.index))
                .copied()
                .unwrap_or(0),
        })
        .collect();
    let there = ends.values().sum::<i64>() - starts.values().sum::<i64>();
    Ok((positions, u64::try_from(there).unwrap_or(0)))
}

fn consume(
    args: &Args,
    positions: Vec<Position>,
    cluster: &Cluster,
    shared: &Shared,
    progress: &Progress,
) -> Result<(), CommandError> {
    let mut defaults = vec![
        ("enable.partition.eof", "true"),
        ("fetch.message.max.bytes", "4194304"),
        ("queued.max.messages.kbytes", "262144"),
        ("queued.min.messages", "1000000"),
    ];
    if let Some(group) = &args.group {
        defaults.retain(|(name, _)| *name != "enable.partition.eof");
        defaults.extend([
            ("group.id", group.as_str()),
            ("auto.offset.reset", "earliest"),
        ]);
    }
    let consumer = cluster.consumer(&args.properties.over(&defaults))?;
    match args.group {
        Some(_) => consumer.subscribe(&[&args.topic.topic])?,
        None => consumer.assign(&args.topic.topic, &positions)?,
    }
    let mut open = positions.len();
    let mut last = Instant::now();
    // Counted here and handed over in steps: an atomic per record would be part of what is measured.
    let (mut records, mut bytes) = (0, 0);
    while open > 0 && shared.records.load(Ordering::Relaxed) < shared.wanted {
        match consumer.poll(POLL)? {
            Some(Event::Record(record)) => {
                if records == 0 {
                    shared.first.get_or_init(Instant::now);
                }
                records += 1;
                bytes += record.value().map_or(0, <[u8]>::len) as u64;
                if records % 1024 == 0 {
                    hand_over(shared, progress, &mut records, &mut bytes);
                    last = Instant::now();
                }
            }
            Some(Event::EndOfPartition(_)) => open -= 1,
            None => {
                hand_over(shared, progress, &mut records, &mut bytes);
                if last.elapsed() >= PATIENCE {
                    let what = format!("no record for {} s", PATIENCE.as_secs());
                    return Err(CommandError::new(Exit::TimedOut, what));
                }
            }
        }
    }
    hand_over(shared, progress, &mut records, &mut bytes);
    Ok(())
}

fn hand_over(shared: &Shared, progress: &Progress, records: &mut u64, bytes: &mut u64) {
    shared.records.fetch_add(*records, Ordering::Relaxed);
    shared.bytes.fetch_add(*bytes, Ordering::Relaxed);
    progress.add(*records);
    (*records, *bytes) = (0, 0);
}
