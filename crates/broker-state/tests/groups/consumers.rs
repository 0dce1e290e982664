//! Consumer groups (KIP-848): joining, being assigned, giving up, leaving.

use crate::story::story;

#[test]
fn partitions_are_given_up_before_another_member_gets_them() {
    story(
        "
        topics t1=4
        enter a topics=t1
        > + g epoch 1
        > + g member a.1 topics=t1
        > + g epoch 2
        > + g target a.1 t1:0+1+2+3
        > + g targets at 2
        > + g current a.1 2 after 0 stable t1:0@2,t1:1@2,t1:2@2,t1:3@2 revokes -
        > a: at 2 has t1:0+1+2+3
        hb a owned
        > a: at 2
        after 2s
        enter b topics=t1
        > + g member b.1 topics=t1
        > + g epoch 3
        > + g target a.1 t1:0+1
        > + g target b.1 t1:2+3
        > + g targets at 3
        > + g current b.1 3 after 0 unreleased - revokes -
        > b: at 3 has -
        hb a
        > + g current a.1 2 after 2 unrevoked t1:0@2,t1:1@2 revokes t1:2@2,t1:3@2
        > a: at 2 has t1:0+1
        hb b
        > + g current b.1 3 after 3 unreleased - revokes -
        > b: at 3
        hb a owned
        > + g current a.1 3 after 2 stable t1:0@2,t1:1@2 revokes -
        > a: at 3
        hb b
        > + g current b.1 3 after 3 stable t1:2@3,t1:3@3 revokes -
        > b: at 3 has t1:2+3
        view
        > Stable 3/3 uniform a.1@3 t1:0+1; b.1@3 t1:2+3;
        list
        > groups g(Stable consumer consumer)
        ",
    );
}

#[test]
fn the_last_one_to_leave_leaves_an_empty_group_that_can_be_deleted() {
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
        delete
        > deleted g!NON_EMPTY_GROUP
        exit a
        > - g current a.1
        > - g target a.1
        > - g member a.1
        > + g epoch 3
        > + g targets at 3
        > a: at -1
        view
        > Empty 3/3 uniform
        list
        > groups g(Empty consumer consumer)
        describe
        > g is Dead GROUP_ID_NOT_FOUND
        delete
        > - g targets
        > - g epoch
        > deleted g
        ",
    );
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_with_the_epoch_before() {
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
        # the answer to a was lost: it is still at 2
        hb a epoch=2 owned=t1:0+1
        > a: at 3
        hb a epoch=2
        > a: FENCED_MEMBER_EPOCH
        hb a epoch=2 owned=t1:0+1+2
        > a: FENCED_MEMBER_EPOCH
        hb a epoch=1 owned=t1:0
        > a: FENCED_MEMBER_EPOCH
        hb a epoch=4
        > a: FENCED_MEMBER_EPOCH
        ",
    );
}

#[test]
fn a_fenced_member_starts_over_with_epoch_0() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        hb a epoch=9
        > a: FENCED_MEMBER_EPOCH
        enter a topics=t1
        > a: at 2 has t1:0+1
        view
        > Stable 2/2 uniform a.1@2 t1:0+1;
        ",
    );
}

#[test]
fn who_is_not_a_member_is_told_so() {
    story(
        "
        quiet
        topics t1=2
        hb a as=a.9 epoch=3
        > a: GROUP_ID_NOT_FOUND
        exit a as=a.9
        > a: GROUP_ID_NOT_FOUND
        enter a topics=t1
        > a: at 2 has t1:0+1
        hb b as=b.1 epoch=2
        > b: UNKNOWN_MEMBER_ID
        exit b as=b.1
        > b: UNKNOWN_MEMBER_ID
        exit b as=b.1 instance=i static
        > b: UNKNOWN_MEMBER_ID
        hb b as=b.1 epoch=2 instance=i
        > b: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn a_heartbeat_that_makes_no_sense_is_refused() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        hb a as=
        > a: INVALID_REQUEST
        hb a epoch=-3
        > a: INVALID_REQUEST
        exit a static
        > a: INVALID_REQUEST
        hb a rack=
        > a: INVALID_REQUEST
        hb a instance=
        > a: INVALID_REQUEST
        enter b topics=t1 owned=t1:0
        > b: INVALID_REQUEST
        hb c as=c.1 epoch=0 topics=t1 owned=-
        > c: INVALID_REQUEST
        hb c as=c.1 epoch=0 topics=t1 rebalance=60s
        > c: INVALID_REQUEST
        hb c as=c.1 epoch=0 rebalance=60s owned=-
        > c: INVALID_REQUEST
        hb a assignor=sticky
        > a: UNSUPPORTED_ASSIGNOR
        view
        > Stable 2/2 uniform a.1@2 t1:0+1;
        ",
    );
}

