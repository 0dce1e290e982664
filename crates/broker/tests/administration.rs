//! Administration over the wire: quotas, features, settings of groups and of the broker, what one broker answers to
//! requests that are about several, pushed metrics.

mod support;

use std::time::{Duration, Instant};

use broker::Storage;
use support::{Client, batch, start, start_on};
use wire::{ErrorCode, Float64, Uuid};

type Parts = &'static [(&'static str, Option<&'static str>)];

/// Sets one quota and gives the error.
async fn set_quota(client: &mut Client, entity: Parts, key: &str, value: f64) -> i16 {
    use wire::alter_client_quotas::{Entity, Entry, Op, Request, Response};
    let part = |(entity_type, entity_name): &(&'static str, Option<&'static str>)| Entity {
        entity_type,
        entity_name: *entity_name,
    };
    let op = Op {
        key,
        value: Float64(value),
        remove: false,
    };
    let request = Request {
        entries: vec![Entry {
            entity: entity.iter().map(part).collect(),
            ops: vec![op],
        }],
        validate_only: false,
    };
    let reply = client.call(1, &request).await;
    reply.read::<Response<'_>>().entries[0].error_code
}

#[tokio::test]
async fn quotas_are_described_as_they_were_set_and_survive_a_restart() {
    use wire::describe_client_quotas::{Request, Response};
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    let entity: Parts = &[("user", Some("alice")), ("client-id", None)];
    assert_eq!(
        set_quota(&mut client, entity, "producer_byte_rate", 1000.0).await,
        0
    );
    assert_eq!(
        set_quota(&mut client, entity, "no.such.quota", 1.0).await,
        ErrorCode::InvalidRequest.code()
    );
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    let reply = client.call(1, &Request::default()).await;
    let response: Response<'_> = reply.read();
    let entries = response.entries.expect("no error");
    let entity: Vec<_> = entries[0]
        .entity
        .iter()
        .map(|part| (part.entity_type.as_ref(), part.entity_name.as_deref()))
        .collect();
    assert_eq!(entity, [("client-id", None), ("user", Some("alice"))]);
    assert_eq!(entries[0].values[0].value, Float64(1000.0));
}

#[tokio::test]
async fn a_producer_beyond_its_quota_is_told_to_wait_and_not_read_meanwhile() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let entity: Parts = &[("client-id", Some("test"))];
    assert_eq!(
        set_quota(&mut client, entity, "producer_byte_rate", 100.0).await,
        0
    );
    let large = batch(&["x".repeat(1_000).as_str()]);
    let request = support::produce_request("orders", 0, &large, -1);
    let reply = client.call(9, &request).await;
    let response: wire::produce::Response<'_> = reply.read();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    let held_ms = response.throttle_time_ms;
    assert!((200..5_000).contains(&held_ms), "{held_ms}");
    let began = Instant::now();
    client.call(12, &wire::metadata::Request::default()).await;
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_millis(held_ms as u64 / 2),
        "{waited:?}"
    );
}

#[tokio::test]
async fn a_consumer_beyond_its_quota_gets_nothing_until_it_has_waited() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let large = batch(&["x".repeat(15_000).as_str()]);
    client.produce("orders", 0, &large).await;
    let entity: Parts = &[("user", None)];
    assert_eq!(
        set_quota(&mut client, entity, "consumer_byte_rate", 2_900.0).await,
        0
    );
    assert_eq!(
        client.fetch("orders", 0, 0).await.len(),
        1,
        "the windows hold one"
    );
    let reply = client
        .call(11, &support::fetch_request("orders", 0, 0, 0))
        .await;
    let response: wire::fetch::Response<'_> = reply.read();
    assert!(response.throttle_time_ms > 0);
    assert!(response.responses.is_empty(), "what was read is not sent");
}

#[tokio::test]
async fn a_batch_beyond_what_a_quota_ever_allows_is_sent_and_waited_for_afterwards() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let large = batch(&["x".repeat(15_000).as_str()]);
    client.produce("orders", 0, &large).await;
    let entity: Parts = &[("user", None)];
    assert_eq!(
        set_quota(&mut client, entity, "consumer_byte_rate", 100.0).await,
        0
    );
    let reply = client
        .call(11, &support::fetch_request("orders", 0, 0, 0))
        .await;
    assert_eq!(support::values(&reply, 0).len(), 1);
    let response: wire::fetch::Response<'_> = reply.read();
    assert!(response.throttle_time_ms > 0);
}

