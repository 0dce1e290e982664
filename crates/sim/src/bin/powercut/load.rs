//! The load: idempotent producers with numbered records, group members and a committer without a group membership.
//!
//! Producers outlive the rounds: what was not acknowledged when the power went is sent again, first and unchanged, with the
//! same sequence numbers, so a batch that had been stored must be recognized by the restarted broker.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use wire::records::{BatchBuilder, Compression};
use wire::{ApiKey, ErrorCode, create_topics, init_producer_id, produce};

use crate::connection::{Connection, Failure, accept, error_of};
use crate::ledger::Ledger;
use crate::members::{Committer, Member};
use crate::random::Random;
use crate::transfers::{self, Transfers};

pub const TOPIC: &str = "cuts";
pub const PARTITIONS: i32 = 6;
const PRODUCERS: u32 = 4;
const MEMBERS: u32 = 2;
/// What the broker must remember of each producer, and so the most that may be in doubt.
const IN_FLIGHT: usize = 5;
const PRODUCE_VERSION: i16 = 9;
const CODECS: [Compression; 6] = [
    Compression::None,
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

pub struct Load {
    address: SocketAddr,
    ledger: Arc<Ledger>,
    workers: Vec<Worker>,
}

enum Worker {
    Producer(Producer),
    Member(Member),
    Committer(Committer),
    Transfers(Transfers),
}

/// The load of one round, in threads.
pub struct Running<'a> {
    load: &'a mut Load,
    threads: Vec<JoinHandle<Worker>>,
}

impl Running<'_> {
    /// Waits until every thread has noticed that the broker is gone.
    pub fn join(self) {
        for thread in self.threads {
            match thread.join() {
                Ok(worker) => self.load.workers.push(worker),
                Err(_) => self
                    .load
                    .ledger
                    .violation("a thread of the harness panicked".to_owned()),
            }
        }
    }
}

impl Load {
    /// Makes the topic, with small segments so that they roll often, and the producers' ids.
    pub fn prepare(
        address: SocketAddr,
        ledger: &Arc<Ledger>,
        durability: Option<&str>,
        random: &mut Random,
    ) -> Result<Load, String> {
        let mut connection = Connection::open(address).map_err(|failure| failure.to_string())?;
        for (topic, partitions) in [
            (TOPIC, PARTITIONS),
            (transfers::TOPIC, transfers::PARTITIONS),
        ] {
            retrying(|| create_topic(&mut connection, topic, partitions, durability))?;
        }
        let mut workers = Vec::new();
        for number in 0..PRODUCERS {
            let (producer_id, epoch) = retrying(|| new_producer_id(&mut connection))?;
            workers.push(Worker::Producer(Producer {
                number,
                producer_id,
                epoch,
                streams: BTreeMap::new(),
            }));
        }
        workers.extend((0..MEMBERS).map(|_| Worker::Member(Member::default())));
        workers.push(Worker::Committer(Committer::new(random.next() % 1000)));
        let transfers = (0..transfers::WORKERS).map(Transfers::new);
        workers.extend(transfers.map(Worker::Transfers));
        Ok(Load {
            address,
            ledger: Arc::clone(ledger),
            workers,
        })
    }

    pub fn start(&mut self, seed: u64) -> Running<'_> {
        let mut random = Random::new(seed);
        let mut threads = Vec::new();
        for mut worker in std::mem::take(&mut self.workers) {
            let (address, ledger, seed) = (self.address, Arc::clone(&self.ledger), random.next());
            threads.push(std::thread::spawn(move || {
                worker.run(address, &ledger, seed);
                worker
            }));
        }
        Running {
            load: self,
            threads,
        }
    }

    /// Sends everything in doubt again, without a cut.
    pub fn settle(&mut self) -> Result<(), String> {
        for worker in &mut self.workers {
            if let Worker::Producer(producer) = worker {
                let address = self.address;
                retrying(|| {
                    Connection::open(address)
                        .and_then(|mut connection| producer.resend(&mut connection, &self.ledger))
                })?;
            }
        }
        Ok(())
    }
}

