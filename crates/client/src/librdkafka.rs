//! What producers and consumers share: configuration from a [`Cluster`], librdkafka's own words as events, its errors as ours.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use wire::ErrorCode;

use crate::cluster::Cluster;
use crate::error::ClientError;

/// The last problem that librdkafka told about its connections: it keeps trying, a caller with a deadline wants to know why.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastProblem(Arc<Mutex<Option<String>>>);

impl LastProblem {
    pub(crate) fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

/// Sends librdkafka's log lines to `tracing` and remembers its last problem.
pub(crate) struct Context<E> {
    pub(crate) last_problem: LastProblem,
    pub(crate) own: E,
}

impl<E> Context<E> {
    /// The context of one client of `cluster`.
    pub(crate) fn new(_cluster: &Cluster, last_problem: LastProblem, own: E) -> Context<E> {
        Context { last_problem, own }
    }
}

impl<E: Send + Sync> ClientContext for Context<E> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        self.last_problem.set(reason.to_owned());
    }
}

/// The configuration of one client: ours, then the cluster's properties, then the caller's.
///
/// # Errors
/// `Client` when the cluster's security cannot be used.
pub(crate) fn config(
    cluster: &Cluster,
    properties: &[(&str, &str)],
) -> Result<ClientConfig, ClientError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap().join(","));
    config.set("client.id", cluster.client_id());
    // The vendored OpenSSL knows no certificate folder; "probe" finds the system's.
    config.set("ssl.ca.location", "probe");
    for (name, value) in cluster.properties() {
        config.set(name, value);
    }
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

/// Our error for one of librdkafka's.
pub(crate) fn error(
    what: impl Into<String>,
    error: &KafkaError,
    cluster: &Cluster,
    last_problem: &LastProblem,
) -> ClientError {
    let what = what.into();
    let Some(code) = error.rdkafka_error_code() else {
        return ClientError::Client {
            what,
            reason: error.to_string(),
        };
    };
    use RDKafkaErrorCode as Rd;
    match code {
        Rd::AllBrokersDown | Rd::BrokerTransportFailure | Rd::Resolve => ClientError::Unreachable {
            address: cluster.bootstrap().join(","),
            reason: last_problem.get().unwrap_or_else(|| code.to_string()),
        },
        Rd::MessageTimedOut | Rd::OperationTimedOut => match last_problem.get() {
            Some(reason) => ClientError::Unreachable {
                address: cluster.bootstrap().join(","),
                reason,
            },
            None => ClientError::TimedOut {
                what,
                after: cluster.timeout(),
            },
        },
        Rd::UnknownTopic | Rd::UnknownPartition => {
            ClientError::refused(what, ErrorCode::UnknownTopicOrPartition, None)
        }
        other => match i16::try_from(other as i32) {
            Ok(number) if number > 0 => ClientError::refused_by_number(what, number, None),
            _ => ClientError::Client {
                what,
                reason: other.to_string(),
            },
        },
    }
}
