//! Work queues over HTTP: pull, ack, nack, extend, on share groups and on group offsets.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::http::{Answer, Http};
use crate::repository::{Scratch, scratch};
use crate::subject::{Subject, contract, eventually};

contract! {
    BOTH:
        a_new_group_shares_and_an_old_one_stays_what_it_is,
        every_group_gets_all_and_within_a_group_each_goes_to_one,
        an_ended_lease_is_given_again_and_settles_nothing,
        a_refused_message_comes_back_after_its_delay_and_not_before,
        an_extended_lease_is_not_given_again,
        a_poison_message_becomes_a_dead_letter_with_its_origin,
        what_was_not_acknowledged_is_given_again_by_another_process,
        a_lease_is_no_longer_than_the_lock_of_a_share_group,
        leases_that_nobody_here_gave_are_refused,
        pulls_that_mean_nothing_are_refused;
}

/// Both subjects have share groups.
const KINDS: [&str; 2] = ["share-group", "group-offsets"];

/// A group that pulls from a topic.
struct Queue<'a> {
    http: &'a Http,
    leases: &'static str,
    group: String,
    topic: String,
}

impl<'a> Queue<'a> {
    fn new(subject: &'a Subject, leases: &'static str, topic: &str) -> Queue<'a> {
        Queue {
            http: &subject.gateway().http,
            leases,
            group: subject.name("workers"),
            topic: topic.to_owned(),
        }
    }

    fn produce(&self, values: &[i64]) {
        let records = values.iter();
        let records: Vec<Value> = records
            .map(|value| json!({ "value": value, "key": format!("k{value}") }))
            .collect();
        let path = format!("/v1/topics/{}/records", self.topic);
        let answer = self.http.post(&path, &json!({ "records": records }));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn post(&self, verb: &str, mut request: Value, with: &Value) -> Answer {
        let fields = request.as_object_mut().expect("an object");
        fields.extend(with.as_object().expect("an object").clone());
        let path = format!("/v1/groups/{}/{verb}", self.group);
        self.http.post(&path, &request)
    }

    /// Pulls with a patient wait; `with` changes the request.
    fn pull(&self, with: Value) -> Vec<Value> {
        let request = json!({ "topics": [self.topic], "wait_ms": 20_000, "leases": self.leases });
        let answer = self.post("pull", request, &with);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["leases"], self.leases);
        body["messages"].as_array().expect("messages").clone()
    }

    fn settle(&self, verb: &str, messages: &[Value], with: Value) -> Answer {
        let ids: Vec<&Value> = messages.iter().map(|message| &message["ack_id"]).collect();
        self.post(verb, json!({ "ack_ids": ids }), &with)
    }

    fn ack(&self, messages: &[Value]) {
        let answer = self.settle("ack", messages, json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn values(messages: &[Value]) -> Vec<i64> {
    let values = messages.iter();
    values
        .filter_map(|message| message["value"].as_i64())
        .collect()
}

async fn a_new_group_shares_and_an_old_one_stays_what_it_is(subject: &Subject) {
    let topic = subject.topic("queue-kind", 1).await;
    let pull = |group: &str, with: Value| {
        let mut request = json!({ "topics": [topic] });
        let fields = request.as_object_mut().expect("an object");
        fields.extend(with.as_object().expect("an object").clone());
        let path = format!("/v1/groups/{group}/pull");
        subject.gateway().http.post(&path, &request)
    };
    let new = subject.name("new");
    let shared = pull(&new, json!({}));
    assert_eq!(shared.json()["leases"], "share-group", "{}", shared.text());
    let offsets = pull(&new, json!({ "leases": "group-offsets" }));
    assert_eq!(
        (offsets.status, &offsets.json()["code"]),
        (409, &json!("conflict"))
    );
    let old = subject.name("old");
    let path = format!("/v1/groups/{old}/offsets");
    let request = json!({ "to": "earliest", "topics": [{ "topic": topic }] });
    let made = subject.gateway().http.post(&path, &request);
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(pull(&old, json!({})).json()["leases"], "group-offsets");
    assert_eq!(pull(&old, json!({ "leases": "share-group" })).status, 409);
}

async fn every_group_gets_all_and_within_a_group_each_goes_to_one(subject: &Subject) {
    let all: Vec<i64> = (0..30).collect();
    for leases in KINDS {
        let topic = subject.topic("queue-share", 3).await;
        let one = Queue::new(subject, leases, &topic);
        one.produce(&all);
        let mut shared = Vec::new();
        while shared.len() < all.len() {
            // Two clients by turns, neither of which has acknowledged yet.
            let first = one.pull(json!({ "max": 4 }));
            let second = one.pull(json!({ "max": 4, "wait_ms": 0 }));
            assert!(!first.is_empty(), "{leases}: {shared:?}");
            shared.extend(values(&first));
            shared.extend(values(&second));
            one.ack(&[first, second].concat());
        }
        shared.sort_unstable();
        assert_eq!(shared, all, "{leases}: each once");
        let two = Queue::new(subject, leases, &topic);
        let mut others = BTreeSet::new();
        while others.len() < all.len() {
            let messages = two.pull(json!({}));
            two.ack(&messages);
            assert!(!messages.is_empty(), "{leases}: {others:?}");
            assert!(
                values(&messages)
                    .into_iter()
                    .all(|value| others.insert(value)),
                "{leases}: once"
            );
        }
        assert!(two.pull(json!({ "wait_ms": 0 })).is_empty());
    }
}

async fn an_ended_lease_is_given_again_and_settles_nothing(subject: &Subject) {
    for leases in KINDS {
        let queue = Queue::new(subject, leases, &subject.topic("queue-lease", 1).await);
        queue.produce(&[7, 8]);
        let first = queue.pull(json!({ "lease_ms": 200 }));
        assert_eq!(
            (values(&first), &first[0]["attempt"]),
            (vec![7, 8], &json!(1)),
            "{leases}"
        );
        let again = queue.pull(json!({ "lease_ms": 30_000 }));
        assert_eq!(
            (values(&again), &again[0]["attempt"]),
            (vec![7, 8], &json!(2)),
            "{leases}"
        );
        let late = queue.settle("ack", &first, json!({}));
        assert_eq!(
            (late.status, &late.json()["code"]),
            (409, &json!("lease-lost"))
        );
        let both = [first[0].clone(), again[0].clone()];
        let mixed = queue.settle("ack", &both, json!({}));
        assert_eq!(mixed.status, 207);
        assert_eq!(mixed.json()["results"][0]["error"]["code"], "lease-lost");
        assert!(mixed.json()["results"][1]["error"].is_null());
        // Told twice, because the first answer may have been lost, it is no error.
        queue.ack(&again);
        assert!(queue.pull(json!({ "wait_ms": 0 })).is_empty());
    }
}

async fn a_refused_message_comes_back_after_its_delay_and_not_before(subject: &Subject) {
    for leases in KINDS {
        let queue = Queue::new(subject, leases, &subject.topic("queue-nack", 1).await);
        queue.produce(&[1]);
        let first = queue.pull(json!({}));
        let why = json!({ "delay_ms": 1_500, "reason": "not yet" });
        let refused = queue.settle("nack", &first, why);
        assert_eq!(refused.status, 200, "{leases}: {}", refused.text());
        let since = Instant::now();
        assert!(
            queue.pull(json!({ "wait_ms": 0 })).is_empty(),
            "{leases}: not before"
        );
        let again = queue.pull(json!({}));
        assert_eq!(
            (values(&again), &again[0]["attempt"]),
            (vec![1], &json!(2)),
            "{leases}"
        );
        assert!(
            since.elapsed().as_millis() >= 1_400,
            "{leases}: {:?}",
            since.elapsed()
        );
        queue.settle("nack", &again, json!({}));
        let at_once = queue.pull(json!({}));
        assert_eq!(
            (values(&at_once), &at_once[0]["attempt"]),
            (vec![1], &json!(3)),
            "{leases}"
        );
        queue.ack(&at_once);
    }
}

async fn an_extended_lease_is_not_given_again(subject: &Subject) {
    for leases in KINDS {
        let queue = Queue::new(subject, leases, &subject.topic("queue-extend", 1).await);
        queue.produce(&[1]);
        let first = queue.pull(json!({ "lease_ms": 3_000 }));
        let extended = queue.settle("extend", &first, json!({ "lease_ms": 30_000 }));
        assert_eq!(extended.status, 200, "{leases}: {}", extended.text());
        let until = &extended.json()["results"][0]["lease_until"];
        assert!(
            until.as_str() > first[0]["lease_until"].as_str(),
            "{leases}: {until}"
        );
        let meanwhile = queue.pull(json!({ "wait_ms": 4_000 }));
        assert!(
            meanwhile.is_empty(),
            "{leases}: the first lease is over by now"
        );
        queue.ack(&first);
    }
}

async fn a_poison_message_becomes_a_dead_letter_with_its_origin(subject: &Subject) {
    // G-32
    for leases in KINDS {
        let queue = Queue::new(subject, leases, &subject.topic("queue-poison", 1).await);
        queue.produce(&[13, 14]);
        for attempt in 1..=2 {
            let messages = queue.pull(json!({ "max": 1, "max_attempts": 2 }));
            assert_eq!(
                (values(&messages), &messages[0]["attempt"]),
                (vec![13], &json!(attempt)),
                "{leases}"
            );
            let refused = queue.settle("nack", &messages, json!({ "reason": "it hurts" }));
            assert_eq!(refused.status, 200, "{leases}: {}", refused.text());
        }
        let next = queue.pull(json!({}));
        assert_eq!(values(&next), [14], "{leases}: it blocks nobody");
        queue.ack(&next);
        let letter = dead_letter(&queue).await;
        assert_eq!(
            (&letter["value"], &letter["key"]),
            (&json!(13), &json!("k13"))
        );
        let headers = letter["headers"].as_array().expect("headers");
        let header = |name: &str| {
            let mut headers = headers.iter();
            let found = headers.find(|header| header["key"] == format!("__dlq.errors.{name}"));
            found
                .and_then(|header| header["value"].as_str())
                .unwrap_or_default()
        };
        assert_eq!(
            (header("topic"), header("group")),
            (&*queue.topic, &*queue.group)
        );
        assert_eq!((header("partition"), header("offset")), ("0", "0"));
        assert_eq!(
            (header("delivery.count"), header("message")),
            ("2", "it hurts")
        );
        assert!(!header("timestamp").is_empty());
    }
}

async fn dead_letter(queue: &Queue<'_>) -> Value {
    let path = format!("/v1/topics/{}-dlt/records?from=earliest", queue.topic);
    eventually("the dead letter", async || {
        let answer = queue.http.get(&path);
        let found = (answer.status == 200).then(|| answer.json()["records"][0].clone());
        found.filter(|record| !record.is_null())
    })
    .await
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
    let before = own_gateway(subject, &folder);
    let queues: Vec<Queue<'_>> = KINDS
        .iter()
        .map(|leases| Queue {
            http: &before.http,
            leases,
            group: subject.name("survivors"),
            topic: subject.name("queue-restart"),
        })
        .collect();
    let mut stale = Vec::new();
    for queue in &queues {
        let new = json!({ "name": queue.topic, "partitions": 1 });
        let created = before.http.post("/v1/topics", &new);
        assert_eq!(created.status, 201, "{}", created.text());
        queue.produce(&[0, 1, 2, 3]);
        let messages = queue.pull(json!({ "lease_ms": 30_000 }));
        assert_eq!(values(&messages), [0, 1, 2, 3]);
        // 2 is acknowledged before 1, which is not.
        queue.ack(&[messages[0].clone(), messages[2].clone()]);
        stale.push(messages[1].clone());
    }
    before.kill();
    let after = own_gateway(subject, &folder);
    for (queue, stale) in queues.iter().zip(stale) {
        let queue = Queue {
            http: &after.http,
            leases: queue.leases,
            group: queue.group.clone(),
            topic: queue.topic.clone(),
        };
        let again = eventually("the group lets the new member in", async || {
            let messages = queue.pull(json!({}));
            (!messages.is_empty()).then_some(messages)
        })
        .await;
        // A share group knows each message; an offset can only say up to where.
        let expected = match queue.leases {
            "share-group" => vec![1, 3],
            _ => vec![1, 2, 3],
        };
        assert_eq!(values(&again), expected, "{}", queue.leases);
        let refused = queue.settle("ack", &[stale], json!({}));
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("lease-lost"))
        );
        queue.ack(&again);
    }
    after.kill();
}