impl Worker {
    /// Works until the connection ends; answers that must not be are violations.
    fn run(&mut self, address: SocketAddr, ledger: &Ledger, seed: u64) {
        let mut random = Random::new(seed);
        loop {
            let end = Connection::open(address).and_then(|mut connection| match self {
                Worker::Producer(producer) => producer.run(&mut connection, ledger, &mut random),
                Worker::Member(member) => member.run(&mut connection, ledger),
                Worker::Committer(committer) => committer.run(&mut connection, ledger, &mut random),
                Worker::Transfers(transfers) => transfers
                    .run(&mut connection, ledger, &mut random)
                    .map_err(transfers::begins_anew),
            });
            match end {
                Ok(()) | Err(Failure::Retriable(_)) => {
                    std::thread::sleep(std::time::Duration::from_millis(5))
                }
                Err(Failure::Gone(_)) => return,
                Err(Failure::Wrong(text)) => return ledger.violation(text),
            }
        }
    }
}

/// Repeats what a client would repeat, for up to half a minute.
pub fn retrying<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, String> {
    let mut last = String::new();
    for _ in 0..300 {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Failure::Retriable(code)) => last = code.name().to_owned(),
            Err(failure) => return Err(failure.to_string()),
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(format!("still {last} after 30 s"))
}

fn create_topic(
    connection: &mut Connection,
    name: &str,
    partitions: i32,
    durability: Option<&str>,
) -> Result<(), Failure> {
    const VERSION: i16 = 5;
    let config = |name, value| create_topics::CreatableTopicConfig {
        name,
        value: Some(value),
    };
    let mut configs = vec![
        config("segment.bytes", "1048576"),
        config("retention.ms", "-1"),
    ];
    configs.extend(durability.map(|durability| config("thalweg.durability", durability)));
    let topic = create_topics::CreatableTopic {
        name,
        num_partitions: partitions,
        replication_factor: 1,
        configs,
        ..Default::default()
    };
    let request = create_topics::Request {
        topics: vec![topic],
        timeout_ms: 10_000,
        validate_only: false,
    };
    let reply = connection.call(VERSION, &request)?;
    let response = create_topics::Response::decode(&mut reply.reader(), VERSION)?;
    let code = response.topics.first().map_or(-1, |topic| topic.error_code);
    if error_of(code) == ErrorCode::TopicAlreadyExists {
        return Ok(());
    }
    accept(code, "CreateTopics")
}

