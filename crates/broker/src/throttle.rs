//! Holds clients back that use more than their quota: the answer goes out at once and says for how long, and nothing
//! more is read from the connection until then (KIP-13, KIP-124, KIP-219, KIP-599, KIP-612).
//! Rules: broker_state::quotas. Where nobody has a quota, nothing is measured.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use broker_state::configs::BrokerConfig;
use broker_state::quotas::{Client, ClientQuotas, PermitMode, QuotaKey, Throttles, Windows};
use broker_state::step::Millis;
use parking_lot::Mutex;

use wire::{ErrorCode, RequestHeader};

use crate::cluster::ClusterImage;
use crate::connection::Connection;

/// Who everybody is without authentication, as Kafka names it.
const ANONYMOUS: &str = "ANONYMOUS";

/// The meters of all clients with quotas.
pub struct Throttling {
    meters: Mutex<Throttles>,
    /// `num.partitions`: what a topic counts whose creator leaves the choice to the broker.
    default_partitions: usize,
    /// `max.connection.creation.rate`, if it is set.
    connection_rate: Option<f64>,
}

impl Throttling {
    pub fn new(config: &BrokerConfig) -> Self {
        let positive = |key: &str| u32::try_from(config.integer(key)).unwrap_or(u32::MAX);
        let windows = Windows {
            count: positive("quota.window.num"),
            length: Duration::from_secs(positive("quota.window.size.seconds").into()),
        };
        Self {
            meters: Mutex::new(Throttles::new(windows)),
            default_partitions: positive("num.partitions") as usize,
            connection_rate: Some(config.integer("max.connection.creation.rate"))
                .filter(|rate| *rate < i64::from(i32::MAX))
                .map(|rate| rate as f64),
        }
    }

    /// How long no further connection is accepted after one was.
    pub fn accepted(&self, now_ms: i64) -> Duration {
        match self.connection_rate {
            // No address has this name, so it stands for all of them.
            Some(rate) => self.meters.lock().connect(Millis(now_ms), "all", rate),
            None => Duration::ZERO,
        }
    }

    /// How long a new connection from `address` is held back before it is closed; zero for one that is served.
    pub fn connect(&self, now_ms: i64, quotas: &ClientQuotas, address: IpAddr) -> Duration {
        let Some(limit) = quotas.connection_rate(address) else {
            return Duration::ZERO;
        };
        let name = address.to_canonical().to_string();
        self.meters.lock().connect(Millis(now_ms), &name, limit)
    }
}

impl Connection {
    /// Whether anybody has a quota of this kind.
    pub fn is_limited(&self, key: QuotaKey) -> bool {
        self.core.cluster.peek(|image| image.quotas().limits(key))
    }

    /// Counts what this client has used and tells how long it is held back, in milliseconds.
    pub fn charge(&self, key: QuotaKey, client_id: Option<&str>, amount: f64) -> i32 {
        if !self.is_limited(key) {
            return 0;
        }
        let image = self.core.image();
        let now = Millis(self.core.now_ms());
        let mut meters = self.core.throttling.meters.lock();
        let wait = meters.charge(now, image.quotas(), key, client(client_id), amount);
        drop(meters);
        self.hold_back(key, wait)
    }

    /// As `charge`, in percent of one thread's time.
    pub fn charge_time(&self, client_id: Option<&str>, spent: Duration) -> i32 {
        self.charge(
            QuotaKey::RequestPercentage,
            client_id,
            spent.as_secs_f64() * 100.0,
        )
    }

    /// Takes back what was charged for an answer that is not sent.
    pub fn refund(&self, key: QuotaKey, client_id: Option<&str>, amount: f64) {
        let image = self.core.image();
        let now = Millis(self.core.now_ms());
        let mut meters = self.core.throttling.meters.lock();
        meters.refund(now, image.quotas(), key, client(client_id), amount);
    }

    /// What the client may be sent at once by its quota.
    pub fn most_at_once(&self, key: QuotaKey, client_id: Option<&str>) -> Option<u64> {
        if !self.is_limited(key) {
            return None;
        }
        let image = self.core.image();
        let meters = self.core.throttling.meters.lock();
        let most = meters.most_at_once(image.quotas(), key, client(client_id))?;
        Some(most as u64)
    }

