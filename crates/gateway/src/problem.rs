//! What went wrong, as RFC 9457 `application/problem+json`: one catalogue of kinds, each with its status, title and page under
//! `/docs/errors/`.
//!
//! Every error answer of `/v1` is made here; the legacy `/api` has shapes of its own.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::{ClientError, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;
use wire::ErrorCode;

use crate::table::TableError;

/// The media type of every error answer.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One kind of problem; its `code` ends the `type` URL.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub code: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What to do, for the page that `type` leads to.
    pub advice: &'static str,
}

macro_rules! kinds {
    ($($name:ident $code:literal $status:literal $retryable:literal $title:literal $advice:literal)*) => {
        $(pub const $name: &Kind = &Kind { code: $code, status: $status, title: $title, retryable: $retryable, advice: $advice };)*
        /// Every kind, for the error pages and the reference.
        pub const KINDS: &[&Kind] = &[$($name),*];
    };
}

kinds! {
    BAD_REQUEST "bad-request" 400 false "The request cannot be read"
        "The body is not what its Content-Type says, or a parameter has no legal form; `detail` and `errors` say where."
    DENIED "denied" 403 false "The cluster does not allow this"
        "The credentials that Thalweg uses lack a permission on the Kafka cluster; grant it there."
    FOREIGN_PAGE "foreign-page" 403 false "A web page of another server may not do this"
        "Requests come from programs or from this server's own pages. A name of your own for this server is allowed by http_hosts; a page of another server needs a back end of its own."
    NOT_FOUND "not-found" 404 false "There is no such resource"
        "Check the path; /openapi.json lists every path that exists."
    TOPIC_NOT_FOUND "topic-not-found" 404 false "There is no such topic"
        "Create it with POST /v1/topics, or look at GET /v1/topics; names are case-sensitive."
    PARTITION_NOT_FOUND "partition-not-found" 404 false "The topic has no such partition"
        "Partitions count from 0; GET /v1/topics/{topic} tells how many there are."
    BROKER_NOT_FOUND "broker-not-found" 404 false "The cluster has no such broker"
        "GET /v1/brokers lists the brokers and their ids."
    GROUP_NOT_FOUND "group-not-found" 404 false "There is no such group"
        "A group appears when a consumer joins it; GET /v1/groups lists them."
    METHOD_NOT_ALLOWED "method-not-allowed" 405 false "This path does not take this method"
        "The Allow header of the answer names the methods."
    NOT_ACCEPTABLE "not-acceptable" 406 false "No representation that the client accepts"
        "Ask for application/json, or text/event-stream where a live stream is offered."
    REQUEST_TIMEOUT "request-timeout" 408 true "The request did not come in time"
        "Send the body without long pauses; nothing was done with what came."
    TOPIC_EXISTS "topic-exists" 409 false "The topic exists already"
        "Use another name, or PATCH the topic that is there."
    CONFLICT "conflict" 409 true "Something else is under way or was changed meanwhile"
        "Read the current state and decide again."
    LEASE_LOST "lease-lost" 409 false "The lease of this message is over"
        "It ended, or another process holds it: the message is or was delivered again. Extend leases in time, or take a longer one."
    PRECONDITION_FAILED "precondition-failed" 412 false "It was changed since it was read"
        "Fetch it again and send its new ETag in If-Match."
    TOO_LARGE "too-large" 413 false "The body or a record is larger than allowed"
        "Split it, or raise the topic's max.message.bytes."
    UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" 415 false "This Content-Type is not taken here"
        "Send application/json unless the path says otherwise."
    INVALID "invalid" 422 false "The request is well-formed and means nothing that can be done"
        "`errors` points at each field."
    IDEMPOTENCY_KEY_REUSED "idempotency-key-reused" 422 false "The Idempotency-Key was used for another request"
        "Use a new key for a new request; a key is kept for 24 hours."
    OUTCOME_UNKNOWN "outcome-unknown" 409 false "It is not known what became of the first request"
        "A request with this Idempotency-Key began and its answer is not known. Look at what is stored before sending it with a new key."
    TOO_MANY_REQUESTS "too-many-requests" 429 true "Too much is under way"
        "Wait as long as Retry-After says."
    INTERNAL "internal" 500 false "A fault of Thalweg"
        "Please report it with the request id."
    CLUSTER_ANSWER "cluster-answer" 502 true "The cluster answered with an error"
        "`detail` has Kafka's own words."
    UNAVAILABLE "unavailable" 503 true "The cluster cannot be reached or is not ready"
        "Check that it runs and that its address and credentials are right: thalweg doctor. Retry-After says when to try again."
    TIMED_OUT "timed-out" 504 true "The cluster took too long"
        "It may have been carried out: read the state before trying again, or use an Idempotency-Key."
}

