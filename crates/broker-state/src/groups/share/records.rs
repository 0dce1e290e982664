//! The records of share groups as Kafka writes them, keys 9 to 15; every value is version 0, flexible.
//!
//! ```text
//! key                            value
//!  9  group                      (partition metadata of Kafka 4.0's early access, not used)
//! 10  group, member: string      rack: string?, client id, host: string, topics: [string]
//! 11  group                      epoch: int32, metadata hash: int64
//! 12  group                      epoch: int32, tag 0: time: int64
//! 13  group, member              [topic id, partitions: [int32]]
//! 14  group, member              epoch, previous epoch: int32, state: int8, [topic id, partitions: [int32]]
//! 15  group                      initializing, initialized: [topic id, name: string, [int32]], deleting: [topic id, name]
//! ```

use super::state::{InitializedTopics, ShareChange, ShareCurrent, ShareMember};
use crate::groups::consumer::{AssignmentEpoch, GroupEpoch, Partitions};
use crate::groups::ids::{GroupId, MemberId, TopicName};
use crate::groups::records::RecordError;
use crate::groups::records::codec::{Flavour, Reader, Writer};
use crate::step::Millis;

const PARTITION_METADATA_KEY: i16 = 9;
const MEMBER_KEY: i16 = 10;
const GROUP_KEY: i16 = 11;
const ASSIGNMENT_KEY: i16 = 12;
const TARGET_KEY: i16 = 13;
const CURRENT_KEY: i16 = 14;
const INITIALIZED_KEY: i16 = 15;
/// The only state of a member: it has what it was given.
const STABLE: i8 = 0;

impl ShareChange {
    /// Whether records with this key are about share groups.
    pub(in crate::groups) fn has_key(key: i16) -> bool {
        (PARTITION_METADATA_KEY..=INITIALIZED_KEY).contains(&key)
    }

    fn key(&self) -> (i16, Option<&MemberId>) {
        match self {
            ShareChange::PartitionMetadata => (PARTITION_METADATA_KEY, None),
            ShareChange::Member(member, _) => (MEMBER_KEY, Some(member)),
            ShareChange::Group(_) => (GROUP_KEY, None),
            ShareChange::Assignment(_) => (ASSIGNMENT_KEY, None),
            ShareChange::Target(member, _) => (TARGET_KEY, Some(member)),
            ShareChange::Current(member, _) => (CURRENT_KEY, Some(member)),
            ShareChange::Initialized(_) => (INITIALIZED_KEY, None),
        }
    }

    /// About how many bytes key and value take beyond the group's name; never less than they do.
    pub(in crate::groups) fn size(&self) -> usize {
        let (_, member) = self.key();
        let of = |partitions: &Partitions| -> usize {
            let topics = partitions.values();
            topics.map(|partitions| 32 + 4 * partitions.len()).sum()
        };
        let value = match self {
            ShareChange::Member(_, Some(member)) => {
                let topics = member.topics.iter().map(|topic| 8 + topic.as_str().len());
                let rack = member.rack_id.as_ref().map_or(0, String::len);
                rack + member.client_id.len() + member.client_host.len() + topics.sum::<usize>()
            }
            ShareChange::Target(_, Some(target)) => of(target),
            ShareChange::Current(_, Some(current)) => of(&current.assigned),
            ShareChange::Initialized(Some(topics)) => {
                let topics = topics.values();
                let size = |(name, partitions): &(TopicName, std::collections::BTreeSet<i32>)| {
                    40 + name.as_str().len() + 4 * partitions.len()
                };
                topics.map(size).sum()
            }
            _ => 0,
        };
        64 + member.map_or(0, |member| member.as_str().len()) + value
    }

    /// Key and value; no value is a tombstone.
    pub(in crate::groups) fn encode(&self, group: &GroupId) -> (Vec<u8>, Option<Vec<u8>>) {
        let (kind, member) = self.key();
        let mut key = Writer::new(kind);
        key.text(group.as_str());
        if let Some(member) = member {
            key.text(member.as_str());
        }
        let value = match self {
            ShareChange::PartitionMetadata => None,
            ShareChange::Member(_, value) => value.as_ref().map(encode_member),
            ShareChange::Group(value) => value.as_ref().map(encode_group),
            ShareChange::Assignment(value) => value.as_ref().map(encode_assignment),
            ShareChange::Target(_, value) => value.as_ref().map(encode_target),
            ShareChange::Current(_, value) => value.as_ref().map(encode_current),
            ShareChange::Initialized(value) => value.as_ref().map(encode_initialized),
        };
        (key.finish(), value)
    }

    /// Reads what follows the group in the key, and the value.
    pub(in crate::groups) fn decode(
        kind: i16,
        mut key: Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Self, RecordError> {
        let member = match kind {
            MEMBER_KEY | TARGET_KEY | CURRENT_KEY => MemberId::from(key.text("member")?),
            _ => MemberId::default(),
        };
        key.end("share group key")?;
        Ok(match kind {
            MEMBER_KEY => ShareChange::Member(member, read(kind, value, decode_member)?),
            GROUP_KEY => ShareChange::Group(read(kind, value, decode_group)?),
            ASSIGNMENT_KEY => ShareChange::Assignment(read(kind, value, decode_assignment)?),
            TARGET_KEY => ShareChange::Target(member, read(kind, value, decode_target)?),
            CURRENT_KEY => ShareChange::Current(member, read(kind, value, decode_current)?),
            INITIALIZED_KEY => ShareChange::Initialized(read(kind, value, decode_initialized)?),
            _ => ShareChange::PartitionMetadata,
        })
    }
}

/// Reads a value of version 0, or nothing for a tombstone.
fn read<T>(
    key: i16,
    value: Option<&[u8]>,
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, RecordError>,
) -> Result<Option<T>, RecordError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let mut value = Reader::new(value);
    let version = value.int16("value version")?;
    if version != 0 {
        return Err(RecordError::UnknownValue { key, version });
    }
    value.flavour = Flavour::Flexible;
    let decoded = decode(&mut value)?;
    value.end("share group value")?;
    Ok(Some(decoded))
}

