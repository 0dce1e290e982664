//! How much one client, or those that share a quota, have used: an average rate, and a bucket of permits.

use std::collections::VecDeque;
use std::time::Duration;

use super::throttles::Windows;
use crate::step::Millis;

/// The average rate over the last windows.
///
/// Kafka's `Rate` over `SampledStat`: what the present and the earlier windows hold, divided by the time since the first
/// of them began, which counts as at least all windows but one, so that a client that has just begun may burst.
#[derive(Clone, Debug, Default)]
pub(super) struct RateMeter {
    /// When each window began, and what was used in it; the oldest first.
    windows: VecDeque<(Millis, f64)>,
}

impl RateMeter {
    /// Adds what was used, then tells how long to hold the client back to be at `limit` a second again.
    pub fn use_and_throttle(
        &mut self,
        now: Millis,
        amount: f64,
        limit: f64,
        windows: Windows,
    ) -> Duration {
        self.add(now, amount, windows);
        let total: f64 = self.windows.iter().map(|(_, used)| used).sum();
        let oldest = self.windows.front().map_or(now, |(began, _)| *began);
        let least = windows
            .length
            .saturating_mul(windows.count.saturating_sub(1).max(1));
        let elapsed = now.since(oldest).max(least).as_secs_f64();
        let rate = total / elapsed;
        if rate <= limit || limit <= 0.0 {
            return Duration::ZERO;
        }
        seconds((rate - limit) / limit * elapsed)
    }

    /// Adds what was used, or takes back what was added, without asking.
    pub fn add(&mut self, now: Millis, amount: f64, windows: Windows) {
        let expired = windows.length.saturating_mul(windows.count);
        while self
            .windows
            .front()
            .is_some_and(|(began, _)| now.since(*began) >= expired)
        {
            self.windows.pop_front();
        }
        match self.windows.back_mut() {
            Some((began, used)) if now.since(*began) < windows.length => *used += amount,
            _ => self.windows.push_back((now, amount)),
        }
    }

    /// Whether nothing is left of what was used, so that forgetting it changes nothing.
    pub fn is_idle(&self, now: Millis, windows: Windows) -> bool {
        let expired = windows.length.saturating_mul(windows.count);
        let last = self.windows.back();
        last.is_none_or(|(began, _)| now.since(*began) >= expired)
    }
}

/// Permits that fill up at a rate, as many as fit into all windows; may be overdrawn once (KIP-599).
#[derive(Clone, Debug)]
pub(super) struct PermitBucket {
    permits: f64,
    filled_at: Millis,
}

impl PermitBucket {
    pub fn full(now: Millis, limit: f64, windows: Windows) -> Self {
        Self {
            permits: burst(limit, windows),
            filled_at: now,
        }
    }

    /// How long until there are permits again; zero when there are.
    pub fn wait(&mut self, now: Millis, limit: f64, windows: Windows) -> Duration {
        let filled = limit * now.since(self.filled_at).as_secs_f64();
        self.permits = (self.permits + filled).min(burst(limit, windows));
        self.filled_at = now;
        match self.permits < 0.0 && limit > 0.0 {
            true => seconds(-self.permits / limit),
            false => Duration::ZERO,
        }
    }

    /// Takes permits, more than there are if need be.
    pub fn take(&mut self, permits: f64) {
        self.permits -= permits;
    }

    pub fn is_idle(&self, now: Millis, windows: Windows) -> bool {
        let full = windows.length.saturating_mul(windows.count);
        self.permits >= 0.0 && now.since(self.filled_at) >= full
    }
}

fn burst(limit: f64, windows: Windows) -> f64 {
    limit * windows.length.as_secs_f64() * f64::from(windows.count)
}

/// A time to wait, to the millisecond; never longer than a client can be told.
fn seconds(seconds: f64) -> Duration {
    let millis = (seconds * 1000.0).round().clamp(0.0, f64::from(i32::MAX));
    Duration::from_millis(millis as u64)
}
