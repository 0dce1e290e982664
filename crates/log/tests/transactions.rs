//! Transactions in a log: where readers of committed records stop, what they are told to pass over, and that both survive.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use support::*;
use thalweg_log::{
    ByteCount, Disk, Isolation, LogSettings, MemoryDisk, Offset, PartitionLog, PartitionView,
    SimDisk,
};
use wire::records::CheckedBatch;

/// One step for each word: `1` writes of producer 1, `+1` commits it, `-1` aborts it, `.` writes without a transaction.
fn write(log: &mut PartitionLog, words: &str) {
    for word in words.split_whitespace() {
        step(log, &[batch_of(word)]);
    }
}

fn batch_of(word: &str) -> CheckedBatch {
    let number = || word[1..].parse().expect("a producer");
    match &word[..1] {
        "." => batch(1, 1, 20),
        "+" => marker(number(), true),
        "-" => marker(number(), false),
        _ => transactional(word.parse().expect("a producer"), 900),
    }
}

fn aborted(view: &PartitionView, from: i64, upto: i64) -> Vec<(i64, i64)> {
    view.aborted_transactions(Offset(from), Offset(upto))
        .expect("the indexes are readable")
        .into_iter()
        .map(|one| (one.producer_id, one.first_offset.0))
        .collect()
}

fn all_aborted(log: &PartitionLog) -> Vec<(i64, i64)> {
    let view = log.view();
    aborted(&view, view.log_start.0, view.last_stable_offset.0)
}

fn ends(log: &PartitionLog) -> (i64, i64) {
    let view = log.view();
    (view.last_stable_offset.0, view.high_watermark.0)
}

fn index_file(base: i64) -> PathBuf {
    log_file(base).with_extension("txnindex")
}

#[test]
fn readers_of_committed_records_stop_at_the_first_undecided_one() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    write(&mut log, ". 1 2 .");
    assert_eq!(ends(&log), (1, 4));
    let view = log.view();
    let read = |isolation| {
        let plan = view.plan_read(Offset(0), ByteCount(10_000), isolation);
        let plan = plan.expect("offset 0 is there");
        plan.execute().expect("readable").concat().len()
    };
    let (committed, all) = (
        read(Isolation::ReadCommitted),
        read(Isolation::ReadUncommitted),
    );
    assert_eq!(committed, batch_of(".").bytes().len());
    assert!(all > committed);
    // Beyond the last stable offset there is nothing yet, which is no error.
    let plan = view.plan_read(Offset(3), ByteCount(10_000), Isolation::ReadCommitted);
    assert!(plan.expect("offset 3 is there").is_empty());
    write(&mut log, "+1");
    assert_eq!(ends(&log), (2, 5));
    write(&mut log, "-2");
    assert_eq!(ends(&log), (6, 6));
}

#[test]
fn what_is_not_published_holds_nobody_back_and_lets_nobody_on() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    write(&mut log, ". 1");
    log.append(&batch_of("+1"), NOW);
    log.write().expect("the disk takes it");
    assert_eq!(ends(&log), (1, 2), "the marker is not durable yet");
    settle(&mut log);
    assert_eq!(ends(&log), (3, 3));
}

#[test]
fn a_reader_is_told_of_aborted_transactions_by_their_first_offsets() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    write(&mut log, "1 2 3 -3 +2 -1 . 4 +4 5 -5");
    assert_eq!(all_aborted(&log), [(1, 0), (3, 2), (5, 9)]);
    let view = log.view();
    assert_eq!(aborted(&view, 4, 9), [(1, 0)]);
    assert_eq!(aborted(&view, 6, 10), [(5, 9)]);
    let read = |isolation| {
        let plan = view.plan_read(Offset(0), ByteCount(900), isolation);
        plan.expect("offset 0 is there").read().expect("readable")
    };
    let told = read(Isolation::ReadCommitted).aborted;
    assert_eq!(told.len(), 1, "of what lies in the batches that were read");
    assert_eq!(read(Isolation::ReadUncommitted).aborted, []);
}

#[test]
fn open_and_aborted_transactions_survive_a_restart() {
    for (checkpoint_after, is_closed) in [(0, false), (5, false), (9, false), (9, true)] {
        let disk = MemoryDisk::shared();
        let (mut log, _) = open(&disk, &small_segments());
        for (number, word) in "1 2 3 -3 +2 4 -4 5 .".split(' ').enumerate() {
            if number == checkpoint_after {
                log.checkpoint(Vec::new()).expect("the disk takes it");
            }
            write(&mut log, word);
        }
        let before = (ends(&log), all_aborted(&log));
        if is_closed {
            log.close(Vec::new()).expect("the disk takes it");
        } else {
            drop(log);
        }
        let (mut log, recovery) = open(&disk, &small_segments());
        assert_eq!(recovery.rebuilt_indexes, 0);
        assert_eq!((ends(&log), all_aborted(&log)), before);
        write(&mut log, "-5 -1");
        assert_eq!(all_aborted(&log), [(1, 0), (3, 2), (4, 5), (5, 7)]);
    }
}

