//! Sizes on disk, as the brokers' log directories tell them.

use std::collections::HashMap;

use wire::describe_log_dirs;

use super::{Admin, check};
use crate::error::ClientError;

/// Bytes on disk by topic and partition, over all replicas.
pub type Sizes = HashMap<(String, i32), u64>;

impl Admin {
    /// The size of every partition.
    pub async fn sizes(&mut self) -> Result<Sizes, ClientError> {
        let mut sizes = Sizes::new();
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
                    for partition in &topic.partitions {
                        let key = (topic.name.to_string(), partition.partition_index);
                        let bytes = u64::try_from(partition.partition_size).unwrap_or(0);
                        *sizes.entry(key).or_default() += bytes;
                    }
                }
            }
        }
        Ok(sizes)
    }
}
