//! Static members (KIP-345): a restart within the session disturbs nobody, a second one of the name fences the first.

use crate::story::story;

#[test]
fn a_static_member_gets_its_id_at_once() {
    story(
        "join a instance=box once
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0",
    );
}

#[test]
fn a_static_member_that_bounces_keeps_its_assignment_without_a_rebalance() {
    story(
        "set delay=1s
         join a
         join b instance=box
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 box.1@box]
         > b: joined 1 range as box.1 follower of a.1
         sync b
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 box.1=1
         > a: assigned 0
         > b: assigned 1
         join b fresh
         > + group g 1 range leader=a.1 a.1=0 box.2=1
         > b: joined 1 range as box.2 follower of a.1
         sync b
         > b: assigned 1
         beat a
         > a: ok",
    );
}

#[test]
fn a_static_leader_that_bounces_skips_the_assignment() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join a fresh v=9
         > + group g 1 range leader=box.2 box.2=0
         > a: joined 1 range as box.2 leader of [box.2@box] skipping assignment
         sync a
         > a: assigned 0
         describe
         > g is Stable consumer/range box.2=0",
    );
}

#[test]
fn a_static_leader_of_an_older_version_takes_itself_for_a_follower() {
    story(
        "join a instance=box v=8
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join a fresh v=8
         > + group g 1 range leader=box.2 box.2=0
         > a: joined 1 range as box.2 follower of box.1
         sync a
         > a: assigned 0",
    );
}

#[test]
fn the_old_incarnation_is_fenced() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join b instance=box
         > + group g 1 range leader=box.2 box.2=0
         > b: joined 1 range as box.2 leader of [box.2@box] skipping assignment
         beat a
         > a: FENCED_INSTANCE_ID
         sync a
         > a: FENCED_INSTANCE_ID
         commit a t1:0=5
         > a: committed t1:0!FENCED_INSTANCE_ID
         join a
         > a: FENCED_INSTANCE_ID as box.1
         leave a
         > a: left box.1@box!FENCED_INSTANCE_ID
         beat b
         > b: ok",
    );
}

#[test]
fn an_old_incarnation_that_waits_in_a_join_is_fenced() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b instance=box
         join c instance=box
         > b: FENCED_INSTANCE_ID as box.1
         join a
         > a: joined 2 range as a.1 leader of [a.1 box.2@box]
         > c: joined 2 range as box.2 follower of a.1",
    );
}

#[test]
fn an_old_incarnation_that_waits_for_the_leader_is_fenced() {
    story(
        "set delay=1s
         join a
         join b instance=box
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 box.1@box]
         > b: joined 1 range as box.1 follower of a.1
         sync b
         join c instance=box
         > b: FENCED_INSTANCE_ID
         join a
         > a: joined 2 range as a.1 leader of [a.1 box.2@box]
         > c: joined 2 range as box.2 follower of a.1",
    );
}

#[test]
fn a_static_member_that_returns_with_its_id_is_itself() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join a
         > a: joined 2 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 2 range leader=box.1 box.1=0
         > a: assigned 0",
    );
}

#[test]
fn an_unknown_instance_with_an_id_is_refused() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         beat a instance=box
         > a: UNKNOWN_MEMBER_ID
         join a instance=box
         > a: UNKNOWN_MEMBER_ID as a.1",
    );
}

#[test]
fn a_static_member_that_returns_with_other_topics_starts_a_rebalance() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join a fresh topics=t1,t2
         > a: joined 2 range as box.2 leader of [box.2@box]
         sync a a=0,1
         > + group g 2 range leader=box.2 box.2=0,1
         > a: assigned 0,1",
    );
}

#[test]
fn a_static_member_that_changes_the_vote_starts_a_rebalance() {
    story(
        "join a instance=box protocols=range,sticky
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join a fresh protocols=sticky,range
         > a: joined 2 sticky as box.2 leader of [box.2@box]
         sync a a=0,1
         > + group g 2 sticky leader=box.2 box.2=0,1
         > a: assigned 0,1",
    );
}

