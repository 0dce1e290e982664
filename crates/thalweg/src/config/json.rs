//! Reading the documents' JSON configuration: the sections `QueueMode` and `Kafka` beside settings by name.
//!
//! `Kafka` has Kafka's properties in .NET's spelling (`BootstrapServers`) or Kafka's own. The sections that every .NET service has
//! beside them are passed over; anything else is an error.

use std::path::Path;

use serde_json::{Map, Value};

use super::file::{
    BROKER_TABLE, ConfigFile, Entry, FileError, QUEUE_MODE, check_entry, unknown_key,
};
use super::kafka::{KAFKA_TABLE, name_of_json};
use super::keys::key;

/// Sections of a .NET service that say nothing to us.
const FOREIGN: [&str; 5] = [
    "Logging",
    "AllowedHosts",
    "Urls",
    "Kestrel",
    "ConnectionStrings",
];

/// The section `Kafka` of the documents.
const KAFKA_SECTION: &str = "Kafka";

pub fn parse(path: &Path, text: &str) -> Result<ConfigFile, FileError> {
    let refuse = |line: usize, reason: String| FileError::At {
        path: path.to_owned(),
        line,
        reason,
    };
    let document: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| refuse(error.line(), format!("this is no JSON object: {error}")))?;
    let mut file = ConfigFile {
        path: path.to_owned(),
        ..ConfigFile::default()
    };
    for (name, value) in &document {
        take(&mut file, name, value).map_err(|reason| refuse(line_of(text, name), reason))?;
    }
    Ok(file)
}

fn take(file: &mut ConfigFile, name: &str, value: &Value) -> Result<(), String> {
    let section = match name {
        QUEUE_MODE => Some((QUEUE_MODE, &mut file.queue_mode)),
        KAFKA_SECTION => Some((KAFKA_TABLE, &mut file.kafka)),
        KAFKA_TABLE if value.is_object() => Some((KAFKA_TABLE, &mut file.kafka)),
        BROKER_TABLE => Some((BROKER_TABLE, &mut file.broker)),
        _ if FOREIGN.contains(&name) => return Ok(()),
        _ => None,
    };
    let Some((table, entries)) = section else {
        let key = key(name).ok_or_else(|| unknown_key(name))?;
        let value = scalar(value).map_err(|reason| format!("{name}: {reason}"))?;
        key.check(&value)
            .map_err(|reason| format!("{name}: {reason}"))?;
        file.settings
            .insert(name.to_owned(), Entry { value, line: 0 });
        return Ok(());
    };
    let Value::Object(inner) = value else {
        return Err(format!("`{name}` must be an object"));
    };
    for (key, value) in inner {
        let known = match table == KAFKA_TABLE && key.starts_with(char::is_uppercase) {
            true => name_of_json(key),
            false => key.clone(),
        };
        let value = scalar(value).map_err(|reason| format!("{name}.{key}: {reason}"))?;
        check_entry(table, &known, &value)?;
        entries.insert(known, Entry { value, line: 0 });
    }
    Ok(())
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("a text, a number or true or false is expected here".to_owned()),
    }
}

/// The line on which the member `name` begins: the first that has it in quotation marks.
fn line_of(text: &str, name: &str) -> usize {
    let quoted = format!("\"{name}\"");
    1 + text
        .lines()
        .position(|line| line.contains(&quoted))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<ConfigFile, String> {
        parse(Path::new("appsettings.json"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documents_file_is_read_as_it_stands() {
        // A-003, A-012
        let file = parse_text(
            r#"{"QueueMode": {"UseInMemory": true, "UseKafka": true, "EnableHybridMode": true},
                "Kafka": {"BootstrapServers": "b:9092", "SecurityProtocol": "SASL_SSL", "SaslMechanism": "PLAIN"},
                "Logging": {"LogLevel": {"Default": "Information"}}}"#,
        )
        .expect("valid");
        assert_eq!(file.queue_mode["EnableHybridMode"].value, "true");
        assert_eq!(file.kafka["bootstrap.servers"].value, "b:9092");
        assert_eq!(file.kafka["sasl.mechanism"].value, "PLAIN");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_line() {
        let error = parse_text("{\n \"QueueMode\": {\"UseKafka\": 7}}").unwrap_err();
        assert_eq!(
            error,
            "appsettings.json:2: UseKafka: `7` is neither true nor false"
        );
        let error = parse_text("{\n \"kafka_prot\": 1}").unwrap_err();
        assert!(error.contains(":2: unknown key `kafka_prot`"), "{error}");
        assert!(parse_text("[]").is_err());
    }
}
