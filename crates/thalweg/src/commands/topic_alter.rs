//! `thalweg topic alter`: settings and more partitions.

use client::configs::{Change, Resource};
use serde::Serialize;

use super::assignment;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the topic
    name: String,
    /// Change a setting, as in retention.ms=3600000; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Put a setting back to its default; may be repeated
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    /// Extend the topic to this many partitions; keys may then map to other partitions than before
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Only check
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Serialize)]
struct Altered<'a> {
    name: &'a str,
    changes: Vec<String>,
    dry_run: bool,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let set = args
        .set
        .iter()
        .map(|(name, value)| Change::Set(name, value));
    let unset = args.unset.iter().map(|name| Change::Unset(name));
    let changes: Vec<Change<'_>> = set.chain(unset).collect();
    if changes.is_empty() && args.partitions.is_none() {
        let what = "nothing to change; use --set NAME=VALUE, --unset NAME or --partitions N";
        return Err(CommandError::Usage(what.to_owned()));
    }
    let mut admin = context.cluster().admin().await?;
    admin.topic(&args.name).await?;
    if !changes.is_empty() {
        let resource = Resource::Topic(&args.name);
        admin
            .change_configs(resource, &changes, args.dry_run)
            .await?;
    }
    if let Some(count) = args.partitions {
        admin
            .add_partitions(&args.name, count, args.dry_run)
            .await?;
    }
    let partitions = args.partitions.map(|count| format!("partitions={count}"));
    let altered = Altered {
        name: &args.name,
        changes: changes.iter().map(text).chain(partitions).collect(),
        dry_run: args.dry_run,
    };
    context.output.one(&altered, &args.name, |out| {
        let verb = if args.dry_run {
            "would change"
        } else {
            "changed"
        };
        writeln!(
            out,
            "{verb} topic {}: {}",
            args.name,
            altered.changes.join(", ")
        )
    })
}

fn text(change: &Change<'_>) -> String {
    match change {
        Change::Set(name, value) => format!("{name}={value}"),
        Change::Unset(name) => format!("{name} back to its default"),
    }
}
