//! The HTTP side of the platform: the documents' legacy `/api`, our own `/v1`, live streams, the overview page.
//!
//! It is only ever a Kafka client: it knows no broker, and runs the same on the embedded one, on Apache Kafka, and on both.
//! `serve.rs` of the binary makes a [`Gateway`] and mounts [`Gateway::router`] on its ports.
//!
//! - [`Mode`], [`Backends`]: which clusters, and what is written where.
//! - [`problem`]: every error answer of `/v1`, one catalogue.
//! - `table`: state in compacted topics, the same in every process.
//! - `legacy`: `/api`, a file per controller of the documents. `v1`: a file per resource.
//! - `hybrid`: what was stored here is forwarded to Kafka, in order and once. `page`: what a browser sees at `/`.

mod access_log;
mod backend;
mod clock;
mod docs;
mod entropy;
mod foreign_page;
mod hybrid;
mod idempotency;
mod legacy;
mod mode;
mod openapi;
mod page;
pub mod problem;
mod registry;
mod request_id;
mod table;
#[doc(hidden)]
pub mod text;
mod traceparent;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;

pub use backend::{Backend, Backends, Source};
pub use foreign_page::Hosts;
use hybrid::Hybrid;
pub use mode::{Mode, ModeError};
use problem::{METHOD_NOT_ALLOWED, NOT_FOUND, Problem};

/// Everything that handlers share; clones are handles to the same.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    backends: Backends,
    hybrid: Option<Hybrid>,
    legacy: legacy::Legacy,
    overviews: page::Overviews,
    keys: idempotency::Keys,
    queues: v1::Queues,
    live: v1::LiveStreams,
    hosts: Hosts,
    stopping: watch::Receiver<bool>,
}

impl Gateway {
    /// In hybrid mode it begins to forward at once; everything else is opened when it is first asked for. Call it in a runtime.
    ///
    /// When `stopping` turns true, live streams and long polls end soon, so that HTTP can be closed in order.
    pub fn new(backends: Backends, stopping: watch::Receiver<bool>) -> Gateway {
        let hybrid = Hybrid::start(&backends);
        Gateway(Arc::new(Shared {
            backends,
            hybrid,
            legacy: legacy::Legacy::default(),
            overviews: page::Overviews::default(),
            keys: idempotency::Keys::default(),
            queues: v1::Queues::default(),
            live: v1::LiveStreams::default(),
            hosts: Hosts::default(),
            stopping,
        }))
    }

    /// With names of its own for this server, which a browser may ask it by. Before anything else is done with it.
    ///
    /// # Panics
    /// When there is another handle already: a programming error.
    pub fn with_hosts(mut self, hosts: Hosts) -> Gateway {
        let shared = Arc::get_mut(&mut self.0).expect("no other handle before the first router");
        shared.hosts = hosts;
        self
    }

    pub fn backends(&self) -> &Backends {
        &self.0.backends
    }

    pub(crate) fn legacy(&self) -> &legacy::Legacy {
        &self.0.legacy
    }

    /// What the page at `/` shows.
    pub(crate) fn overviews(&self) -> &page::Overviews {
        &self.0.overviews
    }

    pub(crate) fn keys(&self) -> &idempotency::Keys {
        &self.0.keys
    }

    pub(crate) fn queues(&self) -> &v1::Queues {
        &self.0.queues
    }

    pub(crate) fn live(&self) -> &v1::LiveStreams {
        &self.0.live
    }

    /// Ends when the process is about to stop.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.0.stopping.clone();
        async move {
            // A sender that is gone means stopping as well.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Every route of this crate, for the server to mount; what nobody has is answered 404 with a problem.
    pub fn router(&self) -> Router {
        let (routes, described) = routes().split_for_parts();
        let legacy_paths = legacy::LegacyPaths::of(&described);
        let router = routes
            .merge(docs::router(&openapi::complete(described)))
            .merge(page::router())
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(middleware::from_fn_with_state(
                self.clone(),
                idempotency::once,
            ))
            .layer(middleware::from_fn_with_state(
                self.0.hosts.clone(),
                foreign_page::refuse,
            ))
            .layer(middleware::from_fn(request_id::identify))
            .with_state(self.clone());
        legacy::in_any_case(router, legacy_paths)
    }

    /// The gateway's own metrics in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        let hybrid = self.hybrid();
        hybrid.map_or_else(String::new, |hybrid| hybrid::metrics_text(&hybrid.status()))
    }

    /// The forwarder; nothing in the other modes.
    pub(crate) fn hybrid(&self) -> Option<&Hybrid> {
        self.0.hybrid.as_ref()
    }
}

/// The routes of every area, each described beside its handler.
fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .merge(v1::router())
        .merge(hybrid::router())
        .merge(legacy::router())
}

/// Files for `docs/reference`, by name: the OpenAPI document of all routes and what is made from it.
pub fn reference() -> Vec<(&'static str, String)> {
    openapi::reference(&openapi::complete(routes().into_openapi()))
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "nothing is at {}; /openapi.json lists every path",
        uri.path()
    );
    Problem::new(NOT_FOUND, detail)
}

async fn method_not_allowed(uri: Uri) -> Problem {
    let detail = format!(
        "{} does not take this method; the Allow header names those it takes",
        uri.path()
    );
    Problem::new(METHOD_NOT_ALLOWED, detail)
}
