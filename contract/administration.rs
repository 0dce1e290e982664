//! What operators do to a cluster: quotas, users and access rules, moving partitions, deleting records and offsets, and asking
//! what there is.

use std::collections::BTreeMap;

use client::acls::{Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource};
use client::elections::Election;
use client::groups::Committed;
use client::offsets::OffsetQuery;
use client::quotas::QuotaMatch;
use client::scram::ScramMechanism;
use client::topics::NewTopic;
use client::transactional_ids::TransactionFilter;
use client::{ErrorKind, OutgoingRecord, Sasl, Secret};
use wire::ErrorCode;

use crate::kafka::{PASSWORD, USER};
use crate::security::with_credentials;
use crate::subject::{Subject, contract, eventually};
use crate::traffic::{PATIENCE, produce_values, read_all};

contract! {
    BOTH:
        quotas_are_set_listed_and_removed,
        a_quota_that_makes_no_sense_is_refused,
        records_before_an_offset_are_deleted,
        a_group_forgets_the_offsets_that_are_deleted,
        replicas_are_found_where_they_are,
        a_cluster_tells_its_brokers_features_and_quorum,
        an_election_that_nobody_needs_is_told,
        an_open_transaction_is_seen_by_whoever_asks;
    KAFKA:
        a_user_can_log_in_from_the_first_password_to_the_last,
        who_is_denied_by_a_rule_is_let_in_when_it_is_gone,
        a_partition_moves_to_another_broker_with_its_records;
}

async fn quotas_are_set_listed_and_removed(subject: &Subject) {
    let client_id = subject.name("loader");
    let mut admin = subject.admin().await;
    let entity = BTreeMap::from([("client-id".to_owned(), Some(client_id.clone()))]);
    let set = [
        ("producer_byte_rate", Some(1_048_576.0)),
        ("consumer_byte_rate", Some(2048.0)),
    ];
    admin
        .alter_quotas(&entity, &set, false)
        .await
        .expect("quotas that there are");
    let filter = [("client-id", QuotaMatch::Named(client_id.as_str()))];
    let expected = BTreeMap::from([
        ("consumer_byte_rate".to_owned(), 2048.0),
        ("producer_byte_rate".to_owned(), 1_048_576.0),
    ]);
    eventually("both quotas", async || {
        let listed = admin.quotas(&filter, true).await.expect("a list");
        (listed.len() == 1 && listed[0].entity == entity && listed[0].values == expected)
            .then_some(())
    })
    .await;
    let removal = [("producer_byte_rate", None), ("consumer_byte_rate", None)];
    admin
        .alter_quotas(&entity, &removal, false)
        .await
        .expect("they were set");
    eventually("no quota", async || {
        let listed = admin.quotas(&filter, true).await.expect("a list");
        listed.is_empty().then_some(())
    })
    .await;
}

async fn a_quota_that_makes_no_sense_is_refused(subject: &Subject) {
    let mut admin = subject.admin().await;
    let entity = BTreeMap::from([("user".to_owned(), Some("anna".to_owned()))]);
    for (name, rate) in [
        ("coffee_rate", 1.0),
        ("producer_byte_rate", 2.5),
        ("producer_byte_rate", -1.0),
    ] {
        let refused = admin
            .alter_quotas(&entity, &[(name, Some(rate))], true)
            .await;
        let refused = refused.expect_err("no such quota");
        assert_eq!(
            refused.code(),
            Some(ErrorCode::InvalidRequest),
            "{name}={rate}"
        );
    }
}

async fn records_before_an_offset_are_deleted(subject: &Subject) {
    let topic = subject.topic("trimmed", 2).await;
    produce_values(&subject.cluster, &topic, 0, &["a", "b", "c", "d", "e"]);
    let mut admin = subject.admin().await;
    let place = |partition| (topic.clone(), partition);
    let before = BTreeMap::from([(place(0), 3), (place(1), 1), (place(7), 0)]);
    let deleted = admin.delete_records(&before).await.expect("an answer");
    let outcomes = deleted
        .into_values()
        .map(|outcome| outcome.map_err(|error| error.code()));
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [
            Ok(3),
            Err(Some(ErrorCode::OffsetOutOfRange)),
            Err(Some(ErrorCode::UnknownTopicOrPartition))
        ]
    );
    let described = [admin.topic(&topic).await.expect("it is there")];
    let first = admin.list_offsets(&described, OffsetQuery::Earliest).await;
    assert_eq!(first.expect("offsets")[&place(0)], 3);
    let seen = read_all(&subject.cluster, &topic, 1);
    let values: Vec<&str> = seen.iter().map(|record| record.value.as_str()).collect();
    assert_eq!(values, ["d", "e"]);
}

