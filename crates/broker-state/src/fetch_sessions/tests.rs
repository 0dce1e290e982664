//! Claims about fetch sessions, in a small language: a partition is "topic-number@offset", an outcome is what reading
//! it gave, an answer is the session and the partitions that are in the response.

use proptest::prelude::*;

use super::*;

const NOW: Millis = Millis(1_000_000);
const IDLE: Duration = Duration::from_secs(120);

/// A broker's sessions, and the clock.
struct Broker {
    sessions: FetchSessions,
    now: Millis,
    entropy: u64,
}

impl Broker {
    fn new() -> Self {
        Self::limited(1_000, 1_000)
    }

    fn limited(sessions: usize, partitions: usize) -> Self {
        let limits = FetchSessionLimits {
            sessions,
            partitions,
            idle: IDLE,
        };
        Self {
            sessions: FetchSessions::new(limits),
            now: NOW,
            entropy: 0,
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// A whole fetch by name: "session/epoch" and the partitions, and what reading each would give.
    fn fetch(
        &mut self,
        request: FetchSessionRequest,
        outcome: impl Fn(&str) -> PartitionOutcome,
    ) -> String {
        match self.sessions.begin(request, self.now) {
            Ok(context) => self.finish(&context, outcome),
            Err(error) => error.name().to_owned(),
        }
    }

    fn finish(
        &mut self,
        context: &FetchContext,
        outcome: impl Fn(&str) -> PartitionOutcome,
    ) -> String {
        let outcomes: Vec<PartitionOutcome> = context
            .partitions
            .iter()
            .map(|(partition, _)| outcome(&name_of(partition)))
            .collect();
        let has_news = self.sessions.has_news(context, &outcomes);
        self.entropy += 1;
        let answer = self
            .sessions
            .finish(context, &outcomes, self.now, self.entropy);
        if answer.error != ErrorCode::None {
            return answer.error.name().to_owned();
        }
        assert_eq!(
            has_news,
            answer.included.contains(&true),
            "news is what the response has"
        );
        let included = context
            .partitions
            .iter()
            .zip(&answer.included)
            .filter(|(_, included)| **included);
        let names: String = included
            .map(|((partition, _), _)| format!(" {}", name_of(partition)))
            .collect();
        format!("{}:{names}", answer.session_id)
    }

    /// Opens a session over partitions of which none has data.
    fn open(&mut self, partitions: &[&str]) -> i32 {
        let answer = self.fetch(full(partitions), idle);
        answer
            .split_once(':')
            .expect("an answer")
            .0
            .parse()
            .expect("a session id")
    }

    fn check(&self) {
        let counted: usize = self.sessions.by_id.values().map(Session::len).sum();
        assert_eq!(
            counted,
            self.sessions.partition_count(),
            "PartitionsAreCounted"
        );
        assert!(
            self.sessions.partition_count() <= self.sessions.limits.partitions,
            "PartitionsAreBounded"
        );
        assert!(
            self.sessions.len() <= self.sessions.limits.sessions,
            "SessionsAreBounded"
        );
        assert!(
            self.sessions.by_id.keys().all(|id| *id > 0),
            "IdsArePositive"
        );
        assert!(
            self.sessions
                .by_id
                .values()
                .all(|session| session.len() > 0),
            "NoEmptySession"
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

fn name_of(partition: &FetchPartition) -> String {
    match &partition.topic {
        FetchTopic::Name(name) => format!("{name}-{}", partition.partition),
        FetchTopic::Id(id) => format!("{:02x}-{}", id.0[0], partition.partition),
    }
}

fn partition(name: &str) -> FetchPartition {
    let (topic, number) = name.rsplit_once('-').expect("topic and number");
    FetchPartition {
        topic: FetchTopic::Name(topic.into()),
        partition: number.parse().expect("a number"),
    }
}

/// "a-0@5": partition 0 of topic a from offset 5; without an offset from 0.
fn wanted(text: &str) -> (FetchPartition, PartitionFetch) {
    let (name, offset) = text.split_once('@').unwrap_or((text, "0"));
    let fetch = PartitionFetch {
        fetch_offset: offset.parse().expect("a number"),
        partition_max_bytes: 1024,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
    };
    (partition(name), fetch)
}

fn request(
    session_id: i32,
    session_epoch: i32,
    partitions: &[&str],
    forgotten: &[&str],
) -> FetchSessionRequest {
    FetchSessionRequest {
        session_id,
        session_epoch,
        uses_topic_ids: false,
        partitions: partitions.iter().map(|text| wanted(text)).collect(),
        forgotten: forgotten.iter().map(|name| partition(name)).collect(),
    }
}

fn full(partitions: &[&str]) -> FetchSessionRequest {
    request(0, INITIAL_EPOCH, partitions, &[])
}

fn idle(_: &str) -> PartitionOutcome {
    PartitionOutcome {
        has_records: false,
        has_error: false,
        high_watermark: 10,
        log_start_offset: 0,
    }
}

/// Data in the named partitions, nothing in the others.
fn data_in(names: &[&'static str]) -> impl Fn(&str) -> PartitionOutcome + use<> {
    let names = names.to_vec();
    move |name| PartitionOutcome {
        has_records: names.contains(&name),
        ..idle(name)
    }
}

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
    broker.fetch(request(id, 1, &[], &[]), |name| PartitionOutcome {
        high_watermark: 11,
        ..idle(name)
    });
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

/// A consumer that knows only what responses told it.
#[derive(Default)]
struct Consumer {
    session_id: i32,
    epoch: i32,
    /// Per partition, the high watermark it was told.
    told: HashMap<String, i64>,
}

#[derive(Clone, Debug)]
enum Event {
    /// The high watermark of a partition grows.
    Append(usize),
    Fetch,
    /// The consumer's position moves to what it was told.
    Seek(usize),
    Drop,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4_usize).prop_map(Event::Append),
        4 => Just(Event::Fetch),
        1 => (0..4_usize).prop_map(Event::Seek),
        1 => Just(Event::Drop),
    ]
}

proptest! {
    /// What incremental responses leave out, the consumer knows: after each fetch it has the truth.
    #[test]
    fn a_consumer_always_knows_what_a_full_response_would_say(events in prop::collection::vec(any_event(), 1..60)) {
        let names = ["a-0", "a-1", "b-0", "b-1"];
        let mut truth: HashMap<String, i64> = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let mut broker = Broker::limited(2, 20);
        let mut consumer = Consumer::default();
        for event in events {
            match event {
                Event::Append(at) => *truth.get_mut(names[at]).expect("a partition") += 1,
                Event::Drop => consumer = Consumer::default(),
                Event::Seek(_) | Event::Fetch => {
                    let named: Vec<&str> = match (consumer.epoch, &event) {
                        (0, _) => names.to_vec(),
                        (_, Event::Seek(at)) => vec![names[*at]],
                        _ => vec![],
                    };
                    let request = request(consumer.session_id, consumer.epoch, &named, &[]);
                    let context = broker.sessions.begin(request, broker.now).expect("the consumer keeps to the protocol");
                    let outcomes: Vec<PartitionOutcome> = context.partitions.iter().map(|(partition, _)| {
                        PartitionOutcome { high_watermark: truth[&name_of(partition)], ..idle("") }
                    }).collect();
                    broker.entropy += 1;
                    let answer = broker.sessions.finish(&context, &outcomes, broker.now, broker.entropy);
                    prop_assert_eq!(answer.error, ErrorCode::None);
                    for (((partition, _), outcome), included) in
                        context.partitions.iter().zip(&outcomes).zip(&answer.included)
                    {
                        if *included {
                            consumer.told.insert(name_of(partition), outcome.high_watermark);
                        }
                    }
                    prop_assert_eq!(&consumer.told, &truth);
                    consumer.session_id = answer.session_id;
                    consumer.epoch = if answer.session_id == 0 { 0 } else { consumer.epoch + 1 };
                }
            }
            broker.check();
        }
    }

    #[test]
    fn any_requests_keep_the_bounds(
        requests in prop::collection::vec(
            (0..6_i32, -2..5_i32, prop::collection::vec("[ab]-[0-3]", 0..6), prop::collection::vec("[ab]-[0-3]", 0..3)),
            1..60,
        ),
        pauses in prop::collection::vec(0..200_u64, 60),
    ) {
        let mut broker = Broker::limited(3, 9);
        for ((session_id, epoch, partitions, forgotten), pause) in requests.iter().zip(pauses) {
            let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
            let forgotten: Vec<&str> = forgotten.iter().map(String::as_str).collect();
            broker.entropy %= 4;
            broker.wait(Duration::from_secs(pause));
            broker.fetch(request(*session_id, *epoch, &partitions, &forgotten), idle);
            broker.check();
        }
    }
}
