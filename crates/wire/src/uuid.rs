//! Topic and directory ids: 16 bytes, shown as Kafka shows them.

use std::fmt;
use std::str::FromStr;

/// A topic or directory id. `Display` and `FromStr` use Kafka's 22 letters of URL-safe base64 without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

/// The text is not 22 letters of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 22 letters of A–Z, a–z, 0–9, - and _, and the last one is A, Q, g or w")]
pub struct InvalidUuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// No id.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        let mut text = [0; 22];
        for (position, letter) in text.iter_mut().enumerate() {
            // 22 letters are 132 bits: the last letter has 2 bits of the id and 4 zero bits.
            let bits = if position < 21 {
                number >> (122 - 6 * position)
            } else {
                number << 4
            };
            *letter = ALPHABET[(bits & 63) as usize];
        }
        out.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Uuid({self})")
    }
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Uuid, InvalidUuid> {
        if text.len() != 22 {
            return Err(InvalidUuid);
        }
        let mut number: u128 = 0;
        for (position, letter) in text.bytes().enumerate() {
            let bits = ALPHABET
                .iter()
                .position(|known| *known == letter)
                .ok_or(InvalidUuid)? as u128;
            if position < 21 {
                number = number << 6 | bits;
            } else if bits & 15 == 0 {
                number = number << 2 | bits >> 4;
            } else {
                return Err(InvalidUuid);
            }
        }
        Ok(Uuid(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_looks_as_in_kafka() {
        // Kafka's metadata topic has the id 00000000-0000-0000-0000-000000000001.
        let mut bytes = [0; 16];
        bytes[15] = 1;
        assert_eq!(Uuid(bytes).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn an_id_reads_back_what_it_shows() {
        for seed in 0..=255u8 {
            let id = Uuid(std::array::from_fn(|place| {
                seed.wrapping_mul(37).wrapping_add(place as u8 * 11)
            }));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn nonsense_is_no_id() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAA=A",
            "ääääääääääa",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid));
        }
    }
}
