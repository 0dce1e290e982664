//! Claims about transactions: what may open one, what goes on with it, what ends it, and that a restart changes nothing.

use super::*;

impl Partition {
    /// What a client is told that has not asked the coordinator.
    fn send_unverified(&mut self, text: &str) -> String {
        self.send_verified_at(text, None)
    }

    fn send_verified_at(&mut self, text: &str, verified_at: Option<i64>) -> String {
        let header = batch(text);
        match self.producers.admit(&header, verified_at, self.now) {
            Admission::Append => self.append(header).to_string(),
            Admission::Duplicate { base_offset, .. } => format!("{base_offset} again"),
            Admission::Refuse(error, _) => error.name().to_owned(),
        }
    }

    /// "7/1 commit": what the coordinator is told.
    fn finish(&mut self, text: &str) -> String {
        self.end_with(text, COORDINATOR, 1)
    }

    fn end_bumped(&mut self, text: &str) -> String {
        self.end_with(text, COORDINATOR, 2)
    }

    fn end_with(&mut self, text: &str, coordinator_epoch: i32, transaction_version: i8) -> String {
        let (identity, _) = text.split_once(' ').expect("identity and how it ends");
        let mut header = BatchHeader {
            attributes: 0x30,
            base_sequence: -1,
            ..batch(&format!("{identity} 0+1"))
        };
        let end = EndOfTransaction {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            coordinator_epoch,
            transaction_version,
        };
        if let Err((error, _)) = self.producers.admit_marker(&end) {
            return error.name().to_owned();
        }
        header.base_offset = self.end();
        self.producers
            .record_marker(&header, coordinator_epoch, header.base_offset, self.now);
        self.log.push(header);
        header.base_offset.to_string()
    }

    fn first_unstable(&self) -> Option<i64> {
        self.producers.first_unstable_offset()
    }
}

#[test]
fn a_transaction_begins_with_a_verified_batch_and_ends_with_a_marker() {
    let mut partition = Partition::new();
    assert_eq!(partition.send("6/0 0+1"), "0");
    assert_eq!(partition.send_unverified("7/0 0+2*"), "INVALID_TXN_STATE");
    assert_eq!(partition.send("7/0 0+2*"), "1");
    assert_eq!(partition.first_unstable(), Some(1));
    assert_eq!(partition.send_unverified("7/0 2+1*"), "3");
    assert_eq!(partition.finish("7/0 commit"), "4");
    assert_eq!(partition.first_unstable(), None);
    assert_eq!(partition.send_unverified("7/0 3+1*"), "INVALID_TXN_STATE");
    assert_eq!(partition.send("7/0 3+1*"), "5");
}

#[test]
fn what_was_verified_before_the_last_marker_counts_no_more() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    let verified_at = Some(partition.end());
    partition.finish("7/0 abort");
    assert_eq!(
        partition.send_verified_at("7/0 1+1*", verified_at),
        "INVALID_TXN_STATE"
    );
    let verified_at = Some(partition.end());
    assert_eq!(partition.send_verified_at("7/0 1+1*", verified_at), "2");
}

#[test]
fn a_transaction_that_was_aborted_before_its_first_batch_came_is_not_opened() {
    let mut partition = Partition::new();
    let verified_at = Some(partition.end());
    assert_eq!(partition.finish("7/0 abort"), "0");
    let late = partition.send_verified_at("7/0 0+1*", verified_at);
    assert_eq!(late, "INVALID_TXN_STATE");
}

#[test]
fn a_retried_batch_is_answered_even_when_its_transaction_has_ended() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    partition.finish("7/0 commit");
    assert_eq!(partition.send_unverified("7/0 0+1*"), "0 again");
}

#[test]
fn a_batch_outside_of_the_transaction_is_refused_while_it_is_open() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    assert_eq!(partition.send("7/0 1+1"), "INVALID_TXN_STATE");
    assert_eq!(partition.send("8/0 0+1"), "1");
    partition.finish("7/0 commit");
    assert_eq!(partition.send("7/0 1+1"), "3");
}

#[test]
fn a_later_epoch_fences_the_batches_before_it() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    partition.send("7/0 1+1*");
    assert_eq!(partition.end_bumped("7/1 commit"), "2");
    assert_eq!(partition.send("7/0 2+1*"), "INVALID_PRODUCER_EPOCH");
    assert_eq!(partition.send("7/0 1+1*"), "INVALID_PRODUCER_EPOCH");
    assert_eq!(partition.send("7/1 2+1*"), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(partition.send("7/1 0+1*"), "3");
}

