//! End to end: from the producer's call to the consumer's callback, at 1,000 records a second, by rdkafka_performance in pairs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::subject::{Brokers, Subject};
use super::tools::Tools;
use super::{Options, Spread};

pub struct Latency {
    pub acks: &'static str,
    /// By subject, for each round: p50 and p99 in milliseconds.
    pub rounds: BTreeMap<&'static str, Vec<(f64, f64)>>,
}

impl Latency {
    pub fn spread(&self, subject: Subject, what: fn(&(f64, f64)) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.get(subject.name())?.iter().map(what))
    }
}

pub fn measure(
    options: &Options,
    tools: &Tools,
    brokers: &Brokers,
    folder: &Path,
) -> Result<Vec<Latency>, String> {
    let Ok(program) = &tools.rdkafka else {
        println!("skipped latency: no rdkafka_performance");
        return Ok(Vec::new());
    };
    let records = if options.quick { 3_000 } else { 20_000 };
    let mut latencies = Vec::new();
    for acks in ["1", "all"] {
        println!("── end to end at 1,000 records/s, acks={acks}");
        let mut rounds: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
        for _ in 0..options.rounds {
            for subject in brokers.subjects() {
                let found = sample(
                    program,
                    brokers,
                    subject,
                    acks,
                    records,
                    &folder.join("latencies"),
                )?;
                println!(
                    "   {:<14} p50 {:.2} ms, p99 {:.2} ms",
                    subject.name(),
                    found.0,
                    found.1
                );
                rounds.entry(subject.name()).or_default().push(found);
            }
        }
        latencies.push(Latency { acks, rounds });
    }
    Ok(latencies)
}

/// One pair of processes: the consumer first, so that it waits at the end of the partition when the first record comes.
fn sample(
    program: &Path,
    brokers: &Brokers,
    subject: Subject,
    acks: &str,
    records: u32,
    file: &Path,
) -> Result<(f64, f64), String> {
    let topic = brokers.topic(subject, 1)?;
    let address = brokers.address(subject).to_string();
    let count = records.to_string();
    let part = |mode: &str| {
        let mut command = Command::new(program);
        command.args([
            mode, "-q", "-l", "-t", &topic, "-p", "0", "-b", &address, "-c", &count,
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let say = |error: std::io::Error| format!("rdkafka_performance: {error}");
    let mut consumer = part("-C")
        .args(["-o", "beginning", "-A"])
        .arg(file)
        .spawn()
        .map_err(say)?;
    std::thread::sleep(Duration::from_millis(1500));
    let acks = if acks == "all" { "-1" } else { acks };
    let status = part("-P")
        .args(["-s", "100", "-r", "1000", "-a", acks, "-X", "linger.ms=0"])
        .status()
        .map_err(say)?;
    wait(&mut consumer, Duration::from_secs(10));
    brokers.drop_topic(subject, &topic)?;
    if !status.success() {
        return Err(format!("rdkafka_performance ended with {status}"));
    }
    percentiles(
        &std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
    )
}

fn wait(child: &mut std::process::Child, patience: Duration) {
    for _ in 0..patience.as_millis() / 20 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A line is a latency in microseconds. The first second is warm-up.
fn percentiles(text: &str) -> Result<(f64, f64), String> {
    let mut values: Vec<u64> = text
        .lines()
        .skip(1000)
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    if values.is_empty() {
        return Err("rdkafka_performance wrote no latencies".to_owned());
    }
    values.sort_unstable();
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    Ok((at(0.5), at(0.99)))
}
