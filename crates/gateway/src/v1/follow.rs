//! One topic as one live stream sees it: first by its own reads until it has caught up, then by the topic's shared tail.
//!
//! What it keeps true: from the starting point on every record comes once and in the order of its partition, or is counted as
//! dropped. The change from own reads to the tail loses nothing and repeats nothing: the stream subscribes first and then reads on
//! to where the subscription begins. A wait may be broken off at any time: what is gathered is in the struct, and positions move
//! only together with the records before them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Reader, Record};
use serde::Serialize;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep, sleep_until};

use super::cursor::Positions;
use super::filter::Filter;
use super::outgoing::{Decode, Origin, RecordWriter};
use super::scan::{Scan, ScanLimits};
use super::start::Start;
use super::tail::{Chunk, Subscription, Tail};
use crate::problem::{Problem, TOPIC_NOT_FOUND};

/// Records that come within this time go out together.
const COALESCE: Duration = Duration::from_millis(50);
/// Larger events go out at once.
const EVENT_BYTES: usize = 512 * 1024;
const EVENT_RECORDS: usize = 1_000;
/// How long a filter may find nothing before the stream says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How long a read waits between the subscription's beginning and its own place, as for the end of an open transaction.
const JOIN_WAIT: Duration = Duration::from_millis(500);
/// The pause after a read that failed in part.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// What happens next in a topic.
#[derive(Debug)]
pub enum Step {
    /// JSON objects with commas between.
    Records(Vec<u8>),
    /// As `Follower::progress` tells.
    Progress,
    /// So many records of the topic were dropped: the client was too slow, or they are no longer kept.
    Gap(u64),
    /// The topic is gone.
    Deleted,
    /// It cannot be read on.
    Failed(Problem),
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Records looked at since the stream began.
    pub scanned: u64,
    /// Records given.
    pub matched: u64,
    /// Whether it has caught up with the end.
    pub live: bool,
}

/// What a stream wants to see of a topic.
#[derive(Debug, Clone)]
pub struct View {
    pub topic: String,
    /// Whether records name their topic.
    pub is_labelled: bool,
    /// Whether partitions that are added later belong to it.
    pub has_all_partitions: bool,
    pub decode: Decode,
    pub filter: Option<Filter>,
}

pub struct Follower {
    view: View,
    reader: Reader,
    tail: Arc<Tail>,
    positions: Positions,
    state: State,
    /// The last own read came to the end, and the change to the tail is still to come.
    is_at_end: bool,
    out: Vec<u8>,
    gathered: usize,
    /// When something went out last.
    told: Instant,
    progress: Progress,
    scanned_when_told: u64,
}

enum State {
    /// By own reads.
    CatchingUp,
    /// By own reads, to where the subscription begins.
    Joining(Subscription),
    Live(Subscription),
    Over,
}

impl Follower {
    /// Follows from the end on.
    ///
    /// # Errors
    /// As [`Tail::subscribe`].
    pub async fn from_end(
        view: View,
        reader: Reader,
        tail: Arc<Tail>,
        wanted: Option<&BTreeSet<i32>>,
    ) -> Result<Follower, Problem> {
        let subscription = tail.subscribe().await?;
        let is_wanted = |partition: &i32| wanted.is_none_or(|wanted| wanted.contains(partition));
        let positions = subscription
            .positions
            .iter()
            .filter(|(partition, _)| is_wanted(partition));
        let positions = positions
            .map(|(partition, offset)| (*partition, *offset))
            .collect();
        let mut follower = Follower::from(view, reader, tail, positions);
        follower.progress.live = true;
        follower.state = State::Live(subscription);
        Ok(follower)
    }

    /// Follows from positions on.
    pub fn from(view: View, reader: Reader, tail: Arc<Tail>, positions: Positions) -> Follower {
        Follower {
            view,
            reader,
            tail,
            positions,
            state: State::CatchingUp,
            is_at_end: false,
            out: Vec::new(),
            gathered: 0,
            told: Instant::now(),
            progress: Progress::default(),
            scanned_when_told: 0,
        }
    }

    pub fn topic(&self) -> &str {
        &self.view.topic
    }

