//! `POST /api/messages/publish`: a message to every active backend, In-Memory first (A-031…A-035, L-07, X-26).
//!
//! The producer is looked up first, then the topic; an unknown one touches no backend, and no topic is ever created here.
//! Nothing on this path asks an admin question: the registry is in memory and the reader remembers topics.
//! A message that reached some backends is answered 207 with each one's result, one that reached none is refused. Sent again under
//! its `id`, it goes only where it has not arrived; while nobody knows whether it has, it is not sent again.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use client::{Acknowledged, ClientError, ErrorKind, OutgoingRecord};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::attempts::{Attempt, Fingerprint};
use super::fields::Fields;
use super::inventory::is_internal;
use super::refusal::{Refusal, status_of};
use super::request::JsonBody;
use super::{milliseconds, stored};
use crate::Gateway;
use crate::backend::{Backend, Source};
use crate::hybrid::{Hybrid, KafkaPart};
use crate::{clock, entropy};

/// The documents' own words for a message that is on every backend.
const PUBLISHED: &str = "Published to configured backend(s)";
const PUBLISHED_IN_PART: &str = "Published to some of the configured backends";
const MAX_HEADERS: usize = 100;

/// The body of a publish.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Publish)]
#[allow(dead_code, reason = "describes what `Fields` reads")]
pub struct Publish {
    producer_id: String,
    topic_name: String,
    content: String,
    /// The record's key: messages with one key stay in order.
    key: Option<String>,
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    headers: Option<std::collections::HashMap<String, String>>,
    /// Of an attempt that reached only some backends; a new message gets an id.
    id: Option<String>,
}

/// A message that was published.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Published)]
pub struct Published {
    id: String,
    content: String,
    topic_name: String,
    producer_id: String,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    status: &'static str,
    mode: &'static str,
    published_to: Vec<&'static str>,
    /// By backend, when it did not reach all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<BackendResult>>,
}

/// Why a message is on no backend.
#[derive(Debug, Serialize)]
pub struct Unpublished {
    error: String,
    /// Send this along to try again; it is refused with 409 while the message may be stored.
    id: String,
    results: Vec<BackendResult>,
}

/// What one backend did with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::BackendResult)]
pub struct BackendResult {
    pub backend: &'static str,
    pub status: BackendStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    pub refused_with: Option<StatusCode>,
    /// It failed, and may be stored all the same.
    #[serde(skip)]
    pub may_be_stored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = legacy::BackendStatus)]
pub enum BackendStatus {
    Published,
    /// Stored on the embedded broker and forwarded as soon as Kafka takes it; there is no need to send it again.
    Pending,
    Failed,
}

/// A message on its way.
pub struct Outgoing<'a> {
    pub id: &'a str,
    pub producer: &'a str,
    pub topic: &'a str,
    pub content: &'a str,
    pub key: Option<&'a str>,
    pub headers: &'a [(String, String)],
    pub at: Timestamp,
}

/// Publishes a message
#[utoipa::path(
    post,
    path = "/api/messages/publish",
    tag = "MessagesController",
    operation_id = "legacyPublish",
    request_body = Publish,
    responses(
        (status = 200, description = "It is on every backend", body = Published),
        (status = 207, description = "It is on some backends; `results` names each", body = Published),
        Refusal,
    )
)]
pub async fn publish(
    State(gateway): State<Gateway>,
    JsonBody(body): JsonBody,
) -> Result<Response, Refusal> {
    let mut fields = Fields::read(&body)?;
    let producer_id = fields.required("producerId");
    let topic_name = fields.required("topicName");
    let content = fields.required("content");
    let key = fields.text("key");
    let headers = fields.texts("headers");
    let given_id = fields.optional_name("id");
    fields.finish()?;
    check_headers(&headers)?;
    check_names(&gateway, &producer_id, &topic_name).await?;
    let draft = Draft {
        producer_id: producer_id.into_owned(),
        topic_name: topic_name.into_owned(),
        content: content.into_owned(),
        key: key.map(Cow::into_owned),
        headers,
        given_id,
    };
    // A client that goes away in the middle does not leave open what became of its message.
    let work = tokio::spawn(async move { carry_out(&gateway, draft).await });
    work.await.unwrap_or_else(|error| {
        let error = format!("the publish was broken off: {error}");
        Err(Refusal::Domain(StatusCode::INTERNAL_SERVER_ERROR, error))
    })
}

