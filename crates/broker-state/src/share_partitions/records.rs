//! The durable records of share partitions, in Kafka's own `__share_group_state` format.
//!
//! ```text
//! key                                                           value
//! int16 0  group: string  topic id: uuid  partition: int32      ShareSnapshotValue v0: the whole state
//! int16 1  group: string  topic id: uuid  partition: int32      ShareUpdateValue v0: what has changed
//! ```
//! A snapshot key without a value says that the state is gone. Keeps true: `decode(encode(record)) == record`;
//! decoding never panics, and accepts only ranges that a partition can have.

use thiserror::Error;
use wire::{DecodeError, Reader, Uuid, Writer};

use super::runs::Delivery;
use crate::groups::GroupId;
use crate::step::Millis;

const SNAPSHOT_KEY: i16 = 0;
const UPDATE_KEY: i16 = 1;
const VALUE_VERSION: i16 = 0;
const DELIVERY_COMPLETE_COUNT_TAG: u32 = 0;
/// What a record holds where the start offset is not known, or does not change.
const NO_OFFSET: i64 = -1;
/// first, last: int64, state: int8, count: int16, no tags
const BATCH_BYTES: usize = 20;

/// Names a partition as one share group sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharePartitionKey {
    pub group: GroupId,
    pub topic_id: Uuid,
    pub partition: i32,
}

/// One change of the durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Snapshot {
        key: SharePartitionKey,
        snapshot: Snapshot,
    },
    Update {
        key: SharePartitionKey,
        update: Update,
    },
    Tombstone {
        key: SharePartitionKey,
    },
}

/// The whole state of a share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub snapshot_epoch: i32,
    pub state_epoch: i32,
    pub leader_epoch: i32,
    /// `None` until the group has read from the partition.
    pub start_offset: Option<i64>,
    /// Offsets from the start offset on whose delivery is complete; -1 when unknown.
    pub delivery_complete_count: i32,
    pub created_at: Millis,
    pub written_at: Millis,
    pub batches: Vec<StateBatch>,
}

/// What has changed since the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub snapshot_epoch: i32,
    pub leader_epoch: i32,
    /// `None` when it has not changed.
    pub start_offset: Option<i64>,
    pub delivery_complete_count: i32,
    pub batches: Vec<StateBatch>,
}

/// Offsets `first` to `last`, both included, and what is durable of them. Never acquired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateBatch {
    pub first: i64,
    pub last: i64,
    pub delivery: Delivery,
    pub count: i16,
}

/// Why bytes are not a record of a share partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error(
        "share group record key version {0} is not known here; skip the record or read it with a newer version"
    )]
    UnknownKey(i16),
    #[error("share group record value version {0} is not known here; read it with a newer version")]
    UnknownValue(i16),
    #[error("share group record cannot be read: {0}; the record is damaged")]
    Damaged(#[from] DecodeError),
    #[error("share group record holds {0}; the record is damaged")]
    Impossible(String),
}

impl Record {
    pub fn key(&self) -> &SharePartitionKey {
        match self {
            Record::Snapshot { key, .. }
            | Record::Update { key, .. }
            | Record::Tombstone { key } => key,
        }
    }

    /// Key and value as Kafka writes them; no value is a tombstone.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Record::Snapshot { key, snapshot } => (
                encode_key(SNAPSHOT_KEY, key),
                Some(encode_snapshot(snapshot)),
            ),
            Record::Update { key, update } => {
                (encode_key(UPDATE_KEY, key), Some(encode_update(update)))
            }
            Record::Tombstone { key } => (encode_key(SNAPSHOT_KEY, key), None),
        }
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// `UnknownKey` and `UnknownValue` for what a newer version wrote, the others for damage.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, RecordError> {
        let mut reader = Reader::new(key);
        let kind = reader.i16()?;
        if !matches!(kind, SNAPSHOT_KEY | UPDATE_KEY) {
            return Err(RecordError::UnknownKey(kind));
        }
        let key = SharePartitionKey {
            group: GroupId::from(reader.string(false)?),
            topic_id: reader.uuid()?,
            partition: reader.i32()?,
        };
        let Some(value) = value else {
            return Ok(Record::Tombstone { key });
        };
        let mut reader = Reader::new(value);
        match reader.i16()? {
            VALUE_VERSION if kind == SNAPSHOT_KEY => Ok(Record::Snapshot {
                key,
                snapshot: decode_snapshot(&mut reader)?,
            }),
            VALUE_VERSION => Ok(Record::Update {
                key,
                update: decode_update(&mut reader)?,
            }),
            version => Err(RecordError::UnknownValue(version)),
        }
    }
}

