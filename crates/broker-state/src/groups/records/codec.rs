//! The primitive types of Kafka's coordinator records, in both encodings: with fixed lengths, and flexible (compact).
//!
//! Kept apart from `wire`, whose readers know requests: these records are storage and must stay readable for ever.

use std::time::Duration;

use wire::Uuid;

use super::{MAX_TEXT_BYTES, RecordError};

/// How lengths are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::groups) enum Flavour {
    Fixed,
    Flexible,
}

/// Reads primitives off a slice; every error names the field that could not be read.
pub(in crate::groups) struct Reader<'a> {
    rest: &'a [u8],
    pub(in crate::groups) flavour: Flavour,
}

impl<'a> Reader<'a> {
    pub(in crate::groups) fn new(bytes: &'a [u8]) -> Self {
        Reader {
            rest: bytes,
            flavour: Flavour::Fixed,
        }
    }

    pub(in crate::groups) fn int16(&mut self, field: &'static str) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    pub(in crate::groups) fn int32(&mut self, field: &'static str) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    pub(in crate::groups) fn int64(&mut self, field: &'static str) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    pub(in crate::groups) fn text(&mut self, field: &'static str) -> Result<&'a str, RecordError> {
        self.nullable_text(field)?
            .ok_or(RecordError::Damaged { field })
    }

    pub(in crate::groups) fn nullable_text(
        &mut self,
        field: &'static str,
    ) -> Result<Option<&'a str>, RecordError> {
        let length = match self.flavour {
            Flavour::Fixed => i64::from(self.int16(field)?),
            Flavour::Flexible => self.compact_length(field)?,
        };
        if length > MAX_TEXT_BYTES as i64 {
            return Err(RecordError::Damaged { field });
        }
        let Some(bytes) = self.sized(length, field)? else {
            return Ok(None);
        };
        std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| RecordError::Damaged { field })
    }

    pub(in crate::groups) fn bytes(
        &mut self,
        field: &'static str,
    ) -> Result<&'a [u8], RecordError> {
        let length = self.length(field)?;
        self.sized(length, field)?
            .ok_or(RecordError::Damaged { field })
    }

    /// The number of elements that follow; a null array has none.
    pub(in crate::groups) fn count(&mut self, field: &'static str) -> Result<usize, RecordError> {
        let count = self.length(field)?.max(0);
        // Every element takes a byte at least, so a larger count is a lie.
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or(RecordError::Damaged { field })
    }

    /// Hands each tagged field to `take`; there are none in the fixed flavour.
    pub(in crate::groups) fn each_tag(
        &mut self,
        field: &'static str,
        mut take: impl FnMut(u32, &'a [u8]),
    ) -> Result<(), RecordError> {
        if self.flavour == Flavour::Fixed {
            return Ok(());
        }
        for _ in 0..self.varint(field)? {
            let tag = self.varint(field)?;
            let length = self.varint(field)?;
            let bytes = self
                .sized(i64::from(length), field)?
                .ok_or(RecordError::Damaged { field })?;
            take(tag, bytes);
        }
        Ok(())
    }

    /// Nothing may follow.
    pub(in crate::groups) fn end(&self, field: &'static str) -> Result<(), RecordError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Damaged { field })
        }
    }

    pub(in crate::groups) fn int8(&mut self, field: &'static str) -> Result<i8, RecordError> {
        let [byte] = self.array(field)?;
        Ok(byte as i8)
    }

    pub(in crate::groups) fn uuid(&mut self, field: &'static str) -> Result<Uuid, RecordError> {
        Ok(Uuid(self.array(field)?))
    }

    /// The elements of an array, each read by `read`; a null array has none.
    pub(in crate::groups) fn array_of<T>(
        &mut self,
        field: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.count(field)?;
        // Grows with what is really there: a count alone reserves nothing.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// Steps over tagged fields that nothing here knows.
    pub(in crate::groups) fn skip_tags(&mut self, field: &'static str) -> Result<(), RecordError> {
        self.each_tag(field, |_, _| ())
    }

    /// The length of bytes or an array: -1 for null.
    fn length(&mut self, field: &'static str) -> Result<i64, RecordError> {
        match self.flavour {
            Flavour::Fixed => self.int32(field).map(i64::from),
            Flavour::Flexible => self.compact_length(field),
        }
    }

    fn compact_length(&mut self, field: &'static str) -> Result<i64, RecordError> {
        Ok(i64::from(self.varint(field)?) - 1)
    }

    fn varint(&mut self, field: &'static str) -> Result<u32, RecordError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| RecordError::Damaged { field });
            }
        }
        Err(RecordError::Damaged { field })
    }

    /// `length` bytes, or none for -1.
    fn sized(&mut self, length: i64, field: &'static str) -> Result<Option<&'a [u8]>, RecordError> {
        if length == -1 {
            return Ok(None);
        }
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let (bytes, rest) = split.ok_or(RecordError::Damaged { field })?;
        self.rest = rest;
        Ok(Some(bytes))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(RecordError::Damaged { field })?;
        self.rest = rest;
        Ok(*bytes)
    }
}

