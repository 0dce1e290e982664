//! `Idempotency-Key` over HTTP: carried out once, answered as often as it is asked, also by another process.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::http::{Answer, Http};
use crate::repository::scratch;
use crate::subject::{Subject, contract};

contract! {
    BOTH:
        a_request_that_is_sent_again_is_answered_as_the_first_time,
        a_key_stands_for_one_request,
        a_request_that_changed_nothing_gives_its_key_free,
        a_request_whose_process_died_is_never_carried_out_again,
        an_answer_outlives_the_process_that_gave_it;
}

fn post(http: &Http, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    http.request("POST", path, &headers, body.to_string().as_bytes())
}

fn records(http: &Http, topic: &str) -> usize {
    let answer = http.get(&format!("/v1/topics/{topic}/records?from=earliest"));
    answer.json()["records"].as_array().map_or(0, Vec::len)
}

async fn a_request_that_is_sent_again_is_answered_as_the_first_time(subject: &Subject) {
    let (http, topic) = (&subject.gateway().http, subject.topic("once", 1).await);
    let (path, key) = (
        format!("/v1/topics/{topic}/records"),
        subject.name("\"order") + "\"",
    );
    let body = json!({ "records": [{ "value": 1 }, { "value": 2 }] });
    let first = post(http, &path, &key, &body);
    assert_eq!(
        (first.status, first.header("idempotent-replayed")),
        (200, ""),
        "{}",
        first.text()
    );
    for _ in 0..3 {
        let again = post(http, &path, &key, &body);
        assert_eq!(
            (again.status, again.header("idempotent-replayed")),
            (200, "true")
        );
        assert_eq!(again.text(), first.text());
        assert_eq!(again.header("content-type"), first.header("content-type"));
    }
    assert_eq!(records(http, &topic), 2);
}

async fn a_key_stands_for_one_request(subject: &Subject) {
    let (http, topic) = (&subject.gateway().http, subject.topic("reused", 1).await);
    let (path, key) = (format!("/v1/topics/{topic}/records"), subject.name("key"));
    assert_eq!(
        post(http, &path, &key, &json!({ "records": [{ "value": 1 }] })).status,
        200
    );
    for (path, body) in [
        (path.clone(), json!({ "records": [{ "value": 2 }] })),
        (
            format!("{path}?acks=1"),
            json!({ "records": [{ "value": 1 }] }),
        ),
    ] {
        let other = post(http, &path, &key, &body);
        assert_eq!(
            (other.status, &other.json()["code"]),
            (422, &json!("idempotency-key-reused"))
        );
    }
    assert_eq!(records(http, &topic), 1);
    for wrong in ["", "a b", "\"open"] {
        assert_eq!(
            post(http, &path, wrong, &json!({ "records": [{ "value": 1 }] })).status,
            400,
            "{wrong}"
        );
    }
}

async fn a_request_that_changed_nothing_gives_its_key_free(subject: &Subject) {
    let http = &subject.gateway().http;
    let (topic, key) = (subject.name("later"), subject.name("key"));
    let (path, body) = (
        format!("/v1/topics/{topic}/records"),
        json!({ "records": [{ "value": 1 }] }),
    );
    assert_eq!(post(http, &path, &key, &body).status, 404);
    let created = http.post("/v1/topics", &json!({ "name": topic, "partitions": 1 }));
    assert_eq!(created.status, 201, "{}", created.text());
    let stored = crate::subject::eventually("the topic is known", async || {
        let answer = post(http, &path, &key, &body);
        (answer.status != 404).then_some(answer)
    })
    .await;
    assert_eq!(
        (stored.status, stored.header("idempotent-replayed")),
        (200, ""),
        "{}",
        stored.text()
    );
    assert_eq!(
        post(http, &path, &key, &body).header("idempotent-replayed"),
        "true"
    );
    assert_eq!(records(http, &topic), 1);
}

async fn a_request_whose_process_died_is_never_carried_out_again(subject: &Subject) {
    const TABLE: &str = "/v1/topics/_thalweg_idempotency/records";
    let (http, topic) = (&subject.gateway().http, subject.topic("died", 1).await);
    let path = format!("/v1/topics/{topic}/records");
    let body = json!({ "records": [{ "value": 1 }] });
    let answered = subject.name("answered");
    assert_eq!(post(http, &path, &answered, &body).status, 200);
    let rows = http.get(&format!("{TABLE}?from=-100&limit=100")).json();
    let rows = rows["records"].as_array().expect("rows").clone();
    let row = rows.iter().rev().find(|row| row["key"] == answered);
    let fingerprint = &row.expect("the row of the answer")["value"]["fingerprint"];
    // What a process leaves that dies after it has taken the key: a row without an answer, now and three minutes ago.
    let three_minutes_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(180);
    let since_1970 = three_minutes_ago.duration_since(std::time::UNIX_EPOCH);
    let then_ms = since_1970.expect("later than 1970").as_millis() as u64;
    let (now, then) = (subject.name("now"), subject.name("then"));
    let begun = json!({ "fingerprint": fingerprint, "state": { "begun": "gone" } });
    let left = json!({ "records": [
        { "key": now, "value": begun },
        { "key": then, "value": begun, "timestamp": then_ms },
    ] });
    assert_eq!(http.post(TABLE, &left).status, 200);
    // Whoever takes a key has read everything before it: after this the rows are known.
    let nowhere = format!("/v1/topics/{}/records", subject.name("nowhere"));
    assert_eq!(
        post(http, &nowhere, &subject.name("key"), &body).status,
        404
    );
    for (key, code) in [(&now, "conflict"), (&then, "outcome-unknown")] {
        for _ in 0..2 {
            let again = post(http, &path, key, &body);
            assert_eq!((again.status, &again.json()["code"]), (409, &json!(code)));
        }
    }
    assert_eq!(records(http, &topic), 1);
}

async fn an_answer_outlives_the_process_that_gave_it(subject: &Subject) {
    let folder = scratch("idempotency-restart").expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_string_lossy();
    let kafka = subject.kafka.as_ref().map(|kafka| kafka.bootstrap());
    let flags = match &kafka {
        Some(bootstrap) => vec!["--mode", "kafka", "--kafka", bootstrap],
        None => vec!["--data", &data],
    };
    let (topic, key) = (subject.name("outlived"), subject.name("key"));
    let (path, body) = (
        format!("/v1/topics/{topic}/records"),
        json!({ "records": [{ "value": 1 }] }),
    );
    let before = Gateway::start(folder.path(), &flags).expect("it starts");
    let created = before
        .http
        .post("/v1/topics", &json!({ "name": topic, "partitions": 1 }));
    assert_eq!(created.status, 201, "{}", created.text());
    let first = post(&before.http, &path, &key, &body);
    assert_eq!(first.status, 200, "{}", first.text());
    before.kill();
    let after = Gateway::start(folder.path(), &flags).expect("it starts again");
    let again = post(&after.http, &path, &key, &body);
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (200, "true"),
        "{}",
        again.text()
    );
    assert_eq!(again.text(), first.text());
    assert_eq!(records(&after.http, &topic), 1);
    after.kill();
}
