//! The cluster as it describes itself (KIP-700): its id, its controller, its brokers, those that are fenced among them.

use wire::describe_cluster;

use super::topics::Broker;
use super::{Admin, check};
use crate::error::ClientError;

/// What a broker answers for operations that it was not asked to tell.
const NOT_TOLD: i32 = i32::MIN;

/// A cluster with all its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller_id: Option<i32>,
    pub brokers: Vec<Broker>,
    /// Brokers that are registered and not alive; none are told before Kafka 4.0.
    pub fenced: Vec<Broker>,
    /// What we may do with the cluster, a bit for each operation of an access rule; absent where it is not told.
    pub authorized_operations: Option<i32>,
}

impl Admin {
    /// Describes the cluster.
    pub async fn describe_cluster(&mut self) -> Result<ClusterDescription, ClientError> {
        let request = describe_cluster::Request {
            include_cluster_authorized_operations: true,
            include_fenced_brokers: true,
            ..describe_cluster::Request::default()
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            "describing the cluster".to_owned()
        })?;
        let (fenced, alive): (Vec<_>, Vec<_>) =
            answer.brokers.iter().partition(|broker| broker.is_fenced);
        let operations = answer.cluster_authorized_operations;
        Ok(ClusterDescription {
            cluster_id: answer.cluster_id.to_string(),
            controller_id: Some(answer.controller_id).filter(|id| *id >= 0),
            brokers: alive.into_iter().map(broker).collect(),
            fenced: fenced.into_iter().map(broker).collect(),
            authorized_operations: Some(operations).filter(|bits| *bits != NOT_TOLD),
        })
    }
}

fn broker(told: &describe_cluster::Broker<'_>) -> Broker {
    Broker {
        id: told.broker_id,
        host: told.host.to_string(),
        port: told.port,
        rack: told.rack.as_ref().map(ToString::to_string),
    }
}
