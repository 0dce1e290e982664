//! Drills: a broker of Apache Kafka is killed and comes back while the platform's clients are at work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{AsyncProducer, OutgoingRecord};

use crate::subject::{Subject, contract};
use crate::traffic::read_all;

contract! {
    KAFKA_ALONE:
        a_killed_and_restarted_broker_loses_nothing_acknowledged,
}

const PARTITIONS: i32 = 3;

/// What was acknowledged: a value by partition and offset.
type Acknowledged = BTreeMap<(i32, i64), String>;

async fn a_killed_and_restarted_broker_loses_nothing_acknowledged(subject: &Subject) {
    let kafka = subject.kafka.as_deref().expect("this drill is about Kafka");
    let topic = subject.topic("drill", PARTITIONS).await;
    let producer = subject
        .cluster
        .async_producer(&[("acks", "all")])
        .expect("valid properties");
    let mut acknowledged = Acknowledged::new();
    write_until(&producer, &topic, &mut acknowledged, 300).await;

    let mut admin = subject.admin().await;
    let victim = admin
        .topic(&topic)
        .await
        .expect("it was created")
        .partitions[0]
        .leader;
    kafka.kill(victim);
    write_until(&producer, &topic, &mut acknowledged, 600).await;
    kafka.restart(victim).expect("it comes back on its data");
    write_until(&producer, &topic, &mut acknowledged, 900).await;

    let seen = read_all(&subject.cluster, &topic, PARTITIONS);
    let stored: Acknowledged = seen
        .iter()
        .map(|record| ((record.partition, record.offset), record.value.clone()))
        .collect();
    for (place, value) in &acknowledged {
        assert_eq!(stored.get(place), Some(value), "acknowledged at {place:?}");
    }
    let mut values: Vec<&String> = seen.iter().map(|record| &record.value).collect();
    values.sort();
    let written = values.len();
    values.dedup();
    assert_eq!(values.len(), written, "no record is stored twice");
}

/// Writes numbered records to all partitions until so many are acknowledged; what is given up meanwhile is no promise.
async fn write_until(
    producer: &AsyncProducer,
    topic: &str,
    acknowledged: &mut Acknowledged,
    count: usize,
) {
    let deadline = Instant::now() + Duration::from_secs(120);
    for round in acknowledged.len().. {
        if acknowledged.len() >= count {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {count} within two minutes",
            acknowledged.len()
        );
        let values: Vec<String> = (0..30)
            .map(|number| format!("{count}-{round}-{number}"))
            .collect();
        let records = values.iter().zip((0..PARTITIONS).cycle());
        let records: Vec<OutgoingRecord<'_>> = records
            .map(|(value, partition)| OutgoingRecord {
                topic,
                partition: Some(partition),
                value: Some(value.as_bytes()),
                ..OutgoingRecord::default()
            })
            .collect();
        let outcomes = producer.send_many(&records).await;
        let kept = outcomes
            .into_iter()
            .zip(values)
            .filter_map(|(outcome, value)| Some((outcome.ok()?, value)));
        acknowledged.extend(kept.map(|(place, value)| ((place.partition, place.offset), value)));
    }
}
