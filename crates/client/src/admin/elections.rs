//! Elections of partition leaders (KIP-460).

use wire::elect_leaders;

use super::{Admin, Outcomes, TopicPartition, by_topic, check};
use crate::error::ClientError;

/// Who is to lead, by the number in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The first of the partition's replicas.
    Preferred = 0,
    /// Any that is alive, even if it lacks acknowledged records, which are lost then.
    Unclean = 1,
}

impl Admin {
    /// Elects leaders of the partitions given, or of all that need it.
    ///
    /// What became of each: ELECTION_NOT_NEEDED when the right broker leads already.
    pub async fn elect_leaders(
        &mut self,
        election: Election,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Outcomes<TopicPartition>, ClientError> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics
                .map(|(topic, partitions)| elect_leaders::TopicPartitions { topic, partitions })
                .collect()
        });
        let request = elect_leaders::Request {
            election_type: election as i8,
            topic_partitions: topics,
            timeout_ms: self.timeout_ms(),
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, None, || "electing leaders".to_owned())?;
        let mut outcomes = Outcomes::new();
        for topic in &answer.replica_election_results {
            for result in &topic.partition_result {
                let what = || {
                    format!(
                        "electing a leader of {}-{}",
                        topic.topic, result.partition_id
                    )
                };
                let outcome = check(result.error_code, result.error_message.as_deref(), what);
                outcomes.push(((topic.topic.to_string(), result.partition_id), outcome));
            }
        }
        Ok(outcomes)
    }
}
