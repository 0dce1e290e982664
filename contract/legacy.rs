//! The documents' own REST API, `/api`, in each of its modes: golden conversations for what one client sees, and what holds
//! between several.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use client::OutgoingRecord;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::golden;
use crate::http::Http;
use crate::subject::{Kind, Subject, contract, eventually};

contract! {
    EVERYWHERE:
        a_topic_is_created_shown_and_deleted,
        producers_are_registered_by_id,
        consumers_and_groups_are_registered,
        a_message_is_published_and_can_be_looked_at,
        an_order_reaches_each_group_once,
        the_connection_to_kafka_is_tested_step_by_step,
        the_configuration_in_force_is_shown_without_secrets,
        topics_are_made_as_the_lab_asks_for_them,
        the_labs_topics_are_made_once,
        topics_are_listed_by_source,
        registrations_are_listed_by_source,
        messages_are_counted_by_topic,
        the_demo_is_really_run_and_leaves_nothing_behind,
        many_publishers_and_consumers_lose_nothing_and_repeat_nothing,
        what_a_wire_client_produces_is_a_message_too,
        a_message_under_one_id_is_stored_once,
        bad_requests_are_refused_in_the_shapes_of_this_api;
    EMBEDDED:
        registrations_and_cursors_survive_a_restart,
        hybrid_mode_goes_on_while_kafka_is_away;
    KAFKA:
        two_processes_on_one_cluster_have_the_same_registrations
}

/// Goes through a golden conversation with names of this test's own.
fn check(subject: &Subject, file: &str) {
    let names = ["topic", "producer", "consumer", "group"].map(|name| (name, subject.name(name)));
    let names: Vec<(&str, &str)> = names
        .iter()
        .map(|(name, own)| (*name, own.as_str()))
        .collect();
    golden::check(subject.kind, &subject.gateway().http, file, &names);
}

fn source(subject: &Subject) -> &'static str {
    match subject.kind {
        Kind::Kafka => "Kafka",
        Kind::Embedded | Kind::Hybrid => "In-Memory",
    }
}

/// Posts and expects 200.
fn post(http: &Http, path: &str, body: Value) -> Value {
    let answer = http.post(path, &body);
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
    answer.json()
}

/// Creates a topic and registers a producer; their names.
fn topic_and_producer(subject: &Subject) -> (String, String) {
    let http = &subject.gateway().http;
    let (topic, producer) = (subject.name("legacy"), subject.name("producer"));
    post(http, "/api/topics", json!({ "topicName": topic }));
    post(
        http,
        "/api/producers",
        json!({ "producerId": producer, "name": producer }),
    );
    (topic, producer)
}

async fn a_topic_is_created_shown_and_deleted(subject: &Subject) {
    // A-024…A-030, L-02…L-04, G-01, G-02, X-05, X-24
    check(subject, "legacy-topics.json");
}

async fn producers_are_registered_by_id(subject: &Subject) {
    // A-036…, L-05, L-06, X-02
    check(subject, "legacy-producers.json");
}

async fn consumers_and_groups_are_registered(subject: &Subject) {
    // L-10, L-11, L-13
    check(subject, "legacy-consumers.json");
}

async fn a_message_is_published_and_can_be_looked_at(subject: &Subject) {
    // A-031…A-034, L-07, L-08, G-09
    check(subject, "legacy-messages.json");
}

async fn an_order_reaches_each_group_once(subject: &Subject) {
    // …A-064, L-12, G-10, X-03, X-04
    check(subject, "legacy-scenario.json");
}

async fn the_connection_to_kafka_is_tested_step_by_step(subject: &Subject) {
    // L-14
    check(subject, "legacy-kafka-test.json");
}

async fn the_configuration_in_force_is_shown_without_secrets(subject: &Subject) {
    // L-15
    check(subject, "legacy-config.json");
}

async fn topics_are_made_as_the_lab_asks_for_them(subject: &Subject) {
    // B-021, B-022, G-07, X-05, X-23
    check(subject, "legacy-kafka.json");
}

