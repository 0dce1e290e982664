//! From the bytes of a Fetch answer to records: whole batches, without control records and, where asked, without aborted ones.
//!
//! What comes out is bounded: one batch decompresses to [`MAX_BATCH_BYTES`] at most, and after a few times of what was asked for
//! reading stops, so that a small answer of well-packed batches does not become a large one. Decompressing much leaves the async
//! thread.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use wire::ErrorCode;
use wire::fetch::PartitionData;
use wire::records::{
    BatchHeader, Compression, EndTransactionMarker, RecordIter, RecordView, decompress,
    scan_batches, verify_crc,
};

use super::{FetchLimits, FetchedPartition, Isolation, Record};
use crate::consumer::Position;
use crate::error::ClientError;

/// The most that one decompressed batch may take.
const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;
/// How many times `max_bytes` all decompressed batches of an answer may take, the last one not counted.
const MAX_EXPANSION: usize = 4;
/// Compressed bytes up to this length are decompressed where they are: about a tenth of a millisecond.
const INLINE_BYTES: usize = 16 * 1024;

/// What a leader answered for one partition.
pub(crate) struct Received {
    position: Position,
    bytes: Bytes,
    /// First offset and producer of the aborted transactions among the bytes.
    aborted: Vec<(i64, i64)>,
    fetched: FetchedPartition,
}

impl Received {
    pub(crate) fn new(position: Position, data: PartitionData) -> Received {
        let code = data.error_code;
        let error = (code != 0)
            .then(|| ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError));
        let aborted = data.aborted_transactions.unwrap_or_default();
        let mut aborted: Vec<(i64, i64)> = aborted
            .iter()
            .map(|transaction| (transaction.first_offset, transaction.producer_id))
            .collect();
        aborted.sort_unstable();
        Received {
            position,
            bytes: data.records.to_bytes().unwrap_or_default(),
            aborted,
            fetched: FetchedPartition {
                high_watermark: data.high_watermark,
                last_stable_offset: data.last_stable_offset,
                log_start_offset: data.log_start_offset,
                ..FetchedPartition::of(position, error)
            },
        }
    }

    fn is_compressed(&self) -> bool {
        let first = BatchHeader::decode(&self.bytes);
        first.is_ok_and(|header| header.compression() != Ok(Compression::None))
    }
}

/// Reads what was received of all partitions of one answer.
///
/// # Errors
/// `Client` when the thread that decompresses cannot be had.
pub(crate) async fn read_all(
    received: Vec<Received>,
    limits: &FetchLimits,
) -> Result<Vec<FetchedPartition>, ClientError> {
    let packed: usize = received
        .iter()
        .filter(|received| received.is_compressed())
        .map(|received| received.bytes.len())
        .sum();
    let FetchLimits {
        isolation,
        max_bytes,
        ..
    } = *limits;
    let read = move || {
        let mut budget = max_bytes.saturating_mul(MAX_EXPANSION);
        let partitions = received.into_iter();
        partitions
            .map(|received| read_partition(received, isolation, &mut budget))
            .collect()
    };
    if packed <= INLINE_BYTES {
        return Ok(read());
    }
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| ClientError::Client {
        what: "decompressing what was read".to_owned(),
        reason: error.to_string(),
    })
}

/// Reads batches until they end, the budget is used up, or one is damaged; the first damaged one is the partition's error
/// only when nothing comes before it, so that a reader gets to see what is whole.
fn read_partition(
    received: Received,
    isolation: Isolation,
    budget: &mut usize,
) -> FetchedPartition {
    let mut fetched = received.fetched;
    let mut aborted = Aborted::new(&received.aborted, isolation);
    for batch in scan_batches(&received.bytes) {
        if *budget == 0 {
            break;
        }
        let read = batch.map_err(|error| error.error_code());
        let read = read.and_then(|(header, batch)| {
            if !verify_crc(batch) {
                return Err(ErrorCode::CorruptMessage);
            }
            let is_left_out = aborted.leaves_out(&header, batch) || header.is_control();
            if !is_left_out && header.last_offset() >= received.position.offset {
                let plain = unpack(&received.bytes, &header, batch)?;
                *budget = budget.saturating_sub(plain.len());
                take_records(
                    &header,
                    &plain,
                    received.position.offset,
                    &mut fetched.records,
                )?;
            }
            Ok(header.last_offset() + 1)
        });
        match read {
            Ok(next) => fetched.next_offset = fetched.next_offset.max(next),
            Err(_) if fetched.next_offset > received.position.offset => break,
            Err(error) => {
                fetched.error = Some(error);
                break;
            }
        }
    }
    fetched
}

