//! Topics from a manifest on a broker of this process: created once, skipped then, drift told and nothing changed.

mod common;

use std::time::Duration;

use client::configs::{Change, Resource};
use client::topics::NewTopic;
use client::{Admin, Cluster};
use common::Server;
use operate::provision::{Manifest, Options, Report, Status, provision, provision_when_ready};
use thalweg::{Embedded, Settings, embedded};

fn broker() -> Embedded {
    embedded(Settings::in_memory()).expect("a broker in memory")
}

async fn admin(broker: &Embedded) -> Admin {
    let cluster = Cluster::new(&broker.bootstrap());
    cluster.admin().await.expect("the broker answers")
}

fn profile(name: &str) -> Manifest {
    Manifest::of_profile(name).expect("a built-in profile")
}

async fn run(admin: &mut Admin, manifest: &Manifest, options: Options) -> Report {
    let mut heard = Vec::new();
    let mut listener = |line: &str| heard.push(line.to_owned());
    let report = provision(admin, manifest, options, &mut listener).await;
    let report = report.expect("the broker answers");
    assert_eq!(report.lines, heard);
    report
}

fn statuses(report: &Report) -> Vec<Status> {
    report.topics.iter().map(|topic| topic.status).collect()
}

async fn config(admin: &mut Admin, topic: &str, name: &str) -> Option<String> {
    let configs = admin
        .configs(Resource::Topic(topic))
        .await
        .expect("it is there");
    let entry = configs.into_iter().find(|entry| entry.name == name);
    entry.and_then(|entry| entry.value)
}

#[tokio::test]
async fn a_first_run_creates_what_a_second_one_finds() {
    // B-002, B-003, X-10, X-11, X-12
    let broker = broker();
    let mut admin = admin(&broker).await;
    let manifest = profile("lab");
    let first = run(&mut admin, &manifest, Options::default()).await;
    assert_eq!(statuses(&first), [Status::Created; 5]);
    let second = run(&mut admin, &manifest, Options::default()).await;
    assert_eq!(statuses(&second), [Status::Exists; 5]);

    for spec in &manifest.topics {
        let topic = admin.topic(&spec.name).await.expect("it was created");
        assert_eq!(topic.partitions.len(), spec.partitions as usize);
        for (name, value) in &spec.configs {
            let actual = config(&mut admin, &spec.name, name).await;
            assert_eq!(
                actual.as_deref(),
                Some(value.as_str()),
                "{} {name}",
                spec.name
            );
        }
    }
}

#[tokio::test]
async fn what_happens_is_logged_in_the_order_of_the_document() {
    // B-001, B-002, B-004, B-015
    let broker = broker();
    let mut admin = admin(&broker).await;
    let orders = NewTopic {
        name: "user-events",
        partitions: Some(3),
        configs: vec![("compression.type", "snappy")],
        ..NewTopic::default()
    };
    admin
        .create_topic(&orders, false)
        .await
        .expect("a new name");
    let report = run(&mut admin, &profile("lab"), Options::default()).await;
    let expected = [
        "KafkaTopicProvisioningService: starting, manifest lab, topics: 5",
        "KafkaAdminService: initialized at ",
        "Checking existing topics",
        "\"user-events\"? YES, skip",
        "\"orders\"? NO, create",
        "Creating topics with configs: orders, payments, notifications, order-processing.DLQ",
        "Topic: user-events, Partitions: 3",
        "P0: Leader=1, Replicas=[1], ISR=[1]",
        "P2: Leader=1, Replicas=[1], ISR=[1]",
        "Topic: payments, Partitions: 5",
        "KafkaTopicProvisioningService: done, created 4, exists 1, drift 0, failed 0",
    ];
    let mut lines = report.lines.iter();
    for line in expected {
        assert!(
            lines.any(|logged| logged.starts_with(line)),
            "{line} is missing or out of order in {:#?}",
            report.lines
        );
    }
}

#[tokio::test]
async fn drift_is_told_and_nothing_is_changed() {
    // X-09, G-08
    let broker = broker();
    let mut admin = admin(&broker).await;
    run(&mut admin, &profile("lab"), Options::default()).await;
    let shorter = [Change::Set("retention.ms", "1000")];
    let topic = Resource::Topic("orders");
    admin
        .change_configs(topic, &shorter, false)
        .await
        .expect("a valid setting");

    let again = run(&mut admin, &profile("lab"), Options::default()).await;
    assert_eq!(again.topics[1].status, Status::Drift);
    let drift = &again.topics[1].drift;
    assert_eq!(drift.len(), 1);
    assert_eq!(
        (drift[0].what.as_str(), drift[0].wanted.as_str()),
        ("retention.ms", "2592000000")
    );
    assert_eq!(drift[0].actual.as_deref(), Some("1000"));

    // The same name means another topic in another profile: 18 partitions and 90 days there.
    let other = run(&mut admin, &profile("enterprise"), Options::default()).await;
    assert_eq!(
        statuses(&other),
        [Status::Created, Status::Created, Status::Drift]
    );
    assert_eq!(other.topics[2].drift[0].what, "partitions");

    assert_eq!(
        config(&mut admin, "orders", "retention.ms")
            .await
            .as_deref(),
        Some("1000")
    );
    let users = admin.topic("user-events").await.expect("it is there");
    assert_eq!(users.partitions.len(), 3);
}

