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
    Acquire, Command, DeadLetters, Record, Reply as ShareReply, ShareCounts, ShareEffects,
    SharePartitions, SharePosition,
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
use crate::room::Room;
use crate::shard::{Fatal, Reply};
use crate::sync_pool::SyncPool;

pub use dead_letters::{DeadLetterSettings, deliver};
pub use metrics::ShareMetrics;

/// The longest the thread sleeps when no lock ends.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Releases that wait for space on the disk. Those beyond come with the ends of the locks.
const MOST_HELD_RELEASES: usize = 10_000;

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

impl Event {
    /// A command whose answer nobody waits for.
    fn unasked(command: Command) -> Self {
        Event::Command {
            command: Box::new(command),
            reply: Reply::ignored(),
        }
    }
}

/// What the metrics say of share groups.
#[derive(Clone, Debug, Default)]
pub struct ShareOverview {
    pub partitions: usize,
    /// Records that members have now.
    pub in_flight: i64,
    pub counts: ShareCounts,
    /// As many as there are share partitions at most, which `Limits` bounds.
    pub positions: Vec<SharePosition>,
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
        self.0.queue.send(Event::unasked(command));
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
    /// What waits for space on the disk: nobody would tell it again.
    held: Vec<Event>,
    held_releases: usize,
    is_without_room: bool,
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
            held: Vec::new(),
            held_releases: 0,
            is_without_room: false,
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
            for event in self.with_room(events) {
                self.take(now_ms, event, &mut effects, &mut closing);
            }
            if !self.is_without_room {
                self.machine.tick(Millis(now_ms), &mut effects);
            }
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

    /// What can be worked on now. Without room on the disk that is what makes no records: clients that want more are told nothing
    /// and ask again, what nobody would ask again waits, and who asked it does not.
    fn with_room(&mut self, events: Vec<Event>) -> Vec<Event> {
        self.is_without_room = self.journal.room() == Room::Out;
        if !self.is_without_room {
            let mut held = std::mem::take(&mut self.held);
            self.held_releases = 0;
            held.extend(events);
            return held;
        }
        let mut possible = Vec::with_capacity(events.len());
        for event in events {
            let Event::Command { command, reply } = event else {
                possible.push(event);
                continue;
            };
            match *command {
                Command::Abandon { .. } | Command::Describe { .. } => {
                    possible.push(Event::Command { command, reply });
                }
                // Its plan has to end, or nobody would ever read these partitions again.
                Command::Acquire(acquire) => possible.push(Event::unasked(abandoned(acquire))),
                Command::Release { .. } if self.held_releases == MOST_HELD_RELEASES => {}
                command @ Command::Release { .. } => {
                    self.held_releases += 1;
                    self.held.push(Event::unasked(command));
                }
                command @ (Command::Delete { .. }
                | Command::TopicsDeleted(_)
                | Command::DeadLettersDone { .. }) => self.held.push(Event::unasked(command)),
                Command::Plan(_)
                | Command::Start { .. }
                | Command::Acknowledge(_)
                | Command::Initialize(_) => {}
            }
        }
        possible
    }

    fn sleep(&self, now_ms: i64) -> Duration {
        if self.is_without_room {
            return LONGEST_SLEEP;
        }
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
            positions: self.machine.positions().collect(),
        }
    }
}

/// The end of a plan whose records are not acquired.
fn abandoned(acquire: Acquire) -> Command {
    let partitions = acquire.partitions.iter();
    Command::Abandon {
        group: acquire.group,
        plan: acquire.plan,
        partitions: partitions
            .map(|read| (read.topic_id, read.partition))
            .collect(),
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

#[cfg(test)]
mod tests {
    use broker_state::share_partitions::{
        AcquirePartition, Plan, PlanPartition, Planned, SharePartitionKey, ShareSettings,
    };
    use log::{MemoryDisk, TightDisk};

    use super::*;
    use crate::settings::Storage;

    const TOPIC: Uuid = Uuid([7; 16]);

    /// Asks without a thread; `None` when the question is left without an answer.
    fn ask(owner: &mut ShareOwner, command: Command) -> Option<ShareReply> {
        let (reply, mut receiver) = Reply::channel();
        let command = Box::new(command);
        let mut effects = Effects::new();
        for event in owner.with_room(vec![Event::Command { command, reply }]) {
            owner.take(0, event, &mut effects, &mut None);
        }
        owner.deliver(effects.replies);
        receiver.try_recv().ok()
    }

    fn plan(owner: &mut ShareOwner) -> Option<(RequestId, Planned)> {
        let partition = PlanPartition {
            topic_id: TOPIC,
            partition: 0,
            log_start: 0,
            end: 2,
        };
        let plan = Plan {
            group: GroupId::from("workers"),
            settings: ShareSettings::default(),
            partitions: vec![partition],
        };
        match ask(owner, Command::Plan(plan))? {
            ShareReply::Plan { plan, partitions } => Some((plan, partitions[0])),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plan_ends_though_there_is_no_room_to_acquire() {
        let disk = TightDisk::new(MemoryDisk::shared(), 100 << 20);
        let data = Data::open(&Storage::Memory, Some(disk.shared())).expect("a disk");
        let syncs = Arc::new(SyncPool::new(0));
        let mut owner = ShareOwner::open(&data, 10, syncs, 0).expect("the journal opens");
        let key = SharePartitionKey {
            group: GroupId::from("workers"),
            topic_id: TOPIC,
            partition: 0,
        };
        ask(&mut owner, Command::Start { key, offset: 0 });
        let (begun, planned) = plan(&mut owner).expect("there is room");
        assert_eq!(planned, Planned::Read(0));

        disk.set_room(0);
        let read = AcquirePartition {
            topic_id: TOPIC,
            partition: 0,
            from: 0,
            upto: 2,
            batches: vec![(0, 1)],
        };
        let acquire = Command::Acquire(Acquire {
            group: GroupId::from("workers"),
            member: MemberId::from("one"),
            plan: begun,
            settings: ShareSettings::default(),
            max_records: 10,
            batch_size: 10,
            is_strict: false,
            partitions: vec![read],
        });
        assert_eq!(ask(&mut owner, acquire), None);
        assert_eq!(plan(&mut owner), None);

        disk.set_room(1 << 40);
        let (_, planned) = plan(&mut owner).expect("there is room again");
        assert_eq!(planned, Planned::Read(0));
    }
}
