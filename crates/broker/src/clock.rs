//! The one place that the broker takes its time from.
//!
//! The system clock is read once, at the start; from then on the time moves with the monotonic clock, so a
//! wall clock that is set back or forth neither expires sessions nor turns timestamps around.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Gives milliseconds since the Unix epoch; cheap to clone, shared by all threads.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { epoch_ms: i64, started: Instant },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The time of this machine.
    pub fn system() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(Source::System {
            epoch_ms: epoch.map_or(0, |since| since.as_millis() as i64),
            started: Instant::now(),
        })
    }

    /// A clock that moves only when `advance` is called.
    pub fn manual(start_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start_ms))))
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System { epoch_ms, started } => epoch_ms + started.elapsed().as_millis() as i64,
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Moves a manual clock; the system clock takes no orders.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
        }
    }
}
