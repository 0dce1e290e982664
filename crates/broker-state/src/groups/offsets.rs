//! Committed offsets: commit, fetch, delete, and the ways in which they end (topic deleted, retention over).
//!
//! Retention follows KIP-211: offsets of a group are kept while it has members that subscribe to the topic; they end
//! `offsets.retention.minutes` after the group became empty, or after their commit where nobody subscribes.

use std::collections::BTreeSet;

use wire::{ErrorCode, Uuid};

use super::classic::Subscribed;
use super::command::{CommitOffsets, CommitPartition, DeleteOffsets, FetchOffsets};
use super::consumer::CommitAdmission;
use super::durable::DurableGroup;
use super::ids::{GroupId, TopicName};
use super::records::{CommittedOffset, MAX_TEXT_BYTES, Record};
use super::reply::{
    CommittedTopic, DeleteOffsetsReply, FetchReply, FetchedPartition, FetchedTopic, GroupState,
    Reply,
};
use super::settings::GroupSettings;
use super::transactions::TransactionChange;
use super::{GroupEffects, Groups};
use crate::producer_ids::ProducerIdentity;
use crate::step::{Millis, RequestId};

impl Groups {
    pub(super) fn commit_offsets(
        &mut self,
        now: Millis,
        request: RequestId,
        commit: CommitOffsets,
        producer: Option<ProducerIdentity>,
        effects: &mut GroupEffects,
    ) {
        let checked = match producer {
            Some(_) => self.check_transactional_commit(&commit),
            None => self.check_commit(now, &commit),
        };
        let mut room = self.room_for_offsets(&commit.group);
        let mut topics = Vec::with_capacity(commit.topics.len());
        for topic in commit.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition;
                let admitted = checked
                    .as_ref()
                    .map_err(|error| *error)
                    .and_then(|admission| admission.check(topic.topic_id, index))
                    .and_then(|()| check_partition(&topic.topic, &partition, &self.settings))
                    .and_then(|()| self.take_room(&commit.group, &topic.topic, index, &mut room));
                if admitted.is_ok() {
                    let committed =
                        committed_offset(now, commit.retention, topic.topic_id, partition);
                    let (group, topic) = (commit.group.clone(), topic.topic.clone());
                    let record = commit_record(producer, group, topic, index, committed);
                    self.step(now, effects).write(record);
                }
                partitions.push((index, admitted.err().unwrap_or(ErrorCode::None)));
            }
            topics.push(CommittedTopic {
                topic: topic.topic,
                topic_id: topic.topic_id,
                partitions,
            });
        }
        effects.reply(request, Reply::CommitOffsets(topics));
    }

    /// Answers with committed offsets; what was never committed, or by another incarnation of the topic, is -1.
    pub fn fetch_offsets(&self, fetch: &FetchOffsets) -> FetchReply {
        if fetch.group.is_empty() {
            return FetchReply {
                error: ErrorCode::InvalidGroupId,
                topics: Vec::new(),
            };
        }
        let group = self.durable.get(fetch.group.as_str());
        let consumer = group.and_then(|group| group.consumer.as_ref());
        let checked =
            consumer.map(|group| group.check_fetch(fetch.member_id.as_ref(), fetch.member_epoch));
        if let Some(Err(error)) = checked {
            return FetchReply {
                error,
                topics: Vec::new(),
            };
        }
        let mut topics = match &fetch.topics {
            None => group.map_or_else(Vec::new, all_offsets),
            Some(topics) => topics
                .iter()
                .map(|topic| FetchedTopic {
                    topic: topic.topic.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|partition| {
                            let committed = group
                                .and_then(|group| group.offset(topic.topic.as_str(), *partition));
                            fetched(
                                *partition,
                                committed.filter(|offset| {
                                    is_same_topic(offset.topic_id, topic.topic_id)
                                }),
                            )
                        })
                        .collect(),
                })
                .collect(),
        };
        if let Some(group) = group.filter(|_| fetch.require_stable) {
            refuse_unstable(group, &mut topics);
        }
        FetchReply {
            error: ErrorCode::None,
            topics,
        }
    }

    pub(super) fn delete_offsets(
        &mut self,
        now: Millis,
        request: RequestId,
        delete: DeleteOffsets,
        effects: &mut GroupEffects,
    ) {
        let subscribed = match self.check_delete_offsets(&delete.group) {
            Ok(subscribed) => subscribed,
            Err(error) => {
                effects.reply(
                    request,
                    Reply::DeleteOffsets(DeleteOffsetsReply {
                        error,
                        topics: Vec::new(),
                    }),
                );
                return;
            }
        };
        let mut topics = Vec::with_capacity(delete.topics.len());
        for (topic, partitions) in delete.topics {
            let in_use = subscribed.includes(topic.as_str());
            let error = if in_use {
                ErrorCode::GroupSubscribedToTopic
            } else {
                ErrorCode::None
            };
            for partition in partitions.iter().filter(|_| !in_use) {
                self.forget_offset(now, &delete.group, &topic, *partition, effects);
            }
            topics.push((
                topic,
                partitions
                    .into_iter()
                    .map(|partition| (partition, error))
                    .collect(),
            ));
        }
        effects.reply(
            request,
            Reply::DeleteOffsets(DeleteOffsetsReply {
                error: ErrorCode::None,
                topics,
            }),
        );
    }

    /// Drops the committed offsets of topics that are gone. Offsets of another incarnation of the name stay.
    pub fn topics_deleted(
        &mut self,
        now: Millis,
        topics: &[(TopicName, Uuid)],
        effects: &mut GroupEffects,
    ) {
        let mut gone = Vec::new();
        for (id, group) in self.durable.iter() {
            for (topic, topic_id) in topics {
                let partitions = group.offsets.get(topic.as_str()).into_iter().flatten();
                let deleted =
                    partitions.filter(|(_, offset)| is_same_topic(offset.topic_id, *topic_id));
                let committed = deleted.map(|(partition, _)| *partition);
                let pending = pending_of_topic(group, topic, *topic_id);
                let partitions: BTreeSet<i32> = committed.chain(pending).collect();
                gone.extend(
                    partitions
                        .into_iter()
                        .map(|partition| (id.clone(), topic.clone(), partition)),
                );
            }
        }
        for (group, topic, partition) in gone {
            self.forget_offset(now, &group, &topic, partition, effects);
        }
        let ids: Vec<Uuid> = topics.iter().map(|(_, id)| *id).collect();
        self.share_topics_deleted(now, &ids, effects);
    }

    /// Expires offsets and forgets groups with neither members nor offsets, so many at a time that a tick stays short.
    pub(super) fn sweep(&mut self, now: Millis, effects: &mut GroupEffects) {
        let mut tombstones = Vec::new();
        let mut looked_at = 0;
        let mut reached = None;
        for (id, group) in self.durable.after(self.sweep_after.as_ref()) {
            if looked_at >= self.settings.max_swept_per_tick {
                break;
            }
            looked_at += 1 + group.offset_count();
            reached = Some(id.clone());
            self.collect_expired(now, id, group, &mut tombstones);
        }
        let is_done = looked_at < self.settings.max_swept_per_tick;
        let interval = self.settings.offsets_retention_check_interval;
        self.next_sweep = if is_done { now + interval } else { now };
        self.sweep_after = reached.filter(|_| !is_done);
        for tombstone in tombstones {
            self.step(now, effects).write(tombstone);
        }
    }

    fn collect_expired(
        &self,
        now: Millis,
        id: &GroupId,
        group: &DurableGroup,
        tombstones: &mut Vec<Record>,
    ) {
        let Some(kept) = self.kept_offsets(id) else {
            return;
        };
        let empty_since = match &group.metadata {
            Some(metadata) if kept == Subscribed::Nobody && !metadata.protocol_type.is_empty() => {
                metadata.state_since
            }
            _ => None,
        };
        let before = tombstones.len();
        let offsets = group.offsets.iter();
        for (topic, partitions) in offsets.filter(|(topic, _)| !kept.includes(topic.as_str())) {
            for (partition, offset) in partitions {
                let is_stable = !group.is_unstable(topic.as_str(), *partition);
                if is_stable && is_expired(offset, empty_since, now, &self.settings) {
                    tombstones.push(tombstone(id, topic, *partition));
                }
            }
        }
        let all_gone = tombstones.len() - before == group.offset_count();
        let all_gone = all_gone && group.pending.is_empty();
        // A share group stays until somebody deletes it, as in Kafka: what it has worked on is not in its offsets.
        if all_gone && group.share.is_none() && !self.live.contains_key(id) {
            tombstones.extend(group.tombstones(id));
        }
    }

    /// Which offsets of a group retention does not touch; `None` for all of them: while the group rebalances, and
    /// while it has members whose topics the broker does not know.
    fn kept_offsets(&self, id: &GroupId) -> Option<Subscribed> {
        let Some(live) = self.live.get(id) else {
            return Some(Subscribed::Nobody);
        };
        let subscribed = live.subscribed(&self.durable);
        match (live.state(&self.durable), subscribed) {
            (GroupState::Empty, _) => Some(Subscribed::Nobody),
            (GroupState::PreparingRebalance | GroupState::CompletingRebalance, _) => None,
            (_, subscribed @ Subscribed::To(_)) => Some(subscribed),
            _ => None,
        }
    }

    fn check_commit(
        &mut self,
        now: Millis,
        commit: &CommitOffsets,
    ) -> Result<CommitAdmission, ErrorCode> {
        super::admission::check_group_id(&commit.group)?;
        if let Some(live) = self.live.get_mut(&commit.group) {
            return live.check_commit(now, commit, &self.durable);
        }
        self.check_commit_without_members(commit)
    }

    pub(super) fn check_commit_without_members(
        &self,
        commit: &CommitOffsets,
    ) -> Result<CommitAdmission, ErrorCode> {
        let exists = self.durable.get(commit.group.as_str()).is_some();
        match (exists, commit.generation.is_some()) {
            (true, false) => Ok(CommitAdmission::Everything),
            (true, true) => Err(ErrorCode::UnknownMemberId),
            (false, true) => Err(ErrorCode::GroupIdNotFound),
            (false, false) if self.is_full() => Err(ErrorCode::PolicyViolation),
            (false, false) => Ok(CommitAdmission::Everything),
        }
    }

    /// Which subscriptions protect offsets from deletion.
    fn check_delete_offsets(&self, group: &GroupId) -> Result<Subscribed, ErrorCode> {
        super::admission::check_group_id(group)?;
        if !self.exists(group) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let live = self.live.get(group);
        match live.map(|live| live.subscribed(&self.durable)) {
            None => Ok(Subscribed::Nobody),
            Some(Subscribed::Unknown) => Err(ErrorCode::NonEmptyGroup),
            Some(subscribed) => Ok(subscribed),
        }
    }

    pub(super) fn forget_offset(
        &mut self,
        now: Millis,
        group: &GroupId,
        topic: &TopicName,
        partition: i32,
        effects: &mut GroupEffects,
    ) {
        let known = self
            .durable
            .get(group.as_str())
            .filter(|group| has_offset(group, topic, partition));
        if known.is_some() {
            self.step(now, effects)
                .write(tombstone(group, topic, partition));
        }
    }

    fn room_for_offsets(&self, group: &GroupId) -> usize {
        let group = self.durable.get(group.as_str());
        let committed = group.map_or(0, |group| match group.pending.is_empty() {
            true => group.offset_count(),
            false => group.partitions_with_offsets().len(),
        });
        self.settings
            .max_offsets_per_group
            .saturating_sub(committed)
    }

    /// A partition that is committed for the first time takes a place; others have theirs.
    fn take_room(
        &self,
        group: &GroupId,
        topic: &TopicName,
        partition: i32,
        room: &mut usize,
    ) -> Result<(), ErrorCode> {
        let group = self.durable.get(group.as_str());
        if group.is_some_and(|group| has_offset(group, topic, partition)) {
            return Ok(());
        }
        *room = room
            .checked_sub(1)
            .ok_or(ErrorCode::InvalidCommitOffsetSize)?;
        Ok(())
    }
}

