//! Acquires records: asks where to read, reads, and takes what was read for the member; waits while there is nothing.
//!
//! A long poll registers with its partitions and its group before it looks, so neither a publish nor a release in
//! between is missed. A plan that is not ended by an acquire is ended when it is dropped: others may then read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_state::configs::ShareOffsetReset;
use broker_state::share_partitions::{
    Acquire, Acquired, Command, Plan, PlanPartition, Planned, Reply, SharePartitionKey,
    ShareSettings,
};
use broker_state::share_sessions::{ShareSessionKey, SharedPartition};
use broker_state::step::RequestId;
use bytes::Bytes;
use log::{Isolation, PartitionView};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep, timeout_at};
use wire::ErrorCode;

use super::read::{Batches, read};
use crate::api::fetch::read::Budget;
use crate::core::Core;
use crate::partition::Partition as Log;

/// How often a fetch looks again at once when nothing of what it had read could be delivered, before it waits.
const ATTEMPTS: usize = 16;
/// How long a fetch that wants more bytes than there are lets others look before it looks again.
const SHORT_OF_BYTES: Duration = Duration::from_millis(20);

/// What a request asks for.
pub struct Wanted {
    pub key: ShareSessionKey,
    pub settings: ShareSettings,
    pub is_read_committed: bool,
    pub max_records: i64,
    pub batch_size: i64,
    pub is_strict: bool,
    pub min_bytes: u64,
    pub max_bytes: u64,
    pub max_wait: Duration,
}

/// What it got.
#[derive(Default)]
pub struct Fetched {
    pub partitions: BTreeMap<SharedPartition, Partition>,
    pub memory: Option<OwnedSemaphorePermit>,
}

/// What it got of one partition.
pub struct Partition {
    pub error: ErrorCode,
    pub acquired: Vec<Acquired>,
    pub records: Vec<Bytes>,
}

impl Partition {
    fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            acquired: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Whether there is something to tell about it.
    pub fn has_news(&self) -> bool {
        self.error != ErrorCode::None || !self.acquired.is_empty()
    }
}

/// Acquires what there is of `partitions`, waiting for it unless there is an answer to give already.
pub async fn acquire_or_wait(
    core: &Core,
    wanted: &Wanted,
    partitions: &[SharedPartition],
    has_answer: bool,
) -> Fetched {
    if partitions.is_empty() || wanted.max_records <= 0 || wanted.max_bytes == 0 {
        return Fetched::default();
    }
    let logs = find(core, partitions);
    let waiting = Waiting::register(core, wanted, &logs);
    let max_wait = match has_answer {
        true => Duration::ZERO,
        false => wanted.max_wait,
    };
    let deadline = Instant::now() + max_wait;
    let mut stopped = std::pin::pin!(core.stopped());
    loop {
        let is_late = Instant::now() >= deadline;
        let (fetched, is_short) = acquire_now(core, wanted, &logs, is_late).await;
        if is_late || fetched.partitions.values().any(Partition::has_news) {
            return fetched;
        }
        if is_short {
            // Two of them would wake each other again and again.
            sleep(SHORT_OF_BYTES).await;
        }
        let woken = async {
            tokio::select! {
                () = waiting.notify.notified() => false,
                () = &mut stopped => true,
            }
        };
        if let Ok(true) = timeout_at(deadline, woken).await {
            return fetched;
        }
    }
}

/// The logs of the partitions, or why they cannot be read.
type Logs = Vec<(SharedPartition, Result<Arc<Log>, ErrorCode>)>;

