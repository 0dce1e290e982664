//! One member of a share group (KIP-932), a queue in which each record is locked for whoever takes it until it is acknowledged.
//!
//! Over `wire`, as librdkafka has no share groups. Async callers take records and acknowledge them in any order; a record that is
//! released, or whose lock ends, is given again, with a higher delivery count. Locks belong to the member's connection to the
//! leader, so each exchange runs on a task of its own: a caller that goes away in the middle costs nobody else's locks, and what
//! was acquired for it is released. The HTTP gateway's leases are made of it, on clusters that have share groups.

mod acknowledge;
mod membership;
mod ranges;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use wire::{ErrorCode, Uuid, fetch};

use crate::cluster::Cluster;
use crate::consumer::Position;
use crate::error::ClientError;
use crate::reader::{
    Connections, FetchLimits, Isolation, KnownTopic, Received, Record, Topics, read_all,
};
use membership::Assigned;
use ranges::{Batch, Sorted, sort};
use session::{FETCH_BYTES, GotPartition, Owner, Session, SharePartition};

/// The longest that a leader is asked to wait: acknowledgements to it come in between.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How old metadata may be that serves to find leaders.
const KNOWN_LEADERS: Duration = Duration::from_secs(300);
/// How old it may be when a partition of the assignment is not in it.
const FRESH: Duration = Duration::from_secs(1);

/// A record that is locked for this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    /// How often it was delivered, this time included.
    pub delivery_count: i16,
    /// For how long it is locked, counted from the moment at which the broker gave it.
    pub lock: Duration,
    pub record: Record,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acknowledge {
    /// It is done with.
    Accept,
    /// It is given again, to any member.
    Release,
    /// It is done with, and goes to the dead letters where the group has some.
    Reject,
    /// It stays locked for one more lock duration (KIP-1222).
    Renew,
}

/// A member of a share group; clones are the same member. It leaves when the last clone is dropped.
#[derive(Clone)]
pub struct ShareMember {
    inner: Arc<Inner>,
    life: Arc<Life>,
}

/// Ends the membership when it is dropped.
struct Life {
    leaving: watch::Sender<bool>,
    ended: watch::Receiver<()>,
}

/// What members' clones and the tasks of their exchanges share.
struct Inner {
    owner: Arc<Owner>,
    topics: Vec<String>,
    known: Topics,
    assigned: watch::Receiver<Assigned>,
    sessions: Mutex<BTreeMap<i32, Arc<AsyncMutex<Session>>>>,
    /// Had by the one caller that asks the leaders for all who wait.
    turn: AsyncMutex<()>,
}

impl ShareMember {
    pub(crate) fn join(
        cluster: &Cluster,
        group: &str,
        topics: &[&str],
    ) -> Result<ShareMember, ClientError> {
        let failed = |reason: String| ClientError::Client {
            what: format!("joining share group {group}"),
            reason,
        };
        let runtime = Handle::try_current().map_err(|error| failed(error.to_string()))?;
        let mut id = [0; 16];
        openssl::rand::rand_bytes(&mut id).map_err(|error| failed(error.to_string()))?;
        let owner = Arc::new(Owner {
            cluster: cluster.clone(),
            group: group.to_owned(),
            member_id: random_uuid(id).to_string(),
        });
        let (tell_assigned, assigned) = watch::channel(Assigned::default());
        let (leaving, is_leaving) = watch::channel(false);
        let (ending, ended) = watch::channel(());
        let inner = Arc::new(Inner {
            owner: Arc::clone(&owner),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            known: Topics::new(cluster, Arc::new(Connections::new(cluster))),
            assigned,
            sessions: Mutex::default(),
            turn: AsyncMutex::new(()),
        });
        let topics = inner.topics.clone();
        let sessions = Arc::clone(&inner);
        runtime.spawn(async move {
            let close = async move { sessions.close_sessions().await };
            membership::run(owner, topics, tell_assigned, is_leaving, close).await;
            drop(ending);
        });
        Ok(ShareMember {
            inner,
            life: Arc::new(Life { leaving, ended }),
        })
    }