fn check_partition(
    topic: &TopicName,
    partition: &CommitPartition,
    settings: &GroupSettings,
) -> Result<(), ErrorCode> {
    if topic.as_str().len() > MAX_TEXT_BYTES {
        return Err(ErrorCode::InvalidTopicException);
    }
    let metadata = partition.metadata.as_deref().unwrap_or_default();
    // Kafka counts UTF-16 units, of which there are never more than bytes.
    let limit = settings.max_offset_metadata_bytes;
    let is_long = metadata.len() > limit && metadata.encode_utf16().count() > limit;
    if is_long || metadata.len() > MAX_TEXT_BYTES {
        Err(ErrorCode::OffsetMetadataTooLarge)
    } else {
        Ok(())
    }
}

fn committed_offset(
    now: Millis,
    retention: Option<std::time::Duration>,
    topic_id: Uuid,
    partition: CommitPartition,
) -> CommittedOffset {
    let expires_at = retention.map(|retention| now + retention);
    // The record with an expiry time of its own has no place for these two; what replay would lose is not kept at all.
    let is_plain = expires_at.is_none();
    CommittedOffset {
        offset: partition.offset,
        leader_epoch: if is_plain { partition.leader_epoch } else { -1 },
        metadata: partition.metadata.unwrap_or_default(),
        committed_at: now,
        expires_at,
        topic_id: if is_plain { topic_id } else { Uuid::ZERO },
    }
}

