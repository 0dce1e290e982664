//! A record as one line of JSON, the same shape out (`consume -o json`) and in (`produce --format ndjson`).
//!
//! A value that is a JSON object or array on one line is embedded byte for byte, other text is a string, null is null, and
//! bytes that are not UTF-8 become `value_base64`; keys and header values likewise, but never as embedded JSON. So what one
//! command prints, the other stores unchanged: numbers are never read, let alone rounded.

use client::time::parse_instant;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::template::RecordView;
use client::time::rfc3339;

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderLine<'a>>,
    #[serde(flatten)]
    key: Key<'a>,
    #[serde(flatten)]
    value: Value<'a>,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    key: &'a str,
    #[serde(flatten)]
    value: Value<'a>,
}

#[derive(Serialize)]
enum Key<'a> {
    #[serde(rename = "key")]
    Text(Option<&'a str>),
    #[serde(rename = "key_base64")]
    Base64(String),
}

#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "value")]
    Json(&'a RawValue),
    #[serde(rename = "value")]
    Text(Option<&'a str>),
    #[serde(rename = "value_base64")]
    Base64(String),
}

/// The record as one line, without the line break.
pub fn line(record: &RecordView<'_>) -> serde_json::Result<String> {
    serde_json::to_string(&Line {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp_ms.and_then(rfc3339),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| HeaderLine {
                key,
                value: text(*value),
            })
            .collect(),
        key: match text(record.key) {
            Value::Base64(encoded) => Key::Base64(encoded),
            Value::Text(text) => Key::Text(text),
            Value::Json(raw) => Key::Text(Some(raw.get())),
        },
        value: record
            .value
            .and_then(embedded)
            .unwrap_or_else(|| text(record.value)),
    })
}

fn text(bytes: Option<&[u8]>) -> Value<'_> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Text(None),
        Some((_, Ok(text))) => Value::Text(Some(text)),
        Some((bytes, Err(_))) => Value::Base64(base64::encode(bytes)),
    }
}

/// The bytes as JSON, if they are exactly one object or array on one line.
fn embedded(bytes: &[u8]) -> Option<Value<'_>> {
    let is_container = matches!((bytes.first()?, bytes.last()?), (b'{', b'}') | (b'[', b']'));
    if !is_container || bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return None;
    }
    serde_json::from_slice::<&RawValue>(bytes)
        .ok()
        .map(Value::Json)
}

/// A header's name and its value, which may be null.
pub type Header = (String, Option<Vec<u8>>);

/// A record as read from JSON: owned, ready to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
    pub partition: Option<i32>,
    pub timestamp_ms: Option<i64>,
}

/// `topic` and `offset` are what consume prints; produce knows better and ignores them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(default, borrow)]
    key: Option<&'a RawValue>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(default, borrow)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default, borrow)]
    headers: Option<&'a RawValue>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(default, rename = "topic")]
    _topic: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "offset")]
    _offset: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderDocument<'a> {
    key: String,
    #[serde(default, borrow)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
}

/// Reads one JSON document.
///
/// `key` and `value`: a string is its text, null is null, anything else is its JSON text byte for byte.
/// `headers`: a list of `{"key", "value"}` or one object. `timestamp`: RFC 3339 or milliseconds.
pub fn parse(text: &str) -> Result<ParsedRecord, String> {
    // serde would take a list as the fields in their order; nobody writes records like that on purpose.
    if !text.trim_start().starts_with('{') {
        return Err(
            "a record is a JSON object with key, value, headers, partition, timestamp".to_owned(),
        );
    }
    let document: Document<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(ParsedRecord {
        key: content("key", document.key, document.key_base64)?,
        value: content("value", document.value, document.value_base64)?,
        headers: document
            .headers
            .map(headers)
            .transpose()?
            .unwrap_or_default(),
        partition: document.partition,
        timestamp_ms: document.timestamp.map(timestamp).transpose()?.flatten(),
    })
}

fn content(
    name: &str,
    raw: Option<&RawValue>,
    encoded: Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    match (raw, encoded) {
        (Some(_), Some(_)) => Err(format!("give {name} or {name}_base64, not both")),
        (None, Some(encoded)) => base64::decode(&encoded)
            .map(Some)
            .ok_or_else(|| format!("{name}_base64 is not base64")),
        (None, None) => Ok(None),
        (Some(raw), None) if raw.get() == "null" => Ok(None),
        (Some(raw), None) if raw.get().starts_with('"') => {
            serde_json::from_str::<String>(raw.get())
                .map(|text| Some(text.into_bytes()))
                .map_err(|error| error.to_string())
        }
        (Some(raw), None) => Ok(Some(raw.get().as_bytes().to_vec())),
    }
}

