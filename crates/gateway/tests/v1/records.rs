//! Producing and reading: every framing, every kind of value, cursors, filters.

use axum::body::Body;
use serde_json::{Value, json};

use crate::door::{Answer, Door, request};

const RECORDS: &str = "/v1/topics/t/records";

async fn produce(door: &Door, body: &str) -> Answer {
    door.json("POST", RECORDS, body.to_owned()).await
}

async fn read(door: &Door, query: &str) -> Value {
    door.get(&format!("{RECORDS}?{query}"))
        .await
        .expect(200)
        .json()
}

fn offsets(page: &Value) -> Vec<i64> {
    let records = page["records"].as_array().expect("a list");
    records
        .iter()
        .map(|record| record["offset"].as_i64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn json_values_are_stored_and_read_byte_for_byte() {
    let door = Door::open();
    door.topic("t", 1).await;
    let value = r#"{"id":12345678901234567890123, "amount" : 1.10,"big":9007199254740993}"#;
    let body = format!(
        r#"{{"records":[{{"key":"k","value":{value},"headers":{{"h":"1"}},"timestamp":1000}}]}}"#
    );
    let stored = produce(&door, &body).await.expect(200);
    assert_eq!(stored.json()["results"][0]["offset"], 0);
    let page = door
        .get(&format!("{RECORDS}?from=earliest"))
        .await
        .expect(200);
    let expected = format!(
        r#"{{"records":[{{"partition":0,"offset":0,"timestamp":"1970-01-01T00:00:01.000Z","key":"k","value":{value},"headers":[{{"key":"h","value":"1"}}]}}],"#
    );
    assert!(page.text.starts_with(&expected), "{}", page.text);
}

#[tokio::test]
async fn results_are_in_order_and_one_that_failed_costs_only_itself() {
    let door = Door::open();
    door.topic("t", 2).await;
    let body = r#"{"records":[{"value":1,"partition":1},{"value":2,"partition":9},{"value_text":"x","partition":0}]}"#;
    let answer = produce(&door, body).await.expect(207).json();
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results[0]["partition"], 1);
    assert_eq!(results[1]["error"]["code"], "partition-not-found");
    assert_eq!(results[2]["partition"], 0);
    let none = produce(&door, r#"{"records":[{"value":2,"partition":9}]}"#).await;
    let problem = none.expect_problem(404, "partition-not-found");
    assert_eq!(problem["results"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_record_that_is_too_large_has_its_own_result() {
    let door = Door::open();
    door.topic("t", 1).await;
    let large = "x".repeat(3 * 1024 * 1024);
    let body = format!(r#"{{"records":[{{"value":1}},{{"value_text":"{large}"}}]}}"#);
    let answer = produce(&door, &body).await.expect(207).json();
    assert_eq!(answer["results"][1]["error"]["code"], "too-large");
}

#[tokio::test]
async fn lines_are_stored_one_by_one_and_a_wrong_one_costs_only_itself() {
    let door = Door::open();
    door.topic("t", 1).await;
    let lines = "{\"value\":1}\n\n{\"value\":2,\n{\"key\":\"k\",\"value_text\":\"three\"}";
    let ndjson = request("POST", RECORDS).header("content-type", "application/x-ndjson");
    let answer = door
        .ask(ndjson.body(Body::from(lines)).expect("a request"))
        .await
        .expect(207)
        .json();
    assert_eq!(
        (&answer["stored"], &answer["failed"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(answer["errors"][0]["line"], 3);
    assert_eq!(answer["partitions"][0]["last_offset"], 1);
}

#[tokio::test]
async fn many_lines_are_stored_in_order() {
    let door = Door::open();
    door.topic("t", 1).await;
    let lines: String = (0..20_000)
        .map(|number| format!("{{\"value\":{number}}}\n"))
        .collect();
    let ndjson = request("POST", RECORDS).header("content-type", "application/x-ndjson");
    let answer = door
        .ask(ndjson.body(Body::from(lines)).expect("a request"))
        .await
        .expect(200)
        .json();
    assert_eq!(answer["stored"], 20_000);
    let page = read(&door, "from=offset:19999").await;
    assert_eq!(page["records"][0]["value"], 19_999);
}

#[tokio::test]
async fn any_other_body_is_one_record() {
    let door = Door::open();
    door.topic("t", 1).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let image = request("POST", RECORDS)
        .header("content-type", "image/png")
        .header("record-key", "logo")
        .header("record-header-source", "curl")
        .header("traceparent", parent);
    let answer = door
        .ask(image.body(Body::from(&b"\x89PNG"[..])).expect("a request"))
        .await
        .expect(200);
    let trace = answer.headers["traceparent"].to_str().expect("text");
    assert_eq!(trace[..36], parent[..36], "the trace goes on");
    let record = &read(&door, "").await["records"][0];
    assert_eq!(
        (&record["key"], &record["value_base64"]),
        (&json!("logo"), &json!("iVBORw=="))
    );
    assert_eq!(
        record["headers"][0],
        json!({"key": "source", "value": "curl"})
    );
    assert_eq!(
        record["headers"][1],
        json!({"key": "traceparent", "value": trace})
    );
}

#[tokio::test]
async fn acknowledgements_can_be_fewer() {
    let door = Door::open();
    door.topic("t", 1).await;
    for acks in ["all", "1", "0"] {
        let path = format!("{RECORDS}?acks={acks}");
        let answer = door
            .json("POST", &path, r#"{"records":[{"value":1}]}"#)
            .await
            .expect(200)
            .json();
        assert_eq!(answer["results"][0].get("offset").is_some(), acks != "0");
    }
    door.json("POST", "/v1/topics/t/records?acks=2", "{}")
        .await
        .expect_problem(400, "bad-request");
}

#[tokio::test]
async fn reading_begins_anywhere_and_goes_on_by_cursor() {
    let door = Door::open();
    door.topic("t", 1).await;
    let records: Vec<Value> = (0..10)
        .map(|n| json!({"value": n, "timestamp": 1000 * (n + 1)}))
        .collect();
    produce(&door, &json!({ "records": records }).to_string())
        .await
        .expect(200);
    for (query, expected) in [
        ("from=earliest&limit=2", vec![0, 1]),
        ("from=latest", vec![]),
        ("from=-3", vec![7, 8, 9]),
        ("from=offset:8", vec![8, 9]),
        ("from=time:1970-01-01T00:00:08.5Z", vec![8, 9]),
        ("from=now-1h", vec![]),
        ("filter=value%20%3E%206&limit=2", vec![7, 8]),
        ("max_bytes=1", vec![0]),
        ("partitions=0&limit=1", vec![0]),
    ] {
        assert_eq!(offsets(&read(&door, query).await), expected, "{query}");
    }
    let mut seen = Vec::new();
    let mut page = read(&door, "limit=4").await;
    loop {
        seen.extend(offsets(&page));
        if page["scan"]["reached_end"] == true {
            break;
        }
        let cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
        page = read(&door, &format!("limit=4&cursor={cursor}")).await;
    }
    assert_eq!(seen, (0..10).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_reader_that_waits_gets_what_comes() {
    let door = Door::open();
    door.topic("t", 3).await;
    let end = read(&door, "from=latest").await;
    let cursor = end["next_cursor"].as_str().expect("a cursor");
    let query = format!("cursor={cursor}&wait_ms=20000");
    let (page, stored) = tokio::join!(read(&door, &query), async {
        produce(&door, r#"{"records":[{"value":"late"}]}"#).await
    });
    stored.expect(200);
    assert_eq!(page["records"][0]["value"], "late");
    assert!(page["scan"]["elapsed_ms"].as_u64().expect("a number") < 15_000);
}

#[tokio::test]
async fn partitions_are_read_by_time_and_none_keeps_another_out() {
    let door = Door::open();
    door.topic("t", 2).await;
    let records: Vec<Value> = (0..8)
        .map(|n| json!({"value": n, "partition": n % 2, "timestamp": n + 1}))
        .collect();
    produce(&door, &json!({ "records": records }).to_string())
        .await
        .expect(200);
    let page = read(&door, "limit=6").await;
    let values: Vec<i64> = page["records"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| r["value"].as_i64().expect("a number"))
        .collect();
    assert_eq!(values, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_fact_and_not_an_error() {
    let door = Door::open();
    door.topic("t", 1).await;
    let page = read(&door, "decode=none").await;
    assert_eq!(page["scan"]["reached_end"], true);
    // A cursor beyond the end, as after a topic was made anew.
    use base64::Engine;
    let cursor = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("1t\n0:500");
    let page = read(&door, &format!("cursor={cursor}")).await;
    let error = page["scan"]["errors"][0]["detail"]
        .as_str()
        .expect("an error");
    assert!(error.contains("offset 500"), "{error}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_what_is_stored_and_is_not_stored_again_under_its_key() {
    let door = Door::open();
    door.topic("t", 1).await;
    let too_long = "x".repeat(8 * 1024 * 1024 + 1);
    let lines = format!("{{\"value\":1}}\n{{\"value\":2}}\n{too_long}");
    for is_replayed in [false, true] {
        let ndjson = request("POST", RECORDS)
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", "\"k-1\"");
        let answer = door
            .ask(ndjson.body(Body::from(lines.clone())).expect("a request"))
            .await;
        assert_eq!(
            answer.headers.contains_key("idempotent-replayed"),
            is_replayed
        );
        let problem = answer.expect(413).json();
        assert_eq!(problem["code"], "too-large");
        assert_eq!(problem["summary"]["stored"], 2, "{problem}");
    }
    assert_eq!(offsets(&read(&door, "from=earliest").await), [0, 1]);
}
