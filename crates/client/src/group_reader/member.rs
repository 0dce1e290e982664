//! The thread that is a member of a group: it heartbeats and follows rebalances by librdkafka, which is given nothing to read.
//!
//! Records are not read by it because a header whose name is not UTF-8, which anyone may send, ends the process in its binding.
//! A commit holds the fence while the broker is asked, and a partition is only let go after the fence was had alone: so no commit
//! of this member arrives after another one has begun to read the partition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use wire::ErrorCode;

use super::GroupRecord;
use super::board::{Board, Offsets, Place, Under};
use super::fetching::Policy;
use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::librdkafka::{self, Context, LastProblem};

/// What holds unless the cluster's or the caller's properties say otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("auto.offset.reset", "earliest"),
    ("isolation.level", "read_committed"),
    // A rebalance takes from a member only what another one gets.
    ("partition.assignment.strategy", "cooperative-sticky"),
    // After a crash the members that are left, or the next start, wait no longer than this for the one that is gone.
    ("session.timeout.ms", "10000"),
    ("topic.metadata.refresh.interval.ms", "5000"),
];
/// What holds always: committing is the caller's decision, and what librdkafka reads before it is paused is thrown away.
const FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("queued.min.messages", "1"),
    ("queued.max.messages.kbytes", "1"),
    ("fetch.message.max.bytes", "1"),
];
/// How often the thread looks whether it is to end.
const POLL: Duration = Duration::from_millis(100);
/// Commits that are under way at a time; each holds a thread while the broker is asked.
const MAX_COMMITS: usize = 16;
/// The pause before a commit is tried again that came in the middle of a rebalance.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

type Polled = BaseConsumer<Context<Arc<Shared>>>;

/// A member of a group; it leaves when it is dropped.
pub(super) struct Member {
    shared: Arc<Shared>,
    /// The thread has the consumer, and ends the membership by dropping it.
    consumer: Weak<Polled>,
    commits: Semaphore,
    ended: watch::Receiver<()>,
}

/// What the thread, rebalances and callers share.
struct Shared {
    cluster: Cluster,
    group: String,
    last_problem: LastProblem,
    state: Mutex<State>,
    /// Had by each commit, and alone by whoever lets partitions go.
    fence: RwLock<()>,
    /// One of the callers that wait is woken by a record, and wakes the next if it leaves some.
    arrivals: Notify,
    /// Tells who fetches to look at the board again.
    interruptions: Notify,
    is_leaving: AtomicBool,
}

#[derive(Default)]
struct State {
    board: Board,
    /// Whether the group has said which partitions are ours, be it none.
    is_assigned: bool,
    /// What librdkafka complained about last, until the next assignment.
    failure: Option<KafkaError>,
}

