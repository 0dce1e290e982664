//! What the broker asks of the groups: one plain owned struct per request kind.
//!
//! Texts longer than 32,767 bytes cannot be stored in Kafka's records and are refused by the machine.

use std::time::Duration;

use wire::Uuid;

use super::ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes, TopicName};

/// One request to the groups; each is answered exactly once, at once or when a rebalance has moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Join(JoinGroup),
    Sync(SyncGroup),
    Heartbeat(Heartbeat),
    Leave(LeaveGroup),
    CommitOffsets(CommitOffsets),
    FetchOffsets(FetchOffsets),
    DeleteOffsets(DeleteOffsets),
    Describe(Vec<GroupId>),
    List(ListFilter),
    DeleteGroups(Vec<GroupId>),
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
    pub topics: Option<Vec<FetchTopic>>,
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
