//! `ConsumersController`: who consumes over REST, from which topics, with which group (L-10, L-11, A-039, A-040, A-052).
//!
//! The consuming itself is in `consume.rs`. A consumer needs neither a start nor a subscription for it; one that was stopped
//! consumes nothing until it is started again.

use axum::Json;
use axum::extract::State;
use client::ErrorKind;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::Fields;
use super::inventory::is_internal;
use super::refusal::Refusal;
use super::request::{JsonBody, NameInPath};
use super::{Done, consume, kafka_groups, milliseconds};
use crate::Gateway;
use crate::clock;
use crate::mode::Mode;
use crate::registry::{Activity, RegisteredConsumer, Registry};

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list, register))
        .routes(routes!(subscribe))
        .routes(routes!(show, unregister))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(consume::consume))
}

/// The body of a registration.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::RegisterConsumer)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct RegisterConsumer {
    consumer_id: String,
    /// The id unless given.
    name: Option<String>,
    /// Made when it is new. Without a group a consumer gets every message.
    consumer_group: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::NewConsumer)]
pub struct NewConsumer {
    id: String,
    name: String,
    consumer_group: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Consumer)]
pub struct ConsumerRow {
    id: String,
    name: String,
    consumer_group: Option<String>,
    is_active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
    subscribed_topics: Vec<String>,
    source: &'static str,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::CombinedConsumer)]
pub enum CombinedRow {
    Registered(ConsumerRow),
    Member(kafka_groups::MemberRow),
}

/// The registered consumers; in hybrid mode with the members of Kafka's groups.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::ConsumerList)]
pub enum ConsumerList {
    Single {
        mode: &'static str,
        consumers: Vec<ConsumerRow>,
        summary: SingleSummary,
    },
    #[serde(rename_all = "camelCase")]
    Hybrid {
        mode: &'static str,
        in_memory_consumers: Vec<ConsumerRow>,
        kafka_consumers: Vec<kafka_groups::MemberRow>,
        combined: Vec<CombinedRow>,
        summary: HybridSummary,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::ConsumerSummary)]
pub struct SingleSummary {
    total_consumers: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::HybridConsumerSummary)]
pub struct HybridSummary {
    total_consumers: usize,
    in_memory_count: usize,
    kafka_count: usize,
}

/// Registers a consumer, and its group if that is new
#[utoipa::path(
    post,
    path = "/api/consumers",
    tag = "ConsumersController",
    operation_id = "legacyRegisterConsumer",
    request_body = RegisterConsumer,
    responses((status = 200, description = "It may consume now", body = NewConsumer), Refusal)
)]
async fn register(
    State(gateway): State<Gateway>,
    JsonBody(body): JsonBody,
) -> Result<Json<NewConsumer>, Refusal> {
    let mut fields = Fields::read(&body)?;
    let id = fields.required_name("consumerId");
    let consumer = RegisteredConsumer {
        name: fields.optional_name("name").unwrap_or_else(|| id.clone()),
        group: fields.optional_name("consumerGroup"),
        id,
        activity: Activity::Registered,
        created_at: milliseconds(clock::now()),
    };
    fields.finish()?;
    if !gateway.registry().await?.add_consumer(&consumer).await? {
        let error = format!("Consumer '{}' already exists", consumer.id);
        return Err(Refusal::bad_request(error));
    }
    Ok(Json(NewConsumer {
        id: consumer.id,
        name: consumer.name,
        consumer_group: consumer.group,
        created_at: consumer.created_at,
        registered_at: consumer.created_at,
    }))
}

/// The registered consumers
#[utoipa::path(
    get,
    path = "/api/consumers",
    tag = "ConsumersController",
    operation_id = "legacyListConsumers",
    responses((status = 200, description = "By id; in hybrid mode with the members of Kafka's groups", body = ConsumerList), Refusal)
)]
async fn list(State(gateway): State<Gateway>) -> Result<Json<ConsumerList>, Refusal> {
    let backends = gateway.backends();
    let registry = gateway.registry().await?;
    let source = backends.primary().source().title();
    let registered = registry.consumers().into_iter();
    let consumers: Vec<ConsumerRow> = registered
        .map(|consumer| row(registry, consumer, source))
        .collect();
    let mode = backends.mode();
    let Some(kafka) = backends.kafka().filter(|_| mode == Mode::Hybrid) else {
        return Ok(Json(ConsumerList::Single {
            mode: mode.title(),
            summary: SingleSummary {
                total_consumers: consumers.len(),
            },
            consumers,
        }));
    };
    let members = kafka_groups::members(kafka).await.unwrap_or_default();
    let registered = consumers.iter().cloned().map(CombinedRow::Registered);
    let theirs = members.iter().cloned().map(CombinedRow::Member);
    Ok(Json(ConsumerList::Hybrid {
        mode: mode.title(),
        combined: registered.chain(theirs).collect(),
        summary: HybridSummary {
            total_consumers: consumers.len() + members.len(),
            in_memory_count: consumers.len(),
            kafka_count: members.len(),
        },
        in_memory_consumers: consumers,
        kafka_consumers: members,
    }))
}

