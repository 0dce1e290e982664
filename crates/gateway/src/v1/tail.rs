//! The tail of a topic: what is being written to it, read once for all live streams that follow it.
//!
//! A tail reads from the end on and keeps the last chunks in a ring that every follower reads at its own pace; a follower that is
//! too slow loses the oldest, and the numbers of the chunks tell how many records that were. So an idle stream costs a place in the
//! ring's list and nothing else, and a slow client costs nobody any memory. A tail begins with its first follower and ends with its
//! last. Used by `live.rs`.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use client::offsets::OffsetQuery;
use client::{ErrorKind, FetchLimits, FetchedPartition, Isolation, Position, Reader, Record};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::cursor::Positions;
use super::outgoing::{Decode, Origin, RecordWriter};
use crate::problem::{Problem, TOO_MANY_REQUESTS, TOPIC_NOT_FOUND, UNAVAILABLE};

/// Chunks that a ring keeps for its slowest follower; a chunk is `CHUNK_BYTES`, or one batch where that is larger.
const RING: usize = 32;
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest wait of one read.
const POLL: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How often a tail looks for partitions that were added.
const PARTITIONS_EVERY: Duration = Duration::from_secs(10);
/// How long a follower waits for a tail to find the topic's end.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Each tail holds a connection to each leader of its topic while it waits.
const MOST_TAILS: usize = 48;

/// The tails of a gateway, by topic.
#[derive(Default)]
pub struct Tails(Mutex<HashMap<String, Weak<Tail>>>);

/// A topic that is being followed; dropping the last handle ends the reading.
pub struct Tail {
    shared: Arc<Shared>,
    reading: JoinHandle<()>,
}

struct Shared {
    topic: String,
    reader: Reader,
    state: Mutex<State>,
    has_started: watch::Sender<bool>,
}

struct State {
    /// Gone once the topic is: that is how followers learn it.
    ring: Option<broadcast::Sender<Arc<Chunk>>>,
    /// Where the next chunk begins.
    positions: Positions,
    /// How many records were given before it.
    before: u64,
}

/// Records that came together.
pub struct Chunk {
    /// How many records the tail gave before this chunk.
    pub before: u64,
    pub records: Vec<(i32, Record)>,
    /// Where reading goes on behind the chunk, for its partitions.
    pub reached: Positions,
    rendered: [OnceLock<Rendered>; 4],
}

/// The records of a chunk as JSON objects with commas between.
pub struct Rendered {
    pub text: Vec<u8>,
    /// Where each object ends.
    pub ends: Vec<usize>,
}

impl Rendered {
    /// The object of one record.
    pub fn object(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] + 1,
        };
        &self.text[start..self.ends[index]]
    }
}

impl Chunk {
    fn new(before: u64, fetched: Vec<FetchedPartition>) -> Chunk {
        let reached = fetched
            .iter()
            .map(|of| (of.partition, of.next_offset))
            .collect();
        let records = fetched.into_iter().flat_map(|of| {
            let partition = of.partition;
            of.records
                .into_iter()
                .map(move |record| (partition, record))
        });
        Chunk {
            before,
            records: records.collect(),
            reached,
            rendered: Default::default(),
        }
    }

    /// The records as JSON; written once for all followers that want them so.
    pub fn rendered(&self, topic: Option<&str>, decode: Decode) -> &Rendered {
        let form = 2 * usize::from(topic.is_some()) + usize::from(decode == Decode::None);
        self.rendered[form].get_or_init(|| {
            let mut rendered = Rendered {
                text: Vec::new(),
                ends: Vec::with_capacity(self.records.len()),
            };
            let mut writer = RecordWriter::default();
            for (partition, record) in &self.records {
                if !rendered.text.is_empty() {
                    rendered.text.push(b',');
                }
                let place = Origin {
                    topic,
                    partition: *partition,
                };
                writer.write(&mut rendered.text, place, record, decode);
                rendered.ends.push(rendered.text.len());
            }
            rendered
        })
    }
}

/// What a follower gets: the chunks from now on, and where they begin.
pub struct Subscription {
    pub chunks: broadcast::Receiver<Arc<Chunk>>,
    pub positions: Positions,
    /// The number of records before the first chunk.
    pub before: u64,
}

