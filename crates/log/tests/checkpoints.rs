//! Checkpoints and their halves, failures of the disk, epochs, and agreement with what was written in every order.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use support::*;
use thalweg_log::{
    ByteCount, Disk, Fault, FileDisk, Isolation, LogError, LogSettings, MAX_PRODUCER_SNAPSHOT,
    MemoryDisk, Offset, PartitionLog, SimDisk,
};

#[test]
fn a_checkpoint_job_runs_beside_appends() {
    let disk = SimDisk::new(1);
    let shared = disk.shared();
    let (mut log, _) = open(&shared, &small_segments());
    for mark in 0..10 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    let job = log.begin_checkpoint(b"ten".to_vec()).unwrap();
    let running = std::thread::spawn(move || job.run().unwrap());
    for mark in 10..40 {
        step(&mut log, &[batch(mark, 1, 1000)]);
    }
    log.finish_checkpoint(running.join().unwrap());
    drop(log);
    disk.kill();
    let (log, recovery, snapshot, batches) = open_replaying(&shared, &small_segments());
    assert_eq!(
        (recovery.scanned_batches, snapshot.as_slice()),
        (30, &b"ten"[..])
    );
    assert_eq!(batches, (10..40).collect::<Vec<i64>>());
    assert_eq!(values(&log.view()).len(), 40);
}

#[test]
fn an_idle_log_closes_without_a_write() {
    let disk = SimDisk::new(1);
    let shared = disk.shared();
    let (mut log, _) = open(&shared, &small_segments());
    step(&mut log, &[batch(0, 1, 1000)]);
    log.close(Vec::new()).unwrap();
    let before = disk.operations();
    let (log, _) = open(&shared, &small_segments());
    log.close(Vec::new()).unwrap();
    assert_eq!(disk.operations(), before);
}

#[test]
fn a_snapshot_has_a_limit() {
    let (mut log, _) = open(&MemoryDisk::shared(), &small_segments());
    log.checkpoint(vec![1; MAX_PRODUCER_SNAPSHOT]).unwrap();
    let refused = log.checkpoint(vec![1; MAX_PRODUCER_SNAPSHOT + 1]);
    assert!(matches!(refused, Err(LogError::SnapshotTooLarge { .. })));
}

#[test]
fn a_full_disk_is_told_apart_and_the_log_goes_on_once_reopened() {
    let disk = SimDisk::new(5);
    let shared = disk.shared();
    let (mut log, _) = open(&shared, &LogSettings::default());
    step(&mut log, &[batch(0, 1, 1000)]);
    disk.fail_nth(1, Fault::NoSpace);
    log.append(&batch(1, 1, 1000), NOW);
    let full = log.write().unwrap_err();
    assert!(full.is_disk_full());
    assert!(
        full.to_string()
            .starts_with("cannot write data/orders-0/00000000000000000000.log: No space left"),
        "{full}"
    );
    log.append(&batch(1, 1, 1000), NOW);
    assert!(matches!(log.write(), Err(LogError::Halted { .. })));
    assert_eq!(values(&log.view()).len(), 1);

    let (mut log, recovery) = open(&shared, &LogSettings::default());
    assert_eq!((log.end_offset(), recovery.truncated_bytes), (Offset(1), 0));
    step(&mut log, &[batch(1, 1, 1000)]);
    assert_eq!(values(&log.view()).len(), 2);
}

#[test]
fn a_failing_device_is_no_full_disk() {
    let disk = SimDisk::new(5);
    let (mut log, _) = open(&disk.shared(), &LogSettings::default());
    disk.fail_nth(1, Fault::DeviceError);
    log.append(&batch(0, 1, 1000), NOW);
    assert!(!log.write().unwrap_err().is_disk_full());
}

#[test]
fn epochs_are_known_after_a_restart_even_from_the_batches_alone() {
    let disk = SimDisk::new(1);
    let shared = disk.shared();
    let (mut log, _) = open(&shared, &small_segments());
    step(&mut log, &[batch(0, 3, 100)]);
    log.set_leader_epoch(4).unwrap();
    step(&mut log, &[batch(3, 2, 100)]);
    log.set_leader_epoch(6).unwrap();
    step(&mut log, &[batch(5, 1, 100)]);
    for damage in [false, true] {
        if damage {
            disk.damage(
                &std::path::Path::new(DIR).join("leader-epoch-checkpoint"),
                |bytes| bytes.fill(0),
            );
        }
        let (log, _) = open(&shared, &small_segments());
        let view = log.view();
        assert_eq!(view.leader_epoch, 6);
        assert_eq!(view.end_offset_for_epoch(0), Some((0, Offset(3))));
        assert_eq!(view.end_offset_for_epoch(5), Some((4, Offset(5))));
        assert_eq!(view.end_offset_for_epoch(6), Some((6, Offset(6))));
    }
}

/// One batch of a generated log: records, bytes each, milliseconds since the one before, whether the step ends after it.
type Shape = (usize, usize, i64, bool);

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let size = prop_oneof![8 => 1usize..400, 1 => 3_000usize..9_000];
    proptest::collection::vec((1usize..5, size, -20i64..60, any::<bool>()), 1..120)
}

fn write_shapes(log: &mut PartitionLog, shapes: &[Shape]) -> Vec<(i64, i64, i64)> {
    let (mut time, mut mark, mut written) = (NOW, 0, Vec::new());
    for (count, size, later, ends) in shapes {
        time += later;
        let appended = log.append(&batch_at(time, mark, *count, *size), NOW);
        mark += *count as u64;
        written.push((appended.base_offset.0, appended.last_offset.0, time));
        if *ends {
            log.write().unwrap();
            settle(log);
        }
    }
    log.write().unwrap();
    settle(log);
    written
}

