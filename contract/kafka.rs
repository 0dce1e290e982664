//! Apache Kafka as a subject: three brokers in KRaft mode on loopback, each also a controller, with listeners for every way in.
//!
//! Started once for a run by `world`, from the jars that `cargo xtask interop` uses too. Topics have three replicas and need two,
//! so that one broker may be away.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::certificates::Certificates;
use crate::jars::Jars;
use crate::process::{self, Background};
use crate::{probe, starter};

pub const BROKERS: usize = 3;
/// The user that SCRAM and PLAIN know, over TLS.
pub const USER: &str = "alice";
pub const PASSWORD: &str = "alice-secret";

/// Any 16 bytes in base64 will do; the folders are thrown away after the run.
const CLUSTER_ID: &str = "dGhhbHdlZy1jb250cmFjMQ";
/// Three JVMs start at once on what may be a small and busy machine.
const PATIENCE: Duration = Duration::from_secs(150);
const JVM: &[&str] = &[
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// Why a cluster is not there.
#[derive(Debug, Clone)]
pub enum Absent {
    /// The machine lacks what it needs.
    Missing(String),
    /// It has everything, and yet it did not start.
    Failed(String),
}

/// The ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Plaintext,
    /// TLS, and SCRAM-SHA-256, SCRAM-SHA-512, PLAIN or OAUTHBEARER (unsecured tokens).
    SaslSsl,
    /// TLS that asks for a client's certificate.
    Ssl,
    /// TLS with a certificate for another host.
    Misnamed,
}

const LISTENERS: [(Listener, &str, &str); 4] = [
    (Listener::Plaintext, "PLAINTEXT", "PLAINTEXT"),
    (Listener::SaslSsl, "SASL_SSL", "SASL_SSL"),
    (Listener::Ssl, "SSL", "SSL"),
    (Listener::Misnamed, "MISNAMED", "SSL"),
];
/// A port for each listener, and one for the controller.
const PORTS: usize = LISTENERS.len() + 1;

/// A running cluster.
pub struct Kafka {
    /// Held for reading by whoever uses it, for writing by a drill that breaks it: two kinds of subject have it behind them.
    pub turns: RwLock<()>,
    jars: Jars,
    brokers: Vec<Broker>,
    pub certificates: Certificates,
}

struct Broker {
    id: usize,
    folder: PathBuf,
    ports: [u16; PORTS],
    process: Mutex<Option<Background>>,
}

impl Kafka {
    /// Starts three brokers below `folder` and waits until each knows all of them.
    pub fn start(folder: &Path) -> Result<Kafka, Absent> {
        for program in ["java", "openssl"] {
            if !process::exists(program) {
                return Err(Absent::Missing(format!("{program} is not installed")));
            }
        }
        let jars = Jars::fetch().map_err(Absent::Missing)?;
        let kafka = Kafka::prepare(jars, &folder.join("kafka")).map_err(Absent::Failed)?;
        kafka.start_all().map_err(Absent::Failed)?;
        Ok(kafka)
    }

    /// Makes certificates, chooses ports, writes each broker's settings and formats its folder.
    fn prepare(jars: Jars, folder: &Path) -> Result<Kafka, String> {
        let secrets = folder.join("certificates");
        std::fs::create_dir_all(&secrets)
            .map_err(|error| format!("{}: {error}", secrets.display()))?;
        let certificates = Certificates::make(&secrets)?;
        let ports = steady_ports(BROKERS * PORTS)?;
        let brokers: Vec<Broker> = ports
            .chunks_exact(PORTS)
            .enumerate()
            .map(|(index, ports)| Broker {
                id: index + 1,
                folder: folder.join(format!("broker-{}", index + 1)),
                ports: ports.try_into().expect("chunks have this length"),
                process: Mutex::new(None),
            })
            .collect();
        for broker in &brokers {
            broker.configure(&voters(&brokers), &certificates)?;
        }
        format_all(&brokers, &jars)?;
        Ok(Kafka {
            turns: RwLock::new(()),
            jars,
            brokers,
            certificates,
        })
    }

