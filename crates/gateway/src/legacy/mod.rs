//! The documents' own REST API, `/api`: the same paths, fields, texts and signs as their clients know, in all three modes.
//!
//! A file per controller of the documents; what they share:
//! - `fields`, `request`, `paths`: bodies, parameters and routes in any case. `refusal`: what is answered when it cannot be done.
//! - `inventory`, `topic_changes`: the topics of the backends. `stored`: messages as records. `attempts`: what a retry must know.
//! - `members`: the consumer groups that this process reads with. `kafka_groups`: those of others.
//!
//! docs/reference/legacy-api.md maps the documents' names to these modules.

mod attempts;
mod config;
mod consume;
mod consumer_groups;
mod consumers;
mod demo;
mod fields;
mod inventory;
mod kafka;
mod kafka_groups;
mod kafka_test;
mod members;
mod messages;
mod paths;
mod producers;
mod publish;
mod refusal;
mod request;
mod stored;
mod topic_changes;
mod topics;

use axum::extract::DefaultBodyLimit;
use jiff::{Timestamp, TimestampRound, Unit};
use serde::Serialize;
use tokio::sync::OnceCell;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

pub use paths::{LegacyPaths, in_any_case};

use crate::Gateway;
use crate::backend::Source;
use crate::registry::Registry;
use crate::table::TableError;
use attempts::Attempts;
use members::Members;
use refusal::Refusal;

/// A larger body is answered 413 before it is read.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The controllers of the documents and the groups that they are in (A-050, B-024).
pub const CONTROLLERS: &[(&str, &str)] = &[
    (
        "TopicsController",
        "Hybrid: the topics of every active backend",
    ),
    (
        "MessagesController",
        "Hybrid: messages to every active backend",
    ),
    (
        "ProducersController",
        "In-Memory only: who may publish over REST",
    ),
    (
        "ConsumersController",
        "In-Memory only: who consumes over REST",
    ),
    (
        "ConsumerGroupsController",
        "In-Memory only: groups of consumers",
    ),
    (
        "KafkaTestController",
        "Kafka only: does the connection work?",
    ),
    (
        "KafkaController",
        "Kafka only: topics as the topic lab asks for them",
    ),
    (
        "ConfigController",
        "Other: what is configured, without secrets",
    ),
    (
        "DemoController",
        "Other: the documents' scenario, really run",
    ),
];

/// Every route of the legacy API.
pub fn router() -> OpenApiRouter<Gateway> {
    let mut router = OpenApiRouter::new()
        .merge(topics::router())
        .merge(messages::router())
        .merge(producers::router())
        .merge(consumers::router())
        .merge(consumer_groups::router())
        .merge(kafka_test::router())
        .merge(kafka::router())
        .merge(config::router())
        .merge(demo::router());
    let components = router.get_openapi_mut().components.get_or_insert_default();
    components.schemas.extend(refusal::schemas());
    router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// What the handlers of this API share beside the backends; part of the [`Gateway`].
#[derive(Default)]
pub struct Legacy {
    registry: OnceCell<Registry>,
    members: Members,
    attempts: Attempts,
}

impl Gateway {
    /// The registry, opened by whoever needs it first.
    pub(crate) async fn registry(&self) -> Result<&Registry, TableError> {
        let primary = self.backends().primary();
        let registry = &self.legacy().registry;
        registry.get_or_try_init(|| Registry::open(primary)).await
    }
}

/// An answer that only says what was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Done)]
pub struct Done {
    message: String,
}

/// Times are shown in milliseconds, as records have them.
fn milliseconds(time: Timestamp) -> Timestamp {
    let round = TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(jiff::RoundMode::Trunc);
    time.round(round).unwrap_or(time)
}

/// A source that the mode does not use.
fn not_enabled(source: Source) -> Refusal {
    Refusal::bad_request(match source {
        Source::InMemory => "In-memory mode is not enabled in current mode",
        Source::Kafka => "Kafka is not enabled in current mode",
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode, header};
    use client::Cluster;
    use serde_json::Value;
    use tokio::sync::watch;
    use tower::ServiceExt;

    use super::*;
    use crate::backend::Backends;

    /// The answer of a gateway whose Kafka does not exist.
    async fn post(path: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let (_running, stopping) = watch::channel(false);
        let nowhere = Backends::kafka_only(Cluster::new("127.0.0.1:1"));
        let router = Gateway::new(nowhere, stopping).router();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .expect("a request");
        let response = router.oneshot(request).await.expect("always an answer");
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_BODY_BYTES).await;
        let body = serde_json::from_slice(&body.expect("a body")).expect("JSON");
        (status, body)
    }

    #[tokio::test]
    async fn a_kafka_that_is_away_fails_the_connection_test_with_the_reason() {
        // A-044, L-14
        let (status, answer) = post("/API/KafkaTest/Test-Connection", Vec::new()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(answer["success"], false);
        assert_eq!(answer["connected"], false);
        let error = answer["error"].as_str().expect("a reason");
        assert!(error.contains("127.0.0.1:1"), "{error}");
    }

    #[tokio::test]
    async fn a_kafka_that_is_away_is_unavailable_to_everything_else() {
        let body = br#"{"producerId": "p", "topicName": "t", "content": "c"}"#;
        let (status, answer) = post("/api/messages/publish", body.to_vec()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer["error"].is_string(), "{answer}");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let body = vec![b' '; MAX_BODY_BYTES + 1];
        let (status, answer) = post("/api/topics", body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(answer["error"].is_string(), "{answer}");
    }

    #[test]
    fn every_route_has_a_controller_of_the_documents() {
        // A-050, B-024
        let mut router = super::router();
        let openapi = router.get_openapi_mut();
        let names: Vec<&str> = CONTROLLERS.iter().map(|(name, _)| *name).collect();
        let text = serde_json::to_value(&*openapi).expect("plain JSON");
        for (path, operations) in text["paths"].as_object().expect("paths") {
            assert!(path.starts_with("/api/"), "{path}");
            for (method, operation) in operations.as_object().expect("operations") {
                let tag = operation["tags"][0].as_str().unwrap_or_default();
                assert!(names.contains(&tag), "{method} {path}: {tag}");
            }
        }
    }

    #[test]
    fn times_have_milliseconds() {
        let time: Timestamp = "2025-12-17T15:30:00.123456Z".parse().expect("a time");
        assert_eq!(milliseconds(time).to_string(), "2025-12-17T15:30:00.123Z");
    }
}
