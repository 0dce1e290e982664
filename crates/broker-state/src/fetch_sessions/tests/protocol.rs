//! Claims about requests and responses of a session.

use super::*;

#[test]
fn a_full_fetch_is_answered_with_everything_and_begins_a_session() {
    let mut broker = Broker::new();
    assert_eq!(
        broker.fetch(full(&["a-0", "a-1", "b-0"]), idle),
        "2: a-0 a-1 b-0"
    );
    assert_eq!(
        (broker.sessions.len(), broker.sessions.partition_count()),
        (1, 3)
    );
}

#[test]
fn an_incremental_fetch_without_news_is_answered_with_nothing() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1"]);
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), idle),
        format!("{id}:")
    );
    assert_eq!(
        broker.fetch(request(id, 2, &[], &[]), idle),
        format!("{id}:")
    );
}

#[test]
fn records_are_news() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1"]);
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), data_in(&["a-1"])),
        format!("{id}: a-1")
    );
}

#[test]
fn a_new_high_watermark_or_log_start_is_news_once() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1"]);
    let higher = |name: &str| PartitionOutcome {
        high_watermark: 11,
        ..idle(name)
    };
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), higher),
        format!("{id}: a-0 a-1")
    );
    assert_eq!(
        broker.fetch(request(id, 2, &[], &[]), higher),
        format!("{id}:")
    );
    let deleted = |name: &str| PartitionOutcome {
        log_start_offset: 3,
        ..higher(name)
    };
    assert_eq!(
        broker.fetch(request(id, 3, &[], &[]), deleted),
        format!("{id}: a-0 a-1")
    );
    assert_eq!(
        broker.fetch(request(id, 4, &[], &[]), deleted),
        format!("{id}:")
    );
}

#[test]
fn an_error_is_news_each_time_and_so_is_its_end() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    let failed = |name: &str| PartitionOutcome {
        has_error: true,
        ..idle(name)
    };
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), failed),
        format!("{id}: a-0")
    );
    assert_eq!(
        broker.fetch(request(id, 2, &[], &[]), failed),
        format!("{id}: a-0")
    );
    assert_eq!(
        broker.fetch(request(id, 3, &[], &[]), idle),
        format!("{id}: a-0")
    );
    assert_eq!(
        broker.fetch(request(id, 4, &[], &[]), idle),
        format!("{id}:")
    );
}

#[test]
fn the_end_of_an_error_in_the_first_response_is_news_too() {
    let mut broker = Broker::new();
    let failed = |name: &str| PartitionOutcome {
        has_error: true,
        ..idle(name)
    };
    assert_eq!(broker.fetch(full(&["a-0"]), failed), "2: a-0");
    assert_eq!(broker.fetch(request(2, 1, &[], &[]), idle), "2: a-0");
}

#[test]
fn a_request_changes_offsets_adds_and_forgets_partitions() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1"]);
    let context = broker
        .sessions
        .begin(request(id, 1, &["a-0@7", "b-0@3"], &["a-1", "x-9"]), NOW)
        .expect("a session");
    let offsets: Vec<(String, i64)> = context
        .partitions
        .iter()
        .map(|(partition, fetch)| (name_of(partition), fetch.fetch_offset))
        .collect();
    assert_eq!(offsets, [("a-0".to_owned(), 7), ("b-0".to_owned(), 3)]);
    assert!(context.is_incremental());
    assert_eq!(broker.finish(&context, idle), format!("{id}: b-0"));
}

#[test]
fn a_partition_that_is_forgotten_and_added_again_is_told_again() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1"]);
    assert_eq!(
        broker.fetch(request(id, 1, &[], &["a-0"]), idle),
        format!("{id}:")
    );
    assert_eq!(
        broker.fetch(request(id, 2, &["a-0"], &[]), idle),
        format!("{id}: a-0")
    );
}

