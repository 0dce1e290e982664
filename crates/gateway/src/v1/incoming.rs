//! Records as clients write them: a JSON document with many, a line with one, or a bare body.
//!
//! A `value` is kept byte for byte as it stands in the request: it is found, never read, so that no number is rounded and no key
//! reordered. The document is read once, and what needs no decoding is borrowed from the body. Used by `produce.rs`.

use std::borrow::Cow;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::OutgoingRecord;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::request::parse_json;
use crate::problem::Problem;
use crate::traceparent::{self, TraceParent};
use client::time::parse_instant;

/// More records in one request wait too long for each other; a stream takes any number.
pub const MOST_RECORDS: usize = 10_000;
const MOST_HEADERS: usize = 1_000;

/// A header's name and its value, which may be null.
pub type Header = (String, Option<Vec<u8>>);

/// A record that is ready to be sent, borrowed from the request where possible.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Incoming<'a> {
    pub key: Option<Cow<'a, [u8]>>,
    pub value: Option<Cow<'a, [u8]>>,
    pub headers: Vec<Header>,
    pub partition: Option<i32>,
    pub timestamp_ms: Option<i64>,
}

impl Incoming<'_> {
    pub fn outgoing<'b>(&'b self, topic: &'b str) -> OutgoingRecord<'b> {
        OutgoingRecord {
            topic,
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            timestamp_ms: self.timestamp_ms,
            headers: &self.headers,
        }
    }

    /// Notes whose work the record is part of, unless it says so itself.
    pub fn carry_on(&mut self, trace: Option<TraceParent>) {
        let Some(trace) = trace else { return };
        if !self
            .headers
            .iter()
            .any(|(name, _)| name == traceparent::NAME)
        {
            let value = trace.to_string().into_bytes();
            self.headers
                .push((traceparent::NAME.to_owned(), Some(value)));
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    #[serde(borrow)]
    records: Vec<RecordDocument<'a>>,
}

/// Text that is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordDocument<'a> {
    #[serde(default, borrow)]
    key: Option<Text<'a>>,
    #[serde(default, borrow)]
    key_base64: Option<Text<'a>>,
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default, borrow)]
    value_text: Option<Text<'a>>,
    #[serde(default, borrow)]
    value_base64: Option<Text<'a>>,
    #[serde(default, borrow)]
    headers: Option<HeadersDocument<'a>>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
}

/// `null` is a value, and not the absence of one.
fn present<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(json).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderDocument<'a> {
    key: String,
    #[serde(default, borrow)]
    value: Option<Text<'a>>,
    #[serde(default, borrow)]
    value_base64: Option<Text<'a>>,
}

/// An object, or a list where names repeat or values are not text.
enum HeadersDocument<'a> {
    Object(Vec<Header>),
    List(Vec<HeaderDocument<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for HeadersDocument<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Visitor<'a> {
            type Value = HeadersDocument<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings, or a list of {key, value}")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
                    headers.push((name, value.map(String::into_bytes)));
                }
                Ok(HeadersDocument::Object(headers))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = list.next_element::<HeaderDocument<'a>>()? {
                    headers.push(header);
                }
                Ok(HeadersDocument::List(headers))
            }
        }
        json.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// All records of `{"records": […]}`.
///
/// # Errors
/// `bad-request` for what is no JSON, `invalid` with a pointer for any record that is not right: then none is sent.
pub fn parse_document(json: &[u8]) -> Result<Vec<Incoming<'_>>, Problem> {
    let Document { records } = parse_json(json)?;
    if records.is_empty() || records.len() > MOST_RECORDS {
        let detail = format!(
            "{} records, but 1 to {MOST_RECORDS} can be sent; more as application/x-ndjson",
            records.len()
        );
        return Err(Problem::invalid("/records", detail));
    }
    let read =
        |(index, record)| incoming(record).map_err(|wrong| wrong.at(&format!("/records/{index}")));
    records.into_iter().enumerate().map(read).collect()
}

