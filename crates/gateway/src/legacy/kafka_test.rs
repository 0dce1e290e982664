//! `KafkaTestController`: does the connection to Kafka work, step by step, in lines that a person reads (L-14, A-044, A-045).
//!
//! Each call opens what it tests anew, so that an old connection hides nothing. It tests the Kafka cluster of the mode, and the
//! embedded broker, which is a Kafka too, where there is no other. No line has a credential in it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use client::topics::Topic;
use client::{ClientError, OutgoingRecord};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::fields::Fields;
use super::inventory::{self, is_internal};
use super::refusal::Refusal;
use super::request::{JsonBody, Parameters};
use super::topic_changes::{self, Creation};
use crate::Gateway;
use crate::backend::Backend;
use crate::{clock, entropy};

const TEST_TOPIC: &str = "thalweg-test-topic";
const TEST_MESSAGE: &str = "Hello from Thalweg!";
const MOST_TOPICS_SHOWN: usize = 10;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(test_connection))
        .routes(routes!(create_test_topic))
        .routes(routes!(send_test_message))
}

/// A connection that works.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::ConnectionTest)]
pub struct ConnectionTest {
    success: bool,
    results: Vec<String>,
    connected: bool,
    /// How many there are.
    brokers: usize,
    topics: usize,
    /// From opening a connection to the answer of the first request, authentication included.
    latency_ms: f64,
}

/// A test that failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::FailedTest)]
pub struct FailedTest {
    success: bool,
    connected: bool,
    results: Vec<String>,
    error: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::CreatedTestTopic)]
pub struct CreatedTestTopic {
    success: bool,
    topic_name: String,
    results: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::SentTestMessage)]
pub struct SentTestMessage {
    success: bool,
    results: Vec<String>,
    delivery_result: DeliveryResult,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::DeliveryResult)]
pub struct DeliveryResult {
    topic: String,
    partition: i32,
    offset: i64,
}

/// What may be said in the query or in a body.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::TestTarget)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct TestTarget {
    topic_name: Option<String>,
    message: Option<String>,
}

/// Connects to Kafka anew and tells what is there
#[utoipa::path(
    post,
    path = "/api/kafkatest/test-connection",
    tag = "KafkaTestController",
    operation_id = "legacyTestConnection",
    responses(
        (status = 200, description = "It works", body = ConnectionTest),
        (status = 400, description = "It does not; `error` says why", body = FailedTest),
    )
)]
async fn test_connection(State(gateway): State<Gateway>) -> Response {
    let backend = tested(&gateway);
    let mut results = configuration(backend);
    results.push("🔌 Testing Admin Connection (Metadata Query)...".to_owned());
    let began = Instant::now();
    match connect(backend).await {
        Ok((brokers, topics)) => {
            let latency_ms = in_milliseconds(began.elapsed());
            results.push("✅ Connected successfully!".to_owned());
            results.extend(found(&brokers, &topics));
            results.push("🎉 Connection test complete!".to_owned());
            let body = ConnectionTest {
                success: true,
                results,
                connected: true,
                brokers: brokers.len(),
                topics: topics.len(),
                latency_ms,
            };
            Json(body).into_response()
        }
        Err(error) => {
            results.push("❌ Connection FAILED!".to_owned());
            results.push(format!("   {error}"));
            results.extend(advice());
            failed(results, &error.to_string())
        }
    }
}

/// The Kafka of the mode, else the embedded broker.
fn tested(gateway: &Gateway) -> &Backend {
    let backends = gateway.backends();
    backends.kafka().unwrap_or_else(|| backends.primary())
}

async fn connect(backend: &Backend) -> Result<(Vec<String>, Vec<Topic>), ClientError> {
    let mut admin = backend.cluster().admin().await?;
    let brokers = admin.info().brokers.iter();
    let brokers = brokers
        .map(|broker| format!("Broker {}: {}", broker.id, broker.address()))
        .collect();
    let mut topics = admin.topics().await?;
    topics.retain(|topic| !topic.is_internal && !is_internal(&topic.name));
    Ok((brokers, topics))
}

