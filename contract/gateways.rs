//! The gateway as a process, and the small tools that its tests are written with.

use serde_json::json;

use crate::gateway::Gateway;
use crate::golden;
use crate::subject::{Subject, contract};

contract! {
    EVERYWHERE:
        a_gateway_answers_that_it_is_alive;
    EMBEDDED:
        a_gateway_stops_cleanly_when_asked,
        a_golden_answer_is_compared_by_value_and_by_placeholder;
}

async fn a_gateway_answers_that_it_is_alive(subject: &Subject) {
    golden::check(subject.kind, &subject.gateway().http, "health.json", &[]);
}

async fn a_gateway_stops_cleanly_when_asked(_: &Subject) {
    let folder = crate::repository::scratch("contract-stops").expect("a folder");
    let gateway = Gateway::start(folder.path(), &["--ephemeral"]).expect("it starts");
    gateway.stop().expect("it drains and ends well");
}

async fn a_golden_answer_is_compared_by_value_and_by_placeholder(_: &Subject) {
    let given = json!({
        "id": "7f-1", "text": "published 7f-1 at 2026-01-31T12:00:00.5Z", "count": 3, "more": [1, true],
    });
    let mut names = Default::default();
    let mut differences = Vec::new();
    let expected = json!({
        "id": "<id:message>", "text": "published <id> at <time>", "count": "<number>", "more": [1, "<bool>"],
    });
    golden::compare(&expected, &given, "", &mut names, &mut differences);
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(names["message"], "7f-1");

    let other = json!({ "id": "<number>", "text": "published <id>", "count": 4, "more": [1] });
    golden::compare(&other, &given, "", &mut names, &mut differences);
    assert_eq!(differences.len(), 4, "{differences:?}");
    assert_eq!(differences[0], "at /count/: 3, expected 4");
}
