//! Groups over HTTP: the list, one with its lag, moving with a preview, deleting.

use serde_json::{Value, json};

use crate::http::Http;
use crate::subject::{Subject, contract, eventually};

contract! {
    BOTH:
        a_group_is_listed_and_described_with_its_lag,
        a_dry_run_shows_what_is_then_applied,
        a_group_that_moved_meanwhile_is_not_moved_unseen,
        a_group_with_members_is_neither_moved_nor_deleted,
        what_is_not_there_is_not_found;
}

/// A topic with ten records and a group at offset 4 of its only partition.
async fn group_at_four(subject: &Subject) -> (&Http, String, String) {
    let (topic, group) = (
        subject.topic("groups-rest", 1).await,
        subject.name("readers"),
    );
    let http = &subject.gateway().http;
    let records: Vec<Value> = (0..10).map(|value| json!({ "value": value })).collect();
    let produced = http.post(
        &format!("/v1/topics/{topic}/records"),
        &json!({ "records": records }),
    );
    assert_eq!(produced.status, 200, "{}", produced.text());
    let request = json!({ "to": "offset:4", "topics": [{ "topic": topic }] });
    let made = http.post(&format!("/v1/groups/{group}/offsets"), &request);
    assert_eq!(made.status, 200, "{}", made.text());
    (http, topic, group)
}

fn partition(http: &Http, group: &str) -> Value {
    http.get(&format!("/v1/groups/{group}")).json()["partitions"][0].clone()
}

async fn a_group_is_listed_and_described_with_its_lag(subject: &Subject) {
    let (http, topic, group) = group_at_four(subject).await;
    let described = http.get(&format!("/v1/groups/{group}"));
    assert_eq!(described.status, 200);
    let body = described.json();
    assert_eq!((&body["state"], &body["lag"]), (&json!("Empty"), &json!(6)));
    let row = &body["partitions"][0];
    assert_eq!(
        (&row["topic"], &row["committed"], &row["end_offset"]),
        (&json!(topic), &json!(4), &json!(10))
    );
    let seconds = row["lag_seconds"]
        .as_f64()
        .expect("the age of the first unread record");
    assert!((0.0..600.0).contains(&seconds), "{seconds}");
    let listed = http.get(&format!("/v1/groups?q={group}&limit=1")).json();
    assert_eq!(listed["groups"][0]["name"], json!(group));
    assert_eq!(
        http.get(&format!("/v1/groups?q={group}&state=stable"))
            .json()["groups"],
        json!([])
    );
    assert_eq!(http.get("/v1/groups?limit=0").status, 400);
    assert_eq!(http.get("/v1/groups?cursor=%20").status, 400);
}

async fn a_dry_run_shows_what_is_then_applied(subject: &Subject) {
    let (http, topic, group) = group_at_four(subject).await;
    let path = format!("/v1/groups/{group}/offsets");
    for (request, after) in [
        (json!({ "to": "earliest" }), 0),
        (
            json!({ "to": "latest", "topics": [{ "topic": topic, "partitions": [0] }] }),
            10,
        ),
        (json!({ "to": "offset:7" }), 7),
        (json!({ "to": "time:1970-01-01T00:00:00Z" }), 0),
        (json!({ "shift": 3 }), 3),
        (json!({ "to": "-2" }), 8),
    ] {
        let before = partition(http, &group)["committed"].clone();
        let preview = http.post(&format!("{path}?dry_run=true"), &request).json();
        assert_eq!(
            (&preview["applied"], &preview["partitions"][0]["before"]),
            (&json!(false), &before)
        );
        assert_eq!(
            partition(http, &group)["committed"],
            before,
            "a dry run changes nothing"
        );
        let applied = http.post(&path, &request).json();
        assert_eq!(applied["applied"], true);
        assert_eq!(applied["partitions"], preview["partitions"]);
        assert_eq!(applied["partitions"][0]["after"], json!(after), "{request}");
        assert_eq!(partition(http, &group)["committed"], json!(after));
    }
}

async fn a_group_that_moved_meanwhile_is_not_moved_unseen(subject: &Subject) {
    let (http, _, group) = group_at_four(subject).await;
    let path = format!("/v1/groups/{group}/offsets");
    let preview = http.post(
        &format!("{path}?dry_run=true"),
        &json!({ "to": "earliest" }),
    );
    let seen = preview.header("etag").to_owned();
    assert_eq!(
        http.get(&format!("/v1/groups/{group}")).header("etag"),
        seen
    );
    let move_if = |tag: &str, body: &Value| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        http.request("POST", &path, &headers, body.to_string().as_bytes())
    };
    let moved = move_if(&seen, &json!({ "to": "offset:5" }));
    assert_eq!(moved.status, 200, "{}", moved.text());
    let refused = move_if(&seen, &json!({ "to": "earliest" }));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (412, &json!("precondition-failed"))
    );
    assert_eq!(partition(http, &group)["committed"], 5);
    let again = move_if(moved.header("etag"), &json!({ "to": "earliest" }));
    assert_eq!(again.status, 200, "{}", again.text());
}

async fn a_group_with_members_is_neither_moved_nor_deleted(subject: &Subject) {
    let (http, topic, group) = group_at_four(subject).await;
    let member = subject
        .cluster
        .group_reader(&group, &[&topic], &[])
        .expect("a member");
    let joined = eventually("the member has its partition", async || {
        (!member.assigned().is_empty()).then_some(())
    });
    joined.await;
    let body = http.get(&format!("/v1/groups/{group}")).json();
    assert_eq!(body["members"].as_array().map(Vec::len), Some(1), "{body}");
    assert_eq!(body["partitions"][0]["member"], body["members"][0]["id"]);
    let path = format!("/v1/groups/{group}/offsets");
    assert_eq!(
        http.post(
            &format!("{path}?dry_run=true"),
            &json!({ "to": "earliest" })
        )
        .status,
        200
    );
    let refused = http.post(&path, &json!({ "to": "earliest" }));
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("conflict"))
    );
    assert_eq!(http.delete(&format!("/v1/groups/{group}")).status, 409);
    member.leave().await;
    let gone = eventually("the group is empty", async || {
        (http.delete(&format!("/v1/groups/{group}")).status == 204).then_some(())
    });
    gone.await;
    assert_eq!(http.get(&format!("/v1/groups/{group}")).status, 404);
}

async fn what_is_not_there_is_not_found(subject: &Subject) {
    let (http, topic, group) = group_at_four(subject).await;
    let nobody = subject.name("nobody");
    for answer in [
        http.get(&format!("/v1/groups/{nobody}")),
        http.delete(&format!("/v1/groups/{nobody}")),
        http.post(
            &format!("/v1/groups/{nobody}/offsets"),
            &json!({ "to": "earliest" }),
        ),
    ] {
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("group-not-found"))
        );
    }
    let path = format!("/v1/groups/{group}/offsets?dry_run=true");
    let partition = json!({ "to": "earliest", "topics": [{ "topic": topic, "partitions": [7] }] });
    assert_eq!(http.post(&path, &partition).status, 404);
    for (request, pointer) in [
        (json!({}), "/to"),
        (json!({ "to": "noon" }), "/to"),
        (json!({ "to": "latest", "shift": 1 }), "/shift"),
        (json!({ "to": "latest", "when": 1 }), "/when"),
    ] {
        let answer = http.post(&path, &request);
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["pointer"]),
            (422, &json!(pointer))
        );
    }
}