async fn the_labs_topics_are_made_once(subject: &Subject) {
    // B-020, B-023, G-08
    let http = &subject.gateway().http;
    let first = post(http, "/api/kafka/init-module-a-topics", json!({}));
    assert_eq!(first["message"], "Module A topics initialization completed");
    let wanted = [
        ("user-events", 3),
        ("orders", 3),
        ("payments", 5),
        ("notifications", 1),
        ("order-processing.DLQ", 3),
    ];
    let partitions = |answer: &Value| -> Vec<(String, u64)> {
        let results = answer["results"].as_array().expect("results");
        let partition = |result: &Value| {
            let topic = result["topic"].as_str().expect("a name").to_owned();
            (topic, result["partitions"].as_u64().expect("a number"))
        };
        results.iter().map(partition).collect()
    };
    let expected = wanted.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(partitions(&first), expected);
    let again = post(http, "/api/kafka/init-module-a-topics", json!({}));
    for result in again["results"].as_array().expect("results") {
        assert_eq!(result["status"], "exists", "{again}");
    }
    let listed = eventually("the lab's topics are listed", async || {
        let listed = http.get("/api/kafka/topics").json();
        let names = listed["topics"].as_array()?.clone();
        let all = wanted.iter().all(|(name, _)| names.contains(&json!(name)));
        all.then_some(listed)
    });
    let listed = listed.await;
    let names = listed["topics"].as_array().expect("names");
    assert_eq!(listed["count"], names.len());
    let internal = |name: &Value| name.as_str().is_some_and(|name| name.starts_with('_'));
    assert!(!names.iter().any(internal), "{listed}");
}

async fn topics_are_listed_by_source(subject: &Subject) {
    // A-020…A-023, L-01, X-25
    let http = &subject.gateway().http;
    let (topic, _) = topic_and_producer(subject);
    let list = eventually("the topic is listed", async || {
        let list = http.get("/api/topics").json();
        let rows = match subject.kind {
            Kind::Hybrid => list["combined"].as_array(),
            _ => list["topics"].as_array(),
        };
        let count = rows?
            .iter()
            .filter(|row| row["name"] == topic.as_str())
            .count();
        (count == if subject.kind == Kind::Hybrid { 2 } else { 1 }).then_some(list)
    });
    let list = list.await;
    let row = |rows: &Value| -> Value {
        let rows = rows.as_array().expect("rows").iter();
        rows.clone()
            .find(|row| row["name"] == topic.as_str())
            .expect("its row")
            .clone()
    };
    let mut expected = json!({ "name": topic, "createdAt": "<time>", "messageCount": 0, "source": source(subject) });
    if subject.kind != Kind::Hybrid {
        if subject.kind == Kind::Kafka {
            expected["partitions"] = json!(3);
        }
        assert_like(&expected, &row(&list["topics"]));
        assert_eq!(
            list["summary"]["totalTopics"],
            list["topics"].as_array().expect("rows").len()
        );
        return;
    }
    assert_eq!(list["mode"], "Hybrid (In-Memory + Kafka)");
    assert_like(&expected, &row(&list["inMemoryTopics"]));
    let kafka = json!({ "name": topic, "partitions": 3, "source": "Kafka" });
    assert_like(&kafka, &row(&list["kafkaTopics"]));
    assert_like(
        &json!({ "name": topic, "source": "In-Memory" }),
        &row(&list["combined"]),
    );
    let count = |name: &str| list["summary"][name].as_u64().expect("a count");
    assert_eq!(
        count("totalTopics"),
        count("inMemoryCount") + count("kafkaCount")
    );
    assert!(count("distinctTopics") < count("totalTopics"));
    let only = http.get("/api/topics?source=kafka").json();
    assert_eq!(row(&only["topics"])["source"], "Kafka");
}

fn assert_like(expected: &Value, given: &Value) {
    let mut differences = Vec::new();
    golden::compare(expected, given, "", &mut BTreeMap::new(), &mut differences);
    assert!(differences.is_empty(), "{differences:?}: {given}");
}

