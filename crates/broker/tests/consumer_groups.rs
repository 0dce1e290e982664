//! Consumer groups that the broker assigns (KIP-848) over the wire: heartbeats, what is described, what survives a restart.

mod support;

use broker::Storage;
use support::{Client, start, start_on};
use wire::ErrorCode;

type Beat<'a> = wire::consumer_group_heartbeat::Request<'a>;

/// What a heartbeat was answered with: error, epoch, and the partitions of the one topic, if it said any.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    error: i16,
    epoch: i32,
    partitions: Option<Vec<i32>>,
}

async fn beat(client: &mut Client, request: &Beat<'_>) -> Answer {
    let reply = client.call(1, request).await;
    let response: wire::consumer_group_heartbeat::Response<'_> = reply.read();
    assert_eq!(
        response.error_message.is_some(),
        response.error_code != 0,
        "a refusal says why"
    );
    let partitions = response.assignment.map(|assignment| {
        let topics = assignment.topic_partitions.into_iter();
        topics.flat_map(|topic| topic.partitions).collect()
    });
    Answer {
        error: response.error_code,
        epoch: response.member_epoch,
        partitions,
    }
}

fn joining<'a>(member_id: &'a str, topic: &'a str) -> Beat<'a> {
    Beat {
        group_id: "readers",
        member_id,
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec![topic]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn staying<'a>(member_id: &'a str, epoch: i32) -> Beat<'a> {
    Beat {
        group_id: "readers",
        member_id,
        member_epoch: epoch,
        ..Default::default()
    }
}

/// State, group epoch and the members with their epochs and partitions.
async fn describe(client: &mut Client) -> (String, i32, Vec<(String, i32, Vec<i32>)>) {
    use wire::consumer_group_describe::{Request, Response};
    let request = Request {
        group_ids: vec!["readers"],
        ..Default::default()
    };
    let reply = client.call(1, &request).await;
    let response: Response<'_> = reply.read();
    let group = &response.groups[0];
    let members = group.members.iter().map(|member| {
        let topics = member.assignment.topic_partitions.iter();
        let partitions = topics.flat_map(|topic| topic.partitions.clone());
        let id = member.member_id.to_string();
        (id, member.member_epoch, partitions.collect())
    });
    let state = group.group_state.to_string();
    (state, group.group_epoch, members.collect())
}

#[tokio::test]
async fn a_member_is_assigned_partitions_and_described_with_them() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 3, &[]).await;
    let joined = beat(&mut client, &joining("one", "orders")).await;
    let all = Some(vec![0, 1, 2]);
    assert_eq!(
        joined,
        Answer {
            error: 0,
            epoch: 2,
            partitions: all
        }
    );
    let kept = beat(&mut client, &staying("one", 2)).await;
    assert_eq!(
        kept,
        Answer {
            error: 0,
            epoch: 2,
            partitions: None
        }
    );
    let members = vec![("one".to_owned(), 2, vec![0, 1, 2])];
    assert_eq!(
        describe(&mut client).await,
        ("Stable".to_owned(), 2, members)
    );
    let left = beat(&mut client, &staying("one", -1)).await;
    assert_eq!((left.error, left.epoch), (0, -1));
    assert_eq!(
        describe(&mut client).await,
        ("Empty".to_owned(), 3, Vec::new())
    );
}

#[tokio::test]
async fn a_topic_that_is_created_later_is_assigned() {
    let (_broker, mut client) = start(Storage::Memory).await;
    let joined = beat(&mut client, &joining("one", "orders")).await;
    assert_eq!((joined.error, joined.partitions), (0, Some(Vec::new())));
    client.create_topic("orders", 2, &[]).await;
    // A full heartbeat is told everything; the first targets may be too young to be replaced.
    let full = |epoch| Beat {
        member_epoch: epoch,
        ..joining("one", "orders")
    };
    let mut answer = beat(&mut client, &full(joined.epoch)).await;
    while answer.partitions == Some(Vec::new()) {
        answer = beat(&mut client, &full(answer.epoch)).await;
    }
    assert_eq!(answer.partitions, Some(vec![0, 1]));
}

#[tokio::test]
async fn refusals_carry_their_codes() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let no_group = beat(&mut client, &staying("one", 1)).await;
    assert_eq!(no_group.error, ErrorCode::GroupIdNotFound.code());
    let no_id = beat(&mut client, &joining("", "orders")).await;
    assert_eq!(no_id.error, ErrorCode::InvalidRequest.code());
    let regex = Beat {
        subscribed_topic_regex: Some("or("),
        ..joining("one", "orders")
    };
    let regex = beat(&mut client, &regex).await;
    assert_eq!(regex.error, ErrorCode::InvalidRegularExpression.code());
    beat(&mut client, &joining("one", "orders")).await;
    let fenced = beat(&mut client, &staying("one", 9)).await;
    assert_eq!(fenced.error, ErrorCode::FencedMemberEpoch.code());
    let unknown = beat(&mut client, &staying("two", 2)).await;
    assert_eq!(unknown.error, ErrorCode::UnknownMemberId.code());
}

#[tokio::test]
async fn before_version_1_the_broker_makes_the_member_id() {
    let (_broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    let reply = client.call(0, &joining("", "orders")).await;
    let response: wire::consumer_group_heartbeat::Response<'_> = reply.read();
    assert_eq!(response.error_code, 0);
    let id = response.member_id.expect("an id was made").into_owned();
    assert_eq!(beat(&mut client, &staying(&id, 2)).await.error, 0);
}

#[tokio::test]
async fn epochs_and_assignments_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, mut client) = start_on(directory.path()).await;
    client.create_topic("orders", 2, &[]).await;
    beat(&mut client, &joining("one", "orders")).await;
    let before = describe(&mut client).await;
    drop(client);
    broker.shutdown().await;
    drop(broker);
    let (_broker, mut client) = start_on(directory.path()).await;
    assert_eq!(describe(&mut client).await, before);
    let kept = beat(&mut client, &staying("one", 2)).await;
    assert_eq!(
        kept,
        Answer {
            error: 0,
            epoch: 2,
            partitions: None
        }
    );
}

#[tokio::test]
async fn groups_and_their_members_are_counted() {
    let (broker, mut client) = start(Storage::Memory).await;
    client.create_topic("orders", 1, &[]).await;
    beat(&mut client, &joining("one", "orders")).await;
    let text = broker.metrics_text().await;
    for line in [
        "thalweg_groups{type=\"consumer\",state=\"Stable\"} 1",
        "thalweg_group_members{type=\"consumer\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
