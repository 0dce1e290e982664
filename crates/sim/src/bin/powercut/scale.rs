//! `powercut scale --port P --partitions N --connections C --groups G --seconds S`: many of everything at once on a broker that runs,
//! and what one small produce takes then. `cargo xtask bench --only scale` calls it. The last line printed is a summary in JSON.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wire::records::{BatchBuilder, Compression};
use wire::{ApiKey, create_topics, join_group, produce, sync_group};

use crate::connection::{Connection, Failure, accept};
use crate::load::{now_ms, retrying};
use crate::members::find;
use crate::random::Random;

const TOPIC_PARTITIONS: i32 = 1_000;
const PRODUCERS: u64 = 16;
const RECORD_BYTES: usize = 100;
const PRODUCE_VERSION: i16 = 9;
const JOIN_VERSION: i16 = 3;
const SYNC_VERSION: i16 = 3;
const USAGE: &str = "usage: powercut scale --port P [--partitions N] [--connections C] [--groups G] [--seconds S] [--create yes|no]";

struct Options {
    address: SocketAddr,
    topics: i32,
    connections: usize,
    groups: usize,
    seconds: u64,
    creates: bool,
}

pub fn run(arguments: &[String]) -> Result<(), String> {
    let options = parse(arguments)?;
    let say = |failure: Failure| failure.to_string();
    let mut connection = Connection::open(options.address).map_err(say)?;
    let began = Instant::now();
    if options.creates {
        for number in 0..options.topics {
            retrying(|| create(&mut connection, &topic(number)))?;
        }
    }
    let created = began.elapsed();
    let mut idle = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let mut connection = Connection::open(options.address).map_err(say)?;
        if !connection.has_brokers() {
            return Err("a connection without an answer".to_owned());
        }
        idle.push(connection);
    }
    let groups = options.groups.min(idle.len());
    join_all(&mut idle[..groups])?;
    let mut latencies = produce_all(&options)?;
    latencies.sort_unstable();
    let at = |part: f64| {
        let place = (latencies.len() as f64 * part) as usize;
        let latency = latencies.get(place.min(latencies.len().saturating_sub(1)));
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    println!(
        "{{\"created_ms\": {:.0}, \"requests\": {}, \"p50_ms\": {:.2}, \"p99_ms\": {:.2}, \"max_ms\": {:.2}}}",
        created.as_secs_f64() * 1000.0,
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
    // Whoever measures the broker's memory does it while all of this is connected.
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        topics: 1,
        connections: 100,
        groups: 10,
        seconds: 5,
        creates: true,
    };
    for pair in arguments.chunks(2) {
        let [flag, value] = pair else {
            return Err(USAGE.to_owned());
        };
        let number = || value.parse::<usize>().map_err(|_| USAGE.to_owned());
        match flag.as_str() {
            "--port" => options.address.set_port(value.parse().map_err(|_| USAGE)?),
            "--partitions" => options.topics = number()?.div_ceil(1_000) as i32,
            "--connections" => options.connections = number()?,
            "--groups" => options.groups = number()?,
            "--seconds" => options.seconds = number()? as u64,
            "--create" => options.creates = value == "yes",
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn topic(number: i32) -> String {
    format!("scale-{number}")
}

fn create(connection: &mut Connection, name: &str) -> Result<(), Failure> {
    const VERSION: i16 = 5;
    let topic = create_topics::CreatableTopic {
        name,
        num_partitions: TOPIC_PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let request = create_topics::Request {
        topics: vec![topic],
        timeout_ms: 60_000,
        validate_only: false,
    };
    let reply = connection.call(VERSION, &request)?;
    let response = create_topics::Response::decode(&mut reply.reader(), VERSION)?;
    let code = response.topics.first().map_or(-1, |topic| topic.error_code);
    accept(code, "CreateTopics")
}

/// A group with one member on each of these connections; all join at once, and wait for the first rebalance together.
fn join_all(connections: &mut [Connection]) -> Result<(), String> {
    let say = |failure: Failure| failure.to_string();
    let name = |number: usize| format!("scale-{number}");
    for (number, connection) in connections.iter_mut().enumerate() {
        let group = name(number);
        find(connection, &group).map_err(say)?;
        let request = join_group::Request {
            group_id: &group,
            session_timeout_ms: 300_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer",
            protocols: vec![join_group::Protocol {
                name: "range",
                metadata: &[],
            }],
            ..Default::default()
        };
        connection.send(JOIN_VERSION, &request).map_err(say)?;
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let reply = connection.receive(ApiKey::JoinGroup, JOIN_VERSION);
        let reply = reply.map_err(say)?;
        let joined = join_group::Response::decode(&mut reply.reader(), JOIN_VERSION);
        let joined = joined.map_err(|error| error.to_string())?;
        accept(joined.error_code, "JoinGroup").map_err(say)?;
        let group = name(number);
        let request = sync_group::Request {
            group_id: &group,
            generation_id: joined.generation_id,
            member_id: &joined.member_id,
            ..Default::default()
        };
        let reply = connection.call(SYNC_VERSION, &request).map_err(say)?;
        let synced = sync_group::Response::decode(&mut reply.reader(), SYNC_VERSION);
        let synced = synced.map_err(|error| error.to_string())?;
        accept(synced.error_code, "SyncGroup").map_err(say)?;
    }
    Ok(())
}

/// Each producer has one request under way, for a partition by chance; gives what each took.
fn produce_all(options: &Options) -> Result<Vec<Duration>, String> {
    let (address, topics) = (options.address, options.topics);
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let start = |seed| std::thread::spawn(move || produce_until(end, address, topics, seed));
    let threads: Vec<_> = (0..PRODUCERS).map(start).collect();
    let mut latencies = Vec::new();
    for thread in threads {
        let produced = thread
            .join()
            .map_err(|_| "a producer panicked".to_owned())?;
        latencies.extend(produced.map_err(|failure| failure.to_string())?);
    }
    Ok(latencies)
}

fn produce_until(
    end: Instant,
    address: SocketAddr,
    topics: i32,
    seed: u64,
) -> Result<Vec<Duration>, Failure> {
    let mut connection = Connection::open(address)?;
    let mut random = Random::new(seed);
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let mut batch = BatchBuilder::new(now_ms());
        batch.push(now_ms(), None, Some(&[7; RECORD_BYTES]), &[]);
        let bytes: Bytes = batch.build(Compression::None);
        let name = topic(random.below(topics as u64) as i32);
        let data = produce::PartitionData {
            index: random.below(TOPIC_PARTITIONS as u64) as i32,
            records: Some(&bytes),
        };
        let topic_data = produce::TopicData {
            name: &name,
            partition_data: vec![data],
            ..Default::default()
        };
        let request = produce::Request {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic_data],
            ..Default::default()
        };
        let sent = Instant::now();
        let reply = connection.call(PRODUCE_VERSION, &request)?;
        latencies.push(sent.elapsed());
        let response = produce::Response::decode(&mut reply.reader(), PRODUCE_VERSION)?;
        let topic = response.responses.first();
        let answer = topic.and_then(|topic| topic.partition_responses.first());
        accept(answer.map_or(-1, |answer| answer.error_code), "Produce")?;
    }
    Ok(latencies)
}
