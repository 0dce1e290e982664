//! DescribeConfigs, for topics and for the broker.

use super::Cluster;
use super::alter::Target;
use super::commands::ConfigResource;
use super::create::unknown_topic;
use crate::configs::{ConfigEntry, describe_broker, describe_topic};
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
        }
    }
}
