//! What the members of consumer groups subscribe to, and what they are assigned (KIP-848).

use crate::story::story;

#[test]
fn the_assignor_that_most_members_ask_for_is_used() {
    story(
        "
        quiet
        topics t1=4 t2=4
        enter a topics=t1,t2 assignor=range
        > a: at 2 has t1:0+1+2+3,t2:0+1+2+3
        after 2s
        enter b topics=t1,t2
        > b: at 3 has -
        hb a
        > a: at 2 has t1:0+1,t2:0+1
        hb a owned
        > a: at 3
        hb b
        > b: at 3 has t1:2+3,t2:2+3
        view
        > Stable 3/3 range a.1@3 t1:0+1,t2:0+1; b.1@3 t1:2+3,t2:2+3;
        hb b assignor=uniform
        > b: at 3
        after 2s
        enter c topics=t1,t2 assignor=uniform
        > c: at 5 has -
        view
        > Reconciling 5/5 uniform a.1@3 t1:0+1,t2:0+1 of t1:0+1,t2:0; b.1@3 t1:2+3,t2:2+3 of t1:2+3,t2:2; c.1@5 - of t2:1+3;
        ",
    );
}

#[test]
fn a_regular_expression_matches_whole_names_and_new_topics() {
    story(
        "
        quiet
        topics t1=2 t2=2 xt3=2
        enter a regex=t.*
        > a: at 2 has t1:0+1,t2:0+1
        view
        > Stable 2/2 uniform a.1@2 t1:0+1,t2:0+1;
        topics t1=2 t2=2 xt3=2 t4=1
        after 2s
        hb a
        > a: at 3 has t1:0+1,t2:0+1,t4:0
        topics t1=2
        after 2s
        hb a
        > a: at 3 has t1:0+1
        hb a owned
        > a: at 4
        view
        > Stable 4/4 uniform a.1@4 t1:0+1;
        ",
    );
}

#[test]
fn names_are_given_before_the_matches_of_a_new_expression_beside_them() {
    story(
        "
        quiet
        topics t1=2 t2=1 t3=2
        enter a topics=t3 regex=t[12]
        > a: at 2 has t3:0+1
        after 2s
        hb a owned
        > a: at 3 has t1:0+1,t2:0,t3:0+1
        hb a owned
        > a: at 3
        restart
        view
        > Stable 3/3 uniform a.1@3 t1:0+1,t2:0,t3:0+1;
        ",
    );
}

#[test]
fn a_regular_expression_goes_with_its_last_member() {
    story(
        r"
        topics t1=1
        enter a regex=t\d
        > + g epoch 1
        > + g member a.1 topics= regex=t\d
        > + g regex t\d t1
        > + g epoch 2
        > + g target a.1 t1:0
        > + g targets at 2
        > + g current a.1 2 after 0 stable t1:0@2 revokes -
        > a: at 2 has t1:0
        after 2s
        hb a regex= topics=t1
        > + g member a.1 topics=t1 regex=
        > - g regex t\d
        > + g epoch 3
        > + g targets at 3
        > + g current a.1 3 after 2 stable t1:0@2 revokes -
        > a: at 3
        after 2s
        hb a regex=\Qt1\E
        > + g member a.1 topics=t1 regex=\Qt1\E
        > + g regex \Qt1\E t1
        > + g epoch 4
        > + g targets at 4
        > + g current a.1 4 after 3 stable t1:0@2 revokes -
        > a: at 4
        exit a
        > - g current a.1
        > - g target a.1
        > - g member a.1
        > - g regex \Qt1\E
        > + g epoch 5
        > + g targets at 5
        > a: at -1
        ",
    );
}

