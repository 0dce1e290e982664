//! Offsets committed in transactions: when they count, what keeps them from it, who may commit them.

use crate::story::story;

#[test]
fn an_offset_counts_from_the_commit_of_its_transaction_on() {
    story(
        "commit - t1:0=42 in=7
         > + pending 7 g t1:0=42
         > -: committed t1:0
         fetch t1:0
         > fetched t1:0=-1
         fetch t1:0 stable
         > fetched t1:0!UNSTABLE_OFFSET_COMMIT
         end 7 commit
         > + commit of 7
         > ended
         fetch t1:0 stable
         > fetched t1:0=42",
    );
}

#[test]
fn an_aborted_offset_never_was() {
    story(
        "commit - t1:0=1
         > + offset g t1:0=1
         > -: committed t1:0
         commit - t1:0=42 t1:1=5 in=7
         > + pending 7 g t1:0=42
         > + pending 7 g t1:1=5
         > -: committed t1:0 t1:1
         end 7 abort
         > + abort of 7
         > ended
         fetch t1:0 t1:1 stable
         > fetched t1:0=1 t1:1=-1",
    );
}

#[test]
fn pending_offsets_survive_a_restart_and_the_end_comes_after_it() {
    story(
        "commit - t1:0=42 in=7 epoch=3 note=half-way id=5
         > + pending 7 g t1:0=42@3(half-way) id=5
         > -: committed t1:0
         restart
         fetch t1:0 stable id=5
         > fetched t1:0!UNSTABLE_OFFSET_COMMIT
         end 7 commit
         > + commit of 7
         > ended
         restart
         fetch t1:0 stable id=5
         > fetched t1:0=42@3(half-way)",
    );
}

#[test]
fn an_end_without_pending_offsets_leaves_no_record() {
    story(
        "end 7 commit
         > ended
         commit - t1:0=42 in=7
         > + pending 7 g t1:0=42
         > -: committed t1:0
         end 8 abort
         > ended
         end 7 commit
         > + commit of 7
         > ended
         end 7 abort
         > ended
         fetch t1:0
         > fetched t1:0=42",
    );
}

#[test]
fn a_later_commit_outside_of_the_transaction_is_not_undone_by_its_end() {
    story(
        "commit - t1:0=42 in=7
         > + pending 7 g t1:0=42
         > -: committed t1:0
         commit - t1:0=50
         > + offset g t1:0=50
         > -: committed t1:0
         restart
         end 7 commit
         > + commit of 7
         > ended
         fetch t1:0 stable
         > fetched t1:0=50",
    );
}

#[test]
fn of_two_transactions_the_later_commit_counts_whichever_ends_last() {
    story(
        "commit - t1:0=1 in=7
         > + pending 7 g t1:0=1
         > -: committed t1:0
         commit - t1:0=2 in=8
         > + pending 8 g t1:0=2
         > -: committed t1:0
         end 8 commit
         > + commit of 8
         > ended
         fetch t1:0 stable
         > fetched t1:0!UNSTABLE_OFFSET_COMMIT
         restart
         end 7 commit
         > + commit of 7
         > ended
         fetch t1:0 stable
         > fetched t1:0=2",
    );
}

#[test]
fn within_a_transaction_the_last_commit_counts() {
    story(
        "commit - t1:0=1 in=7
         > + pending 7 g t1:0=1
         > -: committed t1:0
         commit - t1:0=2 in=7
         > + pending 7 g t1:0=2
         > -: committed t1:0
         end 7 commit
         > + commit of 7
         > ended
         fetch t1:0
         > fetched t1:0=2",
    );
}

#[test]
fn deleting_an_offset_takes_the_pending_one_with_it() {
    story(
        "commit - t1:0=42 in=7
         > + pending 7 g t1:0=42
         > -: committed t1:0
         forget t1:0
         > - offset g t1:0
         > forgotten t1:0
         end 7 commit
         > ended
         fetch t1:0 stable
         > fetched t1:0=-1
         list
         > groups",
    );
}