fn commit_record(
    producer: Option<ProducerIdentity>,
    group: GroupId,
    topic: TopicName,
    partition: i32,
    committed: CommittedOffset,
) -> Record {
    match producer {
        None => Record::OffsetCommit {
            group,
            topic,
            partition,
            committed,
        },
        Some(producer) => Record::Transaction(TransactionChange::Offset {
            producer,
            group,
            topic,
            partition,
            committed,
        }),
    }
}

/// Whether the partition has an offset, committed or pending.
fn has_offset(group: &DurableGroup, topic: &TopicName, partition: i32) -> bool {
    group.offset(topic.as_str(), partition).is_some()
        || group.is_unstable(topic.as_str(), partition)
}

/// The partitions of a deleted topic that have pending offsets.
fn pending_of_topic(
    group: &DurableGroup,
    topic: &TopicName,
    topic_id: Uuid,
) -> impl Iterator<Item = i32> {
    let partitions = group.pending.get(topic.as_str()).into_iter().flatten();
    partitions
        .filter(move |(_, pending)| {
            let mut topics = pending.iter().map(|one| one.committed.topic_id);
            topics.any(|id| is_same_topic(id, topic_id))
        })
        .map(|(partition, _)| *partition)
}

fn refuse_unstable(group: &DurableGroup, topics: &mut [FetchedTopic]) {
    for topic in topics {
        for partition in &mut topic.partitions {
            if group.is_unstable(topic.topic.as_str(), partition.partition) {
                *partition = FetchedPartition {
                    error: ErrorCode::UnstableOffsetCommit,
                    ..fetched(partition.partition, None)
                };
            }
        }
    }
}

