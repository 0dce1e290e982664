//! Settings from four places: flag > `THALWEG_*` > `thalweg.toml` > default, each value with where it came from.

pub mod file;
pub mod flags;
mod json;
pub mod kafka;
pub mod keys;
pub mod platform;
pub mod suggest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::time::parse_duration;

use crate::exit::CommandError;
use file::{BROKER_TABLE, ConfigFile, Entry, QUEUE_MODE};
use flags::Given;
use kafka::KafkaSettings;
use keys::{KEYS, Key, default_files};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Environment(String),
    File(PathBuf, usize),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::File(path, 0) => write!(f, "{}", path.display()),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub value: String,
    pub origin: Origin,
}

/// All settings of a run, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, Setting>,
    /// Kafka's broker settings: the table `[broker]`, then `--set`.
    pub broker: BTreeMap<String, Setting>,
    /// The external cluster: the table `[kafka]` and `KAFKA_*`.
    pub kafka: KafkaSettings,
    /// The flags of `QueueMode` that were given.
    pub queue_mode: BTreeMap<String, Setting>,
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Reads the file (the given one, or the first default one that exists) and lays flags and environment over it.
    pub fn load(config: Option<&Path>, given: &Given) -> Result<Settings, CommandError> {
        let path = match config {
            Some(path) => Some(path),
            None => default_files().into_iter().find(|path| path.exists()),
        };
        let file = path
            .map(ConfigFile::read)
            .transpose()
            .map_err(|error| CommandError::Usage(error.to_string()))?;
        let environment = |variable: &str| std::env::var(variable).ok();
        Settings::lay(file, given, &environment).map_err(CommandError::Usage)
    }

    fn lay(
        file: Option<ConfigFile>,
        given: &Given,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Settings, String> {
        let mut values = BTreeMap::new();
        for key in KEYS {
            let setting = given
                .values
                .get(key.name)
                .cloned()
                .or_else(|| from_file(file.as_ref(), key))
                .unwrap_or_else(|| Setting {
                    value: key.default.to_owned(),
                    origin: Origin::Default,
                });
            if setting.origin != Origin::Default {
                key.check(&setting.value)
                    .map_err(|reason| format!("{}: {reason}", name_of(key, &setting.origin)))?;
            }
            values.insert(key.name, setting);
        }
        let mut broker = table_of(file.as_ref(), |file| &file.broker);
        for (assignment, origin) in &given.broker {
            let (name, value) = assignment.split_once('=').ok_or_else(|| {
                format!("--set {assignment}: write NAME=VALUE, for example --set num.partitions=3")
            })?;
            let setting = Setting {
                value: value.trim().to_owned(),
                origin: origin.clone(),
            };
            broker.insert(name.trim().to_owned(), setting);
        }
        let nothing = ConfigFile::default();
        let of_file = file.as_ref().unwrap_or(&nothing);
        let kafka = KafkaSettings::lay(&of_file.kafka, &of_file.path, environment)?;
        let queue_mode = table_of(file.as_ref(), |file| &file.queue_mode);
        Ok(Settings {
            values,
            broker,
            kafka,
            queue_mode,
            file: file.map(|file| file.path),
        })
    }

    /// The setting called `name`.
    ///
    /// # Panics
    /// When there is none in the table: a programming error.
    pub fn get(&self, name: &str) -> &Setting {
        self.values
            .get(name)
            .expect("settings are asked for by a name of the table")
    }

    pub fn text(&self, name: &str) -> &str {
        &self.get(name).value
    }

    pub fn is_default(&self, name: &str) -> bool {
        self.get(name).origin == Origin::Default
    }

    pub fn port(&self, name: &str) -> u16 {
        self.text(name)
            .parse()
            .expect("ports were checked on the way in")
    }

    pub fn duration(&self, name: &str) -> Duration {
        parse_duration(self.text(name)).expect("durations were checked on the way in")
    }

    pub fn switch(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// Every setting in the order of the table, then Kafka's broker settings, the external cluster and the mode; no secret.
    pub fn all(&self) -> Vec<(String, Setting)> {
        let own = KEYS
            .iter()
            .map(|key| (key.name.to_owned(), self.get(key.name).clone()));
        let table = |table: &'static str, entries: &BTreeMap<String, Setting>| {
            let named = entries.iter().map(move |(name, setting)| {
                let setting: Setting = setting.clone();
                (format!("{table}.{name}"), setting)
            });
            named.collect::<Vec<_>>()
        };
        own.chain(self.kafka.shown())
            .chain(table(QUEUE_MODE, &self.queue_mode))
            .chain(table(BROKER_TABLE, &self.broker))
            .collect()
    }
}