/// The one record of a line.
///
/// # Errors
/// As [`parse_document`].
pub fn parse_line(json: &[u8]) -> Result<Incoming<'_>, Problem> {
    incoming(parse_json(json)?).map_err(|wrong| wrong.at(""))
}

/// What is wrong with one field of a record.
struct Wrong {
    field: &'static str,
    detail: String,
}

impl Wrong {
    fn new(field: &'static str, detail: impl Into<String>) -> Wrong {
        let detail = detail.into();
        Wrong { field, detail }
    }

    fn at(self, record: &str) -> Problem {
        Problem::invalid(format!("{record}{}", self.field), self.detail)
    }
}

fn incoming(document: RecordDocument<'_>) -> Result<Incoming<'_>, Wrong> {
    Ok(Incoming {
        key: key(document.key, document.key_base64)?,
        value: value(document.value, document.value_text, document.value_base64)?,
        headers: document
            .headers
            .map(headers)
            .transpose()?
            .unwrap_or_default(),
        partition: document.partition,
        timestamp_ms: document.timestamp.map(timestamp).transpose()?,
    })
}

fn key<'a>(
    text: Option<Text<'a>>,
    base64: Option<Text<'a>>,
) -> Result<Option<Cow<'a, [u8]>>, Wrong> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(Wrong::new(
            "",
            "a record has `key` or `key_base64`, not both",
        )),
        (Some(text), None) => Ok(Some(bytes_of(text))),
        (None, Some(encoded)) => decode("/key_base64", &encoded).map(Some),
        (None, None) => Ok(None),
    }
}

fn value<'a>(
    json: Option<&'a RawValue>,
    text: Option<Text<'a>>,
    base64: Option<Text<'a>>,
) -> Result<Option<Cow<'a, [u8]>>, Wrong> {
    match (json, text, base64) {
        (Some(json), None, None) if json.get() == "null" => Ok(None),
        (Some(json), None, None) => Ok(Some(Cow::Borrowed(json.get().as_bytes()))),
        (None, Some(text), None) => Ok(Some(bytes_of(text))),
        (None, None, Some(encoded)) => decode("/value_base64", &encoded).map(Some),
        _ => {
            let detail = "a record has exactly one of `value` (JSON, null for a tombstone), `value_text` and `value_base64`";
            Err(Wrong::new("", detail))
        }
    }
}

fn bytes_of(text: Text<'_>) -> Cow<'_, [u8]> {
    match text.0 {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn decode<'a>(field: &'static str, encoded: &Text<'_>) -> Result<Cow<'a, [u8]>, Wrong> {
    let decoded = STANDARD.decode(encoded.0.as_bytes());
    decoded
        .map(Cow::Owned)
        .map_err(|error| Wrong::new(field, format!("no base64 (RFC 4648, padded): {error}")))
}

fn headers(document: HeadersDocument<'_>) -> Result<Vec<Header>, Wrong> {
    let headers = match document {
        HeadersDocument::Object(headers) => headers,
        HeadersDocument::List(list) => list.into_iter().map(header).collect::<Result<_, _>>()?,
    };
    match headers.len() > MOST_HEADERS {
        true => Err(Wrong::new(
            "/headers",
            format!("more than {MOST_HEADERS} headers"),
        )),
        false => Ok(headers),
    }
}

fn header(document: HeaderDocument<'_>) -> Result<Header, Wrong> {
    let value = match (document.value, document.value_base64) {
        (Some(_), Some(_)) => {
            let detail = "a header has `value` or `value_base64`, not both";
            return Err(Wrong::new("/headers", detail));
        }
        (Some(text), None) => Some(bytes_of(text).into_owned()),
        (None, Some(encoded)) => Some(decode("/headers", &encoded)?.into_owned()),
        (None, None) => None,
    };
    Ok((document.key, value))
}

/// RFC 3339 or milliseconds since 1970.
fn timestamp(json: &RawValue) -> Result<i64, Wrong> {
    let text = json.get();
    let wrong = |detail| Wrong::new("/timestamp", detail);
    let ms = match text.strip_prefix('"') {
        None => text
            .parse()
            .map_err(|_| "not a number of milliseconds since 1970".to_owned()),
        Some(rest) => parse_instant(rest.trim_end_matches('"')),
    };
    ms.and_then(storable).map_err(wrong)
}

/// A time that a record can have: librdkafka takes 0 for no time.
fn storable(ms: i64) -> Result<i64, String> {
    match ms > 0 {
        true => Ok(ms),
        false => Err("times up to 1970 cannot be stored".to_owned()),
    }
}

/// A body that is one value as it is; key, partition, time and headers are HTTP headers.
///
/// # Errors
/// `bad-request` for a partition or a time that is none.
pub fn bare<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Result<Incoming<'a>, Problem> {
    use super::request::bad_parameter;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let partition = text("record-partition").map(|text| {
        let wrong = |_| bad_parameter("Record-Partition", "not a partition's number");
        text.parse::<i32>().map_err(wrong)
    });
    let timestamp_ms = text("record-timestamp").map(|text| {
        let ms = parse_instant(text).and_then(storable);
        ms.map_err(|detail| bad_parameter("Record-Timestamp", detail))
    });
    let prefix = "record-header-";
    let named = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(prefix)?;
        Some((name.to_owned(), Some(value.as_bytes().to_vec())))
    });
    Ok(Incoming {
        key: headers
            .get("record-key")
            .map(|key| Cow::Borrowed(key.as_bytes())),
        value: Some(Cow::Borrowed(body)),
        headers: named.collect(),
        partition: partition.transpose()?,
        timestamp_ms: timestamp_ms.transpose()?,
    })
}

