//! The durable records of groups, in Kafka's own `__consumer_offsets` format, so that its tools read them.
//!
//! ```text
//! key                                              value
//! int16 1  group, topic: string  partition: int32  OffsetCommitValue v4 (v3 without a topic id, v1 with its own expiry)
//! int16 2  group: string                           GroupMetadataValue v3
//! int16 3–8, 16                                    consumer groups: `consumer::records`
//! int16 9–15                                       share groups: `share::records`
//! ```
//! A null value is a tombstone. Written are the versions above; read are all that Kafka has written (0–4).
//! Keeps true: `decode(encode(record)) == record`; decoding never panics and never allocates more than its input.

pub(super) mod codec;

use std::time::Duration;

use thiserror::Error;
use wire::Uuid;

use super::consumer::ConsumerChange;
use super::ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes, TopicName};
use super::share::ShareChange;
use super::transactions::TransactionChange;
use crate::producer_ids::ProducerIdentity;
use crate::step::Millis;
use codec::{Flavour, Reader, Writer};

const OFFSET_COMMIT_KEY: i16 = 1;
const GROUP_METADATA_KEY: i16 = 2;

/// The longest text that a record can hold.
pub(crate) const MAX_TEXT_BYTES: usize = i16::MAX as usize;

/// One change of the durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    OffsetCommit {
        group: GroupId,
        topic: TopicName,
        partition: i32,
        committed: CommittedOffset,
    },
    OffsetTombstone {
        group: GroupId,
        topic: TopicName,
        partition: i32,
    },
    GroupMetadata {
        group: GroupId,
        metadata: GroupMetadata,
    },
    GroupTombstone {
        group: GroupId,
    },
    /// A change of a consumer group.
    Consumer {
        group: GroupId,
        change: ConsumerChange,
    },
    /// A change of a share group.
    Share {
        group: GroupId,
        change: ShareChange,
    },
    /// A change in a transactional batch, or the control batch at its end.
    Transaction(TransactionChange),
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// -1 when unknown.
    pub leader_epoch: i32,
    pub metadata: String,
    pub committed_at: Millis,
    /// Set by clients before OffsetCommit version 5 that ask for a retention of their own.
    pub expires_at: Option<Millis>,
    /// `Uuid::ZERO` when unknown.
    pub topic_id: Uuid,
}

/// A generation of a classic group: who belongs to it and what each was assigned. Without members it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// "consumer", "connect", …; empty when nobody ever joined.
    pub protocol_type: String,
    pub generation: Generation,
    pub protocol: Option<String>,
    pub leader: Option<MemberId>,
    /// When the group entered its state; `None` in records before Kafka 2.1.
    pub state_since: Option<Millis>,
    pub members: Vec<MemberMetadata>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout: Duration,
    pub session_timeout: Duration,
    /// The metadata for the chosen protocol.
    pub subscription: SharedBytes,
    pub assignment: SharedBytes,
}

impl GroupMetadata {
    fn size(&self) -> usize {
        let protocol = self.protocol.as_ref().map_or(0, String::len);
        let leader = self
            .leader
            .as_ref()
            .map_or(0, |leader| leader.as_str().len());
        let members: usize = self.members.iter().map(MemberMetadata::size).sum();
        32 + self.protocol_type.len() + protocol + leader + members
    }
}

impl MemberMetadata {
    fn size(&self) -> usize {
        let instance = self
            .instance_id
            .as_ref()
            .map_or(0, |instance| instance.as_str().len());
        let texts = self.member_id.as_str().len()
            + instance
            + self.client_id.len()
            + self.client_host.len();
        32 + texts + self.subscription.len() + self.assignment.len()
    }
}

/// Why bytes are not a group record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error(
        "group record key version {0} is not known here; skip the record or read it with a newer version"
    )]
    UnknownKey(i16),
    #[error(
        "group record value version {version} of key version {key} is not known here; read it with a newer version"
    )]
    UnknownValue { key: i16, version: i16 },
    #[error("group record ends or contradicts itself at {field}; the record is damaged")]
    Damaged { field: &'static str },
}

impl Record {
    /// About how many bytes the record takes in the log, without encoding it; never less than it does.
    pub fn size(&self) -> usize {
        match self {
            Record::OffsetCommit {
                group,
                topic,
                committed,
                ..
            } => 64 + group.as_str().len() + topic.as_str().len() + committed.metadata.len(),
            Record::OffsetTombstone { group, topic, .. } => {
                16 + group.as_str().len() + topic.as_str().len()
            }
            Record::GroupMetadata { group, metadata } => {
                16 + group.as_str().len() + metadata.size()
            }
            Record::GroupTombstone { group } => 8 + group.as_str().len(),
            Record::Consumer { group, change } => 8 + group.as_str().len() + change.size(),
            Record::Share { group, change } => 8 + group.as_str().len() + change.size(),
            Record::Transaction(TransactionChange::Offset {
                group,
                topic,
                committed,
                ..
            }) => 64 + group.as_str().len() + topic.as_str().len() + committed.metadata.len(),
            Record::Transaction(TransactionChange::End { .. }) => 16,
        }
    }

