//! `POST /v1/topics/{topic}:truncate`: deletes records from the beginning of a topic, for good.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use client::delete_records::UP_TO_THE_HIGH_WATERMARK;
use client::offsets::OffsetQuery;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::request::{Json, Segment};
use super::topics::fresh_topic;
use crate::Gateway;
use crate::problem::{METHOD_NOT_ALLOWED, NOT_FOUND, Problem, ProblemBody};

const ACTION: &str = "truncate";

#[derive(OpenApi)]
#[openapi(paths(truncate))]
struct Described;

/// The router matches whole segments only, so the action is told apart from the topic's name in the handler.
pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Described::openapi()).route("/v1/topics/{topic}", post(act))
}

async fn act(
    gateway: State<Gateway>,
    Segment(segment): Segment,
    body: Result<Option<Json<Truncation>>, Problem>,
) -> Result<Response, Problem> {
    match segment.split_once(':') {
        Some((topic, ACTION)) => truncate(gateway, Segment(topic.to_owned()), body).await,
        Some((_, action)) => {
            let detail = format!("a topic has no action `{action}`; there is {ACTION}");
            Err(Problem::new(NOT_FOUND, detail))
        }
        None => {
            let detail = "a topic takes GET, PATCH and DELETE; records are posted to …/records";
            let problem = Problem::new(METHOD_NOT_ALLOWED, detail);
            let allow = HeaderValue::from_static("GET,HEAD,PATCH,DELETE");
            Ok(([(header::ALLOW, allow)], problem).into_response())
        }
    }
}

/// What to delete; everything when empty.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Truncation {
    /// The partitions to truncate; all when absent.
    partitions: Option<Vec<PartitionTruncation>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionTruncation {
    partition: i32,
    /// The first offset to keep; everything is deleted when absent.
    #[schema(minimum = 0)]
    before_offset: Option<i64>,
}

/// Where partitions begin now.
#[derive(Debug, Serialize, ToSchema)]
pub struct TruncationResult {
    partitions: Vec<TruncatedPartition>,
}

/// Where a partition begins, or why it was not truncated.
#[derive(Debug, Serialize, ToSchema)]
pub struct TruncatedPartition {
    partition: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProblemBody>,
}

/// Delete records from the beginning of a topic
///
/// For good, and for all readers. Without a body everything that is there now is deleted.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}:truncate",
    tag = "Topics",
    operation_id = "truncateTopic",
    params(("topic" = String, Path)),
    request_body = Option<Truncation>,
    responses(
        (status = 200, description = "Where each partition begins now", body = TruncationResult),
        (status = 207, description = "Some could not be truncated", body = TruncationResult),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "There is no such offset", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn truncate(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
    body: Result<Option<Json<Truncation>>, Problem>,
) -> Result<Response, Problem> {
    let wanted = body?.map(|Json(body)| body).unwrap_or_default();
    let backend = gateway.backends().primary();
    fresh_topic(backend, &name).await?;
    let ends = backend.reader().offsets(&name, OffsetQuery::Latest).await?;
    let before = before(&name, wanted, &ends)?;
    let outcomes = backend.admin().await?.delete_records(&before).await?;
    let (mut partitions, mut problems) = (Vec::new(), Vec::new());
    for ((_, partition), outcome) in outcomes {
        let (start_offset, error) = match outcome {
            Ok(start) => (Some(start), None),
            Err(error) => {
                let problem = Problem::from(error);
                let body = problem.body();
                problems.push(problem);
                (None, Some(body))
            }
        };
        partitions.push(TruncatedPartition {
            partition,
            start_offset,
            error,
        });
    }
    let status = match problems.pop() {
        Some(problem) if problems.len() + 1 == partitions.len() => return Err(problem),
        Some(_) => StatusCode::MULTI_STATUS,
        None => StatusCode::OK,
    };
    Ok((status, JsonAnswer(TruncationResult { partitions })).into_response())
}

/// The offset before which each partition loses its records.
fn before(
    topic: &str,
    wanted: Truncation,
    ends: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<(String, i32), i64>, Problem> {
    let Some(partitions) = wanted.partitions else {
        let everything = ends
            .keys()
            .map(|partition| ((topic.to_owned(), *partition), UP_TO_THE_HIGH_WATERMARK));
        return Ok(everything.collect());
    };
    let mut before = BTreeMap::new();
    for (index, wanted) in partitions.into_iter().enumerate() {
        let wrong =
            |field: &str, detail| Problem::invalid(format!("/partitions/{index}{field}"), detail);
        let Some(end) = ends.get(&wanted.partition) else {
            let detail = format!("{topic} has no partition {}", wanted.partition);
            return Err(wrong("/partition", detail));
        };
        let offset = wanted.before_offset.unwrap_or(UP_TO_THE_HIGH_WATERMARK);
        if wanted
            .before_offset
            .is_some_and(|offset| !(0..=*end).contains(&offset))
        {
            return Err(wrong(
                "/before_offset",
                format!("0 to {end}, the offset after the last record"),
            ));
        }
        if before
            .insert((topic.to_owned(), wanted.partition), offset)
            .is_some()
        {
            return Err(wrong("/partition", "named twice".to_owned()));
        }
    }
    match before.is_empty() {
        true => Err(Problem::invalid(
            "/partitions",
            "none is named; leave it out for all",
        )),
        false => Ok(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Vec<(i32, i64)>, String> {
        let wanted = serde_json::from_str(json).expect("the shape is right");
        let ends = BTreeMap::from([(0, 10), (1, 0)]);
        let before =
            before("t", wanted, &ends).map_err(|problem| problem.errors[0].pointer.clone())?;
        Ok(before
            .into_iter()
            .map(|((_, partition), offset)| (partition, offset))
            .collect())
    }

    #[test]
    fn all_partitions_or_those_that_are_named_are_truncated() {
        assert_eq!(of("{}"), Ok(vec![(0, -1), (1, -1)]));
        assert_eq!(
            of(r#"{"partitions":[{"partition":0,"before_offset":7}]}"#),
            Ok(vec![(0, 7)])
        );
        assert_eq!(of(r#"{"partitions":[{"partition":1}]}"#), Ok(vec![(1, -1)]));
    }

    #[test]
    fn what_is_not_there_cannot_be_truncated() {
        for (json, pointer) in [
            (r#"{"partitions":[]}"#, "/partitions"),
            (
                r#"{"partitions":[{"partition":2}]}"#,
                "/partitions/0/partition",
            ),
            (
                r#"{"partitions":[{"partition":0},{"partition":0}]}"#,
                "/partitions/1/partition",
            ),
            (
                r#"{"partitions":[{"partition":0,"before_offset":11}]}"#,
                "/partitions/0/before_offset",
            ),
            (
                r#"{"partitions":[{"partition":0,"before_offset":-1}]}"#,
                "/partitions/0/before_offset",
            ),
        ] {
            assert_eq!(of(json), Err(pointer.to_owned()), "{json}");
        }
    }
}