/// Records to store, in order.
#[derive(ToSchema)]
#[schema(as = ProduceRequest)]
#[allow(dead_code, reason = "describes what parse_document reads")]
pub struct ProduceRequest {
    #[schema(min_items = 1, max_items = 10000)]
    records: Vec<NewRecord>,
}

/// One record; exactly one of `value`, `value_text` and `value_base64`.
#[derive(ToSchema)]
#[schema(as = NewRecord)]
#[allow(dead_code, reason = "describes what parse_document reads")]
pub struct NewRecord {
    /// Any JSON, stored byte for byte as it stands here; null is a tombstone.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<()>,
    /// Stored as UTF-8.
    value_text: Option<String>,
    /// Stored decoded (RFC 4648, padded).
    value_base64: Option<String>,
    /// Stored as UTF-8; records of one key go to one partition.
    key: Option<String>,
    key_base64: Option<String>,
    /// An object of strings, or a list of `{key, value}` or `{key, value_base64}` where names repeat or values are not text.
    #[schema(value_type = Option<serde_json::Value>)]
    headers: Option<()>,
    /// Chosen by the key when absent, with Kafka's murmur2.
    partition: Option<i32>,
    /// RFC 3339 or milliseconds since 1970; now when absent.
    #[schema(value_type = Option<serde_json::Value>)]
    timestamp: Option<()>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{BAD_REQUEST, INVALID};

