//! What the groups answer: one plain owned struct per request kind, fields as in Kafka's responses.

use std::time::Duration;

use wire::{ErrorCode, Uuid};

use super::command::MemberIdentity;
use super::consumer::{MemberSettings, Partitions};
use super::ids::{Generation, GroupId, InstanceId, MemberId, SharedBytes, TopicName};
use super::share::ShareReply;
use crate::refusal::Refusal;

/// The answer to the `Command` of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Join(JoinReply),
    Sync(SyncReply),
    Heartbeat(ErrorCode),
    Leave(LeaveReply),
    /// Of both ways to commit offsets.
    CommitOffsets(Vec<CommittedTopic>),
    TransactionEnded(ErrorCode),
    FetchOffsets(FetchReply),
    DeleteOffsets(DeleteOffsetsReply),
    Describe(Vec<DescribedGroup>),
    List(Vec<ListedGroup>),
    DeleteGroups(Vec<(GroupId, ErrorCode)>),
    ConsumerHeartbeat(Result<ConsumerHeartbeatReply, Refusal>),
    /// One for each group of the request, in its order.
    DescribeConsumers(Vec<Result<DescribedConsumerGroup, Refusal>>),
    Share(ShareReply),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    pub error: ErrorCode,
    pub generation: Generation,
    /// `None` where there is none; before version 7 the wire has an empty string.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// Empty when there is none.
    pub leader: MemberId,
    pub skip_assignment: bool,
    pub member_id: MemberId,
    /// For the leader only: everyone it must assign partitions to.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A refusal; `member_id` is what the client shall go on with.
    pub fn refused(error: ErrorCode, member_id: MemberId) -> Self {
        JoinReply {
            error,
            generation: Generation::NONE,
            protocol_type: None,
            protocol: None,
            leader: MemberId::default(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub metadata: SharedBytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: SharedBytes,
}

impl SyncReply {
    pub fn refused(error: ErrorCode) -> Self {
        SyncReply {
            error,
            protocol_type: None,
            protocol: None,
            assignment: SharedBytes::from([]),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveReply {
    pub error: ErrorCode,
    /// One per member of the request, in its order; before version 3 the only one's error is that of the whole answer.
    pub members: Vec<(MemberIdentity, ErrorCode)>,
}

/// One topic of an OffsetCommit answer: every partition of the request with its error.
/// `GROUP_ID_NOT_FOUND` is on the wire from version 9 on; before, it is `ILLEGAL_GENERATION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedTopic {
    pub topic: TopicName,
    pub topic_id: Uuid,
    pub partitions: Vec<(i32, ErrorCode)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReply {
    pub error: ErrorCode,
    pub topics: Vec<FetchedTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    pub topic: TopicName,
    /// As asked; in an answer to "everything", the id the offset was committed with (may be zero).
    pub topic_id: Uuid,
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    pub partition: i32,
    /// -1 when nothing is committed.
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub error: ErrorCode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsetsReply {
    /// The refusal of the whole request; then there are no topics.
    pub error: ErrorCode,
    pub topics: Vec<(TopicName, Vec<(i32, ErrorCode)>)>,
}

/// A group as DescribeGroups shows it. An unknown group is `Dead` with `GROUP_ID_NOT_FOUND`, which the wire has from version 6 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    pub error: ErrorCode,
    pub group: GroupId,
    pub state: GroupState,
    pub protocol_type: String,
    /// The assignor in use; empty unless the group is stable.
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: MemberId,
    pub instance_id: Option<InstanceId>,
    pub client_id: String,
    pub client_host: String,
    /// Empty unless the group is stable.
    pub metadata: SharedBytes,
    pub assignment: SharedBytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub group: GroupId,
    pub protocol_type: String,
    pub state: GroupState,
    pub group_type: GroupType,
}

/// The states of a group, under Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    /// A consumer group whose target assignment is to be made.
    Assigning,
    /// A consumer group whose members are on their way to their targets.
    Reconciling,
    Stable,
    /// Only ever shown for a group that does not exist.
    Dead,
}

impl GroupState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// The protocol that a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupType {
    Classic,
    Consumer,
    Share,
}

impl GroupType {
    /// The protocol type of every consumer group.
    pub const CONSUMER_PROTOCOL: &str = "consumer";
    /// The protocol type of every share group.
    pub const SHARE_PROTOCOL: &str = "share";

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            GroupType::Classic => "classic",
            GroupType::Consumer => "consumer",
            GroupType::Share => "share",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeatReply {
    pub member_id: MemberId,
    pub epoch: i32,
    pub heartbeat_interval: Duration,
    /// What the member may use now; `None` when that has not changed.
    pub assignment: Option<Partitions>,
}

/// A consumer group as ConsumerGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    pub group: GroupId,
    pub state: GroupState,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<DescribedConsumer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumer {
    pub member_id: MemberId,
    pub epoch: i32,
    pub settings: MemberSettings,
    /// What it owns, and what it has yet to give up.
    pub assignment: Vec<AssignedTopic>,
    pub target: Vec<AssignedTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedTopic {
    pub topic: TopicName,
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}
