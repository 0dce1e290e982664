//! A table whose rows are the records of one compacted topic: how the platform keeps its own state on any cluster.
//!
//! What it keeps true: every process that reads the topic has the same rows, because rows change only by applying its records in
//! order; a change is told as done after this process has applied it, so whoever writes reads his own write. An insert is decided by
//! the order in the log, so of two processes that insert the same key one wins. Used by the registry of the legacy API and by
//! idempotency keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::offsets::OffsetQuery;
use client::{
    ClientError, FetchLimits, FetchedPartition, Isolation, OutgoingRecord, Position, Record,
};
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::ErrorCode;

use crate::backend::Backend;
use crate::clock;

/// The header that makes a record an insert: it changes nothing when the key has a row already.
const INSERT: &str = "insert";
/// The longest wait of one fetch, and how soon a table notices that nobody needs it any more.
const POLL: Duration = Duration::from_secs(5);
/// The pause after a fetch that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long a caller waits for the rows to be read, or for its own change to be applied.
const APPLY_LIMIT: Duration = Duration::from_secs(10);
/// By how much clocks may differ when a row that is over is replaced.
const EXPIRY_GRACE_MS: i64 = 60_000;

/// What a table is kept in, and how large it may grow.
#[derive(Debug, Clone)]
pub struct TableSettings {
    pub topic: &'static str,
    /// More rows are refused.
    pub most_rows: usize,
    /// Topic settings besides `cleanup.policy`, which is `compact` unless given here.
    pub configs: &'static [(&'static str, &'static str)],
}

/// Rows that end by themselves.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// An older row is as good as gone: it is not given, and an insert takes its place.
    pub kept: Duration,
    /// All rows together, as they are written; more is refused.
    pub most_bytes: usize,
}

