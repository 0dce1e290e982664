//! Hybrid mode: what is stored here is on Kafka too, in order and once, whatever is killed in between.

use std::collections::BTreeMap;

use client::{Cluster, OutgoingRecord, topics::NewTopic};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::kafka::Kafka;
use crate::subject::{Subject, contract, eventually};
use crate::traffic::{Seen, produce, produce_values, read_all};

contract! {
    HYBRID:
        records_of_any_client_are_forwarded,
        a_topic_of_this_side_only_stays_here,
        a_topic_made_over_http_is_on_both_sides_and_goes_from_both,
        a_topic_made_at_v1_is_on_both_sides_and_goes_from_both,
        a_publish_to_a_topic_of_this_side_only_says_so_at_once,
        the_forwarder_is_shown;
    HYBRID_ALONE:
        nothing_is_lost_or_doubled_when_thalweg_and_kafka_are_killed;
}

/// The Kafka behind the gateway.
fn kafka(subject: &Subject) -> &Kafka {
    subject.kafka.as_deref().expect("hybrid has a Kafka")
}

fn beyond(subject: &Subject) -> Cluster {
    crate::subject::cluster(&kafka(subject).bootstrap())
}

async fn create(cluster: &Cluster, name: &str, partitions: i32) {
    let mut admin = cluster.admin().await.expect("it answers");
    let new = NewTopic {
        name,
        partitions: Some(partitions),
        ..NewTopic::default()
    };
    let created = admin.create_topic(&new, false).await;
    created.expect("a topic can be created");
    let settled = admin.settled_topic(name).await;
    settled.expect("its partitions get leaders");
}

/// Waits until all of `topic` is on Kafka.
async fn caught_up(gateway: &Gateway, topic: &str, records: i64) {
    let forwarded = || {
        let status = gateway.http.get("/v1/hybrid").json();
        let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
        let of_topic = partitions
            .iter()
            .filter(|partition| partition["topic"] == topic);
        let number = |row: &Value, name: &str| row[name].as_i64().unwrap_or_default();
        let (done, lag) = of_topic.fold((0, 0), |(done, lag), row| {
            (
                done + number(row, "forwarded_offset"),
                lag + number(row, "lag"),
            )
        });
        (done >= records && lag == 0).then_some(())
    };
    // Longer than `eventually`'s half a minute: Kafka may be coming back.
    for _ in 0..4 {
        for _ in 0..200 {
            if forwarded().is_some() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        }
    }
    let status = gateway.http.get("/v1/hybrid").json();
    panic!("{topic} is not forwarded: {status:#}");
}

async fn records_of_any_client_are_forwarded(subject: &Subject) {
    let kafka = beyond(subject);
    let topic = subject.topic("any-client", 3).await;
    create(&kafka, &topic, 3).await;
    let headers = [("trace".to_owned(), Some(b"7".to_vec()))];
    // Of its own and yet so young that retention leaves it alone.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let written = now.expect("after 1970").as_millis() as i64 - 60_000;
    let keys: Vec<String> = (0..30).map(|n| format!("k{}", n % 7)).collect();
    let values: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let records: Vec<OutgoingRecord<'_>> = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| OutgoingRecord {
            topic: &topic,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp_ms: Some(written),
            headers: &headers,
            ..OutgoingRecord::default()
        })
        .collect();
    produce(&subject.cluster, &records);
    caught_up(subject.gateway(), &topic, 30).await;
    let content = |cluster: &Cluster| {
        let mut by_partition: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
        for seen in read_all(cluster, &topic, 3) {
            // Markers of the forwarder's transactions take offsets there.
            let seen = Seen { offset: 0, ..seen };
            by_partition.entry(seen.partition).or_default().push(seen);
        }
        by_partition
    };
    // A commit is answered before its markers are everywhere; until then readers of committed records do not see it.
    let stored = content(&subject.cluster);
    eventually(
        "the same records in the same partitions and order",
        async || (content(&kafka) == stored).then_some(()),
    )
    .await;
}

async fn a_topic_of_this_side_only_stays_here(subject: &Subject) {
    let topic = subject.topic("this-side", 1).await;
    produce_values(&subject.cluster, &topic, 0, &["here"]);
    let marker = subject.topic("both-sides", 1).await;
    create(&beyond(subject), &marker, 1).await;
    produce_values(&subject.cluster, &marker, 0, &["there"]);
    caught_up(subject.gateway(), &marker, 1).await;
    let mut admin = beyond(subject).admin().await.expect("it answers");
    let error = admin.topic(&topic).await.unwrap_err();
    assert_eq!(error.kind(), client::ErrorKind::NotFound);
}

// … A-030: in hybrid a topic is created and deleted in both.
async fn a_topic_made_over_http_is_on_both_sides_and_goes_from_both(subject: &Subject) {
    let topic = subject.name("made-over-http");
    let http = &subject.gateway().http;
    let made = http.post("/api/topics", &json!({ "topicName": topic }));
    assert_eq!(made.status, 200, "{}", made.text());
    is_on_both_sides(subject, &topic).await;
    assert_eq!(http.delete(&format!("/api/topics/{topic}")).status, 200);
    is_gone_from_both(subject, &topic).await;
}

