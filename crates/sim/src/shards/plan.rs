//! What happens in a step: random events, each with the answer that it must get, given all events before it.

use std::fmt;

use broker::shard::{AppendItem, AppendOutcome, Event, Slot};
use broker_state::configs::{Durability, TopicSettings};
use log::Fault;
use wire::records::CheckedBatch;
use wire::{ErrorCode, Uuid};

use super::{Answer, Live, SHARDS, World, producer_id};
use crate::invariant::invariant;
use crate::model::{Crash, LogModel, Stamp, anonymous};
use crate::rig::Sabotage;
use crate::sequences::{Sequences, Verdict};
use crate::story;

/// The answer that an event must get.
pub enum Expected {
    Appended {
        items: Vec<ExpectedItem>,
        is_silent: bool,
    },
    Opened {
        place: usize,
    },
    Deleted {
        slot: Slot,
    },
    RecordsDeleted {
        place: usize,
        topic_id: Uuid,
        result: Result<i64, ErrorCode>,
    },
    Nothing,
}

impl Expected {
    pub fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::Nothing
                | Self::Appended {
                    is_silent: true,
                    ..
                }
        )
    }
}

/// What must become of one batch, and what its acknowledgement promises.
pub struct ExpectedItem {
    place: usize,
    topic_id: Uuid,
    verdict: ItemVerdict,
    outlives: Crash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ItemVerdict {
    Stored {
        is_duplicate: bool,
        base_offset: i64,
        end: i64,
        log_append_time: i64,
    },
    Refused(ErrorCode),
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appended { items, is_silent } => {
                f.write_str(if *is_silent { "in silence " } else { "" })?;
                f.debug_list().entries(items).finish()
            }
            Self::Opened { place } => write!(f, "p{place}"),
            Self::Deleted { slot } => write!(f, "{slot:?}"),
            Self::RecordsDeleted { place, result, .. } => write!(f, "p{place} {result:?}"),
            Self::Nothing => Ok(()),
        }
    }
}

impl fmt::Debug for ExpectedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} ", self.place)?;
        match &self.verdict {
            ItemVerdict::Stored {
                is_duplicate,
                base_offset,
                end,
                ..
            } => {
                let again = if *is_duplicate { " again" } else { "" };
                let outlives = self.outlives;
                write!(f, "{base_offset}..{end}{again} outlives {outlives:?}")
            }
            ItemVerdict::Refused(error) => write!(f, "{error:?}"),
        }
    }
}

impl World {
    /// Some events for one shard.
    pub(super) fn plan(&mut self, shard: usize) -> (Vec<Event>, Vec<(u64, Expected)>) {
        let mut planned = Vec::new();
        self.deleted_in_step.clear();
        for _ in 0..1 + self.dice.below(8) {
            let event = match self.dice.below(60) {
                0..42 => self.plan_append(shard),
                42..46 => self.plan_delete_records(shard),
                46..49 => self.plan_configure(shard),
                49 => self.plan_delete(shard),
                50..53 => self.plan_create(shard),
                53..55 => self.plan_checkpointed(shard),
                _ => Some((Event::Tick, Expected::Nothing)),
            };
            let Some((event, expected)) = event else {
                continue;
            };
            story::tell(format!(
                "{} shard {shard} {}: {expected:?}",
                self.now_ms,
                name_of(&event)
            ));
            planned.push((event, (self.next_number, expected)));
            self.next_number += 1;
        }
        planned.into_iter().unzip()
    }

    /// Sometimes the disk fails or the machine stops at one of the next operations.
    pub(super) fn plan_fault(&mut self, may_fill: bool) {
        let nth = 1 + self.dice.below(12) as u64;
        match self.dice.below(30) {
            0 => self.rig.fail_at(nth, Fault::DeviceError),
            1 | 3 if may_fill => {
                self.may_be_full = true;
                self.rig.fail_at(nth, Fault::NoSpace);
            }
            2 => self.rig.stop_at(nth),
            _ => return,
        }
        story::tell(format!("  the disk fails at operation {nth}"));
    }