#[test]
fn partitions_that_returned_data_are_looked_at_last_next_time() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1", "a-2", "a-3"]);
    broker.fetch(request(id, 1, &[], &[]), data_in(&["a-0", "a-2"]));
    let context = broker
        .sessions
        .begin(request(id, 2, &[], &[]), NOW)
        .expect("a session");
    let order: Vec<String> = context
        .partitions
        .iter()
        .map(|(partition, _)| name_of(partition))
        .collect();
    assert_eq!(order, ["a-1", "a-3", "a-0", "a-2"]);
}

#[test]
fn news_without_data_keeps_its_place() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1"]);
    let higher = |name: &str| PartitionOutcome {
        high_watermark: if name == "a-0" { 11 } else { 10 },
        ..idle(name)
    };
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), higher),
        format!("{id}: a-0")
    );
    let context = broker
        .sessions
        .begin(request(id, 2, &[], &[]), NOW)
        .expect("a session");
    assert_eq!(name_of(&context.partitions[0].0), "a-0");
}

#[test]
fn with_room_for_one_answer_at_a_time_every_partition_gets_its_turn() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0", "a-1", "a-2"]);
    let mut served = Vec::new();
    for epoch in 1..=6 {
        let context = broker
            .sessions
            .begin(request(id, epoch, &[], &[]), NOW)
            .expect("a session");
        let first = name_of(&context.partitions[0].0);
        let only_first = |name: &str| PartitionOutcome {
            has_records: name == first,
            ..idle(name)
        };
        broker.finish(&context, only_first);
        served.push(first);
    }
    assert_eq!(served, ["a-0", "a-1", "a-2", "a-0", "a-1", "a-2"]);
}

#[test]
fn an_unknown_session_is_refused() {
    let mut broker = Broker::new();
    assert_eq!(
        broker.fetch(request(77, 1, &["a-0"], &[]), idle),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
    assert_eq!(
        broker.fetch(request(0, 1, &["a-0"], &[]), idle),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
    assert_eq!(
        broker.fetch(request(i32::MIN, i32::MIN, &[], &[]), idle),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
}

#[test]
fn a_wrong_epoch_is_refused_and_the_session_stays() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    for wrong in [2, 5, -2, i32::MAX] {
        assert_eq!(
            broker.fetch(request(id, wrong, &["b-0"], &[]), idle),
            "INVALID_FETCH_SESSION_EPOCH"
        );
    }
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), idle),
        format!("{id}:")
    );
}

#[test]
fn a_repeated_request_is_refused() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    broker.fetch(request(id, 1, &[], &[]), idle);
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), idle),
        "INVALID_FETCH_SESSION_EPOCH"
    );
}

#[test]
fn a_fetch_that_was_overtaken_by_another_of_its_session_is_refused_at_its_end() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    let slow = broker
        .sessions
        .begin(request(id, 1, &[], &[]), NOW)
        .expect("a session");
    let fast = broker
        .sessions
        .begin(request(id, 2, &[], &[]), NOW)
        .expect("a session");
    assert_eq!(
        broker.finish(&slow, data_in(&["a-0"])),
        "INVALID_FETCH_SESSION_EPOCH"
    );
    assert_eq!(
        broker.finish(&fast, data_in(&["a-0"])),
        format!("{id}: a-0")
    );
}

#[test]
fn a_fetch_whose_session_is_gone_at_its_end_is_refused() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    let waiting = broker
        .sessions
        .begin(request(id, 1, &[], &[]), NOW)
        .expect("a session");
    broker.fetch(request(id, FINAL_EPOCH, &[], &[]), idle);
    assert_eq!(
        broker.finish(&waiting, data_in(&["a-0"])),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
}

#[test]
fn after_the_largest_epoch_comes_one() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    broker
        .sessions
        .by_id
        .get_mut(&id)
        .expect("the session")
        .epoch = i32::MAX;
    assert_eq!(
        broker.fetch(request(id, i32::MAX, &[], &[]), idle),
        format!("{id}:")
    );
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), idle),
        format!("{id}:")
    );
}

