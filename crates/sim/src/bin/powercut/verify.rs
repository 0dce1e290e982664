//! After each restart: reads what the log holds and what was committed, and compares with the ledger.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wire::records::{RecordIter, decompress, scan_batches, verify_crc};
use wire::{fetch, list_offsets, offset_fetch};

use crate::connection::{Connection, Failure, accept};
use crate::ledger::Ledger;
use crate::load::{PARTITIONS, TOPIC, retrying, value};
use crate::members::{COMMITTER_GROUP, GROUP, find};
use crate::transfers;

pub const FETCH_VERSION: i16 = 12;
const LARGEST_BATCH: usize = 16 << 20;

/// Compares everything that the ledger knows; `from_start` reads old records again too.
pub fn all(address: SocketAddr, ledger: &Ledger, from_start: bool) -> Result<(), String> {
    if ledger.books().sent.is_empty() {
        return Ok(());
    }
    if from_start {
        let mut books = ledger.books();
        books.position.clear();
        books.found.clear();
    }
    let mut connection = Connection::open(address).map_err(|failure| failure.to_string())?;
    for partition in 0..PARTITIONS {
        read_partition(&mut connection, ledger, partition)?;
    }
    ledger.check_found();
    transfers::verify(address, ledger)?;
    for group in [GROUP, COMMITTER_GROUP] {
        if ledger
            .books()
            .committed
            .keys()
            .any(|(known, _)| known == group)
        {
            retrying(|| find(&mut connection, group))?;
            for (partition, offset) in retrying(|| committed(&mut connection, group))? {
                ledger.check_commit(group, partition, offset);
            }
        }
    }
    Ok(())
}

fn read_partition(
    connection: &mut Connection,
    ledger: &Ledger,
    partition: i32,
) -> Result<(), String> {
    let end = retrying(|| end_offset(connection, partition))?;
    let (seen, mut position) = {
        let books = ledger.books();
        (
            books.seen.get(&partition).copied().unwrap_or_default(),
            books.position.get(&partition).copied().unwrap_or_default(),
        )
    };
    if end < seen.max(position) {
        ledger.violation(format!(
            "partition {partition}: ends at {end} after a restart, a reader had seen up to {}",
            seen.max(position)
        ));
        return Ok(());
    }
    while position < end {
        let next = retrying(|| read_some(connection, ledger, partition, position))?;
        if next == position {
            return Err(format!(
                "partition {partition}: nothing at offset {position}, though it ends at {end}"
            ));
        }
        position = next;
    }
    ledger.books().position.insert(partition, position);
    Ok(())
}

pub fn fetch_request(positions: &BTreeMap<i32, i64>, max_wait_ms: i32) -> fetch::Request<'static> {
    fetch_request_of(TOPIC, positions, max_wait_ms)
}

