//! `/v1` on every kind of subject: topics, records as they were produced, cursors, live streams, and what is refused.

use serde_json::{Value, json};

use crate::http::Http;
use crate::subject::{Subject, contract, eventually};

contract! {
    EVERYWHERE:
        a_topic_lives_its_life_over_http,
        records_are_read_byte_for_byte_as_they_were_produced,
        a_reader_goes_on_by_cursor_until_the_end,
        a_page_waits_for_what_comes,
        a_live_stream_resumes_behind_its_last_event,
        settings_change_only_from_the_state_that_was_seen,
        what_is_wrong_is_a_problem_with_a_pointer,
        the_document_describes_what_is_served;
    KAFKA:
        partitions_have_replicas_and_brokers_lead_them;
}

/// What is at `path` once it is right: a change reaches the brokers of a cluster one after another.
async fn shown(http: &Http, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let ask = async || {
        let answer = http.get(path);
        let body = (answer.status == 200).then(|| answer.json());
        body.filter(&is_right)
    };
    eventually(path, ask).await
}

async fn a_topic_lives_its_life_over_http(subject: &Subject) {
    let http = &subject.gateway().http;
    let name = subject.name("v1-life");
    let new = json!({ "name": name, "partitions": 2, "config": { "retention.ms": "60000" } });
    let created = http.post("/v1/topics", &new);
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/v1/topics/{name}");
    assert_eq!(created.header("location"), path);
    assert_eq!(http.post("/v1/topics", &new).status, 409);
    // A broker that has not heard of the topic yet says that it is not there.
    let found = shown(http, &path, |topic| topic["partitions"] == 2).await;
    assert_eq!(found["records"], 0);
    let listed = http
        .get(&format!("/v1/topics?q={name}&fields=bytes"))
        .json();
    assert_eq!(listed["topics"][0]["name"], name.as_str());
    let changed = http.send("PATCH", &path, &json!({ "partitions": 3 }));
    assert_eq!(changed.status, 200, "{}", changed.text());
    shown(http, &format!("{path}/partitions"), |list| {
        list["partitions"]
            .as_array()
            .is_some_and(|list| list.len() == 3)
    })
    .await;
    assert_eq!(http.delete(&path).status, 204);
}

async fn records_are_read_byte_for_byte_as_they_were_produced(subject: &Subject) {
    let name = subject.topic("v1-bytes", 1).await;
    let http = &subject.gateway().http;
    let path = format!("/v1/topics/{name}/records");
    let big = r#"{"id":12345678901234567890123,"b" : 1.10}"#;
    let body = format!(
        r#"{{"records":[{{"key":"k","value":{big},"headers":{{"h":"1"}}}},{{"value":null,"key":"k"}},{{"value_text":"plain"}},{{"value_base64":"AP8="}}]}}"#
    );
    let stored = http.request(
        "POST",
        &path,
        &[("content-type", "application/json")],
        body.as_bytes(),
    );
    assert_eq!(stored.status, 200, "{}", stored.text());
    assert_eq!(stored.json()["results"][3]["offset"], 3);
    let page = http.get(&path);
    assert!(
        page.text().contains(&format!("\"value\":{big},")),
        "{}",
        page.text()
    );
    let records = page.json()["records"].clone();
    assert_eq!(records[1]["value"], Value::Null);
    assert_eq!(records[2]["value_text"], "plain");
    assert_eq!(records[3]["value_base64"], "AP8=");
    let lines = "{\"value\":1}\nno record\n{\"value\":2}\n";
    let streamed = http.request(
        "POST",
        &path,
        &[("content-type", "application/x-ndjson")],
        lines.as_bytes(),
    );
    assert_eq!(streamed.status, 207);
    assert_eq!(streamed.json()["stored"], 2);
}

async fn a_reader_goes_on_by_cursor_until_the_end(subject: &Subject) {
    let name = subject.topic("v1-cursor", 3).await;
    let http = &subject.gateway().http;
    let path = format!("/v1/topics/{name}/records");
    let records: Vec<Value> = (0..250)
        .map(|n| json!({ "key": format!("k{n}"), "value": n }))
        .collect();
    assert_eq!(http.post(&path, &json!({ "records": records })).status, 200);
    let mut seen = Vec::new();
    let mut page = http.get(&format!("{path}?limit=40")).json();
    loop {
        let records = page["records"].as_array().expect("a list");
        seen.extend(records.iter().filter_map(|record| record["value"].as_i64()));
        if page["scan"]["reached_end"] == true {
            break;
        }
        let cursor = page["next_cursor"].as_str().expect("a cursor");
        page = http.get(&format!("{path}?limit=40&cursor={cursor}")).json();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..250).collect::<Vec<i64>>());
    let filtered = http
        .get(&format!("{path}?filter=value%20%3E=%20248"))
        .json();
    assert_eq!(filtered["records"].as_array().map(Vec::len), Some(2));
}

