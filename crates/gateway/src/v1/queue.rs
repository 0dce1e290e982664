//! Work queues: `POST /v1/groups/{group}/pull`, `…/ack`, `…/nack`, `…/extend`.
//!
//! A pull leases messages to the client for a time. Acknowledged, they are done with; refused, or when the time is over, they go to
//! whoever pulls next, and after some attempts to the dead letters. Every group gets every message; within a group each goes to one
//! client at a time. What the leases are made of is said in each answer: `share-group` or `group-offsets`.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::Record;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::leases::{HandedOut, LeaseId, later};
use super::outgoing::{Decode, Origin, RecordWriter};
use super::queue_kind::{LeaseKind, choose};
use super::queue_letters::MOST_REASON_BYTES;
use super::queue_members::{AckId, Member, Purpose, Queues};
use super::queue_terms::{Ask, DEFAULT_LEASE, Settled};
use super::request::{Json, Segment};
use super::topic_of;
use crate::problem::{LEASE_LOST, Problem, ProblemBody};
use crate::{Gateway, clock};

const DEFAULT_MAX: usize = 100;
const MOST_MAX: usize = 1_000;
const MOST_TOPICS: usize = 100;
const MOST_GROUP_BYTES: usize = 255;
const MOST_WAIT_MS: u64 = 60_000;
/// Twelve hours.
const MOST_LEASE_MS: u64 = 12 * 60 * 60 * 1000;
const DEFAULT_ATTEMPTS: u32 = 5;
const MOST_ATTEMPTS: u32 = 1_000;

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(pull))
        .routes(routes!(ack))
        .routes(routes!(nack))
        .routes(routes!(extend))
}

/// Which messages, and how they are leased.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// The topics to read, all of which must exist.
    #[schema(min_items = 1, max_items = 100)]
    topics: Vec<String>,
    /// At most so many messages.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    max: Option<usize>,
    /// How long to wait for the first one; 0 when absent. The first pull of a group waits longer if it must, to join the group.
    #[schema(minimum = 0, maximum = 60000, default = 0)]
    wait_ms: Option<u64>,
    /// How long the messages are this client's; on a share group at most as long as it locks its records.
    #[schema(minimum = 1, maximum = 43200000, default = 30000)]
    lease_ms: Option<u64>,
    /// A message that was delivered so often to no avail becomes a dead letter.
    #[schema(minimum = 1, maximum = 1000, default = 5)]
    max_attempts: Option<u32>,
    /// What the leases are to be made of; by default the best that the cluster and the group have.
    leases: Option<LeaseKind>,
}

/// Messages that are leased to the client.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what write_messages writes")]
pub struct PullResponse {
    leases: LeaseKind,
    messages: Vec<Message>,
}

/// A record with its lease.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what write_messages writes")]
pub struct Message {
    /// Names the lease in `ack`, `nack` and `extend`.
    ack_id: String,
    /// 1 for the first delivery.
    attempt: u32,
    lease_until: String,
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    /// The value as it is stored, when it is JSON; null for a tombstone.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<()>,
    value_text: Option<String>,
    value_base64: Option<String>,
    headers: Option<Vec<super::outgoing::HeaderBody>>,
}

