//! From settings to clusters: the mode in force, and the cluster that `--kafka` and `[kafka]` name, with how to log in there.
//!
//! Used by every command that talks to a cluster, and by `dev` and `start` for the modes that use Kafka.

use std::path::{Path, PathBuf};

use client::{Cluster, Sasl, Secret, Security, SecurityProtocol, Store, Tls, TokenSource};
use gateway::Mode;

use super::file::{QUEUE_MODE, QUEUE_MODE_FLAGS};
use super::kafka::KafkaSettings;
use super::{Origin, Settings};

impl Settings {
    /// The cluster that is named: a flag or `THALWEG_KAFKA`, else `[kafka] bootstrap.servers`, else the setting's default.
    ///
    /// # Errors
    /// Properties that contradict each other or that no client takes.
    pub fn cluster(&self) -> Result<Cluster, String> {
        let address = match self.kafka.get("bootstrap.servers") {
            Some(address) if !self.is_named_on_the_way_in() => address,
            _ => self.text("kafka"),
        };
        let security = security(&self.kafka)?;
        security.check().map_err(|error| error.to_string())?;
        Ok(Cluster::new(address)
            .with_timeout(self.duration("timeout"))
            .with_security(security))
    }

    fn is_named_on_the_way_in(&self) -> bool {
        matches!(
            self.get("kafka").origin,
            Origin::Flag(_) | Origin::Environment(_)
        )
    }

    /// Whether a cluster is named for `dev` or `start`. A variable that a shell exports for client commands does not turn
    /// `thalweg dev` into something else.
    fn names_a_cluster(&self, for_development: bool) -> bool {
        let named = match self.get("kafka").origin {
            Origin::Flag(_) | Origin::File(..) => true,
            Origin::Environment(_) => !for_development,
            Origin::Default => false,
        };
        named || self.kafka.get("bootstrap.servers").is_some()
    }

    /// The mode: `mode`, else the flags of `QueueMode`, else Kafka when a cluster is named and In-Memory otherwise.
    ///
    /// # Errors
    /// Flags that are no mode, two sources that disagree, a mode that needs a cluster when none is named.
    pub fn mode(&self, for_development: bool) -> Result<Mode, String> {
        let mode = match (self.mode_by_name()?, self.mode_by_flags()?) {
            (Some(named), Some(flags)) if named != flags => {
                let origin = &self.get("mode").origin;
                return Err(format!(
                    "mode is {named} by {origin} and {flags} by [{QUEUE_MODE}]; give one of them"
                ));
            }
            (Some(mode), _) | (None, Some(mode)) => mode,
            (None, None) if self.names_a_cluster(for_development) => Mode::Kafka,
            (None, None) => Mode::InMemory,
        };
        // Whoever asks for Kafka by name may have exported its address.
        if mode.uses_kafka() && !self.names_a_cluster(false) {
            return Err(format!(
                "mode {mode} needs a Kafka cluster; name it by --kafka HOST:PORT or by bootstrap.servers in the table [kafka]"
            ));
        }
        Ok(mode)
    }

    fn mode_by_name(&self) -> Result<Option<Mode>, String> {
        match self.text("mode") {
            "" => Ok(None),
            text => text.parse().map(Some),
        }
    }

    /// A flag that is not given is false, as in the documents' configuration.
    fn mode_by_flags(&self) -> Result<Option<Mode>, String> {
        if self.queue_mode.is_empty() {
            return Ok(None);
        }
        let [in_memory, kafka, hybrid] = QUEUE_MODE_FLAGS.map(|name| {
            let setting = self.queue_mode.get(name);
            setting.is_some_and(|setting| setting.value == "true")
        });
        let mode = Mode::of_flags(in_memory, kafka, hybrid);
        mode.map(Some).map_err(|error| error.to_string())
    }
}