impl Tails {
    /// The tail of a topic, begun if nobody follows it yet.
    ///
    /// # Errors
    /// `too-many-requests` when too many topics are followed.
    pub fn of(&self, topic: &str, reader: &Reader) -> Result<Arc<Tail>, Problem> {
        let mut tails = self.0.lock();
        if let Some(tail) = tails.get(topic).and_then(Weak::upgrade)
            && !tail.reading.is_finished()
        {
            return Ok(tail);
        }
        tails.retain(|_, tail| tail.strong_count() > 0);
        if tails.len() >= MOST_TAILS {
            let detail = format!("{MOST_TAILS} topics are followed live, the most there may be");
            return Err(Problem::new(TOO_MANY_REQUESTS, detail));
        }
        let shared = Arc::new(Shared {
            topic: topic.to_owned(),
            reader: reader.clone(),
            state: Mutex::new(State {
                ring: Some(broadcast::channel(RING).0),
                positions: Positions::new(),
                before: 0,
            }),
            has_started: watch::channel(false).0,
        });
        let reading = tokio::spawn(run(Arc::clone(&shared)));
        let tail = Arc::new(Tail { shared, reading });
        tails.insert(topic.to_owned(), Arc::downgrade(&tail));
        Ok(tail)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Tail {
    /// Follows from now on.
    ///
    /// # Errors
    /// `unavailable` when the end of the topic cannot be found.
    pub async fn subscribe(&self) -> Result<Subscription, Problem> {
        let mut has_started = self.shared.has_started.subscribe();
        let started = timeout(START_LIMIT, has_started.wait_for(|started| *started)).await;
        if !matches!(started, Ok(Ok(_))) {
            let detail = format!("the end of {} could not be found", self.shared.topic);
            return Err(Problem::new(UNAVAILABLE, detail));
        }
        // Under the lock no chunk goes out between the two.
        let state = self.shared.state.lock();
        let Some(ring) = &state.ring else {
            let detail = format!("{} is no longer there", self.shared.topic);
            return Err(Problem::new(TOPIC_NOT_FOUND, detail));
        };
        Ok(Subscription {
            chunks: ring.subscribe(),
            positions: state.positions.clone(),
            before: state.before,
        })
    }
}

impl Shared {
    fn start_at(&self, positions: Positions) {
        self.state.lock().positions = positions;
        self.has_started.send_replace(true);
    }

    fn end(&self) {
        self.state.lock().ring = None;
        self.has_started.send_replace(true);
    }

    fn positions(&self) -> Vec<Position> {
        let state = self.state.lock();
        let positions = state.positions.iter().map(|(partition, offset)| Position {
            partition: *partition,
            offset: *offset,
        });
        positions.collect()
    }

    fn publish(&self, fetched: Vec<FetchedPartition>) {
        let mut state = self.state.lock();
        for of in &fetched {
            state.positions.insert(of.partition, of.next_offset);
        }
        let chunk = Chunk::new(state.before, fetched);
        if chunk.records.is_empty() {
            return;
        }
        state.before += chunk.records.len() as u64;
        if let Some(ring) = &state.ring {
            // Nobody listening is no error: the last one may be on its way out.
            let _ = ring.send(Arc::new(chunk));
        }
    }

    /// Begins new partitions at their first record, which nobody has missed.
    fn add_partitions(&self, count: usize) {
        let mut state = self.state.lock();
        for partition in (0..).take(count) {
            state.positions.entry(partition).or_insert(0);
        }
    }
}

async fn run(shared: Arc<Shared>) {
    read_on(&shared).await;
    shared.end();
}

/// Reads for as long as the tail is followed and the topic is there.
async fn read_on(shared: &Shared) {
    let topic = shared.topic.as_str();
    loop {
        match shared.reader.offsets(topic, OffsetQuery::Latest).await {
            Ok(ends) => break shared.start_at(ends),
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => tracing::debug!(topic, %error, "finding the end of a topic, again soon"),
        }
        sleep(RETRY_PAUSE).await;
    }
    let limits = FetchLimits {
        max_bytes: CHUNK_BYTES,
        max_wait: POLL,
        min_bytes: 1,
        isolation: Isolation::ReadCommitted,
    };
    let mut look_at = Instant::now() + PARTITIONS_EVERY;
    loop {
        if Instant::now() >= look_at {
            look_at = Instant::now() + PARTITIONS_EVERY;
            match shared.reader.topic(topic).await {
                Ok(known) => shared.add_partitions(known.partitions.len()),
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(error) => tracing::debug!(topic, %error, "looking for new partitions"),
            }
        }
        match shared
            .reader
            .fetch(topic, &shared.positions(), limits)
            .await
        {
            Ok(fetched) => {
                let failed = fetched.iter().any(|of| of.error.is_some());
                shared.publish(fetched.into_iter().map(past_what_is_gone).collect());
                if failed {
                    // A topic that is gone is told as a fault of its partitions first.
                    look_at = Instant::now();
                    sleep(RETRY_PAUSE).await;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                tracing::debug!(topic, %error, "following a topic, again soon");
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// A partition that was cut off below or above the position goes on at its start.
fn past_what_is_gone(mut fetched: FetchedPartition) -> FetchedPartition {
    if fetched.error == Some(wire::ErrorCode::OffsetOutOfRange) && fetched.log_start_offset >= 0 {
        fetched.next_offset = fetched.log_start_offset;
    }
    fetched
}
