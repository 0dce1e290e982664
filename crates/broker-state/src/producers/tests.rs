//! Claims about producers, in a small language: a batch is "producer/epoch sequence+records", with a star if it is part of a
//! transaction; a marker is "producer/epoch commit" or "producer/epoch abort".

mod histories;
mod snapshots;
mod transactions;

use proptest::prelude::*;

use super::*;

const NOW: Millis = Millis(1_000_000);
const TIMELESS: i64 = -1;
/// The epoch of the coordinator, where it does not matter.
const COORDINATOR: i32 = 3;

/// A partition: its log, and the producers' state beside it.
struct Partition {
    producers: Producers,
    log: Vec<BatchHeader>,
    now: Millis,
}

impl Partition {
    fn new() -> Self {
        Self::limited(ProducerLimits::default())
    }

    fn limited(limits: ProducerLimits) -> Self {
        Self {
            producers: Producers::new(limits),
            log: Vec::new(),
            now: NOW,
        }
    }

    fn end(&self) -> i64 {
        self.log.last().map_or(0, |header| header.last_offset() + 1)
    }

    /// What a client that sends this batch is told: its base offset, or why not.
    fn send(&mut self, text: &str) -> String {
        self.send_batch(batch(text))
    }

    fn send_batch(&mut self, header: BatchHeader) -> String {
        match self.producers.admit(&header, Some(self.end()), self.now) {
            Admission::Append => self.append(header).to_string(),
            Admission::Duplicate { base_offset, .. } => format!("{base_offset} again"),
            Admission::Refuse(error, _) => error.name().to_owned(),
        }
    }

    fn append(&mut self, mut header: BatchHeader) -> i64 {
        header.base_offset = self.end();
        self.producers
            .record(&header, header.base_offset, TIMELESS, self.now);
        self.log.push(header);
        header.base_offset
    }

    /// The state that a restart finds, with a snapshot that was taken after `at` batches.
    fn recovered(&self, at: usize) -> Producers {
        let mut before = Producers::new(self.producers.limits);
        self.log[..at]
            .iter()
            .for_each(|header| replay(&mut before, header, self.now));
        let mut after = Producers::restore(&before.snapshot()).expect("what was written is read");
        after.set_limits(self.producers.limits);
        self.log[at..]
            .iter()
            .for_each(|header| replay(&mut after, header, self.now));
        after
    }
}

/// Every test ends with a replay of its log.
impl Drop for Partition {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for at in [0, self.log.len() / 2, self.log.len()] {
                assert_eq!(
                    known(&self.recovered(at)),
                    known(&self.producers),
                    "replay gives the live state"
                );
            }
        }
    }
}

/// A batch or a marker as the log gives it.
fn replay(producers: &mut Producers, header: &BatchHeader, now: Millis) {
    match header.is_control() {
        true => producers.record_marker(header, COORDINATOR, header.base_offset, now),
        false => producers.apply(header, now),
    }
}

/// All but the times, which a replay cannot know.
fn known(producers: &Producers) -> Vec<(i64, Producer)> {
    let mut known: Vec<_> = producers
        .by_id
        .iter()
        .map(|(id, producer)| {
            let timeless = Producer {
                last_seen: NOW,
                ..producer.clone()
            };
            (*id, timeless)
        })
        .collect();
    known.sort_by_key(|(id, ..)| *id);
    let open = known.iter().filter(|(_, one)| one.transaction.is_some());
    assert_eq!(
        open.count(),
        producers.open,
        "open transactions are counted"
    );
    known
}

/// "7/0 10+5": producer 7 with epoch 0 sends five records from sequence 10 on.
fn batch(text: &str) -> BatchHeader {
    let (identity, range) = text.split_once(' ').expect("identity and sequences");
    let (id, epoch) = identity.split_once('/').expect("producer and epoch");
    let (sequence, records) = range.split_once('+').expect("sequence and records");
    let is_transactional = records.ends_with('*');
    let records = records.trim_end_matches('*');
    let record_count: i32 = records.parse().expect("a number");
    BatchHeader {
        producer_id: id.parse().expect("a number"),
        producer_epoch: epoch.parse().expect("a number"),
        base_sequence: sequence.parse().expect("a number"),
        record_count,
        last_offset_delta: record_count - 1,
        attributes: if is_transactional { 0x10 } else { 0 },
        ..plain()
    }
}

