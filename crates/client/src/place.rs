//! A place in every partition: `earliest`, `latest`, `-50`, `offset:9`, `now-15m`, `time:2026-11-20T12:00:00Z`.
//!
//! Where reading starts and where groups are reset to, in the words of the command line and of `/v1`.

use std::str::FromStr;
use std::time::Duration;

use crate::time::{parse_duration, parse_instant};

/// A place in every partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Earliest,
    Latest,
    /// The last so many records of each partition.
    Last(i64),
    Offset(i64),
    /// The first record at or after this time, in milliseconds since 1970.
    Time(i64),
    /// The first record at or after now minus this.
    Ago(Duration),
}

/// What a partition holds: its first offset, the offset after its last, and, for times, the offset found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub start: i64,
    pub end: i64,
    pub at_time: Option<i64>,
}

impl Place {
    /// The time to look up before [`Place::offset`], for the kinds that need one.
    pub fn timestamp(self, now_ms: i64) -> Option<i64> {
        match self {
            Place::Time(ms) => Some(ms),
            Place::Ago(ago) => {
                Some(now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
            }
            Place::Earliest | Place::Latest | Place::Last(_) | Place::Offset(_) => None,
        }
    }

    /// The offset to start at, inside the partition's bounds.
    pub fn offset(self, bounds: Bounds) -> i64 {
        let wanted = match self {
            Place::Earliest => bounds.start,
            Place::Latest => bounds.end,
            Place::Last(count) => bounds.end.saturating_sub(count),
            Place::Offset(offset) => offset,
            // No record is that young: only what comes next.
            Place::Time(_) | Place::Ago(_) => bounds.at_time.unwrap_or(bounds.end),
        };
        wanted.clamp(bounds.start, bounds.end.max(bounds.start))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text {
            "earliest" | "beginning" | "start" => return Ok(Place::Earliest),
            "latest" | "end" | "now" => return Ok(Place::Latest),
            _ => {}
        }
        if let Some(ago) = text.strip_prefix("now-") {
            return parse_duration(ago).map(Place::Ago);
        }
        if let Some(instant) = text.strip_prefix("time:") {
            return parse_instant(instant).map(Place::Time);
        }
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|number| *number >= 0);
        if let Some(count) = text.strip_prefix('-').and_then(number) {
            return Ok(Place::Last(count));
        }
        if let Some(offset) = text.strip_prefix("offset:").and_then(number) {
            return Ok(Place::Offset(offset));
        }
        Err(format!(
            "`{text}` is no place to start; use earliest, latest, -50, offset:9, now-15m or time:2026-11-20T12:00:00Z"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        start: 10,
        end: 100,
        at_time: Some(40),
    };

    #[test]
    fn every_form_of_a_place_is_understood() {
        let minutes = |m: u64| Place::Ago(Duration::from_secs(60 * m));
        for (text, expected) in [
            ("earliest", Place::Earliest),
            ("latest", Place::Latest),
            ("-50", Place::Last(50)),
            ("offset:9", Place::Offset(9)),
            ("now-15m", minutes(15)),
            ("time:1970-01-01T00:00:05Z", Place::Time(5000)),
            ("time:5000", Place::Time(5000)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_words_are_refused_with_the_list() {
        for text in [
            "",
            "last",
            "50",
            "--5",
            "offset:-1",
            "offset:x",
            "now-15",
            "time:noon",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        let error = "newest".parse::<Place>().unwrap_err();
        assert!(error.contains("earliest, latest, -50"), "{error}");
    }

    #[test]
    fn offsets_stay_inside_the_partition() {
        assert_eq!(Place::Earliest.offset(BOUNDS), 10);
        assert_eq!(Place::Latest.offset(BOUNDS), 100);
        assert_eq!(Place::Last(5).offset(BOUNDS), 95);
        assert_eq!(Place::Last(1_000).offset(BOUNDS), 10);
        assert_eq!(Place::Offset(3).offset(BOUNDS), 10);
        assert_eq!(Place::Offset(300).offset(BOUNDS), 100);
        assert_eq!(Place::Time(7).offset(BOUNDS), 40);
    }

    #[test]
    fn a_time_after_the_last_record_is_the_end() {
        let none = Bounds {
            at_time: None,
            ..BOUNDS
        };
        assert_eq!(Place::Time(7).offset(none), 100);
    }

    #[test]
    fn ago_is_counted_from_now() {
        let place = Place::Ago(Duration::from_secs(2));
        assert_eq!(place.timestamp(10_000), Some(8_000));
        assert_eq!(Place::Earliest.timestamp(10_000), None);
    }
}
