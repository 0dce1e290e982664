//! Measures what clients use and tells how long those that use more than their quota are held back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::meter::{PermitBucket, RateMeter};
use super::{ClientQuotas, QuotaKey, SharedBy};
use crate::step::Millis;

/// Meters kept at once. Beyond it those that have been idle for all windows go, then those used least recently.
pub const MAX_METERS: usize = 10_000;

/// What rates are averaged over: `quota.window.num` windows of `quota.window.size.seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    pub count: u32,
    pub length: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            count: 11,
            length: Duration::from_secs(1),
        }
    }
}

/// Who makes a request.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub user: &'a str,
    /// Empty when the client gives none.
    pub client_id: &'a str,
}

/// What happens to a request for permits beyond the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermitMode {
    /// It is refused, and the client told when to come back.
    Strict,
    /// It is carried out, and the client held back: what clients of older versions understand.
    Permissive,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MeterKey {
    key: QuotaKey,
    user: Option<Arc<str>>,
    client_id: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Meter {
    used_at: Millis,
    rate: RateMeter,
    permits: Option<PermitBucket>,
}

/// The meters of all clients that have quotas.
#[derive(Clone, Debug)]
pub struct Throttles {
    windows: Windows,
    limit: usize,
    meters: HashMap<MeterKey, Meter>,
}

impl Throttles {
    pub fn new(windows: Windows) -> Self {
        Self::limited(windows, MAX_METERS)
    }

    pub(super) fn limited(windows: Windows, limit: usize) -> Self {
        Self {
            windows,
            limit,
            meters: HashMap::new(),
        }
    }

    /// Meters kept now.
    pub fn len(&self) -> usize {
        self.meters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    /// Counts what a client has used of `key`, and tells how long to hold it back.
    pub fn charge(
        &mut self,
        now: Millis,
        quotas: &ClientQuotas,
        key: QuotaKey,
        client: Client<'_>,
        amount: f64,
    ) -> Duration {
        let Some((limit, shared)) = quotas.limit(key, client.user, client.client_id) else {
            return Duration::ZERO;
        };
        let windows = self.windows;
        let meter = self.meter(now, meter_key(key, client, shared));
        let wait = meter.rate.use_and_throttle(now, amount, limit, windows);
        match key {
            // Kafka holds a client back for one window at a time where it counts time.
            QuotaKey::RequestPercentage => wait.min(windows.length),
            _ => wait,
        }
    }

    /// Takes back what `charge` counted: the answer is not sent.
    pub fn refund(
        &mut self,
        now: Millis,
        quotas: &ClientQuotas,
        key: QuotaKey,
        client: Client<'_>,
        amount: f64,
    ) {
        if let Some((_, shared)) = quotas.limit(key, client.user, client.client_id) {
            let windows = self.windows;
            let meter = self.meter(now, meter_key(key, client, shared));
            meter.rate.add(now, -amount, windows);
        }
    }

    /// What a client may use of `key` at once without being held back for ever: the quota of all windows but one.
    pub fn most_at_once(
        &self,
        quotas: &ClientQuotas,
        key: QuotaKey,
        client: Client<'_>,
    ) -> Option<f64> {
        let (limit, _) = quotas.limit(key, client.user, client.client_id)?;
        let windows = f64::from(self.windows.count.saturating_sub(1).max(1));
        Some(limit * windows * self.windows.length.as_secs_f64())
    }

    /// Takes permits for changes of the cluster (KIP-599).
    ///
    /// # Errors
    /// In strict mode: how long until there are permits again; nothing is taken then.
    pub fn take_permits(
        &mut self,
        now: Millis,
        quotas: &ClientQuotas,
        client: Client<'_>,
        permits: f64,
        mode: PermitMode,
    ) -> Result<Duration, Duration> {
        let key = QuotaKey::ControllerMutationRate;
        let Some((limit, shared)) = quotas.limit(key, client.user, client.client_id) else {
            return Ok(Duration::ZERO);
        };
        let windows = self.windows;
        let meter = self.meter(now, meter_key(key, client, shared));
        let bucket = meter
            .permits
            .get_or_insert_with(|| PermitBucket::full(now, limit, windows));
        let wait = bucket.wait(now, limit, windows);
        if mode == PermitMode::Strict && wait > Duration::ZERO {
            return Err(wait);
        }
        bucket.take(permits);
        match mode {
            PermitMode::Strict => Ok(Duration::ZERO),
            PermitMode::Permissive => Ok(bucket.wait(now, limit, windows)),
        }
    }

    /// Counts a new connection from `address`, and tells how long to hold it back; one that is held back does not count.
    pub fn connect(&mut self, now: Millis, address: &str, limit: f64) -> Duration {
        let windows = self.windows;
        let key = MeterKey {
            key: QuotaKey::ConnectionCreationRate,
            user: None,
            client_id: Some(address.into()),
        };
        let meter = self.meter(now, key);
        let wait = meter.rate.use_and_throttle(now, 1.0, limit, windows);
        if wait > Duration::ZERO {
            meter.rate.add(now, -1.0, windows);
        }
        wait.min(windows.length.saturating_mul(windows.count))
    }

    fn meter(&mut self, now: Millis, key: MeterKey) -> &mut Meter {
        if self.meters.len() >= self.limit && !self.meters.contains_key(&key) {
            self.make_room(now);
        }
        let meter = self.meters.entry(key).or_insert_with(|| Meter {
            used_at: now,
            rate: RateMeter::default(),
            permits: None,
        });
        meter.used_at = now;
        meter
    }

    fn make_room(&mut self, now: Millis) {
        let windows = self.windows;
        self.meters.retain(|_, meter| {
            let permits = meter.permits.as_ref();
            let is_idle = permits.is_none_or(|permits| permits.is_idle(now, windows));
            !(is_idle && meter.rate.is_idle(now, windows))
        });
        if self.meters.len() < self.limit {
            return;
        }
        // A tenth at a time, so that a stream of new clients does not look through all meters each time.
        let mut uses: Vec<Millis> = self.meters.values().map(|meter| meter.used_at).collect();
        let tenth = uses.len() / 10;
        let (_, newest_to_go, _) = uses.select_nth_unstable(tenth);
        let newest_to_go = *newest_to_go;
        let mut left = tenth + 1;
        self.meters.retain(|_, meter| {
            let goes = left > 0 && meter.used_at <= newest_to_go;
            left -= usize::from(goes);
            !goes
        });
    }
}

fn meter_key(key: QuotaKey, client: Client<'_>, shared: SharedBy) -> MeterKey {
    MeterKey {
        key,
        user: shared.user.then(|| client.user.into()),
        client_id: shared.client_id.then(|| client.client_id.into()),
    }
}
