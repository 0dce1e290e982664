//! CreatePartitions.
//!
//! Source of rules and codes: Kafka's ReplicationControlManager.createPartitions.

use std::collections::BTreeMap;

use wire::ErrorCode;

use super::commands::{PartitionCreation, PartitionIncrease, Reply};
use super::create::{MAX_PARTITIONS_PER_REQUEST, unknown_topic};
use super::{Cluster, MetadataRecord};
use crate::refusal::Refusal;
use crate::step::Effects;

impl Cluster {
    pub(super) fn create_partitions(
        &mut self,
        topics: &[PartitionIncrease],
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<PartitionCreation> {
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        topics
            .iter()
            .for_each(|topic| *uses.entry(&topic.name).or_default() += 1);
        let mut creations = Vec::with_capacity(uses.len());
        let mut only_validated = 0;
        for topic in topics {
            let result = match uses.insert(&topic.name, 0) {
                Some(1) => self
                    .plan_partitions(topic, only_validated)
                    .map(|(record, added)| match validate_only {
                        true => only_validated += added,
                        false => self.commit(record, effects),
                    }),
                // Answered at its first use.
                Some(0) => continue,
                _ => Err(Refusal::invalid_request("Duplicate topic name.")),
            };
            creations.push(PartitionCreation {
                name: topic.name.clone(),
                result,
            });
        }
        creations
    }

    fn plan_partitions(
        &self,
        asked: &PartitionIncrease,
        planned: usize,
    ) -> Result<(MetadataRecord, usize), Refusal> {
        let name = &asked.name;
        let topic = self.topic(name).ok_or_else(|| unknown_topic(name))?;
        if topic.is_internal() {
            let message = format!(
                "topic '{name}' holds the broker's own state, which is found by its number of partitions: it cannot grow"
            );
            return Err(Refusal::invalid_request(message));
        }
        let from = topic.partition_count();
        if asked.partitions == from {
            return Err(invalid(format!("Topic already has {from} partition(s).")));
        }
        if asked.partitions < from {
            let to = asked.partitions;
            return Err(invalid(format!(
                "The topic {name} currently has {from} partition(s); {to} would not be an increase."
            )));
        }
        let added = asked.partitions - from;
        self.check_added_assignments(asked, added)?;
        if i64::from(added) > MAX_PARTITIONS_PER_REQUEST {
            let message = "Excessively large number of partitions per request.";
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        self.check_room(name, added, planned)?;
        let record = MetadataRecord::PartitionsAdded {
            id: topic.id,
            partitions: asked.partitions,
        };
        Ok((record, added as usize))
    }

    fn check_added_assignments(
        &self,
        asked: &PartitionIncrease,
        added: i32,
    ) -> Result<(), Refusal> {
        let Some(assignments) = &asked.assignments else {
            return Ok(());
        };
        if assignments.len() != added as usize {
            let message = format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        assignments
            .iter()
            .try_for_each(|brokers| self.check_assignment(brokers))
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidPartitions, message)
}
