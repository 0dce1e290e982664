//! AlterClientQuotas: each entity by itself.

use std::collections::BTreeSet;

use wire::Float64;

use super::commands::{QuotaAlteration, Reply};
use super::{Cluster, MetadataRecord};
use crate::quotas::{ClientQuotas, QuotaEntity};
use crate::refusal::Refusal;
use crate::step::Effects;

impl Cluster {
    /// The quotas that are set.
    pub fn quotas(&self) -> &ClientQuotas {
        &self.quotas
    }

    pub(super) fn alter_quotas(
        &mut self,
        alterations: &[QuotaAlteration],
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<Result<(), Refusal>> {
        let mut seen = BTreeSet::new();
        let mut alter = |alteration: &QuotaAlteration| {
            let parts = alteration.entity.iter();
            let parts: Vec<(&str, Option<&str>)> = parts
                .map(|(kind, name)| (kind.as_str(), name.as_deref()))
                .collect();
            let entity = QuotaEntity::from_parts(&parts)?;
            if !seen.insert(entity.clone()) {
                return Err(Refusal::invalid_request("Ignoring duplicate entity"));
            }
            let changes = self.quotas.check(&entity, &alteration.operations)?;
            for (key, value) in changes.into_iter().filter(|_| !validate_only) {
                let entity = entity.clone();
                let record = match value {
                    Some(value) => MetadataRecord::ClientQuotaSet { entity, key, value },
                    None => MetadataRecord::ClientQuotaRemoved { entity, key },
                };
                self.commit(record, effects);
            }
            Ok(())
        };
        alterations.iter().map(&mut alter).collect()
    }

    pub(super) fn quota_records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        self.quotas.iter().flat_map(|(entity, values)| {
            values
                .iter()
                .map(|(key, value)| MetadataRecord::ClientQuotaSet {
                    entity: entity.clone(),
                    key: *key,
                    value: Float64(*value),
                })
        })
    }
}
