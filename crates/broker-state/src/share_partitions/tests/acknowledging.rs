//! How deliveries end: accepted, released, rejected, renewed, out of time, or with the process.

use super::*;
use AcknowledgeType::{Accept, Gap, Reject, Release, Renew};

#[test]
fn an_accepted_record_never_comes_again() {
    let mut rig = Rig::new(10, 10);
    assert_eq!(rig.fetch("a", 100), [(0, 9, 1)]);
    assert_eq!(rig.accept("a", 0, 9), Ok(()));
    assert_eq!(rig.start_offset(), 10);
    rig.pass(60_000);
    assert_eq!(rig.plan().1, Planned::Nothing);
    rig.restart();
    assert_eq!(rig.plan().1, Planned::Nothing);
}

#[test]
fn what_a_killed_process_had_handed_out_comes_again() {
    let mut rig = Rig::new(10, 10);
    assert_eq!(rig.fetch("a", 100), [(0, 9, 1)]);
    assert_eq!(rig.accept("a", 3, 5), Ok(()));
    rig.restart();
    assert_eq!(rig.start_offset(), 0);
    assert_eq!(rig.fetch("b", 100), [(0, 2, 1), (6, 9, 1)]);
}

#[test]
fn a_released_record_comes_again_and_its_deliveries_are_counted_for_good() {
    let mut rig = Rig::new(10, 10);
    assert_eq!(rig.fetch("a", 100), [(0, 9, 1)]);
    assert_eq!(rig.acknowledge("a", 4, 4, Release), Ok(()));
    assert_eq!(rig.fetch("b", 100), [(4, 4, 2)]);
    rig.restart();
    let again = [(0, 3, 1), (4, 4, 2), (5, 9, 1)];
    assert_eq!(rig.fetch("c", 100), again);
}

#[test]
fn a_rejected_record_never_comes_again() {
    let mut rig = Rig::new(3, 3);
    assert_eq!(rig.fetch("a", 100), [(0, 2, 1)]);
    assert_eq!(rig.acknowledge("a", 1, 1, Reject), Ok(()));
    assert_eq!(rig.acknowledge("a", 0, 0, Release), Ok(()));
    assert_eq!(rig.fetch("a", 100), [(0, 0, 2)]);
    rig.restart();
    assert_eq!(rig.fetch("a", 100), [(0, 0, 2), (2, 2, 1)]);
}

#[test]
fn each_offset_of_a_batch_can_have_its_own_answer() {
    let mut rig = Rig::new(6, 6);
    assert_eq!(rig.fetch("a", 100), [(0, 5, 1)]);
    let types = vec![Accept, Accept, Release, Reject, Gap, Accept];
    let batch = AcknowledgeBatch {
        first: 0,
        last: 5,
        types,
    };
    assert_eq!(rig.acknowledge_all("a", vec![batch]), Ok(()));
    assert_eq!(rig.start_offset(), 2);
    assert_eq!(rig.described().delivery_complete, 3);
    assert_eq!(rig.fetch("b", 100), [(2, 2, 2)]);
    assert_eq!(rig.accept("b", 2, 2), Ok(()));
    assert_eq!(rig.start_offset(), 6);
}

#[test]
fn a_record_is_delivered_no_more_often_than_the_limit() {
    let mut rig = Rig::new(1, 1);
    for count in 1..=5 {
        assert_eq!(rig.fetch("a", 1), [(0, 0, count)]);
        assert_eq!(rig.acknowledge("a", 0, 0, Release), Ok(()));
    }
    assert_eq!(rig.plan().1, Planned::Nothing);
    assert_eq!(rig.start_offset(), 1);
    assert_eq!(rig.machine.counts().exhausted, 1);
    rig.restart();
    assert_eq!(rig.plan().1, Planned::Nothing);
}

