//! Claims about InitProducerId with a transactional id.

use std::time::Duration;

use wire::ErrorCode;

use super::*;
use crate::producer_ids::LAST_EPOCH;

#[test]
fn a_new_id_begins_with_epoch_0_and_each_instance_raises_it() {
    let mut world = World::new();
    let first = world.init("a");
    assert_eq!(first.producer_epoch, 0);
    let second = world.init("a");
    assert_eq!(second, producer(first.producer_id, 1));
    assert_ne!(world.init("b").producer_id, first.producer_id);
}

#[test]
fn the_instance_before_is_fenced() {
    let mut world = World::new();
    let old = world.init("a");
    let new = world.init("a");
    let fenced = Err(ErrorCode::ProducerFenced);
    assert_eq!(world.add("a", old, &[("t", 0)]), fenced);
    assert_eq!(
        world.end_as("a", old, true, 0),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        world.end("a", producer(old.producer_id, 7), false),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        world.init_with("a", Some(producer(old.producer_id, 7))),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(world.add("a", new, &[("t", 0)]), Ok(()));
}

#[test]
fn a_producer_that_goes_on_after_an_error_gets_its_next_epoch() {
    let mut world = World::new();
    let first = world.init("a");
    let second = world.init_with("a", Some(first));
    assert_eq!(second, Ok(producer(first.producer_id, 1)));
}

#[test]
fn one_that_has_not_heard_the_answer_is_told_again_even_after_a_restart() {
    let mut world = World::new();
    let first = world.init("a");
    let second = world.init_with("a", Some(first));
    world.restart();
    assert_eq!(world.init_with("a", Some(first)), second);
    assert_eq!(
        world.init_with("a", second.ok()),
        Ok(producer(first.producer_id, 2))
    );
}

#[test]
fn one_that_was_replaced_is_not_told_again() {
    let mut world = World::new();
    let first = world.init("a");
    world.init("a");
    let again = world.init_with("a", Some(first));
    assert_eq!(again, Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_producer_that_nobody_knows_any_more_gets_a_new_id() {
    let mut world = World::new();
    let unknown = world.init_with("a", Some(producer(7, 3)));
    assert_eq!(unknown, Ok(producer(1_000, 0)));
}

#[test]
fn another_producer_id_is_fenced() {
    let mut world = World::new();
    let known = world.init("a");
    let other = producer(known.producer_id + 1, known.producer_epoch);
    assert_eq!(
        world.init_with("a", Some(other)),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn when_the_epochs_are_used_up_there_is_a_new_producer_id() {
    let mut world = World::new();
    world.init("a");
    let last = world.wear("a", LAST_EPOCH);
    let next = world.init_with("a", Some(last)).expect("a new id");
    assert_eq!(next.producer_epoch, 0);
    assert_ne!(next.producer_id, last.producer_id);
    // The answer was lost, and the producer asks again as it knows itself.
    assert_eq!(world.init_with("a", Some(last)), Ok(next));
    assert_eq!(world.init("a"), producer(next.producer_id, 1));
    assert_eq!(
        world.init_with("a", Some(last)),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn what_is_open_is_aborted_first_and_the_new_instance_waits_for_it() {
    let mut world = World::new();
    let old = world.open("a");
    let (request, answer) = world.ask(World::init_command("a", None));
    assert_eq!((answer, world.state("a")), (None, State::PrepareAbort));
    assert_eq!(world.markers[0].producer, producer(old.producer_id, 1));
    assert!(!world.markers[0].is_commit);
    world.write_markers();
    let initialized = Ok(producer(old.producer_id, 2));
    assert_eq!(world.replies[&request], Reply::InitProducerId(initialized));
    assert_eq!(world.state("a"), State::Empty);
    assert_eq!(world.end("a", old, true), Err(ErrorCode::ProducerFenced));
}

#[test]
fn one_that_waits_too_long_is_told_that_transactions_are_concurrent() {
    let mut world = World::new();
    world.open("a");
    let (request, _) = world.ask(World::init_command("a", None));
    world.pass(SECOND);
    let busy = Reply::InitProducerId(Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(world.replies[&request], busy);
    world.write_markers();
    assert_eq!(world.init("a").producer_epoch, 2);
}

#[test]
fn an_old_instance_does_not_abort_what_the_new_one_has_open() {
    let mut world = World::new();
    let old = world.init("a");
    world.open("a");
    assert_eq!(
        world.init_with("a", Some(old)),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(world.state("a"), State::Ongoing);
}

#[test]
fn fencing_with_the_last_epoch_moves_on_to_a_new_producer_id() {
    for epoch in [LAST_EPOCH - 1, LAST_EPOCH] {
        let mut world = World::new();
        world.open("a");
        let last = world.wear("a", epoch);
        let (request, _) = world.ask(World::init_command("a", None));
        assert_eq!(
            world.markers[0].producer,
            producer(last.producer_id, epoch + 1)
        );
        world.write_markers();
        let Reply::InitProducerId(Ok(next)) = &world.replies[&request] else {
            panic!("{:?}", world.replies[&request]);
        };
        assert_ne!(next.producer_id, last.producer_id);
    }
}

#[test]
fn a_time_out_of_nothing_or_of_too_much_is_refused() {
    let mut world = World::new();
    for timeout in [Duration::ZERO, Duration::from_secs(15 * 60 + 1)] {
        let init = InitProducerId {
            id: "a".into(),
            timeout,
            current: None,
        };
        let refused = Reply::InitProducerId(Err(ErrorCode::InvalidTransactionTimeout));
        assert_eq!(world.ask(Command::InitProducerId(init)).1, Some(refused));
    }
    assert!(world.log.is_empty());
}

#[test]
fn an_id_that_is_empty_or_too_long_is_refused_everywhere() {
    let mut world = World::new();
    let long = "a".repeat(MAX_ID_BYTES + 1);
    for id in ["", long.as_str()] {
        let error = ErrorCode::InvalidRequest;
        assert_eq!(world.init_with(id, None), Err(error));
        assert_eq!(world.add(id, producer(1, 0), &[("t", 0)]), Err(error));
        assert_eq!(world.verify(id, producer(1, 0), &[("t", 0)]), Err(error));
        assert_eq!(world.end(id, producer(1, 0), true), Err(error));
    }
    let longest = "a".repeat(MAX_ID_BYTES);
    assert!(world.init_with(&longest, None).is_ok());
}

#[test]
fn more_ids_than_there_may_be_are_refused() {
    let mut world = World::with(TransactionSettings {
        max_ids: 1,
        ..TransactionSettings::default()
    });
    world.init("a");
    assert_eq!(world.init_with("b", None), Err(ErrorCode::PolicyViolation));
    world.init("a");
}

#[test]
fn without_producer_ids_a_request_waits_for_them() {
    let mut world = World::new().without_producer_ids();
    let (request, answer) = world.ask(World::init_command("a", None));
    assert_eq!((answer, world.machine.wants_producer_ids()), (None, true));
    world.lend();
    let initialized = Reply::InitProducerId(Ok(producer(1_000, 0)));
    assert_eq!(world.replies[&request], initialized);
    assert!(!world.machine.wants_producer_ids());
}

#[test]
fn an_instance_keeps_the_time_out_that_it_asked_for() {
    let mut world = World::new();
    world.init("a");
    let init = InitProducerId {
        id: "a".into(),
        timeout: SECOND,
        current: None,
    };
    world.ask(Command::InitProducerId(init));
    assert_eq!(world.known("a").timeout, SECOND);
}
