//! What a call of `/api` is refused with: `{"error":"…"}`, or a validation problem in the shape that ASP.NET gives it.
//!
//! The texts are part of the contract (ledger part L). Every handler of this folder returns `Result<_, Refusal>`.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::{ClientError, ErrorKind};
use serde::Serialize;
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder, ResponsesBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::entropy;
use crate::problem::{self, Problem};
use crate::table::TableError;

/// Where ASP.NET's own validation answers point.
const VALIDATION_TYPE: &str = "https://tools.ietf.org/html/rfc9110#section-15.5.1";
const VALIDATION_TITLE: &str = "One or more validation errors occurred.";

/// Why a call is not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The request itself is wrong; by field, what is wrong with it.
    Invalid(BTreeMap<String, Vec<String>>),
    /// The request is understood and cannot be done.
    Domain(StatusCode, String),
}

/// The body of a refusal in the domain's own words.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = legacy::Error)]
pub struct ErrorBody {
    pub error: String,
}

/// As clients see any refusal: the reason, and what some calls have beside it.
#[derive(Debug, ToSchema)]
#[schema(as = legacy::Refusal, rename_all = "camelCase")]
#[allow(dead_code, reason = "describes answers of several shapes")]
struct RefusalBody {
    error: Option<String>,
    /// Of a publish that reached no backend: send it along to try again.
    id: Option<String>,
    topic_name: Option<String>,
    mode: Option<String>,
    /// What was done or not on each side: lines, or an object for each backend.
    results: Option<Vec<serde_json::Value>>,
    success: Option<bool>,
    connected: Option<bool>,
}

/// The body of a validation answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::ValidationProblem)]
pub struct ValidationBody {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// By field: what is wrong with it.
    errors: BTreeMap<String, Vec<String>>,
    trace_id: String,
}

impl Refusal {
    pub fn bad_request(error: impl Into<String>) -> Refusal {
        Refusal::Domain(StatusCode::BAD_REQUEST, error.into())
    }

    pub fn not_found(error: impl Into<String>) -> Refusal {
        Refusal::Domain(StatusCode::NOT_FOUND, error.into())
    }

    /// The reason in one line, for an answer that has it beside something else.
    pub fn text(&self) -> String {
        match self {
            Refusal::Domain(_, error) => error.clone(),
            Refusal::Invalid(errors) => errors
                .values()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    /// One field that is wrong.
    pub fn invalid(field: &str, message: impl Into<String>) -> Refusal {
        Refusal::Invalid(BTreeMap::from([(field.to_owned(), vec![message.into()])]))
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Refusal {
        Refusal::Domain(status_of(&error), error.to_string())
    }
}

impl From<TableError> for Refusal {
    fn from(error: TableError) -> Refusal {
        let text = error.to_string();
        Refusal::Domain(Problem::from(error).status(), text)
    }
}

/// The status of a cluster's error: 400 for what the cluster calls an illegal request, 503 for a full queue, which passes by itself,
/// since 429 stands here for more topics or members than there may be; else as in `/v1`.
pub fn status_of(error: &ClientError) -> StatusCode {
    match Problem::from(error).status() {
        _ if error.kind() == ErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => StatusCode::BAD_REQUEST,
        status => status,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Domain(status, error) => (status, Json(ErrorBody { error })).into_response(),
            Refusal::Invalid(errors) => validation_response(errors),
        }
    }
}

fn validation_response(errors: BTreeMap<String, Vec<String>>) -> Response {
    let body = ValidationBody {
        kind: VALIDATION_TYPE,
        title: VALIDATION_TITLE,
        status: StatusCode::BAD_REQUEST.as_u16(),
        errors,
        trace_id: trace_id(entropy::bytes(), entropy::bytes()),
    };
    let media = HeaderValue::from_static(problem::MEDIA_TYPE);
    let mut response = (StatusCode::BAD_REQUEST, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// In the form of a W3C `traceparent` that is not sampled.
fn trace_id(trace: [u8; 16], span: [u8; 8]) -> String {
    let trace = u128::from_be_bytes(trace).max(1);
    let span = u64::from_be_bytes(span).max(1);
    format!("00-{trace:032x}-{span:016x}-00")
}

// The names of the schemas that every refusal refers to.
const REFUSAL: &str = "legacy.Refusal";
const VALIDATION: &str = "legacy.ValidationProblem";

/// The schemas that [`Refusal`]'s responses refer to, for the document's components.
pub fn schemas() -> [(String, RefOr<openapi::Schema>); 2] {
    [
        (REFUSAL.to_owned(), RefusalBody::schema()),
        (VALIDATION.to_owned(), ValidationBody::schema()),
    ]
}

/// Every status that any call may be refused with, for the OpenAPI document.
impl IntoResponses for Refusal {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let content = |schema| {
            let schema = Ref::from_schema_name(schema);
            ContentBuilder::new().schema(Some(schema)).build()
        };
        let error = || content(REFUSAL);
        let plain = |description: &str| {
            ResponseBuilder::new()
                .description(description)
                .content("application/json", error())
        };
        let validation = content(VALIDATION);
        let not_found = plain("What the path or a field names does not exist")
            .content(problem::MEDIA_TYPE, content("ProblemBody"));
        let bad_request =
            plain("A field is missing or wrong, or what it names does not allow this")
                .content(problem::MEDIA_TYPE, validation);
        ResponsesBuilder::new()
            .response("400", bad_request)
            .response("403", plain("The cluster's credentials do not allow this"))
            .response("404", not_found)
            .response("413", plain("The body or the message is too large"))
            .response("415", plain("The body is not JSON"))
            .response("429", plain("Too much of this exists already"))
            .response("500", plain("A fault of Thalweg"))
            .response("502", plain("The cluster answered with an error"))
            .response("503", plain("The cluster cannot be reached"))
            .response("504", plain("The cluster took too long"))
            .build()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ErrorCode;

    #[test]
    fn a_validation_answer_is_a_problem_with_the_fields_that_are_wrong() {
        // ledger part L
        let refusal = Refusal::invalid("TopicName", "The TopicName field is required.");
        let response = refusal.into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            problem::MEDIA_TYPE
        );
    }

    #[test]
    fn a_trace_id_is_never_all_zero() {
        let expected = "00-00000000000000000000000000000001-0000000000000001-00";
        assert_eq!(trace_id([0; 16], [0; 8]), expected);
    }

    #[test]
    fn what_the_cluster_calls_illegal_is_a_bad_request() {
        let refused = |code| ClientError::Refused {
            what: "creating topic a b".to_owned(),
            code,
            message: None,
        };
        let status = |code| status_of(&refused(code));
        assert_eq!(
            status(ErrorCode::InvalidTopicException),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(status(ErrorCode::NonEmptyGroup), StatusCode::BAD_REQUEST);
        assert_eq!(
            status(ErrorCode::MessageTooLarge),
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let full = ClientError::Busy {
            what: "sending to t".to_owned(),
            reason: "the queue is full".to_owned(),
        };
        assert_eq!(status_of(&full), StatusCode::SERVICE_UNAVAILABLE);
    }
}
