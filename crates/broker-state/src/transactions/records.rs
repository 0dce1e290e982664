//! The durable records of transactions, in Kafka's own `__transaction_state` format, so that its tools read them.
//!
//! ```text
//! key    int16 0  transactional id: string
//! value  int16 0 or 1 (1: transaction.version 1 and above, or a tag to keep; flexible)
//!        producer id: int64  epoch: int16  time-out in ms: int32  state: int8
//!        partitions: null or [topic: string  partitions: [int32]]  last update: int64  start: int64
//!        tags of version 1: 0 previous producer id, 1 next producer id, 2 client's transaction version,
//!                           10000 last epoch (ours; Kafka forgets it in a restart and skips the tag)
//! ```
//! A null value is a tombstone. Each record is the whole state of its id. The version of an end follows the request alone, as
//! in Kafka, so the tags are needed at transaction.version 0 too: Kafka forgets them there in a restart.
//! Keeps true: `decode(encode(record)) == record`; decoding never panics and never allocates more than its input.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;
use wire::{DecodeError, Reader, Records, Writer};

use super::ids::TransactionalId;
use super::transaction::{NONE, Partitions, State, Transaction};
use crate::groups::TopicName;
use crate::producer_ids::ProducerIdentity;
use crate::step::Millis;

const KEY_VERSION: i16 = 0;
const TAG_PREVIOUS_PRODUCER_ID: u32 = 0;
const TAG_NEXT_PRODUCER_ID: u32 = 1;
const TAG_CLIENT_VERSION: u32 = 2;
const TAG_LAST_EPOCH: u32 = 10_000;

/// The longest transactional id that a record can hold.
pub const MAX_ID_BYTES: usize = i16::MAX as usize;

/// One change of the durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Transaction {
        id: TransactionalId,
        transaction: Transaction,
    },
    Tombstone {
        id: TransactionalId,
    },
}

/// Why bytes are not a record of transactions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error(
        "transaction record {part} version {version} is not known here; read it with a newer version"
    )]
    UnknownVersion { part: &'static str, version: i16 },
    #[error("transaction record {part} is damaged: {source}")]
    Damaged {
        part: &'static str,
        source: DecodeError,
    },
    #[error("transaction record has state {0}, which there is not")]
    UnknownState(i8),
    #[error("transaction record {part} has {left} bytes left over")]
    LeftOver { part: &'static str, left: usize },
}

impl Record {
    /// Key and value as Kafka writes them at this `transaction.version`; no value is a tombstone.
    pub fn encode(&self, version: i16) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Record::Transaction { id, transaction } => {
                (encode_key(id), Some(encode_value(transaction, version)))
            }
            Record::Tombstone { id } => (encode_key(id), None),
        }
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// `UnknownVersion` for a newer Kafka's records, anything else for damage.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, RecordError> {
        let id = decode_key(key)?;
        let Some(value) = value else {
            return Ok(Record::Tombstone { id });
        };
        let transaction = decode_value(value)?;
        Ok(Record::Transaction { id, transaction })
    }
}

fn encode_key(id: &TransactionalId) -> Vec<u8> {
    let mut key = Writer::with_capacity(4 + id.as_str().len());
    key.i16(KEY_VERSION);
    key.string(id.as_str(), false);
    finish(key)
}

fn decode_key(key: &[u8]) -> Result<TransactionalId, RecordError> {
    let part = "key";
    let damaged = |source| RecordError::Damaged { part, source };
    let mut key = Reader::new(key);
    let version = key.i16().map_err(damaged)?;
    if version != KEY_VERSION {
        return Err(RecordError::UnknownVersion { part, version });
    }
    let id = TransactionalId::from(key.string(false).map_err(damaged)?);
    end(part, &key)?;
    Ok(id)
}

fn encode_value(transaction: &Transaction, version: i16) -> Vec<u8> {
    let flexible = version >= 1 || present_tags(transaction).contains(&true);
    let mut value = Writer::with_capacity(64);
    value.i16(i16::from(flexible));
    value.i64(transaction.producer.producer_id);
    value.i16(transaction.producer.producer_epoch);
    value.i32(i32::try_from(transaction.timeout.as_millis()).unwrap_or(i32::MAX));
    value.i8(transaction.state.number());
    let topics: Vec<(&TopicName, Vec<i32>)> = transaction
        .partitions
        .iter()
        .map(|(topic, partitions)| (topic, partitions.iter().copied().collect()))
        .collect();
    let topics = (transaction.state != State::Empty).then_some(topics.as_slice());
    value.nullable_array(flexible, topics, |value, (topic, partitions)| {
        value.string(topic.as_str(), flexible);
        value.array(flexible, partitions, |value, partition| {
            value.i32(*partition)
        });
        if flexible {
            value.unsigned_varint(0);
        }
    });
    value.i64(transaction.updated_at.0);
    value.i64(transaction.started_at.map_or(NONE, |at| at.0));
    if flexible {
        encode_tags(&mut value, transaction);
    }
    finish(value)
}

