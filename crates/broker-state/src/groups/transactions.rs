//! Offsets that are committed with a transaction: they wait for its end and count from then on, or never did.
//!
//! Keeps true: until the end of its transaction an offset is seen by nobody; a commit made after it, by whatever way, is
//! not undone by that end; what the log says of open transactions is the same after it was rewritten.
//! Source of rules: KIP-98, KIP-447, Kafka's OffsetMetadataManager.

use std::collections::{BTreeMap, BTreeSet};

use wire::ErrorCode;

use super::command::CommitOffsets;
use super::consumer::CommitAdmission;
use super::durable::{DurableGroup, DurableGroups};
use super::ids::{GroupId, TopicName};
use super::live::LiveGroup;
use super::records::{CommittedOffset, Record};
use super::reply::Reply;
use super::{GroupEffects, Groups};
use crate::producer_ids::ProducerIdentity;
use crate::step::{Millis, RequestId};

/// A change that belongs to a transaction: in the log its batch says whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionChange {
    /// An offset that waits for the end of its transaction.
    Offset {
        producer: ProducerIdentity,
        group: GroupId,
        topic: TopicName,
        partition: i32,
        committed: CommittedOffset,
    },
    /// The end: a control batch.
    End {
        producer: ProducerIdentity,
        coordinator_epoch: i32,
        is_commit: bool,
    },
}

/// An offset that waits for the end of its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingOffset {
    pub producer: ProducerIdentity,
    pub committed: CommittedOffset,
    /// Whether it came after what is committed now: an older one is dropped at the end, even of a commit.
    pub is_newer: bool,
}

/// Pending offsets by topic and partition, each partition's in the order in which they came.
pub type PendingOffsets = BTreeMap<TopicName, BTreeMap<i32, Vec<PendingOffset>>>;

/// The partitions that each producer with an open transaction has offsets pending for.
pub(super) type OpenTransactions = BTreeMap<i64, BTreeSet<(GroupId, TopicName, i32)>>;

impl Groups {
    /// Ends a transaction; without pending offsets there is nothing to write. An end with an epoch from before the open
    /// transaction's is that of an earlier one.
    pub(super) fn end_transaction(
        &mut self,
        now: Millis,
        request: RequestId,
        end: TransactionChange,
        effects: &mut GroupEffects,
    ) {
        let producer = end.producer();
        let error = match self.durable.epoch_of_open(producer.producer_id) {
            Some(open) if producer.producer_epoch < open => ErrorCode::InvalidProducerEpoch,
            Some(_) => {
                self.step(now, effects).write(Record::Transaction(end));
                ErrorCode::None
            }
            None => ErrorCode::None,
        };
        effects.reply(request, Reply::TransactionEnded(error));
    }

    /// Who may commit in a transaction: a producer that says nothing of a member is fenced by its epoch alone (KIP-447).
    pub(super) fn check_transactional_commit(
        &mut self,
        commit: &CommitOffsets,
    ) -> Result<CommitAdmission, ErrorCode> {
        super::admission::check_group_id(&commit.group)?;
        let names_member = commit.generation.is_some()
            || !commit.member_id.is_empty()
            || commit.instance_id.is_some();
        match self.live.get(&commit.group) {
            Some(LiveGroup::Share(_)) => Err(ErrorCode::GroupIdNotFound),
            Some(_) if !names_member => Ok(CommitAdmission::Everything),
            Some(LiveGroup::Classic(group)) => {
                let (member, instance) = (&commit.member_id, commit.instance_id.as_ref());
                group.check_transactional_commit(member, instance, commit.generation)?;
                Ok(CommitAdmission::Everything)
            }
            Some(LiveGroup::Consumer(group)) => group.check_commit(commit, &self.durable),
            None => self.check_commit_without_members(commit),
        }
    }
}

impl TransactionChange {
    pub fn producer(&self) -> ProducerIdentity {
        match self {
            TransactionChange::Offset { producer, .. }
            | TransactionChange::End { producer, .. } => *producer,
        }
    }
}

impl DurableGroup {
    /// Whether an open transaction may still change the offset of this partition.
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        self.pending
            .get(topic)
            .is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Partitions with an offset, committed or pending.
    pub(super) fn partitions_with_offsets(&self) -> BTreeSet<(TopicName, i32)> {
        let committed = self.offsets.iter().flat_map(|(topic, partitions)| {
            partitions.keys().map(move |index| (topic.clone(), *index))
        });
        let pending = self.pending.iter().flat_map(|(topic, partitions)| {
            partitions.keys().map(move |index| (topic.clone(), *index))
        });
        committed.chain(pending).collect()
    }

