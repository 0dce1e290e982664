//! Creating and deleting a topic on every active backend, told line by line as the documents print it (A-026…A-028, G-02).
//!
//! The lines are the contract, signs included. Used by `TopicsController`, by `DemoController` and by tests of a connection.

use axum::http::StatusCode;
use client::topics::NewTopic;
use client::{ClientError, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::inventory::is_internal;
use super::refusal::Refusal;
use crate::Gateway;
use crate::backend::{Backend, Source};
use crate::clock;
use crate::hybrid::is_away;
use crate::mode::Mode;

/// What a Kafka topic is created with, the replication factor as far as there are brokers.
const KAFKA_PARTITIONS: i32 = 3;
const KAFKA_REPLICATION: i16 = 3;

/// What was done on each side.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TopicChange)]
pub struct Changed {
    pub topic_name: String,
    pub mode: &'static str,
    pub results: Vec<String>,
}

/// What came of creating a topic on one backend.
pub enum Creation {
    Created { partitions: i32, replication: i16 },
    Existed,
    Failed(ClientError),
}

impl Creation {
    fn succeeded(&self) -> bool {
        !matches!(self, Creation::Failed(_))
    }
}

/// Creates a topic everywhere; the second value is false when a backend failed. An existing topic is a warning only (L-02).
pub async fn create(
    gateway: &Gateway,
    name: &str,
    partitions: Option<i32>,
) -> Result<(Changed, bool), Refusal> {
    if is_internal(name) {
        let error = format!("Topic '{name}' is reserved: names that begin with '_' are internal");
        return Err(Refusal::bad_request(error));
    }
    let mode = gateway.backends().mode();
    let mut results = Vec::new();
    let (mut succeeded, mut is_new, mut is_here) = (true, false, false);
    let mut is_refused = false;
    for backend in gateway.backends().all() {
        let creation = create_on(gateway, backend, name, partitions).await?;
        is_new |= matches!(creation, Creation::Created { .. });
        succeeded &= creation.succeeded();
        is_here |= backend.source() == Source::InMemory && creation.succeeded();
        is_refused |= matches!(&creation, Creation::Failed(error) if !is_away(error));
        results.push(creation_line(backend.source(), name, &creation));
    }
    // What Kafka refuses it refuses again; only a Kafka that is away is waited for.
    if let Some(hybrid) = gateway.hybrid().filter(|_| is_here && !is_refused) {
        let wanted = partitions.unwrap_or(KAFKA_PARTITIONS);
        hybrid.topic_created(name, wanted).await?;
        if !succeeded {
            results.push("⏳ Kafka gets the topic when it is back".to_owned());
        }
    }
    if mode == Mode::Hybrid && succeeded && is_new {
        results.push("🔄 Hybrid mode: Topic created in BOTH systems!".to_owned());
    }
    let changed = Changed {
        topic_name: name.to_owned(),
        mode: mode.title(),
        results,
    };
    Ok((changed, succeeded))
}

/// Creates a topic on one backend and notes when.
///
/// # Errors
/// The registry cannot be written; what the backend refuses is a [`Creation`].
pub async fn create_on(
    gateway: &Gateway,
    backend: &Backend,
    name: &str,
    partitions: Option<i32>,
) -> Result<Creation, Refusal> {
    let created = match try_create(backend, name, partitions).await {
        Ok(created) => created,
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(Creation::Existed),
        Err(error) => return Ok(Creation::Failed(error)),
    };
    let registry = gateway.registry().await?;
    // A topic that cannot be looked up so soon is noted when it is first listed.
    if let Ok(topic) = backend.reader().topic(name).await {
        let note = vec![(&topic, clock::now())];
        registry.note_topics(backend.source(), note).await?;
    }
    let (partitions, replication) = created;
    Ok(Creation::Created {
        partitions,
        replication,
    })
}

async fn try_create(
    backend: &Backend,
    name: &str,
    partitions: Option<i32>,
) -> Result<(i32, i16), ClientError> {
    let mut admin = backend.admin().await?;
    let brokers = i16::try_from(admin.info().brokers.len()).unwrap_or(i16::MAX);
    let (default_partitions, replication) = match backend.source() {
        Source::InMemory => (1, 1),
        Source::Kafka => (KAFKA_PARTITIONS, KAFKA_REPLICATION),
    };
    let partitions = partitions.unwrap_or(default_partitions);
    let replication = replication.min(brokers.max(1));
    let topic = NewTopic {
        name,
        partitions: Some(partitions),
        replication_factor: Some(replication),
        configs: Vec::new(),
    };
    admin.create_topic(&topic, false).await?;
    let settled = admin.settled_topic(name).await?;
    let replicas = settled.partitions.first().map(|first| first.replicas.len());
    let replication = replicas.and_then(|count| i16::try_from(count).ok());
    let partitions = i32::try_from(settled.partitions.len()).unwrap_or(partitions);
    Ok((partitions, replication.unwrap_or(1)))
}

fn creation_line(source: Source, name: &str, creation: &Creation) -> String {
    match (source, creation) {
        (Source::InMemory, Creation::Created { .. }) => {
            format!("✅ Created in-memory topic: {name}")
        }
        (
            Source::Kafka,
            Creation::Created {
                partitions,
                replication,
            },
        ) => {
            format!("✅ Created Kafka topic: {name} ({partitions} partitions, RF={replication})")
        }
        (Source::InMemory, Creation::Existed) => {
            format!("⚠️ In-memory: Topic '{name}' already exists")
        }
        (Source::Kafka, Creation::Existed) => format!("⚠️ Kafka topic already exists: {name}"),
        (source, Creation::Failed(error)) => failure_line(source, error),
    }
}

/// Deletes a topic everywhere, or on one side; 404 when it was nowhere.
///
/// # Errors
/// The registry cannot be written.
pub async fn delete(
    gateway: &Gateway,
    name: &str,
    only: Option<Source>,
) -> Result<(Changed, StatusCode), Refusal> {
    let mut results = Vec::new();
    let (mut was_somewhere, mut failure) = (false, None);
    let backends = gateway.backends().all();
    for backend in backends.filter(|backend| only.is_none_or(|only| backend.source() == only)) {
        match delete_on(gateway, backend, name).await? {
            Deletion::Deleted => {
                was_somewhere = true;
                results.push(format!(
                    "✅ Deleted {} topic: {name}",
                    side(backend.source())
                ));
            }
            Deletion::Missing => {
                let side = match backend.source() {
                    Source::InMemory => "In-memory",
                    Source::Kafka => "Kafka",
                };
                results.push(format!("⚠️ {side} topic not found: {name}"));
            }
            Deletion::Failed(error) => {
                results.push(failure_line(backend.source(), &error));
                failure = Some(super::refusal::status_of(&error));
            }
        }
    }
    if let Some(hybrid) = gateway.hybrid()
        && only != Some(Source::InMemory)
        && !is_internal(name)
    {
        // Otherwise the forwarder would create it anew.
        hybrid.topic_deleted(name).await?;
    }
    let changed = Changed {
        topic_name: name.to_owned(),
        mode: gateway.backends().mode().title(),
        results,
    };
    let status = match (was_somewhere, failure) {
        (true, None) => StatusCode::OK,
        (_, Some(failure)) => failure,
        (false, None) => StatusCode::NOT_FOUND,
    };
    Ok((changed, status))
}

enum Deletion {
    Deleted,
    Missing,
    Failed(ClientError),
}

async fn delete_on(gateway: &Gateway, backend: &Backend, name: &str) -> Result<Deletion, Refusal> {
    if is_internal(name) {
        return Ok(Deletion::Missing);
    }
    gateway.legacy().members.leave_topic(name).await;
    let deleted = async { backend.admin().await?.delete_topic(name).await };
    match deleted.await {
        Ok(()) => {
            backend.reader().forget(name);
            let registry = gateway.registry().await?;
            registry.forget_topic(backend.source(), name).await?;
            Ok(Deletion::Deleted)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Deletion::Missing),
        Err(error) => Ok(Deletion::Failed(error)),
    }
}

fn side(source: Source) -> &'static str {
    match source {
        Source::InMemory => "in-memory",
        Source::Kafka => "Kafka",
    }
}

