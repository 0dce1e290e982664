//! `application/x-ndjson`: a record a line, any number of them, answered with a summary once the stream has ended.
//!
//! Memory is bounded: what has been read is sent at once, and reading waits while too much is unacknowledged, so that a fast client
//! feels the cluster's pace. A line that is not right costs only itself. What came before a client went away stays stored. A stream
//! that breaks off is answered with the problem and, beside it, with what is stored; nothing that was sent is left untold.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use client::Acknowledgements;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::incoming;
use super::outcome::{self, Outcome};
use super::produce::{Target, merge};
use super::request::{slow_body, unprocessable};
use crate::problem::{BAD_REQUEST, FieldError, Problem, ProblemBody, TOO_LARGE};
use crate::request_id::RequestId;

/// A longer line is no record: brokers take 1 MiB unless told otherwise.
const MOST_LINE_BYTES: usize = 8 * 1024 * 1024;
/// Reading waits while more is unacknowledged.
const MOST_RECORDS_UNDER_WAY: usize = 5_000;
const MOST_BYTES_UNDER_WAY: usize = 8 * 1024 * 1024;
/// How long a client may pause within a stream.
const PAUSE_LIMIT: Duration = Duration::from_secs(60);
/// So many errors are told one by one.
const MOST_ERRORS: usize = 100;

/// What became of a stream.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct StreamSummary {
    pub stored: u64,
    pub failed: u64,
    pub partitions: Vec<StreamPartition>,
    /// The first hundred.
    pub errors: Vec<LineError>,
    /// More failed than `errors` has.
    pub errors_truncated: bool,
}

/// What a stream stored in one partition; others may have written between these offsets.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StreamPartition {
    pub partition: i32,
    pub stored: u64,
    pub first_offset: i64,
    pub last_offset: i64,
}

/// Why a line was not stored; lines count from 1.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineError {
    pub line: u64,
    pub error: ProblemBody,
}

/// Sends line after line and tells what became of them.
pub async fn produce(
    target: Target,
    body: Body,
    id: Option<&RequestId>,
) -> Result<Response, Problem> {
    let mut lines = Lines::new(body);
    let mut under_way = UnderWay::default();
    let broken_off = loop {
        match lines.next_block().await {
            Ok(Some(block)) => {
                under_way.make_room(block.len()).await;
                under_way.send(&target, &block);
            }
            Ok(None) => break None,
            Err(problem) => break Some(problem),
        }
    };
    while under_way.settle_oldest().await {}
    match broken_off {
        Some(problem) => Ok(respond_broken_off(problem, under_way.tally, id)),
        None => respond(under_way.tally),
    }
}

/// The problem that ended the stream, with what became of the lines before.
fn respond_broken_off(problem: Problem, tally: Tally, id: Option<&RequestId>) -> Response {
    #[derive(Serialize)]
    struct Beside {
        summary: StreamSummary,
    }
    let problem = Problem {
        may_have_happened: tally.may_be_stored(),
        ..problem
    };
    let summary = tally.summary;
    outcome::problem_beside(&problem, &Beside { summary }, id)
}

fn respond(tally: Tally) -> Result<Response, Problem> {
    let may_have_happened = tally.may_be_stored();
    let summary = tally.summary;
    let Some(first) = tally.first_problem else {
        return match summary.stored {
            0 => Err(unprocessable("the stream had no record")),
            _ => Ok((StatusCode::OK, Json(summary)).into_response()),
        };
    };
    if summary.stored > 0 {
        return Ok((StatusCode::MULTI_STATUS, Json(summary)).into_response());
    }
    let errors = summary.errors.into_iter().map(|error| FieldError {
        pointer: format!("/{}", error.line - 1),
        detail: error.error.detail,
    });
    let detail = format!(
        "none of {} lines was stored: {}",
        summary.failed, first.detail
    );
    Err(Problem {
        errors: errors.collect(),
        may_have_happened,
        ..Problem::new(first.kind, detail)
    })
}

/// The body, in blocks of whole lines.
struct Lines {
    body: BodyDataStream,
    pending: BytesMut,
    has_ended: bool,
}