async fn registrations_are_listed_by_source(subject: &Subject) {
    // L-06, L-11, L-13
    let http = &subject.gateway().http;
    let (_, producer) = topic_and_producer(subject);
    let (consumer, group) = (subject.name("consumer"), subject.name("group"));
    let body = json!({ "consumerId": consumer, "name": "Processor", "consumerGroup": group });
    post(http, "/api/consumers", body);
    let hybrid = subject.kind == Kind::Hybrid;
    for (path, single, both, id, name) in [
        (
            "/api/producers",
            "producers",
            "inMemoryProducers",
            "id",
            &producer,
        ),
        (
            "/api/consumers",
            "consumers",
            "inMemoryConsumers",
            "id",
            &consumer,
        ),
        (
            "/api/consumergroups",
            "groups",
            "inMemoryGroups",
            "name",
            &group,
        ),
    ] {
        let list = http.get(path).json();
        let rows = &list[if hybrid { both } else { single }];
        let rows = rows.as_array().unwrap_or_else(|| panic!("{path}: {list}"));
        let row = rows.iter().find(|row| row[id] == name.as_str());
        assert_eq!(row.expect("its row")["source"], source(subject), "{path}");
        let summary = list["summary"].as_object().expect("a summary");
        assert_eq!(summary.len(), if hybrid { 3 } else { 1 }, "{list}");
    }
}

async fn messages_are_counted_by_topic(subject: &Subject) {
    // L-09
    let http = &subject.gateway().http;
    let (topic, producer) = topic_and_producer(subject);
    publish(http, &producer, &topic, "one");
    let stats = http.get("/api/messages/stats").json();
    let stat = |stats: &Value| {
        let topics = stats.as_array().expect("topics").iter();
        let mut of_topic = topics.filter(|stat| stat["topicName"] == topic.as_str());
        of_topic.next().expect("its row")["messageCount"].clone()
    };
    assert_eq!(stat(&stats["topicStats"]), 1, "{stats}");
    assert_eq!(stats["inMemory"].is_null(), subject.kind == Kind::Kafka);
    assert_eq!(stats["kafka"].is_null(), subject.kind == Kind::Embedded);
    assert!(stats["totalMessages"].as_i64().expect("a number") >= 1);
}

/// Publishes until every backend has it: in hybrid mode Kafka's half may take a while. One id, so that it is stored once.
fn publish(http: &Http, producer: &str, topic: &str, content: &str) -> String {
    let id = format!("{topic}-{content}");
    let body = json!({ "producerId": producer, "topicName": topic, "content": content, "id": id });
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = http.post("/api/messages/publish", &body);
        match answer.status {
            200 => return id,
            207 if Instant::now() < deadline => {}
            _ => panic!("{body}: {}", answer.text()),
        }
    }
}

async fn the_demo_is_really_run_and_leaves_nothing_behind(subject: &Subject) {
    // A-047, L-16, A-060…A-064
    let http = &subject.gateway().http;
    let run = post(http, "/api/demo/run-scenario", json!({}));
    assert_eq!(run["success"], true, "{run}");
    let steps = run["steps"].as_array().expect("steps");
    let received = |consumer: &str| -> Vec<String> {
        let prefix = format!("{consumer} received ");
        let lines = steps.iter().filter_map(Value::as_str);
        let mut contents: Vec<String> = lines
            .filter_map(|line| line.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect();
        contents.sort();
        contents
    };
    let messages = |numbers: &[u8]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| format!("Demo Message {number}"))
            .collect()
    };
    for consumer in [1, 3, 4] {
        assert_eq!(
            received(&format!("demo-consumer{consumer}")),
            messages(&[1, 2, 3, 4, 5])
        );
    }
    for consumer in [2, 5] {
        assert_eq!(
            received(&format!("demo-consumer{consumer}")),
            messages(&[1, 2, 3])
        );
    }
    assert_eq!(
        received("demo-order-processor-1"),
        ["Order #12345 - iPhone"]
    );
    assert!(received("demo-order-processor-2").is_empty());
    let cleaned = post(http, "/api/demo/cleanup", json!({}));
    assert_eq!(
        cleaned["results"][0], "✓ Deleted 7 demo consumers",
        "{cleaned}"
    );
    assert_eq!(http.get("/api/producers/demo-producer1").status, 404);
}

