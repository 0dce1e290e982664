//! The external Kafka cluster of a configuration: the table `[kafka]` of `thalweg.toml` under Kafka's own names, the `Kafka` section of a
//! JSON file, and the environment. Secrets come from the environment or from a file, and are never printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::file::Entry;
use super::suggest::nearest;
use super::{Origin, Setting};

/// The name of the table, which is also the name of the setting with the addresses alone.
pub const KAFKA_TABLE: &str = "kafka";

/// A secret's file has at most this many bytes; a longer one is some other file.
const MOST_SECRET_BYTES: u64 = 64 * 1024;

/// A property of the cluster: Kafka's name, the variable that wins over the file, what it is.
#[derive(Debug)]
pub struct Property {
    pub name: &'static str,
    pub variable: &'static str,
    pub is_secret: bool,
    pub doc: &'static str,
}

const fn property(
    name: &'static str,
    variable: &'static str,
    is_secret: bool,
    doc: &'static str,
) -> Property {
    Property {
        name,
        variable,
        is_secret,
        doc,
    }
}

/// Every property of `[kafka]`; each secret can also be given as `<name>_file` and `<VARIABLE>_FILE`.
pub const PROPERTIES: &[Property] = &[
    property(
        "bootstrap.servers",
        "KAFKA_BOOTSTRAP_SERVERS",
        false,
        "The brokers to begin with: host:port, several separated by commas",
    ),
    property(
        "security.protocol",
        "KAFKA_SECURITY_PROTOCOL",
        false,
        "PLAINTEXT (default), SSL, SASL_PLAINTEXT or SASL_SSL",
    ),
    property(
        "sasl.mechanism",
        "KAFKA_SASL_MECHANISM",
        false,
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    ),
    property(
        "sasl.username",
        "KAFKA_USERNAME",
        false,
        "The user of PLAIN and SCRAM",
    ),
    property(
        "sasl.password",
        "KAFKA_PASSWORD",
        true,
        "The password of PLAIN and SCRAM",
    ),
    property(
        "sasl.oauthbearer.token",
        "KAFKA_OAUTHBEARER_TOKEN",
        true,
        "The token of OAUTHBEARER; given as a file, it is read again before it expires",
    ),
    property(
        "ssl.truststore.location",
        "KAFKA_SSL_TRUSTSTORE_LOCATION",
        false,
        "The certificates to trust; unset, those of the system",
    ),
    property(
        "ssl.truststore.type",
        "KAFKA_SSL_TRUSTSTORE_TYPE",
        false,
        "PEM or PKCS12; unset, by the file's name (.p12 and .pfx are PKCS12)",
    ),
    property(
        "ssl.truststore.password",
        "KAFKA_SSL_TRUSTSTORE_PASSWORD",
        true,
        "The password of a PKCS12 trust store",
    ),
    property(
        "ssl.keystore.location",
        "KAFKA_SSL_KEYSTORE_LOCATION",
        false,
        "The certificate and key that this client shows: one PEM or PKCS12 file",
    ),
    property(
        "ssl.keystore.type",
        "KAFKA_SSL_KEYSTORE_TYPE",
        false,
        "PEM or PKCS12; unset, by the file's name",
    ),
    property(
        "ssl.keystore.password",
        "KAFKA_SSL_KEYSTORE_PASSWORD",
        true,
        "The password of a PKCS12 key store",
    ),
    property(
        "ssl.key.password",
        "KAFKA_SSL_KEY_PASSWORD",
        true,
        "The password of an encrypted key in a PEM file",
    ),
    property(
        "ssl.endpoint.identification.algorithm",
        "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM",
        false,
        "https (default): the broker's certificate must carry the name that is connected to; none: it need not",
    ),
];

/// The properties that were given, by Kafka's name; secrets are in here, so it is never printed whole.
#[derive(Clone, Default)]
pub struct KafkaSettings {
    given: BTreeMap<&'static str, Setting>,
    /// Files that secrets were read from, by the secret's name.
    files: BTreeMap<&'static str, PathBuf>,
}

impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.given.keys().copied().collect();
        f.debug_struct("KafkaSettings")
            .field("given", &names)
            .finish()
    }
}

impl KafkaSettings {
    /// Lays the environment over the table of the file at `path`; `environment` looks a variable up.
    ///
    /// # Errors
    /// A secret's file that cannot be read, a secret given twice.
    pub fn lay(
        table: &BTreeMap<String, Entry>,
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<KafkaSettings, String> {
        let mut settings = KafkaSettings::default();
        for property in PROPERTIES {
            let from_file = |name: &str| {
                table.get(name).map(|entry| Setting {
                    value: entry.value.clone(),
                    origin: Origin::File(path.to_owned(), entry.line),
                })
            };
            let from_environment = |variable: String| {
                environment(&variable)
                    .filter(|value| !value.is_empty())
                    .map(|value| Setting {
                        value,
                        origin: Origin::Environment(variable),
                    })
            };
            let plain =
                from_environment(property.variable.to_owned()).or_else(|| from_file(property.name));
            let by_file = match property.is_secret {
                true => from_environment(format!("{}_FILE", property.variable))
                    .or_else(|| from_file(&format!("{}_file", property.name))),
                false => None,
            };
            settings.take(property, plain, by_file)?;
        }
        Ok(settings)
    }

    fn take(
        &mut self,
        property: &'static Property,
        plain: Option<Setting>,
        by_file: Option<Setting>,
    ) -> Result<(), String> {
        let setting = match (plain, by_file) {
            (Some(plain), Some(by_file)) => {
                return Err(format!(
                    "{} is given by {} and as a file by {}; give it once",
                    property.name, plain.origin, by_file.origin
                ));
            }
            (Some(plain), None) => plain,
            (None, Some(by_file)) => {
                let path = PathBuf::from(&by_file.value);
                let value =
                    read_secret(&path).map_err(|reason| format!("{}: {reason}", by_file.origin))?;
                self.files.insert(property.name, path);
                Setting {
                    value,
                    origin: by_file.origin,
                }
            }
            (None, None) => return Ok(()),
        };
        self.given.insert(property.name, setting);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|setting| setting.value.as_str())
    }

