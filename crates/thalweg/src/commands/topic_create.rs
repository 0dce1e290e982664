//! `thalweg topic create`: a topic with the broker's defaults or given numbers and settings.

use client::ErrorKind;
use client::topics::NewTopic;
use serde::Serialize;

use super::assignment;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the topic
    name: String,
    /// How many partitions; without it the broker's default
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas; without it the broker's default
    #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topic, as in retention.ms=3600000; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Succeed when the topic exists already
    #[arg(long)]
    if_not_exists: bool,
    /// Only check
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Serialize)]
struct Created<'a> {
    name: &'a str,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    created: bool,
    dry_run: bool,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let new = NewTopic {
        name: &args.name,
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        configs: args
            .set
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
    };
    let told = |number: i64| (number >= 0).then_some(number);
    let result = match admin.create_topic(&new, args.dry_run).await {
        Ok(created) => Created {
            name: &args.name,
            partitions: told(created.partitions.into()).map(|_| created.partitions),
            replication_factor: told(created.replication_factor.into())
                .map(|_| created.replication_factor),
            created: !args.dry_run,
            dry_run: args.dry_run,
        },
        Err(error) if args.if_not_exists && error.kind() == ErrorKind::Conflict => Created {
            name: &args.name,
            partitions: None,
            replication_factor: None,
            created: false,
            dry_run: args.dry_run,
        },
        Err(error) => return Err(error.into()),
    };
    context.output.one(&result, &args.name, |out| {
        let name = &args.name;
        match (result.created, args.dry_run, result.partitions) {
            (true, _, Some(partitions)) => {
                let noun = if partitions == 1 {
                    "partition"
                } else {
                    "partitions"
                };
                writeln!(out, "created topic {name} with {partitions} {noun}")
            }
            (true, _, None) => writeln!(out, "created topic {name}"),
            (false, true, _) => writeln!(out, "topic {name} can be created"),
            (false, false, _) => writeln!(out, "topic {name} exists already"),
        }
    })
}