fn failure_line(source: Source, error: &ClientError) -> String {
    let is_connection = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut);
    match (source, is_connection) {
        (Source::InMemory, _) => format!("❌ In-memory: {error}"),
        (Source::Kafka, true) => format!("❌ Kafka connection error: {error}"),
        (Source::Kafka, false) => format!("❌ Kafka error: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_the_documents_own() {
        //
        let created = Creation::Created {
            partitions: 3,
            replication: 3,
        };
        assert_eq!(
            creation_line(Source::InMemory, "new-topic", &created),
            "✅ Created in-memory topic: new-topic"
        );
        assert_eq!(
            creation_line(Source::Kafka, "new-topic", &created),
            "✅ Created Kafka topic: new-topic (3 partitions, RF=3)"
        );
        let existed = creation_line(Source::InMemory, "orders", &Creation::Existed);
        assert_eq!(existed, "⚠️ In-memory: Topic 'orders' already exists");
    }

    #[test]
    fn a_kafka_that_is_away_is_told_apart_from_one_that_refuses() {
        let away = ClientError::Unreachable {
            address: "127.0.0.1:1".to_owned(),
            reason: "connection refused".to_owned(),
        };
        let line = failure_line(Source::Kafka, &away);
        assert!(
            line.starts_with("❌ Kafka connection error: no broker answers"),
            "{line}"
        );
    }
}
