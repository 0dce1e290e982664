//! `POST /v1/topics/{topic}/records`: stores records; the Content-Type says how they are framed, never how a value is encoded.
//!
//! `application/json` is `{"records": […]}`, `application/x-ndjson` is a record a line (`produce_stream.rs`), anything else is one
//! record with the body as its value. Nothing is sent when any record of a JSON document is not right; afterwards each record has
//! its own result. Topics are never created here.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use client::AsyncProducer;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::incoming::{self, Incoming, ProduceRequest};
use super::outcome::{self, Outcome, ProduceResponse};
use super::request::{self, Query, Segment};
use super::{produce_stream, topic_of};
use crate::Gateway;
use crate::backend::Acks;
use crate::problem::{PARTITION_NOT_FOUND, Problem, ProblemBody, UNSUPPORTED_MEDIA_TYPE};
use crate::request_id::RequestId;
use crate::traceparent::TraceParent;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProduceQuery {
    /// Who must have a record before it counts as stored: all in-sync replicas, the leader, nobody.
    #[serde(default)]
    #[param(inline)]
    acks: AcksParameter,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum AcksParameter {
    #[default]
    #[serde(rename = "all")]
    All,
    #[serde(rename = "1")]
    Leader,
    #[serde(rename = "0")]
    None,
}

impl From<AcksParameter> for Acks {
    fn from(acks: AcksParameter) -> Acks {
        match acks {
            AcksParameter::All => Acks::All,
            AcksParameter::Leader => Acks::Leader,
            AcksParameter::None => Acks::None,
        }
    }
}

/// Where the records of one request go.
pub struct Target {
    pub topic: String,
    pub partitions: usize,
    pub producer: AsyncProducer,
    pub trace: Option<TraceParent>,
}

/// Store records
///
/// The Content-Type says how the records are framed: `application/json` is `{"records": […]}`, `application/x-ndjson` is a record
/// a line and is answered with a summary, anything else is one record whose value is the body and whose key and headers are in
/// `Record-Key`, `Record-Partition`, `Record-Timestamp` and `Record-Header-*`. 200 when all are stored, 207 when some are, an
/// error when none is; one result per record, in their order.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/records",
    tag = "Records",
    operation_id = "produceRecords",
    params(("topic" = String, Path), ProduceQuery),
    request_body(content(
        (ProduceRequest = "application/json"),
        (String = "application/x-ndjson"),
        (String = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "All are stored", content(
            (ProduceResponse = "application/json"),
        )),
        (status = 207, description = "Some are stored", body = ProduceResponse),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A record is not right; none was sent", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn produce(
    State(gateway): State<Gateway>,
    Segment(topic): Segment,
    Query(query): Query<ProduceQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let media = request::media_type(request.headers());
    if let Some(media) = media
        .as_deref()
        .filter(|media| media.starts_with("application/vnd.kafka."))
    {
        let detail = format!(
            "{media} is the envelope of another proxy; send application/json with {{\"records\": […]}}"
        );
        return Err(Problem::new(UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let (parts, body) = request.into_parts();
    let target = target(&gateway, topic, query, &parts.extensions).await?;
    let id = parts.extensions.get::<RequestId>();
    match media.as_deref() {
        Some("application/x-ndjson") => produce_stream::produce(target, body, id).await,
        Some("application/json") => {
            let body = request::read_whole(&parts.headers, body).await?;
            let outcomes = produce_document(&target, &body).await?;
            Ok(outcome::respond(&outcomes, id))
        }
        _ => {
            let body = request::read_whole(&parts.headers, body).await?;
            let outcomes = produce_bare(&target, &parts.headers, &body).await?;
            Ok(outcome::respond(&outcomes, id))
        }
    }
}

async fn target(
    gateway: &Gateway,
    topic: String,
    query: ProduceQuery,
    extensions: &axum::http::Extensions,
) -> Result<Target, Problem> {
    let backend = gateway.backends().primary();
    let known = topic_of(backend, &topic).await?;
    Ok(Target {
        partitions: known.partitions.len(),
        producer: backend.producer_with(query.acks.into())?,
        trace: extensions.get::<TraceParent>().copied(),
        topic,
    })
}

async fn produce_document(target: &Target, body: &Bytes) -> Result<Vec<Outcome>, Problem> {
    let mut records = incoming::parse_document(body)?;
    let wrong = target.prepare(&mut records);
    let sent = target.send(&records);
    drop(records);
    Ok(merge(outcome::of_client(sent.await), wrong))
}

async fn produce_bare(
    target: &Target,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Vec<Outcome>, Problem> {
    let mut records = vec![incoming::bare(headers, body)?];
    let wrong = target.prepare(&mut records);
    let sent = target.send(&records);
    drop(records);
    Ok(merge(outcome::of_client(sent.await), wrong))
}

/// Records that are not sent: their places and why.
type Wrong = Vec<(usize, Problem)>;

impl Target {
    /// Takes out the records for partitions that are not there, and carries on the trace.
    pub fn prepare(&self, records: &mut Vec<Incoming<'_>>) -> Wrong {
        let mut wrong = Wrong::new();
        let mut index = 0;
        records.retain_mut(|record| {
            record.carry_on(self.trace);
            let refusal = record
                .partition
                .and_then(|partition| self.refusal(partition));
            let is_right = refusal.is_none();
            wrong.extend(refusal.map(|problem| (index, problem)));
            index += 1;
            is_right
        });
        wrong
    }

    fn refusal(&self, partition: i32) -> Option<Problem> {
        let is_there = usize::try_from(partition).is_ok_and(|index| index < self.partitions);
        (!is_there).then(|| {
            let detail = format!(
                "{} has no partition {partition}; it has {}, from 0",
                self.topic, self.partitions
            );
            Problem::new(PARTITION_NOT_FOUND, detail)
        })
    }

    /// Hands all records over, in order.
    pub fn send(&self, records: &[Incoming<'_>]) -> client::Acknowledgements {
        let outgoing: Vec<_> = records
            .iter()
            .map(|record| record.outgoing(&self.topic))
            .collect();
        self.producer.send_many(&outgoing)
    }
}

/// The outcomes of all records, in their order, with those that were not sent at their places.
pub fn merge(sent: Vec<Outcome>, wrong: Wrong) -> Vec<Outcome> {
    if wrong.is_empty() {
        return sent;
    }
    let mut outcomes = sent;
    for (index, problem) in wrong {
        // Places ascend, so each insertion finds everything before it in place.
        outcomes.insert(index.min(outcomes.len()), Err(problem));
    }
    outcomes
}
