//! `KafkaController`: topics as the topic lab asks for them (B-020…B-024, G-07, G-08, X-23).
//!
//! The same topics as under `/api/topics`, in the lab's own words: of the Kafka cluster of the mode, else of the embedded broker.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::topics::{NewTopic, Topic};
use client::{ClientError, ErrorKind};
use operate::provision::{self, Manifest, Options, Status, TopicReport};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::Fields;
use super::inventory::{self, is_internal};
use super::refusal::{Refusal, status_of};
use super::request::{JsonBody, NameInPath, Parameters};
use crate::Gateway;
use crate::backend::Backend;
use crate::clock;

/// The profile of the lab's five topics.
const LAB: &str = "lab";
const MAX_PARTITIONS: u64 = 10_000;
const MAX_REPLICATION: u64 = 100;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(metadata))
        .routes(routes!(init_module_a_topics))
}

/// The names of the topics.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::KafkaTopics)]
pub struct KafkaTopics {
    topics: Vec<String>,
    count: usize,
}

/// Where the partitions of a topic are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TopicMetadata)]
pub struct TopicMetadata {
    topic: String,
    partition_count: usize,
    partitions: Vec<PartitionMetadata>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::PartitionMetadata)]
pub struct PartitionMetadata {
    partition_id: i32,
    leader: i32,
    replicas: Vec<i32>,
    in_sync_replicas: Vec<i32>,
}

/// The body of a creation.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::CreateKafkaTopic)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct CreateKafkaTopic {
    name: String,
    /// The cluster's default unless given.
    num_partitions: Option<u32>,
    /// As many as there are brokers at most.
    replication_factor: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::CreatedKafkaTopic)]
pub struct CreatedKafkaTopic {
    name: String,
    num_partitions: usize,
    replication_factor: usize,
}

/// What became of the lab's topics.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Initialization)]
pub struct Initialization {
    message: &'static str,
    results: Vec<InitializedTopic>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::InitializedTopic)]
pub struct InitializedTopic {
    topic: String,
    /// `created`, `exists`, `drift` or `failed`.
    status: &'static str,
    partitions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_factor: Option<i64>,
    /// What differs from what is wanted; it is never altered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drift: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The names of the topics
#[utoipa::path(
    get,
    path = "/api/kafka/topics",
    tag = "KafkaController",
    operation_id = "legacyListKafkaTopics",
    responses((status = 200, description = "All but internal ones", body = KafkaTopics), Refusal)
)]
async fn list(State(gateway): State<Gateway>) -> Result<Json<KafkaTopics>, Refusal> {
    let topics = inventory::topics(target(&gateway)).await?;
    let topics: Vec<String> = topics.into_iter().map(|topic| topic.name).collect();
    Ok(Json(KafkaTopics {
        count: topics.len(),
        topics,
    }))
}

fn target(gateway: &Gateway) -> &Backend {
    let backends = gateway.backends();
    backends.kafka().unwrap_or_else(|| backends.primary())
}

/// Where the partitions of a topic are
#[utoipa::path(
    get,
    path = "/api/kafka/topics/{topicName}/metadata",
    tag = "KafkaController",
    operation_id = "legacyGetTopicMetadata",
    params(("topicName" = String, Path, description = "Case-sensitive")),
    responses((status = 200, description = "Leader and replicas of each partition", body = TopicMetadata), Refusal)
)]
async fn metadata(
    State(gateway): State<Gateway>,
    NameInPath(name): NameInPath,
) -> Result<Json<TopicMetadata>, Refusal> {
    let missing = || Refusal::not_found(format!("Topic '{name}' not found"));
    if is_internal(&name) {
        return Err(missing());
    }
    let mut admin = target(&gateway).admin().await?;
    let topic = admin
        .topic(&name)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => missing(),
            _ if status_of(&error) == StatusCode::BAD_REQUEST => missing(),
            _ => Refusal::from(error),
        })?;
    Ok(Json(metadata_of(topic)))
}

fn metadata_of(topic: Topic) -> TopicMetadata {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionMetadata {
            partition_id: partition.index,
            leader: partition.leader,
            replicas: partition.replicas,
            in_sync_replicas: partition.in_sync,
        });
    let partitions: Vec<PartitionMetadata> = partitions.collect();
    TopicMetadata {
        topic: topic.name,
        partition_count: partitions.len(),
        partitions,
    }
}

