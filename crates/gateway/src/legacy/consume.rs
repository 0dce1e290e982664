//! `POST /api/consumers/{id}/consume`: the next message of a topic for a consumer's group (L-12, A-041, X-03, X-04, G-10).
//!
//! A read with a real Kafka group whose cursor is committed before the answer leaves: each group gets each message once, one of its
//! consumers gets it, and a restart changes nothing. It reads the embedded broker where there is one, else Kafka.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::consumers::{not_found, topic_exists};
use super::fields::Fields;
use super::refusal::Refusal;
use super::request::{JsonBody, NameInPath};
use super::stored::{self, Message};
use crate::Gateway;
use crate::registry::{Activity, RegisteredConsumer};

const MAX_MESSAGES: u64 = 500;
const DEFAULT_WAIT_MS: u64 = 500;
const MAX_WAIT_MS: u64 = 30_000;

/// The body of a consume.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Consume)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct Consume {
    topic_name: String,
    /// 1 to 500, default 1; with more than 1 the answer has `messages`.
    max_messages: Option<u32>,
    /// How long to wait for a message, 0 to 30000, default 500.
    timeout_ms: Option<u32>,
}

/// The first message; all of them in `messages` when more than one was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Consumed)]
pub struct Consumed {
    #[serde(flatten)]
    first: Message,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Message>>,
}

/// The next message of a topic for the consumer's group
#[utoipa::path(
    post,
    path = "/api/consumers/{id}/consume",
    tag = "ConsumersController",
    operation_id = "legacyConsume",
    params(("id" = String, Path, description = "As it was registered")),
    request_body = Consume,
    responses(
        (status = 200, description = "The group will not get it again", body = Consumed),
        (status = 204, description = "There was none within `timeoutMs`"),
        Refusal,
    )
)]
pub async fn consume(
    State(gateway): State<Gateway>,
    NameInPath(id): NameInPath,
    JsonBody(body): JsonBody,
) -> Result<Response, Refusal> {
    let mut fields = Fields::read(&body)?;
    let topic = fields.required_name("topicName");
    let max = fields.number("maxMessages", 1..=MAX_MESSAGES).unwrap_or(1);
    let wait = fields.number("timeoutMs", 0..=MAX_WAIT_MS);
    fields.finish()?;
    let wait = Duration::from_millis(wait.unwrap_or(DEFAULT_WAIT_MS));
    let max = usize::try_from(max).unwrap_or(1);
    let consumer = active(&gateway, &id).await?;
    // A process that stops does not wait for messages; what was taken and not committed is given back.
    let mut messages = tokio::select! {
        messages = next(&gateway, &consumer, &topic, max, wait) => messages?,
        () = gateway.stopping() => Vec::new(),
    };
    if messages.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let consumed = match max {
        1 => Consumed {
            first: messages.remove(0),
            messages: None,
        },
        _ => Consumed {
            first: messages[0].clone(),
            messages: Some(messages),
        },
    };
    Ok(Json(consumed).into_response())
}

/// The consumer, started by this if it is new.
async fn active(gateway: &Gateway, id: &str) -> Result<RegisteredConsumer, Refusal> {
    let registry = gateway.registry().await?;
    let consumer = registry.consumer(id).ok_or_else(|| not_found(id))?;
    match consumer.activity {
        Activity::Started => {}
        Activity::Registered => registry.set_activity(&consumer, Activity::Started).await?,
        Activity::Stopped => {
            let error = format!("Consumer '{id}' is stopped");
            return Err(Refusal::bad_request(error));
        }
    }
    Ok(consumer)
}

/// The next messages of a topic for a consumer's group, committed; none when there is none within `wait`.
///
/// # Errors
/// `Topic 't' not found`, or the cluster does not answer.
pub async fn next(
    gateway: &Gateway,
    consumer: &RegisteredConsumer,
    topic: &str,
    max: usize,
    wait: Duration,
) -> Result<Vec<Message>, Refusal> {
    if !topic_exists(gateway, topic).await? {
        return Err(Refusal::not_found(format!("Topic '{topic}' not found")));
    }
    let backend = gateway.backends().primary();
    let members = &gateway.legacy().members;
    let group = consumer.group_id();
    let records = members.consume(backend, group, topic, max, wait).await?;
    let messages = records
        .iter()
        .map(|taken| stored::message(topic, taken.partition, &taken.record, backend.source()));
    Ok(messages.collect())
}
