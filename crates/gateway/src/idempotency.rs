//! `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header): a POST of `/v1` that is sent again is answered as the first time and not
//! carried out again.
//!
//! What it keeps true: a request with a key is carried out at most once within [`KEPT`], by all processes together. The key is taken
//! in a compacted topic before the request is carried out, durably, and the answer is stored behind it. So there is one window: a
//! process that dies after it stored records and before it stored the answer leaves a key without an answer. Whoever sends it again
//! is told that the outcome is unknown; storing the records a second time is the one thing that is never done. A request that surely
//! changed nothing gives its key free. `Gateway::router` lays this around every route of `/v1`.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::problem::{
    BAD_REQUEST, CONFLICT, IDEMPOTENCY_KEY_REUSED, INTERNAL, OUTCOME_UNKNOWN, Problem, TIMED_OUT,
};
use crate::table::{Expiry, Table, TableError, TableSettings};
use crate::v1::request::read_whole;
use crate::{Gateway, clock, entropy};

static KEY: HeaderName = HeaderName::from_static("idempotency-key");
static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// How long a key and its answer are kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that a request with a key may take.
const HANDLER_LIMIT: Duration = Duration::from_secs(90);
/// A key without an answer for so long will not get one: its process is gone.
const IN_FLIGHT_LIMIT: SignedDuration = SignedDuration::from_secs(120);
const MOST_KEY_BYTES: usize = 255;
/// A longer answer is not kept; its key is.
const MOST_ANSWER_BYTES: usize = 256 * 1024;
/// Far more than any answer of ours.
const MOST_READ_BYTES: usize = 256 * 1024 * 1024;

const SETTINGS: TableSettings = TableSettings {
    topic: "_thalweg_idempotency",
    most_rows: 200_000,
    configs: &[
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "86400000"),
        ("segment.ms", "3600000"),
    ],
};
const EXPIRY: Expiry = Expiry {
    kept: KEPT,
    most_bytes: 128 * 1024 * 1024,
};

/// The headers of an answer that a replay has, too.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// Put among the extensions of an error answer whose request may have been carried out all the same.
#[derive(Debug, Clone, Copy)]
pub struct MayHaveHappened;

