//! Random values from a string of bytes, so that proptest shrinks messages by shrinking the bytes.

use std::borrow::Cow;

use bytes::Bytes;
use wire::{Float64, Records, Segment, Uuid};

/// Letters of one to four bytes; lengths around the limits of one- and two-byte varints.
const STRINGS: [&str; 8] = [
    "",
    "a",
    "orders",
    "grüße €😀",
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456",
    "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
    "__consumer_offsets",
    "\0",
];

static BLOB: [u8; 700] = {
    let mut blob = [0; 700];
    let mut place = 0;
    while place < blob.len() {
        blob[place] = (place * 7) as u8;
        place += 1;
    }
    blob
};

/// Where random values come from; zeros when the bytes are used up.
pub struct Source<'s> {
    bytes: &'s [u8],
}

impl<'s> Source<'s> {
    pub fn new(bytes: &'s [u8]) -> Self {
        Source { bytes }
    }

    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                *byte
            }
            None => 0,
        }
    }

    pub fn random<T: Random>(&mut self) -> T {
        T::random(self)
    }

    pub fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = if self.bytes.is_empty() {
            0
        } else {
            self.byte() % 4
        };
        (0..length).map(|_| element(self)).collect()
    }

    pub fn nullable<T>(
        &mut self,
        may_be_null: bool,
        value: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let is_null = may_be_null && self.byte().is_multiple_of(4);
        (!is_null).then(|| value(self))
    }
}

pub trait Random {
    fn random(source: &mut Source) -> Self;
}

impl Random for bool {
    fn random(source: &mut Source) -> Self {
        source.byte() & 1 == 1
    }
}

impl Random for i64 {
    fn random(source: &mut Source) -> Self {
        match source.byte() {
            0 => i64::MIN,
            1 => i64::MAX,
            2..100 => i64::from(source.byte()) - 2,
            _ => i64::from_be_bytes(std::array::from_fn(|_| source.byte())),
        }
    }
}

impl Random for i32 {
    fn random(source: &mut Source) -> Self {
        i64::random(source) as i32
    }
}

impl Random for i16 {
    fn random(source: &mut Source) -> Self {
        i64::random(source) as i16
    }
}

impl Random for u16 {
    fn random(source: &mut Source) -> Self {
        i64::random(source) as u16
    }
}

impl Random for Float64 {
    /// Never NaN, which for the other implementation is not equal to itself.
    fn random(source: &mut Source) -> Self {
        Float64(i64::random(source) as f64 / 8.0)
    }
}

impl Random for i8 {
    fn random(source: &mut Source) -> Self {
        source.byte() as i8
    }
}

impl Random for Uuid {
    fn random(source: &mut Source) -> Self {
        Uuid(std::array::from_fn(|_| source.byte()))
    }
}

impl Random for &'static str {
    fn random(source: &mut Source) -> Self {
        STRINGS[usize::from(source.byte()) % STRINGS.len()]
    }
}

impl Random for &'static [u8] {
    fn random(source: &mut Source) -> Self {
        let start = usize::from(source.byte());
        &BLOB[start..start + usize::from(source.byte()) + usize::from(source.byte() & 1) * 150]
    }
}

impl Random for Cow<'static, str> {
    fn random(source: &mut Source) -> Self {
        Cow::Borrowed(source.random())
    }
}

impl Random for Cow<'static, [u8]> {
    fn random(source: &mut Source) -> Self {
        Cow::Borrowed(source.random())
    }
}

impl Random for Option<&'static [u8]> {
    fn random(source: &mut Source) -> Self {
        source.nullable(true, Source::random)
    }
}

impl Random for Records {
    fn random(source: &mut Source) -> Self {
        let piece = |source: &mut Source| Segment::Bytes(Bytes::from_static(source.random()));
        source.array(piece).into_iter().collect()
    }
}
