//! How much room the disk has left, and for whom. The last of it is kept for groups, transactions and metadata: clients that
//! produce are refused before it, so that offsets can still be committed and topics deleted.

use log::Space;

/// Kept for everything but records of clients; less on a small disk.
const RESERVE_BYTES: u64 = 64 << 20;
const RESERVE_PART: u64 = 20;
/// Below this part of the reserve the journals take nothing new either.
const LAST_PART: u64 = 4;
/// How long a look at the disk is believed.
const LOOK_AGAIN_MS: i64 = 250;

/// What may still be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Nothing new: what is under way ends when there is space again.
    Out,
    /// No records and no new topics.
    Low,
    Enough,
}

impl Room {
    /// Judges a disk; one that does not tell has enough.
    pub fn of(space: Option<Space>) -> Room {
        let Some(space) = space else {
            return Room::Enough;
        };
        let reserve = reserve(space);
        if space.available < reserve / LAST_PART {
            Room::Out
        } else if space.available < reserve {
            Room::Low
        } else {
            Room::Enough
        }
    }
}

fn reserve(space: Space) -> u64 {
    RESERVE_BYTES.min(space.total / RESERVE_PART)
}

/// Decides whether batches may be appended, without asking the disk each time.
#[derive(Debug, Default)]
pub struct Gauge {
    /// What may be appended before the reserve is reached, as far as is known; `None` where nobody can tell.
    left: Option<u64>,
    looked_at_ms: Option<i64>,
    is_low: bool,
}

impl Gauge {
    /// Whether there is room for `bytes` more; `look` asks the disk.
    pub fn admits(
        &mut self,
        bytes: u64,
        now_ms: i64,
        look: impl FnOnce() -> Option<Space>,
    ) -> bool {
        let is_fresh = self
            .looked_at_ms
            .is_some_and(|at| (0..LOOK_AGAIN_MS).contains(&(now_ms - at)));
        if !is_fresh || self.left.is_some_and(|left| left < bytes) {
            self.looked_at_ms = Some(now_ms);
            self.left = look().map(|space| space.available.saturating_sub(reserve(space)));
        }
        let is_low = self.left.is_some_and(|left| left < bytes);
        if is_low != self.is_low {
            self.is_low = is_low;
            match is_low {
                true => tracing::error!(
                    "the disk is nearly full: records are refused until there is space; free some, nothing else is needed"
                ),
                false => tracing::info!("the disk has space again: records are taken"),
            }
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes);
        }
        !is_low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(available: u64) -> Option<Space> {
        let total = 100 << 30;
        Some(Space { total, available })
    }

    #[test]
    fn the_last_of_the_disk_is_kept_for_the_journals() {
        assert_eq!(Room::of(None), Room::Enough);
        assert_eq!(Room::of(space(64 << 20)), Room::Enough);
        assert_eq!(Room::of(space((64 << 20) - 1)), Room::Low);
        assert_eq!(Room::of(space((16 << 20) - 1)), Room::Out);
        let small = |available| {
            Some(Space {
                total: 2_000,
                available,
            })
        };
        assert_eq!(Room::of(small(100)), Room::Enough);
        assert_eq!(Room::of(small(99)), Room::Low);
    }

    #[test]
    fn what_was_admitted_counts_before_the_disk_is_asked_again() {
        let mut gauge = Gauge::default();
        assert!(gauge.admits(600, 0, || space((64 << 20) + 1_000)));
        assert!(!gauge.admits(600, 1, || space((64 << 20) + 400)));
        assert!(gauge.admits(400, 2, || space((64 << 20) + 400)));
        // A clock that jumps back only makes it look.
        assert!(!gauge.admits(1, -5, || space(0)));
        assert!(gauge.admits(1, 300, || None));
    }
}
