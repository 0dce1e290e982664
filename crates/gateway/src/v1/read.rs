//! `GET /v1/topics/{topic}/records`: a page of records from any place, without a group; or, for `text/event-stream`, a live stream.
//!
//! Stateless: what the server would have to remember is in the cursor, so any process answers the next page.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use client::topics::Topic;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::cursor::Cursor;
use super::filter::Filter;
use super::outgoing::{Decode, Origin, RecordBody, RecordWriter};
use super::request::{self, Query, Segment, bad_parameter};
use super::scan::{Scan, ScanFacts, ScanLimits};
use super::start::{self, Start};
use super::topic_list::check_limit;
use super::topic_of;
use crate::Gateway;
use crate::clock;
use crate::problem::{NOT_ACCEPTABLE, Problem, ProblemBody};

const DEFAULT_BYTES: usize = 1024 * 1024;
const MOST_BYTES: usize = 16 * 1024 * 1024;
const MOST_WAIT_MS: u64 = 30_000;
/// How long one request looks for records that its filter takes.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    /// `earliest`, `latest`, `-50` (the last fifty of each partition), `offset:9`, `now-15m`, or `time:2026-11-20T12:00:00Z`.
    #[param(default = "earliest")]
    pub from: Option<String>,
    /// Go on where the page before ended; in place of `from` and `partitions`.
    pub cursor: Option<String>,
    /// Numbers with commas between; all when absent.
    #[param(pattern = "^([0-9]+(,[0-9]+)*)?$")]
    pub partitions: Option<String>,
    /// At most so many records.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<usize>,
    /// At most so many bytes of keys and values; the first record is given even when it is larger.
    #[param(minimum = 1, maximum = 16777216, default = 1048576)]
    pub max_bytes: Option<usize>,
    /// How long to wait for a record when there is none.
    #[param(minimum = 0, maximum = 30000, default = 0)]
    pub wait_ms: Option<u64>,
    /// Only records for which this is true, as in `value.amount > 100 && key.startsWith("eu-")`; see /docs/filters.
    pub filter: Option<String>,
    /// `auto` gives JSON, text or base64 as the bytes are; `none` always base64.
    #[serde(default)]
    #[param(inline)]
    pub decode: Decode,
}

/// A page of records.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes what page writes")]
pub struct RecordPage {
    records: Vec<RecordBody>,
    /// Where to go on; also at the end, to ask for what comes later.
    next_cursor: String,
    scan: ScanFacts,
}

/// Read records, or follow them live
///
/// Without a group: nothing is committed, and any number of clients may read. `next_cursor` goes on; at the end, too, with
/// `wait_ms` to wait for what comes. With `Accept: text/event-stream` the same URL is a live stream with the events `records`,
/// `progress`, `gap` and `end`; the `id` of each is a cursor, for `Last-Event-ID`.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/records",
    tag = "Records",
    operation_id = "readRecords",
    params(
        ("topic" = String, Path),
        ("Last-Event-ID" = Option<String>, Header, description = "Live streams: go on after this event"),
        ReadQuery,
    ),
    responses(
        (status = 200, description = "A page of records", content(
            (RecordPage = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 404, description = "No such topic or partition", body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "Another media type", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn read(
    State(gateway): State<Gateway>,
    Segment(name): Segment,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wants_stream = wants_stream(&headers)?;
    let filter = query.filter.as_deref().map(Filter::parse).transpose()?;
    let limits = limits(&query)?;
    let topic = topic_of(gateway.backends().primary(), &name).await?;
    if wants_stream {
        return super::live::follow_one(&gateway, topic, query, filter, &headers).await;
    }
    let start = begin(&gateway, &topic, &query, "earliest").await?;
    page(
        &gateway,
        &topic,
        start,
        limits,
        filter.as_ref(),
        query.decode,
    )
    .await
}

/// Whether the client asks for a live stream.
///
/// # Errors
/// `not-acceptable` when it takes neither that nor JSON.
fn wants_stream(headers: &HeaderMap) -> Result<bool, Problem> {
    match request::preferred(headers, &["application/json", "text/event-stream"]) {
        Some(media) => Ok(media == "text/event-stream"),
        None => {
            let detail = "records are application/json, or text/event-stream for a live stream";
            Err(Problem::new(NOT_ACCEPTABLE, detail))
        }
    }
}

fn limits(query: &ReadQuery) -> Result<ScanLimits, Problem> {
    let bytes = query.max_bytes.unwrap_or(DEFAULT_BYTES);
    if !(1..=MOST_BYTES).contains(&bytes) {
        return Err(bad_parameter("max_bytes", format!("1 to {MOST_BYTES}")));
    }
    let wait_ms = query.wait_ms.unwrap_or(0);
    if wait_ms > MOST_WAIT_MS {
        return Err(bad_parameter("wait_ms", format!("0 to {MOST_WAIT_MS}")));
    }
    Ok(ScanLimits {
        records: check_limit(query.limit)?,
        bytes,
        wait: Duration::from_millis(wait_ms),
        patience: PATIENCE,
    })
}

/// Where the query says to start.
///
/// # Errors
/// `bad-request` when it says two things, or something that is no place.
pub async fn begin(
    gateway: &Gateway,
    topic: &Topic,
    query: &ReadQuery,
    default: &str,
) -> Result<Start, Problem> {
    let reader = gateway.backends().primary().reader();
    let count = topic.partitions.len();
    if let Some(cursor) = &query.cursor {
        if query.from.is_some() || query.partitions.is_some() {
            let detail = "a cursor knows where to go on; leave out from and partitions";
            return Err(bad_parameter("cursor", detail));
        }
        let positions = Cursor::decode(cursor, "cursor")?.of_topic(&topic.name, "cursor")?;
        return start::resume(reader, &topic.name, positions, count).await;
    }
    let from = start::parse_from(query.from.as_deref().unwrap_or(default))?;
    let wanted = start::wanted(query.partitions.as_deref(), count)?;
    start::resolve(reader, &topic.name, from, &wanted, clock::now()).await
}

async fn page(
    gateway: &Gateway,
    topic: &Topic,
    start: Start,
    limits: ScanLimits,
    filter: Option<&Filter>,
    decode: Decode,
) -> Result<Response, Problem> {
    let reader = gateway.backends().primary().reader();
    let mut scan = Scan::new(reader, &topic.name, start);
    let mut out = b"{\"records\":[".to_vec();
    let empty = out.len();
    let mut writer = RecordWriter::default();
    let take = |partition, record: &client::Record| {
        if filter.is_some_and(|filter| !filter.takes(partition, record)) {
            return false;
        }
        if out.len() > empty {
            out.push(b',');
        }
        let place = Origin {
            topic: None,
            partition,
        };
        writer.write(&mut out, place, record, decode);
        true
    };
    scan.run(limits, take).await?;
    let cursor = Cursor::of(&topic.name, scan.positions).encode();
    out.extend_from_slice(b"],\"next_cursor\":\"");
    out.extend_from_slice(cursor.as_bytes());
    out.extend_from_slice(b"\",\"scan\":");
    serde_json::to_writer(&mut out, &scan.facts).expect("facts are plain JSON");
    out.push(b'}');
    let media = HeaderValue::from_static("application/json");
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from(out)).into_response())
}
