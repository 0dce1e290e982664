//! UpdateFeatures: all updates of a request, or none.

use super::commands::Reply;
use super::{Cluster, MetadataRecord};
use crate::features::{FeatureUpdate, FinalizedFeatures};
use crate::refusal::Refusal;
use crate::step::Effects;

impl Cluster {
    /// The finalized levels.
    pub fn features(&self) -> &FinalizedFeatures {
        &self.features
    }

    pub(super) fn update_features(
        &mut self,
        updates: &[FeatureUpdate],
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Result<(), Refusal> {
        for update in updates {
            self.features.check(update)?;
        }
        for FeatureUpdate { name, level, .. } in updates {
            if !validate_only && self.features.level(name) != *level {
                let record = MetadataRecord::FeatureLevelSet {
                    name: name.clone(),
                    level: *level,
                    epoch: self.features.epoch() + 1,
                };
                self.commit(record, effects);
            }
        }
        Ok(())
    }

    pub(super) fn feature_records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let epoch = self.features.epoch();
        let changed = self.features.changed();
        changed.map(move |(name, level)| MetadataRecord::FeatureLevelSet {
            name: name.to_owned(),
            level,
            epoch,
        })
    }
}
