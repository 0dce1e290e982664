//! Reads on from positions until a page is full: the loop behind a page of records and behind a live stream that catches up.
//!
//! Order is kept within a partition; between partitions records are taken by time, as far as they were fetched together, so that no
//! partition keeps the others out. A scan ends at its limits of records, bytes and time, and always knows where to go on.

use std::collections::VecDeque;
use std::time::Duration;

use client::{FetchLimits, FetchedPartition, Isolation, Position, Reader, Record};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use wire::ErrorCode;

use super::cursor::Positions;
use super::start::Start;
use crate::problem::Problem;

/// One answer of a broker.
const FETCH_BYTES: usize = 1024 * 1024;

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScanFacts {
    /// Records looked at, whether the filter took them or not.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    pub elapsed_ms: u64,
    /// Whether everything was read that was there.
    pub reached_end: bool,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ScanError>,
}

/// Why a part of a partition was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScanError {
    pub partition: i32,
    pub detail: String,
    /// Whether the position is no longer, or not yet, in the partition.
    #[serde(skip)]
    pub is_gone: bool,
}

/// When a scan is over.
#[derive(Debug, Clone, Copy)]
pub struct ScanLimits {
    /// Records that were taken.
    pub records: usize,
    /// Bytes of keys and values that were taken; the first record is taken anyway.
    pub bytes: usize,
    /// How long to wait for a first record when there is none.
    pub wait: Duration,
    /// How long to look for records that the filter takes.
    pub patience: Duration,
}

/// A read under way.
pub struct Scan<'a> {
    reader: &'a Reader,
    topic: &'a str,
    pub positions: Positions,
    ends: Positions,
    pub facts: ScanFacts,
    taken_records: usize,
    taken_bytes: usize,
}

impl<'a> Scan<'a> {
    pub fn new(reader: &'a Reader, topic: &'a str, start: Start) -> Scan<'a> {
        Scan {
            reader,
            topic,
            positions: start.positions,
            ends: start.ends,
            facts: ScanFacts::default(),
            taken_records: 0,
            taken_bytes: 0,
        }
    }

    /// Gives each record to `take`, which tells whether it wants it, until a limit is reached or nothing more is there.
    ///
    /// # Errors
    /// What concerns the topic or the cluster; what concerns one partition is among the facts.
    pub async fn run(
        &mut self,
        limits: ScanLimits,
        mut take: impl FnMut(i32, &Record) -> bool,
    ) -> Result<(), Problem> {
        let started = Instant::now();
        loop {
            let wait = match self.has_reached_end() && self.taken_records == 0 {
                true => limits.wait.saturating_sub(started.elapsed()),
                false => Duration::ZERO,
            };
            let fetched = self.fetch(wait).await?;
            let is_full = self.consume(fetched, limits, &mut take);
            let elapsed = started.elapsed();
            self.facts.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.facts.reached_end = self.has_reached_end();
            let has_waited = self.taken_records > 0 || elapsed >= limits.wait;
            let is_over = match self.facts.reached_end {
                true => has_waited,
                false => elapsed >= limits.patience.max(limits.wait),
            };
            if is_full || is_over || !self.facts.errors.is_empty() {
                return Ok(());
            }
        }
    }

    fn has_reached_end(&self) -> bool {
        let end = |partition| self.ends.get(partition).copied().unwrap_or(0);
        self.positions
            .iter()
            .all(|(partition, offset)| *offset >= end(partition))
    }

    async fn fetch(&mut self, wait: Duration) -> Result<Vec<FetchedPartition>, Problem> {
        let from = self.positions.iter().map(|(partition, offset)| Position {
            partition: *partition,
            offset: *offset,
        });
        let from: Vec<Position> = from.collect();
        let limits = FetchLimits {
            max_bytes: FETCH_BYTES,
            max_wait: wait,
            min_bytes: 1,
            isolation: Isolation::ReadCommitted,
        };
        Ok(self.reader.fetch(self.topic, &from, limits).await?)
    }

    /// Takes what was fetched, by time; tells whether the page is full.
    fn consume(
        &mut self,
        fetched: Vec<FetchedPartition>,
        limits: ScanLimits,
        take: &mut impl FnMut(i32, &Record) -> bool,
    ) -> bool {
        let mut queues = Vec::with_capacity(fetched.len());
        for partition in fetched {
            self.note(&partition);
            queues.push(Queue {
                partition: partition.partition,
                next_offset: partition.next_offset,
                records: partition.records.into(),
            });
        }
        while let Some(queue) = earliest(&mut queues) {
            let record = queue
                .records
                .front()
                .expect("the earliest queue has a record");
            let size = record.key.as_ref().map_or(0, |key| key.len())
                + record.value.as_ref().map_or(0, |value| value.len());
            let is_full = self.taken_records >= limits.records
                || (self.taken_records > 0 && self.taken_bytes + size > limits.bytes);
            if is_full {
                return true;
            }
            self.facts.records += 1;
            self.facts.bytes += size as u64;
            if take(queue.partition, record) {
                self.taken_records += 1;
                self.taken_bytes += size;
            }
            self.positions.insert(queue.partition, record.offset + 1);
            queue.records.pop_front();
        }
        // Every record is taken; what follows them may be markers of transactions.
        for queue in queues {
            self.positions.insert(queue.partition, queue.next_offset);
        }
        self.taken_records >= limits.records
    }

    /// Notes where a partition ends now, and why nothing came of it.
    fn note(&mut self, fetched: &FetchedPartition) {
        let end = self.ends.entry(fetched.partition).or_insert(0);
        if fetched.last_stable_offset >= 0 {
            *end = fetched.last_stable_offset;
        }
        let Some(code) = fetched.error else { return };
        let offset = self.positions.get(&fetched.partition).copied().unwrap_or(0);
        let detail = match code {
            ErrorCode::OffsetOutOfRange => {
                let start = fetched.log_start_offset.max(0);
                format!(
                    "offset {offset} is gone or not there yet; the partition begins at {start} and ends at {end}"
                )
            }
            code => format!("offset {offset}: {} ({})", code.message(), code.name()),
        };
        let partition = fetched.partition;
        let is_gone = code == ErrorCode::OffsetOutOfRange;
        self.facts.errors.push(ScanError {
            partition,
            detail,
            is_gone,
        });
    }
}

struct Queue {
    partition: i32,
    next_offset: i64,
    records: VecDeque<Record>,
}

/// The queue whose next record is the oldest.
fn earliest(queues: &mut [Queue]) -> Option<&mut Queue> {
    let with_records = queues.iter_mut().filter(|queue| !queue.records.is_empty());
    with_records.min_by_key(|queue| queue.records.front().map(|record| record.timestamp_ms))
}
