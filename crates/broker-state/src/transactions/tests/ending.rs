//! Claims about the end of a transaction, under both protocols.

use wire::ErrorCode;

use super::*;
use crate::producer_ids::LAST_EPOCH;

#[test]
fn an_end_is_decided_then_written_then_complete() {
    for is_commit in [true, false] {
        let mut world = World::new();
        let known = world.open("a");
        let next = world.end("a", known, is_commit);
        assert_eq!(next, Ok(producer(known.producer_id, 1)));
        assert!(world.state("a").is_ending());
        let expected = Markers {
            id: "a".into(),
            producer: producer(known.producer_id, 1),
            is_commit,
            transaction_version: VERSION_2,
            partitions: vec![("t".into(), 0)],
        };
        assert_eq!(world.markers, [expected]);
        world.write_markers();
        let complete = if is_commit {
            State::CompleteCommit
        } else {
            State::CompleteAbort
        };
        assert_eq!(world.state("a"), complete);
        assert!(world.known("a").partitions.is_empty());
    }
}

#[test]
fn under_the_older_protocol_the_epoch_stays() {
    let mut world = World::new();
    let known = world.open("a");
    assert_eq!(world.end_as("a", known, true, 0), Ok(known));
    assert_eq!(world.markers[0].producer, known);
    assert_eq!(world.markers[0].transaction_version, 0);
    world.write_markers();
    assert_eq!(world.add("a", known, &[("t", 0)]), Ok(()));
}

#[test]
fn a_decided_end_is_carried_out_after_a_restart() {
    let mut world = World::new();
    let known = world.open("a");
    let next = world.end("a", known, true).expect("ended");
    let asked = world.markers.clone();
    world.restart();
    assert_eq!(world.markers, asked);
    world.write_markers();
    assert_eq!(world.state("a"), State::CompleteCommit);
    world.restart();
    assert!(world.markers.is_empty());
    assert_eq!(world.add("a", next, &[("t", 0)]), Ok(()));
}

#[test]
fn a_retried_end_is_told_the_same() {
    for is_commit in [true, false] {
        let mut world = World::new();
        let known = world.open("a");
        let next = world.end("a", known, is_commit);
        let (request, waits) = world.ask(World::end_command("a", known, is_commit, VERSION_2));
        assert_eq!(waits, None);
        world.write_markers();
        assert_eq!(world.replies[&request], Reply::EndTransaction(next));
        world.restart();
        assert_eq!(world.end("a", known, is_commit), next);
    }
}

#[test]
fn a_retried_end_of_the_older_protocol_is_told_the_same() {
    let mut world = World::new();
    let known = world.open("a");
    world.end_as("a", known, true, 0).expect("ended");
    let (request, waits) = world.ask(World::end_command("a", known, true, 0));
    assert_eq!(waits, None);
    world.write_markers();
    assert_eq!(world.replies[&request], Reply::EndTransaction(Ok(known)));
    assert_eq!(world.end_as("a", known, true, 0), Ok(known));
    assert_eq!(
        world.end_as("a", known, false, 0),
        Err(ErrorCode::InvalidTxnState)
    );
}

/// KAFKA-17754: a commit that was delayed must not commit the transaction after its own.
#[test]
fn a_late_end_does_not_end_the_next_transaction() {
    let mut world = World::new();
    let first = world.open("a");
    let second = world.end("a", first, false).expect("ended");
    world.write_markers();
    world.add("a", second, &[("t", 0)]).expect("added");
    assert_eq!(world.end("a", first, true), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.end("a", first, false), Err(ErrorCode::ProducerFenced));
    assert_eq!(world.state("a"), State::Ongoing);
}

#[test]
fn the_opposite_of_what_was_decided_is_refused() {
    let invalid = Err(ErrorCode::InvalidTxnState);
    for is_commit in [true, false] {
        for version in [0, VERSION_2] {
            let mut world = World::new();
            let known = world.open("a");
            world.end_as("a", known, is_commit, version).expect("ended");
            assert_eq!(world.end_as("a", known, !is_commit, version), invalid);
            world.write_markers();
            assert_eq!(world.end_as("a", known, !is_commit, version), invalid);
        }
    }
}

#[test]
fn nothing_to_end_is_refused_or_an_abort_of_nothing() {
    let invalid = Err(ErrorCode::InvalidTxnState);
    let mut world = World::new();
    let known = world.init("a");
    assert_eq!(world.end_as("a", known, true, 0), invalid);
    assert_eq!(world.end_as("a", known, false, 0), invalid);
    assert_eq!(world.end("a", known, true), invalid);
    let next = world.end("a", known, false);
    assert_eq!(next, Ok(producer(known.producer_id, 1)));
    assert!(world.markers.is_empty());
    assert_eq!(world.state("a"), State::CompleteAbort);
    assert_eq!(world.end("a", known, false), next);
    let after = world.end("a", producer(known.producer_id, 1), false);
    assert_eq!(after, Ok(producer(known.producer_id, 2)));
}

