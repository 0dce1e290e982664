//! Starts the binary as a user would, on free ports and in memory, and runs its commands against it.

#![allow(dead_code)] // each test file is a crate of its own and uses a part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The command without any setting from the machine that runs the test.
pub fn thalweg(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("THALWEG_"))
        {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end with `input` on standard input.
pub fn run(command: &mut Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A command that ends early does not read its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running `thalweg dev`.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    pub ready: Value,
}

impl Server {
    /// In memory, on free ports.
    pub fn start() -> Server {
        Server::start_with(&["--ephemeral"])
    }

    /// With more flags; the ports are free ones unless the flags say otherwise.
    pub fn start_with(flags: &[&str]) -> Server {
        let mut command = thalweg(&[
            "dev",
            "--ready-json",
            "--kafka-port",
            "0",
            "--http-port",
            "0",
        ]);
        let mut child = command
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let mut stderr = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("standard output can be read");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut reason = String::new();
            let _ = stderr.read_to_string(&mut reason);
            panic!("it did not start: {reason}");
        });
        Server {
            child,
            stdout,
            stderr,
            ready,
        }
    }

    pub fn kafka(&self) -> &str {
        self.ready["kafka"].as_str().expect("the Kafka address")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command against this server.
    pub fn run(&self, arguments: &[&str], input: &str) -> Ended {
        run(thalweg(arguments).env("THALWEG_KAFKA", self.kafka()), input)
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn ok(&self, arguments: &[&str], input: &str) -> String {
        let ended = self.run(arguments, input);
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
        ended.stdout
    }

    /// Status and body of an HTTP GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let http = self.ready["http"].as_str().expect("the HTTP address");
        let address = http.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("HTTP listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("a request can be sent");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("an answer in text");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.expect("a status line"), body.to_owned())
    }

    /// Waits until it says that it is stopping.
    pub fn hear_stopping(&mut self) {
        let mut line = String::new();
        while !line.starts_with("stopping") {
            line.clear();
            let read = self
                .stderr
                .read_line(&mut line)
                .expect("standard error can be read");
            assert!(read > 0, "it ended without a word");
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("the process is ours");
    }

    /// SIGTERM; gives the exit status and what else was printed to standard output.
    pub fn stop(self) -> (ExitStatus, String) {
        self.stop_by(Signal::TERM)
    }

    pub fn stop_by(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        let status = self.child.wait().expect("a child can be waited for");
        let mut rest = String::new();
        self.stdout
            .read_to_string(&mut rest)
            .expect("standard output can be read");
        (status, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until `done` gives something: for what another process does in its own time.
pub fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        std::thread::yield_now();
    }
}
