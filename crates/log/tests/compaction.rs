//! Compaction: what stays, when, and that no crash harms it.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::*;
use thalweg_log::{
    ByteCount, CompactionBuffer, CompactionReport, CompactionSettings, Disk, Fault, Isolation,
    LogError, LogSettings, MemoryDisk, Offset, Pace, PartitionLog, PartitionView, ProducerEnd,
    ProducerEnds, SimDisk,
};
use wire::records::{CheckedBatch, Compression};

const BUFFER: CompactionBuffer = CompactionBuffer {
    memory: ByteCount::mebibytes(1),
    load: 0.9,
};
const DAY: i64 = 86_400_000;

fn rules() -> CompactionSettings {
    CompactionSettings {
        min_dirty_ratio: 0.5,
        min_lag: Duration::ZERO,
        max_lag: Duration::from_millis(i64::MAX as u64),
        delete_retention: Duration::from_millis(DAY as u64),
    }
}

/// Segments of one batch each, so that all but the last can be compacted.
fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: ByteCount(1),
        compaction: Some(rules()),
        retention_age: None,
        ..LogSettings::default()
    }
}

/// A log with these batches, all of them behind a checkpoint.
fn log_of(batches: &[CheckedBatch]) -> PartitionLog {
    let mut log = open(&MemoryDisk::shared(), &settings()).0;
    append(&mut log, batches);
    log
}

/// Each batch in a segment of its own, then segments may be of a usual size again.
fn append(log: &mut PartitionLog, batches: &[CheckedBatch]) {
    for batch in batches {
        step(log, std::slice::from_ref(batch));
    }
    log.checkpoint(Vec::new()).unwrap();
}

fn merging(log: &mut PartitionLog) {
    log.update_settings(LogSettings {
        segment_bytes: ByteCount::mebibytes(1),
        ..log.settings().clone()
    });
}

fn compact(log: &mut PartitionLog, now_ms: i64) -> Option<CompactionReport> {
    let report = log.compact(now_ms, ProducerEnds::new(), BUFFER).unwrap();
    assert_eq!(log.view().verify().unwrap(), [], "all files agree");
    report
}

fn is_due(log: &PartitionLog, now_ms: i64) -> bool {
    log.dirtiness(now_ms).unwrap().unwrap().is_due
}

fn row(offset: i64, key: &str, value: &str) -> (i64, String, Option<String>) {
    (offset, key.to_owned(), Some(value.to_owned()))
}

/// What a reader of the whole log has in its table.
fn table(view: &PartitionView) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, key, value) in rows(view) {
        match value {
            Some(value) => table.insert(key, value),
            None => table.remove(&key),
        };
    }
    table
}

fn some_batches() -> Vec<CheckedBatch> {
    vec![
        keyed(NOW, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]),
        keyed(NOW, &[("b", Some("2")), ("c", Some("1"))]),
        keyed(NOW, &[("a", Some("3"))]),
        keyed(NOW, &[("a", Some("4"))]),
    ]
}

#[test]
fn the_last_record_of_each_key_stays_where_it_was() {
    let mut log = log_of(&some_batches());
    let report = compact(&mut log, NOW).unwrap();
    // The active segment has a=4 and is left alone, so a=3 is the last one that compaction knows of.
    let expected = [
        row(3, "b", "2"),
        row(4, "c", "1"),
        row(5, "a", "3"),
        row(6, "a", "4"),
    ];
    assert_eq!(rows(&log.view()), expected);
    assert_eq!(
        (report.records.read, report.records.kept, report.keys),
        (6, 3, 3)
    );
    assert!(report.kept_bytes < report.read_bytes);
}

#[test]
fn a_read_from_a_hole_gives_what_follows() {
    let mut log = log_of(&some_batches());
    let old_view = log.view();
    compact(&mut log, NOW);
    let view = log.view();
    for (from, expected) in [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3), (5, 5), (6, 6)] {
        let plan = view.plan_read(Offset(from), ByteCount(1), Isolation::default());
        let read = plan.unwrap().execute().unwrap();
        assert_eq!(read[0][..8], i64::to_be_bytes(expected), "from {from}");
    }
    // The first segment has only its emptied batch, so that it says where it ends.
    assert_eq!(read_all(&view, 1_000)[0].0.record_count, 0);
    assert_eq!(
        rows(&old_view).len(),
        7,
        "a reader with an old view can finish"
    );
}