    /// A commit outside of these transactions is newer than all of them.
    pub(super) fn outdate_pending(&mut self, topic: &TopicName, partition: i32) {
        let pending = self
            .pending
            .get_mut(topic)
            .and_then(|partitions| partitions.get_mut(&partition));
        for pending in pending.into_iter().flatten() {
            pending.is_newer = false;
        }
    }

    /// The records of pending offsets that are newer than what is committed, or of those that are not.
    pub(super) fn pending_records(
        &self,
        id: &GroupId,
        newer: bool,
    ) -> impl Iterator<Item = Record> + '_ {
        let id = id.clone();
        self.pending.iter().flat_map(move |(topic, partitions)| {
            let id = id.clone();
            partitions.iter().flat_map(move |(partition, pending)| {
                let id = id.clone();
                let pending = pending.iter().filter(move |one| one.is_newer == newer);
                pending.map(move |one| {
                    Record::Transaction(TransactionChange::Offset {
                        producer: one.producer,
                        group: id.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        committed: one.committed.clone(),
                    })
                })
            })
        })
    }
}

impl DurableGroups {
    /// Whether this producer has offsets that wait for the end of its transaction.
    pub fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.open_transactions.contains_key(&producer_id)
    }

    /// The epoch of this producer's open transaction.
    fn epoch_of_open(&self, producer_id: i64) -> Option<i16> {
        let open = self.open_transactions.get(&producer_id)?;
        let pending = open.iter().filter_map(|(group, topic, partition)| {
            let partitions = self.groups.get(group)?.pending.get(topic)?;
            partitions.get(partition)
        });
        let of_producer = pending
            .flatten()
            .filter(|one| one.producer.producer_id == producer_id);
        of_producer.map(|one| one.producer.producer_epoch).max()
    }

    pub(super) fn apply_transaction(&mut self, change: &TransactionChange) {
        match change {
            TransactionChange::Offset {
                producer,
                group,
                topic,
                partition,
                committed,
            } => {
                let key = (group.clone(), topic.clone(), *partition);
                let open = self.open_transactions.entry(producer.producer_id);
                open.or_default().insert(key);
                let group = self.groups.entry(group.clone()).or_default();
                let partitions = group.pending.entry(topic.clone()).or_default();
                let pending = partitions.entry(*partition).or_default();
                pending.retain(|one| one.producer.producer_id != producer.producer_id);
                pending.push(PendingOffset {
                    producer: *producer,
                    committed: committed.clone(),
                    is_newer: true,
                });
            }
            TransactionChange::End {
                producer,
                is_commit,
                ..
            } => {
                let open = self.open_transactions.remove(&producer.producer_id);
                for (group, topic, partition) in open.unwrap_or_default() {
                    self.change(&group, |group| {
                        end_pending(group, &topic, partition, producer.producer_id, *is_commit);
                    });
                }
            }
        }
    }

    /// A deleted offset takes with it what open transactions would make of it.
    pub(super) fn drop_pending(&mut self, id: &GroupId, topic: &TopicName, partition: i32) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let Some(partitions) = group.pending.get_mut(topic) else {
            return;
        };
        let dropped = partitions.remove(&partition).unwrap_or_default();
        if partitions.is_empty() {
            group.pending.remove(topic);
        }
        let key = (id.clone(), topic.clone(), partition);
        for pending in dropped {
            let producer_id = pending.producer.producer_id;
            if let Some(open) = self.open_transactions.get_mut(&producer_id) {
                open.remove(&key);
                if open.is_empty() {
                    self.open_transactions.remove(&producer_id);
                }
            }
        }
    }
}

fn end_pending(
    group: &mut DurableGroup,
    topic: &TopicName,
    partition: i32,
    producer_id: i64,
    is_commit: bool,
) {
    let Some(partitions) = group.pending.get_mut(topic) else {
        return;
    };
    let pending = partitions.entry(partition).or_default();
    let mut counts = None;
    let is_this = |one: &PendingOffset| one.producer.producer_id == producer_id;
    if let Some(place) = pending.iter().position(is_this) {
        let ended = pending.remove(place);
        if is_commit && ended.is_newer {
            // Those that came before it are older than what is committed now.
            pending[..place]
                .iter_mut()
                .for_each(|one| one.is_newer = false);
            counts = Some(ended.committed);
        }
    }
    if pending.is_empty() {
        partitions.remove(&partition);
    }
    if partitions.is_empty() {
        group.pending.remove(topic);
    }
    if let Some(committed) = counts {
        let partitions = group.offsets.entry(topic.clone()).or_default();
        partitions.insert(partition, committed);
    }
}
