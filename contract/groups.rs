//! Consumer groups: members and their partitions, committed offsets, resetting and deleting.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use client::groups::Committed;
use client::{Consumer, ErrorKind, Event};
use wire::ErrorCode;

use crate::subject::{Subject, contract, eventually};
use crate::traffic::{PATIENCE, produce_values};

contract! {
    BOTH:
        a_group_goes_on_where_it_committed,
        a_group_is_described_with_its_members,
        a_record_goes_to_one_member_of_a_group,
        each_group_gets_every_record,
        offsets_are_reset_only_while_nobody_is_there,
        a_group_is_deleted_with_its_offsets,
        an_unknown_group_is_not_found,
}

/// A member that begins at the first record and commits when it is told to.
fn member(subject: &Subject, group: &str, topic: &str) -> Consumer {
    let properties = [
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
    ];
    let consumer = subject.cluster.consumer(&properties);
    let consumer = consumer.expect("valid properties");
    consumer.subscribe(&[topic]).expect("the topic is there");
    consumer
}

/// Polls until there are `count` records; each is marked as processed.
fn take(consumer: &Consumer, count: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut values = Vec::new();
    while values.len() < count {
        assert!(
            Instant::now() < deadline,
            "only {values:?}; {:?}",
            consumer.last_problem()
        );
        if let Some(value) = poll(consumer) {
            values.push(value);
        }
    }
    values
}

fn poll(consumer: &Consumer) -> Option<String> {
    let event = consumer.poll(Duration::from_millis(100));
    let Some(Event::Record(record)) = event.expect("reading goes on") else {
        return None;
    };
    consumer.store(&record).expect("it can be marked");
    let value = record.value().unwrap_or_default();
    Some(String::from_utf8_lossy(value).into_owned())
}

async fn a_group_goes_on_where_it_committed(subject: &Subject) {
    let topic = subject.topic("committed", 1).await;
    let group = subject.name("goes-on");
    produce_values(&subject.cluster, &topic, 0, &["a", "b", "c"]);
    let first = member(subject, &group, &topic);
    assert_eq!(take(&first, 2), ["a", "b"]);
    first.commit().expect("the group has a coordinator");
    drop(first);

    let mut admin = subject.admin().await;
    let committed = admin.committed(&group).await.expect("offsets");
    assert_eq!(committed, Committed::from([((topic.clone(), 0), 2)]));
    let second = member(subject, &group, &topic);
    assert_eq!(take(&second, 1), ["c"]);
}

async fn a_group_is_described_with_its_members(subject: &Subject) {
    let topic = subject.topic("described", 2).await;
    let group = subject.name("described");
    let consumer = member(subject, &group, &topic);
    let mut admin = subject.admin().await;
    let described = eventually("a stable group", async || {
        poll(&consumer);
        let described = admin.group(&group).await.ok()?;
        (described.state == "Stable").then_some(described)
    })
    .await;
    assert_eq!(described.members.len(), 1);
    assert_eq!(described.members[0].client_id, "contract");
    assert_eq!(described.members[0].partitions[&topic], [0, 1]);
    let listed = admin.groups().await.expect("a list");
    assert!(
        listed.iter().any(|listed| listed.name == group),
        "{listed:?}"
    );
    drop(consumer);
    eventually("an empty group", async || {
        let described = admin.group(&group).await;
        // A classic group that never committed vanishes with its last member.
        match described {
            Ok(described) => described.members.is_empty().then_some(()),
            Err(error) => (error.kind() == ErrorKind::NotFound).then_some(()),
        }
    })
    .await;
}

async fn a_record_goes_to_one_member_of_a_group(subject: &Subject) {
    let topic = subject.topic("divided", 4).await;
    let group = subject.name("divided");
    let members = [(); 2].map(|()| member(subject, &group, &topic));
    eventually("each member has two partitions", async || {
        members.iter().for_each(|member| drop(poll(member)));
        let counts = members
            .iter()
            .map(|member| member.assigned_partitions().len());
        counts.eq([2, 2]).then_some(())
    })
    .await;
    let values: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    for (partition, values) in (0..4).zip(values.chunks(10)) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        produce_values(&subject.cluster, &topic, partition, &values);
    }
    let [first, second] = members.each_ref().map(|member| take(member, 20));
    let all: BTreeSet<&String> = first.iter().chain(&second).collect();
    assert_eq!(all.len(), 40, "each record once: {first:?} {second:?}");
}

async fn each_group_gets_every_record(subject: &Subject) {
    let topic = subject.topic("shared", 1).await;
    produce_values(&subject.cluster, &topic, 0, &["a", "b"]);
    for stem in ["billing", "shipping"] {
        let consumer = member(subject, &subject.name(stem), &topic);
        assert_eq!(take(&consumer, 2), ["a", "b"], "{stem}");
    }
}

async fn offsets_are_reset_only_while_nobody_is_there(subject: &Subject) {
    let topic = subject.topic("reset", 1).await;
    let group = subject.name("reset");
    produce_values(&subject.cluster, &topic, 0, &["a", "b", "c"]);
    let consumer = member(subject, &group, &topic);
    take(&consumer, 3);
    consumer.commit().expect("the group has a coordinator");
    let mut admin = subject.admin().await;
    let back = Committed::from([((topic.clone(), 0), 1)]);
    let refused = admin
        .commit(&group, &back)
        .await
        .expect_err("somebody reads");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownMemberId));
    drop(consumer);

    eventually("the member has left", async || {
        admin.commit(&group, &back).await.ok()
    })
    .await;
    let consumer = member(subject, &group, &topic);
    assert_eq!(take(&consumer, 2), ["b", "c"]);
}

async fn a_group_is_deleted_with_its_offsets(subject: &Subject) {
    let topic = subject.topic("deleted", 1).await;
    let group = subject.name("deleted");
    produce_values(&subject.cluster, &topic, 0, &["a"]);
    let consumer = member(subject, &group, &topic);
    take(&consumer, 1);
    consumer.commit().expect("the group has a coordinator");
    let mut admin = subject.admin().await;
    let refused = admin
        .delete_group(&group)
        .await
        .expect_err("it has a member");
    assert_eq!(refused.code(), Some(ErrorCode::NonEmptyGroup));
    drop(consumer);

    eventually("the group can be deleted", async || {
        admin.delete_group(&group).await.ok()
    })
    .await;
    assert!(admin.committed(&group).await.expect("an answer").is_empty());
    let gone = admin.delete_group(&group).await.expect_err("it is gone");
    assert_eq!(gone.code(), Some(ErrorCode::GroupIdNotFound));
}

async fn an_unknown_group_is_not_found(subject: &Subject) {
    let group = subject.name("unknown");
    let mut admin = subject.admin().await;
    let missing = admin.group(&group).await.expect_err("nobody made it");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(admin.committed(&group).await.expect("an answer").is_empty());
}