    #[test]
    fn a_json_value_is_kept_byte_for_byte() {
        let json = r#"{"records":[{"value": {"id":12345678901234567890, "b" : 1.10,"a":[ ]} ,"key":"k\u00e9y"}]}"#;
        let records = parse_document(json.as_bytes()).expect("one record");
        let expected: &[u8] = br#"{"id":12345678901234567890, "b" : 1.10,"a":[ ]}"#;
        assert_eq!(records[0].value.as_deref(), Some(expected));
        assert_eq!(records[0].key.as_deref(), Some("kéy".as_bytes()));
        assert!(matches!(records[0].value, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        for (json, expected) in [
            (r#"{"value":null}"#, None),
            (r#"{"value_text":"null"}"#, Some(&b"null"[..])),
            (r#"{"value":"s"}"#, Some(b"\"s\"")),
            (r#"{"value_text":""}"#, Some(b"")),
            (r#"{"value_base64":"AP8="}"#, Some(b"\x00\xff")),
        ] {
            let record = parse_line(json.as_bytes()).expect(json);
            assert_eq!(record.value.as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn headers_are_an_object_or_a_list() {
        let expected = [
            ("a".to_owned(), Some(b"1".to_vec())),
            ("n".to_owned(), None),
        ];
        for json in [
            r#"{"value":1,"headers":{"a":"1","n":null}}"#,
            r#"{"value":1,"headers":[{"key":"a","value_base64":"MQ=="},{"key":"n"}]}"#,
        ] {
            let record = parse_line(json.as_bytes()).expect(json);
            assert_eq!(record.headers, expected, "{json}");
        }
    }

    #[test]
    fn times_are_rfc_3339_or_milliseconds() {
        for json in [
            r#"{"value":1,"timestamp":1000}"#,
            r#"{"value":1,"timestamp":"1970-01-01T00:00:01Z"}"#,
        ] {
            let record = parse_line(json.as_bytes()).expect(json);
            assert_eq!(record.timestamp_ms, Some(1000), "{json}");
        }
    }

    #[test]
    fn a_record_that_is_not_right_is_pointed_at() {
        for (record, pointer) in [
            ("{}", "/records/1"),
            (r#"{"value":1,"value_text":"x"}"#, "/records/1"),
            (r#"{"value":1,"key":"a","key_base64":"YQ=="}"#, "/records/1"),
            (r#"{"value":1,"key":7}"#, "/records/1/key"),
            (r#"{"value":1,"partition":"0"}"#, "/records/1/partition"),
            (r#"{"value":1,"valeu":2}"#, "/records/1/valeu"),
            (r#"{"value_base64":"A"}"#, "/records/1/value_base64"),
            (r#"{"value":1,"timestamp":"noon"}"#, "/records/1/timestamp"),
            (r#"{"value":1,"timestamp":0}"#, "/records/1/timestamp"),
            (r#"{"value":1,"headers":7}"#, "/records/1/headers"),
            (r#"{"value":1,"headers":{"a":1}}"#, "/records/1/headers/a"),
        ] {
            let json = format!(r#"{{"records":[{{"value":0}},{record}]}}"#);
            let problem = parse_document(json.as_bytes()).expect_err(record);
            assert_eq!(problem.kind, INVALID, "{record}");
            assert_eq!(problem.errors[0].pointer, pointer, "{record}");
        }
    }

    #[test]
    fn none_and_too_many_records_are_refused() {
        let many = format!(r#"{{"records":[{}{{}}]}}"#, "{},".repeat(MOST_RECORDS));
        for json in [r#"{"records":[]}"#, &many] {
            let problem = parse_document(json.as_bytes()).expect_err("no legal count");
            assert_eq!(problem.errors[0].pointer, "/records");
        }
        let cut = parse_document(br#"{"records":[{"value":1}"#).expect_err("cut off");
        assert_eq!(cut.kind, BAD_REQUEST);
    }

    #[test]
    fn a_bare_body_has_its_key_and_headers_in_http_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("record-key", "k".parse().expect("a header"));
        headers.insert("record-header-source", "curl".parse().expect("a header"));
        headers.insert("record-partition", "2".parse().expect("a header"));
        let record = bare(&headers, b"\x00\x01").expect("legal headers");
        assert_eq!(record.value.as_deref(), Some(&b"\x00\x01"[..]));
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.partition, Some(2));
        assert_eq!(
            record.headers,
            [("source".to_owned(), Some(b"curl".to_vec()))]
        );
        headers.insert("record-partition", "two".parse().expect("a header"));
        assert!(bare(&headers, b"").is_err());
    }

    #[test]
    fn a_bare_body_has_no_time_that_a_document_could_not_have() {
        for (time, ms) in [
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("1970-01-01T00:00:00Z", None),
            ("1969-12-31T00:00:00Z", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("record-timestamp", time.parse().expect("a header"));
            let read = bare(&headers, b"x").map(|record| record.timestamp_ms);
            assert_eq!(read.ok().flatten(), ms, "{time}");
        }
    }
}
