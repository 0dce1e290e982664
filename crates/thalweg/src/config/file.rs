//! Reading `thalweg.toml`: settings by name, the table `[broker]` with Kafka's own keys; anything else is an error with its line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, key};
use super::suggest::nearest;

/// The name of the table that holds Kafka's broker settings.
pub const BROKER_TABLE: &str = "broker";

/// A value and the line where it stands.
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
        ConfigFile::parse(path, &text)
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
            if name == BROKER_TABLE {
                file.broker = broker_table(value).map_err(|(at, reason)| error(at, reason))?;
                continue;
            }
            let key = key(name).ok_or_else(|| error(at, unknown_key(name)))?;
            let value = scalar(value).map_err(|reason| error(at, format!("{name}: {reason}")))?;
            key.check(&value)
                .map_err(|reason| error(at, format!("{name}: {reason}")))?;
            let line = line_of(at);
            file.settings.insert(name.to_owned(), Entry { value, line });
        }
        for entry in file.broker.values_mut() {
            entry.line = line_of(entry.line);
        }
        Ok(file)
    }
}

fn unknown_key(name: &str) -> String {
    let known = KEYS.iter().map(|key| key.name).chain([BROKER_TABLE]);
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

/// The entries of `[broker]`, with byte positions where lines will be. Dotted keys (`num.partitions = 3`) are tables to TOML;
/// they are put together again.
fn broker_table(value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, Entry>, (usize, String)> {
    let mut entries = BTreeMap::new();
    let Some(table) = value.get_ref().as_table() else {
        return Err((
            value.span().start,
            format!("`{BROKER_TABLE}` must be a table"),
        ));
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
