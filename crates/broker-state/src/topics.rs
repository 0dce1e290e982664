//! The cluster metadata machine: topics and their partitions, configuration, producer ids.
//!
//! Keeps true: the durable state changes only by `apply(record)`, so replaying the metadata log gives the same state;
//! names and ids are unique; every stored value has been checked. `handle` decides and applies, and leaves the
//! records and the answer in the effects; the runner makes the records durable (those of one step in one batch),
//! then acts on them (opens and deletes logs, changes settings) and releases the answer.

mod alter;
mod commands;
mod create;
mod delete;
mod describe;
mod features;
mod names;
mod partitions;
mod quotas;
mod records;
mod resources;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;
use wire::Uuid;

pub use commands::{
    Assignment, AutoTopic, Command, ConfigAlteration, ConfigChange, ConfigOperation,
    ConfigReplacement, ConfigResource, CreatedTopic, NewTopic, PartitionCreation,
    PartitionIncrease, QuotaAlteration, Reply, TopicCreation, TopicDeletion, TopicRef,
};
pub use names::{
    CLUSTER_METADATA, CONSUMER_OFFSETS, MAX_NAME_BYTES, SHARE_GROUP_STATE, TRANSACTION_STATE,
    check_client_append, check_name, is_internal,
};
pub use records::{MAX_PARTITIONS, MetadataRecord, RecordError};
pub use resources::{MAX_CONFIGURED_GROUPS, MAX_SUBSCRIPTIONS};

use crate::configs::{BrokerConfig, ConfigError, Durability, GroupConfigs, TopicSettings, Values};
use crate::features::FinalizedFeatures;
use crate::producer_ids::{ProducerIdentity, ProducerIds};
use crate::quotas::ClientQuotas;
use crate::refusal::Refusal;
use crate::step::{Effects, RequestId};
use resources::Resources;

/// What the runner gives the machine at the start; not in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The number of the one broker.
    pub node_id: i32,
    /// Partitions of all topics together; a request that would exceed it is refused with POLICY_VIOLATION.
    pub max_partitions: usize,
    /// The configuration that the broker is started with.
    pub broker: BrokerConfig,
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    /// As its creator asked, -1 for the default; one broker keeps one replica.
    pub replication_factor_asked: i16,
    /// Its own values, in canonical form.
    pub configs: BTreeMap<String, String>,
    /// What they mean, over the broker's values.
    pub settings: TopicSettings,
    /// The leader epoch of each partition, by its index.
    pub leader_epochs: Vec<i32>,
}

impl Topic {
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.leader_epochs.len()).expect("a topic has at most MAX_PARTITIONS")
    }

    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// Why a record of the metadata log does not fit what came before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    #[error("{record} names topic id {id}, which does not exist at this point of the metadata log")]
    UnknownTopic { record: &'static str, id: Uuid },
    #[error("topic {name} with id {id} is created while one with this name or id exists")]
    TopicExists { name: String, id: Uuid },
    #[error("topic {name} has {from} partitions and cannot be given {to}")]
    Partitions { name: String, from: i32, to: i32 },
    #[error("a configuration in the metadata log is not known to this version: {0}")]
    Config(#[from] ConfigError),
    #[error(
        "level {level} of feature {name} in the metadata log is not known to this version; start the version that wrote this data directory, or a newer one"
    )]
    Feature { name: String, level: i16 },
}

/// The state of the cluster, and its rules.
#[derive(Clone, Debug)]
pub struct Cluster {
    node_id: i32,
    max_partitions: usize,
    broker: BrokerConfig,
    /// The settings of a topic without values of its own; follows from `broker`.
    default_settings: TopicSettings,
    topics: BTreeMap<Arc<str>, Topic>,
    names_by_id: HashMap<Uuid, Arc<str>>,
    /// Names with `.` or `_`, by the form in which such names collide.
    colliding: HashMap<String, BTreeSet<Arc<str>>>,
    partition_count: usize,
    producer_ids: ProducerIds,
    resources: Resources,
    features: FinalizedFeatures,
    quotas: ClientQuotas,
}

impl Cluster {
    /// An empty cluster; the records of the metadata log follow by `apply`.
    pub fn new(settings: ClusterSettings) -> Self {
        let ClusterSettings {
            node_id,
            max_partitions,
            broker,
        } = settings;
        Self {
            node_id,
            max_partitions,
            default_settings: broker.topic_defaults(),
            broker,
            topics: BTreeMap::new(),
            names_by_id: HashMap::new(),
            colliding: HashMap::new(),
            partition_count: 0,
            producer_ids: ProducerIds::default(),
            resources: Resources::default(),
            features: FinalizedFeatures::default(),
            quotas: ClientQuotas::default(),
        }
    }