#[tokio::test]
async fn changes_beyond_the_quota_are_refused_to_those_who_understand_it() {
    use wire::create_topics::{CreatableTopic, Request, Response};
    let (_broker, mut client) = start(Storage::Memory).await;
    let entity: Parts = &[("client-id", Some("test"))];
    assert_eq!(
        set_quota(&mut client, entity, "controller_mutation_rate", 1.0).await,
        0
    );
    let topic = |name| CreatableTopic {
        name,
        num_partitions: 12,
        replication_factor: -1,
        ..Default::default()
    };
    let request = Request {
        topics: vec![topic("a"), topic("b")],
        ..Default::default()
    };
    let reply = client.call(7, &request).await;
    let response: Response<'_> = reply.read();
    let mut errors: Vec<(&str, i16)> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_ref(), topic.error_code))
        .collect();
    errors.sort_unstable();
    let exceeded = ErrorCode::ThrottlingQuotaExceeded.code();
    assert_eq!(
        errors,
        [("a", 0), ("b", exceeded)],
        "11 permits are overdrawn once"
    );
    assert!(response.throttle_time_ms > 0);
}

#[tokio::test]
async fn an_address_with_too_many_new_connections_is_kept_waiting() {
    let (broker, mut client) = start(Storage::Memory).await;
    let entity: Parts = &[("ip", None)];
    assert_eq!(
        set_quota(&mut client, entity, "connection_creation_rate", 1.0).await,
        0
    );
    let request = wire::metadata::Request::default();
    let mut refused = 0;
    for _ in 0..12 {
        let mut next = Client::connect(broker.kafka_addresses()[0]).await;
        let answer = tokio::time::timeout(Duration::from_millis(300), next.call(12, &request));
        refused += usize::from(answer.await.is_err());
    }
    assert!((1..=2).contains(&refused), "{refused}");
}

