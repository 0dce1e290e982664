//! Batches: what is built reads back, what is damaged is refused.

use bytes::Bytes;

use super::*;
use crate::ErrorCode;

fn orders(compression: Compression) -> Bytes {
    let mut batch = BatchBuilder::new(1_000).base_offset(40).producer(7, 1, 5);
    batch.push(
        1_000,
        Some(b"a"),
        Some(b"first"),
        &[("trace", Some(b"1")), ("trace", None)],
    );
    batch.push(1_005, None, Some(&[b'x'; 500]), &[]);
    batch.push(990, Some(b"c"), None, &[]);
    batch.build(compression)
}

fn check(bytes: Bytes) -> Result<CheckedBatch, BatchError> {
    CheckedBatch::check(bytes, 1 << 20)
}

/// The batch with one byte changed and the checksum made right again.
fn with_byte(at: usize, value: u8) -> Bytes {
    let mut bytes = orders(Compression::None).to_vec();
    bytes[at] = value;
    let crc = batch::crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn a_built_batch_reads_back_in_every_compression() {
    for compression in Compression::ALL {
        let batch = check(orders(compression)).expect("a built batch is right");
        assert_eq!(batch.header().compression(), Ok(compression));
        let plain = decompress(batch.header(), batch.bytes(), 1 << 20).expect("it decompresses");
        let records: Vec<RecordView> = RecordIter::new(batch.header(), &plain)
            .collect::<Result<_, _>>()
            .expect("all are whole");
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.offset, record.timestamp, record.key))
            .collect();
        assert_eq!(
            seen,
            [
                (40, 1_000, Some(&b"a"[..])),
                (41, 1_005, None),
                (42, 990, Some(b"c"))
            ]
        );
        assert_eq!(records[2].value, None);
        let headers: Vec<_> = records[0]
            .headers()
            .map(|header| (header.name, header.value))
            .collect();
        assert_eq!(
            headers,
            [(&b"trace"[..], Some(&b"1"[..])), (b"trace", None)]
        );
    }
}

#[test]
fn the_header_tells_last_offset_sequence_and_times() {
    let batch = check(orders(Compression::Lz4)).expect("a built batch is right");
    let header = batch.header();
    assert_eq!(
        (
            header.last_offset(),
            header.last_sequence(),
            header.max_timestamp
        ),
        (42, 7, 1_005)
    );
    assert_eq!(BatchHeader::decode(&header.encode()), Ok(*header));
}

#[test]
fn a_sequence_number_wraps_to_zero() {
    let mut batch = BatchBuilder::new(0).producer(7, 1, i32::MAX);
    batch.push(0, None, None, &[]);
    batch.push(0, None, None, &[]);
    let batch = check(batch.build(Compression::None)).expect("a built batch is right");
    assert_eq!(batch.header().last_sequence(), 0);
}

#[test]
fn every_flipped_bit_under_the_checksum_is_found() {
    let good = orders(Compression::None);
    for bit in 17 * 8..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = check(Bytes::from(bytes)).expect_err("the checksum is wrong");
        assert_eq!(error.error_code(), ErrorCode::CorruptMessage);
    }
}

#[test]
fn each_refusal_has_its_error_code() {
    let good = orders(Compression::None);
    let code = |bytes: Bytes| check(bytes).map(|_| ()).map_err(|error| error.error_code());
    assert_eq!(code(good.clone()), Ok(()));
    assert_eq!(
        code(with_byte(16, 1)),
        Err(ErrorCode::UnsupportedForMessageFormat)
    );
    assert_eq!(code(with_byte(16, 3)), Err(ErrorCode::InvalidRecord));
    assert_eq!(
        code(with_byte(22, 5)),
        Err(ErrorCode::InvalidRecord),
        "codec 5"
    );
    assert_eq!(
        code(with_byte(26, 9)),
        Err(ErrorCode::InvalidRecord),
        "last offset delta"
    );
    assert_eq!(
        code(with_byte(60, 0)),
        Err(ErrorCode::InvalidRecord),
        "record count"
    );
    assert_eq!(
        code(good.slice(..60)),
        Err(ErrorCode::InvalidRecord),
        "cut off"
    );
    assert_eq!(
        code(Bytes::from([&good[..], &good[..]].concat())),
        Err(ErrorCode::InvalidRecord),
        "two"
    );
    assert_eq!(code(Bytes::new()), Err(ErrorCode::InvalidRecord), "none");
    let limit = good.len() - 1;
    let error = CheckedBatch::check(good, limit).expect_err("it is too large");
    assert_eq!(error.error_code(), ErrorCode::MessageTooLarge);
}

