//! Compresses and decompresses the records of a batch. What comes out is bounded by the caller's limit for all codecs.

use std::borrow::Cow;
use std::io::{Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::batch::{BATCH_OVERHEAD, BatchHeader};
use super::{BatchError, xerial};

/// How the records of a batch are compressed: the three low bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// All codecs, by their number.
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The name in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    pub(super) fn from_bits(bits: i16) -> Option<Compression> {
        usize::try_from(bits)
            .ok()
            .and_then(|bits| Compression::ALL.get(bits))
            .copied()
    }
}

/// The records of the whole `batch`, decompressed; borrowed when it is not compressed.
///
/// Output is reserved in steps as it comes, and stops past `max_bytes`. Beside it lz4 may hold two blocks of 4 MiB and zstd
/// reserve a window of 128 MiB, of which it touches what it fills. Takes time: keep it off threads that must not block.
///
/// # Errors
/// `TooLarge` when more than `max_bytes` come out; `Decompression` for damaged data; `InvalidField` for an unknown codec.
pub fn decompress<'a>(
    header: &BatchHeader,
    batch: &'a [u8],
    max_bytes: usize,
) -> Result<Cow<'a, [u8]>, BatchError> {
    let records = batch.get(BATCH_OVERHEAD..).unwrap_or_default();
    decompress_bytes(header.compression()?, records, max_bytes)
}

/// As [`decompress`], for bytes that are no batch: metrics that a client pushes.
///
/// # Errors
/// `TooLarge` when more than `max_bytes` come out; `Decompression` for damaged data.
pub fn decompress_bytes(
    compression: Compression,
    records: &[u8],
    max_bytes: usize,
) -> Result<Cow<'_, [u8]>, BatchError> {
    let plain = match compression {
        Compression::None if records.len() > max_bytes => {
            return Err(BatchError::TooLarge { limit: max_bytes });
        }
        Compression::None => return Ok(Cow::Borrowed(records)),
        Compression::Gzip => read_at_most(
            "gzip",
            flate2::read::MultiGzDecoder::new(records),
            max_bytes,
        ),
        Compression::Snappy => xerial::decompress(records, max_bytes),
        Compression::Lz4 => read_at_most("lz4", FrameDecoder::new(records), max_bytes),
        Compression::Zstd => {
            zstd_decoder(records).and_then(|decoder| read_at_most("zstd", decoder, max_bytes))
        }
    };
    plain.map(Cow::Owned)
}

/// Windows up to 128 MiB, what zstd itself allows and level 22 uses; the memory is touched only as far as it is filled.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

fn zstd_decoder(records: &[u8]) -> Result<impl Read, BatchError> {
    let damaged = |error: std::io::Error| damaged("zstd", &error);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(records).map_err(damaged)?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(damaged)?;
    Ok(decoder)
}

fn read_at_most(
    codec: &'static str,
    reader: impl Read,
    max_bytes: usize,
) -> Result<Vec<u8>, BatchError> {
    let mut plain = Vec::new();
    let mut reader = reader.take((max_bytes as u64).saturating_add(1));
    reader
        .read_to_end(&mut plain)
        .map_err(|error| damaged(codec, &error))?;
    if plain.len() > max_bytes {
        return Err(BatchError::TooLarge { limit: max_bytes });
    }
    Ok(plain)
}

fn damaged(codec: &'static str, error: &std::io::Error) -> BatchError {
    BatchError::Decompression {
        codec,
        reason: error.to_string(),
    }
}

/// The records of a batch, compressed in the form that all clients read: xerial snappy, lz4 in independent blocks of 64 KiB.
///
/// [`super::BatchBuilder::build`] does this and makes header and checksum right.
pub fn compress(compression: Compression, records: &[u8]) -> Vec<u8> {
    compress_at(compression, Level::Default, records)
}

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The codec's own default.
    Default,
    /// A level of gzip (1 to 9) or zstd (up to 22, negative ones are faster); snappy has none, and lz4 as built in has one.
    Of(i32),
}

/// As [`compress`], as hard as is asked for.
pub fn compress_at(compression: Compression, level: Level, records: &[u8]) -> Vec<u8> {
    let written = match compression {
        Compression::None => Ok(records.to_vec()),
        Compression::Gzip => gzip(records, level),
        Compression::Snappy => Ok(xerial::compress(records)),
        Compression::Lz4 => lz4(records),
        Compression::Zstd => zstd::bulk::compress(records, zstd_level(level)),
    };
    written.expect("writing into memory does not fail")
}

fn zstd_level(level: Level) -> i32 {
    match level {
        Level::Default => zstd::DEFAULT_COMPRESSION_LEVEL,
        Level::Of(level) => level,
    }
}

fn gzip(records: &[u8], level: Level) -> std::io::Result<Vec<u8>> {
    let level = match level {
        Level::Of(level @ 0..=9) => flate2::Compression::new(level.unsigned_abs()),
        Level::Of(_) | Level::Default => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(records)?;
    encoder.finish()
}

/// Independent blocks of 64 KiB: lz4_flex reads them seven times as fast as its default of 4 MiB.
fn lz4(records: &[u8]) -> std::io::Result<Vec<u8>> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(records)?;
    encoder.finish().map_err(std::io::Error::other)
}
