//! Keeps what must hold as long as an owner's thread lives: the lock of the data directory, and that its end is noticed.

use std::fs::File;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::shard::{Fatal, OnFatal};

/// Starts the threads of owners; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    lock: Option<Arc<File>>,
    on_fatal: OnFatal,
}

impl Keeper {
    /// `lock` is let go when the last thread has ended, `on_fatal` is called when one cannot go on.
    pub fn new(lock: Option<Arc<File>>, on_fatal: OnFatal) -> Self {
        Self { lock, on_fatal }
    }

    /// Tells that an owner cannot go on.
    pub fn fail(&self, fatal: Fatal) {
        (self.on_fatal)(fatal);
    }

    /// Runs `run` on a thread of its own. A bug in it ends the broker rather than leaving it half alive.
    pub fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        let watch = Watch {
            keeper: self.clone(),
            name: name.to_owned(),
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _watch = watch;
            run();
        });
        thread.expect("the system starts a thread")
    }
}

struct Watch {
    keeper: Keeper,
    name: String,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            let thread = self.name.clone();
            self.keeper.fail(Fatal::Bug { thread });
        }
        // Held until here, whatever way the thread ended.
        let _ = &self.keeper.lock;
    }
}
