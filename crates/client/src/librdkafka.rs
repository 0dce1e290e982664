//! What producers and consumers share: configuration from a [`Cluster`], librdkafka's own words as events, its errors as ours.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use wire::ErrorCode;

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::sasl::Token;
use crate::security::{Sasl, Security, Tls, TokenSource};
use crate::tls;

/// The last problem that librdkafka told about its connections: it keeps trying, a caller with a deadline wants to know why.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastProblem(Arc<Mutex<Option<Problem>>>);

#[derive(Debug, Clone)]
struct Problem {
    is_denial: bool,
    reason: String,
}

impl LastProblem {
    pub(crate) fn get(&self) -> Option<String> {
        self.problem().map(|problem| problem.reason)
    }

    fn problem(&self) -> Option<Problem> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, code: Option<RDKafkaErrorCode>, text: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down follows the reason why, and is no news then.
        if code == Some(RDKafkaErrorCode::AllBrokersDown) && kept.is_some() {
            return;
        }
        *kept = Some(Problem {
            is_denial: code == Some(RDKafkaErrorCode::Authentication),
            reason: in_our_words(text),
        });
    }
}

/// Sends librdkafka's log lines to `tracing`, remembers its last problem and reads tokens for it.
pub(crate) struct Context<E> {
    pub(crate) last_problem: LastProblem,
    pub(crate) own: E,
    tokens: Option<TokenSource>,
}

impl<E> Context<E> {
    /// The context of one client of `cluster`.
    pub(crate) fn new(cluster: &Cluster, last_problem: LastProblem, own: E) -> Context<E> {
        let tokens = match &cluster.security().sasl {
            Some(Sasl::OAuthBearer(source)) => Some(source.clone()),
            _ => None,
        };
        Context {
            last_problem,
            own,
            tokens,
        }
    }
}

impl<E: Send + Sync> ClientContext for Context<E> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        self.last_problem.set(error.rdkafka_error_code(), reason);
    }

    /// Asked for before the first connection and when most of the last token's time is over.
    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let source = self.tokens.as_ref().ok_or("no source of tokens is set")?;
        let token = Token::read(source)?;
        Ok(OAuthToken {
            token: token.secret().reveal().to_owned(),
            principal_name: token.subject().to_owned(),
            lifetime_ms: token.expires_ms(SystemTime::now()),
        })
    }
}

/// The configuration of one client: ours, then the cluster's security and properties, then the caller's.
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
    secure(&mut config, cluster.security())?;
    for (name, value) in cluster.properties() {
        config.set(name, value);
    }
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.set_log_level(RDKafkaLogLevel::Warning);
    Ok(config)
}

fn secure(config: &mut ClientConfig, security: &Security) -> Result<(), ClientError> {
    security.check()?;
    let protocol = security.protocol;
    config.set("security.protocol", protocol.name());
    // The vendored OpenSSL knows no certificate folder; "probe" finds the system's.
    config.set("ssl.ca.location", "probe");
    if protocol.encrypts() {
        secure_by_tls(config, &security.tls)?;
    }
    if let Some(sasl) = &security.sasl {
        config.set("sasl.mechanism", sasl.mechanism());
        if let Some((username, password)) = sasl.credentials() {
            config.set("sasl.username", username);
            config.set("sasl.password", password.reveal());
        }
    }
    Ok(())
}

/// The stores as our own connections read them: librdkafka itself reads no PKCS#12 trust store.
fn secure_by_tls(config: &mut ClientConfig, tls: &Tls) -> Result<(), ClientError> {
    if let Some(store) = &tls.trust {
        config.remove("ssl.ca.location");
        config.set("ssl.ca.pem", tls::trust_as_pem(store)?);
    }
    if let Some(store) = &tls.identity {
        let (certificates, key) = tls::identity_as_pem(store)?;
        config.set("ssl.certificate.pem", certificates);
        config.set("ssl.key.pem", key.reveal());
    }
    let identification = if tls.check_hostname { "https" } else { "none" };
    config.set("ssl.endpoint.identification.algorithm", identification);
    Ok(())
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
        Rd::AllBrokersDown
        | Rd::BrokerTransportFailure
        | Rd::Resolve
        | Rd::SSL
        | Rd::Authentication => match last_problem.problem() {
            Some(problem) => told(what, problem, cluster),
            None => unreachable(cluster, code.to_string()),
        },
        Rd::MessageTimedOut | Rd::OperationTimedOut => match last_problem.problem() {
            Some(problem) => told(what, problem, cluster),
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

/// A connection problem as an error: credentials that are not accepted are a refusal, whatever was being done.
fn told(what: String, problem: Problem, cluster: &Cluster) -> ClientError {
    match problem.is_denial {
        true => ClientError::refused(
            what,
            ErrorCode::SaslAuthenticationFailed,
            Some(&problem.reason),
        ),
        false => unreachable(cluster, problem.reason),
    }
}

fn unreachable(cluster: &Cluster, reason: String) -> ClientError {
    ClientError::Unreachable {
        address: cluster.bootstrap().join(","),
        reason,
    }
}

/// What people can do about librdkafka's most frequent problems, by words of theirs; other texts stay as they are.
fn in_our_words(text: &str) -> String {
    const OURS: &[(&str, &str)] = &[
        (
            "certificate verify failed",
            "the broker's certificate is not accepted: an unknown authority, another host's, or expired",
        ),
        ("wrong version number", "the port does not speak TLS"),
        (
            "connecting to a PLAINTEXT broker listener",
            "the connection was closed during the TLS handshake; the port may not want TLS",
        ),
        (
            "connecting to a SSL listener",
            "the connection was closed before an answer came; the port may want TLS",
        ),
        (
            "might require SASL authentication",
            "the connection was closed before an answer came; the listener may want SASL",
        ),
        (
            "certificate required",
            "the broker asks for a client certificate; give a key store",
        ),
    ];
    let found = OURS.iter().find(|(theirs, _)| text.contains(theirs));
    let Some((_, ours)) = found else {
        return text.to_owned();
    };
    // `sasl_ssl://host:port/bootstrap: …` tells which broker it was.
    match text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
    {
        Some((address, _)) if !address.contains(' ') => format!("{ours} ({address})"),
        _ => (*ours).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_problems_say_what_to_do_and_where() {
        let theirs = "ssl://b1:9093/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version number (after 2ms in state SSL_HANDSHAKE)";
        assert_eq!(
            in_our_words(theirs),
            "the port does not speak TLS (b1:9093)"
        );
        assert_eq!(in_our_words("something else"), "something else");
    }

    #[test]
    fn that_all_brokers_are_down_does_not_hide_why() {
        let last = LastProblem::default();
        last.set(Some(RDKafkaErrorCode::Authentication), "wrong password");
        last.set(
            Some(RDKafkaErrorCode::AllBrokersDown),
            "1/1 brokers are down",
        );
        assert_eq!(last.get().as_deref(), Some("wrong password"));
        let late = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        let error = error("sending", &late, &Cluster::new("b1:9093"), &last);
        assert_eq!(error.code(), Some(ErrorCode::SaslAuthenticationFailed));
    }

    #[test]
    fn security_that_contradicts_itself_makes_no_client() {
        let cluster = Cluster::new("b1:9093").with_security(Security {
            protocol: crate::SecurityProtocol::SaslSsl,
            ..Security::default()
        });
        assert!(cluster.consumer(&[]).is_err());
        assert!(cluster.producer(&[], |_| {}).is_err());
    }
}
