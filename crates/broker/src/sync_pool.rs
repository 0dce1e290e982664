//! Syncs a set of files at once. 128 dirty files one after another take 180–504 ms, the same files from
//! 32 threads 7.5 ms: the disk merges what it is asked for together (reference: performance notes in docs/benchmarks.md).
//! Called by the shards, once per step.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use log::DiskFile;
use parking_lot::Mutex;

/// Threads that only call `sync`; one file needs none of them.
pub struct SyncPool {
    jobs: Mutex<Sender<Job>>,
    waiting: Arc<Mutex<Receiver<Job>>>,
    started: Mutex<usize>,
    threads: usize,
}

struct Job {
    file: Arc<dyn DiskFile>,
    index: usize,
    done: Sender<(usize, io::Result<()>)>,
}

impl SyncPool {
    /// A pool of at most `threads`, which start when they are first needed. Without threads files are synced one after
    /// another, in their order: what a simulation needs to be the same each time.
    pub fn new(threads: usize) -> Self {
        let (jobs, waiting) = channel();
        Self {
            jobs: Mutex::new(jobs),
            waiting: Arc::new(Mutex::new(waiting)),
            started: Mutex::new(0),
            threads,
        }
    }

    /// Returns when all `files` are on the disk, with the time that it took.
    ///
    /// # Errors
    /// The position of the first file that failed, and why; the others were tried all the same.
    pub fn sync_all(&self, files: &[Arc<dyn DiskFile>]) -> Result<Duration, (usize, io::Error)> {
        let started = Instant::now();
        match files {
            [] => {}
            [only] => only.sync().map_err(|error| (0, error))?,
            many if self.threads == 0 => sync_in_order(many)?,
            many => self.sync_many(many)?,
        }
        Ok(started.elapsed())
    }

    fn sync_many(&self, files: &[Arc<dyn DiskFile>]) -> Result<(), (usize, io::Error)> {
        self.start_threads(files.len() - 1);
        let (done, results) = channel();
        let jobs = self.jobs.lock().clone();
        for (index, file) in files.iter().enumerate().skip(1) {
            let job = Job {
                file: Arc::clone(file),
                index,
                done: done.clone(),
            };
            jobs.send(job).expect("the pool holds its own receiver");
        }
        drop(done);
        let mut first_failure = files[0].sync().err().map(|error| (0, error));
        let mut answered = 1;
        for (index, result) in results {
            answered += 1;
            if let Err(error) = result {
                first_failure.get_or_insert((index, error));
            }
        }
        assert_eq!(
            answered,
            files.len(),
            "AckedIsDurable: every file was synced"
        );
        first_failure.map_or(Ok(()), Err)
    }

    fn start_threads(&self, wanted: usize) {
        let mut started = self.started.lock();
        while *started < wanted.min(self.threads) {
            let waiting = Arc::clone(&self.waiting);
            thread::Builder::new()
                .name(format!("sync-{started}"))
                .stack_size(64 << 10)
                .spawn(move || run(&waiting))
                .expect("the system starts a thread");
            *started += 1;
        }
    }
}

/// As `SyncPool::sync_many`, on this thread.
fn sync_in_order(files: &[Arc<dyn DiskFile>]) -> Result<(), (usize, io::Error)> {
    let mut first_failure = None;
    for (index, file) in files.iter().enumerate() {
        if let Err(error) = file.sync() {
            first_failure.get_or_insert((index, error));
        }
    }
    first_failure.map_or(Ok(()), Err)
}

fn run(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let received = waiting.lock().recv();
        let Ok(Job { file, index, done }) = received else {
            return;
        };
        let result = file.sync();
        // The shard has given up only if its thread is gone.
        let _ = done.send((index, result));
    }
}
