//! Fetch sessions (KIP-227): the broker remembers which partitions a consumer reads, so that a request names only
//! what changed and a response only what is new.
//!
//! Keeps true: at most so many sessions and so many remembered partitions; a session's epoch grows by one with each
//! fetch, so a lost or repeated request is noticed; a partition that returned data is looked at last next time.
//! A fetch is `begin` (which partitions to read), the read itself outside, `finish` (which of them to answer).
//! Source of rules: KIP-227, KIP-516 (topic ids), Kafka's FetchManager, FetchSession and FetchSessionCacheShard.

mod session;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wire::{ErrorCode, Uuid};

use crate::step::Millis;
use session::Session;

/// The epoch of a request that asks for a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that wants no session, and ends the one that it names.
pub const FINAL_EPOCH: i32 = -1;

/// What the sessions may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSessionLimits {
    /// `max.incremental.fetch.session.cache.slots`.
    pub sessions: usize,
    /// Partitions of all sessions together.
    pub partitions: usize,
    /// A session that was idle for longer gives way to a new one.
    pub idle: Duration,
}

impl Default for FetchSessionLimits {
    fn default() -> Self {
        Self {
            sessions: 1_000,
            partitions: 200_000,
            idle: Duration::from_secs(120),
        }
    }
}

/// A topic as fetches name it: by name up to v12, by id from v13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchTopic {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition as fetches name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchPartition {
    pub topic: FetchTopic,
    pub partition: i32,
}

/// What a fetch wants of one partition; the fields are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFetch {
    pub fetch_offset: i64,
    pub partition_max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    pub log_start_offset: i64,
}

/// A fetch request, as far as sessions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSessionRequest {
    pub session_id: i32,
    pub session_epoch: i32,
    /// From v13 on.
    pub uses_topic_ids: bool,
    pub partitions: Vec<(FetchPartition, PartitionFetch)>,
    pub forgotten: Vec<FetchPartition>,
}

/// A fetch that was begun: what to read, and what `finish` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchContext {
    /// The partitions to read, those first that returned data longest ago.
    pub partitions: Vec<(FetchPartition, PartitionFetch)>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sessionless,
    /// Asks for a session, which begins with the response.
    Full {
        uses_topic_ids: bool,
    },
    /// The epoch that the session has while this fetch is under way.
    Incremental {
        session_id: i32,
        epoch: i32,
    },
}

impl FetchContext {
    /// The session that this fetch is of; 0 when there is none yet.
    pub fn session_id(&self) -> i32 {
        match self.kind {
            Kind::Incremental { session_id, .. } => session_id,
            Kind::Sessionless | Kind::Full { .. } => 0,
        }
    }

    /// Whether the response may leave out what has no news.
    pub fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }
}

/// What reading one partition gave, as far as sessions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    pub has_records: bool,
    /// Any error code, or a diverging epoch: the client must hear of it.
    pub has_error: bool,
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// How to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// Not `None`: answer with this error and no partitions.
    pub error: ErrorCode,
    /// 0: the client has no session.
    pub session_id: i32,
    /// For each partition of the context, in its order, whether it is in the response.
    pub included: Vec<bool>,
}

/// All fetch sessions of a broker.
#[derive(Clone, Debug, Default)]
pub struct FetchSessions {
    limits: FetchSessionLimits,
    by_id: HashMap<i32, Session>,
    partitions: usize,
    evictions: u64,
}

