//! AlterConfigs and IncrementalAlterConfigs, for topics, the broker, groups and client metrics.
//!
//! Both decide what values the resource is to have; one path checks them and gives the records of the difference.
//! Source of rules and codes: Kafka's ConfigAdminManager and ConfigurationControlManager.

use std::collections::{BTreeSet, HashMap};

use wire::{ErrorCode, Uuid};

use super::commands::{
    ConfigAlteration, ConfigChange, ConfigOperation, ConfigReplacement, ConfigResource, Reply,
};
use super::create::unknown_topic;
use super::{Cluster, MetadataRecord, check_name, is_internal};
use crate::configs::{
    BrokerScope, ConfigKey, ConfigType, Update, Values, broker_key, check_client_metrics_values,
    check_combination, check_group_values, client_metrics_key, group_key, topic_key,
};
use crate::refusal::Refusal;
use crate::step::Effects;

/// What the broker's own topics rest on: with another value, state that was acknowledged could be lost.
const KEPT_FOR_INTERNAL: &[&str] = &["cleanup.policy", "thalweg.durability"];

/// A resource that exists here.
pub(super) enum Target {
    Topic {
        id: Uuid,
        name: String,
    },
    Broker(BrokerScope),
    /// A group or a client-metrics subscription.
    Resource(ConfigResource),
}