    pub fn origin_of(&self, name: &str) -> Option<&Origin> {
        self.given.get(name).map(|setting| &setting.origin)
    }

    /// The file that a secret was read from.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(PathBuf::as_path)
    }

    /// What was given, for `config show`: secrets are dots.
    pub fn shown(&self) -> impl Iterator<Item = (String, Setting)> + '_ {
        self.given.iter().map(|(name, setting)| {
            let is_secret = PROPERTIES.iter().any(|p| p.name == *name && p.is_secret);
            let value = match is_secret {
                true => "••••••••".to_owned(),
                false => setting.value.clone(),
            };
            let origin = setting.origin.clone();
            (format!("{KAFKA_TABLE}.{name}"), Setting { value, origin })
        })
    }
}

/// Whether `[kafka]` may have `name`.
///
/// # Errors
/// The reason with the name that was probably meant.
pub fn check_name(name: &str) -> Result<(), String> {
    let files = PROPERTIES
        .iter()
        .filter(|p| p.is_secret)
        .map(|p| format!("{}_file", p.name));
    let known: Vec<String> = PROPERTIES
        .iter()
        .map(|property| property.name.to_owned())
        .chain(files)
        .collect();
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("unknown key `{name}` in [{KAFKA_TABLE}]; did you mean `{meant}`?"),
        None => format!(
            "unknown key `{name}` in [{KAFKA_TABLE}]; the keys are {}",
            known.join(", ")
        ),
    })
}

/// `SaslUsername`, as .NET's configuration writes it, is `sasl.username`.
pub fn name_of_json(name: &str) -> String {
    let mut dotted = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !dotted.is_empty() {
            dotted.push('.');
        }
        dotted.extend(letter.to_lowercase());
    }
    dotted
}

fn read_secret(path: &Path) -> Result<String, String> {
    let say = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let size = fs::metadata(path).map_err(say)?.len();
    if size > MOST_SECRET_BYTES {
        return Err(format!(
            "{} has {size} bytes and is no secret",
            path.display()
        ));
    }
    let text = fs::read_to_string(path).map_err(say)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str)]) -> BTreeMap<String, Entry> {
        rows.iter()
            .map(|(name, value)| {
                let value = (*value).to_owned();
                ((*name).to_owned(), Entry { value, line: 3 })
            })
            .collect()
    }

    fn lay(rows: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<KafkaSettings, String> {
        KafkaSettings::lay(&table(rows), Path::new("t.toml"), |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = lay(
            &[("sasl.username", "file"), ("bootstrap.servers", "b:1")],
            &[("KAFKA_USERNAME", "environment")],
        )
        .expect("valid");
        assert_eq!(settings.get("sasl.username"), Some("environment"));
        assert_eq!(settings.get("bootstrap.servers"), Some("b:1"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        //
        let settings = lay(&[], &[("KAFKA_PASSWORD", "hunter2")]).expect("valid");
        assert_eq!(settings.get("sasl.password"), Some("hunter2"));
        let shown: Vec<(String, Setting)> = settings.shown().collect();
        assert!(!format!("{shown:?}{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_last_line_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        fs::write(&path, "hunter2\n").expect("written");
        let path = path.to_str().expect("plain text");
        let settings = lay(&[("sasl.password_file", path)], &[]).expect("valid");
        assert_eq!(settings.get("sasl.password"), Some("hunter2"));
        assert!(settings.file_of("sasl.password").is_some());
        let twice = lay(&[("sasl.password_file", path)], &[("KAFKA_PASSWORD", "x")]).unwrap_err();
        assert!(twice.contains("give it once"), "{twice}");
        let missing = lay(&[("sasl.password_file", "/no/such")], &[]).unwrap_err();
        assert!(missing.starts_with("t.toml:3: cannot read"), "{missing}");
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        assert!(check_name("sasl.password_file").is_ok());
        let error = check_name("sasl.pasword").unwrap_err();
        assert!(error.contains("did you mean `sasl.password`"), "{error}");
    }

    #[test]
    fn names_of_json_become_kafkas() {
        assert_eq!(name_of_json("BootstrapServers"), "bootstrap.servers");
        assert_eq!(name_of_json("SaslPassword"), "sasl.password");
    }
}
