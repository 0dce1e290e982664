//! Our own binary as a process: built in release, started on free ports, stopped by its pid.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, Background};
use crate::{probe, repository};

/// Builds `thalweg --release` and returns the binary; `$THALWEG_BINARY` names one that is built already.
pub fn build() -> Result<PathBuf, String> {
    if let Some(binary) = std::env::var_os("THALWEG_BINARY") {
        return Ok(PathBuf::from(binary));
    }
    let root = repository::root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--release",
            "-p",
            "thalweg",
            "--bin",
            "thalweg",
        ])
        .current_dir(&root);
    if !process::succeeds(&mut command)? {
        return Err("cargo build --release -p thalweg failed".to_owned());
    }
    Ok(repository::target_directory(&root).join("release/thalweg"))
}

/// `thalweg start`; killed when dropped.
pub struct Thalweg {
    process: Background,
    pub address: SocketAddr,
    pub ready_after: Duration,
}

impl Thalweg {
    /// Starts on `folder/data` and waits for the first answered Metadata. Its output goes to `folder/server.log`.
    pub fn start(binary: &Path, folder: &Path, extra: &[&str]) -> Result<Thalweg, String> {
        let [port] = probe::free_ports::<1>()?;
        Thalweg::start_at(port, binary, folder, extra)
    }

    /// As `start`, on this port.
    pub fn start_at(
        port: u16,
        binary: &Path,
        folder: &Path,
        extra: &[&str],
    ) -> Result<Thalweg, String> {
        let log = folder.join("server.log");
        let mut command = Command::new(binary);
        command
            .args([
                "start",
                "--ready-json",
                "--http-port",
                "0",
                "--kafka-port",
                &port.to_string(),
                "--data",
            ])
            .arg(folder.join("data"))
            .args(extra)
            .current_dir(folder);
        let start = Instant::now();
        let mut process = Background::start("thalweg", &command, &log)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let ready = probe::wait_for_metadata(address, start, Duration::from_secs(60), || {
            process.ended().is_some()
        });
        let ready_after = ready.map_err(|error| {
            format!(
                "thalweg: {error}\n{}",
                process::last_lines(&std::fs::read_to_string(&log).unwrap_or_default(), 15)
            )
        })?;
        Ok(Thalweg {
            process,
            address,
            ready_after,
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// SIGTERM; an exit status other than 0 is an error, because draining must end well.
    pub fn stop(&mut self) -> Result<(), String> {
        let status = self.process.stop(Duration::from_secs(30))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("thalweg ended with {status} after SIGTERM"))
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
