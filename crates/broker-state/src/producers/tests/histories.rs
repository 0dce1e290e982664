//! Claims about whole histories of clients, retries and restarts.

use super::*;

proptest! {
    /// Whatever clients send, and wherever the broker restarts, no batch is in the log twice while its producer
    /// may still retry it.
    #[test]
    fn no_batch_is_appended_twice_within_the_window(
        sent in prop::collection::vec((any_batch(), prop::bool::weighted(0.1)), 0..80),
    ) {
        let mut partition = Partition::new();
        for (header, restarts) in sent {
            if restarts {
                partition.producers = partition.recovered(partition.log.len() / 2);
            }
            partition.send_batch(header);
        }
        for id in 0..4 {
            let of_producer: Vec<&BatchHeader> =
                partition.log.iter().filter(|header| header.producer_id == id).collect();
            for window in of_producer.windows(WINDOW) {
                let newest = window[WINDOW - 1];
                let same = |header: &&&BatchHeader| {
                    (header.producer_epoch, header.base_sequence, header.record_count)
                        == (newest.producer_epoch, newest.base_sequence, newest.record_count)
                };
                prop_assert_eq!(window.iter().filter(same).count(), 1);
            }
            prop_assert!(of_producer.is_sorted_by_key(|header| header.producer_epoch), "epochs never go back");
        }
    }

    /// A client with five requests in flight over a line that loses answers and repeats requests.
    #[test]
    fn a_client_that_retries_until_it_is_answered_gets_each_batch_in_once(
        repeats in prop::collection::vec(1..4_usize, 1..60),
        first in prop_oneof![Just(0), Just(i32::MAX - 20)],
    ) {
        let mut partition = Partition::new();
        let mut sequence = first;
        for (at, repeat) in repeats.iter().enumerate() {
            let text = format!("7/0 {sequence}+1");
            prop_assert_eq!(partition.send(&text), at.to_string());
            for _ in 1..*repeat {
                prop_assert_eq!(partition.send(&text), format!("{at} again"));
            }
            sequence = next_sequence(sequence);
        }
        prop_assert_eq!(partition.end(), repeats.len() as i64);
    }
}
