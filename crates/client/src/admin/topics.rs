//! Brokers and topics: what there is, creating, extending, deleting.

use std::time::Duration;

use tokio::time::Instant;
use wire::{ErrorCode, create_partitions, create_topics, delete_topics, metadata};

use super::{Admin, check, pause_or_give_up};
use crate::error::ClientError;

/// The last version of DeleteTopics that takes plain names.
const DELETE_TOPICS_BY_NAME: i16 = 5;

/// A broker and the address it tells clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

impl Broker {
    /// `host:port`, with brackets around IPv6.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The brokers of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    pub cluster_id: Option<String>,
    pub controller_id: i32,
    pub brokers: Vec<Broker>,
}

impl ClusterInfo {
    pub(crate) fn of(answer: &metadata::Response<'_>) -> ClusterInfo {
        let brokers = answer.brokers.iter().map(|broker| Broker {
            id: broker.node_id,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(ToString::to_string),
        });
        ClusterInfo {
            cluster_id: answer.cluster_id.as_ref().map(ToString::to_string),
            controller_id: answer.controller_id,
            brokers: brokers.collect(),
        }
    }
}

/// A topic and its partitions, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: String,
    pub is_internal: bool,
    pub partitions: Vec<Partition>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    /// The broker id, or -1.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    pub offline: Vec<i32>,
}

impl Topic {
    pub(crate) fn of(topic: &metadata::Topic<'_>) -> Topic {
        let mut partitions: Vec<Partition> = topic
            .partitions
            .iter()
            .map(|partition| Partition {
                index: partition.partition_index,
                leader: partition.leader_id,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes.clone(),
                in_sync: partition.isr_nodes.clone(),
                offline: partition.offline_replicas.clone(),
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        Topic {
            name: topic
                .name
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            id: topic.topic_id.to_string(),
            is_internal: topic.is_internal,
            partitions,
        }
    }
}

/// A topic to create; absent numbers are the broker's defaults.
#[derive(Debug, Clone, Default)]
pub struct NewTopic<'a> {
    pub name: &'a str,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    pub configs: Vec<(&'a str, &'a str)>,
}

/// What a topic was created with; -1 when the broker does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    pub partitions: i32,
    pub replication_factor: i16,
}

