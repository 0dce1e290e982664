//! Record batches, format v2 (magic 2): headers, checks, iteration, compression, building.
//!
//! ```text
//!  0 base offset        i64   ┐ stamped by the broker, outside the checksum
//!  8 length             i32   │ bytes after this field
//! 12 leader epoch       i32   ┘
//! 16 magic              i8    2
//! 17 checksum           u32   CRC-32C of everything after it
//! 21 attributes         i16   0–2 compression · 3 log append time · 4 transactional · 5 control · 6 delete horizon
//! 23 last offset delta  i32
//! 27 base timestamp     i64   milliseconds since 1970
//! 35 max timestamp      i64
//! 43 producer id        i64   -1 without idempotence
//! 51 producer epoch     i16
//! 53 base sequence      i32
//! 57 record count       i32
//! 61 records, compressed as one piece
//! ```
//!
//! Source: the message format section of Kafka's documentation, KIP-98.

mod batch;
mod builder;
mod compression;
mod iter;
mod marker;
mod rewrite;
mod varint;
mod xerial;

pub use batch::{
    BATCH_OVERHEAD, BatchHeader, BatchScan, CheckedBatch, TimestampType, scan_batches, verify_crc,
};
pub use builder::BatchBuilder;
pub use compression::{Compression, Level, compress, compress_at, decompress, decompress_bytes};
pub use iter::{RecordHeader, RecordHeaders, RecordIter, RecordView};
pub use marker::{EndTransactionMarker, MOST_MARKER_BYTES};
pub use rewrite::{empty_batch, recompress, retain_records};

use crate::ErrorCode;

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes are not exactly one batch.
    #[error(
        "the batch says it has {stated} bytes, but {found} are there; send exactly one batch per partition"
    )]
    WrongLength { stated: i64, found: usize },
    /// Format v0 or v1.
    #[error(
        "message format {magic} is too old; use a client that writes format 2 (Kafka 0.11 or later)"
    )]
    OldMagic { magic: i8 },
    /// A format that does not exist.
    #[error("message format {magic} does not exist")]
    UnknownMagic { magic: i8 },
    /// The checksum does not match.
    #[error("the checksum is {found:08x}, but the batch says {stated:08x}")]
    WrongChecksum { stated: u32, found: u32 },
    /// More bytes than the limit, before or after decompression.
    #[error("the batch has more than the {limit} bytes that are allowed")]
    TooLarge { limit: usize },
    /// A header field contradicts another or makes no sense.
    #[error("{field} is {value}, which cannot be")]
    InvalidField { field: &'static str, value: i64 },
    /// The compressed bytes cannot be decompressed.
    #[error("the {codec} data is damaged: {reason}")]
    Decompression { codec: &'static str, reason: String },
    /// A record cannot be read.
    #[error("record {index} of the batch is damaged: {reason}")]
    InvalidRecord { index: i32, reason: &'static str },
}

impl BatchError {
    /// The error that a client understands.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            BatchError::OldMagic { .. } => ErrorCode::UnsupportedForMessageFormat,
            BatchError::WrongChecksum { .. } => ErrorCode::CorruptMessage,
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::WrongLength { .. }
            | BatchError::UnknownMagic { .. }
            | BatchError::InvalidField { .. }
            | BatchError::Decompression { .. }
            | BatchError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
        }
    }
}

#[cfg(test)]
mod tests;
