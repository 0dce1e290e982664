//! The durable log of a state machine: its records, written and synced before anything they promise is told.
//! The controller and the coordinator each have one; it is a partition log like any other.
//!
//! A journal does not grow for ever: when it is much larger than what it says, the whole state is written once
//! more at its end and everything before that is deleted. The records set state rather than change it, so
//! replaying from there gives the same state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_state::producer_ids::ProducerIdentity;
use bytes::Bytes;
use log::{ByteCount, Disk, Isolation, LogError, LogSettings, Offset, PartitionLog, SharedView};
use wire::records::{
    BatchBuilder, BatchHeader, CheckedBatch, Compression, EndTransactionMarker, RecordIter,
    decompress, scan_batches,
};

use crate::room::Room;
use crate::sync_pool::SyncPool;

/// Size of one batch of records.
const BATCH_BYTES: usize = 512 << 10;
/// Small segments, so that a rewritten journal gives its space back.
const SEGMENT_BYTES: u64 = 8 << 20;
/// A journal below this size is never rewritten.
const REWRITE_FROM_BYTES: u64 = 16 << 20;
/// … and above it only once it is this many times the size of its last rewriting.
const REWRITE_FACTOR: u64 = 4;
/// Bytes read at a time when the journal is replayed.
const REPLAY_BYTES: u64 = 4 << 20;
/// The largest single record; the machines bound theirs below it.
const LARGEST_BATCH: usize = 64 << 20;

/// A key, and a value or a tombstone.
pub type Entry = (Option<Vec<u8>>, Option<Vec<u8>>);

/// An entry, and what its batch says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FramedEntry {
    Plain(Entry),
    /// Part of the open transaction of a producer.
    Transactional(ProducerIdentity, Entry),
    /// The end of that transaction: a control batch.
    Marker(ProducerIdentity, EndTransactionMarker),
}

impl From<Entry> for FramedEntry {
    fn from(entry: Entry) -> Self {
        FramedEntry::Plain(entry)
    }
}

/// What is read back; keys and values borrow from the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed<'a> {
    Record {
        /// Set in the batches of a transaction.
        producer: Option<ProducerIdentity>,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
    },
    Marker(ProducerIdentity, EndTransactionMarker),
}

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(
        "it ends at offset {found}, and {expected} had been written and synced: the disk or somebody lost the rest; \
         restore the directory from a backup, or move it away to begin without what it says"
    )]
    Lost { found: Offset, expected: Offset },
    #[error("the record at offset {offset}: {reason}")]
    Record { offset: i64, reason: String },
}

pub struct Journal {
    log: PartitionLog,
    syncs: Arc<SyncPool>,
    rewritten_bytes: u64,
}

