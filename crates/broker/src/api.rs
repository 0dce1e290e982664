//! The coverage table: one file per API key, each with the versions it serves, registered here.
//! What is advertised is what is registered, and nothing else.

use std::ops::RangeInclusive;

use broker_state::quotas::QuotaKey;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use wire::{ApiKey, Reader, RequestHeader, RequestPrefix, Segment};

use crate::connection::Connection;
use crate::throttle::timed;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_share_group_offsets;
mod alter_user_scram_credentials;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
pub mod produce;
mod push_telemetry;
mod renew_delegation_token;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

pub use produce::PendingProduce;

/// Why the controller has not answered.
const CANNOT_CHANGE: &str = "the broker is stopping, or its disk is full";

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

/// Tells a client in its answer for how long it is held back; `untold` where the answer has no room for it.
macro_rules! tell {
    ($response:ident, $held_ms:expr) => {
        $response.throttle_time_ms = $response.throttle_time_ms.max($held_ms)
    };
    ($response:ident, $held_ms:expr, untold) => {
        let _ = $held_ms;
    };
}

/// Registers the modules below and dispatches to them.
macro_rules! apis {
    ($($module:ident $(: $untold:ident)?),* $(,)?) => {
        /// Every API that is served, by key.
        pub fn served() -> Vec<Api> {
            let mut apis = vec![
                produce::API,
                fetch::API,
                share_fetch::API,
                api_versions::API,
                $($module::API),*
            ];
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
                    let is_limited = connection.is_limited(QuotaKey::RequestPercentage);
                    let work = $module::handle(connection, request, call);
                    #[allow(unused_mut, reason = "not every response says for how long a client is held back")]
                    let (mut response, spent) = timed(is_limited, work).await;
                    if is_limited {
                        let held_ms = connection.charge_time(call.header.client_id, spent);
                        tell!(response, held_ms $(, $untold)?);
                    }
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
    alter_client_quotas,
    alter_configs,
    alter_partition_reassignments,
    alter_replica_log_dirs,
    alter_user_scram_credentials,
    alter_share_group_offsets,
    consumer_group_describe,
    consumer_group_heartbeat,
    create_acls,
    create_delegation_token,
    create_partitions,
    create_topics,
    delete_acls,
    delete_groups,
    delete_records,
    delete_share_group_offsets,
    delete_topics,
    describe_acls,
    describe_client_quotas,
    describe_cluster,
    describe_configs,
    describe_delegation_token,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_quorum: untold,
    describe_share_group_offsets,
    describe_topic_partitions,
    describe_transactions,
    describe_user_scram_credentials,
    elect_leaders,
    end_txn,
    expire_delegation_token,
    find_coordinator,
    get_telemetry_subscriptions,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_config_resources,
    list_groups,
    list_offsets,
    list_partition_reassignments,
    list_transactions,
    metadata,
    offset_commit,
    offset_delete,
    offset_fetch,
    offset_for_leader_epoch,
    push_telemetry,
    renew_delegation_token,
    share_acknowledge,
    share_group_describe,
    share_group_heartbeat,
    sync_group,
    txn_offset_commit,
    unregister_broker,
    update_features,
    write_txn_markers: untold,
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
        Ok(ApiKey::ShareFetch) => share_fetch::answer(connection, call).await,
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
