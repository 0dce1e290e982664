//! The cluster and its brokers: `GET /v1/cluster`, `GET /v1/brokers[/{broker}]`.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use client::topics::{Broker, Topic};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::request::Segment;
use crate::Gateway;
use crate::backend::Backend;
use crate::problem::{BROKER_NOT_FOUND, Problem, ProblemBody};

pub fn router() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(cluster))
        .routes(routes!(brokers))
        .routes(routes!(broker))
}

/// The cluster that `/v1` works on.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterBody {
    cluster_id: Option<String>,
    /// `in-memory`, `kafka` or `hybrid`.
    mode: String,
    controller: i32,
    brokers: usize,
    topics: usize,
    partitions: usize,
    /// Partitions that no broker leads: they can be neither read nor written.
    offline_partitions: usize,
    /// Partitions with fewer replicas in sync than they should have.
    under_replicated_partitions: usize,
}

/// A broker.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrokerBody {
    broker: i32,
    host: String,
    port: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rack: Option<String>,
    controller: bool,
    /// Partitions that it leads.
    leads: usize,
    /// Replicas that it has.
    replicas: usize,
}

/// All brokers, by id.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrokerList {
    brokers: Vec<BrokerBody>,
}

/// The cluster
#[utoipa::path(
    get,
    path = "/v1/cluster",
    tag = "Cluster",
    operation_id = "getCluster",
    responses((status = 200, description = "What it is and how it fares", body = ClusterBody)),
)]
async fn cluster(State(gateway): State<Gateway>) -> Result<JsonAnswer<ClusterBody>, Problem> {
    let mut admin = gateway.backends().primary().admin().await?;
    admin.refresh().await?;
    let topics = admin.topics().await?;
    let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
    Ok(JsonAnswer(ClusterBody {
        cluster_id: admin.info().cluster_id.clone(),
        mode: gateway.backends().mode().to_string(),
        controller: admin.info().controller_id,
        brokers: admin.info().brokers.len(),
        topics: topics.len(),
        partitions: partitions().count(),
        offline_partitions: partitions()
            .filter(|partition| partition.leader < 0)
            .count(),
        under_replicated_partitions: partitions()
            .filter(|partition| partition.in_sync.len() < partition.replicas.len())
            .count(),
    }))
}

/// The brokers
#[utoipa::path(
    get,
    path = "/v1/brokers",
    tag = "Cluster",
    operation_id = "listBrokers",
    responses((status = 200, description = "All brokers, by id", body = BrokerList)),
)]
async fn brokers(State(gateway): State<Gateway>) -> Result<JsonAnswer<BrokerList>, Problem> {
    let brokers = list(gateway.backends().primary()).await?;
    Ok(JsonAnswer(BrokerList { brokers }))
}

/// A broker
#[utoipa::path(
    get,
    path = "/v1/brokers/{broker}",
    tag = "Cluster",
    operation_id = "getBroker",
    params(("broker" = i32, Path)),
    responses(
        (status = 200, description = "The broker", body = BrokerBody),
        (status = 404, description = "No such broker", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn broker(
    State(gateway): State<Gateway>,
    Segment(broker): Segment,
) -> Result<JsonAnswer<BrokerBody>, Problem> {
    let brokers = list(gateway.backends().primary()).await?;
    let id = broker.parse::<i32>().ok();
    let found = brokers.into_iter().find(|known| Some(known.broker) == id);
    found.map(JsonAnswer).ok_or_else(|| unknown(&broker))
}

/// The id of a broker that is there.
///
/// # Errors
/// `broker-not-found` for any other text.
pub async fn broker_id(backend: &Backend, text: &str) -> Result<i32, Problem> {
    let id: i32 = text.parse().map_err(|_| unknown(text))?;
    let mut admin = backend.admin().await?;
    admin.refresh().await?;
    let is_there = admin.info().brokers.iter().any(|broker| broker.id == id);
    is_there.then_some(id).ok_or_else(|| unknown(text))
}

fn unknown(text: &str) -> Problem {
    Problem::new(
        BROKER_NOT_FOUND,
        format!("the cluster has no broker `{text}`; GET /v1/brokers lists them"),
    )
}

async fn list(backend: &Backend) -> Result<Vec<BrokerBody>, Problem> {
    let mut admin = backend.admin().await?;
    admin.refresh().await?;
    let topics = admin.topics().await?;
    let info = admin.info();
    let mut bodies = describe(&info.brokers, info.controller_id, &topics);
    bodies.sort_by_key(|body| body.broker);
    Ok(bodies)
}

fn describe(brokers: &[Broker], controller: i32, topics: &[Topic]) -> Vec<BrokerBody> {
    let (mut leads, mut replicas) = (BTreeMap::new(), BTreeMap::new());
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        *leads.entry(partition.leader).or_default() += 1;
        for replica in &partition.replicas {
            *replicas.entry(*replica).or_default() += 1;
        }
    }
    let body = |broker: &Broker| BrokerBody {
        broker: broker.id,
        host: broker.host.clone(),
        port: broker.port,
        rack: broker.rack.clone(),
        controller: broker.id == controller,
        leads: leads.get(&broker.id).copied().unwrap_or(0),
        replicas: replicas.get(&broker.id).copied().unwrap_or(0),
    };
    brokers.iter().map(body).collect()
}