async fn many_publishers_and_consumers_lose_nothing_and_repeat_nothing(subject: &Subject) {
    //
    const PUBLISHERS: usize = 4;
    const EACH: usize = 25;
    let http = &subject.gateway().http;
    let (topic, producer) = topic_and_producer(subject);
    let group = subject.name("group");
    let consumers = [0, 1, 2].map(|_| subject.name("consumer"));
    for consumer in &consumers {
        post(
            http,
            "/api/consumers",
            json!({ "consumerId": consumer, "consumerGroup": group }),
        );
    }
    let received = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (producer, topic) = (&producer, &topic);
            scope.spawn(move || {
                for number in 0..EACH {
                    publish(http, producer, topic, &format!("{publisher}-{number}"));
                }
            });
        }
        for consumer in &consumers {
            let (received, topic) = (&received, &topic);
            scope.spawn(move || consume_until(http, consumer, topic, received, PUBLISHERS * EACH));
        }
    });
    let mut received = received.into_inner().expect("no consumer panicked");
    received.sort();
    let mut expected: Vec<String> = (0..PUBLISHERS * EACH)
        .map(|index| format!("{}-{}", index / EACH, index % EACH))
        .collect();
    expected.sort();
    assert_eq!(received, expected);
    let last = json!({ "topicName": topic, "timeoutMs": 500 });
    let path = format!("/api/consumers/{}/consume", consumers[0]);
    assert_eq!(http.post(&path, &last).status, 204);
}

