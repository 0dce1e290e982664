//! The records of consumer groups as Kafka writes them, keys 3 to 8 and 16; every value is version 0, flexible.
//!
//! ```text
//! key                            value
//!  3  group                      epoch: int32, tag 0: metadata hash: int64
//!  4  group                      (partition metadata of Kafka before 4.1, not used)
//!  5  group, member: string      instance, rack: string?, client id, host: string, topics: [string], regex: string?,
//!                                rebalance timeout: int32, assignor: string?, tag 0: session timeout, [name, metadata]
//!  6  group                      epoch: int32, tag 0: time: int64
//!  7  group, member              [topic id, partitions: [int32]]
//!  8  group, member              epoch, previous epoch: int32, state: int8, assigned, pending: [topic id, [int32], tag 0: [int32]]
//! 16  group, expression: string  topics: [string], version, time: int64
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::state::{
    AssignmentEpoch, ClassicMember, ConsumerChange, CurrentAssignment, GroupEpoch, MemberSettings,
    MemberState, PartitionEpochs, Partitions, ResolvedRegex,
};
use crate::groups::command::Protocol;
use crate::groups::ids::{GroupId, InstanceId, MemberId, SharedBytes, TopicName};
use crate::groups::records::RecordError;
use crate::groups::records::codec::{Flavour, Reader, Writer};
use crate::step::Millis;

const GROUP_KEY: i16 = 3;
const PARTITION_METADATA_KEY: i16 = 4;
const MEMBER_KEY: i16 = 5;
const ASSIGNMENT_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const REGEX_KEY: i16 = 16;

impl ConsumerChange {
    /// Whether records with this key are about consumer groups.
    pub(in crate::groups) fn has_key(key: i16) -> bool {
        (GROUP_KEY..=CURRENT_KEY).contains(&key) || key == REGEX_KEY
    }

    fn key(&self) -> (i16, Option<&str>) {
        match self {
            ConsumerChange::Group(_) => (GROUP_KEY, None),
            ConsumerChange::PartitionMetadata => (PARTITION_METADATA_KEY, None),
            ConsumerChange::Member(member, _) => (MEMBER_KEY, Some(member.as_str())),
            ConsumerChange::Assignment(_) => (ASSIGNMENT_KEY, None),
            ConsumerChange::Target(member, _) => (TARGET_KEY, Some(member.as_str())),
            ConsumerChange::Current(member, _) => (CURRENT_KEY, Some(member.as_str())),
            ConsumerChange::Regex(regex, _) => (REGEX_KEY, Some(regex)),
        }
    }

    /// About how many bytes key and value take beyond the group's name; never less than they do.
    pub(in crate::groups) fn size(&self) -> usize {
        let (_, name) = self.key();
        let value = match self {
            ConsumerChange::Member(_, Some(member)) => member_size(member),
            ConsumerChange::Target(_, Some(target)) => {
                let partitions = target.values().map(|partitions| 32 + 4 * partitions.len());
                partitions.sum()
            }
            ConsumerChange::Current(_, Some(current)) => {
                let topics = current
                    .assigned
                    .values()
                    .chain(current.pending_revocation.values());
                32 + topics
                    .map(|partitions| 48 + 8 * partitions.len())
                    .sum::<usize>()
            }
            ConsumerChange::Regex(_, Some(regex)) => {
                let topics = regex.topics.iter().map(|topic| 8 + topic.as_str().len());
                32 + topics.sum::<usize>()
            }
            _ => 32,
        };
        16 + name.map_or(0, str::len) + value
    }

    /// Key and value; no value is a tombstone.
    pub(in crate::groups) fn encode(&self, group: &GroupId) -> (Vec<u8>, Option<Vec<u8>>) {
        let (kind, name) = self.key();
        let mut key = Writer::new(kind);
        key.text(group.as_str());
        if let Some(name) = name {
            key.text(name);
        }
        let value = match self {
            ConsumerChange::Group(value) => value.as_ref().map(encode_group),
            ConsumerChange::PartitionMetadata => None,
            ConsumerChange::Member(_, value) => value.as_ref().map(encode_member),
            ConsumerChange::Assignment(value) => value.as_ref().map(encode_assignment),
            ConsumerChange::Target(_, value) => value.as_ref().map(encode_target),
            ConsumerChange::Current(_, value) => value.as_ref().map(encode_current),
            ConsumerChange::Regex(_, value) => value.as_ref().map(encode_regex),
        };
        (key.finish(), value)
    }

