//! Membership of share groups, with time as a number. Every rig is replayed at its end.

use super::*;
use crate::groups::records::RecordError;
use crate::groups::{Command, CommitOffsets, DurableGroups, Generation, GroupSettings, ListFilter};
use crate::groups::{TopicImage, TopicsImage};
use crate::step::Effects;

const GROUP: &str = "workers";

struct Rig {
    groups: Groups,
    log: Vec<Record>,
    now: Millis,
    request: u64,
}

fn settings() -> GroupSettings {
    let mut settings = GroupSettings::default();
    settings.share.max_size = 3;
    settings
}

fn image(topics: &[(&str, u8, i32)]) -> TopicsImage {
    let image = |(name, id, partitions): &(&str, u8, i32)| {
        let (id, partitions) = (Uuid([*id; 16]), *partitions);
        (TopicName::from(*name), TopicImage { id, partitions })
    };
    topics.iter().map(image).collect()
}

impl Rig {
    fn new(topics: &[(&str, u8, i32)]) -> Self {
        let mut groups = Groups::new(settings());
        groups.loaded(Millis(0));
        let mut rig = Self {
            groups,
            log: Vec::new(),
            now: Millis(1_000),
            request: 0,
        };
        rig.set_topics(topics);
        rig
    }

    fn set_topics(&mut self, topics: &[(&str, u8, i32)]) {
        let mut effects = Effects::new();
        self.groups
            .set_topics(self.now, image(topics), &mut effects);
        self.log.append(&mut effects.records);
    }

    fn ask(&mut self, command: Command) -> Reply {
        let mut effects = Effects::new();
        let request = RequestId(self.request);
        self.request += 1;
        self.groups.handle(self.now, request, command, &mut effects);
        self.log.append(&mut effects.records);
        effects.replies.remove(0).1
    }

