//! Joining: two-step member ids, leaders, votes, limits and refusals.

use crate::story::story;

#[test]
fn the_first_member_leads_generation_one() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0,1
         > + group g 1 range leader=a.1 a.1=0,1
         > a: assigned 0,1
         describe
         > g is Stable consumer/range a.1=0,1",
    );
}

#[test]
fn a_second_member_starts_a_rebalance() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0,1
         > + group g 1 range leader=a.1 a.1=0,1
         > a: assigned 0,1
         join b
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         sync b
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1",
    );
}

#[test]
fn a_new_dynamic_member_first_learns_its_id() {
    story(
        "join a once
         > a: MEMBER_ID_REQUIRED as a.1
         describe
         > g is Empty /
         list
         > groups g(Empty classic )
         join a once
         > a: joined 1 range as a.1 leader of [a.1]",
    );
}

#[test]
fn clients_before_version_4_get_their_id_with_the_generation() {
    story(
        "join a v=3 once
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0",
    );
}

#[test]
fn an_id_that_is_not_used_expires() {
    story(
        "join a once session=10s
         > a: MEMBER_ID_REQUIRED as a.1
         after 9s
         describe
         > g is Empty /
         after 1s
         describe
         > g is Dead GROUP_ID_NOT_FOUND
         join a once
         > a: UNKNOWN_MEMBER_ID as a.1",
    );
}

#[test]
fn an_id_that_expires_no_longer_holds_up_the_others() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b once
         > b: MEMBER_ID_REQUIRED as b.1
         join c
         join a
         after 10s
         > a: joined 2 range as a.1 leader of [a.1 c.1]
         > c: joined 2 range as c.1 follower of a.1",
    );
}

#[test]
fn an_id_given_out_holds_up_the_join_phase() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b once
         > b: MEMBER_ID_REQUIRED as b.1
         join c
         join a
         join b once
         > a: joined 2 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 2 range as b.1 follower of a.1
         > c: joined 2 range as c.1 follower of a.1",
    );
}

#[test]
fn an_unknown_member_id_is_refused() {
    story(
        "join x as=x.9
         > x: UNKNOWN_MEMBER_ID as x.9
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         join y as=y.9
         > y: UNKNOWN_MEMBER_ID as y.9",
    );
}

#[test]
fn an_instance_id_does_not_fit_an_id_given_to_a_dynamic_member() {
    story(
        "join a once
         > a: MEMBER_ID_REQUIRED as a.1
         join a instance=box
         > a: UNKNOWN_MEMBER_ID as a.1",
    );
}

#[test]
fn a_join_without_protocols_is_refused() {
    story(
        "join a protocols=
         > a: INCONSISTENT_GROUP_PROTOCOL as nobody
         join a type= protocols=range
         > a: INCONSISTENT_GROUP_PROTOCOL as nobody",
    );
}

#[test]
fn a_join_without_a_common_protocol_is_refused() {
    story(
        "join a protocols=range,sticky
         > a: joined 1 range as a.1 leader of [a.1]
         join b protocols=roundrobin
         > b: INCONSISTENT_GROUP_PROTOCOL as nobody
         join b type=connect protocols=range
         > b: INCONSISTENT_GROUP_PROTOCOL as nobody
         join b protocols=sticky
         join a protocols=range,sticky
         > a: joined 2 sticky as a.1 leader of [a.1 b.3]
         > b: joined 2 sticky as b.3 follower of a.1",
    );
}

#[test]
fn a_protocol_that_one_member_lacks_is_no_common_one() {
    story(
        "join a protocols=range,sticky
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b protocols=sticky
         join c protocols=range
         > c: INCONSISTENT_GROUP_PROTOCOL as nobody",
    );
}

#[test]
fn an_empty_group_may_change_its_protocol_type() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         join w fresh type=connect protocols=default
         > w: joined 3 default as w.1 leader of [w.1]
         sync w w=task
         > + group g 3 default leader=w.1 w.1=task
         > w: assigned task
         list
         > groups g(Stable classic connect)",
    );
}

