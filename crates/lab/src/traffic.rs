//! Records in and out: sends a list and tells where each record went, reads partitions to their ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{ClientError, Consumer, Event, IncomingRecord, OutgoingRecord, Position};
use serde::Serialize;
use wire::ErrorCode;

use crate::session::Session;

const POLL: Duration = Duration::from_millis(20);

/// What every producer of the lab is: nothing lost, nothing twice, keys to partitions as Java's clients do.
pub(crate) const PRODUCER: [(&str, &str); 3] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("partitioner", "murmur2_random"),
];

/// A record to send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    /// Chosen by key when absent.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
}

impl Outgoing {
    pub(crate) fn keyed(key: &str, value: &str) -> Outgoing {
        Outgoing {
            partition: None,
            key: Some(key.to_owned()),
            value: value.as_bytes().to_vec(),
        }
    }
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Placed {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    #[serde(skip)]
    pub(crate) value: String,
}

impl Seen {
    pub(crate) fn of(record: &IncomingRecord<'_>) -> Seen {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Seen {
            partition: record.partition(),
            offset: record.offset(),
            key: record.key().map(text),
            value: record.value().map(text).unwrap_or_default(),
        }
    }

    /// The line of the consumer's log.
    pub(crate) fn line(&self) -> String {
        format!(
            "partition={} offset={} key={} {}",
            self.partition,
            self.offset,
            self.key.as_deref().unwrap_or("null"),
            self.value
        )
    }
}

/// The next event, if one comes soon. A broker that has not heard of a new topic yet is no error: librdkafka asks again.
pub(crate) fn poll(consumer: &Consumer) -> Result<Option<Event<'_>>, ClientError> {
    match consumer.poll(POLL) {
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        answer => answer,
    }
}

/// Deliveries by the number of their record.
type Deliveries = Arc<Mutex<Vec<Option<Result<Placed, ClientError>>>>>;

impl Session<'_> {
    /// Sends the records in order and waits for all of them; gives where each went. `properties` come after the lab's own.
    pub(crate) fn send(
        &self,
        topic: &str,
        records: &[Outgoing],
        properties: &[(&str, &str)],
    ) -> Result<Vec<Placed>, ClientError> {
        let deliveries = Deliveries::default();
        deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .resize_with(records.len(), || None);
        let noted = Arc::clone(&deliveries);
        let properties = [&PRODUCER[..], properties].concat();
        let producer = self.cluster.producer(&properties, move |delivery| {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            let placed = Placed {
                partition: delivery.partition,
                offset: delivery.offset,
            };
            if let Some(place) = noted.get_mut(delivery.token) {
                *place = Some(delivery.error.map_or(Ok(placed), Err));
            }
        })?;
        for (index, record) in records.iter().enumerate() {
            let outgoing = OutgoingRecord {
                topic,
                partition: record.partition,
                key: record.key.as_deref().map(str::as_bytes),
                value: Some(&record.value),
                ..OutgoingRecord::default()
            };
            producer.send(&outgoing, index)?;
        }
        producer.flush(self.remaining()?)?;
        drop(producer);
        let mut deliveries = deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || ClientError::Client {
            what: format!("sending to {topic}"),
            reason: "a record was neither delivered nor refused".to_owned(),
        };
        deliveries
            .drain(..)
            .map(|delivery| delivery.unwrap_or_else(|| Err(missing())))
            .collect()
    }

    /// Reads these partitions from their beginning to where they end when the reader comes there, in the order in which the
    /// records come.
    pub(crate) fn read(
        &self,
        topic: &str,
        partitions: &[i32],
        isolation: &str,
    ) -> Result<Vec<Seen>, ClientError> {
        let properties = [
            ("enable.partition.eof", "true"),
            ("isolation.level", isolation),
        ];
        let consumer = self.cluster.consumer(&properties)?;
        let positions: Vec<Position> = partitions
            .iter()
            .map(|partition| Position {
                partition: *partition,
                offset: 0,
            })
            .collect();
        consumer.assign(topic, &positions)?;
        let mut open: Vec<i32> = partitions.to_vec();
        let mut seen = Vec::new();
        while !open.is_empty() {
            self.remaining()?;
            match poll(&consumer)? {
                Some(Event::Record(record)) => seen.push(Seen::of(&record)),
                Some(Event::EndOfPartition(ended)) => open.retain(|partition| *partition != ended),
                None => {}
            }
        }
        Ok(seen)
    }
}
