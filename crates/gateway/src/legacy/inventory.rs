//! What topics one backend has: when they were made, how many messages they hold, how they are laid out.
//!
//! Topics that begin with an underscore are internal (Kafka's own, the platform's state) and do not exist for this API. A topic
//! that was not made here is noted in the registry when it is first seen, with the time of its first record if it has one.

use std::collections::BTreeMap;

use client::configs::Resource;
use client::offsets::OffsetQuery;
use client::topics::Topic;
use client::{ClientError, PooledAdmin};
use jiff::Timestamp;

use super::refusal::Refusal;
use crate::backend::Backend;
use crate::clock;
use crate::registry::Registry;

/// One topic of one backend.
#[derive(Debug, Clone)]
pub struct TopicFacts {
    pub topic: Topic,
    pub created_at: Timestamp,
    /// The offsets that its partitions span.
    pub message_count: i64,
}

impl TopicFacts {
    pub fn partition_count(&self) -> usize {
        self.topic.partitions.len()
    }

    pub fn replication_factor(&self) -> usize {
        let first = self.topic.partitions.first();
        first.map_or(0, |partition| partition.replicas.len())
    }
}

/// Whether this API keeps its hands off a topic.
pub fn is_internal(name: &str) -> bool {
    name.starts_with('_')
}

/// The topics that this API shows, by name.
///
/// # Errors
/// The cluster does not answer.
pub async fn topics(backend: &Backend) -> Result<Vec<Topic>, ClientError> {
    let mut topics = backend.admin().await?.topics().await?;
    topics.retain(|topic| !topic.is_internal && !is_internal(&topic.name));
    Ok(topics)
}

/// All topics with what is in them.
///
/// # Errors
/// The cluster does not answer, or the registry cannot be written.
pub async fn all(backend: &Backend, registry: &Registry) -> Result<Vec<TopicFacts>, Refusal> {
    facts_of(backend, registry, topics(backend).await?).await
}

/// One topic; nothing when it does not exist for this API.
///
/// # Errors
/// As [`all`].
pub async fn one(
    backend: &Backend,
    registry: &Registry,
    name: &str,
) -> Result<Option<TopicFacts>, Refusal> {
    let mut topics = topics(backend).await?;
    topics.retain(|topic| topic.name == name);
    Ok(facts_of(backend, registry, topics).await?.pop())
}

/// The settings that were given to a topic itself; secret ones have no value and are left out.
///
/// # Errors
/// The cluster does not answer, or the topic is gone.
pub async fn configs(
    backend: &Backend,
    name: &str,
) -> Result<BTreeMap<String, String>, ClientError> {
    let mut admin = backend.admin().await?;
    let entries = admin.configs(Resource::Topic(name)).await?;
    let own = entries.into_iter().filter(|entry| entry.source == "topic");
    Ok(own
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect())
}

async fn facts_of(
    backend: &Backend,
    registry: &Registry,
    topics: Vec<Topic>,
) -> Result<Vec<TopicFacts>, Refusal> {
    let mut admin = backend.admin().await?;
    let reachable: Vec<Topic> = topics.iter().map(reachable).collect();
    let earliest = admin
        .list_offsets(&reachable, OffsetQuery::Earliest)
        .await?;
    let latest = admin.list_offsets(&reachable, OffsetQuery::Latest).await?;
    let mut facts = Vec::with_capacity(topics.len());
    let mut unseen = Vec::new();
    for topic in topics {
        let mut message_count = 0;
        let mut first = None;
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.index);
            let start = earliest.get(&key).copied().unwrap_or(0);
            let end = latest.get(&key).copied().unwrap_or(start);
            if end > start && first.is_none() {
                first = Some((partition.index, partition.leader, start));
            }
            message_count += (end - start).max(0);
        }
        let noted = registry.topic_created_at(backend.source(), &topic);
        let created_at = match noted {
            Some(created_at) => created_at,
            None => {
                unseen.push(facts.len());
                first_seen(&mut admin, &topic.name, first).await
            }
        };
        facts.push(TopicFacts {
            topic,
            created_at,
            message_count,
        });
    }
    drop(admin);
    let unseen = unseen.into_iter().map(|index: usize| &facts[index]);
    let notes = unseen.map(|fact| (&fact.topic, fact.created_at)).collect();
    registry.note_topics(backend.source(), notes).await?;
    Ok(facts)
}

/// The partitions that somebody answers for: one without a leader makes no topic's list fail, and counts nothing.
fn reachable(topic: &Topic) -> Topic {
    let mut reachable = topic.clone();
    reachable
        .partitions
        .retain(|partition| partition.leader >= 0);
    reachable
}

/// The time of the first record that is there (partition, leader, offset), or now.
async fn first_seen(
    admin: &mut PooledAdmin,
    topic: &str,
    first: Option<(i32, i32, i64)>,
) -> Timestamp {
    let Some((partition, leader, offset)) = first else {
        return clock::now();
    };
    let found = admin.record_timestamp(topic, partition, leader, offset);
    let ms = found.await.ok().flatten();
    let at = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_else(clock::now)
}
