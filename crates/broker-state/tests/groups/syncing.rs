//! Syncing: assignments go from the leader through the log to everyone, in time or not at all.

use crate::story::story;

#[test]
fn a_follower_waits_for_the_leaders_assignment() {
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
         > b: assigned 1",
    );
}

#[test]
fn a_follower_that_syncs_late_is_answered_at_once() {
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
         sync b
         > b: assigned 1",
    );
}

#[test]
fn a_follower_cannot_assign() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b a=9 b=9
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1",
    );
}

#[test]
fn a_consumer_that_the_leader_left_out_gets_an_encoded_empty_assignment() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0 b.1=none
         > a: assigned 0
         > b: assigned none",
    );
}

#[test]
fn a_worker_that_the_leader_left_out_gets_no_bytes() {
    story(
        "set delay=1s
         join a type=connect protocols=default
         join b type=connect protocols=default
         after 2s
         > a: joined 1 default as a.1 leader of [a.1 b.1]
         > b: joined 1 default as b.1 follower of a.1
         sync b
         sync a a=task
         > + group g 1 default leader=a.1 a.1=task b.1=nothing
         > a: assigned task
         > b: assigned nothing",
    );
}

#[test]
fn assignments_for_strangers_are_dropped() {
    story(
        "join x group=h
         > x: joined 1 range as x.1 leader of [x.1]
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0 x=1
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0",
    );
}

#[test]
fn a_sync_of_a_stranger_is_refused() {
    story(
        "sync a
         > a: UNKNOWN_MEMBER_ID
         join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync b as=b.1 generation=1
         > b: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_sync_of_another_generation_is_refused() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a generation=0 a=0
         > a: ILLEGAL_GENERATION
         sync a generation=2 a=0
         > a: ILLEGAL_GENERATION
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0",
    );
}

#[test]
fn a_sync_that_names_another_protocol_is_refused() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a type=connect a=0
         > a: INCONSISTENT_GROUP_PROTOCOL
         sync a protocol=sticky a=0
         > a: INCONSISTENT_GROUP_PROTOCOL
         sync a type=consumer protocol=range a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0",
    );
}

#[test]
fn a_sync_while_others_join_sends_the_member_back_to_joining() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         join b
         sync a a=0
         > a: REBALANCE_IN_PROGRESS",
    );
}

#[test]
fn a_newcomer_sends_those_who_wait_for_the_leader_back_to_joining() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         join c
         > b: REBALANCE_IN_PROGRESS
         join b
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1 c.1]
         > b: joined 2 range as b.1 follower of a.1
         > c: joined 2 range as c.1 follower of a.1",
    );
}

#[test]
fn a_member_that_syncs_again_while_waiting_is_answered_once_each() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         sync b
         > b: REBALANCE_IN_PROGRESS
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1",
    );
}

#[test]
fn a_leader_that_dies_before_it_assigns_is_replaced_after_its_session() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         after 10s
         > b: REBALANCE_IN_PROGRESS
         join b
         > b: joined 2 range as b.1 leader of [b.1]
         sync b b=0,1
         > + group g 2 range leader=b.1 b.1=0,1
         > b: assigned 0,1",
    );
}

#[test]
fn a_leader_that_lives_but_never_assigns_is_removed_after_the_rebalance_timeout() {
    story(
        "set delay=1s
         join a session=30m
         join b session=30m
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         after 59s
         after 1s
         > b: REBALANCE_IN_PROGRESS
         join b session=30m
         > b: joined 2 range as b.1 leader of [b.1]
         sync b b=0,1
         > + group g 2 range leader=b.1 b.1=0,1
         > b: assigned 0,1
         beat a
         > a: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_follower_that_never_syncs_is_removed_after_the_rebalance_timeout() {
    story(
        "set delay=1s
         join a session=30m
         join b session=30m
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         after 60s
         join a session=30m
         > a: joined 2 range as a.1 leader of [a.1]
         beat b
         > b: UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn nobody_is_late_once_everyone_has_synced() {
    story(
        "set delay=1s
         join a session=30m
         join b session=30m
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         after 30s
         sync b
         > b: assigned 1
         after 10m
         describe
         > g is Stable consumer/range a.1=0 b.1=1",
    );
}

#[test]
fn an_assignment_too_large_for_the_log_fails_the_rebalance() {
    story(
        "set delay=1s record=240
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         sync a a=0123456789012345678901234567890123456789012345678901234567890123456789
         > a: UNKNOWN_SERVER_ERROR
         > b: UNKNOWN_SERVER_ERROR
         describe
         > g is PreparingRebalance consumer/ a.1=nothing b.1=nothing
         join a
         join b
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0",
    );
}

#[test]
fn a_new_generation_takes_the_old_assignments_back() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         describe
         > g is PreparingRebalance consumer/ a.1=0 b.1=nothing
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         join c
         describe
         > g is PreparingRebalance consumer/ a.1=nothing b.1=nothing c.1=nothing",
    );
}

#[test]
fn a_leader_may_assign_nothing_at_all() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a
         > + group g 1 range leader=a.1 a.1=none
         > a: assigned none
         describe
         > g is Stable consumer/range a.1=none",
    );
}

#[test]
fn having_synced_counts_for_one_generation_only() {
    story(
        "set delay=1s
         join a session=30m
         join b session=30m
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         sync b
         > b: assigned 1
         join a session=30m
         join b session=30m
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1
         sync a a=0 b=1
         > + group g 2 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         after 60s
         beat b
         > b: UNKNOWN_MEMBER_ID
         join a session=30m
         > a: joined 3 range as a.1 leader of [a.1]",
    );
}

#[test]
fn a_session_starts_again_when_the_assignment_comes() {
    story(
        "set delay=1s
         join a
         join b
         after 2s
         > a: joined 1 range as a.1 leader of [a.1 b.1]
         > b: joined 1 range as b.1 follower of a.1
         sync b
         after 9s
         sync a a=0 b=1
         > + group g 1 range leader=a.1 a.1=0 b.1=1
         > a: assigned 0
         > b: assigned 1
         after 9s
         beat b
         > b: ok",
    );
}