/// The keys of this process; the table is opened with the first one.
#[derive(Default)]
pub struct Keys {
    table: OnceCell<Table<Kept>>,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Of the request.
    fingerprint: String,
    state: KeyState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeyState {
    /// Taken by this attempt, whose answer is not there yet.
    Begun(String),
    Answered(Answer),
    /// Carried out; the answer with this status was too long to be kept.
    AnsweredAtLength(u16),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Decision {
    /// Nobody has used the key.
    Begin,
    Replay(Answer),
    Refuse(&'static crate::problem::Kind, String),
}

fn decide(kept: Option<&Kept>, age: SignedDuration, fingerprint: &str) -> Decision {
    let Some(kept) = kept else {
        return Decision::Begin;
    };
    if kept.fingerprint != fingerprint {
        let detail = "this key came with another method, path, query, body or record header before";
        return Decision::Refuse(IDEMPOTENCY_KEY_REUSED, detail.to_owned());
    }
    match &kept.state {
        KeyState::Answered(answer) => Decision::Replay(answer.clone()),
        KeyState::AnsweredAtLength(status) => {
            let detail = format!(
                "the request was carried out and answered with {status}; the answer was too long to be kept"
            );
            Decision::Refuse(OUTCOME_UNKNOWN, detail)
        }
        KeyState::Begun(_) if age < IN_FLIGHT_LIMIT => {
            let detail = "a request with this key is being carried out; send it again in a moment";
            Decision::Refuse(CONFLICT, detail.to_owned())
        }
        KeyState::Begun(_) => {
            let seconds = age.as_secs();
            let detail = format!(
                "a request with this key began {seconds} s ago and its end is not known: its process may have died before or after \
                 it was carried out; look at what is stored, then decide whether to send it with a new key"
            );
            Decision::Refuse(OUTCOME_UNKNOWN, detail)
        }
    }
}

/// Carries out a POST with a key once; everything else passes.
pub async fn once(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    if !takes_key(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let key = match key_of(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    // A client that goes away in the middle would leave a key without an answer.
    let work = tokio::spawn(async move { with_key(gateway, key, request, next).await });
    match work.await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(error) => {
            Problem::new(INTERNAL, format!("the request was broken off: {error}")).into_response()
        }
    }
}

/// Leases are the one thing that must not be given again, since they end.
fn takes_key(method: &Method, path: &str) -> bool {
    *method == Method::POST && path.starts_with("/v1/") && !path.ends_with("/pull")
}

/// The key, with or without the quotes that the draft demands.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let wrong = || {
        let detail = format!(
            "Idempotency-Key: 1 to {MOST_KEY_BYTES} visible ASCII characters, once, as in \"8e03978e-40d5-43dd-bc93-6894a57f9324\""
        );
        Problem::new(BAD_REQUEST, detail)
    };
    let mut values = headers.get_all(&KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let is_legal = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    let is_right = values.next().is_none()
        && (1..=MOST_KEY_BYTES).contains(&key.len())
        && key.chars().all(is_legal);
    match is_right {
        true => Ok(Some(key.to_owned())),
        false => Err(wrong()),
    }
}

async fn with_key(
    gateway: Gateway,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_whole(&parts.headers, body).await?;
    let fingerprint = fingerprint(&parts, &body);
    let keys = gateway.keys().table(gateway.backends().primary()).await?;
    if let Some(answer) = take(keys, &key, &fingerprint).await? {
        return Ok(replay(answer));
    }
    let request = Request::from_parts(parts, Body::from(body));
    let Ok(response) = timeout(HANDLER_LIMIT, next.run(request)).await else {
        let detail = format!(
            "it took longer than {} s; its outcome is not known",
            HANDLER_LIMIT.as_secs()
        );
        return Err(Problem::new(TIMED_OUT, detail));
    };
    keep(keys, &key, fingerprint, response).await
}

impl Keys {
    async fn table(&self, backend: &Backend) -> Result<&Table<Kept>, TableError> {
        let open = || Table::open_expiring(backend, SETTINGS, EXPIRY);
        self.table.get_or_try_init(open).await
    }
}

/// Takes the key, or gives the answer that it has.
async fn take(keys: &Table<Kept>, key: &str, fingerprint: &str) -> Result<Option<Answer>, Problem> {
    let attempt = u64::from_be_bytes(entropy::bytes());
    let begun = Kept {
        fingerprint: fingerprint.to_owned(),
        state: KeyState::Begun(format!("{attempt:016x}")),
    };
    // Twice: who loses the race for a new key looks again at what the winner has.
    for _ in 0..2 {
        let row = keys.get(key);
        let age = row.as_ref().map_or(SignedDuration::ZERO, |row| {
            age(row.timestamp_ms, clock::now())
        });
        match decide(row.as_ref().map(|row| &row.value), age, fingerprint) {
            Decision::Replay(answer) => return Ok(Some(answer)),
            Decision::Refuse(kind, detail) => return Err(Problem::new(kind, detail)),
            Decision::Begin => {
                if keys.insert(key, &begun).await? {
                    return Ok(None);
                }
            }
        }
    }
    Err(Problem::new(
        CONFLICT,
        "another request takes this key at the same moment; send it again",
    ))
}

fn age(since_ms: i64, now: Timestamp) -> SignedDuration {
    SignedDuration::from_millis(now.as_millisecond().saturating_sub(since_ms))
}

/// Keeps the answer, or gives the key free when nothing was changed.
async fn keep(
    keys: &Table<Kept>,
    key: &str,
    fingerprint: String,
    response: Response,
) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let is_certain = is_certain(&parts.extensions);
    let Ok(body) = to_bytes(body, MOST_READ_BYTES).await else {
        return Err(Problem::new(
            INTERNAL,
            "the answer could not be read; the request was carried out",
        ));
    };
    if is_certain && changed_nothing(parts.status) {
        keys.delete(key).await?;
    } else {
        let state = state(parts.status, &parts.headers, &body);
        keys.put(key, &Kept { fingerprint, state }).await?;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Whether an answer's status tells all: a problem may say that what failed may have happened, or stand in the body of another answer.
fn is_certain(extensions: &Extensions) -> bool {
    let problem = extensions.get::<Problem>();
    extensions.get::<MayHaveHappened>().is_none()
        && problem.is_none_or(|problem| !problem.may_have_happened)
}

/// Whether a request with this answer was surely not carried out; 500 and 504 leave it open.
fn changed_nothing(status: StatusCode) -> bool {
    status.is_client_error() || matches!(status.as_u16(), 502 | 503)
}

fn state(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> KeyState {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| text.len() <= MOST_ANSWER_BYTES);
    let Some(text) = text else {
        return KeyState::AnsweredAtLength(status.as_u16());
    };
    let kept = KEPT_HEADERS.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    KeyState::Answered(Answer {
        status: status.as_u16(),
        headers: kept.collect(),
        body: text.to_owned(),
    })
}

fn replay(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    response
}

/// A hash over everything that says what the request does: two requests with the same are the same.
fn fingerprint(parts: &Parts, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(parts.method.as_str().as_bytes());
    add(parts
        .uri
        .path_and_query()
        .map_or("", |path| path.as_str())
        .as_bytes());
    // `Record-Key` and `Record-Header-*` are a part of what is produced.
    let says_what =
        |name: &HeaderName| *name == header::CONTENT_TYPE || name.as_str().starts_with("record-");
    let mut headers: Vec<(&str, &[u8])> = parts
        .headers
        .iter()
        .filter(|(name, _)| says_what(name))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    headers.sort_unstable();
    for (name, value) in headers {
        add(name.as_bytes());
        add(value);
    }
    add(body);
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(state: KeyState) -> Kept {
        Kept {
            fingerprint: "f".to_owned(),
            state,
        }
    }

    fn refused(kept: &Kept, age_s: i64, fingerprint: &str) -> &'static str {
        match decide(Some(kept), SignedDuration::from_secs(age_s), fingerprint) {
            Decision::Refuse(kind, _) => kind.code,
            decision => panic!("{decision:?}"),
        }
    }

    #[test]
    fn a_key_is_taken_once_and_then_replayed() {
        assert_eq!(decide(None, SignedDuration::ZERO, "f"), Decision::Begin);
        let answer = Answer {
            status: 200,
            headers: Vec::new(),
            body: "{}".to_owned(),
        };
        let answered = kept(KeyState::Answered(answer.clone()));
        assert_eq!(
            decide(Some(&answered), SignedDuration::from_hours(23), "f"),
            Decision::Replay(answer)
        );
    }

    #[test]
    fn another_request_with_the_key_is_refused_whatever_became_of_the_first() {
        for state in [
            KeyState::Begun("a".to_owned()),
            KeyState::AnsweredAtLength(200),
        ] {
            assert_eq!(refused(&kept(state), 1, "other"), "idempotency-key-reused");
        }
    }

    #[test]
    fn a_request_without_an_answer_is_in_flight_and_later_of_unknown_outcome_and_never_begun_again()
    {
        let begun = kept(KeyState::Begun("a".to_owned()));
        assert_eq!(refused(&begun, 119, "f"), "conflict");
        assert_eq!(refused(&begun, 120, "f"), "outcome-unknown");
        assert_eq!(
            refused(&kept(KeyState::AnsweredAtLength(200)), 1, "f"),
            "outcome-unknown"
        );
    }

    #[test]
    fn a_long_answer_is_not_kept_and_a_short_one_is_with_its_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("/v1/topics/t"));
        headers.insert(header::DATE, HeaderValue::from_static("today"));
        let short = state(StatusCode::CREATED, &headers, &Bytes::from_static(b"{}"));
        let location = ("location".to_owned(), "/v1/topics/t".to_owned());
        let answer = Answer {
            status: 201,
            headers: vec![location],
            body: "{}".to_owned(),
        };
        assert_eq!(short, KeyState::Answered(answer.clone()));
        let long = Bytes::from(vec![b' '; MOST_ANSWER_BYTES + 1]);
        assert_eq!(
            state(StatusCode::OK, &headers, &long),
            KeyState::AnsweredAtLength(200)
        );
        let again = replay(answer);
        assert_eq!(
            (
                again.status().as_u16(),
                again.headers()["idempotent-replayed"].as_bytes()
            ),
            (201, &b"true"[..])
        );
    }

    #[test]
    fn keys_are_read_with_and_without_quotes_and_others_are_refused() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY.clone(), HeaderValue::from_str(value).expect("a header"));
            }
            key_of(&headers).map_err(|problem| problem.kind.code)
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["\"a-1\""]), Ok(Some("a-1".to_owned())));
        assert_eq!(read(&["a-1"]), Ok(Some("a-1".to_owned())));
        let long = "x".repeat(256);
        for wrong in [
            &[""][..],
            &["\"\""],
            &["a b"],
            &["\"a"],
            &[&long],
            &["a", "a"],
        ] {
            assert_eq!(read(wrong), Err("bad-request"), "{wrong:?}");
        }
    }

    #[test]
    fn a_fingerprint_stands_for_all_that_the_request_does() {
        let of = |path: &str, key: &str, body: &'static str| {
            let request = Request::post(path)
                .header("Record-Key", key)
                .header("X-Request-Id", body);
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            fingerprint(&parts, &Bytes::from_static(body.as_bytes()))
        };
        let one = of("/v1/topics/t/records", "k", "b");
        assert_eq!(one, of("/v1/topics/t/records", "k", "b"));
        for other in [
            of("/v1/topics/u/records", "k", "b"),
            of("/v1/topics/t/records?acks=0", "k", "b"),
            of("/v1/topics/t/records", "l", "b"),
            of("/v1/topics/t/records", "k", "c"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn an_answer_that_leaves_open_what_happened_keeps_its_key() {
        let of = |may_have_happened| {
            let problem = Problem {
                may_have_happened,
                ..Problem::new(crate::problem::UNAVAILABLE, "no answer came")
            };
            is_certain(problem.into_response().extensions())
        };
        assert!(of(false) && !of(true));
        let mut extensions = Extensions::new();
        assert!(is_certain(&extensions));
        extensions.insert(MayHaveHappened);
        assert!(!is_certain(&extensions));
    }

    #[test]
    fn only_what_surely_changed_nothing_gives_its_key_free() {
        for (status, is_free) in [
            (200, false),
            (207, false),
            (404, true),
            (422, true),
            (429, true),
            (500, false),
            (503, true),
            (504, false),
        ] {
            let status = StatusCode::from_u16(status).expect("legal");
            assert_eq!(changed_nothing(status), is_free, "{status}");
        }
    }
}