/// The records of a batch as one piece: of what was received, or decompressed.
fn unpack(received: &Bytes, header: &BatchHeader, batch: &[u8]) -> Result<Bytes, ErrorCode> {
    match decompress(header, batch, MAX_BATCH_BYTES) {
        Ok(Cow::Borrowed(plain)) => Ok(received.slice_ref(plain)),
        Ok(Cow::Owned(plain)) => Ok(Bytes::from(plain)),
        Err(error) => Err(error.error_code()),
    }
}

/// Adds the records of one batch from offset `from` on: all of them or, when one is damaged, none.
fn take_records(
    header: &BatchHeader,
    plain: &Bytes,
    from: i64,
    records: &mut Vec<Record>,
) -> Result<(), ErrorCode> {
    let whole = records.len();
    for record in RecordIter::new(header, plain) {
        match record {
            Ok(record) if record.offset >= from => records.push(own(plain, &record)),
            Ok(_) => {}
            Err(error) => {
                records.truncate(whole);
                return Err(error.error_code());
            }
        }
    }
    Ok(())
}

fn own(plain: &Bytes, record: &RecordView<'_>) -> Record {
    let slice = |bytes: Option<&[u8]>| bytes.map(|bytes| plain.slice_ref(bytes));
    let headers = record.headers().map(|header| {
        let name = String::from_utf8_lossy(header.name).into_owned();
        (name, slice(header.value))
    });
    Record {
        offset: record.offset,
        timestamp_ms: record.timestamp,
        key: slice(record.key),
        value: slice(record.value),
        headers: headers.collect(),
    }
}

/// Which producers have an aborted transaction where reading is.
///
/// Source: KIP-98; as Kafka's consumer does it. The list says where aborted transactions begin, their markers say where they end.
struct Aborted<'a> {
    to_come: std::iter::Peekable<std::slice::Iter<'a, (i64, i64)>>,
    producers: HashSet<i64>,
}

impl<'a> Aborted<'a> {
    fn new(transactions: &'a [(i64, i64)], isolation: Isolation) -> Aborted<'a> {
        let transactions = match isolation {
            Isolation::ReadCommitted => transactions,
            Isolation::ReadUncommitted => &[],
        };
        Aborted {
            to_come: transactions.iter().peekable(),
            producers: HashSet::new(),
        }
    }

    /// Whether the batch belongs to an aborted transaction; batches come in order.
    fn leaves_out(&mut self, header: &BatchHeader, batch: &[u8]) -> bool {
        let is_begun = |(first, _): &&(i64, i64)| *first <= header.last_offset();
        while let Some((_, producer)) = self.to_come.next_if(is_begun) {
            self.producers.insert(*producer);
        }
        let marker = EndTransactionMarker::of_batch(header, batch);
        if marker.is_some_and(|marker| !marker.is_commit) {
            self.producers.remove(&header.producer_id);
        }
        header.is_transactional() && self.producers.contains(&header.producer_id)
    }
}

#[cfg(test)]
mod tests {
    use wire::records::BatchBuilder;
    use wire::{Records, Segment};

    use super::*;

    const PRODUCER: i64 = 7;

    fn batch(base_offset: i64, values: &[&str], compression: Compression) -> Bytes {
        builder(base_offset, values).build(compression)
    }

    fn builder(base_offset: i64, values: &[&str]) -> BatchBuilder {
        let mut builder = BatchBuilder::new(1000).base_offset(base_offset);
        for value in values {
            builder.push(1000, None, Some(value.as_bytes()), &[]);
        }
        builder
    }

    fn of_transaction(base_offset: i64, producer: i64, value: &str) -> Bytes {
        let builder = builder(base_offset, &[value]).producer(producer, 0, 0);
        builder.transactional().build(Compression::None)
    }

    fn marker(base_offset: i64, producer: i64, is_commit: bool) -> Bytes {
        let marker = EndTransactionMarker {
            is_commit,
            coordinator_epoch: 0,
        };
        let mut batch = marker.batch(producer, 0, 1000).to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        Bytes::from(batch)
    }

