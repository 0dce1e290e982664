//! The words every machine of this crate shares: time as a number, request ids, and the effects of one step.
//!
//! Keeps true: a machine never acts; it only fills `Effects`. The runner makes `records` durable in their order
//! and releases `replies` after that, so no reply leaves before what it promises is on the disk.

use std::ops::Add;
use std::time::Duration;

/// A wall-clock time in milliseconds since the Unix epoch, always passed in by the runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// The time that has passed since `earlier`; zero when the clock went backwards.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Millis {
    type Output = Millis;

    /// A later time; a duration beyond the range of the clock ends at its end.
    fn add(self, duration: Duration) -> Millis {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Millis(self.0.saturating_add(millis))
    }
}

/// Names the request that a reply belongs to; chosen by the runner, opaque to the machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What one step asks of the runner: records to make durable, in this order, then replies to release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<R, P> {
    pub records: Vec<R>,
    pub replies: Vec<(RequestId, P)>,
}

impl<R, P> Default for Effects<R, P> {
    fn default() -> Self {
        Effects {
            records: Vec::new(),
            replies: Vec::new(),
        }
    }
}

impl<R, P> Effects<R, P> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record behind those already asked for.
    pub fn record(&mut self, record: R) {
        self.records.push(record);
    }

    /// Answers `request` once every record of this step is durable.
    pub fn reply(&mut self, request: RequestId, reply: P) {
        self.replies.push((request, reply));
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty()
    }

    /// Hands the effects out and leaves `self` empty for the next step.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Empties the lists and keeps their memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.replies.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Millis(i64::MAX) + Duration::from_secs(1), Millis(i64::MAX));
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
        assert_eq!(Millis(9).since(Millis(5)), Duration::from_millis(4));
    }

    #[test]
    fn taken_effects_leave_nothing_behind() {
        let mut effects: Effects<&str, &str> = Effects::new();
        effects.record("written");
        effects.reply(RequestId(1), "answered");
        let taken = effects.take();
        assert_eq!((taken.records.len(), taken.replies.len()), (1, 1));
        assert!(effects.is_empty());
    }
}
