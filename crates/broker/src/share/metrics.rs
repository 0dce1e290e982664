//! What share groups have done since the start, as the machine counts it; set whenever the metrics are read.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ShareOverview;

#[derive(Default)]
pub struct ShareMetrics {
    partitions: Gauge,
    in_flight: Gauge,
    counters: [Counter; 9],
}

/// Names and meanings of the counters, in the order of `counts`.
const COUNTERS: [(&str, &str); 9] = [
    (
        "share_acquired_records",
        "Deliveries of records to members of share groups",
    ),
    (
        "share_redelivered_records",
        "Deliveries to share groups that were not a record's first",
    ),
    (
        "share_acknowledged_records",
        "Records that share groups have accepted",
    ),
    (
        "share_released_records",
        "Records that members of share groups have released",
    ),
    (
        "share_rejected_records",
        "Records that members of share groups have rejected",
    ),
    (
        "share_renewed_records",
        "Locks of records that were renewed",
    ),
    ("share_timed_out_records", "Locks of records that ran out"),
    (
        "share_exhausted_records",
        "Records given up at the limit of deliveries",
    ),
    (
        "share_dead_letters",
        "Records handed out for dead-letter topics",
    ),
];

impl ShareMetrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "share_partitions",
            "Partitions that share groups work on",
            self.partitions.clone(),
        );
        registry.register(
            "share_in_flight_records",
            "Records that members of share groups have now",
            self.in_flight.clone(),
        );
        for ((name, help), counter) in COUNTERS.iter().zip(&self.counters) {
            registry.register(*name, *help, counter.clone());
        }
    }

    pub fn set(&self, overview: &ShareOverview) {
        let partitions = i64::try_from(overview.partitions).unwrap_or(i64::MAX);
        self.partitions.set(partitions);
        self.in_flight.set(overview.in_flight);
        let counts = &overview.counts;
        let counts = [
            counts.acquired,
            counts.redelivered,
            counts.acknowledged,
            counts.released,
            counts.rejected,
            counts.renewed,
            counts.timed_out,
            counts.exhausted,
            counts.dead_letters,
        ];
        for (counter, count) in self.counters.iter().zip(counts) {
            counter.inner().store(count, Ordering::Relaxed);
        }
    }
}
