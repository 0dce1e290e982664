//! One member of a consumer group for a whole process, from which async callers pull records.
//!
//! librdkafka keeps the membership on a thread of its own ([`member`]), so that the group does not rebalance because nobody pulls;
//! the records are read over `wire` when somebody does ([`fetching`]), and wait on a [`board`] for whoever comes next.
//! A record that is handed out and not committed is given again after a restart or a rebalance (at least once); a commit moves the
//! group's offset, and is refused for a partition that was given to another member meanwhile. Works with any cluster and any other
//! members. The HTTP gateway's consume and its leases on plain groups are made of it.

mod board;
mod fetching;
mod member;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::reader::Record;
use fetching::Fetching;
use member::Member;

/// A record that this member was the only one to get, under the present assignment of its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub record: Record,
    /// Which assignment of the partition it was read under.
    generation: u64,
}

impl GroupRecord {
    /// Counts the assignments of this member: records of one partition with different numbers were read under different ones.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// A member of a group; clones are the same member. It leaves when the last clone is dropped.
#[derive(Clone)]
pub struct GroupReader {
    member: Arc<Member>,
    fetching: Arc<Fetching>,
}

impl GroupReader {
    pub(crate) fn join(
        cluster: &Cluster,
        group: &str,
        topics: &[&str],
        properties: &[(&str, &str)],
    ) -> Result<GroupReader, ClientError> {
        let (member, policy) = Member::join(cluster, group, topics, properties)?;
        Ok(GroupReader {
            member: Arc::new(member),
            fetching: Arc::new(Fetching::new(cluster, policy)),
        })
    }

    /// At most `max` records, in order per partition, each given to one caller only; waits until at least one is there or
    /// `wait` is over. Empty when nothing came. What one caller leaves is there for the next.
    ///
    /// # Errors
    /// `TimedOut`, `Unreachable` or `Refused` when the group has not assigned any partition within `wait`, with what is known of
    /// the reason, or when a partition cannot be read. Right after the start a group takes its time, on Kafka three seconds
    /// (`group.initial.rebalance.delay.ms`).
    pub async fn take(&self, max: usize, wait: Duration) -> Result<Vec<GroupRecord>, ClientError> {
        let deadline = Instant::now() + wait;
        loop {
            // Made before looking, so that what comes in between is not missed.
            let arrival = self.member.arrival();
            let taken = self.member.take(max)?;
            if !taken.is_empty() || max == 0 {
                return Ok(taken);
            }
            if Instant::now() >= deadline {
                return self.member.check_assigned(wait).map(|()| Vec::new());
            }
            let turn = tokio::select! {
                biased;
                () = arrival => continue,
                turn = self.fetching.turn() => turn,
                () = sleep_until(deadline) => continue,
            };
            self.fetching.fetch(turn, &self.member, deadline).await?;
        }
    }

    /// Gives records that could not be delivered back to the head of the queue, in their order.
    pub fn give_back(&self, records: &[GroupRecord]) {
        self.member.with_board(|board| board.give_back(records));
        self.member.interrupt();
    }

    /// Commits everything up to and including the highest of these records in each partition, and waits for the broker.
    ///
    /// # Errors
    /// `Refused` (`ErrorKind::Conflict`) when one of the partitions was taken away after the record was handed out: nothing is
    /// committed then, and its records are given again. `TimedOut` and `Unreachable` when the broker does not answer.
    pub async fn commit(&self, records: &[GroupRecord]) -> Result<(), ClientError> {
        match records.is_empty() {
            true => Ok(()),
            false => self.member.commit(board::after(records)).await,
        }
    }

    /// The partitions that this member reads now, by topic.
    pub fn assigned(&self) -> Vec<(String, i32)> {
        self.member.assigned()
    }

    /// Leaves the group, for all clones, and waits until the group knows, no longer than the cluster's time limit.
    pub async fn leave(self) {
        self.member.leave().await;
    }
}
