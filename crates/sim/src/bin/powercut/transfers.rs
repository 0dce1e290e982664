//! Transfers between accounts, each a transaction: a debit and a credit in two partitions, and the number of the transfer committed
//! as an offset. Some are aborted on purpose, and the power goes in the middle of any.
//!
//! What must hold for a reader of committed records, after every restart and once the transactional ids were taken up again: the sum
//! over all accounts is zero; a transfer is there wholly or not at all; one whose commit was acknowledged is there, one that was
//! aborted, or whose commit was never asked for, is not; the committed offset is that of the last transfer that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use wire::records::{
    BatchBuilder, Compression, EndTransactionMarker, RecordIter, decompress, scan_batches,
};
use wire::{ErrorCode, end_txn, fetch, init_producer_id, list_offsets, produce, txn_offset_commit};

use crate::connection::{Connection, Failure, accept, error_of};
use crate::ledger::Ledger;
use crate::load::{now_ms, retrying};
use crate::members::find_coordinator;
use crate::random::Random;
use crate::verify;

pub const TOPIC: &str = "cuts-transfers";
pub const PARTITIONS: i32 = 3;
/// Each works with a transactional id and a group of its own.
pub const WORKERS: u32 = 3;

const PRODUCE_VERSION: i16 = 12;
const INIT_VERSION: i16 = 4;
const END_VERSION: i16 = 5;
const OFFSETS_VERSION: i16 = 5;
const TRANSACTION: i8 = 1;
const LARGEST_BATCH: usize = 1 << 20;
/// A debit and a credit.
const LEGS: u32 = 2;

/// What became of a transfer, as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has asked to commit it.
    Open,
    /// The commit was asked for, and no answer came.
    InDoubt,
    Committed,
    Aborted,
}

/// The fates of all transfers, by worker and number.
#[derive(Default)]
pub struct Books {
    fates: BTreeMap<(u32, i64), Fate>,
    committed: u64,
}

impl Books {
    pub fn committed(&self) -> u64 {
        self.committed
    }
}

/// One worker; its number goes on over the rounds.
pub struct Transfers {
    worker: u32,
    next: i64,
}

fn id_of(worker: u32) -> String {
    format!("cuts-transfer-{worker}")
}

impl Transfers {
    pub fn new(worker: u32) -> Transfers {
        Transfers { worker, next: 0 }
    }

    pub fn run(
        &mut self,
        connection: &mut Connection,
        ledger: &Ledger,
        random: &mut Random,
    ) -> Result<(), Failure> {
        let id = id_of(self.worker);
        find_coordinator(connection, &id, TRANSACTION)?;
        find_coordinator(connection, &id, 0)?;
        let mut producer = Producer::take_up(connection, &id)?;
        loop {
            let number = self.next;
            self.next += 1;
            let key = (self.worker, number);
            ledger.transfers().fates.insert(key, Fate::Open);
            let amount = 1 + random.below(1_000) as i64;
            let from = random.below(PARTITIONS as u64) as i32;
            let to = (from + 1 + random.below(PARTITIONS as u64 - 1) as i32) % PARTITIONS;
            producer.send(connection, &id, from, key, -amount)?;
            producer.send(connection, &id, to, key, amount)?;
            producer.commit_offset(connection, &id, number)?;
            let is_commit = !random.one_in(4);
            if is_commit {
                ledger.transfers().fates.insert(key, Fate::InDoubt);
            }
            producer.end(connection, &id, is_commit)?;
            let mut books = ledger.transfers();
            books.committed += u64::from(is_commit);
            let fate = if is_commit {
                Fate::Committed
            } else {
                Fate::Aborted
            };
            books.fates.insert(key, fate);
        }
    }
}

/// The identity of a transactional producer, and its next sequence in each partition.
struct Producer {
    producer_id: i64,
    epoch: i16,
    sequences: [i32; PARTITIONS as usize],
}

