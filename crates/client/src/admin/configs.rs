//! Settings of topics and brokers: reading and changing.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::{describe_configs, incremental_alter_configs};

use super::{Admin, check};
use crate::error::ClientError;

/// The pause before a broker is asked again whether it knows of a change.
const SETTLING_PAUSE: Duration = Duration::from_millis(20);

/// What settings belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    Broker(i32),
    /// A group, of those settings that groups have of their own.
    Group(&'a str),
}

impl Resource<'_> {
    fn kind(self) -> i8 {
        match self {
            Resource::Topic(_) => 2,
            Resource::Broker(_) => 4,
            Resource::Group(_) => 32,
        }
    }

    fn name(self) -> String {
        match self {
            Resource::Topic(name) | Resource::Group(name) => name.to_owned(),
            Resource::Broker(id) => id.to_string(),
        }
    }
}

/// One setting and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// Absent when it has none or is secret.
    pub value: Option<String>,
    pub source: &'static str,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

impl ConfigEntry {
    pub fn is_default(&self) -> bool {
        self.source == "default"
    }
}

fn source_name(source: i8) -> &'static str {
    match source {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        4 => "start configuration",
        5 => "default",
        6 => "broker logger",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}

/// A change of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    Set(&'a str, &'a str),
    /// Back to the default.
    Unset(&'a str),
}

impl Admin {
    /// All settings of a topic or a broker, sorted by name.
    pub async fn configs(
        &mut self,
        resource: Resource<'_>,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let node = match resource {
            Resource::Topic(_) | Resource::Group(_) => None,
            Resource::Broker(id) => Some(id),
        };
        self.configs_at(node, resource).await
    }

    /// As one broker knows them, or whichever is asked.
    async fn configs_at(
        &mut self,
        node: Option<i32>,
        resource: Resource<'_>,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let name = resource.name();
        let request = describe_configs::Request {
            resources: vec![describe_configs::Resource {
                resource_type: resource.kind(),
                resource_name: &name,
                configuration_keys: None,
            }],
            ..describe_configs::Request::default()
        };
        let connection = match node {
            None => self.any(),
            Some(id) => self.node(id).await?,
        };
        let reply = connection.call(&request).await?;
        let mut entries = Vec::new();
        for result in &reply.read()?.results {
            let what = || format!("settings of {name}");
            check(result.error_code, result.error_message.as_deref(), what)?;
            entries.extend(result.configs.iter().map(|config| ConfigEntry {
                name: config.name.to_string(),
                value: config.value.as_ref().map(ToString::to_string),
                source: source_name(config.config_source),
                is_read_only: config.read_only,
                is_sensitive: config.is_sensitive,
            }));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Waits until every broker knows that a setting has this value, which takes a moment after a change.
    ///
    /// # Errors
    /// `TimedOut` when one does not know it within the cluster's time limit.
    pub async fn settled_config(
        &mut self,
        resource: Resource<'_>,
        setting: &str,
        value: &str,
    ) -> Result<(), ClientError> {
        let timeout = self.cluster.timeout();
        let deadline = Instant::now() + timeout;
        for node in self.node_ids() {
            loop {
                let entries = self.configs_at(Some(node), resource).await?;
                let known = entries.iter().find(|entry| entry.name == setting);
                if known.is_some_and(|entry| entry.value.as_deref() == Some(value)) {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(ClientError::TimedOut {
                        what: format!("waiting until broker {node} knows {setting}={value}"),
                        after: timeout,
                    });
                }
                sleep(SETTLING_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Changes settings; those not named stay as they are.
    pub async fn change_configs(
        &mut self,
        resource: Resource<'_>,
        changes: &[Change<'_>],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let name = resource.name();
        let configs = changes.iter().map(|change| {
            let (name, config_operation, value) = match *change {
                Change::Set(name, value) => (name, 0, Some(value)),
                Change::Unset(name) => (name, 1, None),
            };
            incremental_alter_configs::AlterableConfig {
                name,
                config_operation,
                value,
            }
        });
        let request = incremental_alter_configs::Request {
            resources: vec![incremental_alter_configs::Resource {
                resource_type: resource.kind(),
                resource_name: &name,
                configs: configs.collect(),
            }],
            validate_only,
        };
        let connection = match resource {
            Resource::Topic(_) | Resource::Group(_) => self.any(),
            Resource::Broker(id) => self.node(id).await?,
        };
        let reply = connection.call(&request).await?;
        for result in &reply.read()?.responses {
            let what = || format!("changing settings of {name}");
            check(result.error_code, result.error_message.as_deref(), what)?;
        }
        Ok(())
    }
}
