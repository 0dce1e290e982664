//! Durations and instants in text: `15m`, `2026-11-20T12:00:00Z`, milliseconds since 1970.

use std::time::Duration;

use jiff::Timestamp;

/// A duration as a number and a unit: `250ms`, `30s`, `15m`, `2h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is no duration; write a number and a unit: 250ms, 30s, 15m, 2h, 7d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// An instant: RFC 3339 (`2026-11-20T12:00:00Z`) or milliseconds since 1970.
pub fn parse_instant(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    text.parse::<Timestamp>()
        .map(|instant| instant.as_millisecond())
        .map_err(|_| {
            format!("`{text}` is no time; write RFC 3339 (2026-11-20T12:00:00Z) or milliseconds since 1970")
        })
}

/// RFC 3339 in UTC with milliseconds; nothing for times that no calendar holds.
pub fn rfc3339(ms: i64) -> Option<String> {
    let instant = Timestamp::from_millisecond(ms).ok()?;
    Some(format!("{instant:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["15", "m", "", "-5s", "5 s", "99999999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_are_rfc_3339_or_milliseconds() {
        assert_eq!(parse_instant("1000"), Ok(1000));
        assert_eq!(parse_instant("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(parse_instant("1970-01-01T01:00:01+01:00"), Ok(1000));
        assert!(parse_instant("yesterday").is_err());
    }

    #[test]
    fn times_are_printed_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1).as_deref(), Some("1970-01-01T00:00:00.001Z"));
        assert_eq!(rfc3339(i64::MAX), None);
    }
}