    fn start_all(&self) -> Result<(), String> {
        for broker in &self.brokers {
            broker.start(&self.jars)?;
        }
        self.brokers.iter().try_for_each(Broker::wait_for_all)
    }

    /// Bootstrap addresses without encryption.
    pub fn bootstrap(&self) -> String {
        self.bootstrap_by(Listener::Plaintext)
    }

    /// Bootstrap addresses of one way in.
    pub fn bootstrap_by(&self, listener: Listener) -> String {
        let addresses = self
            .brokers
            .iter()
            .map(|broker| format!("127.0.0.1:{}", broker.port(listener)));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// SIGKILL to the broker with this id.
    pub fn kill(&self, id: i32) {
        self.broker(id).kill();
    }

    /// Starts every broker again after all were killed; returns when each knows the whole cluster.
    pub fn restart_all(&self) -> Result<(), String> {
        self.start_all()
    }

    /// Starts the broker with this id again, on the same ports and data; returns when it knows the whole cluster.
    pub fn restart(&self, id: i32) -> Result<(), String> {
        let broker = self.broker(id);
        broker.start(&self.jars)?;
        broker.wait_for_all()
    }

    pub fn stop(&self) {
        self.brokers.iter().for_each(Broker::kill);
    }

    fn broker(&self, id: i32) -> &Broker {
        let known = self
            .brokers
            .iter()
            .find(|broker| i32::try_from(broker.id) == Ok(id));
        known.unwrap_or_else(|| panic!("no broker {id}; there are 1 to {BROKERS}"))
    }
}

impl Broker {
    fn port(&self, listener: Listener) -> u16 {
        self.ports[listener as usize]
    }

    fn controller_port(&self) -> u16 {
        self.ports[PORTS - 1]
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn configure(&self, voters: &str, certificates: &Certificates) -> Result<(), String> {
        let path = self.settings();
        let say = |error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(&self.folder).map_err(say)?;
        let text = [self.identity(voters), replication(), security(certificates)].concat();
        std::fs::write(&path, text).map_err(say)
    }

    fn identity(&self, voters: &str) -> String {
        let addresses = LISTENERS
            .map(|(listener, name, _)| format!("{name}://127.0.0.1:{}", self.port(listener)));
        let addresses = addresses.join(",");
        let protocols = LISTENERS
            .map(|(_, name, protocol)| format!("{name}:{protocol}"))
            .join(",");
        format!(
            "process.roles=broker,controller\nnode.id={}\ncontroller.quorum.voters={voters}\n\
             listeners={addresses},CONTROLLER://127.0.0.1:{}\nadvertised.listeners={addresses}\n\
             listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n",
            self.id,
            self.controller_port(),
            self.folder.join("data").display(),
        )
    }

    fn format(&self, jars: &Jars) -> Result<Background, String> {
        let mut tool = jars.tool("kafka.tools.StorageTool");
        tool.args(["format", "--cluster-id", CLUSTER_ID, "--config"])
            .arg(self.settings());
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let credential = format!("{mechanism}=[name={USER},password={PASSWORD}]");
            tool.args(["--add-scram", &credential]);
        }
        starter::start("kafka-storage", tool, &self.log())
    }