impl Cluster {
    pub(super) fn alter_configs(
        &mut self,
        resources: Vec<ConfigReplacement>,
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<ConfigAlteration> {
        let uses = uses(resources.iter().map(|replacement| &replacement.resource));
        let alter = |ConfigReplacement { resource, entries }| {
            let result = once(&uses, &resource).and_then(|()| {
                let target = self.target(&resource)?;
                let wanted = replaced(entries)?;
                self.change(&target, wanted, validate_only, effects)
            });
            ConfigAlteration { resource, result }
        };
        resources.into_iter().map(alter).collect()
    }

    pub(super) fn incremental_alter_configs(
        &mut self,
        resources: Vec<ConfigChange>,
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Vec<ConfigAlteration> {
        let uses = uses(resources.iter().map(|change| &change.resource));
        let alter = |ConfigChange {
                         resource,
                         operations,
                     }| {
            let result = once(&uses, &resource).and_then(|()| {
                let target = self.target(&resource)?;
                let wanted = self.operated(&target, &operations)?;
                self.change(&target, wanted, validate_only, effects)
            });
            ConfigAlteration { resource, result }
        };
        resources.into_iter().map(alter).collect()
    }

    /// The resource that a client names.
    pub(super) fn target(&self, resource: &ConfigResource) -> Result<Target, Refusal> {
        let name = resource.name.as_str();
        match resource.resource_type {
            ConfigResource::TOPIC if name.is_empty() => Err(Refusal::invalid_request(
                "Default topic resources are not allowed.",
            )),
            ConfigResource::TOPIC => {
                check_name(name)?;
                let topic = self.topic(name).ok_or_else(|| unknown_topic(name))?;
                Ok(Target::Topic {
                    id: topic.id,
                    name: name.to_owned(),
                })
            }
            ConfigResource::BROKER if name.is_empty() => {
                Ok(Target::Broker(BrokerScope::AllBrokers))
            }
            ConfigResource::BROKER => match name.parse::<i32>() {
                Ok(id) if id == self.node_id => Ok(Target::Broker(BrokerScope::ThisBroker)),
                Ok(id) => Err(Refusal::invalid_request(format!(
                    "Unexpected broker id, expected {} or empty string, but received {id}",
                    self.node_id
                ))),
                Err(_) => Err(Refusal::invalid_request(format!(
                    "Node id must be an integer, but it is: {name}"
                ))),
            },
            ConfigResource::GROUP | ConfigResource::CLIENT_METRICS => {
                self.resources.check(resource)?;
                Ok(Target::Resource(resource.clone()))
            }
            ConfigResource::BROKER_LOGGER => Err(Refusal::invalid_request(
                "log levels are chosen when the broker is started and cannot be read or set here",
            )),
            other => Err(Refusal::invalid_request(format!(
                "resource type {other} has no configuration here: topics (2), brokers (4), client metrics (16) and groups (32) have"
            ))),
        }
    }

    fn values(&self, target: &Target) -> Values {
        match target {
            Target::Topic { name, .. } => self
                .topic(name)
                .map(|topic| topic.configs.clone())
                .unwrap_or_default(),
            Target::Broker(scope) => {
                let values = self.broker.dynamic(*scope);
                values
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect()
            }
            Target::Resource(resource) => self.resources.values(resource),
        }
    }

    /// The values after incremental operations.
    fn operated(&self, target: &Target, operations: &[ConfigOperation]) -> Result<Values, Refusal> {
        refuse_repeated(operations.iter().map(|operation| operation.name.as_str()))?;
        let without_value = |operation: &&ConfigOperation| {
            operation.operation != ConfigOperation::DELETE && operation.value.is_none()
        };
        refuse_null(
            operations
                .iter()
                .filter(without_value)
                .map(|operation| operation.name.as_str()),
        )?;
        let mut values = self.values(target);
        for ConfigOperation {
            name,
            operation,
            value,
        } in operations
        {
            let value = value.as_deref().unwrap_or_default();
            match *operation {
                ConfigOperation::SET => {
                    values.insert(name.clone(), value.to_owned());
                }
                ConfigOperation::DELETE => {
                    values.remove(name);
                }
                ConfigOperation::APPEND | ConfigOperation::SUBTRACT => {
                    let is_append = *operation == ConfigOperation::APPEND;
                    let members = self.list_after(target, &values, name, value, is_append)?;
                    values.insert(name.clone(), members);
                }
                other => {
                    return Err(Refusal::invalid_request(format!(
                        "Unknown operations type {other}"
                    )));
                }
            }
        }
        Ok(values)
    }

    /// A list value after members are added to it or taken from it; without a value of its own it starts as what
    /// counts now. A member that is there already is dropped when the value gets its canonical form.
    fn list_after(
        &self,
        target: &Target,
        values: &Values,
        name: &str,
        change: &str,
        is_append: bool,
    ) -> Result<String, Refusal> {
        let key = key_of(target, name)?;
        if key.kind != ConfigType::List {
            let verb = if is_append { "APPEND" } else { "SUBTRACT" };
            let message = format!("Can't {verb} to key {name} because its type is not LIST.");
            return Err(Refusal::new(ErrorCode::InvalidConfig, message));
        }
        let now = match (values.get(name), target) {
            (Some(value), _) => value.clone(),
            (None, Target::Topic { .. }) => self.broker.topic_default(topic_key(name)?),
            (None, Target::Broker(_)) => self.broker.value(name).unwrap_or_default().to_owned(),
            (None, Target::Resource(_)) => key.default.unwrap_or_default().to_owned(),
        };
        let mut members: Vec<&str> = split_list(&now).collect();
        for member in split_list(change) {
            match is_append {
                true => members.push(member),
                false => members.retain(|present| *present != member),
            }
        }
        Ok(members.join(","))
    }

    /// Checks the wanted values and commits the difference to the present ones.
    fn change(
        &mut self,
        target: &Target,
        wanted: Values,
        validate_only: bool,
        effects: &mut Effects<MetadataRecord, Reply>,
    ) -> Result<(), Refusal> {
        let present = self.values(target);
        let wanted = match target {
            Target::Topic { name, .. } => self.check_topic(name, &present, wanted)?,
            Target::Broker(scope) => self.check_broker(*scope, &present, wanted)?,
            Target::Resource(resource) => self.check_resource(resource, wanted)?,
        };
        if validate_only {
            return Ok(());
        }
        for (name, value) in &wanted {
            if present.get(name) != Some(value) {
                self.commit(set_record(target, name.clone(), value.clone()), effects);
            }
        }
        for name in present
            .into_keys()
            .filter(|name| !wanted.contains_key(name))
        {
            self.commit(removed_record(target, name), effects);
        }
        Ok(())
    }

    fn check_topic(
        &self,
        topic: &str,
        present: &Values,
        wanted: Values,
    ) -> Result<Values, Refusal> {
        let mut checked = Values::new();
        for (name, value) in wanted {
            let value = topic_key(&name)?.key.canonical(&value)?;
            checked.insert(name, value);
        }
        check_combination(self.default_settings, &checked)?;
        let changed = KEPT_FOR_INTERNAL
            .iter()
            .find(|name| checked.get(**name) != present.get(**name));
        if let Some(name) = changed.filter(|_| is_internal(topic)) {
            let message =
                format!("topic '{topic}' holds the broker's own state: {name} cannot be changed");
            return Err(Refusal::new(ErrorCode::InvalidConfig, message));
        }
        Ok(checked)
    }

    /// Broker values that do not pass are refused with INVALID_REQUEST, as by Kafka (KAFKA-13609).
    fn check_broker(
        &self,
        scope: BrokerScope,
        present: &Values,
        wanted: Values,
    ) -> Result<Values, Refusal> {
        let invalid =
            |error: crate::configs::ConfigError| Refusal::invalid_request(error.to_string());
        let mut checked = Values::new();
        let mut broker = self.broker.clone();
        present.keys().for_each(|name| broker.remove(scope, name));
        for (name, value) in wanted {
            let key = broker_key(&name).map_err(invalid)?;
            if key.update == Update::ReadOnly {
                let message = format!(
                    "Cannot update these configs dynamically: {name} is read when the broker starts; change it there"
                );
                return Err(Refusal::invalid_request(message));
            }
            let value = key.canonical(&value).map_err(invalid)?;
            broker.set(scope, &name, &value).map_err(invalid)?;
            checked.insert(name, value);
        }
        check_combination(broker.topic_defaults(), &Values::new()).map_err(invalid)?;
        Ok(checked)
    }

    fn check_resource(&self, resource: &ConfigResource, wanted: Values) -> Result<Values, Refusal> {
        if !wanted.is_empty() {
            self.resources.check_room(resource)?;
        }
        match resource.resource_type {
            ConfigResource::GROUP => Ok(check_group_values(&self.broker, &wanted)?),
            _ => check_client_metrics_values(&wanted),
        }
    }

    /// What was changed for brokers while they ran.
    pub(super) fn broker_records(&self) -> Vec<MetadataRecord> {
        [BrokerScope::AllBrokers, BrokerScope::ThisBroker]
            .into_iter()
            .flat_map(|scope| {
                let target = Target::Broker(scope);
                let values = self.values(&target);
                values
                    .into_iter()
                    .map(move |(name, value)| set_record(&target, name, value))
            })
            .collect()
    }
}

/// The values that a full replacement asks for.
fn replaced(entries: Vec<(String, Option<String>)>) -> Result<Values, Refusal> {
    refuse_repeated(entries.iter().map(|(name, _)| name.as_str()))?;
    refuse_null(
        entries
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str()),
    )?;
    Ok(entries
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect())
}

fn set_record(target: &Target, name: String, value: String) -> MetadataRecord {
    match target {
        Target::Topic { id, .. } => MetadataRecord::TopicConfigSet {
            id: *id,
            name,
            value,
        },
        Target::Broker(scope) => MetadataRecord::BrokerConfigSet {
            scope: *scope,
            name,
            value,
        },
        Target::Resource(resource) => MetadataRecord::ResourceConfigSet {
            resource: resource.clone(),
            name,
            value,
        },
    }
}

fn removed_record(target: &Target, name: String) -> MetadataRecord {
    match target {
        Target::Topic { id, .. } => MetadataRecord::TopicConfigRemoved { id: *id, name },
        Target::Broker(scope) => MetadataRecord::BrokerConfigRemoved {
            scope: *scope,
            name,
        },
        Target::Resource(resource) => MetadataRecord::ResourceConfigRemoved {
            resource: resource.clone(),
            name,
        },
    }
}

fn key_of(target: &Target, name: &str) -> Result<&'static ConfigKey, Refusal> {
    Ok(match target {
        Target::Topic { .. } => &topic_key(name)?.key,
        Target::Broker(_) => broker_key(name)?,
        Target::Resource(resource) if resource.resource_type == ConfigResource::GROUP => {
            &group_key(name)?.key
        }
        Target::Resource(_) => client_metrics_key(name)?,
    })
}

fn uses<'a>(resources: impl Iterator<Item = &'a ConfigResource>) -> HashMap<ConfigResource, usize> {
    let mut uses = HashMap::new();
    resources.for_each(|resource| *uses.entry(resource.clone()).or_default() += 1);
    uses
}

fn once(uses: &HashMap<ConfigResource, usize>, resource: &ConfigResource) -> Result<(), Refusal> {
    match uses.get(resource) {
        Some(1) => Ok(()),
        _ => Err(Refusal::invalid_request(
            "Each resource must appear at most once.",
        )),
    }
}

fn refuse_repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    match names.all(|name| seen.insert(name)) {
        true => Ok(()),
        false => Err(Refusal::invalid_request(
            "Error due to duplicate config keys",
        )),
    }
}

fn refuse_null<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let names: Vec<&str> = names.collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(Refusal::invalid_request(format!(
            "Null value not supported for : {}",
            names.join(", ")
        ))),
    }
}

fn split_list(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
}