    /// Where the stream would go on after what it has given.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Waits for what happens next; may be broken off and called again.
    pub async fn next(&mut self) -> Step {
        loop {
            let step = match &self.state {
                State::Over => std::future::pending().await,
                State::CatchingUp | State::Joining(_) => self.catch_up().await,
                State::Live(_) => self.listen().await,
            };
            match step {
                Ok(Some(step)) => {
                    self.told = Instant::now();
                    self.scanned_when_told = self.progress.scanned;
                    return step;
                }
                Ok(None) => {}
                Err(problem) => {
                    self.state = State::Over;
                    return match problem.kind == TOPIC_NOT_FOUND {
                        true => Step::Deleted,
                        false => Step::Failed(problem),
                    };
                }
            }
        }
    }

    /// The change to the tail when the last own read came to the end, and else one own read.
    async fn catch_up(&mut self) -> Result<Option<Step>, Problem> {
        if self.is_at_end {
            self.join().await?;
            self.is_at_end = false;
            return Ok(self.progress_when_due());
        }
        let limits = ScanLimits {
            records: EVENT_RECORDS,
            bytes: EVENT_BYTES,
            wait: self.wait(),
            patience: PROGRESS_EVERY,
        };
        let (mut out, mut matched) = (Vec::new(), 0);
        let start = Start {
            positions: self.positions.clone(),
            ends: self.positions_at_infinity(),
        };
        let mut scan = Scan::new(&self.reader, &self.view.topic, start);
        let mut writer = RecordWriter::default();
        let view = &self.view;
        let take = |partition, record: &Record| {
            let is_wanted = view
                .filter
                .as_ref()
                .is_none_or(|filter| filter.takes(partition, record));
            if is_wanted {
                if !out.is_empty() {
                    out.push(b',');
                }
                let topic = view.is_labelled.then_some(view.topic.as_str());
                writer.write(&mut out, Origin { topic, partition }, record, view.decode);
                matched += 1;
            }
            is_wanted
        };
        scan.run(limits, take).await?;
        let (facts, positions) = (scan.facts, scan.positions);
        self.positions = positions;
        self.progress.scanned += facts.records;
        self.progress.matched += matched;
        let is_joining = matches!(self.state, State::Joining(_));
        self.is_at_end = facts.errors.is_empty() && (facts.reached_end || is_joining);
        // Before anything else is waited for: whoever breaks off then would lose what the positions have passed.
        if !out.is_empty() {
            return Ok(Some(Step::Records(out)));
        }
        if facts.errors.iter().any(|error| error.is_gone) {
            return self.skip_what_is_gone().await;
        }
        if !facts.errors.is_empty() {
            sleep(RETRY_PAUSE).await;
        }
        Ok(self.progress_when_due())
    }

    /// None when there was something to tell just now, and the stream is not live yet.
    fn progress_when_due(&self) -> Option<Step> {
        let is_quiet = self.told.elapsed() < PROGRESS_EVERY && !self.progress.live;
        (!is_quiet).then_some(Step::Progress)
    }

    /// How long an own read may wait for records: what lies before a subscription is there or comes, as behind an open transaction.
    fn wait(&self) -> Duration {
        match self.state {
            State::Joining(_) => JOIN_WAIT,
            _ => Duration::ZERO,
        }
    }

    /// Ends that are unknown until a read tells them.
    fn positions_at_infinity(&self) -> Positions {
        self.positions
            .keys()
            .map(|partition| (*partition, i64::MAX))
            .collect()
    }

    /// Subscribes at the end, and is live once it has read to where the subscription begins.
    async fn join(&mut self) -> Result<(), Problem> {
        let subscription = match std::mem::replace(&mut self.state, State::CatchingUp) {
            State::Joining(subscription) => subscription,
            _ => self.tail.subscribe().await?,
        };
        if self.view.has_all_partitions {
            for partition in subscription.positions.keys() {
                self.positions.entry(*partition).or_insert(0);
            }
        }
        let has_reached = |(partition, offset): (&i32, &i64)| {
            subscription
                .positions
                .get(partition)
                .is_none_or(|begin| offset >= begin)
        };
        self.progress.live = self.positions.iter().all(has_reached);
        self.state = match self.progress.live {
            true => State::Live(subscription),
            false => State::Joining(subscription),
        };
        Ok(())
    }

