//! Topics over the wire: creation, settings, partitions, offsets by time, deletion of records.

mod support;

use broker::{Broker, BrokerSettings, Storage};
use support::{Client, batch, start, start_on};
use wire::ErrorCode;

#[tokio::test]
async fn metadata_creates_what_a_client_may_create() {
    use wire::metadata::{Request, RequestTopic, Response};
    let (_broker, mut client) = start(Storage::Memory).await;
    let request = |allow| Request {
        topics: Some(vec![RequestTopic {
            name: Some("made"),
            ..Default::default()
        }]),
        allow_auto_topic_creation: allow,
        ..Default::default()
    };
    let error = |reply: &support::Reply| reply.read::<Response<'_>>().topics[0].error_code;
    assert_eq!(
        error(&client.call(12, &request(false)).await),
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert_eq!(error(&client.call(12, &request(true)).await), 0);
    assert_eq!(
        client.produce("made", 0, &batch(&["a"])).await,
        (ErrorCode::None, 0)
    );
}

#[tokio::test]
async fn settings_are_read_back_and_take_effect() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(alter(&mut client, "max.message.bytes", "100").await, 0);
    assert_eq!(
        setting(&mut client, "max.message.bytes").await.as_deref(),
        Some("100")
    );
    let large = batch(&["x".repeat(200).as_str()]);
    assert_eq!(
        client.produce("orders", 0, &large).await.0,
        ErrorCode::MessageTooLarge
    );
    assert_eq!(
        alter(&mut client, "max.message.bytes", "many").await,
        ErrorCode::InvalidConfig.code()
    );
    assert_eq!(
        alter(&mut client, "no.such.key", "1").await,
        ErrorCode::InvalidConfig.code()
    );
    assert_eq!(
        setting(&mut client, "retention.ms").await.as_deref(),
        Some("604800000"),
        "defaults are listed too"
    );
}

async fn alter(client: &mut Client, name: &str, value: &str) -> i16 {
    use wire::incremental_alter_configs::{AlterableConfig, Request, Resource, Response};
    let configs = vec![AlterableConfig {
        name,
        value: Some(value),
        ..Default::default()
    }];
    let resource = Resource {
        resource_type: 2,
        resource_name: "orders",
        configs,
    };
    let reply = client
        .call(
            1,
            &Request {
                resources: vec![resource],
                ..Default::default()
            },
        )
        .await;
    reply.read::<Response<'_>>().responses[0].error_code
}

async fn setting(client: &mut Client, name: &str) -> Option<String> {
    use wire::describe_configs::{Request, Resource, Response};
    let resource = Resource {
        resource_type: 2,
        resource_name: "orders",
        configuration_keys: None,
    };
    let reply = client
        .call(
            4,
            &Request {
                resources: vec![resource],
                ..Default::default()
            },
        )
        .await;
    let response: Response<'_> = reply.read();
    let found = response.results[0]
        .configs
        .iter()
        .find(|config| config.name == name)?;
    found.value.as_ref().map(|value| value.to_string())
}

#[tokio::test]
async fn partitions_grow_and_keep_what_they_have() {
    use wire::create_partitions::{Request, Response, Topic};
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", 0, &batch(&["first"])).await;
    let request = |count| Request {
        topics: vec![Topic {
            name: "orders",
            count,
            assignments: None,
        }],
        ..Default::default()
    };
    let reply = client.call(2, &request(3)).await;
    assert_eq!(reply.read::<Response<'_>>().results[0].error_code, 0);
    assert_eq!(
        client.produce("orders", 2, &batch(&["third"])).await,
        (ErrorCode::None, 0)
    );
    assert_eq!(client.fetch("orders", 0, 0).await, ["first"]);
    let reply = client.call(2, &request(2)).await;
    assert_eq!(
        reply.read::<Response<'_>>().results[0].error_code,
        ErrorCode::InvalidPartitions.code()
    );
}

/// The offset that ListOffsets gives for a moment.
async fn offset_at(client: &mut Client, timestamp: i64) -> i64 {
    use wire::list_offsets::{Partition, Request, Response, Topic};
    let partitions = vec![Partition {
        timestamp,
        ..Default::default()
    }];
    let topics = vec![Topic {
        name: "orders",
        partitions,
    }];
    let reply = client
        .call(
            7,
            &Request {
                topics,
                ..Default::default()
            },
        )
        .await;
    let response: Response<'_> = reply.read();
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    response.topics[0].partitions[0].offset
}

#[tokio::test]
async fn deleted_records_stay_deleted() {
    use wire::delete_records::{Partition, Request, Response, Topic};
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 1, &[]).await;
    for value in ["a", "b", "c"] {
        client.produce("orders", 0, &batch(&[value])).await;
    }
    assert_eq!(
        (
            offset_at(&mut client, -2).await,
            offset_at(&mut client, -1).await
        ),
        (0, 3)
    );
    assert_eq!(offset_at(&mut client, 999).await, 0);
    assert_eq!(
        offset_at(&mut client, 1_001).await,
        -1,
        "nothing is as late"
    );
    let topics = vec![Topic {
        name: "orders",
        partitions: vec![Partition {
            partition_index: 0,
            offset: 2,
        }],
    }];
    let reply = client
        .call(
            2,
            &Request {
                topics,
                ..Default::default()
            },
        )
        .await;
    assert_eq!(
        reply.read::<Response<'_>>().topics[0].partitions[0].low_watermark,
        2
    );
    drop(client);
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(offset_at(&mut client, -2).await, 2);
    assert_eq!(client.fetch("orders", 0, 2).await, ["c"]);
}