#[tokio::test]
async fn levels_of_features_are_finalized_and_told_to_clients() {
    use wire::update_features::{FeatureUpdate, Request, Response};
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    let request = |feature, max_version_level, upgrade_type| Request {
        feature_updates: vec![FeatureUpdate {
            feature,
            max_version_level,
            upgrade_type,
            ..Default::default()
        }],
        ..Default::default()
    };
    let reply = client.call(2, &request("transaction.version", 1, 2)).await;
    assert_eq!(reply.read::<Response<'_>>().error_code, 0);
    let reply = client.call(2, &request("no.such.version", 1, 1)).await;
    let response: Response<'_> = reply.read();
    assert_eq!(response.error_code, ErrorCode::InvalidUpdateVersion.code());
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(features(&mut client, 4).await, (1, Some(1), true));
    assert_eq!(
        features(&mut client, 3).await,
        (1, Some(1), false),
        "older clients cannot read that a feature may be at 0"
    );
}

/// The epoch, the finalized level of transaction.version, and whether it is among the supported features.
async fn features(client: &mut Client, version: i16) -> (i64, Option<i16>, bool) {
    use wire::api_versions::{Request, Response};
    let request = Request {
        client_software_name: "test",
        client_software_version: "1",
        ..Default::default()
    };
    let reply = client.call(version, &request).await;
    let response: Response<'_> = reply.read();
    let finalized = response.finalized_features.iter();
    let level = finalized.filter(|feature| feature.name == "transaction.version");
    let mut supported = response.supported_features.iter();
    (
        response.finalized_features_epoch,
        level.map(|feature| feature.max_version_level).next(),
        supported.any(|feature| feature.name == "transaction.version"),
    )
}

/// Sets one value and gives the error.
async fn alter(client: &mut Client, resource: (i8, &str), name: &str, value: &str) -> i16 {
    use wire::incremental_alter_configs::{AlterableConfig, Request, Resource, Response};
    let config = AlterableConfig {
        name,
        value: Some(value),
        ..Default::default()
    };
    let request = Request {
        resources: vec![Resource {
            resource_type: resource.0,
            resource_name: resource.1,
            configs: vec![config],
        }],
        ..Default::default()
    };
    let reply = client.call(1, &request).await;
    reply.read::<Response<'_>>().responses[0].error_code
}

/// A value and its source.
async fn setting(
    client: &mut Client,
    (resource_type, resource_name): (i8, &str),
    name: &str,
) -> Option<(String, i8)> {
    use wire::describe_configs::{Request, Resource, Response};
    let request = Request {
        resources: vec![Resource {
            resource_type,
            resource_name,
            configuration_keys: None,
        }],
        ..Default::default()
    };
    let reply = client.call(4, &request).await;
    let response: Response<'_> = reply.read();
    let configs = &response.results[0].configs;
    let found = configs.iter().find(|config| config.name == name)?;
    Some((
        found.value.as_deref().unwrap_or_default().to_owned(),
        found.config_source,
    ))
}

const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const FROM_START: i8 = 4;
const OF_GROUP: i8 = 8;
const DEFAULT: i8 = 5;

#[tokio::test]
async fn groups_and_subscriptions_are_configured_and_listed() {
    use wire::list_config_resources::{Request, Response};
    let (_broker, mut client) = start(Storage::Memory).await;
    let (group, key) = ((GROUP, "g"), "share.heartbeat.interval.ms");
    let default = Some(("5000".to_owned(), DEFAULT));
    assert_eq!(setting(&mut client, group, key).await, default);
    assert_eq!(alter(&mut client, group, key, "6000").await, 0);
    let own = Some(("6000".to_owned(), OF_GROUP));
    assert_eq!(setting(&mut client, group, key).await, own);
    assert_eq!(
        alter(&mut client, group, key, "1").await,
        ErrorCode::InvalidConfig.code()
    );
    assert_eq!(
        alter(&mut client, (CLIENT_METRICS, "m"), "interval.ms", "1000").await,
        0
    );
    let reply = client.call(1, &Request::default()).await;
    let response: Response<'_> = reply.read();
    let mut listed: Vec<(i8, &str)> = response
        .config_resources
        .iter()
        .map(|resource| (resource.resource_type, resource.resource_name.as_ref()))
        .filter(|(_, name)| !name.starts_with("__"))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, [(BROKER, "1"), (CLIENT_METRICS, "m"), (GROUP, "g")]);
    let request = Request {
        resource_types: vec![99],
    };
    let reply = client.call(1, &request).await;
    assert_eq!(
        reply.read::<Response<'_>>().error_code,
        ErrorCode::UnsupportedVersion.code()
    );
}

#[tokio::test]
async fn the_broker_s_settings_tell_what_is_true_of_it() {
    let (broker, mut client) = start(Storage::Memory).await;
    let address = broker.kafka_addresses()[0];
    let advertised = setting(&mut client, (BROKER, "1"), "advertised.listeners").await;
    assert_eq!(
        advertised,
        Some((format!("PLAINTEXT://{address}"), FROM_START))
    );
    let node = setting(&mut client, (BROKER, "1"), "node.id").await;
    assert_eq!(node, Some(("1".to_owned(), FROM_START)));
}

#[tokio::test]
async fn one_broker_answers_truthfully_what_is_about_several() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(
        elect(&mut client, "orders").await,
        ErrorCode::ElectionNotNeeded.code()
    );
    assert_eq!(
        elect(&mut client, "nowhere").await,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert_eq!(reassign(&mut client, Some(vec![1])).await, 0);
    assert_eq!(
        reassign(&mut client, Some(vec![2])).await,
        ErrorCode::InvalidReplicaAssignment.code()
    );
    assert_eq!(
        reassign(&mut client, None).await,
        ErrorCode::NoReassignmentInProgress.code()
    );
    let unregister = |broker_id| wire::unregister_broker::Request { broker_id };
    let reply = client.call(0, &unregister(9)).await;
    let error = reply
        .read::<wire::unregister_broker::Response<'_>>()
        .error_code;
    assert_eq!(error, ErrorCode::BrokerIdNotRegistered.code());
}

async fn elect(client: &mut Client, topic: &str) -> i16 {
    use wire::elect_leaders::{Request, Response, TopicPartitions};
    let request = Request {
        topic_partitions: Some(vec![TopicPartitions {
            topic,
            partitions: vec![0],
        }]),
        ..Default::default()
    };
    let reply = client.call(2, &request).await;
    reply.read::<Response<'_>>().replica_election_results[0].partition_result[0].error_code
}

