//! Claims about describing and listing transactions.

use super::*;

fn list(world: &mut World, filter: ListFilter) -> (Vec<String>, Vec<String>) {
    match world.ask(Command::List(filter)).1 {
        Some(Reply::List(reply)) => {
            let listed = reply.transactions.iter();
            let shown = listed.map(|listed| format!("{} {}", listed.id, listed.state.name()));
            (shown.collect(), reply.unknown_states)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_transactions_are_listed_by_id() {
    let mut world = World::new();
    world.init("b");
    world.open("a");
    let (listed, unknown) = list(&mut world, ListFilter::default());
    assert_eq!(listed, ["a Ongoing", "b Empty"]);
    assert!(unknown.is_empty());
}

#[test]
fn filters_select_by_state_and_tell_what_is_no_state() {
    let mut world = World::new();
    world.init("b");
    world.open("a");
    let states = ["Ongoing", "Dead", "Open"].map(str::to_owned).to_vec();
    let filter = ListFilter {
        states,
        ..ListFilter::default()
    };
    let (listed, unknown) = list(&mut world, filter);
    assert_eq!(listed, ["a Ongoing"]);
    assert_eq!(unknown, ["Open"]);
    let states = vec!["ongoing".to_owned()];
    let (listed, unknown) = list(
        &mut world,
        ListFilter {
            states,
            ..ListFilter::default()
        },
    );
    assert!(listed.is_empty());
    assert_eq!(unknown, ["ongoing"]);
}

#[test]
fn filters_select_by_producer_and_duration() {
    let mut world = World::new();
    let known = world.open("a");
    world.pass(SECOND * 10);
    world.open("b");
    let producer_ids = vec![known.producer_id];
    let (listed, _) = list(
        &mut world,
        ListFilter {
            producer_ids,
            ..ListFilter::default()
        },
    );
    assert_eq!(listed, ["a Ongoing"]);
    let open_for = Some(SECOND * 5);
    let (listed, _) = list(
        &mut world,
        ListFilter {
            open_for,
            ..ListFilter::default()
        },
    );
    assert_eq!(listed, ["a Ongoing"]);
    let open_for = Some(SECOND * 10);
    let (listed, _) = list(
        &mut world,
        ListFilter {
            open_for,
            ..ListFilter::default()
        },
    );
    assert!(listed.is_empty());
}

#[test]
fn a_described_transaction_shows_what_is_known_and_an_unknown_one_nothing() {
    let mut world = World::new();
    world.open("a");
    let expected = world.known("a").clone();
    let described = world.ask(Command::Describe(vec!["a".into(), "b".into()])).1;
    let answer = vec![("a".into(), Some(expected)), ("b".into(), None)];
    assert_eq!(described, Some(Reply::Describe(answer)));
}

#[test]
fn every_state_has_kafka_s_name_and_number() {
    let named: Vec<(i8, &str)> = State::ALL
        .iter()
        .map(|state| (state.number(), state.name()))
        .collect();
    let expected = [
        (0, "Empty"),
        (1, "Ongoing"),
        (2, "PrepareCommit"),
        (3, "PrepareAbort"),
        (4, "CompleteCommit"),
        (5, "CompleteAbort"),
        (6, "Dead"),
        (7, "PrepareEpochFence"),
    ];
    assert_eq!(named, expected);
}
