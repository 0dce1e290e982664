//! Kafka's own `kafka-dump-log --deep-iteration` over every segment and index that a run left behind.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kafka::Jars;

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
/// What the tool prints, in lower case, when something is wrong; it ends with 0 all the same.
const COMPLAINTS: &[&str] = &[
    "isvalid: false",
    "mismatch",
    "non-consecutive",
    "non-secutive",
    "exception",
    "error",
    "not found",
    "out of order",
    "invalid bytes",
    "corrupt",
];

/// How the tool heads its list of the gaps in a file. It does so for Kafka's own compacted logs.
const GAPS: &str = "Non-consecutive offsets in ";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Findings {
    pub segments: usize,
    pub indexes: usize,
    pub records: u64,
    pub errors: Vec<String>,
}

/// Reads all below `data`: segments record by record, indexes against their segment, group offsets decoded.
pub fn dump(jars: &Jars, data: &Path) -> Result<Findings, String> {
    let mut files = Vec::new();
    walk(data, &mut files).map_err(|error| format!("{}: {error}", data.display()))?;
    files.retain(|file| {
        !file
            .components()
            .any(|part| is_not_a_partition(&part.as_os_str().to_string_lossy()))
    });
    let with = |extension: &str| -> Vec<PathBuf> {
        files
            .iter()
            .filter(|file| is_segment_file(file, extension))
            .cloned()
            .collect()
    };
    let (segments, offsets, times) = (with("log"), with("index"), with("timeindex"));
    let aborted = with("txnindex");
    let mut findings = Findings {
        segments: segments.len(),
        indexes: offsets.len() + times.len() + aborted.len(),
        records: 0,
        errors: Vec::new(),
    };
    for (what, files, arguments) in [
        ("segment", &segments, &["--deep-iteration"][..]),
        ("offset index", &offsets, &["--deep-iteration"][..]),
        ("time index", &times, &["--deep-iteration"][..]),
        ("transaction index", &aborted, &[][..]),
    ] {
        for some in files.chunks(100) {
            examine(jars, what, some, arguments, &mut findings)?;
        }
    }
    let groups: Vec<PathBuf> = segments
        .into_iter()
        .filter(|file| file.to_string_lossy().contains("__consumer_offsets"))
        .collect();
    let counted = findings.records;
    for some in groups.chunks(100) {
        examine(
            jars,
            "group offsets",
            some,
            &["--deep-iteration", "--offsets-decoder"],
            &mut findings,
        )?;
    }
    findings.records = counted;
    Ok(findings)
}

fn examine(
    jars: &Jars,
    what: &str,
    files: &[PathBuf],
    arguments: &[&str],
    findings: &mut Findings,
) -> Result<(), String> {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut command = jars.tool(DUMP);
    let output = command
        .args(arguments)
        .args(["--files", &names.join(",")])
        .output()
        .map_err(|error| format!("java: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        findings.errors.push(format!(
            "{what}: kafka-dump-log ended with {}",
            output.status
        ));
    }
    let mut file = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Dumping ") {
            file = name;
        }
        findings.records += u64::from(line.starts_with("| offset:"));
        if line.starts_with(GAPS) && is_compacted(line) {
            continue;
        }
        let lower = complaint_part(line).to_lowercase();
        if COMPLAINTS.iter().any(|complaint| lower.contains(complaint)) {
            findings.errors.push(format!(
                "{what} {}: {}",
                short(file),
                line.chars().take(300).collect::<String>()
            ));
        }
    }
    Ok(())
}

/// Kafka's own metadata log has another format, and what it is about to delete is no longer whole.
fn is_not_a_partition(folder: &str) -> bool {
    folder.starts_with("__cluster_metadata") || folder.ends_with("-delete")
}

/// A record's key and payload are the client's own words and prove nothing.
fn complaint_part(line: &str) -> &str {
    if line.starts_with("| offset:") {
        line.split(" headerKeys:").next().unwrap_or(line)
    } else {
        line
    }
}

/// Topics of the run that are compacted have it in their names.
fn is_compacted(line: &str) -> bool {
    line.contains("compact")
}

/// `topic-0/00000000000000000000.log`.
fn short(file: &str) -> String {
    let mut parts = file.rsplit('/');
    let name = parts.next().unwrap_or_default();
    format!("{}/{name}", parts.next().unwrap_or_default())
}

/// A file named by twenty digits, as Kafka names what belongs to a segment.
fn is_segment_file(file: &Path, extension: &str) -> bool {
    let is_digits = |stem: &str| stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    file.extension().is_some_and(|found| found == extension)
        && file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(is_digits)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
