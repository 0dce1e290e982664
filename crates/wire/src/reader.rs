//! Reads the protocol's primitive types from a frame, in place.
//!
//! Hostile bytes are expected: each length is checked against what is left before anything is allocated.

use bytes::Bytes;

use crate::writer::Records;
use crate::{ApiKey, Float64, Uuid};

/// An array reserves at most this many elements ahead; a longer one grows as its elements are really read.
const RESERVE: usize = 1024;

/// An element takes at most this many times as much memory as it took bytes of the frame; checked when compiling.
const MEMORY_PER_BYTE: usize = 32;

/// Why a frame cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {kind}")]
pub struct DecodeError {
    /// Where in the bytes given to the reader.
    pub offset: usize,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The frame ends within a value.
    #[error("{needed} bytes are needed, but only {left} are left")]
    TooShort { needed: usize, left: usize },
    /// A length below what it may be: -1 is null, others mean nothing.
    #[error("a length of {length} is invalid")]
    InvalidLength { length: i64 },
    /// More elements than the rest of the frame can hold.
    #[error(
        "{count} elements of at least {element} bytes cannot be in the {left} bytes that are left"
    )]
    TooManyElements {
        count: usize,
        element: usize,
        left: usize,
    },
    /// Null where this version does not allow it.
    #[error("null is not allowed in this version")]
    UnexpectedNull,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A variable-length number does not end where it must.
    #[error("a variable-length number is longer than {limit} bytes")]
    VarintTooLong { limit: usize },
    /// A tagged field is longer than what it holds.
    #[error("tagged field {tag} has {left} bytes too many")]
    TaggedFieldTooLong { tag: u32, left: usize },
    /// No such request.
    #[error("no request has the key {number}")]
    UnknownApiKey { number: i16 },
    /// The definitions do not have this version.
    #[error("{key} has the versions {} to {}, not {version}", key.versions().start(), key.versions().end())]
    UnsupportedVersion { key: ApiKey, version: i16 },
}

/// A position in a frame. Strings and bytes that it returns borrow from the frame.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    end: usize,
    frame: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader {
            rest: bytes,
            end: bytes.len(),
            frame: None,
        }
    }

    /// As `new`, but the records of a response share `frame` instead of being copied out of it.
    pub fn shared(frame: &'a Bytes) -> Self {
        Reader {
            rest: frame,
            end: frame.len(),
            frame: Some(frame),
        }
    }

    /// What is left to read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// An error at the current position.
    fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError {
            offset: self.end - self.rest.len(),
            kind,
        }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error(DecodeErrorKind::TooShort {
                needed: length,
                left: self.rest.len(),
            })),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.error(DecodeErrorKind::TooShort {
                needed: N,
                left: self.rest.len(),
            })),
        }
    }

    /// Any byte but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    pub fn f64(&mut self) -> Result<Float64, DecodeError> {
        Ok(Float64(f64::from_be_bytes(self.fixed()?)))
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.fixed()?))
    }

    /// Seven bits per byte, lowest first, at most five bytes.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u32 = 0;
        for (place, byte) in self.rest.iter().take(5).enumerate() {
            let bits = u32::from(byte & 0x7f);
            if place == 4 && bits > 15 {
                break;
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[place + 1..];
                return Ok(value);
            }
        }
        Err(self.error(match self.rest.len() {
            left @ 0..5 => DecodeErrorKind::TooShort {
                needed: left + 1,
                left,
            },
            _ => DecodeErrorKind::VarintTooLong { limit: 5 },
        }))
    }

    /// A length in the compact form is one more than it says, and 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    /// A length of which -1 is null.
    fn plain_length(&mut self, length: i64) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            _ => match usize::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(self.error(DecodeErrorKind::InvalidLength { length })),
            },
        }
    }

    fn never_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(DecodeErrorKind::UnexpectedNull))
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|_| self.error(DecodeErrorKind::NotUtf8))
    }

    pub fn string(&mut self, flexible: bool) -> Result<&'a str, DecodeError> {
        let value = self.nullable_string(flexible)?;
        self.never_null(value)
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            let length = self.i16()?;
            self.plain_length(length.into())?
        };
        match length {
            None => Ok(None),
            Some(length) => {
                let bytes = self.take(length)?;
                self.utf8(bytes).map(Some)
            }
        }
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<&'a [u8], DecodeError> {
        let value = self.nullable_bytes(flexible)?;
        self.never_null(value)
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        let length = self.long_length(flexible)?;
        length.map(|length| self.take(length)).transpose()
    }

    /// The length of bytes, records or an array.
    fn long_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.i32()?;
        self.plain_length(length.into())
    }

    /// The records of a response; null reads as none. Shared with the frame when the reader knows it, else copied.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        let bytes = self.nullable_bytes(flexible)?.unwrap_or_default();
        Ok(match self.frame {
            Some(frame) if !bytes.is_empty() => Records::from(frame.slice_ref(bytes)),
            _ => Records::from(Bytes::copy_from_slice(bytes)),
        })
    }

    /// An array whose elements take at least `LEAST` bytes each.
    pub fn array<const LEAST: usize, T>(
        &mut self,
        flexible: bool,
        read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let array = self.nullable_array::<LEAST, T>(flexible, read)?;
        self.never_null(array)
    }

    /// As `array`, or null.
    pub fn nullable_array<const LEAST: usize, T>(
        &mut self,
        flexible: bool,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        const { assert!(LEAST > 0 && size_of::<T>() <= MEMORY_PER_BYTE * LEAST) };
        let Some(count) = self.long_length(flexible)? else {
            return Ok(None);
        };
        let left = self.rest.len();
        if count > left / LEAST {
            return Err(self.error(DecodeErrorKind::TooManyElements {
                count,
                element: LEAST,
                left,
            }));
        }
        let mut array = Vec::with_capacity(count.min(RESERVE));
        for _ in 0..count {
            array.push(read(self)?);
        }
        Ok(Some(array))
    }

    /// A struct that may be null: a byte of 1 and the struct, or a negative byte.
    pub fn nullable_struct<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 {
            Ok(None)
        } else {
            read(self).map(Some)
        }
    }

    /// Skips the tagged fields of a struct that defines none.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    /// Hands each tagged field to `read`, which tells whether it knows the tag; unknown ones are skipped.
    pub fn tagged_fields(
        &mut self,
        mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let end = self.end - self.rest.len() + size;
            let mut field = Reader {
                rest: self.take(size)?,
                end,
                frame: self.frame,
            };
            if read(tag, &mut field)? && !field.rest.is_empty() {
                let left = field.rest.len();
                return Err(field.error(DecodeErrorKind::TaggedFieldTooLong { tag, left }));
            }
        }
        Ok(())
    }
}