/// A message as the client sent it.
struct Draft {
    producer_id: String,
    topic_name: String,
    content: String,
    key: Option<String>,
    headers: Vec<(String, String)>,
    given_id: Option<String>,
}

async fn carry_out(gateway: &Gateway, draft: Draft) -> Result<Response, Refusal> {
    let at = milliseconds(clock::now());
    let id = match &draft.given_id {
        Some(id) => id.clone(),
        None => format!("msg-{}", entropy::uuid_v7(at)),
    };
    let message = Outgoing {
        id: &id,
        producer: &draft.producer_id,
        topic: &draft.topic_name,
        content: &draft.content,
        key: draft.key.as_deref(),
        headers: &draft.headers,
        at,
    };
    let results = match draft.given_id {
        Some(_) => publish_again(gateway, &message).await?,
        None => to_backends(gateway, &message, &[]).await,
    };
    if draft.given_id.is_none() && !results.iter().all(BackendResult::is_published) {
        let attempts = &gateway.legacy().attempts;
        attempts.note(&id, Fingerprint::of(&message), results.clone(), at);
    }
    let published = Published {
        id,
        content: draft.content,
        topic_name: draft.topic_name,
        producer_id: draft.producer_id,
        timestamp: at,
        status: PUBLISHED,
        mode: gateway.backends().mode().title(),
        published_to: Vec::new(),
        results: None,
    };
    Ok(answer(published, results))
}

/// The producer first, then the topic (L-07).
async fn check_names(gateway: &Gateway, producer: &str, topic: &str) -> Result<(), Refusal> {
    if gateway.registry().await?.producer(producer).is_none() {
        let error = format!("Producer '{producer}' not found");
        return Err(Refusal::not_found(error));
    }
    let missing = || Refusal::bad_request(format!("Topic '{topic}' does not exist"));
    if is_internal(topic) {
        return Err(missing());
    }
    match gateway.backends().primary().reader().topic(topic).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
        Err(error) => match status_of(&error) {
            StatusCode::BAD_REQUEST => Err(missing()),
            _ => Err(Refusal::from(error)),
        },
    }
}

fn check_headers(headers: &[(String, String)]) -> Result<(), Refusal> {
    if headers.len() > MAX_HEADERS {
        let message = format!("The field Headers may have {MAX_HEADERS} headers at most.");
        return Err(Refusal::invalid("Headers", message));
    }
    let mut names = headers.iter().map(|(name, _)| name);
    match names.find(|name| name.starts_with(stored::RESERVED) || name.contains('\0')) {
        Some(name) => {
            let message = format!("The header {name} is not a publisher's to set.");
            Err(Refusal::invalid("Headers", message))
        }
        None => Ok(()),
    }
}

/// An attempt under an id that the client gave: it goes only where it has not arrived.
async fn publish_again(
    gateway: &Gateway,
    message: &Outgoing<'_>,
) -> Result<Vec<BackendResult>, Refusal> {
    let attempts = &gateway.legacy().attempts;
    let fingerprint = Fingerprint::of(message);
    let earlier = match attempts.begin(message.id, fingerprint, message.at) {
        Attempt::Begun { earlier } => earlier,
        Attempt::UnderWay => {
            let error = format!("Message '{}' is being published", message.id);
            return Err(Refusal::Domain(StatusCode::CONFLICT, error));
        }
        Attempt::OfUnknownOutcome { reason } => {
            let error = format!(
                "Message '{}' may be stored already: {reason}; look for it, and publish it without this id if it is not there",
                message.id
            );
            return Err(Refusal::Domain(StatusCode::CONFLICT, error));
        }
        Attempt::OtherMessage => {
            let error = format!("Id '{}' belongs to another message", message.id);
            return Err(Refusal::bad_request(error));
        }
    };
    // What is known stays known when the client leaves in the middle.
    let guard = attempts.guard(message.id, fingerprint, earlier.clone(), message.at);
    let results = to_backends(gateway, message, &earlier).await;
    guard.finish(results.clone());
    Ok(results)
}

