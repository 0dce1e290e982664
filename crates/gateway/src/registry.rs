//! Who publishes and consumes over the legacy REST API: producers, consumers, their groups and subscriptions, and when topics were made.
//!
//! Coordination state of the application, there in every mode and on every backend: it gates REST calls and nothing
//! on the wire. The rows of one compacted topic on the primary backend, so they survive restarts and are the same for all processes
//! on one Kafka cluster. A row changes as a whole; what changes apart (a consumer, its subscriptions) is in rows of its own.

use client::topics::Topic;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Source};
use crate::table::{Table, TableError, TableSettings};

const SETTINGS: TableSettings = TableSettings {
    topic: "_thalweg_registry",
    most_rows: 200_000,
    configs: &[],
};

/// A registered producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredProducer {
    pub id: String,
    pub name: String,
    pub created_at: Timestamp,
}

/// A registered consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredConsumer {
    pub id: String,
    pub name: String,
    pub group: Option<String>,
    pub activity: Activity,
    pub created_at: Timestamp,
}

impl RegisteredConsumer {
    /// The Kafka group that it reads with; without one of its own it gets every message.
    pub fn group_id(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.id)
    }
}

/// Whether a consumer may consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// Neither started nor stopped; its first consume starts it.
    Registered,
    Started,
    Stopped,
}

/// A consumer group that was created by name or by its first consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredGroup {
    pub name: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Entry {
    Producer {
        name: String,
        created_at: Timestamp,
    },
    Consumer {
        name: String,
        group: Option<String>,
        activity: Activity,
        created_at: Timestamp,
    },
    Subscription {
        created_at: Timestamp,
    },
    Group {
        created_at: Timestamp,
    },
    /// `id`: the topic's own id, so that one that was deleted and made anew is not taken for the old one.
    Topic {
        id: String,
        created_at: Timestamp,
    },
}

/// The registry of one process; every process on the cluster has the same rows.
pub struct Registry(Table<Entry>);

impl Registry {
    /// # Errors
    /// The cluster does not answer, or the rows could not be read in time.
    pub async fn open(primary: &Backend) -> Result<Registry, TableError> {
        Ok(Registry(Table::open(primary, SETTINGS).await?))
    }

    /// Registers a producer; false when there is one with this id.
    pub async fn add_producer(&self, producer: &RegisteredProducer) -> Result<bool, TableError> {
        let entry = Entry::Producer {
            name: producer.name.clone(),
            created_at: producer.created_at,
        };
        self.0.insert(&producer_key(&producer.id), &entry).await
    }

    pub fn producer(&self, id: &str) -> Option<RegisteredProducer> {
        producer_of(id, self.0.get(&producer_key(id))?.value)
    }

    /// By id.
    pub fn producers(&self) -> Vec<RegisteredProducer> {
        self.all(PRODUCERS, producer_of)
    }

    /// Forgets a producer; false when there was none.
    pub async fn remove_producer(&self, id: &str) -> Result<bool, TableError> {
        self.remove(&producer_key(id)).await
    }

    /// Registers a consumer, and its group if that is new; false when there is one with this id.
    pub async fn add_consumer(&self, consumer: &RegisteredConsumer) -> Result<bool, TableError> {
        let key = consumer_key(&consumer.id);
        if self.0.get(&key).is_some() {
            return Ok(false);
        }
        if let Some(name) = consumer.group.clone() {
            let created_at = consumer.created_at;
            self.add_group(&RegisteredGroup { name, created_at })
                .await?;
        }
        self.0.insert(&key, &consumer_entry(consumer)).await
    }

    pub fn consumer(&self, id: &str) -> Option<RegisteredConsumer> {
        consumer_of(id, self.0.get(&consumer_key(id))?.value)
    }

    /// By id.
    pub fn consumers(&self) -> Vec<RegisteredConsumer> {
        self.all(CONSUMERS, consumer_of)
    }

    /// Starts or stops a consumer.
    pub async fn set_activity(
        &self,
        consumer: &RegisteredConsumer,
        activity: Activity,
    ) -> Result<(), TableError> {
        let changed = RegisteredConsumer {
            activity,
            ..consumer.clone()
        };
        let key = consumer_key(&consumer.id);
        self.0.put(&key, &consumer_entry(&changed)).await
    }

    /// Forgets a consumer and its subscriptions; false when there was none.
    pub async fn remove_consumer(&self, id: &str) -> Result<bool, TableError> {
        for topic in self.subscriptions(id) {
            self.0.delete(&subscription_key(id, &topic)).await?;
        }
        self.remove(&consumer_key(id)).await
    }

    /// Notes that a consumer wants a topic; again changes nothing.
    pub async fn subscribe(
        &self,
        consumer: &str,
        topic: &str,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let entry = Entry::Subscription { created_at: now };
        let key = subscription_key(consumer, topic);
        self.0.insert(&key, &entry).await.map(drop)
    }