#[test]
fn a_silent_member_is_fenced_and_its_partitions_go_to_the_others() {
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
        after 40s
        hb b
        > b: at 3
        after 5s
        view
        > Assigning 4/3 uniform b.1@3 t1:2+3;
        hb b
        > b: at 4 has t1:0+1+2+3
        hb a
        > a: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn who_does_not_give_up_partitions_in_time_is_fenced() {
    story(
        "
        quiet
        topics t1=4
        enter a topics=t1 rebalance=20s
        > a: at 2 has t1:0+1+2+3
        after 2s
        enter b topics=t1
        > b: at 3 has -
        hb a
        > a: at 2 has t1:0+1
        after 10s
        hb a
        > a: at 2
        hb b
        > b: at 3
        after 9s
        hb a owned=t1:0+1+2+3
        > a: at 2
        after 1s
        view
        > Assigning 4/3 uniform b.1@3 - of t1:2+3;
        hb b
        > b: at 4 has t1:0+1+2+3
        hb a
        > a: UNKNOWN_MEMBER_ID
        ",
    );
}

#[test]
fn who_gives_up_in_time_is_not_fenced() {
    story(
        "
        quiet
        topics t1=4
        enter a topics=t1 rebalance=20s
        > a: at 2 has t1:0+1+2+3
        after 2s
        enter b topics=t1
        > b: at 3 has -
        hb a
        > a: at 2 has t1:0+1
        after 10s
        hb a owned
        > a: at 3
        hb b
        > b: at 3 has t1:2+3
        after 12s
        hb a
        > a: at 3
        view
        > Stable 3/3 uniform a.1@3 t1:0+1; b.1@3 t1:2+3;
        ",
    );
}

#[test]
fn a_static_member_that_leaves_for_a_while_gets_its_partitions_back() {
    story(
        "
        topics t1=2
        enter a topics=t1 instance=i
        > + g epoch 1
        > + g member i.1 topics=t1 instance=i
        > + g epoch 2
        > + g target i.1 t1:0+1
        > + g targets at 2
        > + g current i.1 2 after 0 stable t1:0@2,t1:1@2 revokes -
        > a: at 2 has t1:0+1
        after 2s
        exit a static
        > + g current i.1 -2 after 0 stable t1:0@0,t1:1@0 revokes -
        > a: at -2
        view
        > Reconciling 2/2 uniform i.1@-2 t1:0+1;
        enter b topics=t1 instance=i
        > - g current i.1
        > - g target i.1
        > - g member i.1
        > + g member i.2 topics=t1 instance=i
        > + g target i.2 t1:0+1
        > + g current i.2 0 after 0 stable t1:0@0,t1:1@0 revokes -
        > + g member i.2 topics=t1 instance=i
        > + g current i.2 2 after 0 stable t1:0@0,t1:1@0 revokes -
        > b: at 2 has t1:0+1
        view
        > Stable 2/2 uniform i.2@2 t1:0+1;
        hb a epoch=2
        > a: FENCED_INSTANCE_ID
        exit a
        > a: FENCED_INSTANCE_ID
        ",
    );
}

#[test]
fn an_instance_id_that_is_in_use_is_not_given_away() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1 instance=i
        > a: at 2 has t1:0+1
        enter b topics=t1 instance=i
        > b: UNRELEASED_INSTANCE_ID
        hb b as=i.9 epoch=2 instance=i
        > b: FENCED_INSTANCE_ID
        view
        > Stable 2/2 uniform i.1@2 t1:0+1;
        ",
    );
}

