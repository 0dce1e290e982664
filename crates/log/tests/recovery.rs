//! What opening makes of everything that crashes, disks and people can do to the files.

mod support;

use std::path::Path;
use std::sync::Arc;

use support::*;
use thalweg_log::{
    ByteCount, Disk, Durability, Isolation, LogError, LogSettings, Offset, PartitionLog, Recovery,
    SimDisk,
};

/// A log of `count` batches of one record of 1,000 bytes in segments of 16 KiB, everything synced, and no clean stop.
fn log_of(count: u64, checkpoint_at: Option<u64>) -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new(7);
    let shared = disk.shared();
    let (mut log, _) = open(&shared, &small_segments());
    for mark in 0..count {
        step(&mut log, &[batch(mark, 1, 1000)]);
        if checkpoint_at == Some(mark + 1) {
            log.checkpoint(b"snapshot".to_vec()).unwrap();
        }
    }
    (disk, shared)
}

fn batch_size() -> u64 {
    batch(0, 1, 1000).bytes().len() as u64
}

fn marks(log: &PartitionLog) -> Vec<i64> {
    let values = values(&log.view());
    assert!(
        values
            .iter()
            .all(|(offset, value)| *value == pattern(*offset as u64, 1000)),
        "records are what was written at their offset"
    );
    values.into_iter().map(|(offset, _)| offset).collect()
}

/// The log takes a record and reads it back, and all files agree.
fn assert_goes_on(log: &mut PartitionLog) {
    let end = log.end_offset().0;
    step(log, &[batch(end as u64, 1, 1000)]);
    assert_eq!(marks(log).last(), Some(&end));
}

#[test]
fn a_torn_tail_is_cut() {
    let (disk, shared) = log_of(10, None);
    disk.damage(&log_file(0), |bytes| bytes.truncate(bytes.len() - 100));
    let (mut log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery.truncated_bytes, batch_size() - 100);
    assert_eq!(marks(&log), (0..9).collect::<Vec<_>>());
    assert!(!recovery.is_alarming());
    assert_goes_on(&mut log);
    assert_eq!(log.view().verify().unwrap(), []);
}

#[test]
fn zeros_after_the_last_batch_are_cut() {
    let (disk, shared) = log_of(10, Some(5));
    disk.damage(&log_file(0), |bytes| bytes.resize(bytes.len() + 5000, 0));
    let (mut log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery.truncated_bytes, 5000);
    assert_eq!(recovery.scanned_batches, 5);
    assert_eq!(marks(&log), (0..10).collect::<Vec<_>>());
    assert_goes_on(&mut log);
}

#[test]
fn garbage_after_the_last_batch_is_cut() {
    let (disk, shared) = log_of(10, Some(5));
    disk.damage(&log_file(0), |bytes| bytes.extend(pattern(99, 5000)));
    let (mut log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery.truncated_bytes, 5000);
    assert_goes_on(&mut log);
    assert_eq!(marks(&log), (0..11).collect::<Vec<_>>());
}

#[test]
fn a_sector_that_a_power_cut_lost_ends_the_log_although_later_ones_survived() {
    let (disk, shared) = log_of(10, Some(5));
    disk.damage(&log_file(0), |bytes| {
        bytes[6 * 1024 + 512..7 * 1024].fill(0)
    });
    let (mut log, recovery) = open(&shared, &small_segments());
    assert_eq!(marks(&log), (0..6).collect::<Vec<_>>());
    assert_eq!(recovery.truncated_bytes, 4 * batch_size());
    assert_eq!(recovery.corrupt, []);
    assert_goes_on(&mut log);
}

#[test]
fn damage_between_good_batches_is_kept_reported_and_never_served() {
    let (disk, shared) = log_of(10, Some(2));
    let position = 4 * batch_size();
    disk.damage(&log_file(0), |bytes| bytes[position as usize + 700] ^= 1);
    let (mut log, recovery) = open(&shared, &small_segments());

    assert!(recovery.is_alarming());
    let found = &recovery.corrupt[0];
    assert_eq!((found.position, found.length), (position, batch_size()));
    assert_eq!(
        (found.first_offset, found.next_offset),
        (Offset(4), Offset(5))
    );
    assert_eq!(recovery.truncated_bytes, 0);

    let read = |log: &PartitionLog, from: i64| {
        let plan = log
            .view()
            .plan_read(Offset(from), ByteCount(100_000), Isolation::default());
        plan.unwrap()
            .execute()
            .map(|read| read.iter().map(|bytes| bytes.len() as u64).sum::<u64>())
    };
    assert_eq!(read(&log, 0).unwrap(), 4 * batch_size());
    assert!(
        matches!(read(&log, 4), Err(LogError::Corrupt { position: at, offset: Offset(4), .. }) if at == position)
    );
    assert_eq!(read(&log, 5).unwrap(), 5 * batch_size());
    assert_eq!(log.view().verify().unwrap().len(), 1);

    step(&mut log, &[batch(10, 1, 1000)]);
    log.close(Vec::new()).unwrap();
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(
        recovery.corrupt.len(),
        1,
        "the damage is remembered over a clean stop"
    );
    assert!(matches!(read(&log, 4), Err(LogError::Corrupt { .. })));
    assert_eq!(read(&log, 5).unwrap(), 6 * batch_size());
}

