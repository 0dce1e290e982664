//! Admin requests to a cluster: each goes to the broker that can answer it, by connections of our own.

pub mod acls;
pub mod configs;
pub mod consumer_groups;
mod delete_offsets;
pub mod delete_records;
pub mod describe_cluster;
pub mod elections;
pub mod features;
pub mod group_progress;
pub mod group_reset;
pub mod groups;
pub mod log_dirs;
pub mod offsets;
pub mod producers;
pub mod quorum;
pub mod quotas;
pub mod reassignments;
pub mod scram;
pub mod share_groups;
pub mod topics;
pub mod transactional_ids;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use wire::{ErrorCode, metadata};

use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::ClientError;
use topics::{Broker, ClusterInfo};

/// The pause before a request is tried again because the cluster was not ready for it.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A topic and a partition of it.
pub type TopicPartition = (String, i32);

/// What became of each part of a request that brokers carry out in parts: some may be done and others refused.
pub type Outcomes<T> = Vec<(T, Result<(), ClientError>)>;

/// Connections to the brokers of a cluster, opened as they are needed.
pub struct Admin {
    cluster: Cluster,
    bootstrap: Connection,
    nodes: HashMap<i32, Connection>,
    info: ClusterInfo,
}

impl Admin {
    pub(crate) async fn connect(cluster: &Cluster) -> Result<Admin, ClientError> {
        let mut refusals = Vec::new();
        for address in cluster.bootstrap() {
            match Connection::open(address, cluster).await {
                Ok(bootstrap) => {
                    let mut admin = Admin {
                        cluster: cluster.clone(),
                        bootstrap,
                        nodes: HashMap::new(),
                        info: ClusterInfo::default(),
                    };
                    admin.refresh().await?;
                    return Ok(admin);
                }
                Err(error) => refusals.push(error),
            }
        }
        Err(refusals
            .into_iter()
            .next()
            .unwrap_or_else(|| ClientError::Unreachable {
                address: "an empty address".to_owned(),
                reason: "write --kafka host:port".to_owned(),
            }))
    }

    /// The brokers as of the last Metadata answer.
    pub fn info(&self) -> &ClusterInfo {
        &self.info
    }

    /// The bootstrap address that answered.
    pub fn address(&self) -> &str {
        self.bootstrap.address()
    }

    /// Whether the bootstrap connection still works; the others are opened again when they are needed.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.bootstrap.is_usable()
    }

    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.cluster.timeout().as_millis()).unwrap_or(i32::MAX)
    }

    /// Asks for the brokers again.
    pub async fn refresh(&mut self) -> Result<(), ClientError> {
        let request = metadata::Request {
            topics: Some(Vec::new()),
            allow_auto_topic_creation: false,
            ..metadata::Request::default()
        };
        let reply = self.bootstrap.call(&request).await?;
        self.info = ClusterInfo::of(&reply.read()?);
        Ok(())
    }

    /// The connection for requests that any broker answers.
    pub(crate) fn any(&mut self) -> &mut Connection {
        &mut self.bootstrap
    }

    /// The connection to one broker, opened by its advertised address.
    pub(crate) async fn node(&mut self, id: i32) -> Result<&mut Connection, ClientError> {
        let usable = self.nodes.get_mut(&id).is_some_and(Connection::is_usable);
        if !usable {
            let connection = self.open_node(id).await?;
            self.nodes.insert(id, connection);
        }
        Ok(self
            .nodes
            .get_mut(&id)
            .expect("the connection was opened above"))
    }

    /// Opens a connection to one broker; one that is not where it was known to be is looked up once more.
    async fn open_node(&mut self, id: i32) -> Result<Connection, ClientError> {
        let known = self.broker(id).await?.address();
        let error = match Connection::open(&known, &self.cluster).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        self.refresh().await?;
        let now = self.broker(id).await?.address();
        if now == known {
            return Err(error);
        }
        Connection::open(&now, &self.cluster).await
    }

    async fn broker(&mut self, id: i32) -> Result<Broker, ClientError> {
        let known =
            |info: &ClusterInfo| info.brokers.iter().find(|broker| broker.id == id).cloned();
        if let Some(broker) = known(&self.info) {
            return Ok(broker);
        }
        self.refresh().await?;
        known(&self.info).ok_or_else(|| {
            let what = format!("asking broker {id}, which the cluster does not list");
            ClientError::refused(what, ErrorCode::BrokerNotAvailable, None)
        })
    }

    /// The ids of all brokers.
    pub(crate) fn node_ids(&self) -> Vec<i32> {
        self.info.brokers.iter().map(|broker| broker.id).collect()
    }
}

/// `Ok` for no error, else a refusal that says what was asked.
pub(crate) fn check(
    code: i16,
    message: Option<&str>,
    what: impl FnOnce() -> String,
) -> Result<(), ClientError> {
    match code {
        0 => Ok(()),
        number => Err(ClientError::refused_by_number(what(), number, message)),
    }
}

/// What `$ask` gives, asked again until the cluster's time limit while the error is one that passes by itself: a coordinator that
/// moves to another broker or is still loading answers so.
macro_rules! until_settled {
    ($admin:ident, $ask:expr) => {{
        let deadline = tokio::time::Instant::now() + $admin.cluster.timeout();
        loop {
            match $ask.await {
                Ok(answer) => return Ok(answer),
                Err(error) => super::pause_or_give_up(error, deadline).await?,
            }
        }
    }};
}
pub(crate) use until_settled;

/// Waits a little when `error` may pass by itself and `deadline` is not over; gives the error back otherwise.
pub(crate) async fn pause_or_give_up(
    error: ClientError,
    deadline: tokio::time::Instant,
) -> Result<(), ClientError> {
    let may_pass = error.code().is_some_and(ErrorCode::is_retriable);
    if !may_pass || tokio::time::Instant::now() + RETRY_PAUSE >= deadline {
        return Err(error);
    }
    tokio::time::sleep(RETRY_PAUSE).await;
    Ok(())
}

/// Partition numbers by topic, as requests have them.
pub(crate) fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<&'a str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}
