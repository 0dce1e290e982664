//! What both kinds of work queue are asked and answer, and how much they hold. `queue.rs` asks; `queue_ordered.rs` and
//! `queue_shared.rs` answer.

use std::time::Duration;

use client::Record;
use jiff::Timestamp;

use super::leases::{Leases, Lost, Terms, later};
use crate::problem::{Problem, TOO_MANY_REQUESTS};

/// The lease of a pull that names none.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);
/// More messages are not taken while so many are out or wait behind one that is not done with.
pub const MOST_HELD: usize = 10_000;
pub const MOST_HELD_BYTES: usize = 64 * 1024 * 1024;
/// How long the first pull waits for the group to let this member in.
pub const JOINING_LIMIT: Duration = Duration::from_secs(20);
/// How often it looks meanwhile.
pub const JOINING_STEP: Duration = Duration::from_millis(200);
/// The pause before what could not be settled or written is tried again.
pub const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A checked pull.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub max: usize,
    pub wait: Duration,
    pub lease: Option<Duration>,
    pub most_attempts: u32,
}

impl Ask {
    pub fn terms(&self, now: Timestamp) -> Terms {
        Terms {
            until: later(now, self.lease.unwrap_or(DEFAULT_LEASE)),
            most_attempts: self.most_attempts,
        }
    }
}

/// What became of one lease.
#[derive(Debug, Clone)]
pub enum Settled {
    Done,
    Lost,
    /// It is not known to be settled; the client may try again.
    Failed(Problem),
}

impl Settled {
    pub fn of<T>(outcome: Result<T, Lost>) -> Settled {
        match outcome {
            Ok(_) => Settled::Done,
            Err(Lost) => Settled::Lost,
        }
    }
}

/// How many more messages may be held.
pub fn room<R: Clone>(leases: &Leases<R>) -> usize {
    match leases.bytes() < MOST_HELD_BYTES {
        true => MOST_HELD.saturating_sub(leases.len()),
        false => 0,
    }
}

/// Why nothing more is taken.
pub fn full<R: Clone>(leases: &Leases<R>) -> Problem {
    let detail = format!(
        "{} messages ({} bytes) are out or wait behind one that is not acknowledged; acknowledge those first",
        leases.len(),
        leases.bytes()
    );
    Problem::new(TOO_MANY_REQUESTS, detail)
}

/// What a record takes while it is held.
pub fn size(record: &Record) -> usize {
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()));
    let key = record.key.as_ref().map_or(0, |key| key.len());
    let value = record.value.as_ref().map_or(0, |value| value.len());
    key + value + headers.sum::<usize>() + size_of::<Record>()
}
