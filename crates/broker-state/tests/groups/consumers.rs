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