#[test]
fn an_epoch_that_is_too_old_is_said_before_that_it_is_not_verified() {
    let mut partition = Partition::new();
    partition.finish("7/4 abort");
    let refused = partition.send_unverified("7/3 0+1*");
    assert_eq!(refused, "INVALID_PRODUCER_EPOCH");
    let refused = partition.send_unverified("7/4 0+1*");
    assert_eq!(refused, "INVALID_TXN_STATE");
}

#[test]
fn a_batch_with_a_later_epoch_is_verified_though_a_transaction_is_open() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    assert_eq!(partition.send_unverified("7/1 0+1*"), "INVALID_TXN_STATE");
}

#[test]
fn a_marker_of_an_older_epoch_or_of_an_older_coordinator_is_refused() {
    let mut partition = Partition::new();
    partition.send("7/2 0+1*");
    assert_eq!(partition.finish("7/1 abort"), "INVALID_PRODUCER_EPOCH");
    assert_eq!(partition.end_with("7/2 abort", COORDINATOR, 1), "1");
    partition.send("7/2 1+1*");
    let fenced = partition.end_with("7/2 abort", COORDINATOR - 1, 1);
    assert_eq!(fenced, "TRANSACTION_COORDINATOR_FENCED");
    assert_eq!(partition.finish("7/2 commit"), "3");
}

#[test]
fn a_marker_may_be_written_again() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    assert_eq!(partition.end_bumped("7/1 commit"), "1");
    assert_eq!(partition.end_bumped("7/1 commit"), "2");
    assert_eq!(partition.finish("9/5 abort"), "3");
}

#[test]
fn a_marker_with_the_epoch_of_an_open_transaction_is_late_where_epochs_are_bumped() {
    let mut partition = Partition::new();
    partition.send("7/0 0+1*");
    partition.end_bumped("7/1 commit");
    partition.send("7/1 0+1*");
    assert_eq!(partition.end_bumped("7/1 commit"), "INVALID_PRODUCER_EPOCH");
    assert_eq!(partition.first_unstable(), Some(2));
    assert_eq!(
        partition.finish("7/1 abort"),
        "3",
        "an administrator's has no bumped epoch"
    );
}

#[test]
fn clients_write_no_control_batches_and_no_transactions_without_a_producer() {
    let producers = Producers::default();
    let refused = |header: &BatchHeader| match producers.admit(header, Some(9), NOW) {
        Admission::Refuse(error, _) => error.name(),
        other => panic!("refused, and not {other:?}"),
    };
    for attributes in [0x20, 0x30] {
        let control = BatchHeader {
            attributes,
            ..batch("7/0 0+1")
        };
        assert_eq!(refused(&control), "INVALID_RECORD");
    }
    let nobody = BatchHeader {
        attributes: 0x10,
        ..plain()
    };
    assert_eq!(refused(&nobody), "INVALID_RECORD");
}

#[test]
fn a_producer_in_a_transaction_is_never_forgotten() {
    let limits = ProducerLimits {
        producers: 4,
        expiration: Duration::from_millis(100),
    };
    let mut partition = Partition::limited(limits);
    partition.send("1/0 0+1*");
    for id in 10..30 {
        assert_ne!(partition.send(&format!("{id}/0 0+1")), "");
        assert!(partition.producers.len() <= 4);
    }
    assert_eq!(partition.send_unverified("1/0 1+1*"), "21");
    let mut producers = partition.producers.clone();
    let later = partition.now + Duration::from_secs(1_000);
    producers.expire(later);
    assert_eq!((producers.len(), producers.next_deadline()), (1, None));
    let next = batch("1/0 2+1*");
    assert_eq!(producers.admit(&next, None, later), Admission::Append);
}

#[test]
fn there_are_no_more_open_transactions_than_producers_may_be() {
    let limits = ProducerLimits {
        producers: 3,
        ..ProducerLimits::default()
    };
    let mut partition = Partition::limited(limits);
    for id in 0..3 {
        assert_eq!(partition.send(&format!("{id}/0 0+1*")), id.to_string());
    }
    assert_eq!(partition.send("9/0 0+1*"), "THROTTLING_QUOTA_EXCEEDED");
    assert_eq!(partition.send("9/0 0+1"), "THROTTLING_QUOTA_EXCEEDED");
    assert_eq!(partition.send("2/0 1+1*"), "3");
    assert_eq!(
        partition.finish("9/0 abort"),
        "4",
        "a marker is never refused for room"
    );
    assert_eq!(partition.producers.len(), 3);
    partition.finish("0/0 commit");
    assert_eq!(partition.send("9/0 0+1*"), "6");
}

