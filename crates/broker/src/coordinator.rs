//! Runs the group coordinator: one thread with the `Groups` machine and its journal, `__consumer_offsets-0`.
//! It works in steps like a shard: take what has gathered → decide → make durable → reply.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_state::groups::{
    Command, GroupId, GroupSettings, Groups, ListFilter, Record, RecordError, Reply as GroupReply,
    TopicImage, TopicName, TopicsImage, TransactionChange,
};
use broker_state::step::{Effects, Millis, RequestId};
use wire::Uuid;
use wire::records::EndTransactionMarker;

use crate::clock::Clock;
use crate::cluster::ClusterImage;
use crate::data::Data;
use crate::error::StartError;
use crate::journal::{FramedEntry, Journal, Replayed};
use crate::keeper::Keeper;
use crate::partition::Partition;
use crate::queue::Queue;
use crate::room::Room;
use crate::shard::{Fatal, Reply};
use crate::share::ShareHandle;
use crate::sync_pool::SyncPool;

/// The longest the thread sleeps when no deadline is near.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What the coordinator is asked.
enum Event {
    Command {
        command: Box<Command>,
        reply: Reply<GroupReply>,
    },
    TopicsDeleted {
        topics: Vec<(TopicName, Uuid)>,
    },
    /// The cluster has a new image.
    Topics {
        image: Arc<ClusterImage>,
    },
    Inspect {
        reply: Reply<Vec<GroupOverview>>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// What the metrics and the overview say of a group.
#[derive(Clone, Debug)]
pub struct GroupOverview {
    pub group: Arc<str>,
    pub group_type: &'static str,
    pub state: &'static str,
    pub members: usize,
    /// Topic, partition, committed offset.
    pub offsets: Vec<(Arc<str>, i32, i64)>,
}

/// The way to the coordinator; clones share one queue, bounded by the memory that requests may hold.
#[derive(Clone)]
pub struct CoordinatorHandle(Arc<Queue<Event>>);

impl CoordinatorHandle {
    pub fn new() -> Self {
        Self(Arc::new(Queue::new()))
    }

    /// Asks; `None` when the broker is stopping.
    pub async fn ask(&self, command: Command) -> Option<GroupReply> {
        let command = Box::new(command);
        self.0.ask(|reply| Event::Command { command, reply }).await
    }

    /// Asks; `reply` gets the answer, or is dropped when the broker is stopping.
    pub fn send(&self, command: Command, reply: Reply<GroupReply>) {
        let command = Box::new(command);
        self.0.send(Event::Command { command, reply });
    }

    /// Drops the offsets of topics that are gone.
    pub fn topics_deleted(&self, topics: Vec<(TopicName, Uuid)>) {
        self.0.send(Event::TopicsDeleted { topics });
    }

    /// Tells which topics there are now.
    pub fn topics_changed(&self, image: Arc<ClusterImage>) {
        self.0.send(Event::Topics { image });
    }

    /// What groups there are and how far they have come; empty when the broker is stopping.
    pub async fn inspect(&self) -> Vec<GroupOverview> {
        let groups = self.0.ask(|reply| Event::Inspect { reply });
        groups.await.unwrap_or_default()
    }

    /// Ends the thread after what it has been asked so far.
    pub async fn close(&self) {
        // An answer that does not come means that the thread has ended already.
        let _ = self.0.ask(|reply| Event::Close { reply }).await;
    }

    /// As `close`, without waiting.
    pub fn close_now(&self) {
        self.0.send(Event::Close {
            reply: Reply::ignored(),
        });
    }
}

/// The machine with its journal, replayed and ready to run.
pub struct Coordinator {
    groups: Groups,
    journal: Journal,
    /// An image that the groups have not seen.
    new_topics: Option<Arc<ClusterImage>>,
    waiting: HashMap<RequestId, Reply<GroupReply>>,
    next_request: u64,
    /// What waits for space on the disk: ends of transactions and deletions of topics, as many as there are of those.
    held: Vec<Event>,
    is_without_room: bool,
}

impl Coordinator {
    /// Opens the journal and replays it.
    ///
    /// # Errors
    /// `State` or `Log` when the journal cannot be read.
    pub fn open(
        data: &Data,
        settings: GroupSettings,
        syncs: Arc<SyncPool>,
        now_ms: i64,
    ) -> Result<Self, StartError> {
        let what = crate::cluster::CONSUMER_OFFSETS;
        let mut groups = Groups::new(settings);
        let apply = |replayed: Replayed<'_>| {
            groups.apply(&read(replayed).map_err(|error| error.to_string())?);
            Ok(())
        };
        let directory = data.partition_directory(what, 0);
        let journal =
            Journal::open_framed(Arc::clone(data.disk()), directory, syncs, now_ms, apply);
        let journal = journal.map_err(|error| StartError::replay(what, error))?;
        groups.loaded(Millis(now_ms));
        Ok(Self {
            groups,
            journal,
            new_topics: None,
            waiting: HashMap::new(),
            next_request: 0,
            held: Vec::new(),
            is_without_room: false,
        })
    }

    pub fn has_share_group(&self, group: &GroupId) -> bool {
        let durable = self.groups.durable().get(group.as_str());
        durable.is_some_and(|group| group.share.is_some())
    }

    pub fn shared_view(&self) -> Arc<log::SharedView> {
        self.journal.shared_view()
    }

    /// Starts the thread; `share` is told of members that have left share groups, `partition` is what clients see of
    /// the journal.
    pub fn spawn(
        self,
        handle: CoordinatorHandle,
        share: ShareHandle,
        partition: Arc<Partition>,
        clock: Clock,
        keeper: Keeper,
    ) -> JoinHandle<()> {
        let failing = keeper.clone();
        let run = move || {
            if let Err(fatal) = self.run(&handle, &share, &partition, &clock) {
                handle.0.close();
                failing.fail(fatal);
            }
        };
        keeper.spawn("coordinator", run)
    }

    fn run(
        mut self,
        handle: &CoordinatorHandle,
        share: &ShareHandle,
        partition: &Partition,
        clock: &Clock,
    ) -> Result<(), Fatal> {
        loop {
            handle.0.wait(self.sleep(clock.now_ms()));
            let Some(events) = handle.0.take(Vec::new()) else {
                return Ok(());
            };
            let now_ms = clock.now_ms();
            let mut effects = Effects::new();
            let mut closing = None;
            for event in self.with_room(events) {
                self.take(now_ms, event, &mut effects, &mut closing);
            }
            self.take_topics(now_ms, &mut effects);
            if !self.is_without_room {
                self.groups.tick(Millis(now_ms), &mut effects);
            }
            self.settle(effects, now_ms, partition)?;
            for (group, member) in self.groups.take_departed() {
                share.release(group, member);
            }
            if let Some(reply) = closing {
                handle.0.close();
                self.journal.close().map_err(fatal)?;
                reply.deliver(());
                return Ok(());
            }
        }
    }

    /// What can be worked on now. Without room on the disk that is what makes no records: the rest is told nothing, so that
    /// clients ask again, or waits where nobody would ask again.
    fn with_room(&mut self, events: Vec<Event>) -> Vec<Event> {
        self.is_without_room = self.journal.room() == Room::Out;
        if !self.is_without_room {
            let mut held = std::mem::take(&mut self.held);
            held.extend(events);
            return held;
        }
        let mut possible = Vec::with_capacity(events.len());
        for event in events {
            match &event {
                Event::Command { command, .. } => match **command {
                    Command::Heartbeat(_)
                    | Command::FetchOffsets(_)
                    | Command::Describe(_)
                    | Command::DescribeConsumers(_)
                    | Command::List(_) => possible.push(event),
                    Command::EndTransaction { .. } => self.held.push(event),
                    _ => {}
                },
                Event::TopicsDeleted { .. } => self.held.push(event),
                _ => possible.push(event),
            }
        }
        possible
    }

    fn sleep(&self, now_ms: i64) -> Duration {
        if self.is_without_room {
            return LONGEST_SLEEP;
        }
        let Some(Millis(deadline)) = self.groups.next_deadline() else {
            return LONGEST_SLEEP;
        };
        Duration::from_millis(deadline.saturating_sub(now_ms).max(0) as u64).min(LONGEST_SLEEP)
    }

    fn take(
        &mut self,
        now_ms: i64,
        event: Event,
        effects: &mut Effects<Record, GroupReply>,
        closing: &mut Option<Reply<()>>,
    ) {
        match event {
            Event::Command { command, reply } => {
                self.take_topics(now_ms, effects);
                let request = RequestId(self.next_request);
                self.next_request += 1;
                self.waiting.insert(request, reply);
                self.groups
                    .handle(Millis(now_ms), request, *command, effects);
            }
            Event::TopicsDeleted { topics } => {
                self.groups.topics_deleted(Millis(now_ms), &topics, effects);
            }
            Event::Topics { image } => self.new_topics = Some(image),
            Event::Inspect { reply } => reply.deliver(self.overview()),
            Event::Close { reply } => *closing = Some(reply),
        }
    }

    /// Gives the groups the latest image; those in between, while many topics are made, do not matter.
    fn take_topics(&mut self, now_ms: i64, effects: &mut Effects<Record, GroupReply>) {
        if self.is_without_room {
            return;
        }
        if let Some(image) = self.new_topics.take() {
            let configs = image.group_configs().clone();
            self.groups.set_configs(Millis(now_ms), configs);
            self.groups
                .set_topics(Millis(now_ms), topics(&image), effects);
        }
    }

    /// Makes the records of a step durable, then lets its replies go.
    fn settle(
        &mut self,
        effects: Effects<Record, GroupReply>,
        now_ms: i64,
        partition: &Partition,
    ) -> Result<(), Fatal> {
        if !effects.records.is_empty() {
            self.journal
                .append(effects.records.iter().map(entry), now_ms)
                .map_err(fatal)?;
            if self.journal.wants_rewriting() {
                let records: Vec<Record> = self.groups.snapshot_records().collect();
                self.journal
                    .rewrite(records.iter().map(entry), now_ms)
                    .map_err(fatal)?;
            }
            partition.wake_waiters();
        }
        for (request, reply) in effects.replies {
            let waiting = self
                .waiting
                .remove(&request)
                .expect("each request is answered once");
            waiting.deliver(reply);
        }
        Ok(())
    }

    fn overview(&self) -> Vec<GroupOverview> {
        let listed = self.groups.list(&ListFilter::default());
        let groups = listed.into_iter().map(|listed| {
            let durable = self.groups.durable().get(listed.group.as_str());
            let offsets = durable.into_iter().flat_map(|group| &group.offsets);
            let offsets = offsets.flat_map(|(topic, partitions)| {
                let topic: Arc<str> = Arc::from(topic.as_str());
                partitions.iter().map(move |(partition, committed)| {
                    (Arc::clone(&topic), *partition, committed.offset)
                })
            });
            GroupOverview {
                group_type: listed.group_type.name(),
                state: listed.state.name(),
                members: self.groups.count_members(&listed.group),
                offsets: offsets.collect(),
                group: Arc::from(listed.group.as_str()),
            }
        });
        groups.collect()
    }
}

/// What of the cluster's image the groups look at.
fn topics(image: &ClusterImage) -> TopicsImage {
    let topics = image.topics().into_iter().map(|topic| {
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let id = topic.id;
        let name = TopicName::from(Arc::clone(&topic.name));
        (name, TopicImage { id, partitions })
    });
    topics.collect()
}

fn entry(record: &Record) -> FramedEntry {
    let plain = || {
        let (key, value) = record.encode();
        (Some(key), value)
    };
    match record {
        Record::Transaction(TransactionChange::Offset { producer, .. }) => {
            FramedEntry::Transactional(*producer, plain())
        }
        Record::Transaction(TransactionChange::End {
            producer,
            coordinator_epoch,
            is_commit,
        }) => {
            let marker = EndTransactionMarker {
                is_commit: *is_commit,
                coordinator_epoch: *coordinator_epoch,
            };
            FramedEntry::Marker(*producer, marker)
        }
        _ => FramedEntry::Plain(plain()),
    }
}

/// The record that `entry` was made of.
fn read(replayed: Replayed<'_>) -> Result<Record, RecordError> {
    match replayed {
        Replayed::Record {
            producer: None,
            key,
            value,
        } => Record::decode(key.unwrap_or_default(), value),
        Replayed::Record {
            producer: Some(producer),
            key,
            value,
        } => Record::decode_in_transaction(producer, key.unwrap_or_default(), value),
        Replayed::Marker(producer, marker) => Ok(Record::Transaction(TransactionChange::End {
            producer,
            coordinator_epoch: marker.coordinator_epoch,
            is_commit: marker.is_commit,
        })),
    }
}

fn fatal(source: log::LogError) -> Fatal {
    Fatal::Write {
        partition: format!("{}-0", crate::cluster::CONSUMER_OFFSETS),
        source,
    }
}
