//! Restarts: what was recorded is still there, what was not is started again by the clients.

use std::time::Duration;

use broker_state::groups::*;
use broker_state::step::{Millis, RequestId};
use wire::Uuid;

use crate::story::story;

#[test]
fn members_go_on_after_a_restart_as_if_nothing_had_happened() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1
         restart
         beat a
         > a: ok
         beat b
         > b: ok
         sync b
         > b: assigned 1
         commit b t1:1=5
         > + offset g t1:1=5
         > b: committed t1:1
         describe
         > g is Stable consumer/range a.1=0 b.1=1",
    );
}

#[test]
fn members_get_a_fresh_session_after_a_restart() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         after 9s
         restart
         after 9s
         beat a
         > a: ok
         after 10s
         > + group g 2 empty
         beat a
         > a: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_rebalance_under_way_is_lost_and_the_recorded_generation_comes_back() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         restart
         beat a
         > a: ILLEGAL_GENERATION
         beat b
         > b: UNKNOWN_MEMBER_ID
         join a
         > a: joined 2 range as a.1 leader of [a.1]
         join b fresh
         join a
         > a: joined 3 range as a.1 leader of [a.1 b.2]
         > b: joined 3 range as b.2 follower of a.1",
    );
}

#[test]
fn a_generation_that_was_never_recorded_is_counted_again() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         restart
         beat a
         > a: UNKNOWN_MEMBER_ID
         join a
         > a: UNKNOWN_MEMBER_ID as a.1
         join a fresh
         > a: joined 1 range as a.3 leader of [a.3]",
    );
}

#[test]
fn offsets_survive_a_restart() {
    story(
        "commit - t1:0=42 epoch=2 note=here id=3
         > + offset g t1:0=42@2(here) id=3
         > -: committed t1:0
         commit - t1:1=7 keep=1d
         > + offset g t1:1=7 expiring
         > -: committed t1:1
         restart
         fetch all
         > fetched t1:0=42@2(here) t1:1=7",
    );
}

#[test]
fn what_was_deleted_stays_deleted() {
    story(
        "commit - t1:0=42 t1:1=43
         > + offset g t1:0=42
         > + offset g t1:1=43
         > -: committed t1:0 t1:1
         forget t1:0
         > - offset g t1:0
         > forgotten t1:0
         commit - group=h t1:0=1
         > + offset h t1:0=1
         > -: committed t1:0
         delete group=h
         > - offset h t1:0
         > deleted h
         restart
         fetch all
         > fetched t1:1=43
         list
         > groups g(Empty classic )",
    );
}

#[test]
fn an_empty_group_goes_on_counting_generations_after_a_restart() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         restart
         join a fresh
         > a: joined 3 range as a.2 leader of [a.2]",
    );
}

#[test]
fn the_leader_is_still_the_leader_after_a_restart() {
    story(
        "set delay=1s
         join b
         join a
         after 2s
         > a: joined 1 range as a.1 follower of b.1
         > b: joined 1 range as b.1 leader of [a.1 b.1]
         sync a
         sync b a=0 b=1
         > + group g 1 range leader=b.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1
         restart
         join a
         > a: joined 1 range as a.1 follower of b.1
         join b
         join a
         > a: joined 2 range as a.1 follower of b.1
         > b: joined 2 range as b.1 leader of [a.1 b.1]",
    );
}

#[test]
fn retention_counts_from_when_the_group_became_empty_even_across_a_restart() {
    story(
        "set retention=1h
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0
         leave a
         > + group g 2 empty
         > a: left a.1
         after 50m
         restart
         after 9m
         fetch all
         > fetched t1:0=5
         after 10m
         > - offset g t1:0
         > - group g
         fetch all
         > fetched
         list
         > groups",
    );
}

