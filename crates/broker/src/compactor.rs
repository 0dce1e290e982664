//! Compacts logs: a few threads of the broker's own (`log.cleaner.threads`), each with one compaction at a time.
//!
//! A shard decides what is compacted and hands out the job; what the job did comes back to it as events, and all that the shard does
//! then is to change a list. The threads give way: they run with a lower priority, keep to `log.cleaner.io.max.bytes.per.second`,
//! sync what they write in small portions, and stop when the broker or the partition goes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker_state::configs::BrokerConfig;
use log::{ByteCount, CompactionBuffer, CompactionJob, LogError, Pace};
use parking_lot::{Condvar, Mutex};

use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::shard::{Event, ShardHandle, Slot};

/// How much nicer than the rest of the broker: producers and consumers come first.
const NICENESS: i32 = 10;

/// The broker's settings for compaction, under Kafka's keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactorSettings {
    pub threads: usize,
    /// Shared by the threads.
    pub buffer: CompactionBuffer,
    pub bytes_per_second: f64,
}

impl CompactorSettings {
    pub fn of(config: &BrokerConfig) -> Self {
        let number = |key: &str| {
            config
                .value(key)
                .and_then(|value| value.parse::<f64>().ok())
        };
        let positive = |key: &str| config.integer(key).max(0).unsigned_abs();
        let threads = usize::try_from(positive("log.cleaner.threads")).unwrap_or(usize::MAX);
        let memory = positive("log.cleaner.dedupe.buffer.size") / threads.max(1) as u64;
        Self {
            threads,
            buffer: CompactionBuffer {
                memory: ByteCount(memory),
                load: number("log.cleaner.io.buffer.load.factor").unwrap_or(0.9),
            },
            bytes_per_second: number("log.cleaner.io.max.bytes.per.second").unwrap_or(f64::MAX),
        }
    }
}

/// A compaction that a shard wants done.
pub struct Compacting {
    pub partition: Slot,
    pub job: CompactionJob,
}

/// The threads and their queue, which has at most one job of each shard.
pub struct Compactor {
    state: Mutex<State>,
    filled: Condvar,
    metrics: Arc<Metrics>,
    keeper: Keeper,
}

struct State {
    jobs: VecDeque<(Compacting, ShardHandle)>,
    settings: CompactorSettings,
    threads: usize,
    started: Vec<JoinHandle<()>>,
    is_stopping: bool,
}

