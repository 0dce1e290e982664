//! Claims about how many sessions and partitions are remembered, and who gives way.

use super::*;

#[test]
fn an_id_that_is_taken_is_not_given_again() {
    let mut broker = Broker::new();
    for expected in [1, 2, 3] {
        broker.entropy = i32::MAX as u64 - 1;
        assert_eq!(broker.open(&["a-0"]), expected);
    }
    broker.entropy = u64::from(u32::MAX);
    assert!(broker.open(&["a-0"]) > 0);
    broker.entropy = i32::MAX as u64 - 2;
    assert_eq!(broker.open(&["a-0"]), i32::MAX);
    broker.entropy = i32::MAX as u64 - 2;
    assert!((1..i32::MAX).contains(&broker.open(&["a-0"])));
}

#[test]
fn when_all_slots_are_in_use_a_new_client_fetches_without_a_session() {
    let mut broker = Broker::limited(2, 100);
    broker.open(&["a-0"]);
    broker.open(&["a-0"]);
    assert_eq!(broker.open(&["a-0"]), 0);
    assert_eq!((broker.sessions.len(), broker.sessions.evictions()), (2, 0));
}

#[test]
fn the_session_that_was_idle_for_longest_gives_way() {
    let mut broker = Broker::limited(2, 100);
    let first = broker.open(&["a-0"]);
    broker.wait(Duration::from_secs(1));
    let second = broker.open(&["a-0"]);
    broker.wait(IDLE);
    assert_ne!(broker.open(&["a-0"]), 0);
    assert_eq!(broker.sessions.evictions(), 1);
    assert_eq!(
        broker.fetch(request(first, 1, &[], &[]), idle),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
    assert_eq!(
        broker.fetch(request(second, 1, &[], &[]), idle),
        format!("{second}:")
    );
}

#[test]
fn a_session_in_use_does_not_give_way_to_one_of_its_size() {
    let mut broker = Broker::limited(1, 100);
    let id = broker.open(&["a-0", "a-1"]);
    for epoch in 1..=4 {
        broker.wait(IDLE / 2);
        broker.fetch(request(id, epoch, &[], &[]), idle);
    }
    assert_eq!(broker.open(&["b-0", "b-1"]), 0);
    assert_ne!(
        broker.open(&["b-0", "b-1", "b-2"]),
        0,
        "a larger one saves more"
    );
}

#[test]
fn a_young_session_does_not_give_way_even_to_a_larger_one() {
    let mut broker = Broker::limited(1, 100);
    broker.open(&["a-0"]);
    broker.wait(IDLE);
    assert_eq!(broker.open(&["b-0", "b-1"]), 0);
}

#[test]
fn remembered_partitions_are_bounded() {
    let mut broker = Broker::limited(10, 4);
    let id = broker.open(&["a-0", "a-1", "a-2"]);
    assert_eq!(broker.open(&["b-0", "b-1"]), 0, "no room for two more");
    assert_eq!(
        broker.open(&["c-0", "c-1", "c-2", "c-3", "c-4"]),
        0,
        "never room for five"
    );
    assert_eq!(
        broker.fetch(request(id, 1, &["a-3"], &[]), idle),
        format!("{id}: a-3")
    );
    assert_eq!(
        broker.fetch(request(id, 2, &["a-4"], &[]), idle),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
    assert_eq!(broker.sessions.partition_count(), 0);
}

#[test]
fn without_slots_there_are_no_sessions() {
    let mut broker = Broker::limited(0, 100);
    assert_eq!(broker.fetch(full(&["a-0"]), idle), "0: a-0");
}

#[test]
#[should_panic(expected = "one outcome for each partition")]
fn an_outcome_that_is_missing_is_a_bug() {
    let mut broker = Broker::new();
    let context = broker.sessions.begin(full(&["a-0"]), NOW).expect("a fetch");
    broker.sessions.finish(&context, &[], NOW, 0);
}
