//! Reading requests: bodies with a limit in size and time, strict JSON with a pointer to what is wrong, strict queries.
//!
//! What it keeps true: whatever cannot be read is a [`Problem`] that says where; nothing unknown is passed over in silence. Used by
//! every handler of `/v1` in place of axum's own extractors, whose refusals are plain text.

use std::time::Duration;

use axum::body::{self, Body};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::timeout;

use crate::problem::{
    BAD_REQUEST, FieldError, INVALID, NOT_FOUND, Problem, REQUEST_TIMEOUT, TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
};

/// The largest body that is read whole.
pub const MOST_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long a client may take to send one.
pub const BODY_TIME: Duration = Duration::from_secs(60);

/// The whole body.
///
/// # Errors
/// `too-large`, `request-timeout`, or `bad-request` when the client stops in the middle.
pub async fn read_whole(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MOST_BODY_BYTES as u64) {
        return Err(too_large());
    }
    match timeout(BODY_TIME, body::to_bytes(body, MOST_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(
            BAD_REQUEST,
            format!("reading the body: {error}"),
        )),
        Err(_) => Err(slow_body()),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn too_large() -> Problem {
    let megabytes = MOST_BODY_BYTES / (1024 * 1024);
    let detail = format!(
        "the body is larger than {megabytes} MiB; send it in parts, or as application/x-ndjson"
    );
    Problem::new(TOO_LARGE, detail)
}

pub fn slow_body() -> Problem {
    let seconds = BODY_TIME.as_secs();
    Problem::new(
        REQUEST_TIMEOUT,
        format!("the body did not come within {seconds} s"),
    )
}

/// JSON as `T`; the problem points at what is wrong.
///
/// # Errors
/// `bad-request` for what is no JSON, `invalid` for JSON of another shape.
pub fn parse_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Problem> {
    // serde would take a list for an object, field by field in their order.
    if json.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid("", "the body must be an object"));
    }
    // The fast way first: a path is only needed when something is wrong, and costs a second reading then.
    serde_json::from_slice(json).map_err(|error| wrong_json::<T>(json, error))
}

#[cold]
fn wrong_json<'a, T: Deserialize<'a>>(json: &'a [u8], error: serde_json::Error) -> Problem {
    let detail = error.to_string();
    if error.classify() != Category::Data {
        return Problem::new(BAD_REQUEST, format!("the body is no JSON: {detail}"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let pointer = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => pointer(error.path()),
        Ok(_) => String::new(),
    };
    Problem::invalid(pointer, detail)
}

/// A JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// A JSON body: `application/json` (or `+json`), at most 16 MiB, no unknown fields where `T` says so.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            let detail = "this takes JSON; send Content-Type: application/json";
            return Err(Problem::new(UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = read_whole(&parts.headers, body).await?;
        parse_json(&bytes).map(Json)
    }
}

/// No body at all is `None`.
impl<S: Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Option<Json<T>>, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_whole(&parts.headers, body).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if !is_json(&parts.headers) {
            let detail = "this takes JSON; send Content-Type: application/json";
            return Err(Problem::new(UNSUPPORTED_MEDIA_TYPE, detail));
        }
        parse_json(&bytes).map(|value| Some(Json(value)))
    }
}

/// The media type, in lower case and without parameters; nothing when there is none.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media = value.split(';').next().unwrap_or_default().trim();
    (!media.is_empty()).then(|| media.to_ascii_lowercase())
}

pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media| {
        media == "application/json"
            || (media.starts_with("application/") && media.ends_with("+json"))
    })
}

/// The first of `offered` that the client accepts, by the order of its own preference; the first one when it has none.
pub fn preferred<'a>(headers: &HeaderMap, offered: &[&'a str]) -> Option<&'a str> {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    if accepted.iter().all(|range| range.trim().is_empty()) {
        return offered.first().copied();
    }
    let mut best: Option<(f32, &str)> = None;
    for range in accepted {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|part| part.strip_prefix("q=")?.parse().ok())
            .unwrap_or(1.0);
        let found = offered.iter().find(|offer| is_within(&media, offer));
        if let Some(offer) = found
            && quality > best.map_or(0.0, |(quality, _)| quality)
        {
            best = Some((quality, offer));
        }
    }
    best.map(|(_, offer)| offer)
}

