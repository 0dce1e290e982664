//! The load tools: Kafka's perf tests by main class, and `rdkafka_performance`, built from the source in the `rdkafka-sys` crate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::kafka::Jars;
use crate::process::{exists, output_of};
use crate::repository;

const PRODUCER: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER: &str = "org.apache.kafka.tools.ConsumerPerformance";

pub struct Tools {
    pub jars: Jars,
    /// None where it cannot be built; its workloads are left out, by name.
    pub rdkafka: Result<PathBuf, String>,
}

/// One producer's job.
#[derive(Clone)]
pub struct Job {
    pub records: u64,
    pub record_bytes: u64,
    pub acks: &'static str,
    pub compression: &'static str,
    pub batch_bytes: u32,
}

impl Tools {
    pub fn prepare(jars: Jars) -> Result<Tools, String> {
        let rdkafka = build_rdkafka_performance();
        if let Err(reason) = &rdkafka {
            println!("skipped rdkafka_performance: {reason}");
        }
        Ok(Tools { jars, rdkafka })
    }

    /// kafka-producer-perf-test; records per second.
    pub fn perf_produce(&self, address: SocketAddr, topic: &str, job: &Job) -> Result<f64, String> {
        let mut command = self.jars.load_tool(PRODUCER);
        command
            .args([
                "--topic",
                topic,
                "--throughput",
                "-1",
                "--num-records",
                &job.records.to_string(),
            ])
            .args([
                "--record-size",
                &job.record_bytes.to_string(),
                "--command-property",
            ])
            .arg(format!("bootstrap.servers={address}"))
            .arg(format!("acks={}", job.acks))
            .arg(format!("compression.type={}", job.compression))
            .arg(format!("batch.size={}", job.batch_bytes))
            .arg("enable.idempotence=false");
        let text = output_of(&mut command)?;
        let last = text
            .lines()
            .rfind(|line| line.contains("records sent"))
            .ok_or("kafka-producer-perf-test printed no summary")?;
        number_before(last, " records/sec").ok_or_else(|| format!("cannot read `{last}`"))
    }

    /// kafka-consumer-perf-test; records per second, without the time to join the group.
    pub fn perf_consume(
        &self,
        address: SocketAddr,
        topic: &str,
        records: u64,
    ) -> Result<f64, String> {
        let mut command = self.jars.load_tool(CONSUMER);
        command.args([
            "--bootstrap-server",
            &address.to_string(),
            "--topic",
            topic,
            "--hide-header",
        ]);
        command.args(["--num-records", &records.to_string(), "--timeout", "60000"]);
        let text = output_of(&mut command)?;
        let line = text
            .lines()
            .rfind(|line| line.split(',').count() == 10)
            .ok_or("kafka-consumer-perf-test printed no result")?;
        line.split(',')
            .nth(9)
            .and_then(|rate| rate.trim().parse().ok())
            .ok_or_else(|| format!("cannot read `{line}`"))
    }

