//! Claims about what time does to transactions.

use wire::ErrorCode;

use super::*;

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let mut world = World::new();
    let known = world.open("a");
    world.pass(TIMEOUT - SECOND);
    assert_eq!(world.state("a"), State::Ongoing);
    world.pass(SECOND);
    assert_eq!(world.state("a"), State::PrepareAbort);
    assert_eq!(world.markers[0].producer, producer(known.producer_id, 1));
    world.write_markers();
    assert_eq!(world.state("a"), State::CompleteAbort);
    assert_eq!(
        world.add("a", known, &[("t", 0)]),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        world.end_as("a", known, true, 0),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(world.machine.tally().timed_out, 1);
}

#[test]
fn adding_partitions_does_not_give_more_time() {
    let mut world = World::new();
    let known = world.open("a");
    world.pass(TIMEOUT - SECOND);
    world.add("a", known, &[("t", 1)]).expect("added");
    world.pass(SECOND);
    assert_eq!(world.state("a"), State::PrepareAbort);
}

#[test]
fn time_goes_on_over_a_restart() {
    let mut world = World::new();
    world.open("a");
    world.pass(TIMEOUT - SECOND);
    world.restart();
    world.pass(SECOND);
    assert_eq!(world.state("a"), State::PrepareAbort);
}

#[test]
fn after_one_was_aborted_the_next_look_comes_an_interval_later() {
    let mut world = World::new();
    world.open("a");
    world.pass(SECOND);
    world.open("b");
    world.pass(TIMEOUT - SECOND);
    assert_eq!(
        (world.state("a"), world.state("b")),
        (State::PrepareAbort, State::Ongoing)
    );
    world.pass(SECOND * 9);
    assert_eq!(world.state("b"), State::Ongoing);
    world.pass(SECOND);
    assert_eq!(world.state("b"), State::PrepareAbort);
}

#[test]
fn under_an_older_feature_level_fencing_raises_the_epoch_too() {
    let mut world = World::with(TransactionSettings {
        version: 0,
        ..TransactionSettings::default()
    });
    let known = world.open("a");
    world.pass(TIMEOUT);
    assert_eq!(world.markers[0].producer, producer(known.producer_id, 1));
    assert_eq!(world.markers[0].transaction_version, 0);
    world.write_markers();
    assert_eq!(
        world.end_as("a", known, true, 0),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let mut world = World::new();
    let known = world.init("a");
    let open = world.open("b");
    world.end("b", open, true).expect("ended");
    let expiration = world.machine.settings().id_expiration;
    world.pass(expiration - SECOND);
    assert_eq!(world.machine.all().len(), 2);
    world.pass(SECOND * 3_601);
    // The end of b is not complete, so it is kept.
    assert_eq!(
        world
            .machine
            .all()
            .keys()
            .map(TransactionalId::as_str)
            .collect::<Vec<_>>(),
        ["b"]
    );
    assert_eq!(
        world.add("a", known, &[("t", 0)]),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
}

#[test]
fn using_an_id_keeps_it() {
    let mut world = World::new();
    let known = world.init("a");
    let expiration = world.machine.settings().id_expiration;
    world.pass(expiration - SECOND);
    let next = world.end("a", known, false).expect("ended");
    world.pass(SECOND * 7_200);
    assert_eq!(world.add("a", next, &[("t", 0)]), Ok(()));
}

#[test]
fn a_sweep_in_many_parts_forgets_all_that_is_old() {
    let mut world = World::with(TransactionSettings {
        max_swept_per_tick: 2,
        ..TransactionSettings::default()
    });
    for id in ["a", "b", "c", "d", "e"] {
        world.init(id);
    }
    world.pass(world.machine.settings().id_expiration + SECOND * 3_601);
    assert!(world.machine.all().is_empty());
}

#[test]
fn when_the_broker_stops_whoever_waits_is_told() {
    let mut world = World::new();
    world.open("a");
    let (request, _) = world.ask(World::init_command("a", None));
    let told = world.machine.waiting_requests();
    let busy = Reply::InitProducerId(Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(told, [(request, busy)]);
}
