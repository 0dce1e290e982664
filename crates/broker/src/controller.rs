//! Runs the controller: one thread with the cluster machine and its journal, `__cluster_metadata-0`.
//!
//! A step makes its records durable, then brings the world in line with the machine (opens, deletes and
//! configures partitions, publishes a new image), then answers. Cut short after the records, the next start
//! brings the world in line: the records are the truth.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_state::configs::BrokerConfig;
use broker_state::configs::ConfigEntry;
use broker_state::refusal::Refusal;
use broker_state::step::{Effects, RequestId};
use broker_state::topics::{
    AutoTopic, Cluster as ClusterState, ClusterSettings, Command, ConfigResource, MetadataRecord,
    Reply as TopicsReply,
};
use wire::Uuid;

use crate::clock::Clock;
use crate::data::Data;
use crate::entropy;
use crate::error::StartError;
use crate::journal::{Entry, Journal};
use crate::keeper::Keeper;
use crate::queue::Queue;
use crate::room::Room;
use crate::shard::{Fatal, Reply};
use crate::sync_pool::SyncPool;

mod world;

pub use world::{Changes, World};

/// The controller's own log; not a topic that clients see.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";
const SLEEP: Duration = Duration::from_secs(1);

/// A resource whose settings are wanted: all of them, or those named.
pub struct ConfigQuery {
    pub resource: ConfigResource,
    pub keys: Option<Vec<String>>,
}

/// The settings of one resource.
pub type ConfigDescription = Result<Vec<ConfigEntry>, Refusal>;