fn configuration(backend: &Backend) -> Vec<String> {
    let security = backend.cluster().security();
    let mechanism = security
        .sasl
        .as_ref()
        .map_or("none", |sasl| sasl.mechanism());
    vec![
        "🔍 Testing Kafka Connection...".to_owned(),
        "📋 Configuration:".to_owned(),
        format!(
            "   Bootstrap Servers: {}",
            backend.cluster().bootstrap().join(",")
        ),
        format!("   Security Protocol: {}", security.protocol.name()),
        format!("   SASL Mechanism: {mechanism}"),
    ]
}

fn found(brokers: &[String], topics: &[Topic]) -> Vec<String> {
    let mut lines = vec![format!("   Brokers: {}", brokers.len())];
    lines.push("📊 Broker Information:".to_owned());
    lines.extend(brokers.iter().map(|broker| format!("   - {broker}")));
    lines.push(format!("📑 Topics Found: {}", topics.len()));
    lines.extend(topics.iter().take(MOST_TOPICS_SHOWN).map(|topic| {
        let partitions = topic.partitions.len();
        format!("   - {} ({partitions} partitions)", topic.name)
    }));
    if topics.len() > MOST_TOPICS_SHOWN {
        let more = topics.len() - MOST_TOPICS_SHOWN;
        lines.push(format!("   ... and {more} more topics"));
    }
    lines
}

fn advice() -> Vec<String> {
    [
        "💡 Common Issues:",
        "   1. Is the bootstrap address right, and does a broker listen there?",
        "   2. Does the listener speak this security protocol?",
        "   3. Are user name and password right for this mechanism?",
        "   4. Does a firewall let the port through?",
        "   5. `thalweg doctor` looks at all of these.",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn in_milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 10_000.0).round() / 10.0
}

fn failed(results: Vec<String>, error: &str) -> Response {
    let body = FailedTest {
        success: false,
        connected: false,
        results,
        error: error.to_owned(),
    };
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Creates a topic to test with
#[utoipa::path(
    post,
    path = "/api/kafkatest/create-test-topic",
    tag = "KafkaTestController",
    operation_id = "legacyCreateTestTopic",
    params(("topicName" = Option<String>, Query, description = "`thalweg-test-topic` unless given")),
    request_body(content = Option<TestTarget>, description = "Instead of the query"),
    responses(
        (status = 200, description = "It is there now", body = CreatedTestTopic),
        Refusal,
    )
)]
async fn create_test_topic(
    State(gateway): State<Gateway>,
    parameters: Parameters,
    JsonBody(body): JsonBody,
) -> Result<Response, Refusal> {
    let topic = target(&parameters, &body)?.0;
    let mut results = vec![format!("📝 Creating topic '{topic}'...")];
    if is_internal(&topic) {
        results.push("❌ Names that begin with '_' are internal".to_owned());
        return Ok(failed(results, "the topic's name is reserved"));
    }
    let backend = tested(&gateway);
    match topic_changes::create_on(&gateway, backend, &topic, None).await? {
        Creation::Created {
            partitions,
            replication,
        } => {
            results.push(format!("✅ Topic '{topic}' created successfully!"));
            results.push(format!("   Partitions: {partitions}"));
            results.push(format!("   Replication Factor: {replication}"));
            let body = CreatedTestTopic {
                success: true,
                topic_name: topic,
                results,
            };
            Ok(Json(body).into_response())
        }
        Creation::Existed => {
            results.push("❌ Failed to create topic:".to_owned());
            results.push("   💡 Topic already exists - this is OK!".to_owned());
            Ok(failed(results, &format!("Topic '{topic}' already exists")))
        }
        Creation::Failed(error) => {
            results.push(format!("❌ Error: {error}"));
            Ok(failed(results, &error.to_string()))
        }
    }
}

