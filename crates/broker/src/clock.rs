//! The one place that the broker takes its time from.
//!
//! The wall clock is read once, at the start; from then on the time moves with a clock that nobody sets and that
//! goes on while the machine sleeps. A wall clock that is set back or forth neither expires sessions nor turns
//! timestamps around.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Gives milliseconds since the Unix epoch; cheap to clone, shared by all threads.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// What to add to the time since the machine started.
    System {
        epoch_ms: i64,
    },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The time of this machine.
    pub fn system() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall_ms = wall.map_or(0, |since| since.as_millis() as i64);
        Self(Source::System {
            epoch_ms: wall_ms - since_boot_ms(),
        })
    }

    /// A clock that moves only when `advance` is called.
    pub fn manual(start_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start_ms))))
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System { epoch_ms } => epoch_ms + since_boot_ms(),
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

/// Milliseconds since the machine started, the time that it slept included where the system counts it.
fn since_boot_ms() -> i64 {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1000) + time.tv_nsec / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_agrees_with_the_wall() {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time after 1970");
        let ours = Clock::system().now_ms();
        assert!((ours - wall.as_millis() as i64).abs() < 60_000, "{ours}");
    }
}
