//! Claims about the partitions of a transaction.

use wire::ErrorCode;

use super::*;
use crate::producer_ids::LAST_EPOCH;

#[test]
fn the_first_partition_opens_the_transaction_and_others_join_it() {
    let mut world = World::new();
    let known = world.init("a");
    assert_eq!(world.add("a", known, &[("t", 0)]), Ok(()));
    let started_at = world.known("a").started_at;
    world.pass(SECOND);
    assert_eq!(world.add("a", known, &[("t", 1), ("u", 0)]), Ok(()));
    let open = world.known("a");
    assert_eq!(open.partitions, partitions(&[("t", 0), ("t", 1), ("u", 0)]));
    assert_eq!((open.state, open.started_at), (State::Ongoing, started_at));
}

#[test]
fn what_is_there_already_costs_no_record() {
    let mut world = World::new();
    let known = world.open("a");
    let before = world.log.len();
    assert_eq!(world.add("a", known, &[("t", 0)]), Ok(()));
    assert_eq!(world.log.len(), before);
}

#[test]
fn an_unknown_id_or_producer_is_refused() {
    let mut world = World::new();
    let known = world.init("a");
    let mapping = Err(ErrorCode::InvalidProducerIdMapping);
    assert_eq!(world.add("b", known, &[("t", 0)]), mapping);
    let other = producer(known.producer_id + 1, 0);
    assert_eq!(world.add("a", other, &[("t", 0)]), mapping);
    for epoch in [-1, 1] {
        let other = producer(known.producer_id, epoch);
        assert_eq!(
            world.add("a", other, &[("t", 0)]),
            Err(ErrorCode::ProducerFenced)
        );
    }
}

#[test]
fn the_next_transaction_waits_for_the_end_of_the_one_before() {
    let mut world = World::new();
    let first = world.open("a");
    let next = world.end("a", first, true).expect("ended");
    let (request, answer) = world.ask(World::add_command("a", next, &[("u", 0)]));
    assert_eq!(answer, None);
    world.write_markers();
    assert_eq!(world.replies[&request], Reply::AddPartitions(Ok(())));
    assert_eq!(world.known("a").partitions, partitions(&[("u", 0)]));
}

#[test]
fn waiting_for_the_end_is_bounded() {
    let mut world = World::new();
    let first = world.open("a");
    let next = world.end("a", first, true).expect("ended");
    let (request, _) = world.ask(World::add_command("a", next, &[("u", 0)]));
    world.pass(SECOND);
    let busy = Reply::AddPartitions(Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(world.replies[&request], busy);
    world.write_markers();
    assert!(world.known("a").partitions.is_empty());
}

#[test]
fn a_late_request_of_the_transaction_before_is_fenced() {
    let mut world = World::new();
    let first = world.open("a");
    let next = world.end("a", first, true).expect("ended");
    world.write_markers();
    assert_eq!(
        world.add("a", first, &[("late", 0)]),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(world.add("a", next, &[("t", 0)]), Ok(()));
}

#[test]
fn a_producer_with_a_new_id_waits_for_the_end_of_its_old_one() {
    let mut world = World::new();
    world.open("a");
    let last = world.wear("a", LAST_EPOCH);
    let next = world.end("a", last, true).expect("ended");
    assert_ne!(next.producer_id, last.producer_id);
    let (request, answer) = world.ask(World::add_command("a", next, &[("t", 0)]));
    assert_eq!(answer, None);
    world.write_markers();
    assert_eq!(world.replies[&request], Reply::AddPartitions(Ok(())));
}

#[test]
fn partitions_are_verified_one_by_one() {
    let mut world = World::new();
    let known = world.open("a");
    let verified = world.verify("a", known, &[("t", 0), ("t", 1), ("u", 0)]);
    let (in_it, not_in_it) = (ErrorCode::None, ErrorCode::TransactionAbortable);
    assert_eq!(verified, Ok(vec![in_it, not_in_it, not_in_it]));
}

#[test]
fn nothing_is_verified_for_others_or_while_the_end_is_under_way() {
    let mut world = World::new();
    let known = world.open("a");
    let mapping = ErrorCode::InvalidProducerIdMapping;
    assert_eq!(world.verify("b", known, &[("t", 0)]), Err(mapping));
    let newer = producer(known.producer_id, 5);
    assert_eq!(
        world.verify("a", newer, &[("t", 0)]),
        Err(ErrorCode::ProducerFenced)
    );
    let next = world.end("a", known, true).expect("ended");
    let concurrent = ErrorCode::ConcurrentTransactions;
    assert_eq!(world.verify("a", next, &[("t", 0)]), Err(concurrent));
    world.write_markers();
    let aborted = Ok(vec![ErrorCode::TransactionAbortable]);
    assert_eq!(world.verify("a", next, &[("t", 0)]), aborted);
}

#[test]
fn more_partitions_than_there_may_be_are_refused() {
    let mut world = World::with(TransactionSettings {
        max_partitions: 1,
        ..TransactionSettings::default()
    });
    let known = world.open("a");
    assert_eq!(
        world.add("a", known, &[("t", 1)]),
        Err(ErrorCode::PolicyViolation)
    );
    assert_eq!(world.known("a").partition_count(), 1);
}