    /// Goes on at the first record that is still there, and says that some are gone.
    async fn skip_what_is_gone(&mut self) -> Result<Option<Step>, Problem> {
        use client::offsets::OffsetQuery;
        let starts = self
            .reader
            .offsets(&self.view.topic, OffsetQuery::Earliest)
            .await?;
        let ends = self
            .reader
            .offsets(&self.view.topic, OffsetQuery::Latest)
            .await?;
        let mut dropped = 0;
        for (partition, offset) in &mut self.positions {
            let start = starts.get(partition).copied().unwrap_or(0);
            let end = ends.get(partition).copied().unwrap_or(start);
            if *offset < start {
                dropped += start.abs_diff(*offset);
                *offset = start;
            } else if *offset > end {
                // The topic was made anew: what it has now was never seen.
                *offset = start;
            }
        }
        Ok(Some(Step::Gap(dropped)))
    }

    /// Gathers what the tail gives, for as long as records may go out together.
    async fn listen(&mut self) -> Result<Option<Step>, Problem> {
        let due = self.told + COALESCE;
        let is_full = self.out.len() >= EVENT_BYTES || self.gathered >= EVENT_RECORDS;
        if self.gathered > 0 && (is_full || Instant::now() >= due) {
            self.gathered = 0;
            return Ok(Some(Step::Records(std::mem::take(&mut self.out))));
        }
        let State::Live(subscription) = &mut self.state else {
            return Ok(None);
        };
        let received = match self.gathered {
            0 => subscription.chunks.recv().await,
            _ => match subscription.chunks.try_recv() {
                Ok(chunk) => Ok(chunk),
                Err(TryRecvError::Lagged(count)) => Err(RecvError::Lagged(count)),
                Err(TryRecvError::Closed) => Err(RecvError::Closed),
                Err(TryRecvError::Empty) => tokio::select! {
                    received = subscription.chunks.recv() => received,
                    () = sleep_until(due) => return Ok(None),
                },
            },
        };
        match received {
            Ok(chunk) => Ok(self.take(&chunk)),
            // The next chunk tells by its number how many records are missing.
            Err(RecvError::Lagged(_)) => Ok(None),
            Err(RecvError::Closed) => {
                let detail = format!("{} is no longer there", self.view.topic);
                Err(Problem::new(TOPIC_NOT_FOUND, detail))
            }
        }
    }

    /// Takes from a chunk what is wanted; tells of a gap before it, or of progress when nothing was.
    fn take(&mut self, chunk: &Chunk) -> Option<Step> {
        let State::Live(subscription) = &mut self.state else {
            return None;
        };
        let dropped = chunk.before.saturating_sub(subscription.before);
        subscription.before = chunk.before + chunk.records.len() as u64;
        self.progress.scanned += chunk.records.len() as u64;
        let taken = self.append(chunk);
        self.progress.matched += taken as u64;
        self.gathered += taken;
        for (partition, offset) in &chunk.reached {
            if let Some(position) = self.positions.get_mut(partition) {
                *position = (*position).max(*offset);
            } else if self.view.has_all_partitions {
                // It was added after the stream began.
                self.positions.insert(*partition, *offset);
            }
        }
        if dropped > 0 {
            return Some(Step::Gap(dropped));
        }
        let has_news = self.progress.scanned > self.scanned_when_told;
        let is_silent = self.gathered == 0 && has_news && self.told.elapsed() >= PROGRESS_EVERY;
        is_silent.then_some(Step::Progress)
    }

    fn append(&mut self, chunk: &Chunk) -> usize {
        let topic = self.view.is_labelled.then_some(self.view.topic.as_str());
        let rendered = chunk.rendered(topic, self.view.decode);
        let mut taken = 0;
        for (index, (partition, record)) in chunk.records.iter().enumerate() {
            let is_new = self.is_new(*partition, record.offset);
            let filter = self.view.filter.as_ref();
            if !is_new || filter.is_some_and(|filter| !filter.takes(*partition, record)) {
                continue;
            }
            if !self.out.is_empty() {
                self.out.push(b',');
            }
            self.out.extend_from_slice(rendered.object(index));
            taken += 1;
        }
        taken
    }

    /// Whether a record lies in a partition that is followed, behind what was already given.
    fn is_new(&self, partition: i32, offset: i64) -> bool {
        match self.positions.get(&partition) {
            Some(position) => offset >= *position,
            None => self.view.has_all_partitions,
        }
    }
}
