//! Reads the metrics that clients push: OpenTelemetry's `MetricsData` in protocol buffers.
//!
//! What is read: names, numbers of gauges and sums, labels of points; histograms and summaries are passed over.
//!
//! ```text
//! MetricsData        1 resource_metrics*
//! ResourceMetrics    2 scope_metrics*
//! ScopeMetrics       2 metrics*
//! Metric             1 name   5 gauge   7 sum
//! Gauge              1 points*
//! Sum                1 points*   2 aggregation temporality (1 delta, 2 cumulative)   3 is monotonic
//! NumberDataPoint    4 double   6 fixed int   7 attributes*
//! KeyValue           1 key   2 value
//! AnyValue           1 string   2 bool   3 int   4 double
//! ```
//!
//! Reading allocates nothing that is not in the bytes, and ends at `MAX_POINTS`.

use thiserror::Error;

/// Points of one push; more are refused.
const MAX_POINTS: usize = 10_000;
const MAX_LABELS: usize = 32;
const MAX_TEXT_BYTES: usize = 1_024;
const DELTA: u64 = 1;

/// One number of one push.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
    /// What has been added since the last push, not the whole.
    pub is_delta: bool,
    pub is_counter: bool,
}

/// Why bytes are no metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("the metrics end in the middle of a field")]
    Ends,
    #[error("a field of the metrics has a type that cannot be")]
    WireType,
    #[error("a text of the metrics is longer than {MAX_TEXT_BYTES} bytes or not UTF-8")]
    Text,
    #[error("more than {MAX_POINTS} points or {MAX_LABELS} labels")]
    TooMany,
}

/// The points of a push.
///
/// # Errors
/// When the bytes are no metrics, or too many.
pub fn read_points(bytes: &[u8]) -> Result<Vec<Point>, Malformed> {
    let mut points = Vec::new();
    for resource in messages(bytes, 1) {
        for scope in messages(resource?, 2) {
            for metric in messages(scope?, 2) {
                read_metric(metric?, &mut points)?;
            }
        }
    }
    Ok(points)
}

fn read_metric(bytes: &[u8], points: &mut Vec<Point>) -> Result<(), Malformed> {
    let mut name = String::new();
    let mut gauge = None;
    let mut sum = None;
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (5, Value::Bytes(bytes)) => gauge = Some(bytes),
            (7, Value::Bytes(bytes)) => sum = Some(bytes),
            _ => {}
        }
    }
    if let Some(gauge) = gauge {
        read_numbers(gauge, &name, (false, false), points)?;
    }
    if let Some(sum) = sum {
        let number = |wanted| {
            Fields(sum).find_map(|field| match field {
                Ok((number, Value::Number(value))) if number == wanted => Some(value),
                _ => None,
            })
        };
        let (is_delta, is_counter) = (number(2) == Some(DELTA), number(3) == Some(1));
        read_numbers(sum, &name, (is_delta, is_counter), points)?;
    }
    Ok(())
}

fn read_numbers(
    bytes: &[u8],
    name: &str,
    (is_delta, is_counter): (bool, bool),
    points: &mut Vec<Point>,
) -> Result<(), Malformed> {
    for point in messages(bytes, 1) {
        let mut value = 0.0;
        let mut labels = Vec::new();
        for field in Fields(point?) {
            match field? {
                (4, Value::Fixed(bits)) => value = f64::from_bits(bits),
                (6, Value::Fixed(bits)) => value = bits.cast_signed() as f64,
                (7, Value::Bytes(bytes)) if labels.len() < MAX_LABELS => labels.push(label(bytes)?),
                (7, Value::Bytes(_)) => return Err(Malformed::TooMany),
                _ => {}
            }
        }
        if points.len() >= MAX_POINTS {
            return Err(Malformed::TooMany);
        }
        points.push(Point {
            name: name.to_owned(),
            labels,
            value,
            is_delta,
            is_counter,
        });
    }
    Ok(())
}

fn label(bytes: &[u8]) -> Result<(String, String), Malformed> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = any_value(bytes)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn any_value(bytes: &[u8]) -> Result<String, Malformed> {
    let mut value = String::new();
    for field in Fields(bytes) {
        value = match field? {
            (1, Value::Bytes(bytes)) => text(bytes)?,
            (2, Value::Number(number)) => (number != 0).to_string(),
            (3, Value::Number(number)) => number.cast_signed().to_string(),
            (4, Value::Fixed(bits)) => f64::from_bits(bits).to_string(),
            _ => value,
        };
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_TEXT_BYTES => Ok(text.to_owned()),
        _ => Err(Malformed::Text),
    }
}

/// The messages of one field of a message.
fn messages(bytes: &[u8], wanted: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields(bytes).filter_map(move |field| match field {
        Ok((number, Value::Bytes(bytes))) if number == wanted => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

enum Value<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other; ends after the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Ends)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Ends)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Number(u32::from_le_bytes(self.fixed()?).into()),
            _ => return Err(Malformed::WireType),
        };
        Ok((tag >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed::Ends)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::WireType)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::Ends)?;
        self.0 = rest;
        Ok(*bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