    /// Key and value as Kafka writes them; no value is a tombstone.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                committed,
            } => (
                offset_key(group, topic, *partition),
                Some(encode_offset(committed)),
            ),
            Record::OffsetTombstone {
                group,
                topic,
                partition,
            } => (offset_key(group, topic, *partition), None),
            Record::GroupMetadata { group, metadata } => {
                (group_key(group), Some(encode_group(metadata)))
            }
            Record::GroupTombstone { group } => (group_key(group), None),
            Record::Consumer { group, change } => change.encode(group),
            Record::Share { group, change } => change.encode(group),
            Record::Transaction(TransactionChange::Offset {
                group,
                topic,
                partition,
                committed,
                ..
            }) => (
                offset_key(group, topic, *partition),
                Some(encode_offset(committed)),
            ),
            Record::Transaction(TransactionChange::End {
                coordinator_epoch,
                is_commit,
                ..
            }) => encode_end(*coordinator_epoch, *is_commit),
        }
    }

    /// Reads a record back that stood in a transactional batch of this producer.
    ///
    /// # Errors
    /// As `decode`; only offsets are committed in transactions.
    pub fn decode_in_transaction(
        producer: ProducerIdentity,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Record, RecordError> {
        match Record::decode(key, value)? {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                committed,
            } => Ok(Record::Transaction(TransactionChange::Offset {
                producer,
                group,
                topic,
                partition,
                committed,
            })),
            _ => Err(RecordError::Damaged {
                field: "record of a transaction",
            }),
        }
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// `UnknownKey` for records of other kinds (a newer Kafka's), `UnknownValue` for newer versions, `Damaged` for anything else.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, RecordError> {
        let mut key = Reader::new(key);
        match key.int16("key version")? {
            0 | OFFSET_COMMIT_KEY => {
                let group = GroupId::from(key.text("group")?);
                let topic = TopicName::from(key.text("topic")?);
                let partition = key.int32("partition")?;
                key.end("offset key")?;
                Ok(match value {
                    Some(value) => {
                        let committed = decode_offset(value)?;
                        Record::OffsetCommit {
                            group,
                            topic,
                            partition,
                            committed,
                        }
                    }
                    None => Record::OffsetTombstone {
                        group,
                        topic,
                        partition,
                    },
                })
            }
            GROUP_METADATA_KEY => {
                let group = GroupId::from(key.text("group")?);
                key.end("group key")?;
                Ok(match value {
                    Some(value) => Record::GroupMetadata {
                        group,
                        metadata: decode_group(value)?,
                    },
                    None => Record::GroupTombstone { group },
                })
            }
            kind if ConsumerChange::has_key(kind) => {
                let group = GroupId::from(key.text("group")?);
                let change = ConsumerChange::decode(kind, key, value)?;
                Ok(Record::Consumer { group, change })
            }
            kind if ShareChange::has_key(kind) => {
                let group = GroupId::from(key.text("group")?);
                let change = ShareChange::decode(kind, key, value)?;
                Ok(Record::Share { group, change })
            }
            other => Err(RecordError::UnknownKey(other)),
        }
    }
}

fn offset_key(group: &GroupId, topic: &TopicName, partition: i32) -> Vec<u8> {
    let mut key = Writer::new(OFFSET_COMMIT_KEY);
    key.text(group.as_str());
    key.text(topic.as_str());
    key.int32(partition);
    key.finish()
}

/// Key and value of the control record that ends a transaction, as in any partition.
fn encode_end(coordinator_epoch: i32, is_commit: bool) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut key = Writer::new(0);
    key.int16(i16::from(is_commit));
    let mut value = Writer::new(0);
    value.int32(coordinator_epoch);
    (key.finish(), Some(value.finish()))
}

fn group_key(group: &GroupId) -> Vec<u8> {
    let mut key = Writer::new(GROUP_METADATA_KEY);
    key.text(group.as_str());
    key.finish()
}

/// Only version 1 has an expiry time; like Kafka, that costs the leader epoch and the topic id.
fn offset_version(committed: &CommittedOffset) -> i16 {
    match committed {
        CommittedOffset {
            expires_at: Some(_),
            ..
        } => 1,
        CommittedOffset {
            topic_id: Uuid::ZERO,
            ..
        } => 3,
        _ => 4,
    }
}

