//! What survives a restart: group metadata and committed offsets, changed by `apply` alone.
//!
//! Keeps true: applying the records of `records()` to an empty state gives the same state.

use std::collections::BTreeMap;

use super::consumer::{ConsumerChange, ConsumerState};
use super::ids::{GroupId, TopicName};
use super::records::{CommittedOffset, GroupMetadata, Record};
use super::share::{ShareChange, ShareState};
use super::transactions::{OpenTransactions, PendingOffsets};

/// The durable state of all groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurableGroups {
    pub(super) groups: BTreeMap<GroupId, DurableGroup>,
    pub(super) open_transactions: OpenTransactions,
}

/// The durable state of one group: metadata once a classic generation was recorded, offsets by topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurableGroup {
    pub metadata: Option<GroupMetadata>,
    /// What a consumer group (KIP-848) is; never beside `metadata`.
    pub consumer: Option<ConsumerState>,
    /// What a share group (KIP-932) is; never beside one of the others.
    pub share: Option<ShareState>,
    pub offsets: BTreeMap<TopicName, BTreeMap<i32, CommittedOffset>>,
    /// Offsets that wait for the end of their transactions.
    pub pending: PendingOffsets,
}

impl DurableGroup {
    /// How many partitions have a committed offset.
    pub fn offset_count(&self) -> usize {
        self.offsets.values().map(BTreeMap::len).sum()
    }

    /// Whether members are recorded.
    pub fn has_members(&self) -> bool {
        let metadata = self.metadata.as_ref();
        let consumer = self.consumer.as_ref();
        let share = self.share.as_ref();
        metadata.is_some_and(|metadata| !metadata.members.is_empty())
            || consumer.is_some_and(|consumer| !consumer.members.is_empty())
            || share.is_some_and(|share| !share.members.is_empty())
    }

    /// The committed offset of one partition.
    pub fn offset(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.offsets.get(topic)?.get(&partition)
    }

    fn is_nothing(&self) -> bool {
        let has_protocol =
            self.metadata.is_some() || self.consumer.is_some() || self.share.is_some();
        !has_protocol && self.offsets.is_empty() && self.pending.is_empty()
    }
}

impl DurableGroups {
    /// Applies one record. Tombstones of what is not there change nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                committed,
            } => {
                let group = self.groups.entry(group.clone()).or_default();
                group.outdate_pending(topic, *partition);
                let partitions = group.offsets.entry(topic.clone()).or_default();
                partitions.insert(*partition, committed.clone());
            }
            Record::OffsetTombstone {
                group,
                topic,
                partition,
            } => {
                self.drop_pending(group, topic, *partition);
                self.change(group, |group| remove_offset(group, topic, *partition));
            }
            Record::GroupMetadata { group, metadata } => {
                self.groups.entry(group.clone()).or_default().metadata = Some(metadata.clone());
            }
            Record::GroupTombstone { group } => self.change(group, |group| group.metadata = None),
            Record::Consumer { group, change } => self.apply_to_consumer(group, change),
            Record::Share { group, change } => self.apply_to_share(group, change),
            Record::Transaction(change) => self.apply_transaction(change),
        }
    }

    /// The whole state as records, group by group.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.groups.iter().flat_map(|(id, group)| {
            let metadata = group
                .metadata
                .iter()
                .map(move |metadata| Record::GroupMetadata {
                    group: id.clone(),
                    metadata: metadata.clone(),
                });
            let offsets = group.offsets.iter().flat_map(move |(topic, partitions)| {
                partitions
                    .iter()
                    .map(move |(partition, committed)| Record::OffsetCommit {
                        group: id.clone(),
                        topic: topic.clone(),
                        partition: *partition,
                        committed: committed.clone(),
                    })
            });
            let consumer = group.consumer.iter().flat_map(ConsumerState::changes);
            let consumer = consumer.map(move |change| Record::Consumer {
                group: id.clone(),
                change,
            });
            let share = group.share.iter().flat_map(ShareState::changes);
            let share = share.map(move |change| Record::Share {
                group: id.clone(),
                change,
            });
            // What is committed comes between the pending offsets that are older and those that are newer.
            let (older, newer) = (
                group.pending_records(id, false),
                group.pending_records(id, true),
            );
            metadata
                .chain(consumer)
                .chain(share)
                .chain(older)
                .chain(offsets)
                .chain(newer)
        })
    }

    pub fn get(&self, group: &str) -> Option<&DurableGroup> {
        self.groups.get(group)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&GroupId, &DurableGroup)> {
        self.groups.iter()
    }

    /// The groups after `group` in their order; all of them for `None`.
    pub fn after(
        &self,
        group: Option<&GroupId>,
    ) -> impl Iterator<Item = (&GroupId, &DurableGroup)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.groups
            .range::<GroupId, _>((group.map_or(Unbounded, Excluded), Unbounded))
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn apply_to_consumer(&mut self, id: &GroupId, change: &ConsumerChange) {
        if change.is_some() {
            let group = self.groups.entry(id.clone()).or_default();
            group.consumer.get_or_insert_default().apply(change);
        } else if *change == ConsumerChange::Group(None) {
            self.change(id, |group| group.consumer = None);
        } else {
            self.change(id, |group| {
                if let Some(consumer) = &mut group.consumer {
                    consumer.apply(change);
                }
            });
        }
    }

    fn apply_to_share(&mut self, id: &GroupId, change: &ShareChange) {
        if change.is_some() {
            let group = self.groups.entry(id.clone()).or_default();
            group.share.get_or_insert_default().apply(change);
        } else if *change == ShareChange::Group(None) {
            self.change(id, |group| group.share = None);
        } else {
            self.change(id, |group| {
                if let Some(share) = &mut group.share {
                    share.apply(change);
                }
            });
        }
    }

    /// Changes a group that exists, and forgets it when nothing of it is left.
    pub(super) fn change(&mut self, id: &GroupId, change: impl FnOnce(&mut DurableGroup)) {
        if let Some(group) = self.groups.get_mut(id) {
            change(group);
            if group.is_nothing() {
                self.groups.remove(id);
            }
        }
    }
}

fn remove_offset(group: &mut DurableGroup, topic: &TopicName, partition: i32) {
    if let Some(partitions) = group.offsets.get_mut(topic) {
        partitions.remove(&partition);
        if partitions.is_empty() {
            group.offsets.remove(topic);
        }
    }
}
