//! What the groups know of the cluster's topics: which there are, their ids and how many partitions they have.
//!
//! The coordinator gives a new image whenever the cluster changes. It is no durable state of the groups: after a
//! restart it is given again, before the first request.

use std::collections::{BTreeMap, HashMap};

use wire::Uuid;

use super::ids::TopicName;

/// One topic of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub id: Uuid,
    pub partitions: i32,
}

/// All topics of one moment, by name and by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsImage {
    by_name: BTreeMap<TopicName, TopicImage>,
    names: HashMap<Uuid, TopicName>,
}

impl TopicsImage {
    pub fn get(&self, name: &str) -> Option<&TopicImage> {
        self.by_name.get(name)
    }

    /// The name of a topic that is still there.
    pub fn name(&self, id: Uuid) -> Option<&TopicName> {
        self.names.get(&id)
    }

    /// How many partitions the topic with this id has; none once it is gone.
    pub fn partitions(&self, id: Uuid) -> i32 {
        let topic = self.name(id).and_then(|name| self.get(name.as_str()));
        topic.map_or(0, |topic| topic.partitions)
    }

    /// All topics, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, &TopicImage)> {
        self.by_name.iter()
    }
}

impl FromIterator<(TopicName, TopicImage)> for TopicsImage {
    fn from_iter<I: IntoIterator<Item = (TopicName, TopicImage)>>(topics: I) -> Self {
        let by_name: BTreeMap<_, _> = topics.into_iter().collect();
        let names = by_name.iter().map(|(name, topic)| (topic.id, name.clone()));
        TopicsImage {
            names: names.collect(),
            by_name,
        }
    }
}
