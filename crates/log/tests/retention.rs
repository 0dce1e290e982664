//! What a log lets go, and that readers and restarts agree on it.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use thalweg_log::{
    ByteCount, DeletionReason, Disk, FileDisk, Isolation, LogError, LogSettings, MemoryDisk,
    Offset, PartitionLog, Recovery, remove_leftover_partitions,
};

const SECOND: Duration = Duration::from_secs(1);

/// Five segments of 15 batches and a last one of 5; batch n is n ms after `NOW`.
fn eighty(settings: LogSettings) -> (Arc<dyn Disk>, PartitionLog) {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &settings);
    for mark in 0..80 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    (disk, log)
}

fn offsets(log: &PartitionLog) -> std::ops::Range<i64> {
    let values = values(&log.view());
    values.first().map_or(0, |first| first.0)..values.last().map_or(0, |last| last.0 + 1)
}

#[test]
fn segments_go_by_age_oldest_first() {
    let settings = LogSettings {
        retention_age: Some(SECOND),
        ..small_segments()
    };
    let (_, mut log) = eighty(settings);
    assert!(log.apply_retention(NOW + 1014).unwrap().is_empty());
    let deleted = log.apply_retention(NOW + 1030).unwrap();
    let told: Vec<_> = deleted
        .iter()
        .map(|segment| (segment.base_offset.0, segment.end_offset.0, segment.reason))
        .collect();
    assert_eq!(
        told,
        [(0, 15, DeletionReason::Age), (15, 30, DeletionReason::Age)]
    );
    assert_eq!(offsets(&log), 30..80);
    assert_eq!(log.view().size_bytes, log.size_bytes());
}

#[test]
fn segments_go_by_size_while_enough_remains() {
    let size = batch(0, 1, 1000).bytes().len() as u64;
    let settings = LogSettings {
        retention_bytes: Some(ByteCount(40 * size)),
        retention_age: None,
        ..small_segments()
    };
    let (_, mut log) = eighty(settings);
    let deleted = log.apply_retention(NOW).unwrap();
    assert_eq!(deleted.len(), 2);
    assert!(
        deleted
            .iter()
            .all(|segment| segment.reason == DeletionReason::Size)
    );
    assert_eq!(log.size_bytes(), ByteCount(50 * size));
}

#[test]
fn the_active_segment_goes_when_all_of_it_has_expired() {
    let settings = LogSettings {
        retention_age: Some(SECOND),
        ..small_segments()
    };
    let (disk, mut log) = eighty(settings.clone());
    assert_eq!(log.apply_retention(NOW + 10_000).unwrap().len(), 6);
    let view = log.view();
    assert_eq!(
        (view.log_start, view.high_watermark, view.size_bytes),
        (Offset(80), Offset(80), ByteCount(0))
    );
    assert!(
        log.apply_retention(NOW + 20_000).unwrap().is_empty(),
        "an empty segment does not expire"
    );
    drop(log);
    let (mut log, _) = open(&disk, &settings);
    assert_eq!(log.end_offset(), Offset(80));
    step(&mut log, &[batch(80, 1, 1000)]);
    assert_eq!(offsets(&log), 80..81);
}

#[test]
fn what_is_not_visible_does_not_go() {
    let settings = LogSettings {
        retention_age: Some(SECOND),
        ..small_segments()
    };
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &settings);
    for mark in 0..40 {
        log.append(&batch(mark, 1, 1000), NOW);
        log.write().unwrap();
    }
    log.publish(Offset(20));
    assert_eq!(log.apply_retention(NOW + 10_000).unwrap().len(), 1);
    assert_eq!(log.log_start(), Offset(15));
}

#[test]
fn deleted_records_stay_deleted_over_a_kill() {
    let (disk, mut log) = eighty(small_segments());
    assert_eq!(log.delete_records(Offset(37)).unwrap().len(), 2);
    assert_eq!(log.view().log_start, Offset(37));
    let refused = log
        .view()
        .plan_read(Offset(36), ByteCount(1), Isolation::default());
    assert!(matches!(
        refused,
        Err(LogError::OffsetOutOfRange {
            log_start: Offset(37),
            ..
        })
    ));
    assert!(matches!(
        log.delete_records(Offset(81)),
        Err(LogError::OffsetOutOfRange { .. })
    ));
    assert!(log.delete_records(Offset(5)).unwrap().is_empty());
    drop(log);
    let (log, _) = open(&disk, &small_segments());
    assert_eq!(log.log_start(), Offset(37));
    assert_eq!(offsets(&log), 37..80);
    assert_eq!(
        log.view().offset_for_timestamp(0).unwrap(),
        Some((Offset(37), NOW + 37))
    );
    assert_eq!(
        log.view().max_timestamp_offset().unwrap(),
        Some((Offset(79), NOW + 79))
    );
}

#[test]
fn the_largest_time_is_that_of_a_record_that_is_there() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    for timestamp in [9, 1, 5, 3] {
        step(&mut log, &[batch_at(NOW + timestamp, 0, 1, 10)]);
    }
    log.delete_records(Offset(1)).unwrap();
    assert_eq!(
        log.view().max_timestamp_offset().unwrap(),
        Some((Offset(2), NOW + 5))
    );
}

#[test]
fn readers_finish_on_deleted_segments() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("orders-0");
    let (mut log, _) =
        PartitionLog::open(FileDisk::shared(), &dir, small_segments(), NOW, &mut |_| {}).unwrap();
    for mark in 0..80 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    let view = log.view();
    drop(log.delete_records(Offset(60)).unwrap());
    let names = std::fs::read_dir(&dir).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .ends_with(".log")
    });
    assert_eq!(names.count(), 2);
    assert_eq!(values(&view).len(), 80);
    let remains = log.delete().unwrap();
    assert!(!dir.exists());
    assert_eq!(values(&view).len(), 80);
    remains.purge().unwrap();
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    assert_eq!(values(&view).len(), 80);
}

#[test]
fn a_deletion_that_was_interrupted_is_finished_later() {
    let (disk, log) = eighty(small_segments());
    std::mem::forget(log.delete().unwrap());
    assert_eq!(
        remove_leftover_partitions(&disk, Path::new("data")).unwrap(),
        1
    );
    assert_eq!(disk.list(Path::new("data")).unwrap(), []);
    let (log, recovery) = open(&disk, &small_segments());
    assert_eq!(
        (log.end_offset(), recovery),
        (Offset::ZERO, Recovery::default())
    );
}
