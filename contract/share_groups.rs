//! Share groups (KIP-932) by the platform's own member: each record to one member at a time, acknowledged one by one.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Acknowledge, ErrorKind, ShareMember, SharedRecord};

use crate::subject::{Subject, contract, eventually};
use crate::traffic::produce_values;

contract! {
    BOTH:
        members_share_a_partition_and_each_record_goes_to_one,
        a_released_record_comes_again_and_a_rejected_one_does_not,
        what_was_not_acknowledged_is_there_for_the_next_member,
        a_record_that_is_not_held_cannot_be_acknowledged;
}

/// A member that is under way: a group begins at what is written after it came, so records are written until one arrives.
async fn join(subject: &Subject, group: &str, topic: &str) -> ShareMember {
    let member = subject.cluster.share_member(group, &[topic]);
    let member = member.expect("a runtime");
    eventually("the first record", async || {
        produce_values(&subject.cluster, topic, 0, &["warm-up"]);
        let taken = member.take(100, Duration::from_secs(2)).await.ok()?;
        settle(&member, &taken, Acknowledge::Accept).await;
        (!taken.is_empty()).then_some(())
    })
    .await;
    member
}

/// Takes until there are `count` records beside those that [`join`] wrote.
async fn take(member: &ShareMember, count: usize) -> Vec<SharedRecord> {
    let mut wanted = Vec::new();
    eventually(&format!("{count} records"), async || {
        let taken = member
            .take(1, Duration::from_secs(5))
            .await
            .unwrap_or_default();
        let (warm_up, taken): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .partition(|taken| value(taken) == "warm-up");
        settle(member, &warm_up, Acknowledge::Accept).await;
        wanted.extend(taken);
        (wanted.len() >= count).then_some(())
    })
    .await;
    wanted
}

fn value(taken: &SharedRecord) -> String {
    let value = taken.record.value.as_deref().unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn values(taken: &[SharedRecord]) -> Vec<String> {
    taken.iter().map(value).collect()
}

/// Acknowledges records that are held, all in the same way.
async fn settle(member: &ShareMember, taken: &[SharedRecord], how: Acknowledge) {
    let place = |taken: &SharedRecord| {
        (
            taken.topic.to_string(),
            taken.partition,
            taken.record.offset,
            how,
        )
    };
    let acks: Vec<_> = taken.iter().map(place).collect();
    for outcome in member.acknowledge(&acks).await.expect("a member") {
        outcome.expect("it is held");
    }
}

async fn members_share_a_partition_and_each_record_goes_to_one(subject: &Subject) {
    let topic = subject.topic("queue", 1).await;
    let group = subject.name("workers");
    let first = join(subject, &group, &topic).await;
    let second = subject
        .cluster
        .share_member(&group, &[&topic])
        .expect("a runtime");
    let sent: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    produce_values(&subject.cluster, &topic, 0, &sent);
    let (of_first, of_second) = tokio::join!(take(&first, 10), take(&second, 10));
    settle(&first, &of_first, Acknowledge::Accept).await;
    settle(&second, &of_second, Acknowledge::Accept).await;
    let all: BTreeSet<String> = values(&of_first)
        .into_iter()
        .chain(values(&of_second))
        .collect();
    assert!(all.iter().eq(&sent), "each went to one member: {all:?}");
    first.leave().await;
    second.leave().await;
}

async fn a_released_record_comes_again_and_a_rejected_one_does_not(subject: &Subject) {
    let topic = subject.topic("queue", 1).await;
    let member = join(subject, &subject.name("pickers"), &topic).await;
    produce_values(&subject.cluster, &topic, 0, &["poison", "later", "done"]);
    let taken = take(&member, 3).await;
    assert_eq!(values(&taken), ["poison", "later", "done"]);
    assert!(
        taken.iter().all(|taken| taken.delivery_count == 1),
        "{taken:?}"
    );
    settle(&member, &taken[..1], Acknowledge::Reject).await;
    settle(&member, &taken[1..2], Acknowledge::Release).await;
    settle(&member, &taken[2..], Acknowledge::Accept).await;

    produce_values(&subject.cluster, &topic, 0, &["new"]);
    let again = take(&member, 2).await;
    let seen = again
        .iter()
        .map(|taken| (value(taken), taken.delivery_count));
    let expected = [("later".to_owned(), 2), ("new".to_owned(), 1)];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    settle(&member, &again, Acknowledge::Accept).await;
    member.leave().await;
}

async fn what_was_not_acknowledged_is_there_for_the_next_member(subject: &Subject) {
    let topic = subject.topic("queue", 1).await;
    let group = subject.name("leavers");
    let first = join(subject, &group, &topic).await;
    produce_values(&subject.cluster, &topic, 0, &["a", "b"]);
    let taken = take(&first, 2).await;
    settle(&first, &taken[..1], Acknowledge::Accept).await;
    first.leave().await;

    let second = subject
        .cluster
        .share_member(&group, &[&topic])
        .expect("a runtime");
    let again = take(&second, 1).await;
    assert_eq!(values(&again), ["b"]);
    assert_eq!(again[0].delivery_count, 2);
    settle(&second, &again, Acknowledge::Accept).await;
    second.leave().await;
}

async fn a_record_that_is_not_held_cannot_be_acknowledged(subject: &Subject) {
    let topic = subject.topic("queue", 1).await;
    let member = join(subject, &subject.name("strangers"), &topic).await;
    let foreign = [(topic, 0, 1_000_000, Acknowledge::Accept)];
    let outcomes = member.acknowledge(&foreign).await;
    let refused = outcomes
        .expect("a member")
        .remove(0)
        .expect_err("it is not held");
    assert_ne!(refused.kind(), ErrorKind::Unreachable, "{refused}");
    member.leave().await;
}
