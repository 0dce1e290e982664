//! The HTTP side of the platform: the documents' legacy `/api`, our own `/v1`, live streams, the overview page.
//!
//! It is only ever a Kafka client: it knows no broker, and runs the same on the embedded one, on Apache Kafka, and on both.
//! `serve.rs` of the binary makes a [`Gateway`] and mounts [`Gateway::router`] on its ports.
//!
//! - [`Mode`], [`Backends`]: which clusters, and what is written where.
//! - [`problem`]: every error answer of `/v1`, one catalogue.
//! - `table`: state in compacted topics, the same in every process.
//! - `legacy`: `/api`, a file per controller of the documents. `v1`: a file per resource.
//! - `hybrid`: what was stored here is forwarded to Kafka, in order and once.

mod backend;
mod clock;
mod entropy;
mod hybrid;
mod legacy;
mod mode;
pub mod problem;
mod registry;
mod table;

use std::sync::Arc;

use tokio::sync::watch;

pub use backend::{Backend, Backends, Source};
use hybrid::Hybrid;
pub use mode::{Mode, ModeError};

/// Everything that handlers share; clones are handles to the same.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    backends: Backends,
    hybrid: Option<Hybrid>,
    legacy: legacy::Legacy,
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
            stopping,
        }))
    }

    pub fn backends(&self) -> &Backends {
        &self.0.backends
    }

    pub(crate) fn legacy(&self) -> &legacy::Legacy {
        &self.0.legacy
    }

    /// Ends when the process is about to stop.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.0.stopping.clone();
        // A sender that is gone means stopping as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// The routes of this crate, for the server to mount.
    pub fn router(&self) -> axum::Router {
        let (router, document) = utoipa_axum::router::OpenApiRouter::new()
            .merge(hybrid::router())
            .merge(legacy::router())
            .split_for_parts();
        let paths = legacy::LegacyPaths::of(&document);
        legacy::in_any_case(router.with_state(self.clone()), paths)
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
