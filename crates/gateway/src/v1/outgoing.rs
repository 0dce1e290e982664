//! Records as they are given to clients: JSON as it is stored, text, or base64; never through a number type.
//!
//! A value that is JSON is embedded byte for byte as `value`; other UTF-8 is `value_text`, other bytes are `value_base64`, and null,
//! a tombstone, is `"value":null` (the four bytes `null` are `value_text`). What is read can be produced again and is the same
//! bytes. Used by reads and live streams.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::Record;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::outcome::TimeWriter;

/// Whether values are looked into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// JSON, else text, else base64.
    #[default]
    Auto,
    /// Always base64.
    None,
}

/// A record with its place.
#[derive(ToSchema)]
#[schema(as = Record)]
#[allow(dead_code, reason = "describes what write_record writes")]
pub struct RecordBody {
    /// In streams of several topics.
    topic: Option<String>,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    /// The value as it is stored, when it is JSON; null for a tombstone.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<()>,
    value_text: Option<String>,
    value_base64: Option<String>,
    headers: Option<Vec<HeaderBody>>,
}

/// A header of a record; names may repeat.
#[derive(ToSchema)]
#[schema(as = Header)]
#[allow(dead_code, reason = "describes what write_record writes")]
pub struct HeaderBody {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

/// Writes records one after the other.
#[derive(Default)]
pub struct RecordWriter {
    time: TimeWriter,
}

impl RecordWriter {
    /// Appends the record as one JSON object.
    pub fn write(&mut self, out: &mut Vec<u8>, place: Origin<'_>, record: &Record, decode: Decode) {
        out.push(b'{');
        if let Some(topic) = place.topic {
            out.extend_from_slice(b"\"topic\":");
            write_string(out, topic);
            out.push(b',');
        }
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "\"partition\":{},\"offset\":{}",
            place.partition, record.offset
        );
        if let Some(text) = self.time.text(record.timestamp_ms) {
            let _ = write!(out, ",\"timestamp\":\"{text}\"");
        }
        out.push(b',');
        write_text(out, "key", record.key.as_deref(), decode);
        out.push(b',');
        write_value(out, record.value.as_deref(), decode);
        if !record.headers.is_empty() {
            write_headers(out, &record.headers, decode);
        }
        out.push(b'}');
    }
}

/// Where a record is, besides its offset.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Written only where records of several topics are mixed.
    pub topic: Option<&'a str>,
    pub partition: i32,
}

fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>, decode: Decode) {
    let json = value.filter(|_| decode == Decode::Auto).and_then(as_json);
    match (value, json) {
        (None, _) => out.extend_from_slice(b"\"value\":null"),
        (Some(_), Some(json)) => {
            out.extend_from_slice(b"\"value\":");
            out.extend_from_slice(json.as_bytes());
        }
        (Some(bytes), None) => match text(bytes, decode) {
            Some(text) => {
                out.extend_from_slice(b"\"value_text\":");
                write_string(out, text);
            }
            None => write_base64(out, "value", bytes),
        },
    }
}

/// The bytes as JSON, when they are exactly one document; `null` is told apart from a tombstone.
pub fn as_json(bytes: &[u8]) -> Option<&str> {
    // Most text is no JSON: a look at the first byte spares the parser.
    let may_be = matches!(
        bytes.first()?,
        b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f'
    );
    if !may_be {
        return None;
    }
    let raw: &RawValue = serde_json::from_slice(bytes).ok()?;
    // Blanks around the document would be lost.
    (raw.get().len() == bytes.len()).then(|| raw.get())
}

fn text(bytes: &[u8], decode: Decode) -> Option<&str> {
    match decode {
        Decode::Auto => std::str::from_utf8(bytes).ok(),
        Decode::None => None,
    }
}

fn write_text(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>, decode: Decode) {
    match bytes.map(|bytes| (bytes, text(bytes, decode))) {
        None => {
            let _ = write!(out, "\"{name}\":null");
        }
        Some((_, Some(text))) => {
            let _ = write!(out, "\"{name}\":");
            write_string(out, text);
        }
        Some((bytes, None)) => write_base64(out, name, bytes),
    }
}

fn write_base64(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let _ = write!(out, "\"{name}_base64\":\"{}\"", STANDARD.encode(bytes));
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text is JSON");
}

fn write_headers(out: &mut Vec<u8>, headers: &[(String, Option<bytes::Bytes>)], decode: Decode) {
    out.extend_from_slice(b",\"headers\":[");
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"key\":");
        write_string(out, name);
        out.push(b',');
        write_text(out, "value", value.as_deref(), decode);
        out.push(b'}');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::incoming::parse_line;
    use super::*;

    fn record(value: Option<&[u8]>) -> Record {
        let value = value.map(Bytes::copy_from_slice);
        Record {
            offset: 7,
            timestamp_ms: 1,
            key: value.clone(),
            headers: vec![("h".to_owned(), value.clone()), ("h".to_owned(), None)],
            value,
        }
    }

    fn written(record: &Record, decode: Decode) -> String {
        let mut out = Vec::new();
        let place = Origin {
            topic: None,
            partition: 2,
        };
        RecordWriter::default().write(&mut out, place, record, decode);
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn a_record_has_its_place_time_and_headers() {
        let expected = concat!(
            r#"{"partition":2,"offset":7,"timestamp":"1970-01-01T00:00:00.001Z","key":"{\"a\":1.0}","#,
            r#""value":{"a":1.0},"headers":[{"key":"h","value":"{\"a\":1.0}"},{"key":"h","value":null}]}"#
        );
        assert_eq!(
            written(&record(Some(br#"{"a":1.0}"#)), Decode::Auto),
            expected
        );
    }

    #[test]
    fn what_is_read_can_be_produced_again_and_is_the_same_bytes() {
        let values: [Option<&[u8]>; 12] = [
            None,
            Some(b""),
            Some(b"plain"),
            Some(b"null"),
            Some(b" {} "),
            Some(b"\"s\""),
            Some(b"12345678901234567890.10"),
            Some(br#"{"id":9007199254740993, "a" : [1]}"#),
            Some(b"{\"a\":\n1}"),
            Some(b"\xff\x00"),
            Some("{\"\u{e9}\":true}".as_bytes()),
            Some(b"{broken"),
        ];
        for value in values {
            for decode in [Decode::Auto, Decode::None] {
                let json = written(&record(value), decode);
                let mut object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(&json).expect("JSON");
                for place in ["partition", "offset", "timestamp"] {
                    object.remove(place);
                }
                let rest = json.replacen(
                    r#""partition":2,"offset":7,"timestamp":"1970-01-01T00:00:00.001Z","#,
                    "",
                    1,
                );
                let parsed = parse_line(rest.as_bytes()).expect("what is read can be produced");
                assert_eq!(parsed.value.as_deref(), value, "{json}");
                assert_eq!(parsed.key.as_deref(), value, "{json}");
                assert_eq!(parsed.headers[0].1.as_deref(), value, "{json}");
            }
        }
    }

    #[test]
    fn a_tombstone_and_a_json_null_differ() {
        assert!(written(&record(None), Decode::Auto).contains(r#""value":null"#));
        assert!(written(&record(Some(b"null")), Decode::Auto).contains(r#""value_text":"null""#));
    }
}