async fn a_page_waits_for_what_comes(subject: &Subject) {
    let name = subject.topic("v1-wait", 3).await;
    let http = &subject.gateway().http;
    let path = format!("/v1/topics/{name}/records");
    let page = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| http.get(&format!("{path}?from=latest&wait_ms=20000")));
        // The reader may begin before or after: it starts at the end, so one record must come after it has begun.
        while !waiting.is_finished() {
            let stored = http.post(&path, &json!({ "records": [{ "value": 1 }] }));
            assert_eq!(stored.status, 200, "{}", stored.text());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        waiting.join().expect("an answer")
    });
    assert_eq!(page.json()["records"][0]["value"], 1);
}

async fn a_live_stream_resumes_behind_its_last_event(subject: &Subject) {
    let name = subject.topic("v1-live", 2).await;
    let http = &subject.gateway().http;
    let path = format!("/v1/topics/{name}/records");
    let produce = |value: i64| {
        let stored = http.post(&path, &json!({ "records": [{ "value": value }] }));
        assert_eq!(stored.status, 200, "{}", stored.text());
    };
    let accept = ("accept", "text/event-stream");
    let mut lines = http.lines(&format!("{path}?from=latest"), &[accept]);
    // The stream's first event comes when it follows the end.
    lines
        .find(|line| line == "event: progress")
        .expect("it begins");
    produce(1);
    lines
        .find(|line| line == "event: records")
        .expect("a record comes");
    let id = lines.next().expect("an id");
    let id = id.strip_prefix("id: ").expect("an id").to_owned();
    assert!(lines.next().expect("data").contains("\"value\":1"));
    drop(lines);
    produce(2);
    let mut lines = http.lines(&path, &[accept, ("last-event-id", &id)]);
    lines
        .find(|line| line == "event: records")
        .expect("what was missed comes");
    let data = lines.nth(1).expect("data");
    assert!(
        data.contains("\"value\":2") && !data.contains("\"value\":1"),
        "{data}"
    );
}

async fn settings_change_only_from_the_state_that_was_seen(subject: &Subject) {
    let name = subject.topic("v1-config", 1).await;
    let http = &subject.gateway().http;
    let path = format!("/v1/topics/{name}/config");
    let seen = http.get(&path);
    let tag = seen.header("etag").to_owned();
    let patch = |tag: &str| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        http.request("PATCH", &path, &headers, br#"{"retention.ms":"60000"}"#)
    };
    assert_eq!(patch("\"other\"").status, 412);
    let changed = patch(&tag);
    assert_eq!(changed.status, 200, "{}", changed.text());
    shown(http, &path, |list| {
        let mut settings = list["settings"].as_array().into_iter().flatten();
        settings.any(|one| one["name"] == "retention.ms" && one["value"] == "60000")
    })
    .await;
}

async fn what_is_wrong_is_a_problem_with_a_pointer(subject: &Subject) {
    let name = subject.topic("v1-wrong", 1).await;
    let http = &subject.gateway().http;
    let path = format!("/v1/topics/{name}/records");
    let refused = http.post(
        &path,
        &json!({ "records": [{ "value": 1 }, { "valeu": 2 }] }),
    );
    assert_eq!(
        (refused.status, refused.header("content-type")),
        (422, "application/problem+json")
    );
    let problem = refused.json();
    assert_eq!(problem["errors"][0]["pointer"], "/records/1/valeu");
    assert_eq!(
        http.get(problem["type"].as_str().expect("a path")).status,
        200
    );
    assert_eq!(
        http.get("/v1/topics/no-such-topic/records").json()["code"],
        "topic-not-found"
    );
    assert_eq!(http.send("PUT", &path, &json!({})).status, 405);
    let too_large = "x".repeat(3 * 1024 * 1024);
    let refused = http.post(&path, &json!({ "records": [{ "value_text": too_large }] }));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (413, &json!("too-large"))
    );
}

async fn the_document_describes_what_is_served(subject: &Subject) {
    let http = &subject.gateway().http;
    let document = http.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    for path in ["/v1/topics", "/v1/cluster", "/v1/brokers"] {
        let answer = http.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            document["paths"][path]["get"]["responses"]["200"].is_object(),
            "{path}"
        );
    }
}

async fn partitions_have_replicas_and_brokers_lead_them(subject: &Subject) {
    let name = subject.topic("v1-replicas", 3).await;
    let http = &subject.gateway().http;
    let list = http.get(&format!("/v1/topics/{name}/partitions")).json();
    for partition in list["partitions"].as_array().expect("a list") {
        assert_eq!(
            partition["replicas"].as_array().map(Vec::len),
            Some(subject.brokers)
        );
    }
    let brokers = http.get("/v1/brokers").json();
    assert_eq!(
        brokers["brokers"].as_array().map(Vec::len),
        Some(subject.brokers)
    );
}