impl Compactor {
    pub fn new(settings: CompactorSettings, metrics: Arc<Metrics>, keeper: Keeper) -> Self {
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                settings,
                threads: 0,
                started: Vec::new(),
                is_stopping: false,
            }),
            filled: Condvar::new(),
            metrics,
            keeper,
        }
    }

    /// Takes other settings: from the next compaction on, and at once what concerns the pace.
    pub fn configure(&self, settings: CompactorSettings) {
        self.state.lock().settings = settings;
    }

    /// Queues a compaction; the shard of `handle` hears of its results and of its end.
    pub fn submit(self: &Arc<Self>, compacting: Compacting, handle: ShardHandle) {
        let mut state = self.state.lock();
        if state.is_stopping {
            return;
        }
        state.jobs.push_back((compacting, handle));
        // A job that no thread takes would keep retention from its log; `log.cleaner.enable` is what turns compaction off.
        if state.threads < state.settings.threads.max(1) {
            state.threads += 1;
            let compactor = Arc::clone(self);
            let run = move || compactor.run();
            let thread = self.keeper.spawn("compaction", run);
            state.started.retain(|thread| !thread.is_finished());
            state.started.push(thread);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Has the compactions under way abandoned, begins no more, and waits for the threads to end.
    pub fn stop(&self) {
        let (dropped, threads) = {
            let mut state = self.state.lock();
            state.is_stopping = true;
            (
                std::mem::take(&mut state.jobs),
                std::mem::take(&mut state.started),
            )
        };
        drop(dropped);
        self.filled.notify_all();
        // A thread that met a bug has told so itself.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    fn run(&self) {
        // Without the permission for it, compaction is as important as the rest.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        while let Some((compacting, handle)) = self.next() {
            self.compact(compacting, &handle);
        }
    }

    fn next(&self) -> Option<(Compacting, ShardHandle)> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let is_superfluous = state.threads > state.settings.threads.max(1);
            if is_superfluous {
                state.threads -= 1;
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            self.filled.wait(&mut state);
        }
    }

    fn compact(&self, Compacting { partition, job }: Compacting, handle: &ShardHandle) {
        let started = Instant::now();
        let buffer = self.state.lock().settings.buffer;
        let mut meter = Meter::new(started);
        let mut pace = |bytes: ByteCount| self.may_go_on(&partition, &mut meter, bytes);
        let mut on_swap = |swapped| {
            handle.send(Event::Swapped {
                partition: Arc::clone(&partition),
                swapped,
            });
        };
        let outcome = job.run(buffer, Pace(&mut pace), &mut on_swap);
        if let Ok(finished) = &outcome {
            let report = finished.report;
            self.metrics.compacted(&report, started.elapsed());
            tracing::info!(partition = ?partition, read = report.read_bytes.0, kept = report.kept_bytes.0,
                records = report.records.read, records_kept = report.records.kept, upto = %finished.end,
                milliseconds = started.elapsed().as_millis() as u64, "compacted");
        }
        handle.send(Event::Compacted { partition, outcome });
    }

    /// Waits until the rate allows for more; `false` when the compaction is to be abandoned.
    fn may_go_on(&self, partition: &Slot, meter: &mut Meter, bytes: ByteCount) -> bool {
        let mut state = self.state.lock();
        meter.add(bytes);
        loop {
            if state.is_stopping || partition.is_closed() {
                return false;
            }
            let rate = state.settings.bytes_per_second / state.settings.threads.max(1) as f64;
            match meter.ahead_by(rate, Instant::now()) {
                Some(ahead) => self.filled.wait_for(&mut state, ahead),
                None => return true,
            };
        }
    }
}

/// What was read and written since when.
struct Meter {
    since: Instant,
    bytes: f64,
}

impl Meter {
    /// A second without work is not saved for later.
    const WINDOW: Duration = Duration::from_secs(1);

    fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: 0.0,
        }
    }

    fn add(&mut self, bytes: ByteCount) {
        self.bytes += bytes.0 as f64;
    }

    /// How long to wait for the rate; none when it allows for more now.
    fn ahead_by(&mut self, bytes_per_second: f64, now: Instant) -> Option<Duration> {
        let due = Duration::try_from_secs_f64(self.bytes / bytes_per_second.max(1.0))
            .unwrap_or(Duration::from_secs(3600));
        let passed = now.saturating_duration_since(self.since);
        if let Some(ahead) = due.checked_sub(passed).filter(|ahead| !ahead.is_zero()) {
            return Some(ahead);
        }
        if passed >= Self::WINDOW {
            *self = Self::new(now);
        }
        None
    }
}

/// Whether a compaction that failed so has harmed nothing and may be tried again.
pub fn can_be_repeated(error: &LogError) -> bool {
    matches!(error, LogError::Abandoned) || error.is_disk_full()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_idleness_is_not_saved() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut meter = Meter::new(start);
        meter.add(ByteCount(500));
        assert_eq!(
            meter.ahead_by(1_000.0, at(100)),
            Some(Duration::from_millis(400))
        );
        assert_eq!(meter.ahead_by(1_000.0, at(500)), None);
        assert_eq!(meter.ahead_by(1_000.0, at(60_000)), None);
        meter.add(ByteCount(1_000));
        assert_eq!(
            meter.ahead_by(1_000.0, at(60_000)),
            Some(Duration::from_secs(1))
        );
        assert_eq!(meter.ahead_by(f64::MAX, at(60_000)), None);
    }

    #[test]
    fn threads_share_the_buffer() {
        let entries = [
            ("log.cleaner.threads", "4"),
            ("log.cleaner.io.max.bytes.per.second", "1e6"),
        ];
        let settings = CompactorSettings::of(&BrokerConfig::from_static(entries).unwrap());
        assert_eq!(settings.buffer.memory, ByteCount::mebibytes(32));
        assert_eq!((settings.threads, settings.bytes_per_second), (4, 1e6));
    }
}