#[test]
fn what_is_told_of_producers_is_what_they_did() {
    let mut partition = Partition::new();
    partition.send("8/0 0+2");
    partition.send("7/1 0+3*");
    let state = |partition: &Partition| partition.producers.list(partition.now);
    let of_7 = ProducerState {
        producer_id: 7,
        producer_epoch: 1,
        last_sequence: 2,
        last_timestamp: 5,
        coordinator_epoch: -1,
        transaction_start_offset: 2,
    };
    assert_eq!(state(&partition)[0], of_7);
    assert_eq!(state(&partition)[1].transaction_start_offset, -1);
    partition.end_bumped("7/2 abort");
    let after = ProducerState {
        producer_epoch: 2,
        last_sequence: -1,
        coordinator_epoch: COORDINATOR,
        transaction_start_offset: -1,
        ..of_7
    };
    assert_eq!(state(&partition)[0], after);
    partition.now = partition.now + Duration::from_secs(1_000_000);
    assert_eq!(state(&partition), []);
}

/// What a client or the coordinator does.
#[derive(Clone, Debug)]
enum Deed {
    Send(BatchHeader, bool),
    End {
        producer_id: i64,
        epoch: i16,
        is_bumped: bool,
    },
    Restart,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let send = (any_batch(), any::<bool>(), prop::bool::weighted(0.7)).prop_map(
        |(header, is_transactional, is_verified)| {
            let attributes = if is_transactional { 0x10 } else { 0 };
            Deed::Send(
                BatchHeader {
                    attributes,
                    ..header
                },
                is_verified,
            )
        },
    );
    let end =
        (0..4_i64, 0..3_i16, any::<bool>()).prop_map(|(producer_id, epoch, is_bumped)| Deed::End {
            producer_id,
            epoch,
            is_bumped,
        });
    prop_oneof![6 => send, 3 => end, 1 => Just(Deed::Restart)]
}

proptest! {
    /// The open transactions are those that a plain reading of the log tells, wherever the broker restarts; each begins
    /// with a batch that was verified, and has no other producer's and no plain batch in it.
    #[test]
    fn open_transactions_are_those_of_the_log(deeds in prop::collection::vec(any_deed(), 0..120)) {
        let mut partition = Partition::new();
        let mut open: std::collections::BTreeMap<i64, i64> = Default::default();
        for deed in deeds {
            match deed {
                Deed::Send(header, is_verified) => {
                    let end = partition.end();
                    let admission = partition.producers.admit(&header, is_verified.then_some(end), partition.now);
                    if admission != Admission::Append {
                        continue;
                    }
                    let id = header.producer_id;
                    prop_assert!(header.is_transactional() || !open.contains_key(&id));
                    if header.is_transactional() {
                        prop_assert!(is_verified || open.contains_key(&id));
                        open.entry(id).or_insert(end);
                    }
                    partition.append(header);
                }
                Deed::End { producer_id, epoch, is_bumped } => {
                    let text = format!("{producer_id}/{epoch} abort");
                    let told = partition.end_with(&text, COORDINATOR, if is_bumped { 2 } else { 1 });
                    if told.parse::<i64>().is_ok() {
                        open.remove(&producer_id);
                        let now_known = partition.producers.by_id[&producer_id].epoch;
                        prop_assert_eq!(now_known, epoch);
                    }
                }
                Deed::Restart => partition.producers = partition.recovered(partition.log.len() / 3),
            }
            let found: std::collections::BTreeMap<i64, i64> = partition
                .producers
                .in_transaction()
                .map(|(id, _)| (id, partition.producers.transaction_of(id).expect("open").first_offset))
                .collect();
            prop_assert_eq!(&found, &open);
            prop_assert_eq!(partition.first_unstable(), open.values().min().copied());
        }
        let log = &partition.log;
        for id in 0..4 {
            let epochs: Vec<i16> = log.iter().filter(|one| one.producer_id == id).map(|one| one.producer_epoch).collect();
            prop_assert!(epochs.is_sorted(), "epochs never go back");
        }
    }
}
