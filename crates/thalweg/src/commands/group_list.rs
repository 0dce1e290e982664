//! `thalweg group list`: groups with their state, members and lag.

use client::Admin;
use client::groups::GroupListing;
use client::offsets::OffsetQuery;
use client::topics::Topic;
use serde::Serialize;

use crate::cli::Context;
use crate::config::flags::ClientFlags;
use crate::exit::CommandError;
use crate::output::{Column, Row, count};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub client: ClientFlags,
}

#[derive(Debug, Serialize)]
struct GroupRow {
    name: String,
    state: String,
    #[serde(rename = "type")]
    kind: String,
    topics: Vec<String>,
    /// Records not yet read, over all partitions with a committed offset.
    lag: i64,
}

impl Row for GroupRow {
    const PLURAL: &'static str = "groups";
    const COLUMNS: &'static [Column] = &[
        Column("name", false),
        Column("state", false),
        Column("type", false),
        Column("lag", true),
        Column("topics", false),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.clone(),
            self.kind.clone(),
            count(self.lag),
            self.topics.join(", "),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

pub async fn run(context: &Context, args: &Args) -> Result<(), CommandError> {
    let _ = args;
    let mut admin = context.cluster().admin().await?;
    let groups = admin.groups().await?;
    let topics = admin.topics().await?;
    let mut rows = Vec::with_capacity(groups.len());
    for group in groups {
        rows.push(row(&mut admin, &topics, group).await?);
    }
    let when_empty =
        "No groups yet. A group appears when a consumer joins: thalweg consume TOPIC --group NAME";
    context.output.rows(&rows, when_empty)
}

async fn row(
    admin: &mut Admin,
    topics: &[Topic],
    group: GroupListing,
) -> Result<GroupRow, CommandError> {
    let committed = admin.committed(&group.name).await?;
    let mut names: Vec<String> = committed.keys().map(|(topic, _)| topic.clone()).collect();
    names.dedup();
    let read: Vec<Topic> = topics
        .iter()
        .filter(|topic| names.contains(&topic.name))
        .cloned()
        .collect();
    let ends = admin.list_offsets(&read, OffsetQuery::Latest).await?;
    let lag = committed
        .iter()
        .filter_map(|(key, offset)| ends.get(key).map(|end| (end - offset).max(0)))
        .sum();
    Ok(GroupRow {
        name: group.name,
        state: group.state,
        kind: group.kind,
        topics: names,
        lag,
    })
}
