//! How far each partition has been forwarded, kept on the Kafka cluster in the same transactions as the records themselves.
//!
//! One compacted topic, one record a partition: the key is `<cluster id> <topic id> <partition>` of the embedded broker, the value
//! the offset to go on at. Topic ids, so that a topic that was deleted and made again starts anew; the cluster id, so that any
//! number of processes forward into one cluster. A record with another key is somebody else's and left alone.

use std::collections::HashMap;

use client::offsets::OffsetQuery;
use client::{ClientError, FetchLimits, Isolation, Position};

use crate::backend::Backend;

/// The topic on the Kafka cluster.
pub const TOPIC: &str = "_thalweg_forwarded";
const READ_BYTES: usize = 4 * 1024 * 1024;
const READ_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

/// A partition of the embedded broker: the id of its topic and its index.
pub type PartitionKey = (String, i32);

/// The offset to go on at, by partition; absent when nothing of it was forwarded.
pub type Progress = HashMap<PartitionKey, i64>;

/// The key of a partition's record.
pub fn key(cluster_id: &str, (topic_id, partition): &PartitionKey) -> String {
    format!("{cluster_id} {topic_id} {partition}")
}

fn parse(cluster_id: &str, key: &[u8], value: &[u8]) -> Option<(PartitionKey, i64)> {
    let mut parts = std::str::from_utf8(key).ok()?.split(' ');
    if parts.next() != Some(cluster_id) {
        return None;
    }
    let topic_id = parts.next()?.to_owned();
    let partition = parts.next()?.parse().ok()?;
    let offset = std::str::from_utf8(value).ok()?.parse().ok()?;
    parts
        .next()
        .is_none()
        .then_some(((topic_id, partition), offset))
}

/// Reads the progress of `cluster_id`. Call it after `init_transactions`: then no older transaction is open any more, and
/// what is committed is all there will be.
///
/// # Errors
/// The cluster does not answer.
pub async fn read(kafka: &Backend, cluster_id: &str) -> Result<Progress, ClientError> {
    let end = kafka.reader().offsets(TOPIC, OffsetQuery::Latest).await?;
    let end = end.get(&0).copied().unwrap_or(0);
    let start = kafka.reader().offsets(TOPIC, OffsetQuery::Earliest).await?;
    let mut next = start.get(&0).copied().unwrap_or(0);
    let limits = FetchLimits {
        max_bytes: READ_BYTES,
        max_wait: READ_WAIT,
        min_bytes: 1,
        isolation: Isolation::ReadCommitted,
    };
    let mut progress = Progress::new();
    while next < end {
        let from = [Position {
            partition: 0,
            offset: next,
        }];
        for fetched in kafka.reader().fetch(TOPIC, &from, limits).await? {
            if let Some(code) = fetched.error {
                return Err(ClientError::Client {
                    what: format!("reading {TOPIC}"),
                    reason: code.name().to_owned(),
                });
            }
            for record in &fetched.records {
                let (Some(key), Some(value)) = (&record.key, &record.value) else {
                    continue;
                };
                progress.extend(parse(cluster_id, key, value));
            }
            next = next.max(fetched.next_offset);
        }
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_and_others_are_left_alone() {
        let partition = ("bQ1-topic".to_owned(), 7);
        let written = key("cluster", &partition);
        let read =
            |cluster, key: &str, value: &str| parse(cluster, key.as_bytes(), value.as_bytes());
        assert_eq!(read("cluster", &written, "41"), Some((partition, 41)));
        assert_eq!(read("another", &written, "41"), None);
        assert_eq!(read("cluster", "cluster topic 7 x", "41"), None);
        assert_eq!(read("cluster", "cluster topic", "41"), None);
        assert_eq!(read("cluster", &written, "many"), None);
    }
}
