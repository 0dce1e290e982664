//! Configuration of what is neither a topic nor a broker: groups (resource type 32) and client-metrics subscriptions
//! (16). Either may be configured before it exists, and is listed as long as it has a value of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::ErrorCode;

use super::commands::ConfigResource;
use super::records::{MAX_RESOURCE_NAME_BYTES, MetadataRecord};
use crate::configs::{
    BrokerConfig, ConfigError, GroupConfig, GroupConfigs, Values, client_metrics_key, group_key,
};
use crate::refusal::Refusal;

/// Groups with values of their own; a further one is refused with POLICY_VIOLATION.
pub const MAX_CONFIGURED_GROUPS: usize = 10_000;
/// Client-metrics subscriptions; a further one is refused with POLICY_VIOLATION.
pub const MAX_SUBSCRIPTIONS: usize = 100;

/// The values of all groups and subscriptions that have any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resources {
    groups: BTreeMap<Arc<str>, ConfiguredGroup>,
    client_metrics: BTreeMap<Arc<str>, Values>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ConfiguredGroup {
    values: Values,
    resolved: Arc<GroupConfig>,
}

impl Resources {
    /// The values of a resource; none when nobody has set one.
    pub fn values(&self, resource: &ConfigResource) -> Values {
        let name = resource.name.as_str();
        let values = match resource.resource_type {
            ConfigResource::GROUP => self.groups.get(name).map(|group| &group.values),
            _ => self.client_metrics.get(name),
        };
        values.cloned().unwrap_or_default()
    }

    /// Names of the resources of a type that have values.
    pub fn names(&self, resource_type: i8) -> Vec<Arc<str>> {
        match resource_type {
            ConfigResource::GROUP => self.groups.keys().cloned().collect(),
            ConfigResource::CLIENT_METRICS => self.client_metrics.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Refuses a name that cannot be, and a resource beyond the limit.
    pub fn check(&self, resource: &ConfigResource) -> Result<(), Refusal> {
        let is_group = resource.resource_type == ConfigResource::GROUP;
        let what = if is_group {
            "Group"
        } else {
            "Client metrics subscription"
        };
        if resource.name.is_empty() {
            let message = format!("{what} name must not be empty");
            return Err(Refusal::invalid_request(message));
        }
        if resource.name.len() > MAX_RESOURCE_NAME_BYTES {
            let message = format!("{what} name is longer than {MAX_RESOURCE_NAME_BYTES} bytes");
            return Err(Refusal::invalid_request(message));
        }
        Ok(())
    }

    /// Refuses a further resource with values when there are as many as may be.
    pub fn check_room(&self, resource: &ConfigResource) -> Result<(), Refusal> {
        let name = resource.name.as_str();
        let (is_known, count, limit) = match resource.resource_type {
            ConfigResource::GROUP => (
                self.groups.contains_key(name),
                self.groups.len(),
                MAX_CONFIGURED_GROUPS,
            ),
            _ => (
                self.client_metrics.contains_key(name),
                self.client_metrics.len(),
                MAX_SUBSCRIPTIONS,
            ),
        };
        if is_known || count < limit {
            return Ok(());
        }
        let message = format!(
            "{count} resources of this type are configured, the limit is {limit}; remove the configuration of another one first"
        );
        Err(Refusal::new(ErrorCode::PolicyViolation, message))
    }

    /// Keeps a value from the metadata log.
    ///
    /// # Errors
    /// When this version does not know the key or does not take the value.
    pub fn set(
        &mut self,
        broker: &BrokerConfig,
        resource: &ConfigResource,
        name: &str,
        value: &str,
    ) -> Result<(), ConfigError> {
        let key = match resource.resource_type {
            ConfigResource::GROUP => &group_key(name)?.key,
            _ => client_metrics_key(name)?,
        };
        let mut values = self.values(resource);
        values.insert(name.to_owned(), key.canonical(value)?);
        self.replace(broker, resource, values);
        Ok(())
    }

    pub fn remove(&mut self, broker: &BrokerConfig, resource: &ConfigResource, name: &str) {
        let mut values = self.values(resource);
        values.remove(name);
        self.replace(broker, resource, values);
    }

    fn replace(&mut self, broker: &BrokerConfig, resource: &ConfigResource, values: Values) {
        let name: Arc<str> = resource.name.as_str().into();
        match (resource.resource_type, values.is_empty()) {
            (ConfigResource::GROUP, true) => drop(self.groups.remove(&name)),
            (ConfigResource::GROUP, false) => {
                let resolved = Arc::new(GroupConfig::resolve(broker, &values));
                self.groups
                    .insert(name, ConfiguredGroup { values, resolved });
            }
            (_, true) => drop(self.client_metrics.remove(&name)),
            (_, false) => drop(self.client_metrics.insert(name, values)),
        }
    }

    /// After a change of the broker's configuration.
    pub fn resolve_all(&mut self, broker: &BrokerConfig) {
        for group in self.groups.values_mut() {
            group.resolved = Arc::new(GroupConfig::resolve(broker, &group.values));
        }
    }

    /// The settings of every group as they are now.
    pub fn group_configs(&self, broker: &BrokerConfig) -> GroupConfigs {
        let resolved = self.groups.iter();
        let resolved =
            resolved.map(|(name, group)| (Arc::clone(name), Arc::clone(&group.resolved)));
        GroupConfigs::new(GroupConfig::resolve(broker, &Values::new()), resolved)
    }

    /// The values of every subscription, by name.
    pub fn client_metrics(&self) -> impl Iterator<Item = (&Arc<str>, &Values)> {
        self.client_metrics.iter()
    }

    /// The records that give this state.
    pub fn records(&self) -> impl Iterator<Item = MetadataRecord> + '_ {
        let groups = self
            .groups
            .iter()
            .map(|(name, group)| (ConfigResource::GROUP, name, &group.values));
        let metrics = self.client_metrics.iter();
        let metrics = metrics.map(|(name, values)| (ConfigResource::CLIENT_METRICS, name, values));
        groups
            .chain(metrics)
            .flat_map(|(resource_type, resource, values)| {
                values
                    .iter()
                    .map(move |(name, value)| MetadataRecord::ResourceConfigSet {
                        resource: ConfigResource {
                            resource_type,
                            name: resource.to_string(),
                        },
                        name: name.clone(),
                        value: value.clone(),
                    })
            })
    }
}
