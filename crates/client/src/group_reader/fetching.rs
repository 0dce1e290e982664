//! Fetching for a member: from the group's offsets on, over `wire`, one fetch at a time and only when somebody wants records.
//!
//! Callers take turns: one fetches for all, and when it goes away in the middle another one goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use wire::ErrorCode;

use super::board::{Place, Under};
use super::member::Member;
use crate::admin::offsets::OffsetQuery;
use crate::cluster::Cluster;
use crate::consumer::Position;
use crate::error::ClientError;
use crate::reader::{FetchLimits, FetchedPartition, Isolation, Reader};

/// What one fetch holds at most, of all partitions of a topic.
const FETCH_BYTES: usize = 1024 * 1024;
/// How long after the end of a wait its answer may come.
const GRACE: Duration = Duration::from_secs(1);
/// The longest of the waits for several topics at once.
const SHARED_WAIT: Duration = Duration::from_millis(500);

/// What the properties of a member say about reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Where to begin without an offset of the group, or with one that is gone; none is an error.
    reset: Option<OffsetQuery>,
    isolation: Isolation,
}

impl Policy {
    pub(super) fn of(config: &ClientConfig) -> Policy {
        let reset = match config.get("auto.offset.reset") {
            Some("smallest" | "earliest" | "beginning") => Some(OffsetQuery::Earliest),
            Some("largest" | "latest" | "end") => Some(OffsetQuery::Latest),
            _ => None,
        };
        let isolation = match config.get("isolation.level") {
            Some("read_uncommitted") => Isolation::ReadUncommitted,
            _ => Isolation::ReadCommitted,
        };
        Policy { reset, isolation }
    }
}

pub(super) struct Fetching {
    reader: Reader,
    policy: Policy,
    turn: Mutex<()>,
}

type Asked = BTreeMap<Arc<str>, Vec<Under<Position>>>;

impl Fetching {
    pub(super) fn new(cluster: &Cluster, policy: Policy) -> Fetching {
        Fetching {
            reader: cluster.reader(),
            policy,
            turn: Mutex::new(()),
        }
    }

    /// Waits until nobody else fetches.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Puts what comes until `deadline` on the board; ends early when the board changes otherwise.
    pub(super) async fn fetch(
        &self,
        _turn: MutexGuard<'_, ()>,
        member: &Member,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let started = Instant::now();
        let interruption = member.interruption();
        if member.with_board(|board| board.has_records()) {
            return Ok(());
        }
        let fetch = async {
            self.locate(member).await?;
            let asked = member.with_board(|board| board.to_fetch());
            if asked.is_empty() {
                sleep_until(deadline).await;
                return Ok(());
            }
            self.fetch_all(member, asked, deadline).await
        };
        // The broker's answer that nothing came is due at the deadline; to be gone by then would cost the connection.
        let bounded = timeout_at(deadline + GRACE, fetch);
        tokio::select! {
            fetched = bounded => fetched.unwrap_or_else(|_| Err(ClientError::TimedOut {
                what: member.reading(),
                after: started.elapsed(),
            })),
            () = interruption => Ok(()),
        }
    }

    /// Finds out where the group is in partitions that are newly assigned.
    async fn locate(&self, member: &Member) -> Result<(), ClientError> {
        let unknown = member.with_board(|board| board.to_locate());
        if unknown.is_empty() {
            return Ok(());
        }
        let committed = member.committed(&unknown).await?;
        for (place, offset) in unknown.iter().zip(committed) {
            let offset = match offset {
                Some(offset) => offset,
                None => self.reset(&place.of).await?,
            };
            member.with_board(|board| board.locate(place, offset));
        }
        Ok(())
    }

    async fn reset(&self, (topic, partition): &Place) -> Result<i64, ClientError> {
        let what = || format!("reading {topic}-{partition}");
        let Some(query) = self.policy.reset else {
            let why = "the group has no offset there, and auto.offset.reset names none to begin at";
            let code = ErrorCode::OffsetOutOfRange;
            return Err(ClientError::refused(what(), code, Some(why)));
        };
        let offsets = self.reader.offsets(topic, query).await?;
        let offset = offsets.get(partition).copied();
        offset.ok_or_else(|| ClientError::refused(what(), ErrorCode::UnknownTopicOrPartition, None))
    }

    /// Asks for all topics; the first one that has records ends the wait.
    async fn fetch_all(
        &self,
        member: &Member,
        asked: Asked,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let limits = FetchLimits {
            max_bytes: FETCH_BYTES,
            max_wait: match asked.len() {
                1 => left,
                _ => left.min(SHARED_WAIT),
            },
            min_bytes: 1,
            isolation: self.policy.isolation,
        };
        let mut fetches = JoinSet::new();
        for (topic, positions) in asked {
            let reader = self.reader.clone();
            let from: Vec<Position> = positions.iter().map(|position| position.of).collect();
            fetches.spawn(async move {
                let fetched = reader.fetch(&topic, &from, limits).await;
                fetched.map(|fetched| (topic, positions, fetched))
            });
        }
        while let Some(fetched) = fetches.join_next().await {
            let fetched = fetched.map_err(|error| ClientError::Client {
                what: "reading in a group".to_owned(),
                reason: error.to_string(),
            });
            let (topic, positions, partitions) = fetched??;
            for (from, fetched) in positions.into_iter().zip(partitions) {
                self.put(member, &topic, from, fetched).await?;
            }
            if member.with_board(|board| board.has_records()) {
                fetches.detach_all();
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        member: &Member,
        topic: &Arc<str>,
        from: Under<Position>,
        fetched: FetchedPartition,
    ) -> Result<(), ClientError> {
        let place = Under {
            generation: from.generation,
            of: (Arc::clone(topic), from.of.partition),
        };
        match fetched.error {
            None => member.with_board(|board| board.put(topic, from, fetched)),
            // Retention or DeleteRecords went past the group.
            Some(ErrorCode::OffsetOutOfRange) => {
                let offset = self.reset(&place.of).await?;
                member.with_board(|board| board.locate(&place, offset));
            }
            Some(code) => {
                let what = format!("reading {topic}-{}", from.of.partition);
                return Err(ClientError::refused(what, code, None));
            }
        }
        Ok(())
    }
}
