//! Numbers as people read them: counts, sizes, durations. On the page at `/`, and in the tables of the command line.

/// A count with thousands separated: `1,204,331`.
pub fn count(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A size in decimal units with three figures: `612 MB`, `1.90 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 9.995 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 99.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A duration as people say it: `850 ms`, `48 s`, `3 min 20 s`, `5 h 2 min`, `9 d 4 h`.
pub fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        i64::MIN..0 => "0 s".to_owned(),
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            (count(0), count(999), count(-1_204_331)),
            ("0".into(), "999".into(), "-1,204,331".into())
        );
        assert_eq!(
            [size(999), size(1_000), size(612_000_000), size(999_999)],
            ["999 B", "1.00 kB", "612 MB", "1.00 MB"]
        );
        assert_eq!(
            [
                duration(850),
                duration(48_000),
                duration(200_000),
                duration(90_000_000)
            ],
            ["850 ms", "48 s", "3 min 20 s", "1 d 1 h"]
        );
    }
}
