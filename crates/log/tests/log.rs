//! What a partition log promises while nothing goes wrong.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::*;
use thalweg_log::{
    ByteCount, Isolation, LogError, LogSettings, MemoryDisk, Offset, Recovery, TimestampType,
};
use wire::records::verify_crc;

#[test]
fn what_was_appended_is_read_back_in_order() {
    let disk = MemoryDisk::shared();
    let (mut log, recovery) = open(&disk, &LogSettings::default());
    assert_eq!(recovery, Recovery::default());
    step(&mut log, &[batch(0, 2, 10), batch(2, 1, 20)]);
    step(&mut log, &[batch(3, 3, 5)]);

    let sizes = [(0, 10), (1, 10), (2, 20), (3, 5), (4, 5), (5, 5)];
    let expected: Vec<_> = sizes
        .into_iter()
        .map(|(offset, size)| (offset, pattern(offset as u64, size)))
        .collect();
    assert_eq!(values(&log.view()), expected);
    assert_eq!(log.view().verify().unwrap(), []);
}

#[test]
fn a_batch_is_stored_as_it_came_with_its_offset_and_epoch() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    log.set_leader_epoch(7).unwrap();
    step(&mut log, &[batch(0, 2, 10)]);
    let sent = batch(2, 2, 10);
    let appended = log.append(&sent, NOW);
    log.write().unwrap();
    settle(&mut log);

    assert_eq!(
        (appended.base_offset, appended.last_offset),
        (Offset(2), Offset(3))
    );
    let (header, stored) = read_all(&log.view(), 1_000_000).pop().unwrap();
    assert_eq!((header.base_offset, header.leader_epoch), (2, 7));
    assert_eq!(stored[16..], sent.bytes()[16..]);
    assert!(verify_crc(&stored));
}

#[test]
fn the_brokers_time_is_stamped_when_the_topic_asks_for_it() {
    let disk = MemoryDisk::shared();
    let settings = LogSettings {
        timestamp_type: TimestampType::LogAppendTime,
        ..LogSettings::default()
    };
    let (mut log, _) = open(&disk, &settings);
    let appended = log.append(&batch(0, 2, 10), NOW + 500);
    log.write().unwrap();
    settle(&mut log);

    assert_eq!(appended.log_append_time, Some(NOW + 500));
    let (header, stored) = read_all(&log.view(), 1_000_000).pop().unwrap();
    assert_eq!(header.max_timestamp, NOW + 500);
    assert!(verify_crc(&stored));
    assert_eq!(
        log.view().offset_for_timestamp(NOW + 400).unwrap(),
        Some((Offset(0), NOW + 500))
    );
}

#[test]
fn nothing_is_visible_before_it_is_published() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    step(&mut log, &[batch(0, 1, 10)]);
    log.append(&batch(1, 1, 10), NOW);
    log.write().unwrap();

    let view = log.view();
    assert_eq!(view.high_watermark, Offset(1));
    assert_eq!(values(&view).len(), 1);
    assert!(
        view.plan_read(Offset(1), ByteCount(100), Isolation::default())
            .unwrap()
            .execute()
            .unwrap()
            .is_empty()
    );
    let refused = view.plan_read(Offset(2), ByteCount(100), Isolation::default());
    assert!(matches!(
        refused,
        Err(LogError::OffsetOutOfRange {
            requested: Offset(2),
            end: Offset(1),
            ..
        })
    ));
}

#[test]
fn a_read_has_at_most_its_limit_but_at_least_one_batch() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    step(
        &mut log,
        &[batch(0, 1, 1000), batch(1, 1, 1000), batch(2, 1, 1000)],
    );
    let size = batch(0, 1, 1000).bytes().len() as u64;
    let read = |from: i64, limit: u64| {
        let plan = log
            .view()
            .plan_read(Offset(from), ByteCount(limit), Isolation::default())
            .unwrap();
        plan.execute_if_cached()
            .unwrap()
            .unwrap()
            .iter()
            .map(|bytes| bytes.len() as u64)
            .sum::<u64>()
    };
    assert_eq!(read(0, 0), size);
    assert_eq!(read(0, 1), size);
    assert_eq!(read(0, 2 * size - 1), size);
    assert_eq!(read(0, 2 * size), 2 * size);
    assert_eq!(read(1, u64::MAX), 2 * size);
}

#[test]
fn segments_end_by_size_and_reads_go_on_in_the_next() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    for mark in 0..100 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    let logs: Vec<_> = disk
        .list(DIR.as_ref())
        .unwrap()
        .into_iter()
        .filter(|entry| entry.name.ends_with(".log"))
        .collect();
    assert_eq!(logs.len(), 7);
    assert!(logs.iter().all(|entry| {
        disk.open(&std::path::Path::new(DIR).join(&entry.name))
            .unwrap()
            .len()
            .unwrap()
            <= 16 << 10
    }));
    assert_eq!(values(&log.view()).len(), 100);
    assert_eq!(log.view().verify().unwrap(), []);
}