#[test]
fn session_timeouts_have_bounds() {
    story(
        "join a session=5999ms
         > a: INVALID_SESSION_TIMEOUT as nobody
         join a session=1801s
         > a: INVALID_SESSION_TIMEOUT as nobody
         join a session=6s
         > a: joined 1 range as a.3 leader of [a.3]
         join b session=1800s",
    );
}

#[test]
fn a_group_needs_a_name() {
    story(
        "join a group=
         > a: INVALID_GROUP_ID as nobody
         sync a group=
         > a: INVALID_GROUP_ID
         beat a group=
         > a: INVALID_GROUP_ID
         leave a group=
         > a: INVALID_GROUP_ID
         commit - group= t1:0=1
         > -: committed t1:0!INVALID_GROUP_ID
         fetch group= t1:0
         > INVALID_GROUP_ID
         forget group= t1:0
         > INVALID_GROUP_ID
         describe group=
         >  is Dead INVALID_GROUP_ID
         delete group=
         > deleted !INVALID_GROUP_ID",
    );
}

#[test]
fn a_full_group_takes_nobody_else() {
    story(
        "set size=2
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         sync b
         > b: assigned 1
         join c once
         > c: GROUP_MAX_SIZE_REACHED as nobody
         beat a
         > a: ok",
    );
}

#[test]
fn a_full_join_phase_turns_the_late_away() {
    story(
        "set size=1
         join a v=3
         > a: joined 1 range as a.1 leader of [a.1]
         set size=2
         join b v=3
         join c v=3
         join a
         > a: GROUP_MAX_SIZE_REACHED as nobody
         > b: joined 2 range as b.1 leader of [b.1 c.1]
         > c: joined 2 range as c.1 follower of b.1
         join c v=3
         > c: joined 2 range as c.1 follower of b.1",
    );
}

#[test]
fn ids_given_out_are_limited_too() {
    story(
        "set size=1
         join a once
         > a: MEMBER_ID_REQUIRED as a.1
         join b once
         > b: GROUP_MAX_SIZE_REACHED as nobody
         describe
         > g is Empty /",
    );
}

#[test]
fn a_full_broker_takes_no_further_group() {
    story(
        "set groups=1
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b group=h
         > b: GROUP_MAX_SIZE_REACHED as nobody
         commit - group=h t1:0=5
         > -: committed t1:0!POLICY_VIOLATION
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0",
    );
}

#[test]
fn a_member_that_says_too_much_is_refused() {
    story(
        "set member=40
         join a topics=a-topic-with-a-rather-long-name-that-takes-space
         > a: INVALID_REQUEST as nobody
         join a topics=t1
         > a: joined 1 range as a.2 leader of [a.2]",
    );
}

#[test]
fn the_protocol_with_most_votes_wins() {
    story(
        "set delay=3s
         join a protocols=range,sticky
         join b protocols=sticky,range
         join c protocols=sticky,range
         after 6s
         > a: joined 1 sticky as a.1 leader of [a.1 b.1 c.1]
         > b: joined 1 sticky as b.1 follower of a.1
         > c: joined 1 sticky as c.1 follower of a.1",
    );
}

#[test]
fn of_equal_votes_the_leaders_favourite_wins() {
    story(
        "set delay=3s
         join b protocols=sticky,range
         join a protocols=range,sticky
         after 6s
         > a: joined 1 sticky as a.1 follower of b.1
         > b: joined 1 sticky as b.1 leader of [a.1 b.1]",
    );
}

#[test]
fn a_follower_that_rejoins_unchanged_is_shown_the_generation_it_has() {
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
         sync b
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1
         join b
         > b: joined 2 range as b.1 follower of a.1
         beat a
         > a: ok",
    );
}

#[test]
fn a_leader_that_rejoins_starts_a_rebalance() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join a
         > a: joined 2 range as a.1 leader of [a.1]
         sync a a=0,1
         > + group g 2 range leader=a.1 a.1=0,1
         > a: assigned 0,1",
    );
}