#[test]
fn a_second_compaction_finds_the_new_part_dirty_and_no_more() {
    let mut log = log_of(&some_batches());
    assert!(is_due(&log, NOW));
    assert_eq!(
        log.dirtiness(NOW).unwrap().unwrap().clean_bytes,
        ByteCount::ZERO
    );
    compact(&mut log, NOW);
    assert!(!is_due(&log, NOW));
    assert_eq!(compact(&mut log, NOW), None);
    append(
        &mut log,
        &[
            keyed(NOW, &[("c", Some("2"))]),
            keyed(NOW, &[("d", Some("1"))]),
        ],
    );
    let dirtiness = log.dirtiness(NOW).unwrap().unwrap();
    assert!(
        dirtiness.ratio() > 0.0 && dirtiness.ratio() < 0.6,
        "{dirtiness:?}"
    );
    compact(&mut log, NOW);
    let expected = [
        row(3, "b", "2"),
        row(6, "a", "4"),
        row(7, "c", "2"),
        row(8, "d", "1"),
    ];
    assert_eq!(rows(&log.view()), expected);
}

#[test]
fn what_is_compacted_stays_so_after_a_restart() {
    let disk = MemoryDisk::shared();
    let mut log = open(&disk, &settings()).0;
    append(&mut log, &some_batches());
    merging(&mut log);
    compact(&mut log, NOW);
    let (before, size) = (rows(&log.view()), log.size_bytes());
    log.close(Vec::new()).unwrap();
    let (mut log, recovery) = open(&disk, &settings());
    assert_eq!(recovery, thalweg_log::Recovery::default());
    assert_eq!((rows(&log.view()), log.size_bytes()), (before, size));
    assert!(!is_due(&log, NOW));
    assert_eq!(compact(&mut log, NOW), None);
}

#[test]
fn small_segments_become_one() {
    let mut log = log_of(&some_batches());
    merging(&mut log);
    let size = log.size_bytes();
    let report = compact(&mut log, NOW).unwrap();
    let reads = read_all(&log.view(), 100_000);
    let bases: Vec<i64> = reads.iter().map(|(header, _)| header.base_offset).collect();
    assert_eq!(bases, [3, 5, 6]);
    let saved = report.read_bytes.0 - report.kept_bytes.0;
    assert_eq!(log.size_bytes().0, size.0 - saved);
    assert_eq!(log.view().size_bytes, log.size_bytes());
}

#[test]
fn every_codec_is_compacted_into_itself() {
    for compression in Compression::ALL {
        let batches: Vec<CheckedBatch> = [
            vec![("a", Some("1")), ("b", Some("1")), ("c", Some("1"))],
            vec![("a", Some("2"))],
            vec![("z", Some("1"))],
        ]
        .iter()
        .map(|rows| keyed_by(NOW, rows, compression, |builder| builder))
        .collect();
        let mut log = log_of(&batches);
        compact(&mut log, NOW);
        let kept: Vec<i64> = rows(&log.view()).iter().map(|row| row.0).collect();
        assert_eq!(kept, [1, 2, 3, 4]);
        let (header, _) = &read_all(&log.view(), 1_000)[0];
        assert_eq!(header.compression().unwrap(), compression);
        assert_eq!((header.base_offset, header.last_offset()), (0, 2));
    }
}

