//! Records in and out, as the tests need them: written and waited for, read to the end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{Cluster, Delivery, Event, OutgoingRecord, Position};

/// The longest wait for the last acknowledgement and for the end of a topic.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<String>,
    pub value: String,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Writes the records one after another and waits until each is acknowledged by all replicas; partition and offset of each.
pub fn produce(cluster: &Cluster, records: &[OutgoingRecord<'_>]) -> Vec<(i32, i64)> {
    let deliveries: Arc<Mutex<Vec<Delivery>>> = Arc::default();
    let log = Arc::clone(&deliveries);
    let properties = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("linger.ms", "1"),
    ];
    let on_delivery = move |delivery| log.lock().expect("no test panics with it").push(delivery);
    let producer = cluster
        .producer(&properties, on_delivery)
        .expect("valid properties");
    for (token, record) in records.iter().enumerate() {
        producer.send(record, token).expect("room in the queue");
    }
    producer
        .flush(PATIENCE)
        .expect("everything is acknowledged");
    let mut deliveries = std::mem::take(&mut *deliveries.lock().expect("no test panics with it"));
    deliveries.sort_by_key(|delivery| delivery.token);
    assert_eq!(
        deliveries.len(),
        records.len(),
        "every record is heard of once"
    );
    let place = |delivery: Delivery| {
        assert!(
            delivery.error.is_none(),
            "record {}: {:?}",
            delivery.token,
            delivery.error
        );
        (delivery.partition, delivery.offset)
    };
    deliveries.into_iter().map(place).collect()
}

/// Writes values without keys to one partition.
pub fn produce_values(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    values: &[&str],
) -> Vec<(i32, i64)> {
    let records: Vec<OutgoingRecord<'_>> = values
        .iter()
        .map(|value| OutgoingRecord {
            topic,
            partition: Some(partition),
            value: Some(value.as_bytes()),
            ..OutgoingRecord::default()
        })
        .collect();
    produce(cluster, &records)
}

/// Reads partitions 0 to `partitions` from the first record to the end, committed records only.
pub fn read_all(cluster: &Cluster, topic: &str, partitions: i32) -> Vec<Seen> {
    let positions: Vec<Position> = (0..partitions)
        .map(|partition| Position {
            partition,
            offset: 0,
        })
        .collect();
    read_from(cluster, topic, &positions)
}

/// Reads from the given positions to the end, committed records only; in order per partition.
pub fn read_from(cluster: &Cluster, topic: &str, positions: &[Position]) -> Vec<Seen> {
    let properties = [
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "earliest"),
    ];
    let consumer = cluster.consumer(&properties).expect("valid properties");
    consumer
        .assign(topic, positions)
        .expect("the topic is there");
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    let mut open: Vec<i32> = positions
        .iter()
        .map(|position| position.partition)
        .collect();
    while !open.is_empty() {
        assert!(
            Instant::now() < deadline,
            "partitions {open:?} of {topic} do not end; {:?}",
            consumer.last_problem()
        );
        match consumer
            .poll(Duration::from_millis(200))
            .expect("reading goes on")
        {
            Some(Event::Record(record)) => seen.push(Seen {
                partition: record.partition(),
                offset: record.offset(),
                timestamp_ms: record.timestamp_ms(),
                key: record.key().map(text),
                value: record.value().map(text).unwrap_or_default(),
                headers: record
                    .headers()
                    .map(|(key, value)| (key.to_owned(), value.map(<[u8]>::to_vec)))
                    .collect(),
            }),
            Some(Event::EndOfPartition(partition)) => open.retain(|open| *open != partition),
            None => {}
        }
    }
    seen
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