    /// The topics that a consumer is subscribed to, by name.
    pub fn subscriptions(&self, consumer: &str) -> Vec<String> {
        let prefix = subscription_key(consumer, "");
        let rows = self.0.rows_under(&prefix).into_iter();
        let topics = rows.map(|(key, _)| key[prefix.len()..].to_owned());
        // Ids may have slashes and topics have none: what has one belongs to a consumer with a longer id.
        topics.filter(|topic| !topic.contains('/')).collect()
    }

    /// Registers a group; false when there is one with this name.
    pub async fn add_group(&self, group: &RegisteredGroup) -> Result<bool, TableError> {
        let entry = Entry::Group {
            created_at: group.created_at,
        };
        self.0.insert(&group_key(&group.name), &entry).await
    }

    pub fn group(&self, name: &str) -> Option<RegisteredGroup> {
        group_of(name, self.0.get(&group_key(name))?.value)
    }

    /// By name.
    pub fn groups(&self) -> Vec<RegisteredGroup> {
        self.all(GROUPS, group_of)
    }

    /// The consumers of a group, by id.
    pub fn members(&self, group: &str) -> Vec<RegisteredConsumer> {
        let mut consumers = self.consumers();
        consumers.retain(|consumer| consumer.group.as_deref() == Some(group));
        consumers
    }

    /// Forgets a group; false when there was none. Its consumers stay, and with them the name of their group.
    pub async fn remove_group(&self, name: &str) -> Result<bool, TableError> {
        self.remove(&group_key(name)).await
    }

    /// Notes when topics were made; a note about an older topic of the same name is replaced.
    pub async fn note_topics(
        &self,
        source: Source,
        topics: Vec<(&Topic, Timestamp)>,
    ) -> Result<(), TableError> {
        let rows = topics.into_iter().map(|(topic, created_at)| {
            let id = topic.id.clone();
            (
                topic_key(source, &topic.name),
                Entry::Topic { id, created_at },
            )
        });
        self.0.put_all(&rows.collect::<Vec<_>>()).await
    }

    /// When a topic was made, if that was noted.
    pub fn topic_created_at(&self, source: Source, topic: &Topic) -> Option<Timestamp> {
        match self.0.get(&topic_key(source, &topic.name))?.value {
            Entry::Topic { id, created_at } if id == topic.id => Some(created_at),
            _ => None,
        }
    }

    pub async fn forget_topic(&self, source: Source, name: &str) -> Result<(), TableError> {
        self.remove(&topic_key(source, name)).await.map(drop)
    }

    async fn remove(&self, key: &str) -> Result<bool, TableError> {
        match self.0.get(key) {
            Some(_) => self.0.delete(key).await,
            None => Ok(false),
        }
    }

    fn all<T>(&self, kind: &str, read: fn(&str, Entry) -> Option<T>) -> Vec<T> {
        let rows = self.0.rows_under(kind).into_iter();
        rows.filter_map(|(key, row)| read(&key[kind.len()..], row.value))
            .collect()
    }
}

// Each key is its kind, a slash, and the id or name, whatever characters that has.
const PRODUCERS: &str = "producer/";
const CONSUMERS: &str = "consumer/";
const GROUPS: &str = "group/";

fn producer_key(id: &str) -> String {
    format!("{PRODUCERS}{id}")
}

fn consumer_key(id: &str) -> String {
    format!("{CONSUMERS}{id}")
}

fn group_key(name: &str) -> String {
    format!("{GROUPS}{name}")
}

fn subscription_key(consumer: &str, topic: &str) -> String {
    format!("subscription/{consumer}/{topic}")
}

fn topic_key(source: Source, name: &str) -> String {
    match source {
        Source::InMemory => format!("topic/in-memory/{name}"),
        Source::Kafka => format!("topic/kafka/{name}"),
    }
}

fn producer_of(id: &str, entry: Entry) -> Option<RegisteredProducer> {
    let Entry::Producer { name, created_at } = entry else {
        return None;
    };
    Some(RegisteredProducer {
        id: id.to_owned(),
        name,
        created_at,
    })
}

fn consumer_of(id: &str, entry: Entry) -> Option<RegisteredConsumer> {
    let Entry::Consumer {
        name,
        group,
        activity,
        created_at,
    } = entry
    else {
        return None;
    };
    Some(RegisteredConsumer {
        id: id.to_owned(),
        name,
        group,
        activity,
        created_at,
    })
}

fn consumer_entry(consumer: &RegisteredConsumer) -> Entry {
    Entry::Consumer {
        name: consumer.name.clone(),
        group: consumer.group.clone(),
        activity: consumer.activity,
        created_at: consumer.created_at,
    }
}

fn group_of(name: &str, entry: Entry) -> Option<RegisteredGroup> {
    let Entry::Group { created_at } = entry else {
        return None;
    };
    Some(RegisteredGroup {
        name: name.to_owned(),
        created_at,
    })
}
