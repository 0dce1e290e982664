//! The admin requests of `client` against the embedded broker: what it does, and what it refuses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::acls::{Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource};
use client::elections::Election;
use client::features::FeatureChange;
use client::groups::Committed;
use client::offsets::OffsetQuery;
use client::quotas::{EntityQuotas, QuotaMatch};
use client::scram::ScramMechanism;
use client::topics::NewTopic;
use client::transactional_ids::TransactionFilter;
use client::{Admin, ClientError, Cluster, Connection, ErrorKind, OutgoingRecord, Secret};
use thalweg::{Embedded, Settings, embedded};
use wire::{ErrorCode, share_group_heartbeat};

const PATIENCE: Duration = Duration::from_secs(20);

fn broker() -> (Embedded, Cluster) {
    let broker = embedded(Settings::in_memory()).expect("a broker in memory");
    let cluster = Cluster::new(&broker.bootstrap());
    (broker, cluster)
}

async fn connect(cluster: &Cluster) -> Admin {
    cluster.admin().await.expect("it listens")
}

async fn create(admin: &mut Admin, topic: &str) {
    let new = NewTopic {
        name: topic,
        partitions: Some(2),
        ..NewTopic::default()
    };
    let created = admin.create_topic(&new, false).await;
    created.expect("a topic that is not there yet");
}

/// Sends records to partition 0 and waits for their acknowledgements.
fn produce(cluster: &Cluster, topic: &str, count: usize) {
    let producer = cluster.producer(&[], |_| {}).expect("valid properties");
    for _ in 0..count {
        producer.send(&to(topic), 0).expect("there is room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

fn to(topic: &str) -> OutgoingRecord<'_> {
    OutgoingRecord {
        topic,
        partition: Some(0),
        value: Some(b"v"),
        ..OutgoingRecord::default()
    }
}

fn partition(topic: &str, index: i32) -> (String, i32) {
    (topic.to_owned(), index)
}

fn code<T>(result: Result<T, ClientError>) -> Option<ErrorCode> {
    result.err().expect("it is refused").code()
}

/// The outcomes by partition, `None` where it went well.
fn codes(outcomes: client::Outcomes<(String, i32)>) -> Vec<(i32, Option<ErrorCode>)> {
    let outcomes = outcomes.into_iter();
    outcomes
        .map(|((_, index), outcome)| (index, outcome.err().and_then(|error| error.code())))
        .collect()
}

#[tokio::test]
async fn quotas_are_set_listed_and_removed() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let entity = BTreeMap::from([("client-id".to_owned(), Some("loader".to_owned()))]);
    let rate = [("producer_byte_rate", Some(1048576.0))];
    let set = admin.alter_quotas(&entity, &rate, false).await;
    set.expect("a quota that there is");
    let filter = [("client-id", QuotaMatch::Any)];
    let listed = admin.quotas(&filter, true).await.expect("a list");
    let expected = EntityQuotas {
        entity: entity.clone(),
        values: BTreeMap::from([("producer_byte_rate".to_owned(), 1048576.0)]),
    };
    assert_eq!(listed, [expected]);
    let removal = [("producer_byte_rate", None)];
    let removed = admin.alter_quotas(&entity, &removal, false).await;
    removed.expect("it was set");
    let filter = [("client-id", QuotaMatch::Named("loader"))];
    assert_eq!(admin.quotas(&filter, true).await.expect("a list"), []);
}

#[tokio::test]
async fn a_quota_that_does_not_exist_is_refused_with_whom_it_was_for() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let entity = BTreeMap::from([("user".to_owned(), None)]);
    let unknown = [("coffee_rate", Some(1.0))];
    let error = admin.alter_quotas(&entity, &unknown, true).await;
    let error = error.expect_err("there is no such quota").to_string();
    assert!(
        error.starts_with("changing quotas of the default user: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_broker_without_security_refuses_users_and_access_rules() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let disabled = Some(ErrorCode::SecurityDisabled);
    assert_eq!(admin.scram_users().await.expect("a list"), []);
    let password = Secret::new("pencil");
    let mechanism = ScramMechanism::Sha512;
    let set = admin.set_scram_password("alice", mechanism, &password, 4096);
    assert_eq!(code(set.await), disabled);
    let deleted = admin.delete_scram_password("alice", mechanism).await;
    assert_eq!(code(deleted), disabled);
    assert_eq!(code(admin.acls(&AclFilter::default()).await), disabled);
    assert_eq!(
        code(admin.delete_acls(&AclFilter::default()).await),
        disabled
    );
    let rule = Acl {
        resource: AclResource::Topic,
        resource_name: "orders".to_owned(),
        pattern: AclPattern::Literal,
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission: AclPermission::Allow,
    };
    let added = admin.create_acls(&[rule.clone(), rule]).await;
    let added = added.expect("an answer for each rule");
    let codes: Vec<_> = added.into_iter().map(code).collect();
    assert_eq!(codes, [disabled, disabled]);
}

#[tokio::test]
async fn a_password_with_too_few_iterations_is_not_sent() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let password = Secret::new("pencil");
    let set = admin.set_scram_password("alice", ScramMechanism::Sha256, &password, 1);
    let error = set.await.expect_err("it is refused").to_string();
    assert_eq!(
        error,
        "setting the password of alice: 1 iterations; Kafka takes 4096 to 16384"
    );
}

#[tokio::test]
async fn partitions_of_one_broker_can_move_nowhere() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    let here = admin.info().brokers[0].id;
    let moves = [
        (partition("orders", 0), Some(vec![here])),
        (partition("orders", 1), Some(vec![here + 1])),
    ];
    let outcomes = admin.reassign(&moves).await.expect("an answer for each");
    let refused = Some(ErrorCode::InvalidReplicaAssignment);
    assert_eq!(codes(outcomes), [(0, None), (1, refused)]);
    let stop = [(partition("orders", 0), None)];
    let outcomes = admin.reassign(&stop).await.expect("an answer");
    let nothing = Some(ErrorCode::NoReassignmentInProgress);
    assert_eq!(codes(outcomes), [(0, nothing)]);
    assert_eq!(admin.reassignments(None).await.expect("a list"), []);
}