    /// An open partition of a shard.
    fn any_open(&mut self, shard: usize) -> Option<usize> {
        let is_open = |number: &usize| {
            let place = &self.places[*number];
            place.shard == shard && place.live.as_ref().is_some_and(|live| live.slot.is_some())
        };
        let open: Vec<usize> = (0..self.places.len()).filter(is_open).collect();
        (!open.is_empty()).then(|| *self.dice.pick(&open))
    }

    fn plan_append(&mut self, shard: usize) -> Option<(Event, Expected)> {
        let mut items = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            if self.dice.one_in(40) {
                items.extend(self.stale_item(shard, &mut expected));
                continue;
            }
            let number = self.any_open(shard)?;
            let batch = self.any_batch(number);
            let live = self.places[number].live.as_mut().expect("it is open");
            let verdict = judge(live, &batch, self.now_ms);
            let (topic_id, outlives) = (live.topic_id, live.outlives());
            expected.push(ExpectedItem {
                place: number,
                topic_id,
                verdict,
                outlives,
            });
            let partition = live.slot.clone().expect("it is open");
            items.push(AppendItem {
                partition,
                batch,
                verified_at: None,
            });
        }
        let is_silent = self.sabotage == Sabotage::LyingSyncUnacknowledged || self.dice.one_in(10);
        let reply = match is_silent {
            true => broker::shard::Reply::ignored(),
            false => self.reply(self.next_number, Answer::Appended),
        };
        if self.sabotage == Sabotage::WrongShard && self.dice.one_in(10) {
            story::tell("the next event goes to the wrong shard".to_owned());
            let reply = broker::shard::Reply::ignored();
            let _ = self.shards[(shard + 1) % SHARDS]
                .step(self.now_ms, [Event::Append { items, reply }]);
            return None;
        }
        let expected = Expected::Appended {
            items: expected,
            is_silent,
        };
        Some((Event::Append { items, reply }, expected))
    }

    /// A batch for a partition that was deleted meanwhile.
    fn stale_item(&mut self, shard: usize, expected: &mut Vec<ExpectedItem>) -> Option<AppendItem> {
        let of_shard = |(of, slot): &(usize, Slot)| (*of == shard).then(|| slot.clone());
        let stale: Vec<Slot> = self.stale.iter().filter_map(of_shard).collect();
        let partition = stale.last()?.clone();
        let batch = self.mint.batch(&mut self.dice, self.now_ms, 1, None);
        expected.push(ExpectedItem {
            place: 0,
            topic_id: Uuid::ZERO,
            verdict: ItemVerdict::Refused(ErrorCode::UnknownTopicOrPartition),
            outlives: Crash::Kill,
        });
        Some(AppendItem {
            partition,
            batch,
            verified_at: None,
        })
    }

    /// What a client may well send next: something new, something again, or something wrong.
    fn any_batch(&mut self, number: usize) -> CheckedBatch {
        let live = self.places[number].live.as_mut().expect("it is open");
        if !live.lost.is_empty() && self.dice.one_in(2) {
            return live.lost.remove(0);
        }
        let log_start = live.model.log_start();
        let (sequences, model) = (&live.sequences, &live.model);
        let producer_id = producer_id(number, live.producers, self.dice.below(3));
        let repeatable: Vec<CheckedBatch> = sequences
            .repeatable(producer_id)
            .into_iter()
            .filter(|offset| *offset >= log_start)
            .filter_map(|offset| model.entry_at(offset))
            .map(|entry| entry.batch.clone())
            .collect();
        let kind = self.dice.below(20);
        if kind < 5 && !repeatable.is_empty() {
            let again = self.dice.pick(&repeatable).clone();
            return match self.sabotage {
                Sabotage::AnonymousRetries => anonymous(&again),
                _ => again,
            };
        }
        let is_known_for_sure = !repeatable.is_empty();
        let next = sequences.next(producer_id);
        let stamp = self.stamp(kind, producer_id, next, is_known_for_sure);
        let late = if kind == 19 { 4_000_000 } else { 0 };
        let timestamp = self.now_ms + late - self.dice.between(0, 30_000).max(0);
        let count = 1 + self.dice.below(4);
        self.mint.batch(&mut self.dice, timestamp, count, stamp)
    }

    fn stamp(
        &mut self,
        kind: usize,
        producer_id: i64,
        next: Option<(i16, i32)>,
        is_known_for_sure: bool,
    ) -> Option<Stamp> {
        let (epoch, sequence) = match next {
            None => (0, *self.dice.pick(&[0, 7, i32::MAX - 3])),
            Some((epoch, _)) if kind == 5 && is_known_for_sure => (epoch + 1, 0),
            Some((epoch, sequence)) if kind == 6 && is_known_for_sure => {
                (epoch, sequence.wrapping_add(3) & i32::MAX)
            }
            Some((epoch, sequence)) if kind == 7 && is_known_for_sure && epoch > 0 => {
                (epoch - 1, sequence)
            }
            Some(next) => next,
        };
        let stamp = Stamp {
            producer_id,
            epoch,
            sequence,
        };
        (kind < 15).then_some(stamp)
    }

    fn plan_delete_records(&mut self, shard: usize) -> Option<(Event, Expected)> {
        let number = self.any_open(shard)?;
        let live = self.places[number].live.as_mut()?;
        let (start, end) = (live.model.log_start(), live.model.end());
        let before = match self.dice.below(6) {
            0 => -1,
            1 => end + 1,
            _ => self.dice.between(start.min(end), end),
        };
        let target = if before == -1 { end } else { before };
        let result = if target > end {
            Err(ErrorCode::OffsetOutOfRange)
        } else {
            live.model.ask_to_delete_before(target);
            Ok(target)
        };
        let (topic_id, partition) = (live.topic_id, live.slot.clone()?);
        let reply = self.reply(self.next_number, Answer::RecordsDeleted);
        let expected = Expected::RecordsDeleted {
            place: number,
            topic_id,
            result,
        };
        let event = Event::DeleteRecords {
            partition,
            before,
            reply,
        };
        Some((event, expected))
    }

    fn plan_configure(&mut self, shard: usize) -> Option<(Event, Expected)> {
        let number = self.any_open(shard)?;
        let settings = self.any_settings();
        let live = self.places[number].live.as_mut()?;
        story::tell(format!(
            "configure p{number} {:?}, segments of {} bytes and {} ms, retention {:?} bytes and {:?} ms",
            settings.durability,
            settings.segment_bytes,
            settings.segment_ms,
            settings.retention_bytes,
            settings.retention_ms
        ));
        live.settings = settings;
        live.settings_of_step.push(settings);
        let partitions = vec![live.slot.clone()?];
        let event = Event::Configure {
            partitions,
            settings,
        };
        Some((event, Expected::Nothing))
    }

    pub(super) fn any_settings(&mut self) -> TopicSettings {
        let dice = &mut self.dice;
        TopicSettings {
            segment_bytes: *dice.pick(&[600, 3_000, 20_000, 1 << 20]),
            segment_ms: *dice.pick(&[20_000, 604_800_000]),
            index_interval_bytes: *dice.pick(&[0, 300, 4_096]),
            retention_ms: *dice.pick(&[None, Some(500_000), Some(604_800_000)]),
            retention_bytes: *dice.pick(&[None, None, Some(8_000)]),
            is_log_append_time: dice.one_in(4),
            durability: *dice.pick(&[
                Durability::Sync,
                Durability::Sync,
                Durability::Interval { flush_ms: 1_000 },
                Durability::Os,
            ]),
            ..TopicSettings::default()
        }
    }

    fn plan_delete(&mut self, shard: usize) -> Option<(Event, Expected)> {
        let number = self.any_open(shard)?;
        let slot = self.places[number].live.take()?.slot?;
        self.deleted_in_step.push(number);
        self.stale.push((shard, slot.clone()));
        let reply = self.reply(self.next_number, |()| Answer::Deleted);
        let partitions = vec![slot.clone()];
        Some((
            Event::Delete { partitions, reply },
            Expected::Deleted { slot },
        ))
    }

    fn plan_create(&mut self, shard: usize) -> Option<(Event, Expected)> {
        let is_free = |number: &usize| {
            let place = &self.places[*number];
            // Whoever deletes a partition waits for the answer before the name is given again.
            let is_given_up = !self.deleted_in_step.contains(number);
            place.shard == shard && place.live.is_none() && is_given_up
        };
        let number = (0..self.places.len()).find(is_free)?;
        self.create(number);
        Some(self.open_event(number))
    }

    /// The controller decides that there is a topic; its partition is opened after that.
    pub(super) fn create(&mut self, number: usize) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.dice.next() | 1).to_be_bytes());
        let settings = self.any_settings();
        let place = &mut self.places[number];
        place.live = Some(Live {
            topic_id: Uuid(id),
            slot: None,
            settings,
            model: LogModel::new(&*place.name),
            sequences: Sequences::default(),
            lost: Vec::new(),
            producers: 0,
            settings_of_step: vec![settings],
            settings_of_trim: Vec::new(),
        });
    }

    /// What came of a job in the background.
    fn plan_checkpointed(&mut self, shard: usize) -> Option<(Event, Expected)> {
        let trimmed = self.trimmed.iter().position(|(of, _, _)| *of == shard);
        if let Some(at) = trimmed {
            let (_, partition, trimmed) = self.trimmed.remove(at);
            let event = Event::Trimmed { partition, trimmed };
            return Some((event, Expected::Nothing));
        }
        let of_shard = |(of, _, _): &(usize, Slot, _)| *of == shard;
        let at = self.finished.iter().position(of_shard)?;
        let (_, partition, finished) = self.finished.remove(at);
        let event = Event::Checkpointed {
            partition,
            finished,
        };
        Some((event, Expected::Nothing))
    }

    /// Compares an answer with what was expected; tells whether it is a failure of the disk.
    pub(super) fn check(&mut self, number: u64, expected: Expected, answer: Answer) -> bool {
        match (expected, answer) {
            (Expected::Appended { items, .. }, Answer::Appended(outcomes)) => {
                invariant!(
                    EveryRequestIsAnswered,
                    items.len() == outcomes.len(),
                    "event {number} has {} outcomes for {} batches",
                    outcomes.len(),
                    items.len()
                );
                for (item, outcome) in items.iter().zip(outcomes) {
                    self.check_item(item, outcome);
                }
            }
            (Expected::Opened { place }, Answer::Opened(opened)) => {
                return self.check_opened(place, opened);
            }
            (Expected::Deleted { slot }, Answer::Deleted) => {
                invariant!(
                    EveryRequestIsAnswered,
                    slot.is_closed(),
                    "{slot:?} is deleted but open"
                );
            }
            (
                Expected::RecordsDeleted {
                    place,
                    topic_id,
                    result,
                },
                Answer::RecordsDeleted(found),
            ) => self.check_records_deleted(place, topic_id, result, found),
            (expected, _) => panic!("EveryRequestIsAnswered: {expected:?} got another answer"),
        }
        false
    }

    fn check_item(&mut self, item: &ExpectedItem, mut outcome: AppendOutcome) {
        if outcome.error == ErrorCode::KafkaStorageError {
            self.full.insert(item.place);
            return;
        }
        let name = &self.places[item.place].name;
        let (base_offset, end, is_duplicate) = match item.verdict {
            ItemVerdict::Refused(error) => {
                self.reached.refused += 1;
                return invariant!(
                    ReplayEqualsLive,
                    outcome.error == error,
                    "{name} answers {outcome:?} where {error:?} is due"
                );
            }
            ItemVerdict::Stored {
                is_duplicate,
                base_offset,
                end,
                ..
            } => (base_offset, end, is_duplicate),
        };
        if self.sabotage == Sabotage::WrongFirstOffset && is_duplicate {
            outcome.base_offset += 1;
        }
        invariant!(
            ReplayEqualsLive,
            outcome.error == ErrorCode::None,
            "{name} refuses what it must take: {outcome:?}"
        );
        invariant!(
            DuplicateHasFirstOffset,
            !is_duplicate || outcome.base_offset == base_offset,
            "{name} answers a batch sent again with {outcome:?}; it is at {base_offset}"
        );
        invariant!(
            OffsetsAreDense,
            outcome.base_offset == base_offset,
            "{name} stores a batch at {}, where {base_offset} is next",
            outcome.base_offset
        );
        self.reached.duplicates += u64::from(is_duplicate);
        self.reached.acknowledged += 1;
        let live = self.places[item.place].live.as_mut();
        if let Some(live) = live.filter(|live| live.topic_id == item.topic_id) {
            live.model.acknowledge(end, item.outlives);
        }
    }

    fn check_records_deleted(
        &mut self,
        place: usize,
        topic_id: Uuid,
        expected: Result<i64, ErrorCode>,
        found: Result<i64, (ErrorCode, String)>,
    ) {
        let name = &self.places[place].name;
        match (expected, found) {
            (Err(expected), Err((error, _))) if expected == error => {}
            (_, Err((ErrorCode::KafkaStorageError, _))) => {
                self.full.insert(place);
            }
            // It was asked for what the disk had no room for.
            (_, Err((ErrorCode::OffsetOutOfRange, _))) if self.full.contains(&place) => {}
            // Retention may have moved it further.
            (Ok(expected), Ok(start)) if start >= expected => {
                self.reached.deleted_records += 1;
                let live = self.places[place].live.as_mut();
                if let Some(live) = live.filter(|live| live.topic_id == topic_id) {
                    live.model.deleted_before(expected);
                }
            }
            (expected, found) => {
                panic!("LogStartNeverGoesBack: {name} answers {found:?} where {expected:?} is due")
            }
        }
    }
}

