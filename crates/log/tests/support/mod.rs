//! The small language that the tests of the log speak.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_log::{
    ByteCount, Disk, Isolation, LogSettings, Offset, PartitionLog, PartitionView, Recovery, Replay,
};
use wire::records::{
    BatchBuilder, BatchHeader, CheckedBatch, Compression, EndTransactionMarker, RecordIter,
    decompress, scan_batches,
};

pub const DIR: &str = "data/orders-0";
pub const NOW: i64 = 1_700_000_000_000;

/// Segments of 16 KiB, so that small tests have many.
pub fn small_segments() -> LogSettings {
    LogSettings {
        segment_bytes: ByteCount::kibibytes(16),
        ..LogSettings::default()
    }
}

/// A batch of `count` records whose values have `size` bytes of a pattern made of `mark`.
pub fn batch_at(timestamp: i64, mark: u64, count: usize, size: usize) -> CheckedBatch {
    let mut builder = BatchBuilder::new(timestamp);
    for number in 0..count {
        let value = pattern(mark + number as u64, size);
        builder.push(timestamp + number as i64, None, Some(&value), &[]);
    }
    CheckedBatch::check(builder.build(Compression::None), usize::MAX)
        .expect("a built batch is good")
}

pub fn batch(mark: u64, count: usize, size: usize) -> CheckedBatch {
    batch_at(NOW + mark as i64, mark, count, size)
}

/// A record of a producer's transaction.
pub fn transactional(producer_id: i64, size: usize) -> CheckedBatch {
    let mut builder = BatchBuilder::new(NOW)
        .producer(producer_id, 0, 0)
        .transactional();
    builder.push(NOW, None, Some(&pattern(producer_id as u64, size)), &[]);
    CheckedBatch::check(builder.build(Compression::None), usize::MAX)
        .expect("a built batch is good")
}

/// The end of a producer's transaction.
pub fn marker(producer_id: i64, is_commit: bool) -> CheckedBatch {
    let marker = EndTransactionMarker {
        is_commit,
        coordinator_epoch: 0,
    };
    CheckedBatch::check(marker.batch(producer_id, 0, NOW), usize::MAX)
        .expect("a built batch is good")
}

/// Bytes that are not zero, and different for each mark.
pub fn pattern(mark: u64, size: usize) -> Vec<u8> {
    let mut state = mark.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size);
    for _ in 0..size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.push((state >> 56) as u8 | 1);
    }
    bytes
}

pub fn open(disk: &Arc<dyn Disk>, settings: &LogSettings) -> (PartitionLog, Recovery) {
    PartitionLog::open(Arc::clone(disk), DIR, settings.clone(), NOW, &mut |_| {})
        .expect("the log opens")
}

/// Opens and tells what was replayed: the snapshot and the base offsets of batches.
pub fn open_replaying(
    disk: &Arc<dyn Disk>,
    settings: &LogSettings,
) -> (PartitionLog, Recovery, Vec<u8>, Vec<i64>) {
    let (mut snapshot, mut batches) = (Vec::new(), Vec::new());
    let mut replay = |event: Replay<'_>| match event {
        Replay::Snapshot(bytes) => snapshot = bytes.to_vec(),
        Replay::Batch(header) | Replay::Marker(header, _) => batches.push(header.base_offset),
    };
    let (log, recovery) =
        PartitionLog::open(Arc::clone(disk), DIR, settings.clone(), NOW, &mut replay)
            .expect("the log opens");
    (log, recovery, snapshot, batches)
}

/// One whole step: append, write, sync, publish.
pub fn step(log: &mut PartitionLog, batches: &[CheckedBatch]) {
    for batch in batches {
        log.append(batch, NOW);
    }
    log.write().expect("the disk takes it");
    settle(log);
}

pub fn settle(log: &mut PartitionLog) {
    for file in log.unsynced_files() {
        file.sync().expect("the disk syncs");
    }
    let end = log.end_offset();
    log.mark_synced(end);
    log.publish(end);
}

/// Everything a reader sees, read in pieces of `limit`, as (header, batch bytes).
pub fn read_all(view: &PartitionView, limit: u64) -> Vec<(BatchHeader, Bytes)> {
    let mut from = view.log_start;
    let mut batches = Vec::new();
    while from < view.high_watermark {
        let plan = view
            .plan_read(from, ByteCount(limit), Isolation::ReadUncommitted)
            .expect("the offset is in the log");
        let read = plan.execute().expect("the log is readable");
        assert!(
            !read.is_empty(),
            "there is something at {from} below {}",
            view.high_watermark
        );
        for bytes in read {
            for found in scan_batches(&bytes) {
                let (header, whole) = found.expect("batches are whole");
                from = Offset(header.last_offset()).next();
                batches.push((header, bytes.slice_ref(whole)));
            }
        }
    }
    batches
}

/// The values of all records that a reader sees, with their offsets.
pub fn values(view: &PartitionView) -> Vec<(i64, Vec<u8>)> {
    let mut values = Vec::new();
    for (header, bytes) in read_all(view, 10_000) {
        let records = decompress(&header, &bytes, usize::MAX).expect("records decompress");
        for record in RecordIter::new(&header, &records) {
            let record = record.expect("records are whole");
            values.push((
                record.offset,
                record.value.expect("values are given").to_vec(),
            ));
        }
    }
    values
}

pub fn log_file(base: i64) -> std::path::PathBuf {
    Path::new(DIR).join(format!("{base:020}.log"))
}

/// A record of a compacted log: key, and value or tombstone.
pub type Row<'a> = (&'a str, Option<&'a str>);

/// A batch of records with keys; the first one has the time, and each later one a millisecond more.
pub fn keyed(timestamp: i64, rows: &[Row<'_>]) -> CheckedBatch {
    keyed_by(timestamp, rows, Compression::None, |builder| builder)
}

/// As `keyed`, in a codec and with what else the builder can do.
pub fn keyed_by(
    timestamp: i64,
    rows: &[Row<'_>],
    compression: Compression,
    change: impl FnOnce(BatchBuilder) -> BatchBuilder,
) -> CheckedBatch {
    let mut builder = change(BatchBuilder::new(timestamp));
    for (number, (key, value)) in rows.iter().enumerate() {
        let timestamp = timestamp + number as i64;
        builder.push(
            timestamp,
            Some(key.as_bytes()),
            value.map(str::as_bytes),
            &[],
        );
    }
    CheckedBatch::check(builder.build(compression), usize::MAX).expect("a built batch is good")
}

/// Offset, key and value of every record that a reader sees.
pub fn rows(view: &PartitionView) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("tests write text");
    let mut rows = Vec::new();
    for (header, bytes) in read_all(view, 3_000) {
        let records = decompress(&header, &bytes, 1 << 20).expect("records decompress");
        for record in RecordIter::new(&header, &records) {
            let record = record.expect("records are whole");
            let key = text(record.key.expect("records have keys"));
            rows.push((record.offset, key, record.value.map(text)));
        }
    }
    rows
}