    /// Reads what follows the group in the key, and the value.
    pub(in crate::groups) fn decode(
        kind: i16,
        mut key: Reader<'_>,
        value: Option<&[u8]>,
    ) -> Result<Self, RecordError> {
        let name = match kind {
            MEMBER_KEY | TARGET_KEY | CURRENT_KEY | REGEX_KEY => key.text("member")?,
            _ => "",
        };
        key.end("consumer group key")?;
        let member = || MemberId::from(name);
        Ok(match kind {
            GROUP_KEY => ConsumerChange::Group(read(kind, value, decode_group)?),
            MEMBER_KEY => ConsumerChange::Member(member(), read(kind, value, decode_member)?),
            ASSIGNMENT_KEY => ConsumerChange::Assignment(read(kind, value, decode_assignment)?),
            TARGET_KEY => ConsumerChange::Target(member(), read(kind, value, decode_target)?),
            CURRENT_KEY => ConsumerChange::Current(member(), read(kind, value, decode_current)?),
            REGEX_KEY => ConsumerChange::Regex(name.to_owned(), read(kind, value, decode_regex)?),
            _ => ConsumerChange::PartitionMetadata,
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
    value.end("consumer group value")?;
    Ok(Some(decoded))
}

fn encode_group(group: &GroupEpoch) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.int32(group.epoch);
    write_int64_tag(&mut value, group.metadata_hash);
    value.finish()
}

fn decode_group(value: &mut Reader<'_>) -> Result<GroupEpoch, RecordError> {
    Ok(GroupEpoch {
        epoch: value.int32("group epoch")?,
        metadata_hash: read_int64_tag(value, "group tags")?,
    })
}

fn encode_assignment(assignment: &AssignmentEpoch) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.int32(assignment.epoch);
    write_int64_tag(&mut value, assignment.made_at.0);
    value.finish()
}

fn decode_assignment(value: &mut Reader<'_>) -> Result<AssignmentEpoch, RecordError> {
    Ok(AssignmentEpoch {
        epoch: value.int32("assignment epoch")?,
        made_at: Millis(read_int64_tag(value, "assignment tags")?),
    })
}

fn write_int64_tag(value: &mut Writer, number: i64) {
    match number {
        0 => value.tags(&[]),
        number => value.tags(&[(0, &number.to_be_bytes())]),
    }
}

fn read_int64_tag(value: &mut Reader<'_>, field: &'static str) -> Result<i64, RecordError> {
    let mut number = 0;
    value.each_tag(field, |tag, bytes| {
        if let (0, Ok(bytes)) = (tag, bytes.try_into()) {
            number = i64::from_be_bytes(bytes);
        }
    })?;
    Ok(number)
}

fn member_size(member: &MemberSettings) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let instance = member.instance_id.as_ref();
    let topics = member.topics.iter().map(|topic| 8 + topic.as_str().len());
    let protocols = member.classic.iter().flat_map(|classic| &classic.protocols);
    let protocols = protocols.map(|protocol| 16 + protocol.name.len() + protocol.metadata.len());
    64 + instance.map_or(0, |instance| instance.as_str().len())
        + text(&member.rack_id)
        + text(&member.regex)
        + text(&member.assignor)
        + member.client_id.len()
        + member.client_host.len()
        + topics.sum::<usize>()
        + protocols.sum::<usize>()
}

fn encode_member(member: &MemberSettings) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.nullable_text(member.instance_id.as_ref().map(InstanceId::as_str));
    value.nullable_text(member.rack_id.as_deref());
    value.text(&member.client_id);
    value.text(&member.client_host);
    write_topics(&mut value, &member.topics);
    value.nullable_text(member.regex.as_deref());
    value.millis(member.rebalance_timeout);
    value.nullable_text(member.assignor.as_deref());
    match &member.classic {
        Some(classic) => {
            let mut field = Writer::field();
            field.int8(1);
            field.millis(classic.session_timeout);
            field.count(classic.protocols.len());
            for protocol in &classic.protocols {
                field.text(&protocol.name);
                field.bytes(&protocol.metadata);
                field.tags(&[]);
            }
            field.tags(&[]);
            value.tags(&[(0, &field.finish())]);
        }
        None => value.tags(&[]),
    }
    value.finish()
}

fn decode_member(value: &mut Reader<'_>) -> Result<MemberSettings, RecordError> {
    let mut member = MemberSettings {
        instance_id: value.nullable_text("instance id")?.map(InstanceId::from),
        rack_id: value.nullable_text("rack id")?.map(str::to_owned),
        client_id: value.text("client id")?.to_owned(),
        client_host: value.text("client host")?.to_owned(),
        topics: read_topics(value)?,
        regex: value
            .nullable_text("regular expression")?
            .map(str::to_owned),
        rebalance_timeout: some_duration(value.int32("rebalance timeout")?),
        assignor: value.nullable_text("assignor")?.map(str::to_owned),
        classic: None,
    };
    let mut classic = None;
    value.each_tag("member tags", |tag, bytes| {
        if tag == 0 {
            classic = Some(bytes);
        }
    })?;
    if let Some(bytes) = classic {
        member.classic = decode_classic(bytes)?;
    }
    Ok(member)
}

