//! Claims about InitProducerId for producers without transactions.

use super::*;
use crate::producer_ids::{BLOCK, LAST_EPOCH};

#[test]
fn the_first_producer_reserves_a_block_and_the_next_ones_write_nothing() {
    let mut run = Run::new();
    let reserved = MetadataRecord::ProducerIdsReserved { next: BLOCK };
    assert_eq!(run.init_producer(None), (vec![reserved], "0/0".to_owned()));
    for producer_id in 1..BLOCK {
        assert_eq!(
            run.init_producer(None),
            (vec![], format!("{producer_id}/0"))
        );
    }
    let reserved = MetadataRecord::ProducerIdsReserved { next: 2 * BLOCK };
    assert_eq!(
        run.init_producer(None),
        (vec![reserved], format!("{BLOCK}/0"))
    );
}

#[test]
fn after_a_restart_no_id_is_handed_out_again() {
    let mut run = Run::new();
    run.init_producer(None);
    run.init_producer(None);
    run.restart();
    assert_eq!(run.init_producer(None).1, format!("{BLOCK}/0"));
}

#[test]
fn a_producer_with_an_identity_gets_its_next_epoch_also_after_a_restart() {
    let mut run = Run::new();
    run.init_producer(None);
    assert_eq!(run.init_producer(Some((0, 0))), (vec![], "0/1".to_owned()));
    run.restart();
    assert_eq!(run.init_producer(Some((0, 1))), (vec![], "0/2".to_owned()));
}

#[test]
fn at_the_last_epoch_a_producer_gets_a_new_id() {
    let mut run = Run::new();
    run.init_producer(None);
    assert_eq!(
        run.init_producer(Some((0, LAST_EPOCH))),
        (vec![], "1/0".to_owned())
    );
}

#[test]
fn an_identity_from_elsewhere_is_replaced_by_a_new_one() {
    let mut run = Run::new();
    assert_eq!(run.init_producer(Some((5, 3))).1, "0/0".to_owned());
    assert_eq!(run.init_producer(Some((BLOCK, 3))).1, "1/0".to_owned());
}

#[test]
fn half_an_identity_is_refused() {
    let mut run = Run::new();
    assert_eq!(
        run.init_producer(Some((5, -1))),
        (vec![], "INVALID_REQUEST".to_owned())
    );
}
