//! The access log: one line per request with method, path, status, time and request id.
//!
//! Level debug, so that nothing is written for it unless asked for (`--log gateway::access_log=debug`); level warn when the fault is
//! not the client's. The query is left out, since filters may quote what is in records; payloads never get here.

use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;

use crate::problem::Problem;

/// What a line says of the request; kept while it is answered.
pub struct Line {
    method: Method,
    path: String,
}

impl Line {
    pub fn of(request: &Request) -> Line {
        Line {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        }
    }

    /// Writes the line; a stream is answered when it begins.
    pub fn write(self, answer: &Response, problem: Option<&Problem>, id: &str, took: Duration) {
        let (method, path, status) = (self.method, self.path, answer.status().as_u16());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match problem {
            Some(problem) if status >= 500 => {
                let detail = &problem.detail;
                tracing::warn!(%method, path, status, took_us, request_id = id, detail, "answered with a failure");
            }
            _ => tracing::debug!(%method, path, status, took_us, request_id = id, "answered"),
        }
    }
}
