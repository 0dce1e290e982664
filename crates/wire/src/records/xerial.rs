//! Snappy as Kafka's clients write it: a raw block (librdkafka), or xerial's framing of raw blocks (Java).
//!
//! ```text
//! 0  82 53 4e 41 50 50 59 00   magic
//! 8  version i32, compatible version i32
//! 16 blocks: length i32, raw snappy
//! ```

use super::BatchError;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LENGTH: usize = 16;
/// What the Java client compresses at a time.
const BLOCK: usize = 32 * 1024;
/// Three bytes of snappy make at most 64 bytes; a block that claims more is lying.
const MAX_RATIO: usize = 22;

/// Decompresses either form.
pub(super) fn decompress(bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, BatchError> {
    let mut plain = Vec::new();
    if !bytes.starts_with(&MAGIC) {
        append_block(bytes, max_bytes, &mut plain)?;
        return Ok(plain);
    }
    let mut rest = bytes
        .get(HEADER_LENGTH..)
        .ok_or_else(|| damaged("its header is cut off"))?;
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk()
            .ok_or_else(|| damaged("a block length is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after
            .split_at_checked(length)
            .ok_or_else(|| damaged("a block is cut off"))?;
        append_block(block, max_bytes, &mut plain)?;
        rest = after;
    }
    Ok(plain)
}

/// Appends a raw block; its claimed length is checked against limit and ratio before anything is reserved.
fn append_block(block: &[u8], max_bytes: usize, plain: &mut Vec<u8>) -> Result<(), BatchError> {
    let error = |error: snap::Error| damaged(&error.to_string());
    let claimed = snap::raw::decompress_len(block).map_err(error)?;
    let start = plain.len();
    if claimed > max_bytes - start {
        return Err(BatchError::TooLarge { limit: max_bytes });
    }
    if claimed / MAX_RATIO > block.len() {
        return Err(damaged("a block claims to be larger than it can be"));
    }
    plain.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut plain[start..])
        .map_err(error)?;
    plain.truncate(start + written);
    Ok(())
}

/// Compresses in xerial's framing, which every client reads.
pub(super) fn compress(records: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LENGTH + records.len() / 2);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for chunk in records.chunks(BLOCK) {
        let block = encoder
            .compress_vec(chunk)
            .expect("a block of 32 KiB is never too big");
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

fn damaged(reason: &str) -> BatchError {
    BatchError::Decompression {
        codec: "snappy",
        reason: reason.to_owned(),
    }
}
