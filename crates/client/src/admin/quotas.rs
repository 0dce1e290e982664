//! Quotas of users, client ids and addresses (KIP-546): how much they may send, fetch and ask.

use std::collections::BTreeMap;

use wire::{Float64, alter_client_quotas, describe_client_quotas};

use super::{Admin, check};
use crate::error::ClientError;

/// Whom quotas are for: the kinds `user`, `client-id` and `ip`, each with a name, or none for the default of its kind.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// The quotas of one entity, such as `producer_byte_rate`, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityQuotas {
    pub entity: QuotaEntity,
    pub values: BTreeMap<String, f64>,
}

/// Which names of a kind are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaMatch<'a> {
    Named(&'a str),
    Default,
    Any,
}

impl<'a> QuotaMatch<'a> {
    fn encode(self) -> (i8, Option<&'a str>) {
        match self {
            QuotaMatch::Named(name) => (0, Some(name)),
            QuotaMatch::Default => (1, None),
            QuotaMatch::Any => (2, None),
        }
    }
}

impl Admin {
    /// The quotas of entities that match all of `filter`, by kind; with `strict`, of those that have no other kind in addition.
    pub async fn quotas(
        &mut self,
        filter: &[(&str, QuotaMatch<'_>)],
        strict: bool,
    ) -> Result<Vec<EntityQuotas>, ClientError> {
        let components = filter.iter().map(|(kind, wanted)| {
            let (match_type, matched) = wanted.encode();
            describe_client_quotas::Component {
                entity_type: kind,
                match_type,
                matched,
            }
        });
        let request = describe_client_quotas::Request {
            components: components.collect(),
            strict,
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            "listing quotas".to_owned()
        })?;
        Ok(answer.entries.iter().flatten().map(entity_quotas).collect())
    }

    /// Sets quotas of one entity; those without a value are removed, others stay as they are.
    pub async fn alter_quotas(
        &mut self,
        entity: &QuotaEntity,
        changes: &[(&str, Option<f64>)],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let parts = entity
            .iter()
            .map(|(kind, name)| alter_client_quotas::Entity {
                entity_type: kind,
                entity_name: name.as_deref(),
            });
        let ops = changes.iter().map(|(key, value)| alter_client_quotas::Op {
            key,
            value: Float64(value.unwrap_or_default()),
            remove: value.is_none(),
        });
        let request = alter_client_quotas::Request {
            entries: vec![alter_client_quotas::Entry {
                entity: parts.collect(),
                ops: ops.collect(),
            }],
            validate_only,
        };
        let reply = self.any().call(&request).await?;
        for entry in &reply.read()?.entries {
            let what = || format!("changing quotas of {}", name_of(entity));
            check(entry.error_code, entry.error_message.as_deref(), what)?;
        }
        Ok(())
    }
}

fn entity_quotas(entry: &describe_client_quotas::Entry<'_>) -> EntityQuotas {
    let parts = entry.entity.iter().map(|part| {
        let name = part.entity_name.as_ref().map(ToString::to_string);
        (part.entity_type.to_string(), name)
    });
    let values = entry.values.iter();
    EntityQuotas {
        entity: parts.collect(),
        values: values
            .map(|quota| (quota.key.to_string(), quota.value.0))
            .collect(),
    }
}

fn name_of(entity: &QuotaEntity) -> String {
    let parts = entity.iter().map(|(kind, name)| match name {
        Some(name) => format!("{kind} {name}"),
        None => format!("the default {kind}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}
