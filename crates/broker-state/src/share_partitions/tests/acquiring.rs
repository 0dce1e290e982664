//! Where a fetch reads and what its member acquires.

use super::*;

#[test]
fn two_members_share_a_partition_and_no_record() {
    let mut rig = Rig::new(20, 5);
    assert_eq!(rig.fetch("a", 5), [(0, 4, 1)]);
    assert_eq!(rig.fetch("b", 5), [(5, 9, 1)]);
    assert_eq!(rig.fetch("a", 100), [(10, 19, 1)]);
    assert_eq!(rig.plan().1, Planned::Nothing);
}

#[test]
fn a_whole_batch_is_acquired_even_if_it_is_larger_than_asked() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch("a", 3), [(0, 9, 1)]);
}

#[test]
fn a_strict_client_gets_no_more_than_it_asked_for() {
    let mut rig = Rig::new(20, 10);
    assert_eq!(rig.fetch_strict("a", 3), [(0, 2, 1)]);
    assert_eq!(rig.fetch_strict("b", 10), [(3, 12, 1)]);
}

#[test]
fn ranges_end_with_a_batch_once_they_have_the_size_that_was_asked_for() {
    let mut rig = Rig::new(20, 4);
    let (plan, planned) = rig.plan();
    assert_eq!(planned, Planned::Read(0));
    let acquire = Acquire {
        group: Rig::group(),
        member: MemberId::from("a"),
        plan,
        settings: rig.settings.clone(),
        max_records: 20,
        batch_size: 6,
        is_strict: false,
        partitions: vec![AcquirePartition {
            topic_id: TOPIC,
            partition: 0,
            from: 0,
            upto: 20,
            batches: rig.batches(0, 20),
        }],
    };
    let Reply::Acquire(acquired) = rig.ask(Command::Acquire(acquire)) else {
        panic!("an acquire is answered as one");
    };
    assert_eq!(shown(&acquired[0]), [(0, 7, 1), (8, 15, 1), (16, 19, 1)]);
}

#[test]
fn only_one_fetch_reads_a_partition_at_a_time() {
    let mut rig = Rig::new(10, 5);
    let (first, planned) = rig.plan();
    assert_eq!(planned, Planned::Read(0));
    assert_eq!(rig.plan().1, Planned::Busy);
    assert!(rig.machine.take_woken().contains(&Rig::group()), "started");
    let abandon = |plan| Command::Abandon {
        group: Rig::group(),
        plan,
        partitions: vec![(TOPIC, 0)],
    };
    rig.ask(abandon(RequestId(999)));
    assert_eq!(rig.plan().1, Planned::Busy, "a stranger ended the plan");
    rig.ask(abandon(first));
    assert!(
        rig.machine.take_woken().contains(&Rig::group()),
        "the one who had to wait is not woken"
    );
    assert_eq!(rig.plan().1, Planned::Read(0));
}

#[test]
fn an_acquire_without_its_plan_acquires_nothing() {
    let mut rig = Rig::new(10, 5);
    let read = AcquirePartition {
        topic_id: TOPIC,
        partition: 0,
        from: 0,
        upto: 10,
        batches: vec![(0, 4), (5, 9)],
    };
    assert!(
        rig.acquire_read("a", RequestId(77), read, 10, false)
            .is_empty()
    );
    assert_eq!(rig.fetch("b", 10), [(0, 9, 1)]);
}

#[test]
fn no_more_records_are_under_way_than_the_group_may_have() {
    let mut rig = Rig::new(1000, 10);
    rig.settings.max_record_locks = 25;
    assert_eq!(rig.fetch("a", 500), [(0, 29, 1)]);
    assert_eq!(rig.plan().1, Planned::Full);
    // A record in the middle does not move the window, the first ones do.
    assert_eq!(rig.accept("a", 10, 19), Ok(()));
    assert_eq!(rig.plan().1, Planned::Full);
    assert_eq!(rig.accept("a", 0, 9), Ok(()));
    assert_eq!(rig.start_offset(), 20);
    assert_eq!(rig.fetch("b", 500), [(30, 49, 1)]);
}

#[test]
fn a_full_window_still_redelivers() {
    let mut rig = Rig::new(1000, 10);
    rig.settings.max_record_locks = 20;
    assert_eq!(rig.fetch("a", 500), [(0, 19, 1)]);
    let release = AcknowledgeType::Release;
    assert_eq!(rig.acknowledge("a", 10, 14, release), Ok(()));
    assert_eq!(rig.fetch("b", 500), [(10, 14, 2)]);
    assert_eq!(rig.plan().1, Planned::Full);
}