    fn start(&self, jars: &Jars) -> Result<(), String> {
        let mut command = Command::new("java");
        command
            .args(JVM)
            .args(["-cp", &jars.class_path(), "kafka.Kafka"])
            .arg(self.settings());
        let started = starter::start("Apache Kafka", command, &self.log())?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    /// Waits until this broker names all brokers in its Metadata.
    fn wait_for_all(&self) -> Result<(), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(Listener::Plaintext)));
        let start = Instant::now();
        loop {
            let answer = probe::metadata(address, Duration::from_secs(2));
            if answer
                .as_ref()
                .is_ok_and(|brokers| usize::try_from(*brokers) == Ok(BROKERS))
            {
                return Ok(());
            }
            let reason = match answer {
                _ if self.has_ended() => "it ended".to_owned(),
                _ if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Ok(brokers) => format!("it knows {brokers} brokers"),
                Err(error) => error,
            };
            return Err(format!(
                "Apache Kafka broker {} did not start: {reason}\n{}",
                self.id,
                self.last_words()
            ));
        }
    }

    fn last_words(&self) -> String {
        process::last_lines(&std::fs::read_to_string(self.log()).unwrap_or_default(), 15)
    }

    fn has_ended(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process
            .as_mut()
            .is_none_or(|process| process.ended().is_some())
    }

    fn kill(&self) {
        // Dropping it is SIGKILL, and waits until it is gone.
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Formats all folders at once: each takes a JVM some seconds.
fn format_all(brokers: &[Broker], jars: &Jars) -> Result<(), String> {
    let formatting: Result<Vec<Background>, String> =
        brokers.iter().map(|broker| broker.format(jars)).collect();
    for (broker, mut tool) in brokers.iter().zip(formatting?) {
        if !tool.wait(PATIENCE).is_some_and(|status| status.success()) {
            return Err(format!(
                "formatting the folder of broker {}:\n{}",
                broker.id,
                broker.last_words()
            ));
        }
    }
    Ok(())
}

fn voters(brokers: &[Broker]) -> String {
    let voters = brokers
        .iter()
        .map(|broker| format!("{}@127.0.0.1:{}", broker.id, broker.controller_port()));
    voters.collect::<Vec<_>>().join(",")
}

/// Three replicas of everything; few partitions of the internal topics, because each costs files on three brokers.
fn replication() -> String {
    let mut text =
        "default.replication.factor=3\nmin.insync.replicas=2\ngroup.initial.rebalance.delay.ms=0\n"
            .to_owned();
    for (topic, in_sync) in [
        ("offsets.topic", None),
        (
            "transaction.state.log",
            Some("transaction.state.log.min.isr=2\n"),
        ),
        (
            "share.coordinator.state.topic",
            Some("share.coordinator.state.topic.min.isr=2\n"),
        ),
    ] {
        let _ = writeln!(
            text,
            "{topic}.replication.factor=3\n{topic}.num.partitions=5"
        );
        text.push_str(in_sync.unwrap_or_default());
    }
    text
}

/// TLS, SASL and ACLs; whoever comes by the plain listener may do everything.
fn security(certificates: &Certificates) -> String {
    let mut text = format!(
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         allow.everyone.if.no.acl.found=true\nsuper.users=User:ANONYMOUS\n\
         ssl.truststore.type=PEM\nssl.truststore.location={}\nssl.keystore.type=PEM\nssl.keystore.location={}\n\
         listener.name.misnamed.ssl.keystore.type=PEM\nlistener.name.misnamed.ssl.keystore.location={}\n\
         listener.name.ssl.ssl.client.auth=required\n\
         sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER\n",
        certificates.authority.display(),
        certificates.server.display(),
        certificates.misnamed.display(),
    );
    let users = format!(" user_{USER}=\"{PASSWORD}\"");
    for (mechanism, module, options) in [
        ("scram-sha-256", "scram.ScramLoginModule", ""),
        ("scram-sha-512", "scram.ScramLoginModule", ""),
        ("plain", "plain.PlainLoginModule", users.as_str()),
        ("oauthbearer", "oauthbearer.OAuthBearerLoginModule", ""),
    ] {
        let _ = writeln!(
            text,
            "listener.name.sasl_ssl.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.{module} required{options};"
        );
    }
    text
}

/// Free ports of loopback below the range from which the system gives ports to outgoing connections, so that no client takes
/// the port of a broker that is about to start again.
fn steady_ports(count: usize) -> Result<Vec<u16>, String> {
    const RANGE: std::ops::Range<u16> = 20_000..32_000;
    let width = u32::from(RANGE.end - RANGE.start);
    // Two suites at once begin their search in different places.
    let begin = std::process::id().wrapping_mul(97) % width;
    let candidates = (0..width)
        .map(|step| RANGE.start + u16::try_from((begin + step) % width).expect("below the width"));
    let free: Vec<u16> = candidates
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .take(count)
        .collect();
    match free.len() == count {
        true => Ok(free),
        false => Err(format!(
            "fewer than {count} free ports from {} to {}",
            RANGE.start, RANGE.end
        )),
    }
}