/// Creates a topic
#[utoipa::path(
    post,
    path = "/api/kafka/topics",
    tag = "KafkaController",
    operation_id = "legacyCreateKafkaTopic",
    params(("strict" = Option<bool>, Query, description = "`true`: refused, as Kafka does, when there are fewer brokers than replicas asked for")),
    request_body = CreateKafkaTopic,
    responses(
        (status = 201, description = "It is there; `Location` is its metadata", body = CreatedKafkaTopic,
            headers(("Location" = String, description = "Of its metadata"))),
        (status = 409, description = "There is one of this name", body = super::refusal::ErrorBody),
        Refusal,
    )
)]
async fn create(
    State(gateway): State<Gateway>,
    parameters: Parameters,
    JsonBody(body): JsonBody,
) -> Result<Response, Refusal> {
    let mut fields = Fields::read(&body)?;
    let name = fields.required_name("name");
    let partitions = fields.number("numPartitions", 1..=MAX_PARTITIONS);
    let replication = fields.number("replicationFactor", 1..=MAX_REPLICATION);
    fields.finish()?;
    if is_internal(&name) {
        let error = format!("Topic '{name}' is reserved: names that begin with '_' are internal");
        return Err(Refusal::bad_request(error));
    }
    let partitions = partitions.and_then(|count| i32::try_from(count).ok());
    let replication = replication.and_then(|count| i16::try_from(count).ok());
    let backend = target(&gateway);
    let is_strict = parameters.get("strict") == Some("true");
    let created = create_on(backend, &name, partitions, replication, is_strict).await;
    let topic = created.map_err(|error| match error.kind() {
        ErrorKind::Conflict => {
            let error = format!("Topic '{name}' already exists");
            Refusal::Domain(StatusCode::CONFLICT, error)
        }
        _ => Refusal::from(error),
    })?;
    let registry = gateway.registry().await?;
    let note = vec![(&topic, clock::now())];
    registry.note_topics(backend.source(), note).await?;
    let replicas = topic.partitions.first().map(|first| first.replicas.len());
    let body = CreatedKafkaTopic {
        num_partitions: topic.partitions.len(),
        replication_factor: replicas.unwrap_or(0),
        name: topic.name,
    };
    // A topic's name has no character that a path would have to escape.
    let location = format!("/api/kafka/topics/{}/metadata", body.name);
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Replicas as far as there are brokers, unless that is to be refused.
async fn create_on(
    backend: &Backend,
    name: &str,
    partitions: Option<i32>,
    replication: Option<i16>,
    is_strict: bool,
) -> Result<Topic, ClientError> {
    let mut admin = backend.admin().await?;
    let brokers = i16::try_from(admin.info().brokers.len()).unwrap_or(i16::MAX);
    let most = match is_strict {
        true => i16::MAX,
        false => brokers.max(1),
    };
    let topic = NewTopic {
        name,
        partitions,
        replication_factor: replication.map(|wanted| wanted.min(most)),
        configs: Vec::new(),
    };
    admin.create_topic(&topic, false).await?;
    admin.settled_topic(name).await
}

/// Creates the lab's five topics where they are missing
#[utoipa::path(
    post,
    path = "/api/kafka/init-module-a-topics",
    tag = "KafkaController",
    operation_id = "legacyInitModuleATopics",
    responses((status = 200, description = "What became of each; a second call creates none", body = Initialization), Refusal)
)]
async fn init_module_a_topics(
    State(gateway): State<Gateway>,
) -> Result<Json<Initialization>, Refusal> {
    let manifest = Manifest::of_profile(LAB)
        .map_err(|error| Refusal::Domain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut admin = target(&gateway).admin().await?;
    let mut listener = |_: &str| {};
    let report = provision::provision(&mut admin, &manifest, Options::default(), &mut listener);
    let topics = report.await?.topics.into_iter();
    Ok(Json(Initialization {
        message: "Module A topics initialization completed",
        results: topics.map(initialized).collect(),
    }))
}

fn initialized(report: TopicReport) -> InitializedTopic {
    let drift = report.drift.iter().map(|drift| {
        let actual = drift.actual.as_deref().unwrap_or("nothing");
        format!("{}: wanted {}, is {actual}", drift.what, drift.wanted)
    });
    InitializedTopic {
        drift: drift.collect(),
        status: match report.status {
            // Only a dry run says so, and this is none.
            Status::Missing => Status::Failed.name(),
            status => status.name(),
        },
        topic: report.topic,
        partitions: report.partitions.len(),
        replication_factor: report.replication_factor.map(Into::into),
        error: report.error,
    }
}
