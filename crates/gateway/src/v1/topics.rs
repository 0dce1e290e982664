//! Topics: `GET|POST /v1/topics`, `GET|PATCH|DELETE /v1/topics/{topic}`, `…/partitions`, `POST /v1/topics/{topic}:truncate`.
//!
//! A list names topics first; sizes and counts cost requests to every broker, so they are looked up when they are asked for.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::configs::{Change, Resource};
use client::offsets::OffsetQuery;
use client::topics::{NewTopic, Partition, Topic};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::check_name;
use super::request::{Json, Query, Segment};
use crate::Gateway;
use crate::backend::Backend;
use crate::problem::{Problem, ProblemBody, TOPIC_NOT_FOUND};

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(describe, alter, delete))
        .routes(routes!(partitions))
}

/// A topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = Topic)]
pub struct TopicBody {
    pub name: String,
    pub id: String,
    /// Kept by the cluster for itself.
    pub internal: bool,
    pub partitions: usize,
    /// Of the partition that has the fewest.
    pub replication_factor: usize,
    /// Offsets between the first and the next; fewer are there after compaction or with transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// On disk, over all replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl TopicBody {
    pub fn of(topic: &Topic) -> TopicBody {
        let replicas = topic
            .partitions
            .iter()
            .map(|partition| partition.replicas.len());
        TopicBody {
            name: topic.name.clone(),
            id: topic.id.clone(),
            internal: topic.is_internal,
            partitions: topic.partitions.len(),
            replication_factor: replicas.min().unwrap_or(0),
            records: None,
            bytes: None,
        }
    }
}

/// The most partitions that one request makes.
const MOST_PARTITIONS: i32 = 1_000;

