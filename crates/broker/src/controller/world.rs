//! What the controller keeps in line with its machine: the partitions in the shards and the published image.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use broker_state::configs::BrokerConfig;
use broker_state::telemetry::Subscriptions;
use broker_state::topics::{Cluster as ClusterState, Topic as TopicState};
use log::LogError;
use wire::Uuid;

use crate::cluster::{Cluster, ClusterImage, Topic};
use crate::compactor::{Compactor, CompactorSettings};
use crate::coordinator::CoordinatorHandle;
use crate::partition::{Owner, Partition};
use crate::shard::{Event, OpenRequest, Reply, ShardHandle, UpkeepSettings};
use crate::share::ShareHandle;

pub struct World {
    pub root: PathBuf,
    pub cluster: Arc<Cluster>,
    pub shards: Vec<ShardHandle>,
    pub compactor: Arc<Compactor>,
    pub coordinator: CoordinatorHandle,
    pub share: ShareHandle,
    /// The partitions that no shard owns: the journals of the coordinators.
    pub journals: Vec<Arc<Partition>>,
}

/// What of the machine has changed and is to be seen in the world.
#[derive(Default)]
pub struct Changes {
    pub topics: BTreeSet<Uuid>,
    /// Settings of groups, or of the broker that they rest on; subscriptions of metrics.
    pub groups: bool,
    pub features: bool,
    pub quotas: bool,
}

impl Changes {
    /// Everything there is: at the start.
    pub fn all(state: &ClusterState) -> Self {
        Self {
            topics: state.topics().map(|topic| topic.id).collect(),
            groups: true,
            features: true,
            quotas: true,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && !(self.groups || self.features || self.quotas)
    }
}

type Opening = Receiver<Result<Vec<Arc<Partition>>, LogError>>;

impl World {
    /// Makes the partitions and the image agree with the machine in what has changed.
    ///
    /// # Errors
    /// When a partition cannot be opened; the image is then unchanged.
    pub fn reconcile(&mut self, state: &ClusterState, changes: &Changes) -> Result<(), LogError> {
        let ids = &changes.topics;
        self.configure_upkeep(state.broker_config());
        let mut image = ClusterImage::clone(&self.cluster.image());
        if changes.groups {
            image.set_group_configs(state.group_configs());
            image.set_subscriptions(Subscriptions::resolve(state.client_metrics()));
        }
        if changes.quotas {
            image.set_quotas(state.quotas().clone());
        }
        if changes.features {
            image.set_features(state.features().clone());
        }
        // Deleted topics go first: one step may delete a topic and create another one of its name.
        let is_gone = |id: &&Uuid| state.topic_by_id(**id).is_none();
        let gone = ids.iter().filter(is_gone);
        let deleted: Vec<Arc<Topic>> = gone
            .filter_map(|id| image.topic_by_id(*id).cloned())
            .collect();
        for topic in &deleted {
            image.remove(topic);
        }
        if !deleted.is_empty() {
            self.cluster.publish(image.clone());
            self.delete(&deleted);
        }
        let mut opened = self.open_missing(state, ids, &image)?;
        for topic in ids.iter().filter_map(|id| state.topic_by_id(*id)) {
            self.update(
                &mut image,
                topic,
                opened.remove(&topic.id).unwrap_or_default(),
            );
        }
        self.cluster.publish(image);
        self.coordinator.topics_changed(self.cluster.image());
        Ok(())
    }

    /// The broker's own settings for what its shards do while nobody asks.
    fn configure_upkeep(&self, config: &BrokerConfig) {
        self.compactor.configure(CompactorSettings::of(config));
        let upkeep = UpkeepSettings::of(config);
        for shard in &self.shards {
            shard.send(Event::Upkeep(upkeep));
        }
    }