impl Admin {
    /// All topics, sorted by name.
    pub async fn topics(&mut self) -> Result<Vec<Topic>, ClientError> {
        let request = metadata::Request {
            topics: None,
            allow_auto_topic_creation: false,
            ..metadata::Request::default()
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, None, || "listing topics".to_owned())?;
        let mut topics: Vec<Topic> = answer.topics.iter().map(Topic::of).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic; a missing one is refused and not created.
    pub async fn topic(&mut self, name: &str) -> Result<Topic, ClientError> {
        self.ask_for_topic(name, false).await
    }

    /// The broker that leads a partition.
    pub(crate) async fn leader(&mut self, topic: &str, partition: i32) -> Result<i32, ClientError> {
        let what = || format!("{topic}-{partition}");
        let found = self.topic(topic).await?.partitions.into_iter();
        match found
            .map(|p| (p.index, p.leader))
            .find(|(index, _)| *index == partition)
        {
            Some((_, leader)) if leader >= 0 => Ok(leader),
            Some(_) => Err(ClientError::refused(
                what(),
                ErrorCode::LeaderNotAvailable,
                None,
            )),
            None => Err(ClientError::refused(
                what(),
                ErrorCode::UnknownTopicOrPartition,
                None,
            )),
        }
    }

    /// One topic; a missing one is created where the cluster does that on first use.
    ///
    /// # Errors
    /// `Refused` with UNKNOWN_TOPIC_OR_PARTITION when it is not there after `patience`: brokers answer so while they create it.
    pub async fn topic_on_first_use(
        &mut self,
        name: &str,
        patience: Duration,
    ) -> Result<Topic, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.ask_for_topic(name, true).await {
                Ok(topic) => return Ok(topic),
                Err(error) => pause_or_give_up(error, deadline).await?,
            }
        }
    }

    async fn ask_for_topic(&mut self, name: &str, create: bool) -> Result<Topic, ClientError> {
        let request = metadata::Request {
            topics: Some(vec![metadata::RequestTopic {
                name: Some(name),
                ..metadata::RequestTopic::default()
            }]),
            allow_auto_topic_creation: create,
            ..metadata::Request::default()
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("topic {name}");
        let missing = ErrorCode::UnknownTopicOrPartition as i16;
        let topic = answer.topics.first();
        check(topic.map_or(missing, |topic| topic.error_code), None, what)?;
        Ok(topic.map(Topic::of).unwrap_or_default())
    }

    /// One topic that was just created: waits until every partition has a leader.
    pub async fn settled_topic(&mut self, name: &str) -> Result<Topic, ClientError> {
        let deadline = Instant::now() + self.cluster.timeout();
        loop {
            let error = match self.topic(name).await {
                Ok(topic)
                    if topic
                        .partitions
                        .iter()
                        .all(|partition| partition.leader >= 0) =>
                {
                    return Ok(topic);
                }
                Ok(_) => {
                    let what = format!("topic {name}");
                    ClientError::refused(what, ErrorCode::LeaderNotAvailable, None)
                }
                Err(error) => error,
            };
            pause_or_give_up(error, deadline).await?;
        }
    }

    /// Creates a topic, or only checks whether it could be.
    pub async fn create_topic(
        &mut self,
        new: &NewTopic<'_>,
        validate_only: bool,
    ) -> Result<CreatedTopic, ClientError> {
        let mut results = self
            .create_topics(std::slice::from_ref(new), validate_only)
            .await?;
        results.remove(0)
    }

    /// Creates topics with one request, or only checks whether they could be; an answer for each, in the order of `new`.
    pub async fn create_topics(
        &mut self,
        new: &[NewTopic<'_>],
        validate_only: bool,
    ) -> Result<Vec<Result<CreatedTopic, ClientError>>, ClientError> {
        let request = create_topics::Request {
            topics: new.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        let result_of = |new: &NewTopic<'_>| {
            let result = answer.topics.iter().find(|topic| topic.name == new.name);
            let Some(result) = result else {
                return Ok(CreatedTopic {
                    partitions: -1,
                    replication_factor: -1,
                });
            };
            let what = || format!("creating topic {}", new.name);
            check(result.error_code, result.error_message.as_deref(), what)?;
            Ok(CreatedTopic {
                partitions: result.num_partitions,
                replication_factor: result.replication_factor,
            })
        };
        Ok(new.iter().map(result_of).collect())
    }

    /// Gives a topic more partitions, `count` in total.
    pub async fn add_partitions(
        &mut self,
        topic: &str,
        count: i32,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let request = create_partitions::Request {
            topics: vec![create_partitions::Topic {
                name: topic,
                count,
                assignments: None,
            }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let reply = self.any().call(&request).await?;
        for result in &reply.read()?.results {
            let what = || format!("extending topic {topic} to {count} partitions");
            check(result.error_code, result.error_message.as_deref(), what)?;
        }
        Ok(())
    }

    /// Deletes a topic with its records.
    pub async fn delete_topic(&mut self, topic: &str) -> Result<(), ClientError> {
        let request = delete_topics::Request {
            topic_names: vec![topic],
            timeout_ms: self.timeout_ms(),
            ..delete_topics::Request::default()
        };
        let reply = self
            .any()
            .call_up_to(&request, DELETE_TOPICS_BY_NAME)
            .await?;
        for result in &reply.read()?.responses {
            let what = || format!("deleting topic {topic}");
            check(result.error_code, result.error_message.as_deref(), what)?;
        }
        Ok(())
    }
}

fn creatable<'a>(new: &NewTopic<'a>) -> create_topics::CreatableTopic<'a> {
    let configs = new
        .configs
        .iter()
        .map(|(name, value)| create_topics::CreatableTopicConfig {
            name,
            value: Some(value),
        });
    create_topics::CreatableTopic {
        name: new.name,
        num_partitions: new.partitions.unwrap_or(-1),
        replication_factor: new.replication_factor.unwrap_or(-1),
        assignments: Vec::new(),
        configs: configs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::Broker;

    #[test]
    fn an_ipv6_address_is_written_in_brackets() {
        let broker = |host: &str| Broker {
            host: host.to_owned(),
            port: 9092,
            ..Broker::default()
        };
        assert_eq!(broker("::1").address(), "[::1]:9092");
        assert_eq!(broker("b1").address(), "b1:9092");
    }
}
