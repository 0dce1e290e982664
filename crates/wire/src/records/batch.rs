//! The header of a batch, the check that lets a batch into a log, and the walk over the batches of a log.

use bytes::{Bytes, BytesMut};

use super::{BatchError, Compression};

/// The bytes of a batch before its records.
pub const BATCH_OVERHEAD: usize = 61;
/// The bytes that the length field does not count: base offset and the length itself.
pub(super) const LENGTH_OVERHEAD: usize = 12;
const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

pub(super) const COMPRESSION: i16 = 7;
pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(super) const TRANSACTIONAL: i16 = 1 << 4;
pub(super) const CONTROL: i16 = 1 << 5;
pub(super) const DELETE_HORIZON: i16 = 1 << 6;

/// Who stamped the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer; each record has its own time.
    CreateTime,
    /// The broker; all records have the batch's max timestamp.
    LogAppendTime,
}

/// All fields of a batch but its records; `mod.rs` has the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after the length field: the batch has 12 more.
    pub length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// Milliseconds since 1970.
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header and checks format and length, not the checksum.
    ///
    /// # Errors
    /// `WrongLength` when fewer than 61 bytes are there or the length cannot hold a header; `OldMagic`, `UnknownMagic`.
    pub fn decode(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let found = bytes.len();
        let (stated, magic) = match (bytes.get(8..LENGTH_OVERHEAD), bytes.get(MAGIC_AT)) {
            (Some(length), Some(magic)) => (be_i32(length), *magic as i8),
            _ => {
                return Err(BatchError::WrongLength {
                    stated: BATCH_OVERHEAD as i64,
                    found,
                });
            }
        };
        match magic {
            2 => {}
            0 | 1 => return Err(BatchError::OldMagic { magic }),
            _ => return Err(BatchError::UnknownMagic { magic }),
        }
        let stated = i64::from(stated) + LENGTH_OVERHEAD as i64;
        match bytes.first_chunk::<BATCH_OVERHEAD>() {
            Some(header) if stated >= BATCH_OVERHEAD as i64 => Ok(BatchHeader::from_bytes(header)),
            _ => Err(BatchError::WrongLength { stated, found }),
        }
    }

    fn from_bytes(bytes: &[u8; BATCH_OVERHEAD]) -> BatchHeader {
        BatchHeader {
            base_offset: be_i64(&bytes[0..8]),
            length: be_i32(&bytes[8..12]),
            leader_epoch: be_i32(&bytes[12..16]),
            magic: bytes[MAGIC_AT] as i8,
            crc: be_i32(&bytes[17..21]) as u32,
            attributes: i16::from_be_bytes([bytes[21], bytes[22]]),
            last_offset_delta: be_i32(&bytes[23..27]),
            base_timestamp: be_i64(&bytes[27..35]),
            max_timestamp: be_i64(&bytes[35..43]),
            producer_id: be_i64(&bytes[43..51]),
            producer_epoch: i16::from_be_bytes([bytes[51], bytes[52]]),
            base_sequence: be_i32(&bytes[53..57]),
            record_count: be_i32(&bytes[57..61]),
        }
    }

    /// The 61 bytes of the header as it stands; the checksum is not recomputed.
    pub fn encode(&self) -> [u8; BATCH_OVERHEAD] {
        let mut bytes = [0; BATCH_OVERHEAD];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        bytes[MAGIC_AT] = self.magic as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// How many bytes the whole batch has.
    pub fn total_length(&self) -> usize {
        LENGTH_OVERHEAD + usize::try_from(self.length).unwrap_or(0)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// `InvalidField` for the codecs 5 to 7, which do not exist.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_bits(self.attributes & 7).ok_or(BatchError::InvalidField {
            field: "compression",
            value: (self.attributes & 7).into(),
        })
    }

    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the base timestamp is the time after which a compacted log drops tombstones (KIP-534).
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta.into())
    }

    /// The sequence number of the last record; they go from `i32::MAX` on to 0. -1 without one.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Whether the fields agree with each other, as in a batch straight from a producer or coordinator.
    fn check_fields(&self) -> Result<(), BatchError> {
        let refuse = |field, value| Err(BatchError::InvalidField { field, value });
        self.compression()?;
        if self.record_count < 1 {
            return refuse("the record count", self.record_count.into());
        }
        if self.last_offset_delta != self.record_count - 1 {
            return refuse("the last offset delta", self.last_offset_delta.into());
        }
        if self.producer_id < -1 {
            return refuse("the producer id", self.producer_id);
        }
        if self.is_transactional() && !self.has_producer_id() {
            return refuse("the producer id of a transaction", self.producer_id);
        }
        if self.has_producer_id() && self.producer_epoch < 0 {
            return refuse("the producer epoch", self.producer_epoch.into());
        }
        if self.has_producer_id() && !self.is_control() && self.base_sequence < 0 {
            return refuse("the base sequence", self.base_sequence.into());
        }
        Ok(())
    }
}