#[test]
fn a_tombstone_stays_for_the_delete_retention_from_its_first_compaction_on() {
    let mut log = log_of(&[
        keyed(NOW, &[("a", Some("1"))]),
        keyed(NOW, &[("a", None)]),
        keyed(NOW, &[("b", Some("1"))]),
        keyed(NOW, &[("c", Some("1"))]),
    ]);
    merging(&mut log);
    compact(&mut log, NOW + 5);
    let tombstone = (1, "a".to_owned(), None);
    assert_eq!(
        rows(&log.view()),
        [tombstone.clone(), row(2, "b", "1"), row(3, "c", "1")]
    );
    let (header, _) = read_all(&log.view(), 1_000)[0];
    assert!(header.has_delete_horizon());
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (NOW + 5 + DAY, NOW)
    );

    let later = |log: &mut PartitionLog, now_ms: i64| {
        append(log, &[keyed(now_ms, &[("x", Some("1"))])]);
        log.update_settings(settings());
        append(log, &[keyed(now_ms, &[("x", Some("2"))])]);
        merging(log);
        compact(log, now_ms);
        rows(&log.view())
    };
    assert!(later(&mut log, NOW + 4 + DAY).contains(&tombstone));
    let (header, _) = read_all(&log.view(), 1_000)[0];
    assert_eq!(
        header.base_timestamp,
        NOW + 5 + DAY,
        "the horizon is set once"
    );
    assert!(!later(&mut log, NOW + 5 + DAY).contains(&tombstone));
    assert!(!table(&log.view()).contains_key("a"));
}

#[test]
fn records_younger_than_the_lag_are_left_alone() {
    let mut log = log_of(&[
        keyed(NOW, &[("a", Some("1")), ("a", Some("2"))]),
        keyed(NOW + 1_000, &[("a", Some("3")), ("a", Some("4"))]),
        keyed(NOW + 2_000, &[("a", Some("5"))]),
    ]);
    log.update_settings(LogSettings {
        compaction: Some(CompactionSettings {
            min_lag: Duration::from_secs(1),
            ..rules()
        }),
        ..settings()
    });
    assert_eq!(compact(&mut log, NOW + 1_000), None);
    compact(&mut log, NOW + 1_500);
    let kept: Vec<i64> = rows(&log.view()).iter().map(|row| row.0).collect();
    assert_eq!(kept, [1, 2, 3, 4]);
    compact(&mut log, NOW + 2_001);
    let kept: Vec<i64> = rows(&log.view()).iter().map(|row| row.0).collect();
    assert_eq!(kept, [3, 4]);
}

#[test]
fn a_record_does_not_wait_longer_than_the_largest_lag() {
    let mut log = log_of(&some_batches());
    log.update_settings(LogSettings {
        compaction: Some(CompactionSettings {
            min_dirty_ratio: 1.0,
            max_lag: Duration::from_secs(60),
            ..rules()
        }),
        ..settings()
    });
    assert!(!is_due(&log, NOW + 59_000));
    assert!(is_due(&log, NOW + 61_000));
}

#[test]
fn nothing_is_compacted_before_the_checkpoint_has_passed_it() {
    let mut log = open(&MemoryDisk::shared(), &settings()).0;
    some_batches()
        .iter()
        .for_each(|batch| step(&mut log, std::slice::from_ref(batch)));
    assert_eq!(compact(&mut log, NOW), None);
    log.checkpoint(Vec::new()).unwrap();
    assert!(compact(&mut log, NOW).is_some());
}

#[test]
fn a_producers_last_batch_stays_without_its_records() {
    let by = |sequence: i32, value: &str| {
        keyed_by(
            NOW,
            &[("a", Some(value)), ("b", Some(value))],
            Compression::None,
            |builder| builder.producer(7, 1, sequence),
        )
    };
    let mut log = log_of(&[
        by(0, "1"),
        by(2, "2"),
        keyed(NOW, &[("a", Some("3")), ("b", Some("3"))]),
        keyed(NOW, &[("c", Some("1"))]),
    ]);
    merging(&mut log);
    let end = ProducerEnd {
        last_data_offset: Some(Offset(3)),
        epoch: 1,
    };
    let report = log.compact(NOW, [(7, end)].into(), BUFFER).unwrap();
    assert_eq!(report.unwrap().records.kept, 2);
    let (header, _) = read_all(&log.view(), 1_000)[0];
    assert_eq!((header.base_offset, header.last_offset()), (2, 3));
    assert_eq!((header.record_count, header.last_sequence()), (0, 3));
}

#[test]
fn a_full_buffer_compacts_a_part_and_the_next_time_the_rest() {
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    let batches: Vec<CheckedBatch> = (0..120)
        .map(|number| keyed(NOW, &[(keys[number % 40].as_str(), Some("value"))]))
        .collect();
    let mut log = log_of(&batches);
    let before = table(&log.view());
    let small = CompactionBuffer {
        memory: ByteCount(24 * 20),
        load: 0.5,
    };
    let mut rounds = 0;
    while let Some(report) = log.compact(NOW, ProducerEnds::new(), small).unwrap() {
        assert!(report.keys <= 10);
        assert_eq!(table(&log.view()), before);
        rounds += 1;
    }
    assert!(rounds > 5, "{rounds}");
    assert!(
        rows(&log.view()).len() <= 41 + 10,
        "{}",
        rows(&log.view()).len()
    );
}