/// Take messages from a work queue
///
/// They are this client's until `lease_until`. An empty list after `wait_ms` means that there was nothing.
#[utoipa::path(
    post,
    path = "/v1/groups/{group}/pull",
    tag = "Groups",
    operation_id = "pullMessages",
    params(("group" = String, Path)),
    request_body = PullRequest,
    responses(
        (status = 200, description = "Leased messages", body = PullResponse),
        (status = 404, description = "One of the topics does not exist", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many messages are out", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn pull(
    State(gateway): State<Gateway>,
    Segment(group): Segment,
    Json(request): Json<PullRequest>,
) -> Result<Response, Problem> {
    let ask = check_pull(&request)?;
    check_group(&group)?;
    let backend = gateway.backends().primary();
    let topics: BTreeSet<String> = request.topics.into_iter().collect();
    for topic in &topics {
        topic_of(backend, topic).await?;
    }
    let queues = gateway.queues();
    let purpose = Purpose {
        leases: choose(queues, backend, &group, request.leases).await?,
        group,
        topics: topics.into_iter().collect(),
    };
    let member = queues.member(&gateway, &purpose).await?;
    let pulled = tokio::select! {
        pulled = member.queue.pull(&ask) => pulled?,
        () = gateway.stopping() => Vec::new(),
    };
    Ok(json(StatusCode::OK, messages(queues, &member, &pulled)))
}

/// Kafka takes any text; clients written in C do not.
fn check_group(group: &str) -> Result<(), Problem> {
    match group.len() <= MOST_GROUP_BYTES && !group.chars().any(char::is_control) {
        true => Ok(()),
        false => {
            let detail = format!(
                "a group's name has at most {MOST_GROUP_BYTES} bytes and no control characters"
            );
            Err(Problem::invalid("group", detail))
        }
    }
}

fn check_pull(request: &PullRequest) -> Result<Ask, Problem> {
    if request.topics.is_empty() || request.topics.len() > MOST_TOPICS {
        return Err(Problem::invalid(
            "/topics",
            format!("1 to {MOST_TOPICS} topics"),
        ));
    }
    let max = request.max.unwrap_or(DEFAULT_MAX);
    if !(1..=MOST_MAX).contains(&max) {
        return Err(Problem::invalid(
            "/max",
            format!("1 to {MOST_MAX} messages"),
        ));
    }
    let wait_ms = request.wait_ms.unwrap_or(0);
    if wait_ms > MOST_WAIT_MS {
        return Err(Problem::invalid(
            "/wait_ms",
            format!("0 to {MOST_WAIT_MS} ms"),
        ));
    }
    let most_attempts = request.max_attempts.unwrap_or(DEFAULT_ATTEMPTS);
    if !(1..=MOST_ATTEMPTS).contains(&most_attempts) {
        return Err(Problem::invalid(
            "/max_attempts",
            format!("1 to {MOST_ATTEMPTS} attempts"),
        ));
    }
    Ok(Ask {
        max,
        wait: Duration::from_millis(wait_ms),
        lease: check_lease(request.lease_ms)?,
        most_attempts,
    })
}

fn check_lease(lease_ms: Option<u64>) -> Result<Option<Duration>, Problem> {
    match lease_ms.is_none_or(|ms| (1..=MOST_LEASE_MS).contains(&ms)) {
        true => Ok(lease_ms.map(Duration::from_millis)),
        false => Err(Problem::invalid(
            "/lease_ms",
            format!("1 to {MOST_LEASE_MS} ms"),
        )),
    }
}

/// `{"leases":"…","messages":[{"ack_id":"…","attempt":1,"lease_until":"…","topic":"…", …}]}`.
fn messages(queues: &Queues, member: &Member, pulled: &[HandedOut<Record>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + pulled.len() * 256);
    let mut writer = RecordWriter::default();
    let mut record = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "{{\"leases\":\"{}\",\"messages\":[",
        member.purpose.leases.name()
    );
    for (index, message) in pulled.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let id = queues.ack_id(member, message.lease);
        let (attempt, until) = (message.attempt, message.until);
        let _ = write!(
            out,
            "{comma}{{\"ack_id\":\"{id}\",\"attempt\":{attempt},\"lease_until\":\"{until:.3}\","
        );
        record.clear();
        let place = Origin {
            topic: Some(&message.spot.topic),
            partition: message.spot.partition,
        };
        writer.write(&mut record, place, &message.record, Decode::Auto);
        out.extend_from_slice(&record[1..]);
    }
    out.extend_from_slice(b"]}");
    out
}

/// Leases by their ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    #[schema(min_items = 1, max_items = 1000)]
    ack_ids: Vec<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NackRequest {
    #[schema(min_items = 1, max_items = 1000)]
    ack_ids: Vec<String>,
    /// How long nobody shall get the messages; 0 when absent.
    #[schema(minimum = 0, maximum = 43200000, default = 0)]
    delay_ms: Option<u64>,
    /// Why, for the dead letter that it may become.
    #[schema(max_length = 4096)]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    #[schema(min_items = 1, max_items = 1000)]
    ack_ids: Vec<String>,
    /// How long from now on the messages are this client's.
    #[schema(minimum = 1, maximum = 43200000, default = 30000)]
    lease_ms: Option<u64>,
}

