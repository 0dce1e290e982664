//! Classic groups become consumer groups and the other way round (KIP-848), while their members go on.

use crate::story::story;

#[test]
fn a_classic_group_becomes_a_consumer_group_and_back() {
    story(
        "
        topics t1=4
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        after 3s
        sync c c=t1:0+1+2+3
        > + group g 1 range leader=c.1 c.1=t1:0+1+2+3
        > c: assigned t1:0+1+2+3
        enter a topics=t1
        > - group g
        > + g epoch 1
        > + g member c.1 topics=t1 classic=yes
        > + g targets at 1
        > + g target c.1 t1:0+1+2+3
        > + g current c.1 1 after 1 stable t1:0@1,t1:1@1,t1:2@1,t1:3@1 revokes -
        > + g member a.1 topics=t1
        > + g epoch 2
        > + g target a.1 t1:2+3
        > + g target c.1 t1:0+1
        > + g targets at 2
        > + g current a.1 2 after 0 unreleased - revokes -
        > a: at 2 has -
        beat c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1 owned=t1:0+1+2+3
        > + g member c.1 topics=t1 classic=yes
        > + g current c.1 1 after 1 unrevoked t1:0@1,t1:1@1 revokes t1:2@1,t1:3@1
        > c: joined 1 range as c.1 follower of
        sync c
        > c: assigned t1:0+1
        hb a
        > + g current a.1 2 after 2 unreleased - revokes -
        > a: at 2
        beat c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1 owned=t1:0+1
        > + g member c.1 topics=t1 classic=yes
        > + g current c.1 2 after 1 stable t1:0@1,t1:1@1 revokes -
        > c: joined 2 range as c.1 follower of
        sync c
        > c: assigned t1:0+1
        hb a
        > + g current a.1 2 after 2 stable t1:2@2,t1:3@2 revokes -
        > a: at 2 has t1:2+3
        view
        > Stable 2/2 uniform a.1@2 t1:2+3; c.1@2 t1:0+1;
        exit a
        > - g current a.1
        > - g current c.1
        > - g target a.1
        > - g target c.1
        > - g targets
        > - g member a.1
        > - g member c.1
        > - g epoch
        > + group g 2 range leader=c.1 c.1=t1:0+1
        > a: at -1
        beat c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1 owned=t1:0+1
        > c: joined 3 range as c.1 leader of [c.1]
        sync c c=t1:0+1+2+3
        > + group g 3 range leader=c.1 c.1=t1:0+1+2+3
        > c: assigned t1:0+1+2+3
        ",
    );
}

#[test]
fn an_eager_member_gives_up_everything_by_joining() {
    story(
        "
        quiet
        topics t1=4
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        after 3s
        sync c c=t1:0+1+2+3
        > c: assigned t1:0+1+2+3
        enter a topics=t1
        > a: at 2 has -
        beat c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1
        > c: joined 2 range as c.1 follower of
        sync c
        > c: assigned t1:0+1
        hb a
        > a: at 2 has t1:2+3
        view
        > Stable 2/2 uniform a.1@2 t1:2+3; c.1@2 t1:0+1;
        ",
    );
}

#[test]
fn members_commit_in_a_mixed_group() {
    story(
        "
        quiet
        topics t1=2
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        enter a topics=t1
        > a: at 2 has -
        commit c t1:0=5 id=1
        > c: committed t1:0
        commit c t1:0=6 id=1 v=7
        > c: committed t1:0
        commit c t1:0=7 id=1 generation=7
        > c: committed t1:0!ILLEGAL_GENERATION
        join c topics=t1
        > c: joined 2 range as c.1 follower of
        sync c
        > c: assigned t1:0
        hb a
        > a: at 2 has t1:1
        commit c t1:0=7 id=1 generation=1
        > c: committed t1:0
        commit a t1:1=8 id=1 v=7
        > a: committed t1:1!UNSUPPORTED_VERSION
        describe
        > g is Dead GROUP_ID_NOT_FOUND
        list
        > groups g(Stable consumer consumer)
        ",
    );
}

#[test]
fn without_a_policy_nothing_migrates() {
    story(
        "
        quiet
        set migration=disabled
        topics t1=2
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        enter a topics=t1
        > a: GROUP_ID_NOT_FOUND
        enter b topics=t1 group=h
        > b: at 2 has t1:0+1
        join d topics=t1 group=h
        > d: INCONSISTENT_GROUP_PROTOCOL as nobody
        list
        > groups g(Stable classic consumer) h(Stable consumer consumer)
        ",
    );
}

#[test]
fn an_upgrade_alone_does_not_go_back() {
    story(
        "
        quiet
        set migration=upgrade
        topics t1=2
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        enter a topics=t1
        > a: at 2 has -
        exit a
        > a: at -1
        list
        > groups g(Assigning consumer consumer)
        join c topics=t1
        > c: joined 2 range as c.1 follower of
        sync c
        > c: assigned t1:0
        ",
    );
}

