//! A message as a record: its content is the value, what else belongs to it is in three headers.
//!
//! Other Kafka clients read the content as it is. A record that another client wrote is a message too: its id is its place, and it
//! has no registered producer.

use client::Record;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::milliseconds;
use crate::backend::Source;

pub const ID: &str = "thalweg-id";
pub const PRODUCER: &str = "thalweg-producer";
pub const PUBLISHED_AT: &str = "thalweg-published-at";
/// Headers with this beginning are ours and not a publisher's to set.
pub const RESERVED: &str = "thalweg-";

/// A message that was consumed (G-10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = legacy::Message)]
pub struct Message {
    pub id: String,
    /// As text; what is no UTF-8 shows as `\u{fffd}`: `/v1` gives the bytes.
    pub content: String,
    pub topic_name: String,
    /// Null when another Kafka client produced it.
    pub producer_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    pub source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub headers: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The headers of a new message: ours, then the publisher's.
pub fn headers(
    id: &str,
    producer: &str,
    published_at: Timestamp,
    own: &[(String, String)],
) -> Vec<(String, Option<Vec<u8>>)> {
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let mut headers = Vec::with_capacity(3 + own.len());
    headers.push(header(ID, id));
    headers.push(header(PRODUCER, producer));
    headers.push(header(PUBLISHED_AT, &published_at.to_string()));
    headers.extend(own.iter().map(|(name, value)| header(name, value)));
    headers
}

/// The message that a record is.
pub fn message(topic: &str, partition: i32, record: &Record, source: Source) -> Message {
    let ours = |wanted: &str| {
        let mut named = record.headers.iter().filter(|(name, _)| name == wanted);
        named
            .next()
            .and_then(|(_, value)| value.as_deref())
            .map(text)
    };
    let published_at = ours(PUBLISHED_AT).and_then(|text| text.parse().ok());
    let stored_at = Timestamp::from_millisecond(record.timestamp_ms).unwrap_or_default();
    let own: serde_json::Map<String, serde_json::Value> = record
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(RESERVED))
        .map(|(name, value)| (name.clone(), value.as_deref().map(text).into()))
        .collect();
    Message {
        id: ours(ID).unwrap_or_else(|| format!("{topic}-{partition}-{}", record.offset)),
        content: record.value.as_deref().map(text).unwrap_or_default(),
        topic_name: topic.to_owned(),
        producer_id: ours(PRODUCER),
        timestamp: published_at.unwrap_or_else(|| milliseconds(stored_at)),
        source: source.title(),
        key: record.key.as_deref().map(text),
        headers: (!own.is_empty()).then_some(own),
    }
}

/// Bytes as text, as far as they are.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(headers: Vec<(String, Option<Vec<u8>>)>) -> Record {
        let headers = headers.into_iter();
        Record {
            offset: 7,
            timestamp_ms: 1_700_000_000_000,
            key: Some(Bytes::from_static(b"customer-1")),
            value: Some(Bytes::from_static("Order #12345 – iPhone".as_bytes())),
            headers: headers
                .map(|(name, value)| (name, value.map(Bytes::from)))
                .collect(),
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was_published() {
        // A-034, G-10
        let at: Timestamp = "2025-12-17T15:30:00Z".parse().expect("a time");
        let own = [("color".to_owned(), "red".to_owned())];
        let headers = headers("msg-1", "order-service", at, &own);
        let message = message("orders", 2, &record(headers), Source::Kafka);
        let expected = serde_json::json!({
            "id": "msg-1",
            "content": "Order #12345 – iPhone",
            "topicName": "orders",
            "producerId": "order-service",
            "timestamp": "2025-12-17T15:30:00Z",
            "source": "Kafka",
            "key": "customer-1",
            "headers": {"color": "red"},
        });
        assert_eq!(serde_json::to_value(message).expect("plain JSON"), expected);
    }

    #[test]
    fn a_record_of_another_client_is_named_by_its_place() {
        //
        let message = message("orders", 2, &record(Vec::new()), Source::InMemory);
        assert_eq!(message.id, "orders-2-7");
        assert_eq!(message.producer_id, None);
        assert_eq!(message.headers, None);
        assert_eq!(message.timestamp.to_string(), "2023-11-14T22:13:20Z");
    }
}
