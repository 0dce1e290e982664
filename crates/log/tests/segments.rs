//! When a segment ends, and what the disk keeps for it.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use thalweg_log::{
    ByteCount, Disk, FileDisk, Isolation, LogSettings, MemoryDisk, Offset, PartitionLog,
};
use wire::records::scan_batches;

fn log_in(disk: &Arc<dyn Disk>, dir: &Path, settings: LogSettings) -> PartitionLog {
    let opened = PartitionLog::open(Arc::clone(disk), dir, settings, NOW, &mut |_| {});
    opened.expect("the log opens").0
}

fn segments(disk: &Arc<dyn Disk>, dir: &Path) -> usize {
    let entries = disk.list(dir).expect("the directory is there");
    entries
        .iter()
        .filter(|entry| entry.name.ends_with(".log"))
        .count()
}

/// The age in milliseconds of a first record at which a log in this directory ends its segment.
fn age_at_roll(dir: &str, jitter_ms: u64) -> u64 {
    let disk = MemoryDisk::shared();
    let settings = LogSettings {
        segment_age: Duration::from_millis(1_000),
        segment_jitter: Duration::from_millis(jitter_ms),
        ..LogSettings::default()
    };
    let mut log = log_in(&disk, Path::new(dir), settings);
    for age in 0.. {
        step(&mut log, &[batch_at(NOW + age, 1, 1, 10)]);
        if segments(&disk, Path::new(dir)) > 1 {
            return age as u64;
        }
    }
    unreachable!("segments end some time")
}

#[test]
fn the_jitter_spreads_the_ends_of_segments_and_makes_none_later() {
    assert_eq!(age_at_roll("data/a-0", 0), 1_001);
    let ages: BTreeSet<u64> = (0..8)
        .map(|number| age_at_roll(&format!("data/a-{number}"), 500))
        .collect();
    assert!(ages.len() > 4, "{ages:?}");
    assert!(
        ages.iter().all(|age| (501..=1_001).contains(age)),
        "{ages:?}"
    );
}

#[test]
fn a_segment_ends_before_its_index_is_too_large() {
    let disk = MemoryDisk::shared();
    let dir = Path::new("data/a-0");
    let settings = LogSettings {
        index_interval_bytes: ByteCount(0),
        segment_index_bytes: ByteCount(80),
        ..LogSettings::default()
    };
    let mut log = log_in(&disk, dir, settings);
    let batches: Vec<_> = (0..100).map(|number| batch(number, 1, 10)).collect();
    for some in batches.chunks(40) {
        step(&mut log, some);
    }
    log.close(Vec::new()).unwrap();
    let entries = disk.list(dir).unwrap();
    let length = |name: &str| disk.open(&dir.join(name)).unwrap().len().unwrap();
    let lengths = entries
        .iter()
        .filter(|entry| entry.name.ends_with("index"))
        .map(|entry| length(&entry.name));
    assert!(lengths.clone().max() > Some(0));
    assert!(
        lengths.clone().all(|length| length <= 80),
        "{:?}",
        lengths.collect::<Vec<_>>()
    );
    assert!(segments(&disk, dir) >= 100 / 10);
}

#[test]
fn a_preallocated_segment_has_its_room_and_gives_the_rest_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a-0");
    let disk = FileDisk::shared();
    let settings = |preallocate| LogSettings {
        segment_bytes: ByteCount::mebibytes(1),
        preallocate,
        ..LogSettings::default()
    };
    let mut log = log_in(&disk, &dir, settings(true));
    let room = |base: i64| {
        let file = std::fs::metadata(dir.join(format!("{base:020}.log"))).unwrap();
        (file.len(), file.blocks() * 512)
    };
    step(&mut log, &[batch(1, 1, 1_000)]);
    let (length, reserved) = room(0);
    assert!(length < 2_000, "recovery goes by the length: {length}");
    if reserved < 1 << 20 {
        return eprintln!("this file system reserves nothing");
    }
    for some in (2..2_000).collect::<Vec<_>>().chunks(100) {
        let batches: Vec<_> = some.iter().map(|number| batch(*number, 1, 1_000)).collect();
        step(&mut log, &batches);
    }
    let (length, reserved) = room(0);
    assert!(reserved < length + (64 << 10), "{reserved} for {length}");
}

#[test]
fn a_reader_finds_its_batch_though_the_index_was_cut_or_removed() {
    for damage in [
        (|disk, path| disk.open(path)?.set_len(3)) as fn(&dyn Disk, &Path) -> std::io::Result<()>,
        |disk, path| disk.remove_file(path),
    ] {
        let disk = MemoryDisk::shared();
        let dir = Path::new("data/a-0");
        let settings = LogSettings {
            segment_bytes: ByteCount(10_000),
            index_interval_bytes: ByteCount(100),
            ..LogSettings::default()
        };
        let mut log = log_in(&disk, dir, settings);
        (0..100).for_each(|number| step(&mut log, &[batch(number, 1, 200)]));
        let index = dir.join("00000000000000000000.index");
        assert!(disk.open(&index).unwrap().len().unwrap() > 3);
        damage(disk.as_ref(), &index).unwrap();
        for from in [30, 5, 20] {
            let plan = log
                .view()
                .plan_read(Offset(from), ByteCount(1), Isolation::ReadUncommitted);
            let read = plan.unwrap().execute().unwrap();
            let first = scan_batches(&read[0]).next().unwrap().unwrap().0;
            assert_eq!(first.base_offset, from);
        }
    }
}