#[test]
fn a_downgrade_alone_does_not_go_forth() {
    story(
        "
        quiet
        set migration=downgrade
        topics t1=2
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        enter a topics=t1
        > a: GROUP_ID_NOT_FOUND
        enter b topics=t1 group=h
        > b: at 2 has t1:0+1
        join d topics=t1 group=h
        > d: joined 2 range as d.1 follower of
        sync d group=h
        > d: assigned none
        exit b group=h
        > b: at -1
        list
        > groups g(Stable classic consumer) h(PreparingRebalance classic consumer)
        ",
    );
}

#[test]
fn what_cannot_be_understood_is_not_upgraded() {
    story(
        "
        quiet
        topics t1=2
        join c type=connect raw=bytes group=connect
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=1 group=connect
        > c: assigned 1
        enter a topics=t1 group=connect
        > a: GROUP_ID_NOT_FOUND
        join d raw=bytes group=odd
        > d: joined 1 range as d.1 leader of [d.1]
        sync d d=t1:0 group=odd
        > d: assigned t1:0
        enter a topics=t1 group=odd fresh
        > a: GROUP_ID_NOT_FOUND
        join e topics=t1 group=own
        > e: joined 1 range as e.1 leader of [e.1]
        sync e e=whatever group=own
        > e: assigned whatever
        enter a topics=t1 group=own fresh
        > a: GROUP_ID_NOT_FOUND
        list
        > groups connect(Stable classic connect) odd(Stable classic consumer) own(Stable classic consumer)
        ",
    );
}

#[test]
fn an_upgrade_in_the_middle_of_a_rebalance_sends_everybody_back() {
    story(
        "
        quiet
        set delay=3s
        topics t1=2
        join c topics=t1
        enter a topics=t1
        > c: REBALANCE_IN_PROGRESS as c.1
        > a: at 1 has t1:0
        join c topics=t1
        > c: joined 1 range as c.1 follower of
        sync c
        > c: assigned t1:1
        view
        > Stable 1/1 uniform a.1@1 t1:0; c.1@1 t1:1;
        ",
    );
}

#[test]
fn an_empty_group_takes_the_protocol_of_whoever_comes_next() {
    story(
        "
        topics t1=2
        enter a topics=t1
        > + g epoch 1
        > + g member a.1 topics=t1
        > + g epoch 2
        > + g target a.1 t1:0+1
        > + g targets at 2
        > + g current a.1 2 after 0 stable t1:0@2,t1:1@2 revokes -
        > a: at 2 has t1:0+1
        exit a
        > - g current a.1
        > - g target a.1
        > - g member a.1
        > + g epoch 3
        > + g targets at 3
        > a: at -1
        join c topics=t1
        > - g targets
        > - g epoch
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > + group g 1 range leader=c.1 c.1=t1:0+1
        > c: assigned t1:0+1
        leave c
        > + group g 2 empty
        > c: left c.1
        enter a topics=t1
        > - group g
        > + g epoch 1
        > + g member a.1 topics=t1
        > + g epoch 2
        > + g target a.1 t1:0+1
        > + g targets at 2
        > + g current a.1 2 after 0 stable t1:0@2,t1:1@2 revokes -
        > a: at 2 has t1:0+1
        ",
    );
}

#[test]
fn offsets_stay_when_the_protocol_changes() {
    story(
        "
        quiet
        topics t1=2
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        commit c t1:0=5
        > c: committed t1:0
        leave c
        > c: left c.1
        enter a topics=t1
        > a: at 2 has t1:0+1
        fetch all
        > fetched t1:0=5
        exit a
        > a: at -1
        join c topics=t1 fresh
        > c: joined 1 range as c.2 leader of [c.2]
        fetch all
        > fetched t1:0=5
        ",
    );
}

#[test]
fn a_classic_member_learns_its_id_first_in_a_consumer_group() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        join c topics=t1 once
        > c: MEMBER_ID_REQUIRED as c.1
        join c topics=t1
        > c: joined 2 range as c.1 follower of
        sync c
        > c: assigned none
        view
        > Assigning 3/2 uniform a.1@2 t1:0+1; c.1@2 -;
        ",
    );
}

#[test]
fn a_classic_member_with_other_protocols_is_refused() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        join c topics=t1 protocols=range
        > c: joined 2 range as c.1 follower of
        join d topics=t1 protocols=roundrobin
        > d: INCONSISTENT_GROUP_PROTOCOL as nobody
        join e topics=t1 type=connect
        > e: INCONSISTENT_GROUP_PROTOCOL as nobody
        join f raw=bytes
        > f: INCONSISTENT_GROUP_PROTOCOL as nobody
        view
        > Assigning 3/2 uniform a.1@2 t1:0+1; c.1@2 -;
        ",
    );
}

