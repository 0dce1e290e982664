//! HTTP: `/livez` and `/readyz` for orchestrators, `/metrics` for Prometheus; everything else is the gateway's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use broker::Broker;
use gateway::Gateway;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::limited::LimitedListener;
use super::open_files;

/// How long a readiness check waits for the Kafka cluster.
const KAFKA_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Shared {
    broker: Option<Arc<Broker>>,
    gateway: Gateway,
    stopping: watch::Receiver<bool>,
}

/// The routes; what is not here is answered 404.
pub fn router(
    broker: Option<Arc<Broker>>,
    gateway: Gateway,
    stopping: watch::Receiver<bool>,
) -> Router {
    let of_gateway = gateway.router();
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Shared {
            broker,
            gateway,
            stopping,
        })
        .merge(of_gateway)
}

/// Serves until `stopping` turns true and the requests under way are answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = LimitedListener::new(listener, open_files::http_connections());
    axum::serve(listener, router)
        .with_graceful_shutdown(stopped(stopping))
        .await
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means stopping as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// 200 when requests are served, 503 while not; `?verbose` lists the checks.
async fn ready(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let cluster = match &shared.broker {
        Some(broker) => ("broker", broker.is_ready()),
        None => ("kafka", kafka_answers(&shared.gateway).await),
    };
    let checks = [cluster, ("not-stopping", !*shared.stopping.borrow())];
    let is_ready = checks.iter().all(|(_, passed)| *passed);
    let status = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let mut text = String::new();
    if verbose {
        for (name, passed) in checks {
            let mark = if passed { "[+]" } else { "[-]" };
            text.push_str(&format!("{mark} {name}\n"));
        }
    }
    text.push_str(if is_ready { "ready\n" } else { "not ready\n" });
    (status, text).into_response()
}

/// Without an embedded broker nothing can be served while the cluster is away. In hybrid mode it may be: records wait here.
async fn kafka_answers(gateway: &Gateway) -> bool {
    let asked = async {
        let mut admin = gateway.backends().primary().admin().await?;
        admin.refresh().await
    };
    matches!(
        tokio::time::timeout(KAFKA_PATIENCE, asked).await,
        Ok(Ok(()))
    )
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut text = match &shared.broker {
        Some(broker) => broker.metrics_text().await,
        None => String::new(),
    };
    text.push_str(&shared.gateway.metrics_text());
    text.push_str(concat!(
        "# HELP thalweg_build_info The version that runs.\n",
        "# TYPE thalweg_build_info gauge\n",
        "thalweg_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1\n"
    ));
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
