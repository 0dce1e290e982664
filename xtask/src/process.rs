//! Child processes: run to the end, or keep one in the background, stopped by its own pid when dropped; readings from `/proc`.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Runs a command with the terminal's output and says whether it succeeded.
pub fn succeeds(command: &mut Command) -> Result<bool, String> {
    command
        .status()
        .map(|status| status.success())
        .map_err(|error| format!("{}: {error}", name(command)))
}

/// Runs a command and returns its standard output; on failure the error carries the end of its standard error.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", name(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{} ended with {}: {}",
        name(command),
        output.status,
        last_lines(&errors, 12)
    ))
}

/// Whether a program answers on this machine's PATH.
pub fn exists(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

pub fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The same command, killed by the kernel should this process be killed itself (through util-linux's `setpriv`, which execs it).
fn tied_to_us(command: &Command) -> Command {
    if !exists("setpriv") {
        return copy_of(command, Command::new(command.get_program()));
    }
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL"])
        .arg(command.get_program());
    copy_of(command, tied)
}

fn copy_of(command: &Command, mut copy: Command) -> Command {
    copy.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        copy.current_dir(folder);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(key, value),
            None => copy.env_remove(key),
        };
    }
    copy
}

/// A process in the background. Dropping it kills it, so no failure of ours leaves one behind.
pub struct Background {
    child: Child,
    what: String,
}

impl Background {
    /// Starts `command` with standard error (and output, unless it is piped by the caller) in the file `log`.
    pub fn start(what: &str, command: &Command, log: &Path) -> Result<Background, String> {
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let copy = file
            .try_clone()
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let child = tied_to_us(command)
            .stdin(Stdio::null())
            .stdout(Stdio::from(copy))
            .stderr(Stdio::from(file))
            .spawn()
            .map_err(|error| format!("{what}: {}: {error}", name(command)))?;
        Ok(Background {
            child,
            what: what.to_owned(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end, and kills it when that takes longer than `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let status = self.wait_for(patience);
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Waits for its end, but not longer than `patience`.
    pub fn wait_for(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Asks it to stop (SIGTERM) and waits; kills it when it has not within `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if let Some(status) = self.wait(patience) {
            return Ok(status);
        }
        Err(format!(
            "{} did not stop within {} s of SIGTERM and was killed",
            self.what,
            patience.as_secs()
        ))
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// CPU time that a process has used so far, all threads, user and system.
pub fn cpu_time(pid: u32) -> Result<Duration, String> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name in parentheses may hold spaces; after it come the state and, as 12th and 13th, user and system time in ticks.
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}

/// Resident memory in bytes: now, and the most since the start or the last `reset_peak`.
pub fn memory(pid: u32) -> Result<(u64, u64), String> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    };
    Ok((
        field("VmRSS").unwrap_or_default(),
        field("VmHWM").unwrap_or_default(),
    ))
}

/// Begins a new peak of resident memory.
pub fn reset_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}