    /// Locks at most `max` records and gives them, in order per partition; waits until at least one is there or `wait` is over.
    /// Empty when nothing came.
    ///
    /// A new group begins at the end of its topics unless its `share.auto.offset.reset` says otherwise.
    ///
    /// # Errors
    /// `NotOffered` and `Refused` (UNSUPPORTED_VERSION) where the cluster has no share groups; `TimedOut`, `Unreachable` or
    /// `Refused` when the group has not taken the member in within `wait`, or when a leader cannot be asked.
    pub async fn take(&self, max: usize, wait: Duration) -> Result<Vec<SharedRecord>, ClientError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        let Ok(_turn) = timeout_at(deadline, self.inner.turn.lock()).await else {
            return self.inner.nothing(wait);
        };
        self.inner.check_membership()?;
        let mut changes = self.inner.assigned.clone();
        loop {
            changes.mark_unchanged();
            let leaders = self.inner.by_leader().await?;
            if leaders.is_empty() {
                tokio::select! {
                    // A membership that has ended tells no changes any more.
                    changed = changes.changed() => if changed.is_err() {
                        return Err(self.inner.has_left());
                    },
                    () = sleep_until(deadline) => return self.inner.nothing(wait),
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = (left / leaders.len() as u32).min(LONGEST_WAIT);
            for (leader, partitions) in leaders {
                let taken = self.take_from(leader, partitions, max, patience).await?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
            if Instant::now() >= deadline {
                return self.inner.nothing(wait);
            }
        }
    }

    async fn take_from(
        &self,
        leader: i32,
        partitions: Partitions,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<SharedRecord>, ClientError> {
        let inner = Arc::clone(&self.inner);
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let acquired = inner.acquire(leader, &partitions, max, wait).await;
            // Whoever is gone gets nothing: what is dropped untold is released.
            let _ = tell.send(acquired.map(|records| Delivery { inner, records }));
        });
        let delivery = told.await.unwrap_or_else(|_| Err(self.inner.has_left()));
        delivery.map(|mut delivery| std::mem::take(&mut delivery.records))
    }

    /// Acknowledges records by topic, partition and offset; gives what became of each, in the same order. Answered when it is
    /// durable.
    ///
    /// # Errors
    /// `Refused` when this member has left. A record whose lock is over, or was another's, is refused by itself
    /// (INVALID_RECORD_STATE); `NotOffered` stands for a renewal where the brokers have none.
    pub async fn acknowledge(
        &self,
        acknowledgements: &[(String, i32, i64, Acknowledge)],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        self.inner.check_membership()?;
        let (inner, asked) = (Arc::clone(&self.inner), acknowledgements.to_vec());
        let answer = tokio::spawn(async move { inner.acknowledge(&asked).await }).await;
        answer.map_err(|_| self.inner.has_left())
    }

    /// The partitions that this member reads now, by topic id.
    pub fn assigned(&self) -> Vec<(String, i32)> {
        let assigned = self.inner.assigned.borrow();
        let partitions = assigned.partitions.iter();
        partitions
            .map(|(topic, partition)| (topic.to_string(), *partition))
            .collect()
    }

    /// Releases what is locked and leaves the group, for all clones; waits no longer than the cluster's time limit.
    pub async fn leave(self) {
        let _ = self.life.leaving.send(true);
        let mut ended = self.life.ended.clone();
        let limit = self.inner.owner.cluster.timeout();
        // The sender sends nothing and goes away at the end.
        let _ = timeout_at(Instant::now() + limit, ended.changed()).await;
    }
}

/// Acquired records on their way to the caller; dropped with records inside, it releases them.
struct Delivery {
    inner: Arc<Inner>,
    records: Vec<SharedRecord>,
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let records = std::mem::take(&mut self.records);
        let runtime = Handle::try_current();
        if let (false, Ok(runtime)) = (records.is_empty(), runtime) {
            let inner = Arc::clone(&self.inner);
            runtime.spawn(async move {
                let releases: Vec<(String, i32, i64, Acknowledge)> = records
                    .iter()
                    .map(|given| {
                        let topic = given.topic.to_string();
                        let offset = given.record.offset;
                        (topic, given.partition, offset, Acknowledge::Release)
                    })
                    .collect();
                inner.acknowledge(&releases).await;
            });
        }
    }
}

/// The names of the topics of partitions.
type Partitions = BTreeMap<SharePartition, Arc<str>>;

impl Inner {
    /// What a caller gets that waited in vain.
    fn nothing(&self, waited: Duration) -> Result<Vec<SharedRecord>, ClientError> {
        let assigned = self.assigned.borrow();
        match (assigned.is_known, &assigned.failure) {
            (true, _) => Ok(Vec::new()),
            (false, Some(failure)) => Err(failure.clone()),
            (false, None) => Err(ClientError::TimedOut {
                what: format!(
                    "waiting for the assignment in share group {}",
                    self.owner.group
                ),
                after: waited,
            }),
        }
    }

    fn check_membership(&self) -> Result<(), ClientError> {
        // The task of the membership is the one that tells assignments.
        match self.assigned.has_changed() {
            Ok(_) => Ok(()),
            Err(_) => Err(self.has_left()),
        }
    }

    fn has_left(&self) -> ClientError {
        ClientError::Client {
            what: format!("reading in share group {}", self.owner.group),
            reason: "this member has left the group".to_owned(),
        }
    }

