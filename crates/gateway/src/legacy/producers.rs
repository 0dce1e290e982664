//! `ProducersController`: who may publish over REST (L-05, L-06, A-036… ).
//!
//! Registered with this API only: Kafka knows no registration, and clients on the wire need none. In hybrid mode the
//! documents' clients also expect Kafka's side in the list: the brokers that producers connect to.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::Fields;
use super::refusal::Refusal;
use super::request::{JsonBody, NameInPath};
use super::{Done, milliseconds};
use crate::Gateway;
use crate::backend::{Backend, Source};
use crate::clock;
use crate::mode::Mode;
use crate::registry::RegisteredProducer;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(list, register))
        .routes(routes!(show, unregister))
}

/// The body of a registration.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::RegisterProducer)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct RegisterProducer {
    producer_id: String,
    name: String,
}

/// A producer that was registered now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::NewProducer)]
pub struct NewProducer {
    #[serde(flatten)]
    producer: Producer,
    mode: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Producer)]
pub struct Producer {
    id: String,
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::ProducerRow)]
pub struct ProducerRow {
    id: String,
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
    source: &'static str,
}

/// A broker, as the documents' clients show Kafka's side of producers.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::ProducerEndpoint)]
pub struct EndpointRow {
    id: String,
    name: String,
    broker_id: i32,
    host: String,
    port: i32,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::CombinedProducer)]
pub enum CombinedRow {
    Registered(ProducerRow),
    Endpoint(EndpointRow),
}

/// The registered producers; in hybrid mode with Kafka's side.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = legacy::ProducerList)]
pub enum ProducerList {
    Single {
        mode: &'static str,
        producers: Vec<ProducerRow>,
        summary: SingleSummary,
    },
    #[serde(rename_all = "camelCase")]
    Hybrid {
        mode: &'static str,
        in_memory_producers: Vec<ProducerRow>,
        kafka_producers: Vec<EndpointRow>,
        combined: Vec<CombinedRow>,
        summary: HybridSummary,
    },
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::ProducerSummary)]
pub struct SingleSummary {
    total_producers: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::HybridProducerSummary)]
pub struct HybridSummary {
    total_producers: usize,
    in_memory_count: usize,
    kafka_count: usize,
}

/// Registers a producer
#[utoipa::path(
    post,
    path = "/api/producers",
    tag = "ProducersController",
    operation_id = "legacyRegisterProducer",
    request_body = RegisterProducer,
    responses((status = 200, description = "It may publish now", body = NewProducer), Refusal)
)]
async fn register(
    State(gateway): State<Gateway>,
    JsonBody(body): JsonBody,
) -> Result<Json<NewProducer>, Refusal> {
    let mut fields = Fields::read(&body)?;
    let producer = RegisteredProducer {
        id: fields.required_name("producerId"),
        name: fields.required_name("name"),
        created_at: milliseconds(clock::now()),
    };
    fields.finish()?;
    if !gateway.registry().await?.add_producer(&producer).await? {
        let error = format!("Producer '{}' already exists", producer.id);
        return Err(Refusal::bad_request(error));
    }
    Ok(Json(NewProducer {
        producer: shown(producer),
        mode: gateway.backends().mode().title(),
    }))
}

/// The registered producers
#[utoipa::path(
    get,
    path = "/api/producers",
    tag = "ProducersController",
    operation_id = "legacyListProducers",
    responses((status = 200, description = "By id; in hybrid mode with Kafka's side", body = ProducerList), Refusal)
)]
async fn list(State(gateway): State<Gateway>) -> Result<Json<ProducerList>, Refusal> {
    let backends = gateway.backends();
    let source = backends.primary().source().title();
    let registered = gateway.registry().await?.producers();
    let rows = registered.into_iter().map(|producer| ProducerRow {
        id: producer.id,
        name: producer.name,
        created_at: producer.created_at,
        registered_at: producer.created_at,
        source,
    });
    let producers: Vec<ProducerRow> = rows.collect();
    let mode = backends.mode();
    let Some(kafka) = backends.kafka().filter(|_| mode == Mode::Hybrid) else {
        return Ok(Json(ProducerList::Single {
            mode: mode.title(),
            summary: SingleSummary {
                total_producers: producers.len(),
            },
            producers,
        }));
    };
    let endpoints = endpoints(kafka).await;
    let registered = producers.iter().cloned().map(CombinedRow::Registered);
    let theirs = endpoints.iter().cloned().map(CombinedRow::Endpoint);
    Ok(Json(ProducerList::Hybrid {
        mode: mode.title(),
        combined: registered.chain(theirs).collect(),
        summary: HybridSummary {
            total_producers: producers.len() + endpoints.len(),
            in_memory_count: producers.len(),
            kafka_count: endpoints.len(),
        },
        in_memory_producers: producers,
        kafka_producers: endpoints,
    }))
}

/// None while Kafka is away: the list is of registrations in the first place.
async fn endpoints(kafka: &Backend) -> Vec<EndpointRow> {
    let Ok(admin) = kafka.admin().await else {
        return Vec::new();
    };
    let brokers = admin.info().brokers.iter().map(|broker| EndpointRow {
        id: format!("kafka-broker-{}", broker.id),
        name: broker.host.clone(),
        broker_id: broker.id,
        host: broker.host.clone(),
        port: broker.port,
        source: Source::Kafka.title(),
        kind: "Broker (Producer Endpoint)",
    });
    brokers.collect()
}

/// One registered producer
#[utoipa::path(
    get,
    path = "/api/producers/{id}",
    tag = "ProducersController",
    operation_id = "legacyGetProducer",
    params(("id" = String, Path, description = "As it was registered")),
    responses((status = 200, description = "The registration", body = Producer), Refusal)
)]
async fn show(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
) -> Result<Json<Producer>, Refusal> {
    let found = gateway.registry().await?.producer(&id);
    Ok(Json(shown(found.ok_or_else(|| not_found(&id))?)))
}

/// Unregisters a producer: it may publish no more
#[utoipa::path(
    delete,
    path = "/api/producers/{id}",
    tag = "ProducersController",
    operation_id = "legacyUnregisterProducer",
    params(("id" = String, Path, description = "As it was registered")),
    responses((status = 200, description = "It is gone", body = Done), Refusal)
)]
async fn unregister(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
) -> Result<Json<Done>, Refusal> {
    match gateway.registry().await?.remove_producer(&id).await? {
        true => Ok(Json(Done {
            message: format!("Producer '{id}' deleted"),
        })),
        false => Err(not_found(&id)),
    }
}

fn shown(producer: RegisteredProducer) -> Producer {
    Producer {
        id: producer.id,
        name: producer.name,
        created_at: producer.created_at,
        registered_at: producer.created_at,
    }
}

fn not_found(id: &str) -> Refusal {
    Refusal::not_found(format!("Producer '{id}' not found"))
}