enum Event {
    Command {
        command: Command,
        reply: Reply<TopicsReply>,
    },
    DescribeConfigs {
        queries: Vec<ConfigQuery>,
        reply: Reply<Vec<ConfigDescription>>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// The way to the controller; clones share one queue, bounded by the memory that requests may hold.
#[derive(Clone)]
pub struct ControllerHandle(Arc<Queue<Event>>);

impl ControllerHandle {
    pub fn new() -> Self {
        Self(Arc::new(Queue::new()))
    }

    /// Asks; `None` when the broker is stopping.
    pub async fn ask(&self, command: Command) -> Option<TopicsReply> {
        self.0.ask(|reply| Event::Command { command, reply }).await
    }

    /// Asks; `reply` gets the answer, or is dropped when the broker is stopping.
    pub fn send(&self, command: Command, reply: Reply<TopicsReply>) {
        self.0.send(Event::Command { command, reply });
    }

    /// Creates topics that a client named, where the broker's settings allow it; tells nothing.
    pub async fn create_automatically(&self, names: Vec<String>) {
        let topic = |name| {
            Some(AutoTopic {
                name,
                id: Uuid(entropy::uuid()?),
            })
        };
        let topics = names.into_iter().filter_map(topic).collect();
        // What could not be created stays unknown to the client that asked.
        let _ = self.ask(Command::AutoCreateTopics { topics }).await;
    }

    /// Settings of topics and of the broker with their origins; empty when the broker is stopping.
    pub async fn describe_configs(&self, queries: Vec<ConfigQuery>) -> Vec<ConfigDescription> {
        let described = self
            .0
            .ask(|reply| Event::DescribeConfigs { queries, reply });
        described.await.unwrap_or_default()
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
pub struct Controller {
    state: ClusterState,
    journal: Journal,
    waiting: HashMap<RequestId, Reply<TopicsReply>>,
    next_request: u64,
    /// At most one: the transaction coordinator's wish for producer ids, while there is no room on the disk.
    held: Vec<Event>,
}

impl Controller {
    /// Opens the journal and replays it.
    ///
    /// # Errors
    /// `State` or `Log` when the journal cannot be read.
    pub fn open(
        data: &Data,
        config: BrokerConfig,
        partitions: usize,
        syncs: Arc<SyncPool>,
        now_ms: i64,
    ) -> Result<Self, StartError> {
        let settings = ClusterSettings {
            node_id: i32::try_from(config.integer("node.id")).unwrap_or(i32::MAX),
            max_partitions: partitions,
            broker: config,
        };
        let mut state = ClusterState::new(settings);
        let apply = |_: Option<&[u8]>, value: Option<&[u8]>| {
            let record = MetadataRecord::decode(value.unwrap_or_default())
                .map_err(|error| error.to_string())?;
            // A rewriting that was cut short tells again what was told before.
            if matches!(&record, MetadataRecord::TopicCreated { id, .. } if state.topic_by_id(*id).is_some())
            {
                return Ok(());
            }
            state.apply(&record).map_err(|error| error.to_string())
        };
        let directory = data.partition_directory(CLUSTER_METADATA, 0);
        let journal = Journal::open(Arc::clone(data.disk()), directory, syncs, now_ms, apply);
        let journal = journal.map_err(|error| StartError::replay(CLUSTER_METADATA, error))?;
        Ok(Self {
            state,
            journal,
            waiting: HashMap::new(),
            next_request: 0,
            held: Vec::new(),
        })
    }

    /// Creates a topic of the broker's own at the first start.
    ///
    /// # Errors
    /// `Log` when the disk fails.
    pub fn ensure_internal_topic(
        &mut self,
        name: &str,
        id: [u8; 16],
        configs: &[(&str, &str)],
        now_ms: i64,
    ) -> Result<(), StartError> {
        if self.state.topic(name).is_some() {
            return Ok(());
        }
        let record = MetadataRecord::TopicCreated {
            id: Uuid(id),
            name: name.to_owned(),
            partitions: 1,
            replication_factor: 1,
            configs: configs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let appended = self.journal.append([entry(&record)], now_ms);
        appended.map_err(|source| StartError::Log {
            what: CLUSTER_METADATA.to_owned(),
            source,
        })?;
        self.state
            .apply(&record)
            .expect("a topic that is not there can be created");
        Ok(())
    }

    /// The view of the journal.
    pub fn shared_view(&self) -> Arc<log::SharedView> {
        self.journal.shared_view()
    }

    pub fn topic_id(&self, name: &str) -> Uuid {
        self.state.topic(name).map_or(Uuid::ZERO, |topic| topic.id)
    }

    /// Opens every partition there is and publishes the first image.
    ///
    /// # Errors
    /// `Log` when a partition cannot be opened.
    pub fn open_all(&self, world: &mut World) -> Result<(), StartError> {
        world
            .reconcile(&self.state, &Changes::all(&self.state))
            .map_err(|source| StartError::Log {
                what: "a partition".to_owned(),
                source,
            })
    }

    /// Starts the thread.
    pub fn spawn(
        self,
        handle: ControllerHandle,
        world: World,
        clock: Clock,
        keeper: Keeper,
    ) -> JoinHandle<()> {
        let failing = keeper.clone();
        let run = move || {
            if let Err(fatal) = self.run(&handle, world, &clock) {
                handle.0.close();
                failing.fail(fatal);
            }
        };
        keeper.spawn("controller", run)
    }

    fn run(
        mut self,
        handle: &ControllerHandle,
        mut world: World,
        clock: &Clock,
    ) -> Result<(), Fatal> {
        loop {
            handle.0.wait(SLEEP);
            let Some(events) = handle.0.take(Vec::new()) else {
                return Ok(());
            };
            let now_ms = clock.now_ms();
            let mut effects = Effects::new();
            let mut closing = None;
            let mut described = Vec::new();
            for event in self.with_room(events) {
                match event {
                    Event::Command { command, reply } => {
                        let request = RequestId(self.next_request);
                        self.next_request += 1;
                        self.waiting.insert(request, reply);
                        self.state.handle(request, command, &mut effects);
                    }
                    Event::DescribeConfigs { queries, reply } => {
                        let answer = queries.iter().map(|query| self.describe(query)).collect();
                        described.push((reply, answer));
                    }
                    Event::Close { reply } => closing = Some(reply),
                }
            }
            self.settle(effects, now_ms, &mut world)?;
            // What they tell is durable only now.
            described
                .into_iter()
                .for_each(|(reply, answer)| reply.deliver(answer));
            if let Some(reply) = closing {
                handle.0.close();
                self.journal.close().map_err(fatal)?;
                reply.deliver(());
                return Ok(());
            }
        }
    }

    /// What can be worked on now. On a full disk nothing is created, and in the end only deleted: who asks is told nothing, which
    /// becomes an error that clients try again. The one who would not ask again waits.
    fn with_room(&mut self, events: Vec<Event>) -> Vec<Event> {
        let room = self.journal.room();
        let mut possible = Vec::with_capacity(events.len() + self.held.len());
        if room != Room::Out {
            possible.append(&mut self.held);
        }
        for event in events {
            let Event::Command { command, .. } = &event else {
                possible.push(event);
                continue;
            };
            match command {
                Command::DeleteTopics { .. } => possible.push(event),
                Command::ReserveProducerIds if room == Room::Out => self.held.push(event),
                Command::CreateTopics { .. }
                | Command::AutoCreateTopics { .. }
                | Command::CreatePartitions { .. }
                    if room != Room::Enough => {}
                _ if room == Room::Out => {}
                _ => possible.push(event),
            }
        }
        possible
    }

    /// Makes the records of a step durable and real, then lets its replies go.
    fn settle(
        &mut self,
        effects: Effects<MetadataRecord, TopicsReply>,
        now_ms: i64,
        world: &mut World,
    ) -> Result<(), Fatal> {
        if !effects.records.is_empty() {
            self.journal
                .append(effects.records.iter().map(entry), now_ms)
                .map_err(fatal)?;
            if self.journal.wants_rewriting() {
                let records = self.state.snapshot_records();
                self.journal
                    .rewrite(records.iter().map(entry), now_ms)
                    .map_err(fatal)?;
            }
            let changes = self.changes(&effects.records);
            if !changes.is_empty() {
                world.reconcile(&self.state, &changes).map_err(fatal)?;
            }
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

    fn describe(&self, query: &ConfigQuery) -> ConfigDescription {
        let keys: Option<Vec<&str>> = query
            .keys
            .as_ref()
            .map(|keys| keys.iter().map(String::as_str).collect());
        self.state
            .describe_configs(&query.resource, keys.as_deref())
    }

    /// What these records changed.
    fn changes(&self, records: &[MetadataRecord]) -> Changes {
        let mut changes = Changes::default();
        for record in records {
            match record {
                MetadataRecord::TopicCreated { id, .. }
                | MetadataRecord::PartitionsAdded { id, .. }
                | MetadataRecord::TopicDeleted { id }
                | MetadataRecord::TopicConfigSet { id, .. }
                | MetadataRecord::TopicConfigRemoved { id, .. }
                | MetadataRecord::LeaderEpochSet { id, .. } => {
                    changes.topics.insert(*id);
                }
                // The broker's settings are the defaults of every topic and of every group.
                MetadataRecord::BrokerConfigSet { .. }
                | MetadataRecord::BrokerConfigRemoved { .. } => {
                    changes.topics.extend(self.topic_ids());
                    changes.groups = true;
                }
                MetadataRecord::LeaderEpochsRaised => changes.topics.extend(self.topic_ids()),
                MetadataRecord::ResourceConfigSet { .. }
                | MetadataRecord::ResourceConfigRemoved { .. } => changes.groups = true,
                MetadataRecord::FeatureLevelSet { .. } => changes.features = true,
                MetadataRecord::ClientQuotaSet { .. }
                | MetadataRecord::ClientQuotaRemoved { .. } => changes.quotas = true,
                MetadataRecord::ProducerIdsReserved { .. } => {}
            }
        }
        changes
    }

    fn topic_ids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.state.topics().map(|topic| topic.id)
    }
}

fn entry(record: &MetadataRecord) -> Entry {
    (None, Some(record.encode()))
}

fn fatal(source: log::LogError) -> Fatal {
    Fatal::Write {
        partition: format!("{CLUSTER_METADATA}-0"),
        source,
    }
}