    /// The assigned partitions by leader; one without a leader, or whose topic is gone, is left out until that changes.
    async fn by_leader(&self) -> Result<BTreeMap<i32, Partitions>, ClientError> {
        let assigned = self.assigned.borrow().partitions.clone();
        if assigned.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut topics = self.look_up(KNOWN_LEADERS).await?;
        let has_all = |topics: &BTreeMap<Uuid, Arc<KnownTopic>>| {
            assigned.iter().all(|(id, partition)| {
                let topic = topics.get(id);
                topic.is_some_and(|topic| topic.has(*partition))
            })
        };
        if !has_all(&topics) {
            topics = self.look_up(FRESH).await?;
        }
        let mut leaders: BTreeMap<i32, Partitions> = BTreeMap::new();
        for (id, index) in assigned {
            let topic = topics.get(&id);
            let leader = topic.and_then(|topic| leader_of(topic, index));
            if let (Some(topic), Some(leader)) = (topic, leader) {
                let name: Arc<str> = topic.topic.name.as_str().into();
                leaders.entry(leader).or_default().insert((id, index), name);
            }
        }
        Ok(leaders)
    }

    /// The subscribed topics that exist, by id.
    async fn look_up(
        &self,
        max_age: Duration,
    ) -> Result<BTreeMap<Uuid, Arc<KnownTopic>>, ClientError> {
        let mut topics = BTreeMap::new();
        for name in &self.topics {
            match self.known.get(name, max_age).await {
                Ok(topic) => drop(topics.insert(topic.id, topic)),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(topics)
    }

    fn session(&self, leader: i32) -> Arc<AsyncMutex<Session>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.entry(leader).or_insert_with(|| {
            let session = Session::new(Arc::clone(&self.owner));
            Arc::new(AsyncMutex::new(session))
        });
        Arc::clone(session)
    }

    async fn close_sessions(&self) {
        let sessions = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *sessions)
        };
        for session in sessions.into_values() {
            session.lock().await.close().await;
        }
    }

    /// One fetch from one leader: acquires records, and says of acquired offsets that are no records what they are.
    async fn acquire(
        &self,
        leader: i32,
        partitions: &Partitions,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<SharedRecord>, ClientError> {
        let address = self.known.address(leader)?;
        let wanted: BTreeSet<SharePartition> = partitions.keys().copied().collect();
        let session = self.session(leader);
        let mut session = session.lock().await;
        let got = match session.fetch(&address, &wanted, max, wait).await {
            Ok(got) => got,
            Err(error) => {
                self.forget_topics();
                return Err(error);
            }
        };
        let (mut records, mut rest) = (Vec::new(), Vec::new());
        let sorted = self.sort(got.partitions, partitions, max).await?;
        for (place, name, sorted) in sorted {
            let batches = sorted.rest.into_iter();
            let batches =
                batches.map(|(range, kind)| (*range.start(), *range.end(), vec![kind as i8]));
            let batches: Vec<Batch> = batches.collect();
            if !batches.is_empty() {
                rest.push((place, batches));
            }
            let own = sorted.records.into_iter();
            records.extend(own.map(|(record, delivery_count)| SharedRecord {
                topic: Arc::clone(&name),
                partition: place.1,
                delivery_count,
                lock: got.lock,
                record,
            }));
        }
        if !rest.is_empty()
            && let Err(error) = session.acknowledge(&rest).await
        {
            // Their locks end by themselves.
            tracing::debug!(group = self.owner.group, %error, "giving back what nobody gets");
        }
        Ok(records)
    }

    /// Reads what was got and sorts it, by partition; at most `max` records in all.
    async fn sort(
        &self,
        got: Vec<GotPartition>,
        partitions: &Partitions,
        max: usize,
    ) -> Result<Vec<(SharePartition, Arc<str>, Sorted)>, ClientError> {
        let (mut received, mut acquired) = (Vec::new(), Vec::new());
        for partition in got {
            let name = partitions.get(&partition.place);
            if partition.error.is_some() {
                self.forget_topics();
            }
            let (Some(name), Some(first)) = (name, partition.acquired.first()) else {
                continue;
            };
            let position = Position {
                partition: partition.place.1,
                offset: first.first_offset,
            };
            let data = fetch::PartitionData {
                records: partition.records,
                ..fetch::PartitionData::default()
            };
            received.push(Received::new(position, data));
            acquired.push((partition.place, Arc::clone(name), partition.acquired));
        }
        let limits = FetchLimits {
            max_bytes: FETCH_BYTES,
            // The broker has left out what may not be read: it is not among what was acquired.
            isolation: Isolation::ReadUncommitted,
            ..FetchLimits::default()
        };
        let fetched = read_all(received, &limits).await?;
        let mut left = max;
        let sorted = acquired.into_iter().zip(fetched);
        let sorted = sorted.map(|((place, name, acquired), fetched)| {
            let mut sorted = sort(&acquired, fetched);
            sorted.keep(left);
            left -= sorted.records.len();
            (place, name, sorted)
        });
        Ok(sorted.collect())
    }

    fn forget_topics(&self) {
        for topic in &self.topics {
            self.known.forget(topic);
        }
    }
}

fn leader_of(topic: &KnownTopic, partition: i32) -> Option<i32> {
    let mut partitions = topic.topic.partitions.iter();
    let partition = partitions.find(|known| known.index == partition);
    partition
        .map(|known| known.leader)
        .filter(|leader| *leader >= 0)
}

/// A version 4 UUID of random bytes.
fn random_uuid(mut bytes: [u8; 16]) -> Uuid {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}