fn is_within(range: &str, media: &str) -> bool {
    let kind = media.split('/').next().unwrap_or_default();
    range == "*/*" || range == media || range.strip_suffix("/*") == Some(kind)
}

/// A query string without unknown parameters, where `T` says so.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        let parsed = axum::extract::Query::try_from_uri(&parts.uri);
        parsed.map(|query| Query(query.0)).map_err(|rejection| {
            let text = rejection.body_text();
            let text = text
                .strip_prefix("Failed to deserialize query string: ")
                .unwrap_or(&text);
            parameter_problem(text)
        })
    }
}

/// Reads `name: what is wrong`, as serde tells a wrong parameter; other texts are about the query as a whole.
fn parameter_problem(text: &str) -> Problem {
    let named = text
        .split_once(": ")
        .filter(|(name, _)| !name.contains(' '));
    match named {
        Some((name, detail)) => bad_parameter(name, detail),
        None => {
            let quoted = text.split('`').nth(1).unwrap_or_default();
            bad_parameter(quoted, text)
        }
    }
}

/// A parameter that has no legal form.
pub fn bad_parameter(name: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let error = FieldError {
        pointer: name.to_owned(),
        detail: detail.clone(),
    };
    Problem {
        errors: vec![error],
        ..Problem::new(BAD_REQUEST, format!("parameter {name}: {detail}"))
    }
}

/// One part of the path, as text.
#[derive(Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, Problem> {
        let Path(segment) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(NOT_FOUND, rejection.body_text()))?;
        Ok(Segment(segment))
    }
}

/// A well-formed request that means nothing, without a place.
pub fn unprocessable(detail: impl Into<String>) -> Problem {
    Problem::new(INVALID, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[serde(default)]
        #[allow(dead_code, reason = "only parsed")]
        items: Vec<BTreeMap<String, i32>>,
    }

    #[track_caller]
    fn problem(json: &str) -> Problem {
        parse_json::<Shape>(json.as_bytes()).expect_err(json)
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for json in ["", "{", "{]", "nul", "{} x"] {
            assert_eq!(problem(json).kind, BAD_REQUEST, "{json}");
        }
    }

    #[test]
    fn json_of_another_shape_is_pointed_at() {
        for (json, pointer) in [
            (r#"{"items":[{"a":1},{"b/c":"x"}]}"#, "/items/1/b~1c"),
            (r#"{"item":[]}"#, "/item"),
            (r#"{"items":{}}"#, "/items"),
            ("[1]", ""),
        ] {
            let problem = problem(json);
            assert_eq!(problem.kind, INVALID, "{json}");
            assert_eq!(problem.errors[0].pointer, pointer, "{json}");
        }
    }

    #[test]
    fn the_client_chooses_among_what_is_offered() {
        let offered = ["application/json", "text/event-stream"];
        let choice = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            preferred(&headers, &offered)
        };
        assert_eq!(preferred(&HeaderMap::new(), &offered), Some(offered[0]));
        for (accept, expected) in [
            ("*/*", Some(offered[0])),
            ("text/event-stream", Some(offered[1])),
            ("text/*;q=0.5, application/*", Some(offered[0])),
            (
                "application/json;q=0.1, text/event-stream",
                Some(offered[1]),
            ),
            ("application/xml", None),
            ("application/json;q=0", None),
        ] {
            assert_eq!(choice(accept), expected, "{accept}");
        }
    }

    #[test]
    fn wrong_parameters_are_named() {
        let named = |text: &str| parameter_problem(text).errors[0].pointer.clone();
        assert_eq!(named("limit: invalid digit found in string"), "limit");
        assert_eq!(named("unknown field `limt`, expected `limit`"), "limt");
    }
}