async fn a_group_forgets_the_offsets_that_are_deleted(subject: &Subject) {
    let topic = subject.topic("forgotten", 2).await;
    let group = subject.name("forgets");
    let mut admin = subject.admin().await;
    let offsets = Committed::from([((topic.clone(), 0), 0), ((topic.clone(), 1), 0)]);
    admin
        .commit(&group, &offsets)
        .await
        .expect("it has no members");
    let outcomes = admin.delete_offsets(&group, &[(topic.clone(), 0)]).await;
    for (_, outcome) in outcomes.expect("the group is there") {
        outcome.expect("nobody reads it");
    }
    let left = admin.committed(&group).await.expect("offsets");
    assert_eq!(left, Committed::from([((topic.clone(), 1), 0)]));
    let nobody = subject.name("nobody");
    let unknown = admin.delete_offsets(&nobody, &[(topic, 0)]).await;
    assert_eq!(
        unknown.expect_err("no such group").kind(),
        ErrorKind::NotFound
    );
}

async fn replicas_are_found_where_they_are(subject: &Subject) {
    let topic = subject.topic("stored", 2).await;
    produce_values(&subject.cluster, &topic, 0, &["a"]);
    let mut admin = subject.admin().await;
    eventually("bytes on each broker", async || {
        let dirs = admin
            .partition_dirs()
            .await
            .expect("an answer of every broker");
        let of_topic = dirs.iter().filter(|dir| dir.topic == topic);
        assert_eq!(of_topic.clone().count(), 2 * subject.brokers);
        let mut written = of_topic.filter(|dir| dir.partition == 0);
        written
            .all(|dir| dir.bytes > 0 && !dir.log_dir.is_empty())
            .then_some(())
    })
    .await;
    let sizes = admin.sizes().await.expect("an answer of every broker");
    assert!(sizes[&(topic.clone(), 0)] > 0, "{sizes:?}");
    assert_eq!(sizes[&(topic, 1)], 0);
}

async fn a_cluster_tells_its_brokers_features_and_quorum(subject: &Subject) {
    let mut admin = subject.admin().await;
    let described = admin.describe_cluster().await.expect("a description");
    assert_eq!(
        Some(&described.cluster_id),
        admin.info().cluster_id.as_ref()
    );
    assert_eq!(described.brokers.len(), subject.brokers);
    assert!(described.fenced.is_empty(), "{described:?}");
    let features = admin.features().await.expect("features");
    assert!(features.finalized["share.version"] >= 1, "{features:?}");
    let quorum = admin.quorum().await.expect("a quorum");
    assert_eq!(quorum.voters.len(), subject.brokers);
    let leader = quorum.leader.expect("there is a leader");
    assert!(
        quorum.voters.iter().any(|voter| voter.id == leader),
        "{quorum:?}"
    );
}

async fn an_election_that_nobody_needs_is_told(subject: &Subject) {
    let topic = subject.topic("elected", 1).await;
    let mut admin = subject.admin().await;
    let asked = [(topic.clone(), 0), (topic.clone(), 7)];
    let elected = admin.elect_leaders(Election::Preferred, Some(&asked)).await;
    let codes = elected.expect("an answer for each").into_iter();
    let codes = codes
        .map(|((_, partition), outcome)| (partition, outcome.err().and_then(|error| error.code())));
    assert_eq!(
        codes.collect::<Vec<_>>(),
        [
            (0, Some(ErrorCode::ElectionNotNeeded)),
            (7, Some(ErrorCode::UnknownTopicOrPartition))
        ]
    );
}

async fn an_open_transaction_is_seen_by_whoever_asks(subject: &Subject) {
    let topic = subject.topic("open", 1).await;
    let id = subject.name("payments");
    let producer = subject
        .cluster
        .producer(&[("transactional.id", &id)], |_| {});
    let producer = producer.expect("valid properties");
    producer
        .init_transactions(PATIENCE)
        .expect("the cluster has transactions");
    producer.begin().expect("none is under way");
    let record = OutgoingRecord {
        topic: &topic,
        partition: Some(0),
        value: Some(b"x"),
        ..OutgoingRecord::default()
    };
    producer.send(&record, 0).expect("room in the queue");
    producer.flush(PATIENCE).expect("the record is stored");

    let mut admin = subject.admin().await;
    let filter = TransactionFilter {
        states: vec!["Ongoing"],
        ..TransactionFilter::default()
    };
    let listed = admin.transactions(&filter).await.expect("a list");
    assert!(
        listed.iter().any(|listed| listed.transactional_id == id),
        "{listed:?}"
    );
    let transaction = admin.transaction(&id).await.expect("it is known");
    assert_eq!(
        transaction.partitions,
        BTreeMap::from([(topic.clone(), vec![0])])
    );
    let producers = admin.partition_producers(&topic, 0).await.expect("a list");
    assert_eq!(producers[0].producer_id, transaction.producer_id);
    assert_eq!(producers[0].transaction_start, Some(0));
    producer.abort(PATIENCE).expect("it can be aborted");
    let unknown = admin.transaction(&subject.name("nobody")).await;
    assert_eq!(unknown.expect_err("no such id").kind(), ErrorKind::NotFound);
}

