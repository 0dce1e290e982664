//! How a cluster is reached: TLS or not, whom to trust, who we are. One description for our own connections and for librdkafka.
//!
//! What it keeps true: a secret is never printed, and a description that contradicts itself is refused before any connection
//! is made, because sending no password where one was meant looks like a broken cluster.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::ssl::SslConnector;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::tls;

/// Key and trust stores are read again for connections that are opened later than this: certificates are renewed while we run.
const STORES_ARE_FRESH_FOR: Duration = Duration::from_secs(60);

/// What protects a connection to a broker, by Kafka's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecurityProtocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// As in `security.protocol`.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of that name, in any case, with `-` or `_`; as configuration files have it.
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        let wanted = name.trim().replace('-', "_");
        [
            SecurityProtocol::Plaintext,
            SecurityProtocol::Ssl,
            SecurityProtocol::SaslPlaintext,
            SecurityProtocol::SaslSsl,
        ]
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(&wanted))
    }

    pub fn encrypts(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    pub fn authenticates(self) -> bool {
        matches!(
            self,
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
        )
    }
}

/// A password or a token. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Certificates in a file, perhaps with a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// `key` may be left out when it is in the same file as the certificates.
    Pem {
        certificates: PathBuf,
        key: Option<PathBuf>,
        key_password: Option<Secret>,
    },
    Pkcs12 {
        file: PathBuf,
        password: Secret,
    },
}

/// Whom we trust and who we are in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate authorities that brokers are checked against, and no others; those of the system when absent.
    pub trust: Option<Store>,
    /// Our own certificate, for brokers that ask for one.
    pub identity: Option<Store>,
    /// Whether the broker's certificate must name the host that we connect to.
    pub check_hostname: bool,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            trust: None,
            identity: None,
            check_hostname: true,
        }
    }
}

/// How we prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sasl {
    Plain { username: String, password: Secret },
    ScramSha256 { username: String, password: Secret },
    ScramSha512 { username: String, password: Secret },
    OAuthBearer(TokenSource),
}

/// Where the token of OAUTHBEARER comes from; it is read for every authentication, so a file that is renewed is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    File(PathBuf),
    /// The name of an environment variable.
    Environment(String),
}

impl Sasl {
    /// As in `sasl.mechanism`.
    pub fn mechanism(&self) -> &'static str {
        match self {
            Sasl::Plain { .. } => "PLAIN",
            Sasl::ScramSha256 { .. } => "SCRAM-SHA-256",
            Sasl::ScramSha512 { .. } => "SCRAM-SHA-512",
            Sasl::OAuthBearer(_) => "OAUTHBEARER",
        }
    }

    pub(crate) fn credentials(&self) -> Option<(&str, &Secret)> {
        match self {
            Sasl::Plain { username, password }
            | Sasl::ScramSha256 { username, password }
            | Sasl::ScramSha512 { username, password } => Some((username, password)),
            Sasl::OAuthBearer(_) => None,
        }
    }
}

/// How a cluster is reached; the default is a plain connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    pub protocol: SecurityProtocol,
    pub tls: Tls,
    pub sasl: Option<Sasl>,
}

impl Security {
    /// Whether the parts fit together; reads no file. Connections and clients check it too, a service wants to know at its start.
    ///
    /// # Errors
    /// `Client`, saying which part contradicts the protocol.
    pub fn check(&self) -> Result<(), ClientError> {
        match self.contradiction() {
            Some(problem) => Err(refuse(problem)),
            None => Ok(()),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let protocol = self.protocol.name();
        let has_store = self.tls.trust.is_some() || self.tls.identity.is_some();
        match &self.sasl {
            None if self.protocol.authenticates() => Some(format!(
                "{protocol} needs a mechanism with credentials: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
            )),
            Some(sasl) if !self.protocol.authenticates() => Some(format!(
                "credentials for {} are given, but {protocol} sends none; choose SASL_SSL, or SASL_PLAINTEXT where the network is trusted",
                sasl.mechanism()
            )),
            _ if has_store && !self.protocol.encrypts() => Some(format!(
                "a trust or key store is given, but {protocol} does not encrypt; choose SSL or SASL_SSL"
            )),
            Some(sasl) => sasl
                .credentials()
                .and_then(|(username, password)| misfit(username, password)),
            None => None,
        }
    }
}

/// What no mechanism can send.
fn misfit(username: &str, password: &Secret) -> Option<String> {
    if username.is_empty() {
        return Some("the user name is empty".to_owned());
    }
    if password.reveal().is_empty() {
        return Some(format!("the password of {username} is empty"));
    }
    // PLAIN separates its parts by it.
    let has_null = username.contains('\0') || password.reveal().contains('\0');
    has_null.then(|| "a user name or password contains a null character".to_owned())
}

pub(crate) fn refuse(reason: impl Into<String>) -> ClientError {
    ClientError::Client {
        what: "security settings".to_owned(),
        reason: reason.into(),
    }
}

/// The security of a cluster with what is derived from it: shared by all its connections.
#[derive(Clone, Default)]
pub(crate) struct Secured {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    security: Security,
    connector: Mutex<Option<(Instant, SslConnector)>>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.security.fmt(formatter)
    }
}

