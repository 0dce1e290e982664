//! Many partitions, connections and groups at once: start, memory, and what a small produce takes; 1,000 partitions against 10,000.
//! The load is `powercut scale` of the crate sim.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::Options;
use crate::powercut;
use crate::process;
use crate::thalweg::Thalweg;

const CONNECTIONS: u32 = 2_000;
const GROUPS: u32 = 500;
const SECONDS: u32 = 15;

/// What one number of partitions costs.
pub struct Scale {
    partitions: u32,
    created_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    connected_mb: f64,
    clean_ms: f64,
    killed_ms: f64,
    idle_mb: f64,
}

pub fn measure(options: &Options, binary: &Path, folder: &Path) -> Result<Vec<Scale>, String> {
    let harness = powercut::build_harness()?;
    let sizes: &[u32] = if options.quick {
        &[1_000]
    } else {
        &[1_000, 10_000]
    };
    let mut scales = Vec::new();
    for partitions in sizes {
        let folder = folder.join(format!("scale-{partitions}"));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let scale = one(*partitions, &harness, binary, &folder)?;
        println!("── scale, {}", scale.line());
        // What is left is the scratch folder's.
        let _ = std::fs::remove_dir_all(&folder);
        scales.push(scale);
    }
    Ok(scales)
}

fn one(partitions: u32, harness: &Path, binary: &Path, folder: &Path) -> Result<Scale, String> {
    let mut broker = Thalweg::start(binary, folder, &[])?;
    let mut load = Load::start(harness, &broker, partitions)?;
    let measured = load.summary()?;
    let connected_mb = megabytes(broker.pid())?;
    // It ends under load: with connections, members and what was written since the last checkpoint.
    broker.kill();
    drop(load);
    let mut broker = Thalweg::start(binary, folder, &[])?;
    let killed_ms = broker.ready_after.as_secs_f64() * 1000.0;
    broker.stop()?;
    let mut broker = Thalweg::start(binary, folder, &[])?;
    let clean_ms = broker.ready_after.as_secs_f64() * 1000.0;
    let idle_mb = megabytes(broker.pid())?;
    broker.kill();
    let number = |key: &str| measured[key].as_f64().unwrap_or_default();
    Ok(Scale {
        partitions,
        created_ms: number("created_ms"),
        p50_ms: number("p50_ms"),
        p99_ms: number("p99_ms"),
        connected_mb,
        clean_ms,
        killed_ms,
        idle_mb,
    })
}

fn megabytes(pid: u32) -> Result<f64, String> {
    Ok(process::memory(pid)?.0 as f64 / 1e6)
}

/// The load as a process; it keeps its connections until it is dropped.
struct Load(Child);

impl Load {
    fn start(harness: &Path, broker: &Thalweg, partitions: u32) -> Result<Load, String> {
        let child = Command::new(harness)
            .arg("scale")
            .args(["--port", &broker.address.port().to_string()])
            .args(["--partitions", &partitions.to_string()])
            .args(["--connections", &CONNECTIONS.to_string()])
            .args(["--groups", &GROUPS.to_string()])
            .args(["--seconds", &SECONDS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        child
            .map(Load)
            .map_err(|error| format!("powercut scale: {error}"))
    }

    fn summary(&mut self) -> Result<Value, String> {
        let output = self.0.stdout.take().ok_or("its output was piped")?;
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        read.map_err(|error| format!("powercut scale: {error}"))?;
        serde_json::from_str(&line).map_err(|_| "powercut scale ended without a summary".to_owned())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It waits for a line; without one it is ended.
        let told = self.0.stdin.take().map(|mut input| input.write_all(b"\n"));
        if !matches!(told, Some(Ok(()))) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

impl Scale {
    fn line(&self) -> String {
        format!(
            "{} partitions: made in {:.0} ms, produce p50 {:.1} ms and p99 {:.1} ms, {:.0} MB; start {:.0} ms clean, {:.0} ms killed, {:.0} MB",
            self.partitions,
            self.created_ms,
            self.p50_ms,
            self.p99_ms,
            self.connected_mb,
            self.clean_ms,
            self.killed_ms,
            self.idle_mb
        )
    }

    pub fn raw(&self) -> Value {
        json!({
            "partitions": self.partitions, "connections": CONNECTIONS, "groups": GROUPS, "created_ms": self.created_ms,
            "p50_ms": self.p50_ms, "p99_ms": self.p99_ms, "connected_mb": self.connected_mb,
            "start_clean_ms": self.clean_ms, "start_killed_ms": self.killed_ms, "idle_mb": self.idle_mb,
        })
    }
}

pub fn table(text: &mut String, scales: &[Scale]) {
    if scales.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## Scale\n{CONNECTIONS} connections and {GROUPS} groups with a member each, 16 producers of one 100-byte record at a time to partitions by\nchance, `sync`, for {SECONDS} s. Then SIGKILL under load, a start, a clean stop, a start.\n\n\
         | partitions | made in, ms | produce p50, ms | p99, ms | resident, MB | start after SIGKILL, ms | after a clean stop, ms | idle, MB |\n|---|---|---|---|---|---|---|---|\n"
    );
    for scale in scales {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
            scale.partitions,
            scale.created_ms,
            scale.p50_ms,
            scale.p99_ms,
            scale.connected_mb,
            scale.killed_ms,
            scale.clean_ms,
            scale.idle_mb
        );
    }
}