async fn a_lease_is_no_longer_than_the_lock_of_a_share_group(subject: &Subject) {
    let topic = subject.topic("queue-lock", 1).await;
    let queue = Queue::new(subject, "share-group", &topic);
    queue.produce(&[1]);
    let request = json!({ "topics": [topic], "lease_ms": 40_000, "leases": "share-group" });
    let refused = queue.post("pull", request, &json!({}));
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (422, &json!("/lease_ms"))
    );
    let messages = queue.pull(json!({}));
    for (verb, field) in [("extend", "lease_ms"), ("nack", "delay_ms")] {
        let mut with = json!({});
        with[field] = json!(40_000);
        let refused = queue.settle(verb, &messages, with);
        assert_eq!(refused.status, 422, "{verb}: {}", refused.text());
        assert_eq!(refused.json()["errors"][0]["pointer"], format!("/{field}"));
    }
    queue.ack(&messages);
}

async fn leases_that_nobody_here_gave_are_refused(subject: &Subject) {
    let (http, group) = (&subject.gateway().http, subject.name("strangers"));
    for verb in ["ack", "nack", "extend"] {
        let path = format!("/v1/groups/{group}/{verb}");
        let foreign = http.post(&path, &json!({ "ack_ids": ["00000000deadbeef-1-1"] }));
        assert_eq!(
            (foreign.status, &foreign.json()["code"]),
            (409, &json!("lease-lost"))
        );
        let malformed = http.post(&path, &json!({ "ack_ids": ["x"] }));
        let pointer = &malformed.json()["errors"][0]["pointer"];
        assert_eq!((malformed.status, pointer), (422, &json!("/ack_ids/0")));
        assert_eq!(http.post(&path, &json!({ "ack_ids": [] })).status, 422);
    }
}

async fn pulls_that_mean_nothing_are_refused(subject: &Subject) {
    let (http, topic) = (
        &subject.gateway().http,
        subject.topic("queue-limits", 1).await,
    );
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