impl Secured {
    pub(crate) fn new(security: Security) -> Secured {
        Secured {
            shared: Arc::new(Shared {
                security,
                connector: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn security(&self) -> &Security {
        &self.shared.security
    }

    /// What opens TLS sessions; nothing when the protocol does not encrypt.
    ///
    /// # Errors
    /// `Client` when a store cannot be read.
    pub(crate) async fn connector(&self) -> Result<Option<SslConnector>, ClientError> {
        if !self.security().protocol.encrypts() {
            return Ok(None);
        }
        if let Some((made, connector)) = &*self.kept()
            && made.elapsed() < STORES_ARE_FRESH_FOR
        {
            return Ok(Some(connector.clone()));
        }
        let own = self.clone();
        // Files are read, and a hundred certificates of the system parsed.
        let made = tokio::task::spawn_blocking(move || tls::connector(&own.security().tls));
        let connector = made
            .await
            .map_err(|_| refuse("the key and trust stores could not be read"))??;
        *self.kept() = Some((Instant::now(), connector.clone()));
        Ok(Some(connector))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<(Instant, SslConnector)>> {
        self.shared
            .connector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    fn plain() -> Sasl {
        Sasl::Plain {
            username: "alice".to_owned(),
            password: Secret::new("correct horse"),
        }
    }

    fn problem(security: Security) -> String {
        security.check().expect_err("it is refused").to_string()
    }

    #[test]
    fn credentials_without_sasl_are_refused() {
        for protocol in [SecurityProtocol::Plaintext, SecurityProtocol::Ssl] {
            let sasl = Some(plain());
            let security = Security {
                protocol,
                sasl,
                ..Security::default()
            };
            assert!(problem(security).contains("sends none; choose SASL_SSL"));
        }
    }

    #[test]
    fn sasl_without_credentials_is_refused() {
        let security = Security {
            protocol: SecurityProtocol::SaslSsl,
            ..Security::default()
        };
        assert!(problem(security).contains("SASL_SSL needs a mechanism"));
    }

    #[test]
    fn a_trust_store_without_tls_is_refused() {
        let trust = Some(Store::Pkcs12 {
            file: "trust.p12".into(),
            password: Secret::new("changeit"),
        });
        let security = Security {
            protocol: SecurityProtocol::SaslPlaintext,
            tls: Tls {
                trust,
                ..Tls::default()
            },
            sasl: Some(plain()),
        };
        assert!(problem(security).contains("does not encrypt"));
    }

    #[test]
    fn an_empty_password_is_refused() {
        let security = Security {
            protocol: SecurityProtocol::SaslSsl,
            sasl: Some(Sasl::ScramSha512 {
                username: "alice".to_owned(),
                password: Secret::new(""),
            }),
            ..Security::default()
        };
        assert!(problem(security).ends_with("the password of alice is empty"));
    }

    #[test]
    fn a_cluster_prints_no_secret() {
        let identity = Some(Store::Pkcs12 {
            file: "keys.p12".into(),
            password: Secret::new("correct horse"),
        });
        let cluster = Cluster::new("b1:9093")
            .with_property("sasl.password", "correct horse")
            .with_property("ssl.key.pem", "correct horse")
            .with_property("linger.ms", "5")
            .with_security(Security {
                protocol: SecurityProtocol::SaslSsl,
                tls: Tls {
                    identity,
                    ..Tls::default()
                },
                sasl: Some(plain()),
            });
        let printed = format!("{cluster:?} {}", Secret::new("correct horse"));
        assert!(!printed.contains("correct horse"), "{printed}");
        assert!(
            printed.contains("alice") && printed.contains("5"),
            "{printed}"
        );
    }

    #[test]
    fn protocols_are_known_by_their_names() {
        let found = SecurityProtocol::from_name("sasl_ssl");
        assert_eq!(found, Some(SecurityProtocol::SaslSsl));
        assert_eq!(SecurityProtocol::from_name("TLS"), None);
    }
}
