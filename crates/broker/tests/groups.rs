//! Consumer groups over the wire: joining, rebalancing, committing, and what survives a restart.

mod support;

use broker::Storage;
use support::{Client, batch, start, start_on};
use wire::ErrorCode;

/// Joins with the two steps of version 4 and later; gives the member id and the answer's generation and leader.
async fn join(client: &mut Client, group: &str, member_id: &str) -> (String, i32, String) {
    use wire::join_group::{Protocol, Request, Response};
    let mut member_id = member_id.to_owned();
    for _ in 0..2 {
        let request = Request {
            group_id: group,
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: &member_id,
            protocol_type: "consumer",
            protocols: vec![Protocol {
                name: "range",
                metadata: b"subscription",
            }],
            ..Default::default()
        };
        let reply = client.call(7, &request).await;
        let response: Response<'_> = reply.read();
        if response.error_code == ErrorCode::None.code() {
            let leader = response.leader.into_owned();
            return (
                response.member_id.into_owned(),
                response.generation_id,
                leader,
            );
        }
        assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
        let given = response.member_id.into_owned();
        member_id = given;
    }
    panic!("a member that uses the id it was given joins");
}

async fn sync(
    client: &mut Client,
    group: &str,
    member_id: &str,
    generation_id: i32,
    assign: &[(&str, &[u8])],
) -> (i16, Vec<u8>) {
    use wire::sync_group::{Assignment, Request, Response};
    let assignments = assign
        .iter()
        .map(|(member_id, assignment)| Assignment {
            member_id,
            assignment,
        })
        .collect();
    let request = Request {
        group_id: group,
        generation_id,
        member_id,
        assignments,
        ..Default::default()
    };
    let reply = client.call(4, &request).await;
    let response: Response<'_> = reply.read();
    (response.error_code, response.assignment.into_owned())
}

async fn heartbeat(client: &mut Client, group: &str, member_id: &str, generation_id: i32) -> i16 {
    use wire::heartbeat::{Request, Response};
    let request = Request {
        group_id: group,
        generation_id,
        member_id,
        ..Default::default()
    };
    let reply = client.call(4, &request).await;
    let response: Response = reply.read();
    response.error_code
}

async fn commit(
    client: &mut Client,
    group: &str,
    member_id: &str,
    generation: i32,
    offset: i64,
) -> i16 {
    use wire::offset_commit::{Partition, Request, Response, Topic};
    let partition = Partition {
        committed_offset: offset,
        committed_metadata: Some("note"),
        ..Default::default()
    };
    let topics = vec![Topic {
        name: "orders",
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = Request {
        group_id: group,
        generation_id_or_member_epoch: generation,
        member_id,
        topics,
        ..Default::default()
    };
    let reply = client.call(8, &request).await;
    let response: Response<'_> = reply.read();
    response.topics[0].partitions[0].error_code
}

/// The committed offset and its metadata.
async fn committed(client: &mut Client, group: &str) -> (i64, String) {
    use wire::offset_fetch::{Request, Response, Topic};
    let topics = Some(vec![Topic {
        name: "orders",
        partition_indexes: vec![0],
    }]);
    let reply = client
        .call(
            7,
            &Request {
                group_id: group,
                topics,
                ..Default::default()
            },
        )
        .await;
    let response: Response<'_> = reply.read();
    let partition = &response.topics[0].partitions[0];
    (
        partition.committed_offset,
        partition.metadata.clone().unwrap_or_default().into_owned(),
    )
}

#[tokio::test]
async fn a_member_joins_and_gets_its_assignment() {
    let (_broker, mut client) = start(Storage::Memory).await;
    let (member, generation, leader) = join(&mut client, "readers", "").await;
    assert_eq!((generation, &leader), (1, &member));
    assert_eq!(
        sync(&mut client, "readers", &member, 1, &[(&member, b"all")]).await,
        (0, b"all".to_vec())
    );
    assert_eq!(heartbeat(&mut client, "readers", &member, 1).await, 0);
    assert_eq!(
        heartbeat(&mut client, "readers", &member, 0).await,
        ErrorCode::IllegalGeneration.code()
    );
}

#[tokio::test]
async fn a_second_member_makes_the_first_one_rejoin() {
    let (broker, mut first) = start(Storage::Memory).await;
    let (one, _, _) = join(&mut first, "readers", "").await;
    sync(&mut first, "readers", &one, 1, &[(&one, b"all")]).await;
    let address = broker.kafka_addresses()[0];
    let second = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        let (two, generation, _) = join(&mut client, "readers", "").await;
        (
            sync(&mut client, "readers", &two, generation, &[]).await,
            two,
        )
    });
    while heartbeat(&mut first, "readers", &one, 1).await == 0 {
        tokio::task::yield_now().await;
    }
    let (_, generation, leader) = join(&mut first, "readers", &one).await;
    assert_eq!((generation, &leader), (2, &one));
    let members = describe(&mut first, "readers").await;
    assert_eq!(members.len(), 2);
    let assign: Vec<(&str, &[u8])> = members
        .iter()
        .map(|member| (member.as_str(), b"half" as &[u8]))
        .collect();
    assert_eq!(
        sync(&mut first, "readers", &one, 2, &assign).await,
        (0, b"half".to_vec())
    );
    let (assigned, two) = second.await.expect("the second member is served");
    assert_eq!(assigned, (0, b"half".to_vec()));
    assert!(members.contains(&two));
}

async fn describe(client: &mut Client, group: &str) -> Vec<String> {
    use wire::describe_groups::{Request, Response};
    let reply = client
        .call(
            5,
            &Request {
                groups: vec![group],
                ..Default::default()
            },
        )
        .await;
    let response: Response<'_> = reply.read();
    response.groups[0]
        .members
        .iter()
        .map(|member| member.member_id.to_string())
        .collect()
}

#[tokio::test]
async fn offsets_members_and_generations_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 1, &[]).await;
    let (member, _, _) = join(&mut client, "readers", "").await;
    sync(&mut client, "readers", &member, 1, &[(&member, b"all")]).await;
    assert_eq!(commit(&mut client, "readers", &member, 1, 42).await, 0);
    assert_eq!(
        commit(&mut client, "readers", "somebody", 1, 7).await,
        ErrorCode::UnknownMemberId.code()
    );
    drop(client);
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(
        committed(&mut client, "readers").await,
        (42, "note".to_owned())
    );
    assert_eq!(
        heartbeat(&mut client, "readers", &member, 1).await,
        0,
        "the member need not join again"
    );
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_and_records_with_it() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    client.produce("orders", 0, &batch(&["old"])).await;
    assert_eq!(commit(&mut client, "readers", "", -1, 1).await, 0);
    let request = wire::delete_topics::Request {
        topic_names: vec!["orders"],
        ..Default::default()
    };
    let reply = client.call(5, &request).await;
    assert_eq!(
        reply.read::<wire::delete_topics::Response<'_>>().responses[0].error_code,
        0
    );
    assert_eq!(
        client.produce("orders", 0, &batch(&["x"])).await.0,
        ErrorCode::UnknownTopicOrPartition
    );
    client.create_topic("orders", 1, &[]).await;
    assert_eq!(client.fetch("orders", 0, 0).await, [""; 0]);
    assert_eq!(committed(&mut client, "readers").await.0, -1);
}
