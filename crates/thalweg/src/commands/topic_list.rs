//! `thalweg topic list`: every topic with partitions, records and bytes.

use client::offsets::{OffsetQuery, Offsets};
use client::topics::Topic;
use serde::Serialize;

use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::{Column, Row, count, size};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only topics whose name contains this
    filter: Option<String>,
    /// Also the topics that the broker keeps for itself
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Debug, Serialize)]
struct TopicRow {
    name: String,
    id: String,
    internal: bool,
    partitions: usize,
    replication_factor: usize,
    /// Offsets between the first and the next; more than there are where records were compacted away.
    records: i64,
    /// On disk, all replicas; absent when the cluster does not tell.
    bytes: Option<u64>,
}

impl Row for TopicRow {
    const PLURAL: &'static str = "topics";
    const COLUMNS: &'static [Column] = &[
        Column("name", false),
        Column("partitions", true),
        Column("replicas", true),
        Column("records", true),
        Column("size", true),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.partitions.to_string(),
            self.replication_factor.to_string(),
            count(self.records),
            self.bytes.map_or_else(|| "—".to_owned(), size),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let mut topics = admin.topics().await?;
    topics.retain(|topic| args.internal || !topic.is_internal);
    if let Some(filter) = &args.filter {
        topics.retain(|topic| topic.name.contains(filter));
    }
    let starts = admin.list_offsets(&topics, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(&topics, OffsetQuery::Latest).await?;
    let sizes = admin.sizes().await.ok();
    let rows: Vec<TopicRow> = topics
        .iter()
        .map(|topic| TopicRow {
            name: topic.name.clone(),
            id: topic.id.clone(),
            internal: topic.is_internal,
            partitions: topic.partitions.len(),
            replication_factor: replication_factor(topic),
            records: record_count(topic, &starts, &ends),
            bytes: sizes.as_ref().map(|sizes| {
                let of = |index| sizes.get(&(topic.name.clone(), index)).copied();
                topic
                    .partitions
                    .iter()
                    .filter_map(|partition| of(partition.index))
                    .sum()
            }),
        })
        .collect();
    let when_empty = "No topics yet. A topic is a named log: thalweg topic create orders";
    context.output.rows(&rows, when_empty)
}

pub fn replication_factor(topic: &Topic) -> usize {
    topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len())
}

/// How many offsets lie between the first and the next of all partitions.
pub fn record_count(topic: &Topic, starts: &Offsets, ends: &Offsets) -> i64 {
    let at = |offsets: &Offsets, index| {
        offsets
            .get(&(topic.name.clone(), index))
            .copied()
            .unwrap_or(0)
    };
    topic
        .partitions
        .iter()
        .map(|partition| at(ends, partition.index) - at(starts, partition.index))
        .sum()
}
