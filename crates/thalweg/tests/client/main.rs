//! What `client` offers for data, against a broker of our own: producing, reading by position, groups, work queues.

mod async_producer;
mod group_reader;
mod reader;
mod share_member;

use std::time::Duration;

use client::topics::NewTopic;
use client::{AsyncProducer, Cluster, Outcome, OutgoingRecord};
use thalweg::{Embedded, Settings, embedded};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker in memory, and how to reach it.
fn start() -> (Embedded, Cluster) {
    let broker = embedded(Settings::in_memory()).expect("a broker in memory");
    let cluster = Cluster::new(&broker.bootstrap()).with_timeout(PATIENCE);
    (broker, cluster)
}

async fn create(cluster: &Cluster, topic: &str, partitions: i32) {
    let new = NewTopic {
        name: topic,
        partitions: Some(partitions),
        ..NewTopic::default()
    };
    let mut admin = cluster.admin().await.expect("the broker answers");
    let created = admin.create_topic(&new, false).await;
    created.expect("a new topic");
}

async fn delete(cluster: &Cluster, topic: &str) {
    let mut admin = cluster.admin().await.expect("the broker answers");
    admin.delete_topic(topic).await.expect("it exists");
}

fn record<'a>(topic: &'a str, value: &'a [u8]) -> OutgoingRecord<'a> {
    OutgoingRecord {
        topic,
        value: Some(value),
        ..OutgoingRecord::default()
    }
}

/// The offsets of records that were all stored.
fn offsets(outcomes: Vec<Outcome>) -> Vec<i64> {
    let outcomes = outcomes.into_iter();
    let stored = outcomes.map(|outcome| outcome.expect("acknowledged"));
    stored.map(|stored| stored.offset).collect()
}

/// Stores records with these values in one partition.
async fn store(producer: &AsyncProducer, topic: &str, partition: i32, values: &[&str]) {
    let records = values.iter().map(|value| OutgoingRecord {
        partition: Some(partition),
        ..record(topic, value.as_bytes())
    });
    let records: Vec<OutgoingRecord<'_>> = records.collect();
    offsets(producer.send_many(&records).await);
}
