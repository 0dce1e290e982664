//! From the start of the process to the first answered Metadata, and resident memory when idle.

use std::path::Path;
use std::time::Duration;

use super::subject::Subject;
use super::tools::{Job, Tools};
use super::{Options, Spread};
use crate::kafka::{BrokerOptions, KafkaBroker};
use crate::thalweg::Thalweg;
use crate::{probe, process};

pub struct Start {
    pub subject: Subject,
    pub what: &'static str,
    pub milliseconds: Spread,
    pub idle_mb: Spread,
}

/// Either broker, seen alike.
enum Started {
    Thalweg(Thalweg),
    Kafka(KafkaBroker),
}

impl Started {
    fn new(tools: &Tools, binary: Option<&Path>, folder: &Path) -> Result<Started, String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        match binary {
            Some(binary) => Thalweg::start(binary, folder, &[]).map(Started::Thalweg),
            None => KafkaBroker::start(&tools.jars, folder, &BrokerOptions::default())
                .map(Started::Kafka),
        }
    }

    fn milliseconds(&self) -> f64 {
        let time = match self {
            Started::Thalweg(broker) => broker.ready_after,
            Started::Kafka(broker) => broker.ready_after,
        };
        time.as_secs_f64() * 1000.0
    }

    fn pid(&self) -> u32 {
        match self {
            Started::Thalweg(broker) => broker.pid(),
            Started::Kafka(broker) => broker.pid(),
        }
    }

    fn address(&self) -> std::net::SocketAddr {
        match self {
            Started::Thalweg(broker) => broker.address,
            Started::Kafka(broker) => broker.address,
        }
    }

    fn kill(&mut self) {
        match self {
            Started::Thalweg(broker) => broker.kill(),
            Started::Kafka(broker) => broker.kill(),
        }
    }
}

pub fn measure(
    options: &Options,
    tools: &Tools,
    binary: Option<&Path>,
    folder: &Path,
) -> Result<Vec<Start>, String> {
    let mut starts = Vec::new();
    for (subject, binary, times) in [(Subject::Sync, binary, 10), (Subject::Kafka, None, 3)] {
        if subject == Subject::Sync && binary.is_none() {
            continue;
        }
        let times = if options.quick { times.min(3) } else { times };
        starts.push(empty(tools, subject, binary, &folder.join("start"), times)?);
        starts.push(full(options, tools, subject, binary, &folder.join("full"))?);
    }
    for start in &starts {
        println!(
            "── start, {}: {} in {:.1} ms, {:.0} MB",
            start.what,
            start.subject.name(),
            start.milliseconds.median,
            start.idle_mb.median
        );
    }
    Ok(starts)
}

fn empty(
    tools: &Tools,
    subject: Subject,
    binary: Option<&Path>,
    folder: &Path,
    times: usize,
) -> Result<Start, String> {
    let (mut milliseconds, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let _ = std::fs::remove_dir_all(folder);
        let mut broker = Started::new(tools, binary, folder)?;
        milliseconds.push(broker.milliseconds());
        memory.push(idle(broker.pid())?);
        broker.kill();
    }
    let _ = std::fs::remove_dir_all(folder);
    spread(subject, "an empty folder", milliseconds, memory)
}

/// 1,000 partitions and 10 GB, killed under no load but without a clean shutdown.
fn full(
    options: &Options,
    tools: &Tools,
    subject: Subject,
    binary: Option<&Path>,
    folder: &Path,
) -> Result<Start, String> {
    let (partitions, bytes) = if options.quick {
        (100, 200_000_000)
    } else {
        (1000, 10_000_000_000)
    };
    let _ = std::fs::remove_dir_all(folder);
    let mut broker = Started::new(tools, binary, folder)?;
    let configs: &[(&str, &str)] = if binary.is_some() {
        &[("thalweg.durability", "os")]
    } else {
        &[]
    };
    probe::create_topic(broker.address(), "full", partitions, configs)?;
    let job = Job {
        records: bytes / 1024,
        record_bytes: 1024,
        acks: "1",
        compression: "none",
        batch_bytes: 100_000,
    };
    tools.perf_produce(broker.address(), "full", &job)?;
    let (mut milliseconds, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..if options.quick { 1 } else { 3 } {
        broker.kill();
        broker = Started::new(tools, binary, folder)?;
        milliseconds.push(broker.milliseconds());
        memory.push(idle(broker.pid())?);
    }
    broker.kill();
    let _ = std::fs::remove_dir_all(folder);
    let what = if options.quick {
        "100 partitions and 0.2 GB after SIGKILL"
    } else {
        "1,000 partitions and 10 GB after SIGKILL"
    };
    spread(subject, what, milliseconds, memory)
}

/// Resident megabytes after two quiet seconds.
fn idle(pid: u32) -> Result<f64, String> {
    std::thread::sleep(Duration::from_secs(2));
    Ok(process::memory(pid)?.0 as f64 / 1e6)
}

fn spread(
    subject: Subject,
    what: &'static str,
    milliseconds: Vec<f64>,
    memory: Vec<f64>,
) -> Result<Start, String> {
    match (Spread::of(milliseconds), Spread::of(memory)) {
        (Some(milliseconds), Some(idle_mb)) => Ok(Start {
            subject,
            what,
            milliseconds,
            idle_mb,
        }),
        _ => Err("no start was measured".to_owned()),
    }
}
