//! `thalweg group reset`: shows where each partition is and where it would be; `--yes` moves it.

use client::Admin;
use client::groups::Committed;
use client::offsets::{OffsetQuery, Offsets};
use client::topics::Topic;
use serde::Serialize;

use super::group::find;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::{CommandError, Exit};
use crate::output::{Column, count, write_table};
use crate::records::from::{Bounds, From};
use crate::records::time::now_ms;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the group
    name: String,
    /// Where to: earliest, latest, -50 (the last 50 of each partition), offset:9, now-15m, time:2026-11-20T12:00:00Z
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: From,
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
    partitions: Vec<Move>,
}

#[derive(Debug, Serialize)]
struct Move {
    topic: String,
    partition: i32,
    before: Option<i64>,
    after: i64,
    end_offset: i64,
    lag_after: i64,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let committed = admin.committed(&args.name).await?;
    let state = group_state(
        &mut admin,
        &args.name,
        !committed.is_empty() || !args.topic.is_empty(),
    )
    .await?;
    let moves = plan(&mut admin, args, &committed).await?;
    if args.yes {
        refuse_active(&args.name, &state)?;
        let offsets: Committed = moves
            .iter()
            .map(|step| ((step.topic.clone(), step.partition), step.after))
            .collect();
        admin.commit(&args.name, &offsets).await?;
    }
    let reset = Reset {
        group: args.name.clone(),
        applied: args.yes,
        partitions: moves,
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
    match find(admin, name).await {
        Ok((group, _)) => Ok(group.state),
        Err(error) if error.exit() == Exit::NotFound && may_be_new => Ok("Empty".to_owned()),
        Err(error) => Err(error),
    }
}

fn is_active(state: &str) -> bool {
    !matches!(state, "Empty" | "Dead" | "")
}

fn refuse_active(name: &str, state: &str) -> Result<(), CommandError> {
    if !is_active(state) {
        return Ok(());
    }
    let what = format!("group {name} is {state}; stop its consumers, then reset it");
    Err(CommandError::new(Exit::Conflict, what))
}

async fn plan(
    admin: &mut Admin,
    args: &Args,
    committed: &Committed,
) -> Result<Vec<Move>, CommandError> {
    let topics = selected(admin, args, committed).await?;
    let starts = admin.list_offsets(&topics, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(&topics, OffsetQuery::Latest).await?;
    let at_time = match args.to.timestamp(now_ms()) {
        Some(ms) => admin.list_offsets(&topics, OffsetQuery::AtTime(ms)).await?,
        None => Offsets::new(),
    };
    let mut moves = Vec::new();
    for topic in &topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.index);
            let bounds = Bounds {
                start: starts.get(&key).copied().unwrap_or(0),
                end: ends.get(&key).copied().unwrap_or(0),
                at_time: at_time.get(&key).copied(),
            };
            let after = args.to.offset(bounds);
            moves.push(Move {
                before: committed.get(&key).copied(),
                after,
                end_offset: bounds.end,
                lag_after: bounds.end - after,
                topic: key.0,
                partition: key.1,
            });
        }
    }
    Ok(moves)
}

/// The topics to move, each with only the partitions to move.
async fn selected(
    admin: &mut Admin,
    args: &Args,
    committed: &Committed,
) -> Result<Vec<Topic>, CommandError> {
    let mut wanted = args.topic.clone();
    if wanted.is_empty() {
        for (topic, partition) in committed.keys() {
            match wanted.iter_mut().find(|(name, _)| name == topic) {
                Some((_, partitions)) => partitions.push(*partition),
                None => wanted.push((topic.clone(), vec![*partition])),
            }
        }
    }
    let mut topics = Vec::with_capacity(wanted.len());
    for (name, partitions) in wanted {
        let mut topic = admin.topic(&name).await?;
        if !partitions.is_empty() {
            topic
                .partitions
                .retain(|partition| partitions.contains(&partition.index));
        }
        topics.push(topic);
    }
    Ok(topics)
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
