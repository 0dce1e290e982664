//! Dead letters: what a work queue has given up goes to `<topic>-dlt`, with where it came from and why.
//!
//! The letter has the record's key, value and headers as they were, and the headers that Kafka's own dead letters of share groups
//! have (KIP-1191), so that one look reads both; `timestamp` and `class` are ours. It is written before the message is settled: a
//! crash in between can double a letter and lose none.

use std::collections::HashSet;

use client::{ClientError, OutgoingRecord, Record};
use parking_lot::Mutex;

use super::leases::{Reason, Spot};
use crate::backend::Backend;

/// What follows the topic's name.
const SUFFIX: &str = "-dlt";
/// The longest reason that is kept.
pub const MOST_REASON_BYTES: usize = 4096;

/// Writes the dead letters of one group.
pub struct Letters {
    backend: Backend,
    group: String,
    /// Topics that are known to be there.
    ready: Mutex<HashSet<String>>,
}

impl Letters {
    pub fn of(backend: &Backend, group: &str) -> Letters {
        Letters {
            backend: backend.clone(),
            group: group.to_owned(),
            ready: Mutex::new(HashSet::new()),
        }
    }

    /// Stores the letter; returns when it is durable.
    ///
    /// # Errors
    /// Whatever keeps the topic from being created or the record from being stored.
    pub async fn write(
        &self,
        spot: &Spot,
        record: &Record,
        attempts: u32,
        reason: &Reason,
    ) -> Result<(), ClientError> {
        let topic = format!("{}{SUFFIX}", spot.topic);
        self.prepare(&topic, &spot.topic).await?;
        let headers = self.headers(spot, record, attempts, reason);
        let letter = OutgoingRecord {
            topic: &topic,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
            ..OutgoingRecord::default()
        };
        self.backend.producer()?.send(&letter)?.await?;
        Ok(())
    }

    /// Creates the topic when it is missing, with as many partitions as that of the record.
    async fn prepare(&self, topic: &str, source: &str) -> Result<(), ClientError> {
        if self.ready.lock().contains(topic) {
            return Ok(());
        }
        let partitions = self.backend.reader().topic(source).await?.partitions.len();
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        self.backend.ensure_topic(topic, partitions, &[]).await?;
        self.ready.lock().insert(topic.to_owned());
        Ok(())
    }

    fn headers(
        &self,
        spot: &Spot,
        record: &Record,
        attempts: u32,
        reason: &Reason,
    ) -> Vec<(String, Option<Vec<u8>>)> {
        let (class, message) = describe(reason);
        let about = [
            ("__dlq.errors.topic", spot.topic.to_string()),
            ("__dlq.errors.partition", spot.partition.to_string()),
            ("__dlq.errors.offset", spot.offset.to_string()),
            ("__dlq.errors.timestamp", record.timestamp_ms.to_string()),
            ("__dlq.errors.group", self.group.clone()),
            ("__dlq.errors.delivery.count", attempts.to_string()),
            ("__dlq.errors.class", class.to_owned()),
            ("__dlq.errors.message", message),
        ];
        let own = record
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_ref().map(|value| value.to_vec())));
        let about = about
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())));
        own.chain(about).collect()
    }
}

fn describe(reason: &Reason) -> (&'static str, String) {
    match reason {
        Reason::Expired => (
            "lease-expired",
            "no acknowledgement came before the lease ended".to_owned(),
        ),
        Reason::Refused(why) if why.is_empty() => {
            ("refused", "the client gave no reason".to_owned())
        }
        Reason::Refused(why) => ("refused", why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_why_in_the_clients_words() {
        assert_eq!(
            describe(&Reason::Refused("poison".to_owned())),
            ("refused", "poison".to_owned())
        );
        assert_eq!(describe(&Reason::Expired).0, "lease-expired");
        assert_eq!(
            describe(&Reason::Refused(String::new())).1,
            "the client gave no reason"
        );
    }
}
