//! Reading `thalweg.toml`: settings by name, the tables `[broker]` and `[kafka]` with Kafka's own keys, the documents' `[QueueMode]`;
//! anything else is an error with its line. The same from a JSON file is in `json.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::json;
use super::kafka::{self, KAFKA_TABLE};
use super::keys::{KEYS, key};
use super::suggest::nearest;

/// The name of the table that holds Kafka's broker settings.
pub const BROKER_TABLE: &str = "broker";

/// The documents' section with the three flags of a mode.
pub const QUEUE_MODE: &str = "QueueMode";

/// The flags of `QueueMode`, to the letter.
pub const QUEUE_MODE_FLAGS: [&str; 3] = ["UseInMemory", "UseKafka", "EnableHybridMode"];

/// A value and the line where it stands; 0 when that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: String,
    pub line: usize,
}

/// A configuration file, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub settings: BTreeMap<String, Entry>,
    pub broker: BTreeMap<String, Entry>,
    /// Properties of the external cluster, by Kafka's names.
    pub kafka: BTreeMap<String, Entry>,
    /// The flags of `QueueMode` that were given.
    pub queue_mode: BTreeMap<String, Entry>,
}

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: String },
    #[error("{}:{line}: {reason}", path.display())]
    At {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

impl ConfigFile {
    pub fn read(path: &Path) -> Result<ConfigFile, FileError> {
        let text = fs::read_to_string(path).map_err(|error| FileError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        match path.extension().is_some_and(|ending| ending == "json") {
            true => json::parse(path, &text),
            false => ConfigFile::parse(path, &text),
        }
    }

    pub fn parse(path: &Path, text: &str) -> Result<ConfigFile, FileError> {
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let error = |at: usize, reason: String| FileError::At {
            path: path.to_owned(),
            line: line_of(at),
            reason,
        };
        let document = DeTable::parse(text).map_err(|problem| {
            let at = problem.span().map_or(0, |span| span.start);
            error(at, problem.message().trim().to_owned())
        })?;
        let mut file = ConfigFile {
            path: path.to_owned(),
            ..ConfigFile::default()
        };
        for (name, value) in document.get_ref() {
            let at = name.span().start;
            let name = name.get_ref().as_ref();
            let is_table = value.get_ref().as_table().is_some();
            let table = match name {
                BROKER_TABLE => Some(&mut file.broker),
                // `kafka = "host:port"` is a setting, `[kafka]` a table.
                KAFKA_TABLE if is_table => Some(&mut file.kafka),
                QUEUE_MODE => Some(&mut file.queue_mode),
                _ => None,
            };
            if let Some(table) = table {
                *table = entries_of(name, value).map_err(|(at, reason)| error(at, reason))?;
                for (known, entry) in table.iter_mut() {
                    check_entry(name, known, &entry.value)
                        .map_err(|reason| error(entry.line, reason))?;
                    entry.line = line_of(entry.line);
                }
                continue;
            }
            let key = key(name).ok_or_else(|| error(at, unknown_key(name)))?;
            let value = scalar(value).map_err(|reason| error(at, format!("{name}: {reason}")))?;
            key.check(&value)
                .map_err(|reason| error(at, format!("{name}: {reason}")))?;
            let line = line_of(at);
            file.settings.insert(name.to_owned(), Entry { value, line });
        }
        Ok(file)
    }
}

/// Whether the table `table` may have this entry; what `[broker]` may have the broker knows.
pub(super) fn check_entry(table: &str, name: &str, value: &str) -> Result<(), String> {
    match table {
        KAFKA_TABLE => kafka::check_name(name),
        QUEUE_MODE if !QUEUE_MODE_FLAGS.contains(&name) => Err(format!(
            "unknown key `{name}` in [{QUEUE_MODE}]; the keys are {}",
            QUEUE_MODE_FLAGS.join(", ")
        )),
        QUEUE_MODE if value.parse::<bool>().is_err() => {
            Err(format!("{name}: `{value}` is neither true nor false"))
        }
        _ => Ok(()),
    }
}

pub(super) fn unknown_key(name: &str) -> String {
    let tables = [BROKER_TABLE, KAFKA_TABLE, QUEUE_MODE];
    let known = KEYS
        .iter()
        .map(|key| key.name)
        .chain(tables.into_iter().filter(|table| key(table).is_none()));
    match nearest(name, known.clone()) {
        Some(meant) => format!("unknown key `{name}`; did you mean `{meant}`?"),
        None if name.contains('.') => {
            format!(
                "unknown key `{name}`; Kafka's broker settings go into the table [{BROKER_TABLE}]"
            )
        }
        None => format!(
            "unknown key `{name}`; the keys are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The entries of a table, with byte positions where lines will be. Dotted keys (`num.partitions = 3`) are tables to TOML; they are
/// put together again.
fn entries_of(
    name: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, Entry>, (usize, String)> {
    let mut entries = BTreeMap::new();
    let Some(table) = value.get_ref().as_table() else {
        return Err((value.span().start, format!("`{name}` must be a table")));
    };
    collect("", table, &mut entries)?;
    Ok(entries)
}

fn collect(
    prefix: &str,
    table: &DeTable<'_>,
    entries: &mut BTreeMap<String, Entry>,
) -> Result<(), (usize, String)> {
    for (name, value) in table {
        let full = match prefix {
            "" => name.get_ref().to_string(),
            prefix => format!("{prefix}.{}", name.get_ref()),
        };
        if let Some(inner) = value.get_ref().as_table() {
            collect(&full, inner, entries)?;
            continue;
        }
        let at = name.span().start;
        let value = scalar(value).map_err(|reason| (at, format!("{full}: {reason}")))?;
        entries.insert(full, Entry { value, line: at });
    }
    Ok(())
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "the number is out of range".to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        other => Err(format!("a {} is not expected here", other.type_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(Path::new("thalweg.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_and_broker_keys_are_read_with_their_lines() {
        let file = parse("# ours\nkafka_port = 9192\nephemeral = true\n\n[broker]\nnum.partitions = 3\n\"log.retention.ms\" = 1000\n")
            .expect("valid");
        let entry = |value: &str, line| Entry {
            value: value.to_owned(),
            line,
        };
        assert_eq!(file.settings["kafka_port"], entry("9192", 2));
        assert_eq!(file.settings["ephemeral"], entry("true", 3));
        assert_eq!(file.broker["num.partitions"], entry("3", 6));
        assert_eq!(file.broker["log.retention.ms"], entry("1000", 7));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_line_and_suggestion() {
        let error = parse("data = \"x\"\nkafka_prot = 1\n").unwrap_err();
        assert_eq!(
            error,
            "thalweg.toml:2: unknown key `kafka_prot`; did you mean `kafka_port`?"
        );
        let error = parse("num.partitions = 1\n").unwrap_err();
        assert!(
            error.starts_with("thalweg.toml:1: unknown key `num`"),
            "{error}"
        );
        let error = parse("colour = 1\n").unwrap_err();
        assert!(error.contains("the keys are kafka, timeout"), "{error}");
    }

    #[test]
    fn the_cluster_and_the_mode_have_tables_of_their_own() {
        //
        let file = parse(
            "[kafka]\nbootstrap.servers = \"b:1\"\n[QueueMode]\nUseKafka = true\nUseInMemory = false\n",
        )
        .expect("valid");
        assert_eq!(file.kafka["bootstrap.servers"].value, "b:1");
        assert_eq!(file.queue_mode["UseKafka"].line, 4);
        let short = parse("kafka = \"b:1\"").expect("valid");
        assert_eq!(short.settings["kafka"].value, "b:1");
        let error = parse("[kafka]\nsasl.usrname = \"x\"").unwrap_err();
        assert!(error.starts_with("thalweg.toml:2: unknown key"), "{error}");
        let error = parse("[QueueMode]\nUseKafka = \"maybe\"").unwrap_err();
        assert!(error.contains("neither true nor false"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_an_error_with_its_line() {
        for (text, expected) in [
            (
                "kafka_port = 70000",
                "thalweg.toml:1: kafka_port: `70000` is no port",
            ),
            (
                "\nephemeral = \"yes\"",
                "thalweg.toml:2: ephemeral: `yes` is neither true nor false",
            ),
            ("bind = [1]", "thalweg.toml:1: bind: a array"),
            ("broker = 1", "thalweg.toml:1: `broker` must be a table"),
            ("a = ", "thalweg.toml:1: "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
