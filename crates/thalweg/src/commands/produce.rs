//! `thalweg produce`: records from standard input to a topic; ends when every one is acknowledged.

use std::io::{self, BufReader, IsTerminal, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use client::{ClientError, Delivery, ErrorKind, OutgoingRecord, Producer};

use super::assignment;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::{count, size};
use crate::progress::Progress;
use crate::records::input::{InputError, InputFormat, read_records};
use crate::records::json::ParsedRecord;

/// The longest wait for the broker to take one record before the command gives up.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

/// How long a cluster may take to create a topic on first use.
const CREATION_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic; created on first use where the cluster allows that
    topic: String,
    /// How a line becomes a record: value; key:value; json or ndjson with key, value, headers, partition, timestamp
    #[arg(short, long, default_value = "value")]
    format: FormatName,
    /// What stands between key and value; implies --format key:value
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = assignment)]
    header: Vec<(String, String)>,
    /// The key of every record that brings none
    #[arg(short, long)]
    key: Option<String>,
    /// The partition of every record that names none; without it chosen by key as Java clients do
    #[arg(short, long)]
    partition: Option<i32>,
    /// How batches are compressed
    #[arg(short = 'z', long, default_value = "none")]
    compression: Compression,
    /// Which acknowledgement is waited for
    #[arg(long, default_value = "all", value_parser = ["all", "1", "0"])]
    acks: String,
    /// A librdkafka property; may be repeated
    #[arg(short = 'X', long, value_name = "NAME=VALUE", value_parser = assignment)]
    property: Vec<(String, String)>,
    /// No progress and no summary
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Value,
    #[value(name = "key:value")]
    KeyValue,
    Json,
    Ndjson,
}

/// The five codecs of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl Args {
    fn input_format(&self) -> InputFormat {
        match (self.format, &self.key_separator) {
            (FormatName::Json, _) => InputFormat::Json,
            (FormatName::Ndjson, _) => InputFormat::Ndjson,
            (_, Some(separator)) => InputFormat::KeyValue(separator.clone()),
            (FormatName::KeyValue, None) => InputFormat::KeyValue(":".to_owned()),
            (FormatName::Value, None) => InputFormat::Value,
        }
    }
}

/// What became of the records so far, shared with the delivery thread.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    first_error: Mutex<Option<ClientError>>,
}

impl Tally {
    pub fn note(&self, delivery: Delivery) {
        match delivery.error {
            None => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Some(error) => {
                let mut first = self
                    .first_error
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
            }
        }
    }

    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// The first failure, once.
    pub fn failure(&self) -> Result<(), ClientError> {
        let mut first = self
            .first_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.take().map_or(Ok(()), Err)
    }
}

pub async fn run(context: &Context, args: Args) -> Result<(), CommandError> {
    // A cluster that does not answer is told at once, not after librdkafka's patience.
    let mut admin = context.cluster().admin().await?;
    let topic = admin.topic_on_first_use(&args.topic, CREATION_LIMIT).await;
    topic.inspect_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            eprintln!(
                "note: this cluster does not create topics on first use: thalweg topic create {}",
                args.topic
            );
        }
    })?;
    let tally = Arc::new(Tally::default());
    let producer = open(context, &args, Arc::clone(&tally))?;
    let started = Instant::now();
    let bytes = send_all(&producer, &args, &tally)?;
    producer.flush(DELIVERY_LIMIT)?;
    tally.failure()?;
    if !args.quiet {
        let seconds = started.elapsed().as_secs_f64();
        let records = tally.delivered();
        eprintln!(
            "{} records, {} to {} in {seconds:.2} s ({} records/s)",
            count(records),
            size(bytes),
            args.topic,
            count((records as f64 / seconds) as i64),
        );
    }
    Ok(())
}

fn open(context: &Context, args: &Args, tally: Arc<Tally>) -> Result<Producer, CommandError> {
    let patience = DELIVERY_LIMIT.as_millis().to_string();
    let idempotent = if args.acks == "all" { "true" } else { "false" };
    let mut properties = vec![
        ("acks", args.acks.as_str()),
        ("enable.idempotence", idempotent),
        ("compression.type", args.compression.name()),
        ("partitioner", "murmur2_random"),
        ("message.timeout.ms", &patience),
    ];
    properties.extend(
        args.property
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let cluster = context.cluster().with_timeout(DELIVERY_LIMIT);
    Ok(cluster.producer(&properties, move |delivery| tally.note(delivery))?)
}

/// Sends all of standard input; gives the bytes of its keys and values.
fn send_all(producer: &Producer, args: &Args, tally: &Tally) -> Result<u64, CommandError> {
    let progress = progress(args.quiet);
    let source = Counted {
        inner: io::stdin().lock(),
        progress: &progress,
    };
    let own_headers: Vec<(String, Option<Vec<u8>>)> = args
        .header
        .iter()
        .map(|(name, value)| (name.clone(), Some(value.clone().into_bytes())))
        .collect();
    let mut bytes = 0;
    let mut input = BufReader::with_capacity(256 * 1024, source);
    read_records(&mut input, &args.input_format(), |mut record| {
        record.headers.extend_from_slice(&own_headers);
        let outgoing = outgoing(args, &record);
        producer.send(&outgoing, 0)?;
        bytes +=
            (outgoing.key.map_or(0, <[u8]>::len) + outgoing.value.map_or(0, <[u8]>::len)) as u64;
        tally.failure()?;
        Ok::<(), CommandError>(())
    })?;
    Ok(bytes)
}

fn outgoing<'a>(args: &'a Args, record: &'a ParsedRecord) -> OutgoingRecord<'a> {
    OutgoingRecord {
        topic: &args.topic,
        partition: record.partition.or(args.partition),
        key: record
            .key
            .as_deref()
            .or(args.key.as_deref().map(str::as_bytes)),
        value: record.value.as_deref(),
        timestamp_ms: record.timestamp_ms,
        headers: &record.headers,
    }
}

impl From<InputError> for CommandError {
    fn from(error: InputError) -> CommandError {
        CommandError::Usage(error.to_string())
    }
}

/// A bar over a file's length; for a pipe there is no end to show, for a person typing nothing at all.
fn progress(quiet: bool) -> Progress {
    let stdin = io::stdin();
    if quiet || stdin.is_terminal() {
        return Progress::none();
    }
    match rustix::fs::fstat(&stdin) {
        Ok(stat) if stat.st_size > 0 => {
            Progress::bytes(u64::try_from(stat.st_size).unwrap_or(0), "producing")
        }
        _ => Progress::open_ended("producing"),
    }
}

/// Counts the bytes that pass.
struct Counted<'a, R> {
    inner: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}
