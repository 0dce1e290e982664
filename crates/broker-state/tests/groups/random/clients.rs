//! Clients that mostly follow the protocol, and sometimes do not.

use std::time::Duration;

use broker_state::groups::*;
use wire::{ErrorCode, Uuid};

/// A small generator (splitmix64), so that a seed means the same for ever.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` up to but not `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.range(0, chances) == 0
    }
}

pub(super) fn any_group(dice: &mut Dice) -> GroupId {
    GroupId::from(["g", "h"][dice.range(0, 2) as usize])
}

pub(super) fn any_topic(dice: &mut Dice) -> TopicName {
    TopicName::from(["t1", "t2"][dice.range(0, 2) as usize])
}

pub(super) fn simple_commit(dice: &mut Dice, group: GroupId, topic: TopicName) -> CommitOffsets {
    let partition = CommitPartition {
        partition: dice.range(0, 3) as i32,
        offset: dice.range(0, 1_000) as i64,
        leader_epoch: dice.range(0, 3) as i32 - 1,
        metadata: None,
    };
    CommitOffsets {
        group,
        member_id: MemberId::default(),
        instance_id: None,
        generation: Generation::NONE,
        knows_member_epochs: true,
        retention: dice.one_in(5).then(|| Duration::from_secs(300)),
        topics: vec![CommitTopic {
            topic,
            topic_id: Uuid::ZERO,
            partitions: vec![partition],
        }],
    }
}

/// A client with what it believes.
pub(super) struct Client {
    group: GroupId,
    instance_id: Option<InstanceId>,
    member_id: MemberId,
    generation: Generation,
    roster: Vec<MemberId>,
    has_joined: bool,
    version: u64,
    connect: bool,
}

impl Client {
    pub(super) fn new(number: u64, dice: &mut Dice) -> Self {
        Client {
            group: any_group(dice),
            // Sometimes two clients share an instance id and fence each other.
            instance_id: (number >= 3)
                .then(|| InstanceId::from(format!("i{}", number - dice.range(0, 4) / 3))),
            member_id: MemberId::default(),
            generation: Generation::NONE,
            roster: Vec::new(),
            has_joined: false,
            version: [3, 5, 9][dice.range(0, 3) as usize],
            connect: dice.one_in(12),
        }
    }

    /// What a client may well do next, with a wrong turn now and then.
    pub(super) fn next_command(&mut self, dice: &mut Dice, fresh: MemberId) -> Command {
        if !self.has_joined || dice.one_in(25) {
            return self.join(dice, fresh);
        }
        match dice.range(0, 30) {
            0..12 => self.sync(dice),
            12..24 => self.heartbeat(dice),
            24..29 => self.commit(dice),
            _ => self.leave(dice),
        }
    }

    fn join(&mut self, dice: &mut Dice, fresh: MemberId) -> Command {
        if dice.one_in(if self.instance_id.is_some() { 3 } else { 12 }) {
            self.member_id = MemberId::default();
        }
        let names =
            [&["range"][..], &["range", "sticky"], &["sticky", "range"]][dice.range(0, 3) as usize];
        let topics = if dice.one_in(4) { "t1" } else { "t2" };
        let metadata = subscription(topics);
        let protocols = names.iter().map(|name| Protocol {
            name: (*name).to_owned(),
            metadata: metadata.clone(),
        });
        Command::Join(JoinGroup {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(dice.range(6, 12)),
            rebalance_timeout: Duration::from_secs(dice.range(5, 21)),
            protocol_type: if self.connect { "connect" } else { "consumer" }.to_owned(),
            protocols: protocols.collect(),
            reason: None,
            supports_member_id_required: self.version >= 4,
            supports_skip_assignment: self.version >= 9,
            new_member_id: fresh,
        })
    }

    /// As a leader, deals out six partitions, each to one member; sometimes forgets somebody.
    fn sync(&mut self, dice: &mut Dice) -> Command {
        let mut shares = vec![String::new(); self.roster.len()];
        for partition in (0..6).filter(|_| !self.roster.is_empty()) {
            shares[dice.range(0, self.roster.len() as u64) as usize] += &format!("{partition},");
        }
        let assignments = self.roster.iter().cloned().zip(shares);
        let kept = assignments.filter(|_| !dice.one_in(10));
        Command::Sync(SyncGroup {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            assignments: kept
                .map(|(member, share)| (member, SharedBytes::from(share.as_bytes())))
                .collect(),
            generation: self.some_generation(dice),
            protocol_type: None,
            protocol: None,
        })
    }

    fn heartbeat(&mut self, dice: &mut Dice) -> Command {
        Command::Heartbeat(Heartbeat {
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.some_generation(dice),
        })
    }

    fn commit(&mut self, dice: &mut Dice) -> Command {
        let topic = any_topic(dice);
        let commit = simple_commit(dice, self.group.clone(), topic);
        Command::CommitOffsets(CommitOffsets {
            member_id: self.member_id.clone(),
            instance_id: self.instance_id.clone(),
            generation: self.some_generation(dice),
            ..commit
        })
    }

    fn leave(&mut self, dice: &mut Dice) -> Command {
        let by_instance = self.instance_id.is_some() && dice.one_in(3);
        let member_id = if by_instance {
            MemberId::default()
        } else {
            self.member_id.clone()
        };
        let identity = MemberIdentity {
            member_id,
            instance_id: self.instance_id.clone(),
        };
        self.has_joined = false;
        Command::Leave(LeaveGroup {
            group: self.group.clone(),
            members: vec![identity],
        })
    }

    fn some_generation(&self, dice: &mut Dice) -> Generation {
        if dice.one_in(12) {
            Generation(dice.range(0, 5) as i32)
        } else {
            self.generation
        }
    }

    /// Takes an answer to heart.
    pub(super) fn learn(&mut self, command: &Command, reply: &Reply) {
        let error = match reply {
            Reply::Join(joined) => {
                self.learn_join(joined);
                joined.error
            }
            Reply::Sync(synced) => synced.error,
            Reply::Heartbeat(error) => *error,
            _ => return,
        };
        let asked_as = match command {
            Command::Join(join) => &join.member_id,
            Command::Sync(sync) => &sync.member_id,
            Command::Heartbeat(heartbeat) => &heartbeat.member_id,
            _ => return,
        };
        let lost = matches!(
            error,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId
        );
        if lost && *asked_as == self.member_id {
            self.member_id = MemberId::default();
        }
        if error != ErrorCode::None {
            self.has_joined = false;
        }
    }

    fn learn_join(&mut self, joined: &JoinReply) {
        self.member_id = joined.member_id.clone();
        if joined.error == ErrorCode::None {
            self.has_joined = true;
            self.generation = joined.generation;
            let roster = joined.members.iter().map(|member| member.member_id.clone());
            self.roster = if joined.skip_assignment {
                Vec::new()
            } else {
                roster.collect()
            };
        }
    }
}

fn subscription(topic: &str) -> SharedBytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, topic.len() as u8];
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    SharedBytes::from(bytes)
}
