//! Retention (KIP-211) and the end of groups.

use crate::story::story;

#[test]
fn offsets_of_an_empty_group_expire_after_it_became_empty() {
    story(
        "set retention=1d
         join a session=30m
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0
         after 20m
         leave a
         > + group g 2 empty
         > a: left a.1
         after 1425m
         fetch t1:0
         > fetched t1:0=5
         after 25m
         > - offset g t1:0
         > - group g
         list
         > groups",
    );
}

#[test]
fn offsets_of_an_active_group_do_not_expire() {
    story(
        "set retention=1h
         join a session=30m
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0
         after 25m
         beat a
         > a: ok
         after 25m
         beat a
         > a: ok
         after 25m
         beat a
         > a: ok
         fetch t1:0
         > fetched t1:0=5",
    );
}

#[test]
fn offsets_of_topics_no_longer_consumed_expire() {
    story(
        "set retention=1h
         join a session=30m topics=t1,t2
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=5 t2:0=5
         > + offset g t1:0=5
         > + offset g t2:0=5
         > a: committed t1:0 t2:0
         join a session=30m topics=t1
         > a: joined 2 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 2 range leader=a.1 a.1=0
         > a: assigned 0
         after 25m
         beat a
         > a: ok
         after 25m
         beat a
         > a: ok
         after 20m
         > - offset g t2:0
         beat a
         > a: ok
         fetch all
         > fetched t1:0=5",
    );
}

#[test]
fn offsets_of_active_workers_do_not_expire() {
    story(
        "set retention=20m
         join w type=connect protocols=default session=30m
         > w: joined 1 default as w.1 leader of [w.1]
         sync w w=task
         > + group g 1 default leader=w.1 w.1=task
         > w: assigned task
         commit w t1:0=5
         > + offset g t1:0=5
         > w: committed t1:0
         after 25m
         beat w
         > w: ok
         after 25m
         fetch all
         > fetched t1:0=5",
    );
}

#[test]
fn offsets_of_a_consumer_without_a_group_protocol_expire_after_their_commit() {
    story(
        "set retention=1h
         commit - t1:0=5
         > + offset g t1:0=5
         > -: committed t1:0
         after 35m
         commit - t1:1=5
         > + offset g t1:1=5
         > -: committed t1:1
         after 30m
         > - offset g t1:0
         fetch all
         > fetched t1:1=5
         after 35m
         > - offset g t1:1
         list
         > groups",
    );
}

#[test]
fn offsets_with_a_retention_of_their_own_keep_it() {
    story(
        "set retention=7d
         commit - t1:0=5 keep=30m epoch=3 id=1
         > + offset g t1:0=5 expiring
         > -: committed t1:0
         commit - t1:1=5
         > + offset g t1:1=5
         > -: committed t1:1
         fetch all
         > fetched t1:0=5 t1:1=5
         after 30m
         > - offset g t1:0
         fetch all
         > fetched t1:1=5",
    );
}

#[test]
fn an_empty_group_without_offsets_is_forgotten_at_the_next_check() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         list
         > groups g(Empty classic consumer)
         after 10m
         > - group g
         list
         > groups",
    );
}

#[test]
fn a_group_that_has_given_out_an_id_is_not_forgotten() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         after 595s
         join a fresh once
         > a: MEMBER_ID_REQUIRED as a.2
         after 5s
         join a once
         > a: joined 3 range as a.2 leader of [a.2]
         describe
         > g is CompletingRebalance consumer/ a.2=nothing",
    );
}

#[test]
fn a_large_sweep_takes_several_ticks() {
    story(
        "set retention=5m sweep=1
         commit - group=a t1:0=1
         > + offset a t1:0=1
         > -: committed t1:0
         commit - group=b t1:0=1
         > + offset b t1:0=1
         > -: committed t1:0
         commit - group=c t1:0=1
         > + offset c t1:0=1
         > -: committed t1:0
         after 10m
         > - offset a t1:0
         > - offset b t1:0
         > - offset c t1:0
         list
         > groups",
    );
}

#[test]
fn a_group_without_members_is_deleted_with_its_offsets() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=5 t2:3=6
         > + offset g t1:0=5
         > + offset g t2:3=6
         > a: committed t1:0 t2:3
         delete
         > deleted g!NON_EMPTY_GROUP
         leave a
         > + group g 2 empty
         > a: left a.1
         delete
         > - offset g t1:0
         > - offset g t2:3
         > - group g
         > deleted g
         list
         > groups
         delete
         > deleted g!GROUP_ID_NOT_FOUND",
    );
}

#[test]
fn deleting_a_group_takes_back_the_ids_it_gave_out() {
    story(
        "commit - t1:0=1
         > + offset g t1:0=1
         > -: committed t1:0
         join a once
         > a: MEMBER_ID_REQUIRED as a.1
         delete
         > - offset g t1:0
         > deleted g
         join a once
         > a: UNKNOWN_MEMBER_ID as a.1
         list
         > groups",
    );
}

#[test]
fn a_group_that_starts_again_after_deletion_starts_at_generation_one() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         delete
         > - group g
         > deleted g
         join a fresh
         > a: joined 1 range as a.2 leader of [a.2]",
    );
}

#[test]
fn groups_are_listed_by_state_and_type() {
    story(
        "commit - group=e t1:0=1
         > + offset e t1:0=1
         > -: committed t1:0
         join a group=s
         > a: joined 1 range as a.1 leader of [a.1]
         sync a group=s a=0
         > + group s 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b group=c
         > b: joined 1 range as b.1 leader of [b.1]
         list
         > groups c(CompletingRebalance classic consumer) e(Empty classic ) s(Stable classic consumer)
         list states=stable,Empty
         > groups e(Empty classic ) s(Stable classic consumer)
         list states=CompletingRebalance types=Classic
         > groups c(CompletingRebalance classic consumer)
         list types=consumer
         > groups",
    );
}

#[test]
fn an_unknown_group_is_dead() {
    story(
        "describe
         > g is Dead GROUP_ID_NOT_FOUND",
    );
}