#[test]
fn a_strict_fetch_stays_in_the_window_to_the_record() {
    let mut rig = Rig::new(1000, 10);
    rig.settings.max_record_locks = 25;
    assert_eq!(rig.fetch_strict("a", 500), [(0, 24, 1)]);
    assert_eq!(rig.plan().1, Planned::Full);
}

#[test]
fn what_the_log_no_longer_has_is_passed_over_for_good() {
    let mut rig = Rig::new(40, 10);
    let (plan, _) = rig.plan();
    // Compaction has left 5–9 and 20–24, a control batch is at 25.
    let read = AcquirePartition {
        topic_id: TOPIC,
        partition: 0,
        from: 0,
        upto: 26,
        batches: vec![(5, 9), (20, 24)],
    };
    let acquired = rig.acquire_read("a", plan, read, 100, false);
    assert_eq!(shown(&acquired), [(5, 9, 1), (20, 24, 1)]);
    assert_eq!(rig.start_offset(), 5);
    assert_eq!(rig.plan().1, Planned::Read(26));
    assert_eq!(rig.accept("a", 5, 9), Ok(()));
    assert_eq!(rig.start_offset(), 20);
    assert_eq!(rig.accept("a", 20, 24), Ok(()));
    assert_eq!(rig.start_offset(), 26);
    rig.restart();
    assert_eq!(rig.start_offset(), 26);
}

#[test]
fn records_that_retention_took_are_not_waited_for() {
    let mut rig = Rig::new(40, 10);
    assert_eq!(rig.fetch("a", 10), [(0, 9, 1)]);
    rig.log_start = 25;
    assert_eq!(rig.fetch("b", 100), [(25, 39, 1)]);
    assert_eq!(rig.start_offset(), 25);
    // The member that had them is told that all is well: there is nothing left to do.
    assert_eq!(rig.accept("a", 0, 9), Ok(()));
    rig.restart();
    assert_eq!(rig.start_offset(), 25);
}

#[test]
fn records_that_often_failed_come_few_at_a_time_and_at_last_alone() {
    let mut rig = Rig::new(16, 16);
    let release = AcknowledgeType::Release;
    for count in 1..=3 {
        assert_eq!(rig.fetch("a", 100), [(0, 15, count)]);
        assert_eq!(rig.acknowledge("a", 0, 15, release), Ok(()));
    }
    // Delivered three times of five: half of the batch, the rest to the next one.
    assert_eq!(rig.fetch("a", 100), [(0, 7, 4)]);
    assert_eq!(rig.fetch("b", 100), [(8, 15, 4)]);
    assert_eq!(rig.acknowledge("a", 0, 7, release), Ok(()));
    for offset in 0..8 {
        assert_eq!(rig.fetch("a", 100), [(offset, offset, 5)]);
    }
    // Whoever fails now has failed for the last time; its neighbours are not touched.
    assert_eq!(rig.acknowledge("a", 3, 3, release), Ok(()));
    assert_eq!(rig.accept("a", 0, 2), Ok(()));
    assert_eq!(rig.start_offset(), 4);
    assert_eq!(rig.machine.counts().exhausted, 1);
}

#[test]
fn a_partition_begins_where_the_first_start_says() {
    let mut rig = Rig::without_start(30, 10);
    assert_eq!(rig.plan().1, Planned::NoStart);
    assert_eq!(rig.start(20), ErrorCode::None);
    assert_eq!(rig.start(5), ErrorCode::None);
    assert_eq!(rig.fetch("a", 100), [(20, 29, 1)]);
    rig.restart();
    // "latest" was settled once: records that came since are not skipped.
    assert_eq!(rig.fetch("a", 100), [(20, 29, 1)]);
}

#[test]
fn there_are_no_more_share_partitions_than_the_limit_says() {
    let mut rig = Rig::new(10, 10);
    let group = Rig::group();
    let partitions = (1..=9).map(|partition| (TOPIC, partition, None));
    let initialize = Command::Initialize(Initialize {
        group: group.clone(),
        state_epoch: 1,
        partitions: partitions.collect(),
        is_reset: false,
    });
    assert_eq!(rig.ask(initialize), Reply::Done(ErrorCode::None));
    assert_eq!(rig.machine.len(), 10);
    let key = key(&group, TOPIC, 10);
    let refused = Reply::Done(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(rig.ask(Command::Start { key, offset: 0 }), refused);
}