#[test]
fn a_final_fetch_is_answered_without_a_session_and_ends_the_one_it_names() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    assert_eq!(
        broker.fetch(request(id, FINAL_EPOCH, &["a-0"], &[]), idle),
        "0: a-0"
    );
    assert!(broker.sessions.is_empty());
    assert_eq!(
        broker.fetch(request(id, 1, &[], &[]), idle),
        "FETCH_SESSION_ID_NOT_FOUND"
    );
}

#[test]
fn a_fetch_without_session_is_answered_without_one() {
    let mut broker = Broker::new();
    assert_eq!(
        broker.fetch(request(0, FINAL_EPOCH, &["a-0", "b-0"], &[]), idle),
        "0: a-0 b-0"
    );
    assert!(broker.sessions.is_empty());
}

#[test]
fn a_full_fetch_ends_the_session_that_it_names() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    let again = FetchSessionRequest {
        session_id: id,
        ..full(&["b-0"])
    };
    let answer = broker.fetch(again, idle);
    assert_ne!(answer, format!("{id}: b-0"));
    assert_eq!(broker.sessions.len(), 1);
}

#[test]
fn a_session_without_partitions_ends() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    assert_eq!(broker.fetch(request(id, 1, &[], &["a-0"]), idle), "0:");
    assert!(broker.sessions.is_empty());
}

#[test]
fn a_full_fetch_of_nothing_begins_no_session() {
    let mut broker = Broker::new();
    assert_eq!(broker.fetch(full(&[]), idle), "0:");
}

#[test]
fn a_partition_that_a_request_names_twice_counts_as_it_is_named_last() {
    let mut broker = Broker::new();
    for epoch in [INITIAL_EPOCH, FINAL_EPOCH] {
        let twice = request(0, epoch, &["a-0@1", "b-0", "a-0@2"], &[]);
        let context = broker.sessions.begin(twice, NOW).expect("a fetch");
        let names: Vec<String> = context
            .partitions
            .iter()
            .map(|(partition, _)| name_of(partition))
            .collect();
        assert_eq!(names, ["a-0", "b-0"]);
        assert_eq!(context.partitions[0].1.fetch_offset, 2);
    }
}

#[test]
fn a_session_by_name_takes_no_ids_and_the_other_way_round() {
    let mut broker = Broker::new();
    let id = broker.open(&["a-0"]);
    let by_id = FetchSessionRequest {
        uses_topic_ids: true,
        ..request(id, 1, &[], &[])
    };
    assert_eq!(
        broker.fetch(by_id.clone(), idle),
        "FETCH_SESSION_TOPIC_ID_ERROR"
    );
    let partition = FetchPartition {
        topic: FetchTopic::Id(Uuid([7; 16])),
        partition: 0,
    };
    let begins = FetchSessionRequest {
        partitions: vec![(partition, wanted("a-0").1)],
        session_id: 0,
        session_epoch: INITIAL_EPOCH,
        ..by_id
    };
    assert_eq!(broker.fetch(begins, idle), "3: 07-0");
    assert_eq!(
        broker.fetch(request(3, 1, &[], &[]), idle),
        "FETCH_SESSION_TOPIC_ID_ERROR"
    );
}

#[test]
fn many_partitions_are_read_once_each_too() {
    let mut broker = Broker::new();
    let mut names: Vec<String> = (0..40).map(|at| format!("a-{at}")).collect();
    names.push("a-7@9".to_owned());
    let named: Vec<&str> = names.iter().map(String::as_str).collect();
    let context = broker
        .sessions
        .begin(request(0, FINAL_EPOCH, &named, &[]), NOW)
        .expect("a fetch");
    assert_eq!(context.partitions.len(), 40);
    assert_eq!(context.partitions[7].1.fetch_offset, 9);
}
