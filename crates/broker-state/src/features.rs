//! Features: what this broker can do beyond single API versions, and the level that is finalized for the cluster.
//!
//! Clients read the levels from ApiVersions (KIP-584) and switch protocols by them; `UpdateFeatures` changes them.
//! Keeps true: a finalized level lies within what is supported; the epoch grows with every change, also across restarts.
//! Source of rules and sentences: Kafka's FeatureControlManager (behaviour, checked against Kafka 4.3.1).

use std::collections::BTreeMap;

use wire::ErrorCode;

use crate::refusal::Refusal;

/// A feature with the levels that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub least: i16,
    pub most: i16,
    /// The level that counts until somebody finalizes another one.
    pub default: i16,
    /// The API key without which the feature is nothing; the broker names a feature only where it serves its key.
    pub needs: Option<i16>,
}

pub const METADATA_VERSION: &str = "metadata.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const GROUP_VERSION: &str = "group.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// All features, sorted by name. Level 30 of `metadata.version` is Kafka 4.3's; earlier forms of the metadata
/// log were never written here, so there is no way back from it.
pub const FEATURES: &[Feature] = &[
    feature(GROUP_VERSION, 0, 1, Some(68)),
    Feature {
        default: 0,
        ..feature("kraft.version", 0, 0, None)
    },
    feature(METADATA_VERSION, 30, 30, None),
    // Level 2 is Kafka 4.4's: dead letters (KIP-1191).
    feature(SHARE_VERSION, 0, 2, Some(76)),
    feature(STREAMS_VERSION, 0, 1, Some(88)),
    feature(TRANSACTION_VERSION, 0, 2, Some(26)),
];

const fn feature(name: &'static str, least: i16, most: i16, needs: Option<i16>) -> Feature {
    Feature {
        name,
        least,
        most,
        default: most,
        needs,
    }
}

/// The feature of this name.
pub fn feature_named(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|feature| feature.name == name)
}

/// Which way a level is to move, as the wire names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
    Unknown,
}

impl UpgradeType {
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// A wish for another level; 0 takes a feature out of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    pub name: String,
    pub level: i16,
    pub upgrade_type: UpgradeType,
}

/// The finalized levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinalizedFeatures {
    /// Levels that somebody finalized; all others have their default.
    levels: BTreeMap<&'static str, i16>,
    epoch: i64,
}

impl FinalizedFeatures {
    /// The finalized level of a feature; 0 for one that is not known.
    pub fn level(&self, name: &str) -> i16 {
        let default = || feature_named(name).map_or(0, |feature| feature.default);
        self.levels.get(name).copied().unwrap_or_else(default)
    }

    /// Grows with every change; never negative, or clients would take no notice of the levels.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Levels that were finalized, for a snapshot.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&'static str, i16)> + '_ {
        self.levels.iter().map(|(name, level)| (*name, *level))
    }

    /// Checks an update.
    ///
    /// # Errors
    /// `INVALID_UPDATE_VERSION`, `FEATURE_UPDATE_FAILED`.
    pub fn check(&self, update: &FeatureUpdate) -> Result<&'static Feature, Refusal> {
        let FeatureUpdate {
            name,
            level,
            upgrade_type,
        } = update;
        let invalid = |reason: &str| {
            let message = format!("Invalid update version {level} for feature {name}. {reason}");
            Refusal::new(ErrorCode::InvalidUpdateVersion, message)
        };
        if *upgrade_type == UpgradeType::Unknown {
            return Err(invalid(
                "The controller does not support the given upgrade type.",
            ));
        }
        if *level < 0 {
            return Err(invalid("A feature version cannot be less than 0."));
        }
        let feature = feature_named(name)
            .ok_or_else(|| invalid("Local controller 1 does not support this feature."))?;
        if !(feature.least..=feature.most).contains(level) {
            return Err(invalid(&format!(
                "Local controller 1 only supports versions {}-{}",
                feature.least, feature.most
            )));
        }
        let (present, is_upgrade) = (self.level(name), *upgrade_type == UpgradeType::Upgrade);
        match level.cmp(&present) {
            std::cmp::Ordering::Less if is_upgrade => Err(invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
            )),
            std::cmp::Ordering::Greater if !is_upgrade => {
                Err(invalid("Can't downgrade to a newer version."))
            }
            _ => Ok(feature),
        }
    }

    /// A finalized level from the metadata log; false when this version does not know the feature or the level.
    pub(crate) fn apply(&mut self, name: &str, level: i16, epoch: i64) -> bool {
        let Some(feature) = feature_named(name) else {
            return false;
        };
        self.levels.insert(feature.name, level);
        self.epoch = self.epoch.max(epoch);
        (feature.least..=feature.most).contains(&level)
    }
}