async fn a_user_can_log_in_from_the_first_password_to_the_last(subject: &Subject) {
    let user = subject.name("bob");
    let mut admin = subject.admin().await;
    let log_in = async |password: &str| {
        let sasl = Sasl::ScramSha256 {
            username: user.clone(),
            password: Secret::new(password),
        };
        with_credentials(subject, sasl).admin().await
    };
    for password in ["pencil", "crayon"] {
        let secret = Secret::new(password);
        let set = admin.set_scram_password(&user, ScramMechanism::Sha256, &secret, 4096);
        set.await.expect("the cluster keeps users");
        eventually("the new password opens", async || {
            log_in(password).await.ok()
        })
        .await;
    }
    let denied = log_in("pencil").await.err().expect("it was replaced");
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    let users = admin.scram_users().await.expect("a list");
    let listed = users
        .iter()
        .find(|listed| listed.name == user)
        .expect("it is listed");
    assert_eq!(listed.credentials, [(ScramMechanism::Sha256, 4096)]);

    let deleted = admin
        .delete_scram_password(&user, ScramMechanism::Sha256)
        .await;
    deleted.expect("it was there");
    eventually("nobody is let in", async || log_in("crayon").await.err()).await;
    let again = admin
        .delete_scram_password(&user, ScramMechanism::Sha256)
        .await;
    assert_eq!(again.expect_err("it is gone").kind(), ErrorKind::NotFound);
}

async fn who_is_denied_by_a_rule_is_let_in_when_it_is_gone(subject: &Subject) {
    let topic = subject.topic("guarded", 1).await;
    let sasl = Sasl::Plain {
        username: USER.to_owned(),
        password: Secret::new(PASSWORD),
    };
    let alice = with_credentials(subject, sasl);
    let mut alice = alice.admin().await.expect("the password is right");
    alice.topic(&topic).await.expect("no rule says otherwise");
    let rule = Acl {
        resource: AclResource::Topic,
        resource_name: topic.clone(),
        pattern: AclPattern::Literal,
        principal: format!("User:{USER}"),
        host: "*".to_owned(),
        operation: AclOperation::Describe,
        permission: AclPermission::Deny,
    };
    let mut admin = subject.admin().await;
    let created = admin.create_acls(std::slice::from_ref(&rule)).await;
    created.expect("an answer").remove(0).expect("a valid rule");
    eventually("alice is denied", async || {
        let denied = alice.topic(&topic).await.err()?;
        (denied.kind() == ErrorKind::Denied).then_some(())
    })
    .await;

    let filter = AclFilter {
        resource: AclResource::Topic,
        resource_name: Some(&topic),
        ..AclFilter::default()
    };
    assert_eq!(
        admin.acls(&filter).await.expect("a list"),
        std::slice::from_ref(&rule)
    );
    assert_eq!(
        admin.delete_acls(&filter).await.expect("what was removed"),
        [rule]
    );
    eventually("alice is let in", async || alice.topic(&topic).await.ok()).await;
}

async fn a_partition_moves_to_another_broker_with_its_records(subject: &Subject) {
    let topic = subject.name("moved");
    let mut admin = subject.admin().await;
    let new = NewTopic {
        name: &topic,
        partitions: Some(1),
        replication_factor: Some(1),
        ..NewTopic::default()
    };
    admin.create_topic(&new, false).await.expect("a new topic");
    let settled = admin.settled_topic(&topic).await.expect("it gets a leader");
    let from = settled.partitions[0].leader;
    // One replica is fewer than the cluster wants in sync for acks=all.
    let loose = [client::configs::Change::Set("min.insync.replicas", "1")];
    let changed = admin.change_configs(client::configs::Resource::Topic(&topic), &loose, false);
    changed.await.expect("a valid setting");
    produce_values(&subject.cluster, &topic, 0, &["a", "b"]);

    let to = from % 3 + 1;
    let moves = [((topic.clone(), 0), Some(vec![to]))];
    for (_, outcome) in admin.reassign(&moves).await.expect("an answer") {
        outcome.expect("the move has begun");
    }
    eventually("the partition has moved", async || {
        let moving = admin.reassignments(None).await.expect("a list");
        let topic = admin.topic(&topic).await.ok()?;
        let partition = &topic.partitions[0];
        (moving.is_empty() && partition.replicas == [to] && partition.leader == to).then_some(())
    })
    .await;
    let seen = read_all(&subject.cluster, &topic, 1);
    let values: Vec<&str> = seen.iter().map(|record| record.value.as_str()).collect();
    assert_eq!(values, ["a", "b"]);
}