#[test]
fn what_is_not_a_regular_expression_is_refused() {
    story(
        "
        quiet
        topics t1=1
        enter a regex=t(
        > a: INVALID_REGULAR_EXPRESSION
        enter a regex=t1)|(x
        > a: INVALID_REGULAR_EXPRESSION
        list
        > groups
        set regexes=1
        enter a regex=t.
        > a: at 2 has t1:0
        enter b regex=x.
        > b: INVALID_REGULAR_EXPRESSION
        enter b regex=t.
        > b: at 2 has -
        ",
    );
}

#[test]
fn growth_and_deletion_of_topics_make_new_targets() {
    story(
        "
        quiet
        topics t1=2 t2=2
        enter a topics=t1,t2,t3
        > a: at 2 has t1:0+1,t2:0+1
        after 2s
        topics t1=3 t2=2
        hb a
        > a: at 3 has t1:0+1+2,t2:0+1
        after 2s
        topics t1=3 t3=1
        hb a
        > a: at 3 has t1:0+1+2
        hb a owned
        > a: at 4 has t1:0+1+2,t3:0
        view
        > Stable 4/4 uniform a.1@4 t1:0+1+2,t3:0;
        after 2s
        topics t1=3@9 t3=1
        hb a
        > a: at 4 has t3:0
        hb a owned
        > a: at 5 has t3:0,t9:0+1+2
        view
        > Stable 5/5 uniform a.1@5 t3:0,t9:0+1+2;
        after 2s
        topics t1=3@9 t3=1 t5=7
        hb a
        > a: at 5
        ",
    );
}

#[test]
fn a_topic_that_nobody_subscribes_to_any_more_is_given_up_at_once() {
    story(
        "
        quiet
        topics t1=1 t2=1
        enter a topics=t1,t2
        > a: at 2 has t1:0,t2:0
        hb a topics=t1
        > a: at 2 has t1:0
        hb a owned
        > a: at 2
        after 2s
        hb a
        > a: at 3
        view
        > Stable 3/3 uniform a.1@3 t1:0;
        ",
    );
}

#[test]
fn targets_are_made_once_in_a_while() {
    story(
        "
        quiet
        topics t1=3
        enter a topics=t1
        > a: at 2 has t1:0+1+2
        enter b topics=t1
        > b: at 2 has -
        hb a
        > a: at 2
        after 999ms
        hb a
        > a: at 2
        after 1ms
        hb a
        > a: at 2 has t1:0+1
        ",
    );
}

#[test]
fn without_an_interval_targets_are_made_at_once() {
    story(
        "
        quiet
        set interval=0s
        topics t1=2
        enter a topics=t1
        > a: at 2 has t1:0+1
        enter b topics=t1
        > b: at 3 has -
        hb a
        > a: at 2 has t1:0
        ",
    );
}

#[test]
fn members_without_topics_are_members() {
    story(
        "
        quiet
        topics t1=1
        enter a topics=
        > a: at 2 has -
        view
        > Stable 2/2 uniform a.1@2 -;
        enter b topics=t1
        > b: at 2 has -
        after 2s
        hb b
        > b: at 3 has t1:0
        view
        > Reconciling 3/3 uniform a.1@2 -; b.1@3 t1:0;
        ",
    );
}

#[test]
fn a_topic_of_nobody_changes_nothing() {
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
        after 2s
        topics t1=1 t2=5
        hb a
        > a: at 2
        ",
    );
}

#[test]
fn different_subscriptions_are_balanced() {
    story(
        "
        quiet
        topics t1=4 t2=2 t3=6
        enter a topics=t1,t2
        > a: at 2 has t1:0+1+2+3,t2:0+1
        after 2s
        enter b topics=t1,t3
        > b: at 3 has t3:0+1+2+3+4+5
        after 2s
        enter c topics=t1
        > c: at 4 has -
        hb a
        > a: at 2 has t1:0,t2:0+1
        hb a owned
        > a: at 4
        hb b
        > b: at 4
        hb b owned
        > b: at 4
        hb c
        > c: at 4 has t1:1+2+3
        hb b
        > b: at 4
        hb a
        > a: at 4
        view
        > Stable 4/4 uniform a.1@4 t1:0,t2:0+1; b.1@4 t3:0+1+2+3+4+5; c.1@4 t1:1+2+3;
        ",
    );
}

#[test]
fn expressions_are_matched_once_a_second_while_topics_come_and_go() {
    story(
        "
        quiet
        set interval=0s
        topics t1=1
        enter a regex=t.
        > a: at 2 has t1:0
        topics t1=1 t2=1
        hb a
        > a: at 2
        topics t1=2 t2=1
        after 500ms
        hb a
        > a: at 3 has t1:0+1
        after 500ms
        hb a
        > a: at 4 has t1:0+1,t2:0
        ",
    );
}