#[tokio::test]
async fn a_directory_of_an_earlier_topic_is_not_taken_for_the_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", 0, &batch(&["old"])).await;
    drop(client);
    broker.shutdown().await;
    drop(broker);
    // As if the process had ended between the deletion's record and the removal of the files.
    let journal = directory.path().join("__cluster_metadata-0");
    std::fs::remove_dir_all(journal).expect("the journal is there");
    let (_broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(client.fetch("orders", 0, 0).await, [""; 0]);
}

#[tokio::test]
async fn a_broker_setting_that_is_not_known_is_refused_at_the_start() {
    let mut settings = BrokerSettings::new(Storage::Memory);
    settings
        .broker_config
        .insert("num.partitons".to_owned(), "3".to_owned());
    let error = Broker::start(settings)
        .await
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("num.partitons") && error.contains("num.partitions"),
        "{error}"
    );
}

#[tokio::test]
async fn deleted_and_created_in_one_breath_a_topic_is_there() {
    let (broker, mut client) = start(Storage::Memory).await;
    for turn in 0..20 {
        client.create_topic("orders", 1, &[]).await;
        client.produce("orders", 0, &batch(&["old"])).await;
        let mut other = Client::connect(broker.kafka_addresses()[0]).await;
        let delete = wire::delete_topics::Request {
            topic_names: vec!["orders"],
            ..Default::default()
        };
        // Without waiting in between, so that the controller finds both in its queue.
        client.send(5, &delete).await;
        let created = loop {
            let error = try_create(&mut other).await;
            if error != ErrorCode::TopicAlreadyExists.code() {
                break error;
            }
        };
        assert_eq!(created, 0);
        client.receive(5).await.expect("the deletion is answered");
        assert_eq!(
            client.produce("orders", 0, &batch(&["new"])).await,
            (ErrorCode::None, 0),
            "turn {turn}"
        );
        assert_eq!(client.fetch("orders", 0, 0).await, ["new"]);
        client.call(5, &delete).await;
    }
}

async fn try_create(client: &mut Client) -> i16 {
    use wire::create_topics::{CreatableTopic, Request, Response};
    let topic = CreatableTopic {
        name: "orders",
        num_partitions: 1,
        replication_factor: -1,
        ..Default::default()
    };
    let reply = client
        .call(
            7,
            &Request {
                topics: vec![topic],
                ..Default::default()
            },
        )
        .await;
    reply.read::<Response<'_>>().topics[0].error_code
}

#[tokio::test]
async fn a_topic_that_wants_more_replicas_than_there_are_refuses_acks_all() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client
        .create_topic("orders", 1, &[("min.insync.replicas", "2")])
        .await;
    assert_eq!(
        client.produce("orders", 0, &batch(&["a"])).await.0,
        ErrorCode::NotEnoughReplicas
    );
}

#[tokio::test]
async fn a_compacted_topic_refuses_records_without_a_key() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client
        .create_topic("state", 1, &[("cleanup.policy", "compact")])
        .await;
    assert_eq!(
        client.produce("state", 0, &batch(&["a"])).await.0,
        ErrorCode::InvalidRecord
    );
}

#[tokio::test]
async fn a_broker_has_the_number_that_it_is_given_and_its_directory_remembers_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let numbered = |id: &str| {
        let mut settings = BrokerSettings::new(Storage::Directory(directory.path().to_owned()));
        let entry = ("node.id".to_owned(), id.to_owned());
        settings.broker_config.extend([entry]);
        Broker::start(settings)
    };
    let broker = numbered("0").await.expect("the broker starts");
    let mut client = Client::connect(broker.kafka_addresses()[0]).await;
    client.create_topic("a", 1, &[]).await;
    let reply = client.call(12, &wire::metadata::Request::default()).await;
    let metadata: wire::metadata::Response<'_> = reply.read();
    assert_eq!(
        (metadata.brokers[0].node_id, metadata.controller_id),
        (0, 0)
    );
    drop(client);
    broker.shutdown().await;
    drop(broker);
    let refusal = async |id| {
        let refused = numbered(id).await.err();
        refused.expect("another number").to_string()
    };
    let refused = refusal("1").await;
    assert!(refused.contains("was written by node 0"), "{refused}");
    let refused = refusal("-1").await;
    assert!(refused.contains("no number from 0 on"), "{refused}");
    numbered("0")
        .await
        .expect("it starts again")
        .shutdown()
        .await;
}
