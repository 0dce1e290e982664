//! What can be asked of the cluster machine, and what it answers.

use std::collections::BTreeMap;
use std::ops::Range;

use wire::Uuid;

use crate::features::FeatureUpdate;
use crate::producer_ids::ProducerIdentity;
use crate::quotas::QuotaOperation;
use crate::refusal::Refusal;

/// A request that may change the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    CreateTopics {
        topics: Vec<NewTopic>,
        validate_only: bool,
    },
    /// Creates what a client named and nobody has created, if `auto.create.topics.enable` allows it.
    AutoCreateTopics {
        topics: Vec<AutoTopic>,
    },
    DeleteTopics {
        topics: Vec<TopicRef>,
    },
    CreatePartitions {
        topics: Vec<PartitionIncrease>,
        validate_only: bool,
    },
    /// AlterConfigs: the entries are all that the resource keeps.
    AlterConfigs {
        resources: Vec<ConfigReplacement>,
        validate_only: bool,
    },
    IncrementalAlterConfigs {
        resources: Vec<ConfigChange>,
        validate_only: bool,
    },
    /// A producer id for a producer without transactions; `current` is what the producer has, if it says so.
    InitProducerId {
        current: Option<ProducerIdentity>,
    },
    /// A block of producer ids for the transaction coordinator.
    ReserveProducerIds,
    /// Every partition gets a new leader epoch: after a start that may have lost unsynced records, so that
    /// consumers notice (KIP-320).
    RaiseLeaderEpochs,
    /// Other finalized levels of features: all of them, or none when one cannot be.
    UpdateFeatures {
        updates: Vec<FeatureUpdate>,
        validate_only: bool,
    },
    AlterClientQuotas {
        alterations: Vec<QuotaAlteration>,
        validate_only: bool,
    },
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    TopicsCreated(Vec<TopicCreation>),
    TopicsDeleted(Vec<TopicDeletion>),
    PartitionsCreated(Vec<PartitionCreation>),
    /// Of both ways to alter configs.
    ConfigsAltered(Vec<ConfigAlteration>),
    ProducerIdInitialized(Result<ProducerIdentity, Refusal>),
    ProducerIdsReserved(Result<Range<i64>, Refusal>),
    LeaderEpochsRaised,
    FeaturesUpdated(Result<(), Refusal>),
    /// One for each alteration, in their order.
    ClientQuotasAltered(Vec<Result<(), Refusal>>),
}

/// What is to become of the quotas of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaAlteration {
    /// Type and name of each part, `None` for the default; checked by the machine.
    pub entity: Vec<(String, Option<String>)>,
    pub operations: Vec<QuotaOperation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// The id it gets; random, from the runner.
    pub id: Uuid,
    /// -1: the broker's `num.partitions`.
    pub partitions: i32,
    /// -1: the broker's `default.replication.factor`.
    pub replication_factor: i16,
    /// Explicit placement, instead of the two counts.
    pub assignments: Vec<Assignment>,
    pub configs: Vec<(String, Option<String>)>,
}

/// Where the replicas of one new partition are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub partition: i32,
    pub brokers: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoTopic {
    pub name: String,
    /// The id it gets if it is created; random, from the runner.
    pub id: Uuid,
}

/// A topic as DeleteTopics names it: by exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicRef {
    pub name: Option<String>,
    /// `Uuid::ZERO`: not given.
    pub id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionIncrease {
    pub name: String,
    /// How many partitions there are to be in the end.
    pub partitions: i32,
    /// The brokers of each added partition, if the client chooses them.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// What a configuration belongs to, as the wire names it.
/// A broker with an empty name: all brokers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigResource {
    pub resource_type: i8,
    pub name: String,
}

impl ConfigResource {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigReplacement {
    pub resource: ConfigResource,
    pub entries: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    pub resource: ConfigResource,
    pub operations: Vec<ConfigOperation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigOperation {
    pub name: String,
    /// As on the wire: 0 set, 1 delete, 2 append, 3 subtract.
    pub operation: i8,
    pub value: Option<String>,
}

impl ConfigOperation {
    pub const SET: i8 = 0;
    pub const DELETE: i8 = 1;
    pub const APPEND: i8 = 2;
    pub const SUBTRACT: i8 = 3;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicCreation {
    pub name: String,
    pub result: Result<CreatedTopic, Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: Uuid,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Its own values; `configs::describe_topic` makes of them what CreateTopics shows.
    pub configs: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDeletion {
    /// `None` when an unknown id was given.
    pub name: Option<String>,
    /// `Uuid::ZERO` when an unknown name was given.
    pub id: Uuid,
    pub result: Result<(), Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCreation {
    pub name: String,
    pub result: Result<(), Refusal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAlteration {
    pub resource: ConfigResource,
    pub result: Result<(), Refusal>,
}
