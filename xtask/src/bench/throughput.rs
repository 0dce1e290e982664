//! Produce and consume: records per second, broker CPU seconds per GB and peak memory, in turns.

use std::collections::BTreeMap;
use std::process::Command;

use super::subject::{Brokers, Meter, Subject};
use super::tools::{Job, Tools, rdkafka_elapsed, rdkafka_rate};
use super::{Options, Spread};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// kafka-producer-perf-test, kafka-consumer-perf-test.
    PerfTest,
    Rdkafka,
    /// `thalweg bench`, with a name of its own in the report, its arguments, and the settings of its topic.
    Thalweg {
        label: &'static str,
        arguments: &'static [&'static str],
        configs: &'static [(&'static str, &'static str)],
    },
}

pub struct Workload {
    pub tool: Tool,
    pub record_bytes: u64,
    pub partitions: u32,
    pub acks: &'static str,
    pub compression: &'static str,
    pub batch_bytes: u32,
    pub producers: u32,
    /// Bytes in a full sample.
    pub bytes: u64,
}

const MB: u64 = 1_000_000;

const fn perf(
    record_bytes: u64,
    partitions: u32,
    acks: &'static str,
    compression: &'static str,
) -> Workload {
    let bytes = if record_bytes < 1000 {
        300 * MB
    } else {
        1000 * MB
    };
    Workload {
        tool: Tool::PerfTest,
        record_bytes,
        partitions,
        acks,
        compression,
        batch_bytes: 16_384,
        producers: 1,
        bytes,
    }
}

const fn rdkafka(
    record_bytes: u64,
    partitions: u32,
    acks: &'static str,
    batch_bytes: u32,
    producers: u32,
) -> Workload {
    let bytes = if record_bytes < 1000 {
        500 * MB
    } else {
        1000 * MB
    };
    Workload {
        tool: Tool::Rdkafka,
        record_bytes,
        partitions,
        acks,
        compression: "none",
        batch_bytes,
        producers,
        bytes,
    }
}

/// One thing varies from line to line; the two rdkafka lines of 100 B are those of the CPU targets, the last one of the sync target.
pub const PRODUCE: &[Workload] = &[
    perf(100, 1, "1", "none"),
    perf(100, 6, "all", "none"),
    perf(100, 64, "all", "none"),
    perf(100, 6, "all", "lz4"),
    perf(1024, 1, "all", "none"),
    perf(1024, 6, "1", "none"),
    perf(1024, 6, "all", "none"),
    perf(1024, 64, "all", "none"),
    perf(1024, 6, "all", "lz4"),
    rdkafka(100, 1, "1", 1_000_000, 1),
    rdkafka(100, 1, "all", 16_384, 1),
    rdkafka(1024, 1, "all", 1_000_000, 1),
    rdkafka(1024, 6, "all", 16_384, 8),
];

pub const CONSUME: &[Workload] = &[
    perf(100, 6, "1", "none"),
    perf(1024, 6, "1", "none"),
    perf(1024, 6, "1", "lz4"),
    rdkafka(100, 1, "1", 1_000_000, 1),
    rdkafka(1024, 6, "1", 1_000_000, 1),
];

impl Workload {
    pub fn name(&self) -> String {
        let tool = match self.tool {
            Tool::PerfTest => "perf-test",
            Tool::Rdkafka => "rdkafka",
            Tool::Thalweg { label, .. } => return label.to_owned(),
        };
        let compression = if self.compression == "none" {
            String::new()
        } else {
            format!(", {}", self.compression)
        };
        let producers = if self.producers > 1 {
            format!(", {} producers", self.producers)
        } else {
            String::new()
        };
        format!(
            "{tool}, {} B, {} p, acks={}, {} KB batches{compression}{producers}",
            self.record_bytes,
            self.partitions,
            self.acks,
            self.batch_bytes / 1000
        )
    }

    fn job(&self, options: &Options) -> Job {
        let records = options.records(self.bytes, self.record_bytes) / u64::from(self.producers);
        Job {
            records,
            record_bytes: self.record_bytes,
            acks: self.acks,
            compression: self.compression,
            batch_bytes: self.batch_bytes,
        }
    }
}

#[derive(Clone, Copy)]
pub struct Sample {
    pub records_per_second: f64,
    pub cpu_per_gb: f64,
    pub peak_mb: f64,
}

pub struct Measured {
    pub workload: &'static Workload,
    pub samples: BTreeMap<&'static str, Vec<Sample>>,
}

impl Measured {
    pub fn spread(&self, subject: Subject, what: fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.get(subject.name())?.iter().map(what))
    }

    pub fn ratio(&self, above: Subject, below: Subject) -> Option<f64> {
        let median = |subject| {
            self.spread(subject, |sample| sample.records_per_second)
                .map(|spread| spread.median)
        };
        Some(median(above)? / median(below)?)
    }
}

