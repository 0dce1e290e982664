//! What nobody waits for: checkpoints, and the removal of files. One thread of each shard does it, started when it is first needed.
//! Compactions are handed on to the broker's compactor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::Remains;
use parking_lot::{Condvar, Mutex};

use super::event::Event;
use super::step::{Checkpointing, Completed, Fatal};
use super::thread::ShardHandle;
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

/// Bounded by the number of partitions: each has at most one checkpoint under way.
#[derive(Default)]
struct State {
    jobs: VecDeque<Checkpointing>,
    /// With the time from which each may be removed.
    remains: VecDeque<(i64, Remains)>,
    is_closed: bool,
}

enum Work {
    Checkpoint(Checkpointing),
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
        if completed.checkpoints.is_empty() && completed.remains.is_empty() {
            return;
        }
        let now_ms = self.clock.now_ms();
        let mut state = self.queue.state.lock();
        state.jobs.extend(completed.checkpoints);
        for remains in completed.remains {
            let delay = i64::try_from(remains.delay().as_millis()).unwrap_or(i64::MAX);
            state
                .remains
                .push_back((now_ms.saturating_add(delay), remains));
        }
        drop(state);
        self.queue.filled.notify_one();
        if self.thread.is_none() {
            let (queue, handle) = (Arc::clone(&self.queue), self.handle.clone());
            let (keeper, clock) = (self.keeper.clone(), self.clock.clone());
            let run = move || {
                while let Some(work) = queue.next(&clock) {
                    if let Some(fatal) = do_work(work, &handle) {
                        return keeper.fail(fatal);
                    }
                }
            };
            self.thread = Some(self.keeper.spawn("background", run));
        }
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
    /// The next thing to do: checkpoints first, then files that are due. None once the shard has ended and no checkpoint waits.
    fn next(&self, clock: &Clock) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(Work::Checkpoint(job));
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

/// Does one thing; gives the failure that ends the broker.
fn do_work(work: Work, handle: &ShardHandle) -> Option<Fatal> {
    match work {
        Work::Checkpoint(Checkpointing { partition, job }) => match job.run() {
            Ok(finished) => {
                handle.send(Event::Checkpointed {
                    partition,
                    finished,
                });
                None
            }
            // A deleted partition has no files to sync.
            Err(_) if partition.is_closed() => None,
            Err(source) => Some(Fatal::Write {
                partition: format!("{partition:?}"),
                source,
            }),
        },
        Work::Remove(remains) => {
            if let Err(error) = remains.purge() {
                tracing::warn!(%error, "a deleted file is still there; the next start removes it");
            }
            None
        }
    }
}