/// A record without a producer.
fn plain() -> BatchHeader {
    BatchHeader {
        base_offset: 0,
        length: 0,
        leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: 5,
        max_timestamp: 5,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 1,
    }
}

#[test]
fn a_producer_s_batches_are_appended_in_the_order_of_their_sequences() {
    let mut partition = Partition::new();
    assert_eq!(partition.send("7/0 0+3"), "0");
    assert_eq!(partition.send("7/0 3+1"), "3");
    assert_eq!(partition.send("7/0 4+2"), "4");
}

#[test]
fn a_retried_batch_is_answered_with_its_first_offset_and_not_appended() {
    let mut partition = Partition::new();
    partition.send("7/0 0+3");
    partition.send("7/0 3+2");
    assert_eq!(partition.send("7/0 3+2"), "3 again");
    assert_eq!(partition.send("7/0 0+3"), "0 again");
    assert_eq!(partition.end(), 5);
}

#[test]
fn a_duplicate_is_answered_with_the_time_of_the_first_append() {
    let mut producers = Producers::default();
    let header = batch("7/0 0+1");
    producers.record(&header, 40, 777, NOW);
    let again = Admission::Duplicate {
        base_offset: 40,
        log_append_time: 777,
    };
    assert_eq!(producers.admit(&header, None, NOW), again);
}

