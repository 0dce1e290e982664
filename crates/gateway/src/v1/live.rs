//! Live streams: records as server-sent events, of one topic or of several over one connection.
//!
//! Events are `records` (a list), `progress`, `gap` (records were dropped) and `end`. The `id` of an event is a cursor: a client that
//! comes again with `Last-Event-ID` goes on behind it. Nothing is sent faster than the client takes it, and nothing is kept for it but
//! the topic's shared ring: who is too slow is told how many records were dropped. A client that goes away ends its stream; when
//! the process stops, every stream gets `end` first.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use client::topics::Topic;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;

use super::cursor::{Cursor, Positions};
use super::filter::Filter;
use super::follow::{Follower, Progress, Step, View};
use super::outgoing::Decode;
use super::read::{self, ReadQuery};
use super::request::{Query, bad_parameter};
use super::start;
use super::tail::Tails;
use super::topic_of;
use crate::Gateway;
use crate::problem::{Problem, ProblemBody, TOO_MANY_REQUESTS};

/// A comment is sent when nothing else was, so that proxies keep the connection and a dead one is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Each costs a connection; more are refused.
const MOST_STREAMS: usize = 20_000;
const MOST_TOPICS: usize = 20;
/// Steps of one topic that wait for the client while it reads those of another.
const WAITING_STEPS: usize = 1;
/// What a client waits before it comes again.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// What all live streams of a gateway share.
#[derive(Default)]
pub struct LiveStreams {
    tails: Tails,
    open: Arc<AtomicUsize>,
}

/// A place among the streams, given back when dropped.
struct Seat(Arc<AtomicUsize>);