impl Producer {
    /// Ends what an earlier producer of this id has left open.
    fn take_up(connection: &mut Connection, id: &str) -> Result<Producer, Failure> {
        let request = init_producer_id::Request {
            transactional_id: Some(id),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        let reply = connection.call(INIT_VERSION, &request)?;
        let response = init_producer_id::Response::decode(&mut reply.reader(), INIT_VERSION)?;
        accept(response.error_code, "InitProducerId of a transactional id")?;
        Ok(Producer {
            producer_id: response.producer_id,
            epoch: response.producer_epoch,
            sequences: [0; PARTITIONS as usize],
        })
    }

    /// One leg of a transfer; its partition joins the transaction by it.
    fn send(
        &mut self,
        connection: &mut Connection,
        id: &str,
        partition: i32,
        (worker, number): (u32, i64),
        amount: i64,
    ) -> Result<(), Failure> {
        let sequence = &mut self.sequences[partition as usize];
        let mut batch = BatchBuilder::new(now_ms())
            .producer(self.producer_id, self.epoch, *sequence)
            .transactional();
        *sequence += 1;
        let key = [&worker.to_be_bytes()[..], &number.to_be_bytes()].concat();
        batch.push(now_ms(), Some(&key), Some(&amount.to_be_bytes()), &[]);
        let bytes: Bytes = batch.build(Compression::None);
        let data = produce::PartitionData {
            index: partition,
            records: Some(&bytes),
        };
        let topic = produce::TopicData {
            name: TOPIC,
            partition_data: vec![data],
            ..Default::default()
        };
        let request = produce::Request {
            transactional_id: Some(id),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
        };
        let reply = connection.call(PRODUCE_VERSION, &request)?;
        let response = produce::Response::decode(&mut reply.reader(), PRODUCE_VERSION)?;
        let topic = response.responses.first();
        let answer = topic.and_then(|topic| topic.partition_responses.first());
        let code = answer.map_or(-1, |answer| answer.error_code);
        accept(code, &format!("a transfer's leg to partition {partition}"))
    }

    /// The number of the transfer, as a consumer commits what it has read within the transaction.
    fn commit_offset(
        &self,
        connection: &mut Connection,
        id: &str,
        number: i64,
    ) -> Result<(), Failure> {
        let partition = txn_offset_commit::Partition {
            partition_index: 0,
            committed_offset: number,
            committed_leader_epoch: -1,
            committed_metadata: Some(""),
        };
        let topic = txn_offset_commit::Topic {
            name: TOPIC,
            partitions: vec![partition],
        };
        let request = txn_offset_commit::Request {
            transactional_id: id,
            group_id: id,
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            generation_id: -1,
            member_id: "",
            group_instance_id: None,
            topics: vec![topic],
        };
        let reply = connection.call(OFFSETS_VERSION, &request)?;
        let response = txn_offset_commit::Response::decode(&mut reply.reader(), OFFSETS_VERSION)?;
        let topic = response.topics.first();
        let answer = topic.and_then(|topic| topic.partitions.first());
        accept(
            answer.map_or(-1, |answer| answer.error_code),
            "TxnOffsetCommit",
        )
    }

    /// The next transaction has the epoch of the answer, and its sequences begin anew with it (KIP-890).
    fn end(
        &mut self,
        connection: &mut Connection,
        id: &str,
        is_commit: bool,
    ) -> Result<(), Failure> {
        let request = end_txn::Request {
            transactional_id: id,
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed: is_commit,
        };
        let reply = connection.call(END_VERSION, &request)?;
        let response = end_txn::Response::decode(&mut reply.reader(), END_VERSION)?;
        accept(response.error_code, "EndTxn")?;
        (self.producer_id, self.epoch) = (response.producer_id, response.producer_epoch);
        self.sequences = [0; PARTITIONS as usize];
        Ok(())
    }
}

/// After a restart: takes the ids up again, reads all that is committed, and compares.
pub fn verify(address: SocketAddr, ledger: &Ledger) -> Result<(), String> {
    if ledger.transfers().fates.is_empty() {
        return Ok(());
    }
    let mut connection = Connection::open(address).map_err(|failure| failure.to_string())?;
    for worker in 0..WORKERS {
        let id = id_of(worker);
        retrying(|| find_coordinator(&mut connection, &id, TRANSACTION))?;
        retrying(|| Producer::take_up(&mut connection, &id))?;
    }
    let mut legs: BTreeMap<(u32, i64), u32> = BTreeMap::new();
    let mut sum = 0;
    for partition in 0..PARTITIONS {
        retrying(|| nothing_is_open(&mut connection, partition))?;
        let read = retrying(|| read_committed(&mut connection, partition))?;
        for (transfer, amount) in read {
            *legs.entry(transfer).or_default() += 1;
            sum += amount;
        }
    }
    if sum != 0 {
        ledger.violation(format!("transfers: the accounts add up to {sum}"));
    }
    compare(ledger, &legs);
    for worker in 0..WORKERS {
        let id = id_of(worker);
        retrying(|| find_coordinator(&mut connection, &id, 0))?;
        let found = retrying(|| verify::committed_in(&mut connection, &id, TOPIC, 1))?;
        let found = found.first().map_or(-1, |(_, offset)| *offset);
        let of_worker = legs.keys().filter(|(of, _)| *of == worker);
        let expected = of_worker.map(|(_, number)| *number).max().unwrap_or(-1);
        if found != expected {
            ledger.violation(format!(
                "transfers: group {id} has offset {found}, the last committed transfer is {expected}"
            ));
        }
    }
    Ok(())
}

fn compare(ledger: &Ledger, legs: &BTreeMap<(u32, i64), u32>) {
    let mut wrong = Vec::new();
    {
        let books = ledger.transfers();
        let known: BTreeSet<_> = books.fates.keys().chain(legs.keys()).collect();
        for transfer in known {
            let count = legs.get(transfer).copied().unwrap_or_default();
            let is_right = match books.fates.get(transfer) {
                Some(Fate::Committed) => count == LEGS,
                Some(Fate::InDoubt) => count == LEGS || count == 0,
                Some(Fate::Open | Fate::Aborted) | None => count == 0,
            };
            if !is_right {
                let fate = books.fates.get(transfer);
                wrong.push(format!(
                    "transfers: {transfer:?} is {fate:?}, and {count} of its {LEGS} legs are seen"
                ));
            }
        }
    }
    // A restart has decided what was in doubt, once and for all.
    let mut books = ledger.transfers();
    for (transfer, fate) in &mut books.fates {
        if *fate == Fate::InDoubt {
            *fate = match legs.contains_key(transfer) {
                true => Fate::Committed,
                false => Fate::Aborted,
            };
        }
    }
    drop(books);
    wrong.into_iter().for_each(|text| ledger.violation(text));
}

/// The last stable offset has reached the end once all ids are taken up: a transaction that stays open would hold readers up for ever.
fn nothing_is_open(connection: &mut Connection, partition: i32) -> Result<(), Failure> {
    let stable = end_offset(connection, partition, 1)?;
    match stable == end_offset(connection, partition, 0)? {
        true => Ok(()),
        false => Err(Failure::Retriable(ErrorCode::UnstableOffsetCommit)),
    }
}

fn end_offset(connection: &mut Connection, partition: i32, isolation: i8) -> Result<i64, Failure> {
    const VERSION: i16 = 6;
    let asked = list_offsets::Partition {
        partition_index: partition,
        current_leader_epoch: -1,
        timestamp: -1,
    };
    let topic = list_offsets::Topic {
        name: TOPIC,
        partitions: vec![asked],
    };
    let request = list_offsets::Request {
        replica_id: -1,
        isolation_level: isolation,
        topics: vec![topic],
        ..Default::default()
    };
    let reply = connection.call(VERSION, &request)?;
    let response = list_offsets::Response::decode(&mut reply.reader(), VERSION)?;
    let topic = response.topics.first();
    let found = topic.and_then(|topic| topic.partitions.first());
    accept(found.map_or(-1, |found| found.error_code), "ListOffsets")?;
    Ok(found.map_or(-1, |found| found.offset))
}

type Leg = ((u32, i64), i64);

/// Every committed leg in a partition, as a consumer with `isolation.level=read_committed` gets them.
fn read_committed(connection: &mut Connection, partition: i32) -> Result<Vec<Leg>, Failure> {
    let end = end_offset(connection, partition, 1)?;
    let (mut position, mut legs) = (0, Vec::new());
    while position < end {
        let request = fetch::Request {
            isolation_level: 1,
            ..verify::fetch_request_of(TOPIC, &BTreeMap::from([(partition, position)]), 500)
        };
        let reply = connection.call(verify::FETCH_VERSION, &request)?;
        let response = fetch::Response::decode(&mut reply.reader(), verify::FETCH_VERSION)?;
        accept(response.error_code, "Fetch")?;
        let topics = response.responses.into_iter();
        let before = position;
        for data in topics.flat_map(|topic| topic.partitions) {
            accept(data.error_code, "Fetch of committed records")?;
            position = take_committed(&data, position, &mut legs)?;
        }
        if position == before {
            return Err(Failure::Wrong(format!(
                "nothing at offset {position} of {TOPIC}-{partition}, which is stable up to {end}"
            )));
        }
    }
    Ok(legs)
}

/// Passes over the aborted transactions of an answer as a consumer does; gives where to go on.
fn take_committed(
    data: &fetch::PartitionData,
    mut position: i64,
    legs: &mut Vec<Leg>,
) -> Result<i64, Failure> {
    let mut aborted: Vec<(i64, i64)> = data
        .aborted_transactions
        .iter()
        .flatten()
        .map(|aborted| (aborted.first_offset, aborted.producer_id))
        .collect();
    aborted.sort_unstable();
    let mut aborted = aborted.into_iter().peekable();
    let mut passed_over = BTreeSet::new();
    let bytes = data.records.to_bytes().unwrap_or_default();
    for batch in scan_batches(&bytes) {
        let (header, batch) = batch.map_err(|error| Failure::Wrong(error.to_string()))?;
        while let Some((_, producer)) = aborted.next_if(|(first, _)| *first <= header.last_offset())
        {
            passed_over.insert(producer);
        }
        position = header.last_offset() + 1;
        if let Some(marker) = EndTransactionMarker::of_batch(&header, batch) {
            if !marker.is_commit {
                passed_over.remove(&header.producer_id);
            }
            continue;
        }
        if header.is_transactional() && passed_over.contains(&header.producer_id) {
            continue;
        }
        let records = decompress(&header, batch, LARGEST_BATCH)
            .map_err(|error| Failure::Wrong(error.to_string()))?;
        for record in RecordIter::new(&header, &records) {
            let record = record.map_err(|error| Failure::Wrong(error.to_string()))?;
            let leg = leg_of(record.key, record.value);
            legs.push(leg.ok_or_else(|| Failure::Wrong("a leg that nobody sent".to_owned()))?);
        }
    }
    Ok(position)
}

fn leg_of(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Leg> {
    let (worker, number) = key?.split_at_checked(4)?;
    let worker = u32::from_be_bytes(worker.try_into().ok()?);
    let number = i64::from_be_bytes(number.try_into().ok()?);
    Some((
        (worker, number),
        i64::from_be_bytes(value?.try_into().ok()?),
    ))
}

/// A producer whose place was taken, or whose transaction was ended for it, begins anew.
pub fn begins_anew(failure: Failure) -> Failure {
    let fenced = [
        ErrorCode::ProducerFenced,
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::InvalidTxnState,
    ];
    match failure {
        Failure::Wrong(text) if fenced.iter().any(|code| text.contains(code.name())) => {
            Failure::Retriable(error_of(ErrorCode::ProducerFenced.code()))
        }
        other => other,
    }
}