    /// Opens the partitions that the machine has and the image lacks, in all shards at once.
    fn open_missing(
        &self,
        state: &ClusterState,
        ids: &BTreeSet<Uuid>,
        image: &ClusterImage,
    ) -> Result<HashMap<Uuid, Vec<Arc<Partition>>>, LogError> {
        let mut by_shard: Vec<Vec<OpenRequest>> = vec![Vec::new(); self.shards.len()];
        for topic in ids.iter().filter_map(|id| state.topic_by_id(*id)) {
            if self.journal(&topic.name).is_some() {
                continue;
            }
            let present = image
                .topic_by_id(topic.id)
                .map_or(0, |topic| topic.partitions.len() as i32);
            for index in present..topic.partition_count() {
                by_shard[self.shard_of(topic.id, index)].push(OpenRequest {
                    topic: Arc::clone(&topic.name),
                    topic_id: topic.id,
                    index,
                    directory: self.root.join(format!("{}-{index}", topic.name)),
                    settings: topic.settings,
                });
            }
        }
        let opening: Vec<Opening> = self
            .shards
            .iter()
            .zip(by_shard)
            .map(|(shard, requests)| open(shard, requests))
            .collect();
        let mut opened: HashMap<Uuid, Vec<Arc<Partition>>> = HashMap::new();
        for receiver in opening {
            // A shard that has ended answers nothing; the broker is on its way out then.
            let ended = || LogError::Halted {
                path: self.root.clone(),
            };
            for partition in receiver.recv().map_err(|_| ended())?? {
                opened
                    .entry(partition.topic_id)
                    .or_default()
                    .push(partition);
            }
        }
        Ok(opened)
    }

    /// Spreads the partitions of a topic over the shards, and topics of one partition too.
    fn shard_of(&self, id: Uuid, index: i32) -> usize {
        let seed = u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]]) as usize;
        (seed + index as usize) % self.shards.len()
    }

    fn update(
        &self,
        image: &mut ClusterImage,
        state: &TopicState,
        mut opened: Vec<Arc<Partition>>,
    ) {
        let present = image.topic_by_id(state.id);
        let mut partitions = present.map_or_else(Vec::new, |topic| topic.partitions.clone());
        if present.is_some_and(|topic| topic.settings != state.settings) {
            self.configure(&partitions, state.settings);
        }
        if partitions.is_empty() {
            partitions.extend(self.journal(&state.name).cloned());
        }
        opened.sort_unstable_by_key(|partition| partition.index);
        partitions.append(&mut opened);
        image.insert(Arc::new(Topic {
            name: Arc::clone(&state.name),
            id: state.id,
            is_internal: state.is_internal(),
            settings: state.settings,
            partitions,
        }));
    }

    /// The partition of an internal topic that a coordinator owns.
    fn journal(&self, topic: &str) -> Option<&Arc<Partition>> {
        let mut journals = self.journals.iter();
        journals.find(|journal| journal.topic.as_ref() == topic)
    }

    fn configure(
        &self,
        partitions: &[Arc<Partition>],
        settings: broker_state::configs::TopicSettings,
    ) {
        for (shard, partitions) in self.by_shard(partitions) {
            self.shards[shard].send(Event::Configure {
                partitions,
                settings,
            });
        }
    }

    fn delete(&self, topics: &[Arc<Topic>]) {
        if topics.is_empty() {
            return;
        }
        let partitions: Vec<Arc<Partition>> = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().cloned())
            .collect();
        let mut deleting = Vec::new();
        for (shard, partitions) in self.by_shard(&partitions) {
            let (sender, receiver) = channel();
            let reply = Reply::new(move |()| {
                // The controller waits below.
                let _ = sender.send(());
            });
            self.shards[shard].send(Event::Delete { partitions, reply });
            deleting.push(receiver);
        }
        for receiver in deleting {
            let _ = receiver.recv();
        }
        let ids = topics.iter().map(|topic| topic.id);
        self.share.topics_deleted(ids.collect());
        self.coordinator.topics_deleted(
            topics
                .iter()
                .map(|topic| (topic.name.as_ref().into(), topic.id))
                .collect(),
        );
    }

    fn by_shard(&self, partitions: &[Arc<Partition>]) -> HashMap<usize, Vec<Arc<Partition>>> {
        let mut by_shard: HashMap<usize, Vec<Arc<Partition>>> = HashMap::new();
        for partition in partitions {
            if let Owner::Shard { shard, .. } = partition.owner {
                by_shard
                    .entry(shard)
                    .or_default()
                    .push(Arc::clone(partition));
            }
        }
        by_shard
    }
}

fn open(shard: &ShardHandle, requests: Vec<OpenRequest>) -> Opening {
    let (sender, receiver) = channel();
    let reply = Reply::new(move |opened| {
        // The controller waits for it.
        let _ = sender.send(opened);
    });
    shard.send(Event::Open { requests, reply });
    receiver
}
