//! Where partitions are on the brokers' disks and how much they take, as the brokers' log directories tell it.

use std::collections::HashMap;

use wire::describe_log_dirs;

use super::{Admin, check};
use crate::error::ClientError;

/// Bytes on disk by topic and partition, over all replicas.
pub type Sizes = HashMap<(String, i32), u64>;

/// A replica in a log directory of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDir {
    pub broker: i32,
    /// The directory as the broker names it, on the broker's machine.
    pub log_dir: String,
    pub topic: String,
    pub partition: i32,
    pub bytes: u64,
}

impl Admin {
    /// The size of every partition.
    pub async fn sizes(&mut self) -> Result<Sizes, ClientError> {
        let mut sizes = Sizes::new();
        for dir in self.partition_dirs().await? {
            *sizes.entry((dir.topic, dir.partition)).or_default() += dir.bytes;
        }
        Ok(sizes)
    }

    /// Every replica with the directory that it is in.
    pub async fn partition_dirs(&mut self) -> Result<Vec<PartitionDir>, ClientError> {
        let mut dirs = Vec::new();
        for node in self.node_ids() {
            let request = describe_log_dirs::Request { topics: None };
            let reply = self.node(node).await?.call(&request).await?;
            let answer = reply.read()?;
            check(answer.error_code, None, || {
                format!("sizes on broker {node}")
            })?;
            for dir in &answer.results {
                check(dir.error_code, None, || format!("sizes in {}", dir.log_dir))?;
                for topic in &dir.topics {
                    dirs.extend(topic.partitions.iter().map(|partition| PartitionDir {
                        broker: node,
                        log_dir: dir.log_dir.to_string(),
                        topic: topic.name.to_string(),
                        partition: partition.partition_index,
                        bytes: u64::try_from(partition.partition_size).unwrap_or(0),
                    }));
                }
            }
        }
        Ok(dirs)
    }
}
