//! Runs the share partitions: one thread with the `SharePartitions` machine and its journal, `__share_group_state-0`.
//! It works in steps like the coordinator: take what has gathered → decide → make durable → reply.
//!
//! What promises nothing durable (where to read, what was acquired) is answered before the step's sync, as a crash
//! undoes it anyway: an acquired record is then available again. Groups that have records again are woken at the
//! end of the step.

mod dead_letters;
mod metrics;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_state::groups::{GroupId, MemberId};
use broker_state::share_partitions::{
    Command, DeadLetters, Record, Reply as ShareReply, ShareCounts, ShareEffects, SharePartitions,
};
use broker_state::step::{Effects, Millis, RequestId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use wire::Uuid;

use crate::clock::Clock;
use crate::cluster::{ClusterImage, SHARE_GROUP_STATE};
use crate::data::Data;
use crate::error::StartError;
use crate::journal::{Entry, Journal};
use crate::keeper::Keeper;
use crate::partition::Partition;
use crate::queue::Queue;
use crate::shard::{Fatal, Reply};
use crate::sync_pool::SyncPool;

pub use dead_letters::{DeadLetterSettings, deliver};
pub use metrics::ShareMetrics;

/// The longest the thread sleeps when no lock ends.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What the owner is asked.
enum Event {
    Command {
        command: Box<Command>,
        reply: Reply<ShareReply>,
    },
    Inspect {
        reply: Reply<ShareOverview>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// What the metrics say of share groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShareOverview {
    pub partitions: usize,
    /// Records that members have now.
    pub in_flight: i64,
    pub counts: ShareCounts,
}

/// The way to the owner; clones share one queue, bounded by the memory that requests may hold.
#[derive(Clone)]
pub struct ShareHandle(Arc<Shared>);

struct Shared {
    queue: Queue<Event>,
    /// Fetches that wait for records of their group: released ones, or room in its window.
    waiters: Mutex<HashMap<GroupId, Vec<Arc<Notify>>>>,
    /// Dead letters on their way; no more than records that may be in flight. Gone once nobody delivers any more.
    letters: UnboundedSender<DeadLetters>,
    letterbox: Mutex<Option<UnboundedReceiver<DeadLetters>>>,
}

impl ShareHandle {
    pub fn new() -> Self {
        let (letters, letterbox) = unbounded_channel();
        Self(Arc::new(Shared {
            queue: Queue::new(),
            waiters: Mutex::default(),
            letters,
            letterbox: Mutex::new(Some(letterbox)),
        }))
    }

    /// Asks; `None` when the broker is stopping.
    pub async fn ask(&self, command: Command) -> Option<ShareReply> {
        let command = Box::new(command);
        let event = |reply| Event::Command { command, reply };
        self.0.queue.ask(event).await
    }

    /// Tells, without waiting until it is done.
    pub fn tell(&self, command: Command) {
        self.0.queue.send(Event::Command {
            command: Box::new(command),
            reply: Reply::ignored(),
        });
    }

    /// Makes what a member has acquired available again.
    pub fn release(&self, group: GroupId, member: MemberId) {
        self.tell(Command::Release {
            group,
            member,
            partitions: None,
        });
    }

    /// Forgets what groups have done with topics that are gone.
    pub fn topics_deleted(&self, topics: Vec<Uuid>) {
        self.tell(Command::TopicsDeleted(topics));
    }

    /// Wakes `waiter` when the group has records again, until `stop_waiting`.
    ///
    /// Register first and look second: a release between the two is then not missed.
    pub fn wait_for_records(&self, group: &GroupId, waiter: &Arc<Notify>) {
        let mut waiters = self.0.waiters.lock();
        let of_group = waiters.entry(group.clone()).or_default();
        of_group.push(Arc::clone(waiter));
    }

    pub fn stop_waiting(&self, group: &GroupId, waiter: &Arc<Notify>) {
        let mut waiters = self.0.waiters.lock();
        if let Some(of_group) = waiters.get_mut(group) {
            of_group.retain(|other| !Arc::ptr_eq(other, waiter));
            if of_group.is_empty() {
                waiters.remove(group);
            }
        }
    }

    /// What there is to count; nothing when the broker is stopping.
    pub async fn inspect(&self) -> ShareOverview {
        let overview = self.0.queue.ask(|reply| Event::Inspect { reply });
        overview.await.unwrap_or_default()
    }

    /// Ends the thread after what it has been asked so far.
    pub async fn close(&self) {
        // An answer that does not come means that the thread has ended already.
        let _ = self.0.queue.ask(|reply| Event::Close { reply }).await;
    }

    /// As `close`, without waiting.
    pub fn close_now(&self) {
        self.0.queue.send(Event::Close {
            reply: Reply::ignored(),
        });
    }

    /// The dead letters, for the one who delivers them.
    fn take_letterbox(&self) -> Option<UnboundedReceiver<DeadLetters>> {
        self.0.letterbox.lock().take()
    }

    fn wake(&self, groups: impl IntoIterator<Item = GroupId>) {
        let waiters = self.0.waiters.lock();
        for group in groups {
            for waiter in waiters.get(&group).into_iter().flatten() {
                waiter.notify_one();
            }
        }
    }
}

/// The machine with its journal, replayed and ready to run.
pub struct ShareOwner {
    machine: SharePartitions,
    journal: Journal,
    waiting: HashMap<RequestId, Reply<ShareReply>>,
    next_request: u64,
}

impl ShareOwner {
    /// Opens the journal and replays it; there are never more than `limit` share partitions.
    ///
    /// # Errors
    /// `State` or `Log` when the journal cannot be read.
    pub fn open(
        data: &Data,
        limit: usize,
        syncs: Arc<SyncPool>,
        now_ms: i64,
    ) -> Result<Self, StartError> {
        let mut machine = SharePartitions::new(limit);
        let apply = |key: Option<&[u8]>, value: Option<&[u8]>| {
            let record = Record::decode(key.unwrap_or_default(), value);
            machine.apply(&record.map_err(|error| error.to_string())?);
            Ok(())
        };
        let directory = data.partition_directory(SHARE_GROUP_STATE, 0);
        let journal = Journal::open(Arc::clone(data.disk()), directory, syncs, now_ms, apply);
        let journal = journal.map_err(|error| StartError::replay(SHARE_GROUP_STATE, error))?;
        machine.loaded();
        Ok(Self {
            machine,
            journal,
            waiting: HashMap::new(),
            next_request: 0,
        })
    }

    pub fn shared_view(&self) -> Arc<log::SharedView> {
        self.journal.shared_view()
    }

    /// Lets the thread begin with forgetting groups and topics that are gone: their deletion may have been cut short.
    pub fn forget_gone(
        &self,
        handle: &ShareHandle,
        image: &ClusterImage,
        is_share_group: impl Fn(&GroupId) -> bool,
    ) {
        let records = self.machine.snapshot_records(Millis(0));
        let topics: HashSet<Uuid> = records.map(|record| record.key().topic_id).collect();
        let is_gone = |id: &Uuid| image.topic_by_id(*id).is_none();
        let gone: Vec<Uuid> = topics.into_iter().filter(is_gone).collect();
        if !gone.is_empty() {
            handle.topics_deleted(gone);
        }
        for group in self.machine.groups().filter(|group| !is_share_group(group)) {
            let group = group.clone();
            let topics = None;
            handle.tell(Command::Delete { group, topics });
        }
    }

    /// Starts the thread; `partition` is what clients see of the journal.
    pub fn spawn(
        self,
        handle: ShareHandle,
        partition: Arc<Partition>,
        clock: Clock,
        keeper: Keeper,
    ) -> JoinHandle<()> {
        let failing = keeper.clone();
        let run = move || {
            if let Err(fatal) = self.run(&handle, &partition, &clock) {
                handle.0.queue.close();
                failing.fail(fatal);
            }
        };
        keeper.spawn("share", run)
    }

    fn run(
        mut self,
        handle: &ShareHandle,
        partition: &Partition,
        clock: &Clock,
    ) -> Result<(), Fatal> {
        loop {
            let queue = &handle.0.queue;
            queue.wait(self.sleep(clock.now_ms()));
            let Some(events) = queue.take(Vec::new()) else {
                return Ok(());
            };
            let now_ms = clock.now_ms();
            let mut effects = Effects::new();
            let mut closing = None;
            for event in events {
                self.take(now_ms, event, &mut effects, &mut closing);
            }
            self.machine.tick(Millis(now_ms), &mut effects);
            self.settle(effects, now_ms, partition)?;
            handle.wake(self.machine.take_woken());
            for letters in self.machine.take_dead_letters() {
                // Nobody delivers while the broker stops; the next start sends them off again.
                let _ = handle.0.letters.send(letters);
            }
            if let Some(reply) = closing {
                queue.close();
                self.journal.close().map_err(fatal)?;
                reply.deliver(());
                return Ok(());
            }
        }
    }

    fn sleep(&self, now_ms: i64) -> Duration {
        let Some(Millis(deadline)) = self.machine.next_deadline() else {
            return LONGEST_SLEEP;
        };
        let left = deadline.saturating_sub(now_ms).max(0).unsigned_abs();
        Duration::from_millis(left).min(LONGEST_SLEEP)
    }

    fn take(
        &mut self,
        now_ms: i64,
        event: Event,
        effects: &mut ShareEffects,
        closing: &mut Option<Reply<()>>,
    ) {
        match event {
            Event::Command { command, reply } => {
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.waiting.insert(request, reply);
                self.machine
                    .handle(Millis(now_ms), request, *command, effects);
            }
            Event::Inspect { reply } => reply.deliver(self.overview()),
            Event::Close { reply } => *closing = Some(reply),
        }
    }

    /// Answers what promises nothing, makes the records of a step durable, then answers the rest.
    fn settle(
        &mut self,
        effects: ShareEffects,
        now_ms: i64,
        partition: &Partition,
    ) -> Result<(), Fatal> {
        let promises_nothing =
            |reply: &ShareReply| matches!(reply, ShareReply::Plan { .. } | ShareReply::Acquire(_));
        let replies = effects.replies.into_iter();
        let (volatile, durable): (Vec<_>, Vec<_>) =
            replies.partition(|(_, reply)| promises_nothing(reply));
        self.deliver(volatile);
        if !effects.records.is_empty() {
            self.journal
                .append(effects.records.iter().map(entry), now_ms)
                .map_err(fatal)?;
            if self.journal.wants_rewriting() {
                let records: Vec<Record> = self.machine.snapshot_records(Millis(now_ms)).collect();
                self.journal
                    .rewrite(records.iter().map(entry), now_ms)
                    .map_err(fatal)?;
            }
            partition.wake_waiters();
        }
        self.deliver(durable);
        Ok(())
    }

    fn deliver(&mut self, replies: Vec<(RequestId, ShareReply)>) {
        for (request, reply) in replies {
            let waiting = self.waiting.remove(&request);
            waiting
                .expect("each request is answered once")
                .deliver(reply);
        }
    }

    fn overview(&self) -> ShareOverview {
        ShareOverview {
            partitions: self.machine.len(),
            in_flight: self.machine.in_flight(),
            counts: self.machine.counts(),
        }
    }
}

fn entry(record: &Record) -> Entry {
    let (key, value) = record.encode();
    (Some(key), value)
}

fn fatal(source: log::LogError) -> Fatal {
    Fatal::Write {
        partition: format!("{SHARE_GROUP_STATE}-0"),
        source,
    }
}
