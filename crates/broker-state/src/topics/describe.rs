//! DescribeConfigs, for topics, the broker, groups and client metrics; ListConfigResources.

use std::sync::Arc;

use super::Cluster;
use super::alter::Target;
use super::commands::ConfigResource;
use super::create::unknown_topic;
use crate::configs::{
    ConfigEntry, describe_broker, describe_client_metrics, describe_group, describe_topic,
};
use crate::refusal::Refusal;

impl Cluster {
    /// Every key of the resource, by name; a `wanted` list with names in it leaves out all others.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, and `INVALID_REQUEST` for a resource that is not here.
    pub fn describe_configs(
        &self,
        resource: &ConfigResource,
        wanted: Option<&[&str]>,
    ) -> Result<Vec<ConfigEntry>, Refusal> {
        match self.target(resource)? {
            Target::Topic { name, .. } => {
                let topic = self.topic(&name).ok_or_else(|| unknown_topic(&name))?;
                Ok(describe_topic(&self.broker, &topic.configs, wanted))
            }
            Target::Broker(scope) => Ok(describe_broker(&self.broker, scope, wanted)),
            Target::Resource(resource) => {
                let values = self.resources.values(&resource);
                Ok(match resource.resource_type {
                    ConfigResource::GROUP => describe_group(&self.broker, &values, wanted),
                    _ => describe_client_metrics(&values, wanted),
                })
            }
        }
    }

    /// Names of the groups or client-metrics subscriptions (by resource type) that have values of their own.
    pub fn configured(&self, resource_type: i8) -> Vec<Arc<str>> {
        self.resources.names(resource_type)
    }
}