/// A table of the file as settings with their origin.
fn table_of(
    file: Option<&ConfigFile>,
    table: impl Fn(&ConfigFile) -> &BTreeMap<String, Entry>,
) -> BTreeMap<String, Setting> {
    let Some(file) = file else {
        return BTreeMap::new();
    };
    let setting = |entry: &Entry| Setting {
        value: entry.value.clone(),
        origin: Origin::File(file.path.clone(), entry.line),
    };
    table(file)
        .iter()
        .map(|(name, entry)| (name.clone(), setting(entry)))
        .collect()
}

fn from_file(file: Option<&ConfigFile>, key: &Key) -> Option<Setting> {
    let file = file?;
    let entry = file.settings.get(key.name)?;
    Some(Setting {
        value: entry.value.clone(),
        origin: Origin::File(file.path.clone(), entry.line),
    })
}

fn name_of(key: &Key, origin: &Origin) -> String {
    match origin {
        Origin::Flag(flag) => flag.clone(),
        Origin::Environment(variable) => variable.clone(),
        Origin::File(path, line) => format!("{}:{line}: {}", path.display(), key.name),
        Origin::Default => key.name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &'static str, value: &str, origin: Origin) -> Given {
        let value = value.to_owned();
        Given {
            values: BTreeMap::from([(name, Setting { value, origin })]),
            broker: Vec::new(),
        }
    }

    fn file(text: &str) -> Option<ConfigFile> {
        Some(ConfigFile::parse(Path::new("f.toml"), text).expect("valid"))
    }

    #[test]
    fn flags_and_environment_win_over_the_file_and_it_over_defaults() {
        let flag = given("data", "flag", Origin::Flag("--data".into()));
        let settings =
            Settings::lay(file("data = \"file\"\nhttp_port = 1"), &flag, &|_| None).expect("valid");
        let origin =
            |name: &str| format!("{} from {}", settings.text(name), settings.get(name).origin);
        assert_eq!(origin("data"), "flag from flag --data");
        assert_eq!(origin("http_port"), "1 from f.toml:2");
        assert_eq!(origin("kafka_port"), "9092 from default");
    }

    #[test]
    fn set_wins_over_the_broker_table() {
        let mut given = Given::default();
        given
            .broker
            .push(("num.partitions=5".into(), Origin::Flag("--set".into())));
        let settings =
            Settings::lay(file("[broker]\nnum.partitions = 3"), &given, &|_| None).expect("valid");
        assert_eq!(settings.broker["num.partitions"].value, "5");
        assert_eq!(
            settings.all().last().expect("not empty").0,
            "broker.num.partitions"
        );
    }

    #[test]
    fn a_wrong_value_names_where_it_came_from() {
        let variable = Origin::Environment("THALWEG_HTTP_PORT".into());
        let error = Settings::lay(None, &given("http_port", "x", variable), &|_| None).unwrap_err();
        assert!(
            error.starts_with("THALWEG_HTTP_PORT: `x` is no port"),
            "{error}"
        );
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert_eq!(key.check(key.default), Ok(()), "{}", key.name);
        }
    }
}
