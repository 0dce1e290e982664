//! Staying and going: heartbeats, sessions, leaving one by one and in batches.

use crate::story::story;

#[test]
fn a_heartbeat_keeps_a_member() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         after 9s
         beat a
         > a: ok
         after 9s
         beat a
         > a: ok
         describe
         > g is Stable consumer/range a.1=0",
    );
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         after 9999ms
         after 1ms
         > + group g 2 empty
         beat a
         > a: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_silent_member_frees_its_partitions_for_the_others() {
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
         after 9s
         beat a
         > a: ok
         after 1s
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a
         > a: joined 2 range as a.1 leader of [a.1]
         sync a a=0,1
         > + group g 2 range leader=a.1 a.1=0,1
         > a: assigned 0,1",
    );
}

#[test]
fn a_heartbeat_while_others_join_says_so_and_keeps_the_session() {
    story(
        "join a session=10s
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         after 9s
         beat a
         > a: REBALANCE_IN_PROGRESS
         after 9s
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1",
    );
}

#[test]
fn a_heartbeat_before_the_assignment_is_fine() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         after 9s
         beat a
         > a: ok
         after 9s
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0",
    );
}

#[test]
fn a_heartbeat_of_another_generation_is_refused() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         beat a generation=0
         > a: ILLEGAL_GENERATION
         beat a generation=2
         > a: ILLEGAL_GENERATION",
    );
}

#[test]
fn a_heartbeat_of_a_stranger_is_refused() {
    story(
        "beat a as=a.1 generation=1
         > a: UNKNOWN_MEMBER_ID
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         beat b as=b.1 generation=1
         > b: UNKNOWN_MEMBER_ID
         beat b as=a.1 instance=box generation=1
         > b: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_wrong_heartbeat_does_not_keep_the_session() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         after 9s
         beat a generation=7
         > a: ILLEGAL_GENERATION
         after 1s
         > + group g 2 empty
         describe
         > g is Empty consumer/",
    );
}

#[test]
fn the_last_one_to_leave_empties_the_group() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         describe
         > g is Empty consumer/
         join a fresh
         > a: joined 3 range as a.2 leader of [a.2]",
    );
}

#[test]
fn who_leaves_makes_the_others_rebalance() {
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
         leave b
         > b: left b.1
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a
         > a: joined 2 range as a.1 leader of [a.1]
         sync a a=0,1
         > + group g 2 range leader=a.1 a.1=0,1
         > a: assigned 0,1",
    );
}

#[test]
fn a_leader_that_leaves_is_succeeded() {
    story(
        "set delay=1s
         join a
         join b
         join c
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 1 range as b.1 follower of a.1
         > c: joined 1 range as c.1 follower of a.1
         after 2s
         sync b
         leave a
         > a: left a.1
         > b: REBALANCE_IN_PROGRESS
         join b
         join c
         > b: joined 2 range as b.1 leader of [b.1 c.1]
         > c: joined 2 range as c.1 follower of b.1",
    );
}

#[test]
fn several_leave_at_once() {
    story(
        "set delay=1s
         join a
         join b
         join c
         after 4s
         > a: joined 1 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 1 range as b.1 follower of a.1
         > c: joined 1 range as c.1 follower of a.1
         sync a a=0 b=1 c=2
         > + group g 1 range leader=a.1 a.1=0 b.1=1 c.1=2
         > a: assigned 0
         sync b
         > b: assigned 1
         sync c
         > c: assigned 2
         leave b x c
         > b: left b.1 !UNKNOWN_MEMBER_ID c.1
         join a
         > a: joined 2 range as a.1 leader of [a.1]",
    );
}

#[test]
fn a_stranger_cannot_leave() {
    story(
        "leave a as=a.9
         > a: left a.9!UNKNOWN_MEMBER_ID
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave b as=b.1
         > b: left b.1!UNKNOWN_MEMBER_ID
         leave b
         > b: left !UNKNOWN_MEMBER_ID
         describe
         > g is Stable consumer/range a.1=0",
    );
}

