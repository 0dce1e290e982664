//! Drills: a broker of Apache Kafka is killed and comes back while the platform's clients are at work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{AsyncProducer, OutgoingRecord};
use serde_json::json;

use crate::gateway::Gateway;
use crate::subject::{Subject, contract, eventually};
use crate::traffic::read_all;

contract! {
    KAFKA_ALONE:
        a_killed_and_restarted_broker_loses_nothing_acknowledged,
        a_gateway_says_that_kafka_is_away_and_goes_on_when_it_is_back,
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

/// The longest that a caller waits for the news that there is no cluster: its time limit and the answer.
const AWAY_LIMIT: Duration = Duration::from_secs(25);

async fn a_gateway_says_that_kafka_is_away_and_goes_on_when_it_is_back(subject: &Subject) {
    let kafka = subject.kafka.as_deref().expect("this drill is about Kafka");
    let topic = subject.topic("away", 1).await;
    let folder = crate::repository::scratch("contract-away").expect("a folder");
    let flags = ["--mode", "kafka", "--kafka", &kafka.bootstrap()];
    let gateway = Gateway::start(folder.path(), &flags).expect("it starts");
    let path = format!("/v1/topics/{topic}/records");
    let produce = |value: &str| {
        gateway
            .http
            .post(&path, &json!({ "records": [{ "value": value }] }))
    };
    assert_eq!(produce("before").status, 200);

    kafka.stop();
    for away in [&|| produce("while away"), &|| {
        gateway.http.get("/v1/topics")
    }] as [&dyn Fn() -> _; 2]
    {
        let asked = Instant::now();
        let answer: crate::http::Answer = away();
        assert!(
            matches!(answer.status, 503 | 504),
            "{}: {}",
            answer.status,
            answer.text()
        );
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(asked.elapsed() < AWAY_LIMIT, "{:?}", asked.elapsed());
    }
    assert_eq!(gateway.http.get("/livez").status, 200);

    kafka
        .restart_all()
        .expect("the brokers come back on their data");
    eventually("records are taken again", async || {
        (produce("after").status == 200).then_some(())
    })
    .await;
    let seen = read_all(&subject.cluster, &topic, 1);
    let values: Vec<&str> = seen.iter().map(|record| record.value.as_str()).collect();
    assert!(
        values.first().is_some_and(|first| first.contains("before")),
        "{values:?}"
    );
    assert!(
        values.last().is_some_and(|last| last.contains("after")),
        "{values:?}"
    );
}
