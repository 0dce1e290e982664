//! What is known of topics and brokers: asked by Metadata, remembered for as long as a caller finds it young enough.
//!
//! Missing topics are not remembered, and nothing is ever created by asking. While one caller looks a topic up again, the others
//! go on with what is known, so that a busy topic costs one request at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wire::{ErrorCode, Uuid, metadata};

use super::FetchedPartition;
use super::connections::{Connections, Exchange};
use crate::admin::check;
use crate::admin::topics::{ClusterInfo, Topic};
use crate::cluster::Cluster;
use crate::error::ClientError;

/// Topics that are remembered; beyond that all are forgotten and asked for again.
const MAX_TOPICS: usize = 10_000;
/// How much older than asked for an entry may be while another caller is renewing it.
const RENEWAL_GRACE: Duration = Duration::from_secs(10);

/// A topic and when it was looked up.
pub(crate) struct KnownTopic {
    pub(crate) topic: Topic,
    /// Zero when the broker gives topics no ids.
    pub(crate) id: Uuid,
    since: Instant,
}

impl KnownTopic {
    pub(crate) fn has(&self, partition: i32) -> bool {
        let mut partitions = self.topic.partitions.iter();
        partitions.any(|known| known.index == partition)
    }

    /// Whether the partition was refused for a reason that passes once its leader is looked up again.
    pub(super) fn is_moving(&self, fetched: &FetchedPartition) -> bool {
        use ErrorCode as Code;
        match fetched.error {
            // A partition that is not in the metadata does not come by asking again.
            Some(Code::UnknownTopicOrPartition) => self.has(fetched.partition),
            Some(code) => matches!(
                code,
                Code::NotLeaderOrFollower
                    | Code::LeaderNotAvailable
                    | Code::FencedLeaderEpoch
                    | Code::UnknownLeaderEpoch
                    | Code::UnknownTopicId
                    | Code::ReplicaNotAvailable
                    | Code::OffsetNotAvailable
                    | Code::KafkaStorageError
            ),
            None => false,
        }
    }

    /// Leaves out errors that pass: their partitions are asked for again by the next call, while others have records now.
    pub(super) fn without_moving(
        &self,
        mut fetched: Vec<FetchedPartition>,
    ) -> Vec<FetchedPartition> {
        for partition in &mut fetched {
            if self.is_moving(partition) {
                partition.error = None;
            }
        }
        fetched
    }
}

/// Topics and brokers of one cluster.
pub(crate) struct Topics {
    cluster: Cluster,
    connections: Arc<Connections>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    topics: HashMap<String, Arc<KnownTopic>>,
    /// The names that somebody is looking up again.
    renewing: HashSet<String>,
    info: ClusterInfo,
    /// The bootstrap address that answered last.
    entrance: Option<String>,
}

impl Topics {
    pub(crate) fn new(cluster: &Cluster, connections: Arc<Connections>) -> Topics {
        Topics {
            cluster: cluster.clone(),
            connections,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, name: &str) {
        self.known().topics.remove(name);
    }

    /// Where a broker is.
    ///
    /// # Errors
    /// `Refused` when the cluster does not list it.
    pub(crate) fn address(&self, node: i32) -> Result<String, ClientError> {
        let known = self.known();
        let broker = known.info.brokers.iter().find(|broker| broker.id == node);
        broker.map(|broker| broker.address()).ok_or_else(|| {
            let what = format!("asking broker {node}, which the cluster does not list");
            ClientError::refused(what, ErrorCode::BrokerNotAvailable, None)
        })
    }

    /// What is known of a topic and not older than `max_age`.
    ///
    /// # Errors
    /// `Refused` when there is no such topic, `Unreachable` when no broker answers.
    pub(crate) async fn get(
        &self,
        name: &str,
        max_age: Duration,
    ) -> Result<Arc<KnownTopic>, ClientError> {
        let _renewal = {
            let mut known = self.known();
            if let Some(topic) = known.topics.get(name).cloned() {
                let age = topic.since.elapsed();
                let is_renewed = known.renewing.contains(name);
                if age < max_age || (is_renewed && age < max_age + RENEWAL_GRACE) {
                    return Ok(topic);
                }
            }
            known.renewing.insert(name.to_owned());
            Renewal { topics: self, name }
        };
        self.look_up(name).await
    }

    /// A topic as it is now.
    ///
    /// # Errors
    /// As [`Topics::get`].
    pub(crate) async fn look_up(&self, name: &str) -> Result<Arc<KnownTopic>, ClientError> {
        let mut refusal = None;
        for address in self.entrances() {
            match self.ask(&address, name).await {
                Err(error @ (ClientError::Unreachable { .. } | ClientError::TimedOut { .. })) => {
                    refusal.get_or_insert(error);
                }
                answer => return answer,
            }
        }
        Err(refusal.unwrap_or_else(|| ClientError::Unreachable {
            address: "an empty address".to_owned(),
            reason: "write --kafka host:port".to_owned(),
        }))
    }

    /// Where to ask: the bootstrap addresses, the one that answered last before the others.
    fn entrances(&self) -> Vec<String> {
        let last = self.known().entrance.clone();
        let mut entrances = self.cluster.bootstrap().to_vec();
        entrances.sort_by_key(|address| Some(address) != last.as_ref());
        entrances
    }

    async fn ask(&self, address: &str, name: &str) -> Result<Arc<KnownTopic>, ClientError> {
        let request = metadata::Request {
            topics: Some(vec![metadata::RequestTopic {
                name: Some(name),
                ..metadata::RequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..metadata::Request::default()
        };
        let mut connection = self.connections.get(address, Exchange::Brief).await?;
        let reply = connection.call(&request).await?;
        drop(connection);
        let answer = reply.read()?;
        let mut known = self.known();
        known.info = ClusterInfo::of(&answer);
        known.entrance = Some(address.to_owned());
        known.topics.remove(name);
        let missing = ErrorCode::UnknownTopicOrPartition as i16;
        let topic = answer.topics.first();
        let code = topic.map_or(missing, |topic| topic.error_code);
        check(code, None, || format!("topic {name}"))?;
        let topic = topic.expect("one without a topic was refused above");
        let found = Arc::new(KnownTopic {
            topic: Topic::of(topic),
            id: topic.topic_id,
            since: Instant::now(),
        });
        if known.topics.len() >= MAX_TOPICS {
            known.topics.clear();
        }
        known.topics.insert(name.to_owned(), Arc::clone(&found));
        Ok(found)
    }
}

/// The right to look a topic up while others go on with what is known; given back however the look-up ends.
struct Renewal<'a> {
    topics: &'a Topics,
    name: &'a str,
}

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        self.topics.known().renewing.remove(self.name);
    }
}
