//! The compact binary form that cluster metadata records and producer snapshots share.
//!
//! Numbers are base-128 varints, seven bits a byte, lowest first, the top bit set on all but the last byte (at most
//! ten bytes); signed numbers are zigzag first. Text is a varint length in bytes, then UTF-8. Reading never
//! allocates more than the bytes that are left, never panics, and refuses what is left over.

use thiserror::Error;

/// Why bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("ends in the middle of {what}")]
    Ends { what: &'static str },
    #[error("{what} is a number of more than 64 bits")]
    Overlong { what: &'static str },
    #[error("{what} is {value}, outside {least}..={most}")]
    OutOfRange {
        what: &'static str,
        value: i128,
        least: i64,
        most: i64,
    },
    #[error("{what} is none that is known")]
    Unknown { what: &'static str },
    #[error("{what} is not UTF-8")]
    NotText { what: &'static str },
    #[error("{left} bytes are left over behind its end")]
    LeftOver { left: usize },
}

/// Writes the compact form.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    pub fn text(&mut self, value: &str) {
        self.unsigned(value.len() as u64);
        self.raw(value.as_bytes());
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads the compact form; `what` names the field in an error.
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn left(&self) -> usize {
        self.0.len()
    }

    pub fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed::Ends { what })?;
        self.0 = rest;
        Ok(first)
    }

    pub fn raw(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Malformed::Ends { what })?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn unsigned(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed::Overlong { what });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Overlong { what })
    }

    pub fn signed(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let zigzag = self.unsigned(what)?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A signed number that must lie in `least..=most`.
    pub fn signed_in(
        &mut self,
        least: i64,
        most: i64,
        what: &'static str,
    ) -> Result<i64, Malformed> {
        let value = self.signed(what)?;
        match (least..=most).contains(&value) {
            true => Ok(value),
            false => Err(Malformed::OutOfRange {
                what,
                value: value.into(),
                least,
                most,
            }),
        }
    }

    /// An unsigned number of at most `most`: counts and lengths.
    pub fn count(&mut self, most: usize, what: &'static str) -> Result<usize, Malformed> {
        let value = self.unsigned(what)?;
        match usize::try_from(value) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(Malformed::OutOfRange {
                what,
                value: value.into(),
                least: 0,
                most: most as i64,
            }),
        }
    }

    /// Text of at most `most` bytes.
    pub fn text(&mut self, most: usize, what: &'static str) -> Result<&'a str, Malformed> {
        let length = self.count(most, what)?;
        std::str::from_utf8(self.raw(length, what)?).map_err(|_| Malformed::NotText { what })
    }

    /// Ends the reading; whatever is left was not written by us.
    pub fn finish(self) -> Result<(), Malformed> {
        match self.left() {
            0 => Ok(()),
            left => Err(Malformed::LeftOver { left }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_at_the_edges_round_trip() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            i64::from(i32::MAX),
            i64::MIN,
            i64::MAX,
        ] {
            let mut encoder = Encoder::default();
            encoder.signed(value);
            let bytes = encoder.finish();
            assert!(bytes.len() <= 10);
            assert_eq!(Decoder::new(&bytes).signed("value"), Ok(value));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let bytes = [0xff; 9].into_iter().chain([0x02]).collect::<Vec<u8>>();
        assert_eq!(
            Decoder::new(&bytes).unsigned("value"),
            Err(Malformed::Overlong { what: "value" })
        );
        assert_eq!(
            Decoder::new(&[0xff; 12]).unsigned("value"),
            Err(Malformed::Overlong { what: "value" })
        );
    }

    #[test]
    fn a_length_beyond_the_bytes_that_are_left_is_refused_before_anything_is_allocated() {
        let mut encoder = Encoder::default();
        encoder.unsigned(1000);
        let bytes = encoder.finish();
        assert_eq!(
            Decoder::new(&bytes).text(2000, "name"),
            Err(Malformed::Ends { what: "name" })
        );
        assert!(matches!(
            Decoder::new(&bytes).text(999, "name"),
            Err(Malformed::OutOfRange { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, signed: i64, text: String) {
            let mut encoder = Encoder::default();
            encoder.unsigned(number);
            encoder.signed(signed);
            encoder.text(&text);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(decoder.unsigned("number"), Ok(number));
            prop_assert_eq!(decoder.signed("signed"), Ok(signed));
            prop_assert_eq!(decoder.text(usize::MAX, "text"), Ok(text.as_str()));
            prop_assert_eq!(decoder.finish(), Ok(()));
        }
    }
}