impl Lines {
    fn new(body: Body) -> Lines {
        Lines {
            body: body.into_data_stream(),
            pending: BytesMut::new(),
            has_ended: false,
        }
    }

    /// The lines that have come, at least one; nothing at the end.
    async fn next_block(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(self.pending.split_to(end + 1).freeze()));
            }
            if self.has_ended {
                let rest = self.pending.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            if self.pending.len() > MOST_LINE_BYTES {
                let detail = format!(
                    "a line is longer than {MOST_LINE_BYTES} bytes; `summary` says what is stored of the lines before it"
                );
                return Err(Problem::new(TOO_LARGE, detail));
            }
            match timeout(PAUSE_LIMIT, self.body.next()).await {
                Err(_) => return Err(slow_body()),
                Ok(None) => self.has_ended = true,
                Ok(Some(Ok(chunk))) => self.pending.extend_from_slice(&chunk),
                Ok(Some(Err(error))) => {
                    let detail =
                        format!("the stream broke off: {error}; `summary` says what is stored");
                    return Err(Problem::new(BAD_REQUEST, detail));
                }
            }
        }
    }
}

/// Blocks that were sent and are not yet acknowledged, oldest first.
#[derive(Default)]
struct UnderWay {
    blocks: VecDeque<Block>,
    records: usize,
    bytes: usize,
    lines: u64,
    tally: Tally,
}

struct Block {
    acknowledgements: Acknowledgements,
    records: usize,
    bytes: usize,
    /// The number of each record's line.
    lines: Vec<u64>,
    wrong: Vec<(usize, Problem)>,
}

impl UnderWay {
    async fn make_room(&mut self, bytes: usize) {
        let is_full = |way: &UnderWay| {
            way.records > MOST_RECORDS_UNDER_WAY || way.bytes + bytes > MOST_BYTES_UNDER_WAY
        };
        while is_full(self) && self.settle_oldest().await {}
    }

    fn send(&mut self, target: &Target, block: &Bytes) {
        let (mut records, mut lines) = (Vec::new(), Vec::new());
        for line in block.split(|byte| *byte == b'\n') {
            // The piece behind the last line break is not a line.
            self.lines += 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match incoming::parse_line(line) {
                Ok(record) => {
                    records.push(record);
                    lines.push(self.lines);
                }
                Err(problem) => self.tally.failed(self.lines, problem),
            }
        }
        if block.ends_with(b"\n") {
            self.lines -= 1;
        }
        let wrong = target.prepare(&mut records);
        let acknowledgements = target.send(&records);
        self.records += lines.len();
        self.bytes += block.len();
        self.blocks.push_back(Block {
            acknowledgements,
            records: lines.len(),
            bytes: block.len(),
            lines,
            wrong,
        });
    }

    /// Waits for the oldest block; tells whether there was one.
    async fn settle_oldest(&mut self) -> bool {
        let Some(block) = self.blocks.pop_front() else {
            return false;
        };
        let outcomes = outcome::of_client(block.acknowledgements.await);
        self.records -= block.records;
        self.bytes -= block.bytes;
        for (line, outcome) in block.lines.into_iter().zip(merge(outcomes, block.wrong)) {
            self.tally.count(line, outcome);
        }
        true
    }
}

/// The summary as it grows.
#[derive(Default)]
struct Tally {
    summary: StreamSummary,
    places: BTreeMap<i32, usize>,
    first_problem: Option<Problem>,
    /// A line that failed may be stored all the same.
    is_uncertain: bool,
}

impl Tally {
    /// Whether anything of the stream is stored, or may be.
    fn may_be_stored(&self) -> bool {
        self.summary.stored > 0 || self.is_uncertain
    }

    fn count(&mut self, line: u64, outcome: Outcome) {
        let stored = match outcome {
            Ok(stored) => stored,
            Err(problem) => return self.failed(line, problem),
        };
        self.summary.stored += 1;
        let partitions = &mut self.summary.partitions;
        let place = *self.places.entry(stored.partition).or_insert_with(|| {
            partitions.push(StreamPartition {
                partition: stored.partition,
                stored: 0,
                first_offset: stored.offset,
                last_offset: stored.offset,
            });
            partitions.len() - 1
        });
        let partition = &mut partitions[place];
        partition.stored += 1;
        partition.first_offset = partition.first_offset.min(stored.offset);
        partition.last_offset = partition.last_offset.max(stored.offset);
    }

