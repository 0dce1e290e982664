//! What the generated cases use: a case, and the two ways to check a message.

use bytes::Bytes;
use wire::{DecodeError, Reader, Records, Segment, Writer};

pub use crate::oracle::{self, added, agrees, put};
pub use crate::source::Source;
pub use wire::ApiKey;

/// A request or a response.
pub struct Case {
    pub name: &'static str,
    pub key: ApiKey,
    /// The versions that the other implementation knows.
    pub oracle: oracle::VersionRange,
    /// Encodes a random message.
    pub encode: fn(&mut Source, i16) -> Bytes,
    /// Decodes a message.
    pub decode: fn(&mut Reader, i16) -> Result<(), DecodeError>,
    /// Checks that a message that decodes can be written and reads back.
    pub decode_twice: fn(&mut Reader, i16),
    /// Checks that a random message reads back.
    pub round_trip: fn(&mut Source, i16),
    /// Checks that both implementations agree on a random message.
    pub agree: fn(&mut Source, i16),
}

/// What `write` writes, in one piece.
pub fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::default();
    write(&mut writer);
    let length = writer.len();
    let records: Records = writer
        .finish()
        .into_iter()
        .inspect(|piece: &Segment| assert!(!piece.is_empty()))
        .collect();
    let bytes = records.to_bytes().expect("nothing is external");
    assert_eq!(bytes.len(), length);
    bytes
}

/// Asserts that what is written reads back, to the last byte.
pub fn reads_back(
    write: impl FnOnce(&mut Writer),
    is_equal: impl Fn(&mut Reader) -> Result<bool, DecodeError>,
) {
    let bytes = written(write);
    for mut reader in [Reader::new(&bytes), Reader::shared(&bytes)] {
        assert_eq!(is_equal(&mut reader), Ok(true));
        assert_eq!(reader.remaining(), 0);
    }
}
