//! The reading part of a fetch: plan by the indexes, wait until there is enough, then read.
//!
//! A long poll registers with its partitions before it looks, so a publish in between is not missed; the owner
//! of a partition wakes it once per step. Records are read only when they are about to be sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log::{AbortedTransaction, ByteCount, Isolation, LogError, Offset, ReadPlan};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};
use wire::ErrorCode;

use crate::core::Core;
use crate::partition::Partition;

/// What an answer waits for when the memory for answers is used up, in KiB.
const SMALLEST_READ_KIB: u32 = 64;

/// One answer gets at most this part of the memory that is free.
const LARGEST_PART: u64 = 4;

/// One partition that is asked for.
pub struct Wanted {
    /// The partition, or why it cannot be read.
    pub partition: Result<Arc<Partition>, ErrorCode>,
    pub offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
}

/// What the whole request allows.
pub struct Bounds {
    pub max_wait: Duration,
    pub min_bytes: u64,
    pub max_bytes: u64,
    pub isolation: Isolation,
}

/// What one partition gave.
#[derive(Debug)]
pub struct Read {
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start: i64,
    pub records: Vec<Bytes>,
    /// What readers of committed records must pass over, by first offset; none for those who read everything.
    pub aborted: Option<Vec<AbortedTransaction>>,
}

/// What was read, and the memory that it is counted with.
pub struct ReadAll {
    pub reads: Vec<Read>,
    pub memory: Option<OwnedSemaphorePermit>,
}

struct Planned {
    read: Read,
    plan: Option<ReadPlan>,
}

/// Reads all of `wanted`, waiting up to `max_wait` for `min_bytes`.
pub async fn read_all(core: &Core, wanted: &[Wanted], bounds: &Bounds) -> ReadAll {
    let planned = plan_or_wait(core, wanted, bounds).await;
    // A part of what there is, so that some is left whoever does not read, and however much was asked for.
    let free = core.response_memory.available_permits() as u64 / LARGEST_PART;
    let mut budget = Budget {
        left: bounds
            .max_bytes
            .min(free.max(SMALLEST_READ_KIB.into()) * 1024),
        memory: None,
    };
    let mut reads = Vec::with_capacity(planned.len());
    for (planned, wanted) in planned.into_iter().zip(wanted) {
        let limit = u64::try_from(wanted.max_bytes).unwrap_or(0);
        let mut read = execute(core, planned, limit, bounds.isolation, &mut budget).await;
        let is_gone = |partition: &Arc<Partition>| partition.is_closed();
        if read.error == ErrorCode::KafkaStorageError
            && wanted.partition.as_ref().is_ok_and(is_gone)
        {
            // Deleted while it was read: its files have other names by now.
            read.error = ErrorCode::UnknownTopicOrPartition;
        }
        reads.push(read);
    }
    ReadAll {
        reads,
        memory: budget.memory,
    }
}

/// What an answer may still hold, and the memory that it is counted with.
pub struct Budget {
    pub left: u64,
    pub memory: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// How much of `wanted` may be read now; 0 when the answer is full, or the memory for answers is.
    ///
    /// Only the first records of an answer wait for memory, and only for a little: a reader that does not read
    /// must not keep others from theirs.
    pub async fn reserve(&mut self, core: &Core, wanted: u64) -> u64 {
        let wanted = wanted.min(self.left);
        if wanted == 0 {
            return 0;
        }
        let memory = Arc::clone(&core.response_memory);
        let free = u32::try_from(memory.available_permits()).unwrap_or(u32::MAX);
        let kib = u32::try_from(wanted.div_ceil(1024))
            .unwrap_or(u32::MAX)
            .min(free);
        let permit = match memory.try_acquire_many_owned(kib) {
            Ok(permit) if kib > 0 => permit,
            _ if self.memory.is_some() => return 0,
            _ => core.wait_for_response_memory(SMALLEST_READ_KIB).await,
        };
        let granted = permit.num_permits() as u64 * 1024;
        match &mut self.memory {
            Some(memory) => memory.merge(permit),
            none => *none = Some(permit),
        }
        granted.min(wanted)
    }

    /// Takes so many bytes more if they are free.
    fn extend(&mut self, core: &Core, bytes: u64) -> bool {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let more = Arc::clone(&core.response_memory).try_acquire_many_owned(kib);
        match (more, &mut self.memory) {
            (Ok(permit), Some(memory)) => {
                memory.merge(permit);
                true
            }
            _ => false,
        }
    }

    /// Gives all back and waits for the memory of one large batch.
    async fn exchange(&mut self, core: &Core, bytes: u64) {
        self.memory = None;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.memory = Some(core.wait_for_response_memory(kib).await);
    }

    /// Gives back what was reserved and not used.
    pub fn settle(&mut self, granted: u64, used: u64) {
        self.left = self.left.saturating_sub(used);
        let unused = usize::try_from(granted.saturating_sub(used) / 1024).unwrap_or(0);
        if let Some(memory) = &mut self.memory {
            let unused = unused.min(memory.num_permits().saturating_sub(1));
            drop(memory.split(unused));
        }
    }
}

async fn plan_or_wait(core: &Core, wanted: &[Wanted], bounds: &Bounds) -> Vec<Planned> {
    let (planned, is_enough) = plan_all(wanted, bounds);
    if is_enough || bounds.max_wait.is_zero() {
        return planned;
    }
    let waiting = Waiting::register(wanted);
    let deadline = Instant::now() + bounds.max_wait;
    let mut stopped = std::pin::pin!(core.stopped());
    loop {
        let (planned, is_enough) = plan_all(wanted, bounds);
        if is_enough {
            return planned;
        }
        let woken = async {
            tokio::select! {
                () = waiting.notify.notified() => false,
                () = &mut stopped => true,
            }
        };
        match timeout_at(deadline, woken).await {
            Ok(false) => {}
            Ok(true) | Err(_) => return planned,
        }
    }
}

