//! Writes a batch anew: without some of its records, with a delete horizon, with another codec. Offsets, sequences, producer and
//! epoch stay what they were, so that what was acknowledged for the batch remains true of it.
//!
//! Called by compaction, and by a produce to a topic with a `compression.type` of its own.
//! Source: KIP-98 (an emptied batch keeps its offsets and sequences), KIP-534 (the delete horizon replaces the base timestamp).

use bytes::Bytes;

use super::batch::{self, BATCH_OVERHEAD, BatchHeader, CheckedBatch, TimestampType};
use super::compression::{Compression, Level, compress_at, decompress};
use super::{BatchError, varint};

/// A record as it is stored, taken apart as far as rewriting needs.
struct Stored<'a> {
    attributes: u8,
    timestamp: i64,
    offset_delta: i32,
    /// Key, value and headers.
    rest: &'a [u8],
}

/// The batch of `header` with those of its decompressed `records` for which `kept` is set, at least one, compressed as before.
///
/// With a `delete_horizon` (milliseconds since 1970) the base timestamp becomes that, else that of the first kept record; the
/// largest timestamp becomes that of the kept records, unless the broker stamped it.
///
/// # Errors
/// `InvalidRecord` when the records are not those of the header; `TooLarge` when the batch would have 2 GiB.
pub fn retain_records(
    header: &BatchHeader,
    records: &[u8],
    kept: &[bool],
    delete_horizon: Option<i64>,
) -> Result<Bytes, BatchError> {
    let mut base_timestamp = delete_horizon;
    let mut max_timestamp = i64::MIN;
    let (mut plain, mut body) = (Vec::with_capacity(records.len()), Vec::new());
    let (mut rest, mut count) = (records, 0);
    for (index, is_kept) in kept.iter().enumerate() {
        let stored = stored(header, &mut rest).ok_or(BatchError::InvalidRecord {
            index: index as i32,
            reason: "its fields leave the batch",
        })?;
        if !is_kept {
            continue;
        }
        let base = *base_timestamp.get_or_insert(stored.timestamp);
        max_timestamp = max_timestamp.max(stored.timestamp);
        body.clear();
        body.push(stored.attributes);
        varint::write(&mut body, stored.timestamp.wrapping_sub(base));
        varint::write(&mut body, stored.offset_delta.into());
        body.extend_from_slice(stored.rest);
        varint::write(&mut plain, body.len() as i64);
        plain.extend_from_slice(&body);
        count += 1;
    }
    let is_stamped = header.timestamp_type() == TimestampType::LogAppendTime;
    let horizon = delete_horizon.map_or(0, |_| batch::DELETE_HORIZON);
    let header = BatchHeader {
        attributes: header.attributes & !batch::DELETE_HORIZON | horizon,
        base_timestamp: base_timestamp.unwrap_or(header.base_timestamp),
        max_timestamp: if is_stamped || count == 0 {
            header.max_timestamp
        } else {
            max_timestamp
        },
        record_count: count,
        ..*header
    };
    assemble(
        header,
        &compress_at(header.compression()?, Level::Default, &plain),
    )
}

/// The batch of `header` without any record: what stays of a batch whose offsets or sequences must not be forgotten.
pub fn empty_batch(header: &BatchHeader) -> Bytes {
    let kept = batch::LOG_APPEND_TIME | batch::TRANSACTIONAL | batch::CONTROL;
    let header = BatchHeader {
        attributes: header.attributes & kept,
        base_timestamp: -1,
        record_count: 0,
        ..*header
    };
    assemble(header, &[]).expect("a header has less than 2 GiB")
}

/// The same records in another codec; at most `max_bytes` of them are decompressed.
///
/// # Errors
/// As [`decompress`].
pub fn recompress(
    checked: &CheckedBatch,
    compression: Compression,
    level: Level,
    max_bytes: usize,
) -> Result<CheckedBatch, BatchError> {
    let header = checked.header();
    let plain = decompress(header, checked.bytes(), max_bytes)?;
    let header = BatchHeader {
        attributes: header.attributes & !batch::COMPRESSION | compression as i16,
        ..*header
    };
    let bytes = assemble(header, &compress_at(compression, level, &plain))?;
    CheckedBatch::check(bytes, usize::MAX)
}

/// Takes the next record's bytes off the front of `records`.
fn stored<'a>(header: &BatchHeader, records: &mut &'a [u8]) -> Option<Stored<'a>> {
    let mut rest = *records;
    let length = usize::try_from(varint::read_i32(&mut rest)?).ok()?;
    let (body, after) = rest.split_at_checked(length)?;
    *records = after;
    let (attributes, mut rest) = body.split_first()?;
    let timestamp_delta = varint::read_i64(&mut rest)?;
    let offset_delta = varint::read_i32(&mut rest)?;
    let timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    Some(Stored {
        attributes: *attributes,
        timestamp,
        offset_delta,
        rest,
    })
}

