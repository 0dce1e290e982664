//! Runs a shard: one thread that takes what has gathered since its last step, and steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::Remains;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::event::Event;
use super::step::{Checkpointing, Completed, Fatal, Shard};
use crate::clock::Clock;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::queue::Queue;

/// The longest time between two ticks.
const TICK: Duration = Duration::from_millis(250);

/// Called once, when the disk has failed and the broker must end.
pub type OnFatal = Arc<dyn Fn(Fatal) + Send + Sync>;

/// The way to a shard; clones share one queue.
#[derive(Clone)]
pub struct ShardHandle(Arc<Running>);

/// A shard, its queue, and what a step needs around it. Whoever steps holds `shard` *before* it takes events
/// from the queue, so events are worked on in the order in which they were sent.
struct Running {
    shard: Mutex<Shard>,
    queue: Queue<Event>,
    clock: Clock,
    metrics: Arc<Metrics>,
    keeper: Keeper,
}

impl ShardHandle {
    /// Hands `event` over; after the shard has ended it is dropped, and with it its reply.
    pub fn send(&self, event: Event) {
        self.0.queue.send(event);
    }

    /// As `send`, but steps on this thread when the shard has nothing else to do: two thread switches less.
    ///
    /// Only for appends that wait for no disk: a few batches for topics that are not synced by the step.
    pub fn step_or_send(&self, event: Event) {
        let Some(shard) = self.0.shard.try_lock() else {
            return self.send(event);
        };
        if !self.0.queue.is_idle() {
            return self.send(event);
        }
        // An append leaves nothing to do in the background.
        let _ = self.0.step(shard, [event]);
    }
}

impl Running {
    /// One step; `None` when the disk has failed and the broker ends.
    fn step(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        events: impl IntoIterator<Item = Event>,
    ) -> Option<Completed> {
        match shard.step(self.clock.now_ms(), events) {
            Ok(completed) => {
                self.metrics.step(&completed.times);
                Some(completed)
            }
            Err(fatal) => {
                self.queue.close();
                self.keeper.fail(fatal);
                None
            }
        }
    }

    fn run(&self, mut background: Background) {
        let mut ticked_at = self.clock.now_ms();
        let mut spare = Vec::new();
        loop {
            self.queue.wait(TICK);
            let shard = self.shard.lock();
            let Some(mut events) = self.queue.take(spare) else {
                return;
            };
            let now_ms = self.clock.now_ms();
            if now_ms - ticked_at >= TICK.as_millis() as i64 {
                ticked_at = now_ms;
                events.push(Event::Tick);
            }
            let Some(completed) = self.step(shard, events.drain(..)) else {
                return;
            };
            let is_closed = completed.is_closed;
            background.start(completed);
            if is_closed {
                return self.queue.close();
            }
            spare = events;
        }
    }
}

/// Starts the thread of `shard`.
pub fn spawn(
    shard: Shard,
    name: &str,
    clock: Clock,
    metrics: Arc<Metrics>,
    keeper: Keeper,
) -> (ShardHandle, JoinHandle<()>) {
    let running = Arc::new(Running {
        shard: Mutex::new(shard),
        queue: Queue::new(),
        clock,
        metrics,
        keeper: keeper.clone(),
    });
    let handle = ShardHandle(Arc::clone(&running));
    let background = Background::new(keeper.clone(), handle.clone());
    let thread = keeper.spawn(name, move || running.run(background));
    (handle, thread)
}

/// What nobody waits for, checkpoints and the removal of files: one thread, started when it is first needed.
struct Background {
    keeper: Keeper,
    handle: ShardHandle,
    queue: Arc<BackgroundQueue>,
    is_started: bool,
}

/// Bounded by the number of partitions: each has at most one checkpoint under way.
#[derive(Default)]
struct BackgroundQueue {
    jobs: Mutex<VecDeque<BackgroundJob>>,
    filled: Condvar,
}

enum BackgroundJob {
    Checkpoint(Checkpointing),
    Remove(Remains),
}

impl Background {
    fn new(keeper: Keeper, handle: ShardHandle) -> Self {
        Self {
            keeper,
            handle,
            queue: Arc::default(),
            is_started: false,
        }
    }

    fn start(&mut self, completed: Completed) {
        if completed.checkpoints.is_empty() && completed.remains.is_empty() {
            return;
        }
        let checkpoints = completed
            .checkpoints
            .into_iter()
            .map(BackgroundJob::Checkpoint);
        let jobs = checkpoints.chain(completed.remains.into_iter().map(BackgroundJob::Remove));
        self.queue.jobs.lock().extend(jobs);
        self.queue.filled.notify_one();
        if !self.is_started {
            self.is_started = true;
            let queue = Arc::downgrade(&self.queue);
            let (handle, keeper) = (self.handle.clone(), self.keeper.clone());
            let run = move || {
                // The queue goes when its shard ends.
                while let Some(queue) = queue.upgrade() {
                    if let Some(fatal) = queue.next().and_then(|job| work(job, &handle)) {
                        return keeper.fail(fatal);
                    }
                }
            };
            self.keeper.spawn("background", run);
        }
    }
}

/// Does one job; gives the failure that ends the broker.
fn work(job: BackgroundJob, handle: &ShardHandle) -> Option<Fatal> {
    match job {
        BackgroundJob::Checkpoint(Checkpointing { partition, job }) => match job.run() {
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
        BackgroundJob::Remove(remains) => {
            if let Err(error) = remains.purge() {
                tracing::warn!(%error, "a deleted file is still there; the next start removes it");
            }
            None
        }
    }
}

impl BackgroundQueue {
    fn next(&self) -> Option<BackgroundJob> {
        let mut jobs = self.jobs.lock();
        if jobs.is_empty() {
            self.filled.wait_for(&mut jobs, TICK);
        }
        jobs.pop_front()
    }
}
