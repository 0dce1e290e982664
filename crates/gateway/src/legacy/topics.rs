//! `TopicsController`: the topics of the active backends (L-01…L-04, A-020…A-030).
//!
//! In one mode a list is that backend's; in hybrid mode both sides are listed beside each other, a row for each name and source.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::Fields;
use super::inventory::{self, TopicFacts};
use super::refusal::Refusal;
use super::request::{JsonBody, NameInPath, Parameters};
use super::topic_changes::{self, Changed};
use super::{milliseconds, not_enabled};
use crate::Gateway;
use crate::backend::{Backend, Source};
use crate::mode::Mode;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, delete))
}

/// A topic in a list; what the side it is on does not tell is absent.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TopicRow)]
pub struct TopicRow {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<usize>,
    source: &'static str,
}

/// The topics of the active backends; in hybrid mode by side, in one mode as `topics`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::TopicList)]
pub enum TopicList {
    #[serde(rename_all = "camelCase")]
    Single {
        mode: &'static str,
        topics: Vec<TopicRow>,
        summary: SingleSummary,
    },
    #[serde(rename_all = "camelCase")]
    Hybrid {
        mode: &'static str,
        in_memory_topics: Vec<TopicRow>,
        kafka_topics: Vec<TopicRow>,
        combined: Vec<CombinedRow>,
        summary: HybridSummary,
        /// Why Kafka's side is missing, when it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        kafka_error: Option<String>,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::CombinedTopic)]
pub struct CombinedRow {
    name: String,
    source: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TopicSummary)]
pub struct SingleSummary {
    total_topics: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::HybridTopicSummary)]
pub struct HybridSummary {
    /// Both counts together: a topic on both sides counts twice.
    total_topics: usize,
    in_memory_count: usize,
    kafka_count: usize,
    /// Names, each counted once.
    distinct_topics: usize,
}

/// A topic on one side.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TopicDetails)]
pub struct TopicDetails {
    source: &'static str,
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    message_count: i64,
    has_messages: bool,
    partitions: usize,
    replication_factor: usize,
    /// The settings given to this topic itself.
    configs: BTreeMap<String, String>,
}

/// One side's details, or both sides' beside each other.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::TopicAnswer)]
pub enum TopicAnswer {
    One(TopicDetails),
    #[serde(rename_all = "camelCase")]
    Both {
        mode: &'static str,
        topic_name: String,
        sources: Vec<TopicDetails>,
    },
}

/// The topics of the active backends
#[utoipa::path(
    get,
    path = "/api/topics",
    tag = "TopicsController",
    operation_id = "legacyListTopics",
    params(("source" = Option<String>, Query, description = "`inmemory` or `kafka`")),
    responses((status = 200, description = "All topics but internal ones", body = TopicList), Refusal)
)]
async fn list(
    State(gateway): State<Gateway>,
    parameters: Parameters,
) -> Result<Json<TopicList>, Refusal> {
    let mode = gateway.backends().mode();
    let list = match (parameters.source()?, mode) {
        (None, Mode::Hybrid) => list_both(&gateway).await?,
        (None, _) => list_one(&gateway, gateway.backends().primary()).await?,
        (Some(source), _) => list_one(&gateway, backend_of(&gateway, source)?).await?,
    };
    Ok(Json(list))
}

async fn list_one(gateway: &Gateway, backend: &Backend) -> Result<TopicList, Refusal> {
    let facts = inventory::all(backend, gateway.registry().await?).await?;
    let topics: Vec<TopicRow> = facts.iter().map(|fact| full_row(fact, backend)).collect();
    Ok(TopicList::Single {
        mode: gateway.backends().mode().title(),
        summary: SingleSummary {
            total_topics: topics.len(),
        },
        topics,
    })
}

/// A Kafka that does not answer takes nothing from what is here.
async fn list_both(gateway: &Gateway) -> Result<TopicList, Refusal> {
    let backends = gateway.backends();
    let local = backends.primary();
    let registry = gateway.registry().await?;
    let kafka = async {
        match backends.kafka() {
            Some(kafka) => inventory::topics(kafka).await,
            None => Ok(Vec::new()),
        }
    };
    let (local_facts, kafka) = tokio::join!(inventory::all(local, registry), kafka);
    let in_memory_topics: Vec<TopicRow> = local_facts?
        .iter()
        .map(|fact| full_row(fact, local))
        .collect();
    let kafka_error = kafka.as_ref().err().map(ToString::to_string);
    let kafka_topics: Vec<TopicRow> = kafka
        .unwrap_or_default()
        .into_iter()
        .map(|topic| TopicRow {
            name: topic.name,
            created_at: None,
            message_count: None,
            partitions: Some(topic.partitions.len()),
            source: Source::Kafka.title(),
        })
        .collect();
    let combined: Vec<CombinedRow> = in_memory_topics
        .iter()
        .chain(&kafka_topics)
        .map(|row| CombinedRow {
            name: row.name.clone(),
            source: row.source,
        })
        .collect();
    let distinct: BTreeSet<&str> = combined.iter().map(|row| row.name.as_str()).collect();
    Ok(TopicList::Hybrid {
        mode: backends.mode().title(),
        summary: HybridSummary {
            total_topics: combined.len(),
            in_memory_count: in_memory_topics.len(),
            kafka_count: kafka_topics.len(),
            distinct_topics: distinct.len(),
        },
        in_memory_topics,
        kafka_topics,
        combined,
        kafka_error,
    })
}

