//! `thalweg group reset`: shows where each partition is and where it would be; `--yes` moves it.

use client::group_reset::{Move, Target, destination, is_active};
use client::{Admin, ErrorKind, Place};
use serde::Serialize;

use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::output::{Column, count, write_table};
use crate::records::time::now_ms;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the group
    name: String,
    /// Where to: earliest, latest, -50 (the last 50 of each partition), offset:9, now-15m, time:2026-11-20T12:00:00Z
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: Place,
    /// Only this topic, or with partitions as in orders:0,2; may be repeated. Without it, all that the group has committed
    #[arg(long, value_parser = selection)]
    topic: Vec<(String, Vec<i32>)>,
    /// Move the offsets; without it they are only shown
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// `orders` or `orders:0,2`.
fn selection(text: &str) -> Result<(String, Vec<i32>), String> {
    let Some((topic, partitions)) = text.rsplit_once(':') else {
        return Ok((text.to_owned(), Vec::new()));
    };
    let partitions = partitions
        .split(',')
        .map(str::parse::<i32>)
        .collect::<Result<Vec<_>, _>>();
    partitions
        .map(|partitions| (topic.to_owned(), partitions))
        .map_err(|_| format!("`{text}` is no topic with partitions; write orders:0,2"))
}

#[derive(Debug, Serialize)]
struct Reset {
    group: String,
    applied: bool,
    partitions: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partition: i32,
    before: Option<i64>,
    after: i64,
    end_offset: i64,
    lag_after: i64,
}

impl From<Move> for Row {
    fn from(step: Move) -> Row {
        Row {
            lag_after: step.lag_after(),
            topic: step.topic,
            partition: step.partition,
            before: step.before,
            after: step.after,
            end_offset: step.end_offset,
        }
    }
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let committed = admin.committed(&args.name).await?;
    let may_be_new = !committed.is_empty() || !args.topic.is_empty();
    let state = group_state(&mut admin, &args.name, may_be_new).await?;
    let target = Target::Place(args.to);
    let moves = admin
        .plan_reset(&committed, &args.topic, target, now_ms())
        .await?;
    if args.yes {
        refuse_active(&args.name, &state)?;
        admin.commit(&args.name, &destination(&moves)).await?;
    }
    let reset = Reset {
        group: args.name.clone(),
        applied: args.yes,
        partitions: moves.into_iter().map(Row::from).collect(),
    };
    context
        .output
        .one(&reset, &args.name, |out| print(out, &reset))?;
    if !args.yes {
        eprintln!("Nothing was changed. Add --yes to move the group.");
        if is_active(&state) {
            eprintln!("It is {state} now: stop its consumers first.");
        }
    }
    Ok(())
}

/// The group's state; a group that is not there yet may be given offsets when topics are named.
async fn group_state(
    admin: &mut Admin,
    name: &str,
    may_be_new: bool,
) -> Result<String, CommandError> {
    match admin.find_group(name).await {
        Ok((group, _)) => Ok(group.state),
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_new => Ok("Empty".to_owned()),
        Err(error) => Err(error.into()),
    }
}

fn refuse_active(name: &str, state: &str) -> Result<(), CommandError> {
    if !is_active(state) {
        return Ok(());
    }
    let what = format!("group {name} is {state}; stop its consumers, then reset it");
    Err(CommandError::new(Exit::Conflict, what))
}

fn print(out: &mut dyn std::io::Write, reset: &Reset) -> std::io::Result<()> {
    const COLUMNS: [Column; 6] = [
        Column("topic", false),
        Column("partition", true),
        Column("before", true),
        Column("after", true),
        Column("change", true),
        Column("lag after", true),
    ];
    let rows = reset.partitions.iter().map(|step| {
        vec![
            step.topic.clone(),
            step.partition.to_string(),
            step.before.map_or_else(|| "—".to_owned(), count),
            count(step.after),
            step.before
                .map_or_else(|| "—".to_owned(), |before| count(step.after - before)),
            count(step.lag_after),
        ]
    });
    write_table(out, &COLUMNS, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_a_topic_and_perhaps_partitions() {
        assert_eq!(selection("orders"), Ok(("orders".into(), vec![])));
        assert_eq!(selection("orders:0,2"), Ok(("orders".into(), vec![0, 2])));
        assert!(selection("orders:x").is_err());
    }

    #[test]
    fn only_a_group_without_members_may_be_moved() {
        assert!(refuse_active("g", "Empty").is_ok());
        let error = refuse_active("g", "Stable").unwrap_err();
        assert_eq!(error.exit(), Exit::Conflict);
    }
}
