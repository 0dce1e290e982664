//! What a wanted topic becomes on a cluster of a given size, and how a topic that is there differs from it. Decisions only.

use std::collections::BTreeMap;

use client::configs::ConfigEntry;
use client::topics::Topic;
use serde::Serialize;

use super::manifest::TopicSpec;

const MIN_IN_SYNC: &str = "min.insync.replicas";

/// A topic as it is asked of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    pub replication_factor: Option<i16>,
    pub configs: BTreeMap<String, String>,
    /// What was lowered, and why.
    pub warnings: Vec<String>,
}

/// One difference between what is wanted and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// `partitions`, `replication_factor`, or a setting by its Kafka name.
    pub what: String,
    pub wanted: String,
    /// Absent when the topic has no such setting.
    pub actual: Option<String>,
}

impl Effective {
    /// No more replicas than there are brokers, and no more of them in sync than replicas: with fewer, `acks=all` would never be
    /// answered. `strict` leaves all as it is wanted, and the cluster refuses what it cannot do.
    pub fn on(brokers: usize, spec: &TopicSpec, strict: bool) -> Effective {
        let mut effective = Effective {
            replication_factor: spec.replication_factor,
            configs: spec.configs.clone(),
            warnings: Vec::new(),
        };
        let Some(wanted) = spec.replication_factor.filter(|_| !strict) else {
            return effective;
        };
        let possible = wanted.min(i16::try_from(brokers.max(1)).unwrap_or(i16::MAX));
        effective.replication_factor = Some(possible);
        if possible < wanted {
            effective.warnings.push(format!(
                "replication factor {wanted} lowered to {possible}, the number of brokers"
            ));
        }
        if let Some(in_sync) = effective.configs.get_mut(MIN_IN_SYNC)
            && in_sync.parse::<i16>().is_ok_and(|number| number > possible)
        {
            effective.warnings.push(format!(
                "{MIN_IN_SYNC} {in_sync} lowered to {possible}, the number of replicas"
            ));
            *in_sync = possible.to_string();
        }
        effective
    }

    /// How `topic` with its settings differs from what is wanted; settings that the manifest does not name may be anything.
    pub fn drift(&self, spec: &TopicSpec, topic: &Topic, configs: &[ConfigEntry]) -> Vec<Drift> {
        let mut drift = Vec::new();
        let mut compare = |what: &str, wanted: String, actual: Option<String>| {
            if actual.as_ref() != Some(&wanted) {
                let what = what.to_owned();
                drift.push(Drift {
                    what,
                    wanted,
                    actual,
                });
            }
        };
        compare(
            "partitions",
            spec.partitions.to_string(),
            Some(topic.partitions.len().to_string()),
        );
        if let Some(wanted) = self.replication_factor {
            // While a reassignment runs partitions differ; the smallest number is what one can count on.
            let actual = topic
                .partitions
                .iter()
                .map(|partition| partition.replicas.len())
                .min();
            compare(
                "replication_factor",
                wanted.to_string(),
                actual.map(|number| number.to_string()),
            );
        }
        for (name, wanted) in &self.configs {
            let entry = configs.iter().find(|entry| entry.name == *name);
            compare(
                name,
                wanted.clone(),
                entry.and_then(|entry| entry.value.clone()),
            );
        }
        drift
    }
}

#[cfg(test)]
mod tests {
    use client::topics::Partition;

    use super::super::manifest::Manifest;
    use super::*;

    fn order_events() -> TopicSpec {
        let manifest = Manifest::of_profile("enterprise").expect("a built-in profile");
        manifest
            .topics
            .into_iter()
            .next()
            .expect("order-events is the first")
    }

    #[test]
    fn replicas_are_no_more_than_brokers_and_in_sync_no_more_than_replicas() {
        //
        let on = |brokers| Effective::on(brokers, &order_events(), false);
        let alone = on(1);
        assert_eq!(alone.replication_factor, Some(1));
        assert_eq!(alone.configs[MIN_IN_SYNC], "1");
        assert_eq!(
            alone.warnings,
            [
                "replication factor 3 lowered to 1, the number of brokers",
                "min.insync.replicas 2 lowered to 1, the number of replicas"
            ]
        );
        assert_eq!(on(2).replication_factor, Some(2));
        assert_eq!(on(2).configs[MIN_IN_SYNC], "2");
        assert_eq!(on(5).replication_factor, Some(3));
        assert_eq!(on(5).warnings, [""; 0]);
    }

    #[test]
    fn strict_asks_for_what_is_written() {
        let effective = Effective::on(1, &order_events(), true);
        assert_eq!(effective.replication_factor, Some(3));
        assert_eq!(effective.configs, order_events().configs);
    }

    #[test]
    fn drift_names_each_difference_and_only_those() {
        //
        let entry = |name: &str, value: &str| ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source: "topic",
            is_read_only: false,
            is_sensitive: false,
        };
        let partition = Partition {
            replicas: vec![1],
            ..Partition::default()
        };
        let topic = Topic {
            partitions: vec![partition; 3],
            ..Topic::default()
        };
        let configs = [
            entry("compression.type", "lz4"),
            entry("retention.ms", "1000"),
            entry("cleanup.policy", "compact"),
        ];
        let spec = order_events();
        let drift = Effective::on(1, &spec, false).drift(&spec, &topic, &configs);
        let lines: Vec<String> = drift
            .iter()
            .map(|drift| {
                format!(
                    "{} {} {:?}",
                    drift.what,
                    drift.wanted,
                    drift.actual.as_deref()
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                "partitions 12 Some(\"3\")",
                "min.insync.replicas 1 None",
                "retention.ms 604800000 Some(\"1000\")",
            ]
        );
    }
}
