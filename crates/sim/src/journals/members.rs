//! Group members that follow the protocol, more or less.

use std::time::Duration;

use broker_state::groups::{
    Command, CommitOffsets, CommitPartition, CommitTopic, ConsumerHeartbeat, Generation, GroupId,
    Heartbeat, InstanceId, JoinGroup, LeaveGroup, MemberId, MemberIdentity, Partitions, Protocol,
    Reply, SharedBytes, SyncGroup,
};
use wire::{ErrorCode, Uuid};

use crate::dice::Dice;

pub const GROUPS: [&str; 3] = ["g", "h", "by-hand"];

/// A client with what it believes.
pub struct Member {
    group: GroupId,
    instance_id: Option<InstanceId>,
    member_id: MemberId,
    generation: Generation,
    /// Whom it must assign partitions to, if it leads.
    roster: Vec<MemberId>,
    has_joined: bool,
    /// It speaks the protocol in which the broker assigns (KIP-848); its generation is its epoch then.
    beats: bool,
    assigned: Partitions,
}

impl Member {
    pub fn new(number: usize) -> Self {
        Self {
            group: GroupId::from(GROUPS[number % 2]),
            instance_id: (number >= 4).then(|| InstanceId::from(format!("i{number}"))),
            member_id: MemberId::default(),
            generation: Generation::NONE,
            roster: Vec::new(),
            has_joined: false,
            beats: false,
            assigned: Partitions::new(),
        }
    }

    pub fn next_command(&mut self, dice: &mut Dice, fresh: MemberId) -> Command {
        if !self.has_joined && dice.one_in(3) {
            self.beats = true;
            self.member_id = fresh;
            self.generation = Generation(0);
            return self.beat(Some(Partitions::new()));
        }
        if !self.has_joined || dice.one_in(30) {
            if std::mem::take(&mut self.beats) {
                self.member_id = MemberId::default();
            }
            return self.join(fresh);
        }
        if self.beats {
            return match dice.below(20) {
                0..6 => self.commit(dice),
                6 => self.leave_by_beat(),
                7..14 => self.beat(Some(self.assigned.clone())),
                _ => self.beat(None),
            };
        }
        match dice.below(20) {
            0..7 => self.sync(),
            7..10 => Command::Heartbeat(Heartbeat {
                group: self.group.clone(),
                member_id: self.member_id.clone(),
                instance_id: self.instance_id.clone(),
                generation: self.generation,
            }),
            10..19 => self.commit(dice),
            _ => self.leave(),
        }
    }

    fn join(&self, fresh: MemberId) -> Command {
        let metadata = SharedBytes::from([0, 0, 0, 0, 0, 1, 0, 2, b't', b'1', 255, 255, 255, 255]);
        let protocol = Protocol {
            name: "range".to_owned(),
            metadata,
        };
        Command::Join(JoinGroup {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(10),
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            new_member_id: fresh,
            ..JoinGroup::default()
        })
    }

    /// A heartbeat of a consumer group; the first one says everything.
    fn beat(&self, owned: Option<Partitions>) -> Command {
        let joins = self.generation == Generation(0);
        Command::ConsumerHeartbeat(ConsumerHeartbeat {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            epoch: self.generation.0,
            instance_id: self.instance_id.clone(),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout: joins.then_some(Duration::from_secs(10)),
            topics: joins.then(|| ["t1".into()].into()),
            owned,
            ..ConsumerHeartbeat::default()
        })
    }

    fn leave_by_beat(&mut self) -> Command {
        self.has_joined = false;
        self.generation = Generation(-1);
        self.beat(None)
    }

    fn sync(&self) -> Command {
        let assignments = self.roster.iter().cloned();
        let share = |member: MemberId| {
            let share = assignment(member.as_str());
            (member, share)
        };
        Command::Sync(SyncGroup {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments.map(share).collect(),
        })
    }

    fn commit(&self, dice: &mut Dice) -> Command {
        Command::CommitOffsets(CommitOffsets {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.generation,
            knows_member_epochs: true,
            retention: None,
            topics: vec![commit_topic(dice, Uuid::ZERO)],
        })
    }

    fn leave(&mut self) -> Command {
        self.has_joined = false;
        let identity = MemberIdentity {
            member_id: std::mem::take(&mut self.member_id),
            instance_id: self.instance_id.clone(),
        };
        Command::Leave(LeaveGroup {
            group: self.group.clone(),
            members: vec![identity],
        })
    }

    /// Takes an answer to heart.
    pub fn learn(&mut self, command: &Command, reply: &Reply) {
        let error = match reply {
            Reply::Join(joined) => {
                self.member_id = joined.member_id.clone();
                self.has_joined = joined.error == ErrorCode::None;
                self.generation = joined.generation;
                let roster = joined.members.iter();
                self.roster = roster.map(|member| member.member_id.clone()).collect();
                joined.error
            }
            Reply::ConsumerHeartbeat(Ok(beaten)) => {
                self.has_joined = beaten.epoch >= 0;
                self.generation = Generation(beaten.epoch);
                if let Some(assigned) = &beaten.assignment {
                    self.assigned.clone_from(assigned);
                }
                ErrorCode::None
            }
            Reply::ConsumerHeartbeat(Err(refusal)) => refusal.error,
            Reply::Sync(synced) => synced.error,
            Reply::Heartbeat(error) => *error,
            Reply::CommitOffsets(topics) => topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|(_, error)| *error)
                .next()
                .unwrap_or(ErrorCode::None),
            _ => return,
        };
        if error != ErrorCode::None {
            self.has_joined = false;
        }
        let is_lost = matches!(
            error,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId
        );
        if is_lost && !matches!(command, Command::Leave(_)) {
            self.member_id = MemberId::default();
        }
    }
}

/// Partition 0 of one topic, as consumers encode it, so that the group may change its protocol.
fn assignment(topic: &str) -> SharedBytes {
    let length = [0, topic.len() as u8];
    let parts: [&[u8]; 5] = [
        &[0, 0, 0, 0, 0, 1],
        &length,
        topic.as_bytes(),
        &[0, 0, 0, 1, 0, 0, 0, 0],
        &[255; 4],
    ];
    SharedBytes::from(parts.concat())
}

/// One offset of one of a few partitions.
pub fn commit_topic(dice: &mut Dice, topic_id: Uuid) -> CommitTopic {
    let partition = CommitPartition {
        partition: dice.below(3) as i32,
        offset: dice.between(0, 1_000_000),
        leader_epoch: -1,
        metadata: None,
    };
    CommitTopic {
        topic: (*dice.pick(&["t1", "t2"])).into(),
        topic_id,
        partitions: vec![partition],
    }
}
