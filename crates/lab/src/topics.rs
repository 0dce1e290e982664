//! Task 1.1: a topic from a manifest, the routing formula, offsets that only grow, and the segments that a partition is on the disk.

use std::fs;
use std::path::Path;

use client::ClientError;
use client::log_dirs::PartitionDir;
use operate::provision::{KeyKind, Manifest, Options, Report, Status, TopicSpec, provision};
use serde::Serialize;
use serde_json::json;

use crate::report::Step;
use crate::session::Session;
use crate::traffic::{Outgoing, Placed};

const PARTITIONS: i32 = 3;
/// The smallest that Kafka takes.
const SEGMENT_BYTES: u64 = 1_048_576;
/// 160 records of 16 KiB fill two segments and begin a third.
const RECORDS: usize = 160;
const RECORD_BYTES: usize = 16 * 1024;
/// The key of the records that fill segments.
const KEY: &str = "user-1";
/// Keys of the lab's documents whose partitions are shown.
const KEYS: [&str; 8] = [
    "user-1",
    "user-2",
    "user-3",
    "user-4",
    "user-8",
    "order-100",
    "order-101",
    "order-102",
];

/// A segment of the log, as its files tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Segment {
    file: String,
    base_offset: i64,
    bytes: u64,
}

pub(crate) fn run(session: &mut Session<'_>) -> Result<(), ClientError> {
    let topic = session.topic_name("");
    provision_twice(session, &topic)?;
    show_routing(session);
    let placed = append(session, &topic)?;
    show_segments(session, &topic, &placed)
}

fn provision_twice(session: &mut Session<'_>, topic: &str) -> Result<(), ClientError> {
    let spec = TopicSpec {
        name: topic.to_owned(),
        partitions: PARTITIONS,
        replication_factor: None,
        configs: [("segment.bytes".to_owned(), SEGMENT_BYTES.to_string())].into(),
        key: KeyKind::Fields(vec!["userId".to_owned()]),
        purpose: "records of the topic lab".to_owned(),
        learning_goal: "Key-based partitioning".to_owned(),
    };
    let manifest = Manifest {
        profile: "the topic lab".to_owned(),
        topics: vec![spec],
    };
    let run = |session: &mut Session<'_>| {
        session
            .ask(async |admin| provision(admin, &manifest, Options::default(), &mut |_| {}).await)
    };
    let first = run(session)?;
    let second = run(session)?;
    for (title, report) in [
        ("Provision a topic that is missing", &first),
        ("Provision it again", &second),
    ] {
        let mut step = Step::new(title);
        step.lines.clone_from(&report.lines);
        step.data = json!(report.topics);
        session.tell(step);
    }
    let status = |report: &Report| report.topics.first().map(|topic| topic.status);
    let told = |report: &Report| status(report).map_or("nothing", Status::name);
    session.check(
        "a missing topic is created, one that is there is skipped",
        status(&first) == Some(Status::Created) && status(&second) == Some(Status::Exists),
        format!("first {}, then {}", told(&first), told(&second)),
    );
    Ok(())
}

fn show_routing(session: &mut Session<'_>) {
    let mut step = Step::new("How a key finds its partition");
    step.say(format!(
        "partition = (murmur2(key) & 0x7fffffff) % partitions, here of {PARTITIONS}"
    ));
    let mut routes = Vec::new();
    for key in KEYS {
        let hash = wire::murmur2(key.as_bytes());
        let partition = wire::partition_for_key(key.as_bytes(), PARTITIONS);
        step.say(format!("murmur2({key}) = {hash} -> P{partition}"));
        routes.push(json!({ "key": key, "murmur2": hash, "partition": partition }));
    }
    step.data = json!(routes);
    session.facts = json!({ "partitions": PARTITIONS, "routes": routes });
    session.tell(step);
}

