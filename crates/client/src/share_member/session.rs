//! A member's share session with one leader: a connection, and an epoch that grows with each request on it.
//!
//! The session ends with its connection, and with it every lock on records that were acquired through it. So a request is never
//! broken off, whatever happens to the caller it is made for: the owner runs it on a task of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wire::share_fetch::AcquiredRecords;
use wire::{ApiKey, ErrorCode, Records, Uuid, share_acknowledge, share_fetch};

use super::ranges::{Batch, Kind};
use crate::admin::check;
use crate::cluster::Cluster;
use crate::connection::{Connection, Reply};
use crate::error::ClientError;

/// Opens a session.
const OPENING: i32 = 0;
/// Closes it.
const CLOSING: i32 = -1;
/// What one fetch holds at most.
pub(super) const FETCH_BYTES: usize = 1024 * 1024;
/// Acquires no more records than were asked for, where the broker can (KIP-1206).
const RECORD_LIMIT: i8 = 1;
/// From this version on locks can be renewed (KIP-1222).
const WITH_RENEWAL: i16 = 2;

/// A partition by the id of its topic.
pub(super) type SharePartition = (Uuid, i32);

/// Acknowledgements of one partition.
pub(super) type Acknowledged = (SharePartition, Vec<Batch>);

/// Whose session it is.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) cluster: Cluster,
    pub(super) group: String,
    pub(super) member_id: String,
}

/// What a fetch gave.
pub(super) struct Got {
    /// For how long the acquired records are the member's.
    pub(super) lock: Duration,
    pub(super) partitions: Vec<GotPartition>,
}

pub(super) struct GotPartition {
    pub(super) place: SharePartition,
    pub(super) error: Option<ErrorCode>,
    pub(super) acquired: Vec<AcquiredRecords>,
    /// Whole batches.
    pub(super) records: Records,
}

impl Got {
    fn of(answer: share_fetch::Response<'_>) -> Got {
        let lock = u64::try_from(answer.acquisition_lock_timeout_ms).unwrap_or(0);
        let partitions = answer.responses.into_iter().flat_map(|topic| {
            let partitions = topic.partitions.into_iter();
            partitions.map(move |partition| GotPartition {
                place: (topic.topic_id, partition.partition_index),
                error: match partition.error_code {
                    0 => None,
                    code => ErrorCode::from_code(code).or(Some(ErrorCode::UnknownServerError)),
                },
                acquired: partition.acquired_records,
                records: partition.records,
            })
        });
        Got {
            lock: Duration::from_millis(lock),
            partitions: partitions.collect(),
        }
    }
}

pub(super) struct Session {
    owner: Arc<Owner>,
    connection: Option<Connection>,
    epoch: i32,
    partitions: BTreeSet<SharePartition>,
}

impl Session {
    pub(super) fn new(owner: Arc<Owner>) -> Session {
        Session {
            owner,
            connection: None,
            epoch: OPENING,
            partitions: BTreeSet::new(),
        }
    }

    /// Acquires at most `max` records of `wanted`, waiting for the first; opens the session when there is none.
    ///
    /// # Errors
    /// What the leader refuses the request with; `Unreachable` and `TimedOut`, after which the session is gone.
    pub(super) async fn fetch(
        &mut self,
        address: &str,
        wanted: &BTreeSet<SharePartition>,
        max: usize,
        wait: Duration,
    ) -> Result<Got, ClientError> {
        let owner = Arc::clone(&self.owner);
        let mut may_open_again = true;
        loop {
            self.connect(address).await?;
            let request = self.fetch_request(&owner, wanted, max, wait);
            let reply = self.call(&request, owner.cluster.timeout() + wait).await?;
            let answer = reply.read()?;
            let what = || format!("reading in share group {}", owner.group);
            let checked = check(answer.error_code, answer.error_message.as_deref(), what);
            let Err(error) = checked else {
                self.partitions.clone_from(wanted);
                return Ok(Got::of(answer));
            };
            let is_lost = is_session_lost(&error);
            self.reset();
            if !is_lost || !may_open_again {
                return Err(error);
            }
            may_open_again = false;
        }
    }

