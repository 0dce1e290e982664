//! Offsets of consumer groups (KIP-848): who may commit and fetch them, and when they end.

use crate::story::story;

#[test]
fn members_commit_and_fetch_at_their_epoch() {
    story(
        "
        quiet
        topics t1=4
        enter a topics=t1
        > a: at 2 has t1:0+1+2+3
        commit a t1:0=5 id=1
        > a: committed t1:0
        commit a t1:0=5 id=1 generation=3
        > a: committed t1:0!STALE_MEMBER_EPOCH
        commit a t1:0=6 id=1 v=8
        > a: committed t1:0!UNSUPPORTED_VERSION
        commit - t1:0=7 id=1
        > -: committed t1:0!UNKNOWN_MEMBER_ID
        commit x t1:0=7 id=1 as=x.1 generation=2
        > x: committed t1:0!UNKNOWN_MEMBER_ID
        fetch t1:0 as=a.1 epoch=2
        > fetched t1:0=5
        fetch t1:0 as=a.1 epoch=1
        > STALE_MEMBER_EPOCH
        fetch t1:0 as=x.1 epoch=1
        > UNKNOWN_MEMBER_ID
        fetch t1:0
        > fetched t1:0=5
        fetch t1:0 epoch=2
        > UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn a_member_that_is_behind_commits_what_it_has_had_since() {
    story(
        "
        quiet
        topics t1=4
        enter a topics=t1
        > a: at 2 has t1:0+1+2+3
        after 2s
        enter b topics=t1
        > b: at 3 has -
        hb a
        > a: at 2 has t1:0+1
        hb a owned
        > a: at 3
        hb b
        > b: at 3 has t1:2+3
        commit a t1:0=5 id=1 generation=2
        > a: committed t1:0
        commit a t1:2=5 id=1 generation=2
        > a: committed t1:2!STALE_MEMBER_EPOCH
        commit b t1:2=5 id=1 generation=2
        > b: committed t1:2!STALE_MEMBER_EPOCH
        commit b t1:2=5 id=1
        > b: committed t1:2
        ",
    );
}

#[test]
fn offsets_of_subscribed_topics_are_kept_and_others_may_be_deleted() {
    story(
        "
        quiet
        topics t1=1 t2=1
        enter a topics=t1
        > a: at 2 has t1:0
        commit a t1:0=5 t2:0=6
        > a: committed t1:0 t2:0
        forget t1:0
        > forgotten t1:0!GROUP_SUBSCRIBED_TO_TOPIC
        forget t2:0
        > forgotten t2:0
        fetch all
        > fetched t1:0=5
        exit a
        > a: at -1
        commit - t1:0=9
        > -: committed t1:0
        forget t1:0
        > forgotten t1:0
        fetch all
        > fetched
        ",
    );
}

#[test]
fn offsets_expire_where_nobody_subscribes() {
    story(
        "
        quiet
        set retention=10m silence=2h
        topics t1=1 t2=1
        enter a topics=t1
        > a: at 2 has t1:0
        commit a t1:0=5 t2:0=6
        > a: committed t1:0 t2:0
        after 30m
        fetch all
        > fetched t1:0=5
        exit a
        > a: at -1
        after 30m
        fetch all
        > fetched
        list
        > groups
        ",
    );
}

#[test]
fn an_empty_group_without_offsets_is_forgotten() {
    story(
        "
        set retention=1d
        quiet
        topics t1=1
        enter a topics=t1
        > a: at 2 has t1:0
        commit a t1:0=5
        > a: committed t1:0
        exit a
        > a: at -1
        after 23h
        list
        > groups g(Empty consumer consumer)
        after 2h
        list
        > groups
        fetch all
        > fetched
        ",
    );
}

#[test]
fn a_group_with_offsets_is_deleted_with_them() {
    story(
        "
        topics t1=1
        enter a topics=t1
        > + g epoch 1
        > + g member a.1 topics=t1
        > + g epoch 2
        > + g target a.1 t1:0
        > + g targets at 2
        > + g current a.1 2 after 0 stable t1:0@2 revokes -
        > a: at 2 has t1:0
        commit a t1:0=5
        > + offset g t1:0=5
        > a: committed t1:0
        exit a
        > - g current a.1
        > - g target a.1
        > - g member a.1
        > + g epoch 3
        > + g targets at 3
        > a: at -1
        delete
        > - offset g t1:0
        > - g targets
        > - g epoch
        > deleted g
        ",
    );
}
