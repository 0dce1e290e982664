//! What every connection and every handler works with: the cluster image, the ways to the shards, the
//! controller and the coordinator, the limits. One per broker, shared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use broker_state::features;
use broker_state::fetch_sessions::FetchSessions;
use broker_state::share_partitions::{Command as ShareCommand, Reply as ShareReply, ShareSettings};
use broker_state::share_sessions::{ConnectionId, ShareSessionKey, ShareSessions};
use log::SharedView;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use wire::ErrorCode;

use crate::addresses::Addresses;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterImage};
use crate::controller::ControllerHandle;
use crate::coordinator::CoordinatorHandle;
use crate::metrics::Metrics;
use crate::partition::{Owner, Partition};
use crate::pushed_metrics::PushedMetrics;
use crate::settings::{Advertised, Limits};
use crate::shard::{Event, ShardHandle};
use crate::share::ShareHandle;
use crate::throttle::Throttling;
use crate::transactions::TransactionsHandle;

/// The level of `share.version` from which on there are dead letters (KIP-1191).
const WITH_DEAD_LETTERS: i16 = 2;

pub struct Core {
    /// This broker's number, `node.id`.
    pub node_id: i32,
    pub cluster_id: String,
    pub data: crate::data::Data,
    pub cluster: Arc<Cluster>,
    pub controller: ControllerHandle,
    pub coordinator: CoordinatorHandle,
    pub transactions: TransactionsHandle,
    pub share: ShareHandle,
    /// The log of the cluster's metadata, as far as it is durable.
    pub metadata: Arc<SharedView>,
    pub shards: Vec<ShardHandle>,
    pub fetch_sessions: Mutex<FetchSessions>,
    pub share_sessions: Mutex<ShareSessions>,
    pub throttling: Throttling,
    pub telemetry: PushedMetrics,
    pub limits: Limits,
    pub advertised: Option<Advertised>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// One permit is one KiB.
    pub request_memory: Arc<Semaphore>,
    /// The right to the memory that is kept for one frame, of any size: `Limits::frame_bytes` of the memory for requests.
    pub large_frame: Arc<Semaphore>,
    /// One permit is one KiB.
    pub response_memory: Arc<Semaphore>,
    /// Fetches that wait for it.
    pub waiting_for_memory: AtomicUsize,
    pub connections: Arc<Semaphore>,
    pub addresses: Arc<Addresses>,
    /// Turns true when the broker stops: long polls answer at once.
    pub stopping: watch::Sender<bool>,
    pub is_ready: AtomicBool,
}

impl Core {
    pub fn image(&self) -> Arc<ClusterImage> {
        self.cluster.image()
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Hands an event to the shard that owns `partition`; false if no shard does.
    pub fn send_to_owner(&self, partition: &Partition, event: Event) -> bool {
        match partition.owner {
            Owner::Shard { shard, .. } => {
                self.shards[shard].send(event);
                true
            }
            Owner::Coordinator => false,
        }
    }

    /// Ends when the broker stops; never before.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // The sender lives as long as the broker; without it there is nothing left to serve either.
            let _ = stopping.wait_for(|stopping| *stopping).await.map(drop);
        }
    }

    /// Ends the share sessions of a connection; what their members have acquired is available again.
    pub fn share_disconnected(&self, connection: ConnectionId) {
        let ended = self.share_sessions.lock().disconnect(connection);
        for ShareSessionKey { group, member } in ended {
            self.share.release(group, member);
        }
    }

    /// Whether the feature `share.version` is in use.
    pub fn serves_share_groups(&self) -> bool {
        self.image().features().level(features::SHARE_VERSION) > 0
    }

    /// The settings of a share group, its own or the broker's.
    pub fn share_settings(&self, group: &str) -> ShareSettings {
        let image = self.image();
        let share = &image.group_config(group).share;
        ShareSettings {
            record_lock_duration: share.record_lock_duration,
            delivery_count_limit: i16::try_from(share.delivery_count_limit).unwrap_or(i16::MAX),
            max_record_locks: i64::try_from(share.partition_max_record_locks).unwrap_or(i64::MAX),
            is_renew_enabled: share.renews_locks,
            has_dead_letter_topic: share.dead_letter_topic.is_some()
                && image.features().level(features::SHARE_VERSION) >= WITH_DEAD_LETTERS,
        }
    }

    /// Asks the owner of share partitions for what is answered with an error code alone.
    ///
    /// # Errors
    /// What it answers, or `COORDINATOR_NOT_AVAILABLE` when the broker is stopping.
    pub async fn share_done(&self, command: ShareCommand) -> Result<(), ErrorCode> {
        match self.share.ask(command).await {
            Some(ShareReply::Done(ErrorCode::None)) => Ok(()),
            Some(ShareReply::Done(error)) => Err(error),
            _ => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Whether answers wait because others are not read.
    pub fn are_answers_short_of_memory(&self) -> bool {
        self.waiting_for_memory.load(Ordering::Relaxed) > 0
    }

    /// Waits for so many KiB of the memory of answers; not for more than there is.
    pub async fn wait_for_response_memory(&self, kib: u32) -> OwnedSemaphorePermit {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting_for_memory.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting_for_memory);
        let all = u32::try_from(self.limits.response_memory_bytes.div_ceil(1024));
        let kib = kib.min(all.unwrap_or(u32::MAX));
        let memory = Arc::clone(&self.response_memory);
        let permit = memory.acquire_many_owned(kib).await;
        permit.expect("the semaphore is never closed")
    }

    /// The host and port that a client which reached us at `local` shall come back to.
    pub fn address_for(&self, local: SocketAddr) -> (String, u16) {
        advertised_address(self.advertised.as_ref(), local)
    }
}

/// The host and port that a client which reached us at `local` shall come back to.
pub fn advertised_address(advertised: Option<&Advertised>, local: SocketAddr) -> (String, u16) {
    let host = advertised.and_then(|a| a.host.clone());
    let port = advertised.and_then(|a| a.port);
    (
        host.unwrap_or_else(|| local.ip().to_canonical().to_string()),
        port.unwrap_or(local.port()),
    )
}
