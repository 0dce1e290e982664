//! Live streams: from the end, from the past, resumed, filtered, of several topics; and how they end.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::door::{Door, request};

const PATIENCE: Duration = Duration::from_secs(20);

/// An event as a client sees it.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

/// An open stream.
struct Stream {
    body: BodyDataStream,
    pending: String,
}

impl Stream {
    async fn open(door: &Door, path: &str, last_event: Option<&str>) -> Stream {
        let mut asked = request("GET", path).header("accept", "text/event-stream");
        if let Some(id) = last_event {
            asked = asked.header("last-event-id", id);
        }
        let response = door
            .send(asked.body(Body::empty()).expect("a request"))
            .await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Stream {
            body: response.into_body().into_data_stream(),
            pending: String::new(),
        }
    }

    /// The next event; nothing when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((text, rest)) = self.pending.split_once("\n\n") {
                let event = parse(text);
                self.pending = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let chunk = timeout(PATIENCE, self.body.next())
                .await
                .expect("an event comes in time")?;
            let chunk = chunk.expect("a stream does not break");
            self.pending
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next so many records, and the last event that had some.
    async fn records(&mut self, count: usize) -> (Vec<Value>, Event) {
        let mut records = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            assert!(
                matches!(event.name.as_str(), "records" | "progress"),
                "{event:?}"
            );
            records.extend(event.data.as_array().into_iter().flatten().cloned());
            if records.len() >= count {
                assert_eq!(records.len(), count, "no more than were produced");
                return (records, event);
            }
        }
    }

    async fn until_live(&mut self) {
        while self.next().await.expect("the stream goes on").data["live"] != true {}
    }
}

fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        let values = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        let values: Vec<&str> = values.collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    Some(Event {
        name: field("event")?,
        id: field("id"),
        data: serde_json::from_str(&field("data")?).expect("data is JSON"),
    })
}

async fn produce(door: &Door, topic: &str, values: impl IntoIterator<Item = i64>) {
    let records: Vec<Value> = values
        .into_iter()
        .map(|value| json!({ "value": value }))
        .collect();
    let body = json!({ "records": records }).to_string();
    door.json("POST", &format!("/v1/topics/{topic}/records"), body)
        .await
        .expect(200);
}

