//! Writes the protocol's primitive types into segments for one vectored write.

use bytes::{Bytes, BytesMut};

use crate::{Float64, Uuid};

/// Shared bytes up to this length are copied, which costs less than one more entry in the vectored write.
const COPY_UP_TO: usize = 256;

/// A piece of a frame, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes to send as they are.
    Bytes(Bytes),
    /// A stretch of `length` bytes that only the sender can find, by its `token`; this crate knows no files.
    External { token: u32, length: u32 },
}

impl Segment {
    /// How many bytes it puts on the wire.
    pub fn len(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::External { length, .. } => *length as usize,
        }
    }

    /// Whether it puts nothing on the wire.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The record batches of a response, in pieces that are not copied.
#[derive(Debug, Clone, Default)]
pub struct Records {
    segments: Vec<Segment>,
}

impl Records {
    /// No records: zero bytes on the wire, never null, which librdkafka reads as an invalid size.
    pub fn new() -> Self {
        Records::default()
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, segment: Segment) {
        if !segment.is_empty() {
            self.segments.push(segment);
        }
    }

    /// The pieces in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many bytes all pieces have.
    pub fn len(&self) -> usize {
        self.segments.iter().map(Segment::len).sum()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// All bytes in one piece, copied only when there are several; none when a piece is external.
    pub fn to_bytes(&self) -> Option<Bytes> {
        if let [Segment::Bytes(bytes)] = &self.segments[..] {
            return Some(bytes.clone());
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for segment in &self.segments {
            match segment {
                Segment::Bytes(bytes) => whole.extend_from_slice(bytes),
                Segment::External { .. } => return None,
            }
        }
        Some(whole.freeze())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records::from_iter([Segment::Bytes(bytes)])
    }
}

impl FromIterator<Segment> for Records {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Records {
            segments: segments
                .into_iter()
                .filter(|segment| !segment.is_empty())
                .collect(),
        }
    }
}

/// Equal when the same bytes and externals come in the same order, however they are cut.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        match (self.to_bytes(), other.to_bytes()) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, None) => self.segments == other.segments,
            _ => false,
        }
    }
}

impl Eq for Records {}

/// Collects a frame. What is written is one buffer; shared and external pieces are remembered by their place in it.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    inserts: Vec<(usize, Segment)>,
    inserted: usize,
}

impl Writer {
    /// An empty frame with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Writer {
            buffer: Vec::with_capacity(capacity),
            ..Writer::default()
        }
    }

    /// How many bytes the frame has so far, external ones included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.inserted
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bool(&mut self, value: bool) {
        self.buffer.push(value.into());
    }

    pub fn i8(&mut self, value: i8) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i16(&mut self, value: i16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    pub fn u16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    pub fn f64(&mut self, value: Float64) {
        self.buffer.extend_from_slice(&value.0.to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    /// Seven bits per byte, lowest first.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// The length of bytes, records or an array; -1 or compact 0 for null.
    fn length(&mut self, length: Option<usize>, flexible: bool) {
        let length =
            length.map(|length| i32::try_from(length).expect("a frame is smaller than 2 GiB"));
        match (length, flexible) {
            (None, true) => self.unsigned_varint(0),
            (Some(length), true) => self.unsigned_varint(length as u32 + 1),
            (None, false) => self.i32(-1),
            (Some(length), false) => self.i32(length),
        }
    }

    /// A string; before flexible versions at most 32,767 bytes fit, a longer one is cut at a letter.
    pub fn string(&mut self, value: &str, flexible: bool) {
        self.nullable_string(Some(value), flexible);
    }

    pub fn nullable_string(&mut self, value: Option<&str>, flexible: bool) {
        match value {
            Some(value) if flexible => self.bytes(value.as_bytes(), true),
            Some(value) => {
                let value = &value[..value.floor_char_boundary(i16::MAX as usize)];
                self.i16(value.len() as i16);
                self.buffer.extend_from_slice(value.as_bytes());
            }
            None if flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
    }

    pub fn bytes(&mut self, value: &[u8], flexible: bool) {
        self.length(Some(value.len()), flexible);
        self.buffer.extend_from_slice(value);
    }

    pub fn nullable_bytes(&mut self, value: Option<&[u8]>, flexible: bool) {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => self.length(None, flexible),
        }
    }

    /// The records of a response, without copying the large ones.
    pub fn records(&mut self, records: &Records, flexible: bool) {
        self.length(Some(records.len()), flexible);
        for segment in &records.segments {
            self.segment(segment.clone());
        }
    }

    /// A piece that is already on its way to the wire.
    pub fn segment(&mut self, segment: Segment) {
        match segment {
            Segment::Bytes(bytes) if bytes.len() <= COPY_UP_TO => {
                self.buffer.extend_from_slice(&bytes)
            }
            segment => {
                self.inserted += segment.len();
                self.inserts.push((self.buffer.len(), segment));
            }
        }
    }

    pub fn array<T>(&mut self, flexible: bool, values: &[T], write: impl Fn(&mut Writer, &T)) {
        self.nullable_array(flexible, Some(values), write);
    }

    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        values: Option<&[T]>,
        write: impl Fn(&mut Writer, &T),
    ) {
        self.length(values.map(<[T]>::len), flexible);
        for value in values.unwrap_or_default() {
            write(self, value);
        }
    }

    /// A struct that may be null: a byte of 1 and the struct, or -1.
    pub fn nullable_struct<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Writer, &T)) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Tag, size and what `write` writes; tagged fields hold no records.
    pub fn tagged_field(&mut self, tag: u32, write: impl FnOnce(&mut Writer)) {
        self.unsigned_varint(tag);
        let start = self.buffer.len();
        write(self);
        let size = self.buffer.len() - start;
        let size_start = self.buffer.len();
        self.unsigned_varint(size as u32);
        let size_width = self.buffer.len() - size_start;
        self.buffer[start..].rotate_right(size_width);
    }

    /// Leaves room for the size of the frame, which `finish_frame` fills in.
    pub(crate) fn start_frame(&mut self) {
        debug_assert!(self.is_empty(), "the size is the first field of a frame");
        self.i32(0);
    }

    /// Fills in the size: all bytes after the size field itself.
    fn set_frame_size(&mut self) {
        let size = i32::try_from(self.len() - 4).expect("a frame is smaller than 2 GiB");
        self.buffer[..4].copy_from_slice(&size.to_be_bytes());
    }

    /// The frame in pieces, none of them empty.
    pub(crate) fn finish_frame(mut self) -> Vec<Segment> {
        self.set_frame_size();
        self.finish()
    }

    /// The frame in one piece; shared pieces are copied.
    pub(crate) fn finish_frame_whole(mut self) -> Bytes {
        self.set_frame_size();
        let whole = Records::from_iter(self.finish());
        whole.to_bytes().expect("a request has no external pieces")
    }

    /// What was written, in pieces, none of them empty.
    pub fn finish(self) -> Vec<Segment> {
        let mut buffer = Bytes::from(self.buffer);
        let mut segments = Vec::with_capacity(2 * self.inserts.len() + 1);
        let mut position = 0;
        for (place, segment) in self.inserts {
            if place > position {
                segments.push(Segment::Bytes(buffer.split_to(place - position)));
                position = place;
            }
            segments.push(segment);
        }
        if !buffer.is_empty() {
            segments.push(Segment::Bytes(buffer));
        }
        segments
    }
}