    fn failed(&mut self, line: u64, problem: Problem) {
        self.summary.failed += 1;
        self.is_uncertain |= problem.may_have_happened;
        if self.summary.errors.len() < MOST_ERRORS {
            let error = problem.body();
            self.summary.errors.push(LineError { line, error });
        } else {
            self.summary.errors_truncated = true;
        }
        self.first_problem.get_or_insert(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::MayHaveHappened;
    use crate::problem::{TIMED_OUT, UNAVAILABLE};
    use client::Acknowledged;

    async fn blocks(chunks: &[&'static str]) -> Result<Vec<String>, Problem> {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, std::io::Error>(*chunk))
            .collect();
        let mut lines = Lines::new(Body::from_stream(futures_util::stream::iter(chunks)));
        let mut blocks = Vec::new();
        while let Some(block) = lines.next_block().await? {
            blocks.push(String::from_utf8(block.to_vec()).expect("text"));
        }
        Ok(blocks)
    }

    #[tokio::test]
    async fn lines_are_whole_however_they_come() {
        let blocks = blocks(&["a\nb", "c\n", "d\ne\nf"]).await.expect("whole");
        assert_eq!(blocks, ["a\n", "bc\n", "d\ne\n", "f"]);
    }

    #[test]
    fn a_tally_has_ranges_and_the_first_errors() {
        let mut tally = Tally::default();
        for offset in [7, 5, 9] {
            let stored = Acknowledged {
                partition: 1,
                offset,
                timestamp_ms: 0,
            };
            tally.count(1, Ok(stored));
        }
        for line in 0..150 {
            tally.count(line, Err(Problem::new(TIMED_OUT, "late")));
        }
        let summary = &tally.summary;
        assert_eq!((summary.stored, summary.failed), (3, 150));
        assert_eq!(
            (summary.errors.len(), summary.errors_truncated),
            (100, true)
        );
        let partition = &summary.partitions[0];
        assert_eq!((partition.first_offset, partition.last_offset), (5, 9));
    }

    #[test]
    fn a_stream_of_which_nothing_is_stored_is_an_error() {
        let mut tally = Tally::default();
        assert!(respond(Tally::default()).is_err());
        tally.failed(3, Problem::invalid("/value", "no"));
        let problem = respond(tally).expect_err("nothing stored");
        assert_eq!(problem.errors[0].pointer, "/2");
        assert!(!problem.may_have_happened);
    }

    #[test]
    fn a_line_whose_fate_is_unknown_leaves_the_whole_stream_uncertain() {
        let mut tally = Tally::default();
        tally.failed(1, Problem::invalid("/value", "no"));
        let unknown = Problem {
            may_have_happened: true,
            ..Problem::new(UNAVAILABLE, "no answer came")
        };
        tally.failed(2, unknown);
        let problem = respond(tally).expect_err("nothing stored for certain");
        assert!(problem.may_have_happened);
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_tells_what_is_stored_before() {
        let mut tally = Tally::default();
        let stored = Acknowledged {
            partition: 0,
            offset: 7,
            timestamp_ms: 0,
        };
        tally.count(1, Ok(stored));
        let too_long = Problem::new(TOO_LARGE, "a line is too long");
        let response = respond_broken_off(too_long, tally, None);
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(response.extensions().get::<MayHaveHappened>().is_some());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body: serde_json::Value =
            serde_json::from_slice(&body.expect("in memory")).expect("JSON");
        assert_eq!(body["code"], "too-large");
        assert_eq!(body["summary"]["partitions"][0]["last_offset"], 7);
    }

    #[test]
    fn a_stream_of_which_nothing_was_sent_breaks_off_without_a_trace() {
        let problem = Problem::new(TOO_LARGE, "a line is too long");
        let response = respond_broken_off(problem, Tally::default(), None);
        assert!(response.extensions().get::<MayHaveHappened>().is_none());
    }
}
