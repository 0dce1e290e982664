//! Who commits offsets: members of a classic group that read what is produced, and a committer that is in no group at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::{
    ErrorCode, Reader, fetch, find_coordinator, heartbeat, join_group, offset_commit, sync_group,
};

use crate::connection::{Connection, Failure, accept, error_of};
use crate::ledger::Ledger;
use crate::load::{PARTITIONS, TOPIC};
use crate::random::Random;
use crate::verify;

pub const GROUP: &str = "cuts-members";
pub const COMMITTER_GROUP: &str = "cuts-committer";
const COMMIT_VERSION: i16 = 8;

/// A group member; its id survives the rounds, as that of a client does.
#[derive(Default)]
pub struct Member {
    id: String,
    generation: i32,
}

impl Member {
    /// Joins, reads and commits until a rebalance or the end of the connection.
    pub fn run(&mut self, connection: &mut Connection, ledger: &Ledger) -> Result<(), Failure> {
        find(connection, GROUP)?;
        let members = self.join(connection)?;
        let partitions = self.sync(connection, &members)?;
        let mut positions = BTreeMap::new();
        for (partition, offset) in verify::committed(connection, GROUP)? {
            if partitions.contains(&partition) {
                positions.insert(partition, offset.max(0));
            }
        }
        let mut beat = Instant::now();
        loop {
            if self.read(connection, ledger, &mut positions)? {
                self.commit(connection, ledger, &positions)?;
            }
            if beat.elapsed() > Duration::from_millis(100) {
                self.heartbeat(connection)?;
                beat = Instant::now();
            }
        }
    }

    /// Joins; the ids of all members when this one leads.
    fn join(&mut self, connection: &mut Connection) -> Result<Vec<String>, Failure> {
        const VERSION: i16 = 7;
        let metadata = subscription();
        loop {
            let protocols = vec![join_group::Protocol {
                name: "range",
                metadata: &metadata,
            }];
            let request = join_group::Request {
                group_id: GROUP,
                session_timeout_ms: 6_000,
                rebalance_timeout_ms: 6_000,
                member_id: &self.id,
                protocol_type: "consumer",
                protocols,
                ..Default::default()
            };
            let reply = connection.call(VERSION, &request)?;
            let response = join_group::Response::decode(&mut reply.reader(), VERSION)?;
            match error_of(response.error_code) {
                ErrorCode::MemberIdRequired => self.id = response.member_id.into_owned(),
                ErrorCode::UnknownMemberId => self.id.clear(),
                _ => {
                    accept(response.error_code, "JoinGroup")?;
                    self.id = response.member_id.into_owned();
                    self.generation = response.generation_id;
                    return Ok(response
                        .members
                        .into_iter()
                        .map(|member| member.member_id.into_owned())
                        .collect());
                }
            }
        }
    }

    /// Leads by dealing the partitions out; returns this member's.
    fn sync(
        &mut self,
        connection: &mut Connection,
        members: &[String],
    ) -> Result<Vec<i32>, Failure> {
        const VERSION: i16 = 5;
        let dealt: Vec<Vec<u8>> = (0..members.len())
            .map(|at| {
                assignment(
                    (0..PARTITIONS).filter(|partition| *partition as usize % members.len() == at),
                )
            })
            .collect();
        let assignments = members
            .iter()
            .zip(&dealt)
            .map(|(member_id, assignment)| sync_group::Assignment {
                member_id,
                assignment,
            })
            .collect();
        let request = sync_group::Request {
            group_id: GROUP,
            generation_id: self.generation,
            member_id: &self.id,
            protocol_type: Some("consumer"),
            protocol_name: Some("range"),
            assignments,
            ..Default::default()
        };
        let reply = connection.call(VERSION, &request)?;
        let response = sync_group::Response::decode(&mut reply.reader(), VERSION)?;
        self.accept(response.error_code, "SyncGroup")?;
        partitions_of(&response.assignment)
    }

    fn heartbeat(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        const VERSION: i16 = 4;
        let request = heartbeat::Request {
            group_id: GROUP,
            generation_id: self.generation,
            member_id: &self.id,
            ..Default::default()
        };
        let reply = connection.call(VERSION, &request)?;
        let response = heartbeat::Response::decode(&mut reply.reader(), VERSION)?;
        self.accept(response.error_code, "Heartbeat")
    }

    /// A rebalance, or a membership that the broker no longer knows, means to join again.
    fn accept(&mut self, code: i16, what: &str) -> Result<(), Failure> {
        match error_of(code) {
            code @ (ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {
                Err(Failure::Retriable(code))
            }
            code @ ErrorCode::UnknownMemberId => {
                self.id.clear();
                Err(Failure::Retriable(code))
            }
            _ => accept(code, what),
        }
    }

    /// One fetch; whether something came. What came is visible, and must still be there after a cut.
    fn read(
        &self,
        connection: &mut Connection,
        ledger: &Ledger,
        positions: &mut BTreeMap<i32, i64>,
    ) -> Result<bool, Failure> {
        let request = verify::fetch_request(positions, 50);
        let reply = connection.call(verify::FETCH_VERSION, &request)?;
        let response = fetch::Response::decode(&mut reply.reader(), verify::FETCH_VERSION)?;
        accept(response.error_code, "Fetch")?;
        let mut came = false;
        for partition in response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            accept(partition.error_code, "Fetch")?;
            let bytes = partition.records.to_bytes().unwrap_or_default();
            for batch in wire::records::scan_batches(&bytes) {
                let (header, _) =
                    batch.map_err(|error| Failure::Wrong(format!("a fetched batch: {error}")))?;
                positions.insert(partition.partition_index, header.last_offset() + 1);
                ledger.note_seen(partition.partition_index, header.last_offset() + 1);
                came = true;
            }
        }
        Ok(came)
    }

