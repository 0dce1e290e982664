//! DeleteTopics, by name or by id.
//!
//! Source of rules and codes: Kafka's ControllerApis.deleteTopics.

use std::collections::HashMap;

use wire::{ErrorCode, Uuid};

use super::commands::{Reply, TopicDeletion, TopicRef};
use super::create::unknown_topic;
use super::{Cluster, MetadataRecord, is_internal};
use crate::refusal::Refusal;
use crate::step::Effects;

impl Cluster {
    pub(super) fn delete_topics(
        &mut self,
        topics: &[TopicRef],
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<TopicDeletion> {
        if !self.broker.boolean("delete.topic.enable") {
            let refusal = Refusal::new(
                ErrorCode::TopicDeletionDisabled,
                "Topic deletion is disabled.",
            );
            return topics
                .iter()
                .map(|topic| deletion(topic, Err(refusal.clone())))
                .collect();
        }
        let mut uses: HashMap<&TopicRef, usize> = HashMap::new();
        topics
            .iter()
            .for_each(|topic| *uses.entry(topic).or_default() += 1);
        let resolved: Vec<Result<Uuid, Refusal>> =
            topics.iter().map(|topic| self.resolve_ref(topic)).collect();
        let mut uses_of_id: HashMap<Uuid, usize> = HashMap::new();
        let mut deletions = Vec::with_capacity(topics.len());
        let mut unique = Vec::with_capacity(topics.len());
        for (topic, resolved) in topics.iter().zip(resolved) {
            match uses.insert(topic, 0) {
                Some(1) => {
                    if let Ok(id) = resolved {
                        *uses_of_id.entry(id).or_default() += 1;
                    }
                    unique.push((topic, resolved));
                }
                // Answered at its first use.
                Some(0) => {}
                _ => deletions.push(deletion(topic, Err(duplicate(topic)))),
            }
        }
        for (topic, resolved) in unique {
            let deleted = resolved.and_then(|id| match uses_of_id.get(&id) {
                Some(1) => self.delete_topic(id, effects),
                _ => Err(Refusal::invalid_request(
                    "The provided topic name maps to an ID that was already supplied.",
                )),
            });
            deletions.push(match deleted {
                Ok((name, id)) => TopicDeletion {
                    name: Some(name),
                    id,
                    result: Ok(()),
                },
                Err(refusal) => deletion(topic, Err(refusal)),
            });
        }
        deletions
    }

    fn resolve_ref(&self, topic: &TopicRef) -> Result<Uuid, Refusal> {
        match &topic.name {
            Some(_) if topic.id != Uuid::ZERO => Err(Refusal::invalid_request(
                "You may not specify both topic name and topic id.",
            )),
            Some(name) => self
                .topic(name)
                .map(|topic| topic.id)
                .ok_or_else(|| unknown_topic(name)),
            None if topic.id == Uuid::ZERO => Err(Refusal::invalid_request(
                "Neither topic name nor id were specified.",
            )),
            None => self
                .topic_by_id(topic.id)
                .map(|topic| topic.id)
                .ok_or_else(|| {
                    Refusal::new(
                        ErrorCode::UnknownTopicId,
                        format!("topic id {} does not exist", topic.id),
                    )
                }),
        }
    }

    fn delete_topic(
        &mut self,
        id: Uuid,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Result<(String, Uuid), Refusal> {
        let name = self
            .topic_by_id(id)
            .expect("a resolved topic exists")
            .name
            .to_string();
        if is_internal(&name) {
            let message =
                format!("topic '{name}' holds the broker's own state and cannot be deleted");
            return Err(Refusal::invalid_request(message));
        }
        self.commit(MetadataRecord::TopicDeleted { id }, effects);
        Ok((name, id))
    }
}

fn deletion(topic: &TopicRef, result: Result<(), Refusal>) -> TopicDeletion {
    TopicDeletion {
        name: topic.name.clone(),
        id: topic.id,
        result,
    }
}

fn duplicate(topic: &TopicRef) -> Refusal {
    Refusal::invalid_request(match topic.name {
        Some(_) => "Duplicate topic name.",
        None => "Duplicate topic id.",
    })
}
