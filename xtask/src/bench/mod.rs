//! `cargo xtask bench`: Thalweg and Apache Kafka on the same machine in the same run, driven by peers' own load tools.
//!
//! Both brokers run side by side and take turns (A B A B …), each sample on a fresh topic; medians and ranges are reported, and the
//! ratios are the result. Writes docs/benchmarks.md and docs/benchmarks.json.

mod features;
mod latency;
mod report;
mod rest;
mod scale;
mod start;
mod subject;
mod throughput;
mod tools;

use crate::{TaskResult, kafka::Jars, repository, thalweg};

const USAGE: &str = "usage: cargo xtask bench [--quick] [--rounds N] [--only start,produce,consume,features,latency,scale] [--kafka-alone] [--no-report]\n       cargo xtask bench rest [--quick] …";
/// Those that take both brokers come between the first and the last.
const PARTS: &[&str] = &[
    "start", "produce", "consume", "features", "latency", "scale",
];

pub struct Options {
    /// A tenth of the records and one round: shows that the harness works, not how fast anything is.
    quick: bool,
    rounds: usize,
    only: Option<Vec<String>>,
    /// Without Thalweg, to try the harness.
    kafka_alone: bool,
    report: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            quick: false,
            rounds: 3,
            only: None,
            kafka_alone: false,
            report: true,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            match flag.as_str() {
                "--quick" => (options.quick, options.rounds) = (true, 1),
                "--rounds" => {
                    options.rounds = rest
                        .next()
                        .and_then(|value| value.parse().ok())
                        .ok_or(USAGE)?
                }
                "--only" => {
                    options.only = Some(
                        rest.next()
                            .ok_or(USAGE)?
                            .split(',')
                            .map(str::to_owned)
                            .collect(),
                    )
                }
                "--kafka-alone" => options.kafka_alone = true,
                "--no-report" => options.report = false,
                _ => return Err(USAGE.to_owned()),
            }
        }
        if options
            .only
            .iter()
            .flatten()
            .any(|part| !PARTS.contains(&part.as_str()))
        {
            return Err(USAGE.to_owned());
        }
        Ok(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|wanted| wanted == part))
    }

    /// Records for a sample of so many bytes.
    fn records(&self, bytes: u64, record_bytes: u64) -> u64 {
        let bytes = if self.quick { bytes / 10 } else { bytes };
        bytes / record_bytes
    }
}

pub fn run(arguments: &[String]) -> TaskResult {
    if let Some((first, rest)) = arguments.split_first()
        && first == "rest"
    {
        return rest::run(rest);
    }
    let options = Options::parse(arguments)?;
    let jars = Jars::fetch()?;
    let tools = tools::Tools::prepare(jars)?;
    let binary = if options.kafka_alone {
        None
    } else {
        Some(thalweg::build()?)
    };
    let folder = repository::scratch("bench")?;
    let mut results = report::Results::new(&options, arguments, &tools);
    if options.wants("start") {
        results.starts = start::measure(&options, &tools, binary.as_deref(), folder.path())?;
    }
    if let Some(binary) = binary.as_deref().filter(|_| options.wants("scale")) {
        results.scales = scale::measure(&options, binary, folder.path())?;
    }
    if PARTS[1..PARTS.len() - 1]
        .iter()
        .any(|part| options.wants(part))
    {
        let mut brokers = subject::Brokers::start(&tools.jars, binary.as_deref(), folder.path())?;
        if options.wants("produce") {
            results.produce = throughput::produce(&options, &tools, &brokers)?;
        }
        if options.wants("consume") {
            results.consume = throughput::consume(&options, &tools, &brokers)?;
        }
        if let Some(binary) = binary.as_deref().filter(|_| options.wants("features")) {
            results.features = features::measure(&options, &tools, &brokers, binary)?;
        }
        if options.wants("latency") {
            results.latencies = latency::measure(&options, &tools, &brokers, folder.path())?;
        }
        brokers.stop()?;
    }
    results.finish();
    if options.report {
        results.write()
    } else {
        Ok(())
    }
}

/// Smallest, median, largest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Spread {
            low: *values.first()?,
            median: values[values.len() / 2],
            high: *values.last()?,
        })
    }
}
