//! Builds a batch: for internal topics, tests, clients.

use bytes::Bytes;

use super::batch::{self, BATCH_OVERHEAD, BatchHeader};
use super::compression::{self, Compression};
use super::varint;

/// Collects records and builds one batch of them.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    records: Vec<u8>,
    /// The record being built; kept for its room.
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch. `base_timestamp` is in milliseconds since 1970; the records' times are stored relative to it.
    pub fn new(base_timestamp: i64) -> BatchBuilder {
        let header = BatchHeader {
            base_offset: 0,
            length: 0,
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        BatchBuilder {
            header,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The offset of the first record, 0 unless set.
    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    /// The leader epoch, -1 unless set.
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.header.leader_epoch = leader_epoch;
        self
    }

    /// The idempotent producer and the sequence number of the first record.
    pub fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    pub fn transactional(mut self) -> Self {
        self.header.attributes |= batch::TRANSACTIONAL;
        self
    }

    /// Marks the batch as one that applications do not see.
    pub fn control(mut self) -> Self {
        self.header.attributes |= batch::CONTROL;
        self
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.header.record_count as usize
    }

    /// Whether it has no records yet; such a batch is no use to a broker.
    pub fn is_empty(&self) -> bool {
        self.header.record_count == 0
    }

    /// How many bytes it would have uncompressed.
    pub fn size(&self) -> usize {
        BATCH_OVERHEAD + self.records.len()
    }

    /// Appends a record. The timestamp is in milliseconds since 1970; a header name may come more than once.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        self.body.clear();
        self.body.push(0);
        varint::write(
            &mut self.body,
            timestamp.wrapping_sub(self.header.base_timestamp),
        );
        varint::write(&mut self.body, self.header.record_count.into());
        write_bytes(&mut self.body, key);
        write_bytes(&mut self.body, value);
        varint::write(&mut self.body, headers.len() as i64);
        for (name, value) in headers {
            write_bytes(&mut self.body, Some(name.as_bytes()));
            write_bytes(&mut self.body, *value);
        }
        varint::write(&mut self.records, self.body.len() as i64);
        self.records.extend_from_slice(&self.body);
        self.header.last_offset_delta = self.header.record_count;
        self.header.record_count += 1;
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
    }

    /// The whole batch with its checksum.
    ///
    /// # Panics
    /// When it has 2 GiB or more; callers send what they have long before.
    pub fn build(mut self, compression: Compression) -> Bytes {
        self.header.attributes |= compression as i16;
        let records = match compression {
            Compression::None => self.records,
            _ => compression::compress(compression, &self.records),
        };
        let length = BATCH_OVERHEAD - batch::LENGTH_OVERHEAD + records.len();
        self.header.length = i32::try_from(length).expect("a batch is smaller than 2 GiB");
        let mut bytes = Vec::with_capacity(BATCH_OVERHEAD + records.len());
        bytes.extend_from_slice(&self.header.encode());
        bytes.extend_from_slice(&records);
        let crc = batch::crc(&bytes);
        bytes[batch::CRC_AT..batch::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    }
}

/// Bytes after their length, of which -1 is null.
fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(out, -1),
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
