//! `ConfigController`: the mode in force and where its clusters are; secrets are not shown (L-15, A-046).

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Gateway;
use crate::backend::Backend;
use crate::mode::Mode;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(show_status))
        .routes(routes!(recommendations))
        .routes(routes!(status))
}

/// What is configured.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Config)]
pub struct Config {
    mode: &'static str,
    configuration: Configuration,
    recommendations: Vec<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Configuration)]
pub struct Configuration {
    in_memory: InMemory,
    kafka: Kafka,
    hybrid: Hybrid,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::InMemoryConfig)]
pub struct InMemory {
    enabled: bool,
    description: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::KafkaConfig)]
pub struct Kafka {
    enabled: bool,
    configured: bool,
    bootstrap_servers: Option<String>,
    security_protocol: Option<&'static str>,
    sasl_mechanism: Option<&'static str>,
    /// `***` when there are any.
    credentials: Option<&'static str>,
    description: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::HybridConfig)]
pub struct Hybrid {
    enabled: bool,
    description: &'static str,
}

/// The mode in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Status)]
pub struct Status {
    mode: &'static str,
    in_memory_enabled: bool,
    kafka_enabled: bool,
    hybrid_enabled: bool,
    kafka_configured: bool,
    kafka_bootstrap: Option<String>,
}

/// The configuration in force, without secrets
#[utoipa::path(
    get,
    path = "/api/config",
    tag = "ConfigController",
    operation_id = "legacyGetConfig",
    responses((status = 200, description = "Mode, backends, recommendations", body = Config))
)]
async fn show(State(gateway): State<Gateway>) -> Json<Config> {
    Json(config(&gateway))
}

/// The configuration in force, without secrets
#[utoipa::path(
    get,
    path = "/api/config/status",
    tag = "ConfigController",
    operation_id = "legacyGetConfigStatus",
    responses((status = 200, description = "As /api/config", body = Config))
)]
async fn show_status(State(gateway): State<Gateway>) -> Json<Config> {
    Json(config(&gateway))
}

fn config(gateway: &Gateway) -> Config {
    let backends = gateway.backends();
    let mode = backends.mode();
    Config {
        mode: mode.title(),
        configuration: Configuration {
            in_memory: InMemory {
                enabled: mode.uses_in_memory(),
                description: "The embedded broker: no external dependencies, no network latency",
            },
            kafka: kafka(backends.kafka()),
            hybrid: Hybrid {
                enabled: mode == Mode::Hybrid,
                description: "Messages go to BOTH systems: stored here first, then on Kafka",
            },
        },
        recommendations: recommendations_for(mode),
    }
}

fn kafka(backend: Option<&Backend>) -> Kafka {
    let security = backend.map(|backend| backend.cluster().security());
    let sasl = security.and_then(|security| security.sasl.as_ref());
    Kafka {
        enabled: backend.is_some(),
        configured: backend.is_some(),
        bootstrap_servers: backend.map(|backend| backend.cluster().bootstrap().join(",")),
        security_protocol: security.map(|security| security.protocol.name()),
        sasl_mechanism: sasl.map(|sasl| sasl.mechanism()),
        credentials: sasl.map(|_| "***"),
        description: "A Kafka cluster: persistent, distributed, many instances",
    }
}

/// What to know about the mode in force
#[utoipa::path(
    get,
    path = "/api/config/recommendations",
    tag = "ConfigController",
    operation_id = "legacyGetRecommendations",
    responses((status = 200, description = "Lines for a person", body = Vec<String>))
)]
async fn recommendations(State(gateway): State<Gateway>) -> Json<Vec<&'static str>> {
    Json(recommendations_for(gateway.backends().mode()))
}

fn recommendations_for(mode: Mode) -> Vec<&'static str> {
    match mode {
        Mode::InMemory => vec![
            "✅ In-Memory mode: Perfect for development and testing",
            "💡 Enable Kafka for persistence and distribution",
        ],
        Mode::Kafka => vec![
            "✅ Kafka-only mode: Production-ready, persistent",
            "💡 Enable in-memory for faster local testing",
        ],
        Mode::Hybrid => vec![
            "✅ Hybrid mode: Messages stored in BOTH systems",
            "💡 Great for migration or redundancy scenarios",
        ],
    }
}

/// The mode in short
#[utoipa::path(
    get,
    path = "/api/status",
    tag = "ConfigController",
    operation_id = "legacyGetStatus",
    responses((status = 200, description = "Which backends are in use", body = Status))
)]
async fn status(State(gateway): State<Gateway>) -> Json<Status> {
    let backends = gateway.backends();
    let mode = backends.mode();
    Json(Status {
        mode: mode.title(),
        in_memory_enabled: mode.uses_in_memory(),
        kafka_enabled: mode.uses_kafka(),
        hybrid_enabled: mode == Mode::Hybrid,
        kafka_configured: backends.kafka().is_some(),
        kafka_bootstrap: backends
            .kafka()
            .map(|kafka| kafka.cluster().bootstrap().join(",")),
    })
}
