//! The documents' own REST API, `/api`: the same paths, fields, texts and signs as their clients know, in all three modes.
//!
//! A file per controller of the documents; what they share:
//! - `fields`, `request`, `paths`: bodies, parameters and routes in any case. `refusal`: what is answered when it cannot be done.
//! - `inventory`, `topic_changes`: the topics of the backends. `stored`: messages as records. `attempts`: what a retry must know.
//! - `kafka_groups`: Kafka's own consumer groups.

mod attempts;
mod config;
mod consumer_groups;
mod consumers;
mod fields;
mod inventory;
mod kafka;
mod kafka_groups;
mod kafka_test;
mod messages;
mod paths;
mod producers;
mod publish;
mod refusal;
mod request;
mod stored;
mod topic_changes;
mod topics;

use jiff::{Timestamp, TimestampRound, Unit};
use serde::Serialize;
use tokio::sync::OnceCell;
use utoipa::ToSchema;
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa_axum::router::OpenApiRouter;

pub use paths::{LegacyPaths, in_any_case};

use crate::Gateway;
use crate::backend::Source;
use crate::registry::Registry;
use crate::table::TableError;
use attempts::Attempts;
use refusal::Refusal;

/// The controllers of the documents and the groups that they are in (A-050, B-024).
const CONTROLLERS: &[(&str, &str)] = &[
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
        .merge(config::router());
    router.get_openapi_mut().tags = Some(tags());
    router
}

fn tags() -> Vec<Tag> {
    let tag = |(name, description): &(&str, &str)| {
        TagBuilder::new()
            .name(*name)
            .description(Some(*description))
            .build()
    };
    CONTROLLERS.iter().map(tag).collect()
}

/// What the handlers of this API share beside the backends; part of the [`Gateway`].
#[derive(Default)]
pub struct Legacy {
    registry: OnceCell<Registry>,
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
    use super::*;

    #[test]
    fn every_route_has_a_controller_of_the_documents() {
        // A-050, B-024
        let mut router = router();
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
