//! Restarts: what was recorded is still there, what was not is started again by the clients.

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
