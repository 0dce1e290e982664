//! Runs a shard: one thread that takes what has gathered since its last step, and steps.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::background::Background;
use super::event::Event;
use super::step::{Completed, Fatal, Shard};
use crate::clock::Clock;
use crate::compactor::Compactor;
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
                if let Some(need) = completed.compaction_need {
                    self.metrics.compaction_need(shard.index(), need);
                }
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
    compactor: Option<Arc<Compactor>>,
) -> (ShardHandle, JoinHandle<()>) {
    let running = Arc::new(Running {
        shard: Mutex::new(shard),
        queue: Queue::new(),
        clock,
        metrics,
        keeper: keeper.clone(),
    });
    let handle = ShardHandle(Arc::clone(&running));
    let background = Background::new(
        keeper.clone(),
        handle.clone(),
        compactor,
        running.clock.clone(),
    );
    let thread = keeper.spawn(name, move || running.run(background));
    (handle, thread)
}
