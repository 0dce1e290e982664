//! What topics there should be: the three built-in profiles, and manifests of the user's own in the same TOML.

use std::collections::BTreeMap;

use serde::Serialize;

use super::read;

/// The built-in profiles by name. Where two of them name one topic they mean different things by it, so one cluster should be
/// provisioned with one of them: a second one reports drift and changes nothing.
const PROFILES: [(&str, &str); 3] = [
    ("lab", include_str!("../../profiles/lab.toml")),
    ("hybrid", include_str!("../../profiles/hybrid.toml")),
    ("enterprise", include_str!("../../profiles/enterprise.toml")),
];

/// The topics that a cluster should have, in the order in which they are created and reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    pub profile: String,
    pub topics: Vec<TopicSpec>,
}

/// One topic as it is wanted; what it becomes on a given cluster is an [`Effective`](super::Effective).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// Absent for the cluster's default.
    pub replication_factor: Option<i16>,
    /// Settings under Kafka's names; all others keep their defaults.
    pub configs: BTreeMap<String, String>,
    pub key: KeyKind,
    pub purpose: String,
    /// What the topic is there to teach; empty outside the lab.
    pub learning_goal: String,
}

/// What its records are keyed by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// No key: the producer spreads the records.
    #[default]
    Null,
    /// The value of one of these fields.
    Fields(Vec<String>),
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyKind::Null => formatter.write_str("null"),
            KeyKind::Fields(fields) => formatter.write_str(&fields.join(" or ")),
        }
    }
}

/// Why there is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("{source_name}:{line}: {reason}")]
    At {
        source_name: String,
        line: usize,
        reason: String,
    },
    #[error("no profile `{name}`; {hint}")]
    UnknownProfile { name: String, hint: String },
}

impl Manifest {
    /// The names of the built-in profiles.
    pub fn profiles() -> impl Iterator<Item = &'static str> + Clone {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// A built-in profile.
    ///
    /// # Errors
    /// `UnknownProfile` with what was probably meant.
    pub fn of_profile(name: &str) -> Result<Manifest, ManifestError> {
        let Some((_, text)) = PROFILES.iter().find(|(known, _)| *known == name) else {
            let hint = read::hint(name, Manifest::profiles(), "the profiles are");
            return Err(ManifestError::UnknownProfile {
                name: name.to_owned(),
                hint,
            });
        };
        Manifest::parse(&format!("profile {name}"), text)
    }

    /// Reads a manifest; `source_name` is the file's name in messages.
    ///
    /// # Errors
    /// `At` a line that is no TOML, names what is unknown, or asks for what cannot be.
    pub fn parse(source_name: &str, text: &str) -> Result<Manifest, ManifestError> {
        read::manifest(text).map_err(|(at, reason)| ManifestError::At {
            source_name: source_name.to_owned(),
            line: 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count(),
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, partitions, replication factor, key, then the settings in the order of their names.
    fn rows(profile: &str) -> Vec<String> {
        let manifest = Manifest::of_profile(profile).expect("a built-in profile");
        assert_eq!(manifest.profile, profile);
        let row = |topic: &TopicSpec| {
            let factor = topic.replication_factor.expect("given in every profile");
            let configs: Vec<&str> = topic.configs.values().map(String::as_str).collect();
            format!(
                "{} {} {factor} {} [{}]",
                topic.name,
                topic.partitions,
                topic.key,
                configs.join(" ")
            )
        };
        manifest.topics.iter().map(row).collect()
    }

    #[test]
    fn the_lab_has_the_five_topics_of_its_document() {
        // B-010, B-011, B-012, B-013, B-014, X-10, X-11
        assert_eq!(
            rows("lab"),
            [
                "user-events 3 1 userId [snappy 604800000]",
                "orders 3 1 orderId [snappy 2592000000]",
                "payments 5 1 userId or transactionId [snappy 2592000000]",
                "notifications 1 1 null [snappy 86400000]",
                "order-processing.DLQ 3 1 orderId [snappy 7776000000]",
            ]
        );
    }

    #[test]
    fn every_lab_topic_has_a_learning_goal() {
        // B-018
        let goals = [
            "Key-based partitioning",
            "Exactly-once processing per order",
            "Throughput scaling with partitions",
            "When NOT to use multiple partitions",
            "Error handling & observability",
        ];
        let manifest = Manifest::of_profile("lab").expect("a built-in profile");
        for (topic, goal) in manifest.topics.iter().zip(goals) {
            assert!(topic.learning_goal.starts_with(goal), "{topic:?}");
        }
    }

    #[test]
    fn the_other_profiles_are_those_of_their_documents() {
        //
        assert_eq!(
            rows("hybrid"),
            ["orders 3 3 orderId []", "payments 3 3 orderId []"]
        );
        assert_eq!(
            rows("enterprise"),
            [
                "order-events 12 3 orderId [lz4 2 604800000]",
                "payment-events 6 3 transactionId [snappy 2 2592000000]",
                "user-events 18 3 userId [lz4 2 7776000000]",
            ]
        );
    }

    #[test]
    fn an_unknown_profile_is_refused_with_a_suggestion() {
        let refused = |name: &str| Manifest::of_profile(name).unwrap_err().to_string();
        assert_eq!(
            refused("enterprize"),
            "no profile `enterprize`; did you mean `enterprise`?"
        );
        assert_eq!(
            refused("production"),
            "no profile `production`; the profiles are lab, hybrid, enterprise"
        );
    }
}