/// The classic member's part: a byte that says whether there is one, then the structure.
fn decode_classic(bytes: &[u8]) -> Result<Option<ClassicMember>, RecordError> {
    let mut value = Reader::new(bytes);
    value.flavour = Flavour::Flexible;
    if value.int8("classic member")? < 0 {
        return Ok(None);
    }
    let session_timeout = some_duration(value.int32("session timeout")?);
    let protocols = value.array_of("protocols", |value| {
        let protocol = Protocol {
            name: value.text("protocol")?.to_owned(),
            metadata: SharedBytes::from(value.bytes("protocol metadata")?),
        };
        value.skip_tags("protocol tags")?;
        Ok(protocol)
    })?;
    value.skip_tags("classic member tags")?;
    value.end("classic member")?;
    Ok(Some(ClassicMember {
        session_timeout,
        protocols,
    }))
}

fn write_topics(value: &mut Writer, topics: &BTreeSet<TopicName>) {
    value.count(topics.len());
    for topic in topics {
        value.text(topic.as_str());
    }
}

fn read_topics(value: &mut Reader<'_>) -> Result<BTreeSet<TopicName>, RecordError> {
    let topics = value.array_of("topics", |value| Ok(TopicName::from(value.text("topic")?)))?;
    Ok(topics.into_iter().collect())
}

fn encode_target(target: &Partitions) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.count(target.len());
    for (topic, partitions) in target {
        value.uuid(*topic);
        value.count(partitions.len());
        partitions
            .iter()
            .for_each(|partition| value.int32(*partition));
        value.tags(&[]);
    }
    value.tags(&[]);
    value.finish()
}

fn decode_target(value: &mut Reader<'_>) -> Result<Partitions, RecordError> {
    let target = value.array_of("target", |value| {
        let topic = value.uuid("topic id")?;
        let partitions = value.array_of("partitions", |value| value.int32("partition"))?;
        value.skip_tags("topic tags")?;
        Ok((topic, partitions.into_iter().collect()))
    })?;
    value.skip_tags("target tags")?;
    Ok(target.into_iter().collect())
}

fn encode_current(current: &CurrentAssignment) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    value.int32(current.epoch);
    value.int32(current.previous_epoch);
    value.int8(match current.state {
        MemberState::Stable => 0,
        MemberState::UnrevokedPartitions => 1,
        MemberState::UnreleasedPartitions => 2,
        MemberState::Unknown => 127,
    });
    write_epochs(&mut value, &current.assigned);
    write_epochs(&mut value, &current.pending_revocation);
    value.tags(&[]);
    value.finish()
}

fn decode_current(value: &mut Reader<'_>) -> Result<CurrentAssignment, RecordError> {
    let epoch = value.int32("member epoch")?;
    let previous_epoch = value.int32("previous member epoch")?;
    let state = match value.int8("member state")? {
        0 => MemberState::Stable,
        1 => MemberState::UnrevokedPartitions,
        2 => MemberState::UnreleasedPartitions,
        _ => MemberState::Unknown,
    };
    let current = CurrentAssignment {
        epoch,
        previous_epoch,
        state,
        assigned: read_epochs(value, epoch)?,
        pending_revocation: read_epochs(value, epoch)?,
    };
    value.skip_tags("current assignment tags")?;
    Ok(current)
}

fn write_epochs(value: &mut Writer, topics: &PartitionEpochs) {
    value.count(topics.len());
    for (topic, partitions) in topics {
        value.uuid(*topic);
        value.count(partitions.len());
        partitions
            .keys()
            .for_each(|partition| value.int32(*partition));
        let mut epochs = Writer::field();
        epochs.count(partitions.len());
        partitions.values().for_each(|epoch| epochs.int32(*epoch));
        value.tags(&[(0, &epochs.finish())]);
    }
}

/// Partitions whose epochs are not told, as by Kafka before 4.3, have the member's.
fn read_epochs(value: &mut Reader<'_>, epoch: i32) -> Result<PartitionEpochs, RecordError> {
    let topics = value.array_of("assigned topics", |value| {
        let topic = value.uuid("topic id")?;
        let partitions = value.array_of("partitions", |value| value.int32("partition"))?;
        let mut told = None;
        value.each_tag("topic tags", |tag, bytes| {
            if tag == 0 {
                told = Some(bytes);
            }
        })?;
        let mut epochs = match told {
            Some(bytes) => {
                let mut value = Reader::new(bytes);
                value.flavour = Flavour::Flexible;
                value.array_of("assignment epochs", |value| value.int32("epoch"))?
            }
            None => Vec::new(),
        };
        epochs.resize(partitions.len(), epoch);
        Ok((topic, partitions.into_iter().zip(epochs).collect()))
    })?;
    Ok(topics.into_iter().collect())
}

fn encode_regex(regex: &ResolvedRegex) -> Vec<u8> {
    let mut value = Writer::flexible(0);
    write_topics(&mut value, &regex.topics);
    value.int64(regex.version);
    value.int64(regex.resolved_at.0);
    value.tags(&[]);
    value.finish()
}

fn decode_regex(value: &mut Reader<'_>) -> Result<ResolvedRegex, RecordError> {
    let regex = ResolvedRegex {
        topics: read_topics(value)?,
        version: value.int64("version")?,
        resolved_at: Millis(value.int64("timestamp")?),
    };
    value.skip_tags("regular expression tags")?;
    Ok(regex)
}

/// -1 is no time-out at all.
fn some_duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
