//! Reads a partition for a share group: as many batches as the member may have, and which of them may be delivered.

use broker_state::share_partitions::{AcquirePartition, Acquired};
use broker_state::share_sessions::SharedPartition;
use bytes::Bytes;
use log::{ByteCount, Isolation, LogError, Offset, PartitionView, Read, ReadPlan};
use wire::ErrorCode;
use wire::records::{BatchHeader, scan_batches};

use crate::api::fetch::read::Budget;
use crate::core::Core;

/// How much is read at a time: often all that a member may have.
const STEP_BYTES: u64 = 512 << 10;
/// How often that is done for one partition at most, should hardly anything of it be deliverable.
const STEPS: usize = 64;

/// What was read of a partition.
pub struct Batches {
    pub from: i64,
    /// The offset after all that was read.
    pub upto: i64,
    /// Those that may be delivered: first and last offset, and the bytes.
    pub deliverable: Vec<(i64, i64, Bytes)>,
}

/// Reads from `from` on, until there are `records` deliverable offsets or the budget is used up. Only the first batch of an
/// answer may be larger than what is left of it (KIP-74).
///
/// # Errors
/// `OFFSET_OUT_OF_RANGE` when retention was faster, `CORRUPT_MESSAGE`, `KAFKA_STORAGE_ERROR`.
pub async fn read(
    core: &Core,
    view: &PartitionView,
    from: i64,
    records: i64,
    isolation: Isolation,
    budget: &mut Budget,
) -> Result<Batches, ErrorCode> {
    let mut batches = Batches {
        from,
        upto: from,
        deliverable: Vec::new(),
    };
    let mut is_first = budget.memory.is_none();
    for _ in 0..STEPS {
        if batches.records() >= records {
            break;
        }
        let granted = budget.reserve(core, STEP_BYTES).await;
        if granted == 0 {
            break;
        }
        let at = Offset(batches.upto);
        let plan = view.plan_read(at, ByteCount(granted), isolation);
        let read = match plan {
            Ok(plan) => read_of(plan).await,
            Err(error) => Err(error),
        };
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                budget.settle(granted, 0);
                return Err(code(&error));
            }
        };
        let len: usize = read.batches.iter().map(Bytes::len).sum();
        if !is_first && len as u64 > budget.left {
            budget.settle(granted, 0);
            break;
        }
        let before = batches.upto;
        let bytes = batches.take(&read);
        budget.settle(granted, bytes as u64);
        is_first &= batches.deliverable.is_empty();
        if batches.upto == before {
            break;
        }
    }
    Ok(batches)
}

/// On this thread if the page cache has it, else on a blocking one.
async fn read_of(plan: ReadPlan) -> Result<Read, LogError> {
    match plan.read_if_cached()? {
        Some(read) => Ok(read),
        None => {
            let read = tokio::task::spawn_blocking(move || plan.read()).await;
            read.expect("reading does not panic")
        }
    }
}

fn code(error: &LogError) -> ErrorCode {
    match error {
        LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        LogError::Corrupt { .. } => {
            tracing::warn!(%error, "cannot read records for a share group");
            ErrorCode::CorruptMessage
        }
        _ => {
            tracing::warn!(%error, "cannot read records for a share group");
            ErrorCode::KafkaStorageError
        }
    }
}

impl Batches {
    /// How many offsets may be delivered.
    pub fn records(&self) -> i64 {
        let batches = self.deliverable.iter();
        batches.map(|(first, last, _)| last - first + 1).sum()
    }

    /// Takes what was read; gives the bytes that may be delivered.
    fn take(&mut self, read: &Read) -> usize {
        let mut deliverable = 0;
        for part in &read.batches {
            for batch in scan_batches(part) {
                // The log checks what it reads; a batch that cannot be scanned ends the read there.
                let Ok((header, bytes)) = batch else {
                    return deliverable;
                };
                let (first, last) = (header.base_offset, header.last_offset());
                self.upto = last + 1;
                if !header.is_control() && !is_aborted(&header, read) {
                    deliverable += bytes.len();
                    self.deliverable.push((first, last, part.slice_ref(bytes)));
                }
            }
        }
        deliverable
    }

    /// What the machine is told of it.
    pub fn acquire(&self, (topic_id, partition): SharedPartition) -> AcquirePartition {
        let batches = self.deliverable.iter();
        AcquirePartition {
            topic_id,
            partition,
            from: self.from,
            upto: self.upto,
            batches: batches.map(|(first, last, _)| (*first, *last)).collect(),
        }
    }

    /// The batches that hold acquired records.
    pub fn of(self, acquired: &[Acquired]) -> Vec<Bytes> {
        let is_acquired = |first: i64, last: i64| {
            let behind = acquired.partition_point(|range| range.last < first);
            acquired
                .get(behind)
                .is_some_and(|range| range.first <= last)
        };
        let batches = self.deliverable.into_iter();
        let batches = batches.filter(|(first, last, _)| is_acquired(*first, *last));
        batches.map(|(_, _, bytes)| bytes).collect()
    }
}

/// Whether the batch belongs to a transaction that was aborted.
fn is_aborted(header: &BatchHeader, read: &Read) -> bool {
    let aborted = read.aborted.iter();
    header.is_transactional()
        && aborted
            .filter(|transaction| transaction.producer_id == header.producer_id)
            .any(|transaction| {
                let all = transaction.first_offset.0..=transaction.last_offset.0;
                all.contains(&header.base_offset)
            })
}
