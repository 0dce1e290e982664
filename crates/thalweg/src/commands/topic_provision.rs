//! `thalweg topic provision`: creates the topics of a manifest that are missing, and tells where the others differ from it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use operate::provision::{Drift, Manifest, Options, Report, Status, TopicReport, provision};

use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::output::{Column, write_table};

/// A thousand topics with all their settings stay far below.
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A built-in manifest: lab, hybrid or enterprise
    #[arg(long, value_name = "NAME", default_value = "lab")]
    profile: String,
    /// A manifest of your own in TOML: [[topic]] with name, partitions, replication_factor, key, purpose, [topic.configs]
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    file: Option<PathBuf>,
    /// Only check what would be created
    #[arg(long)]
    dry_run: bool,
    /// Ask for the replicas that the manifest names even where there are fewer brokers, which a cluster refuses
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let manifest = match &args.file {
        Some(path) => Manifest::parse(&path.display().to_string(), &read(path)?),
        None => Manifest::of_profile(&args.profile),
    }
    .map_err(|error| CommandError::Usage(error.to_string()))?;
    let options = Options {
        strict: args.strict,
        dry_run: args.dry_run,
    };
    let mut admin = context.cluster().admin().await?;
    let mut listener = |line: &str| eprintln!("{line}");
    let report = provision(&mut admin, &manifest, options, &mut listener).await?;
    context
        .output
        .one(&report, &manifest.profile, |out| print(out, &report))?;
    match report.count(Status::Failed) {
        0 => Ok(()),
        failed => {
            let what = format!("{failed} of {} topics failed", report.topics.len());
            Err(CommandError::new(Exit::Error, what))
        }
    }
}

/// The text of a manifest, of which there is a limit.
pub fn read(path: &Path) -> Result<String, CommandError> {
    let refused =
        |reason: String| CommandError::Usage(format!("cannot read {}: {reason}", path.display()));
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut text = String::new();
    let length = file
        .take(MAX_MANIFEST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| refused(error.to_string()))?;
    if length as u64 > MAX_MANIFEST_BYTES {
        return Err(refused(format!(
            "it is longer than {MAX_MANIFEST_BYTES} bytes"
        )));
    }
    Ok(text)
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let columns = [
        Column("topic", false),
        Column("status", false),
        Column("partitions", true),
        Column("replicas", true),
        Column("notes", false),
    ];
    let rows = report.topics.iter().map(|topic| {
        let replicas = topic.partitions.first().map(|first| first.replicas.len());
        let number =
            |number: Option<usize>| number.map_or_else(|| "—".to_owned(), |n| n.to_string());
        vec![
            topic.topic.clone(),
            topic.status.name().to_owned(),
            number(Some(topic.partitions.len()).filter(|count| *count > 0)),
            number(replicas),
            notes(topic),
        ]
    });
    write_table(out, &columns, rows)
}

fn notes(topic: &TopicReport) -> String {
    let drift = |drift: &Drift| {
        let actual = drift.actual.as_deref().unwrap_or("not set");
        format!("{} is {actual}, wanted {}", drift.what, drift.wanted)
    };
    let notes = topic.error.iter().cloned();
    let notes = notes.chain(topic.drift.iter().map(drift));
    notes
        .chain(topic.warnings.iter().cloned())
        .collect::<Vec<_>>()
        .join("; ")
}