pub fn fetch_request_of<'a>(
    topic: &'a str,
    positions: &BTreeMap<i32, i64>,
    max_wait_ms: i32,
) -> fetch::Request<'a> {
    let partitions = positions
        .iter()
        .map(|(partition, offset)| fetch::FetchPartition {
            partition: *partition,
            current_leader_epoch: -1,
            fetch_offset: *offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        })
        .collect();
    fetch::Request {
        replica_id: -1,
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 8 << 20,
        session_epoch: -1,
        topics: vec![fetch::FetchTopic {
            topic,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Reads whole batches from `position` on; where to go on.
fn read_some(
    connection: &mut Connection,
    ledger: &Ledger,
    partition: i32,
    position: i64,
) -> Result<i64, Failure> {
    let request = fetch_request(&BTreeMap::from([(partition, position)]), 500);
    let reply = connection.call(FETCH_VERSION, &request)?;
    let response = fetch::Response::decode(&mut reply.reader(), FETCH_VERSION)?;
    accept(response.error_code, "Fetch")?;
    let mut next = position;
    for data in response
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
    {
        accept(
            data.error_code,
            &format!("Fetch of partition {partition} from {position}"),
        )?;
        let bytes = data.records.to_bytes().unwrap_or_default();
        for batch in scan_batches(&bytes) {
            let (header, batch) = batch.map_err(|error| {
                Failure::Wrong(format!("partition {partition} at {next}: {error}"))
            })?;
            if header.base_offset != next || !verify_crc(batch) {
                let text = format!(
                    "partition {partition}: a batch at {} where {next} comes next, or its checksum is wrong",
                    header.base_offset
                );
                return Err(Failure::Wrong(text));
            }
            let records = decompress(&header, batch, LARGEST_BATCH)
                .map_err(|error| Failure::Wrong(error.to_string()))?;
            for record in RecordIter::new(&header, &records) {
                let record = record.map_err(|error| Failure::Wrong(error.to_string()))?;
                check_record(
                    ledger,
                    partition,
                    record.offset == next,
                    record.key,
                    record.value,
                );
                next = record.offset + 1;
            }
        }
    }
    Ok(next)
}

/// The next record of its stream, with the value it was sent with.
fn check_record(
    ledger: &Ledger,
    partition: i32,
    is_dense: bool,
    key: Option<&[u8]>,
    found: Option<&[u8]>,
) {
    let Some((producer, number)) = key.and_then(numbers_of) else {
        return ledger.violation(format!(
            "partition {partition}: a record with a key that nobody sent"
        ));
    };
    // After a mismatch it goes on from what was found, so that one mistake is told once.
    let expected = ledger
        .books()
        .found
        .insert((producer, partition), number + 1)
        .unwrap_or_default();
    if number != expected || !is_dense {
        let what = if number < expected {
            "doubled or out of order"
        } else {
            "missing before it"
        };
        ledger.violation(format!("producer {producer}, partition {partition}: record {number} where {expected} comes next: {what}"));
    }
    if found != Some(&value(producer, partition, number)) {
        ledger.violation(format!("producer {producer}, partition {partition}: record {number} has another value than was sent"));
    }
}

fn numbers_of(key: &[u8]) -> Option<(u32, u64)> {
    let (producer, number) = key.split_at_checked(4)?;
    Some((
        u32::from_be_bytes(producer.try_into().ok()?),
        u64::from_be_bytes(number.try_into().ok()?),
    ))
}

fn end_offset(connection: &mut Connection, partition: i32) -> Result<i64, Failure> {
    const VERSION: i16 = 6;
    let asked = list_offsets::Partition {
        partition_index: partition,
        current_leader_epoch: -1,
        timestamp: -1,
    };
    let topics = vec![list_offsets::Topic {
        name: TOPIC,
        partitions: vec![asked],
    }];
    let request = list_offsets::Request {
        replica_id: -1,
        topics,
        ..Default::default()
    };
    let reply = connection.call(VERSION, &request)?;
    let response = list_offsets::Response::decode(&mut reply.reader(), VERSION)?;
    let found = response
        .topics
        .first()
        .and_then(|topic| topic.partitions.first());
    accept(found.map_or(-1, |found| found.error_code), "ListOffsets")?;
    Ok(found.map_or(-1, |found| found.offset))
}

/// The committed offset of every partition of a group, -1 where there is none.
pub fn committed(connection: &mut Connection, group: &str) -> Result<Vec<(i32, i64)>, Failure> {
    committed_in(connection, group, TOPIC, PARTITIONS)
}

/// As `committed`, for any topic; offsets of open transactions are waited for.
pub fn committed_in(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partitions: i32,
) -> Result<Vec<(i32, i64)>, Failure> {
    const VERSION: i16 = 8;
    let topic = offset_fetch::GroupTopic {
        name: topic,
        partition_indexes: (0..partitions).collect(),
        ..Default::default()
    };
    let asked = offset_fetch::Group {
        group_id: group,
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = offset_fetch::Request {
        groups: vec![asked],
        require_stable: true,
        ..Default::default()
    };
    let reply = connection.call(VERSION, &request)?;
    let response = offset_fetch::Response::decode(&mut reply.reader(), VERSION)?;
    let mut offsets = Vec::new();
    for answer in response.groups {
        accept(answer.error_code, "OffsetFetch")?;
        for partition in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
            accept(partition.error_code, "OffsetFetch")?;
            offsets.push((partition.partition_index, partition.committed_offset));
        }
    }
    Ok(offsets)
}