/// How the cluster is reached, from Kafka's own property names.
fn security(kafka: &KafkaSettings) -> Result<Security, String> {
    let protocol = match kafka.get("security.protocol") {
        None => SecurityProtocol::default(),
        Some(name) => SecurityProtocol::from_name(name).ok_or_else(|| {
            format!(
                "security.protocol: `{name}` is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            )
        })?,
    };
    let check_hostname = match kafka.get("ssl.endpoint.identification.algorithm") {
        None | Some("https") => true,
        Some("" | "none") => false,
        Some(other) => {
            return Err(format!(
                "ssl.endpoint.identification.algorithm: `{other}` is neither https nor none"
            ));
        }
    };
    Ok(Security {
        protocol,
        tls: Tls {
            trust: store(kafka, "ssl.truststore")?,
            identity: store(kafka, "ssl.keystore")?,
            check_hostname,
        },
        sasl: sasl(kafka)?,
    })
}

/// The store whose properties begin with `prefix`.
fn store(kafka: &KafkaSettings, prefix: &str) -> Result<Option<Store>, String> {
    let property = |name: &str| kafka.get(&format!("{prefix}.{name}"));
    let Some(location) = property("location") else {
        return Ok(None);
    };
    let file = PathBuf::from(location);
    let is_pkcs12 = match property("type") {
        None => is_named_pkcs12(&file),
        Some(kind) if kind.eq_ignore_ascii_case("PKCS12") => true,
        Some(kind) if kind.eq_ignore_ascii_case("PEM") => false,
        Some(other) => {
            return Err(format!(
                "{prefix}.type: `{other}` is neither PEM nor PKCS12; turn a JKS store into PKCS12 with keytool -importkeystore"
            ));
        }
    };
    let secret = |text: Option<&str>| text.map(|text| Secret::new(text.to_owned()));
    Ok(Some(match is_pkcs12 {
        true => Store::Pkcs12 {
            file,
            password: secret(property("password")).unwrap_or_else(|| Secret::new("")),
        },
        false => Store::Pem {
            certificates: file,
            key: None,
            key_password: secret(kafka.get("ssl.key.password")),
        },
    }))
}

fn is_named_pkcs12(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ["p12", "pfx", "pkcs12"].contains(&ending))
}

fn sasl(kafka: &KafkaSettings) -> Result<Option<Sasl>, String> {
    let Some(mechanism) = kafka.get("sasl.mechanism") else {
        return Ok(None);
    };
    if mechanism == "OAUTHBEARER" {
        return token(kafka).map(|source| Some(Sasl::OAuthBearer(source)));
    }
    let needed = |name: &str, variable: &str| {
        kafka
            .get(name)
            .map(str::to_owned)
            .ok_or_else(|| format!("{mechanism} needs {name}; give it in [kafka] or as {variable}"))
    };
    let username = needed("sasl.username", "KAFKA_USERNAME")?;
    let password = Secret::new(needed("sasl.password", "KAFKA_PASSWORD")?);
    match mechanism {
        "PLAIN" => Ok(Some(Sasl::Plain { username, password })),
        "SCRAM-SHA-256" => Ok(Some(Sasl::ScramSha256 { username, password })),
        "SCRAM-SHA-512" => Ok(Some(Sasl::ScramSha512 { username, password })),
        other => Err(format!(
            "sasl.mechanism: `{other}` is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"
        )),
    }
}

/// A token ends after minutes: it is read where it is renewed, never copied into the configuration.
fn token(kafka: &KafkaSettings) -> Result<TokenSource, String> {
    let name = "sasl.oauthbearer.token";
    if let Some(file) = kafka.file_of(name) {
        return Ok(TokenSource::File(file.to_owned()));
    }
    match kafka.origin_of(name) {
        Some(Origin::Environment(variable)) => Ok(TokenSource::Environment(variable.clone())),
        _ => Err(format!(
            "OAUTHBEARER needs a token that can be renewed: give {name}_file, or KAFKA_OAUTHBEARER_TOKEN"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::file::Entry;
    use super::*;

    fn of(rows: &[(&str, &str)]) -> Result<Security, String> {
        let entry = |value: &str| Entry {
            value: value.to_owned(),
            line: 1,
        };
        let table: BTreeMap<String, Entry> = rows
            .iter()
            .map(|(name, value)| ((*name).to_owned(), entry(value)))
            .collect();
        let kafka = KafkaSettings::lay(&table, Path::new("t.toml"), |_| None)?;
        security(&kafka)
    }

    #[test]
    fn a_cloud_cluster_takes_four_lines() {
        //
        let security = of(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "key"),
            ("sasl.password", "hunter2"),
        ])
        .expect("valid");
        assert_eq!(security.protocol, SecurityProtocol::SaslSsl);
        assert!(security.check().is_ok());
        assert!(!format!("{security:?}").contains("hunter2"));
    }

    #[test]
    fn a_store_is_what_its_type_or_its_name_says() {
        let trust = |rows: &[(&str, &str)]| of(rows).map(|security| security.tls.trust);
        let pem = trust(&[("ssl.truststore.location", "ca.pem")]);
        assert!(matches!(pem, Ok(Some(Store::Pem { .. }))));
        let pkcs12 = trust(&[("ssl.truststore.location", "ca.p12")]);
        assert!(matches!(pkcs12, Ok(Some(Store::Pkcs12 { .. }))));
        let jks = trust(&[
            ("ssl.truststore.location", "ca.jks"),
            ("ssl.truststore.type", "JKS"),
        ]);
        assert!(jks.unwrap_err().contains("keytool"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = of(&[("sasl.mechanism", "SCRAM-SHA-512")]).unwrap_err();
        assert!(error.contains("needs sasl.username"), "{error}");
        let error = of(&[
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token", "x"),
        ]);
        assert!(error.unwrap_err().contains("can be renewed"));
        assert!(of(&[("security.protocol", "TLS")]).is_err());
    }
}