#[test]
fn a_changed_subscription_starts_a_rebalance() {
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
         sync b
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1
         join b topics=t1,t2
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a
         > a: joined 3 range as a.1 leader of [a.1 b.1]
         > b: joined 3 range as b.1 follower of a.1",
    );
}

#[test]
fn a_lost_answer_to_a_join_can_be_asked_for_again() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         join b
         beat a
         > a: REBALANCE_IN_PROGRESS",
    );
}

#[test]
fn a_member_that_changes_while_others_wait_for_the_leader_restarts_the_rebalance() {
    story(
        "set delay=3s
         join a
         join b
         after 6s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         join a topics=t2
         > b: REBALANCE_IN_PROGRESS
         join b
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1",
    );
}

#[test]
fn the_first_rebalance_waits_for_company() {
    story(
        "set delay=3s
         join a
         after 2999ms
         after 1ms
         > a: joined 1 range as a.1 leader of [a.1]",
    );
}

#[test]
fn each_newcomer_extends_the_first_rebalance() {
    story(
        "set delay=3s
         join a
         after 2s
         join b
         after 2s
         join c
         after 2s
         after 3s
         > a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 1 range as b.1 follower of a.1
         > c: joined 1 range as c.1 follower of a.1",
    );
}

#[test]
fn the_first_rebalance_is_not_extended_beyond_the_rebalance_timeout() {
    story(
        "set delay=3s
         join a rebalance=5s
         after 2s
         join b rebalance=5s
         after 2s
         join c rebalance=5s
         after 1s
         > a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 1 range as b.1 follower of a.1
         > c: joined 1 range as c.1 follower of a.1",
    );
}

#[test]
fn everyone_leaving_ends_the_first_rebalance() {
    story(
        "set delay=3s
         join a v=3
         leave a as=a.1
         > + group g 1 empty
         > a: UNKNOWN_MEMBER_ID as nobody
         > a: left a.1
         after 3s
         describe
         > g is Empty consumer/",
    );
}

#[test]
fn who_has_not_rejoined_in_time_is_left_behind() {
    story(
        "join a rebalance=20s session=30s
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b rebalance=20s session=30s
         after 19s
         beat a
         > a: REBALANCE_IN_PROGRESS
         after 1s
         > b: joined 2 range as b.1 leader of [b.1]
         beat a
         > a: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_leader_that_has_not_rejoined_is_replaced() {
    story(
        "join a session=100s
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         after 60s
         > b: joined 2 range as b.1 leader of [b.1]
         sync b b=0
         > + group g 2 range leader=b.1 b.1=0
         > b: assigned 0
         join a
         > a: UNKNOWN_MEMBER_ID as a.1",
    );
}

#[test]
fn a_repeated_join_is_answered_once_and_the_earlier_one_sent_away() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         join b
         > b: REBALANCE_IN_PROGRESS as b.1
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1",
    );
}

#[test]
fn a_new_member_may_not_wait_for_ever() {
    story(
        "join a session=30m rebalance=30m
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b v=3
         after 299s
         after 1s
         > b: UNKNOWN_MEMBER_ID as nobody
         describe
         > g is PreparingRebalance consumer/ a.1=0",
    );
}

#[test]
fn a_member_that_waits_in_a_rebalance_does_not_expire() {
    story(
        "join a session=30s
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b session=6s
         join a session=30s
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         sync b
         > b: assigned 1
         join c session=6s
         join b session=6s
         after 29s
         join a session=30s
         > a: joined 3 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 3 range as b.1 follower of a.1
         > c: joined 3 range as c.1 follower of a.1",
    );
}

#[test]
fn a_member_with_too_many_protocols_is_refused() {
    let names: Vec<String> = (0..101).map(|number| format!("p{number}")).collect();
    story(&format!(
        "join a protocols={}
         > a: INVALID_REQUEST as nobody
         join a protocols={}
         > a: joined 1 p0 as a.2 leader of [a.2]",
        names.join(","),
        names[..100].join(","),
    ));
}
