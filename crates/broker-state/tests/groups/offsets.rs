//! Committed offsets: who may commit, what is read back, what deletes them.

use crate::story::story;

#[test]
fn a_committed_offset_is_read_back_with_all_that_was_said() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=42 t1:1=7 epoch=3 note=half-way id=5
         > + offset g t1:0=42@3(half-way) id=5
         > + offset g t1:1=7@3(half-way) id=5
         > a: committed t1:0 t1:1
         fetch t1:0 t1:1 t1:2 id=5
         > fetched t1:0=42@3(half-way) t1:1=7@3(half-way) t1:2=-1
         fetch all
         > fetched t1:0=42@3(half-way) t1:1=7@3(half-way)",
    );
}

#[test]
fn a_later_commit_wins_even_if_it_is_smaller() {
    story(
        "commit - t1:0=42
         > + offset g t1:0=42
         > -: committed t1:0
         commit - t1:0=9
         > + offset g t1:0=9
         > -: committed t1:0
         fetch t1:0
         > fetched t1:0=9",
    );
}

#[test]
fn a_group_that_nobody_knows_has_no_offsets() {
    story(
        "fetch t1:0
         > fetched t1:0=-1
         fetch all
         > fetched
         list
         > groups",
    );
}

#[test]
fn a_consumer_without_a_group_protocol_commits_to_a_group_of_its_own() {
    story(
        "commit - t1:0=42
         > + offset g t1:0=42
         > -: committed t1:0
         describe
         > g is Empty /
         list
         > groups g(Empty classic )
         commit - t1:0=43 generation=0 as=x
         > -: committed t1:0!UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_simple_commit_to_an_active_group_is_refused() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit - t1:0=42
         > -: committed t1:0!UNKNOWN_MEMBER_ID
         leave a
         > + group g 2 empty
         > a: left a.1
         commit - t1:0=42
         > + offset g t1:0=42
         > -: committed t1:0",
    );
}

#[test]
fn a_simple_commit_is_refused_while_the_first_member_joins() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         commit - t1:0=42
         > -: committed t1:0!UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_commit_needs_a_member_of_the_current_generation() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=1 generation=0
         > a: committed t1:0!ILLEGAL_GENERATION
         commit a t1:0=1 generation=2
         > a: committed t1:0!ILLEGAL_GENERATION
         commit a t1:0=1 as=b.1
         > a: committed t1:0!UNKNOWN_MEMBER_ID
         commit a t1:0=1 instance=box
         > a: committed t1:0!UNKNOWN_MEMBER_ID
         commit a t1:0=1
         > + offset g t1:0=1
         > a: committed t1:0",
    );
}

#[test]
fn a_commit_of_a_generation_to_an_unknown_group_is_refused() {
    story(
        "commit a t1:0=1 as=a.1 generation=1
         > a: committed t1:0!GROUP_ID_NOT_FOUND
         list
         > groups",
    );
}

#[test]
fn a_commit_of_a_member_to_an_empty_group_is_refused() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         leave a
         > + group g 2 empty
         > a: left a.1
         commit a t1:0=1 as=a.1 generation=1
         > a: committed t1:0!UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_member_commits_while_the_others_join() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         join b
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0
         join a
         > a: joined 2 range as a.1 leader of [a.1 b.1]
         > b: joined 2 range as b.1 follower of a.1",
    );
}

#[test]
fn a_member_waits_with_its_commit_until_it_has_its_assignment() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         commit a t1:0=5
         > a: committed t1:0!REBALANCE_IN_PROGRESS
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0",
    );
}

#[test]
fn a_commit_keeps_the_session() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         after 9s
         commit a t1:0=5
         > + offset g t1:0=5
         > a: committed t1:0
         after 9s
         beat a
         > a: ok",
    );
}

#[test]
fn a_note_that_is_too_long_fails_its_partition_alone() {
    story(
        "set metadata=4
         commit - t1:0=1 note=long-note
         > -: committed t1:0!OFFSET_METADATA_TOO_LARGE
         commit - t1:0=1 note=four
         > + offset g t1:0=1(four)
         > -: committed t1:0
         commit - t1:0=1 note=ñññé
         > + offset g t1:0=1(ñññé)
         > -: committed t1:0
         fetch t1:0
         > fetched t1:0=1(ñññé)",
    );
}

