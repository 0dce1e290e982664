//! What the machine is asked, and what it answers: plain data, no wire types but error codes and ids.

use std::time::Duration;

use wire::{ErrorCode, Uuid};

use super::records::SharePartitionKey;
use crate::groups::{GroupId, MemberId};
use crate::step::RequestId;

/// The settings of one share group, its own or the broker's; Kafka's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSettings {
    /// `share.record.lock.duration.ms`
    pub record_lock_duration: Duration,
    /// `share.delivery.count.limit`
    pub delivery_count_limit: i16,
    /// `share.partition.max.record.locks`
    pub max_record_locks: i64,
    /// `share.renew.acknowledge.enable`
    pub is_renew_enabled: bool,
    /// Whether `errors.deadletterqueue.topic.name` is set.
    pub has_dead_letter_topic: bool,
}

impl Default for ShareSettings {
    fn default() -> Self {
        Self {
            record_lock_duration: Duration::from_secs(30),
            delivery_count_limit: 5,
            max_record_locks: 2000,
            is_renew_enabled: true,
            has_dead_letter_topic: false,
        }
    }
}

/// A request to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Where a fetch of these partitions should read, which then nobody else does until the plan is ended.
    Plan(Plan),
    /// Gives a partition that `Plan` found without one its start offset.
    Start {
        key: SharePartitionKey,
        offset: i64,
    },
    /// Ends a plan with what was read.
    Acquire(Acquire),
    /// Ends a plan, of which nothing was read.
    Abandon {
        group: GroupId,
        plan: RequestId,
        partitions: Vec<(Uuid, i32)>,
    },
    Acknowledge(Acknowledge),
    /// Makes what a member has acquired available again.
    Release {
        group: GroupId,
        member: MemberId,
        /// `None` for all.
        partitions: Option<Vec<(Uuid, i32)>>,
    },
    /// Makes the state of partitions, or makes it anew with another start offset.
    Initialize(Initialize),
    /// Forgets the state of a group in these topics, or in all.
    Delete {
        group: GroupId,
        topics: Option<Vec<Uuid>>,
    },
    /// Forgets topics that are gone.
    TopicsDeleted(Vec<Uuid>),
    Describe {
        group: GroupId,
    },
    /// These records are in the dead-letter topic, or cannot be put there.
    DeadLettersDone {
        key: SharePartitionKey,
        first: i64,
        last: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialize {
    pub group: GroupId,
    pub state_epoch: i32,
    /// Topic id, partition, start offset.
    pub partitions: Vec<(Uuid, i32, Option<i64>)>,
    /// Whether state that is there already is replaced.
    pub is_reset: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub group: GroupId,
    pub settings: ShareSettings,
    pub partitions: Vec<PlanPartition>,
}

/// A partition that a member would read, and what of it can be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanPartition {
    pub topic_id: Uuid,
    pub partition: i32,
    pub log_start: i64,
    /// The high watermark or the last stable offset.
    pub end: i64,
}

/// What the plan says of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Read from this offset, then end the plan.
    Read(i64),
    /// There is nothing to read.
    Nothing,
    /// Another fetch is reading; the group is woken when it has ended.
    Busy,
    /// As many records are under way as the group may have.
    Full,
    /// The group has no start offset here yet.
    NoStart,
    Refused(ErrorCode),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    pub group: GroupId,
    pub member: MemberId,
    pub plan: RequestId,
    pub settings: ShareSettings,
    pub max_records: i64,
    /// How many records a range of the answer should have at least before a new one begins.
    pub batch_size: i64,
    /// Exactly `max_records` at most, instead of whole batches (KIP-1206).
    pub is_strict: bool,
    pub partitions: Vec<AcquirePartition>,
}

/// What was read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquirePartition {
    pub topic_id: Uuid,
    pub partition: i32,
    /// Where the plan said to read.
    pub from: i64,
    /// The offset after what was read.
    pub upto: i64,
    /// First and last offset of each batch that may be delivered. Nothing else between `from` and `upto` ever will be:
    /// compacted away, a control batch, an aborted transaction.
    pub batches: Vec<(i64, i64)>,
}

/// Records that a member has acquired, and how often they have been delivered with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    pub first: i64,
    pub last: i64,
    pub count: i16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    pub group: GroupId,
    pub member: MemberId,
    pub settings: ShareSettings,
    pub partitions: Vec<AcknowledgePartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcknowledgePartition {
    pub topic_id: Uuid,
    pub partition: i32,
    pub batches: Vec<AcknowledgeBatch>,
}

/// What a member says of the records `first` to `last`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcknowledgeBatch {
    pub first: i64,
    pub last: i64,
    /// One for all of them, or one for each.
    pub types: Vec<AcknowledgeType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgeType {
    /// There is no such record.
    Gap,
    /// Done.
    Accept,
    /// Not done; somebody may try again.
    Release,
    /// Not done; nobody shall try again.
    Reject,
    /// Still being worked on (KIP-1222).
    Renew,
}

impl AcknowledgeType {
    /// The type of this number, if there is one.
    pub fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Gap,
            1 => Self::Accept,
            2 => Self::Release,
            3 => Self::Reject,
            4 => Self::Renew,
            _ => return None,
        })
    }
}

/// An error code and what to tell the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub error: ErrorCode,
    pub message: &'static str,
}

/// The answer to a command; each is answered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// In the order of the request; the plan is named by the id of the request.
    Plan {
        plan: RequestId,
        partitions: Vec<Planned>,
    },
    /// In the order of the request.
    Acquire(Vec<Vec<Acquired>>),
    /// In the order of the request.
    Acknowledge(Vec<Result<(), Refusal>>),
    Describe(Vec<DescribedPartition>),
    /// How far the command came, for all others.
    Done(ErrorCode),
}

/// What is told of a share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedPartition {
    pub topic_id: Uuid,
    pub partition: i32,
    pub start_offset: Option<i64>,
    pub leader_epoch: i32,
    /// Records from the start offset on whose delivery is complete.
    pub delivery_complete: i64,
    /// Records that members have now.
    pub acquired: i64,
}

/// Records that were given up and are to be copied to the dead-letter topic of their group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    pub key: SharePartitionKey,
    pub first: i64,
    pub last: i64,
    pub count: i16,
}
