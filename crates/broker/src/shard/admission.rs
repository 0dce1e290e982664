//! What a shard takes in before it writes: batches and markers, admitted in order, and the answers that wait for the commit.

use wire::ErrorCode;

use super::event::{AppendItem, AppendOutcome, Marker, MarkerOutcome, Reply};
use super::space::{HeldMarkers, refused_without_space};
use super::step::{Fatal, Shard, StepTimes};

/// A marker that waits for space on the disk.
const WITHOUT_SPACE: MarkerOutcome = ErrorCode::KafkaStorageError;

pub(super) struct WaitingReply {
    pub(super) answer: WaitingAnswer,
    /// Where each of the outcomes lies.
    slots: Vec<Option<usize>>,
    pub(super) waits_for_sync: bool,
}

pub(super) enum WaitingAnswer {
    Appended(Vec<AppendOutcome>, Reply<Vec<AppendOutcome>>),
    Ended(HeldMarkers),
}

impl Shard {
    pub(super) fn admit(
        &mut self,
        now_ms: i64,
        items: Vec<AppendItem>,
        reply: Reply<Vec<AppendOutcome>>,
    ) {
        let mut waits_for_sync = false;
        let mut outcomes = Vec::with_capacity(items.len());
        let mut slots = Vec::with_capacity(items.len());
        for item in items {
            let slot = self.slot_of(&item.partition);
            slots.push(slot);
            let Some(slot) = slot else {
                outcomes.push(AppendOutcome::refused(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("{:?} has been deleted", item.partition),
                ));
                continue;
            };
            outcomes.push(self.admit_one(slot, &item, now_ms));
            let owned = self.owned(slot);
            waits_for_sync |= owned.is_touched && owned.is_synced_by_step();
        }
        self.replies.push(WaitingReply {
            answer: WaitingAnswer::Appended(outcomes, reply),
            slots,
            waits_for_sync,
        });
    }

    fn admit_one(&mut self, slot: usize, item: &AppendItem, now_ms: i64) -> AppendOutcome {
        let owned = self.partitions[slot].as_mut().expect("slot_of found it");
        let bytes = item.batch.bytes().len() as u64;
        let look = || owned.log.space();
        if owned.is_full() || !self.gauge.admits(bytes, now_ms, look) {
            return refused_without_space(&owned.shared);
        }
        let was_touched = owned.is_touched;
        let outcome = owned.append(&item.batch, item.verified_at, now_ms);
        if owned.is_touched && !was_touched {
            self.touched.push(slot);
        }
        outcome
    }

    /// As `admit`, for markers: their partitions are synced by this step whatever their durability.
    pub(super) fn admit_markers(
        &mut self,
        now_ms: i64,
        markers: Vec<Marker>,
        reply: Reply<Vec<MarkerOutcome>>,
        times: &mut StepTimes,
    ) -> Result<(), Fatal> {
        // Who did not want to wait for a sync does not wait for that of a marker, either.
        if self.replies.iter().any(|reply| !reply.waits_for_sync) {
            self.commit(now_ms, times)?;
        }
        let outcomes = vec![WITHOUT_SPACE; markers.len()];
        self.admit_held(
            now_ms,
            HeldMarkers {
                markers,
                outcomes,
                reply,
            },
        );
        Ok(())
    }

    /// Appends those markers that no disk had room for so far.
    pub(super) fn admit_held(&mut self, now_ms: i64, mut held: HeldMarkers) {
        let mut slots = Vec::with_capacity(held.markers.len());
        for (marker, outcome) in held.markers.iter().zip(&mut held.outcomes) {
            let slot = self.slot_of(&marker.partition);
            slots.push(slot.filter(|_| *outcome == WITHOUT_SPACE));
            if *outcome != WITHOUT_SPACE {
                continue;
            }
            let Some(slot) = slot else {
                *outcome = ErrorCode::UnknownTopicOrPartition;
                continue;
            };
            let owned = self.partitions[slot].as_mut().expect("slot_of found it");
            if owned.is_full() {
                continue;
            }
            let was_touched = owned.is_touched;
            *outcome = owned.append_marker(marker, now_ms);
            if owned.is_touched && !was_touched {
                self.touched.push(slot);
            }
        }
        self.replies.push(WaitingReply {
            answer: WaitingAnswer::Ended(held),
            slots,
            waits_for_sync: true,
        });
    }

    /// Turns into refusals what was admitted to logs that the disk had no room for.
    pub(super) fn refuse_unwritten(&mut self, replies: &mut [WaitingReply]) {
        for reply in replies {
            for (number, slot) in reply.slots.iter().enumerate() {
                let Some(slot) = *slot else { continue };
                let owned = self.owned(slot);
                if !owned.is_full() {
                    continue;
                }
                match &mut reply.answer {
                    WaitingAnswer::Appended(outcomes, _) => {
                        outcomes[number] = refused_without_space(&owned.shared);
                    }
                    WaitingAnswer::Ended(held) => held.outcomes[number] = WITHOUT_SPACE,
                }
            }
        }
    }

    pub(super) fn deliver(&mut self, replies: Vec<WaitingReply>) {
        for reply in replies {
            match reply.answer {
                WaitingAnswer::Appended(outcomes, reply) => reply.deliver(outcomes),
                // The end of a transaction is not given up: nobody would write it again before the next start.
                WaitingAnswer::Ended(held) if held.outcomes.contains(&WITHOUT_SPACE) => {
                    self.held.push(held);
                }
                WaitingAnswer::Ended(held) => held.reply.deliver(held.outcomes),
            }
        }
    }
}