#[test]
fn a_partial_last_batch_ends_a_scan() {
    let two = [orders(Compression::None), orders(Compression::Zstd)].concat();
    for cut in 0..two.len() {
        let mut scan = scan_batches(&two[..cut]);
        let whole = scan.by_ref().filter(Result::is_ok).count();
        assert_eq!(whole, usize::from(cut >= orders(Compression::None).len()));
        assert_eq!(scan.position(), whole * orders(Compression::None).len());
    }
    assert_eq!(scan_batches(&two).count(), 2);
    assert!(scan_batches(&two).all(|batch| verify_crc(batch.expect("nothing is damaged").1)));
}

#[test]
fn a_scan_ends_at_nonsense() {
    let mut bytes = orders(Compression::None).to_vec();
    let good = bytes.len();
    bytes.extend_from_slice(&[0; 100]);
    let mut scan = scan_batches(&bytes);
    assert!(scan.next().is_some_and(|batch| batch.is_ok()));
    assert_eq!(scan.next(), Some(Err(BatchError::OldMagic { magic: 0 })));
    assert_eq!((scan.next(), scan.position()), (None, good));
}

#[test]
fn the_brokers_time_replaces_the_producers() {
    let stamped = check(orders(Compression::None))
        .expect("it is right")
        .with_log_append_time(9_999);
    assert_eq!(check(stamped.bytes().clone()), Ok(stamped.clone()));
    let plain =
        decompress(stamped.header(), stamped.bytes(), 1 << 20).expect("it is not compressed");
    assert!(
        RecordIter::new(stamped.header(), &plain)
            .all(|record| record.expect("whole").timestamp == 9_999)
    );
}

/// The batch of `orders` with another header, its checksum made right.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let good = orders(Compression::None);
    let mut header = BatchHeader::decode(&good).expect("a built batch is right");
    change(&mut header);
    let mut bytes = [&header.encode()[..], &good[BATCH_OVERHEAD..]].concat();
    let crc = batch::crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn a_producer_id_comes_with_epoch_and_sequence() {
    let refused = |change: fn(&mut BatchHeader)| match check(with_header(change)) {
        Err(BatchError::InvalidField { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(|header| header.producer_id = -2), "the producer id");
    assert_eq!(
        refused(|header| header.producer_epoch = -1),
        "the producer epoch"
    );
    assert_eq!(
        refused(|header| header.base_sequence = -1),
        "the base sequence"
    );
    assert_eq!(
        refused(|header| (header.producer_id, header.attributes) = (-1, batch::TRANSACTIONAL)),
        "the producer id of a transaction"
    );
    let marker =
        with_header(|header| (header.base_sequence, header.attributes) = (-1, batch::CONTROL));
    assert!(
        check(marker).is_ok(),
        "a marker of the coordinator has no sequence"
    );
}

/// The last record, or the error that ended the iteration.
fn last<'a>(header: &BatchHeader, records: &'a [u8]) -> Result<RecordView<'a>, BatchError> {
    RecordIter::new(header, records).last().expect("not empty")
}

#[test]
fn records_that_do_not_fill_the_batch_are_damaged() {
    let good = orders(Compression::None);
    let header = BatchHeader::decode(&good).expect("a built batch is right");
    let records = &good[BATCH_OVERHEAD..];
    assert!(last(&header, records).is_ok());
    let damaged = |index, reason| Err(BatchError::InvalidRecord { index, reason });
    let longer = [records, &[0]].concat();
    assert_eq!(
        last(&header, &longer),
        damaged(3, "bytes follow the last record")
    );
    let shorter = &records[..records.len() - 1];
    assert_eq!(
        last(&header, shorter),
        damaged(2, "its length leaves the batch")
    );
    let more = BatchHeader {
        record_count: 4,
        ..header
    };
    assert_eq!(
        last(&more, records),
        damaged(3, "its length leaves the batch")
    );
    let none = BatchHeader {
        record_count: -1,
        ..header
    };
    assert_eq!(
        last(&none, records),
        damaged(0, "bytes follow the last record")
    );
}