#[test]
fn a_batch_with_more_keys_than_the_buffer_holds_is_reported() {
    let mut log = log_of(&[
        keyed(NOW, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]),
        keyed(NOW, &[("a", Some("1"))]),
    ]);
    let tiny = CompactionBuffer {
        memory: ByteCount(48),
        load: 0.5,
    };
    let refused = log.compact(NOW, ProducerEnds::new(), tiny);
    assert!(matches!(refused, Err(LogError::BufferTooSmall { .. })));
    assert!(compact(&mut log, NOW).is_some(), "it can be tried again");
}

#[test]
fn damage_is_found_and_not_put_under_a_new_checksum() {
    let disk = SimDisk::new(3);
    disk.create_dir_all("data".as_ref()).unwrap();
    let mut log = open(&disk.shared(), &settings()).0;
    append(&mut log, &some_batches());
    disk.damage(&log_file(3), |bytes| bytes[70] ^= 1);
    let before = disk.content(&log_file(0));
    let refused = log.compact(NOW, ProducerEnds::new(), BUFFER);
    assert!(
        matches!(refused, Err(LogError::Corrupt { .. })),
        "{refused:?}"
    );
    assert_eq!(disk.content(&log_file(0)), before);
}

#[test]
fn a_compaction_that_is_abandoned_leaves_everything_as_it_was() {
    let mut log = log_of(&some_batches());
    let before = rows(&log.view());
    let job = log
        .begin_compaction(NOW, ProducerEnds::new())
        .unwrap()
        .unwrap();
    assert!(
        log.begin_compaction(NOW, ProducerEnds::new())
            .unwrap()
            .is_none()
    );
    let refused = job.run(BUFFER, Pace(&mut |_| false), &mut |_| ());
    assert!(matches!(refused, Err(LogError::Abandoned)));
    log.abandon_compaction();
    assert_eq!(rows(&log.view()), before);
    assert!(compact(&mut log, NOW).is_some());
}

#[test]
fn no_segment_is_deleted_while_a_compaction_is_under_way() {
    let mut log = log_of(&some_batches());
    let job = log
        .begin_compaction(NOW, ProducerEnds::new())
        .unwrap()
        .unwrap();
    assert!(log.delete_records(Offset(4)).unwrap().is_empty());
    assert_eq!(log.log_start(), Offset(4));
    let mut swapped = Vec::new();
    let finished = job.run(BUFFER, Pace(&mut |_| true), &mut |one| swapped.push(one));
    for one in swapped {
        log.apply_swap(one).purge().unwrap();
    }
    log.finish_compaction(finished.unwrap());
    assert_eq!(log.view().log_start, Offset(4));
    assert_eq!(log.apply_retention(NOW).unwrap().len(), 1, "then it goes");
}

#[test]
fn a_log_that_is_deleted_meanwhile_is_left_alone() {
    let disk = MemoryDisk::shared();
    let mut log = open(&disk, &settings()).0;
    append(&mut log, &some_batches());
    let job = log
        .begin_compaction(NOW, ProducerEnds::new())
        .unwrap()
        .unwrap();
    let remains = log.delete().unwrap();
    let mut other = open(&disk, &settings()).0;
    append(&mut other, &some_batches());
    let refused = job.run(BUFFER, Pace(&mut |_| true), &mut |_| {
        panic!("nothing is swapped")
    });
    assert!(matches!(refused, Err(LogError::Io { .. })), "{refused:?}");
    assert_eq!(rows(&other.view()).len(), 7);
    drop(remains);
}

