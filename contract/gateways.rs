//! The gateway as a process, and the small tools that its tests are written with.

use std::path::Path;

use serde_json::json;

use crate::certificates::STORE_PASSWORD;
use crate::gateway::Gateway;
use crate::golden;
use crate::kafka::{Kafka, Listener, PASSWORD, USER};
use crate::subject::{Subject, contract};

contract! {
    EVERYWHERE:
        a_gateway_answers_that_it_is_alive;
    KAFKA:
        a_gateway_reaches_kafka_by_what_its_environment_says,
        a_gateway_that_is_denied_says_so_and_shows_no_secret;
    EMBEDDED:
        a_gateway_stops_cleanly_when_asked,
        a_golden_answer_is_compared_by_value_and_by_placeholder;
}

async fn a_gateway_answers_that_it_is_alive(subject: &Subject) {
    golden::check(subject.kind, &subject.gateway().http, "health.json", &[]);
}

/// The variables that say how to reach Kafka by SCRAM over TLS, with PKCS#12 stores.
fn secured(kafka: &Kafka, password: &str) -> Vec<(&'static str, String)> {
    let stores = &kafka.certificates;
    let path = |file: &Path| file.to_string_lossy().into_owned();
    vec![
        (
            "KAFKA_BOOTSTRAP_SERVERS",
            kafka.bootstrap_by(Listener::SaslSsl),
        ),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL".to_owned()),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512".to_owned()),
        ("KAFKA_USERNAME", USER.to_owned()),
        ("KAFKA_PASSWORD", password.to_owned()),
        ("KAFKA_SSL_TRUSTSTORE_LOCATION", path(&stores.authority_p12)),
        ("KAFKA_SSL_TRUSTSTORE_PASSWORD", STORE_PASSWORD.to_owned()),
    ]
}

async fn a_gateway_reaches_kafka_by_what_its_environment_says(subject: &Subject) {
    let kafka = subject.kafka.as_deref().expect("this test is about Kafka");
    let folder = crate::repository::scratch("contract-secured").expect("a folder");
    let gateway = Gateway::start_with(
        folder.path(),
        &["--mode", "kafka"],
        &secured(kafka, PASSWORD),
    );
    let gateway = gateway.expect("it starts");
    assert_eq!(gateway.http.get("/readyz").status, 200);
    gateway.stop().expect("it drains and ends well");
}

async fn a_gateway_that_is_denied_says_so_and_shows_no_secret(subject: &Subject) {
    let kafka = subject.kafka.as_deref().expect("this test is about Kafka");
    let folder = crate::repository::scratch("contract-denied").expect("a folder");
    let variables = secured(kafka, "not-the-secret");
    let refused = Gateway::start_with(folder.path(), &["--mode", "kafka"], &variables);
    let reason = refused.err().expect("the password is wrong");
    assert!(reason.contains("SCRAM"), "{reason}");
    assert!(!reason.contains("not-the-secret"), "{reason}");
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