async fn a_topic_made_at_v1_is_on_both_sides_and_goes_from_both(subject: &Subject) {
    let topic = subject.name("made-at-v1");
    let http = &subject.gateway().http;
    let made = http.post("/v1/topics", &json!({ "name": topic, "partitions": 2 }));
    assert_eq!(made.status, 201, "{}", made.text());
    is_on_both_sides(subject, &topic).await;
    let mut admin = beyond(subject).admin().await.expect("it answers");
    let there = admin.topic(&topic).await.expect("it is there");
    assert_eq!(there.partitions.len(), 2, "as many as here");
    assert_eq!(http.delete(&format!("/v1/topics/{topic}")).status, 204);
    is_gone_from_both(subject, &topic).await;
}

async fn is_on_both_sides(subject: &Subject, topic: &str) {
    produce_values(&subject.cluster, topic, 0, &["one"]);
    caught_up(subject.gateway(), topic, 1).await;
}

async fn is_gone_from_both(subject: &Subject, topic: &str) {
    for cluster in [&subject.cluster, &beyond(subject)] {
        let mut admin = cluster.admin().await.expect("it answers");
        eventually("the topic is gone", async || {
            admin.topic(topic).await.err().map(drop)
        })
        .await;
    }
}

async fn a_publish_to_a_topic_of_this_side_only_says_so_at_once(subject: &Subject) {
    connected(subject).await;
    let topic = subject.topic("here-alone", 1).await;
    let producer = subject.name("producer");
    let http = &subject.gateway().http;
    let registered = http.post(
        "/api/producers",
        &json!({ "producerId": producer, "name": "P" }),
    );
    assert_eq!(registered.status, 200, "{}", registered.text());
    let message = json!({ "producerId": producer, "topicName": topic, "content": "x" });
    let published = http.post("/api/messages/publish", &message);
    assert_eq!(published.status, 207, "{}", published.text());
    let results = &published.json()["results"];
    assert_eq!(results[0]["status"], "Published");
    assert_eq!(results[1]["status"], "Failed", "{results}");
    assert_eq!(results[1]["error"], "The topic is not on Kafka");
}

async fn connected(subject: &Subject) {
    let http = &subject.gateway().http;
    eventually("connected", async || {
        (http.get("/v1/hybrid").json()["state"] == "connected").then_some(())
    })
    .await;
}

async fn the_forwarder_is_shown(subject: &Subject) {
    connected(subject).await;
    let http = &subject.gateway().http;
    let metrics = http.get("/metrics");
    assert!(metrics.text().contains("thalweg_hybrid_connected 1\n"));
}

/// Numbers go in while Thalweg and Kafka are killed in turn; then Kafka has each number once, in the order in which it went in.
async fn nothing_is_lost_or_doubled_when_thalweg_and_kafka_are_killed(subject: &Subject) {
    let folder = crate::repository::scratch("contract-hybrid-drill").expect("a folder");
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let bootstrap = kafka(subject).bootstrap();
    let start = || {
        let flags = ["--mode", "hybrid", "--kafka", &bootstrap, "--data", &data];
        Gateway::start(folder.path(), &flags).expect("it starts")
    };
    let topic = subject.name("drill");
    create(&beyond(subject), &topic, 1).await;
    let mut gateway = start();
    create(&embedded(&gateway), &topic, 1).await;
    let mut next = 0;
    let mut send = |gateway: &Gateway, count: usize| {
        let values: Vec<String> = (next..next + count).map(|n| n.to_string()).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        produce_values(&embedded(gateway), &topic, 0, &values);
        next += count;
    };
    for round in 0..3 {
        send(&gateway, 3_000);
        // In the middle of forwarding.
        gateway.kill();
        gateway = start();
        send(&gateway, 2_000);
        if round == 1 {
            // Kafka is wholly away: records are taken all the same, and wait.
            (1..=3).for_each(|id| kafka(subject).kill(id));
            send(&gateway, 2_000);
            gateway.kill();
            gateway = start();
            send(&gateway, 500);
            kafka(subject).restart_all().expect("Kafka comes back");
        } else {
            kafka(subject).kill(1 + round);
            send(&gateway, 1_000);
            kafka(subject).restart(1 + round).expect("it comes back");
        }
    }
    let sent: Vec<String> = (0..next).map(|n| n.to_string()).collect();
    caught_up(&gateway, &topic, i64::try_from(next).expect("few")).await;
    let arrived = eventually("everything is committed", async || {
        let arrived = read_all(&beyond(subject), &topic, 1);
        (arrived.len() >= next).then_some(arrived)
    })
    .await;
    let arrived: Vec<String> = arrived.into_iter().map(|seen| seen.value).collect();
    let first = sent
        .iter()
        .zip(&arrived)
        .position(|(sent, got)| sent != got);
    assert_eq!(
        (first, arrived.len()),
        (None, sent.len()),
        "in order, each once"
    );
    gateway.stop().expect("it ends well");
}

fn embedded(gateway: &Gateway) -> Cluster {
    crate::subject::cluster(gateway.kafka().expect("it has a broker"))
}