/// Which tagged fields differ from their defaults.
fn present_tags(transaction: &Transaction) -> [bool; 4] {
    [
        transaction.previous_producer_id != NONE,
        transaction.next_producer_id != NONE,
        transaction.client_version != 0,
        transaction.last_epoch != -1,
    ]
}

/// The fields that differ from their defaults, as Kafka leaves the others out.
fn encode_tags(value: &mut Writer, transaction: &Transaction) {
    let Transaction {
        previous_producer_id,
        next_producer_id,
        client_version,
        last_epoch,
        ..
    } = *transaction;
    let present = present_tags(transaction);
    value.unsigned_varint(present.into_iter().filter(|present| *present).count() as u32);
    if present[0] {
        value.tagged_field(TAG_PREVIOUS_PRODUCER_ID, |tag| {
            tag.i64(previous_producer_id)
        });
    }
    if present[1] {
        value.tagged_field(TAG_NEXT_PRODUCER_ID, |tag| tag.i64(next_producer_id));
    }
    if present[2] {
        value.tagged_field(TAG_CLIENT_VERSION, |tag| tag.i16(client_version));
    }
    if present[3] {
        value.tagged_field(TAG_LAST_EPOCH, |tag| tag.i16(last_epoch));
    }
}

fn decode_value(bytes: &[u8]) -> Result<Transaction, RecordError> {
    let part = "value";
    let damaged = |source| RecordError::Damaged { part, source };
    let mut value = Reader::new(bytes);
    let version = value.i16().map_err(damaged)?;
    if !matches!(version, 0 | 1) {
        return Err(RecordError::UnknownVersion { part, version });
    }
    let (transaction, state) = read_value(&mut value, version >= 1).map_err(damaged)?;
    end(part, &value)?;
    let state = State::from_number(state).ok_or(RecordError::UnknownState(state))?;
    Ok(Transaction {
        state,
        ..transaction
    })
}

/// The fields, and the number of the state.
fn read_value(value: &mut Reader<'_>, flexible: bool) -> Result<(Transaction, i8), DecodeError> {
    let producer = ProducerIdentity {
        producer_id: value.i64()?,
        producer_epoch: value.i16()?,
    };
    let timeout = value.i32()?;
    let state = value.i8()?;
    let topics = value.nullable_array::<3, (TopicName, BTreeSet<i32>)>(flexible, |value| {
        let topic = TopicName::from(value.string(flexible)?);
        let partitions = value.array::<4, i32>(flexible, Reader::i32)?;
        if flexible {
            value.skip_tagged_fields()?;
        }
        Ok((topic, partitions.into_iter().collect()))
    })?;
    let updated_at = Millis(value.i64()?);
    let started_at = value.i64()?;
    let mut transaction = Transaction {
        producer,
        last_epoch: -1,
        previous_producer_id: NONE,
        next_producer_id: NONE,
        timeout: Duration::from_millis(u64::try_from(timeout).unwrap_or(0)),
        state: State::Empty,
        partitions: topics
            .unwrap_or_default()
            .into_iter()
            .collect::<Partitions>(),
        started_at: (started_at != NONE).then_some(Millis(started_at)),
        updated_at,
        client_version: 0,
    };
    if flexible {
        value.tagged_fields(|tag, field| read_tag(&mut transaction, tag, field))?;
    }
    Ok((transaction, state))
}

fn read_tag(
    transaction: &mut Transaction,
    tag: u32,
    field: &mut Reader<'_>,
) -> Result<bool, DecodeError> {
    match tag {
        TAG_PREVIOUS_PRODUCER_ID => transaction.previous_producer_id = field.i64()?,
        TAG_NEXT_PRODUCER_ID => transaction.next_producer_id = field.i64()?,
        TAG_CLIENT_VERSION => transaction.client_version = field.i16()?,
        TAG_LAST_EPOCH => transaction.last_epoch = field.i16()?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn end(part: &'static str, reader: &Reader<'_>) -> Result<(), RecordError> {
    match reader.remaining() {
        0 => Ok(()),
        left => Err(RecordError::LeftOver { part, left }),
    }
}

fn finish(writer: Writer) -> Vec<u8> {
    let whole = Records::from_iter(writer.finish()).to_bytes();
    whole.expect("a record has no external pieces").to_vec()
}
