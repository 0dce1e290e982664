//! Durations as configurations write them: ISO 8601 with days, hours, minutes and seconds, `P1DT2H3M4.5S`.

use std::time::Duration;

const SECONDS_OF: [(char, u64, bool); 4] = [
    ('D', 86_400, false),
    ('H', 3_600, true),
    ('M', 60, true),
    ('S', 1, true),
];

/// The duration, or `None` when the text is none; a negative one is none here.
pub(super) fn parse_iso_duration(text: &str) -> Option<Duration> {
    let text = text.to_ascii_uppercase();
    let (days, times) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, times)) => (days, times),
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && times.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    for (mut rest, is_time) in [(days, false), (times, true)] {
        for (unit, seconds, _) in SECONDS_OF.into_iter().filter(|unit| unit.2 == is_time) {
            if let Some((number, after)) = rest.split_once(unit) {
                total = total.checked_add(amount(number, unit, seconds)?)?;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(total)
}

/// So many of a unit; only seconds may have a fraction.
fn amount(number: &str, unit: char, seconds: u64) -> Option<Duration> {
    let (whole, fraction) = match number.split_once(['.', ',']) {
        Some((whole, fraction)) if unit == 'S' => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse::<u32>().ok()?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(seconds)?;
    Some(Duration::new(whole, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read_in_all_their_parts() {
        let seconds = |text| parse_iso_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("P1D"), Some(86_400.0));
        assert_eq!(seconds("PT1H"), Some(3_600.0));
        assert_eq!(
            seconds("p2dt3h4m5.25s"),
            Some(2.0 * 86_400.0 + 3.0 * 3_600.0 + 245.25)
        );
        assert_eq!(seconds("PT0S"), Some(0.0));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "1D",
            "PT-1S",
            "-PT1S",
            "PT1.5H",
            "P1H",
            "PT1S1M",
            "PT99999999999999999999S",
            "P999999999999999999D",
            "PT1.0123456789S",
            "PTS",
            "P1D ",
        ] {
            assert_eq!(parse_iso_duration(text), None, "{text}");
        }
    }
}
