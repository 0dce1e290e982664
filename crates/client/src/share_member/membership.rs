//! The heartbeats of a member of a share group: they join it, keep it in, learn its partitions, and leave it.
//!
//! A task of its own, from the member's making until it leaves or its last clone is dropped. What goes wrong is remembered for
//! those who wait for an assignment, and tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use wire::{ErrorCode, share_group_heartbeat};

use super::session::{Owner, SharePartition};
use crate::admin::{Admin, check};
use crate::error::ClientError;

/// Joins.
const JOINING: i32 = 0;
/// Leaves.
const LEAVING: i32 = -1;
/// The pause before a heartbeat that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The shortest pause between two heartbeats, whatever the broker says.
const LEAST_INTERVAL: Duration = Duration::from_millis(50);

/// What the group has said.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    /// Whether the member is in the group and was told its partitions, be it none.
    pub(super) is_known: bool,
    pub(super) partitions: BTreeSet<SharePartition>,
    /// Why the last heartbeat failed.
    pub(super) failure: Option<ClientError>,
}

/// Heartbeats until `leaving`, then leaves, after `before_leaving` is done.
pub(super) async fn run(
    owner: Arc<Owner>,
    topics: Vec<String>,
    assigned: watch::Sender<Assigned>,
    mut leaving: watch::Receiver<bool>,
    before_leaving: impl Future<Output = ()>,
) {
    let mut heart = Heart {
        owner,
        topics,
        epoch: JOINING,
        coordinator: None,
    };
    while !*leaving.borrow() {
        let pause = match heart.beat().await {
            Ok(beat) => {
                assigned.send_modify(|assigned| {
                    assigned.failure = None;
                    if let Some(partitions) = beat.partitions {
                        assigned.is_known = true;
                        assigned.partitions = partitions;
                    }
                });
                beat.interval
            }
            Err(error) => {
                tracing::debug!(group = heart.owner.group, %error, "a heartbeat to a share group");
                let is_out = heart.epoch == JOINING;
                assigned.send_modify(|assigned| {
                    assigned.is_known &= !is_out;
                    assigned.failure = Some(error);
                });
                RETRY_PAUSE
            }
        };
        // A sender that is gone is a member that is gone.
        tokio::select! {
            () = sleep(pause) => {}
            changed = leaving.changed() => if changed.is_err() { break },
        }
    }
    before_leaving.await;
    if heart.epoch != JOINING {
        heart.epoch = LEAVING;
        let limit = heart.owner.cluster.timeout();
        // Without it the group notices when the member's session times out.
        let _ = timeout(limit, heart.beat()).await;
    }
}

/// What keeps a member in its group.
struct Heart {
    owner: Arc<Owner>,
    topics: Vec<String>,
    epoch: i32,
    /// The broker that keeps the group, once it is known.
    coordinator: Option<(Admin, i32)>,
}

/// What a heartbeat tells.
struct Beat {
    interval: Duration,
    /// Absent when nothing has changed.
    partitions: Option<BTreeSet<SharePartition>>,
}

impl Heart {
    async fn beat(&mut self) -> Result<Beat, ClientError> {
        let beat = self.ask().await;
        let Err(error) = &beat else { return beat };
        match error.code() {
            // The member was away for too long; it comes again.
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                self.epoch = JOINING;
            }
            Some(
                ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress,
            )
            | None => self.coordinator = None,
            Some(_) => {}
        }
        beat
    }

    async fn ask(&mut self) -> Result<Beat, ClientError> {
        let owner = Arc::clone(&self.owner);
        if self.coordinator.is_none() {
            let mut admin = owner.cluster.admin().await?;
            let node = admin.coordinator(&owner.group).await?;
            self.coordinator = Some((admin, node));
        }
        let coordinator = self.coordinator.as_mut();
        let (admin, node) = coordinator.expect("it was found above");
        let is_joining = self.epoch == JOINING;
        let topics = self.topics.iter().map(String::as_str);
        let request = share_group_heartbeat::Request {
            group_id: &owner.group,
            member_id: &owner.member_id,
            member_epoch: self.epoch,
            rack_id: None,
            subscribed_topic_names: is_joining.then(|| topics.collect()),
        };
        let reply = admin.node(*node).await?.call(&request).await?;
        let answer = reply.read()?;
        let what = || format!("joining share group {}", owner.group);
        check(answer.error_code, answer.error_message.as_deref(), what)?;
        self.epoch = answer.member_epoch;
        let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0);
        let partitions = answer.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            let partitions = topics.flat_map(|topic| {
                let id = topic.topic_id;
                topic.partitions.into_iter().map(move |index| (id, index))
            });
            partitions.collect()
        });
        Ok(Beat {
            interval: Duration::from_millis(interval).max(LEAST_INTERVAL),
            partitions,
        })
    }
}
