//! How far a group has come: per partition what it committed, what is left, since when the first unread record waits.
//!
//! `thalweg group describe` and `GET /v1/groups/{group}` print it.

use std::collections::{BTreeMap, BTreeSet};

use super::Admin;
use super::groups::{Committed, Group, GroupListing};
use super::offsets::{OffsetQuery, Offsets};
use super::topics::Topic;
use crate::error::{ClientError, ErrorKind};

/// One partition that a group has committed or is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProgress {
    pub topic: String,
    pub partition: i32,
    /// The next offset to read; absent when none was committed.
    pub committed: Option<i64>,
    /// Absent when the topic is gone.
    pub end_offset: Option<i64>,
    /// Records not read yet.
    pub lag: Option<i64>,
    /// When the first unread record was written, in milliseconds since 1970; absent when all is read or no timestamp tells.
    pub unread_since_ms: Option<i64>,
    pub owner: Option<Owner>,
}

/// The member that reads a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub member_id: String,
    pub client_id: String,
}

impl PartitionProgress {
    /// The age of the first unread record in seconds: 0 when all is read, nothing when no timestamp tells.
    pub fn lag_seconds(&self, now_ms: i64) -> Option<f64> {
        match (self.lag?, self.unread_since_ms) {
            (0, _) => Some(0.0),
            (_, Some(since)) => Some(now_ms.saturating_sub(since).max(0) as f64 / 1000.0),
            (_, None) => None,
        }
    }
}

/// Records not read yet, over all partitions.
pub fn total_lag(partitions: &[PartitionProgress]) -> i64 {
    partitions.iter().filter_map(|row| row.lag).sum()
}

/// The largest age of a first unread record; nothing when no timestamp tells.
pub fn worst_lag_seconds(partitions: &[PartitionProgress], now_ms: i64) -> Option<f64> {
    let seconds = partitions.iter().filter_map(|row| row.lag_seconds(now_ms));
    seconds.reduce(f64::max)
}

impl Admin {
    /// A group of any type. One that DescribeGroups does not know comes without members and as it is listed.
    ///
    /// # Errors
    /// `NotFound` when no broker lists it either.
    pub async fn find_group(
        &mut self,
        name: &str,
    ) -> Result<(Group, Option<GroupListing>), ClientError> {
        let error = match self.group(name).await {
            Ok(group) => return Ok((group, None)),
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            Err(error) => return Err(error),
        };
        let groups = self.groups().await?;
        let Some(listed) = groups.into_iter().find(|group| group.name == name) else {
            return Err(error);
        };
        let group = Group {
            name: listed.name.clone(),
            state: listed.state.clone(),
            coordinator: self.coordinator(name).await?,
            ..Group::default()
        };
        Ok((group, Some(listed)))
    }

    /// Every partition that the group has committed or whose members are assigned, in order.
    ///
    /// # Errors
    /// Whatever keeps offsets from being listed; a timestamp that cannot be read is only absent.
    pub async fn group_progress(
        &mut self,
        group: &Group,
        committed: &Committed,
    ) -> Result<Vec<PartitionProgress>, ClientError> {
        let owners = owners(group, committed);
        let names: BTreeSet<&str> = owners.keys().map(|(topic, _)| topic.as_str()).collect();
        let mut topics: Vec<Topic> = self.topics().await?;
        topics.retain(|topic| names.contains(topic.name.as_str()));
        let ends = self.list_offsets(&topics, OffsetQuery::Latest).await?;
        let mut rows = rows(owners, committed, &ends);
        for row in &mut rows {
            let (Some(offset), Some(1..)) = (row.committed, row.lag) else {
                continue;
            };
            row.unread_since_ms = self.written_at(&topics, row, offset).await;
        }
        Ok(rows)
    }

    async fn written_at(
        &mut self,
        topics: &[Topic],
        row: &PartitionProgress,
        offset: i64,
    ) -> Option<i64> {
        let topic = topics.iter().find(|topic| topic.name == row.topic)?;
        let partition = topic
            .partitions
            .iter()
            .find(|partition| partition.index == row.partition)?;
        self.record_timestamp(&row.topic, row.partition, partition.leader, offset)
            .await
            .ok()?
    }
}

type Owners = BTreeMap<(String, i32), Option<Owner>>;

fn owners(group: &Group, committed: &Committed) -> Owners {
    let mut owners: Owners = committed.keys().map(|key| (key.clone(), None)).collect();
    for member in &group.members {
        let assigned = member
            .partitions
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |index| (topic, *index)));
        for (topic, partition) in assigned {
            let owner = Owner {
                member_id: member.id.clone(),
                client_id: member.client_id.clone(),
            };
            owners.insert((topic.clone(), partition), Some(owner));
        }
    }
    owners
}

fn rows(owners: Owners, committed: &Committed, ends: &Offsets) -> Vec<PartitionProgress> {
    let rows = owners.into_iter().map(|(key, owner)| {
        let (offset, end) = (committed.get(&key).copied(), ends.get(&key).copied());
        PartitionProgress {
            committed: offset,
            end_offset: end,
            lag: offset.zip(end).map(|(offset, end)| (end - offset).max(0)),
            unread_since_ms: None,
            owner,
            topic: key.0,
            partition: key.1,
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::groups::Member;
    use super::*;

    fn key(partition: i32) -> (String, i32) {
        ("t".to_owned(), partition)
    }

    #[test]
    fn a_partition_counts_when_it_is_committed_or_assigned() {
        let member = Member {
            id: "m".to_owned(),
            client_id: "c".to_owned(),
            partitions: BTreeMap::from([("t".to_owned(), vec![1, 2])]),
            ..Member::default()
        };
        let group = Group {
            members: vec![member],
            ..Group::default()
        };
        let committed = Committed::from([(key(0), 4), (key(1), 9)]);
        let ends = Offsets::from([(key(0), 10), (key(1), 9), (key(2), 5)]);
        let rows = rows(owners(&group, &committed), &committed, &ends);
        let lags: Vec<_> = rows.iter().map(|row| (row.partition, row.lag)).collect();
        assert_eq!(lags, [(0, Some(6)), (1, Some(0)), (2, None)]);
        assert_eq!(rows[0].owner, None);
        let owner = rows[2].owner.as_ref().expect("assigned");
        assert_eq!(owner.member_id, "m");
        assert_eq!(total_lag(&rows), 6);
    }

    #[test]
    fn lag_in_seconds_is_the_age_of_the_first_unread_record() {
        let row = |lag, unread_since_ms| PartitionProgress {
            topic: "t".to_owned(),
            partition: 0,
            committed: None,
            end_offset: None,
            lag,
            unread_since_ms,
            owner: None,
        };
        assert_eq!(row(Some(0), None).lag_seconds(9_000), Some(0.0));
        assert_eq!(row(Some(3), Some(4_000)).lag_seconds(9_000), Some(5.0));
        assert_eq!(row(Some(3), None).lag_seconds(9_000), None);
        assert_eq!(row(None, None).lag_seconds(9_000), None);
        // Producers give timestamps, and their clocks may be ahead.
        assert_eq!(row(Some(3), Some(10_000)).lag_seconds(9_000), Some(0.0));
        let rows = [row(Some(0), None), row(Some(1), Some(8_000))];
        assert_eq!(worst_lag_seconds(&rows, 9_000), Some(1.0));
    }
}
