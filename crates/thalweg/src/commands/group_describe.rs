//! `thalweg group describe`: members, committed offsets, lag in records and, where timestamps tell, in seconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use client::Admin;
use client::groups::{Committed, Group, Member};
use client::offsets::OffsetQuery;
use client::topics::Topic;
use serde::Serialize;

use super::group::find;
use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::{Column, count, duration, write_table};
use crate::records::time::now_ms;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the group
    name: String,
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    state: String,
    protocol: String,
    coordinator: i32,
    lag: i64,
    /// The largest of the partitions; absent when no timestamp tells.
    lag_seconds: Option<f64>,
    members: Vec<MemberRow>,
    partitions: Vec<PartitionRow>,
}

#[derive(Debug, Serialize)]
struct MemberRow {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    partitions: BTreeMap<String, Vec<i32>>,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    topic: String,
    partition: i32,
    /// The next offset to read; absent when none was committed.
    committed: Option<i64>,
    end_offset: Option<i64>,
    lag: Option<i64>,
    /// The age of the first record that was not read yet; 0 when all was.
    lag_seconds: Option<f64>,
    member: Option<String>,
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let mut admin = context.cluster().admin().await?;
    let (group, kind) = find(&mut admin, &args.name).await?;
    if let Some(kind) = kind {
        eprintln!(
            "note: {} is a group of type {kind}; its members are not shown",
            args.name
        );
    }
    let committed = admin.committed(&args.name).await?;
    let partitions = partitions(&mut admin, &group, &committed).await?;
    let described = Described {
        lag: partitions
            .iter()
            .filter_map(|partition| partition.lag)
            .sum(),
        lag_seconds: partitions
            .iter()
            .filter_map(|p| p.lag_seconds)
            .reduce(f64::max),
        members: group.members.into_iter().map(member_row).collect(),
        name: group.name,
        state: group.state,
        protocol: group.protocol,
        coordinator: group.coordinator,
        partitions,
    };
    context
        .output
        .one(&described, &args.name, |out| print(out, &described))
}

async fn partitions(
    admin: &mut Admin,
    group: &Group,
    committed: &Committed,
) -> Result<Vec<PartitionRow>, CommandError> {
    let mut owners: BTreeMap<(String, i32), Option<String>> =
        committed.keys().map(|key| (key.clone(), None)).collect();
    for member in &group.members {
        for (topic, partitions) in &member.partitions {
            for partition in partitions {
                owners.insert((topic.clone(), *partition), Some(member.client_id.clone()));
            }
        }
    }
    let mut topics: Vec<Topic> = admin.topics().await?;
    topics.retain(|topic| owners.keys().any(|(name, _)| *name == topic.name));
    let ends = admin.list_offsets(&topics, OffsetQuery::Latest).await?;
    let mut rows = Vec::with_capacity(owners.len());
    for ((topic, partition), member) in owners {
        let key = (topic, partition);
        let (offset, end) = (committed.get(&key).copied(), ends.get(&key).copied());
        let lag = offset.zip(end).map(|(offset, end)| (end - offset).max(0));
        let lag_seconds = match (offset, lag) {
            (_, Some(0)) => Some(0.0),
            (Some(offset), Some(_)) => age_seconds(admin, &topics, &key, offset).await,
            _ => None,
        };
        let (topic, partition) = key;
        rows.push(PartitionRow {
            topic,
            partition,
            committed: offset,
            end_offset: end,
            lag,
            lag_seconds,
            member,
        });
    }
    Ok(rows)
}

/// The age of the record at `offset`; an answer that cannot be had is no error here, only less to show.
async fn age_seconds(
    admin: &mut Admin,
    topics: &[Topic],
    key: &(String, i32),
    offset: i64,
) -> Option<f64> {
    let topic = topics.iter().find(|topic| topic.name == key.0)?;
    let leader = topic
        .partitions
        .iter()
        .find(|partition| partition.index == key.1)?
        .leader;
    let written = admin
        .record_timestamp(&key.0, key.1, leader, offset)
        .await
        .ok()??;
    Some((now_ms() - written).max(0) as f64 / 1000.0)
}

fn member_row(member: Member) -> MemberRow {
    MemberRow {
        id: member.id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.host,
        partitions: member.partitions,
    }
}

fn print(out: &mut dyn Write, group: &Described) -> io::Result<()> {
    let seconds = |seconds: Option<f64>| {
        seconds.map_or_else(
            || "—".to_owned(),
            |seconds| duration((seconds * 1000.0) as i64),
        )
    };
    let number = |number: Option<i64>| number.map_or_else(|| "—".to_owned(), count);
    writeln!(
        out,
        "{}  {}, {} members, lag {} records ({})",
        group.name,
        group.state,
        group.members.len(),
        count(group.lag),
        seconds(group.lag_seconds),
    )?;
    if !group.members.is_empty() {
        writeln!(out)?;
        let columns = [
            Column("member", false),
            Column("client", false),
            Column("host", false),
            Column("partitions", false),
        ];
        let rows = group.members.iter().map(|member| {
            vec![
                member.id.clone(),
                member.client_id.clone(),
                member.host.clone(),
                assigned(&member.partitions),
            ]
        });
        write_table(out, &columns, rows)?;
    }
    writeln!(out)?;
    const COLUMNS: [Column; 7] = [
        Column("topic", false),
        Column("partition", true),
        Column("committed", true),
        Column("end", true),
        Column("lag", true),
        Column("time lag", true),
        Column("client", false),
    ];
    let rows = group.partitions.iter().map(|row| {
        vec![
            row.topic.clone(),
            row.partition.to_string(),
            number(row.committed),
            number(row.end_offset),
            number(row.lag),
            seconds(row.lag_seconds),
            row.member.clone().unwrap_or_else(|| "—".to_owned()),
        ]
    });
    write_table(out, &COLUMNS, rows)
}

fn assigned(partitions: &BTreeMap<String, Vec<i32>>) -> String {
    let topics = partitions.iter().map(|(topic, partitions)| {
        let numbers: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!("{topic}[{}]", numbers.join(","))
    });
    topics.collect::<Vec<_>>().join(" ")
}
