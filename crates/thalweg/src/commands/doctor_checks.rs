//! The checks of `thalweg doctor`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::{Admin, Cluster, ErrorKind};
use rustix::process::{Resource, getrlimit};

use super::doctor::Finding;
use crate::cli::Context;
use crate::config::Settings;
use crate::output::{count, size};
use thalweg::serve::ports;

/// The longest wait for one broker.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many times a page is appended and synced.
const SYNCS: usize = 50;
const SLOW_SYNC: Duration = Duration::from_millis(10);
const ENOUGH_FILES: u64 = 8192;
const LITTLE_SPACE: u64 = 5_000_000_000;
const NO_SPACE: u64 = 200_000_000;

/// Whether the cluster answers, and whether clients can reach every broker at the address it tells them.
pub async fn broker(context: &Context, must_run: bool) -> Vec<Finding> {
    const CHECK: &str = "broker";
    let address = context.settings.text("kafka");
    let cluster = context.cluster().with_timeout(PATIENCE);
    let admin = match cluster.admin().await {
        Ok(admin) => admin,
        Err(error)
            if error.kind() == ErrorKind::Unreachable
                && !must_run
                && context.settings.is_default("kafka") =>
        {
            let fix = "start one with `thalweg dev`, or name yours with --kafka HOST:PORT";
            return vec![Finding::warn(CHECK, format!("none runs at {address}"), fix)];
        }
        Err(error) => {
            let fix = "check that it runs, that the port is right, and that no firewall is between";
            return vec![Finding::bad(CHECK, error.to_string(), fix)];
        }
    };
    let info = admin.info();
    let id = info.cluster_id.as_deref().unwrap_or("without id");
    let detail = format!("answers at {}; cluster {id}", admin.address());
    let mut findings = vec![Finding::ok(CHECK, detail)];
    findings.extend(advertised(&admin, &cluster).await);
    findings
}

/// A Metadata round trip through every advertised address: the way that producers and consumers go.
async fn advertised(admin: &Admin, bootstrap: &Cluster) -> Vec<Finding> {
    const CHECK: &str = "advertised";
    let mut findings = Vec::new();
    for broker in &admin.info().brokers {
        let address = broker.address();
        let begin = Instant::now();
        let answer = Cluster::new(&address)
            .with_timeout(bootstrap.timeout())
            .admin()
            .await;
        findings.push(match answer {
            Ok(_) => {
                let took = begin.elapsed().as_secs_f64() * 1000.0;
                Finding::ok(CHECK, format!("broker {} is reached at {address} in {took:.1} ms", broker.id))
            }
            Err(error) => {
                let detail = format!("broker {} tells clients to come to {address}, but {error}", broker.id);
                let fix = "start it with --advertised HOST:PORT as clients reach it (advertised.listeners on Apache Kafka)";
                Finding::bad(CHECK, detail, fix)
            }
        });
    }
    findings
}

/// Ports, data folder, sync latency, space and open files of this machine.
pub fn machine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![
        port("kafka port", settings.port("kafka_port"), "--kafka-port"),
        port("http port", settings.port("http_port"), "--http-port"),
    ];
    if settings.switch("ephemeral") {
        findings.push(Finding::ok("data", "kept in memory"));
    } else {
        findings.extend(data_folder(Path::new(settings.text("data"))));
    }
    findings.push(open_files());
    findings
}

fn port(check: &'static str, port: u16, flag: &str) -> Finding {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    if std::net::TcpListener::bind(address).is_ok() {
        return Finding::ok(check, format!("{port} is free"));
    }
    let holder = ports::holder(port).unwrap_or_else(|| "another process".to_owned());
    if holder.starts_with("thalweg ") {
        return Finding::ok(check, format!("{port} is used by {holder}"));
    }
    let fix = format!(
        "stop it, or choose another port with {flag}; `thalweg dev` moves to the next free one by itself"
    );
    Finding::warn(check, format!("{port} is in use by {holder}"), fix)
}