#[tokio::test]
async fn an_election_that_nobody_needs_is_told_for_each_partition() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    let asked = [partition("orders", 0), partition("orders", 7)];
    let elected = admin.elect_leaders(Election::Preferred, Some(&asked)).await;
    assert_eq!(
        codes(elected.expect("an answer for each")),
        [
            (0, Some(ErrorCode::ElectionNotNeeded)),
            (7, Some(ErrorCode::UnknownTopicOrPartition))
        ]
    );
    let all = admin.elect_leaders(Election::Preferred, None).await;
    assert_eq!(codes(all.expect("an answer")), []);
}

#[tokio::test]
async fn records_before_an_offset_are_deleted() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    produce(&cluster, "orders", 5);
    let before = BTreeMap::from([
        (partition("orders", 0), 3),
        (partition("orders", 1), 1),
        (partition("orders", 7), 0),
    ]);
    let deleted = admin.delete_records(&before).await.expect("an answer");
    let outcomes: Vec<_> = deleted
        .into_values()
        .map(|outcome| outcome.map_err(|error| error.code()))
        .collect();
    assert_eq!(
        outcomes,
        [
            Ok(3),
            Err(Some(ErrorCode::OffsetOutOfRange)),
            Err(Some(ErrorCode::UnknownTopicOrPartition))
        ]
    );
    let topic = admin.topic("orders").await.expect("it is there");
    let first = admin.list_offsets(&[topic], OffsetQuery::Earliest).await;
    assert_eq!(first.expect("offsets")[&partition("orders", 0)], 3);
    let missing = BTreeMap::from([(partition("nothing", 0), 0)]);
    let error = admin.delete_records(&missing).await;
    assert_eq!(
        error.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_group_forgets_the_offsets_that_are_deleted() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    let offsets = Committed::from([(partition("orders", 0), 3), (partition("orders", 1), 4)]);
    admin.commit("readers", &offsets).await.expect("no members");
    let forgotten = [partition("orders", 0)];
    let deleted = admin.delete_offsets("readers", &forgotten).await;
    assert_eq!(codes(deleted.expect("an answer")), [(0, None)]);
    let left = admin.committed("readers").await.expect("offsets");
    assert_eq!(left, Committed::from([(partition("orders", 1), 4)]));
    let unknown = admin.delete_offsets("nobody", &forgotten).await;
    assert_eq!(
        unknown.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_cluster_tells_its_features_requests_brokers_and_quorum() {
    let (broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let id = admin.info().brokers[0].id;
    let features = admin.features().await.expect("features");
    assert!(features.finalized["share.version"] >= 1, "{features:?}");
    assert!(features.supported["share.version"].contains(&1));
    let offered = admin.offered_apis(id).await.expect("requests");
    assert_eq!((offered[0].key, offered[0].name), (0, Some("Produce")));
    let described = admin.describe_cluster().await.expect("a description");
    assert_eq!(described.cluster_id, broker.cluster_id());
    let brokers: Vec<_> = described.brokers.iter().map(|broker| broker.id).collect();
    assert_eq!((brokers, described.fenced), (vec![id], Vec::new()));
    let quorum = admin.quorum().await.expect("a quorum");
    assert_eq!(quorum.leader, Some(id));
    assert_eq!(quorum.voters[0].id, id);
}

#[tokio::test]
async fn a_feature_that_does_not_exist_has_no_level() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let change = FeatureChange::Upgrade;
    let updated = admin.update_feature("tea.version", 1, change, true).await;
    assert_eq!(code(updated), Some(ErrorCode::InvalidUpdateVersion));
}

#[tokio::test]
async fn an_open_transaction_is_seen_by_its_coordinator_and_in_its_partition() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    let properties = [("transactional.id", "payments")];
    let producer = cluster.producer(&properties, |_| {}).expect("valid");
    producer.init_transactions(PATIENCE).expect("it is known");
    producer.begin().expect("none is open");
    producer.send(&to("orders"), 0).expect("there is room");
    producer.flush(PATIENCE).expect("acknowledged");

    let listed = admin.transactions(&TransactionFilter::default()).await;
    let listed = listed.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].transactional_id, "payments");
    assert_eq!(listed[0].state, "Ongoing");
    let told = admin.transaction("payments").await.expect("it is known");
    assert_eq!(told.producer_id, listed[0].producer_id);
    assert_eq!(told.partitions["orders"], [0]);
    assert!(told.started_ms.is_some(), "{told:?}");
    let producers = admin.partition_producers("orders", 0).await;
    let producers = producers.expect("a list");
    assert_eq!(producers.len(), 1);
    assert_eq!(producers[0].producer_id, told.producer_id);
    assert_eq!(producers[0].transaction_start, Some(0));
    producer.abort(PATIENCE).expect("it is open");
}