    fn read_with(
        batches: &[Bytes],
        from: i64,
        aborted: &[(i64, i64)],
        budget: &mut usize,
    ) -> FetchedPartition {
        let position = Position {
            partition: 0,
            offset: from,
        };
        let segments = batches.iter().cloned().map(Segment::Bytes);
        let data = PartitionData {
            records: segments.collect::<Records>(),
            ..PartitionData::default()
        };
        let mut received = Received::new(position, data);
        received.aborted = aborted.to_vec();
        read_partition(received, Isolation::ReadCommitted, budget)
    }

    fn read(batches: &[Bytes], from: i64) -> FetchedPartition {
        read_with(batches, from, &[], &mut usize::MAX.clone())
    }

    fn values(fetched: &FetchedPartition) -> Vec<&str> {
        let values = fetched.records.iter().flat_map(|record| &record.value);
        let values = values.map(|value| std::str::from_utf8(value).expect("text"));
        values.collect()
    }

    #[test]
    fn reading_begins_in_the_middle_of_a_batch_and_ends_after_the_last() {
        for compression in Compression::ALL {
            let batches = [
                batch(10, &["a", "b", "c"], compression),
                batch(15, &["d"], compression),
            ];
            let fetched = read(&batches, 12);
            assert_eq!(values(&fetched), ["c", "d"]);
            assert_eq!((fetched.next_offset, fetched.error), (16, None));
        }
    }

    #[test]
    fn aborted_transactions_and_markers_are_left_out() {
        let batches = [
            of_transaction(0, PRODUCER, "aborted"),
            batch(1, &["plain"], Compression::None),
            of_transaction(2, 8, "of another"),
            marker(3, PRODUCER, false),
            of_transaction(4, PRODUCER, "committed"),
            marker(5, PRODUCER, true),
            marker(6, 8, true),
        ];
        let aborted = [(0, PRODUCER)];
        let fetched = read_with(&batches, 0, &aborted, &mut usize::MAX.clone());
        assert_eq!(values(&fetched), ["plain", "of another", "committed"]);
        assert_eq!(fetched.next_offset, 7);
    }

    #[test]
    fn a_transaction_that_aborts_later_is_not_left_out_before_it_begins() {
        let batches = [
            of_transaction(0, PRODUCER, "committed"),
            marker(1, PRODUCER, true),
            of_transaction(2, PRODUCER, "aborted"),
        ];
        let aborted = [(2, PRODUCER)];
        let fetched = read_with(&batches, 0, &aborted, &mut usize::MAX.clone());
        assert_eq!(values(&fetched), ["committed"]);
        assert_eq!(fetched.next_offset, 3);
    }

    #[test]
    fn a_damaged_batch_is_an_error_only_when_it_comes_first() {
        let whole = batch(0, &["a"], Compression::None);
        let mut damaged = batch(1, &["b"], Compression::None).to_vec();
        *damaged.last_mut().expect("bytes") ^= 1;
        let damaged = Bytes::from(damaged);
        let fetched = read(&[whole, damaged.clone()], 0);
        assert_eq!(values(&fetched), ["a"]);
        assert_eq!((fetched.next_offset, fetched.error), (1, None));
        let fetched = read(&[damaged], 1);
        assert_eq!(fetched.error, Some(ErrorCode::CorruptMessage));
        assert_eq!(fetched.next_offset, 1);
    }

    #[test]
    fn what_comes_out_of_well_packed_batches_is_bounded() {
        let long = "x".repeat(1000);
        let batches: Vec<Bytes> = (0..5)
            .map(|offset| batch(offset, &[&long], Compression::Zstd))
            .collect();
        let mut budget = 2500;
        let fetched = read_with(&batches, 0, &[], &mut budget);
        assert_eq!(fetched.records.len(), 3);
        assert_eq!((fetched.next_offset, budget), (3, 0));
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_call() {
        let whole = batch(0, &["a"], Compression::None);
        let cut = batch(1, &["b"], Compression::None).slice(..65);
        let fetched = read(&[whole, cut], 0);
        assert_eq!((fetched.next_offset, fetched.error), (1, None));
    }

    #[test]
    fn uncompressed_records_are_not_copied() {
        let batch = batch(0, &["value"], Compression::None);
        let fetched = read(std::slice::from_ref(&batch), 0);
        let value = fetched.records[0].value.as_ref().expect("a value");
        assert!(batch.as_ptr_range().contains(&value.as_ptr()));
    }
}
