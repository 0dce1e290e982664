//! Topics, their settings, the cluster and its brokers.

use axum::body::Body;
use serde_json::json;

use crate::door::{Door, request};

#[tokio::test]
async fn a_topic_is_created_described_changed_and_deleted() {
    let door = Door::open();
    let created = door
        .json("POST", "/v1/topics", r#"{"name":"orders","partitions":2}"#)
        .await
        .expect(201);
    assert_eq!(created.headers["location"], "/v1/topics/orders");
    let again = door
        .json("POST", "/v1/topics", r#"{"name":"orders"}"#)
        .await;
    again.expect_problem(409, "topic-exists");

    let topic = door.get("/v1/topics/orders").await.expect(200).json();
    assert_eq!(
        (&topic["partitions"], &topic["records"]),
        (&json!(2), &json!(0))
    );
    let changed = door
        .json("PATCH", "/v1/topics/orders", r#"{"partitions":3}"#)
        .await
        .expect(200);
    assert_eq!(changed.json()["partitions"], 3);
    let partitions = door
        .get("/v1/topics/orders/partitions")
        .await
        .expect(200)
        .json();
    assert_eq!(partitions["partitions"].as_array().map(Vec::len), Some(3));

    let delete = || {
        request("DELETE", "/v1/topics/orders")
            .body(Body::empty())
            .expect("a request")
    };
    door.ask(delete()).await.expect(204);
    door.ask(delete())
        .await
        .expect_problem(404, "topic-not-found");
}

#[tokio::test]
async fn a_dry_run_creates_nothing() {
    let door = Door::open();
    door.json("POST", "/v1/topics?dry_run=true", r#"{"name":"t"}"#)
        .await
        .expect(200);
    door.get("/v1/topics/t")
        .await
        .expect_problem(404, "topic-not-found");
}

#[tokio::test]
async fn the_list_is_searched_sorted_and_comes_in_pages() {
    let door = Door::open();
    for (name, partitions) in [("b-1", 1), ("a-1", 2), ("a-2", 1)] {
        door.topic(name, partitions).await;
    }
    let names = |page: &serde_json::Value| -> Vec<String> {
        let topics = page["topics"].as_array().expect("a list");
        topics
            .iter()
            .map(|topic| topic["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let found = door
        .get("/v1/topics?q=a-&fields=records,bytes")
        .await
        .expect(200)
        .json();
    assert_eq!(names(&found), ["a-1", "a-2"]);
    assert_eq!(found["topics"][0]["records"], 0);

    let first = door
        .get("/v1/topics?limit=2&sort=-partitions")
        .await
        .expect(200);
    assert_eq!(names(&first.json()), ["a-1", "a-2"]);
    let link = first.headers["link"].to_str().expect("text").to_owned();
    let next = link
        .trim_start_matches('<')
        .split('>')
        .next()
        .expect("a URL");
    let last = door.get(next).await.expect(200).json();
    assert_eq!(names(&last), ["b-1"]);
    assert!(last.get("next_cursor").is_none());
}

#[tokio::test]
async fn settings_change_only_from_the_state_that_was_seen() {
    let door = Door::open();
    door.topic("t", 1).await;
    let path = "/v1/topics/t/config";
    let seen = door.get(path).await.expect(200);
    let tag = seen.headers["etag"].clone();
    let patch = |tag: &axum::http::HeaderValue, body: &'static str| {
        let request = request("PATCH", path).header("content-type", "application/json");
        request
            .header("if-match", tag)
            .body(Body::from(body))
            .expect("a request")
    };
    let changed = door
        .ask(patch(&tag, r#"{"retention.ms":"60000"}"#))
        .await
        .expect(200);
    let settings = changed.json();
    let retention = settings["settings"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["name"] == "retention.ms");
    assert_eq!(retention.expect("the setting")["value"], "60000");
    door.ask(patch(&tag, r#"{"retention.ms":null}"#))
        .await
        .expect_problem(412, "precondition-failed");
    door.ask(patch(&changed.headers["etag"], r#"{"retention.ms":null}"#))
        .await
        .expect(200);
    let unknown = door.json("PATCH", path, r#"{"no.such.setting":"1"}"#).await;
    unknown.expect_problem(422, "invalid");
}

#[tokio::test]
async fn the_cluster_and_its_brokers_are_described() {
    let door = Door::open();
    let cluster = door.get("/v1/cluster").await.expect(200).json();
    assert_eq!(cluster["brokers"], 1);
    let brokers = door.get("/v1/brokers").await.expect(200).json();
    let id = brokers["brokers"][0]["broker"].as_i64().expect("a number");
    door.get(&format!("/v1/brokers/{id}")).await.expect(200);
    let config = door
        .get(&format!("/v1/brokers/{id}/config"))
        .await
        .expect(200);
    assert!(config.headers.contains_key("etag"));
    door.get("/v1/brokers/99")
        .await
        .expect_problem(404, "broker-not-found");
    door.get("/v1/brokers/x/config")
        .await
        .expect_problem(404, "broker-not-found");
}

#[tokio::test]
async fn a_topic_is_truncated_from_its_beginning() {
    let door = Door::open();
    door.topic("t", 1).await;
    let body = r#"{"records":[{"value":1},{"value":2},{"value":3}]}"#;
    door.json("POST", "/v1/topics/t/records", body)
        .await
        .expect(200);
    let path = "/v1/topics/t:truncate";
    let some = r#"{"partitions":[{"partition":0,"before_offset":2}]}"#;
    let cut = door.json("POST", path, some).await.expect(200).json();
    assert_eq!(
        cut["partitions"][0],
        json!({"partition": 0, "start_offset": 2})
    );
    let all = request("POST", path)
        .body(Body::empty())
        .expect("a request");
    let cut = door.ask(all).await.expect(200).json();
    assert_eq!(cut["partitions"][0]["start_offset"], 3);
    let beyond = r#"{"partitions":[{"partition":0,"before_offset":9}]}"#;
    door.json("POST", path, beyond)
        .await
        .expect_problem(422, "invalid");
    door.json("POST", "/v1/topics/t:compact", "{}")
        .await
        .expect_problem(404, "not-found");
    door.json("POST", "/v1/topics/t", "{}")
        .await
        .expect_problem(405, "method-not-allowed");
}