#[test]
fn after_a_commit_the_producer_may_abort_nothing_but_not_commit_it() {
    let mut world = World::new();
    let known = world.open("a");
    let next = world.end("a", known, true).expect("ended");
    world.write_markers();
    assert_eq!(world.end("a", next, true), Err(ErrorCode::InvalidTxnState));
    assert_eq!(
        world.end("a", next, false),
        Ok(producer(known.producer_id, 2))
    );
}

#[test]
fn an_end_of_the_next_transaction_waits_for_this_one() {
    let mut world = World::new();
    let known = world.open("a");
    let next = world.end("a", known, true).expect("ended");
    let (request, waits) = world.ask(World::end_command("a", next, false, VERSION_2));
    assert_eq!(waits, None);
    world.write_markers();
    let aborted = Ok(producer(known.producer_id, 2));
    assert_eq!(world.replies[&request], Reply::EndTransaction(aborted));
}

#[test]
fn strangers_end_nothing() {
    let mut world = World::new();
    let known = world.open("a");
    for version in [0, VERSION_2] {
        let mapping = Err(ErrorCode::InvalidProducerIdMapping);
        assert_eq!(world.end_as("b", known, true, version), mapping);
        let other = producer(known.producer_id + 1, known.producer_epoch);
        assert_eq!(world.end_as("a", other, true, version), mapping);
        let other = producer(known.producer_id, known.producer_epoch + 1);
        assert_eq!(
            world.end_as("a", other, true, version),
            Err(ErrorCode::ProducerFenced)
        );
    }
    assert_eq!(world.state("a"), State::Ongoing);
}

#[test]
fn a_newer_client_s_end_survives_a_restart_at_version_0() {
    let mut world = World::with(TransactionSettings {
        version: 0,
        ..TransactionSettings::default()
    });
    world.open("a");
    let last = world.wear("a", LAST_EPOCH);
    let next = world.end("a", last, true).expect("ended");
    assert_ne!(next.producer_id, last.producer_id);
    world.restart();
    world.write_markers();
    assert_eq!(world.known("a").producer, next);
    world.restart();
    assert_eq!(world.end("a", last, true), Ok(next));
}

#[test]
fn when_the_epochs_are_used_up_the_end_gives_a_new_producer_id() {
    let mut world = World::new();
    world.open("a");
    let last = world.wear("a", LAST_EPOCH);
    let next = world.end("a", last, true).expect("ended");
    assert_eq!(next.producer_epoch, 0);
    assert_ne!(next.producer_id, last.producer_id);
    assert_eq!(
        world.markers[0].producer,
        producer(last.producer_id, i16::MAX)
    );
    world.restart();
    world.write_markers();
    assert_eq!(world.known("a").producer, next);
    assert_eq!(world.end("a", last, true), Ok(next));
    assert_eq!(world.end("a", last, false), Err(ErrorCode::InvalidTxnState));
    assert_eq!(world.add("a", next, &[("t", 0)]), Ok(()));
}

#[test]
fn without_producer_ids_an_end_waits_for_them() {
    let mut world = World::new();
    world.open("a");
    let last = world.wear("a", LAST_EPOCH);
    world.restart();
    let mut world = world.without_producer_ids();
    let (request, waits) = world.ask(World::end_command("a", last, true, VERSION_2));
    assert_eq!((waits, world.state("a")), (None, State::Ongoing));
    world.lend();
    assert!(matches!(
        world.replies[&request],
        Reply::EndTransaction(Ok(_))
    ));
}

#[test]
fn markers_of_an_earlier_end_complete_nothing() {
    let mut world = World::new();
    let known = world.open("a");
    let next = world.end("a", known, true).expect("ended");
    let early = world.markers.clone();
    world.write_markers();
    world.add("a", next, &[("t", 0)]).expect("added");
    world.end("a", next, true).expect("ended");
    world.markers = early;
    world.write_markers();
    assert_eq!(world.state("a"), State::PrepareCommit);
}

#[test]
fn ends_are_counted() {
    let mut world = World::new();
    let known = world.open("a");
    let next = world.end("a", known, true).expect("ended");
    world.write_markers();
    world.end("a", next, false).expect("ended");
    assert_eq!(
        world.machine.tally(),
        Tally {
            committed: 1,
            aborted: 1,
            timed_out: 0
        }
    );
}
