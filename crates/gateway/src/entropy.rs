//! Randomness: the one place of this crate that asks for it; whatever decides by it takes it as an argument.

use jiff::Timestamp;
use uuid::{Builder, Uuid};

/// Bytes that nobody can guess.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// An id whose order is that of the times it was made at.
pub fn uuid_v7(now: Timestamp) -> Uuid {
    let ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(ms, &bytes()).into_uuid()
}