fn encode_member(member: &ShareMember) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.nullable_text(member.rack_id.as_deref());
    value.text(&member.client_id);
    value.text(&member.client_host);
    value.count(member.topics.len());
    for topic in &member.topics {
        value.text(topic.as_str());
    }
    value.tags(&[]);
    value.finish()
}

fn decode_member(value: &mut Reader<'_>) -> Result<ShareMember, RecordError> {
    let rack_id = value.nullable_text("rack id")?.map(str::to_owned);
    let client_id = value.text("client id")?.to_owned();
    let client_host = value.text("client host")?.to_owned();
    let topics = value.array_of("topics", |value| Ok(TopicName::from(value.text("topic")?)))?;
    value.skip_tags("member tags")?;
    Ok(ShareMember {
        rack_id,
        client_id,
        client_host,
        topics: topics.into_iter().collect(),
    })
}

fn encode_group(group: &GroupEpoch) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.int32(group.epoch);
    value.int64(group.metadata_hash);
    value.tags(&[]);
    value.finish()
}

fn decode_group(value: &mut Reader<'_>) -> Result<GroupEpoch, RecordError> {
    let epoch = GroupEpoch {
        epoch: value.int32("group epoch")?,
        metadata_hash: value.int64("metadata hash")?,
    };
    value.skip_tags("group tags")?;
    Ok(epoch)
}

fn encode_assignment(assignment: &AssignmentEpoch) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.int32(assignment.epoch);
    match assignment.made_at {
        Millis(0) => value.tags(&[]),
        Millis(made_at) => value.tags(&[(0, &made_at.to_be_bytes())]),
    }
    value.finish()
}

fn decode_assignment(value: &mut Reader<'_>) -> Result<AssignmentEpoch, RecordError> {
    let epoch = value.int32("assignment epoch")?;
    let mut made_at = Millis(0);
    value.each_tag("assignment tags", |tag, bytes| {
        if let (0, Ok(bytes)) = (tag, bytes.try_into()) {
            made_at = Millis(i64::from_be_bytes(bytes));
        }
    })?;
    Ok(AssignmentEpoch { epoch, made_at })
}

fn write_partitions(value: &mut Writer, topics: &Partitions) {
    value.count(topics.len());
    for (topic, partitions) in topics {
        value.uuid(*topic);
        value.count(partitions.len());
        partitions
            .iter()
            .for_each(|partition| value.int32(*partition));
        value.tags(&[]);
    }
}

fn read_partitions(value: &mut Reader<'_>) -> Result<Partitions, RecordError> {
    let topics = value.array_of("topics", |value| {
        let topic = value.uuid("topic id")?;
        let partitions = value.array_of("partitions", |value| value.int32("partition"))?;
        value.skip_tags("topic tags")?;
        Ok((topic, partitions.into_iter().collect()))
    })?;
    Ok(topics.into_iter().collect())
}

fn encode_target(target: &Partitions) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    write_partitions(&mut value, target);
    value.tags(&[]);
    value.finish()
}

fn decode_target(value: &mut Reader<'_>) -> Result<Partitions, RecordError> {
    let target = read_partitions(value)?;
    value.skip_tags("target tags")?;
    Ok(target)
}

fn encode_current(current: &ShareCurrent) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.int32(current.epoch);
    value.int32(current.previous_epoch);
    value.int8(STABLE);
    write_partitions(&mut value, &current.assigned);
    value.tags(&[]);
    value.finish()
}

fn decode_current(value: &mut Reader<'_>) -> Result<ShareCurrent, RecordError> {
    let epoch = value.int32("member epoch")?;
    let previous_epoch = value.int32("previous member epoch")?;
    value.int8("member state")?;
    let assigned = read_partitions(value)?;
    value.skip_tags("current assignment tags")?;
    Ok(ShareCurrent {
        epoch,
        previous_epoch,
        assigned,
    })
}

/// Nothing is ever on its way here: a topic is initialized before anybody is told, and deleted in one step.
fn encode_initialized(topics: &InitializedTopics) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.count(0);
    value.count(topics.len());
    for (topic, (name, partitions)) in topics {
        value.uuid(*topic);
        value.text(name.as_str());
        value.count(partitions.len());
        partitions
            .iter()
            .for_each(|partition| value.int32(*partition));
        value.tags(&[]);
    }
    value.count(0);
    value.tags(&[]);
    value.finish()
}

fn decode_initialized(value: &mut Reader<'_>) -> Result<InitializedTopics, RecordError> {
    let read_topic = |value: &mut Reader<'_>| {
        let topic = value.uuid("topic id")?;
        let name = TopicName::from(value.text("topic name")?);
        let partitions = value.array_of("partitions", |value| value.int32("partition"))?;
        value.skip_tags("topic tags")?;
        Ok((topic, (name, partitions.into_iter().collect())))
    };
    value.array_of("initializing topics", read_topic)?;
    let initialized = value.array_of("initialized topics", read_topic)?;
    value.array_of("deleting topics", |value| {
        value.uuid("topic id")?;
        value.text("topic name")?;
        value.skip_tags("topic tags")
    })?;
    value.skip_tags("state partition tags")?;
    Ok(initialized.into_iter().collect())
}