/// Hands a message to every backend; one result for each, in order.
///
/// In hybrid mode the embedded broker has it first; Kafka's half is the forwarder's, which keeps the order and the promise. So what
/// an earlier attempt stored anywhere comes everywhere by itself, and is not stored again.
pub async fn to_backends(
    gateway: &Gateway,
    message: &Outgoing<'_>,
    earlier: &[BackendResult],
) -> Vec<BackendResult> {
    if let Some(stored) = earlier.iter().find(|result| result.is_stored()) {
        return match gateway.hybrid() {
            Some(hybrid) => vec![
                stored.clone(),
                kafka_now(hybrid, message.topic, stored).await,
            ],
            None => earlier.to_vec(),
        };
    }
    let headers = stored::headers(message.id, message.producer, message.at, message.headers);
    let record = OutgoingRecord {
        topic: message.topic,
        key: message.key.map(str::as_bytes),
        value: Some(message.content.as_bytes()),
        headers: &headers,
        ..OutgoingRecord::default()
    };
    match gateway.hybrid() {
        Some(hybrid) => to_both(hybrid, &record).await,
        None => vec![to_backend(gateway.backends().primary(), &record).await],
    }
}

async fn to_both(hybrid: &Hybrid, record: &OutgoingRecord<'_>) -> Vec<BackendResult> {
    let (stored, part) = match hybrid.publish(record).await {
        Ok(published) => published,
        // What is not stored here is not forwarded either.
        Err(error) => {
            let sources = [Source::InMemory, Source::Kafka];
            return sources
                .map(|source| BackendResult::failed(source, &error))
                .into();
        }
    };
    vec![
        BackendResult::published(Source::InMemory, stored),
        BackendResult::of_kafka(part),
    ]
}

/// Kafka's half of a message that an earlier attempt stored here.
async fn kafka_now(hybrid: &Hybrid, topic: &str, stored: &BackendResult) -> BackendResult {
    let partition = stored.partition.unwrap_or_default();
    let offset = stored.offset.unwrap_or_default();
    BackendResult::of_kafka(hybrid.kafka_part(topic, partition, offset).await)
}

async fn to_backend(backend: &Backend, record: &OutgoingRecord<'_>) -> BackendResult {
    let sent = async { backend.producer()?.send(record)?.await };
    match sent.await {
        Ok(acknowledged) => BackendResult::published(backend.source(), acknowledged),
        Err(error) => BackendResult::failed(backend.source(), &error),
    }
}

impl BackendResult {
    fn new(source: Source, status: BackendStatus) -> BackendResult {
        BackendResult {
            backend: source.title(),
            status,
            partition: None,
            offset: None,
            error: None,
            refused_with: None,
            may_be_stored: false,
        }
    }

    /// Of an attempt that ended before it knew anything.
    pub fn broken_off() -> BackendResult {
        BackendResult {
            error: Some("the attempt was broken off".to_owned()),
            may_be_stored: true,
            ..BackendResult::new(Source::InMemory, BackendStatus::Failed)
        }
    }

    fn published(source: Source, acknowledged: Acknowledged) -> BackendResult {
        BackendResult {
            partition: Some(acknowledged.partition),
            offset: Some(acknowledged.offset),
            ..BackendResult::new(source, BackendStatus::Published)
        }
    }

    fn of_kafka(part: KafkaPart) -> BackendResult {
        match part {
            KafkaPart::Forwarded => BackendResult::new(Source::Kafka, BackendStatus::Published),
            KafkaPart::NotForwarded => BackendResult {
                error: Some("The topic is not on Kafka".to_owned()),
                ..BackendResult::new(Source::Kafka, BackendStatus::Failed)
            },
            KafkaPart::Pending(reason) => BackendResult {
                error: Some(reason),
                ..BackendResult::new(Source::Kafka, BackendStatus::Pending)
            },
        }
    }

