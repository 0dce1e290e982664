//! `thalweg group describe`: members, committed offsets, lag in records and, where timestamps tell, in seconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use client::group_progress::{PartitionProgress, total_lag, worst_lag_seconds};
use client::groups::Member;
use serde::Serialize;

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
    let (group, listed) = admin.find_group(&args.name).await?;
    if let Some(listed) = listed {
        eprintln!(
            "note: {} is a group of type {}; its members are not shown",
            args.name, listed.kind
        );
    }
    let committed = admin.committed(&args.name).await?;
    let partitions = admin.group_progress(&group, &committed).await?;
    let now_ms = now_ms();
    let described = Described {
        lag: total_lag(&partitions),
        lag_seconds: worst_lag_seconds(&partitions, now_ms),
        members: group.members.into_iter().map(member_row).collect(),
        name: group.name,
        state: group.state,
        protocol: group.protocol,
        coordinator: group.coordinator,
        partitions: partitions
            .into_iter()
            .map(|row| partition_row(row, now_ms))
            .collect(),
    };
    context
        .output
        .one(&described, &args.name, |out| print(out, &described))
}

fn partition_row(row: PartitionProgress, now_ms: i64) -> PartitionRow {
    PartitionRow {
        lag_seconds: row.lag_seconds(now_ms),
        topic: row.topic,
        partition: row.partition,
        committed: row.committed,
        end_offset: row.end_offset,
        lag: row.lag,
        member: row.owner.map(|owner| owner.client_id),
    }
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