impl LiveStreams {
    fn seat(&self) -> Result<Seat, Problem> {
        let seat = Seat(Arc::clone(&self.open));
        match self.open.fetch_add(1, Ordering::Relaxed) < MOST_STREAMS {
            true => Ok(seat),
            false => {
                let detail = format!("{MOST_STREAMS} live streams are open, the most there may be");
                Err(Problem::new(TOO_MANY_REQUESTS, detail))
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The stream behind `GET …/records` for `text/event-stream`.
///
/// # Errors
/// `bad-request` for parameters that mean nothing for a stream; whatever keeps the topic from being followed.
pub async fn follow_one(
    gateway: &Gateway,
    topic: Topic,
    query: ReadQuery,
    filter: Option<Filter>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    for (name, is_given) in [
        ("limit", query.limit.is_some()),
        ("max_bytes", query.max_bytes.is_some()),
        ("wait_ms", query.wait_ms.is_some()),
    ] {
        if is_given {
            return Err(bad_parameter(name, "a live stream has no pages"));
        }
    }
    let seat = gateway.live().seat()?;
    let view = View {
        topic: topic.name.clone(),
        is_labelled: false,
        has_all_partitions: query.partitions.is_none() && query.cursor.is_none(),
        decode: query.decode,
        filter,
    };
    let resumed = last_event(headers)?;
    let resumed = resumed
        .map(|cursor| cursor.of_topic(&topic.name, "Last-Event-ID"))
        .transpose()?;
    let follower = begin(gateway, &topic, &query, view, resumed).await?;
    Ok(respond(gateway, Source::One(Box::new(follower)), seat))
}

/// At the last event, at the query's place, or at the end.
async fn begin(
    gateway: &Gateway,
    topic: &Topic,
    query: &ReadQuery,
    view: View,
    resumed: Option<Positions>,
) -> Result<Follower, Problem> {
    let reader = gateway.backends().primary().reader();
    let tail = gateway.live().tails.of(&topic.name, reader)?;
    if let Some(positions) = resumed {
        let positions = start::still_there(positions, topic.partitions.len());
        return Ok(Follower::from(view, reader.clone(), tail, positions));
    }
    let is_from_end =
        query.cursor.is_none() && query.from.as_deref().is_none_or(|from| from == "latest");
    if is_from_end {
        let wanted = start::wanted(query.partitions.as_deref(), topic.partitions.len())?;
        return Follower::from_end(view, reader.clone(), tail, Some(&wanted)).await;
    }
    let start = read::begin(gateway, topic, query, "latest").await?;
    Ok(Follower::from(view, reader.clone(), tail, start.positions))
}

fn last_event(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let id = id.filter(|id| !id.is_empty());
    id.map(|id| Cursor::decode(id, "Last-Event-ID")).transpose()
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Names with commas between; at most twenty.
    topics: String,
    /// As for one topic; `latest` when absent.
    from: Option<String>,
    /// Only records for which this is true; see /docs/filters.
    filter: Option<String>,
    #[serde(default)]
    #[param(inline)]
    decode: Decode,
}

/// Follow several topics live, over one connection
///
/// Events as of one topic; each record names its `topic`. Browsers allow six connections to a host over HTTP/1.1.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "Records",
    operation_id = "followTopics",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event"),
        EventsQuery,
    ),
    responses(
        (status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such topic", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn events(
    State(gateway): State<Gateway>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let names: Vec<&str> = query.topics.split(',').map(str::trim).collect();
    if names.len() > MOST_TOPICS {
        return Err(bad_parameter("topics", format!("at most {MOST_TOPICS}")));
    }
    let filter = query.filter.as_deref().map(Filter::parse).transpose()?;
    let mut resumed = last_event(&headers)?.unwrap_or_default();
    let seat = gateway.live().seat()?;
    let mut followers = BTreeMap::new();
    for name in names {
        let topic = topic_of(gateway.backends().primary(), name).await?;
        let view = View {
            topic: topic.name.clone(),
            is_labelled: true,
            has_all_partitions: true,
            decode: query.decode,
            filter: filter.clone(),
        };
        let of_topic = ReadQuery {
            from: query.from.clone(),
            ..ReadQuery::default()
        };
        let positions = resumed.0.remove(name);
        let follower = begin(&gateway, &topic, &of_topic, view, positions).await?;
        followers.insert(topic.name, follower);
    }
    Ok(respond(&gateway, Source::many(followers), seat))
}

fn respond(gateway: &Gateway, source: Source, seat: Seat) -> Response {
    let events = Events {
        gateway: gateway.clone(),
        source,
        heartbeat: Instant::now() + HEARTBEAT,
        is_over: false,
        has_begun: false,
        _seat: seat,
    };
    let body = stream::unfold(Box::new(events), |mut events| async {
        let event = events.next().await?;
        Some((Ok::<Bytes, Infallible>(event), events))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would gather events until its buffer is full.
        (
            header::HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// The topics of a stream.
enum Source {
    One(Box<Follower>),
    Many(Many),
}

/// Each topic is followed by a task of its own, which waits while the client reads what others gave.
struct Many {
    steps: mpsc::Receiver<Told>,
    sum: Summary,
    tasks: Vec<AbortHandle>,
}

/// Where all topics of a stream are.
#[derive(Default)]
struct Summary {
    cursor: Cursor,
    progress: BTreeMap<String, Progress>,
}

/// What happened in one topic, and where it is now.
struct Told {
    topic: String,
    step: Step,
    positions: Positions,
    progress: Progress,
}

impl Drop for Many {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Source {
    fn many(followers: BTreeMap<String, Follower>) -> Source {
        let (sender, steps) = mpsc::channel(WAITING_STEPS);
        let mut sum = Summary::default();
        let mut tasks = Vec::new();
        for (topic, mut follower) in followers {
            sum.cursor
                .0
                .insert(topic.clone(), follower.positions().clone());
            sum.progress.insert(topic, follower.progress());
            let sender = sender.clone();
            let follow = async move {
                loop {
                    let step = follower.next().await;
                    let told = Told {
                        topic: follower.topic().to_owned(),
                        step,
                        positions: follower.positions().clone(),
                        progress: follower.progress(),
                    };
                    if sender.send(told).await.is_err() {
                        return;
                    }
                }
            };
            tasks.push(tokio::spawn(follow).abort_handle());
        }
        Source::Many(Many { steps, sum, tasks })
    }

    /// What happens next, and the topic where it does.
    async fn next(&mut self) -> (String, Step) {
        match self {
            Source::One(follower) => {
                let step = follower.next().await;
                (follower.topic().to_owned(), step)
            }
            Source::Many(many) => match many.steps.recv().await {
                Some(told) => {
                    // A gap is told before the records behind it; only those move the cursor.
                    if !matches!(told.step, Step::Gap(_)) {
                        many.sum.cursor.0.insert(told.topic.clone(), told.positions);
                    }
                    many.sum.progress.insert(told.topic.clone(), told.progress);
                    (told.topic, told.step)
                }
                None => std::future::pending().await,
            },
        }
    }

    fn cursor(&self) -> String {
        match self {
            Source::One(follower) => {
                Cursor::of(follower.topic(), follower.positions().clone()).encode()
            }
            Source::Many(many) => many.sum.cursor.encode(),
        }
    }

    fn progress(&self) -> Progress {
        match self {
            Source::One(follower) => follower.progress(),
            Source::Many(many) => many.sum.progress.values().fold(
                Progress {
                    live: true,
                    ..Progress::default()
                },
                |sum, one| Progress {
                    scanned: sum.scanned + one.scanned,
                    matched: sum.matched + one.matched,
                    live: sum.live && one.live,
                },
            ),
        }
    }
}

/// A stream under way.
struct Events {
    gateway: Gateway,
    source: Source,
    heartbeat: Instant,
    has_begun: bool,
    is_over: bool,
    _seat: Seat,
}

impl Events {
    /// The next piece of the stream; nothing after its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if !self.has_begun {
            // An id at once, so that a client that is cut off early can go on as well.
            self.has_begun = true;
            let begin = [RETRY, &self.progress()].concat();
            return Some(begin.into());
        }
        let piece = tokio::select! {
            biased;
            () = self.gateway.stopping() => self.end("stopping"),
            (topic, step) = self.source.next() => self.tell(&topic, step),
            () = sleep_until(self.heartbeat) => Bytes::from_static(b":\n\n"),
        };
        self.heartbeat = Instant::now() + HEARTBEAT;
        Some(piece)
    }

    fn tell(&mut self, topic: &str, step: Step) -> Bytes {
        match step {
            Step::Records(objects) => {
                let list = [b"[", objects.as_slice(), b"]"].concat();
                event("records", Some(&self.source.cursor()), &list).into()
            }
            Step::Progress => self.progress().into(),
            Step::Gap(dropped) => {
                let gap = serde_json::json!({ "topic": topic, "dropped": dropped });
                event("gap", None, gap.to_string().as_bytes()).into()
            }
            Step::Deleted => self.end("topic-not-found"),
            Step::Failed(problem) => self.end(problem.kind.code),
        }
    }

    fn progress(&self) -> Vec<u8> {
        let progress = serde_json::to_vec(&self.source.progress()).expect("numbers are JSON");
        event("progress", Some(&self.source.cursor()), &progress)
    }

    fn end(&mut self, reason: &str) -> Bytes {
        self.is_over = true;
        let end = serde_json::json!({ "reason": reason });
        event("end", None, end.to_string().as_bytes()).into()
    }
}

/// One event; line breaks in the data make several `data:` lines, which the client puts together again.
fn event(name: &str, id: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 128);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    if let Some(id) = id {
        out.extend_from_slice(b"\nid: ");
        out.extend_from_slice(id.as_bytes());
    }
    // A carriage return is a line break to the client as well; in JSON either is only ever white space.
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_gives_its_seat_back_and_one_too_many_has_none() {
        let streams = LiveStreams::default();
        drop(streams.seat().expect("there is room"));
        assert_eq!(streams.open.load(Ordering::Relaxed), 0);
        streams.open.store(MOST_STREAMS, Ordering::Relaxed);
        let refused = streams.seat().map(drop).expect_err("there is none");
        assert_eq!(refused.kind, TOO_MANY_REQUESTS);
        assert_eq!(streams.open.load(Ordering::Relaxed), MOST_STREAMS);
    }

    #[test]
    fn line_breaks_in_values_do_not_end_an_event() {
        let written = event("records", Some("c"), b"[{\r\n}]");
        let expected = "event: records\nid: c\ndata: [{\ndata: \ndata: }]\n\n";
        assert_eq!(String::from_utf8(written).expect("text"), expected);
    }
}
