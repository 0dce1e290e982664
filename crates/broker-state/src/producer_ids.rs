//! Producer ids for idempotent producers without transactions.
//!
//! Keeps true: no id is handed out twice, also across a crash. Ids come from blocks; a block is reserved by a
//! durable record before its first id leaves, and what is left of it at a crash is never used.
//! Rules: KIP-360 (epoch bump, a new id when the epochs are used up). Called by `topics`.

use std::ops::Range;

use wire::ErrorCode;

use crate::refusal::Refusal;

/// Ids in one reservation: one durable record for this many new producers.
pub const BLOCK: i64 = 1_000;

/// The epoch above this is the broker's own, for fencing (as in Kafka).
pub const LAST_EPOCH: i16 = i16::MAX - 1;

/// Who a producer is to the partitions it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdentity {
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// Which producer ids are reserved, and which of them are still to be handed out.
#[derive(Clone, Debug, Default)]
pub struct ProducerIds {
    /// Durable: ids below may be in use.
    reserved: i64,
    /// The rest of the block that was reserved since the start; empty after a replay.
    unused: Range<i64>,
}

impl ProducerIds {
    /// Ids below this may be in use.
    pub fn reserved(&self) -> i64 {
        self.reserved
    }

    /// The next epoch of a producer that says who it is, which lets its sequence numbers start again at zero;
    /// `None` when it needs a new id: it has none, its epochs are used up, or nobody handed its id out.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for an identity that cannot be.
    pub fn next_epoch(
        &self,
        current: Option<ProducerIdentity>,
    ) -> Result<Option<ProducerIdentity>, Refusal> {
        let Some(ProducerIdentity {
            producer_id,
            producer_epoch,
        }) = current
        else {
            return Ok(None);
        };
        if producer_id < 0 || producer_epoch < 0 {
            let message = format!(
                "producer id {producer_id} with epoch {producer_epoch} cannot be; give both or neither"
            );
            return Err(Refusal::invalid_request(message));
        }
        let can_grow = producer_id < self.reserved && producer_epoch < LAST_EPOCH;
        Ok(can_grow.then(|| ProducerIdentity {
            producer_id,
            producer_epoch: producer_epoch + 1,
        }))
    }

    /// An id that nobody has had, or `None` when a block must be reserved first.
    pub(crate) fn take(&mut self) -> Option<ProducerIdentity> {
        Some(ProducerIdentity {
            producer_id: self.unused.next()?,
            producer_epoch: 0,
        })
    }

    /// The block to reserve next.
    pub(crate) fn next_block(&self) -> Result<Range<i64>, Refusal> {
        match self.reserved.checked_add(BLOCK) {
            Some(end) => Ok(self.reserved..end),
            None => Err(Refusal::new(
                ErrorCode::UnknownServerError,
                "all producer ids are used up",
            )),
        }
    }

    /// Starts to hand out a block whose reservation has just been applied.
    pub(crate) fn open(&mut self, block: Range<i64>) {
        assert!(
            block.end <= self.reserved,
            "a producer id is handed out only from a reserved block"
        );
        self.unused = block;
    }

    /// A reservation from the metadata log; it never shrinks what is reserved.
    pub(crate) fn apply_reservation(&mut self, next: i64) {
        self.reserved = self.reserved.max(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(producer_id: i64, producer_epoch: i16) -> ProducerIdentity {
        ProducerIdentity {
            producer_id,
            producer_epoch,
        }
    }

    fn with_block() -> ProducerIds {
        let mut ids = ProducerIds::default();
        let block = ids.next_block().expect("ids are left");
        ids.apply_reservation(block.end);
        ids.open(block);
        ids
    }

    #[test]
    fn ids_count_up_from_zero_until_the_block_is_used_up() {
        let mut ids = with_block();
        let taken: Vec<i64> = std::iter::from_fn(|| ids.take())
            .map(|identity| identity.producer_id)
            .collect();
        assert_eq!(taken, (0..BLOCK).collect::<Vec<i64>>());
        assert_eq!(ids.next_block(), Ok(BLOCK..2 * BLOCK));
    }

    #[test]
    fn after_a_replay_the_rest_of_the_block_is_never_handed_out() {
        let mut ids = ProducerIds::default();
        ids.apply_reservation(BLOCK);
        assert_eq!(ids.take(), None);
        assert_eq!(ids.next_block(), Ok(BLOCK..2 * BLOCK));
    }

    #[test]
    fn a_producer_that_says_who_it_is_gets_its_next_epoch() {
        assert_eq!(
            with_block().next_epoch(Some(identity(7, 3))),
            Ok(Some(identity(7, 4)))
        );
        assert_eq!(
            with_block().next_epoch(Some(identity(7, LAST_EPOCH - 1))),
            Ok(Some(identity(7, LAST_EPOCH)))
        );
    }

    #[test]
    fn at_the_last_epoch_a_producer_needs_a_new_id() {
        assert_eq!(
            with_block().next_epoch(Some(identity(7, LAST_EPOCH))),
            Ok(None)
        );
        assert_eq!(
            with_block().next_epoch(Some(identity(7, i16::MAX))),
            Ok(None)
        );
    }

    #[test]
    fn an_id_that_nobody_handed_out_is_not_bumped() {
        assert_eq!(with_block().next_epoch(Some(identity(BLOCK, 0))), Ok(None));
        assert_eq!(with_block().next_epoch(None), Ok(None));
    }

    #[test]
    fn half_an_identity_is_refused() {
        for (id, epoch) in [(-1, 0), (0, -1), (-1, -1), (i64::MIN, 0)] {
            let refusal = with_block()
                .next_epoch(Some(identity(id, epoch)))
                .expect_err("cannot be");
            assert_eq!(refusal.error, ErrorCode::InvalidRequest);
        }
    }

    #[test]
    fn when_all_ids_are_used_up_a_new_one_is_refused() {
        let mut ids = ProducerIds::default();
        ids.apply_reservation(i64::MAX - 1);
        assert_eq!(
            ids.next_block().expect_err("no block is left").error,
            ErrorCode::UnknownServerError
        );
    }
}