#[test]
fn a_transaction_may_lie_across_segments() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    write(&mut log, "1");
    for _ in 0..40 {
        write(&mut log, "2 +2 3 -3");
    }
    write(&mut log, "-1 .");
    assert!(disk.exists(&log_file(0)).unwrap() && log.view().verify().unwrap().is_empty());
    let told = all_aborted(&log);
    assert_eq!((told.len(), told[0]), (41, (1, 0)));
    // Its marker lies far behind what is read, and it is told all the same.
    assert_eq!(aborted(&log.view(), 0, 2), [(1, 0)]);
}

#[test]
fn an_index_that_is_missing_short_or_damaged_is_made_anew() {
    type Damage = fn(&SimDisk);
    let damage: [Damage; 4] = [
        |disk| disk.remove_file(&index_file(0)).unwrap(),
        |disk| disk.damage(&index_file(0), |bytes| bytes.truncate(35)),
        |disk| disk.damage(&index_file(0), |bytes| bytes[15] ^= 1),
        |disk| disk.damage(&index_file(0), |bytes| bytes.fill(0)),
    ];
    for damage in damage {
        let sim = SimDisk::new(1);
        sim.create_dir_all("data".as_ref()).unwrap();
        let disk = sim.shared();
        let (mut log, _) = open(&disk, &small_segments());
        write(&mut log, "9");
        for _ in 0..40 {
            write(&mut log, "2 -2 3");
        }
        let before = (ends(&log), all_aborted(&log));
        write(&mut log, "-9");
        let told = all_aborted(&log);
        log.close(Vec::new()).expect("the disk takes it");
        damage(&sim);
        let (log, recovery) = open(&disk, &small_segments());
        assert!(recovery.rebuilt_indexes > 0);
        assert_eq!(all_aborted(&log), told);
        assert_ne!(before.1, told);
        assert_eq!(log.view().verify().unwrap(), []);
        drop(log);
        let (log, recovery) = open(&disk, &small_segments());
        assert_eq!(all_aborted(&log), told);
        assert_eq!(recovery.rebuilt_indexes, 0, "it is as the checkpoint says");
    }
}

#[test]
fn an_index_goes_with_its_segment_and_the_rest_is_still_told() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &small_segments());
    write(&mut log, "9");
    for _ in 0..60 {
        write(&mut log, "2 -2 . .");
    }
    write(&mut log, "-9");
    let before = log.view();
    let told = all_aborted(&log);
    let readers = aborted(&before, 0, before.last_stable_offset.0);
    let middle = Offset(121);
    assert!(log.outruns_checkpoint(middle));
    log.checkpoint(Vec::new()).expect("the disk takes it");
    assert!(!log.outruns_checkpoint(middle));
    drop(log.delete_records(middle).expect("the disk takes it"));
    assert!(!disk.exists(&index_file(0)).unwrap());
    let left: Vec<(i64, i64)> = told
        .iter()
        .filter(|(producer, first)| *producer == 9 || *first >= 119)
        .copied()
        .collect();
    assert_eq!(all_aborted(&log), left);
    // Who holds a view from before reads what it shows.
    assert_eq!(aborted(&before, 0, before.last_stable_offset.0), readers);
    drop(log);
    let (log, _) = open(&disk, &small_segments());
    assert_eq!(all_aborted(&log), left);
}

#[test]
fn a_log_start_beyond_an_open_transaction_is_the_last_stable_offset() {
    let disk = MemoryDisk::shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    write(&mut log, "1 . . .");
    log.checkpoint(Vec::new()).expect("the disk takes it");
    log.delete_records(Offset(2)).expect("within the log");
    assert_eq!(ends(&log), (2, 4));
    drop(log);
    let (mut log, _) = open(&disk, &LogSettings::default());
    assert_eq!(ends(&log), (2, 4));
    write(&mut log, "-1");
    assert_eq!(ends(&log), (5, 5));
    assert_eq!(all_aborted(&log), [(1, 0)]);
}

#[test]
fn what_a_cut_takes_from_the_log_is_not_in_the_index() {
    let sim = SimDisk::new(1);
    sim.create_dir_all("data".as_ref()).unwrap();
    let disk: Arc<dyn Disk> = sim.shared();
    let (mut log, _) = open(&disk, &LogSettings::default());
    write(&mut log, "1 2 -1");
    let length = sim.content(&log_file(0)).unwrap().len();
    write(&mut log, "-2");
    drop(log);
    sim.damage(&log_file(0), |bytes| bytes.truncate(length + 30));
    let (mut log, _) = open(&disk, &LogSettings::default());
    assert_eq!((ends(&log), all_aborted(&log)), ((1, 3), vec![(1, 0)]));
    write(&mut log, "+2");
    assert_eq!(all_aborted(&log), [(1, 0)]);
}