#[tokio::test]
async fn one_broker_gets_one_replica_unless_strict_is_asked_for() {
    //
    let broker = broker();
    let mut admin = admin(&broker).await;
    let strict = Options {
        strict: true,
        ..Options::default()
    };
    let refused = run(&mut admin, &profile("hybrid"), strict).await;
    assert_eq!(statuses(&refused), [Status::Failed; 2]);
    let error = refused.topics[0].error.as_deref().expect("it says why");
    assert!(error.contains("INVALID_REPLICATION_FACTOR"), "{error}");

    let lowered = run(&mut admin, &profile("hybrid"), Options::default()).await;
    assert_eq!(statuses(&lowered), [Status::Created; 2]);
    assert_eq!(lowered.topics[0].requested_replication_factor, Some(3));
    assert_eq!(lowered.topics[0].replication_factor, Some(1));
    run(&mut admin, &profile("enterprise"), Options::default()).await;
    let in_sync = config(&mut admin, "order-events", "min.insync.replicas").await;
    assert_eq!(in_sync.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_dry_run_creates_nothing() {
    let broker = broker();
    let mut admin = admin(&broker).await;
    let dry_run = Options {
        dry_run: true,
        ..Options::default()
    };
    let report = run(&mut admin, &profile("lab"), dry_run).await;
    assert_eq!(statuses(&report), [Status::Missing; 5]);
    let topics = admin.topics().await.expect("a list");
    assert!(topics.iter().all(|topic| topic.is_internal), "{topics:?}");
}

#[tokio::test]
async fn one_topic_that_fails_keeps_no_other_from_being_created() {
    // G-08
    let broker = broker();
    let mut admin = admin(&broker).await;
    let text = "[[topic]]\nname = \"a\"\npartitions = 1\nconfigs = { \"retention.ms\" = \"soon\" }\n[[topic]]\nname = \"b\"\npartitions = 1\n";
    let manifest = Manifest::parse("t.toml", text).expect("valid TOML");
    let report = run(&mut admin, &manifest, Options::default()).await;
    assert_eq!(statuses(&report), [Status::Failed, Status::Created]);
    let error = report.topics[0].error.as_deref().expect("it says why");
    assert!(error.contains("retention.ms"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_does_not_come_is_given_up_and_one_that_comes_is_provisioned() {
    // B-001, B-005
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = port.local_addr().expect("bound");
    drop(port);
    let cluster = Cluster::new(&address.to_string()).with_timeout(Duration::from_millis(500));
    let manifest = profile("lab");
    let mut waits = 0;
    let mut listener = |line: &str| waits += usize::from(line.contains("not ready"));
    let patience = Duration::from_millis(600);
    let options = Options::default();
    let nobody = provision_when_ready(&cluster, patience, &manifest, options, &mut listener).await;
    let error = nobody.expect_err("nothing listens there");
    assert_eq!(error.kind(), client::ErrorKind::Unreachable);
    assert!(waits >= 1);

    let (begun, begin) = std::sync::mpsc::channel();
    let starting = std::thread::spawn(move || {
        begin.recv().expect("an attempt fails first");
        embedded(Settings::in_memory().kafka_port(address.port())).expect("the port is free")
    });
    let mut listener = |line: &str| {
        if line.contains("not ready") {
            let _ = begun.send(());
        }
    };
    let patience = Duration::from_secs(30);
    let report = provision_when_ready(&cluster, patience, &manifest, options, &mut listener).await;
    let report = report.expect("the broker came");
    let _broker = starting.join().expect("it started");
    assert_eq!(statuses(&report), [Status::Created; 5]);
}

#[test]
fn the_command_creates_skips_and_refuses() {
    let server = Server::start();
    let provision = |flags: &[&str]| server.run(&[&["topic", "provision"], flags].concat(), "");
    let first = provision(&["-o", "json"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let report: serde_json::Value = serde_json::from_str(&first.stdout).expect("JSON");
    assert_eq!(report["topics"][0]["status"], "created");
    assert!(
        first.stderr.contains("P0: Leader=1, Replicas=[1], ISR=[1]"),
        "{}",
        first.stderr
    );
    let second = provision(&[]);
    assert!(
        second.stdout.contains("order-processing.DLQ  exists"),
        "{}",
        second.stdout
    );

    assert_eq!(provision(&["--profile", "enterprise", "--strict"]).code, 1);
    let unknown = provision(&["--profile", "enterprize"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("did you mean `enterprise`?"),
        "{}",
        unknown.stderr
    );

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("topics.toml");
    std::fs::write(&file, "[[topic]]\nname = \"a\"\npartitons = 2\n").expect("a file");
    let refused = provision(&["--file", &file.display().to_string()]);
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("topics.toml:3: unknown key `partitons`"),
        "{}",
        refused.stderr
    );
    std::fs::write(&file, "[[topic]]\nname = \"a\"\npartitions = 2\n").expect("a file");
    let custom = provision(&["--file", &file.display().to_string(), "--dry-run"]);
    assert_eq!(custom.code, 0, "{}", custom.stderr);
    assert!(
        custom.stdout.contains("a      missing"),
        "{}",
        custom.stdout
    );
}
