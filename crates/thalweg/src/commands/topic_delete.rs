//! `thalweg topic delete`: says what goes, asks, deletes.

use client::offsets::OffsetQuery;
use client::topics::Topic;
use serde::Serialize;

use super::confirm;
use super::topic_list::record_count;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::count;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The names of the topics
    #[arg(required = true)]
    names: Vec<String>,
    /// Delete without asking
    #[arg(short, long)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Serialize)]
struct Deleted<'a> {
    topics: &'a [String],
    records: i64,
    dry_run: bool,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let mut topics: Vec<Topic> = Vec::with_capacity(args.names.len());
    for name in &args.names {
        topics.push(admin.topic(name).await?);
    }
    let starts = admin.list_offsets(&topics, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(&topics, OffsetQuery::Latest).await?;
    let records = topics
        .iter()
        .map(|topic| record_count(topic, &starts, &ends))
        .sum();
    let what = format!("{} with {} records", args.names.join(", "), count(records));
    if !args.dry_run {
        confirm(&format!("Delete {what}?"), args.yes)?;
        for name in &args.names {
            admin.delete_topic(name).await?;
        }
    }
    let deleted = Deleted {
        topics: &args.names,
        records,
        dry_run: args.dry_run,
    };
    context.output.one(&deleted, &args.names.join("\n"), |out| {
        let verb = if args.dry_run {
            "would delete"
        } else {
            "deleted"
        };
        writeln!(out, "{verb} {what}")
    })
}