fn full_row(fact: &TopicFacts, backend: &Backend) -> TopicRow {
    let is_kafka = backend.source() == Source::Kafka;
    TopicRow {
        name: fact.topic.name.clone(),
        created_at: Some(milliseconds(fact.created_at)),
        message_count: Some(fact.message_count),
        partitions: is_kafka.then(|| fact.partition_count()),
        source: backend.source().title(),
    }
}

/// The body of a creation.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::CreateTopic)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct CreateTopic {
    topic_name: String,
    /// Of a topic on the embedded broker; 1 unless given. A Kafka topic has 3.
    partitions: Option<u32>,
}

/// Creates a topic on every active backend
#[utoipa::path(
    post,
    path = "/api/topics",
    tag = "TopicsController",
    operation_id = "legacyCreateTopic",
    request_body = CreateTopic,
    responses(
        (status = 200, description = "It is there now, or was before", body = Changed),
        Refusal,
    )
)]
async fn create(
    State(gateway): State<Gateway>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Changed>), Refusal> {
    let mut fields = Fields::read(&body)?;
    let name = fields.required_name("topicName");
    let partitions = fields.number("partitions", 1..=1_000);
    fields.finish()?;
    let partitions = partitions.and_then(|count| i32::try_from(count).ok());
    let (changed, succeeded) = topic_changes::create(&gateway, &name, partitions).await?;
    let status = match succeeded {
        true => StatusCode::OK,
        false => StatusCode::BAD_REQUEST,
    };
    Ok((status, Json(changed)))
}

/// One topic, on each side that has it
#[utoipa::path(
    get,
    path = "/api/topics/{topicName}",
    tag = "TopicsController",
    operation_id = "legacyGetTopic",
    params(
        ("topicName" = String, Path, description = "Case-sensitive"),
        ("source" = Option<String>, Query, description = "`inmemory` or `kafka`"),
    ),
    responses((status = 200, description = "What it holds and how it is laid out", body = TopicAnswer), Refusal)
)]
async fn show(
    State(gateway): State<Gateway>,
    NameInPath(name): NameInPath,
    parameters: Parameters,
) -> Result<Json<TopicAnswer>, Refusal> {
    if let Some(source) = parameters.source()? {
        let backend = backend_of(&gateway, source)?;
        let found = details(&gateway, backend, &name).await?;
        let details = found.ok_or_else(|| not_found_in(source, &name))?;
        return Ok(Json(TopicAnswer::One(details)));
    }
    let mut sources = Vec::new();
    let mut failure = None;
    for backend in gateway.backends().all() {
        match details(&gateway, backend, &name).await {
            Ok(found) => sources.extend(found),
            Err(error) => failure = Some(error),
        }
    }
    match (sources.len(), failure) {
        (0, Some(error)) => Err(error),
        (0, None) => Err(Refusal::not_found(format!(
            "Topic '{name}' not found in any configured source"
        ))),
        (1, _) => Ok(Json(TopicAnswer::One(sources.remove(0)))),
        _ => Ok(Json(TopicAnswer::Both {
            mode: gateway.backends().mode().title(),
            topic_name: name,
            sources,
        })),
    }
}

async fn details(
    gateway: &Gateway,
    backend: &Backend,
    name: &str,
) -> Result<Option<TopicDetails>, Refusal> {
    let found = inventory::one(backend, gateway.registry().await?, name).await?;
    let Some(fact) = found else { return Ok(None) };
    Ok(Some(TopicDetails {
        source: backend.source().title(),
        created_at: milliseconds(fact.created_at),
        message_count: fact.message_count,
        has_messages: fact.message_count > 0,
        partitions: fact.partition_count(),
        replication_factor: fact.replication_factor(),
        configs: inventory::configs(backend, name).await?,
        name: fact.topic.name,
    }))
}

/// Deletes a topic from every active backend, or from one
#[utoipa::path(
    delete,
    path = "/api/topics/{topicName}",
    tag = "TopicsController",
    operation_id = "legacyDeleteTopic",
    params(
        ("topicName" = String, Path, description = "Case-sensitive"),
        ("source" = Option<String>, Query, description = "`inmemory` or `kafka`"),
    ),
    responses(
        (status = 200, description = "It is gone", body = Changed),
        Refusal,
    )
)]
async fn delete(
    State(gateway): State<Gateway>,
    NameInPath(name): NameInPath,
    parameters: Parameters,
) -> Result<(StatusCode, Json<Changed>), Refusal> {
    let only = parameters.source()?;
    if let Some(source) = only {
        backend_of(&gateway, source)?;
    }
    let (changed, outcome) = topic_changes::delete(&gateway, &name, only).await?;
    Ok((outcome, Json(changed)))
}

pub(super) fn not_found_in(source: Source, name: &str) -> Refusal {
    Refusal::not_found(match source {
        Source::InMemory => format!("In-memory topic '{name}' not found"),
        Source::Kafka => format!("Kafka topic '{name}' not found"),
    })
}

pub(super) fn backend_of(gateway: &Gateway, source: Source) -> Result<&Backend, Refusal> {
    let backend = match source {
        Source::InMemory => gateway.backends().in_memory(),
        Source::Kafka => gateway.backends().kafka(),
    };
    backend.ok_or_else(|| not_enabled(source))
}
