//! `thalweg topic describe`: partitions with offsets and sizes, and the settings that differ from the defaults.

use std::io::{self, Write};

use client::configs::{ConfigEntry, Resource};
use client::offsets::OffsetQuery;
use serde::Serialize;

use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::{Column, count, size, write_table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the topic
    name: String,
    /// Show all settings, defaults too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    id: String,
    internal: bool,
    records: i64,
    bytes: Option<u64>,
    partitions: Vec<PartitionRow>,
    configs: Vec<ConfigRow>,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    partition: i32,
    leader: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    start_offset: i64,
    end_offset: i64,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ConfigRow {
    name: String,
    value: Option<String>,
    source: &'static str,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let described = describe(context, &args.name).await?;
    context.output.one(&described, &args.name, |out| {
        print(out, &described, args.all)
    })
}

async fn describe(context: &Context, name: &str) -> Result<Described, CommandError> {
    let mut admin = context.cluster().admin().await?;
    let topic = [admin.topic(name).await?];
    let starts = admin.list_offsets(&topic, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(&topic, OffsetQuery::Latest).await?;
    let sizes = admin.sizes().await.ok();
    let configs = admin.configs(Resource::Topic(name)).await?;
    let [topic] = topic;
    let key = |index: i32| (name.to_owned(), index);
    let partitions: Vec<PartitionRow> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionRow {
            partition: partition.index,
            leader: partition.leader,
            start_offset: starts.get(&key(partition.index)).copied().unwrap_or(0),
            end_offset: ends.get(&key(partition.index)).copied().unwrap_or(0),
            bytes: sizes
                .as_ref()
                .map(|sizes| sizes.get(&key(partition.index)).copied().unwrap_or(0)),
            replicas: partition.replicas,
            in_sync: partition.in_sync,
        })
        .collect();
    Ok(Described {
        name: topic.name,
        id: topic.id,
        internal: topic.is_internal,
        records: partitions
            .iter()
            .map(|p| p.end_offset - p.start_offset)
            .sum(),
        bytes: partitions.iter().map(|p| p.bytes).sum(),
        partitions,
        configs: configs.into_iter().map(config_row).collect(),
    })
}

fn config_row(entry: ConfigEntry) -> ConfigRow {
    ConfigRow {
        name: entry.name,
        value: match entry.is_sensitive {
            true => Some("(secret)".to_owned()),
            false => entry.value,
        },
        source: entry.source,
    }
}

fn print(out: &mut dyn Write, topic: &Described, all: bool) -> io::Result<()> {
    let size_text = topic.bytes.map_or_else(|| "—".to_owned(), size);
    writeln!(
        out,
        "{}  {} records, {size_text}, id {}",
        topic.name,
        count(topic.records),
        topic.id
    )?;
    writeln!(out)?;
    const COLUMNS: [Column; 7] = [
        Column("partition", true),
        Column("leader", true),
        Column("replicas", false),
        Column("in sync", false),
        Column("start", true),
        Column("end", true),
        Column("size", true),
    ];
    let rows = topic.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            partition.leader.to_string(),
            ids(&partition.replicas),
            ids(&partition.in_sync),
            count(partition.start_offset),
            count(partition.end_offset),
            partition.bytes.map_or_else(|| "—".to_owned(), size),
        ]
    });
    write_table(out, &COLUMNS, rows)?;
    let shown = |config: &&ConfigRow| all || config.source != "default";
    let mut configs = topic.configs.iter().filter(shown).peekable();
    writeln!(out)?;
    if configs.peek().is_none() {
        return writeln!(out, "All settings have their defaults (--all shows them).");
    }
    let columns = [
        Column("setting", false),
        Column("value", false),
        Column("from", false),
    ];
    let rows = configs.map(|config| {
        let value = config.value.clone().unwrap_or_else(|| "—".to_owned());
        vec![config.name.clone(), value, config.source.to_owned()]
    });
    write_table(out, &columns, rows)
}

fn ids(ids: &[i32]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