#[test]
fn readers_are_led_past_damage_where_the_topic_says_so() {
    let (disk, shared) = log_of(10, Some(2));
    let position = 4 * batch_size() as usize;
    disk.damage(&log_file(0), |bytes| bytes[position + 700] ^= 1);
    let (mut log, _) = open(&shared, &small_segments());
    let read = |log: &PartitionLog, from: i64| {
        let plan = log
            .view()
            .plan_read(Offset(from), ByteCount(100_000), Isolation::default());
        plan.unwrap().execute().map(|read| read[0][..8].to_vec())
    };
    assert!(matches!(read(&log, 4), Err(LogError::Corrupt { .. })));
    log.update_settings(LogSettings {
        skips_damage: true,
        ..small_segments()
    });
    assert_eq!(read(&log, 4).unwrap(), 5_i64.to_be_bytes());
    assert_eq!(read(&log, 3).unwrap(), 3_i64.to_be_bytes());
    log.update_settings(small_segments());
    assert!(matches!(read(&log, 4), Err(LogError::Corrupt { .. })));
}

#[test]
fn damage_to_a_length_is_set_aside_up_to_the_next_good_batch() {
    let (disk, shared) = log_of(10, Some(2));
    let position = 4 * batch_size() as usize;
    disk.damage(&log_file(0), |bytes| bytes[position + 9] ^= 0xFF);
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(
        (
            recovery.corrupt[0].first_offset,
            recovery.corrupt[0].next_offset
        ),
        (Offset(4), Offset(5))
    );
    assert_eq!(log.end_offset(), Offset(10));
}

#[test]
fn damage_that_no_scan_saw_is_an_error_to_its_readers() {
    let (disk, shared) = log_of(40, Some(40));
    disk.damage(&log_file(0), |bytes| {
        bytes[3 * batch_size() as usize + 16] = 9
    });
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery, Recovery::default());
    let plan = |from| {
        log.view()
            .plan_read(Offset(from), ByteCount(100_000), Isolation::default())
            .unwrap()
    };
    assert!(matches!(plan(3).execute(), Err(LogError::Corrupt { .. })));
    assert_eq!(plan(0).execute().unwrap()[0].len() as u64, 3 * batch_size());
    assert_eq!(log.view().verify().unwrap().len(), 1);
}

#[test]
fn a_log_shorter_than_its_checkpoint_is_reported_and_opens() {
    let (disk, shared) = log_of(10, Some(10));
    disk.damage(&log_file(0), |bytes| {
        bytes.truncate(6 * batch_size() as usize + 50)
    });
    let (mut log, recovery) = open(&shared, &small_segments());
    let lost = recovery.lost.clone().unwrap();
    assert_eq!(
        (lost.expected_bytes, lost.found_bytes),
        (10 * batch_size(), 6 * batch_size() + 50)
    );
    assert_eq!(lost.expected_end, Offset(10));
    assert_eq!(marks(&log), (0..6).collect::<Vec<_>>());
    assert_goes_on(&mut log);
    drop(log);
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery.lost, None, "it is reported once");
    assert_eq!(marks(&log), (0..7).collect::<Vec<_>>());
}

#[test]
fn a_log_without_its_files_goes_on_after_its_last_offset() {
    let (_, shared) = log_of(10, Some(10));
    for entry in shared.list(Path::new(DIR)).unwrap() {
        if entry.name != "thalweg.checkpoint" {
            shared
                .remove_file(&Path::new(DIR).join(entry.name))
                .unwrap();
        }
    }
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery.lost.unwrap().found_bytes, 0);
    assert_eq!(log.end_offset(), Offset(10));
    assert_eq!(log.view().log_start, Offset(10));
}

#[test]
fn a_missing_index_is_made_anew() {
    for (base, extension) in [
        (0, "index"),
        (0, "timeindex"),
        (30, "index"),
        (30, "timeindex"),
    ] {
        let (_, shared) = log_of(40, Some(40));
        let before = index_files(&shared);
        shared
            .remove_file(&log_file(base).with_extension(extension))
            .unwrap();
        let (log, recovery) = open(&shared, &small_segments());
        assert_eq!(recovery.rebuilt_indexes, 1, "{base}.{extension}");
        assert_eq!(marks(&log), (0..40).collect::<Vec<_>>());
        log.close(Vec::new()).unwrap();
        assert_eq!(index_files(&shared), before, "{base}.{extension}");
    }
}

#[test]
fn a_damaged_index_end_is_made_anew() {
    for extension in ["index", "timeindex"] {
        for change in [
            |bytes: &mut Vec<u8>| bytes.push(7),
            |bytes: &mut Vec<u8>| bytes.fill(0xFF),
            Vec::clear,
        ] {
            let (disk, shared) = log_of(40, Some(40));
            let before = index_files(&shared);
            disk.damage(&log_file(0).with_extension(extension), change);
            let (log, recovery) = open(&shared, &small_segments());
            assert_eq!(recovery.rebuilt_indexes, 1);
            assert_eq!(marks(&log), (0..40).collect::<Vec<_>>());
            drop(log);
            assert_eq!(index_files(&shared), before);
        }
    }
}