fn be_i32(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(*bytes.first_chunk().expect("the caller gives four bytes"))
}

fn be_i64(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(*bytes.first_chunk().expect("the caller gives eight bytes"))
}

/// One whole batch that may be appended to a log. Control batches pass: whether a client may send them is the broker's rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl CheckedBatch {
    /// Checks that `bytes` is exactly one batch of format v2, at most `max_bytes` long, with a right checksum and a
    /// header that agrees with itself. The records are not looked at.
    ///
    /// # Errors
    /// [`BatchError`]; its `error_code` is what a Produce response carries.
    pub fn check(bytes: Bytes, max_bytes: usize) -> Result<CheckedBatch, BatchError> {
        let header = BatchHeader::decode(&bytes)?;
        if header.total_length() != bytes.len() {
            let stated = header.total_length() as i64;
            return Err(BatchError::WrongLength {
                stated,
                found: bytes.len(),
            });
        }
        if bytes.len() > max_bytes {
            return Err(BatchError::TooLarge { limit: max_bytes });
        }
        let found = crc(&bytes);
        if found != header.crc {
            return Err(BatchError::WrongChecksum {
                stated: header.crc,
                found,
            });
        }
        header.check_fields()?;
        Ok(CheckedBatch { header, bytes })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch stamped with the broker's time: attributes, max timestamp and checksum change, so it is copied.
    pub fn with_log_append_time(&self, now_ms: i64) -> CheckedBatch {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        let attributes = self.header.attributes | LOG_APPEND_TIME;
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now_ms.to_be_bytes());
        let crc = crc(&bytes);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        let header = BatchHeader {
            attributes,
            max_timestamp: now_ms,
            crc,
            ..self.header
        };
        CheckedBatch {
            header,
            bytes: bytes.freeze(),
        }
    }
}

/// The checksum of a batch of at least 61 bytes.
pub(super) fn crc(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(&batch[ATTRIBUTES_AT..])
}

/// Whether the checksum of one whole batch is right; false when the bytes are not exactly one batch of format v2.
pub fn verify_crc(batch: &[u8]) -> bool {
    BatchHeader::decode(batch)
        .is_ok_and(|header| header.total_length() == batch.len() && header.crc == crc(batch))
}

/// Walks the batches of a stretch of log, headers only; a partial last batch ends the walk, and so does the first error.
pub fn scan_batches(bytes: &[u8]) -> BatchScan<'_> {
    BatchScan {
        bytes,
        position: 0,
        has_failed: false,
    }
}

/// See [`scan_batches`].
#[derive(Debug, Clone)]
pub struct BatchScan<'a> {
    bytes: &'a [u8],
    position: usize,
    has_failed: bool,
}

impl BatchScan<'_> {
    /// Where the next batch starts: the bytes before it were whole batches.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for BatchScan<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.position..];
        if self.has_failed || rest.len() <= MAGIC_AT {
            return None;
        }
        let header = match BatchHeader::decode(rest) {
            Ok(header) => header,
            Err(BatchError::WrongLength { stated, .. }) if stated >= BATCH_OVERHEAD as i64 => {
                return None;
            }
            Err(error) => {
                self.has_failed = true;
                return Some(Err(error));
            }
        };
        let batch = rest.get(..header.total_length())?;
        self.position += batch.len();
        Some(Ok((header, batch)))
    }
}
