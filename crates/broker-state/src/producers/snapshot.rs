//! The state of a partition's producers as bytes, for the checkpoint of its log.
//!
//! ```text
//! byte 0    version, 1
//! varint    count of producers
//! each      producer id, epoch, last offset, last seen in milliseconds, last timestamp less last seen (all signed)
//!           byte: 1 for an open transaction, 2 for a last marker, 3 for both
//!             the transaction: last offset less its first one, its start less last seen (both signed)
//!             the marker: last offset less its own, coordinator epoch (both signed)
//!           count of remembered batches (0 to 5), then per batch, the oldest first:
//!           base sequence (signed), records less one, last offset less base offset (signed), log append time (signed)
//!
//! version 0, which is read only: as above, without transactions and timestamps; of a batch
//!           base sequence, last sequence, base offset, log append time (all signed)
//! ```
//! 10,000 producers take less than 1.5 MiB, whatever their offsets: what a checkpoint has room for.
//! Producers are sorted by id, so that equal states give equal bytes. Damage is the checkpoint's to notice: this
//! form has no checksum of its own, and only promises never to panic and never to take more memory than its bytes.

use std::collections::VecDeque;

use thiserror::Error;

use super::{Batch, LastMarker, OpenTransaction, Producer, Producers, WINDOW};
use crate::compact::{Decoder, Encoder, Malformed};
use crate::step::Millis;

const VERSION: u8 = 1;
const WITHOUT_TRANSACTIONS: u8 = 0;
const HAS_TRANSACTION: u8 = 1;
const HAS_MARKER: u8 = 2;
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
            encode_producer(producer, &mut out);
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
        if version > VERSION {
            return Err(SnapshotError::UnknownVersion { version });
        }
        let count = from.count(from.left() / LEAST_PRODUCER_BYTES, "count of producers")?;
        producers.by_id.reserve(count);
        let mut last_id = -1;
        for _ in 0..count {
            let (producer_id, producer) = decode_producer(&mut from, version)?;
            if producer_id <= last_id {
                return Err(SnapshotError::Unordered { producer_id });
            }
            last_id = producer_id;
            producers.open += usize::from(producer.transaction.is_some());
            producers.by_id.insert(producer_id, producer);
        }
        from.finish()?;
        Ok(producers)
    }
}

fn encode_producer(producer: &Producer, out: &mut Encoder) {
    let (last_offset, last_seen) = (producer.last_offset, producer.last_seen.0);
    out.signed(producer.epoch.into());
    out.signed(last_offset);
    out.signed(last_seen);
    out.signed(producer.last_timestamp.wrapping_sub(last_seen));
    let transaction = producer.transaction.map_or(0, |_| HAS_TRANSACTION);
    out.byte(transaction | producer.last_marker.map_or(0, |_| HAS_MARKER));
    if let Some(transaction) = producer.transaction {
        out.signed(last_offset.wrapping_sub(transaction.first_offset));
        out.signed(transaction.started_at.wrapping_sub(last_seen));
    }
    if let Some(marker) = producer.last_marker {
        out.signed(last_offset.wrapping_sub(marker.offset));
        out.signed(marker.coordinator_epoch.into());
    }
    out.unsigned(producer.window.len() as u64);
    for batch in &producer.window {
        out.signed(batch.base_sequence.into());
        let records_less_one = batch.last_sequence.wrapping_sub(batch.base_sequence) & i32::MAX;
        out.unsigned(records_less_one as u64);
        out.signed(last_offset.wrapping_sub(batch.base_offset));
        out.signed(batch.log_append_time);
    }
}

fn decode_producer(from: &mut Decoder<'_>, version: u8) -> Result<(i64, Producer), Malformed> {
    let producer_id = from.signed_in(0, i64::MAX, "producer id")?;
    let epoch = from.signed_in(0, i16::MAX.into(), "producer epoch")? as i16;
    let last_offset = from.signed("last offset")?;
    let last_seen = Millis(from.signed("last seen")?);
    let mut producer = Producer::new(epoch, last_offset, last_seen);
    if version > WITHOUT_TRANSACTIONS {
        producer.last_timestamp = from.signed("last timestamp")?.wrapping_add(last_seen.0);
        decode_transaction(from, &mut producer)?;
    }
    let batches = from.count(WINDOW, "count of batches")?;
    producer.window = (0..batches)
        .map(|_| match version {
            WITHOUT_TRANSACTIONS => decode_old_batch(from),
            _ => decode_batch(from, last_offset),
        })
        .collect::<Result<VecDeque<Batch>, Malformed>>()?;
    Ok((producer_id, producer))
}

fn decode_transaction(from: &mut Decoder<'_>, producer: &mut Producer) -> Result<(), Malformed> {
    let has = from.byte("what there is of transactions")?;
    let (last_offset, last_seen) = (producer.last_offset, producer.last_seen.0);
    if has & HAS_TRANSACTION != 0 {
        let back = from.signed("first offset of a transaction")?;
        producer.transaction = Some(OpenTransaction {
            first_offset: last_offset.wrapping_sub(back),
            started_at: from
                .signed("start of a transaction")?
                .wrapping_add(last_seen),
        });
    }
    if has & HAS_MARKER != 0 {
        let back = from.signed("offset of a marker")?;
        let (least, most) = (i32::MIN.into(), i32::MAX.into());
        producer.last_marker = Some(LastMarker {
            offset: last_offset.wrapping_sub(back),
            coordinator_epoch: from.signed_in(least, most, "coordinator epoch")? as i32,
        });
    }
    Ok(())
}

fn decode_batch(from: &mut Decoder<'_>, last_offset: i64) -> Result<Batch, Malformed> {
    let base_sequence = from.signed_in(0, i32::MAX.into(), "base sequence")?;
    let records_less_one = from.count(i32::MAX as usize, "count of records")? as i64;
    Ok(Batch {
        base_sequence: base_sequence as i32,
        last_sequence: ((base_sequence + records_less_one) & i64::from(i32::MAX)) as i32,
        base_offset: last_offset.wrapping_sub(from.signed("base offset")?),
        log_append_time: from.signed("log append time")?,
    })
}

fn decode_old_batch(from: &mut Decoder<'_>) -> Result<Batch, Malformed> {
    Ok(Batch {
        base_sequence: from.signed_in(0, i32::MAX.into(), "base sequence")? as i32,
        last_sequence: from.signed_in(0, i32::MAX.into(), "last sequence")? as i32,
        base_offset: from.signed("base offset")?,
        log_append_time: from.signed("log append time")?,
    })
}