/// Header and records as one batch, with length and checksum.
fn assemble(header: BatchHeader, records: &[u8]) -> Result<Bytes, BatchError> {
    let length = BATCH_OVERHEAD - batch::LENGTH_OVERHEAD + records.len();
    let header = BatchHeader {
        length: i32::try_from(length).map_err(|_| BatchError::TooLarge {
            limit: i32::MAX as usize,
        })?,
        ..header
    };
    let mut bytes = Vec::with_capacity(BATCH_OVERHEAD + records.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(records);
    let crc = batch::crc(&bytes);
    bytes[batch::CRC_AT..batch::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{BatchBuilder, RecordIter, verify_crc};

    const HEADERS: &[(&str, Option<&[u8]>)] = &[("trace", Some(b"1")), ("trace", None)];

    fn built(compression: Compression) -> (BatchHeader, Bytes) {
        let mut builder = BatchBuilder::new(1_000)
            .base_offset(40)
            .leader_epoch(3)
            .producer(7, 1, 20);
        for (timestamp, key, value) in [
            (1_000, &b"a"[..], Some(&b"1"[..])),
            (900, b"b", None),
            (5_000, b"a", Some(b"3")),
        ] {
            builder.push(timestamp, Some(key), value, HEADERS);
        }
        let bytes = builder.build(compression);
        (BatchHeader::decode(&bytes).unwrap(), bytes)
    }

    /// Offset, timestamp, key, value, number of headers.
    type Row = (i64, i64, Vec<u8>, Option<Vec<u8>>, usize);

    fn rows(bytes: &[u8]) -> Vec<Row> {
        assert!(verify_crc(bytes), "the checksum is right");
        let header = BatchHeader::decode(bytes).unwrap();
        let records = decompress(&header, bytes, 1 << 20).unwrap();
        RecordIter::new(&header, &records)
            .map(|record| {
                let record = record.unwrap();
                (
                    record.offset,
                    record.timestamp,
                    record.key.unwrap().to_vec(),
                    record.value.map(<[u8]>::to_vec),
                    record.headers().len(),
                )
            })
            .collect()
    }

    fn retained(
        compression: Compression,
        kept: &[bool],
        horizon: Option<i64>,
    ) -> (BatchHeader, Bytes) {
        let (header, bytes) = built(compression);
        let records = decompress(&header, &bytes, 1 << 20).unwrap();
        let bytes = retain_records(&header, &records, kept, horizon).unwrap();
        (BatchHeader::decode(&bytes).unwrap(), bytes)
    }

    #[test]
    fn what_is_kept_is_as_it_was_in_every_codec() {
        for compression in Compression::ALL {
            let (_, original) = built(compression);
            let (header, bytes) = retained(compression, &[false, true, true], None);
            assert_eq!(rows(&bytes), rows(&original)[1..]);
            assert_eq!(
                (
                    header.base_offset,
                    header.last_offset(),
                    header.last_sequence()
                ),
                (40, 42, 22)
            );
            assert_eq!((header.base_timestamp, header.max_timestamp), (900, 5_000));
            assert_eq!(header.compression().unwrap(), compression);
            assert_eq!((header.producer_id, header.leader_epoch), (7, 3));
        }
    }

    #[test]
    fn a_delete_horizon_changes_no_timestamp() {
        let (header, bytes) = retained(Compression::None, &[true, true, false], Some(9_999_999));
        assert!(header.has_delete_horizon());
        assert_eq!(header.base_timestamp, 9_999_999);
        assert_eq!(header.max_timestamp, 1_000);
        let times: Vec<i64> = rows(&bytes).iter().map(|row| row.1).collect();
        assert_eq!(times, [1_000, 900]);
        // … and stays while records go, and goes with them when it is not asked for.
        let records = decompress(&header, &bytes, 1 << 20).unwrap();
        let again = retain_records(&header, &records, &[false, true], None).unwrap();
        assert!(!BatchHeader::decode(&again).unwrap().has_delete_horizon());
        assert_eq!(rows(&again)[0].1, 900);
    }

    #[test]
    fn an_emptied_batch_keeps_offsets_and_sequences() {
        let (header, _) = built(Compression::Gzip);
        let bytes = empty_batch(&header);
        let emptied = BatchHeader::decode(&bytes).unwrap();
        assert_eq!(rows(&bytes), []);
        assert_eq!(bytes.len(), BATCH_OVERHEAD);
        assert_eq!(
            (
                emptied.base_offset,
                emptied.last_offset(),
                emptied.last_sequence()
            ),
            (40, 42, 22)
        );
        assert_eq!((emptied.record_count, emptied.max_timestamp), (0, 5_000));
        assert_eq!(emptied.compression().unwrap(), Compression::None);
    }

    #[test]
    fn recompressing_changes_the_codec_alone() {
        for from in Compression::ALL {
            for to in Compression::ALL {
                let (_, bytes) = built(from);
                let original = rows(&bytes);
                let checked = CheckedBatch::check(bytes, 1 << 20).unwrap();
                let changed = recompress(&checked, to, Level::Default, 1 << 20).unwrap();
                assert_eq!(changed.header().compression().unwrap(), to);
                assert_eq!(rows(changed.bytes()), original);
                assert_eq!(changed.header().record_count, 3);
            }
        }
    }

    #[test]
    fn more_than_the_limit_is_not_recompressed() {
        let (_, bytes) = built(Compression::Zstd);
        let checked = CheckedBatch::check(bytes, 1 << 20).unwrap();
        let refused = recompress(&checked, Compression::Lz4, Level::Default, 10);
        assert_eq!(refused, Err(BatchError::TooLarge { limit: 10 }));
    }

    #[test]
    fn records_that_leave_the_batch_are_refused() {
        let (header, bytes) = built(Compression::None);
        let cut = &bytes[BATCH_OVERHEAD..bytes.len() - 30];
        assert!(matches!(
            retain_records(&header, cut, &[true; 3], None),
            Err(BatchError::InvalidRecord { .. })
        ));
    }
}
