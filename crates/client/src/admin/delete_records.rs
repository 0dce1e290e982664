//! Deleting the records of partitions up to an offset (KIP-107).

use std::collections::BTreeMap;

use wire::{ErrorCode, delete_records};

use super::{Admin, TopicPartition, check};
use crate::error::ClientError;

/// Deletes everything that is there; consumers have seen it or could have.
pub const UP_TO_THE_HIGH_WATERMARK: i64 = -1;

/// The first offset that is left, by partition.
pub type FirstOffsets = BTreeMap<TopicPartition, Result<i64, ClientError>>;

impl Admin {
    /// Deletes the records before an offset in each partition, by one request to each leader.
    ///
    /// # Errors
    /// When a topic is unknown or a leader cannot be asked; what is wrong with one partition is told with it.
    pub async fn delete_records(
        &mut self,
        before: &BTreeMap<TopicPartition, i64>,
    ) -> Result<FirstOffsets, ClientError> {
        let mut outcomes = FirstOffsets::new();
        for (leader, topics) in self.leaders_of(before, &mut outcomes).await? {
            let topics = topics.into_iter();
            let request = delete_records::Request {
                topics: topics
                    .map(|(name, partitions)| delete_records::Topic { name, partitions })
                    .collect(),
                timeout_ms: self.timeout_ms(),
            };
            let reply = self.node(leader).await?.call(&request).await?;
            for topic in &reply.read()?.topics {
                for result in &topic.partitions {
                    let key = (topic.name.to_string(), result.partition_index);
                    let what = || format!("deleting records of {}-{}", key.0, key.1);
                    let outcome = check(result.error_code, None, what);
                    outcomes.insert(key, outcome.map(|()| result.low_watermark));
                }
            }
        }
        Ok(outcomes)
    }

    /// The partitions by leader and topic; one without a leader is refused in `outcomes`.
    async fn leaders_of<'a>(
        &mut self,
        before: &'a BTreeMap<TopicPartition, i64>,
        outcomes: &mut FirstOffsets,
    ) -> Result<BTreeMap<i32, BTreeMap<&'a str, Vec<delete_records::Partition>>>, ClientError> {
        let mut leaders = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (key, offset) in before {
            let (name, index) = (key.0.as_str(), key.1);
            if !known.contains_key(name) {
                known.insert(name, self.topic(name).await?);
            }
            let mut partitions = known[name].partitions.iter();
            let refusal = match partitions.find(|partition| partition.index == index) {
                Some(partition) if partition.leader >= 0 => {
                    let topics: &mut BTreeMap<_, Vec<_>> =
                        leaders.entry(partition.leader).or_default();
                    topics
                        .entry(name)
                        .or_default()
                        .push(delete_records::Partition {
                            partition_index: index,
                            offset: *offset,
                        });
                    continue;
                }
                Some(_) => ErrorCode::LeaderNotAvailable,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            let what = format!("deleting records of {name}-{index}");
            outcomes.insert(key.clone(), Err(ClientError::refused(what, refusal, None)));
        }
        Ok(leaders)
    }
}
