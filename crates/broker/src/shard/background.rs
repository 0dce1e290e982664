//! What no producer and no consumer waits for: checkpoints, and deleting. One thread of each shard does it, started when it is first needed.
//! Compactions are handed on to the broker's compactor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::{LogError, Remains};
use parking_lot::{Condvar, Mutex};

use super::event::{Event, Slot};
use super::step::{Checkpointing, Completed, Fatal};
use super::thread::ShardHandle;
use super::upkeep::{Deletion, Trimming};
use crate::clock::Clock;
use crate::compactor::Compactor;
use crate::keeper::Keeper;

/// How long the thread sleeps at most, so that it sees when files are due to be removed.
const LOOK: Duration = Duration::from_millis(250);
/// Files that wait for `file.delete.delay.ms`; beyond, the oldest go at once.
const MOST_DELAYED: usize = 100_000;

/// Ends with its shard, together with its thread and the compactions under way.
pub(super) struct Background {
    keeper: Keeper,
    handle: ShardHandle,
    compactor: Option<Arc<Compactor>>,
    clock: Clock,
    queue: Arc<BackgroundQueue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct BackgroundQueue {
    state: Mutex<State>,
    filled: Condvar,
}

/// Bounded by the number of partitions: each has at most one job of a kind under way.
#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// With the time from which each may be removed.
    remains: VecDeque<(i64, Remains)>,
    is_closed: bool,
}

enum Job {
    Checkpoint(Checkpointing),
    Trim(Trimming),
    Delete(Deletion),
}

enum Work {
    Do(Job),
    Remove(Remains),
}

impl Background {
    pub(super) fn new(
        keeper: Keeper,
        handle: ShardHandle,
        compactor: Option<Arc<Compactor>>,
        clock: Clock,
    ) -> Self {
        Self {
            keeper,
            handle,
            compactor,
            clock,
            queue: Arc::default(),
            thread: None,
        }
    }

    /// Takes over what a step has left to do.
    pub(super) fn start(&mut self, completed: Completed) {
        if let Some((compactor, job)) = self.compactor.as_ref().zip(completed.compaction) {
            compactor.submit(job, self.handle.clone());
        }
        let checkpoints = completed.checkpoints.into_iter().map(Job::Checkpoint);
        let trims = completed.trims.into_iter().map(Job::Trim);
        let deletions = completed.deletions.into_iter().map(Job::Delete);
        let jobs: Vec<Job> = checkpoints.chain(trims).chain(deletions).collect();
        if jobs.is_empty() && completed.remains.is_empty() {
            return;
        }
        self.add(jobs, completed.remains);
        self.queue.filled.notify_one();
        if self.thread.is_none() {
            self.thread = Some(self.spawn());
        }
    }

    fn add(&self, jobs: Vec<Job>, remains: Vec<Remains>) {
        self.queue.state.lock().jobs.extend(jobs);
        self.queue.delay(remains, &self.clock);
    }

    fn spawn(&self) -> JoinHandle<()> {
        let (queue, handle) = (Arc::clone(&self.queue), self.handle.clone());
        let (keeper, clock) = (self.keeper.clone(), self.clock.clone());
        let run = move || {
            while let Some(work) = queue.next(&clock) {
                match work {
                    Work::Do(Job::Delete(deletion)) => queue.delay(deletion.run(), &clock),
                    Work::Do(Job::Checkpoint(checkpointing)) => {
                        if let Some(fatal) = checkpoint(checkpointing, &handle) {
                            return keeper.fail(fatal);
                        }
                    }
                    Work::Do(Job::Trim(trimming)) => {
                        if let Some(fatal) = trim(trimming, &handle) {
                            return keeper.fail(fatal);
                        }
                    }
                    Work::Remove(remains) => remove(remains),
                }
            }
        };
        self.keeper.spawn("background", run)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(compactor) = &self.compactor {
            compactor.stop();
        }
        self.queue.state.lock().is_closed = true;
        self.queue.filled.notify_one();
        // A thread that met a bug has told so itself.
        self.thread.take().map(JoinHandle::join);
    }
}

impl BackgroundQueue {
    /// Has files removed once they have stayed for as long as they should.
    fn delay(&self, remains: Vec<Remains>, clock: &Clock) {
        let now_ms = clock.now_ms();
        let mut state = self.state.lock();
        for remains in remains {
            let delay = i64::try_from(remains.delay().as_millis()).unwrap_or(i64::MAX);
            let due = now_ms.saturating_add(delay);
            state.remains.push_back((due, remains));
        }
    }

    /// The next thing to do: jobs first, then files that are due. None once the shard has ended and no job waits.
    fn next(&self, clock: &Clock) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(Work::Do(job));
            }
            if state.is_closed {
                return None;
            }
            let now_ms = clock.now_ms();
            let is_crowded = state.remains.len() > MOST_DELAYED;
            let due = state
                .remains
                .iter()
                .position(|(at, _)| *at <= now_ms || is_crowded);
            if let Some((_, remains)) = due.and_then(|due| state.remains.remove(due)) {
                return Some(Work::Remove(remains));
            }
            self.filled.wait_for(&mut state, LOOK);
        }
    }
}

/// Writes a checkpoint; gives the failure that ends the broker.
fn checkpoint(
    Checkpointing { partition, job }: Checkpointing,
    handle: &ShardHandle,
) -> Option<Fatal> {
    match job.run() {
        Ok(finished) => {
            handle.send(Event::Checkpointed {
                partition,
                finished,
            });
            None
        }
        Err(error) if error.is_mended_by_space() => {
            tracing::warn!(?partition, %error, "a checkpoint has to wait for space on the disk");
            handle.send(Event::CheckpointPutOff { partition });
            None
        }
        Err(source) => failed(&partition, source),
    }
}

/// Deletes segments; gives the failure that ends the broker.
fn trim(Trimming { partition, job }: Trimming, handle: &ShardHandle) -> Option<Fatal> {
    match job.run() {
        Ok(trimmed) => {
            handle.send(Event::Trimmed { partition, trimmed });
            None
        }
        Err(source) if source.is_mended_by_space() => {
            handle.send(Event::TrimPutOff { partition, source });
            None
        }
        Err(source) => failed(&partition, source),
    }
}

fn failed(partition: &Slot, source: LogError) -> Option<Fatal> {
    let failure = || Fatal::Write {
        partition: format!("{partition:?}"),
        source,
    };
    // A deleted partition has no files any more.
    (!partition.is_closed()).then(failure)
}

fn remove(remains: Remains) {
    if let Err(error) = remains.purge() {
        tracing::warn!(%error, "a deleted file is still there; the next start removes it");
    }
}