#[test]
fn five_batches_are_remembered_and_not_six() {
    let mut partition = Partition::new();
    for sequence in 0..6 {
        partition.send(&format!("7/0 {sequence}+1"));
    }
    assert_eq!(partition.send("7/0 1+1"), "1 again");
    assert_eq!(partition.send("7/0 5+1"), "5 again");
    assert_eq!(partition.send("7/0 0+1"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
}

#[test]
fn a_gap_is_refused() {
    let mut partition = Partition::new();
    partition.send("7/0 0+3");
    assert_eq!(partition.send("7/0 4+1"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(partition.send("7/0 2+1"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(partition.send("7/0 3+1"), "3");
}

#[test]
fn the_same_first_sequence_with_another_length_is_no_duplicate() {
    let mut partition = Partition::new();
    partition.send("7/0 0+3");
    assert_eq!(partition.send("7/0 0+2"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
}

#[test]
fn a_refused_batch_changes_nothing() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1");
    let before = partition.producers.snapshot();
    partition.send("7/0 9+1");
    partition.send("7/1 9+1");
    assert_eq!(partition.producers.snapshot(), before);
}

#[test]
fn the_first_batch_of_an_unknown_producer_may_have_any_sequence() {
    let mut partition = Partition::new();
    assert_eq!(partition.send("7/3 1000+2"), "0");
    assert_eq!(partition.send("7/3 1002+1"), "2");
    assert_eq!(partition.send("7/3 1000+2"), "0 again");
}

#[test]
fn producers_do_not_disturb_each_other() {
    let mut partition = Partition::new();
    assert_eq!(partition.send("7/0 0+1"), "0");
    assert_eq!(partition.send("8/0 0+1"), "1");
    assert_eq!(partition.send("7/0 1+1"), "2");
    assert_eq!(partition.send("8/0 0+1"), "1 again");
}

#[test]
fn an_older_epoch_is_fenced() {
    let mut partition = Partition::new();
    partition.send("7/2 0+1");
    assert_eq!(partition.send("7/1 0+1"), "INVALID_PRODUCER_EPOCH");
    assert_eq!(partition.send("7/1 1+1"), "INVALID_PRODUCER_EPOCH");
}

#[test]
fn a_new_epoch_begins_with_sequence_zero_and_forgets_the_old_batches() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1");
    partition.send("7/0 1+1");
    assert_eq!(partition.send("7/1 2+1"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(partition.send("7/1 0+1"), "2");
    assert_eq!(partition.send("7/1 0+1"), "2 again");
    assert_eq!(partition.send("7/1 1+1"), "3");
    assert_eq!(partition.send("7/0 1+1"), "INVALID_PRODUCER_EPOCH");
}

#[test]
fn after_the_largest_sequence_comes_zero() {
    let mut partition = Partition::new();
    assert_eq!(partition.send(&format!("7/0 {}+1", i32::MAX)), "0");
    assert_eq!(partition.send("7/0 0+1"), "1");
    assert_eq!(partition.send(&format!("7/0 {}+1", i32::MAX)), "0 again");
}

#[test]
fn a_batch_may_lie_across_the_largest_sequence() {
    let mut partition = Partition::new();
    let across = format!("7/0 {}+4", i32::MAX - 1);
    assert_eq!(partition.send(&across), "0");
    assert_eq!(partition.send("7/0 1+1"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(partition.send("7/0 2+1"), "4");
    assert_eq!(partition.send(&across), "0 again");
}

#[test]
fn batches_of_one_step_are_checked_against_each_other_before_any_is_durable() {
    let mut partition = Partition::new();
    let in_flight = [
        "7/0 0+1", "7/0 1+1", "7/0 2+1", "7/0 1+1", "7/0 4+1", "7/0 3+1",
    ];
    let answers: Vec<String> = in_flight.iter().map(|text| partition.send(text)).collect();
    assert_eq!(
        answers,
        [
            "0",
            "1",
            "2",
            "1 again",
            "OUT_OF_ORDER_SEQUENCE_NUMBER",
            "3"
        ]
    );
}

#[test]
fn a_batch_without_a_producer_is_always_appended_and_not_remembered() {
    let mut partition = Partition::new();
    assert_eq!(partition.send_batch(plain()), "0");
    assert_eq!(partition.send_batch(plain()), "1");
    assert!(partition.producers.is_empty());
}

#[test]
fn a_producer_with_a_negative_epoch_or_sequence_is_refused() {
    let mut partition = Partition::new();
    for bad in ["7/-1 0+1", "7/0 -1+1"] {
        assert_eq!(partition.send(bad), "INVALID_RECORD");
    }
    assert!(partition.producers.is_empty());
}

#[test]
fn refusals_say_what_was_sent_and_what_is_next() {
    let mut producers = Producers::default();
    producers.record(&batch("7/1 0+3"), 0, TIMELESS, NOW);
    let told = |text: &str| match producers.admit(&batch(text), None, NOW) {
        Admission::Refuse(_, message) => message,
        other => panic!("refused, and not {other:?}"),
    };
    assert_eq!(
        told("7/1 5+1"),
        "producer 7 with epoch 1 sent sequence 5 where 3 is next"
    );
    assert_eq!(
        told("7/2 5+1"),
        "producer 7 begins epoch 2 with sequence 5; a new epoch begins with 0"
    );
    let fenced = "epoch 0 of producer 7 is older than its last epoch 1; a newer instance writes";
    assert_eq!(told("7/0 0+1"), fenced);
}

#[test]
fn a_silent_producer_is_forgotten_and_may_begin_anywhere() {
    let expiration = Duration::from_millis(100);
    let mut producers = Producers::new(ProducerLimits {
        expiration,
        ..ProducerLimits::default()
    });
    producers.record(&batch("7/5 0+1"), 0, TIMELESS, Millis(0));
    producers.record(&batch("8/0 0+1"), 1, TIMELESS, Millis(50));
    assert_eq!(producers.next_deadline(), Some(Millis(100)));
    assert!(matches!(
        producers.admit(&batch("7/1 9+1"), None, Millis(99)),
        Admission::Refuse(..)
    ));
    assert_eq!(
        producers.admit(&batch("7/1 9+1"), None, Millis(100)),
        Admission::Append
    );
    assert_eq!(producers.expire(Millis(99)), 0);
    assert_eq!(producers.expire(Millis(100)), 1);
    assert_eq!(
        (producers.len(), producers.next_deadline()),
        (1, Some(Millis(150)))
    );
    assert_eq!(producers.expire(Millis(1_000)), 1);
    assert_eq!(producers.next_deadline(), None);
}

#[test]
fn writing_keeps_a_producer_from_being_forgotten() {
    let expiration = Duration::from_millis(100);
    let mut producers = Producers::new(ProducerLimits {
        expiration,
        ..ProducerLimits::default()
    });
    producers.record(&batch("7/0 0+1"), 0, TIMELESS, Millis(0));
    producers.record(&batch("7/0 1+1"), 1, TIMELESS, Millis(90));
    assert_eq!(producers.expire(Millis(150)), 0);
}

#[test]
fn a_clock_that_goes_backwards_forgets_nobody() {
    let mut producers = Producers::default();
    producers.record(&batch("7/0 0+1"), 0, TIMELESS, NOW);
    assert_eq!(producers.expire(Millis(0)), 0);
}

#[test]
fn a_producer_that_expired_and_comes_back_is_known_by_its_new_batches() {
    let expiration = Duration::from_millis(100);
    let mut partition = Partition::limited(ProducerLimits {
        expiration,
        ..ProducerLimits::default()
    });
    partition.send("7/5 0+1");
    partition.now = partition.now + Duration::from_millis(100);
    assert_eq!(partition.send("7/1 40+1"), "1");
    assert_eq!(partition.send("7/1 41+1"), "2");
    assert_eq!(partition.send("7/1 40+1"), "1 again");
}

#[test]
fn the_number_of_producers_is_bounded_and_the_longest_silent_give_way() {
    let limits = ProducerLimits {
        producers: 16,
        ..ProducerLimits::default()
    };
    let mut partition = Partition::limited(limits);
    for id in 0..16 {
        partition.send(&format!("{id}/0 0+1"));
    }
    partition.send("0/0 1+1");
    assert_eq!(partition.send("100/0 0+1"), "17");
    assert_eq!(
        partition.producers.len(),
        15,
        "an eighth gave way to the new one"
    );
    assert_eq!(partition.send("0/0 1+1"), "16 again");
    assert_eq!(partition.send("3/0 0+1"), "3 again");
    assert_eq!(
        partition.send("1/0 0+1"),
        "18",
        "forgotten, so appended again"
    );
}

#[test]
fn a_flood_of_producers_stays_within_the_bound() {
    let limits = ProducerLimits {
        producers: 100,
        ..ProducerLimits::default()
    };
    let mut partition = Partition::limited(limits);
    for id in 0..10_000 {
        partition.send(&format!("{id}/0 0+1"));
        assert!(partition.producers.len() <= 100);
    }
    assert_eq!(partition.send("9999/0 0+1"), "9999 again");
}

#[test]
fn a_bound_of_one_still_works() {
    let mut partition = Partition::limited(ProducerLimits {
        producers: 1,
        ..ProducerLimits::default()
    });
    assert_eq!(partition.send("1/0 0+1"), "0");
    assert_eq!(partition.send("1/0 1+1"), "1");
    assert_eq!(partition.send("2/0 0+1"), "2");
    assert_eq!(partition.send("2/0 0+1"), "2 again");
    assert_eq!(partition.producers.len(), 1);
}

#[test]
fn a_retry_after_a_restart_is_still_a_duplicate() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1");
    partition.send("7/0 1+1");
    partition.producers = partition.recovered(1);
    assert_eq!(partition.send("7/0 0+1"), "0 again");
    assert_eq!(partition.send("7/0 1+1"), "1 again");
    assert_eq!(partition.send("7/0 3+1"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(partition.send("7/0 2+1"), "2");
}

#[test]
fn a_replayed_batch_has_its_append_time_only_where_the_topic_stamps_it() {
    let mut producers = Producers::default();
    let stamped = BatchHeader {
        attributes: 0x08,
        max_timestamp: 99,
        base_offset: 4,
        ..batch("7/0 0+1")
    };
    producers.apply(&stamped, NOW);
    producers.apply(
        &BatchHeader {
            base_offset: 5,
            max_timestamp: 98,
            ..batch("8/0 0+1")
        },
        NOW,
    );
    let again = |base_offset, log_append_time| Admission::Duplicate {
        base_offset,
        log_append_time,
    };
    assert_eq!(producers.admit(&batch("7/0 0+1"), None, NOW), again(4, 99));
    assert_eq!(producers.admit(&batch("8/0 0+1"), None, NOW), again(5, -1));
}

#[test]
fn a_batch_of_a_damaged_log_is_passed_over() {
    let mut producers = Producers::default();
    producers.apply(
        &BatchHeader {
            last_offset_delta: i32::MIN,
            base_offset: i64::MAX,
            ..batch("7/0 5+1")
        },
        NOW,
    );
    producers.apply(&batch("8/-1 5+1"), NOW);
    producers.apply(&batch("9/0 -5+1"), NOW);
    let restored = Producers::restore(&producers.snapshot()).expect("what was written is read");
    assert_eq!(known(&restored), known(&producers));
    assert_eq!(producers.len(), 2);
}

/// Few producers, epochs and sequences, so that batches meet each other.
fn any_batch() -> impl Strategy<Value = BatchHeader> {
    let sequence = prop_oneof![4 => 0..6_i32, 1 => Just(i32::MAX), 1 => Just(i32::MAX - 1)];
    (0..4_i64, 0..3_i16, sequence, 1..4_i32).prop_map(|(id, epoch, sequence, records)| {
        batch(&format!("{id}/{epoch} {sequence}+{records}"))
    })
}