impl FetchSessions {
    pub fn new(limits: FetchSessionLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Partitions of all sessions together.
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// Sessions that had to give way since the start.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Begins a fetch.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`: the whole
    /// response is this error with session id 0, and the client begins again with a full fetch.
    pub fn begin(
        &mut self,
        request: FetchSessionRequest,
        now: Millis,
    ) -> Result<FetchContext, ErrorCode> {
        let kind = match request.session_epoch {
            INITIAL_EPOCH => Kind::Full {
                uses_topic_ids: request.uses_topic_ids,
            },
            FINAL_EPOCH => Kind::Sessionless,
            _ => return self.begin_incremental(request, now),
        };
        self.remove(request.session_id);
        Ok(FetchContext {
            partitions: last_of_each(request.partitions),
            kind,
        })
    }

    fn begin_incremental(
        &mut self,
        request: FetchSessionRequest,
        now: Millis,
    ) -> Result<FetchContext, ErrorCode> {
        let FetchSessionRequest {
            session_id,
            session_epoch,
            uses_topic_ids,
            partitions,
            forgotten,
        } = request;
        let session = self
            .by_id
            .get_mut(&session_id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.len();
        for (partition, fetch) in partitions {
            session.want(partition, fetch);
        }
        for partition in &forgotten {
            session.forget(partition);
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used = now;
        let context = FetchContext {
            partitions: session.wanted(),
            kind: Kind::Incremental {
                session_id,
                epoch: session.epoch,
            },
        };
        self.partitions = self.partitions - before + context.partitions.len();
        if context.partitions.is_empty() {
            self.remove(session_id);
            return Ok(FetchContext {
                kind: Kind::Sessionless,
                ..context
            });
        }
        if self.partitions > self.limits.partitions {
            // The client begins again with a full fetch, which is answered without a session.
            self.remove(session_id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(context)
    }

    /// Ends a fetch: which partitions to answer, and the session that the client has from now on. `outcomes` are
    /// in the order of the context's partitions; `entropy` makes the id of a new session.
    ///
    /// # Panics
    /// When there is not one outcome for each partition of the context, which is a mistake in the caller's code.
    pub fn finish(
        &mut self,
        context: &FetchContext,
        outcomes: &[PartitionOutcome],
        now: Millis,
        entropy: u64,
    ) -> FetchAnswer {
        assert_eq!(
            context.partitions.len(),
            outcomes.len(),
            "one outcome for each partition of the fetch"
        );
        let all = |session_id| FetchAnswer {
            error: ErrorCode::None,
            session_id,
            included: vec![true; outcomes.len()],
        };
        match context.kind {
            Kind::Sessionless => all(0),
            Kind::Full { uses_topic_ids } => {
                all(self.create(context, outcomes, uses_topic_ids, now, entropy))
            }
            Kind::Incremental { session_id, epoch } => {
                self.finish_incremental(session_id, epoch, context, outcomes)
            }
        }
    }

    fn finish_incremental(
        &mut self,
        session_id: i32,
        epoch: i32,
        context: &FetchContext,
        outcomes: &[PartitionOutcome],
    ) -> FetchAnswer {
        let refused = |error| FetchAnswer {
            error,
            session_id: 0,
            included: vec![false; context.partitions.len()],
        };
        let Some(session) = self.by_id.get_mut(&session_id) else {
            return refused(ErrorCode::FetchSessionIdNotFound);
        };
        if session.epoch != epoch {
            // Another request of the session overtook this one.
            return refused(ErrorCode::InvalidFetchSessionEpoch);
        }
        let included = context
            .partitions
            .iter()
            .zip(outcomes)
            .map(|((partition, _), outcome)| session.answer(partition, outcome))
            .collect();
        FetchAnswer {
            error: ErrorCode::None,
            session_id,
            included,
        }
    }

    /// Begins a session if there is room, or room can be made, and gives its id; 0 otherwise.
    fn create(
        &mut self,
        context: &FetchContext,
        outcomes: &[PartitionOutcome],
        uses_topic_ids: bool,
        now: Millis,
        entropy: u64,
    ) -> i32 {
        let count = context.partitions.len();
        if count == 0 || !self.make_room_for(count, now) {
            return 0;
        }
        let session_id = self.free_id(entropy);
        let mut session = Session::new(uses_topic_ids, next_epoch(INITIAL_EPOCH), now);
        for ((partition, fetch), outcome) in context.partitions.iter().zip(outcomes) {
            session.want(partition.clone(), *fetch);
            session.remember(partition, outcome);
        }
        self.partitions += session.len();
        self.by_id.insert(session_id, session);
        session_id
    }

    /// Makes one session give way if need be: the one that was idle for longest, if for longer than the limit, else
    /// the smallest, if it is not young and smaller than the new one, which saves more.
    fn make_room_for(&mut self, count: usize, now: Millis) -> bool {
        if count > self.limits.partitions || self.limits.sessions == 0 {
            return false;
        }
        let has_room = |sessions: &Self| {
            sessions.by_id.len() < sessions.limits.sessions
                && sessions.partitions + count <= sessions.limits.partitions
        };
        while !has_room(self) {
            let Some(evicted) = self.evictable(count, now) else {
                return false;
            };
            self.remove(evicted);
            self.evictions += 1;
        }
        true
    }

    fn evictable(&self, count: usize, now: Millis) -> Option<i32> {
        let idle = self.limits.idle;
        let oldest = self
            .by_id
            .iter()
            .min_by_key(|(id, session)| (session.last_used, **id));
        if let Some((id, session)) = oldest
            && now.since(session.last_used) > idle
        {
            return Some(*id);
        }
        let is_settled =
            |session: &Session| now.since(session.created) > idle && session.len() < count;
        let settled = self.by_id.iter().filter(|(_, session)| is_settled(session));
        settled
            .min_by_key(|(id, session)| (session.len(), **id))
            .map(|(id, _)| *id)
    }

    /// A positive id that no session has.
    fn free_id(&self, entropy: u64) -> i32 {
        let mut id = 1 + (entropy % i32::MAX as u64) as i32;
        while self.by_id.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(1);
        }
        id
    }

    fn remove(&mut self, session_id: i32) {
        if let Some(session) = self.by_id.remove(&session_id) {
            self.partitions -= session.len();
        }
    }
}

/// The epoch of the next fetch: after the largest comes 1, because 0 and -1 have meanings of their own.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

/// A partition that a request names twice counts as it is named last, at its first place.
fn last_of_each(
    partitions: Vec<(FetchPartition, PartitionFetch)>,
) -> Vec<(FetchPartition, PartitionFetch)> {
    if are_few_and_distinct(&partitions) {
        return partitions;
    }
    let mut places: HashMap<FetchPartition, usize> = HashMap::with_capacity(partitions.len());
    let mut kept: Vec<(FetchPartition, PartitionFetch)> = Vec::with_capacity(partitions.len());
    for (partition, fetch) in partitions {
        match places.get(&partition) {
            Some(place) => kept[*place].1 = fetch,
            None => {
                places.insert(partition.clone(), kept.len());
                kept.push((partition, fetch));
            }
        }
    }
    kept
}

/// Most fetches without a session (librdkafka's are) name a few partitions, each once: no table is needed to see it.
fn are_few_and_distinct(partitions: &[(FetchPartition, PartitionFetch)]) -> bool {
    let is_named_before = |at: usize| {
        let named = &partitions[at].0;
        partitions[..at]
            .iter()
            .any(|(other, _)| other.partition == named.partition && other.topic == named.topic)
    };
    partitions.len() <= 16 && !(1..partitions.len()).any(is_named_before)
}