fn is_expired(
    offset: &CommittedOffset,
    empty_since: Option<Millis>,
    now: Millis,
    settings: &GroupSettings,
) -> bool {
    match offset.expires_at {
        Some(expires_at) => now >= expires_at,
        None => now.since(empty_since.unwrap_or(offset.committed_at)) >= settings.offsets_retention,
    }
}

/// An id that is not known matches any.
fn is_same_topic(committed: Uuid, asked: Uuid) -> bool {
    committed == asked || committed == Uuid::ZERO || asked == Uuid::ZERO
}

pub(super) fn tombstone(group: &GroupId, topic: &TopicName, partition: i32) -> Record {
    Record::OffsetTombstone {
        group: group.clone(),
        topic: topic.clone(),
        partition,
    }
}

fn all_offsets(group: &DurableGroup) -> Vec<FetchedTopic> {
    let topics = group.offsets.iter();
    topics
        .map(|(topic, partitions)| FetchedTopic {
            topic: topic.clone(),
            topic_id: partitions
                .values()
                .next_back()
                .map_or(Uuid::ZERO, |offset| offset.topic_id),
            partitions: partitions
                .iter()
                .map(|(partition, offset)| fetched(*partition, Some(offset)))
                .collect(),
        })
        .collect()
}

fn fetched(partition: i32, committed: Option<&CommittedOffset>) -> FetchedPartition {
    FetchedPartition {
        partition,
        offset: committed.map_or(-1, |offset| offset.offset),
        leader_epoch: committed.map_or(-1, |offset| offset.leader_epoch),
        metadata: committed.map_or_else(String::new, |offset| offset.metadata.clone()),
        error: ErrorCode::None,
    }
}
