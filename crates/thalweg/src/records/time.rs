//! The time now, and times as they are printed.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Milliseconds since 1970 by the system's clock.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok())
        .unwrap_or(0)
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
    fn times_are_printed_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1).as_deref(), Some("1970-01-01T00:00:00.001Z"));
        assert_eq!(rfc3339(i64::MAX), None);
    }
}
