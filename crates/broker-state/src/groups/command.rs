//! What the broker asks of the groups: one plain owned struct per request kind.
//!
//! Texts longer than 32,767 bytes cannot be stored in Kafka's records and are refused by the machine.

use std::collections::BTreeSet;
use std::time::Duration;

use wire::Uuid;

use super::consumer::Partitions;
use super::ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes, TopicName};
use super::share::ShareCommand;
use crate::producer_ids::ProducerIdentity;

/// One request to the groups; each is answered exactly once, at once or when a rebalance has moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Join(JoinGroup),
    Sync(SyncGroup),
    Heartbeat(Heartbeat),
    Leave(LeaveGroup),
    CommitOffsets(CommitOffsets),
    /// TxnOffsetCommit: what is committed counts from the end of the producer's transaction on. The transaction
    /// coordinator has verified the producer, and hands on its commits before their end.
    CommitOffsetsInTransaction {
        producer: ProducerIdentity,
        commit: CommitOffsets,
    },
    /// The end of a producer's transaction.
    EndTransaction {
        producer: ProducerIdentity,
        coordinator_epoch: i32,
        is_commit: bool,
    },
    FetchOffsets(FetchOffsets),
    DeleteOffsets(DeleteOffsets),
    Describe(Vec<GroupId>),
    List(ListFilter),
    DeleteGroups(Vec<GroupId>),
    ConsumerHeartbeat(ConsumerHeartbeat),
    DescribeConsumers(Vec<GroupId>),
    Share(ShareCommand),
}

/// JoinGroup. `member_id` is empty on the first join; `new_member_id` is used if a member id must be made:
/// the instance id, or else the client id, then `-` and a random UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinGroup {
    pub group: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    /// From version 1 on; the session time-out before.
    pub rebalance_timeout: Duration,
    pub protocol_type: String,
    /// The member's assignors in its order of preference.
    pub protocols: Vec<Protocol>,
    /// Why the client joins, for the log (KIP-800).
    pub reason: Option<String>,
    /// Version 4 and above: a dynamic member learns its id with MEMBER_ID_REQUIRED first (KIP-394).
    pub supports_member_id_required: bool,
    /// Version 9 and above: a returning static leader is told to skip the assignment (KIP-814).
    pub supports_skip_assignment: bool,
    pub new_member_id: MemberId,
}

/// An assignor that a member supports, with the metadata it shows to the leader under that assignor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: String,
    pub metadata: SharedBytes,
}

/// SyncGroup. Only the leader's `assignments` count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    pub group: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub generation: Generation,
    /// From version 5 on; `None` is not checked.
    pub protocol_type: Option<String>,
    /// From version 5 on; `None` is not checked.
    pub protocol: Option<String>,
    pub assignments: Vec<(MemberId, SharedBytes)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub group: GroupId,
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub generation: Generation,
}

/// LeaveGroup. Before version 3 a list of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    pub group: GroupId,
    pub members: Vec<MemberIdentity>,
}

/// Who leaves: by member id, or by instance id with an empty member id (an administrator removes a static member).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberIdentity {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
}

/// OffsetCommit. The broker has already refused unknown topics and partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    pub group: GroupId,
    /// Empty for a consumer that assigns its partitions by hand.
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    /// `Generation::NONE` for a consumer that assigns its partitions by hand.
    pub generation: Generation,
    /// Version 9 and above: `generation` may be a member epoch (KIP-848).
    pub knows_member_epochs: bool,
    /// Versions 2–4 only: an expiry time of its own for these offsets.
    pub retention: Option<Duration>,
    pub topics: Vec<CommitTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitTopic {
    pub topic: TopicName,
    /// `Uuid::ZERO` when unknown.
    pub topic_id: Uuid,
    pub partitions: Vec<CommitPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    pub partition: i32,
    pub offset: i64,
    /// -1 when unknown.
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

/// OffsetFetch for one group; `topics: None` asks for everything the group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOffsets {
    pub group: GroupId,
    /// Who asks, from version 9 on; `None` and -1 for an administrator.
    pub member_id: Option<MemberId>,
    pub member_epoch: i32,
    pub topics: Option<Vec<FetchTopic>>,
    /// Where a transaction may still change the offset, the answer is UNSTABLE_OFFSET_COMMIT.
    pub require_stable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    pub topic: TopicName,
    /// `Uuid::ZERO` when unknown; offsets of another incarnation of the topic are not returned.
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

/// OffsetDelete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsets {
    pub group: GroupId,
    pub topics: Vec<(TopicName, Vec<i32>)>,
}

/// ListGroups. An empty list filters nothing; names are compared without regard to case ("Stable", "classic").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    pub states: Vec<String>,
    pub types: Vec<String>,
}

/// ConsumerGroupHeartbeat (KIP-848). What is `None` stays as it was told before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    pub group: GroupId,
    /// Never empty: before version 1 the broker may have made it.
    pub member_id: MemberId,
    /// 0 joins, -1 leaves, -2 leaves for a while as a static member.
    pub epoch: i32,
    pub instance_id: Option<InstanceId>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout: Option<Duration>,
    pub topics: Option<BTreeSet<TopicName>>,
    pub regex: Option<String>,
    pub assignor: Option<String>,
    /// What the member has and has not given up.
    pub owned: Option<Partitions>,
}

impl ConsumerHeartbeat {
    /// Whether it says everything, as clients do that start over; they want to be told everything.
    pub(super) fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.rebalance_timeout.is_some() && subscribes && self.owned.is_some()
    }
}
