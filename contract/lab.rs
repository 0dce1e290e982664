//! Provisioning and the five tasks of the topic lab: what they teach holds on both clusters.

use client::topics::NewTopic;
use lab::{Options, Task};
use operate::provision::{
    KeyKind, Manifest, Options as Provisioning, Report, Status, TopicSpec, provision,
};

use crate::subject::{Subject, contract};

contract! {
    BOTH:
        a_manifest_is_created_once_and_drift_is_only_told,
        replicas_are_no_more_than_brokers_unless_strict,
        the_task_topics_holds,
        the_task_keys_holds,
        the_task_ordering_holds,
        the_task_rebalance_holds,
        the_task_semantics_holds,
}

fn manifest(name: &str, partitions: i32, replication_factor: i16) -> Manifest {
    Manifest {
        profile: "contract".to_owned(),
        topics: vec![TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor: Some(replication_factor),
            configs: [
                ("retention.ms".to_owned(), "604800000".to_owned()),
                ("min.insync.replicas".to_owned(), "2".to_owned()),
            ]
            .into(),
            key: KeyKind::Null,
            purpose: String::new(),
            learning_goal: String::new(),
        }],
    }
}

async fn run(subject: &Subject, manifest: &Manifest, strict: bool) -> Report {
    let options = Provisioning {
        strict,
        dry_run: false,
    };
    let mut admin = subject.admin().await;
    let report = provision(&mut admin, manifest, options, &mut |_| {}).await;
    report.expect("the cluster answers")
}

async fn a_manifest_is_created_once_and_drift_is_only_told(subject: &Subject) {
    // B-002, B-003, G-08, X-09
    let name = subject.name("provisioned");
    let first = run(subject, &manifest(&name, 3, 3), false).await;
    assert_eq!(first.topics[0].status, Status::Created, "{first:?}");
    let second = run(subject, &manifest(&name, 3, 3), false).await;
    assert_eq!(second.topics[0].status, Status::Exists, "{second:?}");
    let other = run(subject, &manifest(&name, 5, 3), false).await;
    assert_eq!(other.topics[0].status, Status::Drift, "{other:?}");
    assert_eq!(other.topics[0].drift.len(), 1);
    assert_eq!(other.topics[0].partitions.len(), 3);
}

async fn replicas_are_no_more_than_brokers_unless_strict(subject: &Subject) {
    //
    let name = subject.name("replicated");
    let many = manifest(&name, 1, 7);
    let refused = run(subject, &many, true).await;
    let error = refused.topics[0].error.as_deref().expect("too many");
    assert!(error.contains("INVALID_REPLICATION_FACTOR"), "{error}");

    let lowered = run(subject, &many, false).await;
    assert_eq!(lowered.topics[0].status, Status::Created, "{lowered:?}");
    assert_eq!(
        lowered.topics[0].partitions[0].replicas.len(),
        subject.brokers
    );
    let mut admin = subject.admin().await;
    let twice = admin
        .create_topics(
            &[NewTopic {
                name: &name,
                ..NewTopic::default()
            }],
            false,
        )
        .await;
    assert!(twice.expect("an answer")[0].is_err());
}

/// A run blocks, so it has a thread that is no worker of the runtime.
async fn holds(subject: &Subject, task: Task) {
    let cluster = subject.cluster.clone();
    let random = u64::from(std::process::id());
    let run = tokio::task::spawn_blocking(move || {
        lab::run(task, &cluster, Options::new(random), &mut |_| {})
    });
    let report = run
        .await
        .expect("it does not panic")
        .expect("it goes through");
    let failed: Vec<_> = report.checks.iter().filter(|check| !check.passed).collect();
    assert!(report.passed, "{failed:#?}\n{:#?}", report.steps);
}

// B-017, B-040
async fn the_task_topics_holds(subject: &Subject) {
    holds(subject, Task::Topics).await;
}

// B-041
async fn the_task_keys_holds(subject: &Subject) {
    holds(subject, Task::Keys).await;
}

// B-031, B-032, B-033, B-042
async fn the_task_ordering_holds(subject: &Subject) {
    holds(subject, Task::Ordering).await;
}

// B-035, B-043
async fn the_task_rebalance_holds(subject: &Subject) {
    holds(subject, Task::Rebalance).await;
}

// B-044
async fn the_task_semantics_holds(subject: &Subject) {
    holds(subject, Task::Semantics).await;
}