/// Runs every workload; the first turn of each subject is warm-up and is not kept.
pub fn in_turns(
    options: &Options,
    tools: &Tools,
    brokers: &Brokers,
    workloads: &'static [Workload],
    sample: impl Fn(&'static Workload, Subject) -> Result<Sample, String>,
) -> Result<Vec<Measured>, String> {
    let mut measured = Vec::new();
    for workload in workloads
        .iter()
        .filter(|workload| workload.tool != Tool::Rdkafka || tools.rdkafka.is_ok())
    {
        println!("── {}", workload.name());
        let mut samples: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
        for round in 0..=options.rounds {
            for subject in brokers.subjects() {
                let sample = sample(workload, subject)?;
                let mb = sample.records_per_second * workload.record_bytes as f64 / 1e6;
                let note = if round == 0 { " (warm-up)" } else { "" };
                println!(
                    "   {:<14} {mb:>7.1} MB/s  {:>6.2} CPU s/GB  {:>6.0} MB peak{note}",
                    subject.name(),
                    sample.cpu_per_gb,
                    sample.peak_mb
                );
                if round > 0 || options.quick {
                    samples.entry(subject.name()).or_default().push(sample);
                }
            }
            if options.quick {
                break;
            }
        }
        measured.push(Measured { workload, samples });
    }
    Ok(measured)
}

pub fn produce(
    options: &Options,
    tools: &Tools,
    brokers: &Brokers,
) -> Result<Vec<Measured>, String> {
    let mut fixed = BTreeMap::new();
    if tools.rdkafka.is_ok() {
        for subject in brokers.subjects() {
            fixed.insert(subject.name(), fixed_time(tools, brokers, subject)?);
        }
    }
    in_turns(options, tools, brokers, PRODUCE, |workload, subject| {
        let topic = brokers.topic(subject, workload.partitions)?;
        let job = workload.job(options);
        let meter = Meter::start(brokers.pid(subject))?;
        let rate = match workload.tool {
            Tool::PerfTest => tools.perf_produce(brokers.address(subject), &topic, &job)?,
            Tool::Rdkafka => {
                let fixed = fixed.get(subject.name()).copied().unwrap_or_default();
                together(workload.producers, &job, fixed, || {
                    tools.rdkafka_producer(brokers.address(subject), &topic, &job)
                })?
            }
            Tool::Thalweg { .. } => unreachable!("its workloads are run by features.rs"),
        };
        let (cpu, peak_mb) = meter.stop()?;
        brokers.drop_topic(subject, &topic)?;
        let gigabytes =
            (job.records * u64::from(workload.producers) * job.record_bytes) as f64 / 1e9;
        Ok(Sample {
            records_per_second: rate,
            cpu_per_gb: cpu / gigabytes,
            peak_mb,
        })
    })
}

/// What rdkafka_performance takes for 100 records, in milliseconds: its start-up, to be taken off.
fn fixed_time(tools: &Tools, brokers: &Brokers, subject: Subject) -> Result<f64, String> {
    let job = Job {
        records: 100,
        record_bytes: 100,
        acks: "1",
        compression: "none",
        batch_bytes: 16_384,
    };
    let mut times = Vec::new();
    for _ in 0..3 {
        let topic = brokers.topic(subject, 1)?;
        let output = tools
            .rdkafka_producer(brokers.address(subject), &topic, &job)?
            .output()
            .map_err(|error| error.to_string())?;
        times.extend(rdkafka_elapsed(&String::from_utf8_lossy(&output.stdout)));
        brokers.drop_topic(subject, &topic)?;
    }
    Ok(Spread::of(times).map_or(0.0, |spread| spread.low))
}

/// Several producers at once; the sum of their rates.
fn together(
    producers: u32,
    job: &Job,
    fixed: f64,
    command: impl Fn() -> Result<Command, String>,
) -> Result<f64, String> {
    let mut children = Vec::new();
    for _ in 0..producers {
        children.push(
            command()?
                .spawn()
                .map_err(|error| format!("rdkafka_performance: {error}"))?,
        );
    }
    let mut sum = 0.0;
    for child in children {
        let output = child
            .wait_with_output()
            .map_err(|error| format!("rdkafka_performance: {error}"))?;
        sum += rdkafka_rate(&String::from_utf8_lossy(&output.stdout), job.records, fixed)?;
    }
    Ok(sum)
}

/// Each subject's topic is filled once and then read in turns; the durability makes no difference to reading.
pub fn consume(
    options: &Options,
    tools: &Tools,
    brokers: &Brokers,
) -> Result<Vec<Measured>, String> {
    let mut all = Vec::new();
    for workload in CONSUME {
        let job = workload.job(options);
        let mut topics = BTreeMap::new();
        for subject in brokers.subjects() {
            let topic = brokers.topic(subject, workload.partitions)?;
            tools.perf_produce(
                brokers.address(subject),
                &topic,
                &Job {
                    batch_bytes: 100_000,
                    ..job.clone()
                },
            )?;
            topics.insert(subject.name(), topic);
        }
        all.extend(in_turns(
            options,
            tools,
            brokers,
            std::slice::from_ref(workload),
            |workload, subject| {
                let topic = &topics[subject.name()];
                let meter = Meter::start(brokers.pid(subject))?;
                let rate = match workload.tool {
                    Tool::PerfTest => {
                        tools.perf_consume(brokers.address(subject), topic, job.records)?
                    }
                    Tool::Rdkafka => tools.rdkafka_consume(
                        brokers.address(subject),
                        topic,
                        workload.partitions,
                        job.records,
                    )?,
                    Tool::Thalweg { .. } => unreachable!("its workloads are run by features.rs"),
                };
                let (cpu, peak_mb) = meter.stop()?;
                let gigabytes = (job.records * job.record_bytes) as f64 / 1e9;
                Ok(Sample {
                    records_per_second: rate,
                    cpu_per_gb: cpu / gigabytes,
                    peak_mb,
                })
            },
        )?);
        for subject in brokers.subjects() {
            brokers.drop_topic(subject, &topics[subject.name()])?;
        }
    }
    Ok(all)
}
