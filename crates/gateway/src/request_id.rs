//! Every request has an id: the client's `X-Request-Id`, or one made here. It is in the answer, in every problem, in the log.
//!
//! The outermost layer of [`crate::Gateway::router`]. It also carries on a `traceparent`, and has the access log written.

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::traceparent::{self, TraceParent};
use crate::{access_log, clock, entropy};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static(traceparent::NAME);
/// Longer ones from a client are replaced: they end up in logs.
const MAX_ID_LENGTH: usize = 128;

/// The id of the request under way, among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub HeaderValue);

impl RequestId {
    fn of(headers: &HeaderMap) -> RequestId {
        let given = headers.get(REQUEST_ID).filter(|id| is_plain(id));
        RequestId(given.cloned().unwrap_or_else(|| {
            let id = entropy::uuid_v7(clock::now()).to_string();
            HeaderValue::from_str(&id).expect("a uuid is plain text")
        }))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Only what can stand in a log line and in a shell without quotes.
fn is_plain(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_ID_LENGTH).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

/// The layer.
pub async fn identify(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let trace = trace_of(request.headers());
    if let Some(trace) = trace {
        request.extensions_mut().insert(trace);
    }
    request.extensions_mut().insert(id.clone());
    let line = access_log::Line::of(&request);
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        name_the_request(&mut response, problem, &id);
    }
    line.write(&response, problem.as_ref(), id.as_str(), started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.0);
    if let Some(trace) = trace.and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok()) {
        headers.insert(TRACEPARENT, trace);
    }
    response
}

fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    Some(TraceParent::parse(text)?.with_span(entropy::bytes()))
}

/// Writes a problem's body again, with the request's id in it.
fn name_the_request(response: &mut Response, problem: &Problem, id: &RequestId) {
    let mut body = problem.body();
    body.request_id = Some(id.as_str().to_owned());
    let body = serde_json::to_vec(&body).expect("a problem is plain JSON");
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(given: &str) -> String {
        let mut headers = HeaderMap::new();
        let given = HeaderValue::from_str(given).expect("a legal header");
        headers.insert(REQUEST_ID, given);
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_plain_id_is_kept_and_any_other_is_replaced() {
        assert_eq!(id_of("order-7/retry.2"), "order-7/retry.2");
        for given in ["", "a b", "x\"y", &"x".repeat(129)] {
            assert_eq!(id_of(given).len(), 36, "{given}");
        }
    }
}
