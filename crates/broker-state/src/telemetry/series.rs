//! The last value of each series that clients have pushed, for the broker's metrics page.

use std::collections::BTreeMap;

use wire::Uuid;

use super::otlp::Point;
use crate::step::Millis;

/// Series kept at once; further ones are left out and counted.
pub const MAX_SERIES: usize = 10_000;

/// One series, as a client pushed it.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedSeries {
    /// The metric's name, such as `org.apache.kafka.producer.record.send.total`.
    pub name: String,
    pub instance: Uuid,
    pub client_id: String,
    /// The labels of the client, by name.
    pub labels: Vec<(String, String)>,
    pub value: f64,
    /// It only grows: what clients push are differences, which are added up here.
    pub is_counter: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SeriesKey {
    name: String,
    instance: Uuid,
    labels: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Kept {
    client_id: String,
    value: f64,
    is_counter: bool,
    expires: Millis,
}

#[derive(Clone, Debug)]
pub(super) struct SeriesStore {
    limit: usize,
    series: BTreeMap<SeriesKey, Kept>,
    left_out: u64,
}

impl SeriesStore {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            series: BTreeMap::new(),
            left_out: 0,
        }
    }

    pub fn keep(
        &mut self,
        now: Millis,
        expires: Millis,
        instance: Uuid,
        client_id: &str,
        points: Vec<Point>,
    ) {
        if self.series.len() + points.len() > self.limit {
            self.series.retain(|_, kept| kept.expires > now);
        }
        for point in points {
            let mut labels = point.labels;
            labels.sort_unstable();
            let key = SeriesKey {
                name: point.name,
                instance,
                labels,
            };
            let is_full = self.series.len() >= self.limit;
            match self.series.get_mut(&key) {
                Some(kept) => {
                    kept.value = match point.is_delta {
                        true => kept.value + point.value,
                        false => point.value,
                    };
                    kept.expires = expires;
                }
                None if is_full => self.left_out += 1,
                None => {
                    let kept = Kept {
                        client_id: client_id.to_owned(),
                        value: point.value,
                        is_counter: point.is_counter,
                        expires,
                    };
                    self.series.insert(key, kept);
                }
            }
        }
    }

    pub fn list(&mut self, now: Millis) -> Vec<PushedSeries> {
        self.series.retain(|_, kept| kept.expires > now);
        let series = |(key, kept): (&SeriesKey, &Kept)| PushedSeries {
            name: key.name.clone(),
            instance: key.instance,
            client_id: kept.client_id.clone(),
            labels: key.labels.clone(),
            value: kept.value,
            is_counter: kept.is_counter,
        };
        self.series.iter().map(series).collect()
    }

    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