#[test]
fn a_static_member_that_does_not_come_back_loses_its_partitions() {
    story(
        "
        quiet
        topics t1=2
        enter a topics=t1 instance=i
        > a: at 2 has t1:0+1
        after 2s
        enter b topics=t1
        > b: at 3 has -
        exit a static
        > a: at -2
        hb b
        > b: at 3
        after 44s
        hb b
        > b: at 4 has t1:0+1
        after 1s
        hb b
        > b: at 4
        view
        > Stable 4/4 uniform b.1@4 t1:0+1;
        ",
    );
}

#[test]
fn a_group_that_is_full_refuses_newcomers_and_keeps_its_members() {
    story(
        "
        quiet
        set consumers=2
        topics t1=4
        enter a topics=t1 instance=i
        > a: at 2 has t1:0+1+2+3
        enter b topics=t1
        > b: at 2 has -
        enter c topics=t1
        > c: GROUP_MAX_SIZE_REACHED
        hb b
        > b: at 2
        exit a static
        > a: at -2
        enter d topics=t1 instance=i
        > d: at 2 has t1:0+1+2+3
        ",
    );
}

#[test]
fn no_more_groups_than_there_may_be() {
    story(
        "
        quiet
        set groups=1
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        enter b topics=t1 group=h
        > b: GROUP_MAX_SIZE_REACHED
        ",
    );
}

#[test]
fn groups_are_listed_by_type_and_state() {
    story(
        "
        quiet
        topics t1=1
        enter a topics=t1
        > a: at 2 has t1:0
        join c group=classic
        > c: joined 1 range as c.1 leader of [c.1]
        list types=consumer
        > groups g(Stable consumer consumer)
        list types=Classic
        > groups classic(CompletingRebalance classic consumer)
        list states=stable
        > groups g(Stable consumer consumer)
        list states=Assigning,Reconciling
        > groups
        enter b topics=t1
        > b: at 2 has -
        list states=assigning
        > groups g(Assigning consumer consumer)
        ",
    );
}

#[test]
fn a_restart_in_the_middle_of_a_rebalance_loses_nothing() {
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
        restart
        view
        > Reconciling 3/3 uniform a.1@2 t1:0+1+2+3 of t1:0+1; b.1@3 - of t1:2+3;
        hb b
        > b: at 3
        hb a owned
        > a: at 3
        hb b
        > b: at 3 has t1:2+3
        after 44s
        view
        > Stable 3/3 uniform a.1@3 t1:0+1; b.1@3 t1:2+3;
        after 1s
        view
        > Empty 4/4 uniform
        ",
    );
}

#[test]
fn a_restart_gives_whoever_must_give_up_its_time_again() {
    story(
        "
        quiet
        topics t1=4
        enter a topics=t1 rebalance=20s
        > a: at 2 has t1:0+1+2+3
        after 2s
        enter b topics=t1
        > b: at 3 has -
        hb a
        > a: at 2 has t1:0+1
        after 15s
        restart
        after 19s
        hb a
        > a: at 2
        hb b
        > b: at 3
        after 1s
        view
        > Assigning 4/3 uniform b.1@3 - of t1:2+3;
        ",
    );
}

#[test]
fn racks_and_hosts_are_told() {
    story(
        "
        topics t1=1
        enter a topics=t1 rack=r1
        > + g epoch 1
        > + g member a.1 topics=t1 rack=r1
        > + g epoch 2
        > + g target a.1 t1:0
        > + g targets at 2
        > + g current a.1 2 after 0 stable t1:0@2 revokes -
        > a: at 2 has t1:0
        hb a rack=r2
        > + g member a.1 topics=t1 rack=r2
        > a: at 2
        ",
    );
}

#[test]
fn after_a_restart_the_configuration_of_the_group_counts() {
    story(
        "
        quiet
        set silence=9m
        topics t1=1
        enter a topics=t1
        > a: at 2 has t1:0
        restart
        after 8m
        view
        > Stable 2/2 uniform a.1@2 t1:0;
        after 1m
        view
        > Empty 3/3 uniform
        ",
    );
}
