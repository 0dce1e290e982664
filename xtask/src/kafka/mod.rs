//! Apache Kafka as a peer: its jars by Maven, one broker in KRaft mode on loopback, its tools by main class.

mod jars;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, Background};
use crate::{TaskResult, probe, repository};

pub use jars::{Jars, VERSION};

/// Any 16 bytes in base64 will do; a broker's folder is thrown away after the run.
const CLUSTER_ID: &str = "dGhhbHdlZy1pbnRlcm9wMQ";

/// `cargo xtask kafka`: Apache Kafka on a free port until this process is stopped, for trying a client by hand;
/// with `--fetch` its jars are only brought into the cache, so that no test waits for them.
pub fn run(arguments: &[String]) -> TaskResult {
    match arguments {
        [] => {}
        [flag] if flag == "--fetch" => return Jars::fetch().map(drop),
        _ => return Err("usage: cargo xtask kafka [--fetch]".to_owned()),
    }
    let folder = repository::scratch("kafka")?;
    let mut broker = KafkaBroker::start(&Jars::fetch()?, folder.path(), &BrokerOptions::default())?;
    println!(
        "Apache Kafka {VERSION} at {} (pid {}), ready after {:.1} s",
        broker.address,
        broker.pid(),
        broker.ready_after.as_secs_f64()
    );
    while !broker.has_ended() {
        std::thread::sleep(Duration::from_millis(200));
    }
    Err("the broker ended".to_owned())
}

pub struct BrokerOptions {
    /// Java's `-Xmx` and `-Xms`; Kafka's own script gives 1 GB.
    pub heap: String,
    /// The port to listen on, any free one if none is named.
    pub port: Option<u16>,
    /// Further lines of server.properties.
    pub properties: Vec<(String, String)>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        BrokerOptions {
            heap: "1g".to_owned(),
            port: None,
            properties: Vec::new(),
        }
    }
}

/// One broker and controller in a process; killed when dropped.
pub struct KafkaBroker {
    process: Background,
    pub address: SocketAddr,
    pub ready_after: Duration,
}

impl KafkaBroker {
    /// Formats `folder` if it is new and starts a broker on it, with Kafka's defaults except what one node on loopback needs.
    pub fn start(
        jars: &Jars,
        folder: &Path,
        options: &BrokerOptions,
    ) -> Result<KafkaBroker, String> {
        let (port, properties) = configure(jars, folder, options)?;
        let start = Instant::now();
        let log = folder.join("server.log");
        let mut process = Background::start(
            "Apache Kafka",
            jars.broker_command(&options.heap).arg(&properties),
            &log,
        )?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let ready = probe::wait_for_metadata(address, start, Duration::from_secs(90), || {
            process.ended().is_some()
        });
        let ready_after =
            ready.map_err(|error| format!("Apache Kafka: {error}\n{}", tail(&log)))?;
        Ok(KafkaBroker {
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

    /// SIGTERM; Kafka closes its logs cleanly.
    pub fn stop(&mut self) -> Result<(), String> {
        self.process.stop(Duration::from_secs(60)).map(|_| ())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// The command that starts a broker on `folder`, again and again on the same port; for whoever kills it.
pub fn restartable(jars: &Jars, folder: &Path) -> Result<(u16, Command), String> {
    let options = BrokerOptions {
        heap: "512m".to_owned(),
        ..BrokerOptions::default()
    };
    let (port, properties) = configure(jars, folder, &options)?;
    let mut command = jars.broker_command(&options.heap);
    command.arg(properties);
    Ok((port, command))
}

/// Chooses ports, writes server.properties and formats the data folder.
fn configure(
    jars: &Jars,
    folder: &Path,
    options: &BrokerOptions,
) -> Result<(u16, PathBuf), String> {
    let [port, controller] = probe::free_ports::<2>()?;
    let port = options.port.unwrap_or(port);
    let properties = folder.join("server.properties");
    let text = server_properties(port, controller, &folder.join("data"), options);
    std::fs::write(&properties, text)
        .map_err(|error| format!("{}: {error}", properties.display()))?;
    if !folder.join("data/meta.properties").exists() {
        process::output_of(
            jars.tool("kafka.tools.StorageTool")
                .args(["format", "-t", CLUSTER_ID, "-c"])
                .arg(&properties),
        )?;
    }
    Ok((port, properties))
}

impl Jars {
    /// The JVM options of kafka-server-start.sh.
    fn broker_command(&self, heap: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args([&format!("-Xmx{heap}"), &format!("-Xms{heap}")])
            .args([
                "-server",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ])
            .args([
                "-XX:+ExplicitGCInvokesConcurrent",
                "-Djava.awt.headless=true",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            ])
            .args(["-cp", &self.class_path(), "kafka.Kafka"]);
        command
    }
}

fn server_properties(port: u16, controller: u16, data: &Path, options: &BrokerOptions) -> String {
    let given = options.properties.iter().find(|(key, _)| key == "node.id");
    let node = given.map_or("1", |(_, id)| id);
    let mut text = format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={node}@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        data.display()
    );
    for (key, value) in &options.properties {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

fn tail(log: &Path) -> String {
    process::last_lines(&std::fs::read_to_string(log).unwrap_or_default(), 15)
}