/// Sends a message to a topic and tells where it is
#[utoipa::path(
    post,
    path = "/api/kafkatest/send-test-message",
    tag = "KafkaTestController",
    operation_id = "legacySendTestMessage",
    params(
        ("topicName" = Option<String>, Query, description = "`thalweg-test-topic` unless given"),
        ("message" = Option<String>, Query, description = "`Hello from Thalweg!` unless given"),
    ),
    request_body(content = Option<TestTarget>, description = "Instead of the query"),
    responses(
        (status = 200, description = "It is stored", body = SentTestMessage),
        Refusal,
    )
)]
async fn send_test_message(
    State(gateway): State<Gateway>,
    parameters: Parameters,
    JsonBody(body): JsonBody,
) -> Result<Response, Refusal> {
    let (topic, message) = target(&parameters, &body)?;
    let mut results = vec![
        format!("📤 Sending test message to topic '{topic}'..."),
        format!("   Message: \"{message}\""),
    ];
    match send(tested(&gateway), &topic, &message).await {
        Ok(delivered) => {
            results.push("✅ Message delivered successfully!".to_owned());
            results.push(format!("   Topic: {topic}"));
            results.push(format!("   Partition: {}", delivered.partition));
            results.push(format!("   Offset: {}", delivered.offset));
            let body = SentTestMessage {
                success: true,
                results,
                delivery_result: delivered,
            };
            Ok(Json(body).into_response())
        }
        Err(error) => {
            results.push("❌ Produce failed!".to_owned());
            results.push(format!("   {error}"));
            Ok(failed(results, &error.to_string()))
        }
    }
}

async fn send(
    backend: &Backend,
    topic: &str,
    message: &str,
) -> Result<DeliveryResult, ClientError> {
    let known = match is_internal(topic) {
        true => Vec::new(),
        false => inventory::topics(backend).await?,
    };
    if !known.iter().any(|known| known.name == topic) {
        return Err(ClientError::Refused {
            what: format!("sending to {topic}"),
            code: wire::ErrorCode::UnknownTopicOrPartition,
            message: Some("create it first: POST /api/kafkatest/create-test-topic".to_owned()),
        });
    }
    let key = entropy::uuid_v7(clock::now()).to_string();
    let record = OutgoingRecord {
        topic,
        key: Some(key.as_bytes()),
        value: Some(message.as_bytes()),
        ..OutgoingRecord::default()
    };
    let acknowledged = backend.producer()?.send(&record)?.await?;
    Ok(DeliveryResult {
        topic: topic.to_owned(),
        partition: acknowledged.partition,
        offset: acknowledged.offset,
    })
}

/// Topic and message: of the query, else of the body, else the defaults.
fn target(parameters: &Parameters, body: &[u8]) -> Result<(String, String), Refusal> {
    let mut fields = Fields::read_optional(body)?;
    let topic = fields.optional_name("topicName");
    let message = fields.text("message").map(|text| text.into_owned());
    fields.finish()?;
    let given = |name| parameters.get(name).map(str::to_owned);
    let topic = given("topicname").or(topic);
    let message = given("message").or(message);
    Ok((
        topic.unwrap_or_else(|| TEST_TOPIC.to_owned()),
        message.unwrap_or_else(|| TEST_MESSAGE.to_owned()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::{Cluster, Sasl, Secret, Security, SecurityProtocol};

    #[test]
    fn no_line_of_the_configuration_has_a_credential() {
        //
        let security = Security {
            protocol: SecurityProtocol::SaslSsl,
            sasl: Some(Sasl::Plain {
                username: "key-of-the-cluster".to_owned(),
                password: Secret::new("hunter2"),
            }),
            ..Security::default()
        };
        let cluster = Cluster::new("broker:9093").with_security(security);
        let backend = Backend::new(crate::backend::Source::Kafka, cluster);
        let text = configuration(&backend).join("\n");
        assert!(
            text.contains("SASL_SSL") && text.contains("PLAIN"),
            "{text}"
        );
        assert!(
            !text.contains("hunter2") && !text.contains("key-of-the-cluster"),
            "{text}"
        );
    }

    #[test]
    fn latencies_have_a_tenth_of_a_millisecond() {
        assert_eq!(in_milliseconds(Duration::from_micros(1_234)), 1.2);
    }
}