    /// Takes permits to change the cluster, one for each partition that is created or deleted (`counts`, by part of the
    /// request; a negative count is the default's). Since version `strict_from` the parts for which there are none are
    /// refused; the clients of older versions do not know that error and are held back only.
    pub fn take_permits(
        &self,
        header: &RequestHeader<'_>,
        strict_from: i16,
        counts: impl FnOnce(&ClusterImage) -> Vec<i32>,
    ) -> Permits {
        let mut taken = Permits::default();
        if !self.is_limited(QuotaKey::ControllerMutationRate) {
            return taken;
        }
        let image = self.core.image();
        let now = Millis(self.core.now_ms());
        let mut wait = Duration::ZERO;
        let mut meters = self.core.throttling.meters.lock();
        let mode = match header.api_version >= strict_from {
            true => PermitMode::Strict,
            false => PermitMode::Permissive,
        };
        let client = client(header.client_id);
        for count in counts(&image) {
            let permits = usize::try_from(count).unwrap_or(self.core.throttling.default_partitions);
            let answer = meters.take_permits(now, image.quotas(), client, permits as f64, mode);
            taken.refused.push(answer.is_err());
            wait = wait.max(answer.unwrap_or_else(|refused| refused));
        }
        drop(meters);
        taken.throttle_time_ms = self.hold_back(QuotaKey::ControllerMutationRate, wait);
        taken
    }

    /// Stops reading from the client for some time.
    fn hold_back(&self, key: QuotaKey, wait: Duration) -> i32 {
        if wait.is_zero() {
            return 0;
        }
        self.core.metrics.throttled(key, wait);
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let until = self.core.now_ms().saturating_add(wait_ms.into());
        self.held_until_ms.fetch_max(until, Ordering::Relaxed);
        wait_ms
    }

    /// How much longer nothing is read from the client.
    pub fn held_for(&self) -> Option<Duration> {
        let until = self.held_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let left = until.saturating_sub(self.core.now_ms());
        match u64::try_from(left) {
            Ok(left) if left > 0 => Some(Duration::from_millis(left)),
            _ => {
                self.held_until_ms.store(0, Ordering::Relaxed);
                None
            }
        }
    }
}

/// The error of a part of a request for which there are no permits, in Kafka's words.
pub const QUOTA_EXCEEDED: (ErrorCode, &str) = (
    ErrorCode::ThrottlingQuotaExceeded,
    "The throttling quota has been exceeded.",
);

/// What became of a request for permits.
#[derive(Debug, Default)]
pub struct Permits {
    /// By part of the request; empty when nobody is limited.
    refused: Vec<bool>,
    pub throttle_time_ms: i32,
}

impl Permits {
    /// Takes the parts of a request apart: those that may go on, and those that are refused.
    pub fn split<T>(&self, parts: impl IntoIterator<Item = T>) -> (Vec<T>, Vec<T>) {
        let refused = self.refused.iter().copied().chain(std::iter::repeat(false));
        let (refused, granted): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .zip(refused)
            .partition(|(_, refused)| *refused);
        let part = |(part, _)| part;
        (
            granted.into_iter().map(part).collect(),
            refused.into_iter().map(part).collect(),
        )
    }
}

fn client(client_id: Option<&str>) -> Client<'_> {
    Client {
        user: ANONYMOUS,
        client_id: client_id.unwrap_or_default(),
    }
}

/// Runs `work` and tells how long it kept a thread, when somebody wants to know; what it waited does not count.
pub async fn timed<T>(is_measured: bool, work: impl Future<Output = T>) -> (T, Duration) {
    if !is_measured {
        return (work.await, Duration::ZERO);
    }
    let mut work = std::pin::pin!(work);
    let mut spent = Duration::ZERO;
    let output = poll_fn(|context| {
        let begun = Instant::now();
        let polled = work.as_mut().poll(context);
        spent += begun.elapsed();
        polled
    });
    let output = output.await;
    (output, spent)
}