impl Member {
    pub(super) fn join(
        cluster: &Cluster,
        group: &str,
        topics: &[&str],
        properties: &[(&str, &str)],
    ) -> Result<(Member, Policy), ClientError> {
        let last_problem = LastProblem::default();
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            group: group.to_owned(),
            last_problem: last_problem.clone(),
            state: Mutex::default(),
            fence: RwLock::default(),
            arrivals: Notify::new(),
            interruptions: Notify::new(),
            is_leaving: AtomicBool::new(false),
        });
        let mut config = librdkafka::config(cluster, properties)?;
        for (name, value) in DEFAULTS {
            if config.get(name).is_none() {
                config.set(*name, *value);
            }
        }
        for (name, value) in FIXED {
            config.set(*name, *value);
        }
        config.set("group.id", group);
        let policy = Policy::of(&config);
        let context = Context::new(cluster, last_problem, Arc::clone(&shared));
        let what = || format!("joining group {group}");
        let consumer: Polled = config
            .create_with_context(context)
            .map_err(|error| shared.error(what(), &error))?;
        consumer
            .subscribe(topics)
            .map_err(|error| shared.error(what(), &error))?;
        let consumer = Arc::new(consumer);
        let (ending, ended) = watch::channel(());
        let member = Member {
            shared: Arc::clone(&shared),
            consumer: Arc::downgrade(&consumer),
            commits: Semaphore::new(MAX_COMMITS),
            ended,
        };
        thread::Builder::new()
            .name("group-reader".to_owned())
            .spawn(move || {
                run(consumer, &shared);
                drop(ending);
            })
            .map_err(|error| ClientError::Client {
                what: what(),
                reason: error.to_string(),
            })?;
        Ok((member, policy))
    }

    /// Resolves when there may be something to take.
    pub(super) fn arrival(&self) -> Notified<'_> {
        self.shared.arrivals.notified()
    }

    /// Resolves when the board has changed otherwise than by fetching: other partitions, or records that were given back.
    pub(super) fn interruption(&self) -> Notified<'_> {
        self.shared.interruptions.notified()
    }

    pub(super) fn interrupt(&self) {
        self.shared.interruptions.notify_waiters();
    }

    pub(super) fn take(&self, max: usize) -> Result<Vec<GroupRecord>, ClientError> {
        if self.shared.is_leaving.load(Ordering::Relaxed) {
            return Err(self.shared.has_left());
        }
        let mut state = self.shared.state();
        let taken = state.board.take(max);
        if state.board.has_records() {
            self.shared.arrivals.notify_one();
        }
        Ok(taken)
    }

    /// Runs `what` with the board; whoever waits is woken when there are records afterwards.
    pub(super) fn with_board<T>(&self, what: impl FnOnce(&mut Board) -> T) -> T {
        let mut state = self.shared.state();
        let result = what(&mut state.board);
        if state.board.has_records() {
            self.shared.arrivals.notify_one();
        }
        result
    }

    /// The group's offsets of these partitions, in their order; none where it has not committed any.
    pub(super) async fn committed(
        &self,
        places: &[Under<Place>],
    ) -> Result<Vec<Option<i64>>, ClientError> {
        let asked: Vec<Place> = places.iter().map(|place| place.of.clone()).collect();
        let (shared, consumer) = (Arc::clone(&self.shared), Weak::clone(&self.consumer));
        let answer = tokio::task::spawn_blocking(move || shared.committed(&consumer, &asked));
        answer.await.unwrap_or_else(|error| {
            Err(ClientError::Client {
                what: self.shared.reading(),
                reason: error.to_string(),
            })
        })
    }

    /// # Errors
    /// When the group has not said yet which partitions are ours.
    pub(super) fn check_assigned(&self, waited: Duration) -> Result<(), ClientError> {
        let state = self.shared.state();
        if state.is_assigned {
            return Ok(());
        }
        let what = format!("waiting for the assignment in group {}", self.shared.group);
        let late = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        let failure = state.failure.as_ref().unwrap_or(&late);
        Err(match self.shared.error(what, failure) {
            ClientError::TimedOut { what, .. } => ClientError::TimedOut {
                what,
                after: waited,
            },
            error => error,
        })
    }

    /// What fails when a fetch does.
    pub(super) fn reading(&self) -> String {
        self.shared.reading()
    }

    pub(super) fn assigned(&self) -> Vec<(String, i32)> {
        let state = self.shared.state();
        let assigned = state.board.assigned();
        assigned
            .map(|(topic, partition)| (topic.to_string(), *partition))
            .collect()
    }

    pub(super) async fn commit(&self, offsets: Offsets) -> Result<(), ClientError> {
        let permit = self.commits.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let deadline = Instant::now() + self.shared.cluster.timeout();
        let offsets = Arc::new(offsets);
        loop {
            let (shared, consumer) = (Arc::clone(&self.shared), Weak::clone(&self.consumer));
            let asked = Arc::clone(&offsets);
            let committed =
                tokio::task::spawn_blocking(move || shared.commit(&consumer, &asked)).await;
            let error = match committed {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(error) => {
                    return Err(ClientError::Client {
                        what: self.shared.committing(),
                        reason: error.to_string(),
                    });
                }
            };
            let may_pass = error.code() == Some(ErrorCode::RebalanceInProgress);
            if !may_pass || Instant::now() + RETRY_PAUSE >= deadline {
                return Err(error);
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    pub(super) async fn leave(&self) {
        self.shared.is_leaving.store(true, Ordering::Relaxed);
        self.shared.arrivals.notify_waiters();
        self.interrupt();
        let mut ended = self.ended.clone();
        // The sender sends nothing and goes away at the end.
        let _ = timeout(self.shared.cluster.timeout(), ended.changed()).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.is_leaving.store(true, Ordering::Relaxed);
    }
}

/// Polls until the member is to leave; dropping the consumer leaves the group.
fn run(consumer: Arc<Polled>, shared: &Shared) {
    while !shared.is_leaving.load(Ordering::Relaxed) {
        match consumer.poll(POLL) {
            // Read before the pause; it is fetched by whoever takes it.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(group = shared.group, %error, "reading in a group");
                shared.state().failure = Some(error);
            }
            None => {}
        }
    }
    // Commits that are under way have the consumer, too; the last one to have it would wait for the group in its place.
    let fence = shared.fence.write();
    let last = Arc::into_inner(consumer);
    drop(fence);
    drop(last);
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(
        &self,
        consumer: &Weak<Polled>,
        places: &[Place],
    ) -> Result<Vec<Option<i64>>, ClientError> {
        let _fence = self.fence.read().unwrap_or_else(PoisonError::into_inner);
        let consumer = consumer.upgrade().ok_or_else(|| self.has_left())?;
        let what = || format!("looking up the offsets of group {}", self.group);
        let committed = list(places.iter().map(|place| (place, Offset::Invalid)))
            .and_then(|list| consumer.committed_offsets(list, self.cluster.timeout()))
            .map_err(|error| self.error(what(), &error))?;
        let of = |(topic, partition): &Place| {
            let found = committed.find_partition(topic, *partition);
            let Some(found) = found else { return Ok(None) };
            found.error().map_err(|error| self.error(what(), &error))?;
            match found.offset() {
                Offset::Offset(offset) => Ok(Some(offset)),
                _ => Ok(None),
            }
        };
        places.iter().map(of).collect()
    }

    fn commit(&self, consumer: &Weak<Polled>, offsets: &Offsets) -> Result<(), ClientError> {
        let _fence = self.fence.read().unwrap_or_else(PoisonError::into_inner);
        let consumer = consumer.upgrade().ok_or_else(|| self.has_left())?;
        if let Some((topic, partition)) = self.state().board.taken_away(offsets) {
            let what = format!("{} of {topic}-{partition}", self.committing());
            let why = "the partition was taken away after the records were handed out; they are given again";
            return Err(ClientError::refused(
                what,
                ErrorCode::IllegalGeneration,
                Some(why),
            ));
        }
        let offsets = offsets.iter();
        list(offsets.map(|(place, offset)| (place, Offset::Offset(offset.of))))
            .and_then(|list| consumer.commit(&list, CommitMode::Sync))
            .map_err(|error| self.error(self.committing(), &error))
    }

    fn assign(&self, consumer: &Polled, partitions: &TopicPartitionList) {
        if let Err(error) = consumer.pause(partitions) {
            tracing::warn!(group = self.group, %error, "librdkafka cannot be kept from reading");
        }
        let mut state = self.state();
        for place in places(partitions) {
            state.board.assign(place);
        }
        state.is_assigned = true;
        state.failure = None;
        drop(state);
        self.interruptions.notify_waiters();
    }

    fn revoke(&self, partitions: &TopicPartitionList) {
        let _fence = self.fence.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        for place in places(partitions) {
            state.board.revoke(&place);
        }
        drop(state);
        self.interruptions.notify_waiters();
    }

    fn has_left(&self) -> ClientError {
        ClientError::Client {
            what: self.reading(),
            reason: "this member has left the group".to_owned(),
        }
    }

    fn reading(&self) -> String {
        format!("reading in group {}", self.group)
    }

    fn committing(&self) -> String {
        format!("committing in group {}", self.group)
    }

    fn error(&self, what: String, error: &KafkaError) -> ClientError {
        librdkafka::error(what, error, &self.cluster, &self.last_problem)
    }
}

impl ConsumerContext for Context<Arc<Shared>> {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.own.revoke(partitions);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            self.own.assign(consumer, partitions);
        }
    }
}

fn places(partitions: &TopicPartitionList) -> Vec<Place> {
    let elements = partitions.elements();
    let places = elements.iter();
    places
        .map(|element| (element.topic().into(), element.partition()))
        .collect()
}

fn list<'a>(
    places: impl IntoIterator<Item = (&'a Place, Offset)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}