fn new_producer_id(connection: &mut Connection) -> Result<(i64, i16), Failure> {
    const VERSION: i16 = 4;
    let request = init_producer_id::Request {
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let reply = connection.call(VERSION, &request)?;
    let response = init_producer_id::Response::decode(&mut reply.reader(), VERSION)?;
    accept(response.error_code, "InitProducerId")?;
    Ok((response.producer_id, response.producer_epoch))
}

struct Producer {
    number: u32,
    producer_id: i64,
    epoch: i16,
    streams: BTreeMap<i32, Outgoing>,
}

/// One producer's records for one partition.
#[derive(Default)]
struct Outgoing {
    next: u64,
    in_doubt: VecDeque<Batch>,
}

struct Batch {
    count: u64,
    bytes: Bytes,
}

impl Producer {
    /// First what is in doubt, then new batches, up to five unanswered at a time.
    fn run(
        &mut self,
        connection: &mut Connection,
        ledger: &Ledger,
        random: &mut Random,
    ) -> Result<(), Failure> {
        self.resend(connection, ledger)?;
        let mut waiting = VecDeque::new();
        loop {
            while waiting.len() < IN_FLIGHT {
                let partition = random.below(PARTITIONS as u64) as i32;
                let bytes = self.new_batch(partition, ledger, random);
                connection.send(PRODUCE_VERSION, &request(partition, &bytes))?;
                waiting.push_back(partition);
            }
            let partition = waiting.pop_front().expect("five requests were sent");
            self.take_answer(connection, partition, ledger)?;
        }
    }

    fn resend(&mut self, connection: &mut Connection, ledger: &Ledger) -> Result<(), Failure> {
        for partition in self.streams.keys().copied().collect::<Vec<_>>() {
            while let Some(batch) = self.streams[&partition].in_doubt.front() {
                connection.send(PRODUCE_VERSION, &request(partition, &batch.bytes))?;
                self.take_answer(connection, partition, ledger)?;
            }
        }
        Ok(())
    }

    fn new_batch(&mut self, partition: i32, ledger: &Ledger, random: &mut Random) -> Bytes {
        let outgoing = self.streams.entry(partition).or_default();
        let count = 1 + random.below(40);
        let sequence = i32::try_from(outgoing.next)
            .expect("fewer than two thousand million records in a stream");
        let now = now_ms();
        let mut batch = BatchBuilder::new(now).producer(self.producer_id, self.epoch, sequence);
        for number in outgoing.next..outgoing.next + count {
            batch.push(
                now,
                Some(&key(self.number, number)),
                Some(&value(self.number, partition, number)),
                &[],
            );
        }
        let bytes = batch.build(CODECS[random.below(CODECS.len() as u64) as usize]);
        outgoing.next += count;
        outgoing.in_doubt.push_back(Batch {
            count,
            bytes: bytes.clone(),
        });
        ledger.note_sent((self.number, partition), count);
        bytes
    }

    /// The answer to the oldest batch in doubt of this partition.
    fn take_answer(
        &mut self,
        connection: &mut Connection,
        partition: i32,
        ledger: &Ledger,
    ) -> Result<(), Failure> {
        let reply = connection.receive(ApiKey::Produce, PRODUCE_VERSION)?;
        let response = produce::Response::decode(&mut reply.reader(), PRODUCE_VERSION)?;
        let answer = response
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first());
        let code = answer
            .filter(|answer| answer.index == partition)
            .map_or(-1, |answer| answer.error_code);
        // A duplicate is already stored, which is as good as an acknowledgement.
        if error_of(code) != ErrorCode::DuplicateSequenceNumber {
            accept(
                code,
                &format!("producer {}, partition {partition}: Produce", self.number),
            )?;
        }
        let outgoing = self
            .streams
            .get_mut(&partition)
            .expect("a batch of this partition was sent");
        let batch = outgoing
            .in_doubt
            .pop_front()
            .expect("the batch that is answered was in doubt");
        ledger.note_acknowledged((self.number, partition), batch.count);
        Ok(())
    }
}

fn request(partition: i32, bytes: &Bytes) -> produce::Request<'_> {
    let partition_data = vec![produce::PartitionData {
        index: partition,
        records: Some(bytes),
    }];
    let topic_data = vec![produce::TopicData {
        name: TOPIC,
        partition_data,
        ..Default::default()
    }];
    produce::Request {
        acks: -1,
        timeout_ms: 30_000,
        topic_data,
        ..Default::default()
    }
}

/// The real time: a broker forgets producers whose last record is a day old, by the record's own timestamp.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as i64)
}

/// The producer's number and the record's.
pub fn key(producer: u32, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&producer.to_be_bytes());
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Made again by the reader and compared byte by byte.
pub fn value(producer: u32, partition: i32, number: u64) -> Vec<u8> {
    let mut random = Random::new(number ^ (u64::from(producer) << 40) ^ ((partition as u64) << 52));
    let length = 10
        + random.below(if number.is_multiple_of(50) {
            20_000
        } else {
            300
        });
    let pattern = random.next().to_be_bytes();
    pattern
        .iter()
        .copied()
        .cycle()
        .take(length as usize)
        .collect()
}
