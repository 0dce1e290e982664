//! The state of a partition's producers as bytes, for the checkpoint of its log.
//!
//! ```text
//! byte 0    version, 0
//! varint    count of producers
//! each      producer id (signed), epoch (signed), last offset (signed), last seen in milliseconds (signed),
//!           count of remembered batches (0 to 5), then per batch, the oldest first:
//!           base sequence, last sequence, base offset, log append time (all signed)
//! ```
//! Producers are sorted by id, so that equal states give equal bytes. Damage is the checkpoint's to notice: this
//! form has no checksum of its own, and only promises never to panic and never to take more memory than its bytes.

use std::collections::VecDeque;

use thiserror::Error;

use super::{Batch, Producer, Producers, WINDOW};
use crate::compact::{Decoder, Encoder, Malformed};
use crate::step::Millis;

const VERSION: u8 = 0;
/// The fewest bytes that a producer takes.
const LEAST_PRODUCER_BYTES: usize = 5;

/// Why a snapshot cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    #[error("producer snapshot has version {version}, which is not known to this version")]
    UnknownVersion { version: u8 },
    #[error("producer snapshot is damaged: {0}")]
    Malformed(#[from] Malformed),
    #[error("producer snapshot names producer {producer_id} twice or out of order")]
    Unordered { producer_id: i64 },
}

impl Producers {
    /// The state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut sorted: Vec<(&i64, &Producer)> = self.by_id.iter().collect();
        sorted.sort_unstable_by_key(|(id, _)| **id);
        let mut out = Encoder::default();
        out.byte(VERSION);
        out.unsigned(sorted.len() as u64);
        for (id, producer) in sorted {
            out.signed(*id);
            out.signed(producer.epoch.into());
            out.signed(producer.last_offset);
            out.signed(producer.last_seen.0);
            out.unsigned(producer.window.len() as u64);
            for batch in &producer.window {
                out.signed(batch.base_sequence.into());
                out.signed(batch.last_sequence.into());
                out.signed(batch.base_offset);
                out.signed(batch.log_append_time);
            }
        }
        out.finish()
    }

    /// The state that a snapshot was taken of, with the default limits; no bytes at all are the state without
    /// producers.
    ///
    /// # Errors
    /// `UnknownVersion` for what a newer version wrote, the others for damage.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut producers = Self::default();
        if bytes.is_empty() {
            return Ok(producers);
        }
        let mut from = Decoder::new(bytes);
        let version = from.byte("version")?;
        if version != VERSION {
            return Err(SnapshotError::UnknownVersion { version });
        }
        let count = from.count(from.left() / LEAST_PRODUCER_BYTES, "count of producers")?;
        producers.by_id.reserve(count);
        let mut last_id = -1;
        for _ in 0..count {
            let (producer_id, producer) = decode_producer(&mut from)?;
            if producer_id <= last_id {
                return Err(SnapshotError::Unordered { producer_id });
            }
            last_id = producer_id;
            producers.by_id.insert(producer_id, producer);
        }
        from.finish()?;
        Ok(producers)
    }
}

fn decode_producer(from: &mut Decoder<'_>) -> Result<(i64, Producer), Malformed> {
    let producer_id = from.signed_in(0, i64::MAX, "producer id")?;
    let epoch = from.signed_in(0, i16::MAX.into(), "producer epoch")? as i16;
    let last_offset = from.signed("last offset")?;
    let last_seen = Millis(from.signed("last seen")?);
    let batches = from.count(WINDOW, "count of batches")?;
    let window = (0..batches)
        .map(|_| decode_batch(from))
        .collect::<Result<VecDeque<Batch>, Malformed>>()?;
    Ok((
        producer_id,
        Producer {
            epoch,
            window,
            last_offset,
            last_seen,
        },
    ))
}

fn decode_batch(from: &mut Decoder<'_>) -> Result<Batch, Malformed> {
    Ok(Batch {
        base_sequence: from.signed_in(0, i32::MAX.into(), "base sequence")? as i32,
        last_sequence: from.signed_in(0, i32::MAX.into(), "last sequence")? as i32,
        base_offset: from.signed("base offset")?,
        log_append_time: from.signed("log append time")?,
    })
}