    fn share(&mut self, command: ShareCommand) -> ShareReply {
        match self.ask(Command::Share(command)) {
            Reply::Share(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn beat(
        &mut self,
        member: &str,
        epoch: i32,
        topics: Option<&[&str]>,
    ) -> Result<ShareHeartbeatReply, ErrorCode> {
        let topics = topics.map(|topics| topics.iter().map(|t| TopicName::from(*t)).collect());
        let heartbeat = ShareHeartbeat {
            group: GroupId::from(GROUP),
            member_id: MemberId::from(member),
            member_epoch: epoch,
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            topics,
            ..ShareHeartbeat::default()
        };
        match self.share(ShareCommand::Heartbeat(heartbeat)) {
            ShareReply::Heartbeat(reply) => reply.map_err(|refusal| refusal.error),
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, member: &str, topics: &[&str]) -> ShareHeartbeatReply {
        let reply = self.beat(member, 0, Some(topics)).expect("it may join");
        let group = GroupId::from(GROUP);
        let topics = reply.initialize.iter();
        let topics = topics.map(|t| (t.topic_id, t.name.clone(), t.partitions.clone()));
        let topics = topics.collect();
        self.share(ShareCommand::Initialized { group, topics });
        reply
    }

    fn pass(&mut self, millis: i64) {
        self.now = Millis(self.now.0 + millis);
        let mut effects = Effects::new();
        self.groups.tick(self.now, &mut effects);
        self.log.append(&mut effects.records);
    }

    fn restart(&mut self, topics: &[(&str, u8, i32)]) {
        let mut groups = Groups::new(settings());
        for record in &self.log {
            groups.apply(&read_back(record).expect("our own record"));
        }
        groups.loaded(self.now);
        self.groups = groups;
        self.set_topics(topics);
    }

    fn described(&mut self) -> DescribedShareGroup {
        match self.share(ShareCommand::Describe(vec![GroupId::from(GROUP)])) {
            ShareReply::Describe(mut groups) => groups.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn read_back(record: &Record) -> Result<Record, RecordError> {
    let (key, value) = record.encode();
    let size = key.len() + value.as_ref().map_or(0, Vec::len);
    assert!(size <= record.size(), "{record:?} takes {size} bytes");
    Record::decode(&key, value.as_deref())
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut replayed = DurableGroups::default();
        for record in &self.log {
            assert_eq!(read_back(record).as_ref(), Ok(record));
            replayed.apply(record);
        }
        assert_eq!(&replayed, self.groups.durable());
        let mut rewritten = DurableGroups::default();
        self.groups
            .snapshot_records()
            .for_each(|record| rewritten.apply(&record));
        assert_eq!(&rewritten, self.groups.durable());
    }
}

fn count(reply: &ShareHeartbeatReply) -> usize {
    let assignment = reply.assignment.as_ref().expect("an assignment");
    assignment.values().map(|partitions| partitions.len()).sum()
}

const ORDERS: &[(&str, u8, i32)] = &[("orders", 1, 4)];

#[test]
fn a_member_joins_and_gets_every_partition() {
    let mut rig = Rig::new(ORDERS);
    let joined = rig.join("a", &["orders"]);
    assert_eq!(joined.member_epoch, 1);
    assert_eq!(joined.heartbeat_interval_ms, 5_000);
    assert_eq!(count(&joined), 4);
    assert_eq!(joined.initialize.len(), 1);
    assert!(!joined.initialize[0].is_from_the_beginning);
    let again = rig.beat("a", 1, None).expect("it is a member");
    assert_eq!(again.assignment, None);
    assert!(again.initialize.is_empty(), "it has been initialized");
}

#[test]
fn members_share_the_partitions_and_hear_of_each_other() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    let b = rig.join("b", &["orders"]);
    assert_eq!((b.member_epoch, count(&b)), (2, 2));
    let a = rig.beat("a", 1, None).expect("it is a member");
    assert_eq!((a.member_epoch, count(&a)), (2, 2));
    rig.restart(ORDERS);
    assert_eq!(rig.beat("a", 2, None).map(|a| a.assignment), Ok(None));
    let described = rig.described();
    assert_eq!(described.state, GroupState::Stable);
    assert_eq!((described.epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.members.len(), 2);
    assert_eq!(described.members[0].assigned[0].1.as_str(), "orders");
}

#[test]
fn a_member_that_leaves_is_gone_and_named() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    rig.join("b", &["orders"]);
    let left = rig.beat("a", -1, None).expect("it may leave");
    assert_eq!(left.member_epoch, -1);
    let gone = (GroupId::from(GROUP), MemberId::from("a"));
    assert_eq!(rig.groups.take_departed(), [gone]);
    assert_eq!(rig.beat("a", 1, None), Err(ErrorCode::UnknownMemberId));
    let b = rig.beat("b", 2, None).expect("it is a member");
    assert_eq!(count(&b), 4);
}

#[test]
fn a_silent_member_is_taken_out() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    rig.pass(44_999);
    assert_eq!(rig.described().members.len(), 1);
    rig.pass(1);
    assert_eq!(rig.described().state, GroupState::Empty);
    assert_eq!(rig.groups.take_departed().len(), 1);
    rig.restart(ORDERS);
    assert_eq!(rig.described().state, GroupState::Empty);
    assert_eq!(rig.groups.next_deadline().map(|_| ()), Some(()), "sweeps");
}

#[test]
fn a_restart_gives_members_a_fresh_session() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    rig.pass(40_000);
    rig.restart(ORDERS);
    rig.pass(44_999);
    assert_eq!(rig.beat("a", 1, None).map(|a| a.member_epoch), Ok(1));
}

#[test]
fn the_epoch_before_is_accepted_once_more_and_no_other() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    rig.join("b", &["orders"]);
    assert_eq!(rig.beat("a", 1, None).map(|a| a.member_epoch), Ok(2));
    assert_eq!(rig.beat("a", 1, None).map(|a| a.member_epoch), Ok(2));
    assert_eq!(rig.beat("a", 3, None), Err(ErrorCode::FencedMemberEpoch));
    rig.join("c", &["orders"]);
    assert_eq!(rig.beat("a", 2, None).map(|a| a.member_epoch), Ok(3));
    assert_eq!(rig.beat("a", 1, None), Err(ErrorCode::FencedMemberEpoch));
    assert_eq!(
        rig.beat("a", 0, Some(&["orders"])).map(|a| a.member_epoch),
        Ok(3)
    );
}

#[test]
fn a_topic_that_grows_is_worked_on_from_the_beginning_of_its_new_partitions() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    rig.set_topics(&[("orders", 1, 6)]);
    let grown = rig.beat("a", 1, None).expect("it is a member");
    assert_eq!((grown.member_epoch, count(&grown)), (2, 6));
    assert_eq!(grown.initialize[0].partitions, [4, 5]);
    assert!(grown.initialize[0].is_from_the_beginning);
}

#[test]
fn a_topic_that_comes_later_is_assigned_then() {
    let mut rig = Rig::new(&[]);
    let joined = rig.join("a", &["orders"]);
    assert_eq!(count(&joined), 0);
    rig.set_topics(ORDERS);
    let reply = rig.beat("a", 1, None).expect("it is a member");
    assert_eq!(count(&reply), 4);
}

#[test]
fn a_deleted_topic_is_forgotten() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    let deleted = [(TopicName::from("orders"), Uuid([1; 16]))];
    rig.set_topics(&[]);
    let mut effects = Effects::new();
    rig.groups.topics_deleted(rig.now, &deleted, &mut effects);
    rig.log.append(&mut effects.records);
    let reply = rig.beat("a", 1, None).expect("it is a member");
    assert_eq!(count(&reply), 0);
    let ShareReply::Inspect(Ok(inspected)) = rig.share(ShareCommand::Inspect(GROUP.into())) else {
        panic!("it is a share group");
    };
    assert!(inspected.initialized.is_empty() && inspected.has_members);
}