    pub fn node_id(&self) -> i32 {
        self.node_id
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&Topic> {
        self.topics.get(self.names_by_id.get(&id)?)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.topics.values()
    }

    /// Partitions of all topics together.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The configuration of the broker as it is now.
    pub fn broker_config(&self) -> &BrokerConfig {
        &self.broker
    }

    /// The settings of every group as they are now.
    pub fn group_configs(&self) -> GroupConfigs {
        self.resources.group_configs(&self.broker)
    }

    /// The values of every client-metrics subscription, by name.
    pub fn client_metrics(&self) -> impl Iterator<Item = (&Arc<str>, &Values)> {
        self.resources.client_metrics()
    }

    /// Decides `command`, applies what follows from it, and leaves records and answer in `effects`.
    pub fn handle(
        &mut self,
        request: RequestId,
        command: Command,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) {
        let reply = match command {
            Command::CreateTopics {
                topics,
                validate_only,
            } => Reply::TopicsCreated(self.create_topics(topics, validate_only, effects)),
            Command::AutoCreateTopics { topics } => {
                Reply::TopicsCreated(self.auto_create_topics(topics, effects))
            }
            Command::DeleteTopics { topics } => {
                Reply::TopicsDeleted(self.delete_topics(&topics, effects))
            }
            Command::CreatePartitions {
                topics,
                validate_only,
            } => Reply::PartitionsCreated(self.create_partitions(&topics, validate_only, effects)),
            Command::AlterConfigs {
                resources,
                validate_only,
            } => Reply::ConfigsAltered(self.alter_configs(resources, validate_only, effects)),
            Command::IncrementalAlterConfigs {
                resources,
                validate_only,
            } => Reply::ConfigsAltered(self.incremental_alter_configs(
                resources,
                validate_only,
                effects,
            )),
            Command::InitProducerId { current } => {
                Reply::ProducerIdInitialized(self.init_producer_id(current, effects))
            }
            Command::ReserveProducerIds => {
                Reply::ProducerIdsReserved(self.reserve_producer_ids(effects))
            }
            Command::RaiseLeaderEpochs => {
                self.commit(MetadataRecord::LeaderEpochsRaised, effects);
                Reply::LeaderEpochsRaised
            }
            Command::UpdateFeatures {
                updates,
                validate_only,
            } => Reply::FeaturesUpdated(self.update_features(&updates, validate_only, effects)),
            Command::AlterClientQuotas {
                alterations,
                validate_only,
            } => {
                Reply::ClientQuotasAltered(self.alter_quotas(&alterations, validate_only, effects))
            }
        };
        effects.reply(request, reply);
    }

    fn init_producer_id(
        &mut self,
        current: Option<ProducerIdentity>,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Result<ProducerIdentity, Refusal> {
        if let Some(identity) = self.producer_ids.next_epoch(current)? {
            return Ok(identity);
        }
        if let Some(identity) = self.producer_ids.take() {
            return Ok(identity);
        }
        let block = self.reserve_producer_ids(effects)?;
        self.producer_ids.open(block);
        Ok(self.producer_ids.take().expect("a new block has ids"))
    }

    /// Ids that nobody else is given, also after a restart.
    fn reserve_producer_ids(
        &mut self,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Result<Range<i64>, Refusal> {
        let block = self.producer_ids.next_block()?;
        let next = block.end;
        self.commit(MetadataRecord::ProducerIdsReserved { next }, effects);
        Ok(block)
    }

    /// Applies a record that a decision led to, and asks for it to be made durable.
    fn commit(&mut self, record: MetadataRecord, effects: &mut Effects<MetadataRecord, Reply>) {
        self.apply(&record)
            .expect("a record that was decided on fits the state it was decided on");
        effects.record(record);
    }

    /// Changes the state by one record: the whole of recovery, and the only way that durable state changes.
    ///
    /// # Errors
    /// When the record does not fit the records before it: the log is damaged or of a newer version.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::TopicCreated {
                id,
                name,
                partitions,
                replication_factor,
                configs,
            } => self.apply_created(*id, name, *partitions, *replication_factor, configs),
            MetadataRecord::PartitionsAdded { id, partitions } => {
                self.apply_partitions(*id, *partitions)
            }
            MetadataRecord::TopicDeleted { id } => self.apply_deleted(*id),
            MetadataRecord::TopicConfigSet { id, name, value } => {
                self.apply_topic_config("TopicConfigSet", *id, name, Some(value))
            }
            MetadataRecord::TopicConfigRemoved { id, name } => {
                self.apply_topic_config("TopicConfigRemoved", *id, name, None)
            }
            MetadataRecord::BrokerConfigSet { scope, name, value } => {
                self.broker.set(*scope, name, value)?;
                self.resolve_all()
            }
            MetadataRecord::BrokerConfigRemoved { scope, name } => {
                self.broker.remove(*scope, name);
                self.resolve_all()
            }
            MetadataRecord::ProducerIdsReserved { next } => {
                self.producer_ids.apply_reservation(*next);
                Ok(())
            }
            MetadataRecord::LeaderEpochSet {
                id,
                first_partition,
                partitions,
                epoch,
            } => self.apply_leader_epoch(*id, *first_partition, *partitions, *epoch),
            MetadataRecord::LeaderEpochsRaised => {
                self.raise_leader_epochs();
                Ok(())
            }
            MetadataRecord::ResourceConfigSet {
                resource,
                name,
                value,
            } => {
                self.resources.set(&self.broker, resource, name, value)?;
                Ok(())
            }
            MetadataRecord::ResourceConfigRemoved { resource, name } => {
                self.resources.remove(&self.broker, resource, name);
                Ok(())
            }
            MetadataRecord::ClientQuotaSet { entity, key, value } => {
                self.quotas.apply(entity, *key, Some(value.0));
                Ok(())
            }
            MetadataRecord::ClientQuotaRemoved { entity, key } => {
                self.quotas.apply(entity, *key, None);
                Ok(())
            }
            MetadataRecord::FeatureLevelSet { name, level, epoch } => {
                self.apply_feature_level(name, *level, *epoch)
            }
        }
    }