/// Why a table cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{topic} has {most} rows, the most it may have; delete some first")]
    Full { topic: &'static str, most: usize },
    #[error(
        "the rows of {topic} take {most_bytes} bytes, the most they may; try again when some have ended"
    )]
    FullOfBytes {
        topic: &'static str,
        most_bytes: usize,
    },
    #[error("{topic} was not read to its end within {:.0} s", APPLY_LIMIT.as_secs_f64())]
    Behind { topic: &'static str },
    #[error("a row of {topic} cannot be written as JSON: {reason}")]
    Unwritable { topic: &'static str, reason: String },
}

/// A row with the time of the record that made it, in milliseconds since 1970.
#[derive(Debug, Clone)]
pub struct Row<V> {
    pub value: V,
    pub timestamp_ms: i64,
    offset: i64,
    bytes: usize,
}

/// The rows, and the task that reads them; dropping the last handle ends the task.
pub struct Table<V> {
    shared: Arc<Shared<V>>,
    reading: JoinHandle<()>,
}

struct Shared<V> {
    settings: TableSettings,
    expiry: Option<Expiry>,
    backend: Backend,
    rows: RwLock<BTreeMap<String, Row<V>>>,
    /// What the values of all rows take.
    bytes: AtomicUsize,
    /// The offset after the last record that was applied.
    applied: watch::Sender<i64>,
}

impl<V> Drop for Table<V> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl<V> Table<V>
where
    V: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    /// Creates the topic if it is missing and reads it; returns when every row that is there now has been read.
    ///
    /// # Errors
    /// `Client` when the cluster does not answer, `Behind` when reading takes too long.
    pub async fn open(backend: &Backend, settings: TableSettings) -> Result<Table<V>, TableError> {
        Table::open_with(backend, settings, None).await
    }

    /// As [`Table::open`], with rows that end by themselves. The topic's own retention is to be no shorter.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub async fn open_expiring(
        backend: &Backend,
        settings: TableSettings,
        expiry: Expiry,
    ) -> Result<Table<V>, TableError> {
        Table::open_with(backend, settings, Some(expiry)).await
    }

    async fn open_with(
        backend: &Backend,
        settings: TableSettings,
        expiry: Option<Expiry>,
    ) -> Result<Table<V>, TableError> {
        let mut configs = settings.configs.to_vec();
        if !configs.iter().any(|(name, _)| *name == "cleanup.policy") {
            configs.push(("cleanup.policy", "compact"));
        }
        backend.ensure_topic(settings.topic, 1, &configs).await?;
        let end = backend
            .reader()
            .offsets(settings.topic, OffsetQuery::Latest)
            .await?;
        let shared = Arc::new(Shared {
            settings,
            expiry,
            backend: backend.clone(),
            rows: RwLock::new(BTreeMap::new()),
            bytes: AtomicUsize::new(0),
            applied: watch::channel(0).0,
        });
        let reading = tokio::spawn(read_on(Arc::clone(&shared)));
        let table = Table { shared, reading };
        table.wait_for(end.get(&0).copied().unwrap_or(0)).await?;
        Ok(table)
    }

    pub fn get(&self, key: &str) -> Option<Row<V>> {
        let rows = self.shared.rows.read();
        let row = rows.get(key)?;
        let is_over = self
            .shared
            .expiry
            .is_some_and(|expiry| row.is_over(expiry, now_ms(), 0));
        (!is_over).then(|| row.clone())
    }

    /// The rows whose keys begin with `prefix`, by key.
    pub fn rows_under(&self, prefix: &str) -> Vec<(String, Row<V>)> {
        let rows = self.shared.rows.read();
        rows.range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect()
    }

    /// Every row, by key.
    pub fn rows(&self) -> Vec<(String, Row<V>)> {
        let rows = self.shared.rows.read();
        rows.iter()
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect()
    }

    /// Writes a row, whether there was one or not.
    ///
    /// # Errors
    /// `Client` when it was not stored, `Full` when it would be one too many.
    pub async fn put(&self, key: &str, value: &V) -> Result<(), TableError> {
        self.check_room(key)?;
        let value = self.shared.encode(value)?;
        let offset = self.write(key, Some(&value), &[]).await?;
        self.wait_for(offset + 1).await
    }

    /// Writes many rows, as [`Table::put`] does each, and waits once.
    ///
    /// # Errors
    /// As [`Table::put`]; some may have been written then.
    pub async fn put_all(&self, rows: &[(String, V)]) -> Result<(), TableError> {
        let mut encoded = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            self.check_room(key)?;
            encoded.push((key, self.shared.encode(value)?));
        }
        let records: Vec<OutgoingRecord<'_>> = encoded
            .iter()
            .map(|(key, value)| self.record(key, Some(value), &[]))
            .collect();
        let mut end = 0;
        for outcome in self.shared.backend.producer()?.send_many(&records).await {
            end = end.max(outcome?.offset + 1);
        }
        self.wait_for(end).await
    }

    /// Writes a row unless there is one; tells whether it did.
    ///
    /// # Errors
    /// As [`Table::put`].
    pub async fn insert(&self, key: &str, value: &V) -> Result<bool, TableError> {
        if self.get(key).is_some() {
            return Ok(false);
        }
        self.check_room(key)?;
        let encoded = self.shared.encode(value)?;
        let headers = [(INSERT.to_owned(), None)];
        let offset = self.write(key, Some(&encoded), &headers).await?;
        self.wait_for(offset + 1).await?;
        let row = self.get(key);
        if row.as_ref().is_some_and(|row| row.offset == offset) {
            return Ok(true);
        }
        // Compaction keeps the last record of a key, which is the insert that lost: the winner's value goes behind it. Not so for
        // rows that end: the winner may have changed it by now, and writes behind it himself.
        if let Some(row) = row.filter(|_| self.shared.expiry.is_none()) {
            self.put(key, &row.value).await?;
        }
        Ok(false)
    }

    /// Deletes a row; tells whether there was one.
    ///
    /// # Errors
    /// `Client` when the deletion was not stored.
    pub async fn delete(&self, key: &str) -> Result<bool, TableError> {
        let existed = self.get(key).is_some();
        let offset = self.write(key, None, &[]).await?;
        self.wait_for(offset + 1).await?;
        Ok(existed)
    }

    fn check_room(&self, key: &str) -> Result<(), TableError> {
        let checked = self.shared.check_room(key);
        if checked.is_ok() || self.shared.expiry.is_none() {
            return checked;
        }
        self.shared.end_rows(now_ms());
        self.shared.check_room(key)
    }

    async fn write(
        &self,
        key: &str,
        value: Option<&[u8]>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<i64, TableError> {
        let record = self.record(key, value, headers);
        let acknowledged = self.shared.backend.producer()?.send(&record)?.await?;
        Ok(acknowledged.offset)
    }

    fn record<'a>(
        &self,
        key: &'a str,
        value: Option<&'a [u8]>,
        headers: &'a [(String, Option<Vec<u8>>)],
    ) -> OutgoingRecord<'a> {
        OutgoingRecord {
            topic: self.shared.settings.topic,
            partition: Some(0),
            key: Some(key.as_bytes()),
            value,
            headers,
            ..OutgoingRecord::default()
        }
    }

    async fn wait_for(&self, end: i64) -> Result<(), TableError> {
        let mut applied = self.shared.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= end);
        match timeout(APPLY_LIMIT, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(TableError::Behind {
                topic: self.shared.settings.topic,
            }),
        }
    }
}

impl<V> Row<V> {
    fn is_over(&self, expiry: Expiry, now_ms: i64, grace_ms: i64) -> bool {
        let kept_ms = i64::try_from(expiry.kept.as_millis()).unwrap_or(i64::MAX);
        now_ms.saturating_sub(self.timestamp_ms) >= kept_ms.saturating_sub(grace_ms)
    }
}