/// One result per lease, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettleResponse {
    results: Vec<SettleResult>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SettleResult {
    ack_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProblemBody>,
}

/// Messages are done with
///
/// 200 when all are, 207 when some are, 409 when the leases of all are over.
#[utoipa::path(
    post,
    path = "/v1/groups/{group}/ack",
    tag = "Groups",
    operation_id = "acknowledgeMessages",
    params(("group" = String, Path)),
    request_body = AckRequest,
    responses(
        (status = 200, description = "All are done with", body = SettleResponse),
        (status = 207, description = "Some are", body = SettleResponse),
        (status = 409, description = "The leases are over", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn ack(
    State(gateway): State<Gateway>,
    Segment(group): Segment,
    Json(request): Json<AckRequest>,
) -> Result<Response, Problem> {
    let by_member = sort(gateway.queues(), &group, &request.ack_ids)?;
    let now = clock::now();
    let mut settled = lost(&request.ack_ids);
    for part in by_member {
        let outcomes = part.member.queue.acknowledge(now, &part.leases).await;
        part.place(outcomes, &mut settled);
    }
    answer(&request.ack_ids, settled, None)
}

/// Messages could not be worked on
///
/// They come back after `delay_ms`, or go to the dead letters when this was the last attempt.
#[utoipa::path(
    post,
    path = "/v1/groups/{group}/nack",
    tag = "Groups",
    operation_id = "refuseMessages",
    params(("group" = String, Path)),
    request_body = NackRequest,
    responses(
        (status = 200, description = "All will come back", body = SettleResponse),
        (status = 207, description = "Some will", body = SettleResponse),
        (status = 409, description = "The leases are over", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn nack(
    State(gateway): State<Gateway>,
    Segment(group): Segment,
    Json(request): Json<NackRequest>,
) -> Result<Response, Problem> {
    let delay_ms = request.delay_ms.unwrap_or(0);
    if delay_ms > MOST_LEASE_MS {
        return Err(Problem::invalid(
            "/delay_ms",
            format!("0 to {MOST_LEASE_MS} ms"),
        ));
    }
    let reason = request.reason.unwrap_or_default();
    if reason.len() > MOST_REASON_BYTES {
        return Err(Problem::invalid(
            "/reason",
            format!("at most {MOST_REASON_BYTES} bytes"),
        ));
    }
    let by_member = sort(gateway.queues(), &group, &request.ack_ids)?;
    let (now, delay) = (clock::now(), Duration::from_millis(delay_ms));
    let mut settled = lost(&request.ack_ids);
    for part in by_member {
        let outcomes = part
            .member
            .queue
            .refuse(now, &part.leases, delay, &reason)
            .await?;
        part.member.work.notify_one();
        part.place(outcomes, &mut settled);
    }
    answer(&request.ack_ids, settled, None)
}

/// Keep messages longer
#[utoipa::path(
    post,
    path = "/v1/groups/{group}/extend",
    tag = "Groups",
    operation_id = "extendLeases",
    params(("group" = String, Path)),
    request_body = ExtendRequest,
    responses(
        (status = 200, description = "All leases hold until `lease_until`", body = SettleResponse),
        (status = 207, description = "Some do", body = SettleResponse),
        (status = 409, description = "The leases are over", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn extend(
    State(gateway): State<Gateway>,
    Segment(group): Segment,
    Json(request): Json<ExtendRequest>,
) -> Result<Response, Problem> {
    let lease = check_lease(request.lease_ms)?;
    let by_member = sort(gateway.queues(), &group, &request.ack_ids)?;
    let now = clock::now();
    let until = later(now, lease.unwrap_or(DEFAULT_LEASE));
    let mut settled = lost(&request.ack_ids);
    for part in by_member {
        let outcomes = part.member.queue.extend(now, &part.leases, until).await?;
        part.place(outcomes, &mut settled);
    }
    answer(&request.ack_ids, settled, Some(until))
}

/// The leases of a request that one member gave.
struct Part {
    member: Arc<Member>,
    leases: Vec<LeaseId>,
    /// Where they are in the request.
    places: Vec<usize>,
}

impl Part {
    fn place(&self, outcomes: Vec<Settled>, settled: &mut [Settled]) {
        for (place, outcome) in self.places.iter().zip(outcomes) {
            settled[*place] = outcome;
        }
    }
}

/// Finds who gave each lease; those that nobody here gave are in no part.
fn sort(queues: &Queues, group: &str, ids: &[String]) -> Result<Vec<Part>, Problem> {
    if ids.is_empty() || ids.len() > MOST_MAX {
        return Err(Problem::invalid("/ack_ids", format!("1 to {MOST_MAX} ids")));
    }
    let mut parts: HashMap<*const Member, Part> = HashMap::new();
    for (place, text) in ids.iter().enumerate() {
        let Some(id) = AckId::parse(text) else {
            let detail = format!("`{text}` is no ack_id; send it as pull gave it");
            return Err(Problem::invalid(format!("/ack_ids/{place}"), detail));
        };
        let Some(member) = queues.owner(group, id) else {
            continue;
        };
        let part = parts.entry(Arc::as_ptr(&member)).or_insert_with(|| Part {
            member,
            leases: Vec::new(),
            places: Vec::new(),
        });
        part.leases.push(id.lease);
        part.places.push(place);
    }
    Ok(parts.into_values().collect())
}

fn lost(ids: &[String]) -> Vec<Settled> {
    vec![Settled::Lost; ids.len()]
}

/// 200 when all are settled, 207 when some are, else the first problem.
fn answer(
    ids: &[String],
    settled: Vec<Settled>,
    until: Option<Timestamp>,
) -> Result<Response, Problem> {
    let problems: Vec<Option<Problem>> = ids
        .iter()
        .zip(settled)
        .map(|(id, settled)| problem(id, settled))
        .collect();
    let failed = problems.iter().flatten().count();
    if let Some(first) = problems
        .iter()
        .flatten()
        .next()
        .filter(|_| failed == ids.len())
    {
        return Err(first.clone());
    }
    let results = ids.iter().zip(&problems).map(|(id, problem)| SettleResult {
        ack_id: id.clone(),
        lease_until: until
            .filter(|_| problem.is_none())
            .map(|until| format!("{until:.3}")),
        error: problem.as_ref().map(Problem::body),
    });
    let body = SettleResponse {
        results: results.collect(),
    };
    let status = match failed {
        0 => StatusCode::OK,
        _ => StatusCode::MULTI_STATUS,
    };
    let body = serde_json::to_vec(&body).expect("text and numbers are JSON");
    Ok(json(status, body))
}

fn problem(id: &str, settled: Settled) -> Option<Problem> {
    match settled {
        Settled::Done => None,
        Settled::Failed(problem) => Some(problem),
        Settled::Lost => {
            let detail = format!(
                "the lease {id} is over, or another process gave it: the message is or was delivered again; \
                 extend leases in time, and send each ack to the server that the message came from"
            );
            Some(Problem::new(LEASE_LOST, detail))
        }
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let media = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, media)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_is_200_when_all_are_207_when_some_are_and_else_the_problem() {
        let ids: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let status = |settled: [Settled; 2]| match answer(&ids, settled.to_vec(), None) {
            Ok(response) => response.status().as_u16(),
            Err(problem) => problem.kind.status,
        };
        assert_eq!(status([Settled::Done, Settled::Done]), 200);
        assert_eq!(status([Settled::Done, Settled::Lost]), 207);
        assert_eq!(status([Settled::Lost, Settled::Lost]), 409);
    }

    #[test]
    fn a_pull_without_numbers_has_the_documented_ones() {
        let request: PullRequest = serde_json::from_str(r#"{"topics":["t"]}"#).expect("a request");
        let ask = check_pull(&request).expect("it is right");
        assert_eq!((ask.max, ask.wait, ask.lease), (100, Duration::ZERO, None));
        assert_eq!(ask.most_attempts, 5);
        assert!(check_group("orders").is_ok());
        assert!(check_group("a\0b").is_err());
        assert!(check_group(&"x".repeat(256)).is_err());
    }
}
