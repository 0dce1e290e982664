//! What is refused, and how: each with its status, its type and a pointer.

use axum::body::Body;

use crate::door::{Door, request};

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let door = Door::open();
    door.topic("t", 1).await;
    let post = async |body: &'static str| door.json("POST", "/v1/topics/t/records", body).await;
    post("{\"records\":")
        .await
        .expect_problem(400, "bad-request");
    post("[]").await.expect_problem(422, "invalid");
    for (body, pointer) in [
        (r#"{"record":[]}"#, "/record"),
        (
            r#"{"records":[{"value":1},{"valeu":1}]}"#,
            "/records/1/valeu",
        ),
        (
            r#"{"records":[{"value":1,"partition":"zero"}]}"#,
            "/records/0/partition",
        ),
        (r#"{"records":[{}]}"#, "/records/0"),
        (r#"{"records":[]}"#, "/records"),
    ] {
        let problem = post(body).await.expect_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let stored = door.get("/v1/topics/t").await.json();
    assert_eq!(
        stored["records"], 0,
        "nothing of a refused request is stored"
    );
}

#[tokio::test]
async fn unknown_and_wrong_parameters_are_refused_by_name() {
    let door = Door::open();
    door.topic("t", 1).await;
    for (path, parameter) in [
        ("/v1/topics/t/records?limt=5", "limt"),
        ("/v1/topics/t/records?limit=x", "limit"),
        ("/v1/topics/t/records?limit=1001", "limit"),
        ("/v1/topics/t/records?from=newest", "from"),
        ("/v1/topics/t/records?cursor=x", "cursor"),
        ("/v1/topics/t/records?wait_ms=40000", "wait_ms"),
        ("/v1/topics/t/records?max_bytes=0", "max_bytes"),
        ("/v1/topics/t/records?filter=key%20=", "filter"),
        ("/v1/topics/t/records?partitions=a", "partitions"),
        ("/v1/topics?sort=size", "sort"),
        ("/v1/topics?fields=size", "fields"),
    ] {
        let problem = door.get(path).await.expect_problem(400, "bad-request");
        assert_eq!(problem["errors"][0]["pointer"], parameter, "{problem}");
    }
}

#[tokio::test]
async fn unknown_paths_methods_topics_and_media_types_are_problems() {
    let door = Door::open();
    door.topic("t", 1).await;
    door.get("/v1/nothing")
        .await
        .expect_problem(404, "not-found");
    door.get("/v1/topics/missing/records")
        .await
        .expect_problem(404, "topic-not-found");
    door.get("/v1/topics/b%C3%A4d")
        .await
        .expect_problem(404, "topic-not-found");
    door.get("/v1/topics/t/records?partitions=7")
        .await
        .expect_problem(404, "partition-not-found");
    let produced = door
        .json(
            "POST",
            "/v1/topics/missing/records",
            r#"{"records":[{"value":1}]}"#,
        )
        .await;
    produced.expect_problem(404, "topic-not-found");
    door.get("/v1/topics/missing")
        .await
        .expect_problem(404, "topic-not-found");

    let put = request("PUT", "/v1/topics/t")
        .body(Body::empty())
        .expect("a request");
    let answer = door.ask(put).await;
    let allow = answer.headers["allow"].to_str().expect("text").to_owned();
    assert!(
        allow.contains("PATCH") && allow.contains("DELETE"),
        "{allow}"
    );
    answer.expect_problem(405, "method-not-allowed");

    let xml = request("GET", "/v1/topics/t/records").header("accept", "application/xml");
    door.ask(xml.body(Body::empty()).expect("a request"))
        .await
        .expect_problem(406, "not-acceptable");
    let text = request("POST", "/v1/topics").header("content-type", "text/plain");
    door.ask(text.body(Body::from("{}")).expect("a request"))
        .await
        .expect_problem(415, "unsupported-media-type");
    let foreign = request("POST", "/v1/topics/t/records")
        .header("content-type", "application/vnd.kafka.json.v2+json");
    door.ask(foreign.body(Body::from("{}")).expect("a request"))
        .await
        .expect_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_announced_or_not() {
    let door = Door::open();
    door.topic("t", 1).await;
    let large = vec![b' '; 16 * 1024 * 1024 + 1];
    let announced = request("POST", "/v1/topics/t/records")
        .header("content-type", "application/json")
        .header("content-length", large.len());
    door.ask(
        announced
            .body(Body::from(large.clone()))
            .expect("a request"),
    )
    .await
    .expect_problem(413, "too-large");
    let streamed =
        request("POST", "/v1/topics/t/records").header("content-type", "application/json");
    let stream = futures_util::stream::iter(
        large
            .chunks(65_536)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    );
    door.ask(streamed.body(Body::from_stream(stream)).expect("a request"))
        .await
        .expect_problem(413, "too-large");
}

#[tokio::test]
async fn a_cluster_that_is_down_is_unavailable() {
    let door = Door::to_nowhere();
    for path in [
        "/v1/topics",
        "/v1/topics/t",
        "/v1/topics/t/records",
        "/v1/cluster",
        "/v1/brokers",
    ] {
        let answer = door.get(path).await;
        assert_eq!(answer.headers["retry-after"], "1");
        let problem = answer.expect_problem(503, "unavailable");
        assert_eq!(problem["retryable"], true);
    }
    let produced = door
        .json(
            "POST",
            "/v1/topics/t/records",
            r#"{"records":[{"value":1}]}"#,
        )
        .await;
    produced.expect_problem(503, "unavailable");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_not_waited_for_without_end() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let door = Door::to_address(&silent.local_addr().expect("bound").to_string());
    let began = std::time::Instant::now();
    for path in ["/v1/topics", "/v1/topics/t/records"] {
        let answer = door.get(path).await;
        assert!(
            matches!(answer.status.as_u16(), 503 | 504),
            "{}",
            answer.text
        );
        assert_eq!(answer.json()["retryable"], true);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}

#[tokio::test]
async fn a_request_keeps_its_id() {
    let door = Door::open();
    let named = request("GET", "/v1/nothing").header("x-request-id", "order-7");
    let problem = door
        .ask(named.body(Body::empty()).expect("a request"))
        .await
        .expect_problem(404, "not-found");
    assert_eq!(problem["request_id"], "order-7");
}

#[tokio::test]
async fn every_error_has_a_page_and_the_documentation_is_served_from_here() {
    let door = Door::open();
    for path in [
        "/docs",
        "/docs/filters",
        "/docs/errors",
        "/docs/errors/topic-not-found",
        "/docs/viewer.js",
        "/docs/style.css",
    ] {
        door.get(path).await.expect(200);
    }
    door.get("/docs/errors/no-such")
        .await
        .expect_problem(404, "not-found");
    let document = door.get("/openapi.json").await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
}