    fn raise_leader_epochs(&mut self) {
        let epochs = self
            .topics
            .values_mut()
            .flat_map(|topic| &mut topic.leader_epochs);
        epochs.for_each(|epoch| *epoch = epoch.saturating_add(1));
    }

    fn apply_feature_level(
        &mut self,
        name: &str,
        level: i16,
        epoch: i64,
    ) -> Result<(), ReplayError> {
        match self.features.apply(name, level, epoch) {
            true => Ok(()),
            false => Err(ReplayError::Feature {
                name: name.to_owned(),
                level,
            }),
        }
    }

    fn apply_created(
        &mut self,
        id: Uuid,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(String, String)],
    ) -> Result<(), ReplayError> {
        if self.topics.contains_key(name) || self.names_by_id.contains_key(&id) {
            return Err(ReplayError::TopicExists {
                name: name.to_owned(),
                id,
            });
        }
        let count = usize::try_from(partitions).unwrap_or(0);
        let configs: BTreeMap<String, String> = configs.iter().cloned().collect();
        let name: Arc<str> = name.into();
        let topic = Topic {
            settings: self.resolve(&name, &configs)?,
            name: Arc::clone(&name),
            id,
            replication_factor_asked: replication_factor,
            configs,
            leader_epochs: vec![0; count],
        };
        if let Some(form) = names::collision_form(&name) {
            self.colliding
                .entry(form)
                .or_default()
                .insert(Arc::clone(&name));
        }
        self.partition_count += count;
        self.names_by_id.insert(id, Arc::clone(&name));
        self.topics.insert(name, topic);
        Ok(())
    }

    fn apply_partitions(&mut self, id: Uuid, partitions: i32) -> Result<(), ReplayError> {
        let topic = self.known("PartitionsAdded", id)?;
        let from = topic.partition_count();
        if partitions <= from || partitions > MAX_PARTITIONS {
            return Err(ReplayError::Partitions {
                name: topic.name.to_string(),
                from,
                to: partitions,
            });
        }
        topic.leader_epochs.resize(partitions as usize, 0);
        self.partition_count += (partitions - from) as usize;
        Ok(())
    }

    fn apply_deleted(&mut self, id: Uuid) -> Result<(), ReplayError> {
        let unknown = ReplayError::UnknownTopic {
            record: "TopicDeleted",
            id,
        };
        let name = self.names_by_id.remove(&id).ok_or(unknown)?;
        let topic = self.topics.remove(&name).expect("every id has its topic");
        self.partition_count -= topic.leader_epochs.len();
        if let Some(form) = names::collision_form(&name) {
            let names = self
                .colliding
                .get_mut(&form)
                .expect("a name that can collide is listed");
            names.remove(&name);
            if names.is_empty() {
                self.colliding.remove(&form);
            }
        }
        Ok(())
    }

    fn apply_topic_config(
        &mut self,
        record: &'static str,
        id: Uuid,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), ReplayError> {
        let topic = self.known(record, id)?;
        let topic_name = Arc::clone(&topic.name);
        let mut configs = topic.configs.clone();
        match value {
            Some(value) => configs.insert(name.to_owned(), value.to_owned()),
            None => configs.remove(name),
        };
        let settings = self.resolve(&topic_name, &configs)?;
        let topic = self.known(record, id)?;
        topic.configs = configs;
        topic.settings = settings;
        Ok(())
    }

    fn apply_leader_epoch(
        &mut self,
        id: Uuid,
        first: i32,
        partitions: i32,
        epoch: i32,
    ) -> Result<(), ReplayError> {
        let topic = self.known("LeaderEpochSet", id)?;
        let from = topic.partition_count();
        let name = topic.name.to_string();
        let range = usize::try_from(first)
            .ok()
            .zip(usize::try_from(partitions).ok());
        let epochs = range.and_then(|(first, count)| {
            topic
                .leader_epochs
                .get_mut(first..first.checked_add(count)?)
        });
        match epochs {
            Some(epochs) => {
                epochs.fill(epoch);
                Ok(())
            }
            None => Err(ReplayError::Partitions {
                name,
                from,
                to: first.saturating_add(partitions),
            }),
        }
    }

    fn known(&mut self, record: &'static str, id: Uuid) -> Result<&mut Topic, ReplayError> {
        let name = self
            .names_by_id
            .get(&id)
            .ok_or(ReplayError::UnknownTopic { record, id })?;
        Ok(self.topics.get_mut(name).expect("every id has its topic"))
    }

    fn resolve(
        &self,
        name: &str,
        configs: &BTreeMap<String, String>,
    ) -> Result<TopicSettings, ConfigError> {
        let mut settings = self.default_settings.with(configs)?;
        if is_internal(name) {
            // Group and transaction state is what other acknowledgements rest on.
            settings.durability = Durability::Sync;
        }
        Ok(settings)
    }

    /// After a change of the broker's configuration.
    fn resolve_all(&mut self) -> Result<(), ReplayError> {
        self.default_settings = self.broker.topic_defaults();
        self.resources.resolve_all(&self.broker);
        let resolved = self
            .topics
            .values()
            .map(|topic| self.resolve(&topic.name, &topic.configs));
        let resolved = resolved.collect::<Result<Vec<TopicSettings>, ConfigError>>()?;
        for (topic, settings) in self.topics.values_mut().zip(resolved) {
            topic.settings = settings;
        }
        Ok(())
    }

    /// The records that give this state on an empty cluster: a snapshot of the metadata log.
    pub fn snapshot_records(&self) -> Vec<MetadataRecord> {
        let mut records = self.broker_records();
        records.extend(self.resources.records());
        records.extend(self.feature_records());
        records.extend(self.quota_records());
        for topic in self.topics.values() {
            records.push(MetadataRecord::TopicCreated {
                id: topic.id,
                name: topic.name.to_string(),
                partitions: topic.partition_count(),
                replication_factor: topic.replication_factor_asked,
                configs: topic.configs.clone().into_iter().collect(),
            });
            records.extend(epoch_records(topic));
        }
        if self.producer_ids.reserved() > 0 {
            records.push(MetadataRecord::ProducerIdsReserved {
                next: self.producer_ids.reserved(),
            });
        }
        records
    }
}

/// One record for each run of partitions with the same epoch above zero.
fn epoch_records(topic: &Topic) -> impl Iterator<Item = MetadataRecord> {
    let mut first_partition = 0;
    topic
        .leader_epochs
        .chunk_by(|a, b| a == b)
        .filter_map(move |run| {
            let partitions = run.len() as i32;
            let first = first_partition;
            first_partition += partitions;
            (run[0] > 0).then_some(MetadataRecord::LeaderEpochSet {
                id: topic.id,
                first_partition: first,
                partitions,
                epoch: run[0],
            })
        })
}