/// Collects a key or a value; starts with its version.
pub(in crate::groups) struct Writer {
    out: Vec<u8>,
    flavour: Flavour,
}

impl Writer {
    /// In the fixed flavour.
    pub(in crate::groups) fn new(version: i16) -> Self {
        Writer {
            out: version.to_be_bytes().to_vec(),
            flavour: Flavour::Fixed,
        }
    }

    /// In the flexible flavour.
    pub(in crate::groups) fn flexible(version: i16) -> Self {
        Writer {
            flavour: Flavour::Flexible,
            ..Writer::new(version)
        }
    }

    /// The bytes of a tagged field: flexible, and without a version.
    pub(in crate::groups) fn field() -> Self {
        Writer {
            out: Vec::new(),
            flavour: Flavour::Flexible,
        }
    }

    pub(in crate::groups) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(in crate::groups) fn int8(&mut self, value: i8) {
        self.out.push(value as u8);
    }

    pub(in crate::groups) fn int16(&mut self, value: i16) {
        self.out.extend(value.to_be_bytes());
    }

    pub(in crate::groups) fn int32(&mut self, value: i32) {
        self.out.extend(value.to_be_bytes());
    }

    pub(in crate::groups) fn int64(&mut self, value: i64) {
        self.out.extend(value.to_be_bytes());
    }

    pub(in crate::groups) fn uuid(&mut self, value: Uuid) {
        self.out.extend(value.0);
    }

    pub(in crate::groups) fn millis(&mut self, value: Duration) {
        self.int32(i32::try_from(value.as_millis()).unwrap_or(i32::MAX));
    }

    pub(in crate::groups) fn text(&mut self, value: &str) {
        match self.flavour {
            Flavour::Flexible => self.varint(value.len() + 1),
            Flavour::Fixed => {
                let length = i16::try_from(value.len())
                    .expect("texts are checked against MAX_TEXT_BYTES on their way in");
                self.out.extend(length.to_be_bytes());
            }
        }
        self.out.extend(value.as_bytes());
    }

    pub(in crate::groups) fn nullable_text(&mut self, value: Option<&str>) {
        match (value, self.flavour) {
            (Some(value), _) => self.text(value),
            (None, Flavour::Flexible) => self.varint(0),
            (None, Flavour::Fixed) => self.out.extend((-1i16).to_be_bytes()),
        }
    }

    pub(in crate::groups) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.out.extend(value);
    }

    pub(in crate::groups) fn count(&mut self, count: usize) {
        match self.flavour {
            Flavour::Flexible => self.varint(count + 1),
            Flavour::Fixed => self.int32(
                i32::try_from(count).expect("records are bounded by max_group_record_bytes"),
            ),
        }
    }

    pub(in crate::groups) fn tags(&mut self, tags: &[(usize, &[u8])]) {
        self.varint(tags.len());
        for (tag, bytes) in tags {
            self.varint(*tag);
            self.varint(bytes.len());
            self.out.extend(*bytes);
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
