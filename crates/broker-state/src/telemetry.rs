//! Metrics that clients push to the broker (KIP-714): who pushes what how often, and what was pushed last.
//!
//! Keeps true: instances and series are bounded and forgotten when nothing more comes of them; a client that asks or
//! pushes before its time is refused. Nothing here is durable. Time and new ids are passed in.
//! Source of rules: Kafka's ClientMetricsManager. Called by the broker's telemetry APIs.

mod otlp;
mod series;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use wire::{ErrorCode, Uuid};

pub use otlp::{Malformed, Point, read_points};
pub use series::{MAX_SERIES, PushedSeries};

use crate::configs::{Criterion, MetricsSubscription, Values};
use crate::step::Millis;
use series::SeriesStore;

/// Instances kept at once; the one heard of least recently goes for a new one.
pub const MAX_INSTANCES: usize = 16_384;
/// Nothing is forgotten before this.
const LEAST_EXPIRY: Duration = Duration::from_secs(60);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
const ALL_METRICS: &str = "*";

/// Every subscription, resolved.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    by_name: BTreeMap<Arc<str>, MetricsSubscription>,
}

impl Subscriptions {
    /// What checked values mean; values that this version does not take any more subscribe to nothing.
    pub fn resolve<'a>(values: impl Iterator<Item = (&'a Arc<str>, &'a Values)>) -> Self {
        let resolve = |(name, values): (&Arc<str>, &Values)| {
            let subscription = MetricsSubscription::resolve(values).ok()?;
            Some((Arc::clone(name), subscription))
        };
        Self {
            by_name: values.filter_map(resolve).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    /// What a client is to push.
    fn wanted(&self, id: Uuid, client: &ClientFacts<'_>) -> Wanted {
        let mut metrics = BTreeSet::new();
        let mut interval = DEFAULT_INTERVAL;
        let matching = self.by_name.values().filter(|it| client.matches(id, it));
        for subscription in matching {
            metrics.extend(subscription.metrics.iter().cloned());
            interval = interval.min(subscription.interval);
        }
        if metrics.contains(ALL_METRICS) {
            metrics = BTreeSet::from([ALL_METRICS.to_owned()]);
        }
        Wanted {
            metrics: metrics.into_iter().collect(),
            interval,
        }
    }
}

/// What subscriptions can choose a client by.
#[derive(Clone, Copy, Debug)]
pub struct ClientFacts<'a> {
    pub client_id: &'a str,
    pub software_name: Option<&'a str>,
    pub software_version: Option<&'a str>,
    pub address: &'a str,
    pub port: u16,
}

impl ClientFacts<'_> {
    fn matches(&self, id: Uuid, subscription: &MetricsSubscription) -> bool {
        subscription.matches.iter().all(|wanted| {
            let is_match = |text: &str| wanted.pattern.is_match(text);
            match wanted.criterion {
                Criterion::InstanceId => is_match(&id.to_string()),
                Criterion::ClientId => is_match(self.client_id),
                Criterion::SoftwareName => self.software_name.is_some_and(is_match),
                Criterion::SoftwareVersion => self.software_version.is_some_and(is_match),
                Criterion::SourceAddress => is_match(self.address),
                Criterion::SourcePort => is_match(&self.port.to_string()),
            }
        })
    }
}

/// What one client is to push.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    metrics: Vec<String>,
    interval: Duration,
}

impl Wanted {
    /// Names this wish to its client: another wish has another number.
    fn id(&self, instance: Uuid) -> i32 {
        let metrics = self.metrics.iter().flat_map(|name| name.bytes().chain([0]));
        let interval = self.interval.as_millis().to_be_bytes();
        let bytes = metrics.chain(interval).chain(instance.0);
        // FNV-1a: spreads well enough, and the number means nothing to anybody.
        let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
        bytes.fold(2_166_136_261_u32, hash).cast_signed()
    }
}

/// The answer to a client that asks what to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub instance: Uuid,
    pub subscription_id: i32,
    pub metrics: Vec<String>,
    pub interval: Duration,
}

/// A push, before its metrics are read.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    pub instance: Uuid,
    pub subscription_id: i32,
    pub is_terminating: bool,
}

#[derive(Clone, Debug)]
struct Instance {
    heard_at: Millis,
    asked_at: Option<Millis>,
    pushed_at: Option<Millis>,
    subscription_id: i32,
    interval: Duration,
    is_terminating: bool,
    /// The last request was refused in a way that sends the client to ask again at once.
    may_ask_again: bool,
}