fn headers(raw: &RawValue) -> Result<Vec<Header>, String> {
    if raw.get().starts_with('[') {
        let list: Vec<HeaderDocument<'_>> =
            serde_json::from_str(raw.get()).map_err(|error| format!("headers: {error}"))?;
        return list
            .into_iter()
            .map(|header| {
                Ok((
                    header.key,
                    content("value", header.value, header.value_base64)?,
                ))
            })
            .collect();
    }
    let map: std::collections::BTreeMap<String, Option<String>> =
        serde_json::from_str(raw.get()).map_err(|error| format!("headers: {error}"))?;
    Ok(map
        .into_iter()
        .map(|(key, value)| (key, value.map(String::into_bytes)))
        .collect())
}

fn timestamp(raw: &RawValue) -> Result<Option<i64>, String> {
    match raw.get() {
        "null" => Ok(None),
        text => parse_instant(text.trim_matches('"')).map(Some),
    }
}

/// Base64 with padding, RFC 4648.
mod base64 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let group = chunk.iter().enumerate().fold(0u32, |group, (index, byte)| {
                group | (u32::from(*byte) << (16 - 8 * index))
            });
            for index in 0..4 {
                let digit = ALPHABET[(group >> (18 - 6 * index)) as usize & 63];
                text.push(if index <= chunk.len() {
                    char::from(digit)
                } else {
                    '='
                });
            }
        }
        text
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let digits = text.trim_end_matches('=');
        if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
            return None;
        }
        let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
        let (mut group, mut bits) = (0u32, 0u32);
        for digit in digits.bytes() {
            let value = ALPHABET.iter().position(|known| *known == digit)?;
            group = (group << 6) | u32::try_from(value).ok()?;
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push(u8::try_from((group >> bits) & 0xff).ok()?);
            }
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(key: Option<&[u8]>, value: Option<&[u8]>) -> (String, ParsedRecord) {
        let view = RecordView {
            topic: "t",
            partition: 1,
            offset: 7,
            timestamp_ms: Some(1_000),
            key,
            value,
            headers: vec![("h", value), ("h", None)],
        };
        let line = line(&view).expect("a record is JSON");
        let parsed = parse(&line).expect("what consume prints, produce reads");
        (line, parsed)
    }

    #[test]
    fn what_consume_prints_produce_stores_unchanged() {
        let values: [Option<&[u8]>; 11] = [
            None,
            Some(b""),
            Some(b"hello"),
            Some(b"\"quoted\""),
            Some(b"null"),
            Some(b"12345678901234567890.10"),
            Some(br#"{"id":9007199254740993, "a" : [1]}"#),
            Some(b"{\n}"),
            Some(b"{broken}"),
            Some(b" {}"),
            Some(&[0xff, 0x00, 0x80]),
        ];
        for value in values {
            let (line, parsed) = round_trip(value, value);
            let owned = value.map(<[u8]>::to_vec);
            assert_eq!(parsed.value, owned, "{line}");
            assert_eq!(parsed.key, owned, "{line}");
            assert_eq!(
                parsed.headers,
                [("h".to_owned(), owned), ("h".to_owned(), None)]
            );
            assert_eq!(
                (parsed.partition, parsed.timestamp_ms),
                (Some(1), Some(1_000))
            );
        }
    }

    #[test]
    fn json_values_keep_their_bytes() {
        let (line, _) = round_trip(None, Some(br#"{"id":9007199254740993}"#));
        assert!(
            line.contains(r#""value":{"id":9007199254740993}"#),
            "{line}"
        );
    }

    #[test]
    fn headers_may_be_an_object() {
        let parsed = parse(r#"{"value":"v","headers":{"a":"1","b":null}}"#).expect("valid");
        let expected = [
            ("a".to_owned(), Some(b"1".to_vec())),
            ("b".to_owned(), None),
        ];
        assert_eq!(parsed.headers, expected);
    }

    #[test]
    fn unknown_fields_and_double_values_are_refused() {
        assert!(parse(r#"{"valeu":"v"}"#).unwrap_err().contains("valeu"));
        assert!(
            parse(r#"{"value":"v","value_base64":"dg=="}"#)
                .unwrap_err()
                .contains("not both")
        );
        assert!(parse(r#"{"value_base64":"?"}"#).is_err());
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64::encode(plain.as_bytes()), encoded);
            assert_eq!(base64::decode(encoded), Some(plain.as_bytes().to_vec()));
        }
        assert_eq!(base64::decode("Zg="), None);
    }
}
