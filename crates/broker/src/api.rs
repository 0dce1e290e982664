//! The coverage table: one file per API key, each with the versions it serves, registered here.
//! What is advertised is what is registered, and nothing else.

use std::ops::RangeInclusive;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use wire::{ApiKey, Reader, RequestHeader, RequestPrefix, Segment};

use crate::connection::Connection;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod end_txn;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
pub mod produce;
mod sync_group;
mod txn_offset_commit;
mod write_txn_markers;

pub use produce::PendingProduce;

/// An entry of the coverage table.
#[derive(Clone, Debug)]
pub struct Api {
    pub key: ApiKey,
    /// What the handler serves.
    pub versions: RangeInclusive<i16>,
    /// The lowest version that ApiVersions names; lower than what is served only where a client needs it.
    pub advertised_from: i16,
}

impl Api {
    /// A key that is served in all versions of its definition.
    pub const fn all(key: ApiKey, first: i16, last: i16) -> Self {
        Self {
            key,
            versions: first..=last,
            advertised_from: first,
        }
    }
}

/// One request, its header read and its body not yet.
pub struct Call<'a> {
    pub header: RequestHeader<'a>,
    pub body: Reader<'a>,
    pub frame: &'a Bytes,
}

/// An encoded answer with its size in front.
pub struct Answer {
    pub parts: Vec<Bytes>,
    /// What its records are counted with until they are sent.
    _memory: Option<OwnedSemaphorePermit>,
}

impl Answer {
    pub fn new(segments: Vec<Segment>) -> Self {
        Self::with_memory(segments, None)
    }

    pub fn with_memory(segments: Vec<Segment>, memory: Option<OwnedSemaphorePermit>) -> Self {
        let parts = segments.into_iter().map(|segment| match segment {
            Segment::Bytes(bytes) => bytes,
            Segment::External { .. } => {
                unreachable!("fetch reads its records before it encodes them")
            }
        });
        Self {
            parts: parts.collect(),
            _memory: memory,
        }
    }
}

impl<'a> Call<'a> {
    /// Reads the header of a frame.
    ///
    /// # Errors
    /// A sentence for the log, when the header cannot be read; the connection is then closed.
    pub fn parse(frame: &'a Bytes) -> Result<Self, String> {
        let mut body = Reader::new(frame);
        if let Some(header) = header_from_the_future(frame) {
            return Ok(Self {
                header,
                body,
                frame,
            });
        }
        let header = RequestHeader::decode(&mut body).map_err(|error| error.to_string())?;
        Ok(Self {
            header,
            body,
            frame,
        })
    }

    /// The part of the frame that `slice` borrows, without copying it.
    pub fn share(&self, slice: &[u8]) -> Bytes {
        self.frame.slice_ref(slice)
    }
}

/// The header of an ApiVersions request of a version that we do not know: only its fixed part can be relied on (KIP-511).
fn header_from_the_future(frame: &Bytes) -> Option<RequestHeader<'static>> {
    let RequestPrefix {
        api_key,
        api_version,
        correlation_id,
    } = RequestPrefix::decode(&mut Reader::new(frame)).ok()?;
    let is_known =
        api_key != ApiKey::ApiVersions as i16 || api_versions::API.versions.contains(&api_version);
    (!is_known).then_some(RequestHeader {
        api_key,
        api_version,
        correlation_id,
        client_id: None,
    })
}

/// Registers the modules below and dispatches to them.
macro_rules! apis {
    ($($module:ident),* $(,)?) => {
        /// Every API that is served, by key.
        pub fn served() -> Vec<Api> {
            let mut apis = vec![produce::API, fetch::API, api_versions::API, $($module::API),*];
            apis.sort_by_key(|api| api.key as i16);
            apis
        }

        async fn handle(connection: &Connection, key: ApiKey, call: &Call<'_>) -> Result<Answer, String> {
            let version = call.header.api_version;
            match key {
                $(key if key == $module::API.key => {
                    check_version(&$module::API, version)?;
                    let request = wire::$module::Request::decode(&mut call.body.clone(), version)
                        .map_err(|error| format!("{} v{version}: {error}", key.name()))?;
                    let response = $module::handle(connection, request, call).await;
                    Ok(Answer::new(wire::encode_response(key, version, call.header.correlation_id, &response)))
                })*
                other => Err(format!("{} is not served", other.name())),
            }
        }
    };
}

apis! {
    add_offsets_to_txn,
    add_partitions_to_txn,
    describe_transactions,
    end_txn,
    list_transactions,
    txn_offset_commit,
    alter_configs,
    consumer_group_describe,
    consumer_group_heartbeat,
    create_partitions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_topic_partitions,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    metadata,
    offset_commit,
    offset_delete,
    offset_fetch,
    offset_for_leader_epoch,
    sync_group,
    write_txn_markers,
}

/// Answers any request but Produce, which `produce::start` takes.
///
/// # Errors
/// A sentence for the log, when there is no way to answer; the connection is then closed.
pub async fn dispatch(connection: &Connection, call: &Call<'_>) -> Result<Answer, String> {
    let (key, version) = (call.header.api_key, call.header.api_version);
    match ApiKey::try_from(key) {
        Ok(ApiKey::ApiVersions) => api_versions::answer(connection, call),
        Ok(ApiKey::Fetch) => fetch::answer(connection, call).await,
        Ok(key) => handle(connection, key, call).await,
        Err(_) => Err(format!("api key {key} v{version} is not known")),
    }
}

/// Refuses a version that was not advertised: no answer could be read, so the connection ends, as Kafka's does.
fn check_version(api: &Api, version: i16) -> Result<(), String> {
    if api.versions.contains(&version) {
        return Ok(());
    }
    let (first, last) = (api.versions.start(), api.versions.end());
    Err(format!(
        "{} v{version} is not served, v{first} to v{last} are",
        api.key.name()
    ))
}
