//! Work queues over HTTP: pull, ack, nack, extend, with both kinds of leases where the cluster has both.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::http::{Answer, Http};
use crate::repository::{Scratch, scratch};
use crate::subject::{Subject, contract, eventually};

contract! {
    BOTH:
        every_group_gets_all_and_within_a_group_each_goes_to_one,
        an_ended_lease_is_given_again_and_settles_nothing,
        a_refused_message_comes_back_after_its_delay_and_not_before,
        an_extended_lease_is_not_given_again,
        a_poison_message_becomes_a_dead_letter_with_its_origin,
        what_was_not_acknowledged_is_given_again_by_another_process,
        leases_that_nobody_here_gave_are_refused,
        pulls_that_mean_nothing_are_refused;
}

fn http(subject: &Subject) -> &Http {
    &subject.gateway().http
}

fn produce(http: &Http, topic: &str, values: &[i64]) {
    let records: Vec<Value> = values
        .iter()
        .map(|value| json!({ "value": value, "key": format!("k{value}") }))
        .collect();
    let answer = http.post(
        &format!("/v1/topics/{topic}/records"),
        &json!({ "records": records }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Pulls with a patient wait; `with` changes the request.
fn pull(http: &Http, group: &str, topic: &str, with: Value) -> Vec<Value> {
    let mut request = json!({ "topics": [topic], "wait_ms": 20_000, "leases": "group-offsets" });
    let request_fields = request.as_object_mut().expect("an object");
    request_fields.extend(with.as_object().expect("an object").clone());
    let answer = http.post(&format!("/v1/groups/{group}/pull"), &request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["leases"], request["leases"]);
    body["messages"].as_array().expect("messages").clone()
}

fn settle(http: &Http, group: &str, verb: &str, messages: &[Value], with: Value) -> Answer {
    let ids: Vec<&Value> = messages.iter().map(|message| &message["ack_id"]).collect();
    let mut request = json!({ "ack_ids": ids });
    let fields = request.as_object_mut().expect("an object");
    fields.extend(with.as_object().expect("an object").clone());
    http.post(&format!("/v1/groups/{group}/{verb}"), &request)
}

fn ack(http: &Http, group: &str, messages: &[Value]) {
    let answer = settle(http, group, "ack", messages, json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn values(messages: &[Value]) -> Vec<i64> {
    messages
        .iter()
        .filter_map(|message| message["value"].as_i64())
        .collect()
}

/// Pulls and acknowledges until so many have come.
fn drain(http: &Http, group: &str, topic: &str, count: usize) -> Vec<i64> {
    let mut all = Vec::new();
    while all.len() < count {
        let messages = pull(http, group, topic, json!({}));
        assert!(!messages.is_empty(), "{all:?} of {count}");
        ack(http, group, &messages);
        all.extend(values(&messages));
    }
    all
}

async fn every_group_gets_all_and_within_a_group_each_goes_to_one(subject: &Subject) {
    let (http, topic) = (http(subject), subject.topic("queue-share", 3).await);
    let (one, two) = (subject.name("workers"), subject.name("auditors"));
    let all: Vec<i64> = (0..30).collect();
    produce(http, &topic, &all);
    let mut shared = Vec::new();
    while shared.len() < all.len() {
        // Two clients by turns, neither of which has acknowledged yet.
        let first = pull(http, &one, &topic, json!({ "max": 4 }));
        let second = pull(http, &one, &topic, json!({ "max": 4, "wait_ms": 0 }));
        assert!(!first.is_empty());
        shared.extend(values(&first));
        shared.extend(values(&second));
        ack(http, &one, &[first, second].concat());
    }
    shared.sort_unstable();
    assert_eq!(shared, all, "each once");
    let others: BTreeSet<i64> = drain(http, &two, &topic, all.len()).into_iter().collect();
    assert_eq!(others.len(), all.len());
    assert!(pull(http, &two, &topic, json!({ "wait_ms": 0 })).is_empty());
}

async fn an_ended_lease_is_given_again_and_settles_nothing(subject: &Subject) {
    let (http, topic) = (http(subject), subject.topic("queue-lease", 1).await);
    let group = subject.name("slow");
    produce(http, &topic, &[7, 8]);
    let first = pull(http, &group, &topic, json!({ "lease_ms": 200 }));
    assert_eq!(
        (values(&first), &first[0]["attempt"]),
        (vec![7, 8], &json!(1))
    );
    let again = pull(http, &group, &topic, json!({ "lease_ms": 60_000 }));
    assert_eq!(
        (values(&again), &again[0]["attempt"]),
        (vec![7, 8], &json!(2))
    );
    let late = settle(http, &group, "ack", &first, json!({}));
    assert_eq!(
        (late.status, &late.json()["code"]),
        (409, &json!("lease-lost"))
    );
    let mixed = settle(
        http,
        &group,
        "ack",
        &[first[0].clone(), again[0].clone()],
        json!({}),
    );
    assert_eq!(mixed.status, 207);
    assert_eq!(mixed.json()["results"][0]["error"]["code"], "lease-lost");
    assert!(mixed.json()["results"][1]["error"].is_null());
    ack(http, &group, &again[1..]);
}

async fn a_refused_message_comes_back_after_its_delay_and_not_before(subject: &Subject) {
    let (http, topic) = (http(subject), subject.topic("queue-nack", 1).await);
    let group = subject.name("picky");
    produce(http, &topic, &[1]);
    let first = pull(http, &group, &topic, json!({}));
    let refused = settle(
        http,
        &group,
        "nack",
        &first,
        json!({ "delay_ms": 1_500, "reason": "not yet" }),
    );
    assert_eq!(refused.status, 200, "{}", refused.text());
    let since = std::time::Instant::now();
    assert!(
        pull(http, &group, &topic, json!({ "wait_ms": 0 })).is_empty(),
        "not before"
    );
    let again = pull(http, &group, &topic, json!({}));
    assert_eq!((values(&again), &again[0]["attempt"]), (vec![1], &json!(2)));
    assert!(
        since.elapsed().as_millis() >= 1_400,
        "{:?}",
        since.elapsed()
    );
    ack(http, &group, &again);
}

async fn an_extended_lease_is_not_given_again(subject: &Subject) {
    let (http, topic) = (http(subject), subject.topic("queue-extend", 1).await);
    let group = subject.name("thorough");
    produce(http, &topic, &[1]);
    let first = pull(http, &group, &topic, json!({ "lease_ms": 3_000 }));
    let extended = settle(
        http,
        &group,
        "extend",
        &first,
        json!({ "lease_ms": 60_000 }),
    );
    assert_eq!(extended.status, 200, "{}", extended.text());
    let until = extended.json()["results"][0]["lease_until"]
        .as_str()
        .expect("a time")
        .to_owned();
    assert!(until.as_str() > first[0]["lease_until"].as_str().expect("a time"));
    assert!(
        pull(http, &group, &topic, json!({ "wait_ms": 4_000 })).is_empty(),
        "the first lease is over by now"
    );
    ack(http, &group, &first);
}

async fn a_poison_message_becomes_a_dead_letter_with_its_origin(subject: &Subject) {
    // G-32
    let (http, topic) = (http(subject), subject.topic("queue-poison", 1).await);
    let group = subject.name("victims");
    produce(http, &topic, &[13, 14]);
    for attempt in 1..=2 {
        let messages = pull(http, &group, &topic, json!({ "max": 1, "max_attempts": 2 }));
        assert_eq!(
            (values(&messages), &messages[0]["attempt"]),
            (vec![13], &json!(attempt))
        );
        let refused = settle(
            http,
            &group,
            "nack",
            &messages,
            json!({ "reason": "it hurts" }),
        );
        assert_eq!(refused.status, 200, "{}", refused.text());
    }
    let next = pull(http, &group, &topic, json!({}));
    assert_eq!(values(&next), [14], "it blocks nobody");
    ack(http, &group, &next);
    let path = format!("/v1/topics/{topic}-dlt/records?from=earliest&wait_ms=1000");
    let letter = eventually("the dead letter", async || {
        let answer = http.get(&path);
        let found = (answer.status == 200).then(|| answer.json()["records"][0].clone());
        found.filter(|record| !record.is_null())
    })
    .await;
    assert_eq!(
        (&letter["value"], &letter["key"]),
        (&json!(13), &json!("k13"))
    );
    let header = |name: &str| {
        let headers = letter["headers"].as_array().expect("headers");
        let found = headers.iter().find(|header| header["key"] == name);
        found
            .map(|header| header["value"].as_str().unwrap_or_default().to_owned())
            .unwrap_or_default()
    };
    assert_eq!(header("__dlq.errors.topic"), topic);
    assert_eq!(header("__dlq.errors.partition"), "0");
    assert_eq!(header("__dlq.errors.offset"), "0");
    assert_eq!(header("__dlq.errors.group"), group);
    assert_eq!(header("__dlq.errors.delivery.count"), "2");
    assert_eq!(header("__dlq.errors.message"), "it hurts");
    assert!(!header("__dlq.errors.timestamp").is_empty());
}

/// A gateway of this test's own: with its own broker on disk, or with the subject's Kafka behind it.
fn own_gateway(subject: &Subject, folder: &Scratch) -> Gateway {
    let data = folder.path().join("data");
    let data = data.to_string_lossy();
    let kafka = subject.kafka.as_ref().map(|kafka| kafka.bootstrap());
    let flags = match &kafka {
        Some(bootstrap) => vec!["--mode", "kafka", "--kafka", bootstrap],
        None => vec!["--data", &data],
    };
    Gateway::start(folder.path(), &flags).expect("it starts")
}

async fn what_was_not_acknowledged_is_given_again_by_another_process(subject: &Subject) {
    let folder = scratch("queue-restart").expect("a folder");
    let (topic, group) = (subject.name("queue-restart"), subject.name("survivors"));
    let before = own_gateway(subject, &folder);
    let created = before
        .http
        .post("/v1/topics", &json!({ "name": topic, "partitions": 1 }));
    assert_eq!(created.status, 201, "{}", created.text());
    produce(&before.http, &topic, &[0, 1, 2, 3]);
    let messages = pull(&before.http, &group, &topic, json!({ "lease_ms": 600_000 }));
    assert_eq!(values(&messages), [0, 1, 2, 3]);
    // 0 is committed; 2 is acknowledged behind 1, which is not.
    ack(
        &before.http,
        &group,
        &[messages[0].clone(), messages[2].clone()],
    );
    before.kill();
    let after = own_gateway(subject, &folder);
    let again = eventually("the group lets the new member in", async || {
        let messages = pull(&after.http, &group, &topic, json!({}));
        (!messages.is_empty()).then_some(messages)
    })
    .await;
    assert_eq!(values(&again), [1, 2, 3]);
    let stale = settle(&after.http, &group, "ack", &messages[1..2], json!({}));
    assert_eq!(
        (stale.status, &stale.json()["code"]),
        (409, &json!("lease-lost"))
    );
    ack(&after.http, &group, &again);
    after.kill();
}

async fn leases_that_nobody_here_gave_are_refused(subject: &Subject) {
    let (http, group) = (http(subject), subject.name("strangers"));
    for verb in ["ack", "nack", "extend"] {
        let path = format!("/v1/groups/{group}/{verb}");
        let foreign = http.post(&path, &json!({ "ack_ids": ["00000000deadbeef-1-1"] }));
        assert_eq!(
            (foreign.status, &foreign.json()["code"]),
            (409, &json!("lease-lost"))
        );
        let malformed = http.post(&path, &json!({ "ack_ids": ["x"] }));
        assert_eq!(
            (malformed.status, &malformed.json()["errors"][0]["pointer"]),
            (422, &json!("/ack_ids/0"))
        );
        assert_eq!(http.post(&path, &json!({ "ack_ids": [] })).status, 422);
    }
}

async fn pulls_that_mean_nothing_are_refused(subject: &Subject) {
    let (http, topic) = (http(subject), subject.topic("queue-limits", 1).await);
    let path = format!("/v1/groups/{}/pull", subject.name("wrong"));
    for (field, value) in [
        ("max", json!(0)),
        ("max", json!(1_001)),
        ("wait_ms", json!(60_001)),
        ("lease_ms", json!(0)),
        ("max_attempts", json!(0)),
        ("leases", json!("magic")),
        ("topics", json!([])),
        ("surprise", json!(1)),
    ] {
        let mut request = json!({ "topics": [topic] });
        request[field] = value;
        let answer = http.post(&path, &request);
        assert_eq!(answer.status, 422, "{request}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{field}"));
    }
    let nowhere = http.post(&path, &json!({ "topics": [subject.name("nowhere")] }));
    assert_eq!(
        (nowhere.status, &nowhere.json()["code"]),
        (404, &json!("topic-not-found"))
    );
}