#[test]
fn a_lying_index_costs_time_and_no_records() {
    let (disk, shared) = log_of(40, Some(40));
    disk.damage(&log_file(0).with_extension("index"), |bytes| {
        bytes[7] ^= 0x55;
        bytes[3] ^= 1;
    });
    let (log, _) = open(&shared, &small_segments());
    for from in 0..40 {
        let plan = log
            .view()
            .plan_read(Offset(from), ByteCount(1), Isolation::default())
            .unwrap();
        let read = plan.execute().unwrap();
        assert_eq!(read[0][..8], from.to_be_bytes());
    }
    assert!(!log.view().verify().unwrap().is_empty());
}

#[test]
fn an_index_without_its_log_and_half_deleted_files_are_removed() {
    let (_, shared) = log_of(3, Some(3));
    for name in [
        "00000000000000000900.index",
        "00000000000000000000.log.deleted",
        "x.tmp",
    ] {
        shared.create(&Path::new(DIR).join(name)).unwrap();
    }
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(recovery.removed_files, 3);
    assert_eq!(marks(&log), [0, 1, 2]);
    assert_eq!(shared.list(Path::new(DIR)).unwrap().len(), 5);
}

#[test]
fn a_damaged_checkpoint_costs_a_scan_and_nothing_else() {
    let (disk, shared) = log_of(40, Some(30));
    disk.damage(&Path::new(DIR).join("thalweg.checkpoint"), |bytes| {
        bytes.fill(0x55)
    });
    let (mut log, recovery, snapshot, batches) = open_replaying(&shared, &small_segments());
    assert_eq!(recovery.scanned_batches, 40);
    assert_eq!((snapshot, batches), (Vec::new(), (0..40).collect()));
    assert_goes_on(&mut log);
}

#[test]
fn what_a_kill_left_in_the_page_cache_is_synced_before_it_is_visible() {
    let disk = SimDisk::new(3);
    let shared = disk.shared();
    // The directory of all partitions is the broker's to create, and to make durable.
    disk.create_dir_all("data".as_ref())
        .and_then(|()| disk.sync_dir("".as_ref()))
        .unwrap();
    let (mut log, _) = open(&shared, &small_segments());
    log.append(&batch(0, 1, 1000), NOW);
    log.write().unwrap();
    disk.kill();
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!(
        (recovery.scanned_batches, log.view().high_watermark),
        (1, Offset(1))
    );
    disk.power_cut();
    let (log, _) = open(&shared, &small_segments());
    assert_eq!(marks(&log), [0]);
}

#[test]
fn a_directory_that_kafka_wrote_opens() {
    let (_, shared) = log_of(40, None);
    let offsets_gap = Path::new(DIR).join("leader-epoch-checkpoint");
    assert_eq!(
        shared.read_small(&offsets_gap, 100).unwrap().unwrap(),
        b"0\n1\n0 0\n"
    );
    for name in [
        "00000000000000000040.snapshot",
        "00000000000000000000.txnindex",
        ".kafka_cleanshutdown",
    ] {
        shared.create(&Path::new(DIR).join(name)).unwrap();
    }
    let (log, recovery) = open(&shared, &small_segments());
    assert_eq!((recovery.removed_files, recovery.truncated_bytes), (0, 0));
    assert_eq!(marks(&log), (0..40).collect::<Vec<_>>());
}

#[test]
fn without_sync_a_torn_segment_takes_the_later_ones_with_it() {
    let (disk, shared) = log_of(40, None);
    disk.damage(&log_file(15), |bytes| bytes[5 * 1024..6 * 1024].fill(0));
    let settings = LogSettings {
        durability: Durability::Os,
        ..small_segments()
    };
    let (mut log, recovery) = open(&shared, &settings);
    let kept = 15 + 4;
    assert_eq!(marks(&log), (0..kept).collect::<Vec<_>>());
    assert_eq!(recovery.truncated_bytes, (40 - kept as u64) * batch_size());
    assert_goes_on(&mut log);
}

#[test]
fn with_sync_a_torn_segment_before_another_is_damage() {
    let (disk, shared) = log_of(40, None);
    disk.damage(&log_file(15), |bytes| bytes[5 * 1024..6 * 1024].fill(0));
    let (log, recovery) = open(&shared, &small_segments());
    assert!(recovery.is_alarming());
    assert_eq!(
        (recovery.truncated_bytes, log.end_offset()),
        (0, Offset(40))
    );
    assert_eq!(recovery.corrupt[0].next_offset, Offset(30));
}

fn index_files(disk: &Arc<dyn Disk>) -> Vec<(String, Vec<u8>)> {
    let names = disk
        .list(Path::new(DIR))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name);
    let indexes = names.filter(|name| name.ends_with("index"));
    indexes
        .map(|name| {
            (
                name.clone(),
                disk.read_small(&Path::new(DIR).join(name), 100_000)
                    .unwrap()
                    .unwrap(),
            )
        })
        .collect()
}
