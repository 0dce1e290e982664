//! Runs a shard: one thread that takes what has gathered since its last step, and steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::Remains;
use parking_lot::{Condvar, Mutex};

use super::event::Event;
use super::step::{Checkpointing, Completed, Fatal, Shard};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// The longest time between two ticks.
const TICK: Duration = Duration::from_millis(250);

/// Called once, when the disk has failed and the broker must end.
pub type OnFatal = Arc<dyn Fn(Fatal) + Send + Sync>;

/// The way to a shard; clones share one queue.
///
/// The queue is bounded by the memory that requests may hold (`Limits::request_memory_bytes`): each event
/// belongs to a request that is still being worked on.
#[derive(Clone)]
pub struct ShardHandle(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    events: Vec<Event>,
    is_closed: bool,
}

impl ShardHandle {
    /// Hands `event` over; after the shard has ended it is dropped, and with it its reply.
    pub fn send(&self, event: Event) {
        let mut state = self.0.state.lock();
        if state.is_closed {
            return;
        }
        state.events.push(event);
        if state.events.len() == 1 {
            self.0.filled.notify_one();
        }
    }

    /// Waits for events, at most until the next tick.
    fn take(&self, spare: Vec<Event>) -> Vec<Event> {
        let mut state = self.0.state.lock();
        if state.events.is_empty() {
            self.0.filled.wait_for(&mut state, TICK);
        }
        std::mem::replace(&mut state.events, spare)
    }

    fn close(&self) {
        let mut state = self.0.state.lock();
        state.is_closed = true;
        state.events.clear();
    }
}

/// Starts the thread of `shard`.
pub fn spawn(
    shard: Shard,
    name: String,
    clock: Clock,
    metrics: Arc<Metrics>,
    on_fatal: OnFatal,
) -> (ShardHandle, JoinHandle<()>) {
    let handle = ShardHandle(Arc::default());
    let runner = Runner {
        shard,
        handle: handle.clone(),
        clock,
        metrics,
        background: Background::new(on_fatal.clone(), handle.clone()),
        on_fatal,
    };
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || runner.run())
        .expect("the system starts a thread");
    (handle, thread)
}

struct Runner {
    shard: Shard,
    handle: ShardHandle,
    clock: Clock,
    metrics: Arc<Metrics>,
    background: Background,
    on_fatal: OnFatal,
}

impl Runner {
    fn run(mut self) {
        let mut ticked_at = self.clock.now_ms();
        let mut spare = Vec::new();
        loop {
            let mut events = self.handle.take(spare);
            let now_ms = self.clock.now_ms();
            if now_ms - ticked_at >= TICK.as_millis() as i64 {
                ticked_at = now_ms;
                events.push(Event::Tick);
            }
            match self.shard.step(now_ms, events.drain(..)) {
                Ok(completed) => {
                    self.metrics.step(&completed.times);
                    let is_closed = completed.is_closed;
                    self.background.start(completed);
                    if is_closed {
                        return self.handle.close();
                    }
                }
                Err(fatal) => {
                    self.handle.close();
                    return (self.on_fatal)(fatal);
                }
            }
            events.clear();
            spare = events;
        }
    }
}

/// What nobody waits for, checkpoints and the removal of files: one thread, started when it is first needed.
struct Background {
    on_fatal: OnFatal,
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
    fn new(on_fatal: OnFatal, handle: ShardHandle) -> Self {
        Self {
            on_fatal,
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
            let (queue, handle, on_fatal) = (
                Arc::downgrade(&self.queue),
                self.handle.clone(),
                self.on_fatal.clone(),
            );
            let run = move || {
                // The queue goes when its shard ends.
                while let Some(queue) = queue.upgrade() {
                    if let Some(fatal) = queue.next().and_then(|job| work(job, &handle)) {
                        return on_fatal(fatal);
                    }
                }
            };
            thread::Builder::new()
                .name("background".to_owned())
                .spawn(run)
                .expect("the system starts a thread");
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
