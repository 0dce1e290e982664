//! `thalweg bench …`: a load generator; what the three kinds share: payloads, histograms, the report.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::topics::{NewTopic, Topic};
use client::{Admin, ErrorKind};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{assignment, bench_consume, bench_e2e, bench_produce};
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::count;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// How fast the cluster takes records, and how long an acknowledgement takes
    Produce(bench_produce::Args),
    /// How fast the cluster gives records
    Consume(bench_consume::Args),
    /// How long a record takes from producer to consumer at a given rate
    E2e(bench_e2e::Args),
}

impl Verb {
    pub fn client(&self) -> &ClientFlags {
        match self {
            Verb::Produce(args) => &args.client,
            Verb::Consume(args) => &args.client,
            Verb::E2e(args) => &args.client,
        }
    }
}

pub async fn run(context: &Context, verb: Verb) -> Result<(), CommandError> {
    match verb {
        Verb::Produce(args) => bench_produce::run(context, &args).await,
        Verb::Consume(args) => bench_consume::run(context, &args).await,
        Verb::E2e(args) => bench_e2e::run(context, &args).await,
    }
}

/// The topic of a run; created when it is missing.
#[derive(Debug, clap::Args)]
pub struct TopicArgs {
    /// The topic; created when it is missing
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// How many partitions it is created with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// How many replicas it is created with; without it the broker's default
    #[arg(long)]
    replication_factor: Option<i16>,
    /// A setting that it is created with, as in thalweg.durability=os; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl TopicArgs {
    pub async fn prepare(&self, admin: &mut Admin) -> Result<Topic, CommandError> {
        match admin.topic(&self.topic).await {
            Ok(topic) => return Ok(topic),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let new = NewTopic {
            name: &self.topic,
            partitions: Some(self.partitions),
            replication_factor: self.replication_factor,
            configs: self
                .set
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        };
        admin.create_topic(&new, false).await?;
        Ok(admin.settled_topic(&self.topic).await?)
    }
}

/// A client property for every client of a run.
#[derive(Debug, clap::Args)]
pub struct PropertyArgs {
    /// A librdkafka property; may be repeated
    #[arg(short = 'X', long, value_name = "NAME=VALUE", value_parser = assignment)]
    property: Vec<(String, String)>,
}

impl PropertyArgs {
    /// The defaults of the run, then what the user gave.
    pub fn over<'a>(&'a self, defaults: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self
            .property
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        defaults.iter().copied().chain(own).collect()
    }
}

/// Printable bytes that do not compress to nothing: the same for the same seed, different in every record.
pub struct Payload {
    bytes: Vec<u8>,
    state: u64,
}

impl Payload {
    pub fn new(size: usize, seed: u64) -> Payload {
        let mut payload = Payload {
            bytes: vec![b'.'; size],
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        };
        for index in 0..size {
            payload.bytes[index] = b'a' + (payload.next() % 26) as u8;
        }
        payload
    }

    /// The next record: eight bytes of it are new, at a place that moves.
    pub fn next_record(&mut self) -> &[u8] {
        let fresh = self.next();
        let at = (fresh >> 32) as usize % self.bytes.len().saturating_sub(7).max(1);
        for (byte, new) in self.bytes[at..].iter_mut().zip(fresh.to_le_bytes()) {
            *byte = b'a' + new % 26;
        }
        &self.bytes
    }

    /// Xorshift: a payload needs variety, not secrecy.
    pub fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

/// Latencies from one microsecond to ten minutes, three digits exact.
pub struct Latencies(Mutex<Histogram<u64>>);

impl Latencies {
    pub fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, 600_000_000, 3);
        Latencies(Mutex::new(histogram.expect("the bounds are valid")))
    }

    pub fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(micros.max(1));
    }

    pub fn summary(&self) -> LatencySummary {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |micros: u64| micros as f64 / 1000.0;
        LatencySummary {
            p50: ms(histogram.value_at_quantile(0.5)),
            p99: ms(histogram.value_at_quantile(0.99)),
            p99_9: ms(histogram.value_at_quantile(0.999)),
            max: ms(histogram.max()),
        }
    }
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LatencySummary {
    pub p50: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// What a run measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub bench: &'static str,
    pub kafka: String,
    pub topic: String,
    pub partitions: usize,
    /// Producers or consumers.
    pub clients: usize,
    pub records: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub records_per_second: f64,
    pub megabytes_per_second: f64,
    pub failed: u64,
    pub latency_ms: Option<LatencySummary>,
}

impl Report {
    pub fn print(&self, context: &Context) -> Result<(), CommandError> {
        context.output.one(self, self.bench, |out| self.write(out))
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} records, {:.1} MB in {:.2} s: {} records/s, {:.1} MB/s",
            count(self.records),
            self.bytes as f64 / 1e6,
            self.seconds,
            count(self.records_per_second as i64),
            self.megabytes_per_second,
        )?;
        if let Some(latency) = &self.latency_ms {
            writeln!(
                out,
                "latency ms: p50 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}",
                latency.p50, latency.p99, latency.p99_9, latency.max
            )?;
        }
        if self.failed > 0 {
            writeln!(out, "{} records failed", count(self.failed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_repeat_with_their_seed_and_never_in_a_row() {
        let (mut one, mut same) = (Payload::new(100, 7), Payload::new(100, 7));
        let first = one.next_record().to_vec();
        assert_eq!(first, same.next_record());
        assert_ne!(first, one.next_record());
        assert!(first.iter().all(u8::is_ascii_lowercase));
        assert_eq!(Payload::new(3, 1).next_record().len(), 3);
    }

    #[test]
    fn percentiles_are_in_milliseconds() {
        let latencies = Latencies::new();
        (1..=1000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
        let summary = latencies.summary();
        assert!((summary.p50 - 0.5).abs() < 0.002, "{summary:?}");
        assert!((summary.p99 - 0.99).abs() < 0.002, "{summary:?}");
    }
}