fn data_folder(folder: &Path) -> Vec<Finding> {
    const CHECK: &str = "data";
    let probed = nearest_existing(folder);
    let shown = folder.display();
    let mut findings = Vec::new();
    match measure_sync(&probed) {
        Ok(sync) => {
            let note = if probed == folder {
                ""
            } else {
                " (it will be created)"
            };
            findings.push(Finding::ok(CHECK, format!("{shown} can be written{note}")));
            findings.push(sync_finding(sync));
        }
        Err(error) => {
            let fix =
                "choose another folder with --data, or give this user the right to write there";
            findings.push(Finding::bad(
                CHECK,
                format!("{shown} cannot be written: {error}"),
                fix,
            ));
        }
    }
    findings.push(free_space(&probed));
    findings
}

fn nearest_existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existing = absolute.ancestors().find(|folder| folder.is_dir());
    match existing {
        Some(existing) if existing == absolute => folder.to_owned(),
        Some(existing) => existing.to_owned(),
        None => PathBuf::from("."),
    }
}

/// Median and worst of appending 4 KiB and syncing, as the broker does before it acknowledges.
#[derive(Debug, Clone, Copy)]
struct SyncTimes {
    median: Duration,
    worst: Duration,
}

fn measure_sync(folder: &Path) -> io::Result<SyncTimes> {
    let path = folder.join(format!(".thalweg-doctor-{}", std::process::id()));
    let result = append_and_sync(&path);
    let removed = fs::remove_file(&path);
    let mut times = result?;
    removed?;
    times.sort_unstable();
    Ok(SyncTimes {
        median: times[times.len() / 2],
        worst: times[times.len() - 1],
    })
}

fn append_and_sync(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let page = [0x55; 4096];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begin = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

fn sync_finding(times: SyncTimes) -> Finding {
    const CHECK: &str = "sync";
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let detail = format!(
        "4 KiB reach the disk in {:.2} ms (median), {:.2} ms (worst of {SYNCS})",
        ms(times.median),
        ms(times.worst)
    );
    if times.median < SLOW_SYNC {
        return Finding::ok(CHECK, detail);
    }
    let fix = "every acknowledgement waits for this: put --data on a faster disk, or set thalweg.durability=interval on topics that may lose the last moments";
    Finding::warn(CHECK, detail, fix)
}

fn free_space(folder: &Path) -> Finding {
    const CHECK: &str = "space";
    let stat = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat,
        Err(error) => {
            let fix = "check that the file system is mounted";
            return Finding::warn(CHECK, format!("cannot be told: {error}"), fix);
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} are free", size(free));
    let fix = "free some, or choose another disk with --data; retention.ms and retention.bytes bound what topics keep";
    match free {
        0..NO_SPACE => Finding::bad(CHECK, detail, fix),
        NO_SPACE..LITTLE_SPACE => Finding::warn(CHECK, detail, fix),
        _ => Finding::ok(CHECK, detail),
    }
}

fn open_files() -> Finding {
    const CHECK: &str = "open files";
    let limits = getrlimit(Resource::Nofile);
    let Some(limit) = limits.current else {
        return Finding::ok(CHECK, "unlimited");
    };
    let detail = format!("up to {}", count(limit));
    if limit >= ENOUGH_FILES {
        return Finding::ok(CHECK, detail);
    }
    let most = limits.maximum.unwrap_or(65_536).min(65_536);
    let fix = format!(
        "each partition holds files and each client a socket: ulimit -n {most} (LimitNOFILE= in a systemd unit)"
    );
    Finding::warn(CHECK, detail, fix)
}

#[cfg(test)]
mod tests {
    use super::super::doctor::State;
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_bad_and_says_what_to_do() {
        let findings = data_folder(Path::new("/proc/thalweg"));
        assert_eq!((findings[0].check, findings[0].state), ("data", State::Bad));
        assert!(
            findings[0]
                .fix
                .as_deref()
                .is_some_and(|fix| fix.contains("--data"))
        );
    }

    #[test]
    fn measuring_leaves_no_file_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let findings = data_folder(&folder.path().join("deep/er"));
        assert_eq!(findings[0].state, State::Ok);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_slow_disk_is_a_warning() {
        let slow = Duration::from_millis(20);
        let times = SyncTimes {
            median: slow,
            worst: slow,
        };
        assert_eq!(sync_finding(times).state, State::Warn);
    }
}
