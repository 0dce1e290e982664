//! Topics and their settings, by the admin requests of `client`.

use client::configs::{Change, ConfigEntry, Resource};
use client::topics::NewTopic;
use wire::ErrorCode;

use crate::subject::{Subject, contract, eventually};

contract! {
    BOTH:
        a_topic_lives_from_create_to_delete,
        a_topic_cannot_be_created_twice,
        what_is_only_validated_is_not_created,
        partitions_are_added_and_never_taken_away,
        settings_are_set_and_unset_one_by_one,
        a_setting_that_makes_no_sense_is_refused,
        an_unknown_topic_is_refused_and_not_created,
}

async fn a_topic_lives_from_create_to_delete(subject: &Subject) {
    let name = subject.topic("lives", 3).await;
    let mut admin = subject.admin().await;
    let topic = admin.topic(&name).await.expect("it was created");
    assert_eq!(topic.partitions.len(), 3);
    for partition in &topic.partitions {
        assert_eq!(partition.replicas.len(), subject.brokers, "{partition:?}");
        assert!(
            partition.replicas.contains(&partition.leader),
            "{partition:?}"
        );
    }
    assert!(
        admin
            .topics()
            .await
            .expect("a list")
            .iter()
            .any(|listed| listed.name == name)
    );

    admin.delete_topic(&name).await.expect("it can be deleted");
    eventually("the topic is gone", async || {
        let gone = admin.topic(&name).await.err()?;
        (gone.code() == Some(ErrorCode::UnknownTopicOrPartition)).then_some(())
    })
    .await;
    let again = admin.delete_topic(&name).await.expect_err("it is gone");
    assert_eq!(again.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

async fn a_topic_cannot_be_created_twice(subject: &Subject) {
    let name = subject.topic("twice", 1).await;
    let mut admin = subject.admin().await;
    let again = NewTopic {
        name: &name,
        ..NewTopic::default()
    };
    let refused = admin
        .create_topic(&again, false)
        .await
        .expect_err("it is there");
    assert_eq!(refused.code(), Some(ErrorCode::TopicAlreadyExists));
}

async fn what_is_only_validated_is_not_created(subject: &Subject) {
    let name = subject.name("validated");
    let mut admin = subject.admin().await;
    let new = NewTopic {
        name: &name,
        partitions: Some(2),
        ..NewTopic::default()
    };
    let validated = admin
        .create_topic(&new, true)
        .await
        .expect("it could be created");
    assert_eq!(validated.partitions, 2);
    let missing = admin.topic(&name).await.expect_err("it was only validated");
    assert_eq!(missing.code(), Some(ErrorCode::UnknownTopicOrPartition));

    let too_many = i16::try_from(subject.brokers + 1).ok();
    let impossible = NewTopic {
        replication_factor: too_many,
        ..new
    };
    let refused = admin
        .create_topic(&impossible, true)
        .await
        .expect_err("more replicas than brokers");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidReplicationFactor));
    let unnamable = NewTopic {
        name: "a/b",
        ..NewTopic::default()
    };
    let refused = admin
        .create_topic(&unnamable, true)
        .await
        .expect_err("no topic name");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidTopicException));
}

async fn partitions_are_added_and_never_taken_away(subject: &Subject) {
    let name = subject.topic("grows", 2).await;
    let mut admin = subject.admin().await;
    admin
        .add_partitions(&name, 5, true)
        .await
        .expect("five are possible");
    admin
        .add_partitions(&name, 5, false)
        .await
        .expect("five are possible");
    eventually("five partitions", async || {
        let topic = admin.topic(&name).await.ok()?;
        (topic.partitions.len() == 5).then_some(())
    })
    .await;
    let refused = admin
        .add_partitions(&name, 3, false)
        .await
        .expect_err("fewer than there are");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidPartitions));
}

/// Waits until a setting of the topic is as wanted: on a cluster it may be asked of a broker that has not heard of it yet.
async fn expect_setting(
    subject: &Subject,
    topic: &str,
    name: &str,
    wanted: impl Fn(&ConfigEntry) -> bool,
) {
    let mut admin = subject.admin().await;
    eventually(&format!("the setting {name}"), async || {
        let settings = admin
            .configs(Resource::Topic(topic))
            .await
            .expect("settings");
        let setting = settings
            .iter()
            .find(|setting| setting.name == name)
            .expect("a known setting");
        wanted(setting).then_some(())
    })
    .await;
}

async fn settings_are_set_and_unset_one_by_one(subject: &Subject) {
    let name = subject.topic("configured", 1).await;
    let mut admin = subject.admin().await;
    let topic = Resource::Topic(&name);
    let both = [
        Change::Set("retention.ms", "3600000"),
        Change::Set("cleanup.policy", "compact,delete"),
    ];
    admin
        .change_configs(topic, &both, false)
        .await
        .expect("valid settings");
    expect_setting(subject, &name, "retention.ms", |setting| {
        setting.value.as_deref() == Some("3600000")
    })
    .await;
    expect_setting(subject, &name, "cleanup.policy", |setting| {
        setting.source == "topic"
    })
    .await;

    let one = [Change::Unset("retention.ms")];
    admin
        .change_configs(topic, &one, false)
        .await
        .expect("back to the default");
    expect_setting(subject, &name, "retention.ms", |setting| {
        setting.source != "topic"
    })
    .await;
    expect_setting(subject, &name, "cleanup.policy", |setting| {
        setting.source == "topic"
    })
    .await;
}

async fn a_setting_that_makes_no_sense_is_refused(subject: &Subject) {
    let name = subject.topic("misconfigured", 1).await;
    let mut admin = subject.admin().await;
    for change in [
        Change::Set("retention.ms", "soon"),
        Change::Set("cleanup.policy", "burn"),
    ] {
        let refused = admin
            .change_configs(Resource::Topic(&name), &[change], false)
            .await;
        let refused = refused.expect_err("no such value");
        assert_eq!(refused.code(), Some(ErrorCode::InvalidConfig), "{change:?}");
    }
}

async fn an_unknown_topic_is_refused_and_not_created(subject: &Subject) {
    let name = subject.name("unknown");
    let mut admin = subject.admin().await;
    for _ in 0..2 {
        let refused = admin.topic(&name).await.expect_err("nobody created it");
        assert_eq!(refused.code(), Some(ErrorCode::UnknownTopicOrPartition));
    }
}