#[tokio::test]
async fn transactions_that_are_not_there_are_refused() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let unknown = admin.transaction("nobody").await;
    assert_eq!(
        unknown.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
    let filter = TransactionFilter {
        states: vec!["Asleep"],
        ..TransactionFilter::default()
    };
    let error = admin
        .transactions(&filter)
        .await
        .expect_err("no such state");
    assert!(
        error
            .to_string()
            .ends_with("Asleep is no state of a transaction"),
        "{error}"
    );
    let unknown = admin.partition_producers("nothing", 0).await;
    assert_eq!(
        unknown.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn a_consumer_group_is_described_with_what_its_members_have() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    let properties = [("group.id", "readers"), ("group.protocol", "consumer")];
    let consumer = cluster.consumer(&properties).expect("valid properties");
    consumer.subscribe(&["orders"]).expect("a topic");
    let deadline = Instant::now() + PATIENCE;
    while consumer.assigned_partitions().len() < 2 {
        assert!(Instant::now() < deadline, "it gets both partitions");
        let polled = consumer.poll(Duration::from_millis(100));
        polled.expect("the broker answers");
    }
    let group = admin.consumer_group("readers").await.expect("it is there");
    assert_eq!(group.members.len(), 1);
    assert_eq!(group.members[0].subscribed_topics, ["orders"]);
    assert_eq!(group.members[0].target["orders"], [0, 1]);
    let unknown = admin.consumer_group("nobody").await;
    assert_eq!(
        unknown.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
}

/// A heartbeat of the one member: epoch 0 joins, -1 leaves.
async fn share_heartbeat(cluster: &Cluster, member_epoch: i32) -> i16 {
    let address = cluster.bootstrap()[0].clone();
    let connection = Connection::open(&address, cluster).await;
    let request = share_group_heartbeat::Request {
        group_id: "workers",
        member_id: "AAAAAAAAAAAAAAAAAAAAAQ",
        member_epoch,
        subscribed_topic_names: (member_epoch == 0).then(|| vec!["orders"]),
        ..share_group_heartbeat::Request::default()
    };
    let reply = connection.expect("it listens").call(&request).await;
    let reply = reply.expect("an answer");
    reply.read().expect("a whole answer").error_code
}

#[tokio::test]
async fn a_share_group_is_described_moved_and_forgotten() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    create(&mut admin, "orders").await;
    produce(&cluster, "orders", 5);
    assert_eq!(share_heartbeat(&cluster, 0).await, 0);
    let group = admin.share_group("workers").await.expect("it is there");
    assert_eq!(group.members.len(), 1);
    assert_eq!(group.members[0].subscribed_topics, ["orders"]);

    let starts = BTreeMap::from([(partition("orders", 0), 2)]);
    let busy = admin.alter_share_offsets("workers", &starts).await;
    assert_eq!(
        busy.err().map(|error| error.kind()),
        Some(ErrorKind::Conflict)
    );
    let busy = admin.delete_share_offsets("workers", &["orders"]).await;
    assert_eq!(
        busy.err().map(|error| error.kind()),
        Some(ErrorKind::Conflict)
    );

    assert_eq!(share_heartbeat(&cluster, -1).await, 0);
    let altered = admin.alter_share_offsets("workers", &starts).await;
    assert_eq!(codes(altered.expect("no members")), [(0, None)]);
    let offsets = admin.share_offsets("workers").await.expect("offsets");
    let there = offsets[&partition("orders", 0)];
    assert_eq!((there.start, there.lag), (Some(2), Some(3)));
    let deleted = admin.delete_share_offsets("workers", &["orders", "nothing"]);
    let deleted = deleted.await.expect("no members");
    let outcomes: Vec<_> = deleted
        .iter()
        .map(|(topic, outcome)| (topic.as_str(), outcome.is_ok()))
        .collect();
    assert_eq!(outcomes, [("orders", true), ("nothing", false)]);
    let offsets = admin.share_offsets("workers").await.expect("offsets");
    assert!(offsets.is_empty(), "{offsets:?}");
}

#[tokio::test]
async fn a_share_group_that_is_not_there_is_not_found() {
    let (_broker, cluster) = broker();
    let mut admin = connect(&cluster).await;
    let unknown = admin.share_group("nobody").await;
    assert_eq!(
        unknown.err().map(|error| error.kind()),
        Some(ErrorKind::NotFound)
    );
}