/// Consumes until all of the group have `count` messages together.
fn consume_until(
    http: &Http,
    consumer: &str,
    topic: &str,
    received: &Mutex<Vec<String>>,
    count: usize,
) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let path = format!("/api/consumers/{consumer}/consume");
    while received.lock().expect("no consumer panicked").len() < count {
        assert!(Instant::now() < deadline, "messages are missing");
        let body = json!({ "topicName": topic, "maxMessages": 5, "timeoutMs": 300 });
        let answer = http.post(&path, &body);
        match answer.status {
            204 => {}
            200 => {
                let answer = answer.json();
                let messages = answer["messages"].as_array().expect("messages").iter();
                let contents = messages.map(|message| message["content"].as_str().expect("a text"));
                let mut received = received.lock().expect("no consumer panicked");
                received.extend(contents.map(str::to_owned));
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
}

async fn what_a_wire_client_produces_is_a_message_too(subject: &Subject) {
    //
    let http = &subject.gateway().http;
    let topic = subject.topic("wire", 1).await;
    let producer = subject.cluster.async_producer(&[]).expect("a producer");
    let record = OutgoingRecord {
        topic: &topic,
        value: Some(b"from the wire"),
        ..OutgoingRecord::default()
    };
    let sent = producer.send(&record).expect("there is room");
    sent.await.expect("nobody has to be registered");
    let consumer = subject.name("consumer");
    post(http, "/api/consumers", json!({ "consumerId": consumer }));
    let path = format!("/api/consumers/{consumer}/consume");
    let message = eventually("it is consumed", async || {
        let answer = http.post(&path, &json!({ "topicName": topic }));
        (answer.status == 200).then(|| answer.json())
    });
    let expected = json!({
        "id": format!("{topic}-0-0"), "content": "from the wire", "topicName": topic, "producerId": null,
        "timestamp": "<time>", "source": source(subject),
    });
    assert_like(&expected, &message.await);
    // The group is Kafka's own: any Kafka tool sees its place.
    let mut admin = subject.admin().await;
    let committed = admin.committed(&consumer).await.expect("offsets");
    assert_eq!(committed.get(&(topic, 0)), Some(&1));
}

async fn a_message_under_one_id_is_stored_once(subject: &Subject) {
    //
    let http = &subject.gateway().http;
    let (topic, producer) = topic_and_producer(subject);
    for _ in 0..3 {
        publish(http, &producer, &topic, "once");
    }
    let path = format!("/api/messages/topic/{topic}?offset=earliest");
    let list = http.get(&path).json();
    assert_eq!(list["messageCount"], 1, "{list}");
}

async fn bad_requests_are_refused_in_the_shapes_of_this_api(subject: &Subject) {
    // ledger part L, G-12
    let http = &subject.gateway().http;
    let json = [("content-type", "application/json")];
    let bad = http.request("POST", "/api/topics", &json, b"{\"topicName\": ");
    assert_eq!(bad.status, 400);
    assert_eq!(bad.header("content-type"), "application/problem+json");
    assert_eq!(
        bad.json()["title"],
        "One or more validation errors occurred."
    );
    let empty = http.request("POST", "/api/topics", &json, b"");
    assert_eq!(empty.status, 400);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(
        http.request("POST", "/api/topics", &form, b"topicName=a")
            .status,
        415
    );
    let long = json!({ "producerId": "x".repeat(256), "name": "x" });
    assert_eq!(http.post("/api/producers", &long).status, 400);
    assert_eq!(http.get("/api/producers/%ff").status, 400);
}

async fn registrations_and_cursors_survive_a_restart(_: &Subject) {
    //
    let scratch = crate::repository::scratch("contract-legacy-restart").expect("a folder");
    let data = scratch.path().join("data");
    let flags = ["--data", data.to_str().expect("a path")];
    let start = || Gateway::start(scratch.path(), &flags).expect("it starts");
    let consume = |http: &Http| {
        let body = json!({ "topicName": "orders", "timeoutMs": 2000 });
        http.post("/api/consumers/c1/consume", &body)
    };
    let gateway = start();
    let http = &gateway.http;
    post(http, "/api/topics", json!({ "topicName": "orders" }));
    post(
        http,
        "/api/producers",
        json!({ "producerId": "p1", "name": "Orders" }),
    );
    post(
        http,
        "/api/consumers",
        json!({ "consumerId": "c1", "consumerGroup": "g1" }),
    );
    publish(http, "p1", "orders", "first");
    publish(http, "p1", "orders", "second");
    assert_eq!(consume(http).json()["content"], "first");
    gateway.kill();
    drop(gateway);
    let gateway = start();
    let http = &gateway.http;
    assert_eq!(http.get("/api/producers/p1").json()["name"], "Orders");
    assert_eq!(http.get("/api/consumers/c1").json()["consumerGroup"], "g1");
    let second = eventually("the second message comes", async || {
        let answer = consume(http);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(second.await["content"], "second");
    assert_eq!(consume(http).status, 204);
}

async fn hybrid_mode_goes_on_while_kafka_is_away(_: &Subject) {
    //
    let scratch = crate::repository::scratch("contract-legacy-hybrid-away").expect("a folder");
    let flags = ["--ephemeral", "--mode", "hybrid", "--kafka", "127.0.0.1:1"];
    let gateway = Gateway::start(scratch.path(), &flags).expect("it starts");
    let http = &gateway.http;
    let created = http.post("/api/topics", &json!({ "topicName": "orders" }));
    assert_eq!(created.status, 400);
    let created = created.json();
    assert_eq!(created["results"][0], "✅ Created in-memory topic: orders");
    assert_eq!(
        created["results"][2],
        "⏳ Kafka gets the topic when it is back"
    );
    post(
        http,
        "/api/producers",
        json!({ "producerId": "p1", "name": "Orders" }),
    );
    let body = json!({ "producerId": "p1", "topicName": "orders", "content": "kept", "id": "m1" });
    for _ in 0..2 {
        let answer = http.post("/api/messages/publish", &body);
        assert_eq!(answer.status, 207, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["publishedTo"], json!(["In-Memory"]));
        assert_eq!(answer["results"][0]["status"], "Published");
        assert_eq!(answer["results"][1]["status"], "Pending");
    }
    let list = http.get("/api/messages/topic/orders").json();
    assert_eq!(list["messageCount"], 1, "{list}");
    let topics = http.get("/api/topics").json();
    assert_eq!(topics["summary"]["inMemoryCount"], 1);
    assert!(topics["kafkaError"].is_string(), "{topics}");
}

async fn two_processes_on_one_cluster_have_the_same_registrations(subject: &Subject) {
    //
    let scratch = crate::repository::scratch("contract-legacy-two").expect("a folder");
    let kafka = subject.kafka.as_ref().expect("the subject is Kafka");
    let other = Gateway::on_kafka(&scratch, kafka).expect("it starts");
    let (topic, producer) = topic_and_producer(subject);
    let seen = eventually("the other process knows the producer", async || {
        let answer = other.http.get(&format!("/api/producers/{producer}"));
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(seen.await["id"], producer.as_str());
    publish(&other.http, &producer, &topic, "from the other");
    let again = json!({ "producerId": producer, "name": "again" });
    assert_eq!(
        subject.gateway().http.post("/api/producers", &again).status,
        400
    );
}