fn find(core: &Core, partitions: &[SharedPartition]) -> Logs {
    let image = core.image();
    let find = |&(topic_id, partition): &SharedPartition| {
        let topic = image.topic_by_id(topic_id);
        let topic = topic.ok_or(ErrorCode::UnknownTopicId)?;
        let log = topic.partition(partition).cloned();
        log.ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    let partitions = partitions.iter();
    partitions
        .map(|partition| (*partition, find(partition)))
        .collect()
}

/// Acquires what there is; unless `is_late` only if there are `min_bytes` of it, and says if there are not.
async fn acquire_now(core: &Core, wanted: &Wanted, logs: &Logs, is_late: bool) -> (Fetched, bool) {
    let mut fetched = Fetched::default();
    let mut open = Vec::new();
    for (partition, log) in logs {
        match log {
            Ok(log) if log.is_closed() => {
                let gone = Partition::refused(ErrorCode::UnknownTopicOrPartition);
                fetched.partitions.insert(*partition, gone);
            }
            Ok(log) => open.push((*partition, Arc::clone(log))),
            Err(error) => {
                let refused = Partition::refused(*error);
                fetched.partitions.insert(*partition, refused);
            }
        }
    }
    for _ in 0..ATTEMPTS {
        let Some(reading) = plan(core, wanted, &open, &mut fetched).await else {
            return (fetched, false);
        };
        let is_enough = is_late || reading.bytes(wanted) >= wanted.min_bytes;
        if reading.partitions.is_empty() || !is_enough {
            let is_short = !reading.partitions.is_empty();
            return (fetched, is_short);
        }
        if read_and_acquire(core, wanted, reading, &mut fetched).await {
            break;
        }
    }
    (fetched, false)
}

/// Partitions that this fetch alone reads, until it acquires or is dropped.
struct Reading<'a> {
    core: &'a Core,
    key: &'a ShareSessionKey,
    plan: RequestId,
    partitions: Vec<(SharedPartition, PartitionView, i64)>,
}

impl Reading<'_> {
    fn bytes(&self, wanted: &Wanted) -> u64 {
        let bytes = |(_, view, from): &(SharedPartition, PartitionView, i64)| {
            let limit = log::ByteCount(wanted.min_bytes.max(1));
            let plan = view.plan_read(log::Offset(*from), limit, isolation(wanted));
            plan.map_or(0, |plan| plan.len_estimate().0)
        };
        self.partitions.iter().map(bytes).sum()
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.partitions.is_empty() {
            return;
        }
        let partitions = self.partitions.iter();
        self.core.share.tell(Command::Abandon {
            group: self.key.group.clone(),
            plan: self.plan,
            partitions: partitions.map(|(partition, ..)| *partition).collect(),
        });
    }
}

fn isolation(wanted: &Wanted) -> Isolation {
    match wanted.is_read_committed {
        true => Isolation::ReadCommitted,
        false => Isolation::ReadUncommitted,
    }
}

/// Asks where to read; partitions that the group has never read are given their start first. When there is nothing else to
/// read, the first of them that has something is answered with; the next fetch goes on with the others.
async fn plan<'a>(
    core: &'a Core,
    wanted: &'a Wanted,
    logs: &[(SharedPartition, Arc<Log>)],
    fetched: &mut Fetched,
) -> Option<Reading<'a>> {
    let (mut reading, starting) = plan_once(core, wanted, logs, fetched).await?;
    let waits_for_a_start = reading.partitions.is_empty();
    for (partition, log) in starting {
        if let Err(error) = start(core, wanted, partition, &log).await {
            let refused = Partition::refused(error);
            fetched.partitions.insert(partition, refused);
        } else if waits_for_a_start {
            (reading, _) = plan_once(core, wanted, &[(partition, log)], fetched).await?;
            if !reading.partitions.is_empty() {
                break;
            }
        }
    }
    Some(reading)
}

async fn plan_once<'a>(
    core: &'a Core,
    wanted: &'a Wanted,
    logs: &[(SharedPartition, Arc<Log>)],
    fetched: &mut Fetched,
) -> Option<(Reading<'a>, Vec<(SharedPartition, Arc<Log>)>)> {
    let views: Vec<PartitionView> = logs.iter().map(|(_, log)| log.view()).collect();
    let partition = |((topic_id, partition), view): (SharedPartition, &PartitionView)| {
        let end = match wanted.is_read_committed {
            true => view.last_stable_offset,
            false => view.high_watermark,
        };
        PlanPartition {
            topic_id,
            partition,
            log_start: view.log_start.0,
            end: end.0,
        }
    };
    let partitions = logs.iter().map(|(name, _)| *name).zip(&views);
    let command = Command::Plan(Plan {
        group: wanted.key.group.clone(),
        settings: wanted.settings.clone(),
        partitions: partitions.map(partition).collect(),
    });
    let Some(Reply::Plan { plan, partitions }) = core.share.ask(command).await else {
        return None;
    };
    let mut reading = Reading {
        core,
        key: &wanted.key,
        plan,
        partitions: Vec::new(),
    };
    let mut starting = Vec::new();
    for (((name, log), view), planned) in logs.iter().zip(views).zip(partitions) {
        match planned {
            Planned::Read(from) => reading.partitions.push((*name, view, from)),
            Planned::NoStart => starting.push((*name, Arc::clone(log))),
            Planned::Refused(error) => {
                fetched.partitions.insert(*name, Partition::refused(error));
            }
            Planned::Nothing | Planned::Busy | Planned::Full => {}
        }
    }
    Some((reading, starting))
}