#[test]
fn a_deleted_topic_and_a_deleted_group_take_pending_offsets_with_them() {
    story(
        "commit - t1:0=42 t2:0=43 in=7 id=5
         > + pending 7 g t1:0=42 id=5
         > + pending 7 g t2:0=43 id=5
         > -: committed t1:0 t2:0
         drop t1 id=6
         drop t1 id=5
         > - offset g t1:0
         delete
         > - offset g t2:0
         > deleted g
         restart
         end 7 commit
         > ended
         list
         > groups",
    );
}

#[test]
fn a_group_with_pending_offsets_is_not_forgotten_by_retention() {
    story(
        "set retention=1s
         commit - t1:0=1
         > + offset g t1:0=1
         > -: committed t1:0
         commit - t1:0=42 in=7
         > + pending 7 g t1:0=42
         > -: committed t1:0
         sleep 20m
         end 7 abort
         > + abort of 7
         > ended
         sleep 20m
         > - offset g t1:0",
    );
}

#[test]
fn a_member_commits_in_a_transaction_while_its_group_rebalances() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         commit a t1:0=1
         > a: committed t1:0!REBALANCE_IN_PROGRESS
         commit a t1:0=1 in=7
         > + pending 7 g t1:0=1
         > a: committed t1:0
         commit a t1:0=1 in=7 generation=9
         > a: committed t1:0!ILLEGAL_GENERATION
         commit a t1:0=1 in=7 as=stranger
         > a: committed t1:0!UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn a_producer_that_names_no_member_commits_beside_an_active_group() {
    story(
        "join a
         > a: joined 1 range as a.1 leader of [a.1]
         sync a a=0
         > + group g 1 range leader=a.1 a.1=0
         > a: assigned 0
         commit - t1:0=1
         > -: committed t1:0!UNKNOWN_MEMBER_ID
         commit - t1:0=1 in=7
         > + pending 7 g t1:0=1
         > -: committed t1:0",
    );
}

#[test]
fn a_member_of_no_group_is_refused() {
    story(
        "commit - t1:0=1 in=7 generation=3 as=x
         > -: committed t1:0!GROUP_ID_NOT_FOUND
         commit - t1:0=1
         > + offset g t1:0=1
         > -: committed t1:0
         commit - t1:0=1 in=7 generation=3 as=x
         > -: committed t1:0!UNKNOWN_MEMBER_ID",
    );
}

#[test]
fn pending_offsets_have_their_place_within_the_limits() {
    story(
        "set offsets=1
         commit - t1:0=1 in=7
         > + pending 7 g t1:0=1
         > -: committed t1:0
         commit - t1:1=1 in=7
         > -: committed t1:1!INVALID_COMMIT_OFFSET_SIZE
         commit - t1:0=2
         > + offset g t1:0=2
         > -: committed t1:0",
    );
}

#[test]
fn an_end_from_before_the_open_transaction_ends_nothing() {
    story(
        "commit - t1:0=42 in=7/4
         > + pending 7 g t1:0=42
         > -: committed t1:0
         end 7/3 abort
         > INVALID_PRODUCER_EPOCH
         end 7/5 commit
         > + commit of 7
         > ended
         fetch t1:0 stable
         > fetched t1:0=42",
    );
}

#[test]
fn a_member_of_a_consumer_group_commits_in_a_transaction_with_its_epoch() {
    story(
        "topics t1=2
         quiet
         enter a topics=t1
         > a: at 2 has t1:0+1
         commit a t1:0=5 id=1 in=7
         > a: committed t1:0
         commit a t1:0=6 id=1 in=7 generation=9
         > a: committed t1:0!STALE_MEMBER_EPOCH
         commit a t1:0=6 id=1 in=7 as=stranger
         > a: committed t1:0!UNKNOWN_MEMBER_ID
         fetch t1:0 stable
         > fetched t1:0!UNSTABLE_OFFSET_COMMIT
         end 7 commit
         > ended
         fetch t1:0 stable
         > fetched t1:0=5",
    );
}