    /// The command for rdkafka_performance as a producer; its summary is read by `rdkafka_rate`.
    pub fn rdkafka_producer(
        &self,
        address: SocketAddr,
        topic: &str,
        job: &Job,
    ) -> Result<Command, String> {
        let mut command = Command::new(self.rdkafka.as_ref().map_err(Clone::clone)?);
        command.args([
            "-P",
            "-q",
            "-t",
            topic,
            "-b",
            &address.to_string(),
            "-s",
            &job.record_bytes.to_string(),
        ]);
        command.args([
            "-c",
            &job.records.to_string(),
            "-a",
            if job.acks == "all" { "-1" } else { job.acks },
            "-z",
            job.compression,
        ]);
        for setting in [
            format!("batch.size={}", job.batch_bytes),
            format!(
                "batch.num.messages={}",
                (u64::from(job.batch_bytes) / job.record_bytes).max(1)
            ),
            "linger.ms=50".to_owned(),
            "queue.buffering.max.messages=500000".to_owned(),
            "queue.buffering.max.kbytes=1000000".to_owned(),
            "message.max.bytes=2000000".to_owned(),
        ] {
            command.args(["-X", &setting]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// rdkafka_performance as a consumer of all partitions; records per second.
    pub fn rdkafka_consume(
        &self,
        address: SocketAddr,
        topic: &str,
        partitions: u32,
        records: u64,
    ) -> Result<f64, String> {
        let mut command = Command::new(self.rdkafka.as_ref().map_err(Clone::clone)?);
        command.args([
            "-C",
            "-q",
            "-t",
            topic,
            "-b",
            &address.to_string(),
            "-o",
            "beginning",
            "-c",
            &records.to_string(),
        ]);
        for partition in 0..partitions {
            command.args(["-p", &partition.to_string()]);
        }
        let text = output_of(&mut command)?;
        let line = text
            .lines()
            .rfind(|line| line.contains("consumed in"))
            .ok_or("rdkafka_performance printed no summary")?;
        number_before(line, " msgs/s").ok_or_else(|| format!("cannot read `{line}`"))
    }
}

/// Records per second from a producer's summary, with `fixed` milliseconds of start-up taken off.
pub fn rdkafka_rate(text: &str, records: u64, fixed: f64) -> Result<f64, String> {
    let line = text
        .lines()
        .rfind(|line| line.contains("messages produced"))
        .ok_or("rdkafka_performance printed no summary")?;
    let delivered = number_before(line, " delivered").unwrap_or_default();
    if delivered < records as f64 {
        return Err(format!("only {delivered} of {records} delivered: {line}"));
    }
    let elapsed = number_before(line, "ms:").ok_or_else(|| format!("cannot read `{line}`"))?;
    Ok(records as f64 / ((elapsed - fixed).max(1.0) / 1000.0))
}

/// Milliseconds in a producer's summary.
pub fn rdkafka_elapsed(text: &str) -> Option<f64> {
    number_before(
        text.lines()
            .rfind(|line| line.contains("messages produced"))?,
        "ms:",
    )
}

fn number_before(line: &str, unit: &str) -> Option<f64> {
    let before = &line[..line.find(unit)?];
    let start = before
        .rfind(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(0, |at| at + 1);
    before[start..].parse().ok()
}

/// Builds it once, in the cache; the source folder in cargo's registry stays as it is.
fn build_rdkafka_performance() -> Result<PathBuf, String> {
    let build = repository::cache()?.join("librdkafka/build");
    let program = build.join("examples/rdkafka_performance");
    if program.exists() {
        return Ok(program);
    }
    if let Some(missing) = ["cmake", "cc"].iter().find(|tool| !exists(tool)) {
        return Err(format!("{missing} is not installed"));
    }
    println!("building rdkafka_performance");
    let off = [
        "WITH_SSL",
        "WITH_SASL",
        "WITH_CURL",
        "WITH_ZSTD",
        "ENABLE_LZ4_EXT",
        "RDKAFKA_BUILD_TESTS",
    ]
    .map(|option| format!("-D{option}=OFF"));
    let mut configure = Command::new("cmake");
    configure
        .arg("-S")
        .arg(librdkafka_source()?)
        .arg("-B")
        .arg(&build);
    configure
        .args([
            "-DCMAKE_BUILD_TYPE=Release",
            "-DRDKAFKA_BUILD_STATIC=ON",
            "-DRDKAFKA_BUILD_EXAMPLES=ON",
        ])
        .args(off);
    output_of(&mut configure)?;
    // Its CMake file writes 0 where the source asks whether the name is defined at all.
    let config = build.join("generated/config.h");
    let text = std::fs::read_to_string(&config)
        .map_err(|error| format!("{}: {error}", config.display()))?;
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("WITH_OAUTHBEARER_OIDC"))
        .collect();
    std::fs::write(&config, kept.join("\n") + "\n")
        .map_err(|error| format!("{}: {error}", config.display()))?;
    output_of(Command::new("cmake").arg("--build").arg(&build).args([
        "--target",
        "rdkafka_performance",
        "-j2",
    ]))?;
    Ok(program)
}

fn librdkafka_source() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = output_of(
        Command::new(cargo)
            .args(["metadata", "--format-version", "1"])
            .current_dir(repository::root()),
    )?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .into_iter()
        .find(|package| package["name"] == "rdkafka-sys")
        .and_then(|package| package["manifest_path"].as_str());
    let folder = manifest
        .and_then(|manifest| Path::new(manifest).parent())
        .ok_or("rdkafka-sys is not among the dependencies")?;
    Ok(folder.join("librdkafka"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_from_each_tools_summary() {
        let perf = "100000 records sent, 71225.1 records/sec (6.79 MB/sec), 12.3 ms avg latency";
        assert_eq!(number_before(perf, " records/sec"), Some(71225.1));
        let rdkafka = "% 1000 messages produced (100000 bytes), 1000 delivered (offset 0, 0 failed) in 1500ms: 666 msgs/s and 0.07 MB/s";
        assert_eq!(rdkafka_rate(rdkafka, 1000, 1000.0), Ok(2000.0));
    }

    #[test]
    fn a_lost_message_is_not_a_rate() {
        let text = "% 1000 messages produced (100000 bytes), 999 delivered (offset 0, 1 failed) in 1500ms: 666 msgs/s";
        assert!(rdkafka_rate(text, 1000, 0.0).is_err());
    }
}