fn bytes(writer: Writer) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in writer.finish() {
        if let wire::Segment::Bytes(part) = segment {
            bytes.extend_from_slice(&part);
        }
    }
    bytes
}

fn encode_key(kind: i16, key: &SharePartitionKey) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.i16(kind);
    writer.string(key.group.as_str(), false);
    writer.uuid(key.topic_id);
    writer.i32(key.partition);
    bytes(writer)
}

fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 + snapshot.batches.len() * BATCH_BYTES);
    writer.i16(VALUE_VERSION);
    writer.i32(snapshot.snapshot_epoch);
    writer.i32(snapshot.state_epoch);
    writer.i32(snapshot.leader_epoch);
    writer.i64(snapshot.start_offset.unwrap_or(NO_OFFSET));
    writer.i64(snapshot.created_at.0);
    writer.i64(snapshot.written_at.0);
    writer.array(true, &snapshot.batches, encode_batch);
    encode_delivery_complete_count(&mut writer, snapshot.delivery_complete_count);
    bytes(writer)
}

fn encode_update(update: &Update) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 + update.batches.len() * BATCH_BYTES);
    writer.i16(VALUE_VERSION);
    writer.i32(update.snapshot_epoch);
    writer.i32(update.leader_epoch);
    writer.i64(update.start_offset.unwrap_or(NO_OFFSET));
    writer.array(true, &update.batches, encode_batch);
    encode_delivery_complete_count(&mut writer, update.delivery_complete_count);
    bytes(writer)
}

/// A tagged field is left out where it has its default.
fn encode_delivery_complete_count(writer: &mut Writer, count: i32) {
    if count == -1 {
        writer.unsigned_varint(0);
        return;
    }
    writer.unsigned_varint(1);
    writer.tagged_field(DELIVERY_COMPLETE_COUNT_TAG, |writer| writer.i32(count));
}

fn encode_batch(writer: &mut Writer, batch: &StateBatch) {
    writer.i64(batch.first);
    writer.i64(batch.last);
    writer.i8(match batch.delivery {
        // An acquired record is durably what it was before, and no batch is made of one.
        Delivery::Available | Delivery::Acquired { .. } => 0,
        Delivery::Acknowledged => 2,
        Delivery::Archiving => 3,
        Delivery::Archived => 4,
    });
    writer.i16(batch.count);
    writer.unsigned_varint(0);
}

fn decode_snapshot(reader: &mut Reader<'_>) -> Result<Snapshot, RecordError> {
    let (snapshot_epoch, state_epoch, leader_epoch) = (reader.i32()?, reader.i32()?, reader.i32()?);
    let start_offset = decode_start(reader)?;
    let (created_at, written_at) = (Millis(reader.i64()?), Millis(reader.i64()?));
    Ok(Snapshot {
        snapshot_epoch,
        state_epoch,
        leader_epoch,
        start_offset,
        created_at,
        written_at,
        batches: decode_batches(reader)?,
        delivery_complete_count: decode_delivery_complete_count(reader)?,
    })
}

fn decode_update(reader: &mut Reader<'_>) -> Result<Update, RecordError> {
    Ok(Update {
        snapshot_epoch: reader.i32()?,
        leader_epoch: reader.i32()?,
        start_offset: decode_start(reader)?,
        batches: decode_batches(reader)?,
        delivery_complete_count: decode_delivery_complete_count(reader)?,
    })
}

fn decode_start(reader: &mut Reader<'_>) -> Result<Option<i64>, RecordError> {
    match reader.i64()? {
        NO_OFFSET => Ok(None),
        start if (0..i64::MAX).contains(&start) => Ok(Some(start)),
        start => Err(RecordError::Impossible(format!("start offset {start}"))),
    }
}