/// A place in the request and what is wrong there; `pointer` is a JSON pointer, or the name of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    pub pointer: String,
    pub detail: String,
}

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    pub kind: &'static Kind,
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// Whether what was asked for may have been done all the same.
    pub may_have_happened: bool,
}

/// The body of an error answer, as the OpenAPI document describes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemBody {
    /// A URL of this server with an explanation.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub detail: String,
    /// The last part of `type`.
    pub code: &'static str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            may_have_happened: false,
        }
    }

    /// A well-formed request with one wrong field.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        let error = FieldError {
            pointer: pointer.into(),
            detail: detail.clone(),
        };
        Problem {
            errors: vec![error],
            ..Problem::new(INVALID, detail)
        }
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).expect("the catalogue has legal statuses")
    }

    /// The body; the request id is filled in on the way out (`request_id.rs`).
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: format!("/docs/errors/{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status,
            detail: self.detail.clone(),
            code: self.kind.code,
            retryable: self.kind.retryable,
            request_id: None,
            errors: self.errors.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).expect("a problem is plain JSON");
        let media = HeaderValue::from_static(MEDIA_TYPE);
        let mut response = (self.status(), [(header::CONTENT_TYPE, media)], body).into_response();
        if matches!(self.kind.status, 429 | 503) {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        // Whoever logs requests, or puts the request id in, finds the problem here.
        response.extensions_mut().insert(self);
        response
    }
}

/// What a cluster's error means to an HTTP client.
impl From<&ClientError> for Problem {
    fn from(error: &ClientError) -> Problem {
        let kind = match error {
            ClientError::Refused { code, .. } => kind_of(*code),
            ClientError::Unreachable { .. } => UNAVAILABLE,
            ClientError::TimedOut { .. } => TIMED_OUT,
            _ => match error.kind() {
                ErrorKind::Denied => DENIED,
                ErrorKind::Busy => TOO_MANY_REQUESTS,
                _ => CLUSTER_ANSWER,
            },
        };
        Problem {
            may_have_happened: error.may_have_happened(),
            ..Problem::new(kind, error.to_string())
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Problem {
        Problem::from(&error)
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Problem {
        match error {
            TableError::Client(error) => Problem::from(error),
            TableError::Full { .. } | TableError::FullOfBytes { .. } => {
                Problem::new(TOO_MANY_REQUESTS, error.to_string())
            }
            TableError::Behind { .. } => Problem::new(UNAVAILABLE, error.to_string()),
            TableError::Unwritable { .. } => Problem::new(INTERNAL, error.to_string()),
        }
    }
}

fn kind_of(code: ErrorCode) -> &'static Kind {
    use ErrorCode as Code;
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopicId => TOPIC_NOT_FOUND,
        Code::GroupIdNotFound => GROUP_NOT_FOUND,
        Code::TopicAlreadyExists => TOPIC_EXISTS,
        Code::NonEmptyGroup
        | Code::GroupSubscribedToTopic
        | Code::RebalanceInProgress
        | Code::UnknownMemberId
        | Code::IllegalGeneration => CONFLICT,
        Code::RequestTimedOut => TIMED_OUT,
        Code::MessageTooLarge | Code::RecordListTooLarge => TOO_LARGE,
        Code::InvalidTopicException
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidRequest
        | Code::InvalidGroupId
        | Code::OffsetOutOfRange
        | Code::PolicyViolation => INVALID,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed => DENIED,
        Code::ThrottlingQuotaExceeded => TOO_MANY_REQUESTS,
        code if code.is_retriable() => UNAVAILABLE,
        _ => CLUSTER_ANSWER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own_and_a_legal_status() {
        let mut codes: Vec<&str> = KINDS.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KINDS.len());
        for kind in KINDS {
            assert_eq!(Problem::new(kind, "x").status().as_u16(), kind.status);
            assert!(!kind.advice.is_empty());
        }
    }

    #[test]
    fn what_may_pass_by_itself_says_when_to_come_again() {
        let response = Problem::new(UNAVAILABLE, "no broker answers").into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    }

    #[test]
    fn a_full_queue_is_too_many_requests_and_says_when_to_come_again() {
        let full = ClientError::Busy {
            what: "sending to t".to_owned(),
            reason: "the queue is full".to_owned(),
        };
        let problem = Problem::from(full);
        assert!(!problem.may_have_happened);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
