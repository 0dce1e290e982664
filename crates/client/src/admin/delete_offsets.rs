//! Deleting committed offsets of a group (KIP-496).

use wire::offset_delete;

use super::{Admin, Outcomes, TopicPartition, by_topic, check};
use crate::error::ClientError;

impl Admin {
    /// Makes a group forget its offsets in the partitions given.
    ///
    /// What became of each: GROUP_SUBSCRIBED_TO_TOPIC while members read the topic.
    ///
    /// # Errors
    /// `NotFound` when there is no such group.
    pub async fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Outcomes<TopicPartition>, ClientError> {
        let coordinator = self.coordinator(group).await?;
        let topics = by_topic(partitions).into_iter();
        let topics = topics.map(|(name, partitions)| offset_delete::Topic {
            name,
            partitions: partitions
                .into_iter()
                .map(|partition_index| offset_delete::Partition { partition_index })
                .collect(),
        });
        let request = offset_delete::Request {
            group_id: group,
            topics: topics.collect(),
        };
        let reply = self.node(coordinator).await?.call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, None, || {
            format!("deleting offsets of group {group}")
        })?;
        let mut outcomes = Outcomes::new();
        for topic in &answer.topics {
            for result in &topic.partitions {
                let key = (topic.name.to_string(), result.partition_index);
                let what = || format!("deleting the offset of {}-{}", key.0, key.1);
                let outcome = check(result.error_code, None, what);
                outcomes.push((key, outcome));
            }
        }
        Ok(outcomes)
    }
}