/// The clients that push, and what they pushed.
#[derive(Clone, Debug)]
pub struct Telemetry {
    limit: usize,
    instances: HashMap<Uuid, Instance>,
    series: SeriesStore,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::limited(MAX_INSTANCES, MAX_SERIES)
    }
}

impl Telemetry {
    pub(crate) fn limited(instances: usize, series: usize) -> Self {
        Self {
            limit: instances,
            instances: HashMap::new(),
            series: SeriesStore::new(series),
        }
    }

    /// Tells a client what to push; `instance` is its own id, or a new one when it has none.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED` before its time, unless the subscriptions have changed.
    pub fn assign(
        &mut self,
        now: Millis,
        subscriptions: &Subscriptions,
        instance: Uuid,
        client: &ClientFacts<'_>,
    ) -> Result<Assigned, ErrorCode> {
        let wanted = subscriptions.wanted(instance, client);
        let subscription_id = wanted.id(instance);
        let state = self.instance(now, instance, &wanted);
        let last = state.asked_at.max(state.pushed_at);
        let is_early = last.is_some_and(|last| now.since(last) < state.interval);
        let is_news = state.subscription_id != subscription_id;
        state.subscription_id = subscription_id;
        state.interval = wanted.interval;
        if is_early && !is_news && !state.may_ask_again {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        state.asked_at = Some(now);
        state.may_ask_again = false;
        Ok(Assigned {
            instance,
            subscription_id,
            metrics: wanted.metrics,
            interval: wanted.interval,
        })
    }

    /// Whether a push may be read.
    ///
    /// # Errors
    /// `INVALID_REQUEST` after the last push, `THROTTLING_QUOTA_EXCEEDED` before its time, `UNKNOWN_SUBSCRIPTION_ID` when
    /// the client is to push something else by now.
    pub fn admit(
        &mut self,
        now: Millis,
        subscriptions: &Subscriptions,
        push: Push,
        client: &ClientFacts<'_>,
    ) -> Result<(), ErrorCode> {
        let wanted = subscriptions.wanted(push.instance, client);
        let subscription_id = wanted.id(push.instance);
        let state = self.instance(now, push.instance, &wanted);
        if state.is_terminating {
            return Err(ErrorCode::InvalidRequest);
        }
        state.is_terminating = push.is_terminating;
        // A push follows on asking at any time: clients spread theirs over the interval.
        let follows_on_asking = state.asked_at > state.pushed_at;
        let since = |pushed_at| now.since(pushed_at) >= state.interval;
        let is_due = follows_on_asking || state.pushed_at.is_none_or(since);
        if !is_due && !push.is_terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        state.pushed_at = Some(now);
        if push.subscription_id != subscription_id {
            state.may_ask_again = true;
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        Ok(())
    }

    /// A compression was not understood: the client may ask again at once which ones are.
    pub fn allow_asking(&mut self, instance: Uuid) {
        if let Some(state) = self.instances.get_mut(&instance) {
            state.may_ask_again = true;
        }
    }

    /// Keeps what a client has pushed.
    pub fn keep(&mut self, now: Millis, instance: Uuid, client_id: &str, points: Vec<Point>) {
        let interval = self.instances.get(&instance).map(|state| state.interval);
        let expires = now + expiry(interval.unwrap_or(DEFAULT_INTERVAL));
        self.series.keep(now, expires, instance, client_id, points);
    }

    /// Everything that was pushed and has not expired, by name.
    pub fn series(&mut self, now: Millis) -> Vec<PushedSeries> {
        self.series.list(now)
    }

    /// Series that were dropped because there were as many as may be.
    pub fn series_left_out(&self) -> u64 {
        self.series.left_out()
    }

    /// Clients that have asked or pushed and are remembered.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    fn instance(&mut self, now: Millis, id: Uuid, wanted: &Wanted) -> &mut Instance {
        if self.instances.len() >= self.limit && !self.instances.contains_key(&id) {
            self.make_room(now);
        }
        let state = self.instances.entry(id).or_insert_with(|| Instance {
            heard_at: now,
            asked_at: None,
            pushed_at: None,
            subscription_id: wanted.id(id),
            interval: wanted.interval,
            is_terminating: false,
            may_ask_again: false,
        });
        state.heard_at = now;
        state
    }

    fn make_room(&mut self, now: Millis) {
        self.instances
            .retain(|_, state| now.since(state.heard_at) < expiry(state.interval));
        if self.instances.len() < self.limit {
            return;
        }
        let oldest = self
            .instances
            .iter()
            .min_by_key(|(_, state)| state.heard_at);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.instances.remove(&id);
        }
    }
}

fn expiry(interval: Duration) -> Duration {
    interval.saturating_mul(3).max(LEAST_EXPIRY)
}