impl<V> Shared<V> {
    fn check_room(&self, key: &str) -> Result<(), TableError> {
        let (topic, most) = (self.settings.topic, self.settings.most_rows);
        let rows = self.rows.read();
        let is_new = !rows.contains_key(key);
        if is_new && rows.len() >= most {
            return Err(TableError::Full { topic, most });
        }
        let most_bytes = self.expiry.map_or(usize::MAX, |expiry| expiry.most_bytes);
        if is_new && self.bytes.load(Ordering::Relaxed) >= most_bytes {
            return Err(TableError::FullOfBytes { topic, most_bytes });
        }
        Ok(())
    }

    /// Forgets the rows that are over; those of the topic are deleted by its retention.
    fn end_rows(&self, now_ms: i64) {
        let Some(expiry) = self.expiry else { return };
        let mut rows = self.rows.write();
        rows.retain(|_, row| !row.is_over(expiry, now_ms, 0));
        let bytes = rows.values().map(|row| row.bytes).sum();
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether an insert of this time changes nothing, because there is a row that is not over.
    fn is_taken(&self, row: &Row<V>, timestamp_ms: i64) -> bool {
        // By a little less than who inserts waits for, since his clock and the broker's may differ.
        let is_over = |expiry| row.is_over(expiry, timestamp_ms, EXPIRY_GRACE_MS);
        !self.expiry.is_some_and(is_over)
    }
}

impl<V: Serialize + DeserializeOwned> Shared<V> {
    fn encode(&self, value: &V) -> Result<Vec<u8>, TableError> {
        serde_json::to_vec(value).map_err(|error| TableError::Unwritable {
            topic: self.settings.topic,
            reason: error.to_string(),
        })
    }

    /// Whether the topic was deleted and made again: it ends before what was read. Then the rows are those of the new log alone.
    fn is_another_log(&self, next: i64, partition: &FetchedPartition) -> bool {
        let is_out_of_range = partition.error == Some(ErrorCode::OffsetOutOfRange);
        // Only an end that the broker told counts.
        let is_another =
            is_out_of_range && partition.high_watermark >= 0 && next > partition.high_watermark;
        if is_another {
            let topic = self.settings.topic;
            tracing::error!(
                topic,
                "a state topic was deleted or made again by somebody; its rows are gone"
            );
            self.rows.write().clear();
        }
        is_another
    }

    fn apply(&self, record: &Record) {
        let Some(key) = record
            .key
            .as_deref()
            .and_then(|key| std::str::from_utf8(key).ok())
        else {
            return;
        };
        let mut rows = self.rows.write();
        let Some(value) = record.value.as_deref() else {
            if let Some(row) = rows.remove(key) {
                self.bytes.fetch_sub(row.bytes, Ordering::Relaxed);
            }
            return;
        };
        let is_insert = record.headers.iter().any(|(name, _)| name == INSERT);
        let before = rows.get(key);
        if is_insert && before.is_some_and(|row| self.is_taken(row, record.timestamp_ms)) {
            return;
        }
        let bytes = value.len();
        match serde_json::from_slice(value) {
            Ok(value) => {
                let row = Row {
                    value,
                    timestamp_ms: record.timestamp_ms,
                    offset: record.offset,
                    bytes,
                };
                let before = rows.insert(key.to_owned(), row);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                let before = before.map_or(0, |row| row.bytes);
                self.bytes.fetch_sub(before, Ordering::Relaxed);
            }
            // A newer version wrote it, or somebody else did: what this one cannot read it does not know.
            Err(error) => {
                let (topic, offset) = (self.settings.topic, record.offset);
                tracing::warn!(topic, offset, %error, "a row cannot be read and is passed over");
            }
        }
    }
}

/// Applies record after record, for as long as the table lives.
async fn read_on<V: Serialize + DeserializeOwned>(shared: Arc<Shared<V>>) {
    let topic = shared.settings.topic;
    let limits = FetchLimits {
        max_bytes: 4 * 1024 * 1024,
        max_wait: POLL,
        min_bytes: 1,
        isolation: Isolation::ReadCommitted,
    };
    let mut next = 0;
    loop {
        let from = [Position {
            partition: 0,
            offset: next,
        }];
        let fetched = match shared.backend.reader().fetch(topic, &from, limits).await {
            Ok(fetched) => fetched,
            Err(error) => {
                tracing::debug!(topic, %error, "reading a state topic, again soon");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        for partition in fetched {
            if let Some(code) = partition.error {
                next = match shared.is_another_log(next, &partition) {
                    true => 0,
                    // A log that was cut off below us goes on at its new start.
                    false => next.max(partition.log_start_offset),
                };
                tracing::debug!(
                    topic,
                    code = code.name(),
                    "reading a state topic, again soon"
                );
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            partition
                .records
                .iter()
                .for_each(|record| shared.apply(record));
            next = next.max(partition.next_offset);
        }
        shared.applied.send_replace(next);
    }
}

fn now_ms() -> i64 {
    clock::now().as_millisecond()
}