#[test]
fn an_id_that_was_given_out_is_forgotten_by_a_restart() {
    story(
        "join a once
         > a: MEMBER_ID_REQUIRED as a.1
         restart
         join a once
         > a: UNKNOWN_MEMBER_ID as a.1
         join a fresh
         > a: joined 1 range as a.3 leader of [a.3]",
    );
}

/// A machine with the records of some other broker.
fn with_records(records: &[Record]) -> Groups {
    let mut groups = Groups::new(GroupSettings::default());
    records.iter().for_each(|record| groups.apply(record));
    groups.loaded(Millis(0));
    groups
}

fn metadata(protocol_type: &str, leader: &str, members: &[&str]) -> Record {
    let member = |id: &&str| MemberMetadata {
        member_id: MemberId::from(*id),
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout: Duration::from_secs(60),
        session_timeout: Duration::from_secs(10),
        subscription: SharedBytes::from([]),
        assignment: SharedBytes::from([]),
    };
    Record::GroupMetadata {
        group: GroupId::from("g"),
        metadata: GroupMetadata {
            protocol_type: protocol_type.to_owned(),
            generation: Generation(1),
            protocol: Some("range".to_owned()),
            leader: Some(MemberId::from(leader)),
            state_since: Some(Millis(0)),
            members: members.iter().map(member).collect(),
        },
    }
}

#[test]
fn a_recorded_leader_that_is_no_member_is_replaced() {
    let mut groups = with_records(&[metadata("connect", "gone", &["a", "b"])]);
    let join = JoinGroup {
        group: GroupId::from("g"),
        member_id: MemberId::from("b"),
        session_timeout: Duration::from_secs(10),
        protocol_type: "connect".to_owned(),
        protocols: vec![Protocol {
            name: "range".to_owned(),
            metadata: SharedBytes::from([]),
        }],
        ..JoinGroup::default()
    };
    let mut effects = GroupEffects::new();
    groups.handle(Millis(1), RequestId(1), Command::Join(join), &mut effects);
    let Some((_, Reply::Join(joined))) = effects.replies.pop() else {
        panic!("a follower is answered at once")
    };
    assert_eq!(joined.leader, MemberId::from("a"));
}

#[test]
fn offsets_of_a_group_recorded_without_a_protocol_expire_after_their_commit() {
    let committed = CommittedOffset {
        offset: 1,
        leader_epoch: -1,
        metadata: String::new(),
        committed_at: Millis(1_000_000_000),
        expires_at: None,
        topic_id: Uuid::ZERO,
    };
    let offset = Record::OffsetCommit {
        group: GroupId::from("g"),
        topic: TopicName::from("t1"),
        partition: 0,
        committed,
    };
    let mut groups = with_records(&[metadata("", "", &[]), offset]);
    let mut effects = GroupEffects::new();
    groups.tick(Millis(1_000_000_000), &mut effects);
    assert_eq!(effects, GroupEffects::new());
    groups.tick(Millis(2_000_000_000), &mut effects);
    assert_eq!(effects.records.len(), 2, "the offset and the group");
}

#[test]
fn a_deleted_group_leaves_no_deadline_behind() {
    let mut groups = with_records(&[]);
    let join = JoinGroup {
        group: GroupId::from("g"),
        session_timeout: Duration::from_secs(10),
        protocol_type: "connect".to_owned(),
        protocols: vec![Protocol {
            name: "range".to_owned(),
            metadata: SharedBytes::from([]),
        }],
        supports_member_id_required: true,
        new_member_id: MemberId::from("a"),
        ..JoinGroup::default()
    };
    let mut effects = GroupEffects::new();
    groups.handle(Millis(0), RequestId(1), Command::Join(join), &mut effects);
    assert_eq!(groups.next_deadline(), Some(Millis(10_000)));
    groups.handle(
        Millis(0),
        RequestId(2),
        Command::DeleteGroups(vec![GroupId::from("g")]),
        &mut effects,
    );
    assert_eq!(groups.next_deadline(), None);
}