/// Settles once where the group begins in a partition (`share.auto.offset.reset`).
async fn start(
    core: &Core,
    wanted: &Wanted,
    (topic_id, partition): SharedPartition,
    log: &Log,
) -> Result<(), ErrorCode> {
    let group = wanted.key.group.as_str();
    let reset = core.image().group_config(group).share.auto_offset_reset;
    let view = log.view();
    let offset = match reset {
        ShareOffsetReset::Latest => view.high_watermark.0,
        ShareOffsetReset::Earliest => view.log_start.0,
        ShareOffsetReset::ByDuration(age) => {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let timestamp = core.now_ms().saturating_sub(age).max(0);
            let latest = view.high_watermark.0;
            let search = move || view.offset_for_timestamp(timestamp);
            let found = tokio::task::spawn_blocking(search).await;
            let found = found.expect("the search does not panic");
            let found = found.map_err(|_| ErrorCode::KafkaStorageError)?;
            found.map_or(latest, |(offset, _)| offset.0)
        }
    };
    let key = SharePartitionKey {
        group: wanted.key.group.clone(),
        topic_id,
        partition,
    };
    core.share_done(Command::Start { key, offset }).await
}

/// Reads what was planned and acquires it; says whether the fetch has something to tell by now.
async fn read_and_acquire(
    core: &Core,
    wanted: &Wanted,
    mut reading: Reading<'_>,
    fetched: &mut Fetched,
) -> bool {
    let mut budget = Budget {
        left: wanted.max_bytes.min(core.limits.fetch_bytes as u64),
        memory: None,
    };
    let mut left = wanted.max_records;
    let mut all: Vec<(SharedPartition, Batches)> = Vec::new();
    for (name, view, from) in &reading.partitions {
        if left <= 0 || budget.left == 0 {
            break;
        }
        match read(core, view, *from, left, isolation(wanted), &mut budget).await {
            Ok(batches) => {
                left -= batches.records();
                all.push((*name, batches));
            }
            // Retention was faster than this fetch; the next plan begins where the log does now.
            Err(ErrorCode::OffsetOutOfRange) => {}
            Err(error) => {
                fetched.partitions.insert(*name, Partition::refused(error));
            }
        }
    }
    let command = Command::Acquire(Acquire {
        group: wanted.key.group.clone(),
        member: wanted.key.member.clone(),
        plan: reading.plan,
        settings: wanted.settings.clone(),
        max_records: wanted.max_records,
        batch_size: wanted.batch_size,
        is_strict: wanted.is_strict,
        partitions: all
            .iter()
            .map(|(name, batches)| batches.acquire(*name))
            .collect(),
    });
    // The acquire ends the plan of what was read; the rest is abandoned with `reading`.
    let is_read = |name: &SharedPartition| all.iter().any(|(read, _)| read == name);
    reading.partitions.retain(|(name, ..)| !is_read(name));
    let reply = core.share.ask(command).await;
    let Some(Reply::Acquire(acquired)) = reply else {
        return true;
    };
    fetched.memory = budget.memory;
    for ((name, batches), acquired) in all.into_iter().zip(acquired) {
        let partition = Partition {
            error: ErrorCode::None,
            records: batches.of(&acquired),
            acquired,
        };
        fetched.partitions.insert(name, partition);
    }
    fetched.partitions.values().any(Partition::has_news)
}

/// A long poll's registration with its partitions and its group; ends when it is dropped.
struct Waiting<'a> {
    notify: Arc<Notify>,
    core: &'a Core,
    wanted: &'a Wanted,
    logs: &'a Logs,
}

impl<'a> Waiting<'a> {
    fn register(core: &'a Core, wanted: &'a Wanted, logs: &'a Logs) -> Self {
        let notify = Arc::new(Notify::new());
        for log in logs.iter().filter_map(|(_, log)| log.as_ref().ok()) {
            log.wait_for_publish(&notify);
        }
        core.share.wait_for_records(&wanted.key.group, &notify);
        Self {
            notify,
            core,
            wanted,
            logs,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for log in self.logs.iter().filter_map(|(_, log)| log.as_ref().ok()) {
            log.stop_waiting(&self.notify);
        }
        let group = &self.wanted.key.group;
        self.core.share.stop_waiting(group, &self.notify);
    }
}