    /// Acknowledges; gives what became of each partition's.
    ///
    /// # Errors
    /// `Refused` when there is no session, so that the locks are gone, too; `NotOffered` when the broker cannot renew.
    pub(super) async fn acknowledge(
        &mut self,
        acknowledged: &[Acknowledged],
    ) -> Result<Vec<(SharePartition, Result<(), ClientError>)>, ClientError> {
        let owner = Arc::clone(&self.owner);
        let what = || format!("acknowledging in share group {}", owner.group);
        let is_renewal = is_renewal(acknowledged);
        let connection = self.connection.as_mut().filter(|_| self.epoch != OPENING);
        let is_usable = connection.is_some_and(Connection::is_usable);
        if !is_usable {
            self.reset();
            let why = "the connection through which the records were acquired is gone, and with it their locks";
            let code = ErrorCode::ShareSessionNotFound;
            return Err(ClientError::refused(what(), code, Some(why)));
        }
        self.check_renewal(is_renewal)?;
        let request = share_acknowledge::Request {
            group_id: Some(&owner.group),
            member_id: Some(&owner.member_id),
            share_session_epoch: self.epoch,
            is_renew_ack: is_renewal,
            topics: acknowledged.iter().map(to_topic).collect(),
        };
        let reply = self.call(&request, owner.cluster.timeout()).await?;
        let answer = reply.read()?;
        let checked = check(answer.error_code, answer.error_message.as_deref(), what);
        if let Err(error) = checked {
            if is_session_lost(&error) {
                self.reset();
            }
            return Err(error);
        }
        let mut results = Vec::new();
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let message = partition.error_message.as_deref();
                let result = check(partition.error_code, message, what);
                results.push(((topic.topic_id, partition.partition_index), result));
            }
        }
        Ok(results)
    }

    /// Ends the session; what it has acquired is available again.
    pub(super) async fn close(&mut self) {
        if self.epoch != OPENING && self.connection.is_some() {
            let owner = Arc::clone(&self.owner);
            let request = share_acknowledge::Request {
                group_id: Some(&owner.group),
                member_id: Some(&owner.member_id),
                share_session_epoch: CLOSING,
                ..share_acknowledge::Request::default()
            };
            // The end of the connection does the same.
            let _ = self.call(&request, owner.cluster.timeout()).await;
        }
        self.reset();
    }

    /// Forgets the session and its connection.
    pub(super) fn reset(&mut self) {
        self.connection = None;
        self.epoch = OPENING;
        self.partitions.clear();
    }

    async fn connect(&mut self, address: &str) -> Result<(), ClientError> {
        let connection = self.connection.as_mut();
        if connection
            .is_some_and(|connection| connection.is_usable() && connection.address() == address)
        {
            return Ok(());
        }
        self.reset();
        let connection = Connection::open(address, &self.owner.cluster).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// One request within the session; without an answer the session is gone.
    async fn call<'q, Q: wire::Request<'q>>(
        &mut self,
        request: &Q,
        limit: Duration,
    ) -> Result<Reply<Q>, ClientError> {
        let connection = self.connection.as_mut();
        let connection = connection.expect("a session is called after it was connected");
        connection.set_limit(limit);
        let reply = connection.call(request).await;
        match &reply {
            // 0 and -1 mean something else, so the epochs begin at 1 again.
            Ok(_) => self.epoch = self.epoch.checked_add(1).unwrap_or(1),
            Err(_) => self.reset(),
        }
        reply
    }

    fn check_renewal(&self, is_renewal: bool) -> Result<(), ClientError> {
        let connection = self.connection.as_ref();
        let connection = connection.expect("a session is checked after it was connected");
        let offered = connection.offered(ApiKey::ShareAcknowledge);
        let is_offered = offered.is_some_and(|versions| *versions.end() >= WITH_RENEWAL);
        match is_renewal && !is_offered {
            true => Err(ClientError::NotOffered {
                address: connection.address().to_owned(),
                api: "ShareAcknowledge with renewal",
            }),
            false => Ok(()),
        }
    }

    fn fetch_request<'a>(
        &self,
        owner: &'a Owner,
        wanted: &BTreeSet<SharePartition>,
        max: usize,
        wait: Duration,
    ) -> share_fetch::Request<'a> {
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let added = wanted.difference(&self.partitions);
        let forgotten = self.partitions.difference(wanted);
        share_fetch::Request {
            group_id: Some(&owner.group),
            member_id: Some(&owner.member_id),
            share_session_epoch: self.epoch,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: i32::try_from(FETCH_BYTES).unwrap_or(i32::MAX),
            max_records: max,
            batch_size: max,
            share_acquire_mode: RECORD_LIMIT,
            is_renew_ack: false,
            topics: added
                .map(|(topic_id, partition)| share_fetch::FetchTopic {
                    topic_id: *topic_id,
                    partitions: vec![share_fetch::FetchPartition {
                        partition_index: *partition,
                        ..share_fetch::FetchPartition::default()
                    }],
                })
                .collect(),
            forgotten_topics_data: forgotten
                .map(|(topic_id, partition)| share_fetch::ForgottenTopic {
                    topic_id: *topic_id,
                    partitions: vec![*partition],
                })
                .collect(),
        }
    }
}

fn is_session_lost(error: &ClientError) -> bool {
    let code = error.code();
    code.is_some_and(|code| {
        matches!(
            code,
            ErrorCode::ShareSessionNotFound | ErrorCode::InvalidShareSessionEpoch
        )
    })
}

fn is_renewal(acknowledged: &[Acknowledged]) -> bool {
    let mut batches = acknowledged.iter().flat_map(|(_, batches)| batches);
    batches.any(|(_, _, kinds)| kinds.contains(&(Kind::Renew as i8)))
}

fn to_topic(
    ((topic_id, partition), batches): &Acknowledged,
) -> share_acknowledge::AcknowledgeTopic {
    let batches =
        batches.iter().map(
            |(first, last, kinds)| share_acknowledge::AcknowledgementBatch {
                first_offset: *first,
                last_offset: *last,
                acknowledge_types: kinds.clone(),
            },
        );
    share_acknowledge::AcknowledgeTopic {
        topic_id: *topic_id,
        partitions: vec![share_acknowledge::AcknowledgePartition {
            partition_index: *partition,
            acknowledgement_batches: batches.collect(),
        }],
    }
}
