//! Where a cluster is and how to talk to it: the one type that producers, consumers and admin requests come from.

use std::fmt;
use std::time::Duration;

use crate::admin::Admin;
use crate::async_producer::AsyncProducer;
use crate::consumer::Consumer;
use crate::error::ClientError;
use crate::group_reader::GroupReader;
use crate::pool::AdminPool;
use crate::producer::{Delivery, Producer};
use crate::reader::Reader;
use crate::security::{Secured, Security};
use crate::share_member::ShareMember;

/// The longest wait for one request unless [`Cluster::with_timeout`] says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A Kafka cluster: bootstrap addresses, a client id, a time limit, security and librdkafka properties.
#[derive(Clone)]
pub struct Cluster {
    bootstrap: Vec<String>,
    client_id: String,
    timeout: Duration,
    secured: Secured,
    properties: Vec<(String, String)>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties = self.properties.iter().map(|(name, value)| {
            let shown = if is_secret(name) { "***" } else { value };
            (name.as_str(), shown)
        });
        formatter
            .debug_struct("Cluster")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("timeout", &self.timeout)
            .field("security", &self.secured)
            .field("properties", &properties.collect::<Vec<_>>())
            .finish()
    }
}

/// Whether the value of a librdkafka property must not be printed.
fn is_secret(name: &str) -> bool {
    let parts = ["password", "secret", "pem", "token", "oauthbearer", "jaas"];
    parts.iter().any(|part| name.contains(part))
}

impl Cluster {
    /// A cluster reached through `bootstrap`: one `host:port` or several, separated by commas.
    pub fn new(bootstrap: &str) -> Cluster {
        let bootstrap = bootstrap
            .split(',')
            .map(|address| address.trim().to_owned())
            .filter(|address| !address.is_empty())
            .collect();
        Cluster {
            bootstrap,
            client_id: "thalweg".to_owned(),
            timeout: DEFAULT_TIMEOUT,
            secured: Secured::default(),
            properties: Vec::new(),
        }
    }

    /// The longest wait for one request.
    pub fn with_timeout(mut self, timeout: Duration) -> Cluster {
        self.timeout = timeout;
        self
    }

    /// The name under which the broker sees this client.
    pub fn with_client_id(mut self, client_id: &str) -> Cluster {
        self.client_id = client_id.to_owned();
        self
    }

    /// How the cluster is reached: TLS, credentials. It holds for every connection, also those of librdkafka.
    pub fn with_security(mut self, security: Security) -> Cluster {
        self.secured = Secured::new(security);
        self
    }

    /// A librdkafka property for producers and consumers; a later one replaces an earlier one of the same name.
    pub fn with_property(mut self, name: &str, value: &str) -> Cluster {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub fn security(&self) -> &Security {
        self.secured.security()
    }

    pub(crate) fn secured(&self) -> &Secured {
        &self.secured
    }

    pub(crate) fn properties(&self) -> &[(String, String)] {
        &self.properties
    }

    /// Connects for admin requests; the first bootstrap address that answers is used.
    ///
    /// # Errors
    /// `Unreachable` when none answers.
    pub async fn admin(&self) -> Result<Admin, ClientError> {
        Admin::connect(self).await
    }

    /// At most `limit` admins that callers share; connected when they are first needed.
    pub fn admin_pool(&self, limit: usize) -> AdminPool {
        AdminPool::new(self, limit)
    }

    /// A producer; `on_delivery` is called once for every accepted record, on the producer's own thread.
    ///
    /// # Errors
    /// `Client` when a property is unknown or out of range.
    pub fn producer(
        &self,
        properties: &[(&str, &str)],
        on_delivery: impl Fn(Delivery) + Send + Sync + 'static,
    ) -> Result<Producer, ClientError> {
        Producer::open(self, properties, Box::new(on_delivery))
    }

    /// A producer whose records are acknowledged to async callers; idempotent unless `properties` say otherwise.
    ///
    /// # Errors
    /// `Client` when a property is unknown or out of range.
    pub fn async_producer(
        &self,
        properties: &[(&str, &str)],
    ) -> Result<AsyncProducer, ClientError> {
        AsyncProducer::open(self, properties)
    }

    /// Reads by position, outside any group; connects when it is first asked.
    pub fn reader(&self) -> Reader {
        Reader::new(self)
    }

    /// One member of `group` that reads `topics`, for any number of async callers; it joins at once.
    ///
    /// # Errors
    /// `Client` when a property is unknown or out of range.
    pub fn group_reader(
        &self,
        group: &str,
        topics: &[&str],
        properties: &[(&str, &str)],
    ) -> Result<GroupReader, ClientError> {
        GroupReader::join(self, group, topics, properties)
    }

    /// One member of the share group `group` on `topics`, for any number of async callers; it joins at once, on the runtime that
    /// this is called from.
    ///
    /// # Errors
    /// `Client` outside an async runtime. Whether the cluster has share groups shows in `ShareMember::take`.
    pub fn share_member(&self, group: &str, topics: &[&str]) -> Result<ShareMember, ClientError> {
        ShareMember::join(self, group, topics)
    }

    /// A consumer, idle until it subscribes or is given partitions.
    ///
    /// # Errors
    /// `Client` when a property is unknown or out of range.
    pub fn consumer(&self, properties: &[(&str, &str)]) -> Result<Consumer, ClientError> {
        Consumer::open(self, properties)
    }
}

#[cfg(test)]
mod tests {
    use super::Cluster;

    #[test]
    fn bootstrap_addresses_are_split_and_trimmed() {
        let cluster = Cluster::new("a:9092, b:9093,");
        assert_eq!(cluster.bootstrap(), ["a:9092", "b:9093"]);
    }
}