#[test]
fn a_lock_ends_with_its_time_and_wakes_the_others() {
    let mut rig = Rig::new(10, 5);
    assert_eq!(rig.fetch("a", 5), [(0, 4, 1)]);
    rig.pass(10_000);
    assert_eq!(rig.fetch("a", 5), [(5, 9, 1)]);
    rig.machine.take_woken();
    rig.pass(19_999);
    assert_eq!(rig.plan().1, Planned::Nothing);
    assert!(rig.machine.take_woken().is_empty());
    rig.pass(1);
    assert!(rig.machine.take_woken().contains(&Rig::group()));
    assert_eq!(rig.fetch("b", 5), [(0, 4, 2)]);
    assert_eq!(
        rig.accept("a", 0, 4),
        Err(ErrorCode::InvalidRecordState),
        "it is too late"
    );
    assert_eq!(rig.accept("a", 5, 9), Ok(()));
    assert_eq!(rig.machine.counts().timed_out, 5);
    assert_eq!(rig.accept("b", 0, 4), Ok(()));
    assert_eq!(
        rig.machine.next_deadline().map(|_| rig.pass(90_000)),
        Some(())
    );
    assert_eq!(rig.machine.next_deadline(), None, "no lock, no deadline");
}

#[test]
fn a_renewed_lock_ends_later() {
    let mut rig = Rig::new(10, 10);
    assert_eq!(rig.fetch("a", 10), [(0, 9, 1)]);
    rig.pass(20_000);
    assert_eq!(rig.acknowledge("a", 0, 4, Renew), Ok(()));
    rig.pass(10_000);
    assert_eq!(rig.fetch("b", 10), [(5, 9, 2)]);
    rig.pass(19_999);
    assert_eq!(rig.plan().1, Planned::Nothing);
    rig.pass(1);
    assert_eq!(rig.fetch("b", 10), [(0, 4, 2)]);
    rig.settings.is_renew_enabled = false;
    let refused = Err(ErrorCode::InvalidRecordState);
    assert_eq!(rig.acknowledge("b", 0, 4, Renew), refused);
    assert_eq!(rig.machine.counts().renewed, 5);
}

#[test]
fn a_member_that_goes_gives_back_what_it_has_and_nothing_else() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch("a", 10), [(0, 9, 1)]);
    assert_eq!(rig.fetch("b", 10), [(10, 19, 1)]);
    assert_eq!(rig.accept("a", 0, 2), Ok(()));
    rig.machine.take_woken();
    rig.release_member("a");
    assert!(rig.machine.take_woken().contains(&Rig::group()));
    assert_eq!(rig.fetch("b", 100), [(3, 9, 2)]);
    rig.release_member("a");
    assert!(rig.machine.take_woken().is_empty());
}

#[test]
fn only_the_owner_may_answer_for_a_record() {
    let mut rig = Rig::new(10, 5);
    assert_eq!(rig.fetch("a", 5), [(0, 4, 1)]);
    assert_eq!(rig.fetch("b", 5), [(5, 9, 1)]);
    let invalid = Err(ErrorCode::InvalidRecordState);
    assert_eq!(rig.accept("b", 0, 4), invalid);
    assert_eq!(rig.accept("b", 4, 9), invalid, "one of them is another's");
    assert_eq!(rig.accept("b", 5, 9), Ok(()), "the refused one did nothing");
    assert_eq!(rig.accept("b", 5, 9), invalid, "it was accepted before");
}

#[test]
fn acknowledgements_that_make_no_sense_are_refused_and_change_nothing() {
    let mut rig = Rig::new(10, 10);
    assert_eq!(rig.fetch("a", 10), [(0, 9, 1)]);
    let batch = |first, last, types: &[AcknowledgeType]| AcknowledgeBatch {
        first,
        last,
        types: types.to_vec(),
    };
    let nonsense = [
        vec![batch(5, 4, &[Accept])],
        vec![batch(-1, 4, &[Accept])],
        vec![batch(0, 2, &[])],
        vec![batch(0, 2, &[Accept, Accept])],
        vec![batch(4, 5, &[Accept]), batch(0, 1, &[Accept])],
        vec![batch(0, 4, &[Accept]), batch(4, 5, &[Accept])],
        vec![batch(0, 4, &[Accept]), batch(5, 10, &[Accept])],
        vec![batch(0, i64::MAX, &[Accept])],
        vec![batch(i64::MIN, i64::MAX, &[Accept, Accept])],
    ];
    let written = rig.log.len();
    for batches in nonsense {
        let refused = rig.acknowledge_all("a", batches.clone());
        assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{batches:?}");
    }
    assert_eq!(rig.log.len(), written);
    assert_eq!(rig.described().acquired, 10);
}

#[test]
fn an_unknown_partition_is_said_to_be_unknown() {
    let mut rig = Rig::without_start(10, 10);
    let refused = Err(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(rig.accept("a", 0, 1), refused);
}