#[test]
fn one_write_may_fill_several_segments() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    let batches: Vec<_> = (0..50).map(|mark| batch(mark, 1, 1500)).collect();
    for batch in &batches {
        log.append(batch, NOW);
    }
    log.write().unwrap();
    assert_eq!(log.view().high_watermark, Offset::ZERO);
    settle(&mut log);
    assert_eq!(values(&log.view()).len(), 50);
    assert_eq!(log.view().size_bytes, log.size_bytes());
}

#[test]
fn a_segment_ends_by_age() {
    let disk = MemoryDisk::shared();
    let settings = LogSettings {
        segment_age: Duration::from_millis(100),
        ..LogSettings::default()
    };
    let (mut log, _) = open(&disk, &settings);
    for timestamp in [0, 100, 101, 150, 202] {
        step(&mut log, &[batch_at(NOW + timestamp, 0, 1, 10)]);
    }
    let names: Vec<_> = disk
        .list(DIR.as_ref())
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| name.ends_with(".log"))
        .collect();
    assert_eq!(
        names,
        [
            "00000000000000000000.log",
            "00000000000000000002.log",
            "00000000000000000004.log"
        ]
    );
}

#[test]
fn a_view_stays_as_it_was() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    step(&mut log, &[batch(0, 1, 1000)]);
    let shared = log.shared_view();
    let before = shared.load();
    for mark in 1..50 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    assert_eq!(values(&before).len(), 1);
    assert_eq!(values(&shared.load()).len(), 50);
}

#[test]
fn offsets_are_found_by_time() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    for mark in 0..200 {
        step(&mut log, &[batch_at(NOW + 10 * mark, mark as u64, 3, 200)]);
    }
    let view = log.view();
    assert_eq!(
        view.offset_for_timestamp(0).unwrap(),
        Some((Offset(0), NOW))
    );
    assert_eq!(
        view.offset_for_timestamp(NOW + 1001).unwrap(),
        Some((Offset(301), NOW + 1001))
    );
    assert_eq!(
        view.offset_for_timestamp(NOW + 1003).unwrap(),
        Some((Offset(303), NOW + 1010))
    );
    assert_eq!(
        view.offset_for_timestamp(NOW + 1992).unwrap(),
        Some((Offset(599), NOW + 1992))
    );
    assert_eq!(view.offset_for_timestamp(NOW + 1993).unwrap(), None);
    assert_eq!(
        view.max_timestamp_offset().unwrap(),
        Some((Offset(599), NOW + 1992))
    );
}

#[test]
fn offsets_by_time_are_those_of_the_first_record_although_times_go_back() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    for timestamp in [5, 9, 1, 9, 7] {
        step(&mut log, &[batch_at(NOW + timestamp, 0, 1, 6000)]);
    }
    let view = log.view();
    assert_eq!(
        view.offset_for_timestamp(NOW + 6).unwrap(),
        Some((Offset(1), NOW + 9))
    );
    assert_eq!(
        view.max_timestamp_offset().unwrap(),
        Some((Offset(1), NOW + 9))
    );
    assert_eq!(view.verify().unwrap(), []);
}

#[test]
fn a_clean_start_reads_no_log_data_and_finds_everything() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    for mark in 0..100 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    let before = values(&log.view());
    log.close(b"producers".to_vec()).unwrap();

    let (log, recovery, snapshot, batches) = open_replaying(&disk, &small_segments());
    assert_eq!(recovery, Recovery::default());
    assert_eq!(
        (snapshot.as_slice(), batches.as_slice()),
        (&b"producers"[..], &[][..])
    );
    assert_eq!(values(&log.view()), before);
    assert_eq!(log.view().verify().unwrap(), []);
}

#[test]
fn an_unclean_start_scans_from_the_checkpoint_on() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    for mark in 0..20 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    log.checkpoint(b"twenty".to_vec()).unwrap();
    for mark in 20..60 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    let before = values(&log.view());
    drop(log);

    let (mut log, recovery, snapshot, batches) = open_replaying(&disk, &small_segments());
    assert_eq!(
        recovery,
        Recovery {
            scanned_bytes: 40 * batch(0, 1, 1000).bytes().len() as u64,
            scanned_batches: 40,
            ..Recovery::default()
        }
    );
    assert_eq!(snapshot, b"twenty");
    assert_eq!(batches, (20..60).collect::<Vec<i64>>());
    assert_eq!(values(&log.view()), before);
    step(&mut log, &[batch(60, 1, 1000)]);
    assert_eq!(values(&log.view()).len(), 61);
    assert_eq!(log.view().verify().unwrap(), []);
}

#[test]
fn readers_on_other_threads_always_see_whole_prefixes() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    let shared = log.shared_view();
    let reader = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 300 {
            let view = Arc::clone(&shared).load();
            let read = values(&view);
            assert!(read.len() >= seen && read.len() as i64 == view.high_watermark.0);
            assert!(
                read.iter()
                    .enumerate()
                    .all(|(at, (offset, value))| *offset == at as i64
                        && *value == pattern(at as u64, 300))
            );
            seen = read.len();
        }
    });
    for mark in 0..300 {
        step(&mut log, &[batch(mark, 1, 300)]);
    }
    reader.join().unwrap();
}
