//! What lies beyond plain produce and consume: idempotence, transactions, groups, compaction, many small keyed batches.
//!
//! The load is `thalweg bench`, which is librdkafka, against both brokers: Kafka's perf tests send no keys and `rdkafka_performance`
//! no transactions.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::subject::{Brokers, Meter, Subject};
use super::throughput::{Measured, Sample, Tool, Workload, in_turns};
use super::{Options, tools::Tools};
use crate::process::output_of;

const MB: u64 = 1_000_000;

/// Names that the targets look for.
pub const TRANSACTIONS: &str = "transactions of 100 ms, 4 producers, 1 KiB, 6 p";
pub const SMALL_KEYED: &str = "64 producers, 100 B keyed, linger 5 ms, 600 p";

const fn produce(
    label: &'static str,
    record_bytes: u64,
    partitions: u32,
    bytes: u64,
    arguments: &'static [&'static str],
) -> Workload {
    Workload {
        tool: Tool::Thalweg {
            label,
            arguments,
            configs: &[],
        },
        record_bytes,
        partitions,
        acks: "all",
        compression: "none",
        batch_bytes: 16_384,
        producers: 1,
        bytes,
    }
}

const PRODUCE: &[Workload] = &[
    produce(
        "idempotent, 4 producers, 1 KiB, 6 p",
        1024,
        6,
        500 * MB,
        &["--idempotent", "--producers", "4"],
    ),
    produce(
        TRANSACTIONS,
        1024,
        6,
        500 * MB,
        &["--transaction-ms", "100", "--producers", "4"],
    ),
    Workload {
        tool: Tool::Thalweg {
            label: "compacted topic, 100,000 keys, 4 producers, 100 B, 6 p",
            arguments: &["--keys", "100000", "--producers", "4"],
            // Small segments and a low ratio, so that there is something to clean all the time.
            configs: &[
                ("cleanup.policy", "compact"),
                ("segment.bytes", "8388608"),
                ("min.cleanable.dirty.ratio", "0.1"),
            ],
        },
        ..produce("", 100, 6, 300 * MB, &[])
    },
    produce(
        SMALL_KEYED,
        100,
        600,
        100 * MB,
        &["--keys", "1000000", "--producers", "64"],
    ),
];

const GROUP: &[Workload] = &[produce(
    "group of 8, 1 KiB, 16 p",
    1024,
    16,
    1000 * MB,
    &["--consumers", "8"],
)];

pub fn measure(
    options: &Options,
    tools: &Tools,
    brokers: &Brokers,
    binary: &Path,
) -> Result<Vec<Measured>, String> {
    let mut all = in_turns(options, tools, brokers, PRODUCE, |workload, subject| {
        let topic = brokers.topic_with(subject, workload.partitions, configs(workload))?;
        let records = options.records(workload.bytes, workload.record_bytes);
        let meter = Meter::start(brokers.pid(subject))?;
        let rate = send(binary, brokers, subject, &topic, workload, records)?;
        let sample = sample(meter, rate, records * workload.record_bytes)?;
        brokers.drop_topic(subject, &topic)?;
        Ok(sample)
    })?;
    all.extend(groups(options, tools, brokers, binary)?);
    Ok(all)
}

/// The topic is filled once; each sample is a new group that reads it from its beginning.
fn groups(
    options: &Options,
    tools: &Tools,
    brokers: &Brokers,
    binary: &Path,
) -> Result<Vec<Measured>, String> {
    let workload = &GROUP[0];
    let records = options.records(workload.bytes, workload.record_bytes);
    let mut topics = BTreeMap::new();
    for subject in brokers.subjects() {
        let topic = brokers.topic(subject, workload.partitions)?;
        let fill = produce("", workload.record_bytes, 0, 0, &["--producers", "4"]);
        send(binary, brokers, subject, &topic, &fill, records)?;
        topics.insert(subject.name(), topic);
    }
    let numbers = AtomicU64::new(0);
    let measured = in_turns(options, tools, brokers, GROUP, |workload, subject| {
        let group = format!("bench-{}", numbers.fetch_add(1, Ordering::Relaxed));
        let Tool::Thalweg { arguments, .. } = workload.tool else {
            unreachable!("the workloads of this file are for our own tool");
        };
        let mut command = bench(binary, "consume", brokers, subject, &topics[subject.name()]);
        command.args(["--group", &group]).args(arguments);
        let meter = Meter::start(brokers.pid(subject))?;
        let rate = rate(&mut command)?;
        sample(meter, rate, records * workload.record_bytes)
    })?;
    for subject in brokers.subjects() {
        brokers.drop_topic(subject, &topics[subject.name()])?;
    }
    Ok(measured)
}

fn configs(workload: &Workload) -> &'static [(&'static str, &'static str)] {
    match workload.tool {
        Tool::Thalweg { configs, .. } => configs,
        _ => &[],
    }
}

fn bench(binary: &Path, verb: &str, brokers: &Brokers, subject: Subject, topic: &str) -> Command {
    let mut command = Command::new(binary);
    command
        .args(["bench", verb, "-o", "json", "--topic", topic, "--kafka"])
        .arg(brokers.address(subject).to_string());
    command
}

fn send(
    binary: &Path,
    brokers: &Brokers,
    subject: Subject,
    topic: &str,
    workload: &Workload,
    records: u64,
) -> Result<f64, String> {
    let Tool::Thalweg { arguments, .. } = workload.tool else {
        unreachable!("the workloads of this file are for our own tool");
    };
    let mut command = bench(binary, "produce", brokers, subject, topic);
    command
        .args(["--records", &records.to_string()])
        .args(["--size", &workload.record_bytes.to_string()])
        .args(["--batch-size", &workload.batch_bytes.to_string()])
        .args(arguments);
    rate(&mut command)
}

/// Records per second; a record that failed makes the sample worthless.
fn rate(command: &mut Command) -> Result<f64, String> {
    let text = output_of(command)?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| format!("`{text}`: {error}"))?;
    if report["failed"].as_u64() != Some(0) {
        return Err(format!("records failed: {text}"));
    }
    report["records_per_second"]
        .as_f64()
        .ok_or_else(|| format!("no rate in `{text}`"))
}

fn sample(meter: Meter, records_per_second: f64, bytes: u64) -> Result<Sample, String> {
    let (cpu, peak_mb) = meter.stop()?;
    Ok(Sample {
        records_per_second,
        cpu_per_gb: cpu / (bytes as f64 / 1e9),
        peak_mb,
    })
}
