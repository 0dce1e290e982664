//! Where each producer's writing ended: what compaction must not forget of them.

use super::Producers;

/// The end of one producer's writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEnd {
    pub producer_id: i64,
    pub epoch: i16,
    /// The last offset of its last batch of records; none if only a marker of it is known.
    pub last_data_offset: Option<i64>,
}

impl Producers {
    /// One for each producer that is known.
    pub fn ends(&self) -> impl Iterator<Item = ProducerEnd> {
        self.by_id.iter().map(|(producer_id, producer)| {
            let last_data_offset = producer.window.back().map(|batch| {
                // Sequences go from the largest number on to 0.
                let records = batch.last_sequence.wrapping_sub(batch.base_sequence) & i32::MAX;
                batch.base_offset + i64::from(records)
            });
            ProducerEnd {
                producer_id: *producer_id,
                epoch: producer.epoch,
                last_data_offset,
            }
        })
    }
}