    fn commit(
        &mut self,
        connection: &mut Connection,
        ledger: &Ledger,
        positions: &BTreeMap<i32, i64>,
    ) -> Result<(), Failure> {
        for (partition, offset) in positions {
            ledger.note_attempt(GROUP, *partition, *offset);
        }
        let code = commit(connection, GROUP, (&self.id, self.generation), positions)?;
        self.accept(code, "OffsetCommit")?;
        for (partition, offset) in positions {
            ledger.note_committed(GROUP, *partition, *offset);
        }
        Ok(())
    }
}

/// Commits ever larger offsets without being a member.
pub struct Committer {
    next: i64,
}

impl Committer {
    pub fn new(first: u64) -> Committer {
        Committer { next: first as i64 }
    }

    pub fn run(
        &mut self,
        connection: &mut Connection,
        ledger: &Ledger,
        random: &mut Random,
    ) -> Result<(), Failure> {
        find(connection, COMMITTER_GROUP)?;
        loop {
            let partition = random.below(PARTITIONS as u64) as i32;
            self.next += 1;
            ledger.note_attempt(COMMITTER_GROUP, partition, self.next);
            let code = commit(
                connection,
                COMMITTER_GROUP,
                ("", -1),
                &BTreeMap::from([(partition, self.next)]),
            )?;
            accept(code, "OffsetCommit without a member")?;
            ledger.note_committed(COMMITTER_GROUP, partition, self.next);
        }
    }
}

/// Asks for the coordinator, which is how a broker learns that it is one.
pub fn find(connection: &mut Connection, group: &str) -> Result<(), Failure> {
    find_coordinator(connection, group, 0)
}

/// As `find`, for a key of any type: 0 for groups, 1 for transactional ids.
pub fn find_coordinator(
    connection: &mut Connection,
    key: &str,
    key_type: i8,
) -> Result<(), Failure> {
    const VERSION: i16 = 4;
    let request = find_coordinator::Request {
        key_type,
        coordinator_keys: vec![key],
        ..Default::default()
    };
    let reply = connection.call(VERSION, &request)?;
    let response = find_coordinator::Response::decode(&mut reply.reader(), VERSION)?;
    accept(
        response
            .coordinators
            .first()
            .map_or(-1, |coordinator| coordinator.error_code),
        "FindCoordinator",
    )
}

/// The first error code of a commit, or 0.
fn commit(
    connection: &mut Connection,
    group: &str,
    member: (&str, i32),
    offsets: &BTreeMap<i32, i64>,
) -> Result<i16, Failure> {
    let partitions = offsets
        .iter()
        .map(|(partition, offset)| offset_commit::Partition {
            partition_index: *partition,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(""),
        })
        .collect();
    let request = offset_commit::Request {
        group_id: group,
        generation_id_or_member_epoch: member.1,
        member_id: member.0,
        topics: vec![offset_commit::Topic {
            name: TOPIC,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    };
    let reply = connection.call(COMMIT_VERSION, &request)?;
    let response = offset_commit::Response::decode(&mut reply.reader(), COMMIT_VERSION)?;
    let codes = response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| partition.error_code);
    Ok(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
}

/// `ConsumerProtocolSubscription`, version 0: the topics, no user data.
fn subscription() -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(&(TOPIC.len() as i16).to_be_bytes());
    bytes.extend_from_slice(TOPIC.as_bytes());
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes
}

/// `ConsumerProtocolAssignment`, version 0: the partitions of the one topic, no user data.
fn assignment(partitions: impl Iterator<Item = i32>) -> Vec<u8> {
    let partitions: Vec<i32> = partitions.collect();
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(&(TOPIC.len() as i16).to_be_bytes());
    bytes.extend_from_slice(TOPIC.as_bytes());
    bytes.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
    for partition in partitions {
        bytes.extend_from_slice(&partition.to_be_bytes());
    }
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes
}

fn partitions_of(assignment: &[u8]) -> Result<Vec<i32>, Failure> {
    let mut reader = Reader::new(assignment);
    let mut partitions = Vec::new();
    if assignment.is_empty() {
        return Ok(partitions);
    }
    let _version = reader.i16()?;
    for _ in 0..reader.i32()? {
        let _topic = reader.string(false)?;
        for _ in 0..reader.i32()? {
            partitions.push(reader.i32()?);
        }
    }
    Ok(partitions)
}
