//! CreateTopics and auto-creation.
//!
//! Source of rules and codes: Kafka's ReplicationControlManager.createTopics and ControllerApis.createTopics.

use std::collections::BTreeMap;

use wire::{ErrorCode, Uuid};

use super::commands::{AutoTopic, CreatedTopic, NewTopic, Reply, TopicCreation};
use super::names::{
    CLUSTER_METADATA, CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE, collision_form,
};
use super::{Cluster, MAX_PARTITIONS, MetadataRecord, Topic, check_name, is_internal};
use crate::configs::{check_combination, topic_key};
use crate::refusal::Refusal;
use crate::step::Effects;

/// Kafka's limit of new partitions in one request.
pub(super) const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;

/// Partitions and replicas that a creator asks for, with the defaults put in.
struct Counts {
    partitions: i32,
    replication_factor: i16,
}

impl Cluster {
    pub(super) fn create_topics(
        &mut self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<TopicCreation> {
        if self.partitions_asked(&topics) > MAX_PARTITIONS_PER_REQUEST {
            let message = "Excessively large number of partitions per request.";
            let refusal = Refusal::new(ErrorCode::PolicyViolation, message);
            return topics
                .into_iter()
                .map(|topic| refused(topic.name, refusal.clone()))
                .collect();
        }
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        topics
            .iter()
            .for_each(|topic| *uses.entry(topic.name.clone()).or_default() += 1);
        let mut creations = Vec::with_capacity(uses.len());
        let mut only_validated = 0;
        for topic in topics {
            match uses.insert(topic.name.clone(), 0) {
                Some(1) => {}
                // Answered at its first use.
                Some(0) => continue,
                _ => {
                    creations.push(refused(
                        topic.name,
                        Refusal::invalid_request("Duplicate topic name."),
                    ));
                    continue;
                }
            }
            let planned =
                refuse_internal(&topic.name).and_then(|()| self.plan_topic(&topic, only_validated));
            let result = planned.map(|(record, created)| {
                match validate_only {
                    true => only_validated += created.partitions as usize,
                    false => self.commit(record, effects),
                }
                created
            });
            creations.push(TopicCreation {
                name: topic.name,
                result,
            });
        }
        creations
    }

    pub(super) fn auto_create_topics(
        &mut self,
        topics: Vec<AutoTopic>,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<TopicCreation> {
        let mut creations = Vec::with_capacity(topics.len());
        for AutoTopic { name, id } in topics {
            let result = self.auto_create_topic(&name, id, effects);
            creations.push(TopicCreation { name, result });
        }
        creations
    }

    /// A topic that exists is the answer too: clients that ask at the same time all get it.
    fn auto_create_topic(
        &mut self,
        name: &str,
        id: Uuid,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Result<CreatedTopic, Refusal> {
        if let Some(topic) = self.topic(name) {
            return Ok(as_created(topic));
        }
        if !self.broker.boolean("auto.create.topics.enable") && !is_internal(name) {
            return Err(unknown_topic(name));
        }
        refuse_reserved(name)?;
        let topic = self.auto_topic(name, id);
        let (record, created) = self.plan_topic(&topic, 0)?;
        self.commit(record, effects);
        Ok(created)
    }

    /// What an auto-created topic is like; the broker's own topics have their own keys.
    fn auto_topic(&self, name: &str, id: Uuid) -> NewTopic {
        let prefix = match name {
            CONSUMER_OFFSETS => "offsets.topic",
            TRANSACTION_STATE => "transaction.state.log",
            SHARE_GROUP_STATE => "share.coordinator.state.topic",
            _ => {
                return NewTopic {
                    name: name.to_owned(),
                    id,
                    partitions: -1,
                    replication_factor: -1,
                    assignments: Vec::new(),
                    configs: Vec::new(),
                };
            }
        };
        let number = |key: &str| self.broker.integer(&format!("{prefix}.{key}"));
        let mut configs = vec![
            (
                "segment.bytes",
                number("segment.bytes").max(1 << 20).to_string(),
            ),
            ("thalweg.durability", "sync".to_owned()),
        ];
        match name {
            // Share group state is a log of snapshots and deltas that the coordinator prunes itself.
            SHARE_GROUP_STATE => configs.extend([
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", "-1".to_owned()),
            ]),
            _ => configs.push(("cleanup.policy", "compact".to_owned())),
        }
        NewTopic {
            name: name.to_owned(),
            id,
            partitions: number("num.partitions") as i32,
            replication_factor: number("replication.factor") as i16,
            assignments: Vec::new(),
            configs: configs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Some(value)))
                .collect(),
        }
    }

    /// Checks a new topic and gives its record. `planned` partitions count against the limit too.
    fn plan_topic(
        &self,
        topic: &NewTopic,
        planned: usize,
    ) -> Result<(MetadataRecord, CreatedTopic), Refusal> {
        let name = &topic.name;
        check_name(name)?;
        if self.topics.contains_key(name.as_str()) {
            return Err(Refusal::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        self.check_collision(name)?;
        if topic.id == Uuid::ZERO || self.names_by_id.contains_key(&topic.id) {
            let message = format!("topic id {} is taken; try again", topic.id);
            return Err(Refusal::new(ErrorCode::UnknownServerError, message));
        }
        let configs = self.check_configs(&topic.configs)?;
        let counts = match topic.assignments.is_empty() {
            true => self.counts_asked(topic)?,
            false => self.counts_assigned(topic)?,
        };
        self.check_room(name, counts.partitions, planned)?;
        let created = CreatedTopic {
            id: topic.id,
            partitions: counts.partitions,
            replication_factor: counts.replication_factor,
            configs: configs.clone(),
        };
        let record = MetadataRecord::TopicCreated {
            id: topic.id,
            name: name.clone(),
            partitions: counts.partitions,
            replication_factor: topic.replication_factor.max(-1),
            configs: configs.into_iter().collect(),
        };
        Ok((record, created))
    }

    fn check_collision(&self, name: &str) -> Result<(), Refusal> {
        let other =
            collision_form(name).and_then(|form| self.colliding.get(&form)?.first().cloned());
        other.map_or(Ok(()), |other| {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            Err(Refusal::new(ErrorCode::InvalidTopicException, message))
        })
    }

    /// The values in canonical form.
    fn check_configs(
        &self,
        configs: &[(String, Option<String>)],
    ) -> Result<BTreeMap<String, String>, Refusal> {
        let without_value: Vec<&str> = configs
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !without_value.is_empty() {
            let message = format!(
                "Null value not supported for topic configs: {}",
                without_value.join(",")
            );
            return Err(Refusal::new(ErrorCode::InvalidConfig, message));
        }
        let mut checked = BTreeMap::new();
        for (name, value) in configs {
            let value = topic_key(name)?
                .key
                .canonical(value.as_deref().unwrap_or_default())?;
            checked.insert(name.clone(), value);
        }
        check_combination(self.default_settings, &checked)?;
        Ok(checked)
    }

    fn counts_asked(&self, topic: &NewTopic) -> Result<Counts, Refusal> {
        let replicas = match topic.replication_factor {
            -1 => self.broker.integer("default.replication.factor"),
            asked if asked > 0 => asked.into(),
            _ => {
                let message =
                    "Replication factor must be larger than 0, or -1 to use the default value.";
                return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
            }
        };
        let partitions = self.resolve_partitions(topic.partitions);
        if partitions <= 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        if replicas > 1 {
            let message =
                format!("replication factor {replicas} is larger than the 1 available broker");
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
        }
        Ok(Counts {
            partitions,
            replication_factor: 1,
        })
    }

    fn counts_assigned(&self, topic: &NewTopic) -> Result<Counts, Refusal> {
        for (what, is_given) in [
            ("replication factor", topic.replication_factor != -1),
            ("numPartitions", topic.partitions != -1),
        ] {
            if is_given {
                let message = format!(
                    "A manual partition assignment was specified, but {what} was not set to -1."
                );
                return Err(Refusal::invalid_request(message));
            }
        }
        let mut seen = vec![false; topic.assignments.len()];
        for assignment in &topic.assignments {
            self.check_assignment(&assignment.brokers)?;
            let message = match usize::try_from(assignment.partition)
                .ok()
                .and_then(|index| seen.get_mut(index))
            {
                Some(seen) if !*seen => {
                    *seen = true;
                    continue;
                }
                Some(_) => {
                    format!(
                        "Found multiple manual partition assignments for partition {}",
                        assignment.partition
                    )
                }
                None => "partitions should be a consecutive 0-based integer sequence".to_owned(),
            };
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        Ok(Counts {
            partitions: topic.assignments.len() as i32,
            replication_factor: 1,
        })
    }

    /// Checks the brokers of one partition: it is the one broker, once.
    pub(super) fn check_assignment(&self, brokers: &[i32]) -> Result<(), Refusal> {
        let message = match brokers {
            [only] if *only == self.node_id => return Ok(()),
            [] => "The manual partition assignment includes an empty replica list.".to_owned(),
            _ => match brokers.iter().find(|broker| **broker != self.node_id) {
                Some(other) => {
                    format!(
                        "The manual partition assignment includes broker {other}, but no such broker is registered."
                    )
                }
                None => {
                    format!(
                        "The manual partition assignment includes the broker {} more than once.",
                        self.node_id
                    )
                }
            },
        };
        Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
    }

    /// Checks that so many more partitions fit.
    pub(super) fn check_room(&self, name: &str, added: i32, planned: usize) -> Result<(), Refusal> {
        let total = self
            .partition_count
            .saturating_add(planned)
            .saturating_add(added.unsigned_abs() as usize);
        if total <= self.max_partitions && added <= MAX_PARTITIONS {
            return Ok(());
        }
        let most = self.max_partitions;
        let message = format!(
            "topic '{name}' with {added} new partitions would bring this broker to {total}, and its limit is {most}; delete topics that are not needed or raise the limit"
        );
        Err(Refusal::new(ErrorCode::PolicyViolation, message))
    }

    fn resolve_partitions(&self, asked: i32) -> i32 {
        match asked {
            -1 => self.broker.integer("num.partitions") as i32,
            _ => asked,
        }
    }

    fn partitions_asked(&self, topics: &[NewTopic]) -> i64 {
        let asked = |topic: &NewTopic| match topic.assignments.len() {
            0 => i64::from(self.resolve_partitions(topic.partitions).max(0)),
            assigned => assigned as i64,
        };
        topics.iter().map(asked).sum()
    }
}

fn refused(name: String, refusal: Refusal) -> TopicCreation {
    TopicCreation {
        name,
        result: Err(refusal),
    }
}

pub(super) fn unknown_topic(name: &str) -> Refusal {
    Refusal::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("topic '{name}' does not exist"),
    )
}

/// A client may not choose what the broker's own topics are like.
fn refuse_internal(name: &str) -> Result<(), Refusal> {
    match is_internal(name) {
        true => Err(prohibited(name)),
        false => refuse_reserved(name),
    }
}

fn refuse_reserved(name: &str) -> Result<(), Refusal> {
    match name == CLUSTER_METADATA {
        true => Err(prohibited(name)),
        false => Ok(()),
    }
}

fn prohibited(name: &str) -> Refusal {
    Refusal::invalid_request(format!("Creation of internal topic {name} is prohibited."))
}

fn as_created(topic: &Topic) -> CreatedTopic {
    CreatedTopic {
        id: topic.id,
        partitions: topic.partition_count(),
        replication_factor: 1,
        configs: topic.configs.clone(),
    }
}