impl Journal {
    /// Opens the journal in `directory` and gives each of its records to `apply`, in order.
    ///
    /// # Errors
    /// When it cannot be read, or `apply` does not understand a record.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        syncs: Arc<SyncPool>,
        now_ms: i64,
        mut apply: impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<(), String>,
    ) -> Result<Self, ReplayError> {
        Self::open_framed(disk, directory, syncs, now_ms, |replayed| match replayed {
            Replayed::Record { key, value, .. } => apply(key, value),
            Replayed::Marker(..) => Err("a marker where there are no transactions".to_owned()),
        })
    }

    /// As `open`, for a journal with transactions.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_framed(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        syncs: Arc<SyncPool>,
        now_ms: i64,
        apply: impl FnMut(Replayed<'_>) -> Result<(), String>,
    ) -> Result<Self, ReplayError> {
        let settings = LogSettings {
            segment_bytes: ByteCount(SEGMENT_BYTES),
            segment_age: Duration::MAX,
            retention_age: None,
            retention_bytes: None,
            ..LogSettings::default()
        };
        let (log, recovery) =
            PartitionLog::open(disk, directory.clone(), settings, now_ms, &mut |_| ())?;
        if recovery.truncated_bytes > 0 {
            tracing::warn!(directory = %directory.display(), bytes = recovery.truncated_bytes, "cut an incomplete batch off the end of the journal");
        }
        if let Some(lost) = &recovery.lost {
            let (found, expected) = (log.end_offset(), lost.expected_end);
            return Err(ReplayError::Lost { found, expected });
        }
        let mut journal = Self {
            log,
            syncs,
            rewritten_bytes: 0,
        };
        journal.log.publish(journal.log.end_offset());
        journal.replay(apply)?;
        Ok(journal)
    }

    fn replay(
        &self,
        mut apply: impl FnMut(Replayed<'_>) -> Result<(), String>,
    ) -> Result<(), ReplayError> {
        let view = self.log.shared_view().load();
        let mut next = view.log_start;
        while next < view.high_watermark {
            let plan = view.plan_read(next, ByteCount(REPLAY_BYTES), Isolation::ReadUncommitted)?;
            for part in plan.execute()? {
                next = replay_part(&part, next, &mut apply)?;
            }
        }
        Ok(())
    }

    /// Makes `entries` durable, in order.
    ///
    /// # Errors
    /// When the disk fails; what is on it is then no longer known.
    pub fn append(
        &mut self,
        entries: impl IntoIterator<Item = impl Into<FramedEntry>>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let mut batch = Batch::new(now_ms, None);
        for entry in entries {
            let (producer, entry) = match entry.into() {
                FramedEntry::Plain(entry) => (None, entry),
                FramedEntry::Transactional(producer, entry) => (Some(producer), entry),
                FramedEntry::Marker(producer, marker) => {
                    let before = std::mem::replace(&mut batch, Batch::new(now_ms, None));
                    self.append_batch(before, now_ms);
                    let ProducerIdentity {
                        producer_id,
                        producer_epoch,
                    } = producer;
                    self.append_bytes(marker.batch(producer_id, producer_epoch, now_ms), now_ms);
                    continue;
                }
            };
            if batch.bytes >= BATCH_BYTES || batch.producer != producer {
                let before = std::mem::replace(&mut batch, Batch::new(now_ms, producer));
                self.append_batch(before, now_ms);
            }
            batch.push(entry);
        }
        self.append_batch(batch, now_ms);
        self.log.write()?;
        self.sync()?;
        self.log.publish(self.log.end_offset());
        Ok(())
    }

    fn append_batch(&mut self, batch: Batch, now_ms: i64) {
        if batch.count > 0 {
            self.append_bytes(batch.builder.build(Compression::None), now_ms);
        }
    }

    fn append_bytes(&mut self, batch: Bytes, now_ms: i64) {
        let checked =
            CheckedBatch::check(batch, LARGEST_BATCH).expect("the builder makes whole batches");
        self.log.append(&checked, now_ms);
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let files = self.log.unsynced_files();
        if let Err((_, source)) = self.syncs.sync_all(&files) {
            self.log.sync_failed();
            return Err(LogError::Io {
                operation: "sync",
                path: self.log.dir().to_owned(),
                source,
            });
        }
        self.log.mark_synced(self.log.end_offset());
        Ok(())
    }

    /// Whether the journal is worth rewriting.
    pub fn wants_rewriting(&self) -> bool {
        let size = self.log.size_bytes().0;
        let is_large = size >= REWRITE_FROM_BYTES
            && size >= self.rewritten_bytes.saturating_mul(REWRITE_FACTOR);
        is_large && self.room() == Room::Enough
    }

    /// What the disk still takes. A journal that found it full in the middle of a step could not go on: the machine is ahead of it
    /// then. So the owner looks before it decides, and takes nothing new when there is no room.
    pub fn room(&self) -> Room {
        Room::of(self.log.space())
    }

    /// Replaces the whole journal by `entries`, which say the whole state.
    ///
    /// # Errors
    /// As `append`. Cut short, the journal says everything twice, which is as good.
    pub fn rewrite(
        &mut self,
        entries: impl IntoIterator<Item = impl Into<FramedEntry>>,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let start = self.log.end_offset();
        let size = self.log.size_bytes().0;
        self.append(entries, now_ms)?;
        self.rewritten_bytes = self.log.size_bytes().0.saturating_sub(size);
        // What the deleted batches said of transactions is in the checkpoint.
        self.log.checkpoint(Vec::new())?;
        drop(self.log.delete_records(start)?);
        self.log.publish(self.log.end_offset());
        Ok(())
    }

    pub fn shared_view(&self) -> Arc<SharedView> {
        self.log.shared_view()
    }

    /// Closes the log, so that the next start need not look at it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn close(self) -> Result<(), LogError> {
        match self.log.close(Vec::new()) {
            Err(error) if error.is_mended_by_space() => {
                tracing::warn!(%error, "a journal was closed without a checkpoint");
                Ok(())
            }
            closed => closed,
        }
    }
}

struct Batch {
    builder: BatchBuilder,
    producer: Option<ProducerIdentity>,
    bytes: usize,
    count: usize,
    now_ms: i64,
}

impl Batch {
    fn new(now_ms: i64, producer: Option<ProducerIdentity>) -> Self {
        let builder = BatchBuilder::new(now_ms);
        let builder = match producer {
            // Nobody checks the sequence of what the broker writes; Kafka has a 0 there, too.
            Some(ProducerIdentity {
                producer_id,
                producer_epoch,
            }) => builder
                .producer(producer_id, producer_epoch, 0)
                .transactional(),
            None => builder,
        };
        Self {
            builder,
            producer,
            bytes: 0,
            count: 0,
            now_ms,
        }
    }

    fn push(&mut self, (key, value): Entry) {
        self.bytes += key.as_ref().map_or(0, Vec::len) + value.as_ref().map_or(0, Vec::len);
        self.count += 1;
        self.builder
            .push(self.now_ms, key.as_deref(), value.as_deref(), &[]);
    }
}

/// Applies the records of some whole batches from offset `next` on; gives the offset after them.
fn replay_part(
    part: &Bytes,
    mut next: Offset,
    apply: &mut impl FnMut(Replayed<'_>) -> Result<(), String>,
) -> Result<Offset, ReplayError> {
    for batch in scan_batches(part) {
        let damaged = |error: wire::records::BatchError| ReplayError::Record {
            offset: next.0,
            reason: error.to_string(),
        };
        let (header, bytes) = batch.map_err(damaged)?;
        let records = decompress(&header, bytes, LARGEST_BATCH).map_err(damaged)?;
        for record in RecordIter::new(&header, &records) {
            let record = record.map_err(damaged)?;
            if record.offset < next.0 {
                continue;
            }
            let replayed = match EndTransactionMarker::of_batch(&header, bytes) {
                Some(marker) => Replayed::Marker(producer_of(&header), marker),
                None => Replayed::Record {
                    producer: header.is_transactional().then(|| producer_of(&header)),
                    key: record.key,
                    value: record.value,
                },
            };
            apply(replayed).map_err(|reason| ReplayError::Record {
                offset: record.offset,
                reason,
            })?;
        }
        next = Offset(header.last_offset() + 1);
    }
    Ok(next)
}

fn producer_of(header: &BatchHeader) -> ProducerIdentity {
    ProducerIdentity {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
    }
}