#[test]
fn a_group_holds_a_limited_number_of_offsets() {
    story(
        "set offsets=2
         commit - t1:0=1 t1:1=1 t1:2=1
         > + offset g t1:0=1
         > + offset g t1:1=1
         > -: committed t1:0 t1:1 t1:2!INVALID_COMMIT_OFFSET_SIZE
         commit - t1:0=2 t1:1=2
         > + offset g t1:0=2
         > + offset g t1:1=2
         > -: committed t1:0 t1:1
         fetch all
         > fetched t1:0=2 t1:1=2",
    );
}

#[test]
fn offsets_of_another_incarnation_of_the_topic_are_not_shown() {
    story(
        "commit - t1:0=42 id=1
         > + offset g t1:0=42 id=1
         > -: committed t1:0
         fetch t1:0 id=1
         > fetched t1:0=42
         fetch t1:0 id=2
         > fetched t1:0=-1
         fetch t1:0
         > fetched t1:0=42",
    );
}

#[test]
fn deleted_topics_take_their_offsets_along() {
    story(
        "commit - t1:0=1 t1:1=1 t2:0=1 id=1
         > + offset g t1:0=1 id=1
         > + offset g t1:1=1 id=1
         > + offset g t2:0=1 id=1
         > -: committed t1:0 t1:1 t2:0
         commit - group=h t1:0=1 id=1
         > + offset h t1:0=1 id=1
         > -: committed t1:0
         drop t1 id=1
         > - offset g t1:0
         > - offset g t1:1
         > - offset h t1:0
         fetch all
         > fetched t2:0=1
         list
         > groups g(Empty classic )",
    );
}

#[test]
fn a_topic_of_the_same_name_keeps_its_offsets_when_the_older_one_is_deleted() {
    story(
        "commit - t1:0=1 id=2
         > + offset g t1:0=1 id=2
         > -: committed t1:0
         commit - t1:1=1
         > + offset g t1:1=1
         > -: committed t1:1
         drop t1 id=1
         > - offset g t1:1
         fetch all
         > fetched t1:0=1",
    );
}

#[test]
fn offsets_of_an_empty_group_can_be_deleted() {
    story(
        "commit - t1:0=1 t1:1=2
         > + offset g t1:0=1
         > + offset g t1:1=2
         > -: committed t1:0 t1:1
         forget t1:0 t1:7
         > - offset g t1:0
         > forgotten t1:0 t1:7
         fetch all
         > fetched t1:1=2",
    );
}

#[test]
fn offsets_of_an_unknown_group_cannot_be_deleted() {
    story(
        "forget t1:0
         > GROUP_ID_NOT_FOUND",
    );
}

#[test]
fn a_subscription_that_cannot_be_read_protects_every_topic() {
    story(
        "join a raw=hello
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit a t1:0=1
         > + offset g t1:0=1
         > a: committed t1:0
         forget t1:0
         > forgotten t1:0!GROUP_SUBSCRIBED_TO_TOPIC",
    );
}

#[test]
fn offsets_of_active_workers_cannot_be_deleted() {
    story(
        "join w type=connect protocols=default
         > w: joined 1 default as w.1 leader of [w.1]
         sync w w=task
         > + group g 1 default leader=w.1 w.1=task
         > w: assigned task
         commit w t1:0=1
         > + offset g t1:0=1
         > w: committed t1:0
         forget t1:0
         > NON_EMPTY_GROUP",
    );
}

#[test]
fn offsets_of_a_group_that_only_gave_out_an_id_can_be_deleted() {
    story(
        "commit - t1:0=1
         > + offset g t1:0=1
         > -: committed t1:0
         join a once
         > a: MEMBER_ID_REQUIRED as a.1
         forget t1:0
         > - offset g t1:0
         > forgotten t1:0",
    );
}
