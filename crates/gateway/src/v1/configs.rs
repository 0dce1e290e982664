//! Settings: `GET|PATCH` at `/v1/topics/{topic}/config`, `/v1/brokers/{broker}/config` and `/v1/configs`, with `ETag` and `If-Match`.
//!
//! Each setting says where its value comes from. Secret ones have no value, as Kafka answers them.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use client::configs::{ConfigEntry, Resource};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::brokers::broker_id;
use super::etag;
use super::request::{Json, Query, Segment};
use super::topics::{DryRunQuery, changes, fresh_topic};
use crate::Gateway;
use crate::backend::Backend;
use crate::problem::{Problem, ProblemBody};

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(topic_config, change_topic_config))
        .routes(routes!(broker_config, change_broker_config))
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Setting)]
pub struct SettingBody {
    name: String,
    /// Absent when it has none or is secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Where the value comes from: `topic`, `broker`, `all brokers`, `start configuration`, `default` …
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

/// All settings, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingList {
    settings: Vec<SettingBody>,
}

/// Settings to change; null brings back the default.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SettingChanges(BTreeMap<String, Option<String>>);

impl SettingList {
    fn of(entries: Vec<ConfigEntry>) -> SettingList {
        let setting = |entry: ConfigEntry| SettingBody {
            name: entry.name,
            value: entry.value.filter(|_| !entry.is_sensitive),
            source: entry.source,
            read_only: entry.is_read_only,
            sensitive: entry.is_sensitive,
        };
        SettingList {
            settings: entries.into_iter().map(setting).collect(),
        }
    }

    fn respond(self) -> Response {
        let tag = etag::of(&self);
        ([(header::ETAG, tag)], JsonAnswer(self)).into_response()
    }
}

async fn read(backend: &Backend, resource: Resource<'_>) -> Result<SettingList, Problem> {
    let entries = backend.admin().await?.configs(resource).await?;
    Ok(SettingList::of(entries))
}

async fn change(
    backend: &Backend,
    resource: Resource<'_>,
    changed: &SettingChanges,
    headers: &HeaderMap,
    dry_run: bool,
) -> Result<Response, Problem> {
    if changed.0.is_empty() {
        return Err(Problem::invalid("", "no setting to change"));
    }
    etag::check(headers, &etag::of(&read(backend, resource).await?))?;
    let changes = changes(&changed.0);
    backend
        .admin()
        .await?
        .change_configs(resource, &changes, dry_run)
        .await?;
    Ok(read(backend, resource).await?.respond())
}

/// The settings of a topic
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/config",
    tag = "Topics",
    operation_id = "getTopicConfig",
    params(("topic" = String, Path)),
    responses(
        (status = 200, description = "All settings, by name", body = SettingList, headers(("ETag" = String))),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn topic_config(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
) -> Result<Response, Problem> {
    let backend = gateway.backends().primary();
    fresh_topic(backend, &name).await?;
    Ok(read(backend, Resource::Topic(&name)).await?.respond())
}

/// Change the settings of a topic
#[utoipa::path(
    patch,
    path = "/v1/topics/{topic}/config",
    tag = "Topics",
    operation_id = "changeTopicConfig",
    params(
        ("topic" = String, Path),
        ("If-Match" = Option<String>, Header, description = "Change only what still has this ETag"),
        DryRunQuery,
    ),
    request_body = SettingChanges,
    responses(
        (status = 200, description = "The settings as they are now", body = SettingList, headers(("ETag" = String))),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "Changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No such setting or value", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn change_topic_config(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
    Query(query): Query<DryRunQuery>,
    headers: HeaderMap,
    Json(changed): Json<SettingChanges>,
) -> Result<Response, Problem> {
    let backend = gateway.backends().primary();
    fresh_topic(backend, &name).await?;
    change(
        backend,
        Resource::Topic(&name),
        &changed,
        &headers,
        query.dry_run,
    )
    .await
}

/// The settings of a broker
#[utoipa::path(
    get,
    path = "/v1/brokers/{broker}/config",
    tag = "Cluster",
    operation_id = "getBrokerConfig",
    params(("broker" = i32, Path)),
    responses(
        (status = 200, description = "All settings, by name", body = SettingList, headers(("ETag" = String))),
        (status = 404, description = "No such broker", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn broker_config(
    State(gateway): State<Gateway>,
    Segment(broker): Segment,
) -> Result<Response, Problem> {
    let backend = gateway.backends().primary();
    let id = broker_id(backend, &broker).await?;
    Ok(read(backend, Resource::Broker(id)).await?.respond())
}

/// Change the settings of a broker
#[utoipa::path(
    patch,
    path = "/v1/brokers/{broker}/config",
    tag = "Cluster",
    operation_id = "changeBrokerConfig",
    params(
        ("broker" = i32, Path),
        ("If-Match" = Option<String>, Header, description = "Change only what still has this ETag"),
        DryRunQuery,
    ),
    request_body = SettingChanges,
    responses(
        (status = 200, description = "The settings as they are now", body = SettingList, headers(("ETag" = String))),
        (status = 404, description = "No such broker", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "Changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No such setting or value", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn change_broker_config(
    State(gateway): State<Gateway>,
    Segment(broker): Segment,
    Query(query): Query<DryRunQuery>,
    headers: HeaderMap,
    Json(changed): Json<SettingChanges>,
) -> Result<Response, Problem> {
    let backend = gateway.backends().primary();
    let id = broker_id(backend, &broker).await?;
    change(
        backend,
        Resource::Broker(id),
        &changed,
        &headers,
        query.dry_run,
    )
    .await
}