async fn reassign(client: &mut Client, replicas: Option<Vec<i32>>) -> i16 {
    use wire::alter_partition_reassignments::{
        ReassignablePartition, ReassignableTopic, Request, Response,
    };
    let partition = ReassignablePartition {
        partition_index: 0,
        replicas,
    };
    let request = Request {
        topics: vec![ReassignableTopic {
            name: "orders",
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let reply = client.call(1, &request).await;
    reply.read::<Response<'_>>().responses[0].partitions[0].error_code
}

#[tokio::test]
async fn the_quorum_is_this_broker() {
    use wire::describe_quorum::{Partition, Request, Response, Topic};
    let (_broker, mut client) = start(Storage::Memory).await;
    let request = |topic_name| Request {
        topics: vec![Topic {
            topic_name,
            partitions: vec![Partition::default()],
        }],
    };
    let reply = client.call(2, &request("__cluster_metadata")).await;
    let response: Response<'_> = reply.read();
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (0, 1));
    assert_eq!(
        partition.current_voters[0].log_end_offset,
        partition.high_watermark
    );
    let reply = client.call(2, &request("orders")).await;
    let response: Response<'_> = reply.read();
    assert_eq!(
        response.topics[0].partitions[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

#[tokio::test]
async fn without_access_control_its_requests_are_refused() {
    let (_broker, mut client) = start(Storage::Memory).await;
    let reply = client
        .call(3, &wire::describe_acls::Request::default())
        .await;
    let error = reply.read::<wire::describe_acls::Response<'_>>().error_code;
    assert_eq!(error, ErrorCode::SecurityDisabled.code());
    let request = wire::create_acls::Request {
        creations: vec![wire::create_acls::AclCreation::default()],
    };
    let reply = client.call(3, &request).await;
    let results = reply.read::<wire::create_acls::Response<'_>>().results;
    assert_eq!(results[0].error_code, ErrorCode::SecurityDisabled.code());
    let reply = client
        .call(3, &wire::create_delegation_token::Request::default())
        .await;
    let error = reply
        .read::<wire::create_delegation_token::Response<'_>>()
        .error_code;
    assert_eq!(error, ErrorCode::DelegationTokenRequestNotAllowed.code());
}

/// `org.apache.kafka.sent`, a gauge with the number 2.5.
fn pushed() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let number = [&[4 << 3 | 1][..], &2.5_f64.to_le_bytes()].concat();
    let gauge = field(5, &field(1, &number));
    let metric = [field(1, b"org.apache.kafka.sent"), gauge].concat();
    field(1, &field(2, &field(2, &metric)))
}

#[tokio::test]
async fn metrics_that_a_client_pushes_are_shown() {
    use wire::get_telemetry_subscriptions::{Request, Response};
    let (broker, mut client) = start(Storage::Memory).await;
    let resource = (CLIENT_METRICS, "m");
    assert_eq!(
        alter(&mut client, resource, "metrics", "org.apache.").await,
        0
    );
    let reply = client.call(0, &Request::default()).await;
    let subscription: Response<'_> = reply.read();
    assert_eq!(subscription.error_code, 0);
    assert_eq!(subscription.requested_metrics, ["org.apache."]);
    assert_ne!(subscription.client_instance_id, Uuid::ZERO);
    let metrics = wire::records::compress(wire::records::Compression::Zstd, &pushed());
    let push = |metrics, compression_type| wire::push_telemetry::Request {
        client_instance_id: subscription.client_instance_id,
        subscription_id: subscription.subscription_id,
        terminating: true,
        compression_type,
        metrics,
    };
    let reply = client.call(0, &push(metrics.as_slice(), 4)).await;
    assert_eq!(reply.read::<wire::push_telemetry::Response>().error_code, 0);
    let text = broker.metrics_text().await;
    assert!(
        text.contains("thalweg_client_org_apache_kafka_sent{client_id=\"test\""),
        "{text}"
    );
}

#[tokio::test]
async fn metrics_that_cannot_be_read_are_refused() {
    use wire::get_telemetry_subscriptions::{Request, Response};
    let refused = [
        (vec![0xff; 40], 0, ErrorCode::InvalidRecord),
        (vec![0xff; 40], 4, ErrorCode::InvalidRecord),
        (Vec::new(), 9, ErrorCode::UnsupportedCompressionType),
        (vec![0; 2 << 20], 0, ErrorCode::TelemetryTooLarge),
    ];
    let (_broker, mut client) = start(Storage::Memory).await;
    alter(&mut client, (CLIENT_METRICS, "m"), "metrics", "*").await;
    for (metrics, compression_type, error) in refused {
        let reply = client.call(0, &Request::default()).await;
        let subscription: Response<'_> = reply.read();
        let request = wire::push_telemetry::Request {
            client_instance_id: subscription.client_instance_id,
            subscription_id: subscription.subscription_id,
            terminating: false,
            compression_type,
            metrics: &metrics,
        };
        let reply = client.call(0, &request).await;
        let answered = reply.read::<wire::push_telemetry::Response>().error_code;
        assert_eq!(answered, error.code());
    }
}

#[tokio::test]
async fn telemetry_is_offered_while_somebody_wants_it() {
    let (_broker, mut client) = start(Storage::Memory).await;
    let offers = async |client: &mut Client| {
        let reply = client
            .call(2, &wire::api_versions::Request::default())
            .await;
        let response: wire::api_versions::Response<'_> = reply.read();
        response.api_keys.iter().any(|entry| entry.api_key == 71)
    };
    assert!(!offers(&mut client).await);
    alter(&mut client, (CLIENT_METRICS, "m"), "metrics", "*").await;
    assert!(offers(&mut client).await);
}

#[tokio::test]
async fn limits_under_kafka_s_keys_are_kept() {
    let mut settings = broker::BrokerSettings::new(Storage::Memory);
    for (key, value) in [
        ("max.connections.per.ip", "2"),
        ("socket.request.max.bytes", "1000"),
    ] {
        settings
            .broker_config
            .insert(key.to_owned(), value.to_owned());
    }
    let broker = broker::Broker::start(settings)
        .await
        .expect("the broker starts");
    let address = broker.kafka_addresses()[0];
    let mut first = Client::connect(address).await;
    let mut second = Client::connect(address).await;
    let request = wire::metadata::Request::default();
    first.call(12, &request).await;
    second.call(12, &request).await;
    let mut third = Client::connect(address).await;
    assert!(
        third.receive(12).await.is_none(),
        "two of an address are served"
    );
    let frame = support::frame(wire::ApiKey::Metadata, 12, 1, &[0; 1_000]);
    second.send_bytes(&frame).await;
    assert!(
        second.receive(12).await.is_none(),
        "a larger request closes its connection"
    );
}

#[tokio::test]
async fn a_feature_at_level_0_is_not_in_use() {
    use wire::consumer_group_heartbeat::{Request, Response};
    let (_broker, mut client) = start(Storage::Memory).await;
    let join = Request {
        group_id: "g",
        member_id: "m",
        rebalance_timeout_ms: 1_000,
        subscribed_topic_names: Some(Vec::new()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let reply = client.call(1, &join).await;
    assert_eq!(reply.read::<Response<'_>>().error_code, 0);
    let update = wire::update_features::FeatureUpdate {
        feature: "group.version",
        max_version_level: 0,
        upgrade_type: 2,
        ..Default::default()
    };
    let request = wire::update_features::Request {
        feature_updates: vec![update],
        ..Default::default()
    };
    let reply = client.call(2, &request).await;
    let error = reply
        .read::<wire::update_features::Response<'_>>()
        .error_code;
    assert_eq!(error, 0);
    let reply = client.call(1, &join).await;
    let error = reply.read::<Response<'_>>().error_code;
    assert_eq!(error, ErrorCode::UnsupportedVersion.code());
}

#[tokio::test]
async fn the_cluster_is_described_to_those_who_want_brokers() {
    use wire::describe_cluster::{Request, Response};
    let (_broker, mut client) = start(Storage::Memory).await;
    for (endpoint_type, error) in [
        (1, ErrorCode::None),
        (2, ErrorCode::MismatchedEndpointType),
        (9, ErrorCode::UnsupportedEndpointType),
    ] {
        let request = Request {
            endpoint_type,
            include_fenced_brokers: true,
            ..Default::default()
        };
        let reply = client.call(2, &request).await;
        let response: Response<'_> = reply.read();
        assert_eq!(response.error_code, error.code());
        assert_eq!(
            response.brokers.len(),
            usize::from(error == ErrorCode::None)
        );
    }
}