#[test]
fn a_static_member_stays_through_a_rebalance_it_misses() {
    story(
        "set delay=1s
         join a session=30m
         join b instance=box session=30m
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 box.1@box]
         > b: joined 1 range as box.1 follower of a.1
         sync b
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 box.1=1
         > a: assigned 0
         > b: assigned 1
         join a session=30m
         after 60s
         > a: joined 2 range as a.1 leader of [a.1 box.1@box]
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 box.1=1
         > a: assigned 0
         join b fresh session=30m
         > + group g 2 range leader=a.1 a.1=0 box.2=1
         > b: joined 2 range as box.2 follower of a.1
         sync b
         > b: assigned 1",
    );
}

#[test]
fn a_static_member_is_removed_after_its_session() {
    story(
        "set delay=1s
         join a session=30m
         join b instance=box
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 box.1@box]
         > b: joined 1 range as box.1 follower of a.1
         sync b
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 box.1=1
         > a: assigned 0
         > b: assigned 1
         after 10s
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a session=30m
         > a: joined 2 range as a.1 leader of [a.1]",
    );
}

#[test]
fn nobody_leads_while_only_absent_static_members_are_left() {
    story(
        "join a instance=box session=30m
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join b session=30m v=3
         leave b as=b.1
         > b: UNKNOWN_MEMBER_ID as nobody
         > b: left b.1
         after 60s
         describe
         > g is PreparingRebalance consumer/ box.1=0
         join a session=30m
         > a: joined 2 range as box.1 leader of [box.1@box]",
    );
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         leave i=box
         > + group g 2 empty
         > left @box
         leave i=box
         > left @box!UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn leaving_with_a_fenced_id_is_refused() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         leave i=box as=a.9
         > left a.9@box!FENCED_INSTANCE_ID
         describe
         > g is Stable consumer/range box.1=0",
    );
}

#[test]
fn a_static_member_that_returns_while_others_join_takes_its_place_there() {
    story(
        "set delay=1s
         join a
         join b instance=box
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 box.1@box]
         > b: joined 1 range as box.1 follower of a.1
         sync b
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 box.1=1
         > a: assigned 0
         > b: assigned 1
         join c
         join b fresh
         join a
         > a: joined 2 range as a.1 leader of [a.1 box.2@box c.1]
         > b: joined 2 range as box.2 follower of a.1
         > c: joined 2 range as c.1 follower of a.1",
    );
}

#[test]
fn a_static_bounce_survives_a_restart() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         join a fresh
         > + group g 1 range leader=box.2 box.2=0
         > a: joined 1 range as box.2 leader of [box.2@box] skipping assignment
         sync a
         > a: assigned 0
         restart
         beat a
         > a: ok
         beat b as=box.1 instance=box generation=1
         > b: FENCED_INSTANCE_ID",
    );
}

#[test]
fn a_static_member_bounces_across_a_restart() {
    story(
        "join a instance=box
         > a: joined 1 range as box.1 leader of [box.1@box]
         sync a a=0
         > + group g 1 range leader=box.1 box.1=0
         > a: assigned 0
         restart
         join a fresh
         > + group g 1 range leader=box.2 box.2=0
         > a: joined 1 range as box.2 leader of [box.2@box] skipping assignment
         sync a
         > a: assigned 0",
    );
}

#[test]
fn a_static_member_that_had_synced_need_not_hurry_after_a_bounce() {
    story(
        "set delay=1s
         join a session=30m
         join b instance=box session=30m
         join c session=30m
         after 4s
         > a: joined 1 range as a.1 leader of [a.1 box.1@box c.1]
         > b: joined 1 range as box.1 follower of a.1
         > c: joined 1 range as c.1 follower of a.1
         sync a a=0 b=1 c=2
         > + group g 1 range leader=a.1 a.1=0 box.1=1 c.1=2
         > a: assigned 0
         sync b
         > b: assigned 1
         join b fresh session=30m
         > + group g 1 range leader=a.1 a.1=0 box.2=1 c.1=2
         > b: joined 1 range as box.2 follower of a.1
         sync c
         > c: assigned 2
         after 10m
         describe
         > g is Stable consumer/range a.1=0 box.2=1 c.1=2",
    );
}
