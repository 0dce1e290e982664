//! Claims about the bytes of the producers' state.

use super::*;

#[test]
fn have_the_documented_bytes() {
    let mut producers = Producers::default();
    producers.record(&batch("7/2 0+3"), 10, -1, Millis(4));
    let expected = [1, 1, 14, 4, 24, 8, 2, 0, 1, 0, 2, 4, 1];
    assert_eq!(producers.snapshot(), expected);
    producers.record(&batch("7/2 3+1*"), 13, -1, Millis(4));
    let in_transaction = [1, 1, 14, 4, 26, 8, 2, 1, 0, 2, 2, 0, 2, 6, 1, 6, 0, 0, 1];
    assert_eq!(producers.snapshot(), in_transaction);
    let marker = BatchHeader {
        attributes: 0x30,
        ..batch("7/3 0+1")
    };
    producers.record_marker(&marker, 9, 14, Millis(4));
    assert_eq!(producers.snapshot(), [1, 1, 14, 6, 28, 8, 2, 2, 0, 18, 0]);
}

#[test]
fn from_before_transactions_are_read() {
    let old = [0, 1, 14, 4, 24, 8, 1, 0, 4, 20, 1];
    let mut producers = Producers::default();
    producers.record(&batch("7/2 0+3"), 10, -1, Millis(4));
    producers
        .by_id
        .get_mut(&7)
        .expect("recorded")
        .last_timestamp = -1;
    let restored = Producers::restore(&old).expect("well formed");
    assert_eq!(restored.by_id, producers.by_id);
}

#[test]
fn of_nobody_and_no_bytes_at_all_are_nobody() {
    let nobody = Producers::default().snapshot();
    assert_eq!(nobody, [1, 0]);
    assert!(Producers::restore(&nobody).expect("well formed").is_empty());
    assert!(
        Producers::restore(&[])
            .expect("a log without a checkpoint")
            .is_empty()
    );
}

#[test]
fn of_a_newer_version_are_refused() {
    let error = Producers::restore(&[2, 0]).expect_err("newer");
    assert_eq!(error, SnapshotError::UnknownVersion { version: 2 });
}

#[test]
fn that_name_more_producers_than_their_bytes_can_hold_are_refused() {
    let bytes = [0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
    assert!(matches!(
        Producers::restore(&bytes),
        Err(SnapshotError::Malformed(_))
    ));
}

#[test]
fn that_name_a_producer_twice_are_refused() {
    let bytes = [0, 2, 14, 0, 0, 0, 0, 14, 0, 0, 0, 0];
    assert_eq!(
        Producers::restore(&bytes).expect_err("twice"),
        SnapshotError::Unordered { producer_id: 7 }
    );
}

#[test]
fn keep_when_each_producer_was_seen() {
    let mut producers = Producers::default();
    producers.record(&batch("7/0 0+1"), 0, TIMELESS, Millis(123));
    let restored = Producers::restore(&producers.snapshot()).expect("what was written is read");
    assert_eq!(restored.next_deadline(), producers.next_deadline());
}

#[test]
fn are_small() {
    let mut producers = Producers::default();
    for id in 0..10_000 {
        for sequence in 0..5 {
            producers.record(
                &batch(&format!("{id}/0 {sequence}+1")),
                1 << 40,
                TIMELESS,
                NOW,
            );
        }
    }
    assert!(
        producers.snapshot().len() < 800_000,
        "{}",
        producers.snapshot().len()
    );
}

#[test]
fn of_as_many_producers_as_there_may_be_fit_into_a_checkpoint() {
    let most = ProducerLimits::default().producers as i64;
    let mut producers = Producers::default();
    for step in 0..7 {
        for id in 0..most {
            let sequence = 2_000_000_000 + step * 100_000;
            let id = i64::MAX - id;
            let header = batch(&format!("{id}/30000 {sequence}+100000*"));
            let offset = (1 << 55) + (i64::from(step) * most + id % most) * 1_000_000;
            if step == 1 {
                producers.record_marker(&header, i32::MAX, offset, NOW);
            } else {
                producers.record(&header, offset, 1_800_000_000_000, NOW);
            }
        }
    }
    assert_eq!(producers.open, producers.len());
    let length = producers.snapshot().len();
    assert!(length < 3 << 19, "{length}");
}

proptest! {
    #[test]
    fn of_any_state_are_read_back(batches in prop::collection::vec(any_batch(), 0..60)) {
        let mut producers = Producers::default();
        for (at, header) in batches.iter().enumerate() {
            producers.record(header, at as i64 * 100, TIMELESS, Millis(at as i64));
        }
        let restored = Producers::restore(&producers.snapshot()).expect("what was written is read");
        prop_assert_eq!(&restored.by_id, &producers.by_id);
        prop_assert_eq!(restored.snapshot(), producers.snapshot());
    }

    #[test]
    fn that_are_cut_anywhere_are_refused(
        batches in prop::collection::vec(any_batch(), 1..9),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut producers = Producers::default();
        batches.iter().for_each(|header| producers.record(header, 5, TIMELESS, NOW));
        let bytes = producers.snapshot();
        let cut = 1 + cut.index(bytes.len() - 1);
        prop_assert!(Producers::restore(&bytes[..cut]).is_err());
    }

    #[test]
    fn of_any_bytes_are_read_or_refused_without_a_panic(mut bytes: Vec<u8>) {
        let _ = Producers::restore(&bytes);
        bytes.insert(0, 0);
        if let Ok(producers) = Producers::restore(&bytes) {
            let again = Producers::restore(&producers.snapshot()).expect("what was written is read");
            prop_assert_eq!(again.by_id, producers.by_id);
        }
    }
}
