//! The reading part of a fetch: plan by the indexes, wait until there is enough, then read.
//!
//! A long poll registers with its partitions before it looks, so a publish in between is not missed; the owner
//! of a partition wakes it once per step. Records are read only when they are about to be sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log::{ByteCount, Isolation, LogError, Offset, ReadPlan};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};
use wire::ErrorCode;

use crate::core::Core;
use crate::partition::Partition;

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
    let memory = reserve(core, &planned).await;
    let mut reads = Vec::with_capacity(planned.len());
    for planned in planned {
        reads.push(execute(planned).await);
    }
    ReadAll { reads, memory }
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

/// Waits until the answer's bytes fit into the memory for answers.
async fn reserve(core: &Core, planned: &[Planned]) -> Option<OwnedSemaphorePermit> {
    let bytes: u64 = planned
        .iter()
        .filter_map(|planned| planned.plan.as_ref())
        .map(|plan| plan.len_estimate().0)
        .sum();
    if bytes == 0 {
        return None;
    }
    // One batch may be larger than everything allowed together: it then takes all there is.
    let most = core.limits.response_memory_bytes.div_ceil(1024) as u64;
    let kib = bytes.div_ceil(1024).min(most) as u32;
    let permit = Arc::clone(&core.response_memory)
        .acquire_many_owned(kib)
        .await;
    Some(permit.expect("the semaphore is never closed"))
}

async fn execute(planned: Planned) -> Read {
    let Planned { mut read, plan } = planned;
    let Some(plan) = plan else { return read };
    let result = match plan.execute_if_cached() {
        Ok(Some(records)) => Ok(records),
        Ok(None) => tokio::task::spawn_blocking(move || plan.execute())
            .await
            .expect("reading does not panic"),
        Err(error) => Err(error),
    };
    match result {
        Ok(records) => read.records = records,
        Err(error) => {
            tracing::error!(%error, "cannot read records");
            read.error = ErrorCode::KafkaStorageError;
        }
    }
    read
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