/// What must become of a batch; it counts as sent from now on.
fn judge(live: &mut Live, batch: &CheckedBatch, now_ms: i64) -> ItemVerdict {
    let header = batch.header();
    let settings = &live.settings;
    let is_too_new =
        header.max_timestamp.saturating_sub(now_ms) > settings.message_timestamp_after_max_ms;
    if is_too_new && !settings.is_log_append_time {
        return ItemVerdict::Refused(ErrorCode::InvalidTimestamp);
    }
    let records = i64::from(header.record_count);
    match live.sequences.judge(header) {
        Verdict::Refuse(error) => ItemVerdict::Refused(error),
        Verdict::Duplicate {
            base_offset,
            log_append_time,
        } => ItemVerdict::Stored {
            is_duplicate: true,
            base_offset,
            end: base_offset + records,
            log_append_time,
        },
        Verdict::Append => {
            let (stored, log_append_time) = match settings.is_log_append_time {
                true => (batch.with_log_append_time(now_ms), now_ms),
                false => (batch.clone(), -1),
            };
            let base_offset = live.model.append(stored);
            live.sequences.append(header, base_offset, log_append_time);
            ItemVerdict::Stored {
                is_duplicate: false,
                base_offset,
                end: base_offset + records,
                log_append_time,
            }
        }
    }
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Append { .. } => "append",
        Event::WriteMarkers { .. } => "write markers",
        Event::Open { .. } => "open",
        Event::Delete { .. } => "delete",
        Event::Configure { .. } => "configure",
        Event::DeleteRecords { .. } => "delete records",
        Event::DescribeProducers { .. } => "describe producers",
        Event::Checkpointed { .. } => "checkpointed",
        Event::Trimmed { .. } => "trimmed",
        Event::CheckpointPutOff { .. } => "checkpoint put off",
        Event::TrimPutOff { .. } => "trim put off",
        Event::Swapped { .. } => "swapped",
        Event::Compacted { .. } => "compacted",
        Event::Upkeep(_) => "upkeep",
        Event::Tick => "tick",
        Event::Close { .. } => "close",
    }
}