/// Plans every partition in order; says whether the answer need not wait any longer.
fn plan_all(wanted: &[Wanted], bounds: &Bounds) -> (Vec<Planned>, bool) {
    let mut left = bounds.max_bytes;
    let mut found = 0;
    let mut has_news = false;
    let mut planned = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let one = plan(wanted, left, bounds.isolation);
        let bytes = one.plan.as_ref().map_or(0, |plan| plan.len_estimate().0);
        left = left.saturating_sub(bytes);
        found += bytes;
        has_news |= one.read.error != ErrorCode::None;
        planned.push(one);
    }
    (planned, has_news || found >= bounds.min_bytes)
}

fn plan(wanted: &Wanted, left: u64, isolation: Isolation) -> Planned {
    let refused = |error| Planned {
        read: Read {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start: -1,
            records: Vec::new(),
            aborted: None,
        },
        plan: None,
    };
    let partition = match &wanted.partition {
        Ok(partition) if partition.is_closed() => {
            return refused(ErrorCode::UnknownTopicOrPartition);
        }
        Ok(partition) => partition,
        Err(error) => return refused(*error),
    };
    let view = partition.view();
    if wanted.current_leader_epoch > view.leader_epoch {
        return refused(ErrorCode::UnknownLeaderEpoch);
    }
    let mut read = Read {
        error: ErrorCode::None,
        high_watermark: view.high_watermark.0,
        last_stable_offset: view.last_stable_offset.0,
        log_start: view.log_start.0,
        records: Vec::new(),
        aborted: (isolation == Isolation::ReadCommitted).then(Vec::new),
    };
    let limit = u64::try_from(wanted.max_bytes).unwrap_or(0).min(left);
    // A request that is full already still learns of offsets that are out of range.
    match view.plan_read(Offset(wanted.offset), ByteCount(limit), isolation) {
        Ok(plan) => Planned {
            read,
            plan: (left > 0 && plan.len_estimate().0 > 0).then_some(plan),
        },
        Err(LogError::OffsetOutOfRange { .. }) => {
            read.error = ErrorCode::OffsetOutOfRange;
            Planned { read, plan: None }
        }
        Err(error) => refused(storage_error(partition, &error)),
    }
}

/// Reads what was planned, as far as the budget goes; the first records of an answer are read whatever their size.
async fn execute(
    core: &Core,
    planned: Planned,
    limit: u64,
    isolation: Isolation,
    budget: &mut Budget,
) -> Read {
    let Planned { mut read, plan } = planned;
    let Some(plan) = plan else { return read };
    let is_first = budget.memory.is_none();
    let granted = budget
        .reserve(core, limit.min(plan.view().size_bytes.0))
        .await;
    if granted == 0 {
        return read;
    }
    // The size of the plan was a guess from below: this one cannot give more than is granted, but for one batch.
    let mut result = read_again(&plan, granted, isolation).await;
    let mut granted = granted;
    if let Ok(found) = &result
        && size_of(found) > granted
    {
        let size = size_of(found);
        if !is_first {
            // Only the first records of an answer are owed to the client whatever their size.
            if !budget.extend(core, size - granted) {
                budget.settle(granted, 0);
                return read;
            }
        } else {
            // Let go, and read again once it is counted, so that nobody holds some memory and waits for more.
            drop(result);
            budget.exchange(core, size).await;
            result = read_again(&plan, size, isolation).await;
        }
        granted = size;
    }
    match result {
        Ok(found) => {
            budget.settle(granted, size_of(&found));
            let log::Read { batches, aborted } = found;
            read.records = batches;
            read.aborted = read.aborted.map(|_| aborted);
        }
        Err(error) => {
            budget.settle(granted, 0);
            tracing::warn!(%error, "cannot read records");
            read.error = match error {
                LogError::Corrupt { .. } => ErrorCode::CorruptMessage,
                _ => ErrorCode::KafkaStorageError,
            };
        }
    }
    read
}

fn size_of(read: &log::Read) -> u64 {
    read.batches.iter().map(|batch| batch.len() as u64).sum()
}

async fn read_again(
    plan: &ReadPlan,
    limit: u64,
    isolation: Isolation,
) -> Result<log::Read, LogError> {
    let plan = plan
        .view()
        .plan_read(plan.from(), ByteCount(limit), isolation)?;
    records_of(plan).await
}

async fn records_of(plan: ReadPlan) -> Result<log::Read, LogError> {
    match plan.read_if_cached()? {
        Some(read) => Ok(read),
        None => {
            let read = tokio::task::spawn_blocking(move || plan.read()).await;
            read.expect("reading does not panic")
        }
    }
}

fn storage_error(partition: &Partition, error: &LogError) -> ErrorCode {
    tracing::error!(?partition, %error, "cannot plan a read");
    ErrorCode::KafkaStorageError
}

/// A long poll's registration with its partitions; ends when it is dropped.
struct Waiting<'a> {
    notify: Arc<Notify>,
    wanted: &'a [Wanted],
}

impl<'a> Waiting<'a> {
    fn register(wanted: &'a [Wanted]) -> Self {
        let notify = Arc::new(Notify::new());
        for partition in wanted
            .iter()
            .filter_map(|wanted| wanted.partition.as_ref().ok())
        {
            partition.wait_for_publish(&notify);
        }
        Self { notify, wanted }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for partition in self
            .wanted
            .iter()
            .filter_map(|wanted| wanted.partition.as_ref().ok())
        {
            partition.stop_waiting(&self.notify);
        }
    }
}