#[test]
fn a_classic_member_is_checked_as_in_a_classic_group() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        join c topics=t1 instance=i
        > c: joined 2 range as i.1 follower of
        sync c generation=9
        > c: ILLEGAL_GENERATION
        sync c protocol=sticky
        > c: INCONSISTENT_GROUP_PROTOCOL
        sync c type=connect
        > c: INCONSISTENT_GROUP_PROTOCOL
        sync c as=x
        > c: FENCED_INSTANCE_ID
        sync c
        > c: assigned none
        beat c generation=9
        > c: ILLEGAL_GENERATION
        beat c as=x
        > c: FENCED_INSTANCE_ID
        beat c
        > c: ok
        beat a as=a.1 generation=2
        > a: UNKNOWN_MEMBER_ID
        sync a as=a.1 generation=2
        > a: UNKNOWN_MEMBER_ID
        leave c as=x
        > c: left x@i!FENCED_INSTANCE_ID
        leave i=j
        > left @j!UNKNOWN_MEMBER_ID
        leave i=i
        > left @i
        view
        > Assigning 4/2 uniform a.1@2 t1:0+1;
        ",
    );
}

#[test]
fn a_classic_member_that_falls_silent_is_fenced() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        after 2s
        join c topics=t1 session=10s
        > c: joined 3 range as c.1 follower of
        sync c
        > c: assigned none
        hb a
        > a: at 2 has t1:0
        hb a owned
        > a: at 3
        after 9s
        beat c
        > c: REBALANCE_IN_PROGRESS
        hb a
        > a: at 3
        after 9s
        beat c
        > c: REBALANCE_IN_PROGRESS
        hb a
        > a: at 3
        after 10s
        hb a
        > a: at 4 has t1:0+1
        view
        > Stable 4/4 uniform a.1@4 t1:0+1;
        ",
    );
}

#[test]
fn a_classic_member_that_does_not_sync_in_time_is_fenced() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        after 2s
        join c topics=t1 session=30s rebalance=20s
        > c: joined 3 range as c.1 follower of
        after 15s
        beat c
        > c: ok
        after 5s
        view
        > Assigning 4/3 uniform a.1@2 t1:0+1 of t1:0;
        ",
    );
}

#[test]
fn a_classic_member_that_does_not_rejoin_in_time_is_fenced() {
    story(
        "
        quiet
        topics t1=2
        join c topics=t1 session=30s rebalance=20s
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        enter a topics=t1
        > a: at 2 has -
        beat c
        > c: REBALANCE_IN_PROGRESS
        after 15s
        beat c
        > c: REBALANCE_IN_PROGRESS
        after 5s
        view
        > Assigning 3/2 uniform a.1@2 - of t1:1;
        hb a
        > a: at 3 has t1:0+1
        ",
    );
}

#[test]
fn a_static_member_changes_its_protocol() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1 instance=i
        > a: at 2 has t1:0+1
        enter b topics=t1
        > b: at 2 has -
        after 2s
        join c topics=t1 instance=i
        > c: joined 3 range as i.2 follower of
        sync c
        > c: assigned t1:0
        view
        > Reconciling 3/3 uniform b.1@2 - of t1:1; i.2@3 t1:0;
        hb a epoch=2
        > a: FENCED_INSTANCE_ID
        enter d topics=t1 instance=i
        > d: at 3 has t1:0
        view
        > Reconciling 3/3 uniform b.1@2 - of t1:1; i.3@3 t1:0;
        ",
    );
}

#[test]
fn the_last_member_of_the_new_protocol_is_replaced_by_a_classic_one() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1 instance=i
        > a: at 2 has t1:0+1
        join c topics=t1 instance=i
        > c: joined 2 range as i.2 follower of
        list
        > groups g(PreparingRebalance classic consumer)
        sync c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1 instance=i
        > c: joined 3 range as i.2 leader of [i.2@i]
        sync c c=t1:0+1
        > c: assigned t1:0+1
        list
        > groups g(Stable classic consumer)
        ",
    );
}

#[test]
fn a_mixed_group_survives_a_restart() {
    story(
        "
        quiet
        topics t1=4
        join c topics=t1
        > c: joined 1 range as c.1 leader of [c.1]
        sync c c=t1:0+1+2+3
        > c: assigned t1:0+1+2+3
        enter a topics=t1
        > a: at 2 has -
        beat c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1 owned=t1:0+1+2+3
        > c: joined 1 range as c.1 follower of
        restart
        sync c
        > c: assigned t1:0+1
        beat c
        > c: REBALANCE_IN_PROGRESS
        join c topics=t1 owned=t1:0+1
        > c: joined 2 range as c.1 follower of
        sync c
        > c: assigned t1:0+1
        hb a
        > a: at 2 has t1:2+3
        view
        > Stable 2/2 uniform a.1@2 t1:2+3; c.1@2 t1:0+1;
        after 10s
        hb a
        > a: at 3 has t1:0+1+2+3
        view
        > Stable 3/3 uniform a.1@3 t1:0+1+2+3;
        list
        > groups g(Stable consumer consumer)
        ",
    );
}

#[test]
fn a_full_consumer_group_takes_no_classic_member() {
    story(
        "
        quiet
        set consumers=1
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        join c topics=t1
        > c: GROUP_MAX_SIZE_REACHED as nobody
        ",
    );
}