    fn failed(source: Source, error: &ClientError) -> BackendResult {
        BackendResult {
            error: Some(error.to_string()),
            refused_with: Some(status_of(error)),
            may_be_stored: error.may_have_happened(),
            ..BackendResult::new(source, BackendStatus::Failed)
        }
    }

    pub fn is_published(&self) -> bool {
        self.status == BackendStatus::Published
    }

    /// Whether it is on this backend or certain to come there.
    pub fn is_stored(&self) -> bool {
        self.status != BackendStatus::Failed
    }
}

/// 200 when every backend has it, 207 when some have, else 502: or what they all refused it with, when it is the message's fault.
fn answer(mut published: Published, results: Vec<BackendResult>) -> Response {
    let reached = results.iter().filter(|result| result.is_published());
    published.published_to = reached.map(|result| result.backend).collect();
    if published.published_to.len() == results.len() {
        return (StatusCode::OK, Json(published)).into_response();
    }
    if results.iter().any(BackendResult::is_stored) {
        published.status = PUBLISHED_IN_PART;
        published.results = Some(results);
        return (StatusCode::MULTI_STATUS, Json(published)).into_response();
    }
    let error = match results.iter().any(|result| result.may_be_stored) {
        true => format!(
            "Message '{}' was not confirmed by any backend; it may be stored all the same",
            published.id
        ),
        false => format!("Message '{}' was published to no backend", published.id),
    };
    let body = Unpublished {
        error,
        id: published.id,
        results,
    };
    (refusal_status(&body.results), Json(body)).into_response()
}

fn refusal_status(results: &[BackendResult]) -> StatusCode {
    let first = results.first().and_then(|result| result.refused_with);
    let same = results.iter().all(|result| result.refused_with == first);
    match first {
        Some(status) if same && status.is_client_error() => status,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(source: Source, status: BackendStatus) -> BackendResult {
        BackendResult::new(source, status)
    }

    fn status_of_results(results: Vec<BackendResult>) -> StatusCode {
        let published = Published {
            id: "msg-1".to_owned(),
            content: "x".to_owned(),
            topic_name: "orders".to_owned(),
            producer_id: "order-service".to_owned(),
            timestamp: Timestamp::UNIX_EPOCH,
            status: PUBLISHED,
            mode: "In-Memory Only",
            published_to: Vec::new(),
            results: None,
        };
        answer(published, results).status()
    }

    #[test]
    fn the_status_says_how_many_backends_have_it() {
        //
        use BackendStatus::{Failed, Pending, Published};
        let both = |kafka| {
            status_of_results(vec![
                result(Source::InMemory, Published),
                result(Source::Kafka, kafka),
            ])
        };
        assert_eq!(both(Published), StatusCode::OK);
        assert_eq!(both(Pending), StatusCode::MULTI_STATUS);
        assert_eq!(both(Failed), StatusCode::MULTI_STATUS);
        let none = vec![
            result(Source::InMemory, Failed),
            result(Source::Kafka, Failed),
        ];
        assert_eq!(status_of_results(none), StatusCode::BAD_GATEWAY);
    }

    #[test]
    fn a_message_that_every_backend_finds_too_large_is_the_publishers_to_mend() {
        let too_large = BackendResult {
            refused_with: Some(StatusCode::PAYLOAD_TOO_LARGE),
            ..result(Source::InMemory, BackendStatus::Failed)
        };
        assert_eq!(
            status_of_results(vec![too_large]),
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }

    #[test]
    fn our_own_headers_cannot_be_set() {
        let header = |name: &str| vec![(name.to_owned(), "x".to_owned())];
        assert!(check_headers(&header("color")).is_ok());
        assert!(check_headers(&header("thalweg-id")).is_err());
        assert!(check_headers(&vec![("a".to_owned(), String::new()); 101]).is_err());
    }
}