fn encode_offset(committed: &CommittedOffset) -> Vec<u8> {
    let version = offset_version(committed);
    let mut value = if version >= 4 {
        Writer::flexible(version)
    } else {
        Writer::new(version)
    };
    value.int64(committed.offset);
    if version >= 3 {
        value.int32(committed.leader_epoch);
    }
    value.text(&committed.metadata);
    value.int64(committed.committed_at.0);
    if version == 1 {
        value.int64(committed.expires_at.map_or(-1, |at| at.0));
    }
    if version >= 4 {
        value.tags(&[(0, &committed.topic_id.0)]);
    }
    value.finish()
}

fn decode_offset(value: &[u8]) -> Result<CommittedOffset, RecordError> {
    let mut value = Reader::new(value);
    let version = known_version(&mut value, OFFSET_COMMIT_KEY)?;
    let offset = value.int64("offset")?;
    let leader_epoch = if version >= 3 {
        value.int32("leader epoch")?
    } else {
        -1
    };
    let metadata = value.text("metadata")?.to_owned();
    let committed_at = Millis(value.int64("commit timestamp")?);
    let expires_at = if version == 1 {
        some_time(value.int64("expire timestamp")?)
    } else {
        None
    };
    let mut topic_id = Uuid::ZERO;
    value.each_tag("offset tags", |tag, bytes| {
        if let (0, Ok(id)) = (tag, <[u8; 16]>::try_from(bytes)) {
            topic_id = Uuid(id);
        }
    })?;
    value.end("offset value")?;
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
        committed_at,
        expires_at,
        topic_id,
    })
}

fn encode_group(metadata: &GroupMetadata) -> Vec<u8> {
    let mut value = Writer::new(3);
    value.text(&metadata.protocol_type);
    value.int32(metadata.generation.0);
    value.nullable_text(metadata.protocol.as_deref());
    value.nullable_text(metadata.leader.as_ref().map(MemberId::as_str));
    value.int64(metadata.state_since.map_or(-1, |at| at.0));
    value.count(metadata.members.len());
    for member in &metadata.members {
        value.text(member.member_id.as_str());
        value.nullable_text(member.instance_id.as_ref().map(InstanceId::as_str));
        value.text(&member.client_id);
        value.text(&member.client_host);
        value.millis(member.rebalance_timeout);
        value.millis(member.session_timeout);
        value.bytes(&member.subscription);
        value.bytes(&member.assignment);
    }
    value.finish()
}

fn decode_group(value: &[u8]) -> Result<GroupMetadata, RecordError> {
    let mut value = Reader::new(value);
    let version = known_version(&mut value, GROUP_METADATA_KEY)?;
    let protocol_type = value.text("protocol type")?.to_owned();
    let generation = Generation(value.int32("generation")?);
    let protocol = value.nullable_text("protocol")?.map(str::to_owned);
    let leader = value.nullable_text("leader")?.map(MemberId::from);
    let state_since = if version >= 2 {
        some_time(value.int64("state timestamp")?)
    } else {
        None
    };
    let count = value.count("members")?;
    // Grows with what is really there: a count alone reserves nothing.
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(decode_member(&mut value, version)?);
    }
    value.each_tag("group tags", |_, _| ())?;
    value.end("group value")?;
    Ok(GroupMetadata {
        protocol_type,
        generation,
        protocol,
        leader,
        state_since,
        members,
    })
}

fn decode_member(value: &mut Reader<'_>, version: i16) -> Result<MemberMetadata, RecordError> {
    let member_id = MemberId::from(value.text("member id")?);
    let instance_id = if version >= 3 {
        value.nullable_text("instance id")?.map(InstanceId::from)
    } else {
        None
    };
    let client_id = value.text("client id")?.to_owned();
    let client_host = value.text("client host")?.to_owned();
    let rebalance_timeout = if version >= 1 {
        value.int32("rebalance timeout")?
    } else {
        -1
    };
    let session_timeout = value.int32("session timeout")?;
    // Kafka: a member without a rebalance time-out has its session time-out for one.
    let rebalance_timeout = if rebalance_timeout < 0 {
        session_timeout
    } else {
        rebalance_timeout
    };
    let subscription = SharedBytes::from(value.bytes("subscription")?);
    let assignment = SharedBytes::from(value.bytes("assignment")?);
    value.each_tag("member tags", |_, _| ())?;
    Ok(MemberMetadata {
        member_id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout: some_duration(rebalance_timeout),
        session_timeout: some_duration(session_timeout),
        subscription,
        assignment,
    })
}

/// Reads the value's version and prepares the reader for its flavour; version 4 is the first flexible one of both values.
fn known_version(value: &mut Reader<'_>, key: i16) -> Result<i16, RecordError> {
    let version = value.int16("value version")?;
    match version {
        0..=3 => Ok(version),
        4 => {
            value.flavour = Flavour::Flexible;
            Ok(version)
        }
        _ => Err(RecordError::UnknownValue { key, version }),
    }
}

fn some_time(millis: i64) -> Option<Millis> {
    (millis != -1).then_some(Millis(millis))
}

fn some_duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