fn decode_delivery_complete_count(reader: &mut Reader<'_>) -> Result<i32, RecordError> {
    let mut count = -1;
    reader.tagged_fields(|tag, field| {
        let is_known = tag == DELIVERY_COMPLETE_COUNT_TAG;
        if is_known {
            count = field.i32()?;
        }
        Ok(is_known)
    })?;
    Ok(count)
}

fn decode_batches(reader: &mut Reader<'_>) -> Result<Vec<StateBatch>, RecordError> {
    let read = |reader: &mut Reader<'_>| {
        let batch = (reader.i64()?, reader.i64()?, reader.i8()?, reader.i16()?);
        reader.skip_tagged_fields()?;
        Ok(batch)
    };
    let raw = reader.array::<BATCH_BYTES, _>(true, read)?;
    raw.into_iter().map(check_batch).collect()
}

fn check_batch(
    (first, last, state, count): (i64, i64, i8, i16),
) -> Result<StateBatch, RecordError> {
    if first < 0 || last < first || last == i64::MAX {
        return Err(RecordError::Impossible(format!(
            "offsets {first} to {last}"
        )));
    }
    let delivery = match state {
        0 => Delivery::Available,
        2 => Delivery::Acknowledged,
        3 => Delivery::Archiving,
        4 => Delivery::Archived,
        other => return Err(RecordError::Impossible(format!("delivery state {other}"))),
    };
    Ok(StateBatch {
        first,
        last,
        delivery,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SharePartitionKey {
        SharePartitionKey {
            group: GroupId::from("workers"),
            topic_id: Uuid([7; 16]),
            partition: 3,
        }
    }

    fn update() -> Record {
        let update = Update {
            snapshot_epoch: 1,
            leader_epoch: 0,
            start_offset: Some(40),
            delivery_complete_count: 2,
            batches: vec![StateBatch {
                first: 42,
                last: 43,
                delivery: Delivery::Acknowledged,
                count: 1,
            }],
        };
        Record::Update { key: key(), update }
    }

    fn snapshot(start_offset: Option<i64>) -> Record {
        let snapshot = Snapshot {
            snapshot_epoch: 4,
            state_epoch: 2,
            leader_epoch: 0,
            start_offset,
            delivery_complete_count: -1,
            created_at: Millis(1_000),
            written_at: Millis(2_000),
            batches: vec![StateBatch {
                first: 50,
                last: 50,
                delivery: Delivery::Archiving,
                count: 5,
            }],
        };
        Record::Snapshot {
            key: key(),
            snapshot,
        }
    }

    #[test]
    fn every_record_is_read_back_as_it_was() {
        let records = [
            update(),
            snapshot(Some(44)),
            snapshot(None),
            Record::Tombstone { key: key() },
        ];
        for record in records {
            let (key, value) = record.encode();
            assert_eq!(Record::decode(&key, value.as_deref()), Ok(record));
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let (key, value) = update().encode();
        let mut expected_key = vec![0, 1, 0, 7];
        expected_key.extend_from_slice(b"workers");
        expected_key.extend_from_slice(&[7; 16]);
        expected_key.extend_from_slice(&[0, 0, 0, 3]);
        assert_eq!(key, expected_key);
        let mut expected = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        expected.extend_from_slice(&40_i64.to_be_bytes());
        expected.push(2);
        expected.extend_from_slice(&42_i64.to_be_bytes());
        expected.extend_from_slice(&43_i64.to_be_bytes());
        expected.extend_from_slice(&[2, 0, 1, 0]);
        expected.extend_from_slice(&[1, 0, 4, 0, 0, 0, 2]);
        assert_eq!(value, Some(expected));
    }

    #[test]
    fn damage_is_told_and_not_taken_in() {
        let (key, value) = snapshot(Some(44)).encode();
        let value = value.expect("a snapshot has a value");
        for length in 0..value.len() {
            assert!(Record::decode(&key, Some(&value[..length])).is_err());
        }
        let mut backwards = update();
        if let Record::Update { update, .. } = &mut backwards {
            update.batches[0].last = 1;
        }
        let (key, value) = backwards.encode();
        let error = Record::decode(&key, value.as_deref()).expect_err("offsets run backwards");
        assert!(matches!(error, RecordError::Impossible(_)));
        assert_eq!(
            Record::decode(&[0, 9], None),
            Err(RecordError::UnknownKey(9))
        );
    }
}