/// A topic to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicCreation {
    /// 1 to 249 letters, digits, dots, underscores and hyphens.
    #[schema(pattern = "^[a-zA-Z0-9._-]{1,249}$")]
    name: String,
    /// The cluster's default when absent.
    #[schema(minimum = 1, maximum = 1000)]
    partitions: Option<i32>,
    #[schema(minimum = 1, maximum = 1000)]
    replication_factor: Option<i16>,
    /// Topic settings under Kafka's names.
    #[serde(default)]
    config: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRunQuery {
    /// Only check whether it could be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Create a topic
#[utoipa::path(
    post,
    path = "/v1/topics",
    tag = "Topics",
    operation_id = "createTopic",
    params(DryRunQuery),
    request_body = TopicCreation,
    responses(
        (status = 201, description = "Created", body = TopicBody, headers(("Location" = String))),
        (status = 200, description = "It could be created (dry run)", body = TopicBody),
        (status = 409, description = "The topic exists", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be created so", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn create(
    State(gateway): State<Gateway>,
    Query(query): Query<DryRunQuery>,
    Json(new): Json<TopicCreation>,
) -> Result<Response, Problem> {
    check_creation(&new)?;
    let backend = gateway.backends().primary();
    let mut admin = backend.admin().await?;
    let configs = new
        .config
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let topic = NewTopic {
        name: &new.name,
        partitions: new.partitions,
        replication_factor: new.replication_factor,
        configs: configs.collect(),
    };
    let created = admin.create_topic(&topic, query.dry_run).await?;
    if query.dry_run {
        let body = TopicBody {
            name: new.name,
            partitions: usize::try_from(created.partitions).unwrap_or(0),
            replication_factor: usize::try_from(created.replication_factor).unwrap_or(0),
            ..TopicBody::default()
        };
        return Ok(JsonAnswer(body).into_response());
    }
    let topic = admin.settled_topic(&new.name).await?;
    if let Some(hybrid) = gateway.hybrid() {
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(1);
        hybrid.topic_created(&new.name, partitions).await?;
    }
    let location = format!("/v1/topics/{}", new.name);
    let location = HeaderValue::try_from(location).expect("a topic's name is plain text");
    let body = JsonAnswer(TopicBody::of(&topic));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}

fn check_creation(new: &TopicCreation) -> Result<(), Problem> {
    check_name(&new.name).map_err(|detail| Problem::invalid("/name", detail))?;
    check_partitions(new.partitions)?;
    if new
        .replication_factor
        .is_some_and(|count| !(1..=1_000).contains(&count))
    {
        return Err(Problem::invalid(
            "/replication_factor",
            "1 to as many replicas as there are brokers",
        ));
    }
    Ok(())
}

/// A request over HTTP is to be done within its time limit.
fn check_partitions(count: Option<i32>) -> Result<(), Problem> {
    if count.is_none_or(|count| (1..=MOST_PARTITIONS).contains(&count)) {
        return Ok(());
    }
    let detail =
        format!("1 to {MOST_PARTITIONS} partitions; `thalweg topic` and Kafka's tools make more");
    Err(Problem::invalid("/partitions", detail))
}

/// A topic, with its size
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}",
    tag = "Topics",
    operation_id = "getTopic",
    params(("topic" = String, Path)),
    responses(
        (status = 200, description = "The topic", body = TopicBody),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn describe(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
) -> Result<JsonAnswer<TopicBody>, Problem> {
    let backend = gateway.backends().primary();
    let topic = fresh_topic(backend, &name).await?;
    let mut body = TopicBody::of(&topic);
    measure(backend, &[topic], std::slice::from_mut(&mut body)).await?;
    Ok(JsonAnswer(body))
}

/// The topic as the cluster has it now, not as it was cached.
pub async fn fresh_topic(backend: &Backend, name: &str) -> Result<Topic, Problem> {
    check_name(name).map_err(|detail| Problem::new(TOPIC_NOT_FOUND, detail))?;
    Ok(backend.admin().await?.topic(name).await?)
}

/// Looks up how many records and bytes each of `topics` has.
pub async fn measure(
    backend: &Backend,
    topics: &[Topic],
    bodies: &mut [TopicBody],
) -> Result<(), Problem> {
    let mut admin = backend.admin().await?;
    let starts = admin.list_offsets(topics, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(topics, OffsetQuery::Latest).await?;
    let sizes = admin.sizes().await?;
    for (topic, body) in topics.iter().zip(bodies) {
        let (mut records, mut bytes) = (0, 0);
        for partition in &topic.partitions {
            let place = (topic.name.clone(), partition.index);
            let (start, end) = (starts.get(&place), ends.get(&place));
            records += end.zip(start).map_or(0, |(end, start)| end - start);
            bytes += sizes.get(&place).copied().unwrap_or(0);
        }
        body.records = Some(records);
        body.bytes = Some(bytes);
    }
    Ok(())
}

/// Changes of a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicChange {
    /// The new number of partitions, more than now; keys then go to other partitions.
    #[schema(minimum = 1, maximum = 1000)]
    partitions: Option<i32>,
    /// Settings to change; null brings back the default.
    #[serde(default)]
    config: BTreeMap<String, Option<String>>,
}

/// Change a topic
#[utoipa::path(
    patch,
    path = "/v1/topics/{topic}",
    tag = "Topics",
    operation_id = "changeTopic",
    params(("topic" = String, Path), DryRunQuery),
    request_body = TopicChange,
    responses(
        (status = 200, description = "The topic as it is now", body = TopicBody),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be changed so", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn alter(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
    Query(query): Query<DryRunQuery>,
    Json(change): Json<TopicChange>,
) -> Result<JsonAnswer<TopicBody>, Problem> {
    if change.partitions.is_none() && change.config.is_empty() {
        return Err(Problem::invalid(
            "",
            "nothing to change: give `partitions` or `config`",
        ));
    }
    check_partitions(change.partitions)?;
    let backend = gateway.backends().primary();
    fresh_topic(backend, &name).await?;
    let mut admin = backend.admin().await?;
    if !change.config.is_empty() {
        let changes = changes(&change.config);
        admin
            .change_configs(Resource::Topic(&name), &changes, query.dry_run)
            .await?;
    }
    if let Some(count) = change.partitions {
        admin.add_partitions(&name, count, query.dry_run).await?;
    }
    Ok(JsonAnswer(TopicBody::of(
        &admin.settled_topic(&name).await?,
    )))
}

/// Null stands for the default.
pub fn changes(config: &BTreeMap<String, Option<String>>) -> Vec<Change<'_>> {
    config
        .iter()
        .map(|(name, value)| match value {
            Some(value) => Change::Set(name, value),
            None => Change::Unset(name),
        })
        .collect()
}

/// Delete a topic with its records
#[utoipa::path(
    delete,
    path = "/v1/topics/{topic}",
    tag = "Topics",
    operation_id = "deleteTopic",
    params(("topic" = String, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn delete(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
) -> Result<StatusCode, Problem> {
    check_name(&name).map_err(|detail| Problem::new(TOPIC_NOT_FOUND, detail))?;
    let mut admin = gateway.backends().primary().admin().await?;
    admin.delete_topic(&name).await?;
    if let Some(hybrid) = gateway.hybrid() {
        hybrid.topic_deleted(&name).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A partition of a topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Partition)]
pub struct PartitionBody {
    partition: i32,
    /// A broker's id; absent while there is none.
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync_replicas: Vec<i32>,
    offline_replicas: Vec<i32>,
    /// The first offset that is still there.
    start_offset: Option<i64>,
    /// The offset of the next record.
    end_offset: Option<i64>,
    /// On disk, over all replicas.
    bytes: u64,
}

/// The partitions of a topic.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartitionList {
    partitions: Vec<PartitionBody>,
}

/// The partitions of a topic
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions",
    tag = "Topics",
    operation_id = "listPartitions",
    params(("topic" = String, Path)),
    responses(
        (status = 200, description = "All partitions, in order", body = PartitionList),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn partitions(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
) -> Result<JsonAnswer<PartitionList>, Problem> {
    let backend = gateway.backends().primary();
    let topic = fresh_topic(backend, &name).await?;
    let topics = std::slice::from_ref(&topic);
    let mut admin = backend.admin().await?;
    let starts = admin.list_offsets(topics, OffsetQuery::Earliest).await?;
    let ends = admin.list_offsets(topics, OffsetQuery::Latest).await?;
    let sizes = admin.sizes().await?;
    let body = |partition: &Partition| {
        let place = (name.clone(), partition.index);
        PartitionBody {
            partition: partition.index,
            leader: Some(partition.leader).filter(|leader| *leader >= 0),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync_replicas: partition.in_sync.clone(),
            offline_replicas: partition.offline.clone(),
            start_offset: starts.get(&place).copied(),
            end_offset: ends.get(&place).copied(),
            bytes: sizes.get(&place).copied().unwrap_or(0),
        }
    };
    let partitions = topic.partitions.iter().map(body).collect();
    Ok(JsonAnswer(PartitionList { partitions }))
}