fn check_reads(
    log: &PartitionLog,
    written: &[(i64, i64, i64)],
    limit: u64,
) -> Result<(), TestCaseError> {
    let view = log.view();
    for (base, last, _) in written {
        for from in *base..=*last {
            let plan = view
                .plan_read(Offset(from), ByteCount(limit), Isolation::ReadUncommitted)
                .unwrap();
            let read = plan.execute().unwrap();
            prop_assert_eq!(&read[0][..8], base.to_be_bytes());
            prop_assert_eq!(&read, &plan.execute_if_cached().unwrap().unwrap());
            let length: u64 = read.iter().map(|bytes| bytes.len() as u64).sum();
            let first = 12 + i64::from(i32::from_be_bytes(read[0][8..12].try_into().unwrap()));
            prop_assert!(length <= limit.max(first as u64));
            prop_assert!(plan.len_estimate().0 <= limit.max(1));
        }
    }
    Ok(())
}

fn check_times(log: &PartitionLog, written: &[(i64, i64, i64)]) -> Result<(), TestCaseError> {
    // Record n of a batch is n ms after its first.
    let records = || {
        written.iter().flat_map(|(base, last, time)| {
            (*base..=*last).map(move |offset| (offset, time + offset - base))
        })
    };
    for (_, _, time) in written {
        for wanted in [*time - 1, *time, *time + 2] {
            let expected = records()
                .find(|(_, time)| *time >= wanted)
                .map(|(offset, time)| (Offset(offset), time));
            prop_assert_eq!(log.view().offset_for_timestamp(wanted).unwrap(), expected);
        }
    }
    let largest = records().map(|(_, time)| time).max().unwrap();
    let expected = records()
        .find(|(_, time)| *time == largest)
        .map(|(offset, time)| (Offset(offset), time));
    prop_assert_eq!(log.view().max_timestamp_offset().unwrap(), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_offset_and_time_is_found_now_and_after_a_restart(
        shapes in shapes(),
        segment_bytes in 2_000u64..40_000,
        interval in 0u64..8_000,
        limit in 0u64..20_000,
        is_clean: bool,
    ) {
        let settings = LogSettings {
            segment_bytes: ByteCount(segment_bytes),
            index_interval_bytes: ByteCount(interval),
            ..LogSettings::default()
        };
        let disk = MemoryDisk::shared();
        let (mut log, _) = open(&disk, &settings);
        let written = write_shapes(&mut log, &shapes);
        check_reads(&log, &written, limit)?;
        check_times(&log, &written)?;
        prop_assert_eq!(log.view().verify().unwrap(), []);
        let before = read_all(&log.view(), 5_000);
        if is_clean { log.close(Vec::new()).unwrap() } else { drop(log) }

        let (log, recovery) = open(&disk, &settings);
        prop_assert_eq!(recovery.scanned_batches == 0, is_clean);
        prop_assert_eq!(read_all(&log.view(), 7_000), before);
        check_reads(&log, &written, limit)?;
        check_times(&log, &written)?;
        prop_assert_eq!(log.view().verify().unwrap(), []);
    }

    #[test]
    fn all_disks_hold_the_same(writes in proptest::collection::vec((0u64..700_000, 0usize..300_000, any::<bool>()), 1..12)) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        let disks: [Arc<dyn Disk>; 3] = [FileDisk::shared(), MemoryDisk::shared(), SimDisk::new(1).shared()];
        let mut contents = Vec::new();
        for disk in disks {
            disk.create_dir_all(place.path()).unwrap();
            let file = disk.create(&path).unwrap();
            for (number, (position, length, cuts)) in writes.iter().enumerate() {
                let bytes = vec![number as u8 + 1; *length];
                let (head, tail) = bytes.split_at(length / 3);
                file.write_at(*position, &[std::io::IoSlice::new(head), std::io::IoSlice::new(tail)]).unwrap();
                if *cuts {
                    file.set_len(position + *length as u64 / 2).unwrap();
                }
            }
            let mut content = Vec::new();
            let length = file.len().unwrap() as usize;
            prop_assert_eq!(file.read_at(0, length + 10, &mut content).unwrap(), length);
            let mut cached = vec![9];
            if let Some(count) = file.read_at_if_cached(length as u64 / 2, 100, &mut cached).unwrap() {
                prop_assert_eq!(&cached[1..], &content[length / 2..length / 2 + count]);
            }
            contents.push(content);
        }
        prop_assert!(contents[0] == contents[1] && contents[0] == contents[2]);
    }
}

/// 10,000 partitions with their index files open would be more than many systems allow.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_is_written_keeps_one_file_open() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = thalweg_log::FileDisk::shared();
    let open = || {
        let dir = directory.path().join("orders-0");
        let settings = LogSettings::default();
        PartitionLog::open(disk.clone(), dir, settings, NOW, &mut |_| {}).expect("the log opens")
    };
    let open_files = || {
        let files = std::fs::read_dir("/proc/self/fd").expect("this process has files");
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links
            .filter(|path| path.starts_with(directory.path()))
            .count()
    };
    let (mut log, _) = open();
    for mark in 0..40 {
        step(&mut log, &[batch(mark, 3, 2_000)]);
        log.checkpoint(Vec::new()).expect("the disk works");
    }
    assert_eq!(open_files(), 1);
    drop(log);
    let (log, _) = open();
    assert_eq!(open_files(), 1);
    assert_eq!(log.view().verify().expect("readable"), []);
}
