//! Where a read or a live stream starts: `from`, or a cursor, as an offset in each wanted partition.

use std::collections::{BTreeMap, BTreeSet};

use client::Reader;
use client::offsets::OffsetQuery;
use client::{Bounds, Place};
use jiff::Timestamp;

use super::cursor::Positions;

use super::request::bad_parameter;
use crate::problem::{PARTITION_NOT_FOUND, Problem};

/// Partitions to read, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub positions: Positions,
    /// The offset after the last record of each.
    pub ends: Positions,
}

/// Reads `partitions=0,2`; none given means all.
///
/// # Errors
/// `bad-request` for what is no list of numbers, `partition-not-found` for one that is not there.
pub fn wanted(text: Option<&str>, count: usize) -> Result<BTreeSet<i32>, Problem> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok((0..count).collect());
    };
    let parse = |part: &str| {
        let wrong = |_| {
            bad_parameter(
                "partitions",
                format!("`{part}` is no partition; write numbers with commas between"),
            )
        };
        let partition: i32 = part.trim().parse().map_err(wrong)?;
        match (0..count).contains(&partition) {
            true => Ok(partition),
            false => {
                let detail =
                    format!("there is no partition {partition}; there are {count}, from 0");
                Err(Problem::new(PARTITION_NOT_FOUND, detail))
            }
        }
    };
    text.split(',').map(parse).collect()
}

/// Reads `from`.
///
/// # Errors
/// `bad-request` for a place that is none.
pub fn parse_from(text: &str) -> Result<Place, Problem> {
    text.parse()
        .map_err(|detail: String| bad_parameter("from", detail))
}

/// The offsets to start at.
///
/// # Errors
/// Whatever keeps the cluster from telling its offsets.
pub async fn resolve(
    reader: &Reader,
    topic: &str,
    from: Place,
    wanted: &BTreeSet<i32>,
    now: Timestamp,
) -> Result<Start, Problem> {
    let starts = reader.offsets(topic, OffsetQuery::Earliest).await?;
    let ends = reader.offsets(topic, OffsetQuery::Latest).await?;
    let at_time = match from.timestamp(now.as_millisecond()) {
        Some(ms) => reader.offsets(topic, OffsetQuery::AtTime(ms)).await?,
        None => BTreeMap::new(),
    };
    let known = |offsets: &Positions, partition: i32| offsets.get(&partition).copied().unwrap_or(0);
    let position = |partition: &i32| {
        let bounds = Bounds {
            start: known(&starts, *partition),
            end: known(&ends, *partition),
            at_time: at_time.get(partition).copied(),
        };
        (*partition, from.offset(bounds))
    };
    Ok(Start {
        positions: wanted.iter().map(position).collect(),
        ends: wanted
            .iter()
            .map(|partition| (*partition, known(&ends, *partition)))
            .collect(),
    })
}

/// The positions in partitions that a topic has; it may have been made anew with fewer since the cursor was given.
pub fn still_there(positions: Positions, count: usize) -> Positions {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let of_topic = |(partition, _): &(i32, i64)| (0..count).contains(partition);
    positions.into_iter().filter(of_topic).collect()
}

/// Goes on at a cursor's positions.
///
/// # Errors
/// Whatever keeps the cluster from telling its offsets.
pub async fn resume(
    reader: &Reader,
    topic: &str,
    positions: Positions,
    count: usize,
) -> Result<Start, Problem> {
    let positions = still_there(positions, count);
    let latest = reader.offsets(topic, OffsetQuery::Latest).await?;
    let ends = positions
        .keys()
        .map(|partition| (*partition, latest.get(partition).copied().unwrap_or(0)));
    Ok(Start {
        ends: ends.collect(),
        positions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_all_or_those_that_are_named() {
        assert_eq!(wanted(None, 3).expect("all"), BTreeSet::from([0, 1, 2]));
        assert_eq!(wanted(Some("2,0"), 3).expect("two"), BTreeSet::from([0, 2]));
        for wrong in ["3", "-1", "x", "0,", "0;1"] {
            assert!(wanted(Some(wrong), 3).is_err(), "{wrong}");
        }
    }
}