fn append(session: &mut Session<'_>, topic: &str) -> Result<Vec<Placed>, ClientError> {
    let record = |number: usize| Outgoing {
        partition: None,
        key: Some(KEY.to_owned()),
        value: vec![b'a' + (number % 26) as u8; RECORD_BYTES],
    };
    let records: Vec<Outgoing> = (0..RECORDS).map(record).collect();
    // Batches far smaller than a segment, so that segments end where they are full.
    let placed = session.send(topic, &records, &[("batch.size", "131072")])?;
    let predicted = wire::partition_for_key(KEY.as_bytes(), PARTITIONS);
    let ends = session.ends(topic)?;
    let mut step = Step::new(format!("Append {RECORDS} records of {KEY}"));
    for (partition, end) in &ends {
        step.say(match end {
            0 => format!("P{partition}: empty"),
            end => format!("P{partition}: offsets 0-{}", end - 1),
        });
    }
    let ends_json: Vec<_> = ends
        .iter()
        .map(|(partition, end)| json!({ "partition": partition, "end_offset": end }))
        .collect();
    step.data = json!(ends_json);
    session.tell(step);
    session.check(
        "records of one key go where the formula says, all to one partition",
        placed.iter().all(|place| place.partition == predicted),
        format!("{KEY} -> P{predicted}"),
    );
    let dense = placed
        .iter()
        .zip(0..)
        .all(|(place, offset)| place.offset == offset);
    session.check(
        "offsets are given in order, from 0, without a gap",
        dense,
        format!("{} offsets", placed.len()),
    );
    Ok(placed)
}

fn show_segments(
    session: &mut Session<'_>,
    topic: &str,
    placed: &[Placed],
) -> Result<(), ClientError> {
    let filled = placed.first().map_or(0, |place| place.partition);
    let mut step = Step::new("Segments on the disk");
    let dirs = match session.ask(async |admin| admin.partition_dirs().await) {
        Ok(dirs) => dirs,
        Err(error) => {
            step.say(format!(
                "this cluster does not tell the sizes of its logs: {error}"
            ));
            session.tell(step);
            return Ok(());
        }
    };
    let of_topic = |dir: &&PartitionDir| dir.topic == topic && dir.partition == filled;
    let Some(dir) = dirs.iter().find(of_topic) else {
        step.say("no log directory lists the partition");
        session.tell(step);
        session.check(
            "the partition is on a disk",
            false,
            "no log directory lists it",
        );
        return Ok(());
    };
    let segments = segments(Path::new(&dir.log_dir), topic, filled);
    let (count, detail) = match &segments[..] {
        [] => {
            let least = dir.bytes.div_ceil(SEGMENT_BYTES);
            step.say(format!(
                "the log directory {} of broker {} cannot be read from here, so base offsets are not shown",
                dir.log_dir, dir.broker
            ));
            step.say(format!(
                "{} bytes in segments of at most {SEGMENT_BYTES}: at least {least} segments",
                dir.bytes
            ));
            (least, format!("at least {least}, by the size of the log"))
        }
        files => {
            describe(&mut step, files, placed.len() as i64);
            let bases: Vec<String> = files.iter().map(|s| s.base_offset.to_string()).collect();
            let detail = format!("{} with base offsets {}", files.len(), bases.join(", "));
            (files.len() as u64, detail)
        }
    };
    step.data = json!({
        "segment_bytes": SEGMENT_BYTES,
        "log_bytes": dir.bytes,
        "log_dir": dir.log_dir,
        "segments": segments,
    });
    session.tell(step);
    session.check("the log has at least two segments", count >= 2, detail);
    if !segments.is_empty() {
        let grow = segments
            .windows(2)
            .all(|pair| pair[0].base_offset < pair[1].base_offset);
        session.check(
            "the first segment begins at 0, each next one later",
            grow && segments[0].base_offset == 0,
            format!("{} files", segments.len()),
        );
    }
    Ok(())
}

fn describe(step: &mut Step, files: &[Segment], end: i64) {
    step.say("Kafka begins a new segment by size or age, never by a number of records");
    for (number, segment) in files.iter().enumerate() {
        let offsets = match files.get(number + 1) {
            Some(next) => format!("{}-{}", segment.base_offset, next.base_offset - 1),
            None => format!("{}-{}, appended to", segment.base_offset, end - 1),
        };
        step.say(format!(
            "Segment {number} ({offsets}): {}, {} bytes",
            segment.file, segment.bytes
        ));
    }
}

/// The segments of a partition, by their files; none where the directory is not one of this machine.
fn segments(log_dir: &Path, topic: &str, partition: i32) -> Vec<Segment> {
    let Ok(entries) = fs::read_dir(log_dir.join(format!("{topic}-{partition}"))) else {
        return Vec::new();
    };
    let mut segments: Vec<Segment> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let base_offset = file.strip_suffix(".log")?.parse().ok()?;
            let bytes = entry.metadata().ok()?.len();
            Some(Segment {
                file,
                base_offset,
                bytes,
            })
        })
        .collect();
    segments.sort_by_key(|segment| segment.base_offset);
    segments
}
