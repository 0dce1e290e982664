//! The quotas that are set, and which of them counts for a client.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::QuotaKey;

/// One part of an entity's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityName {
    /// Everybody who has no quota by name.
    Default,
    Named(Arc<str>),
}

/// Whom a quota is for; at least one part is given, `ip` only alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity {
    pub user: Option<EntityName>,
    pub client_id: Option<EntityName>,
    pub ip: Option<EntityName>,
}

/// The values that are set for one entity.
pub type QuotaValues = BTreeMap<QuotaKey, f64>;

/// Who shares a quota's allowance: the connections of the same user, client id, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedBy {
    pub user: bool,
    pub client_id: bool,
}

/// Every quota that is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientQuotas {
    by_entity: BTreeMap<QuotaEntity, QuotaValues>,
    /// How many values there are of each key.
    counts: [usize; QuotaKey::ALL.len()],
}

impl ClientQuotas {
    pub fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// Entities with quotas.
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether anybody has a quota of this kind.
    pub fn limits(&self, key: QuotaKey) -> bool {
        self.counts[key as usize] > 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &QuotaValues)> {
        self.by_entity.iter()
    }

    pub fn values(&self, entity: &QuotaEntity) -> Option<&QuotaValues> {
        self.by_entity.get(entity)
    }

    /// The quota that counts for a client, and with whom it shares it. The order is Kafka's: user and client id, then
    /// user, then client id; a name before the default.
    pub fn limit(&self, key: QuotaKey, user: &str, client_id: &str) -> Option<(f64, SharedBy)> {
        if !self.limits(key) {
            return None;
        }
        let user = [EntityName::Named(user.into()), EntityName::Default];
        let client_id = [EntityName::Named(client_id.into()), EntityName::Default];
        for user in &user {
            for client_id in &client_id {
                let found = self.value(key, Some(user), Some(client_id));
                if let Some(limit) = found {
                    return Some((limit, SharedBy::of(true, true)));
                }
            }
            if let Some(limit) = self.value(key, Some(user), None) {
                return Some((limit, SharedBy::of(true, false)));
            }
        }
        client_id
            .iter()
            .find_map(|client_id| self.value(key, None, Some(client_id)))
            .map(|limit| (limit, SharedBy::of(false, true)))
    }

    /// New connections in a second that an address may make.
    pub fn connection_rate(&self, address: IpAddr) -> Option<f64> {
        if !self.limits(QuotaKey::ConnectionCreationRate) {
            return None;
        }
        let name = EntityName::Named(address.to_canonical().to_string().into());
        [name, EntityName::Default].into_iter().find_map(|ip| {
            let entity = QuotaEntity {
                ip: Some(ip),
                ..QuotaEntity::default()
            };
            let values = self.by_entity.get(&entity)?;
            values.get(&QuotaKey::ConnectionCreationRate).copied()
        })
    }

    fn value(
        &self,
        key: QuotaKey,
        user: Option<&EntityName>,
        client_id: Option<&EntityName>,
    ) -> Option<f64> {
        let entity = QuotaEntity {
            user: user.cloned(),
            client_id: client_id.cloned(),
            ip: None,
        };
        self.by_entity.get(&entity)?.get(&key).copied()
    }

    /// Sets or removes one value, as a record says.
    pub(crate) fn apply(&mut self, entity: &QuotaEntity, key: QuotaKey, value: Option<f64>) {
        let values = self.by_entity.entry(entity.clone()).or_default();
        let before = match value {
            Some(value) => values.insert(key, value),
            None => values.remove(&key),
        };
        let count = &mut self.counts[key as usize];
        *count = *count + usize::from(value.is_some()) - usize::from(before.is_some());
        if values.is_empty() {
            self.by_entity.remove(entity);
        }
    }
}

impl SharedBy {
    fn of(user: bool, client_id: bool) -> Self {
        Self { user, client_id }
    }
}
