//! What became of the records of a produce request, as JSON: `{"results":[{"partition":0,"offset":7,"timestamp":"…"}, …]}`.
//!
//! Written by hand, since a batch of five hundred is answered several hundred times a second; a time that repeats is formatted once.
//! 200 when all are stored, 207 when some are, otherwise a problem; always one result per record, in their order.

use std::io::Write;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::{Acknowledged, ClientError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::idempotency::MayHaveHappened;
use crate::problem::{self, Problem, ProblemBody};
use crate::request_id::RequestId;
use client::time::rfc3339;

/// What became of one record.
pub type Outcome = Result<Acknowledged, Problem>;

/// One result per record, in their order.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what respond writes")]
pub struct ProduceResponse {
    results: Vec<ProduceResult>,
}

/// Where a record is stored, or why it is not.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what respond writes")]
pub struct ProduceResult {
    partition: Option<i32>,
    /// Absent with `acks=0`.
    offset: Option<i64>,
    timestamp: Option<String>,
    error: Option<ProblemBody>,
}

/// What the cluster told, as outcomes.
pub fn of_client(outcomes: Vec<Result<Acknowledged, ClientError>>) -> Vec<Outcome> {
    let problem = |error: ClientError| Problem::from(error);
    outcomes
        .into_iter()
        .map(|outcome| outcome.map_err(problem))
        .collect()
}

/// The answer to a produce request.
pub fn respond(outcomes: &[Outcome], id: Option<&RequestId>) -> Response {
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let first_error = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
    match first_error {
        Some(error) if stored == 0 => none_stored(outcomes, error, id),
        Some(_) => json(StatusCode::MULTI_STATUS, results(outcomes)),
        None => json(StatusCode::OK, results(outcomes)),
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let media = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, media)], body).into_response()
}

fn results(outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + outcomes.len() * 80);
    out.extend_from_slice(b"{\"results\":");
    write_results(&mut out, outcomes);
    out.push(b'}');
    out
}

fn write_results(out: &mut Vec<u8>, outcomes: &[Outcome]) {
    let mut time = TimeWriter::default();
    out.push(b'[');
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match outcome {
            Ok(acknowledged) => write_stored(out, acknowledged, &mut time),
            Err(problem) => write_error(out, problem),
        }
    }
    out.push(b']');
}

fn write_stored(out: &mut Vec<u8>, stored: &Acknowledged, time: &mut TimeWriter) {
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"partition\":{}", stored.partition);
    if stored.offset >= 0 {
        let _ = write!(out, ",\"offset\":{}", stored.offset);
    }
    if let Some(text) = time.text(stored.timestamp_ms) {
        let _ = write!(out, ",\"timestamp\":\"{text}\"");
    }
    out.push(b'}');
}

fn write_error(out: &mut Vec<u8>, problem: &Problem) {
    out.extend_from_slice(b"{\"error\":");
    serde_json::to_writer(&mut *out, &problem.body()).expect("a problem is plain JSON");
    out.push(b'}');
}

/// A problem with the results beside it, as RFC 9457 allows.
fn none_stored(outcomes: &[Outcome], first: &Problem, id: Option<&RequestId>) -> Response {
    #[derive(Serialize)]
    struct Beside {
        results: Vec<Failed>,
    }
    #[derive(Serialize)]
    struct Failed {
        error: ProblemBody,
    }
    let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let may_have_happened = errors.clone().any(|error| error.may_have_happened);
    let results = errors.map(|error| Failed {
        error: error.body(),
    });
    let beside = Beside {
        results: results.collect(),
    };
    let problem = Problem {
        may_have_happened,
        ..first.clone()
    };
    problem_beside(&problem, &beside, id)
}

/// An error answer with more members than a problem has, which are those of `beside`.
pub fn problem_beside(
    problem: &Problem,
    beside: &impl Serialize,
    id: Option<&RequestId>,
) -> Response {
    #[derive(Serialize)]
    struct Body<'a, T> {
        #[serde(flatten)]
        problem: ProblemBody,
        #[serde(flatten)]
        beside: &'a T,
    }
    let body = Body {
        problem: ProblemBody {
            request_id: id.map(|id| id.as_str().to_owned()),
            ..problem.body()
        },
        beside,
    };
    let body = serde_json::to_vec(&body).expect("a problem is plain JSON");
    let media = HeaderValue::from_static(problem::MEDIA_TYPE);
    let mut response = problem.clone().into_response();
    // The problem itself would be written again by the outer layer, without what stands beside it.
    response.extensions_mut().remove::<Problem>();
    if problem.may_have_happened {
        response.extensions_mut().insert(MayHaveHappened);
    }
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    *response.body_mut() = body.into();
    response
}

/// RFC 3339 in UTC with milliseconds; the last one is remembered, since records of a batch mostly share theirs.
#[derive(Default)]
pub struct TimeWriter {
    ms: i64,
    text: Option<String>,
}

impl TimeWriter {
    /// Nothing for -1, which stands for no time.
    pub fn text(&mut self, ms: i64) -> Option<&str> {
        if self.text.is_none() || self.ms != ms {
            self.ms = ms;
            self.text = (ms >= 0).then(|| rfc3339(ms)).flatten();
        }
        self.text.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::UNAVAILABLE;

    fn stored(offset: i64, timestamp_ms: i64) -> Outcome {
        Ok(Acknowledged {
            partition: 1,
            offset,
            timestamp_ms,
        })
    }

    fn failed() -> Outcome {
        Err(Problem::new(UNAVAILABLE, "no broker answers"))
    }

    #[test]
    fn all_some_and_none_stored_have_their_status() {
        for (outcomes, status) in [
            (vec![stored(1, 0), stored(2, 0)], 200),
            (vec![stored(1, 0), failed()], 207),
            (vec![failed(), failed()], 503),
        ] {
            assert_eq!(respond(&outcomes, None).status().as_u16(), status);
        }
    }

    #[test]
    fn results_are_in_order_and_errors_are_problems() {
        let text =
            String::from_utf8(results(&[stored(7, 1), failed(), stored(-1, -1)])).expect("text");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let first =
            r#"{"results":[{"partition":1,"offset":7,"timestamp":"1970-01-01T00:00:00.001Z"},"#;
        assert!(text.starts_with(first), "{text}");
        assert_eq!(json["results"][1]["error"]["code"], "unavailable");
        assert_eq!(json["results"][2], serde_json::json!({"partition": 1}));
    }
}