fn of_transaction(producer: i64, sequence: i32, rows: &[Row<'_>]) -> CheckedBatch {
    keyed_by(NOW, rows, Compression::None, |builder| {
        builder.producer(producer, 0, sequence).transactional()
    })
}

#[test]
fn records_of_aborted_transactions_go_and_their_markers_later() {
    let mut log = log_of(&[
        keyed(NOW, &[("a", Some("1"))]),
        of_transaction(7, 0, &[("a", Some("2")), ("b", Some("1"))]),
        of_transaction(8, 0, &[("c", Some("1"))]),
        marker(7, false),
        marker(8, true),
        keyed(NOW, &[("z", Some("1"))]),
    ]);
    merging(&mut log);
    let markers = |log: &PartitionLog| {
        let batches = read_all(&log.view(), 1_000);
        let control = batches.iter().filter(|(header, _)| header.is_control());
        control
            .map(|(header, _)| header.base_offset)
            .collect::<Vec<_>>()
    };
    let data = |log: &PartitionLog| {
        let batches = read_all(&log.view(), 1_000);
        let data = batches.iter().filter(|(header, _)| !header.is_control());
        data.map(|(header, _)| header.base_offset)
            .collect::<Vec<_>>()
    };
    compact(&mut log, NOW);
    // a=2 was aborted, so a=1 stays; the markers stay for whoever has begun to read.
    assert_eq!((data(&log), markers(&log)), (vec![0, 3, 6], vec![4, 5]));
    let aborted = log
        .view()
        .aborted_transactions(Offset(0), Offset(7))
        .unwrap();
    assert_eq!(aborted.len(), 1, "the transaction was seen in this round");

    let later = |log: &mut PartitionLog, now_ms: i64| {
        log.update_settings(settings());
        append(
            log,
            &[
                keyed(now_ms, &[("z", Some("2"))]),
                keyed(now_ms, &[("z", Some("3"))]),
            ],
        );
        merging(log);
        compact(log, now_ms);
        assert_eq!(log.view().last_stable_offset, log.view().high_watermark);
    };
    later(&mut log, NOW + 1);
    assert_eq!(
        markers(&log),
        [4, 5],
        "the abort marker has its horizon now"
    );
    later(&mut log, NOW + 1 + DAY);
    assert_eq!(
        markers(&log),
        [5],
        "the commit marker stays as long as its records"
    );
    assert_eq!(
        log.view()
            .aborted_transactions(Offset(0), Offset(7))
            .unwrap(),
        []
    );
    assert!(data(&log).contains(&3));
}

#[test]
fn what_a_producer_commits_after_an_aborted_transaction_counts() {
    let mut log = log_of(&[
        of_transaction(7, 0, &[("k", Some("old"))]),
        marker(7, true),
        of_transaction(7, 1, &[("j", Some("aborted"))]),
        marker(7, false),
        keyed(NOW, &[("z", Some("1"))]),
    ]);
    merging(&mut log);
    compact(&mut log, NOW);
    log.update_settings(settings());
    append(
        &mut log,
        &[
            of_transaction(7, 2, &[("k", None)]),
            marker(7, true),
            keyed(NOW, &[("z", Some("2"))]),
        ],
    );
    merging(&mut log);
    compact(&mut log, NOW + 1);
    let has_old = rows(&log.view())
        .iter()
        .any(|(_, key, value)| key == "k" && value.as_deref() == Some("old"));
    assert!(
        !has_old,
        "the tombstone was committed: {:?}",
        rows(&log.view())
    );
    assert_eq!(table(&log.view()).get("k"), None);
}

#[test]
fn nothing_beyond_the_last_stable_offset_is_compacted() {
    let mut log = log_of(&[
        keyed(NOW, &[("a", Some("1"))]),
        keyed(NOW, &[("a", Some("2"))]),
        of_transaction(7, 0, &[("b", Some("1"))]),
        keyed(NOW, &[("a", Some("3"))]),
        keyed(NOW, &[("a", Some("4"))]),
    ]);
    compact(&mut log, NOW);
    let kept: Vec<i64> = rows(&log.view()).iter().map(|row| row.0).collect();
    assert_eq!(kept, [1, 2, 3, 4]);
}

/// Compacts with the disk failing at its `nth` operation; tells whether it came so far.
fn interrupted(seed: u64, nth: u64, fault: Fault, is_power_cut: bool) -> bool {
    let disk = SimDisk::new(seed);
    disk.create_dir_all("data".as_ref())
        .and_then(|()| disk.sync_dir("".as_ref()))
        .unwrap();
    let shared = disk.shared();
    let mut log = open(&shared, &settings()).0;
    append(&mut log, &some_batches());
    append(
        &mut log,
        &[
            keyed(NOW, &[("c", None), ("b", Some("3"))]),
            keyed(NOW, &[("d", Some("1"))]),
            keyed(NOW, &[("e", Some("1"))]),
        ],
    );
    if seed.is_multiple_of(2) {
        merging(&mut log);
    }
    let before = table(&log.view());
    let (end, checkpointed) = (log.end_offset(), disk.operations());
    disk.fail_nth(nth, fault);
    let outcome = log.compact(NOW, ProducerEnds::new(), BUFFER);
    assert_eq!(table(&log.view()), before, "readers see the same table");
    let came_so_far = disk.operations() >= checkpointed + nth;
    disk.fail_nth(u64::MAX / 2, fault);
    if is_power_cut {
        disk.power_cut();
    } else {
        disk.kill();
    }
    drop((log, outcome));
    let (log, recovery) = open(&shared, &settings());
    assert!(
        !recovery.is_alarming(),
        "a crash is no damage: {recovery:?}"
    );
    assert_eq!(log.view().verify().unwrap(), [], "all files agree");
    assert_eq!(
        (table(&log.view()), log.end_offset()),
        (before.clone(), end)
    );
    let names = shared.list(DIR.as_ref()).unwrap();
    assert!(
        names
            .iter()
            .all(|entry| !entry.name.contains(".swap") && !entry.name.contains(".cleaned")),
        "{names:?}"
    );
    let mut log = log;
    log.checkpoint(Vec::new()).unwrap();
    log.compact(NOW, ProducerEnds::new(), BUFFER).unwrap();
    assert_eq!(table(&log.view()), before);
    assert_eq!(log.view().verify().unwrap(), []);
    came_so_far
}

#[test]
fn a_crash_at_any_operation_leaves_the_same_table() {
    for seed in 0..6 {
        for is_power_cut in [true, false] {
            let mut nth = 1;
            while interrupted(seed, nth, Fault::DeviceError, is_power_cut) {
                nth += 1;
            }
            assert!(nth > 30, "compaction takes many operations: {nth}");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_same_table() {
    let mut nth = 1;
    while interrupted(5, nth, Fault::NoSpace, false) {
        nth += 1;
    }
}

#[test]
fn records_of_aborted_transactions_go_and_the_rest_of_them_is_still_told() {
    let written = |producer: i64, key: &str, value: &str| {
        let rows = [(key, Some(value))];
        keyed_by(NOW, &rows, Compression::None, |builder| {
            builder.producer(producer, 0, 0).transactional()
        })
    };
    let disk = MemoryDisk::shared();
    let mut log = open(&disk, &settings()).0;
    append(
        &mut log,
        &[
            keyed(NOW, &[("a", Some("1"))]),
            written(7, "a", "aborted"),
            written(8, "b", "committed"),
            marker(7, false),
            marker(8, true),
            written(9, "a", "aborted, too"),
            keyed(NOW, &[("c", Some("1"))]),
        ],
    );
    compact(&mut log, NOW);
    step(
        &mut log,
        &[marker(9, false), keyed(NOW, &[("d", Some("1"))])],
    );
    let told = |log: &PartitionLog| {
        let view = log.view();
        let aborted = view.aborted_transactions(Offset(0), view.last_stable_offset);
        let aborted = aborted.unwrap().into_iter();
        aborted.map(|one| one.producer_id).collect::<Vec<_>>()
    };
    assert_eq!(told(&log), [7, 9]);
    log.checkpoint(Vec::new()).unwrap();
    compact(&mut log, NOW);
    let left = rows(&log.view());
    let values: Vec<_> = left.iter().filter_map(|row| row.2.as_deref()).collect();
    for value in ["1", "committed"] {
        assert!(values.contains(&value), "{value} is there: {values:?}");
    }
    assert!(told(&log).contains(&9) || !values.contains(&"aborted, too"));
    let before = told(&log);
    drop(log);
    let (log, recovery) = open(&disk, &settings());
    assert!(!recovery.is_alarming());
    assert_eq!(told(&log), before);
}
