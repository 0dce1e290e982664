//! The image of the cluster that requests read: topics, their settings, their partitions, the settings of groups,
//! quotas, the finalized features.
//! The controller publishes a new image after each change is durable; nobody else writes it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_state::configs::{GroupConfig, GroupConfigs, TopicSettings};
use broker_state::features::FinalizedFeatures;
use broker_state::quotas::ClientQuotas;
use broker_state::telemetry::Subscriptions;
use wire::Uuid;

use crate::partition::Partition;

/// The topic that holds group state, as in Kafka.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic that holds the state of transactions, as in Kafka.
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// The topic that holds what share groups have done with their records, as in Kafka.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";

pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    pub is_internal: bool,
    pub settings: TopicSettings,
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index))
    }
}

/// One moment of the cluster; never changes.
#[derive(Clone, Default)]
pub struct ClusterImage {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    features: FinalizedFeatures,
    group_configs: GroupConfigs,
    quotas: Arc<ClientQuotas>,
    subscriptions: Arc<Subscriptions>,
}

impl ClusterImage {
    /// The finalized levels of features.
    pub fn features(&self) -> &FinalizedFeatures {
        &self.features
    }

    /// The settings of every group, for whoever keeps them beyond this image; cheap to clone.
    #[allow(
        dead_code,
        reason = "read by the group protocols that the broker assigns"
    )]
    pub fn group_configs(&self) -> &GroupConfigs {
        &self.group_configs
    }

    /// The settings of a group, whether it exists or not.
    #[allow(
        dead_code,
        reason = "read by the group protocols that the broker assigns"
    )]
    pub fn group_config(&self, group: &str) -> &GroupConfig {
        self.group_configs.of(group)
    }

    /// Which metrics clients push.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    pub fn set_subscriptions(&mut self, subscriptions: Subscriptions) {
        self.subscriptions = Arc::new(subscriptions);
    }

    /// The quotas that are set.
    pub fn quotas(&self) -> &ClientQuotas {
        &self.quotas
    }

    pub fn set_quotas(&mut self, quotas: ClientQuotas) {
        self.quotas = Arc::new(quotas);
    }

    pub fn set_features(&mut self, features: FinalizedFeatures) {
        self.features = features;
    }

    pub fn set_group_configs(&mut self, group_configs: GroupConfigs) {
        self.group_configs = group_configs;
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<&Arc<Topic>> {
        let mut topics: Vec<_> = self.by_name.values().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    pub fn insert(&mut self, topic: Arc<Topic>) {
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_name.insert(Arc::clone(&topic.name), topic);
    }

    /// Takes out `topic`, and not another one that has its name by now.
    pub fn remove(&mut self, topic: &Topic) {
        self.by_id.remove(&topic.id);
        if self
            .by_name
            .get(&topic.name)
            .is_some_and(|found| found.id == topic.id)
        {
            self.by_name.remove(&topic.name);
        }
    }
}

/// The current image, for any thread.
#[derive(Default)]
pub struct Cluster(ArcSwap<ClusterImage>);

impl Cluster {
    pub fn image(&self) -> Arc<ClusterImage> {
        self.0.load_full()
    }

    /// Looks at the image without taking it along.
    pub fn peek<T>(&self, look: impl FnOnce(&ClusterImage) -> T) -> T {
        look(&self.0.load())
    }

    pub fn publish(&self, image: ClusterImage) {
        self.0.store(Arc::new(image));
    }
}