#[test]
fn heartbeats_that_make_no_sense_are_refused() {
    let mut rig = Rig::new(ORDERS);
    let invalid = Err(ErrorCode::InvalidRequest);
    assert_eq!(rig.beat("", 0, Some(&["orders"])), invalid);
    assert_eq!(rig.beat("a", 0, None), invalid);
    assert_eq!(rig.beat("a", 0, Some(&[])), invalid);
    assert_eq!(rig.beat("a", -2, None), invalid);
    assert_eq!(rig.beat("a", 1, None), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(rig.beat("a", -1, None), Err(ErrorCode::GroupIdNotFound));
    let long = "x".repeat(40_000);
    assert_eq!(rig.beat(&long, 0, Some(&["orders"])), invalid);
    let many: Vec<String> = (0..100_000).map(|n| format!("topic-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(rig.beat("a", 0, Some(&many)), invalid);
    assert!(rig.log.is_empty());
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut rig = Rig::new(ORDERS);
    for member in ["a", "b", "c"] {
        rig.join(member, &["orders"]);
    }
    let full = Err(ErrorCode::GroupMaxSizeReached);
    assert_eq!(rig.beat("d", 0, Some(&["orders"])), full);
    assert!(rig.beat("c", 0, Some(&["orders"])).is_ok());
}

#[test]
fn groups_of_another_kind_and_share_groups_keep_apart() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    let join = crate::groups::JoinGroup {
        group: GROUP.into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(10),
        protocol_type: "consumer".to_owned(),
        ..Default::default()
    };
    match rig.ask(Command::Join(join)) {
        Reply::Join(reply) => assert_eq!(reply.error, ErrorCode::InconsistentGroupProtocol),
        other => panic!("{other:?}"),
    }
    let commit = CommitOffsets {
        group: GROUP.into(),
        member_id: MemberId::from("a"),
        instance_id: None,
        generation: Generation(1),
        retention: None,
        knows_member_epochs: true,
        topics: vec![crate::groups::CommitTopic {
            topic: "orders".into(),
            topic_id: Uuid([1; 16]),
            partitions: vec![crate::groups::CommitPartition {
                partition: 0,
                offset: 7,
                leader_epoch: -1,
                metadata: None,
            }],
        }],
    };
    match rig.ask(Command::CommitOffsets(commit)) {
        Reply::CommitOffsets(topics) => {
            assert_eq!(topics[0].partitions, [(0, ErrorCode::GroupIdNotFound)]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_can_be_made_before_it_has_members() {
    let mut rig = Rig::new(ORDERS);
    let create = |id: &str| Command::Share(ShareCommand::Create(id.into()));
    let done = |error| Reply::Share(ShareReply::Done(error));
    assert_eq!(rig.ask(create(GROUP)), done(ErrorCode::None));
    let described = rig.described();
    assert_eq!((described.state, described.epoch), (GroupState::Empty, 1));
    assert_eq!(rig.ask(create(GROUP)), done(ErrorCode::None));
    assert_eq!(rig.described().epoch, 1, "once is enough");
    assert_eq!(rig.ask(create("")), done(ErrorCode::InvalidGroupId));
    rig.join("a", &["orders"]);
    assert_eq!(rig.described().state, GroupState::Stable);
}

#[test]
fn share_groups_are_listed_and_deleted_when_they_are_empty() {
    let mut rig = Rig::new(ORDERS);
    rig.join("a", &["orders"]);
    let filter = ListFilter {
        types: vec!["Share".to_owned()],
        ..ListFilter::default()
    };
    let listed = rig.groups.list(&filter);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].group_type, listed[0].protocol_type.as_str()),
        (GroupType::Share, "share")
    );
    let delete = || Command::DeleteGroups(vec![GROUP.into()]);
    let refused = Reply::DeleteGroups(vec![(GROUP.into(), ErrorCode::NonEmptyGroup)]);
    assert_eq!(rig.ask(delete()), refused);
    rig.beat("a", -1, None).expect("it may leave");
    rig.pass(10 * 24 * 3_600_000);
    assert_eq!(rig.described().error, ErrorCode::None, "it stays for ever");
    let done = Reply::DeleteGroups(vec![(GROUP.into(), ErrorCode::None)]);
    assert_eq!(rig.ask(delete()), done);
    assert_eq!(rig.described().error, ErrorCode::GroupIdNotFound);
    assert!(rig.groups.durable().is_empty());
}