fn values(records: &[Value]) -> Vec<i64> {
    records
        .iter()
        .map(|record| record["value"].as_i64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn a_stream_begins_at_the_end_and_gets_what_comes() {
    let door = Door::open();
    door.topic("t", 1).await;
    produce(&door, "t", [1]).await;
    let mut stream = Stream::open(&door, "/v1/topics/t/records", None).await;
    stream.until_live().await;
    produce(&door, "t", [2, 3]).await;
    let (records, _) = stream.records(2).await;
    assert_eq!(values(&records), [2, 3]);
}

#[tokio::test]
async fn a_stream_from_the_past_catches_up_and_goes_on_without_loss_or_repetition() {
    let door = Door::open();
    door.topic("t", 1).await;
    produce(&door, "t", 0..3_000).await;
    let mut stream = Stream::open(&door, "/v1/topics/t/records?from=earliest", None).await;
    let writing = async {
        for begin in (3_000..6_000).step_by(100) {
            produce(&door, "t", begin..begin + 100).await;
        }
    };
    let ((records, _), ()) = tokio::join!(stream.records(6_000), writing);
    assert_eq!(values(&records), (0..6_000).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_client_that_comes_again_goes_on_behind_its_last_event() {
    let door = Door::open();
    door.topic("t", 1).await;
    let mut stream = Stream::open(&door, "/v1/topics/t/records", None).await;
    stream.until_live().await;
    produce(&door, "t", [1, 2]).await;
    let (_, last) = stream.records(2).await;
    drop(stream);
    produce(&door, "t", [3, 4]).await;
    let id = last.id.expect("records have an id");
    let mut stream = Stream::open(&door, "/v1/topics/t/records", Some(&id)).await;
    let (records, _) = stream.records(2).await;
    assert_eq!(values(&records), [3, 4]);
}

#[tokio::test]
async fn a_filter_holds_for_what_was_and_for_what_comes() {
    let door = Door::open();
    door.topic("t", 1).await;
    produce(&door, "t", 0..10).await;
    let path = "/v1/topics/t/records?from=earliest&filter=value%20%3E%207";
    let mut stream = Stream::open(&door, path, None).await;
    let (records, _) = stream.records(2).await;
    assert_eq!(values(&records), [8, 9]);
    produce(&door, "t", [1, 100]).await;
    let (records, _) = stream.records(1).await;
    assert_eq!(values(&records), [100]);
}

#[tokio::test]
async fn several_topics_come_over_one_connection_and_resume_together() {
    let door = Door::open();
    for topic in ["a", "b"] {
        door.topic(topic, 1).await;
    }
    let path = "/v1/events?topics=a,b";
    let mut stream = Stream::open(&door, path, None).await;
    stream.until_live().await;
    produce(&door, "a", [1]).await;
    let (records, _) = stream.records(1).await;
    assert_eq!(
        (&records[0]["topic"], &records[0]["value"]),
        (&json!("a"), &json!(1))
    );
    produce(&door, "b", [2]).await;
    let (records, last) = stream.records(1).await;
    assert_eq!(records[0]["topic"], "b");
    drop(stream);
    produce(&door, "a", [3]).await;
    let mut stream = Stream::open(&door, path, last.id.as_deref()).await;
    let (records, _) = stream.records(1).await;
    assert_eq!(
        (&records[0]["topic"], &records[0]["value"]),
        (&json!("a"), &json!(3))
    );
}

#[tokio::test]
async fn a_slow_client_is_told_what_was_dropped_and_holds_nothing() {
    let door = Door::open();
    door.topic("t", 1).await;
    let mut stream = Stream::open(&door, "/v1/topics/t/records", None).await;
    stream.until_live().await;
    // Far more than the ring holds; nobody reads the stream meanwhile.
    let value = "x".repeat(100_000);
    let body = json!({ "records": vec![json!({ "value_text": value }); 100] }).to_string();
    for _ in 0..6 {
        door.json("POST", "/v1/topics/t/records", body.clone())
            .await
            .expect(200);
    }
    let (mut given, mut dropped) = (0, 0);
    while given + dropped < 600 {
        let event = stream.next().await.expect("the stream goes on");
        match event.name.as_str() {
            "gap" => dropped += event.data["dropped"].as_u64().expect("a number"),
            _ => given += event.data.as_array().map_or(0, Vec::len) as u64,
        }
    }
    assert_eq!(given + dropped, 600, "each is given or counted");
    assert!(dropped > 0, "a ring does not hold {given}");
}

#[tokio::test]
async fn a_stream_ends_when_the_process_stops_and_when_the_topic_is_deleted() {
    let door = Door::open();
    for topic in ["a", "b"] {
        door.topic(topic, 1).await;
    }
    let mut deleted = Stream::open(&door, "/v1/topics/a/records", None).await;
    deleted.until_live().await;
    let delete = request("DELETE", "/v1/topics/a")
        .body(Body::empty())
        .expect("a request");
    door.ask(delete).await.expect(204);
    let end = deleted.next().await.expect("an end");
    assert_eq!(
        (end.name.as_str(), &end.data["reason"]),
        ("end", &json!("topic-not-found"))
    );
    assert_eq!(deleted.next().await, None);

    let mut stopped = Stream::open(&door, "/v1/topics/b/records", None).await;
    stopped.until_live().await;
    door.stop.send_replace(true);
    let end = stopped.next().await.expect("an end");
    assert_eq!(
        (end.name.as_str(), &end.data["reason"]),
        ("end", &json!("stopping"))
    );
    assert_eq!(stopped.next().await, None);
}

#[tokio::test]
async fn pages_have_no_place_in_a_stream() {
    let door = Door::open();
    door.topic("t", 1).await;
    for path in [
        "/v1/topics/t/records?limit=5",
        "/v1/topics/t/records?wait_ms=5",
    ] {
        let asked = request("GET", path).header("accept", "text/event-stream");
        door.ask(asked.body(Body::empty()).expect("a request"))
            .await
            .expect_problem(400, "bad-request");
    }
    door.get("/v1/events?topics=missing")
        .await
        .expect_problem(404, "topic-not-found");
    door.get("/v1/events")
        .await
        .expect_problem(400, "bad-request");
}

/// A cursor in the topic `t`.
fn cursor(positions: &str) -> String {
    base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        format!("1t\n{positions}"),
    )
}

#[tokio::test]
async fn a_partition_that_is_gone_costs_no_record_of_another() {
    let door = Door::open();
    door.topic("t", 2).await;
    let body = r#"{"records":[{"value":1,"partition":0},{"value":2,"partition":0}]}"#;
    door.json("POST", "/v1/topics/t/records", body)
        .await
        .expect(200);
    let id = cursor("0:0,1:99");
    let mut stream = Stream::open(&door, "/v1/topics/t/records", Some(&id)).await;
    let (records, _) = stream.records(2).await;
    assert_eq!(values(&records), [1, 2]);
}

#[tokio::test]
async fn a_stream_resumes_although_its_topic_was_made_anew_with_fewer_partitions() {
    let door = Door::open();
    door.topic("t", 1).await;
    produce(&door, "t", [1]).await;
    let id = cursor("0:0,7:0");
    let mut stream = Stream::open(&door, "/v1/topics/t/records", Some(&id)).await;
    let (records, _) = stream.records(1).await;
    assert_eq!(values(&records), [1]);
    stream.until_live().await;
}