#[test]
fn an_id_not_used_yet_can_be_given_back() {
    story(
        "join a once
         > a: MEMBER_ID_REQUIRED as a.1
         leave a
         > a: left a.1
         describe
         > g is Dead GROUP_ID_NOT_FOUND",
    );
}

#[test]
fn an_id_given_back_does_not_disturb_the_members() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b once
         > b: MEMBER_ID_REQUIRED as b.1
         leave b
         > b: left b.1
         beat a
         > a: ok",
    );
}

#[test]
fn an_id_given_back_may_end_the_join_phase() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b once
         > b: MEMBER_ID_REQUIRED as b.1
         join a
         leave b
         > b: left b.1
         > a: joined 2 range as a.1 leader of [a.1]",
    );
}

#[test]
fn who_leaves_while_waiting_in_a_join_is_answered() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b v=3
         leave b as=b.1
         > b: UNKNOWN_MEMBER_ID as nobody
         > b: left b.1
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a
         > a: joined 2 range as a.1 leader of [a.1]",
    );
}

#[test]
fn who_leaves_while_waiting_for_the_leader_is_answered() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         leave b
         > b: UNKNOWN_MEMBER_ID
         > b: left b.1
         join a
         > a: joined 2 range as a.1 leader of [a.1]",
    );
}

#[test]
fn everyone_silent_empties_the_group() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         sync b
         > b: assigned 1
         after 70s
         > + group g 2 empty
         describe
         > g is Empty consumer/",
    );
}

#[test]
fn generations_go_on_after_the_group_was_empty() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         join a fresh
         > a: joined 3 range as a.2 leader of [a.2]
         sync a a=0
         > + group g 3 range leader=a.2 a.2=0
         > a: assigned 0",
    );
}

#[test]
fn groups_expire_side_by_side() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b group=h
         > b: joined 1 range as b.1 leader of [b.1]
         sync b group=h b=0
         > + group h 1 range leader=b.1 b.1=0
         > b: assigned 0
         after 1h
         > + group g 2 empty
         > + group h 2 empty
         > - group g
         > - group h
         list
         > groups",
    );
}

#[test]
fn cooperative_members_rebalance_twice_to_move_a_partition() {
    story(
        "join a protocols=cooperative-sticky
         > a: joined 1 cooperative-sticky as a.1 leader of [a.1]
         sync a a=0,1
         > + group g 1 cooperative-sticky leader=a.1 a.1=0,1
         > a: assigned 0,1
         join b protocols=cooperative-sticky
         beat a
         > a: REBALANCE_IN_PROGRESS
         join a protocols=cooperative-sticky
         > a: joined 2 cooperative-sticky as a.1 leader of [a.1 b.1]
         > b: joined 2 cooperative-sticky as b.1 follower of a.1
         sync b
         sync a a=0
         > + group g 2 cooperative-sticky leader=a.1 a.1=0 b.1=none
         > a: assigned 0
         > b: assigned none
         join a protocols=cooperative-sticky
         beat b
         > b: REBALANCE_IN_PROGRESS
         join b protocols=cooperative-sticky
         > a: joined 3 cooperative-sticky as a.1 leader of [a.1 b.1]
         > b: joined 3 cooperative-sticky as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 3 cooperative-sticky leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         sync b
         > b: assigned 1",
    );
}

#[test]
fn a_late_tick_does_all_that_is_due() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b group=h
         > b: joined 1 range as b.1 leader of [b.1]
         sync b group=h b=0
         > + group h 1 range leader=b.1 b.1=0
         > b: assigned 0
         join c group=i once
         > c: MEMBER_ID_REQUIRED as c.1
         sleep 1h
         > + group g 2 empty
         > + group h 2 empty
         > - group g
         > - group h
         list
         > groups",
    );
}
