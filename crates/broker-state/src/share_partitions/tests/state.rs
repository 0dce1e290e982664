//! The life of the state itself: made, reset, deleted, written again.

use super::*;

fn initialize(rig: &mut Rig, start: Option<i64>, is_reset: bool) {
    let reply = rig.ask(Command::Initialize(Initialize {
        group: Rig::group(),
        state_epoch: 3,
        partitions: vec![(TOPIC, 0, start)],
        is_reset,
    }));
    assert_eq!(reply, Reply::Done(ErrorCode::None));
}

#[test]
fn state_that_is_there_is_not_initialized_again() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch("a", 10), [(0, 9, 1)]);
    assert_eq!(rig.accept("a", 0, 9), Ok(()));
    initialize(&mut rig, None, false);
    assert_eq!(rig.start_offset(), 10);
}

#[test]
fn a_reset_moves_the_start_and_forgets_the_rest() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch("a", 20), [(0, 19, 1)]);
    assert_eq!(rig.accept("a", 0, 14), Ok(()));
    initialize(&mut rig, Some(4), true);
    assert_eq!(rig.start_offset(), 4);
    assert_eq!(
        rig.accept("a", 15, 19),
        Err(ErrorCode::InvalidRequest),
        "its lock is gone"
    );
    assert_eq!(rig.fetch("b", 100), [(4, 19, 1)]);
    rig.restart();
    assert_eq!(rig.start_offset(), 4);
}

#[test]
fn deleted_state_is_gone_after_a_restart_too() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch("a", 20), [(0, 19, 1)]);
    let other = Uuid([2; 16]);
    let group = Rig::group();
    let delete = |topics| Command::Delete {
        group: group.clone(),
        topics,
    };
    rig.ask(delete(Some(vec![other])));
    assert_eq!(rig.start_offset(), 0);
    rig.ask(delete(None));
    assert!(rig.machine.is_empty());
    rig.pass(100_000);
    rig.restart();
    assert!(rig.machine.is_empty());
    assert_eq!(rig.plan().1, Planned::NoStart);
}

#[test]
fn a_deleted_topic_takes_its_state_with_it() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch("a", 20), [(0, 19, 1)]);
    rig.ask(Command::TopicsDeleted(vec![TOPIC]));
    assert!(rig.machine.is_empty());
    assert_eq!(rig.machine.groups().count(), 0);
}

#[test]
fn every_so_often_a_snapshot_takes_the_place_of_an_update() {
    let mut rig = Rig::new(2000, 1);
    rig.fetch("a", 1000);
    for offset in (1..1000).rev() {
        assert_eq!(rig.accept("a", offset, offset), Ok(()));
    }
    let is_snapshot = |record: &&Record| matches!(record, Record::Snapshot { .. });
    let snapshots: Vec<_> = rig.log.iter().filter(is_snapshot).collect();
    assert_eq!(snapshots.len(), 3, "one at the beginning, one every 500");
    let epochs: Vec<i32> = snapshots
        .iter()
        .map(|record| match record {
            Record::Snapshot { snapshot, .. } => snapshot.snapshot_epoch,
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(epochs, [0, 1, 2]);
    assert_eq!(rig.start_offset(), 0);
    rig.check_replay();
    assert_eq!(rig.accept("a", 0, 0), Ok(()));
    assert_eq!(rig.start_offset(), 1000);
}

#[test]
fn an_acknowledgement_of_everything_is_one_small_record() {
    let mut rig = Rig::new(500, 50);
    rig.fetch("a", 500);
    let before = rig.log.len();
    assert_eq!(rig.accept("a", 0, 499), Ok(()));
    assert_eq!(rig.log.len(), before + 1);
    let Some(Record::Update { update, .. }) = rig.log.last() else {
        panic!("an update");
    };
    assert_eq!(update.start_offset, Some(500));
    assert!(update.batches.is_empty());
}