fn row(registry: &Registry, consumer: RegisteredConsumer, source: &'static str) -> ConsumerRow {
    ConsumerRow {
        subscribed_topics: registry.subscriptions(&consumer.id),
        id: consumer.id,
        name: consumer.name,
        consumer_group: consumer.group,
        is_active: consumer.activity == Activity::Started,
        created_at: consumer.created_at,
        registered_at: consumer.created_at,
        source,
    }
}

/// One registered consumer
#[utoipa::path(
    get,
    path = "/api/consumers/{id}",
    tag = "ConsumersController",
    operation_id = "legacyGetConsumer",
    params(("id" = String, Path, description = "As it was registered")),
    responses((status = 200, description = "The registration with its subscriptions", body = ConsumerRow), Refusal)
)]
async fn show(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
) -> Result<Json<ConsumerRow>, Refusal> {
    let registry = gateway.registry().await?;
    let found = registry.consumer(&id).ok_or_else(|| not_found(&id))?;
    let source = gateway.backends().primary().source().title();
    Ok(Json(row(registry, found, source)))
}

/// The body of a subscription.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Subscribe)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct Subscribe {
    consumer_id: String,
    topic_name: String,
}

/// Notes that a consumer wants a topic
#[utoipa::path(
    post,
    path = "/api/consumers/subscribe",
    tag = "ConsumersController",
    operation_id = "legacySubscribeConsumer",
    request_body = Subscribe,
    responses((status = 200, description = "It is among the consumer's topics", body = Done), Refusal)
)]
async fn subscribe(
    State(gateway): State<Gateway>,
    JsonBody(body): JsonBody,
) -> Result<Json<Done>, Refusal> {
    let mut fields = Fields::read(&body)?;
    let id = fields.required_name("consumerId");
    let topic = fields.required_name("topicName");
    fields.finish()?;
    let registry = gateway.registry().await?;
    if registry.consumer(&id).is_none() {
        let error = format!("Consumer '{id}' does not exist");
        return Err(Refusal::bad_request(error));
    }
    if !topic_exists(&gateway, &topic).await? {
        let error = format!("Topic '{topic}' does not exist");
        return Err(Refusal::bad_request(error));
    }
    registry.subscribe(&id, &topic, clock::now()).await?;
    Ok(Json(Done {
        message: format!("Consumer '{id}' subscribed to topic '{topic}'"),
    }))
}

/// Whether the backend that consumers read has a topic that this API knows.
pub(super) async fn topic_exists(gateway: &Gateway, topic: &str) -> Result<bool, Refusal> {
    if is_internal(topic) {
        return Ok(false);
    }
    match gateway.backends().primary().reader().topic(topic).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        // A name that no topic may have.
        Err(error) if super::refusal::status_of(&error) == axum::http::StatusCode::BAD_REQUEST => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets a consumer consume
#[utoipa::path(
    post,
    path = "/api/consumers/{id}/start",
    tag = "ConsumersController",
    operation_id = "legacyStartConsumer",
    params(("id" = String, Path, description = "As it was registered")),
    responses((status = 200, description = "It is active", body = Done), Refusal)
)]
async fn start(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
) -> Result<Json<Done>, Refusal> {
    set_activity(&gateway, &id, Activity::Started).await?;
    Ok(Json(Done {
        message: format!("Consumer '{id}' started"),
    }))
}

/// Keeps a consumer from consuming until it is started again
#[utoipa::path(
    post,
    path = "/api/consumers/{id}/stop",
    tag = "ConsumersController",
    operation_id = "legacyStopConsumer",
    params(("id" = String, Path, description = "As it was registered")),
    responses((status = 200, description = "It is not active", body = Done), Refusal)
)]
async fn stop(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
) -> Result<Json<Done>, Refusal> {
    set_activity(&gateway, &id, Activity::Stopped).await?;
    Ok(Json(Done {
        message: format!("Consumer '{id}' stopped"),
    }))
}

async fn set_activity(gateway: &Gateway, id: &str, activity: Activity) -> Result<(), Refusal> {
    let registry = gateway.registry().await?;
    let Some(consumer) = registry.consumer(id) else {
        let error = format!("Consumer '{id}' does not exist");
        return Err(Refusal::bad_request(error));
    };
    if consumer.activity != activity {
        registry.set_activity(&consumer, activity).await?;
    }
    Ok(())
}

/// Unregisters a consumer; its group keeps its place in every topic
#[utoipa::path(
    delete,
    path = "/api/consumers/{id}",
    tag = "ConsumersController",
    operation_id = "legacyUnregisterConsumer",
    params(("id" = String, Path, description = "As it was registered")),
    responses((status = 200, description = "It is gone", body = Done), Refusal)
)]
async fn unregister(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
) -> Result<Json<Done>, Refusal> {
    match gateway.registry().await?.remove_consumer(&id).await? {
        true => Ok(Json(Done {
            message: format!("Consumer '{id}' deleted"),
        })),
        false => Err(not_found(&id)),
    }
}

pub(super) fn not_found(id: &str) -> Refusal {
    Refusal::not_found(format!("Consumer '{id}' not found"))
}
